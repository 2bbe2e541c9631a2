/* Where the front's parts meet: what happened once, on a scripted seat. */
#include "front_rig.h"

static void pause_ms(int ms) {
    usleep((useconds_t)ms * 1000);
}

static bool body_has(enum request_verb verb, uint64_t client, const char *text) {
    rig.clients[client].lasts = 0;
    post(request_new(verb), client);
    UNTIL(look(client).lasts > 0);
    return strstr(look(client).body, text) != NULL;
}

/* ---- streams that move ---- */

START_TEST(survivor_behind_a_parked_stream_does_not_block_it) {
    ready("");
    ask(1, "a", "n=300 wait=200");
    ask(2, "a", "n=5 wait=200");
    UNTIL(look(2).entered > 0);
    script("kill", true);
    UNTIL(metric(METRIC_STREAMS_RESUBMITTED) == 1);
    swap_with(3, "b", 400 * NS_PER_MS, 0); /* 1 brings a token, then it is parked; 2 has not moved */
    ck_assert_int_eq(ended(3).status, 200);
    ck_assert_int_eq(ended(1).end, REPLY_DONE);
    ck_assert_int_eq(ended(2).end, REPLY_DONE);
    close_front();
}
END_TEST

START_TEST(long_prefill_outlives_a_neighbour_that_kills) {
    ready("");
    ask(1, "a", "n=250 life=80");
    ask(2, "a", "n=3 wait=200");
    ck_assert_int_eq(ended(2).end, REPLY_DONE);
    ck_assert_int_eq(ended(1).end, REPLY_DONE);
    ck_assert_int_eq(metric(METRIC_STREAMS_LOST), 0);
    close_front();
}
END_TEST

START_TEST(tokens_of_a_stream_that_was_canceled_are_counted) {
    ready("");
    ask(1, "a", "n=60000");
    UNTIL(strlen(look(1).text) > 5);
    front_cancel(rig.front, 1);
    ended(1);
    ck_assert_int_eq(metric(METRIC_TOKENS_READ), 2);
    ck_assert_int_eq(metric(METRIC_TOKENS_REUSED), 5);
    close_front();
}
END_TEST

/* ---- models ---- */

START_TEST(killed_measurer_blames_no_file) {
    ready("");
    ask(1, "killed", "n=1");
    ck_assert_int_eq(ended(1).err, ERR_NO_SEAT);
    ck_assert(!body_has(REQUEST_AVAILABLE, 2, "\"state\":\"invalid\""));
    script("killonce", true);
    ask(3, "killonce", "n=1");
    ck_assert_int_eq(ended(3).end, REPLY_DONE);
    close_front();
}
END_TEST

START_TEST(look_that_hangs_condemns_no_file) { /* it may have been the disk */
    ready("load-timeout = 1");
    ask(1, "silent", "n=1");
    ck_assert_int_eq(ended(1).err, ERR_MODEL_COOLDOWN);
    ck_assert_uint_ge(look(1).retry_after_s, 1);
    ck_assert(body_has(REQUEST_AVAILABLE, 2, "\"state\":\"failed\""));
    swap_with(3, "silent", 0, 0);
    ck_assert_int_eq(ended(3).err, ERR_MODEL_COOLDOWN);
    ck_assert(!body_has(REQUEST_AVAILABLE, 4, "\"state\":\"invalid\""));
    close_front();
}
END_TEST

START_TEST(swap_that_waits_for_a_look_that_hangs_is_told) {
    ready("load-timeout = 1");
    swap_with(1, "silent", 0, 0);
    ck_assert_int_eq(ended(1).err, ERR_MODEL_COOLDOWN);
    close_front();
}
END_TEST

