/* The whole front on a scripted seat: queues, streams that move, swaps, questions, the end. */
#include "front/front.h"

#include "front_rig.h"

START_TEST(answers) {
    ready("");
    ask(1, "a", "n=5");
    ask(2, NULL, "n=3");
    ask(3, "a", "fail");
    ask(4, "nobody", "n=1");
    struct client c = ended(1);
    ck_assert_int_eq(c.end, REPLY_DONE);
    ck_assert_str_eq(c.text, "t0 t1 t2 t3 t4 ");
    ck_assert_int_eq(c.entered, 1);
    ck_assert_int_eq(c.waiting, 0);
    ck_assert_str_eq(ended(2).model, "a");
    ck_assert_int_eq(ended(3).err, ERR_CONTEXT_LENGTH);
    ck_assert_str_eq(ended(3).error_text, "the prompt is too long");
    ck_assert_int_eq(ended(4).err, ERR_MODEL_UNKNOWN);
    close_front();
}
END_TEST

START_TEST(another_model_gets_its_turn) {
    ready("");
    ask(1, "b", "n=3");
    ask(2, "c", "n=3");
    ask(3, "a", "n=3");
    for (uint64_t i = 1; i <= 3; i++) {
        struct client c = ended(i);
        ck_assert_int_eq(c.end, REPLY_DONE);
        ck_assert_str_eq(c.text, "t0 t1 t2 ");
        ck_assert_int_eq(c.model[0], "xbca"[i]);
    }
    ck_assert_int_ge(metric(METRIC_SWAPS_HOT_OK), 2);
    ck_assert_int_eq(metric(METRIC_SEAT_RESTARTS), 0);
    close_front();
}
END_TEST

START_TEST(who_waits_is_read_ahead_while_the_model_loads) {
    ready("");
    ask_as(1, "b", "n=1 hinted", "ann");
    ck_assert_str_eq(ended(1).text, "ann");
    close_front();
}
END_TEST

START_TEST(figures_that_come_late_count_nothing_twice) {
    ready("");
    ask(1, "a", "n=1 counts");
    ck_assert_int_eq(ended(1).err, ERR_OK);
    ck_assert_int_eq(metric(METRIC_RESTORES), 10);
    close_front();
}
END_TEST

START_TEST(models_that_can_not_be_seated) {
    ready("");
    ask(1, "dies", "n=1");
    ask(2, "big", "n=1");
    ask(3, "badload", "n=1");
    swap(4, "big", true);
    ck_assert_int_eq(ended(1).err, ERR_MODEL_INVALID);
    ck_assert_int_eq(ended(2).err, ERR_MODEL_TOO_LARGE);
    ck_assert_ptr_nonnull(strstr(ended(2).details, "\"needed_bytes\":1073"));
    ck_assert_int_eq(ended(4).err, ERR_MODEL_TOO_LARGE);
    ck_assert_int_eq(ended(3).err, ERR_MODEL_COOLDOWN);
    ck_assert_uint_ge(ended(3).retry_after_s, 1);
    ck_assert_ptr_nonnull(strstr(ended(3).error_text, "scripted"));
    UNTIL(front_readiness(rig.front) == FRONT_READY);
    ask(5, "badload", "n=1");
    ck_assert_int_eq(ended(5).err, ERR_MODEL_COOLDOWN);
    ask(6, NULL, "n=1");
    ck_assert_str_eq(ended(6).model, "a");
    close_front();
}
END_TEST

