/* Agents: chains, tails, pins, deletion, and what the admin is told. */
#include "base/json.h"
#include "store_rig.h"

static int32_t tokens[8192], other[8192];
static int hints;

static void set_up(void) {
    rig_dir_new();
    rig_tokens(tokens, 8192, 1, 0);
    rig_tokens(other, 8192, 2, 700);
}

static void tear_down(void) {
    rig_remove_tree(rig_dir);
}

/* ---- chains ---- */

START_TEST(a_growing_conversation_is_one_chain) {
    struct store *s = rig_open();
    uint32_t ends[] = {100, 180, 256, 300, 520, 700, 1024, 1100};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        rig_turn(s, "ann", tokens, ends[i]);
        ck_assert_uint_eq(rig_chains(s, "ann"), 1);
        ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, ends[i] + 1, 0), ends[i]);
    }
    store_free(s);
}
END_TEST

START_TEST(a_side_prompt_takes_a_slot_and_the_oldest_goes) {
    struct store *s = rig_open();
    int32_t t[20][300];
    rig_turn(s, "ann", tokens, 600);
    for (uint32_t i = 0; i < 12; i++) {
        rig_tokens(t[i], 300, 100 + i, 0);
        rig_turn(s, "ann", t[i], 300);
        rig_turn(s, "ann", tokens, 600); /* the main conversation is spoken to in between */
    }
    ck_assert_uint_eq(rig_chains(s, "ann"), CHAINS_PER_AGENT_MAX);
    struct store_chain chains[CHAINS_PER_AGENT_MAX];
    uint32_t n = 0;
    ck_assert_int_eq(store_agent_chains(s, rig_tag(1), "ann", chains, &n), ERR_OK);
    ck_assert_uint_eq(chains[0].n_tokens, 600); /* newest first */
    ck_assert_mem_eq(chains[1].tokens, t[11], 300 * 4);
    ck_assert_mem_eq(chains[7].tokens, t[5], 300 * 4);
    store_chains_free(chains, n);
    store_free(s);
}
END_TEST

START_TEST(a_note_of_what_is_not_stored_is_refused) {
    struct store *s = rig_open();
    struct rig_chain c = rig_turn(s, "ann", tokens, 300), wrong = c;
    wrong.leaf = (struct block_name){rig_tag(5)};
    ck_assert_int_eq(rig_note(s, &wrong), ERR_NOT_FOUND);
    wrong = c;
    wrong.n = 301;
    ck_assert_int_eq(rig_note(s, &wrong), ERR_INVALID);
    char id[AGENT_ID_BYTES_MAX + 2];
    memset(id, 'x', sizeof id);
    id[sizeof id - 1] = '\0';
    c.agent = id;
    ck_assert_int_eq(rig_note(s, &c), ERR_INVALID);
    id[AGENT_ID_BYTES_MAX] = '\0';
    ck_assert_int_eq(rig_note(s, &c), ERR_OK);
    c.agent = "../../etc/passwd";
    ck_assert_int_eq(rig_note(s, &c), ERR_OK);
    ck_assert_uint_eq(rig_chains(s, "../../etc/passwd"), 1);
    store_free(s);
}
END_TEST

START_TEST(names_are_durable_without_a_close) {
    struct store *s = rig_open();
    rig_turn(s, "ann", tokens, 512); /* ends at a boundary: no tail tells of her */
    rig_turn(s, "bob", tokens, 600);
    struct store *again = rig_open(); /* as after kill -9: the first was not closed */
    ck_assert_uint_eq(rig_chains(again, "ann"), 1);
    ck_assert_uint_eq(rig_chains(again, "bob"), 1);
    store_free(again);
    store_free(s);
}
END_TEST

/* ---- the admin ---- */

static struct json *ask(struct store *s, const char *model, const char *agent) {
    struct buf out = BUF(0);
    enum err err = store_agents_json(s, model, agent, &out);
    struct json_error e;
    struct json *v = err ? NULL : json_read(out.data, out.size, &e);
    if (!err) ck_assert_ptr_nonnull(v);
    buf_free(&out);
    return v;
}

