/* wake.h - one file descriptor that is readable while it is signalled: an eventfd on Linux, a pipe elsewhere.
 * Level, not count: any number of signals are cleared by one wake_clear(). Non-blocking, closed on exec.
 * Thread: wake_signal() any; the rest the owner's. */
#ifndef HOTSEAT_BASE_WAKE_H
#define HOTSEAT_BASE_WAKE_H

#include "base/attr.h"
#include "base/err.h"

struct wake {
    int read_fd, write_fd; /* the same one for an eventfd */
};

enum err wake_open(struct wake *ret) NODISCARD; /* ERR_IO: no descriptors left */
void wake_close(struct wake *w);
void wake_signal(const struct wake *w);
void wake_clear(const struct wake *w);

#endif
