/* Opening in slices: what is served while the folder is looked through, what waits, and that the end is the same as that of an
 * opening at once. */
#include "base/json.h"
#include "store/store.h"
#include "store_rig.h"

#define TALKS 12
static int32_t talks[TALKS][900];

static void set_up(void) {
    rig_dir_new();
    for (uint32_t i = 0; i < TALKS; i++) rig_tokens(talks[i], 900, 10 + i, 0);
}
static void tear_down(void) {
    rig_remove_tree(rig_dir);
}

static struct rig_chain talk(uint32_t i, const char *agent) {
    return (struct rig_chain){
        .tag = rig_tag((uint8_t)(1 + i % 2)), .agent = agent, .tokens = talks[i], .n = 900, .window = 300};
}

static void fill(void) {
    struct store *s = rig_open();
    for (uint32_t i = 0; i < TALKS; i++) {
        char agent[16];
        snprintf(agent, sizeof agent, "agent-%u", i);
        struct rig_chain c = talk(i, agent);
        ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    }
    store_free(s);
}

static void remove_database(void) {
    char path[512];
    snprintf(path, sizeof path, "%s/index.db", rig_dir);
    unlink(path);
}

static struct store *open_later(void) {
    struct store_config c = {.dir = rig_dir,
                             .budget_bytes = 64 * MB,
                             .write_per_day_bytes = 1000 * MB,
                             .generation = rig_generation,
                             .scan_later = true};
    struct store *s = NULL;
    char why[256];
    enum err err = store_open(&c, &s, why, sizeof why);
    ck_assert_msg(err == ERR_OK, "%s: %s", err_name(err), why);
    return s;
}

static unsigned finish(struct store *s) {
    unsigned steps = 0;
    for (; store_is_scanning(s); steps++) ck_assert_int_eq(store_scan_step(s, 0), ERR_OK);
    return steps;
}

static uint32_t cached(struct store *s, uint32_t i) {
    return rig_cached(s, rig_tag((uint8_t)(1 + i % 2)), talks[i], 900, 300);
}

static size_t n_agents(struct store *s) {
    struct buf out = BUF(0);
    ck_assert_int_eq(store_agents_json(s, "", "", &out), ERR_OK);
    struct json_error e;
    struct json *v = json_read(out.data, out.size, &e);
    size_t n = json_count(json_get(v, "agents"));
    json_free(v);
    buf_free(&out);
    return n;
}

static void check_whole(struct store *s) {
    ck_assert(!store_is_scanning(s));
    ck_assert_uint_eq(n_agents(s), TALKS);
    struct store_counters n;
    store_counters_get(s, &n);
    ck_assert_uint_eq(n.disk_bytes, rig_tree_bytes(rig_dir) + DISK_UNIT_BYTES); /* no LOCK in this test */
    for (uint32_t i = 0; i < TALKS; i++) {
        struct store_plan p;
        ck_assert_int_eq(store_plan(s, rig_tag((uint8_t)(1 + i % 2)), talks[i], 900, 0, &p), ERR_OK);
        ck_assert_uint_eq(p.n_tokens, 768);
        store_plan_free(&p);
    }
}

START_TEST(with_the_database_all_is_served_before_the_first_step) {
    fill();
    struct store *s = open_later();
    ck_assert(store_is_scanning(s));
    ck_assert_uint_eq(n_agents(s), TALKS);
    int32_t more[901];
    for (uint32_t i = 0; i < TALKS; i++) {
        memcpy(more, talks[i], sizeof talks[i]);
        more[900] = 1;
        ck_assert_uint_eq(rig_cached(s, rig_tag((uint8_t)(1 + i % 2)), more, 901, 300), 900);
    }
    ck_assert_uint_gt(finish(s), 10);
    check_whole(s);
    store_free(s);
}
END_TEST

START_TEST(without_it_blocks_are_found_as_they_are_seen) {
    fill();
    remove_database();
    struct store *s = open_later();
    ck_assert_uint_eq(cached(s, 0), 0);
    unsigned steps = 0, found_early = 0;
    for (; store_is_scanning(s); steps++) {
        ck_assert_int_eq(store_scan_step(s, 0), ERR_OK);
        uint32_t n = 0;
        for (uint32_t i = 0; i < TALKS; i++) {
            struct store_plan p;
            ck_assert_int_eq(store_plan(s, rig_tag((uint8_t)(1 + i % 2)), talks[i], 900, 0, &p), ERR_OK);
            n += p.n_tokens;
            ck_assert_int_eq(rig_get(s, rig_tag((uint8_t)(1 + i % 2)), talks[i], &p), ERR_OK);
            store_plan_free(&p);
        }
        if (store_is_scanning(s) && n > 0) found_early++;
    }
    ck_assert_uint_gt(found_early, 0);
    check_whole(s);
    store_free(s);
    s = rig_open();
    check_whole(s);
    store_free(s);
}
END_TEST