static bool extra_false(void *ctx, struct hash128 tag UNUSED, const char *agent UNUSED, struct json_out *w) {
    json_key(w, "resident"), json_boolean(w, true);
    *(int *)ctx += 1;
    return false;
}

START_TEST(agents_are_listed_with_true_figures) {
    struct store *s = rig_open();
    rig_turn(s, "ann\"\xc3\xa9", tokens, 600);
    rig_turn(s, "bob", tokens, 600);
    struct rig_chain two = {.tag = rig_tag(2), .model = "n", .agent = "bob", .tokens = other, .n = 300};
    ck_assert_int_eq(rig_say(s, &two), ERR_OK);
    struct json *v = ask(s, "", "");
    ck_assert_uint_eq(json_count(json_get(v, "agents")), 3);
    json_free(v);
    v = ask(s, "n", "");
    const struct json *a = json_at(json_get(v, "agents"), 0);
    ck_assert_str_eq(json_string(json_get(a, "id"), NULL), "bob");
    ck_assert_str_eq(json_string(json_get(a, "model"), NULL), "n");
    ck_assert_int_eq(json_int(json_get(a, "tokens"), 0), 300);
    ck_assert_int_eq(json_int(json_get(a, "blocks"), 0), 2);
    /* two parts of 3,000 bytes with their headers: model "n", no agent and "bob" */
    ck_assert_int_eq(json_int(json_get(a, "bytes"), 0),
                     (3000 + 112 + 1 + 4 * 256) + (3000 + 112 + 1 + 3 + 4 * 44));
    ck_assert_int_eq(json_int(json_get(a, "chains"), 0), 1);
    ck_assert(json_bool(json_get(a, "saved"), false));
    ck_assert(!json_bool(json_get(a, "pinned"), true));
    ck_assert_int_gt(json_int(json_get(a, "last_used"), 0), 1600000000);
    json_free(v);
    v = ask(s, "", "ann\"\xc3\xa9");
    ck_assert_uint_eq(json_count(json_get(v, "agents")), 1);
    json_free(v);
    ck_assert_ptr_null(ask(s, "", "carl"));
    ck_assert_ptr_null(ask(s, "n", "ann\"\xc3\xa9"));
    struct buf out = BUF(0);
    int calls = 0;
    ck_assert_int_eq(store_agents_json_with(s, "", "bob", extra_false, &calls, &out), ERR_OK);
    ck_assert_int_eq(calls, 2);
    struct json_error e;
    v = json_read(out.data, out.size, &e);
    ck_assert(!json_bool(json_get(json_at(json_get(v, "agents"), 0), "saved"), true));
    ck_assert(json_bool(json_get(json_at(json_get(v, "agents"), 0), "resident"), false));
    json_free(v);
    buf_free(&out);
    store_free(s);
}
END_TEST

static void count_hint(void *ctx UNUSED, int fd, uint64_t size_bytes) {
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_uint_eq((uint64_t)st.st_size, size_bytes);
    hints++;
}

START_TEST(who_waits_for_a_model_is_read_ahead) {
    struct disk_ops disk = disk_ops_real;
    disk.read_ahead = count_hint;
    struct store *s = rig_open_with(64 * MB, &disk);
    rig_turn(s, "ann", tokens, 600);
    store_read_ahead(s, "m", "bob");
    store_read_ahead(s, "other", "ann");
    ck_assert_int_eq(hints, 0);
    store_read_ahead(s, "m", "ann");
    ck_assert_int_eq(hints, 3); /* two blocks and the tail */
    store_free(s);
}
END_TEST

