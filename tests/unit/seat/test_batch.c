/* What a step carries: tokens of running streams, and which prompts beside them. A room without a loop; what steps take is told to
 * the budget by the tests, so that nothing depends on the machine's speed. */
#include "room_fixture.h"

#define STREAM_US 2000 /* an undisturbed step */
#define TOKEN_US 100   /* a prompt token more */
#define BUDGET 35      /* 40 would take all of the bound */

static void set_up(void) {
    room_set_up(0);
    room->cache_on = false;
}

static void teach_as(uint32_t n_decodes, uint32_t token_gap, int64_t token_us) {
    step_budget_reset(&room->budget, token_gap, BATCH_TOKENS);
    step_budget_feed(&room->budget, 0, BATCH_TOKENS, BATCH_TOKENS * token_us * NS_PER_US / 2);
    for (int i = 0; i < 2; i++) step_budget_feed(&room->budget, n_decodes, 0, STREAM_US * NS_PER_US);
}

/* The budget knows the machine above, whatever this one is like, and its next step is not to be undisturbed. */
static void teach(uint32_t n_decodes) {
    teach_as(n_decodes, 0, TOKEN_US);
}

static uint32_t step(uint32_t n_decodes) {
    if (n_decodes) teach(n_decodes);
    ck_assert(batch_step(room));
    return room->n_items;
}

static struct stream *reader(const char *agent, uint32_t n_tokens) {
    struct stream *t = stream_of(agent, n_tokens, sequence_new(room, agent, pool_blocks_for(n_tokens + 200)));
    char why[256] = "";
    t->req.max_tokens = 200;
    t->req.ignore_eos = 1;
    t->req.top_p = 1;
    ck_assert_msg(stream_prepare(room, t, why, sizeof why) == ERR_OK, "%s", why);
    stream_set_state(room, t, STREAM_PREFILL);
    return t;
}

static struct stream *young(const char *agent) {
    struct stream *t = reader(agent, 20);
    while (t->state == STREAM_PREFILL) step(0);
    return t;
}

/* Old enough for the bound. */
static struct stream *runner(const char *agent) {
    struct stream *t = young(agent);
    for (uint32_t n = 1; t->generated < 3; n = room->n_items) step(n);
    return t;
}

static uint32_t read_of(const struct stream *t) {
    return t->seq->n_tokens;
}

START_TEST(one_that_is_alone_takes_whole_steps) {
    struct stream *t = reader("ann", 1300);
    teach(1);
    for (uint32_t i = 1; i <= 2; i++) {
        ck_assert_uint_eq(step(0), BATCH_TOKENS);
        ck_assert_uint_eq(read_of(t), i * BATCH_TOKENS);
    }
    step(0);
    ck_assert_uint_eq(read_of(t), 1300);
    ck_assert_int_eq(t->state, STREAM_DECODE);
}
END_TEST

/* G5 */
START_TEST(a_short_prompt_behind_long_ones_is_read_first) {
    struct stream *a = reader("ann", 2000), *b = reader("bob", 1500);
    step(0);
    struct stream *c = reader("cid", 300);
    uint32_t had = read_of(a);
    ck_assert_uint_eq(step(0), BATCH_TOKENS);
    ck_assert_int_eq(c->state, STREAM_DECODE);
    ck_assert_uint_ge(read_of(a), had + BATCH_TOKENS / 4); /* OLDEST */
    ck_assert_int_eq(b->state, STREAM_PREFILL);
}
END_TEST

START_TEST(a_short_prompt_is_read_first_beside_running_streams) {
    struct stream *a = runner("ann"), *b = runner("bob"), *longer = reader("cid", 2000);
    step(2);
    struct stream *t = reader("dan", 60);
    for (uint32_t i = 1; i <= 2; i++) {
        uint32_t had = read_of(longer), said = a->generated + b->generated;
        ck_assert_uint_eq(step(2), 2 + BUDGET);
        uint32_t fourth = read_of(longer) - had; /* what was too little for a token is carried on */
        ck_assert_msg(fourth == BUDGET / 4 || fourth == BUDGET / 4 + 1, "%u tokens", fourth);
        ck_assert_uint_ge(read_of(t), i * (BUDGET * 3 / 4));
        ck_assert_uint_eq(a->generated + b->generated, said + 2);
    }
    ck_assert_uint_eq(step(2), 2 + BUDGET);
    ck_assert_int_eq(t->state, STREAM_DECODE);
    ck_assert_int_eq(longer->state, STREAM_PREFILL);
}
END_TEST

