/* The life of a store: put, plan, get, agents, limits, opening again. Damage, failing disks and crashes have tests of
 * their own. */
#include "store/store.h"

#include <fcntl.h>
#include <sys/wait.h>

#include "base/json.h"
#include "store_rig.h"

static int32_t tokens[8192], other[8192];

static void set_up(void) {
    rig_dir_new();
    rig_tokens(tokens, 8192, 1, 0);
    rig_tokens(other, 8192, 2, 700);
}

static void tear_down(void) {
    rig_remove_tree(rig_dir);
}

/* ---- finding ---- */

START_TEST(an_empty_store_misses) {
    struct store *s = rig_open();
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 1000, 0), 0);
    store_free(s);
}
END_TEST

START_TEST(what_was_put_is_found_to_the_byte) {
    struct store *s = rig_open();
    struct rig_chain c = {.tag = rig_tag(1), .agent = "a", .tokens = tokens, .n = 600};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 2000, 0), 600);
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 601, 0), 600);
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 600, 0), 512); /* never all of them */
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 513, 0), 512);
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 512, 0), 256);
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 256, 0), 0);
    ck_assert_uint_eq(rig_cached(s, c.tag, other, 2000, 0), 0);
    ck_assert_uint_eq(rig_cached(s, rig_tag(2), tokens, 2000, 0), 0); /* another model's */
    store_free(s);
}
END_TEST

START_TEST(equal_beginnings_share_blocks) {
    struct store *s = rig_open();
    int32_t a[1000], b[1000];
    rig_tokens(a, 1000, 3, 700);
    rig_tokens(b, 1000, 4, 700);
    struct rig_chain ca = {.tag = rig_tag(1), .agent = "a", .tokens = a, .n = 1000};
    struct rig_chain cb = {.tag = rig_tag(1), .agent = "b", .tokens = b, .n = 1000};
    ck_assert_int_eq(rig_say(s, &ca), ERR_OK);
    ck_assert_int_eq(rig_say(s, &cb), ERR_OK);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), 4 + 2);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), a, 1000, 0), 768);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), b, 1001 - 1, 0), 768);
    store_free(s);
}
END_TEST

START_TEST(nothing_is_written_twice) {
    struct store *s = rig_open();
    struct rig_chain c = {.tag = rig_tag(1), .agent = "a", .tokens = tokens, .n = 600, .window = 100};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    ck_assert_uint_gt(c.written, 0);
    struct stat before[2], after[2];
    char path[512];
    snprintf(path, sizeof path, "%s/index.db-wal", rig_dir);
    ck_assert_int_eq(stat(path, &before[0]), 0);
    c.written = 0;
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    ck_assert_int_eq(store_flush(s), ERR_OK);
    ck_assert_uint_eq(c.written, 0);
    ck_assert_int_eq(stat(path, &after[0]), 0);
    ck_assert_int_eq(after[0].st_size, before[0].st_size); /* the database hears nothing either */
    ck_assert_int_eq(after[0].st_mtim.tv_nsec, before[0].st_mtim.tv_nsec);
    store_free(s);
}
END_TEST

START_TEST(the_longest_fitting_tail_wins) {
    struct store *s = rig_open();
    uint32_t ends[] = {300, 420, 350};
    for (int i = 0; i < 3; i++) {
        struct rig_chain c = {.tag = rig_tag(1), .tokens = tokens, .n = ends[i]};
        ck_assert_int_eq(rig_put(s, &c), ERR_OK);
    }
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 500, 0), 420);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 420, 0), 350);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 310, 0), 300);
    int32_t fork[500];
    memcpy(fork, tokens, sizeof fork);
    fork[330]++;
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), fork, 500, 0), 300);
    store_free(s);
}
END_TEST

START_TEST(a_short_conversation_is_a_tail_of_the_root) {
    struct store *s = rig_open();
    struct rig_chain c = {.tag = rig_tag(1), .agent = "a", .tokens = tokens, .n = 20};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 40, 0), 20);
    store_free(s);
}
END_TEST

/* ---- windows ---- */