START_TEST(deletion_is_counted_and_true) {
    struct store *s = rig_open();
    uint64_t files = 0, bytes = 0, before;
    uint32_t n = 0;
    rig_turn(s, "ann", tokens, 600);
    rig_turn(s, "ann", tokens, 650);
    unsigned n_before = rig_files(rig_dir, ".kv");
    before = rig_tree_bytes(rig_dir);
    int32_t fork[1000];
    memcpy(fork, tokens, sizeof fork);
    for (int i = 300; i < 1000; i++) fork[i] ^= 1;
    rig_turn(s, "bob", fork, 700);
    unsigned with_bob = rig_files(rig_dir, ".kv");
    uint64_t bytes_with_bob = rig_file_bytes(rig_dir, ".kv");
    ck_assert_int_eq(store_agent_delete(s, "", "carl", &n, &files, &bytes), ERR_NOT_FOUND);
    ck_assert_int_eq(store_agent_delete(s, "", "ann", &n, &files, &bytes), ERR_OK);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(files, with_bob - rig_files(rig_dir, ".kv"));
    ck_assert_uint_eq(files, 3); /* block 256..511 and both tails; block 0 is bob's too */
    ck_assert_uint_eq(bytes, bytes_with_bob - rig_file_bytes(rig_dir, ".kv"));
    ck_assert_uint_gt(bytes, 3 * 3000);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), fork, 701, 0), 700);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 701, 0), 256);
    ck_assert_ptr_null(ask(s, "", "ann"));
    ck_assert_int_eq(store_agent_delete(s, "m", "bob", &n, &files, &bytes), ERR_OK);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), 0);
    store_free(s);
    s = rig_open();
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), 0);
    ck_assert_ptr_null(ask(s, "", "ann"));
    ck_assert_ptr_null(ask(s, "", "bob"));
    ck_assert_uint_gt(before, n_before);
    store_free(s);
}
END_TEST

/* What a loss of power leaves of the database at worst: what was synced. */
START_TEST(a_deleted_agent_stays_deleted_after_a_loss_of_power) {
    struct store *s = rig_open();
    rig_turn(s, "ann", tokens, 600);
    rig_turn(s, "bob", tokens, 512); /* what is shared stays, and ann could step back to it */
    store_free(s);
    s = rig_open();
    uint32_t agents = 0;
    uint64_t files = 0, bytes = 0;
    ck_assert_int_eq(store_agent_delete(s, "", "ann", &agents, &files, &bytes), ERR_OK);
    ck_assert_uint_eq(agents, 1);
    char saved[256], command[1200];
    memcpy(saved, rig_dir, sizeof saved);
    snprintf(rig_dir, sizeof rig_dir, "%.200s-cut", saved);
    snprintf(command, sizeof command, "cp -r %s %s && rm -f %s/index.db-wal %s/index.db-shm", saved, rig_dir,
             rig_dir, rig_dir);
    ck_assert_int_eq(system(command), 0);
    struct store *cut = rig_open();
    ck_assert_ptr_null(ask(cut, "", "ann"));
    struct json *bob = ask(cut, "", "bob");
    ck_assert_ptr_nonnull(bob);
    json_free(bob);
    store_free(cut);
    rig_remove_tree(rig_dir);
    memcpy(rig_dir, saved, sizeof rig_dir);
    store_free(s);
}
END_TEST

START_TEST(an_agent_of_every_model_or_of_one_is_deleted) {
    struct store *s = rig_open();
    uint64_t files = 0, bytes = 0;
    uint32_t n = 0;
    for (uint8_t i = 1; i <= 3; i++) {
        struct rig_chain c = {.tag = rig_tag(i),
                              .model = i == 1 ? "m" : "n",
                              .agent = "ann",
                              .tokens = tokens,
                              .n = 300,
                              .window = 50};
        ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    }
    ck_assert_int_eq(store_agent_delete(s, "n", "ann", &n, &files, &bytes), ERR_OK);
    ck_assert_uint_eq(n, 2); /* two tags went under this name */
    ck_assert_uint_eq(files, 2 * (2 + 2));
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 301, 50), 300);
    ck_assert_int_eq(store_agent_delete(s, "", "ann", &n, &files, &bytes), ERR_OK);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv") + rig_files(rig_dir, ".win"), 0);
    store_free(s);
}
END_TEST

/* ---- turns that never came to their end: blocks were stored, no chain was noted ---- */

static void unfinished(struct store *s, const char *agent, const int32_t *t, uint32_t n) {
    struct rig_chain c = {.tag = rig_tag(1), .agent = agent, .tokens = t, .n = n};
    ck_assert_int_eq(rig_put(s, &c), ERR_OK);
}

