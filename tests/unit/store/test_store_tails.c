/* Tails: which of them stay when a turn has ended, or was interrupted. */
#include "store_rig.h"

static int32_t tokens[8192];

static void set_up(void) {
    rig_dir_new();
    rig_tokens(tokens, 8192, 1, 0);
}

static void tear_down(void) {
    rig_remove_tree(rig_dir);
}

START_TEST(superseded_tails_are_deleted_but_for_the_nearest) {
    struct store *s = rig_open();
    rig_turn(s, "ann", tokens, 100);
    rig_turn(s, "ann", tokens, 150);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), 2);
    rig_turn(s, "ann", tokens, 200);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), 2); /* 150 for a retry, 200 */
    rig_turn(s, "ann", tokens, 300);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), 3); /* 200, 256, 300 */
    rig_turn(s, "ann", tokens, 900);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), 3 + 2); /* three full, 300 and 900 */
    store_free(s);
    s = rig_open();
    ck_assert_uint_eq(rig_chains(s, "ann"), 1);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), 5);
    store_free(s);
}
END_TEST

START_TEST(a_tail_that_others_need_stays) {
    struct store *s = rig_open();
    rig_turn(s, "ann", tokens, 100);
    rig_turn(s, "bob", tokens, 100); /* the same file under two names */
    struct rig_chain branch = {.tag = rig_tag(1), .agent = "ann", .tokens = tokens, .n = 120, .branch = true};
    ck_assert_int_eq(rig_put(s, &branch), ERR_OK);
    rig_turn(s, "ann", tokens, 150);
    rig_turn(s, "ann", tokens, 200);
    rig_turn(s, "ann", tokens, 250);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), 4); /* bob's 100, the branch at 120, 200, 250 */
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 101, 0), 100);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 121, 0), 120);
    store_free(s);
}
END_TEST

START_TEST(nobodys_tails_are_cleaned_up_alike) {
    struct store *s = rig_open();
    rig_turn(s, "ann", tokens, 90);
    for (uint32_t n = 100; n <= 200; n += 20) rig_turn(s, "", tokens, n);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), 3); /* ann's 90, 180, 200 */
    ck_assert_uint_eq(rig_chains(s, ""), 0);
    store_free(s);
}
END_TEST

/* Two conversations with tails of the same lengths. */
static void take_turns(const char *who) {
    struct store *s = rig_open();
    static int32_t other[256];
    rig_tokens(other, 256, 2, 0);
    for (uint32_t n = 100; n <= 140; n += 20) rig_turn(s, who, other, n);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), 2); /* 120, 140 */
    for (uint32_t n = 100; n <= 240; n += 20) rig_turn(s, who, tokens, n);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), 2 + 2); /* and 220, 240 */
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), other, 140, 0), 120);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 240, 0), 220);
    store_free(s);
}

START_TEST(tails_of_one_length_are_told_apart) {
    take_turns("ann");
}
END_TEST

START_TEST(nobodys_tails_of_one_length_are_told_apart) {
    take_turns("");
}
END_TEST

static uint32_t n_opened;

static enum err count_open(void *ctx, const char *path, int *ret_fd, uint64_t *ret_size) {
    n_opened++;
    return disk_ops_real.open(ctx, path, ret_fd, ret_size);
}

START_TEST(a_note_reads_a_block_once_for_all_tails_beside_it) {
    struct disk_ops disk = disk_ops_real;
    disk.open = count_open;
    struct store *s = rig_open_with(64 * MB, &disk);
    static int32_t other[256];
    for (uint32_t i = 0; i < 20; i++) {
        rig_tokens(other, 256, 2 + i, 0);
        rig_turn(s, "", other, 100 + i);
    }
    n_opened = 0;
    rig_turn(s, "", tokens, 300);
    ck_assert_uint_eq(n_opened, 1);
    store_free(s);
}
END_TEST

/* ---- turns that were interrupted ---- */

/* A turn's end, or where it was interrupted: n tokens, of which n_prompt are the prompt's. */
static void turn(struct store *s, const char *agent, uint32_t n_prompt, uint32_t n, bool interrupted) {
    struct rig_chain c = {.tag = rig_tag(1),
                          .agent = agent,
                          .tokens = tokens,
                          .n = n,
                          .n_prompt = n_prompt,
                          .interrupted = interrupted,
                          .window = 64};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
}

/* The prompt of n tokens is read; a retry reads its last one again. */
static void prompt(struct store *s, const char *agent, uint32_t n) {
    struct rig_chain c = {.tag = rig_tag(1), .agent = agent, .tokens = tokens, .n = n - 1, .window = 64};
    ck_assert_int_eq(rig_put(s, &c), ERR_OK);
}

/* What is left of it for another question after n tokens. */
static uint32_t cached_at(struct store *s, uint32_t n, uint32_t window) {
    static int32_t asked[8192];
    memcpy(asked, tokens, sizeof asked);
    for (uint32_t i = n; i < ARRAY_LEN(asked); i++) asked[i] ^= 1;
    return rig_cached(s, rig_tag(1), asked, n + 100, window);
}

