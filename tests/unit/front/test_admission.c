#include "front/admission.h"

#include "../check_run.h"
#include "base/limits.h"

#define MB (UINT64_C(1) << 20)

static struct admission_measure model(void) {
    return (struct admission_measure){.known = true,
                                      .weights_bytes = 400 * MB,
                                      .compute_bytes = 50 * MB,
                                      .base_bytes_per_token = 4096,
                                      .window_bytes_per_seq = 0,
                                      .context_train = 8192};
}
static struct admission_limits room(uint64_t mb) {
    return (struct admission_limits){
        .memory_bytes = mb * MB, .group_bytes = UINT64_MAX, .available_bytes = UINT64_MAX, .parallel = 4};
}

START_TEST(pool_is_what_is_left) {
    struct admission_measure m = model();
    struct admission_limits l = room(600);
    struct admission a;
    ck_assert_int_eq(admission_plan(&m, &l, &a), ERR_OK);
    ck_assert_uint_eq(a.pool_bytes, 150 * MB);
    ck_assert_uint_eq(a.n_cells, 150 * MB / 4096 / BLOCK_TOKENS * BLOCK_TOKENS);
    ck_assert_uint_eq(a.n_seqs, 16); /* as the seat will make it */
    l.memory_bytes = 64 << 10;
    l.memory_bytes *= MB;
    ck_assert_int_eq(admission_plan(&m, &l, &a), ERR_OK);
    ck_assert_uint_eq(a.pool_bytes, ADMISSION_POOL_DEFAULT_BYTES);
    ck_assert_uint_eq(a.n_cells, 2 * 4 * 8192); /* more would never be used */
    l.pool_bytes = 8 * MB;
    ck_assert_int_eq(admission_plan(&m, &l, &a), ERR_OK);
    ck_assert_uint_eq(a.pool_bytes, 8 * MB);
}
END_TEST

START_TEST(smallest_of_three_limits) {
    struct admission_measure m = model();
    struct admission_limits l = room(600);
    struct admission a;
    l.group_bytes = 500 * MB;
    ck_assert_int_eq(admission_plan(&m, &l, &a), ERR_OK);
    ck_assert_uint_eq(a.available_bytes, 500 * MB);
    l.available_bytes = 430 * MB;
    ck_assert_int_eq(admission_plan(&m, &l, &a), ERR_MODEL_TOO_LARGE);
    ck_assert_uint_eq(a.available_bytes, 430 * MB);
    ck_assert_uint_eq(a.needed_bytes, 450 * MB + 4 * BLOCK_TOKENS * 4096);
}
END_TEST

START_TEST(what_the_gpu_may_hold_is_one_more_limit) {
    struct admission_measure m = model();
    struct admission_limits l = room(700);
    struct admission a;
    m.heap_bytes = 40 * MB;
    m.device_bytes = 500 * MB;
    ck_assert_int_eq(admission_plan(&m, &l, &a), ERR_OK);
    ck_assert_uint_eq(a.available_bytes, 540 * MB); /* the vocabulary lies elsewhere */
    ck_assert_uint_eq(a.pool_bytes, 50 * MB);       /* of the GPU's 500 */
    m.device_bytes = 450 * MB;
    ck_assert_int_eq(admission_plan(&m, &l, &a), ERR_MODEL_TOO_LARGE);
    ck_assert_uint_eq(a.available_bytes, a.device_bytes);
    m.device_bytes = 500 * MB;
    l.available_bytes = 480 * MB; /* now; that may change */
    ck_assert_int_eq(admission_plan(&m, &l, &a), ERR_MODEL_TOO_LARGE);
    ck_assert_uint_eq(a.available_bytes, 480 * MB);
    ck_assert_uint_ge(a.device_bytes, a.needed_bytes);
}
END_TEST

START_TEST(windows_come_first) {
    struct admission_measure m = model();
    struct admission_limits l = room(600);
    struct admission a;
    m.window_bytes_per_seq = 30 * MB;
    ck_assert_int_eq(admission_plan(&m, &l, &a), ERR_OK);
    ck_assert_uint_eq(a.pool_bytes, 150 * MB);
    ck_assert_uint_eq(a.n_cells, 30 * MB / 4096 / BLOCK_TOKENS * BLOCK_TOKENS);
    m.window_bytes_per_seq = 40 * MB;
    ck_assert_int_eq(admission_plan(&m, &l, &a), ERR_MODEL_TOO_LARGE);
}
END_TEST

START_TEST(a_models_own_pool_must_fit) {
    struct admission_measure m = model();
    struct admission_limits l = room(600);
    struct admission a;
    l.model_pool_bytes = 100 * MB;
    ck_assert_int_eq(admission_plan(&m, &l, &a), ERR_OK);
    ck_assert_uint_eq(a.pool_bytes, 100 * MB);
    l.model_pool_bytes = 151 * MB;
    ck_assert_int_eq(admission_plan(&m, &l, &a), ERR_MODEL_TOO_LARGE);
    ck_assert_uint_eq(a.needed_bytes, 601 * MB);
    l.model_pool_bytes = 1; /* it gets the least, not what the others get */
    ck_assert_int_eq(admission_plan(&m, &l, &a), ERR_OK);
    ck_assert_uint_eq(a.pool_bytes, 4 * BLOCK_TOKENS * 4096);
}
END_TEST

START_TEST(the_vocabulary_counts) {
    struct admission_measure m = model();
    struct admission_limits l = room(600);
    struct admission a;
    m.heap_bytes = 60 * MB;
    ck_assert_int_eq(admission_plan(&m, &l, &a), ERR_OK);
    ck_assert_uint_eq(a.pool_bytes, 90 * MB);
    ck_assert_uint_eq(a.needed_bytes, 510 * MB + 4 * BLOCK_TOKENS * 4096);
    m.heap_bytes = 150 * MB;
    ck_assert_int_eq(admission_plan(&m, &l, &a), ERR_MODEL_TOO_LARGE);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        pool_is_what_is_left, smallest_of_three_limits,   what_the_gpu_may_hold_is_one_more_limit,
        windows_come_first,   a_models_own_pool_must_fit, the_vocabulary_counts};
    return CHECK_RUN("admission", tests);
}
