/* The budget and the figures are true: what the store says of itself is compared with the files, from outside, at every disk
 * call and after every verb. */
#include <time.h>

#include "base/json.h"
#include "store/store.h"
#include "store_rig.h"

#define BUDGET (MB + MB / 2)
#define LONGEST 1300

static int32_t tokens[8192];
static uint64_t seed;

static uint32_t dice(uint32_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

static void set_up(void) {
    rig_dir_new();
    rig_tokens(tokens, 8192, 1, 0);
}
static void tear_down(void) {
    rig_remove_tree(rig_dir);
}

/* ---- the budget at every call ---- */

static struct { uint64_t budget, calls, most; } watch;

static void look(void) {
    uint64_t bytes = rig_tree_bytes(rig_dir);
    if (bytes > watch.most) watch.most = bytes;
    watch.calls++;
    ck_assert_msg(bytes <= watch.budget, "%llu bytes of %llu", (unsigned long long)bytes,
                  (unsigned long long)watch.budget);
}

static enum err see_create(void *ctx, const char *path, int *fd) {
    look();
    return disk_ops_real.create(ctx, path, fd);
}
static enum err see_write(void *ctx, int fd, const void *data, size_t size) {
    enum err err = disk_ops_real.write(ctx, fd, data, size);
    look();
    return err;
}
static enum err see_rename(void *ctx, const char *from, const char *to) {
    look();
    return disk_ops_real.rename(ctx, from, to);
}
static enum err see_make_dir(void *ctx, const char *path, bool *made) {
    enum err err = disk_ops_real.make_dir(ctx, path, made);
    look();
    return err;
}
static enum err see_database_write(void *ctx) {
    look();
    return disk_ops_real.database_write(ctx);
}

static struct store *open_watched(uint64_t budget, uint64_t budget_of_the_opening) {
    static struct disk_ops disk;
    disk = disk_ops_real;
    disk.create = see_create;
    disk.write = see_write;
    disk.rename = see_rename;
    disk.make_dir = see_make_dir;
    disk.database_write = see_database_write;
    watch.budget = budget_of_the_opening;
    struct store *s = rig_open_with(budget, &disk);
    watch.budget = budget;
    look();
    return s;
}

static const char *const agents[] = {"ann", "bob@example.org", "\xc3\xa9", "", "carl"};

static void say_something(struct store *s, bool leaving) {
    static int32_t t[LONGEST];
    uint32_t who = dice(ARRAY_LEN(agents));
    rig_tokens(t, LONGEST, 50 + dice(12), dice(4) * 256);
    struct rig_chain c = {.tag = rig_tag((uint8_t)(1 + dice(2))),
                          .agent = agents[who],
                          .tokens = t,
                          .n = 2 + dice(LONGEST - 2),
                          .window = dice(2) ? 300 : 0,
                          .branch = dice(4) == 0,
                          .leaving = leaving};
    c.model = hash128_equal(c.tag, rig_tag(1)) ? "m" : "n";
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
}

START_TEST(the_budget_holds_at_every_call) {
    struct store *s = open_watched(BUDGET, BUDGET);
    for (int i = 0; i < 120; i++) {
        say_something(s, false);
        look();
        if (i % 10 == 9) ck_assert_int_eq(store_flush(s), ERR_OK);
        if (i % 50 == 29) {
            store_free(s);
            look();
            s = open_watched(BUDGET, BUDGET);
        }
    }
    struct store_counters n;
    store_counters_get(s, &n);
    ck_assert_uint_gt(n.evicted, 10);
    ck_assert_uint_gt(watch.calls, 1000);
    ck_assert_uint_gt(watch.most, BUDGET / 2); /* and it is used */
    store_free(s);
    look();
}
END_TEST

static void smaller_start(bool with_database) {
    struct store *s = rig_open_with(4 * MB, NULL);
    for (int i = 0; i < 100; i++) say_something(s, false);
    struct rig_chain pinned = {.tag = rig_tag(1), .agent = "pin", .tokens = tokens, .n = 1100, .window = 300};
    ck_assert_int_eq(rig_say(s, &pinned), ERR_OK);
    ck_assert_int_eq(store_agent_pin(s, "", "pin", true), ERR_OK);
    for (int i = 0; i < 30; i++) say_something(s, false);
    store_free(s);
    ck_assert_uint_gt(rig_tree_bytes(rig_dir), BUDGET);
    if (!with_database) {
        char path[512];
        snprintf(path, sizeof path, "%s/index.db", rig_dir);
        unlink(path);
    }
    s = open_watched(BUDGET, 5 * MB);
    if (with_database) ck_assert_uint_eq(rig_cached(s, pinned.tag, tokens, 1101, 300), 1100);
    struct store_counters n;
    store_counters_get(s, &n);
    ck_assert_uint_eq(n.disk_bytes, rig_tree_bytes(rig_dir) + DISK_UNIT_BYTES); /* no LOCK in this test */
    for (int i = 0; i < 20; i++) say_something(s, false);
    store_free(s);
    look();
}

START_TEST(a_start_with_a_smaller_budget_ends_within_it) {
    smaller_start(true);
}
END_TEST

START_TEST(and_so_it_does_without_the_database) {
    smaller_start(false);
}
END_TEST

/* ---- figures ---- */

static struct json *read_figures(struct store *s, bool of_agents) {
    struct buf out = BUF(0);
    ck_assert_int_eq(of_agents ? store_agents_json(s, "", "", &out) : store_cache_json(s, &out), ERR_OK);
    struct json_error e;
    struct json *v = json_read(out.data, out.size, &e);
    ck_assert_ptr_nonnull(v);
    buf_free(&out);
    return v;
}

static void part_path(char *to, size_t size, struct hash128 tag, struct hash128 name, const char *ending) {
    char tag_hex[HASH128_HEX_SIZE], hex[HASH128_HEX_SIZE];
    hash128_hex(tag, tag_hex);
    hash128_hex(name, hex);
    snprintf(to, size, "%s/blocks/%s/%.2s/%s%s", rig_dir, tag_hex, hex, hex, ending);
}

/* Lengths of the files of an agent's chains, each once; *ret_blocks: how many base files. */
static uint64_t bytes_of_agent(struct store *s, struct hash128 tag, const char *agent, uint64_t *ret_blocks,
                               uint32_t *ret_chains) {
    static struct hash128 seen[4096];
    struct store_chain chains[CHAINS_PER_AGENT_MAX];
    uint32_t n = 0, n_seen = 0;
    uint64_t bytes = 0;
    ck_assert_int_eq(store_agent_chains(s, tag, agent, chains, &n), ERR_OK);
    for (uint32_t c = 0; c < n; c++) {
        struct block_name parent = {{{0}}};
        for (uint32_t first = 0; first < chains[c].n_tokens; first += BLOCK_TOKENS) {
            uint32_t left = chains[c].n_tokens - first, count = left < BLOCK_TOKENS ? left : BLOCK_TOKENS,
                     k = 0;
            parent = block_name_of(parent, tag, chains[c].tokens + first, count);
            while (k < n_seen && !hash128_equal(seen[k], parent.h)) k++;
            if (k < n_seen) continue;
            seen[n_seen++] = parent.h;
            char path[600];
            struct stat st;
            part_path(path, sizeof path, tag, parent.h, ".kv");
            ck_assert_int_eq(stat(path, &st), 0);
            bytes += (uint64_t)st.st_size;
            part_path(path, sizeof path, tag, parent.h, ".win");
            if (stat(path, &st) == 0) bytes += (uint64_t)st.st_size;
        }
    }
    store_chains_free(chains, n);
    *ret_blocks = n_seen;
    *ret_chains = n;
    return bytes;
}

static const char *blocks_dir(void) {
    static char path[300];
    snprintf(path, sizeof path, "%s/blocks", rig_dir); /* what is in quarantine is no block */
    return path;
}

static uint64_t model_bytes(struct hash128 tag) {
    char path[600], hex[HASH128_HEX_SIZE];
    uint64_t folders = 0;
    hash128_hex(tag, hex);
    snprintf(path, sizeof path, "%s/blocks/%s", rig_dir, hex);
    DIR *d = opendir(path);
    for (const struct dirent *e; d && (e = readdir(d));) folders += e->d_name[0] != '.';
    if (!d) return 0;
    closedir(d);
    return rig_tree_bytes(path) - (folders + 1) * DISK_UNIT_BYTES;
}

static void check_cache_figures(struct store *s) {
    struct json *v = read_figures(s, false);
    /* No LOCK in this test. */
    ck_assert_int_eq(json_int(json_get(v, "bytes"), 0), (int64_t)(rig_tree_bytes(rig_dir) + DISK_UNIT_BYTES));
    ck_assert_int_eq(json_int(json_get(v, "blocks"), 0), rig_files(blocks_dir(), ".kv"));
    const struct json *models = json_get(v, "models");
    uint64_t blocks = 0;
    for (size_t i = 0; i < json_count(models); i++) {
        const struct json *m = json_at(models, i);
        struct hash128 tag;
        ck_assert(hash128_from_hex(json_string(json_get(m, "tag"), NULL), &tag));
        ck_assert_int_eq(json_int(json_get(m, "bytes"), 0), (int64_t)model_bytes(tag));
        blocks += (uint64_t)json_int(json_get(m, "blocks"), 0);
    }
    ck_assert_uint_eq(blocks, rig_files(blocks_dir(), ".kv"));
    json_free(v);
}

static void check_agents_figures(struct store *s) {
    struct json *v = read_figures(s, true);
    const struct json *list = json_get(v, "agents");
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *a = json_at(list, i);
        struct hash128 tag = rig_tag(strcmp(json_string(json_get(a, "model"), NULL), "m") == 0 ? 1 : 2);
        uint64_t blocks = 0;
        uint32_t chains = 0;
        uint64_t bytes = bytes_of_agent(s, tag, json_string(json_get(a, "id"), NULL), &blocks, &chains);
        if (chains < json_int(json_get(a, "chains"), 0))
            continue; /* one has a hole, or a file that can't be read */
        ck_assert_int_eq(json_int(json_get(a, "bytes"), 0), (int64_t)bytes);
        ck_assert_int_eq(json_int(json_get(a, "blocks"), 0), (int64_t)blocks);
    }
    json_free(v);
}