START_TEST(a_stream_outlives_its_seat) {
    ready("");
    ask(1, "a", "n=400");
    UNTIL(strlen(look(1).text) > 20);
    ask(2, "a", "die=2 n=9"); /* ends the seat whenever its third token is due: twice without a new one */
    struct client c = ended(1);
    ck_assert_int_eq(c.end, REPLY_DONE);
    ck_assert_int_eq(c.entered, 1);
    char expect[4096] = "";
    for (int i = 0; i < 400; i++)
        snprintf(expect + strlen(expect), sizeof expect - strlen(expect), "t%d ", i);
    ck_assert_str_eq(c.text, expect);
    ck_assert_int_eq(ended(2).err, ERR_ENGINE_DIED);
    ck_assert_str_eq(ended(2).text, "t0 t1 ");
    ck_assert_int_eq(metric(METRIC_STREAMS_LOST), 1);
    ck_assert_int_le(metric(METRIC_SEAT_DEATHS), 3);
    ask(3, "a", "garbage"); /* a seat that talks nonsense is as good as dead */
    ck_assert_int_eq(ended(3).err, ERR_ENGINE_DIED);
    close_front();
}
END_TEST

START_TEST(a_decode_that_hangs_is_ended) {
    ready("");
    ask(1, "a", "hang");
    ck_assert_int_eq(ended(1).err, ERR_ENGINE_DIED);
    ck_assert_int_eq(metric(METRIC_SEAT_KILLS), 2);
    close_front();
}
END_TEST

/* Longer than a step may take. */
START_TEST(a_restore_that_goes_on_is_not_ended) {
    ready("");
    ask(1, "a", "n=2 reads=2500");
    ck_assert_int_eq(ended(1).end, REPLY_DONE);
    ck_assert_int_eq(metric(METRIC_SEAT_KILLS), 0);
    close_front();
}
END_TEST

START_TEST(parked_and_back) {
    ready("");
    ask(1, "a", "n=600");
    UNTIL(strlen(look(1).text) > 20);
    swap(2, "b", true);
    struct client s = ended(2);
    ck_assert_int_eq(s.status, 200);
    ck_assert_ptr_nonnull(strstr(s.body, "\"parked\":1"));
    struct client c = ended(1);
    ck_assert_int_eq(c.end, REPLY_DONE);
    ck_assert_ptr_nonnull(strstr(c.text, "t0 t1 t2 "));
    ck_assert_ptr_nonnull(strstr(c.text, " t598 t599 "));
    close_front();
}
END_TEST

START_TEST(cancel_at_the_deadline) {
    ready("");
    ask(1, "a", "n=60000");
    UNTIL(strlen(look(1).text) > 20);
    struct request *q = request_new(REQUEST_SWAP);
    q->model = mem_strdup("b");
    q->cancel_on_deadline = true;
    post(q, 2);
    ck_assert_int_eq(ended(1).err, ERR_DRAIN_CANCELED);
    ck_assert_uint_ge(ended(1).retry_after_s, 1);
    ck_assert_int_eq(ended(2).status, 200);
    close_front();
}
END_TEST

START_TEST(who_waits_hears_of_it_and_may_leave) {
    ready("stay-min = 100\nwait-bound = 100");
    ask(1, "a", "n=60000");
    ask(2, "b", "n=1");
    ask(3, "b", "n=1");
    UNTIL(look(3).waiting > 0);
    ck_assert_uint_eq(look(2).position, 1);
    ck_assert_uint_eq(look(3).position, 2);
    ck_assert_int_eq(look(3).entered, 0);
    ck_assert_int_eq(metric(METRIC_REQUESTS_WAITING), 2);
    front_cancel(rig.front, 2);
    ck_assert_int_eq(ended(2).err, ERR_CANCELED);
    front_cancel(rig.front, 1); /* it runs: the seat lets go, and b gets its turn */
    ck_assert_int_eq(ended(1).err, ERR_CANCELED);
    ck_assert_int_eq(ended(3).end, REPLY_DONE);
    ck_assert_int_eq(metric(METRIC_STREAMS_RUNNING), 0);
    close_front();
}
END_TEST

