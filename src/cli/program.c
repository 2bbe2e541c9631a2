#include "cli/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define ANSWER_NS (10 * NS_PER_S) /* it loads nothing: milliseconds, but for a cold disk */

extern char **environ;

/* Until the other end closes; what finds no room is read all the same. */
static enum err read_all(int fd, char *room, size_t room_size) {
    int64_t until_ns = clock_now_ns() + ANSWER_NS;
    size_t at = 0;
    for (;;) {
        char rest[256];
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left_ns = until_ns - clock_now_ns();
        if (left_ns <= 0) return ERR_TIMEOUT;
        if (poll(&p, 1, (int)(left_ns / NS_PER_MS) + 1) <= 0) continue;
        bool full = at + 1 >= room_size;
        ssize_t n = read(fd, full ? rest : room + at, full ? sizeof rest : room_size - 1 - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        if (!full) at += (size_t)n;
    }
    room[at] = '\0';
    room[strcspn(room, "\r\n")] = '\0';
    return ERR_OK;
}

static pid_t start(const char *program, int out_fd) {
    posix_spawn_file_actions_t actions;
    AUTO(mem_freep) char *name = mem_strdup(program);
    static char option[] = "--version";
    char *const arguments[] = {name, option, NULL};
    pid_t pid = -1;
    if (!name || posix_spawn_file_actions_init(&actions) != 0) return -1;
    if (posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0) != 0 ||
        posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO) != 0 ||
        posix_spawn(&pid, program, &actions, NULL, arguments, environ) != 0)
        pid = -1;
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

enum err program_version(const char *program, char *room, size_t room_size) {
    int fds[2];
    room[0] = '\0';
    if (pipe(fds) != 0) return ERR_IO;
    fcntl(fds[0], F_SETFD, FD_CLOEXEC);
    fcntl(fds[1], F_SETFD, FD_CLOEXEC);
    pid_t pid = start(program, fds[1]);
    close(fds[1]);
    enum err err = pid > 0 ? read_all(fds[0], room, room_size) : ERR_IO;
    close(fds[0]);
    if (pid <= 0) return ERR_IO;
    if (err) kill(pid, SIGKILL);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (err) return err;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 && room[0] ? ERR_OK : ERR_IO;
}
