#include "http/sse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define COMMENT_BYTES_MAX 512 /* a model's id and a few numbers */

static void put_lines(struct buf *out, const char *field, const char *data, size_t size_bytes) {
    for (;;) {
        const char *end = size_bytes ? memchr(data, '\n', size_bytes) : NULL;
        size_t line = end ? (size_t)(end - data) : size_bytes;
        size_t shown = line > 0 && data[line - 1] == '\r' ? line - 1 : line;
        buf_puts(out, field);
        buf_put(out, data, shown);
        buf_u8(out, '\n');
        if (!end) return;
        data += line + 1;
        size_bytes -= line + 1;
    }
}

void sse_data(struct buf *out, const void *data, size_t size_bytes) {
    put_lines(out, "data: ", data, size_bytes);
    buf_u8(out, '\n');
}

void sse_event(struct buf *out, const char *name, const void *data, size_t size_bytes) {
    size_t n = strcspn(name, "\r\n");
    buf_puts(out, "event: ");
    buf_put(out, name, n);
    buf_u8(out, '\n');
    sse_data(out, data, size_bytes);
}

void sse_comment(struct buf *out, const char *fmt, ...) {
    char text[COMMENT_BYTES_MAX];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (char *c = text; *c; c++)
        if (*c == '\n' || *c == '\r') *c = ' ';
    buf_puts(out, ": ");
    buf_puts(out, text);
    buf_puts(out, "\n\n");
}

void sse_done(struct buf *out) {
    buf_puts(out, "data: [DONE]\n\n");
}
