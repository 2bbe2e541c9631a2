/* A database that is behind its files (a loss of power, a restored copy, a kill before a row was written), and a folder that
 * can't be read for a moment while the store is opened. */
#include "store_rig.h"

#include "base/list.h"

static int32_t tokens[1200];

static void set_up(void) {
    rig_dir_new();
    rig_tokens(tokens, 1200, 1, 0);
}

static void tear_down(void) {
    rig_remove_tree(rig_dir);
}

/* ---- an old database under newer files ---- */

static void copy(const char *from, const char *to) {
    static uint8_t bytes[1 << 20];
    char path[2][512];
    snprintf(path[0], sizeof path[0], "%s/%s", rig_dir, from);
    snprintf(path[1], sizeof path[1], "%s/%s", rig_dir, to);
    FILE *in = fopen(path[0], "rb"), *out = fopen(path[1], "wb");
    ck_assert(in && out);
    size_t n = fread(bytes, 1, sizeof bytes, in);
    ck_assert_uint_eq(fwrite(bytes, 1, n, out), n);
    fclose(in);
    fclose(out);
}

static void unlink_all(const char *ending) {
    for (struct rig_count c = {.ending = ending};; c = (struct rig_count){.ending = ending}) {
        rig_each_file(rig_dir, rig_count_file, &c);
        if (c.n == 0) return;
        ck_assert_int_eq(unlink(c.last), 0);
    }
}

static void put_first(struct store *s, size_t base_size, size_t window_size, uint32_t window_from) {
    static uint8_t bytes[1 << 16];
    struct store_block b = {.tag = rig_tag(1),
                            .model = "m",
                            .agent = "",
                            .tokens = tokens,
                            .n_tokens = 256,
                            .base = bytes,
                            .base_size = base_size,
                            .window = bytes,
                            .window_size = window_size,
                            .window_from = window_from};
    uint64_t written = 0;
    ck_assert_int_eq(store_put(s, &b, &written), ERR_OK);
    ck_assert_uint_gt(written, 0);
}

static uint32_t planned(struct store *s, uint32_t window) {
    struct store_plan p;
    ck_assert_int_eq(store_plan(s, rig_tag(1), tokens, 257, window, &p), ERR_OK);
    uint32_t n = p.n_tokens;
    store_plan_free(&p);
    return n;
}

START_TEST(an_old_index_does_not_make_a_window_longer) {
    struct store *s = rig_open();
    put_first(s, 1000, 1000, 0);
    ck_assert_uint_eq(planned(s, 250), 256);
    store_free(s);
    copy("index.db", "old.db");
    unlink_all(".win"); /* as an eviction does */
    s = rig_open();
    put_first(s, 1000, 1000, 200); /* a window of the same length that reaches less far */
    store_free(s);
    copy("old.db", "index.db");
    s = rig_open();
    struct store_plan p;
    ck_assert_int_eq(store_plan(s, rig_tag(1), tokens, 257, 250, &p), ERR_OK);
    if (p.n_tokens > 0) { /* the row is believed; the file is not */
        struct buf base = BUF(0), window = BUF(0);
        const char *reason = "";
        ck_assert_int_eq(store_get(s, rig_tag(1), &p.blocks[0], tokens, &base, &window, &reason),
                         ERR_MISMATCH);
        ck_assert_uint_eq(base.size + window.size, 0);
        buf_free(&base);
        buf_free(&window);
    }
    store_plan_free(&p);
    ck_assert_uint_eq(planned(s, 250), 0);
    ck_assert_uint_eq(rig_files(rig_dir, ".win"), 1); /* a good file: it stays, and is as good as it is */
    ck_assert_uint_eq(planned(s, 50), 256);
    store_free(s);
    s = rig_open();
    ck_assert_uint_eq(planned(s, 250), 0); /* the row is right now */
    store_free(s);
}
END_TEST

START_TEST(an_old_index_does_not_make_files_smaller) {
    struct store *s = rig_open();
    put_first(s, 1000, 1000, 200);
    store_free(s);
    copy("index.db", "old.db");
    s = rig_open();
    put_first(s, 1000, 60000, 0); /* reaches further back */
    store_free(s);
    copy("old.db", "index.db");
    unlink_all("old.db");
    s = rig_open();
    struct store_counters n;
    store_counters_get(s, &n);
    ck_assert_uint_ge(n.disk_bytes, rig_tree_bytes(rig_dir));
    ck_assert_uint_eq(planned(s, 250), 256); /* and what the larger file has is known */
    store_free(s);
    unlink_all(".win");
    unlink_all(".kv");
    s = rig_open();
    put_first(s, 50000, 1000, 200); /* the same name under another length */
    store_free(s);
    copy("index.db", "old.db");
    unlink_all(".kv");
    s = rig_open();
    put_first(s, 1000, 1000, 200);
    store_free(s);
    copy("old.db", "index.db");
    unlink_all("old.db");
    s = rig_open();
    store_counters_get(s, &n);
    ck_assert_uint_ge(n.disk_bytes, rig_tree_bytes(rig_dir));
    ck_assert_uint_le(n.disk_bytes, rig_tree_bytes(rig_dir) + 2 * DISK_UNIT_BYTES);
    store_free(s);
}
END_TEST

/* ---- agents at the opening ---- */

static uint32_t chain_of(struct store *s, const char *agent) {
    struct store_chain chains[CHAINS_PER_AGENT_MAX];
    uint32_t n = 0, longest = 0;
    ck_assert_int_eq(store_agent_chains(s, rig_tag(1), agent, chains, &n), ERR_OK);
    for (uint32_t i = 0; i < n; i++)
        if (chains[i].n_tokens > longest) longest = chains[i].n_tokens;
    store_chains_free(chains, n);
    return longest;
}