START_TEST(swaps_of_an_admin) {
    ready("");
    swap(1, "a", true);
    ck_assert_ptr_nonnull(strstr(ended(1).body, "already_seated"));
    swap(2, "nobody", true);
    ck_assert_int_eq(ended(2).err, ERR_MODEL_UNKNOWN);
    ask(3, "a", "n=60000"); /* the next swap has to wait for its drain */
    UNTIL(strlen(look(3).text) > 5);
    swap(4, "b", true);
    swap(5, "b", true);
    swap(6, "c", false);
    swap(7, "c", true);
    swap(8, "b", false);
    ck_assert_int_eq(ended(6).err, ERR_SWAP_CONFLICT);
    ck_assert_int_eq(ended(8).status, 202);
    ck_assert_ptr_nonnull(strstr(ended(4).body, "\"status\":\"swapped\""));
    ck_assert_ptr_nonnull(strstr(ended(5).body, "\"status\":\"joined\""));
    ck_assert_ptr_nonnull(strstr(ended(7).body, "\"to\":\"c\""));
    front_cancel(rig.front, 3);
    swap(9, "badload", true);
    struct client c = ended(9);
    ck_assert_int_eq(c.err, ERR_SWAP_FAILED);
    ck_assert_str_eq(c.details, "\"rolled_back\":true");
    swap(10, NULL, true);
    ck_assert_ptr_nonnull(strstr(ended(10).body, "offloaded"));
    UNTIL(front_readiness(rig.front) == FRONT_EMPTY);
    ask(11, "default", "n=1");
    ck_assert_int_eq(ended(11).end, REPLY_DONE);
    close_front();
}
END_TEST

START_TEST(auto_swap_off) {
    ready("auto-swap = off");
    ask(1, "b", "n=1");
    ck_assert_int_eq(ended(1).err, ERR_AUTO_SWAP_OFF);
    swap(2, "b", true);
    ck_assert_int_eq(ended(2).status, 200);
    ask(3, "b", "n=1");
    ck_assert_int_eq(ended(3).end, REPLY_DONE);
    close_front();
}
END_TEST

START_TEST(questions) {
    ready("");
    static const struct {
        enum request_verb verb;
        const char *has;
    } CASES[] = {{REQUEST_MODELS, "\"cached_agents\":1"},
                 {REQUEST_AGENTS, "\"id\":\"x\""},
                 {REQUEST_CURRENT, "\"model\":\"a\""},
                 {REQUEST_AVAILABLE, "\"state\":\"available\""},
                 {REQUEST_SWAP_STATUS, "\"state\":\"SERVING\""},
                 {REQUEST_PS, "\"agents\":["},
                 {REQUEST_RELOAD, "\"reloaded\""}};
    for (uint64_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        post(request_new(CASES[i].verb), i + 1);
        struct client c = ended(i + 1);
        ck_assert_int_eq(c.status, 200);
        ck_assert_msg(strstr(c.body, CASES[i].has), "%s", c.body);
    }
    struct request *q = request_new(REQUEST_FAULT);
    q->fault = mem_strdup("decode_die");
    post(q, 20);
    ck_assert_int_eq(ended(20).err, ERR_FORBIDDEN);
    post(request_new(REQUEST_EVENTS), 21);
    UNTIL(look(21).events > 0);
    swap(22, "b", true);
    ended(22);
    ck_assert_int_ge(look(21).events, 6);
    front_cancel(rig.front, 21);
    UNTIL(metric(METRIC_EVENT_CLIENTS) == 0);
    close_front();
}
END_TEST

START_TEST(broken_reload_changes_nothing) {
    ready("");
    char path[128];
    snprintf(path, sizeof path, "%s/x.ini", rig.folder);
    FILE *f = fopen(path, "a");
    fputs("parallel = many\n", f);
    fclose(f);
    post(request_new(REQUEST_RELOAD), 1);
    ck_assert_int_eq(ended(1).err, ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(ended(1).error_text, "x.ini:"));
    close_front();
}
END_TEST

START_TEST(last_replies_are_not_lost_when_the_sink_is_full) {
    ready("");
    ask(1, "a", "n=3");
    ended(1);
    pthread_mutex_lock(&rig.lock);
    rig.full = true;
    pthread_mutex_unlock(&rig.lock);
    ask(2, "a", "n=500");
    UNTIL(metric(METRIC_REPLIES_DROPPED) > 0);
    pthread_mutex_lock(&rig.lock);
    rig.full = false;
    pthread_mutex_unlock(&rig.lock);
    ck_assert_int_eq(ended(2).err, ERR_QUEUE_FULL);
    ask(3, "a", "n=1");
    ck_assert_int_eq(ended(3).end, REPLY_DONE);
    close_front();
}
END_TEST

