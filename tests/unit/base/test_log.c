#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check_run.h"

static char text[1 << 16];

/* What the calls between begin and end wrote to stderr. */
static int pipe_fds[2], saved_stderr;

static void capture_begin(void) {
    ck_assert_int_eq(pipe(pipe_fds), 0);
    saved_stderr = dup(STDERR_FILENO);
    dup2(pipe_fds[1], STDERR_FILENO);
}

static const char *capture_end(void) {
    dup2(saved_stderr, STDERR_FILENO);
    close(pipe_fds[1]);
    size_t size = 0;
    ssize_t n;
    while ((n = read(pipe_fds[0], text + size, sizeof text - 1 - size)) > 0) size += (size_t)n;
    close(pipe_fds[0]);
    text[size] = '\0';
    return text;
}

START_TEST(one_line_with_what_is_always_there) {
    log_open(LOG_INFO, "front");
    log_context("r-12");
    capture_begin();
    log_info("swap.load", "model=%s pct=%d", "B", 40);
    log_debug("not.shown", "x=%d", 1);
    const char *line = capture_end();
    ck_assert_uint_eq(strspn(line, "ts=-0123456789T:.Z"), strlen("ts=2026-01-01T00:00:00.000Z"));
    ck_assert_ptr_nonnull(
        strstr(line, " level=info program=front id=swap.load request=r-12 model=B pct=40\n"));
    ck_assert_ptr_null(strstr(line, "not.shown"));
    log_context(NULL);
    log_set_level(LOG_DEBUG);
    capture_begin();
    log_debug("now.shown", "x=%d", 1);
    ck_assert_ptr_nonnull(strstr(capture_end(), " level=debug program=front id=now.shown x=1\n"));
}
END_TEST

START_TEST(values_are_quoted) {
    ck_assert_str_eq(log_q("plain-1.2/x"), "plain-1.2/x");
    ck_assert_str_eq(log_q("two words"), "\"two words\"");
    ck_assert_str_eq(log_q(""), "\"\"");
    ck_assert_str_eq(log_q(NULL), "null");
    ck_assert_str_eq(log_q("a\"b\\c\nd\x01"), "\"a\\\"b\\\\c\\nd\\x01\"");
    ck_assert_str_eq(log_q("k=v"), "\"k=v\"");
    const char *eight[8];
    char one[2] = "a";
    for (int i = 0; i < 8; i++, one[0]++) eight[i] = log_q(one);
    for (int i = 0; i < 8; i++) ck_assert_int_eq(eight[i][0], 'a' + i);
}
END_TEST

START_TEST(what_is_too_long_is_cut_and_says_so) {
    char big[10000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    const char *q = log_q(big);
    ck_assert_uint_lt(strlen(q), 512);
    ck_assert_str_eq(q + strlen(q) - 4, "...\"");
    memset(big, '\x02', sizeof big - 1);
    ck_assert_uint_lt(strlen(log_q(big)), 512);
    capture_begin();
    log_info("long", "a=%s", big);
    const char *line = capture_end();
    ck_assert_uint_le(strlen(line), 4096);
    ck_assert_str_eq(line + strlen(line) - 7, " cut=1\n");
}
END_TEST

START_TEST(nobody_writes_a_line_of_his_own) {
    log_context("r\nlevel=error id=fake");
    capture_begin();
    log_info("x", "v=%s", "a\nlevel=error id=fake\x1b[2J");
    const char *line = capture_end();
    ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
    ck_assert_ptr_null(strchr(line, '\x1b'));
    log_context(NULL);
}
END_TEST

START_TEST(a_reader_that_sleeps_costs_lines_not_time) {
    static char filler[4096];
    log_open(LOG_INFO, "test");
    capture_begin();
    ck_assert_int_eq(fcntl(pipe_fds[1], F_SETFL, O_NONBLOCK), 0);
    memset(filler, '.', sizeof filler);
    while (write(pipe_fds[1], filler, sizeof filler) > 0) continue;
    ck_assert_int_eq(fcntl(pipe_fds[1], F_SETFL, 0),
                     0); /* as the stderr of a daemon is: a write would wait */
    alarm(5);
    log_info("lost", "n=%d", 1);
    log_info("lost", "n=%d", 2);
    alarm(0);
    ck_assert_int_gt(read(pipe_fds[0], text, sizeof text - 1), 8192);
    log_info("found", "n=%d", 3);
    log_info("found", "n=%d", 4);
    const char *lines = capture_end();
    ck_assert_ptr_null(strstr(lines, "id=lost"));
    ck_assert_ptr_nonnull(strstr(lines, " id=found left_out=2 n=3\n"));
    ck_assert_ptr_nonnull(strstr(lines, " id=found n=4\n"));
}
END_TEST

START_TEST(what_clients_cause_is_limited) {
    static struct log_limit limit = LOG_LIMIT(3);
    int passed = 0;
    for (int i = 0; i < 100; i++) passed += log_limit_pass(&limit);
    ck_assert_int_eq(passed, 3);
    limit.window_start_ns -= 11000000000; /* as if ten seconds had gone by */
    capture_begin();
    if (log_limit_pass(&limit)) log_info("bad.client", "x=1");
    log_info("next", "x=2");
    const char *line = capture_end();
    ck_assert_ptr_nonnull(strstr(line, "id=bad.client left_out=97 x=1\n"));
    ck_assert_ptr_nonnull(strstr(line, "id=next x=2\n"));
}
END_TEST

int main(void) {
    const TTest *const tests[] = {one_line_with_what_is_always_there,        values_are_quoted,
                                  what_is_too_long_is_cut_and_says_so,       nobody_writes_a_line_of_his_own,
                                  a_reader_that_sleeps_costs_lines_not_time, what_clients_cause_is_limited};
    return CHECK_RUN("log", tests);
}