static const char *miss_of(struct store *s, uint32_t i) {
    struct store_plan p;
    ck_assert_int_eq(store_plan(s, rig_tag((uint8_t)(1 + i % 2)), talks[i], 900, 300, &p), ERR_OK);
    const char *reason = p.n_tokens ? "hit" : p.reason;
    store_plan_free(&p);
    return reason;
}

START_TEST(a_miss_says_that_it_is_not_known_yet) {
    fill();
    remove_database();
    struct store *s = open_later();
    ck_assert_str_eq(miss_of(s, 0), "scanning");
    ck_assert_int_eq(store_scan_step(s, 0), ERR_OK);
    ck_assert_str_eq(miss_of(s, 0), "scanning"); /* whatever it has seen of it */
    finish(s);
    int32_t other[900];
    rig_tokens(other, 900, 99, 0);
    struct store_plan p;
    ck_assert_int_eq(store_plan(s, rig_tag(1), other, 900, 300, &p), ERR_OK);
    ck_assert_str_eq(p.reason, "no block");
    store_plan_free(&p);
    store_free(s);
}
END_TEST

START_TEST(blocks_under_other_tags_are_counted_as_they_are_known) {
    fill();
    struct store *s = open_later();
    uint64_t known = store_other_blocks(s, rig_tag(1), "m"); /* the database has the other half */
    ck_assert_uint_eq(known, TALKS / 2 * 4);
    finish(s);
    ck_assert_uint_eq(store_other_blocks(s, rig_tag(1), "m"), known);
    store_free(s);
    remove_database();
    s = open_later();
    ck_assert_uint_eq(store_other_blocks(s, rig_tag(1), "m"), 0);
    finish(s);
    ck_assert_uint_eq(store_other_blocks(s, rig_tag(1), "m"), known);
    store_free(s);
}
END_TEST

START_TEST(until_it_is_over_nothing_is_written) {
    fill();
    remove_database();
    struct store *s = open_later();
    unsigned files = rig_files(rig_dir, ".kv");
    struct rig_chain c = {.tag = rig_tag(1), .agent = "new", .tokens = talks[0] + 1, .n = 300};
    ck_assert_int_eq(rig_put(s, &c), ERR_IO);
    ck_assert_int_eq(rig_note(s, &c), ERR_IO);
    store_self_test_put(s, c.tag);
    store_set_limits(s, MB, 1000 * MB); /* what is too much goes at the end */
    ck_assert_int_eq(store_flush(s), ERR_OK);
    ck_assert_int_eq(store_scan_step(s, 0), ERR_OK);
    ck_assert_int_eq(store_flush(s), ERR_OK);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), files);
    store_set_limits(s, 64 * MB, 1000 * MB);
    finish(s);
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    store_free(s);
    s = rig_open();
    ck_assert(store_self_test_get(s, c.tag));
    ck_assert_uint_eq(n_agents(s), TALKS + 1);
    store_free(s);
}
END_TEST

START_TEST(a_smaller_budget_is_reached_at_the_end) {
    fill();
    struct store *s = open_later();
    store_set_limits(s, MB, 1000 * MB);
    finish(s);
    ck_assert_uint_le(rig_tree_bytes(rig_dir), MB);
    store_free(s);
}
END_TEST

START_TEST(a_kill_in_the_middle_loses_nothing) {
    fill();
    for (int database = 0; database < 2; database++) {
        for (unsigned steps = 1; steps < 30; steps += 7) {
            if (!database) remove_database();
            struct store *s = open_later();
            for (unsigned i = 0; i < steps && store_is_scanning(s); i++)
                ck_assert_int_eq(store_scan_step(s, 0), ERR_OK);
            rig_generation++;
            struct store *again = open_later();
            store_free(s);
            finish(again);
            check_whole(again);
            store_free(again);
        }
    }
}
END_TEST

START_TEST(a_deletion_and_a_pin_know_the_whole_folder) {
    fill();
    remove_database();
    struct store *s = open_later();
    uint32_t n = 0;
    uint64_t files = 0, bytes = 0;
    ck_assert_int_eq(store_agent_delete(s, "", "agent-3", &n, &files, &bytes), ERR_OK);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_gt(files, 3);
    ck_assert(!store_is_scanning(s));
    store_free(s);
    remove_database();
    s = open_later();
    ck_assert_int_eq(store_agent_pin(s, "", "agent-4", true), ERR_OK);
    store_free(s);
    remove_database();
    s = open_later();
    ck_assert_int_eq(store_cache_delete(s, "", &files, &bytes), ERR_OK);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv") + rig_files(rig_dir, ".win"), 0);
    store_free(s);
}
END_TEST

