#include "seat/spares.h"

#include "base/mem.h"
#include "check_run.h"

#define KB 1024

static struct spares spares;
static int64_t live_before;

static void set_up(void) {
    live_before = mem_live_count();
    spares_init(&spares);
}

static void tear_down(void) {
    spares_free(&spares);
    ck_assert_int_eq(mem_live_count(), live_before);
}

/* A buffer with room for that many bytes, handed in; where its bytes were. */
static const uint8_t *keep(size_t size_bytes, uint64_t most_bytes) {
    struct buf b = BUF(0);
    const uint8_t *at = buf_reserve(&b, size_bytes);
    ck_assert_ptr_nonnull(at);
    b.size = size_bytes;
    spares_keep(&spares, &b, most_bytes);
    ck_assert_ptr_null(b.data);
    ck_assert_uint_eq(b.room, 0);
    return at;
}

static const uint8_t *take(void) {
    struct buf b = spares_take(&spares);
    const uint8_t *at = b.data;
    ck_assert_uint_eq(b.size, 0);
    ck_assert_int_eq(b.error, ERR_OK);
    buf_free(&b);
    return at;
}

START_TEST(the_one_used_last_is_taken_first) {
    const uint8_t *a = keep(4 * KB, 64 * KB), *b = keep(8 * KB, 64 * KB);
    ck_assert_uint_eq(spares.bytes, 12 * KB);
    ck_assert_ptr_eq(take(), b);
    ck_assert_ptr_eq(take(), a);
    ck_assert_ptr_null(take());
    ck_assert_uint_eq(spares.bytes, 0);
}
END_TEST

START_TEST(what_does_not_fit_the_bytes_is_freed) {
    keep(4 * KB, 10 * KB);
    keep(8 * KB, 10 * KB);
    ck_assert_uint_eq(spares.bytes, 4 * KB);
    keep(6 * KB, 10 * KB);
    ck_assert_uint_eq(spares.bytes, 10 * KB);
    ck_assert_uint_eq(spares.n, 2);
}
END_TEST

START_TEST(there_are_places_for_so_many) {
    for (int i = 0; i < SPARES_MAX + 3; i++) keep(KB, 64 * KB);
    ck_assert_uint_eq(spares.n, SPARES_MAX);
    ck_assert_uint_eq(spares.bytes, SPARES_MAX * KB);
}
END_TEST

START_TEST(a_trim_frees_those_that_lay_longest) {
    keep(4 * KB, 64 * KB);
    const uint8_t *b = keep(2 * KB, 64 * KB), *c = keep(2 * KB, 64 * KB);
    ck_assert_uint_eq(spares_trim(&spares, 8 * KB), 8 * KB);
    ck_assert_uint_eq(spares_trim(&spares, 5 * KB), 4 * KB);
    ck_assert_ptr_eq(take(), c);
    ck_assert_ptr_eq(take(), b);
    ck_assert_uint_eq(spares_trim(&spares, 0), 0);
}
END_TEST

/* An append that failed leaves no mark on who takes the buffer next. */
START_TEST(an_error_does_not_come_back) {
    struct buf b = BUF(0);
    ck_assert_ptr_nonnull(buf_reserve(&b, KB));
    b.error = ERR_NOMEM;
    spares_keep(&spares, &b, 64 * KB);
    ck_assert_ptr_nonnull(take());
}
END_TEST

int main(void) {
    Suite *suite = suite_create("spares");
    TCase *t = tcase_create("spares");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, the_one_used_last_is_taken_first);
    tcase_add_test(t, what_does_not_fit_the_bytes_is_freed);
    tcase_add_test(t, there_are_places_for_so_many);
    tcase_add_test(t, a_trim_frees_those_that_lay_longest);
    tcase_add_test(t, an_error_does_not_come_back);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
