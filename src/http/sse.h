/* sse.h - server-sent events as bytes. Pure: appends to a buffer. Thread: any. */
#ifndef HOTSEAT_HTTP_SSE_H
#define HOTSEAT_HTTP_SSE_H

#include <stddef.h>

#include "base/attr.h"
#include "base/buf.h"

/* "data: ...\n\n"; a line break inside data begins another data line. */
void sse_data(struct buf *out, const void *data, size_t size_bytes);
/* "event: name\ndata: ...\n\n" */
void sse_event(struct buf *out, const char *name, const void *data, size_t size_bytes);
/* ": text\n\n"; clients skip it. Line breaks in the text become spaces. */
void sse_comment(struct buf *out, const char *fmt, ...) PRINTF_LIKE(2, 3);
void sse_done(struct buf *out); /* "data: [DONE]\n\n" */

#endif