static void check_deleted(struct store *s, const char *agent, uint64_t n_files) {
    uint64_t files = 0, bytes = 0, before = rig_file_bytes(rig_dir, ".kv");
    uint32_t n = 0;
    ck_assert_int_eq(store_agent_delete(s, "m", agent, &n, &files, &bytes), ERR_OK);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(files, n_files);
    ck_assert_uint_eq(bytes, before - rig_file_bytes(rig_dir, ".kv"));
    ck_assert_int_eq(store_agent_delete(s, "", agent, &n, &files, &bytes), ERR_NOT_FOUND);
}

START_TEST(deletion_frees_what_a_turn_has_stored_that_never_ended) {
    struct store *s = rig_open();
    unfinished(s, "ann", tokens, 600);
    unfinished(s, "bob", other, 512); /* no tail: his name is in no file */
    check_deleted(s, "ann", 3);
    check_deleted(s, "bob", 2);
    unfinished(s, "bob", other, 512);
    rig_turn(s, "carl", other, 300); /* needs the first of them */
    store_free(s);
    s = rig_open();
    check_deleted(s, "bob", 1);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), other, 301, 0), 300);
    rig_turn(s, "ann", tokens, 600);
    unfinished(s, "ann", tokens, 1024); /* her second turn */
    check_deleted(s, "ann", 5);
    check_deleted(s, "carl", 2);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), 0);
    store_free(s);
}
END_TEST

START_TEST(who_was_killed_in_the_first_turn_is_listed_after_the_start) {
    struct store *s = rig_open();
    unfinished(s, "ann", tokens, 600);
    unfinished(s, "", other, 600); /* nobody's stay nobody's */
    store_free(s);
    s = rig_open();
    ck_assert_uint_eq(rig_chains(s, "ann"), 1);
    struct json *v = ask(s, "", "");
    ck_assert_uint_eq(json_count(json_get(v, "agents")), 1);
    ck_assert_int_eq(json_int(json_get(json_at(json_get(v, "agents"), 0), "tokens"), 0), 600);
    json_free(v);
    store_free(s);
    s = rig_open();
    check_deleted(s, "ann", 3);
    store_free(s);
}
END_TEST

START_TEST(who_was_deleted_does_not_come_back_with_what_others_need) {
    struct store *s = rig_open();
    rig_turn(s, "ann", tokens, 600);
    rig_turn(s, "bob", tokens, 600); /* the same: his chain ends in her tail */
    check_deleted(s, "ann", 0);
    store_free(s);
    s = rig_open();
    ck_assert_ptr_null(ask(s, "", "ann"));
    ck_assert_uint_eq(rig_chains(s, "bob"), 1);
    check_deleted(s, "bob", 3);
    store_free(s);
}
END_TEST

START_TEST(the_cache_of_one_model_or_of_all_is_deleted) {
    struct store *s = rig_open();
    uint64_t files = 0, bytes = 0;
    rig_turn(s, "ann", tokens, 600);
    struct rig_chain c = {
        .tag = rig_tag(2), .model = "n", .agent = "bob", .tokens = tokens, .n = 600, .window = 300};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    ck_assert_int_eq(store_agent_pin(s, "", "bob", true), ERR_OK);
    ck_assert_int_eq(store_cache_delete(s, "n", &files, &bytes), ERR_OK);
    ck_assert_uint_eq(files, 3 + 2);
    ck_assert_ptr_null(ask(s, "", "bob"));
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 601, 0), 600);
    ck_assert_int_eq(store_cache_delete(s, "", &files, &bytes), ERR_OK);
    ck_assert_uint_eq(files, 3);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv") + rig_files(rig_dir, ".win"), 0);
    struct store_counters n;
    store_counters_get(s, &n);
    ck_assert_uint_eq(n.disk_bytes, rig_tree_bytes(rig_dir) + DISK_UNIT_BYTES); /* no LOCK in this test */
    store_free(s);
}
END_TEST

