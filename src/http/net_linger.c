#include "http/net_linger.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define LINGER_NS (2 * NS_PER_S)
#define READS_PER_RUN 64

void net_linger_add(struct net_linger *l, int fd) {
    if (fd < 0 || l->n == NET_LINGER_MAX) return;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return;
    l->items[l->n].fd = copy;
    l->items[l->n++].until_ns = clock_now_ns() + LINGER_NS;
}

/* True when the peer has closed, or there is no end to what it sends. */
static bool drained(int fd) {
    static char sink[16384]; /* never read */
    for (int i = 0; i < READS_PER_RUN; i++) {
        ssize_t n = recv(fd, sink, sizeof sink, MSG_DONTWAIT);
        if (n == 0) return true;
        if (n < 0) return errno != EAGAIN && errno != EINTR;
    }
    return false;
}

void net_linger_run(struct net_linger *l, int64_t now_ns) {
    for (uint32_t i = 0; i < l->n;) {
        if (now_ns < l->items[i].until_ns && !drained(l->items[i].fd)) {
            i++;
            continue;
        }
        close(l->items[i].fd);
        l->items[i] = l->items[--l->n];
    }
}

void net_linger_clear(struct net_linger *l) {
    while (l->n > 0) close(l->items[--l->n].fd);
}

uint32_t net_linger_count(const struct net_linger *l) {
    return l->n;
}
