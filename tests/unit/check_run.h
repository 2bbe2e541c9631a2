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

/* A case with fixtures or loops of its own; main returns what this does. */
static inline int check_run_case(const char *name, TCase *tcase) {
    Suite *suite = suite_create(name);
    tcase_set_timeout(tcase, CHECK_RUN_TIMEOUT_S);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static inline int check_run(const char *name, const TTest *const *tests, size_t n) {
    TCase *tcase = tcase_create(name);
    for (size_t i = 0; i < n; i++) tcase_add_test(tcase, tests[i]);
    return check_run_case(name, tcase);
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
