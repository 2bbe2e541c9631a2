#include "model/model_spec.h"

#include "check_run.h"

START_TEST(types) {
    enum kv_type t;
    ck_assert(kv_type_parse("f16", &t) && t == KV_F16);
    ck_assert(kv_type_parse("q8_0", &t) && t == KV_Q8_0);
    ck_assert(kv_type_parse("q4_0", &t) && t == KV_Q4_0);
    ck_assert(!kv_type_parse("Q8_0", &t));
    ck_assert(!kv_type_parse("", &t));
    ck_assert_str_eq(kv_type_name(KV_Q8_0), "q8_0");
    ck_assert_str_eq(kv_type_name((enum kv_type)9), "?");
}
END_TEST

START_TEST(rows) {
    ck_assert_uint_eq(kv_type_row_bytes(KV_F16, 128), 256);
    ck_assert_uint_eq(kv_type_row_bytes(KV_Q8_0, 128), 136);
    ck_assert_uint_eq(kv_type_row_bytes(KV_Q4_0, 128), 72);
    ck_assert_uint_eq(kv_type_row_bytes(KV_Q8_0, 80), 3 * 34); /* the last block is not full */
    ck_assert_uint_eq(kv_type_row_bytes(KV_Q8_0, 0), 0);
}
END_TEST

/* Gemma 3 12B, whose figures are known: 34,816 bytes a token and 170 MiB a sequence at q8_0. */
START_TEST(the_sums_of_a_known_model) {
    struct model_spec s = {
        .n_layers = 48, .n_window_layers = 40, .window = 1024, .n_kv_heads = 8, .head_k = 256, .head_v = 256};
    ck_assert_uint_eq(model_spec_base_bytes_per_token(&s, KV_Q8_0), 34816);
    ck_assert_uint_eq(model_spec_window_bytes_per_seq(&s, KV_Q8_0), 170u << 20);
    struct model_spec llama = {.n_layers = 32, .n_kv_heads = 8, .head_k = 128, .head_v = 128};
    ck_assert_uint_eq(model_spec_base_bytes_per_token(&llama, KV_F16), 131072);
    ck_assert_uint_eq(model_spec_window_bytes_per_seq(&llama, KV_F16), 0);
}
END_TEST

START_TEST(wild_numbers_fit_nowhere) {
    struct model_spec s = {.n_layers = 512,
                           .n_window_layers = 511,
                           .window = UINT32_MAX,
                           .n_kv_heads = UINT32_MAX,
                           .head_k = UINT32_MAX,
                           .head_v = UINT32_MAX};
    ck_assert_uint_eq(model_spec_window_bytes_per_seq(&s, KV_F16), UINT64_MAX);
    ck_assert_uint_eq(model_spec_base_bytes_per_token(&s, KV_F16), UINT64_MAX);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {types, rows, the_sums_of_a_known_model, wild_numbers_fit_nowhere};
    return CHECK_RUN("model_spec", tests);
}
