/* net_linger.h - the soft end of a connection whose request was answered before it was read. A socket that is closed with
 * unread bytes sends a reset, and the reset can overtake the answer; so a second descriptor keeps the socket open after
 * the library has closed its own, what still comes is read and dropped, and the end is the peer's, or comes after 2 s.
 * Thread: the net thread. */
#ifndef HOTSEAT_HTTP_NET_LINGER_H
#define HOTSEAT_HTTP_NET_LINGER_H

#include <stdbool.h>
#include <stdint.h>

#define NET_LINGER_MAX 64 /* more at once are closed hard: a flood of bad requests gets no such courtesy */

struct net_linger {
    struct {
        int fd;
        int64_t until_ns;
    } items[NET_LINGER_MAX];
    uint32_t n;
};

/* fd stays the caller's. Before the caller (the library) closes it nothing is read. */
void net_linger_add(struct net_linger *l, int fd);
void net_linger_run(struct net_linger *l, int64_t now_ns); /* never blocks */
void net_linger_clear(struct net_linger *l);
uint32_t net_linger_count(const struct net_linger *l);

#endif
