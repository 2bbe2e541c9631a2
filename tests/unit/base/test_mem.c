#include "base/mem.h"

#include <string.h>

#include "check_run.h"

START_TEST(live_allocations_are_counted) {
    int64_t before = mem_live_count();
    char *a = mem_alloc(10), *b = mem_array(3, 4), *c = mem_realloc(NULL, 5), *d = mem_strdup("x");
    ck_assert_int_eq(mem_live_count(), before + 4);
    c = mem_realloc(c, 5000);
    ck_assert_ptr_nonnull(c);
    ck_assert_int_eq(mem_live_count(), before + 4);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(d);
    mem_free(NULL);
    ck_assert_int_eq(mem_live_count(), before);
}
END_TEST

START_TEST(memory_comes_zeroed) {
    unsigned char *p = mem_alloc(1000);
    for (int i = 0; i < 1000; i++) ck_assert_uint_eq(p[i], 0);
    mem_free(p);
    ck_assert_ptr_nonnull(p = mem_alloc(0));
    mem_free(p);
}
END_TEST

START_TEST(a_product_that_overflows_is_no_memory) {
    ck_assert_ptr_null(mem_array(SIZE_MAX / 2, 3));
    ck_assert_ptr_null(mem_array(SIZE_MAX, SIZE_MAX));
}
END_TEST

START_TEST(copies) {
    char *s = mem_strndup("abcdef", 3), *t = mem_strndup("ab", 10), *u = mem_printf("%d-%s", 7, "x");
    char *v = mem_dup("a\0b", 3);
    ck_assert_str_eq(s, "abc");
    ck_assert_str_eq(t, "ab");
    ck_assert_str_eq(u, "7-x");
    ck_assert_mem_eq(v, "a\0b", 3);
    ck_assert_ptr_null(mem_strdup(NULL));
    mem_free(s);
    mem_free(t);
    mem_free(u);
    mem_free(v);
}
END_TEST

START_TEST(the_nth_allocation_fails_once) {
    mem_fail_at(2);
    void *a = mem_alloc(1), *b = mem_alloc(1), *c = mem_alloc(1);
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_null(b);
    ck_assert_ptr_nonnull(c);
    mem_fail_at(1);
    ck_assert_ptr_null(mem_realloc(a, 100)); /* and a is still there */
    mem_fail_at(1);
    mem_fail_at(0);
    void *d = mem_alloc(1);
    ck_assert_ptr_nonnull(d);
    mem_free(a);
    mem_free(c);
    mem_free(d);
}
END_TEST

START_TEST(locals_that_own) {
    int64_t before = mem_live_count();
    char *kept;
    {
        AUTO(mem_freep) char *gone = mem_strdup("gone");
        AUTO(mem_freep) char *taken = mem_strdup("taken");
        ck_assert_str_eq(gone, "gone");
        kept = TAKE(taken);
        ck_assert_ptr_null(taken);
    }
    ck_assert_int_eq(mem_live_count(), before + 1);
    ck_assert_str_eq(kept, "taken");
    mem_free(kept);
    mem_trim();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {live_allocations_are_counted,          memory_comes_zeroed,
                                  a_product_that_overflows_is_no_memory, copies,
                                  the_nth_allocation_fails_once,         locals_that_own};
    return CHECK_RUN("mem", tests);
}
