#include "store/disk_ops.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"

/* Linux takes at most 2 GB a call; smaller pieces also keep a signal's delay short. */
#define WRITE_PIECE_BYTES (64u << 20)

static void be_slow(void) {
    int64_t ms = 0;
    if (!fault_hit(FAULT_DISK_SLOW, &ms) || ms <= 0) return;
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NS_PER_MS};
    while (nanosleep(&ts, &ts) != 0 && errno == EINTR) {
    }
}

/* Every call that changes the disk goes through here first. */
static enum err may_write(void) {
    be_slow();
    if (fault_hit(FAULT_DISK_FULL, NULL)) return err_from_errno(ENOSPC);
    if (fault_hit(FAULT_DISK_READONLY, NULL)) return err_from_errno(EROFS);
    return ERR_OK;
}

static enum err real_make_dir(void *ctx UNUSED, const char *path, bool *ret_made) {
    *ret_made = false;
    enum err err = may_write();
    if (err) return err;
    if (mkdir(path, 0700) == 0) {
        *ret_made = true;
        return ERR_OK;
    }
    if (errno != EEXIST) return err_from_errno(errno);
    struct stat st;
    if (stat(path, &st) != 0) return err_from_errno(errno);
    return S_ISDIR(st.st_mode) ? ERR_OK : ERR_IO;
}

static enum err real_create(void *ctx UNUSED, const char *path, int *ret_fd) {
    enum err err = may_write();
    if (err) return err;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return err_from_errno(errno);
    *ret_fd = fd;
    return ERR_OK;
}

static enum err real_write(void *ctx UNUSED, int fd, const void *data, size_t size_bytes) {
    enum err err = may_write();
    if (err) return err;
    const char *at = data;
    while (size_bytes > 0) {
        ssize_t n = write(fd, at, size_bytes < WRITE_PIECE_BYTES ? size_bytes : WRITE_PIECE_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_from_errno(errno);
        if (n == 0) return ERR_IO;
        at += n;
        size_bytes -= (size_t)n;
    }
    return ERR_OK;
}

static int sync_fd(int fd) {
#ifdef __APPLE__
    if (fcntl(fd, F_FULLFSYNC) == 0) return 0; /* fsync there stops at the drive's own cache */
#endif
    return fsync(fd);
}

static enum err real_sync(void *ctx UNUSED, int fd) {
    enum err err = may_write();
    if (err) return err;
    return sync_fd(fd) == 0 ? ERR_OK : err_from_errno(errno);
}

static void real_close(void *ctx UNUSED, int fd) {
    close(fd);
}

static enum err real_rename(void *ctx UNUSED, const char *from, const char *to) {
    enum err err = may_write();
    if (err) return err;
    return rename(from, to) == 0 ? ERR_OK : err_from_errno(errno);
}

static enum err real_sync_dir(void *ctx UNUSED, const char *path) {
    enum err err = may_write();
    if (err) return err;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return err_from_errno(errno);
    err = fsync(fd) == 0 ? ERR_OK : err_from_errno(errno);
    close(fd);
    return err;
}

/* A full disk can still forget: only a read-only one can't. */
static enum err may_remove(void) {
    be_slow();
    return fault_hit(FAULT_DISK_READONLY, NULL) ? err_from_errno(EROFS) : ERR_OK;
}

static enum err real_remove(void *ctx UNUSED, const char *path) {
    enum err err = may_remove();
    if (err) return err;
    return unlink(path) == 0 ? ERR_OK : err_from_errno(errno);
}

static enum err real_remove_dir(void *ctx UNUSED, const char *path) {
    enum err err = may_remove();
    if (err) return err;
    return rmdir(path) == 0 ? ERR_OK : err_from_errno(errno);
}

static enum err real_open(void *ctx UNUSED, const char *path, int *ret_fd, uint64_t *ret_size) {
    be_slow();
    /* O_NONBLOCK: a named pipe put there by somebody does not hang us; it is refused below. */
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return err_from_errno(errno);
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return ERR_IO;
    }
    *ret_fd = fd;
    *ret_size = (uint64_t)st.st_size;
    return ERR_OK;
}

static enum err real_read(void *ctx UNUSED, int fd, void *data, size_t size_bytes, uint64_t offset) {
    be_slow();
    char *at = data;
    while (size_bytes > 0) {
        ssize_t n = pread(fd, at, size_bytes, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_from_errno(errno);
        if (n == 0) return ERR_EOF;
        at += n;
        offset += (uint64_t)n;
        size_bytes -= (size_t)n;
    }
    return ERR_OK;
}

#define HINT_BYTES                                                                                           \
    (128 << 10) /* Linux takes one for no more than the device's read-ahead size: 128 KB is the usual one */

static void real_read_ahead(void *ctx UNUSED, int fd, uint64_t size_bytes) {
#ifdef __APPLE__
    struct radvisory hint = {.ra_count = size_bytes < INT_MAX ? (int)size_bytes : INT_MAX};
    (void)fcntl(fd, F_RDADVISE, &hint);
#else
    for (uint64_t at = 0; at < size_bytes; at += HINT_BYTES)
        (void)posix_fadvise(fd, (off_t)at, HINT_BYTES, POSIX_FADV_WILLNEED);
#endif
}

static enum err real_stat(void *ctx UNUSED, const char *path, struct disk_stat *ret) {
    be_slow();
    struct stat st;
    if (lstat(path, &st) != 0) return err_from_errno(errno);
    *ret = (struct disk_stat){.size_bytes = (uint64_t)st.st_size,
                              .mtime_s = (int64_t)st.st_mtime,
                              .inode = (uint64_t)st.st_ino,
                              .device = (uint64_t)st.st_dev,
                              .is_dir = S_ISDIR(st.st_mode)};
    return ERR_OK;
}

static enum err real_list(void *ctx UNUSED, const char *path, disk_list_fn fn, void *list_ctx) {
    be_slow();
    DIR *dir = opendir(path);
    if (!dir) return err_from_errno(errno);
    enum err err = ERR_OK;
    while (!err) {
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (!e) {
            if (errno != 0) err = err_from_errno(errno);
            break;
        }
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) err = fn(list_ctx, e->d_name);
    }
    closedir(dir);
    return err;
}

static enum err real_database_write(void *ctx UNUSED) {
    return may_write();
}

const struct disk_ops disk_ops_real = {
    .make_dir = real_make_dir,
    .create = real_create,
    .write = real_write,
    .sync = real_sync,
    .close = real_close,
    .rename = real_rename,
    .sync_dir = real_sync_dir,
    .remove = real_remove,
    .remove_dir = real_remove_dir,
    .open = real_open,
    .read = real_read,
    .read_ahead = real_read_ahead,
    .stat = real_stat,
    .list = real_list,
    .database_write = real_database_write,
};

uint64_t disk_bytes_of(uint64_t size_bytes) {
    return (size_bytes + DISK_UNIT_BYTES - 1) / DISK_UNIT_BYTES * DISK_UNIT_BYTES;
}
