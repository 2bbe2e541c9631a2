#include "http/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024  /* connections that come while the net thread is busy; the kernel may take fewer */
#define OTHER_FDS 128 /* log, seat, mailboxes, epoll, scans of model folders */

static bool is_loopback(const struct sockaddr_storage *a) {
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)a;
        return (ntohl(in->sin_addr.s_addr) >> 24) == 127;
    }
    if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)a;
        return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    }
    return false;
}

static uint16_t port_of(const struct sockaddr_storage *a) {
    if (a->ss_family == AF_INET6) return ntohs(((const struct sockaddr_in6 *)(const void *)a)->sin6_port);
    return a->ss_family == AF_INET ? ntohs(((const struct sockaddr_in *)(const void *)a)->sin_port) : 0;
}

static void write_address(const struct sockaddr_storage *a, socklen_t size, char *out, size_t out_size) {
    char text[INET6_ADDRSTRLEN] = "";
    bool brackets = a->ss_family == AF_INET6;
    (void)getnameinfo((const struct sockaddr *)a, size, text, sizeof text, NULL, 0, NI_NUMERICHOST);
    snprintf(out, out_size, "%s%s%s", brackets ? "[" : "", text, brackets ? "]" : "");
}

static bool set_flags(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

/* errno says why not. */
static int open_one(const struct addrinfo *ai) {
    int yes = 1;
    int fd = socket(ai->ai_family, ai->ai_socktype, ai->ai_protocol);
    if (fd < 0) return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (!set_flags(fd) || bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static void explain(const char *host, uint32_t port, int errnum, char *why, size_t why_size) {
    if (errnum == EADDRINUSE)
        snprintf(why, why_size, "%s:%u is taken by another program; choose another --port (0: a free one)",
                 host, port);
    else if (errnum == EACCES)
        snprintf(why, why_size, "%s:%u may not be opened by this user; ports below 1024 are the system's",
                 host, port);
    else
        snprintf(why, why_size, "can't listen on %s:%u: %s", host, port, strerror(errnum));
}

enum err listen_open(const char *host, uint32_t port, struct listener *ret, char *why, size_t why_size) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
    char service[16];
    snprintf(service, sizeof service, "%u", port);
    int rc = port > UINT16_MAX ? EAI_SERVICE : getaddrinfo(host, service, &hints, &list);
    if (rc != 0) {
        snprintf(why, why_size, "--host %s, --port %u: %s", host, port, gai_strerror(rc));
        return ERR_INVALID;
    }
    int fd = -1, errnum = 0;
    for (const struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next) {
        fd = open_one(ai);
        errnum = fd < 0 ? errno : 0;
    }
    freeaddrinfo(list);
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (fd < 0 || getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        explain(host, port, errnum ? errnum : errno, why, why_size);
        if (fd >= 0) close(fd);
        return ERR_IO;
    }
    *ret = (struct listener){.fd = fd, .port = port_of(&address), .loopback = is_loopback(&address)};
    write_address(&address, size, ret->address, sizeof ret->address);
    return ERR_OK;
}

uint32_t listen_make_room(uint32_t n) {
    struct rlimit limit;
    rlim_t wanted = (rlim_t)n * 2 + OTHER_FDS; /* a closing socket may linger beside its successor */
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return n;
    if (limit.rlim_cur < wanted) {
        rlim_t before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > wanted ? wanted : limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = before;
    }
    if (limit.rlim_cur >= wanted) return n;
    rlim_t fit = limit.rlim_cur > OTHER_FDS + 16 ? limit.rlim_cur - OTHER_FDS : 16;
    return fit < n ? (uint32_t)fit : n;
}
