/* The n-th disk call fails, or every one from the n-th on; the n-th allocation fails: for n = 1, 2, 3 ... until a whole life
 * of a store has gone by without it. Nothing crashes, no wrong byte is given out, what was said to be stored is found by
 * the next server, and the budget holds. */
#include "store_rig.h"

#define BUDGET (MB + MB / 4)

/* ---- a disk that fails ---- */

static struct {
    int64_t calls, fail_at;
    bool for_good;
    enum err err;
} bad;

static enum err may(void) {
    bad.calls++;
    bool fail = bad.fail_at && (bad.for_good ? bad.calls >= bad.fail_at : bad.calls == bad.fail_at);
    return fail ? bad.err : ERR_OK;
}

static enum err bad_make_dir(void *ctx, const char *path, bool *made) {
    enum err err = may();
    return err ? err : disk_ops_real.make_dir(ctx, path, made);
}
static enum err bad_create(void *ctx, const char *path, int *fd) {
    enum err err = may();
    return err ? err : disk_ops_real.create(ctx, path, fd);
}
static enum err bad_write(void *ctx, int fd, const void *data, size_t size) {
    enum err err = may();
    if (!err) return disk_ops_real.write(ctx, fd, data, size);
    ck_assert_int_eq(disk_ops_real.write(ctx, fd, data, size / 2), ERR_OK); /* half of it got through */
    return err;
}
static enum err bad_sync(void *ctx, int fd) {
    enum err err = may();
    return err ? err : disk_ops_real.sync(ctx, fd);
}
static void bad_close(void *ctx, int fd) {
    disk_ops_real.close(ctx, fd);
}
static enum err bad_rename(void *ctx, const char *from, const char *to) {
    enum err err = may();
    return err ? err : disk_ops_real.rename(ctx, from, to);
}
static enum err bad_sync_dir(void *ctx, const char *path) {
    enum err err = may();
    return err ? err : disk_ops_real.sync_dir(ctx, path);
}
static enum err bad_remove(void *ctx, const char *path) {
    enum err err = may();
    return err ? err : disk_ops_real.remove(ctx, path);
}
static enum err bad_remove_dir(void *ctx, const char *path) {
    enum err err = may();
    return err ? err : disk_ops_real.remove_dir(ctx, path);
}
static enum err bad_open(void *ctx, const char *path, int *fd, uint64_t *size) {
    enum err err = may();
    return err ? err : disk_ops_real.open(ctx, path, fd, size);
}
static enum err bad_read(void *ctx, int fd, void *data, size_t size, uint64_t offset) {
    enum err err = may();
    return err ? err : disk_ops_real.read(ctx, fd, data, size, offset);
}
static enum err bad_stat(void *ctx, const char *path, struct disk_stat *ret) {
    enum err err = may();
    return err ? err : disk_ops_real.stat(ctx, path, ret);
}
static enum err bad_list(void *ctx, const char *path, disk_list_fn fn, void *list_ctx) {
    enum err err = may();
    return err ? err : disk_ops_real.list(ctx, path, fn, list_ctx);
}
static enum err bad_database_write(void *ctx) {
    enum err err = may();
    return err ? err : disk_ops_real.database_write(ctx);
}

static const struct disk_ops bad_disk = {.make_dir = bad_make_dir,
                                         .create = bad_create,
                                         .write = bad_write,
                                         .sync = bad_sync,
                                         .close = bad_close,
                                         .rename = bad_rename,
                                         .sync_dir = bad_sync_dir,
                                         .remove = bad_remove,
                                         .remove_dir = bad_remove_dir,
                                         .open = bad_open,
                                         .read = bad_read,
                                         .stat = bad_stat,
                                         .list = bad_list,
                                         .database_write = bad_database_write};

/* ---- the life ---- */

#define TALKS 3
static int32_t talks[TALKS][900];
static uint32_t stored[TALKS]; /* tokens that the last good put promised */
static bool evictions;         /* then nothing is promised for long */

static void say(struct store *s, uint32_t talk, uint32_t n, uint32_t window) {
    struct rig_chain c = {.tag = rig_tag(1 + talk % 2),
                          .agent = talk ? "bob" : "ann",
                          .tokens = talks[talk],
                          .n = n,
                          .window = window};
    if (rig_put(s, &c) != ERR_OK) return;
    stored[talk] = n;
    enum err err = rig_note(s, &c);
    (void)err;
}

static void look(struct store *s, uint32_t talk) {
    struct store_plan p;
    if (store_plan(s, rig_tag(1 + talk % 2), talks[talk], 900, 0, &p) != ERR_OK) return;
    enum err err = rig_get(s, rig_tag(1 + talk % 2), talks[talk], &p); /* compares what it gets */
    (void)err;
    store_plan_free(&p);
}

static void live(const struct disk_ops *disk) {
    struct store_config c = {.dir = rig_dir,
                             .budget_bytes = BUDGET,
                             .write_per_day_bytes = 1000 * MB,
                             .generation = 1,
                             .disk = disk};
    struct store *s = NULL;
    char why[256];
    if (store_open(&c, &s, why, sizeof why) != ERR_OK) {
        ck_assert_ptr_null(s);
        return;
    }
    say(s, 0, 300, 100);
    say(s, 1, 600, 0);
    say(s, 0, 400, 100);
    look(s, 0);
    say(s, 0, 600, 100);
    say(s, 2, 200, 0);
    look(s, 1);
    if (evictions) {
        static int32_t filler[900];
        for (uint32_t i = 0; i < 60; i++) {
            rig_tokens(filler, 900, 500 + i, 0);
            struct rig_chain f = {.tag = rig_tag(1), .tokens = filler, .n = 800, .window = 200};
            if (rig_put(s, &f) == ERR_LIMIT) break;
        }
    }
    enum err err = store_agent_pin(s, "", "ann", true);
    uint32_t n;
    uint64_t files, bytes;
    struct buf json = BUF(0);
    err = store_agents_json(s, "", "", &json);
    err = store_cache_json(s, &json);
    buf_free(&json);
    struct store_chain chains[CHAINS_PER_AGENT_MAX];
    err = store_agent_chains(s, rig_tag(1), "ann", chains, &n);
    if (!err) store_chains_free(chains, n);
    err = store_agent_delete(s, "", "bob", &n, &files, &bytes);
    if (err != ERR_NOT_FOUND) stored[1] = stored[2] = 0;
    err = store_flush(s);
    store_free(s);
}

