/* model_spec.h - what a model's header says, as far as cache, pool and admission need it, and the sums over it.
 * Plain data, made by gguf_info. Thread: any. */
#ifndef HOTSEAT_MODEL_MODEL_SPEC_H
#define HOTSEAT_MODEL_MODEL_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

#define MODEL_ARCH_BYTES_MAX 64
#define MODEL_LAYERS_MAX 512 /* libllama aborts above it */

enum kv_type { KV_F16, KV_Q8_0, KV_Q4_0 };
bool kv_type_parse(const char *s, enum kv_type *ret);
const char *kv_type_name(enum kv_type t);
/* Bytes of n values of this type: the quantised ones take 34 and 18 bytes for each 32 values or part of them. */
uint64_t kv_type_row_bytes(enum kv_type t, uint64_t n);

struct model_spec {
    char architecture[MODEL_ARCH_BYTES_MAX]; /* "llama", "qwen2", "gemma3" */
    char name[128];                          /* general.name or "" */
    uint32_t n_layers;                       /* 1..MODEL_LAYERS_MAX */
    uint32_t n_embd;
    uint32_t n_heads;
    uint32_t n_kv_heads;     /* of the layer that has most, when they differ */
    uint32_t head_k, head_v; /* values a head */
    uint32_t window;         /* sliding window in tokens, 0: none */
    uint32_t n_window_layers;
    uint32_t context_train;
    uint32_t n_vocab;
    uint64_t n_params;      /* elements of all tensors */
    uint64_t weights_bytes; /* of all tensors */
    bool has_template;
    bool rope_long_short;  /* two sets of rope factors: the long ones for a context above rope_context */
    uint32_t rope_context; /* original_context_length; else context_train */
    bool recurrent;        /* state that can't be cut into blocks (mamba, rwkv, hybrids) */
};

/* KV bytes of one token in the layers with full attention: (layers - window layers) * kv_heads * (row(head_k)+row(head_v)). */
uint64_t model_spec_base_bytes_per_token(const struct model_spec *s, enum kv_type t);
/* KV bytes of one resident sequence in the layers with a window: window * window layers * kv_heads * (...). */
uint64_t model_spec_window_bytes_per_seq(const struct model_spec *s, enum kv_type t);

#endif