/* The least budget there is: else the oldest would take all of it, or nothing for ever. */
START_TEST(a_budget_of_one_token_goes_round) {
    runner("ann");
    struct stream *longer = reader("bob", 2000), *t = reader("cid", 60);
    room->oldest_owed = 0;
    for (int i = 0; i < 8; i++) {
        teach_as(1, 2, 10 * STREAM_US);
        ck_assert(batch_step(room));
        ck_assert_uint_eq(room->n_items, 2);
    }
    ck_assert_uint_eq(read_of(longer), 2);
    ck_assert_uint_eq(read_of(t), 6);
}
END_TEST

START_TEST(beside_running_streams_a_prompt_gets_what_the_bound_leaves) {
    struct stream *a = runner("ann"), *b = runner("bob"), *t = reader("cid", 2000);
    uint32_t said = a->generated + b->generated;
    for (uint32_t i = 1; i <= 20; i++) {
        uint32_t before = read_of(t), n = step(2) - 2;
        int64_t us = STREAM_US + n * TOKEN_US;
        ck_assert_int_le(us, STEP_BUDGET_GAP * STREAM_US);
        ck_assert_int_ge(us, 5 * STREAM_US / 2);
        ck_assert_uint_eq(read_of(t), before + n);
        ck_assert_uint_eq(a->generated + b->generated, said + 2 * i);
    }
}
END_TEST

/* TOGETHER */
START_TEST(streams_that_begin_together_are_read_together) {
    struct stream *a = young("ann"), *others[3];
    for (size_t i = 0; i < ARRAY_LEN(others); i++) others[i] = reader("bob", 150);
    teach(1);
    uint32_t n_mixed = room->budget.n_mixed;
    ck_assert(batch_step(room));
    ck_assert_uint_eq(room->n_items, 1 + 3 * 150);
    ck_assert_uint_eq(room->budget.n_mixed, n_mixed); /* it says nothing about the steps that are bounded */
    ck_assert_uint_eq(a->generated, 2);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) ck_assert_int_eq(others[i]->state, STREAM_DECODE);
}
END_TEST

START_TEST(a_long_prompt_is_not_read_with_those_that_begin) {
    struct stream *a = young("ann"), *t = reader("bob", 600);
    for (uint32_t n = 2; n <= 5; n++) {
        ck_assert_uint_eq(step(1), 1 + BUDGET);
        ck_assert_uint_eq(a->generated, n);
    }
    ck_assert_int_eq(t->state, STREAM_PREFILL);
}
END_TEST

START_TEST(who_has_begun_is_not_stopped_by_those_that_come) {
    struct stream *a = young("ann");
    reader("bob", 400);
    ck_assert_uint_eq(step(1), 1 + 400);
    reader("cid", 400);
    ck_assert_uint_eq(step(2), 2 + 400);
    ck_assert_uint_eq(a->generated, 3);
    reader("dan", 60);
    ck_assert_uint_eq(step(3), 3 + BUDGET);
}
END_TEST

START_TEST(the_end_of_a_long_prompt_stops_nobody_who_begins) {
    struct stream *t = reader("ann", 1300);
    step(0);
    young("bob");
    ck_assert_uint_lt(t->n_tokens - read_of(t), BATCH_TOKENS - 1);
    ck_assert_uint_eq(step(1), 1 + BUDGET);
}
END_TEST

