/* Requests with several answers, on a scripted seat: what the seat is asked, and that they have one end. */
#include "front_rig.h"

/* more: a further prompt, or NULL. */
static void ask_for(uint64_t client, const char *prompt, const char *more, uint32_t n) {
    struct request *q = request_new(REQUEST_INFER);
    q->model = mem_strdup("a");
    q->submit.agent = mem_strdup("ann");
    q->stream = true;
    q->n_choices = n;
    q->submit.kind = MSG_KIND_TEXT;
    q->submit.prompt = (struct msg_bytes){mem_dup(prompt, strlen(prompt)), (uint32_t)strlen(prompt)};
    q->submit.seed = 100;
    q->seed_given = true;
    if (more) {
        q->more = mem_alloc(sizeof *q->more);
        q->more[q->n_more++].text = (struct msg_bytes){mem_dup(more, strlen(more)), (uint32_t)strlen(more)};
    }
    post(q, client);
}

static void nothing_is_left(void) {
    UNTIL(metric(METRIC_STREAMS_RUNNING) == 0 && metric(METRIC_REQUESTS_WAITING) == 0);
    UNTIL(metric(METRIC_REQUESTS_BYTES) == 0);
}

/* How often text stands in what the client got. */
static int heard(uint64_t client, const char *text) {
    struct client c = look(client);
    int n = 0;
    for (const char *p = c.text; (p = strstr(p, text)); p += strlen(text)) n++;
    return n;
}

START_TEST(the_seat_is_told_whose_they_are_and_what_they_read) {
    ready("");
    ask_for(1, "told n=2", "told n=1", 3);
    ck_assert_int_eq(ended(1).end, REPLY_DONE);
    ck_assert_int_eq(look(1).entered, 6);
    ck_assert_int_eq(heard(1, "[ann 100 0 1]"), 1); /* the agent's, and it says its prompt's tokens */
    ck_assert_int_eq(heard(1, "[ 100 0 1]"), 1);    /* the other prompt's first */
    ck_assert_int_eq(heard(1, "[ 101 3 0]"), 2);
    ck_assert_int_eq(heard(1, "[ 102 3 0]"), 2);
    ck_assert_int_eq(heard(1, "t0 "), 6);
    ck_assert_int_eq(heard(1, "t1 "), 3);
    ask_for(2, "told n=1", NULL, 1);
    ck_assert_int_eq(ended(2).end, REPLY_DONE);
    ck_assert_int_eq(heard(2, "[ann 100 0 0]"), 1);
    nothing_is_left();
    close_front();
}
END_TEST

/* Half of the answer is out: the prompt that has not had its turn waits with the one that was parked. */
START_TEST(one_that_has_not_begun_waits_with_one_that_has) {
    ready("auto-swap = off");
    ask(10, "a", "n=60000"); /* and there are two places */
    ask_for(1, "n=60000", "n=1", 1);
    UNTIL(look(1).entered == 1 && metric(METRIC_REQUESTS_WAITING) == 1);
    swap_with(2, "b", 0, 0);
    ck_assert_int_eq(ended(2).end, REPLY_JSON);
    ask(3, "a", "n=1");
    ck_assert_int_eq(ended(3).err, ERR_AUTO_SWAP_OFF);
    ck_assert_int_eq(look(1).lasts, 0);
    front_cancel(rig.front, 10);
    swap_with(4, "a", 0, 0);
    UNTIL(look(1).entered >= 2);
    front_cancel(rig.front, 1);
    ck_assert_int_eq(ended(1).err, ERR_CANCELED);
    nothing_is_left();
    close_front();
}
END_TEST

START_TEST(one_that_fails_ends_all) {
    ready("");
    ask_for(1, "n=60000", "fail", 3);
    ck_assert_int_eq(ended(1).err, ERR_CONTEXT_LENGTH);
    nothing_is_left();
    ask_for(2, "n=60000", "n=4 die=2", 2); /* twice: the other one lives through the first time */
    ck_assert_int_eq(ended(2).end, REPLY_ERROR);
    nothing_is_left();
    ask_for(3, "n=60000", NULL, 8);
    UNTIL(look(3).entered > 1 && metric(METRIC_REQUESTS_WAITING) == 6);
    front_cancel(rig.front, 3);
    ck_assert_int_eq(ended(3).err, ERR_CANCELED);
    nothing_is_left();
    ck_assert(strstr(look(1).text, "t0 ") && look(1).lasts == 1 && look(3).lasts == 1);
    close_front();
}
END_TEST

START_TEST(they_are_parked_and_come_back) {
    ready("");
    ask_for(1, "n=300", NULL, 4);
    UNTIL(heard(1, "t5 ") > 1);
    swap(2, "b", true);
    ck_assert_int_eq(ended(2).status, 200);
    ck_assert_int_eq(ended(1).end, REPLY_DONE);
    ck_assert_int_eq(look(1).entered, 4);
    ck_assert_uint_ge(metric(METRIC_STREAMS_PARKED), 2);
    nothing_is_left();
    close_front();
}
END_TEST

/* Two wait in the queue, and one that was parked with them: none of them can go on. */
START_TEST(a_model_that_can_not_come_back_ends_them_once) {
    ready("");
    ask_for(1, "n=60000", NULL, 4);
    UNTIL(heard(1, "t5 ") > 1);
    script("failload", true);
    swap(2, "badload", true);
    ck_assert_int_eq(ended(2).err, ERR_SWAP_FAILED);
    ck_assert_int_eq(ended(1).end, REPLY_ERROR);
    nothing_is_left();
    close_front();
}
END_TEST

START_TEST(a_front_that_stops_frees_them) {
    ready("");
    ask_for(1, "n=60000", "n=60000", 5);
    UNTIL(look(1).entered > 1);
    front_stop(rig.front);
    ck_assert_int_eq(ended(1).err, ERR_STOPPING);
    close_front();
}
END_TEST

int main(int argc, char **argv) {
    const TTest *const tests[] = {the_seat_is_told_whose_they_are_and_what_they_read,
                                  one_that_has_not_begun_waits_with_one_that_has,
                                  one_that_fails_ends_all,
                                  they_are_parked_and_come_back,
                                  a_model_that_can_not_come_back_ends_them_once,
                                  a_front_that_stops_frees_them};
    return FRONT_TESTS_RUN(argc, argv, "choices", tests);
}
