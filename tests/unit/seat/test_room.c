/* How long the disk is waited for when a model leaves or place is needed: a room without a loop. */
#include "room_fixture.h"

#include "base/fault.h"

static void set_up(void) {
    room_set_up(0);
}

static struct sequence *idle_of(const char *agent) {
    struct sequence *s = sequence_of(agent, 1100);
    sequence_rest(room, s);
    return s;
}

static void note_comes_back(struct sequence *s, enum err err) {
    struct disk_job job = {
        .kind = DISK_NOTE, .owner = s->serial, .agent = s->agent, .n_chain = 1, .err = err};
    s->n_posted++;
    save_written(room, &job);
}

START_TEST(an_eviction_gives_up_on_a_disk_that_only_refuses) {
    struct sequence *s = idle_of("ann");
    ck_assert_int_eq(fault_arm("block_take_fail", -1, 0), ERR_OK);
    room_op_begin(room, MSG_TYPE_EVICT, 1);
    room_op_step(room);
    ck_assert_int_eq(room->op.step, STEP_SAVE);
    room->op.moved_ns -= (LEAVE_SECONDS_MAX + 1) * NS_PER_S;
    note_comes_back(s, ERR_DISK_FULL);
    atomic_fetch_add(&stats.dirty_bytes, 1); /* what was refused is posted again */
    room_op_step(room);
    atomic_fetch_sub(&stats.dirty_bytes, 1);
    ck_assert_int_eq(room->op.step, STEP_WAIT_FLUSH);
    ck_assert(room->op.given_up);
}
END_TEST

START_TEST(an_eviction_waits_for_a_disk_that_stores) {
    struct sequence *s = idle_of("ann");
    ck_assert_int_eq(fault_arm("block_take_fail", -1, 0), ERR_OK); /* as if there were no place for more */
    room_op_begin(room, MSG_TYPE_EVICT, 1);
    room_op_step(room);
    for (int i = 0; i < 3; i++) {
        room->op.moved_ns -= (LEAVE_SECONDS_MAX + 1) * NS_PER_S;
        note_comes_back(s, ERR_OK);
        room_op_step(room);
        ck_assert_int_eq(room->op.step, STEP_SAVE);
    }
}
END_TEST

/* Its place came from elsewhere, and is needed again long after that. */
START_TEST(each_need_of_its_place_waits_for_itself) {
    struct sequence *s = idle_of("ann");
    uint32_t more = room->pool.n_free + 1;
    ck_assert_int_eq(fault_arm("block_take_fail", -1, 0), ERR_OK);
    save_step_begin(room);
    ck_assert(!room_make_place(room, more, false, NULL));
    for (int i = 0; i < 3; i++) save_step_begin(room);
    s->leave_since_ns -= 60 * NS_PER_S;
    ck_assert(!room_make_place(room, more, false, NULL));
    ck_assert_uint_eq(room->idle.count, 1);
    save_step_begin(room);
    s->leave_since_ns -= (LEAVE_SECONDS_MAX + 1) * NS_PER_S; /* steps may be as long as that: turns count */
    ck_assert(room_make_place(room, more, false, NULL));
    ck_assert_uint_eq(room->idle.count, 0);
}
END_TEST

int main(void) {
    TCase *t = tcase_create("room");
    tcase_add_checked_fixture(t, set_up, room_tear_down);
    tcase_add_test(t, an_eviction_gives_up_on_a_disk_that_only_refuses);
    tcase_add_test(t, an_eviction_waits_for_a_disk_that_stores);
    tcase_add_test(t, each_need_of_its_place_waits_for_itself);
    return check_run_case("room", t);
}
