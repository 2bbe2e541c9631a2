#include "seat/block_pool.h"

#include <stdio.h>

#include "base/limits.h"
#include "base/must.h"

enum err block_pool_reconfigure(struct block_pool *p, const struct pool_spec *spec, uint64_t budget_bytes,
                                char *why, size_t why_size) {
    must(p->n_free == p->n_blocks);
    struct pool_plan plan;
    enum err err = pool_plan_make(spec, budget_bytes, &plan);
    if (err) {
        snprintf(why, why_size,
                 "the KV pool of %llu bytes is too small: %u sequences need %llu bytes (%llu of window and "
                 "%llu of one "
                 "block of %u tokens each)",
                 (unsigned long long)budget_bytes, spec->parallel, (unsigned long long)plan.least_bytes,
                 (unsigned long long)spec->window_bytes_per_seq,
                 (unsigned long long)(plan.least_bytes / spec->parallel - spec->window_bytes_per_seq),
                 (unsigned)BLOCK_TOKENS);
        return err;
    }
    *p = (struct block_pool){.budget_bytes = budget_bytes,
                             .n_blocks = plan.n_blocks,
                             .n_free = plan.n_blocks,
                             .n_seqs = plan.n_seqs,
                             .context = plan.context};
    return ERR_OK;
}

bool block_pool_get(struct block_pool *p, uint32_t n) {
    if (n > p->n_free) return false;
    p->n_free -= n;
    return true;
}

void block_pool_put(struct block_pool *p, uint32_t n) {
    must(n <= p->n_blocks - p->n_free);
    p->n_free += n;
}
