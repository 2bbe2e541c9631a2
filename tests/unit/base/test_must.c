#include "base/must.h"

#include <stdio.h>
#include <string.h>

#include "check_run.h"

enum { LINE_OF_THE_BUG = __LINE__ + 2 };
static void say_that_two_is_three(void) {
    must(1 + 1 == 3);
}

START_TEST(a_true_one_does_nothing) {
    const char *expected = "";
    must(1);
    must(expected != NULL);
}
END_TEST

START_TEST(a_false_one_ends_the_process) {
    ck_assert(check_aborts(say_that_two_is_three));
}
END_TEST

START_TEST(its_report_is_one_line_with_the_place) {
    int fds[2];
    char text[1024] = "";
    ck_assert_int_eq(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        say_that_two_is_three();
    }
    close(fds[1]);
    ssize_t n = read(fds[0], text, sizeof text - 1);
    close(fds[0]);
    ck_assert_int_gt(n, 0);
    ck_assert_ptr_nonnull(strstr(text, "id=must expr=\"1 + 1 == 3\" file="));
    char place[64];
    snprintf(place, sizeof place, "test_must.c line=%d func=say_that_two_is_three", LINE_OF_THE_BUG);
    ck_assert_ptr_nonnull(strstr(text, place));
    ck_assert_ptr_eq(strchr(text, '\n'), text + n - 1);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {a_true_one_does_nothing, a_false_one_ends_the_process,
                                  its_report_is_one_line_with_the_place};
    return CHECK_RUN("must", tests);
}
