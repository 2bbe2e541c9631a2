#include <string.h>

#include "base/limits.h"
#include "check_run.h"
#include "seat/block_pool.h"

#define MB (UINT64_C(1) << 20)

static char why[256];

static struct block_pool make(struct pool_spec spec, uint64_t budget) {
    struct block_pool p = {0};
    ck_assert_msg(block_pool_reconfigure(&p, &spec, budget, why, sizeof why) == ERR_OK, "%s", why);
    ck_assert_uint_eq(p.n_free, p.n_blocks);
    return p;
}

START_TEST(bytes_become_blocks) {
    struct block_pool p =
        make((struct pool_spec){.base_bytes_per_token = 4096, .context_train = 8192, .parallel = 4}, 64 * MB);
    ck_assert_uint_eq(p.n_blocks, 64);
    ck_assert_uint_eq(p.context, 8192);
    ck_assert_uint_ge(p.n_seqs, 4);
}
END_TEST

START_TEST(never_more_than_twice_what_full_contexts_need) {
    struct block_pool p =
        make((struct pool_spec){.base_bytes_per_token = 64, .context_train = 1000, .parallel = 3}, 4096 * MB);
    ck_assert_uint_eq(p.n_blocks, 2 * 3 * 4);
}
END_TEST

START_TEST(a_small_pool_shortens_the_context) {
    struct block_pool p = make(
        (struct pool_spec){.base_bytes_per_token = 4096, .context_train = 131072, .parallel = 1}, 3 * MB);
    ck_assert_uint_eq(p.n_blocks, 3);
    ck_assert_uint_eq(p.context, 3 * BLOCK_TOKENS);
}
END_TEST

START_TEST(windows_are_paid_first) {
    struct pool_spec spec = {.base_bytes_per_token = 4096,
                             .window_bytes_per_seq = 10 * MB,
                             .context_train = 131072,
                             .parallel = 2};
    struct block_pool p = make(spec, 100 * MB);
    ck_assert_uint_ge(p.n_seqs, 2);
    ck_assert_uint_le(p.n_seqs * spec.window_bytes_per_seq + p.n_blocks * (uint64_t)MB, 100 * MB);
    struct block_pool tiny = {0};
    ck_assert_int_eq(block_pool_reconfigure(&tiny, &spec, 21 * MB, why, sizeof why), ERR_MODEL_TOO_LARGE);
    ck_assert_msg(strstr(why, "22020096"), "%s", why); /* what there is */
    ck_assert_msg(strstr(why, "23068672"), "%s", why); /* what is needed: 2 x (10 MB + 1 MB) */
}
END_TEST

START_TEST(all_or_nothing) {
    struct block_pool p =
        make((struct pool_spec){.base_bytes_per_token = 4096, .context_train = 8192, .parallel = 1}, 10 * MB);
    ck_assert(block_pool_get(&p, 7));
    ck_assert(!block_pool_get(&p, 4));
    ck_assert(block_pool_get(&p, 3));
    ck_assert_uint_eq(p.n_free, 0);
    block_pool_put(&p, 10);
    ck_assert_uint_eq(p.n_free, 10);
}
END_TEST

static void put_too_many(void) {
    struct block_pool p = {.n_blocks = 2, .n_free = 2};
    block_pool_put(&p, 1);
}
START_TEST(a_block_comes_back_once) {
    ck_assert(check_aborts(put_too_many));
}
END_TEST

int main(void) {
    const TTest *const tests[] = {bytes_become_blocks,    never_more_than_twice_what_full_contexts_need,
                                  windows_are_paid_first, a_small_pool_shortens_the_context,
                                  all_or_nothing,         a_block_comes_back_once};
    return CHECK_RUN("block_pool", tests);
}