START_TEST(the_figures_of_the_cache_add_up) {
    struct store *s = rig_open();
    rig_turn(s, "ann", tokens, 600);
    struct rig_chain c = {
        .tag = rig_tag(2), .model = "n", .agent = "bob", .tokens = tokens, .n = 600, .window = 300};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    rig_cached(s, rig_tag(1), tokens, 601, 0);
    rig_cached(s, rig_tag(3), tokens, 601, 0);
    struct buf out = BUF(0);
    ck_assert_int_eq(store_cache_json(s, &out), ERR_OK);
    struct json_error e;
    struct json *v = json_read(out.data, out.size, &e);
    ck_assert_ptr_nonnull(v);
    ck_assert_int_eq(json_int(json_get(v, "blocks"), 0), 6);
    ck_assert_int_eq(json_int(json_get(v, "budget_bytes"), 0), 64 * MB);
    ck_assert_int_eq(json_int(json_get(v, "hits"), 0), 1);
    ck_assert_int_eq(json_int(json_get(v, "misses"), 0), 1);
    ck_assert_int_eq(json_int(json_get(v, "corrupt"), -1), 0);
    ck_assert_int_eq(json_int(json_get(v, "bytes"), 0), (int64_t)(rig_tree_bytes(rig_dir) + DISK_UNIT_BYTES));
    const struct json *models = json_get(v, "models");
    ck_assert_uint_eq(json_count(models), 2);
    ck_assert_str_eq(json_string(json_get(json_at(models, 1), "model"), NULL), "n");
    ck_assert_int_eq(json_int(json_get(json_at(models, 1), "blocks"), 0), 3);
    ck_assert_int_eq(json_int(json_get(json_at(models, 1), "agents"), 0), 1);
    json_free(v);
    buf_free(&out);
    store_free(s);
}
END_TEST

/* ---- the budget ---- */

#define SMALL (MB + MB / 2)

START_TEST(the_budget_holds_after_every_write) {
    struct store *s = rig_open_with(SMALL, NULL);
    static int32_t t[1200];
    for (uint32_t i = 0; i < 80; i++) {
        rig_tokens(t, 1200, 1000 + i, i % 3 * 300);
        char agent[16];
        snprintf(agent, sizeof agent, "a%u", i % 20);
        struct rig_chain c = {.tag = rig_tag(1 + i % 2),
                              .agent = agent,
                              .tokens = t,
                              .n = 500 + i * 7,
                              .window = i % 2 ? 300 : 0};
        ck_assert_int_eq(rig_say(s, &c), ERR_OK);
        ck_assert_uint_le(rig_tree_bytes(rig_dir), SMALL);
        ck_assert_uint_eq(rig_cached(s, c.tag, t, c.n + 1, c.window),
                          c.n); /* what was just written is there */
    }
    struct store_counters n;
    store_counters_get(s, &n);
    ck_assert_uint_gt(n.evicted, 50);
    ck_assert_uint_le(n.disk_bytes, SMALL);
    store_free(s);
    ck_assert_uint_le(rig_tree_bytes(rig_dir), SMALL);
    s = rig_open_with(SMALL, NULL);
    ck_assert_uint_eq(rig_cached(s, rig_tag(2), t, 500 + 79 * 7 + 1, 300), 500 + 79 * 7);
    store_free(s);
}
END_TEST

START_TEST(what_was_used_longest_ago_goes_first_and_no_chain_gets_a_hole) {
    struct store *s = rig_open_with(SMALL, NULL);
    static int32_t first[1100], t[1100];
    rig_tokens(first, 1100, 5, 0);
    rig_turn(s, "first", first, 1100);
    for (uint32_t i = 0; i < 60; i++) {
        rig_tokens(t, 1100, 1000 + i, 0);
        rig_turn(s, "", t, 1100);
        if (i < 50)
            ck_assert_uint_eq(rig_cached(s, rig_tag(1), first, 1101, 0), 1100); /* used all the time */
    }
    uint32_t left = rig_cached(s, rig_tag(1), first, 1101, 0);
    ck_assert(left == 1100 || left % BLOCK_TOKENS == 0);
    for (uint32_t i = 60; i < 120; i++) {
        rig_tokens(t, 1100, 1000 + i, 0);
        rig_turn(s, "", t, 1100);
    }
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), first, 1101, 0), 0);
    ck_assert_ptr_null(ask(s, "", "first"));
    store_free(s);
}
END_TEST

