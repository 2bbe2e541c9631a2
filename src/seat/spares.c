#include "seat/spares.h"

#include <string.h>

#include "base/must.h"

void spares_init(struct spares *s) {
    *s = (struct spares){0};
    must(pthread_mutex_init(&s->lock, NULL) == 0);
}

void spares_free(struct spares *s) {
    (void)spares_trim(s, 0);
    must(pthread_mutex_destroy(&s->lock) == 0);
}

struct buf spares_take(struct spares *s) {
    struct buf b = BUF(0);
    must(pthread_mutex_lock(&s->lock) == 0);
    if (s->n > 0) {
        b = s->bufs[--s->n];
        s->bytes -= b.room;
    }
    must(pthread_mutex_unlock(&s->lock) == 0);
    return b;
}

void spares_keep(struct spares *s, struct buf *b, uint64_t most_bytes) {
    buf_clear(b);
    must(pthread_mutex_lock(&s->lock) == 0);
    if (b->room > 0 && s->n < SPARES_MAX && s->bytes + b->room <= most_bytes) {
        s->bufs[s->n++] = *b;
        s->bytes += b->room;
        *b = BUF(0);
    }
    must(pthread_mutex_unlock(&s->lock) == 0);
    buf_free(b);
}

uint64_t spares_trim(struct spares *s, uint64_t most_bytes) {
    must(pthread_mutex_lock(&s->lock) == 0);
    uint32_t n_gone = 0;
    while (s->bytes > most_bytes) {
        s->bytes -= s->bufs[n_gone].room;
        buf_free(&s->bufs[n_gone++]);
    }
    s->n -= n_gone;
    memmove(s->bufs, s->bufs + n_gone, sizeof s->bufs[0] * s->n);
    uint64_t held = s->bytes;
    must(pthread_mutex_unlock(&s->lock) == 0);
    return held;
}