START_TEST(what_is_damaged_is_found_while_it_goes_on) {
    fill();
    struct rig_count kv = {.ending = ".kv"};
    rig_each_file(rig_dir, rig_count_file, &kv);
    struct stat st;
    ck_assert_int_eq(stat(kv.last, &st), 0);
    remove_database();
    struct store *s = open_later();
    while (store_is_scanning(s)) {
        ck_assert_int_eq(store_scan_step(s, 0), ERR_OK);
        struct stat now;
        if (stat(kv.last, &now) != 0) continue;
        ck_assert_int_eq(truncate(kv.last, 500), 0);
        for (uint32_t i = 0; i < TALKS; i++) cached(s, i);
    }
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), kv.n);
    ck_assert_int_ne(stat(kv.last, &st), 0); /* in quarantine now */
    store_free(s);
}
END_TEST

static unsigned n_opened;
static enum err count_open(void *ctx, const char *path, int *fd, uint64_t *size) {
    n_opened++;
    return disk_ops_real.open(ctx, path, fd, size);
}

START_TEST(who_was_killed_in_the_first_turn_is_listed_at_the_end) {
    struct disk_ops disk = disk_ops_real;
    disk.open = count_open;
    struct store_config c = {
        .dir = rig_dir, .budget_bytes = 64 * MB, .generation = 1, .disk = &disk, .scan_later = true};
    char why[256];
    fill();
    struct store *s = rig_open();
    struct rig_chain unfinished = {.tag = rig_tag(1), .agent = "new", .tokens = talks[0] + 1, .n = 300};
    ck_assert_int_eq(rig_put(s, &unfinished), ERR_OK); /* and no note */
    store_free(s);
    ck_assert_int_eq(store_open(&c, &s, why, sizeof why), ERR_OK);
    ck_assert_uint_eq(n_agents(s), TALKS);
    n_opened = 0;
    finish(s);
    ck_assert_uint_eq(n_agents(s), TALKS + 1);
    ck_assert_uint_eq(n_opened, 1); /* its tail, for the name */
    store_free(s);
    remove_database();
    ck_assert_int_eq(store_open(&c, &s, why, sizeof why), ERR_OK);
    n_opened = 0;
    finish(s);
    ck_assert_uint_eq(n_agents(s), TALKS + 1);
    ck_assert_uint_eq(n_opened,
                      rig_files(rig_dir, ".kv") + rig_files(rig_dir, ".win")); /* each header once */
    uint32_t n = 0;
    uint64_t files = 0, bytes = 0;
    ck_assert_int_eq(store_agent_delete(s, "", "new", &n, &files, &bytes), ERR_OK);
    ck_assert_uint_eq(files, 2);
    store_free(s);
}
END_TEST

START_TEST(it_goes_on_when_memory_was_short) {
    fill();
    remove_database();
    for (int64_t n = 1;; n++) {
        mem_fail_at(0);
        struct store *s = open_later();
        mem_fail_at(n);
        bool failed = false;
        while (store_is_scanning(s)) {
            enum err err = store_scan_step(s, 0);
            if (err) ck_assert_int_eq(err, ERR_NOMEM);
            failed = failed || err;
        }
        mem_fail_at(0);
        check_whole(s);
        store_free(s);
        ck_assert_int_eq(mem_live_count(), 0);
        if (!failed && n > 200) break;
        remove_database();
        if (n > 100) n += 40; /* they all fail alike */
    }
}
END_TEST

int main(void) {
    const TTest *const tests[] = {with_the_database_all_is_served_before_the_first_step,
                                  without_it_blocks_are_found_as_they_are_seen,
                                  a_miss_says_that_it_is_not_known_yet,
                                  blocks_under_other_tags_are_counted_as_they_are_known,
                                  until_it_is_over_nothing_is_written,
                                  a_smaller_budget_is_reached_at_the_end,
                                  a_kill_in_the_middle_loses_nothing,
                                  a_deletion_and_a_pin_know_the_whole_folder,
                                  what_is_damaged_is_found_while_it_goes_on,
                                  who_was_killed_in_the_first_turn_is_listed_at_the_end,
                                  it_goes_on_when_memory_was_short};
    return rig_run("store_load", tests, ARRAY_LEN(tests), set_up, tear_down);
}
