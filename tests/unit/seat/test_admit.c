/* A disk that hangs holds nobody up for longer than it says in room.h: a room without a loop. */
#include "room_fixture.h"

#include "base/fault.h"

static void set_up(void) {
    room_set_up(0);
}

START_TEST(who_can_not_be_saved_is_not_waited_for_without_end) {
    struct sequence *s = sequence_of("ann", 1100);
    sequence_rest(room, s);
    ck_assert_int_eq(fault_arm("block_take_fail", -1, 0), ERR_OK);
    struct stream *t = stream_of("ann", 1050, NULL), *behind = stream_of("bob", 10, NULL);
    ck_assert(!admit_step(room));
    ck_assert_int_eq(t->state, STREAM_QUEUED);
    s->leave_since_ns -= (LEAVE_SECONDS_MAX + 1) * NS_PER_S;
    ck_assert(admit_step(room));
    ck_assert_int_eq(t->state, STREAM_PLAN);
    ck_assert_int_eq(behind->state, STREAM_PLAN); /* IN ORDER */
    ck_assert_uint_eq(room->idle.count, 1);       /* and nothing was lost */
    ck_assert_uint_eq(s->n_tokens, 1100);
    t->asked_ns -= (ASK_SECONDS_MAX + 1) * NS_PER_S;
    ck_assert(restore_step(room));
    ck_assert_int_eq(t->state, STREAM_FOLLOW); /* the cells are as good as ever */
    ck_assert_uint_eq(t->leader, s->serial);
    ck_assert_int_eq(behind->state, STREAM_PLAN);
}
END_TEST

START_TEST(a_plan_that_does_not_come_is_none) {
    struct stream *t = stream_of("ann", 600, NULL);
    ck_assert(admit_step(room));
    uint64_t serial = t->restore_serial;
    ck_assert(!restore_step(room));
    t->asked_ns -= (ASK_SECONDS_MAX + 1) * NS_PER_S;
    ck_assert(restore_step(room));
    ck_assert_int_eq(t->state, STREAM_PREFILL);
    struct disk_job late = {.kind = DISK_PLAN, .owner = serial, .plan = {.n_tokens = 512, .n_blocks = 2}};
    restore_planned(room, &late);
    ck_assert_int_eq(t->state, STREAM_PREFILL);
}
END_TEST

START_TEST(blocks_that_do_not_come_are_none) {
    struct stream *t = stream_of("ann", 600, sequence_new(room, "ann", 3));
    restore_begin(room, t);
    struct disk_job plan = {.kind = DISK_PLAN, .owner = t->restore_serial};
    plan.plan = (struct store_plan){.n_tokens = 512, .n_blocks = 2};
    plan.plan.blocks = mem_array(2, sizeof *plan.plan.blocks);
    for (uint32_t i = 0; i < 2; i++)
        plan.plan.blocks[i] = (struct store_plan_block){.first_pos = i * 256, .n_tokens = 256};
    restore_planned(room, &plan);
    ck_assert(!restore_step(room));
    ck_assert_int_eq(t->state, STREAM_RESTORE);
    t->asked_ns -= (BLOCK_SECONDS_MAX + 1) * NS_PER_S;
    ck_assert(restore_step(room));
    ck_assert_int_eq(t->state, STREAM_PREFILL);
    ck_assert_uint_eq(t->seq->n_tokens, 0);
}
END_TEST

START_TEST(conversations_that_are_not_named_are_none) {
    struct msg m = {
        .submit = {.agent = mem_strdup("ann"), .kind = MSG_KIND_TEXT, .max_tokens = 5, .top_p = 1}};
    m.submit.prompt = (struct msg_bytes){mem_dup("hello", 5), 5};
    admit_submit(room, &m.submit);
    struct stream *t = LIST_ENTRY(list_first(&room->streams), struct stream, node);
    ck_assert_int_eq(t->state, STREAM_LOOKUP);
    ck_assert(!admit_step(room));
    t->arrived_ns -= (ASK_SECONDS_MAX + 1) * NS_PER_S;
    ck_assert(admit_step(room));
    ck_assert_int_eq(t->state, STREAM_PLAN);
    struct disk_job late = {.kind = DISK_CHAINS, .owner = t->serial};
    admit_chains(room, &late);
    ck_assert_int_eq(t->state, STREAM_PLAN);
}
END_TEST

