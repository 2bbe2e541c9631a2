/* net_epoll.c - net_poll.h on Linux: our epoll holds the library's epoll, the wake descriptors, and one EPOLLRDHUP
 * watch for each request that is being answered. */
#if defined(__linux__) && !defined(HOTSEAT_PORTABLE)

#include <microhttpd.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "http/net_poll.h"

#define EVENTS_PER_WAIT 256
#define NO_CLIENT 0 /* client handles are never 0 */

struct net_poll {
    int fd;
    struct MHD_Daemon *daemon;
};

unsigned net_poll_daemon_flags(void) {
    return MHD_USE_EPOLL;
}

uint32_t net_poll_connections_max(void) {
    return CONNECTIONS_MAX;
}

enum err net_poll_open(struct net_poll **ret) {
    struct net_poll *p = mem_alloc(sizeof *p);
    if (!p) return ERR_NOMEM;
    p->fd = epoll_create1(EPOLL_CLOEXEC);
    if (p->fd < 0) {
        mem_free(p);
        return ERR_IO;
    }
    *ret = p;
    return ERR_OK;
}

void net_poll_free(struct net_poll *p) {
    if (!p) return;
    close(p->fd);
    mem_free(p);
}

static enum err add(struct net_poll *p, int fd, uint32_t events, uint64_t client) {
    struct epoll_event event = {.events = events, .data.u64 = client};
    return epoll_ctl(p->fd, EPOLL_CTL_ADD, fd, &event) == 0 ? ERR_OK : ERR_IO;
}

enum err net_poll_attach(struct net_poll *p, struct MHD_Daemon *daemon) {
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (!info) return ERR_IO;
    p->daemon = daemon;
    return add(p, info->epoll_fd, EPOLLIN, NO_CLIENT);
}

enum err net_poll_wake_fd(struct net_poll *p, int fd) {
    return add(p, fd, EPOLLIN, NO_CLIENT);
}

enum err net_poll_watch(struct net_poll *p, int fd, uint64_t client) {
    return add(p, fd, EPOLLRDHUP | EPOLLONESHOT, client);
}

void net_poll_unwatch(struct net_poll *p, int fd) {
    (void)epoll_ctl(p->fd, EPOLL_CTL_DEL, fd, NULL);
}

size_t net_poll_wait(struct net_poll *p, int timeout_ms, uint64_t *ret_left, size_t max) {
    struct epoll_event events[EVENTS_PER_WAIT];
    size_t n_left = 0;
    int n = epoll_wait(p->fd, events, max < EVENTS_PER_WAIT ? (int)max : EVENTS_PER_WAIT, timeout_ms);
    for (int i = 0; i < n; i++)
        if (events[i].data.u64 != NO_CLIENT) ret_left[n_left++] = events[i].data.u64;
    return n_left;
}

void net_poll_run(struct net_poll *p) {
    (void)MHD_run(p->daemon);
}

#else
typedef int net_epoll_is_not_built_here; /* a translation unit may not be empty */
#endif
