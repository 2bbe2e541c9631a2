/* text_stream.h - the bytes of generated tokens become text that may be sent: a character is never cut, a stop string is
 * never sent, not even its beginning, wherever the tokens' borders lie. Bytes that can't become UTF-8 any more become
 * U+FFFD, one each.
 * Same bytes in the same pieces give the same releases (a replay relies on it). Pure but for memory. Thread: the owner's. */
#ifndef HOTSEAT_SEAT_TEXT_STREAM_H
#define HOTSEAT_SEAT_TEXT_STREAM_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/limits.h"

#define TEXT_STREAM_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */
#define TEXT_STREAM_STOPS_MAX (STOPS_MAX * 2)  /* the request's and the template's own */

struct text_stream {
    struct {
        const uint8_t *data; /* borrowed from the request or the chat */
        size_t size;
    } stops[TEXT_STREAM_STOPS_MAX];
    uint32_t n_stops;
    struct buf held;   /* not released yet */
    uint64_t released; /* of all bytes that were fed, in order */
    uint32_t stopped;  /* which stop string has come, from 1 in the order they were added; 0: none */
};

void text_stream_open(struct text_stream *t); /* nothing to free before the first feed */
void text_stream_free(struct text_stream *t);
/* Empty ones are ignored. False: the table is full. The bytes must outlive t. */
bool text_stream_add_stop(struct text_stream *t, const void *data, size_t size_bytes);
/* Appends what is certain now to out. True: a stop string has come; it and what follows it are gone for good, and
 * nothing may be fed any more. Errors are out's and held's: text_stream_error(). */
bool text_stream_feed(struct text_stream *t, const void *data, size_t size_bytes, struct buf *out);
void text_stream_flush(struct text_stream *t,
                       struct buf *out); /* the stream ends: what was held back goes out */
enum err text_stream_error(const struct text_stream *t);

#endif
