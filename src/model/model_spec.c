#include "model/model_spec.h"

#include <string.h>

#include "base/must.h"

#define QUANT_BLOCK 32 /* values that share one scale in q8_0 and q4_0 */

static const char *const names[] = {[KV_F16] = "f16", [KV_Q8_0] = "q8_0", [KV_Q4_0] = "q4_0"};

bool kv_type_parse(const char *s, enum kv_type *ret) {
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(s, names[i]) != 0) continue;
        *ret = (enum kv_type)i;
        return true;
    }
    return false;
}

const char *kv_type_name(enum kv_type t) {
    return (size_t)t < ARRAY_LEN(names) ? names[t] : "?";
}

/* A spec comes from a stranger's file: what is too large to count stays the largest number, which fits
 * nowhere. */
static uint64_t times(uint64_t a, uint64_t b) {
    uint64_t product;
    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

static uint64_t plus(uint64_t a, uint64_t b) {
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

uint64_t kv_type_row_bytes(enum kv_type t, uint64_t n) {
    uint64_t blocks = n / QUANT_BLOCK + (n % QUANT_BLOCK != 0);
    switch (t) {
    case KV_F16: return times(n, 2);
    case KV_Q8_0: return times(blocks, QUANT_BLOCK + 2);
    case KV_Q4_0: return times(blocks, QUANT_BLOCK / 2 + 2);
    }
    must(t == KV_Q4_0);
    return 0;
}

static uint64_t layer_bytes_per_token(const struct model_spec *s, enum kv_type t) {
    return times(s->n_kv_heads, plus(kv_type_row_bytes(t, s->head_k), kv_type_row_bytes(t, s->head_v)));
}

uint64_t model_spec_base_bytes_per_token(const struct model_spec *s, enum kv_type t) {
    must(s->n_window_layers <= s->n_layers);
    return times(s->n_layers - s->n_window_layers, layer_bytes_per_token(s, t));
}

uint64_t model_spec_window_bytes_per_seq(const struct model_spec *s, enum kv_type t) {
    return times(times(s->window, s->n_window_layers), layer_bytes_per_token(s, t));
}