START_TEST(a_count_does_not_wait_for_those_before_it) {
    room->pool.n_free = 0;
    struct stream *before = stream_of("bob", 10, NULL);
    struct msg m = {.submit = {.agent = mem_strdup("ann"), .kind = MSG_KIND_TEXT, .look = MSG_LOOK_COUNT}};
    m.submit.prompt = (struct msg_bytes){mem_dup("hello", 5), 5};
    admit_submit(room, &m.submit);
    struct stream *t = LIST_ENTRY(list_last(&room->streams), struct stream, node);
    ck_assert(!admit_step(room));
    ck_assert_int_eq(t->state, STREAM_LOOKUP);
    t->arrived_ns -= (ASK_SECONDS_MAX + 1) * NS_PER_S;
    ck_assert(admit_step(room));
    ck_assert_int_eq(t->state, STREAM_ENDED);
    ck_assert_int_eq(t->finish, MSG_FINISH_STOP);
    ck_assert_int_eq(before->state, STREAM_QUEUED);
}
END_TEST

/* The turn before had no place among the jobs of its step. Once this one has read on, its end can't be stored any more. */
START_TEST(a_turns_end_is_stored_before_the_next_turn_reads_on) {
    struct sequence *s = sequence_of("ann", 1100);
    room->takes_left = 0;
    room->n_running = 1;
    s->turn_unsaved = !save_sequence(room, s, SAVE_TURN);
    room->n_running = 0;
    ck_assert(s->turn_unsaved);
    sequence_rest(room, s);
    struct stream *t = stream_of("ann", 1150, NULL);
    save_step_begin(room);
    ck_assert(admit_step(room));
    ck_assert_ptr_eq(t->seq, s);
    ck_assert_uint_eq(s->tail_saved, 1100);
    ck_assert_uint_eq(s->noted, 1100);
    ck_assert_uint_eq(room->n_jobs, 4 + 2); /* blocks, tail, name */
}
END_TEST

/* To wait would be to take its first blocks out of the cells once more in every turn of the loop. */
START_TEST(what_the_disk_has_refused_is_not_waited_for) {
    struct sequence *s = sequence_of("ann", 1400); /* more blocks than are taken in a turn */
    s->blocks[0].base = BLOCK_POSTED;
    s->n_posted = 1;
    sequence_rest(room, s);
    stream_of("bob", 10, sequence_of("bob", 10));
    struct disk_job put = {.kind = DISK_PUT,
                           .owner = s->serial,
                           .agent = s->agent,
                           .n_tokens = 256,
                           .tokens = s->tokens,
                           .has_base = true,
                           .err = ERR_DISK_FULL};
    save_written(room, &put);
    struct stream *t = stream_of("ann", 1350, NULL); /* it would lose the end of s */
    save_step_begin(room);
    ck_assert(admit_step(room));
    ck_assert_int_eq(t->state, STREAM_PLAN);
    ck_assert_uint_eq(room->idle.count, 1);
    ck_assert_uint_eq(s->n_tokens, 1400);
}
END_TEST

START_TEST(a_disk_that_is_behind_holds_no_next_turn_up) {
    struct sequence *s = sequence_of("ann", 1100);
    s->turn_unsaved = true;
    sequence_rest(room, s);
    atomic_store(&stats.dirty_bytes, DIRTY_BYTES_MAX);
    struct stream *t = stream_of("ann", 1150, NULL);
    save_step_begin(room);
    ck_assert(admit_step(room));
    ck_assert_ptr_eq(t->seq, s);
    ck_assert_uint_eq(room->n_jobs, 0);
    atomic_store(&stats.dirty_bytes, 0);
}
END_TEST

/* As if the disk had said so. */
static struct sequence *saved_idle(const char *agent, uint32_t n_tokens) {
    struct sequence *s = sequence_of(agent, n_tokens);
    for (uint32_t k = 0; k < s->n_blocks; k++) s->blocks[k].base = BLOCK_SAVED;
    s->tail_saved = s->noted = s->n_tokens;
    sequence_rest(room, s);
    ck_assert(save_is_done(room, s));
    return s;
}

