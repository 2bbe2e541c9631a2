/* disk_ops.h - every disk call of the store, so that tests can fail, slow or record each one. A verb does one thing
 * and says how it went as enum err: ERR_NOT_FOUND, ERR_DISK_FULL, else ERR_IO. Paths are absolute or relative to
 * the process. The one writer beside it is SQLite, which does its own calls: it is asked for by database_write.
 * The real one (disk_ops_real) honours the faults disk_full, disk_readonly and disk_slow. Thread: any. */
#ifndef HOTSEAT_STORE_DISK_OPS_H
#define HOTSEAT_STORE_DISK_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

struct disk_stat {
    uint64_t size_bytes;
    int64_t mtime_s;
    uint64_t inode, device; /* together: which file it is */
    bool is_dir;
};

/* One name of a folder, without "." and "..". Not OK ends the listing with that error. */
typedef enum err (*disk_list_fn)(void *list_ctx, const char *name);

struct disk_ops {
    void *ctx;
    enum err (*make_dir)(void *ctx, const char *path,
                         bool *ret_made);                         /* 0700; that it exists already is fine */
    enum err (*create)(void *ctx, const char *path, int *ret_fd); /* 0600; must not exist */
    enum err (*write)(void *ctx, int fd, const void *data, size_t size_bytes); /* all of it */
    enum err (*sync)(void *ctx, int fd); /* data and length are on the disk */
    void (*close)(void *ctx, int fd);
    enum err (*rename)(void *ctx, const char *from, const char *to);
    enum err (*sync_dir)(void *ctx, const char *path); /* names in this folder are on the disk */
    enum err (*remove)(void *ctx, const char *path);
    enum err (*remove_dir)(void *ctx, const char *path); /* an empty one */
    enum err (*open)(void *ctx, const char *path, int *ret_fd,
                     uint64_t *ret_size); /* a plain file, to read */
    enum err (*read)(void *ctx, int fd, void *data, size_t size_bytes, uint64_t offset); /* all, or ERR_EOF */
    void (*read_ahead)(void *ctx, int fd, uint64_t size_bytes); /* a hint: it will be read soon */
    enum err (*stat)(void *ctx, const char *path, struct disk_stat *ret);
    enum err (*list)(void *ctx, const char *path, disk_list_fn fn, void *list_ctx);
    enum err (*database_write)(void *ctx); /* asked before each transaction */
};

extern const struct disk_ops disk_ops_real;

/* What a file of this length takes in the store's budget: whole units of 4,096 bytes. st_blocks would be the file
 * system's own truth, but it is not known before a write, and some systems fill it in later. */
#define DISK_UNIT_BYTES 4096u
uint64_t disk_bytes_of(uint64_t size_bytes);

#endif
