#include "front/admission.h"

#include "base/limits.h"
#include "base/must.h"

static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

enum err admission_plan(const struct admission_measure *m, const struct admission_limits *limits,
                        struct admission *ret) {
    must(m->known && limits->parallel > 0);
    uint64_t available = min_u64(limits->memory_bytes, min_u64(limits->group_bytes, limits->available_bytes));
    uint64_t fixed = m->weights_bytes + m->compute_bytes;
    uint64_t windows = m->window_bytes_per_seq * limits->parallel;
    uint64_t block = m->base_bytes_per_token * BLOCK_TOKENS;
    uint64_t least = windows + block * limits->parallel; /* block_pool's own minimum */
    uint64_t wanted = limits->model_pool_bytes;
    *ret = (struct admission){.available_bytes = available, .n_seqs = limits->parallel};
    ret->needed_bytes = fixed + (wanted > least ? wanted : least);
    if (ret->needed_bytes > available) return ERR_MODEL_TOO_LARGE;
    uint64_t left = available - fixed;
    if (!wanted)
        wanted = min_u64(limits->pool_bytes ? limits->pool_bytes : ADMISSION_POOL_DEFAULT_BYTES, left);
    ret->pool_bytes = wanted < least ? least : wanted;

    uint32_t context = limits->context ? limits->context : m->context_train;
    uint64_t cells = block ? (ret->pool_bytes - windows) / block * BLOCK_TOKENS : UINT64_C(1) << 20;
    uint64_t blocks_of_context = ((uint64_t)context + BLOCK_TOKENS - 1) / BLOCK_TOKENS;
    uint64_t most = 2 * limits->parallel * blocks_of_context * BLOCK_TOKENS; /* more would never be used */
    if (context && cells > most) cells = most;
    ret->n_cells = cells > UINT32_MAX / 2 ? UINT32_MAX / 2 / BLOCK_TOKENS * BLOCK_TOKENS : (uint32_t)cells;
    return ERR_OK;
}
