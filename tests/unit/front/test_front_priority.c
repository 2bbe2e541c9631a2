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

int main(int argc, char **argv) {
    const TTest *const tests[] = {
        a_queue_goes_by_priority_then_by_age,         background_waits_until_nobody_wants_the_seat,
        background_makes_way_and_goes_on_later,       with_a_normal_neighbour_background_keeps_the_seat,
        background_gives_its_place_to_its_neighbours, who_is_too_late_is_told_and_its_work_ends,
        a_deadline_that_has_passed_takes_no_work};
    return FRONT_TESTS_RUN(argc, argv, "front_priority", tests);
}
