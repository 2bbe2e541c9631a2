/* Whose folder it is. Rules:
 *   OURS      a folder that holds nothing but our files is closed to others (0700). One that holds something else keeps its mode, for
 *             what we make in it is closed by itself (blocks/ 0700, files 0600); if others can write in it, it is refused.
 *   CURRENT   a lock counts only while its file is the one that the folder has: a folder may be removed between open and flock.
 *   LOST      a store whose database or blocks are not where they were opened forgets nothing and is opened anew; but the mount
 *             point of a disk that was taken away is no place to make its folder in. */
#include "store/store_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"

#define LOCK_TRIES 16 /* each one lost to somebody who removes the folder in that very moment */

/* ---- making it ---- */

static enum err sync_above(const struct disk_ops *disk, const char *path) {
    char above[STORE_DIR_BYTES_MAX + 296];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    must(n < sizeof above);
    memcpy(above, path, n);
    above[n] = '\0';
    return disk->sync_dir(disk->ctx, n > 0 ? above : slash ? "/" : ".");
}

enum err store_make_dir(const struct disk_ops *disk, const char *path) {
    struct disk_stat st;
    bool made = false;
    if (disk->stat(disk->ctx, path, &st) == ERR_OK && st.is_dir) return ERR_OK;
    enum err err = disk->make_dir(disk->ctx, path, &made);
    return !err && made ? sync_above(disk, path) : err;
}

static bool is_our_name(const char *name) {
    static const char *const names[] = {
        ".",        "..",           "LOCK",         "blocks",          "quarantine",
        "index.db", "index.db-wal", "index.db-shm", "index.db-journal"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

/* Nothing else lies in it. */
static bool holds_only_ours(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) return false;
    bool ours = true;
    for (const struct dirent *e; ours && (e = readdir(dir));) ours = is_our_name(e->d_name);
    closedir(dir);
    return ours;
}

/* OURS. A folder with the sticky bit (/tmp) is everybody's, whatever lies in it. */
static enum err take_over(const char *path, char *why, size_t why_size) {
    struct stat st;
    if (stat(path, &st) != 0 || (st.st_mode & 077) == 0) return ERR_OK;
    bool ours = holds_only_ours(path);
    if ((st.st_mode & S_ISVTX) || ((st.st_mode & 022) && !ours)) {
        snprintf(
            why, why_size,
            "%s can be written by other users and is not the cache's alone: name a folder of its own, or "
            "close it (chmod go-w)",
            path);
        return ERR_INVALID;
    }
    if (ours && chmod(path, 0700) != 0) log_warn("store.mode", "dir=%s errno=%d", log_q(path), errno);
    return ERR_OK;
}

enum err store_make_dirs(const struct disk_ops *disk, const char *path, char *why, size_t why_size) {
    char part[STORE_DIR_BYTES_MAX + 1];
    size_t n = strlen(path);
    enum err err = n > 0 && n <= STORE_DIR_BYTES_MAX ? ERR_OK : ERR_LIMIT;
    for (size_t i = 1; i <= n && !err; i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        memcpy(part, path, i);
        part[i] = '\0';
        err = store_make_dir(disk, part);
    }
    if (!err) return take_over(path, why, why_size);
    snprintf(why, why_size, "%s: no folder can be made there: %s", path, err_text(err));
    return err;
}

/* ---- LOST ---- */

enum err store_check_device(const char *path, uint64_t device, char *why, size_t why_size) {
    char part[STORE_DIR_BYTES_MAX + 1];
    struct stat st;
    size_t n = strlen(path);
    if (device == 0 || n > STORE_DIR_BYTES_MAX || stat(path, &st) == 0) return ERR_OK;
    memcpy(part, path, n + 1);
    do { /* the nearest folder above that is there */
        while (n > 0 && part[n - 1] != '/') n--;
        while (n > 1 && part[n - 1] == '/') n--;
        part[n] = '\0';
    } while (n > 1 && stat(part, &st) != 0);
    if (stat(n > 0 ? part : ".", &st) != 0 || (uint64_t)st.st_dev == device) return ERR_OK;
    snprintf(why, why_size, "%s: the disk that it was on is not there", path);
    return ERR_IO;
}

static enum err place_of(const struct store *s, const char *relative, struct disk_place *ret) {
    struct disk_stat st;
    enum err err = s->disk->stat(s->disk->ctx, store_path_of(s, relative).s, &st);
    if (!err) *ret = (struct disk_place){st.inode, st.device};
    return err;
}

void store_note_place(struct store *s) {
    if (place_of(s, "index.db", &s->index_place) || place_of(s, "blocks", &s->blocks_place))
        s->index_place = s->blocks_place = (struct disk_place){0}; /* not known: then it is never lost */
}

static bool is_elsewhere(const struct store *s, const char *relative, const struct disk_place *was) {
    struct disk_place now;
    enum err err = place_of(s, relative, &now);
    if (err) return err == ERR_NOT_FOUND;
    return now.inode != was->inode || now.device != was->device;
}

void store_look_lost(struct store *s) {
    if (s->lost || !s->index_place.inode) return;
    s->lost = is_elsewhere(s, "index.db", &s->index_place) || is_elsewhere(s, "blocks", &s->blocks_place);
    if (s->lost) log_warn("store.lost", "dir=%s", log_q(s->dir));
}

/* ---- the lock ---- */

static enum err refuse_lock(int fd, int errnum, const char *dir, const char *path, char *why,
                            size_t why_size) {
    char text[64] = "";
    if (errnum != EWOULDBLOCK) {
        snprintf(why, why_size, "%s: %s", path, strerror(errnum));
        return err_from_errno(errnum);
    }
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, " \n")] = '\0';
    snprintf(why, why_size, "%s is used by another server (pid %s)", dir, text[0] ? text : "unknown");
    return ERR_LOCKED;
}