START_TEST(a_step_of_unknown_length_is_undisturbed) {
    young("ann");
    struct stream *t = reader("bob", 600);
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert(batch_step(room));
        ck_assert_uint_eq(room->n_items, 1);
        ck_assert_uint_eq(read_of(t), 0);
    }
    ck_assert(batch_step(room));
    ck_assert_uint_ge(read_of(t), STEP_BUDGET_GAP - 1);
}
END_TEST

START_TEST(short_prompts_do_not_stop_the_oldest) {
    struct stream *t = reader("ann", 2000);
    for (uint32_t i = 1; i <= 8; i++) {
        struct stream *other = reader("bob", 500);
        step(0);
        ck_assert_uint_eq(read_of(t), i * BATCH_TOKENS / 4);
        stream_drop_sequence(room, other);
        stream_end_failed(room, other, ERR_CANCELED, NULL);
        room_reap(room);
    }
}
END_TEST

/* Who follows would wait behind all that is shorter than its leader. */
START_TEST(a_leader_is_as_short_as_who_follows_it) {
    struct stream *oldest = reader("ann", 2000), *leader = reader("bob", 1900), *other = reader("cid", 1000);
    struct stream *t = stream_of("dan", 600, sequence_new(room, "dan", 4));
    room->cache_on = true;
    follow_begin(room, t);
    ck_assert_int_eq(t->state, STREAM_FOLLOW);
    t->leader = leader->seq->serial; /* all prompts of this test begin alike, and the oldest would lead */
    step(0);
    ck_assert_uint_eq(read_of(oldest), BATCH_TOKENS / 4);
    ck_assert_uint_eq(read_of(leader), BATCH_TOKENS * 3 / 4);
    ck_assert_uint_eq(read_of(other), 0);
    read_to(leader->seq, 512); /* what it waits for is read */
    step(0);
    ck_assert_uint_eq(read_of(leader), 512);
    ck_assert_uint_eq(read_of(other), BATCH_TOKENS * 3 / 4);
}
END_TEST

START_TEST(after_an_aborted_step_they_are_short) {
    struct stream *a = reader("ann", 2000), *b = reader("bob", 1000);
    room->short_until_ns = INT64_MAX;
    ck_assert_uint_eq(step(0), BATCH_TOKENS_SHORT);
    ck_assert_uint_eq(read_of(a), BATCH_TOKENS_SHORT / 4);
    ck_assert_uint_eq(read_of(b), BATCH_TOKENS_SHORT * 3 / 4);
}
END_TEST

/* A step of prompts is taken to last for minutes, so that this machine's speed does not matter. */
static bool step_is_held(void) {
    room->budget.token_alone_ns = NS_PER_S;
    return !batch_step(room);
}

/* G5: else it would wait for all of the long one's step, and be in the next one only. */
START_TEST(a_long_step_waits_for_the_disks_word_about_a_short_prompt) {
    struct stream *longer = reader("ann", 2000), *t = reader("bob", 60);
    const enum stream_state asking[] = {STREAM_LOOKUP, STREAM_PLAN, STREAM_RESTORE};
    for (size_t i = 0; i < ARRAY_LEN(asking); i++) {
        t->state = asking[i];
        ck_assert(step_is_held() && step_is_held());
        room->held_since_ns -=
            BATCH_TOKENS * NS_PER_S; /* time goes by: a disk that is slow is not waited for */
        uint32_t had = read_of(longer);
        ck_assert(!step_is_held());
        ck_assert_uint_eq(read_of(longer), had + BATCH_TOKENS);
    }
    t->state = STREAM_PREFILL;
    ck_assert(!step_is_held());
    ck_assert_int_eq(t->state, STREAM_DECODE);
}
END_TEST

