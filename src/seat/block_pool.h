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

struct block_pool_spec {
    uint64_t base_bytes_per_token;
    uint64_t window_bytes_per_seq; /* paid by every sequence, resident or running; 0 without a window */
    uint32_t context_train;
    uint32_t context;  /* wanted, 0: the model's own */
    uint32_t parallel; /* sequences that run at the same time */
};

struct block_pool {
    uint64_t budget_bytes;
    uint32_t n_blocks, n_free;
    uint32_t n_seqs;  /* running and resident idle ones: at least parallel, at most SEQUENCES_MAX - scratch */
    uint32_t context; /* longest sequence, in tokens */
};

/* A pool of this many bytes for this model: sequences' windows first, then blocks; never more blocks than
 * 2 x parallel sequences of full context need. ERR_MODEL_TOO_LARGE with figures in why when parallel sequences' windows and one block
 * each do not fit. Every block must be back (a swap has emptied the seat). */
enum err block_pool_reconfigure(struct block_pool *p, const struct block_pool_spec *spec,
                                uint64_t budget_bytes, char *why, size_t why_size) NODISCARD;
uint32_t block_pool_blocks_for(uint32_t n_tokens);               /* rounded up */
bool block_pool_get(struct block_pool *p, uint32_t n) NODISCARD; /* all or nothing */
void block_pool_put(struct block_pool *p, uint32_t n);

#endif