static bool is_current(int fd, const char *path) {
    struct stat held, there;
    return fstat(fd, &held) == 0 && lstat(path, &there) == 0 && held.st_ino == there.st_ino &&
           held.st_dev == there.st_dev;
}

/* *ret_fd is -1 on OK when the file was not CURRENT: again. */
static enum err try_lock(const char *dir, const char *path, int *ret_fd, char *why, size_t why_size) {
    *ret_fd = -1;
    enum err err = store_make_dirs(&disk_ops_real, dir, why, why_size);
    if (err) return err;
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno == ENOENT) return ERR_OK; /* the folder went since */
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0)
        err = refuse_lock(fd, errno, dir, path, why, why_size);
    else if (is_current(fd, path))
        *ret_fd = fd;
    if (*ret_fd < 0 && fd >= 0) close(fd);
    return err;
}

enum err store_lock(const char *dir, int *ret_fd, char *why, size_t why_size) {
    *ret_fd = -1;
    if (why_size) why[0] = '\0';
    char path[STORE_DIR_BYTES_MAX + 8], text[64];
    snprintf(path, sizeof path, "%s/LOCK", dir);
    int fd = -1;
    for (int i = 0; i < LOCK_TRIES && fd < 0; i++) {
        enum err err = try_lock(dir, path, &fd, why, why_size);
        if (err) return err;
    }
    if (fd < 0) {
        snprintf(why, why_size, "%s: somebody removes it while it is locked", path);
        return ERR_IO;
    }
    int n = snprintf(text, sizeof text, "%ld %lld\n", (long)getpid(), (long long)clock_wall_ns());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n) {
        enum err err = err_from_errno(errno);
        snprintf(why, why_size, "%s: %s", path, strerror(errno));
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return ERR_OK;
}

bool store_lock_is_current(const char *dir, int fd) {
    char path[STORE_DIR_BYTES_MAX + 8];
    snprintf(path, sizeof path, "%s/LOCK", dir);
    return is_current(fd, path);
}

uint64_t store_lock_holder(const char *dir) {
    char path[STORE_DIR_BYTES_MAX + 8], text[128];
    snprintf(path, sizeof path, "%s/LOCK", dir);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : -1;
    if (fd >= 0) close(fd);
    return n > 0 ? hash64(text, (size_t)n) : 0;
}
