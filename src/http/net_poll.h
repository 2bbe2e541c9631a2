/* net_poll.h - the one wait of the net thread: net_epoll.c on Linux, net_select.c elsewhere (and with HOTSEAT_PORTABLE).
 * The twins differ in how many connections they carry: select() counts up to descriptor 1,023, so that one serves about
 * 900. Thread: the net thread. */
#ifndef HOTSEAT_HTTP_NET_POLL_H
#define HOTSEAT_HTTP_NET_POLL_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

struct MHD_Daemon;
struct net_poll;

unsigned net_poll_daemon_flags(void);
uint32_t net_poll_connections_max(void);

enum err net_poll_open(struct net_poll **ret) NODISCARD; /* ERR_NOMEM, ERR_IO */
void net_poll_free(struct net_poll *p);
enum err net_poll_attach(struct net_poll *p, struct MHD_Daemon *daemon) NODISCARD;
enum err net_poll_wake_fd(struct net_poll *p,
                          int fd) NODISCARD; /* a reason to return; the caller empties it */
/* Says once, by net_poll_wait(), that the peer of this socket has closed its side or is gone. */
enum err net_poll_watch(struct net_poll *p, int fd, uint64_t client) NODISCARD;
void net_poll_unwatch(struct net_poll *p, int fd);
/* Waits at most timeout_ms, then lets the library work. ret_left: clients whose watch fired, at most max of them. */
size_t net_poll_wait(struct net_poll *p, int timeout_ms, uint64_t *ret_left, size_t max);
void net_poll_run(struct net_poll *p); /* lets the library work, without a wait */

#endif
