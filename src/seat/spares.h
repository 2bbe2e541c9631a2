/* spares.h - buffers of blocks that were used and will be again. A fresh buffer costs a page fault for every 4 KB, which takes
 * longer than to read the block from the page cache: a block that goes between disk and cells takes a warm one.
 * Thread: any (a lock). */
#ifndef HOTSEAT_SEAT_SPARES_H
#define HOTSEAT_SEAT_SPARES_H

#include <pthread.h>
#include <stdint.h>

#include "base/buf.h"

#define SPARES_MAX 16
#define SPARES_BYTES_KEPT (16u << 20) /* while nothing moves, and from one model to the next */
#define SPARES_BYTES_BUSY (64u << 20) /* while blocks are put back one after the other */

struct spares {
    pthread_mutex_t lock;
    struct buf bufs[SPARES_MAX]; /* the one that was used last at the end */
    uint32_t n;
    uint64_t bytes;
};

void spares_init(struct spares *s);
void spares_free(struct spares *s);
struct buf spares_take(struct spares *s); /* empty, of the default cap; warm if there is one; the caller's */
/* b is empty afterwards; its memory is kept if all of them together then hold most_bytes at most, else freed. */
void spares_keep(struct spares *s, struct buf *b, uint64_t most_bytes);
/* Those that lay longest are freed first. Returns the bytes that are held on to. */
uint64_t spares_trim(struct spares *s, uint64_t most_bytes);

#endif