/* ADR 4 */
START_TEST(the_idle_leave_when_others_have_worked) {
    saved_idle("ann", 300);
    room->n_decoded += IDLE_TOKENS - 1;
    struct sequence *bob = saved_idle("bob", 200);
    bob->tail_saved = 0; /* not on the disk */
    stream_of("cid", 10, NULL);
    ck_assert(admit_step(room));
    ck_assert_uint_eq(room->idle.count, 2);
    room->n_decoded += IDLE_TOKENS;
    struct stream *t = stream_of("dan", 10, NULL);
    ck_assert(admit_step(room));
    ck_assert_int_eq(t->state, STREAM_PLAN);
    ck_assert_uint_eq(room->idle.count, 1);
    ck_assert(sequence_find(room, bob->serial) == bob);
}
END_TEST

START_TEST(who_is_followed_stays_until_it_is_taken_over) {
    struct sequence *s = saved_idle("ann", 6 * BLOCK_TOKENS);
    struct stream *t = stream_of("bob", 7 * BLOCK_TOKENS, sequence_new(room, "bob", 8));
    follow_begin(room, t);
    ck_assert_uint_eq(t->leader, s->serial);
    room->n_decoded += IDLE_TOKENS;
    stream_of("cid", 10, NULL);
    ck_assert(admit_step(room));
    while (t->state == STREAM_FOLLOW) ck_assert(follow_step(room));
    ck_assert_uint_eq(t->seq->n_tokens, 6 * BLOCK_TOKENS);
    ck_assert_uint_eq(room->idle.count, 1);
    stream_of("dan", 10, NULL);
    ck_assert(admit_step(room));
    ck_assert_uint_eq(room->idle.count, 0);
}
END_TEST

/* ann goes on from her own 300 tokens, and what bob has is more; cid is before her. */
START_TEST(who_will_be_followed_stays) {
    saved_idle("ann", 300);
    struct sequence *s = saved_idle("bob", 8 * BLOCK_TOKENS);
    room->n_decoded += IDLE_TOKENS;
    stream_of("cid", 10, NULL);
    struct stream *t = stream_of("ann", 7 * BLOCK_TOKENS, NULL);
    ck_assert(admit_step(room));
    ck_assert_uint_eq(t->state, STREAM_FOLLOW);
    ck_assert_uint_eq(t->leader, s->serial);
    while (t->state == STREAM_FOLLOW) ck_assert(follow_step(room));
    ck_assert_uint_eq(t->seq->n_tokens, 6 * BLOCK_TOKENS);
}
END_TEST

START_TEST(who_comes_back_goes_on_in_the_cells) {
    struct sequence *s = saved_idle("ann", 300);
    room->n_decoded += 100 * IDLE_TOKENS;
    struct stream *t = stream_of("ann", 320, NULL);
    ck_assert(admit_step(room));
    ck_assert(t->seq == s);
    ck_assert_uint_eq(s->n_tokens, 300);
}
END_TEST

START_TEST(who_waits_to_go_on_finds_its_cells) {
    struct sequence *s = saved_idle("ann", 300);
    room->n_decoded += IDLE_TOKENS;
    struct stream *first = stream_of("bob", 10, NULL), *t = stream_of("ann", 320, NULL);
    ck_assert(admit_step(room));
    ck_assert(first->seq && t->seq == s);
}
END_TEST

/* NOBODY (save.h) */
START_TEST(nobodys_second_use_is_known_when_the_cells_have_lost_it) {
    struct stream *first = stream_of("", 300, NULL);
    ck_assert(admit_step(room));
    ck_assert(!first->seq->shared);
    read_to(first->seq, 300);
    stream_set_state(room, first, STREAM_PREFILL);
    stream_end_failed(room, first, ERR_CANCELED, NULL);
    room_reap(room);
    ck_assert_uint_eq(room->idle.count, 1);
    room->n_decoded += IDLE_TOKENS;
    stream_of("ann", 10, NULL);
    ck_assert(admit_step(room));
    ck_assert_uint_eq(room->idle.count, 0);
    struct stream *shorter = stream_of("", BLOCK_TOKENS - 1, NULL), *named = stream_of("bob", 290, NULL),
                  *t = stream_of("", 290, NULL);
    ck_assert(admit_step(room));
    ck_assert(t->seq->shared && !shorter->seq->shared && !named->seq->shared);
}
END_TEST

static struct stream *asked_of(bool background, uint32_t n_tokens, bool runs) {
    struct stream *t =
        stream_of("", n_tokens, runs ? sequence_new(room, "", pool_blocks_for(n_tokens)) : NULL);
    t->req.background = background;
    return t;
}

