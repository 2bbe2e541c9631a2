/* Loss of power at every point of a short life. A disk that records each change; then for each cut the folder is made anew as
 * the disk may have kept it, and a server opens it. How a disk may keep things:
 *   LAZY    a name is there only if its folder was synced after the change; contents only if the file was synced
 *   EAGER   every name is there, but a file that was not synced has half of its bytes, and those are wrong
 * each with no database (lost, rebuilt) and with the database as it was before its last transaction.
 * Then: it opens, what was said to be stored before the cut is found whole, and no wrong byte is given out. */
#include <fcntl.h>

#include "store_rig.h"

enum op_kind {
    OP_MAKE_DIR,
    OP_CREATE,
    OP_WRITE,
    OP_SYNC,
    OP_RENAME,
    OP_SYNC_DIR,
    OP_REMOVE,
    OP_REMOVE_DIR,
    OP_PROMISE
};
#define OPS_MAX 4096
#define FILES_MAX 512

static struct op {
    enum op_kind kind;
    char a[320], b[320];
    uint8_t *data;
    size_t size;
    uint32_t database; /* snapshots that were taken before it */
} ops[OPS_MAX];
static uint32_t n_ops, n_databases;
static struct {
    int fd;
    char path[320];
} open_files[16];
static char work[256], copies[256];

static struct op *record(enum op_kind kind, const char *a, const char *b) {
    ck_assert_uint_lt(n_ops, OPS_MAX);
    struct op *op = &ops[n_ops++];
    *op = (struct op){.kind = kind, .database = n_databases};
    snprintf(op->a, sizeof op->a, "%s", a + strlen(work));
    if (b) snprintf(op->b, sizeof op->b, "%s", b + strlen(work));
    return op;
}

static const char *path_of_fd(int fd) {
    for (size_t i = 0; i < ARRAY_LEN(open_files); i++)
        if (open_files[i].fd == fd && open_files[i].path[0]) return open_files[i].path;
    ck_abort();
}

static enum err rec_make_dir(void *ctx, const char *path, bool *made) {
    enum err err = disk_ops_real.make_dir(ctx, path, made);
    if (!err && *made) record(OP_MAKE_DIR, path, NULL);
    return err;
}
static enum err rec_create(void *ctx, const char *path, int *fd) {
    enum err err = disk_ops_real.create(ctx, path, fd);
    if (err) return err;
    record(OP_CREATE, path, NULL);
    size_t i = 0;
    while (open_files[i].path[0]) i++;
    open_files[i].fd = *fd;
    snprintf(open_files[i].path, sizeof open_files[i].path, "%s", path);
    return ERR_OK;
}
static enum err rec_write(void *ctx, int fd, const void *data, size_t size) {
    struct op *op = record(OP_WRITE, path_of_fd(fd), NULL);
    op->data = malloc(size + 1);
    memcpy(op->data, data, size);
    op->size = size;
    return disk_ops_real.write(ctx, fd, data, size);
}
static enum err rec_sync(void *ctx UNUSED, int fd) {
    record(OP_SYNC, path_of_fd(fd), NULL);
    return ERR_OK;
}
static void rec_close(void *ctx, int fd) {
    for (size_t i = 0; i < ARRAY_LEN(open_files); i++)
        if (open_files[i].fd == fd) open_files[i].path[0] = '\0';
    disk_ops_real.close(ctx, fd);
}
static enum err rec_open(void *ctx, const char *path, int *fd, uint64_t *size) {
    return disk_ops_real.open(ctx, path, fd, size);
}
static enum err rec_rename(void *ctx, const char *from, const char *to) {
    record(OP_RENAME, from, to);
    return disk_ops_real.rename(ctx, from, to);
}
static enum err rec_sync_dir(void *ctx UNUSED, const char *path) {
    record(OP_SYNC_DIR, path, NULL);
    return ERR_OK;
}
static enum err rec_remove(void *ctx, const char *path) {
    enum err err = disk_ops_real.remove(ctx, path);
    if (!err) record(OP_REMOVE, path, NULL);
    return err;
}
static enum err rec_remove_dir(void *ctx, const char *path) {
    enum err err = disk_ops_real.remove_dir(ctx, path);
    if (!err) record(OP_REMOVE_DIR, path, NULL);
    return err;
}

