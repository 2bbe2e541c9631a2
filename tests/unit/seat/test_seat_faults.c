/* The seat under cancels, faults and limits: the fake engine and a real store, spoken to as the front does. */
#include "seat_client.h"

#include "base/fault.h"
#include "base/json.h"

START_TEST(a_cancel_ends_a_stream_at_once) { /* G4 */
    struct client *c = client_start(1);
    client_load(c, MODEL_SLOW);
    client_configure(c, 64u << 20, 4);
    struct answer *a =
        client_submit(c, client_text("ann", prompt_of("ann", 3000), 500)); /* 512 tokens take 1 s */
    struct answer *other = client_submit(c, client_text("bob", "short [[say:fine]]", 20));
    while (!a->started) client_step(c);
    int64_t at = clock_now_ns();
    struct msg m = {.type = MSG_TYPE_CANCEL, .cancel = {.request = 1}};
    client_send(c, &m);
    client_finish(c, a);
    ck_assert_int_eq(a->err, ERR_CANCELED);
    ck_assert_int_lt(clock_now_ns() - at, NS_PER_S);
    client_finish(c, other);
    ck_assert_str_eq(text_of(other), "fine");
    client_stop(c);
}
END_TEST

/* Another agent's clients leave one after the other: each may abort a step, and the long prompt is read all the same. */
START_TEST(cancels_do_not_starve_the_others) {
    struct client *c = client_start(1);
    client_load(c, MODEL_SLOW);
    client_configure(c, 64u << 20, 4);
    struct answer *a = client_submit(c, client_text("ann", prompt_of("ann", 3000), 5)); /* 6 s alone */
    while (!a->started) client_step(c);
    int64_t until = clock_now_ns() + 40 * NS_PER_S;
    while (c->stats.cells_used < 300 && clock_now_ns() < until && c->request + 1 < CLIENT_REQUESTS_MAX) {
        struct answer *b = client_submit(c, client_text("bob", "short [[say:never]]", 20));
        struct msg m = {.type = MSG_TYPE_CANCEL, .cancel = {.request = c->request}};
        client_send(c, &m);
        client_finish(c, b);
        (void)poll(NULL, 0, 60); /* the load's rhythm: several in each long step */
    }
    ck_assert_uint_ge(c->stats.cells_used,
                      300); /* one step of 512 tokens would have been aborted each time */
    client_finish(c, a);
    ck_assert(!a->failed);
    client_stop(c);
}
END_TEST

START_TEST(a_stop_during_a_load_is_quick) {
    struct client *c = client_start(1);
    char id[] = "s";
    struct msg m = {
        .type = MSG_TYPE_LOAD,
        .load = {.op = 1, .model = id, .path = client_model[MODEL_SLOW], .kv = (char *)(uintptr_t) "q8_0"}};
    client_send(c, &m);
    while (c->n_progress == 0) client_step(c);
    int64_t at = clock_now_ns();
    struct msg stop = {.type = MSG_TYPE_STOP, .stop = {.op = 2}};
    client_op(c, &stop, MSG_TYPE_OP_FAILED); /* the load's */
    msg_free(&c->last);
    c->last = (struct msg){0};
    client_wait(c, MSG_TYPE_REPLY);
    ck_assert_int_lt(clock_now_ns() - at, NS_PER_S);
    ck_assert_int_eq(client_status(c), 0);
}
END_TEST

START_TEST(a_long_answer_makes_way) {
    struct client *c = client_start(1);
    client_load(c, MODEL_A);
    struct msg_configured *got = client_configure(c, 150000, 2);
    uint32_t cells = got->n_cells;
    ck_assert_uint_lt(cells, 8192);
    struct msg m =
        client_text("ann", "a [[len=5000]]", 0); /* without max_tokens both want the whole context */
    m.submit.ignore_eos = 1;
    struct answer *a = client_submit(c, m);
    m.submit.agent = (char *)(uintptr_t) "bob";
    struct answer *b = client_submit(c, m);
    client_finish(c, a);
    client_finish(c, b);
    ck_assert(!a->failed && !b->failed);
    ck_assert(a->done.finish == MSG_FINISH_LENGTH || a->parked);
    ck_assert(!(a->parked && b->parked));
    client_stop(c);
}
END_TEST