START_TEST(what_a_plan_has_promised_is_not_the_next_to_go) {
    struct store *s = rig_open_with(SMALL, NULL);
    static int32_t first[1100], t[1100];
    struct store_counters before, after;
    rig_tokens(first, 1100, 5, 0);
    rig_turn(s, "", first, 1100);
    uint32_t i = 0;
    do { /* until the next put has to evict */
        store_counters_get(s, &before);
        rig_tokens(t, 1100, 1000 + i++, 0);
        if (rig_cached(s, rig_tag(1), first, 1101, 0) != 1100) ck_abort();
        for (uint32_t k = 0; k < i - 1; k++) { /* all others are used after it */
            rig_tokens(t, 1100, 1000 + k, 0);
            rig_cached(s, rig_tag(1), t, 1101, 0);
        }
        rig_tokens(t, 1100, 1000 + i - 1, 0);
        rig_turn(s, "", t, 1100);
    } while (before.disk_bytes + 600 * 1024 < SMALL);
    struct store_plan p;
    ck_assert_int_eq(store_plan(s, rig_tag(1), first, 1101, 0, &p), ERR_OK);
    ck_assert_uint_eq(p.n_tokens, 1100);
    for (uint32_t k = 0; k < 8; k++) {
        rig_tokens(t, 1100, 5000 + k, 0);
        rig_turn(s, "", t, 1100);
    }
    store_counters_get(s, &after);
    ck_assert_uint_gt(after.evicted, before.evicted);
    ck_assert_int_eq(rig_get(s, rig_tag(1), first, &p), ERR_OK);
    store_plan_free(&p);
    store_free(s);
}
END_TEST

START_TEST(pinned_chains_and_models_stay) {
    struct store *s = rig_open_with(SMALL, NULL);
    static int32_t pinned[1100], model[1100], t[1100];
    rig_tokens(pinned, 1100, 5, 0);
    rig_tokens(model, 1100, 6, 0);
    struct rig_chain p = {.tag = rig_tag(1), .agent = "pin", .tokens = pinned, .n = 1000, .window = 300};
    struct rig_chain q = {.tag = rig_tag(2), .model = "n", .agent = "bob", .tokens = model, .n = 1000};
    ck_assert_int_eq(rig_say(s, &p), ERR_OK);
    ck_assert_int_eq(store_agent_pin(s, "", "pin", true), ERR_OK);
    ck_assert_int_eq(store_agent_pin(s, "", "nobody", true), ERR_NOT_FOUND);
    q.pinned_model = true;
    ck_assert_int_eq(rig_say(s, &q), ERR_OK);
    for (uint32_t i = 0; i < 60; i++) {
        rig_tokens(t, 1100, 1000 + i, 0);
        rig_turn(s, "", t, 1100);
    }
    store_free(s);
    s = rig_open_with(SMALL, NULL);
    for (uint32_t i = 60; i < 120; i++) {
        rig_tokens(t, 1100, 1000 + i, 0);
        rig_turn(s, "", t, 1100);
    }
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), pinned, 1001, 300), 1000);
    ck_assert_uint_eq(rig_cached(s, rig_tag(2), model, 1001, 0), 1000);
    ck_assert_int_eq(store_agent_pin(s, "", "pin", false), ERR_OK);
    for (uint32_t i = 120; i < 360; i++) {
        rig_tokens(t, 1100, 1000 + i, 0);
        rig_turn(s, "", t, 1100);
    }
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), pinned, 1001, 300), 0);
    store_free(s);
}
END_TEST

