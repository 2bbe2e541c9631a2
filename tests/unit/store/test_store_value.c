#include "store/store_value.h"

#include "store_rig.h"

static double score(struct store_worth w, uint32_t cost) {
    return store_value_score(1000, store_value_class(&w), cost);
}

static const struct store_worth block = {.n_tokens = 256, .uses = 1, .bytes = 3 << 20};

START_TEST(what_saves_more_a_byte_stays_longer) {
    struct store_worth fat = block, used = block, window = block, stranded = block;
    fat.bytes *= 4;
    used.uses = 8;
    window.window = true;
    stranded.stranded = true;
    ck_assert_double_gt(score(fat, 100), 3.9 * score(block, 100));
    ck_assert_double_lt(score(used, 100), score(block, 100) / 3.9);
    ck_assert_double_gt(score(window, 100), score(block, 100));
    ck_assert_double_gt(score(stranded, 100), score(window, 100));
    ck_assert_double_eq_tol(score(block, 1000), score(block, 100) / 10, 1e-12);
}
END_TEST

START_TEST(older_goes_first_at_equal_value) {
    uint8_t c = store_value_class(&block);
    ck_assert_double_gt(store_value_score(11, c, 7), store_value_score(10, c, 7));
    ck_assert_double_gt(store_value_score(11, c, 0), store_value_score(10, c, 0)); /* nobody told the cost */
}
END_TEST

START_TEST(every_part_has_a_class_and_bounds_hold) {
    const uint64_t bytes[] = {0, 1, 4096, 1 << 20, UINT64_C(1) << 30, UINT64_MAX};
    const uint32_t uses[] = {0, 1, 2, 15, 16, STORE_USES_MAX, UINT32_MAX}, tokens[] = {0, 1, 256};
    for (size_t b = 0; b < ARRAY_LEN(bytes); b++)
        for (size_t u = 0; u < ARRAY_LEN(uses); u++)
            for (size_t t = 0; t < ARRAY_LEN(tokens); t++) {
                struct store_worth w = {.n_tokens = tokens[t], .uses = uses[u], .bytes = bytes[b]};
                ck_assert_uint_lt(store_value_class(&w), STORE_CLASSES);
                w.window = w.stranded = true;
                ck_assert_uint_lt(store_value_class(&w), STORE_CLASSES);
            }
    struct store_worth once = block, never = block, many = block, more = block;
    never.uses = 0, many.uses = 16, more.uses = 200;
    ck_assert_uint_eq(store_value_class(&once), store_value_class(&never));
    ck_assert_uint_eq(store_value_class(&many), store_value_class(&more));
}
END_TEST

int main(void) {
    const TTest *const tests[] = {what_saves_more_a_byte_stays_longer, older_goes_first_at_equal_value,
                                  every_part_has_a_class_and_bounds_hold};
    return CHECK_RUN("store_value", tests);
}
