#include "base/fault.h"

#include <pthread.h>
#include <stdatomic.h>

#include "check_run.h"

START_TEST(unarmed_ones_never_fire) {
    for (int i = 0; i < FAULT_COUNT; i++) {
        ck_assert(!fault_hit((enum fault)i, NULL));
        ck_assert(!fault_hang_if((enum fault)i));
        ck_assert_str_ne(fault_name((enum fault)i), "?");
        ck_assert_str_ne(fault_text((enum fault)i), "?");
    }
    ck_assert_str_eq(fault_name(FAULT_COUNT), "?");
}
END_TEST

START_TEST(it_fires_as_often_as_armed) {
    int64_t arg = 0;
    ck_assert_int_eq(fault_arm("decode_slow", 2, 17), ERR_OK);
    ck_assert(!fault_hit(FAULT_DECODE_FAIL, &arg));
    ck_assert_int_eq(arg, 0);
    ck_assert(fault_hit(FAULT_DECODE_SLOW, &arg));
    ck_assert_int_eq(arg, 17);
    ck_assert(fault_hit(FAULT_DECODE_SLOW, NULL));
    ck_assert(!fault_hit(FAULT_DECODE_SLOW, NULL));
    ck_assert_int_eq(fault_arm("no_such_fault", 1, 0), ERR_NOT_FOUND);
}
END_TEST

START_TEST(a_negative_count_lasts_until_cleared) {
    ck_assert_int_eq(fault_arm("disk_full", -1, 0), ERR_OK);
    for (int i = 0; i < 100; i++) ck_assert(fault_hit(FAULT_DISK_FULL, NULL));
    ck_assert_int_eq(fault_arm("disk_full", 0, 0), ERR_OK);
    ck_assert(!fault_hit(FAULT_DISK_FULL, NULL));
}
END_TEST

static _Atomic int fired;

static void *hit_many(void *arg UNUSED) {
    for (int i = 0; i < 10000; i++) fired += fault_hit(FAULT_KV_FLIP, NULL);
    return NULL;
}

START_TEST(threads_share_the_count) {
    pthread_t threads[4];
    ck_assert_int_eq(fault_arm("kv_flip", 12345, 0), ERR_OK);
    for (int i = 0; i < 4; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, hit_many, NULL), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    ck_assert_int_eq(fired, 12345);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {unarmed_ones_never_fire, it_fires_as_often_as_armed,
                                  a_negative_count_lasts_until_cleared, threads_share_the_count};
    return CHECK_RUN("fault", tests);
}
