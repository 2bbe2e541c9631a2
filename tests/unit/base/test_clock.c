#include "base/clock.h"

#include <time.h>

#include "check_run.h"

START_TEST(it_never_goes_back) {
    int64_t last = clock_now_ns();
    for (int i = 0; i < 100000; i++) {
        int64_t now = clock_now_ns();
        ck_assert_int_ge(now, last);
        last = now;
    }
}
END_TEST

START_TEST(wall_time_counts_from_1970) {
    int64_t wall_s = clock_wall_ns() / NS_PER_S, expected = (int64_t)time(NULL);
    ck_assert_int_ge(wall_s, expected - 2);
    ck_assert_int_le(wall_s, expected + 2);
}
END_TEST

START_TEST(a_thread_that_sleeps_uses_no_time) {
    int64_t began = clock_now_ns(), used = clock_thread_ns();
    nanosleep(&(struct timespec){.tv_nsec = 50 * NS_PER_MS}, NULL);
    ck_assert_int_lt(clock_thread_ns() - used, (clock_now_ns() - began) / 2);
    while (clock_thread_ns() - used < NS_PER_MS) continue;
}
END_TEST

int main(void) {
    const TTest *const tests[] = {it_never_goes_back, wall_time_counts_from_1970,
                                  a_thread_that_sleeps_uses_no_time};
    return CHECK_RUN("clock", tests);
}
