#include "model/pool_plan.h"

#include "../check_run.h"
#include "base/limits.h"

#define MB (UINT64_C(1) << 20)

static const struct pool_spec plain = {.base_bytes_per_token = 4096, .context_train = 8192, .parallel = 4};

START_TEST(one_block_of_each_running_sequence_is_the_least) {
    struct pool_plan p;
    ck_assert_int_eq(pool_plan_make(&plain, 4 * MB - 1, &p), ERR_MODEL_TOO_LARGE);
    ck_assert_uint_eq(p.least_bytes, 4 * MB);
    ck_assert_int_eq(pool_plan_make(&plain, 4 * MB, &p), ERR_OK);
    ck_assert_uint_eq(p.n_blocks, 4);
    ck_assert_uint_eq(p.context, 4 * BLOCK_TOKENS);
    ck_assert_uint_eq(p.n_seqs, 16); /* idle ones stay, and cost nothing without a window */
}
END_TEST

START_TEST(what_would_never_be_used_is_not_made) {
    struct pool_plan p;
    ck_assert_int_eq(pool_plan_make(&plain, UINT64_C(1) << 40, &p), ERR_OK);
    ck_assert_uint_eq(p.n_blocks, 2 * 4 * 32);
    ck_assert_uint_eq(p.context, 8192);
    struct pool_spec s = plain;
    s.context = 1000; /* fewer than the model's own */
    ck_assert_int_eq(pool_plan_make(&s, UINT64_C(1) << 40, &p), ERR_OK);
    ck_assert_uint_eq(p.n_blocks, 2 * 4 * 4);
    ck_assert_uint_eq(p.context, 1000);
    s.context = 100000;
    ck_assert_int_eq(pool_plan_make(&s, UINT64_C(1) << 40, &p), ERR_OK);
    ck_assert_uint_eq(p.context, 8192);
}
END_TEST

/* Gemma 3 12B at q8_0 in 4 GB: 34,816 bytes a token, 170 MiB a sequence. */
START_TEST(idle_windows_get_half_of_what_the_running_ones_leave) {
    struct pool_spec s = {.base_bytes_per_token = 34816,
                          .window_bytes_per_seq = 170 * MB,
                          .context_train = 131072,
                          .parallel = 4};
    struct pool_plan p;
    ck_assert_int_eq(pool_plan_make(&s, 4096 * MB, &p), ERR_OK);
    ck_assert_uint_eq(p.n_seqs, 4 + (4096 * MB - p.least_bytes) / 2 / (170 * MB));
    ck_assert_uint_eq(p.n_blocks, (4096 * MB - p.n_seqs * 170 * MB) / (256 * 34816));
    ck_assert_int_eq(pool_plan_make(&s, 700 * MB, &p), ERR_MODEL_TOO_LARGE);
}
END_TEST

START_TEST(blocks_are_rounded_up) {
    ck_assert_uint_eq(pool_blocks_for(0), 0);
    ck_assert_uint_eq(pool_blocks_for(1), 1);
    ck_assert_uint_eq(pool_blocks_for(BLOCK_TOKENS), 1);
    ck_assert_uint_eq(pool_blocks_for(BLOCK_TOKENS + 1), 2);
    ck_assert_uint_eq(pool_blocks_for(UINT32_MAX), UINT32_MAX / BLOCK_TOKENS + 1);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        one_block_of_each_running_sequence_is_the_least, what_would_never_be_used_is_not_made,
        idle_windows_get_half_of_what_the_running_ones_leave, blocks_are_rounded_up};
    return CHECK_RUN("pool_plan", tests);
}
