/* listen.h - the listening socket. Thread: any. */
#ifndef HOTSEAT_HTTP_LISTEN_H
#define HOTSEAT_HTTP_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

struct listener {
    int fd;
    uint16_t port;    /* the real one, when 0 was asked for */
    bool loopback;    /* 127.0.0.0/8 or ::1 */
    char address[64]; /* as numbers; IPv6 in brackets */
};

/* host: a name or a numeric address. Non-blocking, closed on exec. why: a sentence for people, with address and reason.
 * ERR_INVALID (no such address), ERR_IO (taken, not permitted). */
enum err listen_open(const char *host, uint32_t port, struct listener *ret, char *why,
                     size_t why_size) NODISCARD;
/* Room for n sockets beside a few files: raises the soft limit of descriptors; returns how many sockets fit. */
uint32_t listen_make_room(uint32_t n);

#endif
