#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check_run.h"

START_TEST(appends_grow) {
    struct buf b = BUF(0);
    for (int i = 0; i < 10000; i++) buf_printf(&b, "%d,", i);
    ck_assert_int_eq(b.error, ERR_OK);
    char *s = buf_take_string(&b);
    ck_assert_ptr_nonnull(s);
    ck_assert_mem_eq(s, "0,1,2,", 6);
    ck_assert_str_eq(s + strlen(s) - 5, "9999,");
    ck_assert_ptr_null(b.data);
    mem_free(s);
}
END_TEST

START_TEST(the_cap_holds_and_is_remembered) {
    struct buf b = BUF(10);
    buf_puts(&b, "0123456789");
    ck_assert_int_eq(b.error, ERR_OK);
    ck_assert_uint_le(b.room, 10);
    buf_u8(&b, 'x');
    ck_assert_int_eq(b.error, ERR_LIMIT);
    buf_put(&b, "", 0);
    buf_puts(&b, "y");
    ck_assert_uint_eq(b.size, 10);
    ck_assert_mem_eq(b.data, "0123456789", 10);
    ck_assert_ptr_null(buf_reserve(&b, 1));
    ck_assert_ptr_null(buf_take_string(&b));
    ck_assert_uint_eq(b.size, 0);
    ck_assert_uint_eq(b.cap, 10);
    buf_puts(&b, "0123456789");
    char *s = buf_take_string(&b); /* the NUL does not count */
    ck_assert_str_eq(s, "0123456789");
    mem_free(s);
    buf_puts(&b, "01234567890");
    ck_assert_int_eq(b.error, ERR_LIMIT);
    buf_clear(&b);
    ck_assert_int_eq(b.error, ERR_OK);
    buf_put(&b, "x", SIZE_MAX); /* never copied: the size is looked at first */
    ck_assert_int_eq(b.error, ERR_LIMIT);
    buf_free(&b);
}
END_TEST

START_TEST(no_memory_keeps_what_was_there) {
    struct buf b = BUF(0);
    buf_puts(&b, "abc");
    mem_fail_at(1);
    char big[1000] = "";
    buf_put(&b, big, sizeof big);
    ck_assert_int_eq(b.error, ERR_NOMEM);
    ck_assert_uint_eq(b.size, 3);
    ck_assert_mem_eq(b.data, "abc", 3);
    buf_free(&b);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(reserve_and_consume) {
    struct buf b = BUF(0);
    memcpy(buf_reserve(&b, 5), "hello", 5);
    ck_assert_uint_eq(b.size, 0);
    b.size += 5;
    buf_consume(&b, 2);
    ck_assert_mem_eq(b.data, "llo", 3);
    buf_consume(&b, 0);
    buf_consume(&b, 3);
    ck_assert_uint_eq(b.size, 0);
    buf_free(&b);
}
END_TEST

START_TEST(numbers_read_back) {
    struct buf b = BUF(0);
    buf_u8(&b, 0xfe);
    buf_u16(&b, 0xfedc);
    buf_u32(&b, 0xfedcba98);
    buf_u64(&b, 0xfedcba9876543210);
    buf_f64(&b, -0.1);
    ck_assert_mem_eq(b.data + 1, "\xdc\xfe\x98\xba\xdc\xfe", 6); /* little-endian */
    struct cursor c = cursor_over(b.data, b.size);
    ck_assert_uint_eq(cursor_u8(&c), 0xfe);
    ck_assert_uint_eq(cursor_u16(&c), 0xfedc);
    ck_assert_uint_eq(cursor_u32(&c), 0xfedcba98);
    ck_assert_uint_eq(cursor_u64(&c), 0xfedcba9876543210);
    ck_assert_double_eq(cursor_f64(&c), -0.1);
    ck_assert_uint_eq(cursor_left(&c), 0);
    ck_assert(!c.error);
    buf_free(&b);
}
END_TEST

START_TEST(a_cursor_never_runs_past_the_end) {
    for (size_t size = 0; size < 8; size++) {
        uint8_t *data = malloc(size ? size : 1); /* exactly as large: ASan watches */
        memset(data, 0xff, size ? size : 1);
        struct cursor c = cursor_over(data, size);
        ck_assert_uint_eq(cursor_u64(&c), 0);
        ck_assert(c.error);
        ck_assert_uint_eq(cursor_u8(&c), 0); /* nothing is read after a failure */
        ck_assert_uint_eq(cursor_left(&c), 0);
        ck_assert_ptr_null(cursor_bytes(&c, 0));
        c = cursor_over(data, size);
        ck_assert_ptr_null(cursor_bytes(&c, SIZE_MAX));
        free(data);
    }
    struct cursor none = cursor_over(NULL, 0);
    ck_assert_ptr_nonnull(cursor_bytes(&none, 0)); /* no bytes of nothing is no error */
}
END_TEST

int main(void) {
    const TTest *const tests[] = {appends_grow,
                                  the_cap_holds_and_is_remembered,
                                  no_memory_keeps_what_was_there,
                                  reserve_and_consume,
                                  numbers_read_back,
                                  a_cursor_never_runs_past_the_end};
    return CHECK_RUN("buf", tests);
}