START_TEST(with_a_window_a_plan_ends_where_its_window_is_stored) {
    struct store *s = rig_open();
    struct hash128 tag = rig_tag(1);
    struct rig_chain full = {
        .tag = tag, .tokens = tokens, .n = 1024, .window = 300}; /* a restore point at 1024 */
    struct rig_chain early = {.tag = tag, .tokens = tokens, .n = 600, .window = 300}; /* one at 600 */
    ck_assert_int_eq(rig_put(s, &early), ERR_OK);
    ck_assert_int_eq(rig_put(s, &full), ERR_OK);
    struct store_plan p;
    ck_assert_int_eq(store_plan(s, tag, tokens, 2000, 300, &p), ERR_OK);
    ck_assert_uint_eq(p.n_tokens, 1024);
    ck_assert_uint_eq(p.n_blocks, 4);
    ck_assert(!p.blocks[0].needs_window && !p.blocks[1].needs_window);
    ck_assert(p.blocks[2].needs_window && p.blocks[3].needs_window);
    store_plan_free(&p);
    ck_assert_uint_eq(rig_cached(s, tag, tokens, 2000, 300), 1024);
    ck_assert_uint_eq(rig_cached(s, tag, tokens, 1024, 300), 600); /* 768 has no window that far back */
    ck_assert_uint_eq(rig_cached(s, tag, tokens, 2000, 0), 1024);
    ck_assert_uint_eq(rig_cached(s, tag, tokens, 2000, 400), 0); /* further back than what was stored */
    ck_assert_uint_eq(rig_cached(s, tag, tokens, 600, 300), 0);
    store_free(s);
}
END_TEST

START_TEST(a_window_of_one_position_needs_no_window_part) {
    struct store *s = rig_open();
    struct rig_chain c = {.tag = rig_tag(1), .tokens = tokens, .n = 700};
    ck_assert_int_eq(rig_put(s, &c), ERR_OK);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 2000, 1), 700);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 2000, 2), 0);
    store_free(s);
}
END_TEST

START_TEST(a_window_part_is_replaced_only_by_one_that_reaches_further_back) {
    struct store *s = rig_open();
    uint8_t base[10] = {1}, window[10] = {2};
    struct store_block b = {.tag = rig_tag(1),
                            .model = "m",
                            .agent = "",
                            .tokens = tokens,
                            .n_tokens = 256,
                            .base = base,
                            .base_size = 10,
                            .window = window,
                            .window_size = 10,
                            .window_from = 200};
    uint64_t written = 0;
    ck_assert_int_eq(store_put(s, &b, &written), ERR_OK);
    b.window_from = 220;
    ck_assert_int_eq(store_put(s, &b, &written), ERR_OK);
    ck_assert_uint_eq(written, 0);
    b.base = NULL; /* a later restore point gives the window alone */
    b.window_from = 100;
    ck_assert_int_eq(store_put(s, &b, &written), ERR_OK);
    ck_assert_uint_gt(written, 0);
    ck_assert_uint_eq(rig_files(rig_dir, ".win"), 1);
    struct store_plan p;
    ck_assert_int_eq(store_plan(s, rig_tag(1), tokens, 300, 150, &p), ERR_OK);
    ck_assert_uint_eq(p.n_tokens, 256);
    store_plan_free(&p);
    store_free(s);
}
END_TEST

/* ---- refusals of put ---- */

START_TEST(a_put_that_can_never_be_read_is_refused) {
    struct store *s = rig_open();
    uint8_t part[10] = {0};
    uint64_t written;
    struct store_block good = {.tag = rig_tag(1),
                               .model = "m",
                               .agent = "",
                               .tokens = tokens,
                               .n_tokens = 256,
                               .base = part,
                               .base_size = 10};
    struct store_block b = good;
    b.n_tokens = 0;
    ck_assert_int_eq(store_put(s, &b, &written), ERR_INVALID);
    b.n_tokens = 257;
    ck_assert_int_eq(store_put(s, &b, &written), ERR_INVALID);
    b = good, b.first_pos = 100;
    ck_assert_int_eq(store_put(s, &b, &written), ERR_INVALID);
    b = good, b.first_pos = 256;
    ck_assert_int_eq(store_put(s, &b, &written), ERR_INVALID); /* no parent */
    b.parent = block_name_of((struct block_name){{{0}}}, b.tag, tokens, 256);
    ck_assert_int_eq(store_put(s, &b, &written), ERR_NOT_FOUND); /* not stored */
    b = good, b.base = NULL;
    ck_assert_int_eq(store_put(s, &b, &written), ERR_INVALID);
    b.window = part, b.window_size = 10;
    ck_assert_int_eq(store_put(s, &b, &written), ERR_NOT_FOUND); /* a window without its base */
    b = good, b.window = part, b.window_from = 257;
    ck_assert_int_eq(store_put(s, &b, &written), ERR_INVALID);
    b = good, b.n_tokens = 100;
    ck_assert_int_eq(store_put(s, &b, &written), ERR_OK);
    b.parent = block_name_of((struct block_name){{{0}}}, b.tag, tokens, 100);
    b.first_pos = 256;
    ck_assert_int_eq(store_put(s, &b, &written), ERR_INVALID); /* a tail has no children */
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), 1);
    store_free(s);
}
END_TEST

