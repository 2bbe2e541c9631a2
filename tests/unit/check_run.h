/* check_run.h - what every unit test's main needs: one suite, one case, a time limit, and a way to see a must() fire. */
#ifndef HOTSEAT_TESTS_CHECK_RUN_H
#define HOTSEAT_TESTS_CHECK_RUN_H

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK_RUN_TIMEOUT_S 120 /* sanitizers on a busy machine are 20 times slower than a release build */

static inline int check_run(const char *name, const TTest *const *tests, size_t n) {
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, CHECK_RUN_TIMEOUT_S);
    for (size_t i = 0; i < n; i++) tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
#define CHECK_RUN(name, tests) check_run(name, tests, sizeof(tests) / sizeof((tests)[0]))

/* Does this end the process with SIGABRT, as a must() does? Its report is not shown. */
static inline bool check_aborts(void (*what)(void)) {
    pid_t pid = fork();
    if (pid == 0) {
        int null_fd = open("/dev/null", O_WRONLY);
        dup2(null_fd, STDERR_FILENO);
        what();
        _exit(0);
    }
    int status = 0;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

#endif
