/* block_pool.h - the budget of KV cells of the seated model: bytes in; cells, blocks and sequences out. It counts, the
 * engine's context holds: a sequence takes blocks of BLOCK_TOKENS cells before it decodes into them.
 * Thread: the engine's. Allocates nothing but itself. */
#ifndef HOTSEAT_SEAT_BLOCK_POOL_H
#define HOTSEAT_SEAT_BLOCK_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "model/pool_plan.h"

struct block_pool {
    uint64_t budget_bytes;
    uint32_t n_blocks, n_free;
    uint32_t n_seqs;  /* running and resident idle ones: at least parallel, at most SEQUENCES_MAX - scratch */
    uint32_t context; /* longest sequence, in tokens */
};

/* A pool of this many bytes for this model (pool_plan.h). ERR_MODEL_TOO_LARGE with figures in why. Every block must be back (a swap has
 * emptied the seat). */
enum err block_pool_reconfigure(struct block_pool *p, const struct pool_spec *spec, uint64_t budget_bytes,
                                char *why, size_t why_size) NODISCARD;
bool block_pool_get(struct block_pool *p, uint32_t n) NODISCARD; /* all or nothing */
void block_pool_put(struct block_pool *p, uint32_t n);

#endif