static void interrupt(const char *who) {
    struct store *s = rig_open();
    prompt(s, who, 580);
    turn(s, who, 580, 600, false);
    prompt(s, who, 650);
    turn(s, who, 650, 670, true); /* parked by a swap */
    turn(s, who, 650, 690, true); /* and by the stop */
    store_free(s);
    s = rig_open();
    ck_assert_uint_eq(cached_at(s, 600, 64), 600);
    ck_assert_uint_eq(cached_at(s, 579, 64), 579);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 650, 64), 649);
    ck_assert_uint_eq(cached_at(s, 689, 64),
                      649); /* 670 is nothing to a question, and 690 has its beginning */
    ck_assert_uint_eq(cached_at(s, 690, 64), 690);
    turn(s, who, 650, 800, false);
    ck_assert_uint_eq(cached_at(s, 600, 0), 512);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 650, 64), 649);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), 3 + 2); /* the blocks, 649 and 800 */
    store_free(s);
}

START_TEST(an_interrupted_turn_leaves_what_was_there_before_it) {
    interrupt("ann");
}
END_TEST

START_TEST(nobodys_interrupted_turn_does_so_as_well) {
    interrupt("");
}
END_TEST

START_TEST(a_turn_that_was_parked_keeps_its_prompts_end) {
    struct store *s = rig_open();
    prompt(s, "ann", 600);
    turn(s, "ann", 600, 640, true);
    turn(s, "ann", 600, 700, false);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 600, 64), 599);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), 2 + 2);
    store_free(s);
}
END_TEST

START_TEST(who_never_waits_for_an_answers_end_has_few_tails) {
    struct store *s = rig_open();
    for (uint32_t n = 300; n < 2000; n += 100) {
        prompt(s, "ann", n + 50);
        turn(s, "ann", n + 50, n + 90, true);
    }
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"),
                      1990 / 256 + 5); /* four before the last prompt's end, and the last */
    ck_assert_uint_eq(cached_at(s, 1890, 64), 1890);
    ck_assert_uint_eq(cached_at(s, 1949, 64), 1949);
    store_free(s);
}
END_TEST

static void park_in_prompt(const char *who) {
    struct store *s = rig_open();
    prompt(s, who, 580);
    turn(s, who, 580, 600, false);
    turn(s, who, 4000, 579, true); /* at once: these stay the ends of the prompt and the turn before */
    turn(s, who, 4000, 600, true);
    for (uint32_t n = 1000; n <= 2500; n += 300) {
        turn(s, who, 4000, n, true);
        ck_assert_uint_eq(cached_at(s, 600, 64), 600);
        ck_assert_uint_eq(cached_at(s, 579, 64), 579);
        ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 4000, 64), n);
        ck_assert_uint_eq(rig_files(rig_dir, ".kv"), n / 256 + 3); /* 579, 600 and n */
    }
    prompt(s, who, 4000);
    turn(s, who, 4000, 3999, true);
    turn(s, who, 4000, 4100, true);
    ck_assert_uint_eq(cached_at(s, 600, 64), 600);
    turn(s, who, 4000, 4200, false);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 4000, 64), 3999);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), 4200 / 256 + 2); /* 3999 and 4200 */
    store_free(s);
}

START_TEST(parks_while_a_prompt_is_read_leave_the_end_of_the_turn_before) {
    park_in_prompt("ann");
}
END_TEST

START_TEST(nobodys_parks_do_so_as_well) {
    park_in_prompt("");
}
END_TEST

START_TEST(a_pinned_agents_prompts_never_fill_the_store) {
    struct store *s = rig_open_with(MB + MB / 2, NULL);
    static int32_t t[300];
    rig_turn(s, "ann", tokens, 600);
    ck_assert_int_eq(store_agent_pin(s, "", "ann", true), ERR_OK);
    for (uint32_t i = 0; i < 200; i++) {
        rig_tokens(t, 300, 1000 + i, 0);
        rig_turn(s, "ann", t, 100);
        rig_tokens(t, 300, 2000 + i, 0);
        rig_turn(s, "bob", t, 300);
    }
    ck_assert_uint_eq(rig_chains(s, "ann"), CHAINS_PER_AGENT_MAX);
    store_free(s);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {superseded_tails_are_deleted_but_for_the_nearest,
                                  a_tail_that_others_need_stays,
                                  nobodys_tails_are_cleaned_up_alike,
                                  tails_of_one_length_are_told_apart,
                                  nobodys_tails_of_one_length_are_told_apart,
                                  a_note_reads_a_block_once_for_all_tails_beside_it,
                                  an_interrupted_turn_leaves_what_was_there_before_it,
                                  nobodys_interrupted_turn_does_so_as_well,
                                  a_turn_that_was_parked_keeps_its_prompts_end,
                                  who_never_waits_for_an_answers_end_has_few_tails,
                                  parks_while_a_prompt_is_read_leave_the_end_of_the_turn_before,
                                  nobodys_parks_do_so_as_well,
                                  a_pinned_agents_prompts_never_fill_the_store};
    return rig_run("store_tails", tests, ARRAY_LEN(tests), set_up, tear_down);
}
