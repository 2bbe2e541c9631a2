/* pool_plan.h - what a pool of so many bytes holds of a model: blocks, sequences, the longest context. The front plans a load with it and
 * the seat makes the pool with it, so that both mean the same. Pure. Thread: any. */
#ifndef HOTSEAT_MODEL_POOL_PLAN_H
#define HOTSEAT_MODEL_POOL_PLAN_H

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

struct pool_spec {
    uint64_t base_bytes_per_token;
    uint64_t window_bytes_per_seq; /* paid by every sequence, resident or running; 0 without a window */
    uint32_t context_train;
    uint32_t context;  /* wanted, 0: the model's own */
    uint32_t parallel; /* sequences that run at the same time */
};

struct pool_plan {
    uint64_t least_bytes; /* of the smallest pool: parallel sequences' windows and one block each */
    uint32_t n_blocks;
    uint32_t n_seqs;  /* running and resident idle ones: at least parallel, at most SEQUENCES_MAX - scratch */
    uint32_t context; /* longest sequence, in tokens */
};

/* Sequences' windows first, then blocks; never more blocks than 2 x parallel sequences of full context need.
 * ERR_MODEL_TOO_LARGE: budget_bytes is less than ret->least_bytes, which is all that is filled. */
enum err pool_plan_make(const struct pool_spec *spec, uint64_t budget_bytes, struct pool_plan *ret) NODISCARD;
uint32_t pool_blocks_for(uint32_t n_tokens); /* rounded up */

#endif