static void copy_file(const char *from, const char *to) {
    static uint8_t bytes[4 << 20];
    FILE *in = fopen(from, "rb");
    if (!in) return;
    FILE *out = fopen(to, "wb");
    size_t n = fread(bytes, 1, sizeof bytes, in);
    ck_assert_uint_eq(fwrite(bytes, 1, n, out), n);
    fclose(in);
    fclose(out);
}

static enum err rec_database_write(void *ctx) {
    static const char *const ends[] = {"", "-wal"};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        char from[400], to[400];
        snprintf(from, sizeof from, "%s/index.db%s", work, ends[i]);
        snprintf(to, sizeof to, "%s/%u.db%s", copies, n_databases, ends[i]);
        copy_file(from, to);
    }
    n_databases++;
    return disk_ops_real.database_write(ctx);
}

/* ---- the life ---- */

#define TALKS 3
static int32_t talks[TALKS][1000];
static struct {
    uint32_t talk, n, at; /* from operation `at` on */
    const char *agent;
} promises[64];
static uint32_t n_promises;

static void say(struct store *s, const char *agent, uint32_t talk, uint32_t n) {
    struct rig_chain c = {
        .tag = rig_tag(1 + talk % 2), .agent = agent, .tokens = talks[talk], .n = n, .window = 100};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    promises[n_promises].talk = talk;
    promises[n_promises].n = n;
    promises[n_promises].agent = agent;
    promises[n_promises++].at = n_ops;
}

static void live(void) {
    struct disk_ops disk = disk_ops_real;
    disk.make_dir = rec_make_dir;
    disk.create = rec_create;
    disk.write = rec_write;
    disk.sync = rec_sync;
    disk.close = rec_close;
    disk.open = rec_open;
    disk.rename = rec_rename;
    disk.sync_dir = rec_sync_dir;
    disk.remove = rec_remove;
    disk.remove_dir = rec_remove_dir;
    disk.database_write = rec_database_write;
    struct store *s = rig_open_with(64 * MB, &disk);
    say(s, "ann", 0, 300);
    say(s, "bob", 1, 600);
    say(s, "ann", 0, 350);
    say(s, "ann", 0, 400);
    ck_assert_int_eq(store_flush(s), ERR_OK);
    say(s, "ann", 0, 700);
    say(s, "ann", 2, 90);
    say(s, "bob", 1, 620);
    say(s, "ann", 0, 720);
    store_free(s);
}

/* ---- what the disk kept ---- */

static struct kept {
    char path[320];
    struct buf content;
    bool synced, there;
} kept[FILES_MAX];
static uint32_t n_kept;

static struct kept *kept_at(const char *path) {
    for (uint32_t i = n_kept; i > 0; i--)
        if (kept[i - 1].there && strcmp(kept[i - 1].path, path) == 0) return &kept[i - 1];
    return NULL;
}

static bool in_folder(const char *path, const char *folder) {
    const char *slash = strrchr(path, '/');
    return (size_t)(slash - path) == strlen(folder) && strncmp(path, folder, strlen(folder)) == 0;
}

/* LAZY: is the change of this name followed by a sync of its folder before the cut? */
static bool name_synced(uint32_t at, uint32_t cut, const char *path) {
    for (uint32_t i = at + 1; i < cut; i++)
        if (ops[i].kind == OP_SYNC_DIR && in_folder(path, ops[i].a)) return true;
    return false;
}

static void keep_until(uint32_t cut, bool lazy, const char *dir) {
    char path[640];
    for (uint32_t i = 0; i < n_kept; i++) buf_free(&kept[i].content);
    n_kept = 0;
    for (uint32_t i = 0; i < cut; i++) {
        const struct op *op = &ops[i];
        struct kept *k = kept_at(op->a);
        snprintf(path, sizeof path, "%.300s%.319s", dir, op->a);
        if (op->kind == OP_MAKE_DIR) {
            if (!lazy || name_synced(i, cut, op->a)) mkdir(path, 0700);
        } else if (op->kind == OP_CREATE) {
            ck_assert_uint_lt(n_kept, FILES_MAX);
            kept[n_kept] = (struct kept){.there = true, .content = BUF(0)};
            memcpy(kept[n_kept++].path, op->a, sizeof op->a);
        } else if (op->kind == OP_WRITE && k) {
            buf_put(&k->content, op->data, op->size);
            k->synced = false;
        } else if (op->kind == OP_SYNC && k) {
            k->synced = true;
        } else if (op->kind == OP_RENAME && k && (!lazy || name_synced(i, cut, op->b))) {
            struct kept *old = kept_at(op->b);
            if (old) old->there = false;
            memcpy(k->path, op->b, sizeof op->b);
        } else if (op->kind == OP_REMOVE && k && (!lazy || name_synced(i, cut, op->a))) {
            k->there = false;
        }
    }
    for (uint32_t i = 0; i < n_kept; i++) {
        struct kept *k = &kept[i];
        if (!k->there) continue;
        snprintf(path, sizeof path, "%.300s%.319s", dir, k->path);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd < 0) continue; /* its folder was not kept */
        size_t n = k->synced ? k->content.size : lazy ? 0 : k->content.size / 2;
        for (size_t j = 0; !k->synced && j < n; j += 3) k->content.data[j] ^= 0x55;
        ck_assert_int_eq(write(fd, k->content.data, n), (ssize_t)n);
        close(fd);
    }
}