/* The sink was full for one, and has room again when another one's token comes. */
START_TEST(a_last_reply_that_waits_ends_nobody_elses_stream) {
    ready("");
    ask(1, "a", "n=60000");
    UNTIL(strlen(look(1).text) > 5);
    pthread_mutex_lock(&rig.lock);
    rig.refuses_last = true;
    pthread_mutex_unlock(&rig.lock);
    ask(2, "a", "n=1");
    ck_assert_int_eq(ended(2).end, REPLY_DONE);
    size_t said = strlen(look(1).text);
    UNTIL(strlen(look(1).text) > said + 5 || look(1).lasts > 0);
    ck_assert_int_eq(look(1).lasts, 0);
    ck_assert_uint_eq(metric(METRIC_REPLIES_DROPPED), 0);
    close_front();
}
END_TEST

START_TEST(stop_ends_everybody) {
    ready("stay-min = 100\nwait-bound = 100");
    ask(1, "a", "n=60000");
    ask(2, "b", "n=1");
    UNTIL(strlen(look(1).text) > 5);
    front_stop(rig.front);
    ck_assert_int_eq(ended(1).err, ERR_STOPPING);
    ck_assert_int_eq(ended(2).err, ERR_STOPPING);
    close_front();
}
END_TEST

START_TEST(stop_before_anything_is_ready) {
    open_front("");
    close_front();
}
END_TEST

START_TEST(starts_that_are_refused) {
    char why[512];
    struct front *second;
    struct front_sink to = {.post = sink};
    ready("");
    ck_assert_int_eq(front_open(rig.config, &to, &second, why, sizeof why), ERR_LOCKED);
    ck_assert_ptr_nonnull(strstr(why, rig.config->cache_dir));
    char *dir = rig.config->cache_dir, file[160];
    snprintf(file, sizeof file, "%s/x.ini", rig.folder);
    rig.config->cache_dir = file;
    ck_assert_int_ne(front_open(rig.config, &to, &second, why, sizeof why), ERR_OK);
    ck_assert_ptr_nonnull(strstr(why, file));
    snprintf(file, sizeof file, "%s/other", rig.folder);
    char *name = rig.config->model, nobody[] = "nobody";
    rig.config->model = nobody;
    ck_assert_int_eq(front_open(rig.config, &to, &second, why, sizeof why), ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(why, "nobody"));
    rig.config->model = name;
    char *seat = rig.config->seat_program, nowhere[] = "/nowhere/seat";
    rig.config->seat_program = nowhere;
    ck_assert_int_eq(front_open(rig.config, &to, &second, why, sizeof why), ERR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(why, "/nowhere/seat"));
    rig.config->seat_program = seat;
    rig.config->cache_dir = dir;
    close_front();
}
END_TEST

int main(int argc, char **argv) {
    const TTest *const tests[] = {answers,
                                  another_model_gets_its_turn,
                                  who_waits_is_read_ahead_while_the_model_loads,
                                  figures_that_come_late_count_nothing_twice,
                                  models_that_can_not_be_seated,
                                  a_stream_outlives_its_seat,
                                  a_decode_that_hangs_is_ended,
                                  a_restore_that_goes_on_is_not_ended,
                                  parked_and_back,
                                  cancel_at_the_deadline,
                                  who_waits_hears_of_it_and_may_leave,
                                  swaps_of_an_admin,
                                  auto_swap_off,
                                  questions,
                                  broken_reload_changes_nothing,
                                  last_replies_are_not_lost_when_the_sink_is_full,
                                  a_last_reply_that_waits_ends_nobody_elses_stream,
                                  stop_ends_everybody,
                                  stop_before_anything_is_ready,
                                  starts_that_are_refused};
    return FRONT_TESTS_RUN(argc, argv, "front", tests);
}