START_TEST(the_days_writes_are_bounded_and_counted_across_openings) {
    struct store *s = rig_open();
    struct rig_chain c = {.tag = rig_tag(1), .agent = "a", .tokens = tokens, .n = 512};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    store_free(s);
    s = rig_open();
    store_set_limits(s, 64 * MB, c.written + 100);
    struct rig_chain more = {.tag = rig_tag(1), .agent = "a", .tokens = tokens, .n = 600};
    ck_assert_int_eq(rig_put(s, &more), ERR_LIMIT);
    more.leaving = true;
    ck_assert_int_eq(rig_put(s, &more), ERR_OK);
    struct buf json = BUF(0);
    ck_assert_int_eq(store_cache_json(s, &json), ERR_OK);
    struct json_error e;
    struct json *v = json_read(json.data, json.size, &e);
    ck_assert_int_eq(json_int(json_get(v, "written_today_bytes"), 0), (int64_t)(c.written + more.written));
    json_free(v);
    buf_free(&json);
    store_free(s);
}
END_TEST

/* ---- opening again ---- */

START_TEST(everything_is_there_after_opening_again) {
    struct store *s = rig_open();
    struct rig_chain c = {
        .tag = rig_tag(1), .agent = "ann@example.org", .tokens = tokens, .n = 900, .window = 300};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    struct file_identity id = {.size_bytes = 5, .inode = UINT64_MAX, .device = 3, .mtime_ns = -4}, id2 = id;
    id2.mtime_ns = 4;
    struct hash128 h = rig_tag(9), back;
    ck_assert(!store_file_hash_get(s, &id, &back));
    store_file_hash_put(s, &id, "/m.gguf", h);
    store_self_test_put(s, c.tag);
    store_free(s);
    s = rig_open();
    ck_assert(store_file_hash_get(s, &id, &back) && hash128_equal(h, back));
    ck_assert(!store_file_hash_get(s, &id2, &back));
    ck_assert(store_self_test_get(s, c.tag) && !store_self_test_get(s, rig_tag(7)));
    struct store_chain chains[CHAINS_PER_AGENT_MAX];
    uint32_t n = 0;
    ck_assert_int_eq(store_agent_chains(s, c.tag, c.agent, chains, &n), ERR_OK);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(chains[0].n_tokens, 900);
    ck_assert_mem_eq(chains[0].tokens, tokens, 900 * sizeof tokens[0]);
    store_chains_free(chains, n);
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 901, 300), 900);
    store_free(s);
}
END_TEST

static void rebuilt(const char *garbage, size_t size) {
    struct store *s = rig_open();
    struct rig_chain c = {.tag = rig_tag(1), .agent = "ann", .tokens = tokens, .n = 900, .window = 300};
    struct rig_chain d = {.tag = rig_tag(1), .agent = "bob", .tokens = other, .n = 300};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    ck_assert_int_eq(rig_say(s, &d), ERR_OK);
    store_free(s);
    char path[512];
    snprintf(path, sizeof path, "%s/index.db", rig_dir);
    unlink(path);
    if (garbage) {
        int fd = open(path, O_WRONLY | O_CREAT, 0600);
        ck_assert_int_eq(write(fd, garbage, size), (ssize_t)size);
        close(fd);
    }
    s = rig_open();
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 901, 300), 900);
    ck_assert_uint_eq(rig_cached(s, d.tag, other, 301, 0), 300);
    struct store_chain chains[CHAINS_PER_AGENT_MAX];
    uint32_t n = 0;
    ck_assert_int_eq(store_agent_chains(s, c.tag, "ann", chains, &n), ERR_OK);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(chains[0].n_tokens, 900);
    store_chains_free(chains, n);
    ck_assert_int_eq(store_agent_chains(s, c.tag, "bob", chains, &n), ERR_OK);
    ck_assert_uint_eq(n, 1);
    store_chains_free(chains, n);
    ck_assert_uint_eq(rig_files(rig_dir, "index.db"), garbage ? 2 : 1); /* the bad one is kept aside */
    store_free(s);
    s = rig_open();
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 901, 300), 900);
    store_free(s);
}

START_TEST(a_missing_database_is_rebuilt_from_the_files) {
    rebuilt(NULL, 0);
}
END_TEST

