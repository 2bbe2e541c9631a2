/* Priorities and time limits in a whole front: who goes first, who may cause a swap, and who is too late. */
#include "front_rig.h"

static void ask_with(uint64_t client, const char *name, const char *prompt, enum request_priority priority,
                     int64_t timeout_ns) {
    struct request *q = request_new(REQUEST_INFER);
    q->model = mem_strdup(name);
    q->submit.agent = mem_strdup("");
    q->stream = true;
    q->submit.kind = MSG_KIND_TEXT;
    q->submit.prompt = (struct msg_bytes){mem_dup(prompt, strlen(prompt)), (uint32_t)strlen(prompt)};
    q->priority = priority;
    q->timeout_ns = timeout_ns;
    post(q, client);
}

START_TEST(a_queue_goes_by_priority_then_by_age) {
    ready("step-timeout = 30");
    ask(1, "a", "hang");
    ask(2, "a", "hang");
    UNTIL(metric(METRIC_STREAMS_RUNNING) == 2);
    ask_with(3, "a", "n=2", PRIORITY_NORMAL, 0);
    ask_with(4, "a", "n=2", PRIORITY_BACKGROUND, 0);
    ask_with(5, "a", "n=2", PRIORITY_INTERACTIVE, 0);
    ask_with(6, "a", "n=2", PRIORITY_NORMAL, 0);
    ask_with(7, "a", "n=2", PRIORITY_INTERACTIVE, 0);
    UNTIL(metric(METRIC_REQUESTS_WAITING) == 5);
    front_cancel(rig.front, 1); /* one place for all of them */
    static const uint64_t ORDER[] = {5, 7, 3, 6, 4};
    for (int i = 0; i < 5; i++) ck_assert_int_eq(ended(ORDER[i]).end, REPLY_DONE);
    for (int i = 1; i < 5; i++)
        ck_assert_msg(look(ORDER[i]).nth > look(ORDER[i - 1]).nth, "%d before its turn", (int)ORDER[i]);
    close_front();
}
END_TEST

START_TEST(background_waits_until_nobody_wants_the_seat) {
    ready("stay-min = 0\nwait-bound = 0\ndrain-timeout = 0");
    ask(1, "a", "n=700");
    UNTIL(strlen(look(1).text) > 5);
    ask_with(2, "b", "n=1", PRIORITY_BACKGROUND, 0); /* a normal one would have the seat at once */
    ask_with(3, "a", "n=300", PRIORITY_BACKGROUND, 0);
    ck_assert_int_eq(ended(2).end, REPLY_DONE);
    ck_assert_int_eq(look(1).end, REPLY_DONE);
    ck_assert_int_eq(look(3).end, REPLY_DONE);
    ck_assert_int_eq(metric(METRIC_STREAMS_PARKED), 0);
    close_front();
}
END_TEST

START_TEST(background_makes_way_and_goes_on_later) {
    ready("stay-min = 0\nwait-bound = 600\ndrain-timeout = 600");
    ask_with(1, "a", "n=3000", PRIORITY_BACKGROUND, 0);
    UNTIL(strlen(look(1).text) > 5);
    ask(2, "b", "n=1"); /* waits neither for the bound nor for the drain */
    ck_assert_int_eq(ended(2).end, REPLY_DONE);
    ck_assert_int_eq(look(1).lasts, 0);
    ck_assert_int_eq(metric(METRIC_STREAMS_PARKED), 1);
    ck_assert_int_eq(ended(1).end, REPLY_DONE);
    ck_assert_ptr_nonnull(strstr(look(1).text, "t0 t1 t2 "));
    close_front();
}
END_TEST

START_TEST(with_a_normal_neighbour_background_keeps_the_seat) {
    ready("stay-min = 0\nwait-bound = 600\nstep-timeout = 30");
    ask_with(1, "a", "n=200", PRIORITY_BACKGROUND, 0);
    ask(2, "a", "n=500");
    UNTIL(strlen(look(2).text) > 5);
    ask(3, "b", "n=1");
    ck_assert_int_eq(ended(3).end, REPLY_DONE);
    ck_assert_int_eq(look(2).end, REPLY_DONE);
    ck_assert_int_eq(metric(METRIC_STREAMS_PARKED), 0);
    close_front();
}
END_TEST

START_TEST(background_gives_its_place_to_its_neighbours) {
    ready("stay-min = 600\nwait-bound = 600\nstep-timeout = 30");
    ask_with(1, "a", "n=2000", PRIORITY_BACKGROUND, 0);
    ask_with(2, "a", "n=2000", PRIORITY_BACKGROUND, 0);
    UNTIL(strlen(look(1).text) > 5 && strlen(look(2).text) > 5);
    ask(3, "a", "n=2");
    ck_assert_int_eq(ended(3).end, REPLY_DONE);
    ck_assert_int_eq(look(1).lasts, 0);
    ck_assert_int_eq(look(2).lasts, 0);
    ck_assert_int_eq(metric(METRIC_STREAMS_PARKED), 1); /* one place for one request */
    for (uint64_t i = 1; i <= 2; i++) {
        ck_assert_int_eq(ended(i).end, REPLY_DONE);
        ck_assert_ptr_nonnull(strstr(look(i).text, "t0 t1 t2 "));
    }
    ck_assert_int_eq(metric(METRIC_STREAMS_LOST), 0);
    close_front();
}
END_TEST

