#include "base/wake.h"

#include <poll.h>
#include <sys/resource.h>

#include "check_run.h"

static bool readable(const struct wake *w) {
    struct pollfd p = {.fd = w->read_fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

START_TEST(any_number_of_signals_are_cleared_at_once) {
    struct wake w;
    ck_assert_int_eq(wake_open(&w), ERR_OK);
    ck_assert(!readable(&w));
    wake_clear(&w);                                   /* nothing there: fine, and does not block */
    for (int i = 0; i < 100000; i++) wake_signal(&w); /* more than a pipe holds */
    ck_assert(readable(&w));
    wake_clear(&w);
    ck_assert(!readable(&w));
    wake_signal(&w);
    ck_assert(readable(&w));
    ck_assert(fcntl(w.read_fd, F_GETFD) & FD_CLOEXEC);
    wake_close(&w);
    ck_assert_int_eq(w.read_fd, -1);
}
END_TEST

START_TEST(no_descriptors_left_is_an_error) {
    struct wake w;
    struct rlimit few = {.rlim_cur = 64, .rlim_max = 64};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0); /* this test has a process of its own */
    int fds[64], n = 0;
    while ((fds[n] = open("/dev/null", O_RDONLY)) >= 0) n++;
    ck_assert_int_eq(wake_open(&w), ERR_IO);
    while (n > 0) close(fds[--n]);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {any_number_of_signals_are_cleared_at_once, no_descriptors_left_is_an_error};
    return CHECK_RUN("wake", tests);
}