static void check_cut(uint32_t cut, bool lazy, bool database) {
    static uint32_t number;
    snprintf(rig_dir, sizeof rig_dir, "%.200s/cut-%u", copies, number++);
    ck_assert_int_eq(mkdir(rig_dir, 0700), 0);
    keep_until(cut, lazy, rig_dir);
    uint32_t last = cut > 0 ? ops[cut - 1].database : 0;
    if (database && last > 0) {
        char from[400], to[400];
        snprintf(from, sizeof from, "%s/%u.db", copies, last - 1);
        snprintf(to, sizeof to, "%s/index.db", rig_dir);
        copy_file(from, to);
        snprintf(from, sizeof from, "%s/%u.db-wal", copies, last - 1);
        snprintf(to, sizeof to, "%s/index.db-wal", rig_dir);
        copy_file(from, to);
    }
    struct store *s = rig_open_with(64 * MB, NULL);
    for (uint32_t i = 0; i < n_promises; i++) {
        if (promises[i].at > cut) continue;
        uint32_t talk = promises[i].talk, got = rig_cached(s, rig_tag(1 + talk % 2), talks[talk], 1000, 100);
        ck_assert_msg(got >= promises[i].n, "cut %u lazy %d database %d: talk %u has %u of %u", cut, lazy,
                      database, talk, got, promises[i].n);
        struct store_chain chains[CHAINS_PER_AGENT_MAX];
        uint32_t n = 0;
        ck_assert_int_eq(store_agent_chains(s, rig_tag(1 + talk % 2), promises[i].agent, chains, &n), ERR_OK);
        bool found = false;
        for (uint32_t k = 0; k < n; k++)
            found = found || (chains[k].n_tokens >= promises[i].n &&
                              memcmp(chains[k].tokens, talks[talk], 4 * promises[i].n) == 0);
        ck_assert_msg(found, "cut %u lazy %d database %d: %s has lost talk %u", cut, lazy, database,
                      promises[i].agent, talk);
        store_chains_free(chains, n);
    }
    for (uint32_t talk = 0; talk < TALKS; talk++)
        rig_cached(s, rig_tag(1 + talk % 2), talks[talk], 1000, 100);
    ck_assert_uint_eq(rig_files(rig_dir, ".tmp"), 0);
    store_free(s);
    rig_remove_tree(rig_dir);
}

START_TEST(a_loss_of_power_at_any_point_loses_nothing_that_was_stored) {
    rig_dir_new();
    memcpy(work, rig_dir, sizeof work);
    snprintf(copies, sizeof copies, "%.200s-cuts", work);
    ck_assert_int_eq(mkdir(copies, 0700), 0);
    for (uint32_t i = 0; i < TALKS; i++) rig_tokens(talks[i], 1000, 10 + i, 0);
    live();
    ck_assert_uint_gt(n_ops, 100);
    ck_assert_uint_gt(n_promises, 5);
    for (uint32_t cut = 0; cut <= n_ops; cut++)
        for (int how = 0; how < 4; how++) check_cut(cut, how & 1, how & 2);
    for (uint32_t i = 0; i < n_ops; i++) free(ops[i].data);
    rig_remove_tree(work);
    rig_remove_tree(copies);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {a_loss_of_power_at_any_point_loses_nothing_that_was_stored};
    return CHECK_RUN("store_crash", tests);
}