START_TEST(who_is_too_late_is_told_and_its_work_ends) {
    ready("stay-min = 600\nwait-bound = 600\nstep-timeout = 30");
    ask_with(1, "a", "hang", PRIORITY_NORMAL, 200 * NS_PER_MS);
    ask_with(2, "b", "n=1", PRIORITY_NORMAL, 100 * NS_PER_MS);
    ask_with(3, "a", "n=5", PRIORITY_NORMAL, 20 * NS_PER_S);
    struct client c = ended(2);
    ck_assert_int_eq(c.err, ERR_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(c.error_text, "0.1 s"));
    ck_assert_ptr_nonnull(strstr(c.error_text, "waited for b"));
    ck_assert_int_eq(metric(METRIC_REQUESTS_WAITING), 0);
    c = ended(1);
    ck_assert_int_eq(c.err, ERR_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(c.error_text, "ran on a"));
    ck_assert_int_eq(ended(3).end, REPLY_DONE);
    UNTIL(metric(METRIC_STREAMS_RUNNING) == 0); /* the seat has let go */
    ck_assert_int_eq(metric(METRIC_SEAT_KILLS), 0);
    close_front();
}
END_TEST

START_TEST(a_deadline_that_has_passed_takes_no_work) {
    ready("");
    struct request *q = request_new(REQUEST_INFER);
    q->model = mem_strdup("a");
    q->submit.agent = mem_strdup("");
    q->submit.kind = MSG_KIND_TEXT;
    q->submit.prompt = (struct msg_bytes){mem_dup("n=1", 3), 3};
    q->timeout_ns = NS_PER_MS;
    q->client = 1;
    q->arrived_ns = clock_now_ns() - NS_PER_S; /* it lay in the mailbox */
    ck_assert_int_eq(front_post(rig.front, q), ERR_OK);
    ck_assert_int_eq(ended(1).err, ERR_TIMEOUT);
    ck_assert_int_eq(look(1).entered, 0);
    ck_assert_int_eq(metric(METRIC_TOKENS_READ), 0);
    close_front();
}
END_TEST

/* 1 runs on a, and its drain has no end; 2 waits for b. */
static void drain_a_for_2(void) {
    ready("stay-min = 0\nwait-bound = 0\ndrain-timeout = 600");
    ask(1, "a", "n=60000");
    UNTIL(strlen(look(1).text) > 5);
    ask(2, "b", "n=1");
    UNTIL(metric(METRIC_SWAP_UNDER_WAY) == 1);
}

START_TEST(a_turn_that_nobody_waits_for_any_more_is_called_off) {
    drain_a_for_2();
    ask(3, "a", "n=1"); /* it would wait for the drain and two swaps */
    front_cancel(rig.front, 2);
    ck_assert_int_eq(ended(3).end, REPLY_DONE);
    ask_with(4, "b", "n=1", PRIORITY_NORMAL, NS_PER_S);
    UNTIL(metric(METRIC_SWAP_UNDER_WAY) == 1);
    ck_assert_int_eq(ended(4).err, ERR_TIMEOUT);
    ask(5, "a", "n=1");
    ck_assert_int_eq(ended(5).end, REPLY_DONE);
    ck_assert_int_eq(look(1).lasts, 0);
    ck_assert_int_eq(metric(METRIC_STREAMS_PARKED), 0);
    ck_assert_int_eq(metric(METRIC_SWAPS_HOT_OK), 0);
    close_front();
}
END_TEST

START_TEST(a_turn_that_an_admin_has_joined_goes_on) {
    drain_a_for_2();
    swap(3, "b", false);
    ck_assert_int_eq(ended(3).status, 202);
    front_cancel(rig.front, 2);
    ck_assert_int_eq(ended(2).err, ERR_CANCELED);
    front_cancel(rig.front, 1); /* the drain's end */
    UNTIL(metric(METRIC_SWAPS_HOT_OK) == 1);
    close_front();
}
END_TEST

START_TEST(background_waits_for_a_look_at_the_others_model) {
    ready("");
    ask(1, "b", "n=1");
    ck_assert_int_eq(ended(1).end, REPLY_DONE); /* b is known */
    swap(2, "a", true);
    ck_assert_int_eq(ended(2).status, 200);
    ask(3, "a", "n=300");
    UNTIL(strlen(look(3).text) > 5);
    ask_with(4, "b", "n=1", PRIORITY_BACKGROUND, 0);
    ask(5, "silent", "n=1"); /* is looked at for as long as a look may take */
    front_cancel(rig.front, 3);
    ck_assert_int_eq(ended(5).err, ERR_MODEL_COOLDOWN);
    ck_assert_int_eq(look(4).lasts, 0);
    ck_assert_int_eq(ended(4).end, REPLY_DONE);
    close_front();
}
END_TEST

int main(int argc, char **argv) {
    const TTest *const tests[] = {
        a_queue_goes_by_priority_then_by_age,         background_waits_until_nobody_wants_the_seat,
        background_makes_way_and_goes_on_later,       with_a_normal_neighbour_background_keeps_the_seat,
        background_gives_its_place_to_its_neighbours, who_is_too_late_is_told_and_its_work_ends,
        a_deadline_that_has_passed_takes_no_work,     a_turn_that_nobody_waits_for_any_more_is_called_off,
        a_turn_that_an_admin_has_joined_goes_on,      background_waits_for_a_look_at_the_others_model};
    return FRONT_TESTS_RUN(argc, argv, "front_priority", tests);
}
