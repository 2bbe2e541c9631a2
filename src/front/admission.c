#include "front/admission.h"

#include "base/limits.h"
#include "base/must.h"
#include "model/pool_plan.h"

static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

enum err admission_plan(const struct admission_measure *m, const struct admission_limits *limits,
                        struct admission *ret) {
    must(m->known && limits->parallel > 0);
    uint64_t available = min_u64(limits->memory_bytes, min_u64(limits->group_bytes, limits->available_bytes));
    uint64_t fixed = m->weights_bytes + m->compute_bytes + m->heap_bytes;
    /* The vocabulary is not on the GPU: it has its room besides. */
    uint64_t device = m->device_bytes ? m->device_bytes + m->heap_bytes : UINT64_MAX;
    available = min_u64(available, device);
    struct pool_spec spec = {.base_bytes_per_token = m->base_bytes_per_token,
                             .window_bytes_per_seq = m->window_bytes_per_seq,
                             .context_train = m->context_train,
                             .context = limits->context,
                             .parallel = limits->parallel};
    struct pool_plan plan;
    uint64_t wanted = limits->model_pool_bytes;
    bool least = pool_plan_make(&spec, wanted, &plan) != ERR_OK; /* or more than wanted */
    *ret = (struct admission){.available_bytes = available, .device_bytes = device};
    ret->needed_bytes = fixed + (least ? plan.least_bytes : wanted);
    if (ret->needed_bytes > available) return ERR_MODEL_TOO_LARGE;
    if (!wanted)
        wanted = min_u64(limits->pool_bytes ? limits->pool_bytes : ADMISSION_POOL_DEFAULT_BYTES,
                         available - fixed);
    ret->pool_bytes = wanted < plan.least_bytes ? plan.least_bytes : wanted;
    enum err err = pool_plan_make(&spec, ret->pool_bytes, &plan);
    ret->n_cells = plan.n_blocks * BLOCK_TOKENS;
    ret->n_seqs = plan.n_seqs;
    return err;
}
