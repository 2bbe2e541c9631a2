/* net_select.c - net_poll.h with select(), where there is no epoll. The library has no poll() for programs that wait
 * themselves, so descriptors from FD_SETSIZE (1,024) on can't be served: about 900 connections. A watched socket that is
 * readable is looked at with MSG_PEEK: nothing there means the peer has closed; bytes there are its next request, and the
 * watch ends, for it could not see past them. */
#if !defined(__linux__) || defined(HOTSEAT_PORTABLE)

#include <errno.h>
#include <microhttpd.h>
#include <sys/select.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "http/net_poll.h"

#define SELECT_CONNECTIONS_MAX 900
#define WAKE_FDS_MAX 8

struct net_poll {
    struct MHD_Daemon *daemon;
    int wake_fds[WAKE_FDS_MAX];
    int n_wake_fds;
    uint64_t watched[FD_SETSIZE]; /* by descriptor; 0: not watched */
    int watched_end;              /* one past the highest that was ever watched */
    fd_set read, write, except;   /* what the last wait found */
};

unsigned net_poll_daemon_flags(void) {
    return 0;
}

uint32_t net_poll_connections_max(void) {
    return SELECT_CONNECTIONS_MAX;
}

enum err net_poll_open(struct net_poll **ret) {
    *ret = mem_alloc(sizeof **ret);
    return *ret ? ERR_OK : ERR_NOMEM;
}

void net_poll_free(struct net_poll *p) {
    mem_free(p);
}

enum err net_poll_attach(struct net_poll *p, struct MHD_Daemon *daemon) {
    p->daemon = daemon;
    return ERR_OK;
}

enum err net_poll_wake_fd(struct net_poll *p, int fd) {
    if (fd >= FD_SETSIZE || p->n_wake_fds == WAKE_FDS_MAX) return ERR_IO;
    p->wake_fds[p->n_wake_fds++] = fd;
    return ERR_OK;
}

enum err net_poll_watch(struct net_poll *p, int fd, uint64_t client) {
    if (fd >= FD_SETSIZE) return ERR_IO;
    p->watched[fd] = client;
    if (fd >= p->watched_end) p->watched_end = fd + 1;
    return ERR_OK;
}

void net_poll_unwatch(struct net_poll *p, int fd) {
    if (fd >= 0 && fd < FD_SETSIZE) p->watched[fd] = 0;
}

static size_t find_left(struct net_poll *p, uint64_t *ret_left, size_t max) {
    size_t n = 0;
    for (int fd = 0; fd < p->watched_end && n < max; fd++) {
        char byte;
        if (p->watched[fd] == 0 || !FD_ISSET(fd, &p->read)) continue;
        ssize_t got = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (got <= 0) ret_left[n++] = p->watched[fd];
        p->watched[fd] = 0;
    }
    return n;
}

size_t net_poll_wait(struct net_poll *p, int timeout_ms, uint64_t *ret_left, size_t max) {
    struct timeval timeout = {.tv_sec = timeout_ms / 1000, .tv_usec = (timeout_ms % 1000) * 1000};
    MHD_socket highest = -1;
    FD_ZERO(&p->read);
    FD_ZERO(&p->write);
    FD_ZERO(&p->except);
    (void)MHD_get_fdset2(p->daemon, &p->read, &p->write, &p->except, &highest, FD_SETSIZE);
    for (int i = 0; i < p->n_wake_fds; i++) {
        FD_SET(p->wake_fds[i], &p->read);
        if (p->wake_fds[i] > highest) highest = p->wake_fds[i];
    }
    for (int fd = 0; fd < p->watched_end; fd++)
        if (p->watched[fd]) {
            FD_SET(fd, &p->read);
            if (fd > highest) highest = fd;
        }
    if (select(highest + 1, &p->read, &p->write, &p->except, &timeout) < 0) {
        FD_ZERO(&p->read);
        FD_ZERO(&p->write);
        FD_ZERO(&p->except);
        return 0;
    }
    return find_left(p, ret_left, max);
}

void net_poll_run(struct net_poll *p) {
    (void)MHD_run(p->daemon);
}

#else
typedef int net_select_is_not_built_here; /* a translation unit may not be empty */
#endif