/* 32 blocks of 256 tokens. */
START_TEST(background_gives_its_cells_up) {
    struct stream *work = asked_of(false, 2000, true), *old = asked_of(true, 2000, true),
                  *young = asked_of(true, 2000, true);
    struct stream *waiting = asked_of(true, 4000, false), *t = asked_of(false, 3000, false);
    (void)admit_step(room);
    ck_assert_int_eq(young->state, STREAM_ENDED); /* parked: the newest, and not more than it takes */
    ck_assert_int_eq(old->state, STREAM_PLAN);
    for (int i = 0; i < 3 && t->state == STREAM_QUEUED; i++) (void)admit_step(room);
    ck_assert_int_eq(t->state, STREAM_PLAN);
    ck_assert_int_eq(old->state, STREAM_PLAN);
    ck_assert_int_eq(work->state, STREAM_PLAN);
    ck_assert_int_eq(waiting->state, STREAM_QUEUED); /* it came before t */
}
END_TEST

START_TEST(background_keeps_the_cells_that_would_not_do) {
    struct stream *work = asked_of(false, 5000, true), *old = asked_of(true, 2000, true);
    struct stream *t = asked_of(false, 4000, false), *late = asked_of(true, 100, false);
    for (int i = 0; i < 3; i++) (void)admit_step(room);
    ck_assert_int_eq(work->state, STREAM_PLAN);
    ck_assert_int_eq(old->state, STREAM_PLAN);
    ck_assert_int_eq(t->state, STREAM_QUEUED);
    ck_assert_int_eq(late->state, STREAM_QUEUED); /* behind all others */
}
END_TEST

/* A stream that goes on has used its cells up, and so are all others. */
START_TEST(background_makes_way_first) {
    ck_assert_int_eq(fault_arm("block_take_fail", -1, 0),
                     ERR_OK); /* what makes way is not on the disk at once */
    struct stream *old = stream_of("ann", 4096, sequence_new(room, "ann", 16)),
                  *work = asked_of(false, 4096, true), *young = asked_of(false, 10, false);
    read_to(old->seq, 4096);
    old->req.background = true;
    stream_set_state(room, old, STREAM_PREFILL);
    read_to(work->seq, 4096);
    stream_set_state(room, work, STREAM_PREFILL);
    stream_set_state(room, work, STREAM_DECODE);
    ck_assert_uint_eq(room->pool.n_free, 0);
    (void)batch_step(room);
    ck_assert_int_eq(old->state, STREAM_ENDED);
    ck_assert_uint_eq(room->idle.count, 1); /* work has no cell yet */
    ck_assert_int_eq(work->state, STREAM_DECODE);
    ck_assert_int_eq(young->state, STREAM_QUEUED);
}
END_TEST

int main(void) {
    TCase *t = tcase_create("admit");
    tcase_add_checked_fixture(t, set_up, room_tear_down);
    tcase_add_test(t, who_can_not_be_saved_is_not_waited_for_without_end);
    tcase_add_test(t, a_plan_that_does_not_come_is_none);
    tcase_add_test(t, blocks_that_do_not_come_are_none);
    tcase_add_test(t, conversations_that_are_not_named_are_none);
    tcase_add_test(t, a_count_does_not_wait_for_those_before_it);
    tcase_add_test(t, a_turns_end_is_stored_before_the_next_turn_reads_on);
    tcase_add_test(t, what_the_disk_has_refused_is_not_waited_for);
    tcase_add_test(t, a_disk_that_is_behind_holds_no_next_turn_up);
    tcase_add_test(t, the_idle_leave_when_others_have_worked);
    tcase_add_test(t, who_is_followed_stays_until_it_is_taken_over);
    tcase_add_test(t, who_will_be_followed_stays);
    tcase_add_test(t, who_comes_back_goes_on_in_the_cells);
    tcase_add_test(t, who_waits_to_go_on_finds_its_cells);
    tcase_add_test(t, nobodys_second_use_is_known_when_the_cells_have_lost_it);
    tcase_add_test(t, background_gives_its_cells_up);
    tcase_add_test(t, background_keeps_the_cells_that_would_not_do);
    tcase_add_test(t, background_makes_way_first);
    return check_run_case("admit", t);
}