static uint64_t part_bytes(unsigned *ret_files) {
    *ret_files = rig_files(blocks_dir(), ".kv") + rig_files(blocks_dir(), ".win");
    return rig_file_bytes(blocks_dir(), ".kv") + rig_file_bytes(blocks_dir(), ".win");
}

static void delete_and_count(struct store *s) {
    unsigned files_before, files_after;
    uint64_t before = part_bytes(&files_before), files = 0, bytes = 0;
    uint32_t n = 0;
    enum err err = store_agent_delete(s, dice(2) ? "m" : "", agents[dice(3)], &n, &files, &bytes);
    ck_assert(err == ERR_OK || err == ERR_NOT_FOUND);
    uint64_t after = part_bytes(&files_after);
    ck_assert_uint_eq(bytes, before - after);
    ck_assert_uint_eq(files, files_before - files_after);
}

/* A bit of a random block file is turned over: what finds it moves it aside. */
static void damage_one(struct store *s) {
    struct rig_count kv = {.ending = ".kv"};
    rig_each_file(blocks_dir(), rig_count_file, &kv);
    if (!kv.n) return;
    FILE *f = fopen(kv.last, "r+b");
    ck_assert_ptr_nonnull(f);
    fseek(f, 50, SEEK_SET);
    int c = fgetc(f);
    fseek(f, 50, SEEK_SET);
    fputc(c ^ 1, f);
    fclose(f);
    static int32_t t[LONGEST];
    for (uint32_t i = 0; i < 12 * 4; i++) {
        rig_tokens(t, LONGEST, 50 + i % 12, i / 12 * 256);
        rig_cached(s, rig_tag(1), t, LONGEST, 0);
        rig_cached(s, rig_tag(2), t, LONGEST, 0);
    }
}