START_TEST(a_failing_decode_fails_its_streams_only) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    client_fault(c, "decode_fail", 1, 0);
    struct answer *a = client_submit(c, client_text("ann", "hello", 10));
    client_finish(c, a);
    ck_assert_int_eq(a->err, ERR_INTERNAL);
    ck_assert_str_eq(text_of(client_ask(c, client_text("ann", "x [[say:again]]", 10))), "again");
    client_stop(c);
}
END_TEST

START_TEST(damaged_blocks_are_a_miss) { /* C5 */
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct answer *whole = client_ask(c, client_text("ann", prompt_of("ann", 900), 20));
    client_leave(c);
    char command[256];
    snprintf(command, sizeof command,
             "for f in $(find %s/cache/blocks -name '*.kv'); do printf XXXX | dd of=$f bs=1 seek=2000 "
             "conv=notrunc 2>/dev/null; done",
             client_dir);
    ck_assert_int_eq(system(command), 0);
    client_seat(c, MODEL_A);
    struct answer *a = client_ask(c, client_text("ann", prompt_of("ann", 900), 20));
    ck_assert_str_eq(text_of(a), text_of(whole));
    ck_assert_str_eq(a->logits, whole->logits);
    while (c->n_stats < 2) client_step(c);
    ck_assert_uint_ge(c->stats.blocks_corrupt, 1);
    client_stop(c);
}
END_TEST

START_TEST(a_full_disk_is_no_reason_not_to_serve) { /* C6 */
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    client_fault(c, "disk_full", -1, 0);
    struct answer *a = client_ask(c, client_text("ann", prompt_of("ann", 600), 20));
    ck_assert(!a->failed);
    struct msg evict = {.type = MSG_TYPE_EVICT, .evict = {.op = ++c->op}};
    ck_assert_uint_ge(client_op(c, &evict, MSG_TYPE_EVICTED)->evicted.unsaved, 1);
    client_fault(c, "disk_full", 0, 0);
    a = client_ask(c, client_text("ann", prompt_of("ann", 600), 20));
    client_leave(c);
    client_seat(c, MODEL_A);
    a = client_ask(c, client_text("ann", prompt_of("ann", 600), 20));
    ck_assert_uint_ge(a->done.cached_tokens, 512);
    client_stop(c);
}
END_TEST

/* Past the day's writes only what leaves memory is stored: then it is. */
START_TEST(the_days_limit_does_not_take_the_last_turn) {
    struct client *c = client_start(1);
    struct msg m = {.type = MSG_TYPE_SETTINGS,
                    .settings = {.cache_disk_bytes = 1u << 30, .log_level = LOG_ERROR}};
    client_send(c, &m);
    client_seat(c, MODEL_A);
    char *said = join(prompt_of("ann", 700), "", "");
    uint32_t before =
        0; /* prompt and answer of the turn before, but for the last token, which was never decoded */
    for (int i = 0; i < 3; i++) {
        struct answer *a = client_ask(c, client_text("ann", said, 20));
        ck_assert_uint_ge(a->done.cached_tokens, before);
        before = a->done.prompt_tokens + a->n_tokens - 1;
        char *next = join(said, text_of(a), " And then? ");
        free(said);
        said = next;
        ck_assert_uint_eq(client_leave(c).unsaved, 0);
        client_seat(c, MODEL_A);
    }
    free(said);
    client_stop(c);
}
END_TEST

START_TEST(a_failed_self_test_turns_the_cache_off_loudly) {
    struct client *c = client_start(1);
    client_fault(c, "self_test_fail", 1, 0);
    client_load(c, MODEL_A);
    struct msg_configured *got = client_configure(c, 64u << 20, 4);
    ck_assert_uint_eq(got->cache_on, 0);
    ck_assert_msg(strstr(got->cache_reason, "self-test"), "%s", got->cache_reason);
    ck_assert_str_eq(text_of(client_ask(c, client_text("ann", "x [[say:hi]]", 10))), "hi");
    client_leave(c);
    client_seat(c, MODEL_A); /* it was not remembered as passed */
    client_stop(c);
}
END_TEST

START_TEST(blocks_that_can_not_be_put_back_are_read_anew) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct answer *whole = client_ask(c, client_text("ann", prompt_of("ann", 900), 20));
    for (int times = 1; times <= 2; times++) { /* once: the second plan restores; twice: cold */
        client_leave(c);
        client_seat(c, MODEL_A);
        client_fault(c, "block_put_fail", times, 0);
        struct answer *a = client_ask(c, client_text("ann", prompt_of("ann", 900), 20));
        ck_assert_uint_eq(a->done.cached_tokens, times == 1 ? 899 : 0);
        ck_assert_str_eq(text_of(a), text_of(whole));
        ck_assert_str_eq(a->logits, whole->logits);
    }
    client_stop(c);
}
END_TEST

