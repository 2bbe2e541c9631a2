#include <sys/stat.h>

#include "base/file_system.h"
#include "check_run.h"

START_TEST(what_is_not_there_is_unknown) {
    ck_assert_int_eq(file_system_of("/no such folder/at all"), FILE_SYSTEM_UNKNOWN);
}
END_TEST

START_TEST(memory_is_told_from_a_disk) {
    struct stat st;
#if defined(__linux__) && !defined(HOTSEAT_PORTABLE)
    if (stat("/dev/shm", &st) == 0) ck_assert_int_eq(file_system_of("/dev/shm"), FILE_SYSTEM_MEMORY);
    ck_assert_int_eq(file_system_of("/proc"), FILE_SYSTEM_LOCAL);
#elif defined(HOTSEAT_PORTABLE)
    ck_assert_int_eq(stat("/", &st), 0);
    ck_assert_int_eq(file_system_of("/"), FILE_SYSTEM_UNKNOWN);
#endif
}
END_TEST

int main(void) {
    const TTest *tests[] = {what_is_not_there_is_unknown, memory_is_told_from_a_disk};
    return CHECK_RUN("file_system", tests);
}
