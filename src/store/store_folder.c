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
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"

#define LOOK_DEPTH 2 /* blocks/TAG/XX/file */
#define LOOK_PIECE_BYTES (64u << 10)
#define LOOK_BYTES (1u << 20) /* as the smallest blocks have */
#define LOCK_TRIES 16         /* each one lost to somebody who removes the folder in that very moment */

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
static enum err check_ours(const char *path, const struct stat *st, bool ours, char *why, size_t why_size) {
    if (!(st->st_mode & S_ISVTX) && (!(st->st_mode & 022) || ours)) return ERR_OK;
    snprintf(why, why_size,
             "%s can be written by other users and is not the cache's alone: name a folder of its own, or "
             "close it (chmod go-w)",
             path);
    return ERR_INVALID;
}

static enum err take_over(const char *path, char *why, size_t why_size) {
    struct stat st;
    if (stat(path, &st) != 0 || (st.st_mode & 077) == 0) return ERR_OK;
    bool ours = holds_only_ours(path);
    enum err err = check_ours(path, &st, ours, why, why_size);
    if (err) return err;
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

/* The nearest folder above path that is there; room for STORE_DIR_BYTES_MAX and the end. */
static void nearest_above(const char *path, char *room) {
    struct stat st;
    size_t n = strlen(path);
    must(n <= STORE_DIR_BYTES_MAX);
    memcpy(room, path, n + 1);
    do {
        while (n > 0 && room[n - 1] != '/') n--;
        while (n > 1 && room[n - 1] == '/') n--;
        room[n] = '\0';
    } while (n > 1 && stat(room, &st) != 0);
    if (n == 0) snprintf(room, 2, ".");
}

/* ---- LOST ---- */

enum err store_check_device(const char *path, uint64_t device, char *why, size_t why_size) {
    char above[STORE_DIR_BYTES_MAX + 1];
    struct stat st;
    if (device == 0 || strlen(path) > STORE_DIR_BYTES_MAX || stat(path, &st) == 0) return ERR_OK;
    nearest_above(path, above);
    if (stat(above, &st) != 0 || (uint64_t)st.st_dev == device) return ERR_OK;
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

/* ---- looking at it without changing it ---- */

/* A file that nobody sees: its name is gone before its first byte. */
static enum err try_write(const char *dir, int64_t *ret_ns, char *why, size_t why_size) {
    static const uint8_t piece[LOOK_PIECE_BYTES];
    char path[STORE_DIR_BYTES_MAX + 32];
    snprintf(path, sizeof path, "%s/.hotseat-look-XXXXXX", dir);
    int fd = mkstemp(path);
    if (fd < 0 || unlink(path) != 0) {
        snprintf(why, why_size, "%s: no file can be made there: %s", dir, strerror(errno));
        enum err err = err_from_errno(errno);
        if (fd >= 0) close(fd);
        return err;
    }
    int64_t began_ns = clock_now_ns();
    errno = ENOSPC; /* of a short write */
    bool ok = true;
    for (size_t n = 0; ok && n < LOOK_BYTES; n += sizeof piece)
        ok = write(fd, piece, sizeof piece) == (ssize_t)sizeof piece;
    ok = ok && fsync(fd) == 0;
    enum err err = ok ? ERR_OK : err_from_errno(errno);
    if (!ok) snprintf(why, why_size, "%s: a file can't be written there: %s", dir, strerror(errno));
    *ret_ns = clock_now_ns() - began_ns;
    close(fd);
    return err;
}

/* Lets go again at once. */
static enum err try_held(const char *dir, char *why, size_t why_size) {
    char path[STORE_DIR_BYTES_MAX + 8];
    snprintf(path, sizeof path, "%s/LOCK", dir);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? ERR_OK : refuse_lock(fd, errno, dir, path, why, why_size);
    enum err err =
        flock(fd, LOCK_SH | LOCK_NB) == 0 ? ERR_OK : refuse_lock(fd, errno, dir, path, why, why_size);
    close(fd);
    return err;
}

static uint64_t bytes_below(const char *path, int depth) {
    uint64_t bytes = 0;
    DIR *dir = opendir(path);
    for (const struct dirent *e; dir && (e = readdir(dir));) {
        char inner[STORE_DIR_BYTES_MAX + 600];
        struct stat st;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        if (depth == 0 && !is_our_name(e->d_name)) continue;
        if (snprintf(inner, sizeof inner, "%s/%s", path, e->d_name) >= (int)sizeof inner || lstat(inner, &st))
            continue;
        if (S_ISREG(st.st_mode)) bytes += (uint64_t)st.st_blocks * 512;
        if (S_ISDIR(st.st_mode) && depth < LOOK_DEPTH) bytes += bytes_below(inner, depth + 1);
    }
    if (dir) closedir(dir);
    return bytes;
}

enum err store_look(const char *dir, struct store_look *ret, char *why, size_t why_size) {
    struct stat st;
    struct statvfs space;
    *ret = (struct store_look){.exists = stat(dir, &st) == 0};
    if (!*dir || strlen(dir) > STORE_DIR_BYTES_MAX) {
        snprintf(why, why_size, "%s: the name is too long or empty", dir);
        return ERR_LIMIT;
    }
    if (ret->exists)
        snprintf(ret->place, sizeof ret->place, "%s", dir);
    else
        nearest_above(dir, ret->place);
    if (stat(ret->place, &st) != 0 || !S_ISDIR(st.st_mode)) {
        snprintf(why, why_size, "%s is not a folder", ret->place);
        return ERR_INVALID;
    }
    if (ret->exists) {
        ret->only_ours = holds_only_ours(dir);
        ret->open_to_others = (st.st_mode & 077) != 0;
        enum err err = check_ours(dir, &st, ret->only_ours, why, why_size);
        if (!err) err = try_held(dir, why, why_size);
        if (err) return err;
        ret->used_bytes = bytes_below(dir, 0);
    }
    if (statvfs(ret->place, &space) == 0) ret->free_bytes = (uint64_t)space.f_bavail * space.f_frsize;
    return try_write(ret->place, &ret->write_ns, why, why_size);
}
