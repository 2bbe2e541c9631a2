#include "cli/sse_reader.h"

#include <string.h>

static const char *text_of(struct buf *b) {
    buf_u8(b, '\0');
    if (b->error) return "";
    b->size--;
    return (const char *)b->data;
}

static void event_end(struct sse_reader *r, void (*take)(void *ctx, const struct sse_event *e), void *ctx) {
    if (r->has_data) {
        struct sse_event e = {
            .name = text_of(&r->name), .data = text_of(&r->data), .data_size = r->data.size};
        if (!r->name.error && !r->data.error) take(ctx, &e);
    }
    r->has_data = false;
    r->name.size = r->data.size = 0;
}

/* "field: value", "field:value" or "field". */
static void line_end(struct sse_reader *r, void (*take)(void *ctx, const struct sse_event *e), void *ctx) {
    const char *line = text_of(&r->line);
    size_t size = r->line.size, name_size = strcspn(line, ":");
    if (size == 0) {
        event_end(r, take, ctx);
        return;
    }
    size_t at = name_size < size ? name_size + 1 : size;
    if (at < size && line[at] == ' ') at++;
    if (name_size == 0) {
        take(ctx, &(struct sse_event){.comment = line + at, .name = "", .data = ""});
    } else if (name_size == 4 && memcmp(line, "data", 4) == 0) {
        if (r->has_data) buf_u8(&r->data, '\n');
        buf_put(&r->data, line + at, size - at);
        r->has_data = true;
    } else if (name_size == 5 && memcmp(line, "event", 5) == 0) {
        r->name.size = 0;
        buf_put(&r->name, line + at, size - at);
    }
    r->line.size = 0;
}

enum err sse_reader_feed(struct sse_reader *r, const void *data, size_t size_bytes,
                         void (*take)(void *ctx, const struct sse_event *e), void *ctx) {
    const char *at = data, *end = at + size_bytes;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        buf_put(&r->line, at, (size_t)((stop ? stop : end) - at));
        if (!stop) break;
        if (r->line.size > 0 && r->line.data[r->line.size - 1] == '\r') r->line.size--;
        line_end(r, take, ctx);
        at = stop + 1;
    }
    return r->line.error ? r->line.error : r->name.error ? r->name.error : r->data.error;
}

void sse_reader_free(struct sse_reader *r) {
    buf_free(&r->line);
    buf_free(&r->name);
    buf_free(&r->data);
}
