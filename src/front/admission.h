/* admission.h - does a model fit, and how big is its pool: arithmetic on what was measured. Pure. Thread:
 * any. */
#ifndef HOTSEAT_FRONT_ADMISSION_H
#define HOTSEAT_FRONT_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

#define ADMISSION_POOL_DEFAULT_BYTES                                                                         \
    (UINT64_C(4) << 30) /* beside no --pool: the whole buffer is touched at each swap */

struct admission_measure { /* what a measuring seat found; valid for one file identity, KV type and repack
                              choice */
    bool known;
    uint64_t weights_bytes, compute_bytes, heap_bytes, base_bytes_per_token, window_bytes_per_seq;
    uint64_t
        device_bytes; /* what the GPUs may hold of the weights, the buffers and the pool; 0: no bound of theirs */
    uint32_t context_train;
    uint32_t n_cells, n_seqs; /* compute_bytes is exact for these, an upper bound for fewer */
};

struct admission_limits {
    uint64_t memory_bytes;     /* --memory */
    uint64_t group_bytes;      /* the control group's limit */
    uint64_t available_bytes;  /* now, with what the seat gives back */
    uint64_t pool_bytes;       /* --pool; 0: auto */
    uint64_t model_pool_bytes; /* the section's; 0: none */
    uint32_t context, parallel;
};

struct admission {
    uint64_t needed_bytes;    /* weights, compute buffers, vocabulary and the smallest pool */
    uint64_t available_bytes; /* the smallest of the limits */
    uint64_t device_bytes;    /* the GPUs' own, of these; UINT64_MAX: none */
    uint64_t pool_bytes;      /* what CONFIGURE gets */
    uint32_t n_cells, n_seqs; /* what that pool holds */
};

/* ERR_MODEL_TOO_LARGE: ret's figures say by how much. m->known must hold. */
enum err admission_plan(const struct admission_measure *m, const struct admission_limits *limits,
                        struct admission *ret) NODISCARD;

#endif