START_TEST(look_that_hangs_keeps_no_other_model_from_its_own) {
    ready("load-timeout = 60");
    ask(1, "silent", "n=1");
    pause_ms(300); /* it is being looked at */
    ask(2, "b", "n=1");
    ck_assert_int_eq(ended(2).end, REPLY_DONE);
    ck_assert_int_eq(look(1).err, ERR_MODEL_COOLDOWN);
    ck_assert(body_has(REQUEST_AVAILABLE, 3, "\"state\":\"failed\""));
    close_front();
}
END_TEST

START_TEST(swap_that_waits_for_a_look_that_hangs_keeps_no_turn_from_others) {
    ready("load-timeout = 60");
    ask(1, "b", "n=1");
    ck_assert_int_eq(ended(1).end, REPLY_DONE);
    swap_with(2, "a", 0, 0);
    ck_assert_int_eq(ended(2).status, 200);
    swap_with(3, "silent", 0, 0);
    pause_ms(300); /* it is being looked at */
    ask(4, "b", "n=1");
    ck_assert_int_eq(ended(4).end, REPLY_DONE);
    ck_assert_int_eq(ended(3).err, ERR_MODEL_COOLDOWN);
    close_front();
}
END_TEST

/* Those who wait for the model that came back have not gathered for it: that would be 24 s more. */
START_TEST(after_a_load_that_failed_the_others_have_their_turn) {
    ready("stay-min = 0\nwait-bound = 6");
    ask(1, "a", "n=60000");
    ask(2, "a", "n=60000");
    UNTIL(metric(METRIC_STREAMS_RUNNING) == 2);
    ask(3, "a", "n=60000");
    ask(4, "badload", "n=1");
    UNTIL(metric(METRIC_REQUESTS_WAITING) == 2);
    ask(5, "b", "n=1");
    ck_assert_int_eq(ended(4).err, ERR_MODEL_COOLDOWN);
    ck_assert_int_eq(ended(5).end, REPLY_DONE);
    close_front();
}
END_TEST

START_TEST(queue_of_the_old_model_is_told_when_it_can_not_come_back) {
    ready("");
    ask(1, "a", "n=60000");
    UNTIL(strlen(look(1).text) > 5);
    script("failload", true);
    swap_with(2, "badload", 50 * NS_PER_MS, 0);
    ck_assert_int_eq(ended(2).err, ERR_SWAP_FAILED);
    ck_assert_str_eq(ended(2).details, "\"rolled_back\":false");
    pause_ms(2000);
    ck_assert_int_eq(look(1).lasts, 1);
    ck_assert_int_eq(look(1).err, ERR_MODEL_COOLDOWN);
    ck_assert_uint_ge(look(1).retry_after_s, 1);
    close_front();
}
END_TEST

/* ---- turns ---- */

START_TEST(without_auto_swap_nobody_waits_for_what_never_comes) {
    ready("auto-swap = off");
    swap(1, NULL, true);
    ended(1);
    UNTIL(front_readiness(rig.front) == FRONT_EMPTY);
    ask(2, "a", "n=1");
    ask(3, "b", "n=1"); /* the seat is empty: both may fill it */
    ck_assert_int_eq(ended(2).end, REPLY_DONE);
    ck_assert_int_eq(ended(3).err, ERR_AUTO_SWAP_OFF);
    close_front();
}
END_TEST

START_TEST(without_auto_swap_the_model_that_leaves_takes_nothing) {
    ready("auto-swap = off");
    ask(1, "a", "n=60000");
    UNTIL(strlen(look(1).text) > 5);
    swap_with(2, "b", 10 * NS_PER_S, 0);
    UNTIL(body_has(REQUEST_SWAP_STATUS, 3, "DRAINING"));
    ask(4, "a", "n=1");
    ck_assert_int_eq(ended(4).err, ERR_AUTO_SWAP_OFF);
    ask(5, "b", "n=1");
    front_cancel(rig.front, 1);
    ck_assert_int_eq(ended(5).end, REPLY_DONE);
    close_front();
}
END_TEST

