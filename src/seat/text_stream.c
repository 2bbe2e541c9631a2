#include "seat/text_stream.h"

#include <string.h>

#include "base/utf8.h"

void text_stream_open(struct text_stream *t) {
    *t = (struct text_stream){.held = BUF(0)};
}

void text_stream_free(struct text_stream *t) {
    buf_free(&t->held);
}

bool text_stream_add_stop(struct text_stream *t, const void *data, size_t size_bytes) {
    if (size_bytes == 0) return true;
    if (t->n_stops == TEXT_STREAM_STOPS_MAX) return false;
    t->stops[t->n_stops].data = data;
    t->stops[t->n_stops++].size = size_bytes;
    return true;
}

/* Where the first stop string begins; size when there is none. */
static size_t find_stop(struct text_stream *t, const uint8_t *data, size_t size) {
    size_t first = size;
    for (uint32_t i = 0; i < t->n_stops; i++) {
        const uint8_t *at = size ? memmem(data, size, t->stops[i].data, t->stops[i].size) : NULL;
        if (!at || (size_t)(at - data) >= first) continue;
        first = (size_t)(at - data);
        t->stopped = i + 1;
    }
    return first;
}

/* How many bytes at the end could be the beginning of a stop string. */
static size_t stop_begun(const struct text_stream *t, const uint8_t *data, size_t size) {
    size_t most = 0;
    for (uint32_t i = 0; i < t->n_stops; i++) {
        size_t n = t->stops[i].size - 1 < size ? t->stops[i].size - 1 : size;
        for (; n > most; n--)
            if (memcmp(data + size - n, t->stops[i].data, n) == 0) most = n;
    }
    return most;
}

/* Characters go out as they are; a byte that is none becomes U+FFFD. */
static void release(struct text_stream *t, const uint8_t *data, size_t size, struct buf *out) {
    t->released += size;
    for (size_t at = 0; at < size;) {
        size_t n = utf8_char((const char *)data + at, size - at);
        if (n)
            buf_put(out, data + at, n);
        else
            buf_puts(out, TEXT_STREAM_REPLACEMENT);
        at += n ? n : 1;
    }
}

bool text_stream_feed(struct text_stream *t, const void *data, size_t size_bytes, struct buf *out) {
    buf_put(&t->held, data, size_bytes);
    if (t->held.error) return false;
    const uint8_t *held = t->held.data;
    size_t size = t->held.size, stop = find_stop(t, held, size);
    if (stop < size) {
        release(t, held, stop, out);
        buf_clear(&t->held);
        return true;
    }
    /* A stop string begins with the beginning of a character: an unfinished one before it will not be finished. */
    size_t keep = stop_begun(t, held, size);
    if (keep == 0) keep = utf8_cut_tail((const char *)held, size);
    release(t, held, size - keep, out);
    buf_consume(&t->held, size - keep);
    return false;
}

void text_stream_flush(struct text_stream *t, struct buf *out) {
    release(t, t->held.data, t->held.size, out);
    buf_clear(&t->held);
}

enum err text_stream_error(const struct text_stream *t) {
    return t->held.error;
}