START_TEST(a_block_that_can_not_be_taken_is_taken_later) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    client_fault(c, "block_take_fail", 3, 0);
    struct answer *a = client_ask(c, client_text("ann", prompt_of("ann", 900), 20));
    char *said = join(prompt_of("ann", 900), text_of(a), " And then? ");
    ck_assert_uint_eq(client_leave(c).unsaved, 0);
    client_seat(c, MODEL_A);
    ck_assert_uint_eq(client_ask(c, client_text("ann", said, 20))->done.cached_tokens, 919);
    free(said);
    client_stop(c);
}
END_TEST

START_TEST(without_a_store_it_serves_loudly) {
    char file[96];
    snprintf(file, sizeof file, "%s/a.gguf", client_dir); /* a cache folder that is a file */
    struct client *c = client_start_full(file, 1, false);
    client_load(c, MODEL_A);
    struct msg_configured *got = client_configure(c, 64u << 20, 4);
    ck_assert_uint_eq(got->cache_on, 0);
    ck_assert_str_ne(got->cache_reason, "");
    ck_assert_str_eq(text_of(client_ask(c, client_text("ann", "x [[say:hi]]", 10))), "hi");
    client_leave(c);
    client_stop(c);
}
END_TEST

START_TEST(the_parents_death_ends_it) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    client_fault(c, "decode_hang", 1, 0);
    client_submit(c, client_text("ann", "hello", 10));
    while (c->n_stats < 1) client_step(c); /* the engine thread hangs by now */
    channel_free(TAKE(c->channel));
    int status = client_status(c);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
END_TEST

START_TEST(wrong_orders_are_refused) {
    struct client *c = client_start(1);
    struct msg configure = {.type = MSG_TYPE_CONFIGURE,
                            .configure = {.op = 1, .pool_bytes = 1 << 20, .parallel = 1}};
    client_op(c, &configure, MSG_TYPE_OP_FAILED);
    struct answer *a = client_submit(c, client_text("ann", "hello", 10));
    client_finish(c, a);
    ck_assert_int_eq(a->err, ERR_NO_SEAT);
    client_load(c, MODEL_A);
    struct msg load = {.type = MSG_TYPE_LOAD,
                       .load = {.op = 3, .path = client_model[MODEL_A], .kv = (char *)(uintptr_t) "q8_0"}};
    client_op(c, &load, MSG_TYPE_OP_FAILED);
    configure.configure.pool_bytes = 10;
    client_op(c, &configure, MSG_TYPE_OP_FAILED);
    ck_assert_uint_eq(c->last.op_failed.err, ERR_MODEL_TOO_LARGE);
    configure.configure = (struct msg_configure){
        .op = 4, .pool_bytes = 64u << 20, .parallel = 1, .token_gap = TOKEN_GAP_MAX + 1};
    client_op(c, &configure, MSG_TYPE_OP_FAILED);
    ck_assert_uint_eq(c->last.op_failed.err, ERR_INVALID);
    ck_assert_uint_gt(client_configure(c, 64u << 20, 4)->n_blocks, 0);
    client_stop(c);
}
END_TEST

int main(void) {
    TCase *t = tcase_create("seat_faults");
    tcase_add_checked_fixture(t, client_files, client_files_remove);
    const TTest *const tests[] = {a_cancel_ends_a_stream_at_once,
                                  cancels_do_not_starve_the_others,
                                  a_stop_during_a_load_is_quick,
                                  a_long_answer_makes_way,
                                  a_failing_decode_fails_its_streams_only,
                                  damaged_blocks_are_a_miss,
                                  a_full_disk_is_no_reason_not_to_serve,
                                  the_days_limit_does_not_take_the_last_turn,
                                  a_failed_self_test_turns_the_cache_off_loudly,
                                  blocks_that_can_not_be_put_back_are_read_anew,
                                  a_block_that_can_not_be_taken_is_taken_later,
                                  without_a_store_it_serves_loudly,
                                  the_parents_death_ends_it,
                                  wrong_orders_are_refused};
    for (size_t i = 0; i < ARRAY_LEN(tests); i++) tcase_add_test(t, tests[i]);
    return check_run_case("seat_faults", t);
}