static void check_promises(const char *what, int64_t n) {
    struct store *s = rig_open_with(64 * MB, NULL);
    for (uint32_t t = 0; t < TALKS && !evictions; t++) {
        uint32_t got = rig_cached(s, rig_tag(1 + t % 2), talks[t], 900, 0);
        ck_assert_msg(got >= stored[t], "%s %lld: talk %u has %u of %u", what, (long long)n, t, got,
                      stored[t]);
    }
    ck_assert_uint_eq(rig_files(rig_dir, ".tmp"), 0);
    for (uint32_t t = 0; t < TALKS; t++) { /* and it goes on from there */
        struct rig_chain c = {.tag = rig_tag(1 + t % 2), .agent = "carl", .tokens = talks[t], .n = 850};
        ck_assert_int_eq(rig_say(s, &c), ERR_OK);
        ck_assert_uint_eq(rig_cached(s, c.tag, talks[t], 851, 0), 850);
    }
    store_free(s);
}

static void fresh(void) {
    rig_remove_tree(rig_dir);
    ck_assert_int_eq(mkdir(rig_dir, 0700), 0);
    memset(stored, 0, sizeof stored);
}

static void set_up(void) {
    rig_dir_new();
    log_set_level(LOG_ERROR);
    for (uint32_t i = 0; i < TALKS; i++) rig_tokens(talks[i], 900, i, 0);
}
static void tear_down(void) {
    rig_remove_tree(rig_dir);
}

static void torture_disk(enum err err, bool for_good) {
    fresh();
    bad.calls = bad.fail_at = 0;
    live(&bad_disk);
    int64_t calls = bad.calls;
    ck_assert_int_gt(calls, 150);
    for (int64_t n = 1; n <= calls; n++) {
        fresh();
        bad.calls = 0, bad.fail_at = n, bad.for_good = for_good, bad.err = err;
        int64_t live_before = mem_live_count();
        live(&bad_disk);
        ck_assert_int_eq(mem_live_count(), live_before);
        check_promises("disk call", n);
    }
}

START_TEST(any_disk_call_may_fail_once) {
    torture_disk(ERR_IO, false);
}
END_TEST

START_TEST(any_disk_call_may_find_the_disk_full) {
    torture_disk(ERR_DISK_FULL, false);
}
END_TEST

START_TEST(the_disk_may_die_at_any_call) {
    torture_disk(ERR_IO, true);
}
END_TEST

START_TEST(any_disk_call_may_fail_while_blocks_are_evicted) {
    evictions = true;
    for (int64_t n = 1; n < 1500; n += 1 + n / 10) {
        fresh();
        bad.calls = 0, bad.fail_at = n, bad.for_good = n % 2, bad.err = ERR_IO;
        live(&bad_disk);
        ck_assert_uint_le(rig_tree_bytes(rig_dir), BUDGET);
        check_promises("evicting call", n);
    }
}
END_TEST

START_TEST(any_allocation_may_fail) {
    for (int64_t n = 1; n < 100; n++) { /* a life takes about 50 */
        fresh();
        int64_t live_before = mem_live_count();
        mem_fail_at(n);
        live(&disk_ops_real);
        mem_fail_at(0);
        ck_assert_int_eq(mem_live_count(), live_before);
        check_promises("allocation", n);
    }
}
END_TEST

START_TEST(any_allocation_may_fail_while_the_index_is_rebuilt) {
    char path[512];
    snprintf(path, sizeof path, "%s/index.db", rig_dir);
    struct store *s = rig_open();
    for (uint32_t t = 0; t < TALKS; t++) say(s, t, 600, 100);
    store_free(s);
    int opened = 0;
    for (int64_t n = 1; n < 100; n++) {
        struct store_config c = {
            .dir = rig_dir, .budget_bytes = 64 * MB, .write_per_day_bytes = MB, .generation = 1};
        char why[256];
        int64_t live_before = mem_live_count();
        unlink(path);
        mem_fail_at(n);
        enum err err = store_open(&c, &s, why, sizeof why);
        mem_fail_at(0);
        ck_assert(err == ERR_OK || err == ERR_NOMEM);
        if (!err) opened++;
        if (!err) store_free(s);
        ck_assert_int_eq(mem_live_count(), live_before);
        s = rig_open();
        for (uint32_t t = 0; t < TALKS; t++)
            ck_assert_uint_eq(rig_cached(s, rig_tag(1 + t % 2), talks[t], 601, 100), 600);
        store_free(s);
    }
    ck_assert_int_gt(opened, 0);
    ck_assert_int_lt(opened, 90);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        any_disk_call_may_fail_once,  any_disk_call_may_find_the_disk_full,
        the_disk_may_die_at_any_call, any_disk_call_may_fail_while_blocks_are_evicted,
        any_allocation_may_fail,      any_allocation_may_fail_while_the_index_is_rebuilt};
    return rig_run("store_torture", tests, ARRAY_LEN(tests), set_up, tear_down);
}
