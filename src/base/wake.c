#include "base/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#include "base/must.h"

#if defined(__linux__) && !defined(HOTSEAT_PORTABLE)

#include <sys/eventfd.h>

enum err wake_open(struct wake *ret) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) return ERR_IO;
    *ret = (struct wake){fd, fd};
    return ERR_OK;
}

void wake_close(struct wake *w) {
    close(w->read_fd);
    *w = (struct wake){-1, -1};
}

void wake_signal(const struct wake *w) {
    uint64_t one = 1;
    ssize_t n;
    do n = write(w->write_fd, &one, sizeof one);
    while (n < 0 && errno == EINTR);
    must(n == sizeof one || errno == EAGAIN); /* EAGAIN: 2^64 - 2 signals, it is readable */
}

void wake_clear(const struct wake *w) {
    uint64_t count;
    ssize_t n;
    do n = read(w->read_fd, &count, sizeof count);
    while (n < 0 && errno == EINTR);
    must(n == sizeof count || errno == EAGAIN);
}

#else

static int set_flags(int fd) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -1;
    return fcntl(fd, F_SETFD, FD_CLOEXEC);
}

enum err wake_open(struct wake *ret) {
    int fds[2];
    if (pipe(fds) != 0) return ERR_IO;
    if (set_flags(fds[0]) < 0 || set_flags(fds[1]) < 0) {
        close(fds[0]);
        close(fds[1]);
        return ERR_IO;
    }
    *ret = (struct wake){fds[0], fds[1]};
    return ERR_OK;
}

void wake_close(struct wake *w) {
    close(w->read_fd);
    close(w->write_fd);
    *w = (struct wake){-1, -1};
}

void wake_signal(const struct wake *w) {
    ssize_t n;
    do n = write(w->write_fd, "", 1);
    while (n < 0 && errno == EINTR);
    must(n == 1 || errno == EAGAIN); /* EAGAIN: the pipe is full, so it is readable */
}

void wake_clear(const struct wake *w) {
    char bytes[256];
    ssize_t n;
    do n = read(w->read_fd, bytes, sizeof bytes);
    while (n > 0 || (n < 0 && errno == EINTR));
    must(n < 0 && errno == EAGAIN);
}

#endif
