/* sse_reader.h - server-sent events out of pieces of any size, as the HTML standard has them (event, data, comments; id and
 * retry are passed over). Pure. Thread: one.
 *   struct sse_reader r = SSE_READER; ... sse_reader_feed(&r, ...) ... sse_reader_free(&r) */
#ifndef HOTSEAT_CLI_SSE_READER_H
#define HOTSEAT_CLI_SSE_READER_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"

#define SSE_EVENT_BYTES_MAX (32u << 20) /* one line, and one event's data: an answer is at most as long */

struct sse_event {       /* points into the reader; all end with a NUL that does not count */
    const char *comment; /* a comment line alone; else NULL */
    const char *name;    /* "" when there is none */
    const char *data;
    size_t data_size;
};
struct sse_reader {
    struct buf line, name, data;
    bool has_data;
};
#define SSE_READER                                                                                           \
    ((struct sse_reader){BUF(SSE_EVENT_BYTES_MAX), BUF(SSE_EVENT_BYTES_MAX), BUF(SSE_EVENT_BYTES_MAX), false})

/* Calls take for each comment and event that ends in these bytes. ERR_LIMIT, ERR_NOMEM: it can't go on. */
enum err sse_reader_feed(struct sse_reader *r, const void *data, size_t size_bytes,
                         void (*take)(void *ctx, const struct sse_event *e), void *ctx) NODISCARD;
void sse_reader_free(struct sse_reader *r);

#endif