START_TEST(a_damaged_database_is_rebuilt_from_the_files) {
    static char garbage[20000];
    memset(garbage, 'x', sizeof garbage);
    rebuilt(garbage, sizeof garbage);
}
END_TEST

START_TEST(the_database_of_another_version_is_rebuilt) {
    struct store *s = rig_open();
    struct rig_chain c = {.tag = rig_tag(1), .agent = "ann", .tokens = tokens, .n = 900};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    store_free(s);
    char path[512];
    snprintf(path, sizeof path, "%s/index.db", rig_dir);
    int fd = open(path, O_RDWR);
    uint8_t version = 99;
    ck_assert_int_eq(pwrite(fd, &version, 1, 63), 1); /* user_version, big-endian at 60 */
    close(fd);
    s = rig_open();
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 901, 0), 900);
    ck_assert_uint_eq(rig_files(rig_dir, "index.db"), 2);
    store_free(s);
}
END_TEST

START_TEST(left_over_temporary_files_go_and_foreign_files_stay) {
    struct store *s = rig_open();
    struct rig_chain c = {.tag = rig_tag(1), .agent = "a", .tokens = tokens, .n = 256};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    store_free(s);
    struct rig_count kv = {.ending = ".kv"};
    rig_each_file(rig_dir, rig_count_file, &kv);
    char path[5000];
    *strrchr(kv.last, '/') = '\0';
    snprintf(path, sizeof path, "%s/.tmp-1-1", kv.last);
    close(open(path, O_WRONLY | O_CREAT, 0600));
    snprintf(path, sizeof path, "%s/notes.txt", kv.last);
    close(open(path, O_WRONLY | O_CREAT, 0600));
    s = rig_open();
    ck_assert_uint_eq(rig_files(rig_dir, ".tmp-1-1"), 0);
    ck_assert_uint_eq(rig_files(rig_dir, "notes.txt"), 1);
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 300, 0), 256);
    store_free(s);
}
END_TEST

START_TEST(a_file_that_was_taken_away_is_a_miss) {
    struct store *s = rig_open();
    struct rig_chain c = {.tag = rig_tag(1), .agent = "a", .tokens = tokens, .n = 600};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    struct rig_count kv = {.ending = ".kv"};
    rig_each_file(rig_dir, rig_count_file, &kv);
    unlink(kv.last);
    ck_assert_uint_lt(rig_cached(s, c.tag, tokens, 601, 0), 600);
    ck_assert_int_eq(rig_say(s, &c), ERR_OK); /* and it may be put again */
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 601, 0), 600);
    unlink(kv.last);
    store_free(s);
    s = rig_open();
    ck_assert_uint_lt(rig_cached(s, c.tag, tokens, 601, 0), 600);
    store_free(s);
}
END_TEST

START_TEST(a_later_generation_shuts_an_earlier_one_out) {
    struct store_config c = {
        .dir = rig_dir, .budget_bytes = 64 * MB, .write_per_day_bytes = 64 * MB, .generation = 4};
    struct store *old = NULL, *young = NULL;
    char why[256];
    ck_assert_int_eq(store_open(&c, &old, why, sizeof why), ERR_OK);
    c.generation = 5;
    ck_assert_int_eq(store_open(&c, &young, why, sizeof why), ERR_OK);
    struct rig_chain chain = {.tag = rig_tag(1), .agent = "a", .tokens = tokens, .n = 300};
    ck_assert_int_eq(rig_put(old, &chain), ERR_LOCKED);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), 0);
    ck_assert_int_eq(rig_say(young, &chain), ERR_OK);
    store_free(old);
    store_free(young);
    c.generation = 4;
    ck_assert_int_eq(store_open(&c, &old, why, sizeof why), ERR_LOCKED);
    ck_assert_uint_gt(strlen(why), 0);
    int fd = -1;
    ck_assert_int_eq(store_lock(rig_dir, &fd, why, sizeof why),
                     ERR_OK); /* another server: it counts from one */
    c.generation = 1;
    ck_assert_int_eq(store_open(&c, &old, why, sizeof why), ERR_OK);
    store_free(old);
    close(fd);
}
END_TEST

