/* How long the disk is waited for when a model leaves or place is needed, and jobs for which there is no memory: a room whose loop
 * does not run, or only until it is stopped. */
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

/* What running ones hold does not come free by it. */
START_TEST(nobody_leaves_in_vain) {
    struct sequence *work = sequence_of("eve", 3000), *idle = idle_of("ann");
    uint32_t most = room->pool.n_blocks - work->held;
    ck_assert(!room_make_place(room, most + 1, false, NULL));
    ck_assert(!room_make_place(room, most, false, idle));
    ck_assert_uint_eq(room->idle.count, 1);
    ck_assert(room_make_place(room, most, false, NULL));
    ck_assert_uint_eq(room->idle.count, 0);
    sequence_rest(room, work);
}
END_TEST

static bool waits_past_its_time(struct sequence *s) {
    save_step_begin(room);
    if (!room_may_wait(room, s)) return false;
    s->leave_since_ns -= (LEAVE_SECONDS_MAX + 1) * NS_PER_S;
    save_step_begin(room);
    return room_may_wait(room, s);
}

/* One after the other they would stop everyone for a minute. */
START_TEST(a_disk_that_hangs_is_waited_for_once) {
    struct sequence *s[] = {idle_of("ann"), idle_of("bob"), idle_of("eve")};
    room->n_jobs = 1;
    ck_assert(!waits_past_its_time(s[0]));
    ck_assert(!room_may_wait(room, s[1])); /* at once */
    room->n_answers++;                     /* it lives */
    save_step_begin(room);
    ck_assert(room_may_wait(room, s[2]));
    atomic_fetch_add(&stats.scan_steps,
                     1); /* it reads what is in the folders, and answers nobody meanwhile */
    ck_assert(!waits_past_its_time(s[2]));
    save_step_begin(room);
    ck_assert(room_may_wait(room, s[1]));
    room->n_jobs = 0;
}
END_TEST

START_TEST(a_plan_without_memory_leaves_nothing) {
    idle_of("ann"); /* it is followed: nothing is said of t before that */
    for (int64_t n = 1; n <= 2; n++) {
        struct stream *t = stream_of("ann", 1050, sequence_new(room, "ann", 5));
        int64_t live = mem_live_count();
        mem_fail_at(n);
        restore_begin(room, t);
        mem_fail_at(0);
        ck_assert_int_eq(t->state, STREAM_FOLLOW);
        ck_assert_uint_eq(room->n_jobs, 0);
        ck_assert_int_eq(mem_live_count(), live);
    }
}
END_TEST

/* Its first turn: FLUSH, RESIDENTS, the text of that. */
START_TEST(a_stop_without_memory_leaves_nothing) {
    int64_t live = mem_live_count();
    for (int64_t n = 1; n <= 3; n++) {
        room_set_up(0);
        room->residents_changed = true;
        struct msg m = {.type = MSG_TYPE_STOP, .stop = {.op = 1}};
        struct mail_msg *mail = mail_msg_new(&m);
        ck_assert_int_eq(mailbox_post(room->inbox, &mail->mail), ERR_OK);
        mem_fail_at(n);
        room_run(room);
        mem_fail_at(0);
        ck_assert(room->ended && !room->residents_changed);
        room_tear_down();
        ck_assert_int_eq(mem_live_count(), live);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("room");
    TCase *t = tcase_create("room");
    tcase_set_timeout(t, CHECK_RUN_TIMEOUT_S);
    tcase_add_checked_fixture(t, set_up, room_tear_down);
    tcase_add_test(t, an_eviction_gives_up_on_a_disk_that_only_refuses);
    tcase_add_test(t, an_eviction_waits_for_a_disk_that_stores);
    tcase_add_test(t, each_need_of_its_place_waits_for_itself);
    tcase_add_test(t, nobody_leaves_in_vain);
    tcase_add_test(t, a_disk_that_hangs_is_waited_for_once);
    tcase_add_test(t, a_plan_without_memory_leaves_nothing);
    suite_add_tcase(suite, t);
    t = tcase_create("stop");
    tcase_set_timeout(t, CHECK_RUN_TIMEOUT_S);
    tcase_add_test(t, a_stop_without_memory_leaves_nothing);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
