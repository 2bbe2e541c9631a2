/* Who follows whom, and what becomes of a follower's own cells: a room without a loop. (test_reuse.c has the whole of it.) */
#include "room_fixture.h"

#include "base/fault.h"

#define WINDOW 300

static void set_up(void) {
    room_set_up(WINDOW);
}

/* A stream whose sequence came from the cells with n tokens, behind one that reads the same prompt of 2,000. */
static struct stream *follower(uint32_t n, uint32_t led, struct stream **ret_leader) {
    struct sequence *own = n ? sequence_of("ann", n) : sequence_new(room, "ann", 9);
    *ret_leader = stream_of("bob", 2000, sequence_of("bob", led));
    stream_set_state(room, *ret_leader, STREAM_PREFILL);
    struct stream *t = stream_of("ann", 2000, own);
    follow_begin(room, t);
    ck_assert_int_eq(t->state, STREAM_FOLLOW);
    return t;
}

START_TEST(who_leaves_while_it_follows_keeps_its_cells) {
    struct stream *leader, *t = follower(1100, 1200, &leader);
    struct sequence *own = t->seq;
    if (_i)
        stream_end_parked(room, t);
    else
        stream_end_failed(room, t, ERR_CANCELED, NULL);
    ck_assert_uint_eq(room->idle.count, 1);
    ck_assert_ptr_eq(list_first(&room->idle), &own->node);
    ck_assert_uint_eq(own->n_tokens, 1100);
}
END_TEST

START_TEST(a_lost_leader_takes_nobodys_cells_with_it) {
    struct stream *leader, *t = follower(1100, 1200, &leader);
    stream_end_failed(room, leader, ERR_CANCELED, NULL);
    ck_assert(follow_step(room));
    ck_assert_int_eq(t->state, STREAM_PREFILL);
    ck_assert_uint_eq(t->seq->n_tokens, 1100);
    ck_assert_uint_eq(t->cached, 1100);
}
END_TEST

START_TEST(what_is_stored_is_planned_anew_without_its_leader) {
    struct stream *leader, *t = follower(_i ? 1024 : 0, 1200, &leader);
    for (uint32_t k = 0; k < t->seq->n_blocks; k++) t->seq->blocks[k].base = BLOCK_SAVED;
    int64_t began = clock_now_ns();
    stream_end_failed(room, leader, ERR_CANCELED, NULL);
    ck_assert(follow_step(room));
    ck_assert_int_eq(t->state, STREAM_PLAN); /* the leader had stored more */
    ck_assert_int_ge(t->restore_started_ns, began);
}
END_TEST

START_TEST(a_take_over_that_fails_takes_no_cells) {
    struct stream *leader, *t = follower(1100, 1200, &leader);
    read_to(leader->seq, 1792);
    ck_assert_int_eq(fault_arm("block_put_fail", 1, 0), ERR_OK);
    ck_assert(follow_step(room));
    ck_assert_int_eq(t->state, STREAM_PREFILL);
    ck_assert_uint_eq(t->seq->n_tokens, 1100);
    ck_assert_uint_eq(atomic_load(&stats.restore_failures), 1);
}
END_TEST

/* In the middle of a restore there are base parts only, and at its end the window has moved on. */
START_TEST(a_leader_that_is_restored_further_is_none) {
    struct stream *leader = stream_of("bob", 2000, sequence_new(room, "bob", 9));
    struct stream *t = stream_of("ann", 2000, sequence_new(room, "ann", 9));
    leader->plan.n_tokens = _i ? 1999 : 1792;
    stream_set_state(room, leader, STREAM_RESTORE);
    follow_begin(room, t);
    ck_assert_int_eq(t->state, _i ? STREAM_PREFILL : STREAM_FOLLOW);
    struct stream *late = stream_of("cid", 2000, sequence_new(room, "cid", 9));
    leader->plan.n_tokens = 0; /* not known yet */
    follow_begin(room, late);
    ck_assert_int_eq(late->state, STREAM_FOLLOW);
    leader->plan.n_tokens = _i ? 1999 : 1792;
    follow_step(room);
    ck_assert_int_eq(late->state == STREAM_FOLLOW && late->leader == leader->seq->serial, _i == 0);
}
END_TEST

/* ANEW: a leader whose sequence another one has taken and cut is none, though its serial is the same. */
START_TEST(a_leader_that_was_cut_is_none) {
    struct sequence *idle = sequence_of("bob", 1792);
    sequence_rest(room, idle);
    struct stream *t = stream_of("ann", 2000, sequence_new(room, "ann", 9));
    follow_begin(room, t);
    ck_assert_uint_eq(t->leader, idle->serial);
    sequence_wake(room, idle);
    struct stream *younger = stream_of("bob", 2000, idle);
    ck_assert(follow_step(room));
    ck_assert_int_ne(t->state, STREAM_FOLLOW);
    ck_assert_uint_eq(t->seq->n_tokens, 0);
    stream_set_state(room, younger, STREAM_PREFILL);
}
END_TEST

int main(void) {
    TCase *t = tcase_create("follow");
    tcase_add_checked_fixture(t, set_up, room_tear_down);
    tcase_add_loop_test(t, who_leaves_while_it_follows_keeps_its_cells, 0, 2);
    tcase_add_test(t, a_lost_leader_takes_nobodys_cells_with_it);
    tcase_add_loop_test(t, what_is_stored_is_planned_anew_without_its_leader, 0, 2);
    tcase_add_test(t, a_take_over_that_fails_takes_no_cells);
    tcase_add_loop_test(t, a_leader_that_is_restored_further_is_none, 0, 2);
    tcase_add_test(t, a_leader_that_was_cut_is_none);
    return check_run_case("follow", t);
}
