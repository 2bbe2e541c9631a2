#include "front/seat_process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

#include "base/buf.h"
#include "base/mem.h"

#define SEAT_FD 3
#define ENVIRONMENT_MAX 256
#define DESCRIPTORS_MAX 65536 /* closed one by one where there is no close_range() */

extern char **environ;

#define FREE_WAIT_MS 100 /* what was killed is gone in a few, unless it hangs in the kernel */

struct seat_process {
    pid_t pid;
    struct channel *channel;
    bool measures, reaped;
    int status;
    int64_t kill_at_ns; /* 0: nobody wants its end by force */
};

/* Nothing of the user's environment reaches a program that parses files from strangers, but what it needs to run. */
static bool env_passes(const char *entry) {
    static const char *const NAMES[] = {
        "PATH=",         "HOME=",          "LANG=",         "LC_ALL=",      "TMPDIR=", "LD_LIBRARY_PATH=",
        "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS=", "LSAN_OPTIONS="};
    static const char *const PREFIXES[] = {"OMP_", "GGML_", "CUDA_", "HIP_", "ROCR_", "HOTSEAT_FAKE_"};
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++)
        if (!strncmp(entry, NAMES[i], strlen(NAMES[i]))) return true;
    for (size_t i = 0; i < ARRAY_LEN(PREFIXES); i++)
        if (!strncmp(entry, PREFIXES[i], strlen(PREFIXES[i]))) return true;
    return false;
}

static void close_from(int first) {
#if defined(__linux__) && defined(SYS_close_range)
    if (!syscall(SYS_close_range, (unsigned)first, ~0u, 0u)) return;
#endif
    long max = sysconf(_SC_OPEN_MAX);
    if (max < 0 || max > DESCRIPTORS_MAX) max = DESCRIPTORS_MAX;
    for (int fd = first; fd < max; fd++) close(fd);
}

/* After fork() in a process with threads: only what is safe in a signal handler. */
static void NORETURN child(int fd, int null_fd, const char *program, char *const *argv, char *const *env) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    static const int RESET[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGCHLD};
    for (size_t i = 0; i < ARRAY_LEN(RESET); i++) signal(RESET[i], SIG_DFL);
    if (fd == SEAT_FD) fcntl(fd, F_SETFD, 0);           /* dup2() onto itself would keep close-on-exec */
    bool ok = dup2(null_fd, 0) == 0 && dup2(2, 1) == 1; /* stdout belongs to the ready line */
    ok = ok && (fd == SEAT_FD || dup2(fd, SEAT_FD) == SEAT_FD);
    if (ok) {
        close_from(SEAT_FD + 1);
        execve(program, argv, env);
    }
    _exit(127);
}

static bool socket_pair(int fds[2]) {
#ifdef SOCK_CLOEXEC
    return !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
#else
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds)) return false;
    fcntl(fds[0], F_SETFD, FD_CLOEXEC);
    fcntl(fds[1], F_SETFD, FD_CLOEXEC);
    return true;
#endif
}

enum err seat_process_start(const char *program, bool measure, struct seat_process **ret) {
    char *argv[] = {NULL, NULL, NULL, NULL, NULL}, *env[ENVIRONMENT_MAX + 1];
    static char fd_option[] = "--fd", fd_value[] = "3", measure_option[] = "--measure";
    int fds[2], n_env = 0;
    *ret = NULL;
    struct seat_process *p = mem_alloc(sizeof *p);
    AUTO(mem_freep) char *name = mem_strdup(program);
    if (!p || !name) {
        mem_free(p);
        return ERR_NOMEM;
    }
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0 || !socket_pair(fds)) {
        if (null_fd >= 0) close(null_fd);
        mem_free(p);
        return ERR_IO;
    }
    p->measures = measure;
    argv[0] = name;
    argv[1] = fd_option;
    argv[2] = fd_value;
    if (measure) argv[3] = measure_option;
    for (char **e = environ; e && *e && n_env < ENVIRONMENT_MAX; e++)
        if (env_passes(*e)) env[n_env++] = *e;
    env[n_env] = NULL;
    p->pid = fork();
    if (!p->pid) child(fds[1], null_fd, program, argv, env);
    close(null_fd);
    close(fds[1]);
    enum err err = p->pid < 0 ? ERR_NOMEM : channel_open(fds[0], &p->channel);
    if (err) {
        close(fds[0]);
        if (p->pid > 0)
            seat_process_free(p); /* its socket is closed: it ends by itself, or is killed */
        else
            mem_free(p);
        return err;
    }
    *ret = p;
    return ERR_OK;
}

struct channel *seat_process_channel(struct seat_process *p) {
    return p->channel;
}
pid_t seat_process_pid(const struct seat_process *p) {
    return p->pid;
}

static void channel_drop(struct seat_process *p) {
    channel_free(TAKE(p->channel));
}

void seat_process_kill(struct seat_process *p) {
    if (!p->reaped) kill(p->pid, SIGKILL);
    channel_drop(p);
}

void seat_process_end(struct seat_process *p, int64_t kill_at_ns) {
    p->kill_at_ns = kill_at_ns;
    channel_drop(p);
}

bool seat_process_reap(struct seat_process *p, int64_t now_ns) {
    if (p->reaped) return true;
    pid_t got = waitpid(p->pid, &p->status, WNOHANG);
    p->reaped = got == p->pid || (got < 0 && errno == ECHILD);
    if (!p->reaped && p->kill_at_ns && now_ns >= p->kill_at_ns) {
        p->kill_at_ns = 0;
        kill(p->pid, SIGKILL);
    }
    return p->reaped;
}

bool seat_process_measures(const struct seat_process *p) {
    return p->measures;
}

bool seat_process_was_killed(const struct seat_process *p) {
    return p->reaped && WIFSIGNALED(p->status) && WTERMSIG(p->status) == SIGKILL;
}

const char *seat_process_status(const struct seat_process *p, char *room, size_t room_size) {
    if (!p->reaped)
        snprintf(room, room_size, "still running");
    else if (WIFSIGNALED(p->status))
        snprintf(room, room_size, "signal %d", WTERMSIG(p->status));
    else
        snprintf(room, room_size, "status %d", WEXITSTATUS(p->status));
    return room;
}

void seat_process_free(struct seat_process *p) {
    if (!p) return;
    channel_drop(p);
    if (!p->reaped) kill(p->pid, SIGKILL);
    for (int i = 0; i < FREE_WAIT_MS && !seat_process_reap(p, 0); i++) (void)poll(NULL, 0, 1);
    mem_free(p);
}

char *seat_program_path(const char *configured) {
    char path[PATH_MAX + 1];
    if (configured) return mem_strdup(configured);
    size_t n = 0;
#if defined(__APPLE__)
    uint32_t room = sizeof path - 1;
    if (!_NSGetExecutablePath(path, &room)) n = strlen(path);
#else
    ssize_t got = readlink("/proc/self/exe", path, sizeof path - 1);
    if (got > 0) n = (size_t)got;
#endif
    while (n && path[n - 1] != '/') n--;
    path[n] = '\0';
    return mem_printf("%shotseat-seat", n ? path : "./");
}