START_TEST(the_lock_names_its_holder) {
    char dir[512], why[512], pid[32];
    snprintf(dir, sizeof dir, "%s/a/b/c", rig_dir); /* parents are made */
    int fd = -1, second = -1;
    ck_assert_int_eq(store_lock(dir, &fd, why, sizeof why), ERR_OK);
    ck_assert_int_eq(store_lock(dir, &second, why, sizeof why), ERR_LOCKED);
    snprintf(pid, sizeof pid, "pid %ld", (long)getpid());
    ck_assert_ptr_nonnull(strstr(why, pid));
    pid_t child = fork();
    if (child == 0) _exit(store_lock(dir, &second, why, sizeof why) == ERR_LOCKED ? 0 : 1);
    int status = -1;
    waitpid(child, &status, 0);
    ck_assert_int_eq(status, 0);
    close(fd);
    ck_assert_int_eq(store_lock(dir, &second, why, sizeof why), ERR_OK);
    close(second);
    snprintf(dir, sizeof dir, "%s/a/b/c/LOCK", rig_dir); /* a file is no folder */
    ck_assert_int_ne(store_lock(dir, &fd, why, sizeof why), ERR_OK);
    ck_assert_uint_gt(strlen(why), 0);
    struct store_config c = {.dir = dir, .budget_bytes = MB};
    struct store *s = NULL;
    ck_assert_int_ne(store_open(&c, &s, why, sizeof why), ERR_OK);
    ck_assert_ptr_null(s);
}
END_TEST

static void check_mode(void *ctx UNUSED, const char *file, const struct stat *st) {
    ck_assert_msg((st->st_mode & 0777) == (S_ISDIR(st->st_mode) ? 0700u : 0600u), "%s is %o", file,
                  st->st_mode & 0777);
}

START_TEST(folders_are_0700_and_files_0600) {
    umask(0);
    chmod(rig_dir, 0755);
    int fd = -1;
    char why[256];
    ck_assert_int_eq(store_lock(rig_dir, &fd, why, sizeof why), ERR_OK);
    struct store *s = rig_open();
    struct rig_chain c = {.tag = rig_tag(1), .agent = "a", .tokens = tokens, .n = 600, .window = 100};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    rig_each_file(rig_dir, check_mode, NULL);
    ck_assert_uint_ge(rig_files(rig_dir, ".win"), 1);
    store_free(s);
    rig_each_file(rig_dir, check_mode, NULL);
    close(fd);
}
END_TEST

/* ---- the running server's faults ---- */

START_TEST(a_full_and_a_readonly_disk_fail_puts_until_cleared) {
    struct store *s = rig_open();
    struct rig_chain c = {.tag = rig_tag(1), .agent = "a", .tokens = tokens, .n = 600},
                     d = {.tag = rig_tag(1), .tokens = other, .n = 300};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    ck_assert_int_eq(fault_arm("disk_full", -1, 0), ERR_OK);
    ck_assert_int_eq(rig_put(s, &d), ERR_DISK_FULL);
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 601, 0), 600);
    ck_assert_int_eq(fault_arm("disk_full", 0, 0), ERR_OK);
    ck_assert_int_eq(fault_arm("disk_readonly", -1, 0), ERR_OK);
    ck_assert_int_eq(rig_put(s, &d), ERR_IO);
    ck_assert_int_eq(fault_arm("disk_readonly", 0, 0), ERR_OK);
    ck_assert_int_eq(rig_put(s, &d), ERR_OK);
    struct store_counters n;
    store_counters_get(s, &n);
    ck_assert_uint_ge(n.write_failures, 2);
    store_free(s);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {an_empty_store_misses,
                                  what_was_put_is_found_to_the_byte,
                                  equal_beginnings_share_blocks,
                                  nothing_is_written_twice,
                                  the_longest_fitting_tail_wins,
                                  a_short_conversation_is_a_tail_of_the_root,
                                  with_a_window_a_plan_ends_where_its_window_is_stored,
                                  a_window_of_one_position_needs_no_window_part,
                                  a_window_part_is_replaced_only_by_one_that_reaches_further_back,
                                  a_put_that_can_never_be_read_is_refused,
                                  the_days_writes_are_bounded_and_counted_across_openings,
                                  everything_is_there_after_opening_again,
                                  a_missing_database_is_rebuilt_from_the_files,
                                  a_damaged_database_is_rebuilt_from_the_files,
                                  the_database_of_another_version_is_rebuilt,
                                  left_over_temporary_files_go_and_foreign_files_stay,
                                  a_file_that_was_taken_away_is_a_miss,
                                  a_later_generation_shuts_an_earlier_one_out,
                                  the_lock_names_its_holder,
                                  folders_are_0700_and_files_0600,
                                  a_full_and_a_readonly_disk_fail_puts_until_cleared};
    return rig_run("store", tests, ARRAY_LEN(tests), set_up, tear_down);
}