START_TEST(when_nothing_may_go_a_put_is_refused_and_nothing_is_lost) {
    struct store *s = rig_open_with(MB, NULL);
    static int32_t t[60000];
    rig_tokens(t, 60000, 5, 0);
    uint32_t n = 0, saved = 0;
    enum err err = ERR_OK;
    for (n = 256; n < 60000 && !err; n += 256) {
        struct rig_chain c = {.tag = rig_tag(1), .agent = "pin", .tokens = t, .n = n};
        err = rig_say(s, &c);
        if (!err) saved = n;
        if (n == 256) ck_assert_int_eq(store_agent_pin(s, "", "pin", true), ERR_OK);
    }
    ck_assert_int_eq(err, ERR_LIMIT);
    ck_assert_uint_gt(saved, 1024);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), t, saved + 1, 0), saved);
    struct rig_chain other_chain = {.tag = rig_tag(1), .tokens = other, .n = 300};
    ck_assert_int_eq(rig_put(s, &other_chain), ERR_LIMIT);
    ck_assert_uint_le(rig_tree_bytes(rig_dir), MB);
    static uint8_t huge[2 << 20];
    struct store_block b = {.tag = rig_tag(1),
                            .model = "m",
                            .agent = "",
                            .tokens = other,
                            .n_tokens = 256,
                            .base = huge,
                            .base_size = sizeof huge};
    uint64_t written;
    ck_assert_int_eq(store_put(s, &b, &written), ERR_LIMIT);
    store_free(s);
}
END_TEST

START_TEST(windows_go_before_bases_of_the_same_age) {
    struct store *s = rig_open_with(SMALL, NULL);
    static int32_t t[600];
    for (uint32_t i = 0; i < 40; i++) {
        rig_tokens(t, 600, 1000 + i, 0);
        struct rig_chain c = {.tag = rig_tag(1), .tokens = t, .n = 600, .window = 300};
        ck_assert_int_eq(rig_put(s, &c), ERR_OK);
    }
    unsigned bases = rig_files(rig_dir, ".kv"), windows = rig_files(rig_dir, ".win");
    ck_assert_uint_lt(windows, 80);
    ck_assert_uint_gt(bases, windows);
    store_free(s);
}
END_TEST

START_TEST(a_smaller_budget_is_reached_at_once) {
    struct store *s = rig_open();
    static int32_t t[1100];
    for (uint32_t i = 0; i < 100; i++) {
        rig_tokens(t, 1100, 1000 + i, 0);
        rig_turn(s, "", t, 1100);
    }
    ck_assert_uint_gt(rig_tree_bytes(rig_dir), 3 * MB);
    store_set_limits(s, 3 * MB, 1000 * MB);
    ck_assert_int_eq(store_flush(s), ERR_OK);
    ck_assert_uint_le(rig_files(rig_dir, ".kv") * 8192u, 3 * MB);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), t, 1101, 0), 1100);
    store_free(s);
    ck_assert_uint_le(rig_tree_bytes(rig_dir), 3 * MB);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {a_growing_conversation_is_one_chain,
                                  a_side_prompt_takes_a_slot_and_the_oldest_goes,
                                  a_note_of_what_is_not_stored_is_refused,
                                  names_are_durable_without_a_close,
                                  agents_are_listed_with_true_figures,
                                  who_waits_for_a_model_is_read_ahead,
                                  deletion_is_counted_and_true,
                                  a_deleted_agent_stays_deleted_after_a_loss_of_power,
                                  an_agent_of_every_model_or_of_one_is_deleted,
                                  deletion_frees_what_a_turn_has_stored_that_never_ended,
                                  who_was_killed_in_the_first_turn_is_listed_after_the_start,
                                  who_was_deleted_does_not_come_back_with_what_others_need,
                                  the_cache_of_one_model_or_of_all_is_deleted,
                                  the_figures_of_the_cache_add_up,
                                  the_budget_holds_after_every_write,
                                  what_was_used_longest_ago_goes_first_and_no_chain_gets_a_hole,
                                  what_a_plan_has_promised_is_not_the_next_to_go,
                                  pinned_chains_and_models_stay,
                                  when_nothing_may_go_a_put_is_refused_and_nothing_is_lost,
                                  windows_go_before_bases_of_the_same_age,
                                  a_smaller_budget_is_reached_at_once};
    return rig_run("store_agents", tests, ARRAY_LEN(tests), set_up, tear_down);
}
