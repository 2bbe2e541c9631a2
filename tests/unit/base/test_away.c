#include "base/away.h"

#include "base/clock.h"
#include "check_run.h"

#define AT(s) (INT64_C(1000) * NS_PER_S + (int64_t)((s)*1e9))

START_TEST(it_goes_on_where_it_stood) {
    struct away a = {0};
    ck_assert_int_eq(away_look(&a, AT(0)), 0); /* the first look: nothing is known of before */
    ck_assert_int_eq(away_look(&a, AT(4)), 0); /* slow, but it ran */
    ck_assert_int_eq(a.now_ns, AT(4));
    ck_assert_int_eq(away_look(&a, AT(60)), 56 * NS_PER_S);
    ck_assert_int_eq(a.now_ns, AT(4));
    ck_assert_int_eq(away_look(&a, AT(61)), 0);
    ck_assert_int_eq(a.now_ns, AT(5));
    ck_assert_int_eq(away_look(&a, AT(91)), 30 * NS_PER_S);
    ck_assert_int_eq(away_look(&a, AT(92)), 0);
    ck_assert_int_eq(a.now_ns, AT(6));
    ck_assert_int_eq(a.gone_ns, 86 * NS_PER_S);
}
END_TEST

START_TEST(what_came_before_during_and_after) {
    struct away a = {0};
    away_look(&a, AT(0));
    away_look(&a, AT(1));
    away_look(&a, AT(60));
    ck_assert_int_eq(away_time_ns(&a, AT(0.5)), AT(0.5));
    ck_assert_int_eq(away_time_ns(&a, AT(1.2)),
                     AT(1)); /* it lay in the mailbox all the time, which is no time */
    ck_assert_int_eq(away_time_ns(&a, AT(59)), AT(1));
    away_look(&a, AT(60.2));
    ck_assert_int_eq(away_time_ns(&a, AT(0.5)), AT(0.5)); /* its body was still being read when it woke */
    ck_assert_int_eq(away_time_ns(&a, AT(1.2)), AT(1));
    ck_assert_int_eq(away_time_ns(&a, AT(60.1)), AT(1.1));
}
END_TEST

START_TEST(nothing_comes_in_the_future) {
    struct away a = {0};
    away_look(&a, AT(0));
    away_look(&a, AT(1)); /* frozen from here to 60, within this round */
    ck_assert_int_eq(away_time_ns(&a, AT(60)), AT(1));
}
END_TEST

int main(void) {
    const TTest *const tests[] = {it_goes_on_where_it_stood, what_came_before_during_and_after,
                                  nothing_comes_in_the_future};
    return CHECK_RUN("away", tests);
}