#define AGENTS 30
static const char *agent_name(uint32_t i) {
    static char name[16];
    snprintf(name, sizeof name, "a%u", i);
    return name;
}

static void say_all(struct store *s, uint32_t n) {
    for (uint32_t i = 0; i < AGENTS; i++) {
        rig_tokens(tokens, 1200, 100 + i, 0);
        struct rig_chain c = {.tag = rig_tag(1), .agent = agent_name(i), .tokens = tokens, .n = n};
        ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    }
}

static void unlink_block(uint32_t seed, uint32_t which) {
    struct block_name name = {{{0}}};
    rig_tokens(tokens, 1200, seed, 0);
    for (uint32_t k = 0; k <= which; k++)
        name = block_name_of(name, rig_tag(1), tokens + (size_t)k * BLOCK_TOKENS, BLOCK_TOKENS);
    char hex[HASH128_HEX_SIZE], ending[HASH128_HEX_SIZE + 8];
    hash128_hex(name.h, hex);
    snprintf(ending, sizeof ending, "%s.kv", hex);
    unlink_all(ending);
}

START_TEST(chains_step_back_in_their_own_order) { /* the table's order is chance */
    struct store *s = rig_open();
    say_all(s, 1024);
    store_free(s);
    for (uint32_t i = 0; i < AGENTS; i++) {
        unlink_block(100 + i, 3);
        unlink_block(100 + i, 2);
        unlink_block(100 + i, 1);
    }
    s = rig_open();
    for (uint32_t i = 0; i < AGENTS; i++) ck_assert_uint_eq(chain_of(s, agent_name(i)), 256);
    store_free(s);
}
END_TEST

/* ---- a folder that can't be listed ---- */

static unsigned list_calls, list_fails_at;
static bool fail_lists_deeper;

static enum err bad_list(void *ctx, const char *path, disk_list_fn fn, void *list_ctx) {
    const char *blocks = strstr(path, "/blocks/");
    bool folder = blocks && strchr(blocks + 8, '/');
    if (blocks && folder == fail_lists_deeper && ++list_calls == list_fails_at) return ERR_IO;
    return disk_ops_real.list(ctx, path, fn, list_ctx);
}

static void a_listing_fails(bool deeper, unsigned at) {
    struct disk_ops disk = disk_ops_real;
    disk.list = bad_list;
    list_calls = 0;
    list_fails_at = at;
    fail_lists_deeper = deeper;
    struct store_config c = {.dir = rig_dir,
                             .budget_bytes = 64 * MB,
                             .write_per_day_bytes = 1000 * MB,
                             .generation = rig_generation,
                             .disk = &disk};
    struct store *s = NULL;
    char why[256];
    enum err err = store_open(&c, &s, why, sizeof why);
    ck_assert_uint_ge(list_calls, at);
    if (!err) store_free(s); /* or it was not opened: also good */
    s = rig_open();
    for (uint32_t i = 0; i < AGENTS; i++) {
        rig_tokens(tokens, 1200, 100 + i, 0);
        ck_assert_uint_eq(chain_of(s, agent_name(i)), 600);
        ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 601, 100), 600);
    }
    struct store_counters n;
    store_counters_get(s, &n);
    ck_assert_uint_ge(n.disk_bytes, rig_tree_bytes(rig_dir));
    store_free(s);
}

START_TEST(a_folder_that_is_not_listed_costs_nobody_anything) {
    struct store *s = rig_open();
    for (uint32_t i = 0; i < AGENTS; i++) {
        rig_tokens(tokens, 1200, 100 + i, 0);
        struct rig_chain c = {
            .tag = rig_tag(1), .agent = agent_name(i), .tokens = tokens, .n = 600, .window = 100};
        ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    }
    store_free(s);
    for (unsigned at = 1; at <= 12; at++) a_listing_fails(true, at);
    a_listing_fails(false, 1);
}
END_TEST

/* ---- the budget while the database is made anew ---- */

static uint64_t largest;
static enum err watch_database_write(void *ctx) {
    uint64_t now = rig_tree_bytes(rig_dir);
    if (now > largest) largest = now;
    return disk_ops_real.database_write(ctx);
}

START_TEST(the_budget_holds_while_the_index_is_rebuilt) {
    struct disk_ops disk = disk_ops_real;
    disk.database_write = watch_database_write;
    uint64_t budget = 6 * MB;
    struct store *s = rig_open_with(budget, NULL);
    for (uint32_t i = 0; i < 1500; i++) { /* tails: their rows are large */
        rig_tokens(tokens, 1200, 100 + i, 0);
        struct rig_chain c = {.tag = rig_tag(1), .tokens = tokens, .n = 90};
        ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    }
    store_free(s);
    char path[512];
    snprintf(path, sizeof path, "%s/index.db", rig_dir);
    FILE *f = fopen(path, "r+b");
    ck_assert_ptr_nonnull(f);
    fputs("no database", f);
    fclose(f);
    uint64_t before = rig_tree_bytes(rig_dir);
    ck_assert_uint_gt(before, budget - MB);
    largest = 0;
    s = rig_open_with(budget, &disk);
    ck_assert_uint_gt(largest, budget / 2);
    ck_assert_uint_le(largest, budget);
    ck_assert_uint_le(rig_tree_bytes(rig_dir), budget);
    store_free(s);
    ck_assert_uint_le(rig_tree_bytes(rig_dir), budget);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        an_old_index_does_not_make_a_window_longer, an_old_index_does_not_make_files_smaller,
        chains_step_back_in_their_own_order, a_folder_that_is_not_listed_costs_nobody_anything,
        the_budget_holds_while_the_index_is_rebuilt};
    return rig_run("store_stale", tests, ARRAY_LEN(tests), set_up, tear_down);
}