/* Whoever has little to read does not wait for others' disk longer than that takes. */
START_TEST(a_step_waits_for_a_part_of_what_it_takes) {
    struct stream *t = reader("bob", 60);
    const struct {
        uint32_t n_tokens;
        int64_t token_ns, most_ns;
    } of[] = {{16, NS_PER_S, 2 * NS_PER_S}, {2000, NS_PER_S, BATCH_TOKENS / 8 * NS_PER_S}, {2000, 0, 0}};
    t->state = STREAM_RESTORE;
    ck_assert_int_eq(batch_word_due_ns(room), 0); /* there is nobody to read */
    for (size_t i = 0; i < ARRAY_LEN(of); i++) {
        struct stream *other = reader("ann", of[i].n_tokens);
        room->budget.token_alone_ns = of[i].token_ns;
        int64_t before = clock_now_ns(), due_ns = batch_word_due_ns(room);
        ck_assert(of[i].most_ns ? due_ns >= before + of[i].most_ns && due_ns <= clock_now_ns() + of[i].most_ns
                                : due_ns == 0);
        stream_drop_sequence(room, other);
        other->state = STREAM_LOOKUP;
        stream_end_failed(room, other, ERR_CANCELED, NULL);
    }
}
END_TEST

START_TEST(a_step_of_running_streams_waits_for_nobody) {
    struct stream *a = runner("ann"), *t = reader("bob", 60);
    reader("cid", 2000);
    uint32_t said = a->generated;
    t->state = STREAM_PLAN;
    ck_assert(!step_is_held());
    ck_assert_uint_eq(a->generated, said + 1);
}
END_TEST

/* With no place for another stream, or behind one that finds none, the answer is of no use yet. */
START_TEST(who_can_not_enter_is_not_waited_for) {
    struct stream *before = reader("dan", 60), *t = reader("bob", 60);
    reader("cid", 2000);
    before->state = STREAM_QUEUED;
    t->state = STREAM_LOOKUP;
    ck_assert(!step_is_held());
    before->state = STREAM_PREFILL;
    ck_assert(step_is_held());
    room->parallel = room->n_running;
    ck_assert(!step_is_held());
}
END_TEST

/* Steps that take time: the room measures them, and the budget comes out about right. The fake engine sleeps, so that a busy machine
 * makes steps longer, but not their number. */
START_TEST(the_room_measures_its_steps) {
    room_tear_down();
    setenv("HOTSEAT_FAKE_STEP_US", "2000", 1);
    setenv("HOTSEAT_FAKE_TOKEN_US", "100", 1);
    set_up();
    struct stream *a = runner("ann"), *b = runner("bob"), *t = reader("cid", 1500);
    uint32_t said = a->generated + b->generated;
    while (t->state == STREAM_PREFILL) ck_assert(batch_step(room));
    uint32_t n_steps = (a->generated + b->generated - said) / 2;
    /* (2,000 + 2 * 100) us undisturbed: 44 tokens are within 3 times that. */
    ck_assert_msg(n_steps > 1500 / 88 && n_steps < 1500 / 11, "%u steps", n_steps);
}
END_TEST

int main(void) {
    TCase *t = tcase_create("batch");
    tcase_add_checked_fixture(t, set_up, room_tear_down);
    const TTest *const tests[] = {one_that_is_alone_takes_whole_steps,
                                  a_short_prompt_behind_long_ones_is_read_first,
                                  a_short_prompt_is_read_first_beside_running_streams,
                                  a_budget_of_one_token_goes_round,
                                  beside_running_streams_a_prompt_gets_what_the_bound_leaves,
                                  streams_that_begin_together_are_read_together,
                                  a_long_prompt_is_not_read_with_those_that_begin,
                                  who_has_begun_is_not_stopped_by_those_that_come,
                                  the_end_of_a_long_prompt_stops_nobody_who_begins,
                                  a_step_of_unknown_length_is_undisturbed,
                                  short_prompts_do_not_stop_the_oldest,
                                  a_leader_is_as_short_as_who_follows_it,
                                  after_an_aborted_step_they_are_short,
                                  a_long_step_waits_for_the_disks_word_about_a_short_prompt,
                                  a_step_waits_for_a_part_of_what_it_takes,
                                  a_step_of_running_streams_waits_for_nobody,
                                  who_can_not_enter_is_not_waited_for,
                                  the_room_measures_its_steps};
    for (size_t i = 0; i < ARRAY_LEN(tests); i++) tcase_add_test(t, tests[i]);
    return check_run_case("batch", t);
}