START_TEST(without_auto_swap_the_model_that_returns_takes_requests) {
    ready("auto-swap = off");
    script("slowload", true);
    swap_with(1, "badload", 0, 0);
    UNTIL(body_has(REQUEST_SWAP_STATUS, 2, "ROLLING_BACK"));
    ask(3, "a", "n=1");
    ck_assert_int_eq(ended(3).end, REPLY_DONE);
    close_front();
}
END_TEST

START_TEST(who_joins_a_turn_is_held_too) {
    ready("wait-bound = 0\nstay-min = 0");
    ask(1, "a", "n=60000");
    UNTIL(strlen(look(1).text) > 5);
    ask(2, "b", "n=1"); /* drains for 0.2 s */
    UNTIL(body_has(REQUEST_SWAP_STATUS, 3, "DRAINING"));
    swap_with(4, "b", 0, 100 * NS_PER_S);
    ck_assert_ptr_nonnull(strstr(ended(4).body, "joined"));
    ended(2);
    pause_ms(500); /* 1 is parked, and its turn would be now */
    ck_assert(body_has(REQUEST_CURRENT, 5, "\"model\":\"b\""));
    close_front();
}
END_TEST

START_TEST(offload_is_not_undone_by_what_it_parked) {
    ready("stay-min = 1");
    ask(1, "a", "n=600");
    UNTIL(strlen(look(1).text) > 5);
    swap_with(2, NULL, 0, 100 * NS_PER_S);
    ck_assert_int_eq(ended(2).status, 200);
    pause_ms(500);
    ck_assert_int_eq(front_readiness(rig.front), FRONT_EMPTY);
    ask(3, "a", "n=1"); /* somebody new wants it */
    ck_assert_int_eq(ended(3).end, REPLY_DONE);
    ck_assert_int_eq(ended(1).end, REPLY_DONE);
    ask(4, "a", "n=600");
    UNTIL(strlen(look(4).text) > 5);
    swap_with(5, NULL, 0, -1); /* --stay-min */
    ck_assert_int_eq(ended(5).status, 200);
    ck_assert_int_eq(ended(4).end, REPLY_DONE);
    close_front();
}
END_TEST

/* ---- mail ---- */

START_TEST(cancel_behind_many_requests_finds_its_own) {
    ready("stay-min = 100\nwait-bound = 100");
    ask(1, "a", "n=60000");
    UNTIL(strlen(look(1).text) > 5);
    pthread_mutex_lock(&rig.lock); /* the control thread waits in the sink */
    pause_ms(50);
    for (uint64_t i = 2; i < 402; i++) ask(i, "b", "n=1");
    front_cancel(rig.front, 401);
    pthread_mutex_unlock(&rig.lock);
    ck_assert_int_eq(ended(401).err, ERR_CANCELED);
    ck_assert_int_eq(look(400).lasts, 0);
    close_front();
}
END_TEST

START_TEST(answers_of_the_swap_answer_no_question) {
    ready("");
    ask(1, "a", "n=60000");
    UNTIL(strlen(look(1).text) > 5);
    for (uint64_t i = 2; i < 12; i++) {
        struct request *q = request_new(REQUEST_AGENT);
        q->agent = mem_strdup("never");
        q->query = MSG_QUERY_AGENT;
        post(q, i);
    }
    swap_with(20, "b", 0, 0); /* parks 1: a REPLY */
    ck_assert_int_eq(ended(20).status, 200);
    for (uint64_t i = 2; i < 12; i++) ck_assert_int_eq(look(i).lasts, 0);
    close_front();
}
END_TEST

