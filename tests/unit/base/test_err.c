#include "base/err.h"

#include <errno.h>
#include <string.h>

#include "check_run.h"

START_TEST(rows_are_complete) {
    for (int i = 0; i < ERR_COUNT; i++) {
        enum err err = (enum err)i;
        ck_assert_str_ne(err_name(err), "?");
        ck_assert_uint_gt(strlen(err_code(err)), 1);
        ck_assert_uint_gt(strlen(err_text(err)), 1);
        ck_assert_int_ge(err_http_status(err), 200);
        ck_assert_int_lt(err_http_status(err), 600);
        for (int j = 0; j < i; j++) ck_assert_str_ne(err_code(err), err_code((enum err)j));
        /* What clients see is one lower-case word. */
        ck_assert_uint_eq(strspn(err_code(err), "abcdefghijklmnopqrstuvwxyz_"), strlen(err_code(err)));
    }
}
END_TEST

START_TEST(rows_say_what_the_table_says) {
    ck_assert_str_eq(err_name(ERR_QUEUE_FULL), "QUEUE_FULL");
    ck_assert_str_eq(err_code(ERR_QUEUE_FULL), "queue_full");
    ck_assert_int_eq(err_http_status(ERR_QUEUE_FULL), 429);
    ck_assert(err_retryable(ERR_QUEUE_FULL));
    ck_assert(!err_retryable(ERR_INVALID));
    ck_assert_int_eq(ERR_OK, 0);
}
END_TEST

START_TEST(a_number_from_a_frame_may_be_no_error) {
    ck_assert_str_eq(err_name(ERR_COUNT), "?");
    ck_assert_str_eq(err_code((enum err)100000), "?");
    ck_assert_int_eq(err_http_status((enum err) - 1), 500);
    ck_assert(!err_retryable(ERR_COUNT));
    ck_assert_str_eq(err_text(ERR_COUNT), "unknown error");
}
END_TEST

START_TEST(errno_is_translated) {
    ck_assert_int_eq(err_from_errno(0), ERR_OK);
    ck_assert_int_eq(err_from_errno(ENOMEM), ERR_NOMEM);
    ck_assert_int_eq(err_from_errno(ENOSPC), ERR_DISK_FULL);
    ck_assert_int_eq(err_from_errno(EDQUOT), ERR_DISK_FULL);
    ck_assert_int_eq(err_from_errno(ENOENT), ERR_NOT_FOUND);
    ck_assert_int_eq(err_from_errno(ENOTDIR), ERR_NOT_FOUND);
    ck_assert_int_eq(err_from_errno(EIO), ERR_IO);
    ck_assert_int_eq(err_from_errno(EROFS), ERR_IO);
    ck_assert_int_eq(err_from_errno(EMFILE), ERR_NOMEM);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {rows_are_complete, rows_say_what_the_table_says,
                                  a_number_from_a_frame_may_be_no_error, errno_is_translated};
    return CHECK_RUN("err", tests);
}