START_TEST(the_figures_equal_the_files_through_a_whole_life) {
    struct store *s = rig_open_with(2 * MB, NULL);
    for (int i = 0; i < 150; i++) {
        uint32_t what = dice(20);
        if (what < 14)
            say_something(s, false);
        else if (what < 16)
            delete_and_count(s);
        else if (what == 16)
            damage_one(s);
        else if (what == 17)
            store_set_limits(s, dice(2) ? MB + MB / 2 : 2 * MB, 1000 * MB);
        else if (what == 18)
            ck_assert_int_eq(store_flush(s), ERR_OK);
        else {
            store_free(s);
            s = rig_open_with(2 * MB, NULL);
        }
        ck_assert_int_eq(store_flush(s), ERR_OK);
        check_cache_figures(s);
        check_agents_figures(s);
    }
    store_free(s);
}
END_TEST

/* ---- the day's bytes ---- */

static int64_t written_today(struct store *s) {
    struct json *v = read_figures(s, false);
    int64_t bytes = json_int(json_get(v, "written_today_bytes"), -1);
    json_free(v);
    return bytes;
}

START_TEST(the_days_bytes_are_those_of_the_files_and_survive_a_kill) {
    struct store *s = rig_open();
    struct rig_chain c = {.tag = rig_tag(1), .agent = "ann", .tokens = tokens, .n = 1100, .window = 300};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    uint64_t files = rig_file_bytes(rig_dir, ".kv") + rig_file_bytes(rig_dir, ".win");
    ck_assert_int_eq(written_today(s), (int64_t)files);
    ck_assert_uint_eq(c.written, files);
    rig_generation++; /* s is not closed before: as after kill -9 */
    struct store *again = rig_open();
    store_free(s);
    ck_assert_int_eq(written_today(again), (int64_t)files);
    store_set_limits(again, 64 * MB, files + RIG_BASE_BYTES / 2);
    struct rig_chain more = {.tag = rig_tag(1), .agent = "ann", .tokens = tokens, .n = 1500};
    ck_assert_int_eq(rig_put(again, &more), ERR_LIMIT);
    store_free(again);
    rig_generation++;
    again = rig_open();
    ck_assert_int_eq(written_today(again), (int64_t)files); /* a refused put has cost nothing */
    store_free(again);
}
END_TEST

int main(void) {
    const char *set = getenv("HOTSEAT_SEED");
    seed = set ? strtoull(set, NULL, 10) : (uint64_t)time(NULL);
    printf("HOTSEAT_SEED=%llu\n", (unsigned long long)seed);
    const TTest *const tests[] = {
        the_budget_holds_at_every_call, a_start_with_a_smaller_budget_ends_within_it,
        and_so_it_does_without_the_database, the_figures_equal_the_files_through_a_whole_life,
        the_days_bytes_are_those_of_the_files_and_survive_a_kill};
    return rig_run("store_budget", tests, ARRAY_LEN(tests), set_up, tear_down);
}
