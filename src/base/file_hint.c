#include "base/file_hint.h"

#include <fcntl.h>
#include <limits.h>

void file_will_need(int fd, uint64_t offset, uint64_t size_bytes) {
#ifdef __APPLE__
    struct radvisory hint = {.ra_offset = (off_t)offset,
                             .ra_count = size_bytes < INT_MAX ? (int)size_bytes : INT_MAX};
    (void)fcntl(fd, F_RDADVISE, &hint);
#else
    (void)posix_fadvise(fd, (off_t)offset, (off_t)size_bytes, POSIX_FADV_WILLNEED);
#endif
}
