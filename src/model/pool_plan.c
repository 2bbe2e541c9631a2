#include "model/pool_plan.h"

#include "base/limits.h"
#include "base/must.h"

/* Engines keep scratch sequences of their own, and count them against the same maximum. */
#define SCRATCH_SEQUENCES 2
/* Idle sequences per running one that may stay resident. More would make every step walk over their cells. */
#define RESIDENT_PER_PARALLEL 4

static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

uint32_t pool_blocks_for(uint32_t n_tokens) {
    return n_tokens / BLOCK_TOKENS + (n_tokens % BLOCK_TOKENS != 0);
}

/* Without a window a sequence costs nothing; with one, idle sequences may have half of what is left once the running
 * ones have their windows and a block each. */
static uint32_t sequences_for(const struct pool_spec *spec, uint64_t budget_bytes, uint64_t least_bytes) {
    uint64_t most =
        min_u64((uint64_t)spec->parallel * RESIDENT_PER_PARALLEL, SEQUENCES_MAX - SCRATCH_SEQUENCES);
    if (most < spec->parallel) most = spec->parallel;
    if (spec->window_bytes_per_seq == 0) return (uint32_t)most;
    uint64_t idle = (budget_bytes - least_bytes) / 2 / spec->window_bytes_per_seq;
    return (uint32_t)min_u64(most, spec->parallel + idle);
}

enum err pool_plan_make(const struct pool_spec *spec, uint64_t budget_bytes, struct pool_plan *ret) {
    must(spec->parallel > 0 && spec->parallel <= PARALLEL_MAX);
    uint64_t block_bytes = spec->base_bytes_per_token * BLOCK_TOKENS;
    if (block_bytes == 0) block_bytes = 1;
    *ret = (struct pool_plan){.least_bytes = spec->parallel * (spec->window_bytes_per_seq + block_bytes)};
    if (budget_bytes < ret->least_bytes) return ERR_MODEL_TOO_LARGE;
    uint32_t context = spec->context_train;
    if (spec->context && (spec->context < context || context == 0)) context = spec->context;
    if (context == 0) context = BLOCK_TOKENS;
    ret->n_seqs = sequences_for(spec, budget_bytes, ret->least_bytes);
    uint64_t blocks = (budget_bytes - ret->n_seqs * spec->window_bytes_per_seq) / block_bytes;
    blocks = min_u64(blocks, UINT64_C(2) * spec->parallel * pool_blocks_for(context));
    ret->n_blocks = (uint32_t)min_u64(blocks, INT32_MAX / BLOCK_TOKENS);
    ret->context = (uint32_t)min_u64(context, (uint64_t)ret->n_blocks * BLOCK_TOKENS);
    return ERR_OK;
}
