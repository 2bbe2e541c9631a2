#include "base/page_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#if defined(POSIX_FADV_DONTNEED) && !defined(HOTSEAT_PORTABLE)

enum err page_cache_forget(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_from_errno(errno);
    int rc = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    return rc ? err_from_errno(rc) : ERR_OK;
}

#else

enum err page_cache_forget(const char *path UNUSED) {
    return ERR_UNSUPPORTED;
}

#endif