START_TEST(reload_is_answered_when_the_inbox_is_full) {
    char path[128], text[4096];
    ready("");
    snprintf(path, sizeof path, "%s/x.ini", rig.folder);
    FILE *f = fopen(path, "r");
    size_t size = fread(text, 1, sizeof text, f);
    fclose(f);
    unlink(path);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    post(request_new(REQUEST_RELOAD), 1); /* its reading waits at the pipe */
    pause_ms(100);
    pthread_mutex_lock(&rig.lock); /* the control thread waits in the sink */
    post(request_new(REQUEST_CURRENT), 2);
    pause_ms(50);
    for (int i = 0; i < 300; i++) front_reload(rig.front);
    f = fopen(path, "w");
    unlink(path);
    FILE *whole = fopen(path, "w"); /* for the next ones */
    ck_assert_uint_eq(fwrite(text, 1, size, whole), size);
    fclose(whole);
    ck_assert_uint_eq(fwrite(text, 1, size, f), size);
    fclose(f);
    pause_ms(200);
    pthread_mutex_unlock(&rig.lock);
    ck_assert_int_eq(ended(1).status, 200);
    close_front();
}
END_TEST

START_TEST(event_client_that_missed_one_is_told_the_end) {
    ready("");
    post(request_new(REQUEST_EVENTS), 1);
    UNTIL(look(1).events > 0);
    pthread_mutex_lock(&rig.lock);
    rig.full = true;
    pthread_mutex_unlock(&rig.lock);
    swap(2, "b", true);
    UNTIL(metric(METRIC_EVENT_CLIENTS) == 0);
    pthread_mutex_lock(&rig.lock);
    rig.full = false;
    pthread_mutex_unlock(&rig.lock);
    ended(1);
    ended(2);
    close_front();
}
END_TEST

static void ask_60_mb(uint64_t client, const char *name) {
    struct request *q = request_new(REQUEST_INFER);
    q->model = mem_strdup(name);
    q->submit.kind = MSG_KIND_TOKENS;
    q->submit.prompt_ids = (struct msg_tokens){mem_alloc(60u << 20), 15u << 20};
    post(q, client);
}

START_TEST(bytes_that_wait_are_limited) {
    ready("stay-min = 100\nwait-bound = 100");
    ask(1, "a", "n=60000");
    UNTIL(strlen(look(1).text) > 5);
    for (uint64_t i = 2; i <= 6; i++) ask_60_mb(i, "b");
    ck_assert_int_eq(ended(6).err, ERR_QUEUE_FULL);
    ck_assert_uint_ge(ended(6).retry_after_s, 1); /* a's only stream and a swap, by the estimate */
    ck_assert_uint_le(ended(6).retry_after_s, 4);
    ck_assert_int_eq(metric(METRIC_REQUESTS_WAITING), 4);
    ask_60_mb(8, "a"); /* whose queue is empty: but b's have to go first, as much as before */
    ck_assert_int_eq(ended(8).err, ERR_QUEUE_FULL);
    ck_assert_uint_ge(ended(8).retry_after_s, 2);
    front_cancel(rig.front, 2);
    ended(2);
    ask(7, "b", "n=1");
    UNTIL(metric(METRIC_REQUESTS_WAITING) == 4); /* there is room again */
    close_front();
}
END_TEST

/* ---- the store's lock ---- */

START_TEST(no_lock_no_store) {
    char path[128];
    ready("");
    ck_assert(body_has(REQUEST_CURRENT, 1, "\"engine_version\":\"scripted\""));
    front_stop(rig.front);
    front_free(rig.front);
    char why[512];
    struct front_sink to = {.post = sink};
    snprintf(path, sizeof path, "%s/cache/LOCK", rig.folder);
    unlink(path);
    ck_assert_int_eq(mkdir(path, 0700), 0); /* can't be opened */
    ck_assert_int_eq(front_open(rig.config, &to, &rig.front, why, sizeof why), ERR_OK);
    ck_assert_int_eq(front_start(rig.front), ERR_OK);
    UNTIL(front_readiness(rig.front) == FRONT_READY);
    ck_assert(body_has(REQUEST_CURRENT, 1, "\"engine_version\":\"no cache\""));
    rmdir(path);
    script("kill", true); /* the next seat gets the store */
    UNTIL(metric(METRIC_SEAT_DEATHS) ==
          1); /* its readiness is told a moment later: the death's answer, not the old one */
    UNTIL(body_has(REQUEST_CURRENT, 1, "\"engine_version\":\"scripted\""));
    close_front();
}
END_TEST

/* ---- the end ---- */

static int64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

START_TEST(stop_ends_though_the_seat_says_the_same_for_ever) {
    ready("");
    ask(1, "a", "n=1 dirty");
    ended(1);
    int64_t from_ns = clock_now_ns();
    front_stop(rig.front);
    ck_assert_int_lt(clock_now_ns() - from_ns, 8 * NS_PER_S);
    close_front();
}
END_TEST

START_TEST(stop_frees_streams_that_the_seat_never_let_go) {
    ready("");
    ask(1, "a", "stuck");
    UNTIL(look(1).entered > 0);
    front_stop(rig.front);
    ck_assert_int_eq(ended(1).err, ERR_STOPPING);
    close_front();
}
END_TEST

START_TEST(stop_waits_without_spinning) {
    ready("drain-timeout = 3");
    ask(1, "a", "n=60000 wait=2500");
    UNTIL(look(1).entered > 0);
    pause_ms(1);
    int64_t from_ns = cpu_ns();
    front_stop(rig.front);
    ck_assert_int_lt(cpu_ns() - from_ns, 500 * NS_PER_MS);
    close_front();
}
END_TEST

static _Atomic int accepted;
static void *post_until_stopped(void *arg) {
    (void)arg;
    for (;;) {
        struct request *q = request_new(REQUEST_CURRENT);
        q->client = 500;
        enum err err = front_post(rig.front, q);
        if (!err) {
            accepted++;
            continue;
        }
        request_free(q);
        if (err == ERR_STOPPING) return NULL;
        sched_yield();
    }
}

START_TEST(whatever_was_taken_is_answered) {
    pthread_t threads[4];
    for (int round = 0; round < 10; round++) {
        ready("");
        accepted = 0;
        for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, post_until_stopped, NULL);
        pause_ms(10);
        front_stop(rig.front);
        for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
        ck_assert_int_eq(rig.lasts, accepted);
        rig.clients[500].lasts = 0;
        close_front();
    }
}
END_TEST

int main(int argc, char **argv) {
    const TTest *const tests[] = {survivor_behind_a_parked_stream_does_not_block_it,
                                  long_prefill_outlives_a_neighbour_that_kills,
                                  tokens_of_a_stream_that_was_canceled_are_counted,
                                  killed_measurer_blames_no_file,
                                  look_that_hangs_condemns_no_file,
                                  swap_that_waits_for_a_look_that_hangs_is_told,
                                  look_that_hangs_keeps_no_other_model_from_its_own,
                                  swap_that_waits_for_a_look_that_hangs_keeps_no_turn_from_others,
                                  after_a_load_that_failed_the_others_have_their_turn,
                                  queue_of_the_old_model_is_told_when_it_can_not_come_back,
                                  without_auto_swap_nobody_waits_for_what_never_comes,
                                  without_auto_swap_the_model_that_leaves_takes_nothing,
                                  without_auto_swap_the_model_that_returns_takes_requests,
                                  who_joins_a_turn_is_held_too,
                                  offload_is_not_undone_by_what_it_parked,
                                  cancel_behind_many_requests_finds_its_own,
                                  answers_of_the_swap_answer_no_question,
                                  reload_is_answered_when_the_inbox_is_full,
                                  event_client_that_missed_one_is_told_the_end,
                                  bytes_that_wait_are_limited,
                                  no_lock_no_store,
                                  stop_ends_though_the_seat_says_the_same_for_ever,
                                  stop_frees_streams_that_the_seat_never_let_go,
                                  stop_waits_without_spinning,
                                  whatever_was_taken_is_answered};
    return FRONT_TESTS_RUN(argc, argv, "front_edges", tests);
}
