/* The swap step by step: what it does when an answer, a death or nothing comes. */
#include "front/swap.h"

#include "swap_rig.h"

START_TEST(hot_swap) {
    seat_a();
    rig.running = 1;
    uint64_t id = begin(rig.b);
    rig.backwards = 0;
    state(SWAP_DRAINING);
    ck_assert(swap_busy(&rig.swap));
    swap_on_drained(&rig.swap, rig.now); /* not yet */
    state(SWAP_DRAINING);
    rig.running = 0;
    rig.now += 100 * NS_PER_MS;
    swap_on_drained(&rig.swap, rig.now);
    state(SWAP_EVICTING);
    evicted();
    state(SWAP_UNLOADING);
    unloaded(20 * MB, 0);
    state(SWAP_LOADING);
    asked(MSG_TYPE_LOAD);
    ck_assert_str_eq(rig.last_model, "b");
    ck_assert_int_eq(rig.a->state, MODEL_AVAILABLE);
    say((struct msg){.type = MSG_TYPE_PROGRESS, .progress = {.op = rig.last_op, .permille = 500}});
    ck_assert_uint_eq(swap_percent(&rig.swap), 55);
    loaded();
    state(SWAP_CONFIGURING);
    ck_assert_uint_eq(rig.token_gap, 7);
    configured();
    state(SWAP_SERVING);
    ck_assert_ptr_eq(rig.swap.seated, rig.b);
    ck_assert_int_eq(rig.ended, 1);
    ck_assert_uint_eq(rig.done.id, id);
    ck_assert_int_eq(rig.done.outcome, SWAP_OK);
    ck_assert(!rig.done.process);
    ck_assert_str_eq(rig.done.from, "a");
    ck_assert_str_eq(rig.done.to, "b");
    ck_assert_uint_eq(rig.done.blocks_written, 3);
    ck_assert_int_eq(rig.done.step_ns[STEP_DRAIN], 100 * NS_PER_MS);
    ck_assert_uint_eq(rig.done.memory_unloaded_bytes, 20 * MB);
    ck_assert_int_eq(rig.swap.hold_until_ns, rig.now + 3 * NS_PER_S);
    ck_assert_int_eq(rig.kills + rig.cancels, 0);
    ck_assert_int_eq(rig.backwards, 0);
    ck_assert_uint_eq(rig.percent, 100);
    ck_assert_int_eq(swap_cost_ns(&rig.swap, rig.a, rig.b),
                     rig.done.ended_ns - rig.done.started_ns - 100 * NS_PER_MS);
    ck_assert_ptr_nonnull(swap_history_at(&rig.swap, 0));
    ck_assert_ptr_null(swap_history_at(&rig.swap, 1)); /* the start is no swap */
    close_rig();
}
END_TEST

START_TEST(deadline_parks_or_cancels) {
    seat_a();
    rig.running = 1;
    begin(rig.b);
    ck_assert_int_eq(swap_deadline_ns(&rig.swap), rig.now + 2 * NS_PER_S);
    later(2 * NS_PER_S);
    asked(MSG_TYPE_PARK);
    rig.running = 0;
    say((struct msg){.type = MSG_TYPE_REPLY, .reply = {.op = rig.last_op}});
    state(SWAP_EVICTING);
    close_rig();
    seat_a();
    rig.running = 1;
    struct swap_order order = {
        .to = rig.b, .cause = SWAP_CAUSE_ADMIN, .drain_timeout_ns = 0, .cancel_at_deadline = true};
    swap_begin(&rig.swap, &order, rig.now);
    later(0);
    ck_assert_int_eq(rig.cancels, 1);
    later(0);
    ck_assert_int_eq(rig.cancels, 1);
    later(5 * NS_PER_S); /* they do not leave: a process-level swap */
    ck_assert_int_eq(rig.kills, 1);
    state(SWAP_STARTING);
    close_rig();
}
END_TEST

START_TEST(offload_and_fill) {
    seat_a();
    begin(NULL);
    evicted();
    unloaded(10 * MB, 0);
    state(SWAP_EMPTY);
    ck_assert_ptr_null(rig.swap.seated);
    ck_assert_ptr_eq(rig.swap.last_seated, rig.a);
    ck_assert_str_eq(rig.done.to, "");
    begin(rig.b);
    state(SWAP_LOADING);
    loaded();
    configured();
    state(SWAP_SERVING);
    close_rig();
}
END_TEST

START_TEST(memory_that_does_not_come_back) {
    static const struct {
        uint64_t after;
        uint32_t mappings;
        bool leaks;
    } CASES[] = {{26 * MB, 0, false}, {26 * MB + 1, 0, true}, {10 * MB, 1, true}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        seat_a();
        to_unloading();
        unloaded(CASES[i].after, CASES[i].mappings);
        ck_assert_int_eq(rig.kills, CASES[i].leaks);
        state(CASES[i].leaks ? SWAP_STARTING : SWAP_LOADING);
        if (CASES[i].leaks) ready();
        loaded();
        configured();
        ck_assert_int_eq(rig.done.outcome, SWAP_OK);
        ck_assert_int_eq(rig.done.process, CASES[i].leaks);
        ck_assert_int_eq(rig.done.not_returned, CASES[i].leaks);
        close_rig();
    }
}
END_TEST

START_TEST(failed_load_rolls_back) {
    seat_a();
    to_unloading();
    unloaded(10 * MB, 0);
    failed(ERR_MODEL_INVALID, "bad tensor");
    state(SWAP_ROLLING_BACK);
    asked(MSG_TYPE_LOAD);
    ck_assert_str_eq(rig.last_model, "a");
    ck_assert_int_eq(rig.b->state, MODEL_FAILED);
    ck_assert_str_eq(rig.b->reason, "bad tensor");
    ck_assert_int_eq(rig.load_failed, 1);
    rig.now += 2 * MODEL_COOLDOWN_MIN_NS; /* the way back takes that long */
    ck_assert(registry_cooling(rig.registry, rig.b, rig.now));
    loaded();
    state(SWAP_ROLLING_BACK);
    configured();
    state(SWAP_SERVING);
    ck_assert(registry_cooling(rig.registry, rig.b, rig.now + MODEL_COOLDOWN_MIN_NS - 1));
    ck_assert(!registry_cooling(rig.registry, rig.b, rig.now + MODEL_COOLDOWN_MIN_NS));
    ck_assert_ptr_eq(rig.swap.seated, rig.a);
    ck_assert_int_eq(rig.done.outcome, SWAP_ROLLED_BACK);
    ck_assert_int_eq(rig.done.err, ERR_MODEL_INVALID);
    ck_assert_str_eq(rig.done.reason, "bad tensor");
    close_rig();
}
END_TEST

START_TEST(failed_context_unloads_before_the_way_back) {
    seat_a();
    to_unloading();
    unloaded(10 * MB, 0);
    loaded();
    failed(ERR_NOMEM, "no context");
    state(SWAP_ROLLING_BACK);
    asked(MSG_TYPE_UNLOAD);
    unloaded(10 * MB, 0);
    asked(MSG_TYPE_LOAD);
    ck_assert_str_eq(rig.last_model, "a");
    loaded();
    configured();
    ck_assert_int_eq(rig.done.outcome, SWAP_ROLLED_BACK);
    close_rig();
}
END_TEST

START_TEST(no_way_back_is_failed_and_then_filled_again) {
    seat_a();
    to_unloading();
    unloaded(10 * MB, 0);
    failed(ERR_MODEL_INVALID, "b is bad");
    failed(ERR_NOMEM, "a too now"); /* the first way back */
    ck_assert_int_eq(rig.kills, 1);
    ready();
    state(SWAP_ROLLING_BACK);
    failed(ERR_NOMEM, "a too now");
    state(SWAP_FAILED);
    ck_assert_int_eq(rig.done.outcome, SWAP_GAVE_UP);
    ck_assert_str_eq(rig.done.reason, "b is bad");
    ck_assert(!swap_busy(&rig.swap));
    ck_assert_int_eq(rig.load_failed, 1);
    ck_assert(registry_cooling(rig.registry, rig.b, rig.now + MODEL_COOLDOWN_MIN_NS - 1));
    ck_assert(!registry_cooling(rig.registry, rig.b, rig.now + MODEL_COOLDOWN_MIN_NS));
    begin(rig.b);
    loaded();
    configured();
    state(SWAP_SERVING);
    close_rig();
}
END_TEST

START_TEST(first_load_that_fails_leaves_a_living_server) {
    open_rig();
    swap_start(&rig.swap, rig.now);
    struct swap_order order = {.to = rig.a, .cause = SWAP_CAUSE_START};
    swap_begin(&rig.swap, &order, rig.now);
    ready();
    loaded();
    failed(ERR_NOMEM, "no context");
    state(SWAP_FAILED);
    ck_assert_int_eq(rig.starts, 2); /* an empty process: the store wants an owner */
    ready();
    state(SWAP_FAILED);
    begin(rig.b);
    loaded();
    configured();
    state(SWAP_SERVING);
    close_rig();
}
END_TEST

START_TEST(memory_gone_between_unload_and_load) {
    seat_a();
    to_unloading();
    rig.no_room = true;
    unloaded(10 * MB, 0);
    state(SWAP_ROLLING_BACK);
    ck_assert_str_eq(rig.last_model, "a");           /* it did fit: tried all the same */
    ck_assert_int_eq(rig.b->state, MODEL_AVAILABLE); /* not its fault */
    loaded();
    configured();
    ck_assert_int_eq(rig.done.outcome, SWAP_ROLLED_BACK);
    ck_assert_str_eq(rig.done.reason, "no room");
    ck_assert(!rig.b->swap_goes_on);
    close_rig();
}
END_TEST

START_TEST(death_at_each_step) {
    for (int step = 0; step < 5; step++) {
        seat_a();
        rig.running = step == 0;
        begin(rig.b);
        rig.running = 0;
        if (step >= 2) evicted();
        if (step >= 3) unloaded(10 * MB, 0);
        if (step >= 4) loaded();
        died();
        state(SWAP_STARTING);
        ck_assert_int_eq(rig.starts, 2);
        ck_assert_ptr_null(rig.swap.seated);
        ready();
        state(SWAP_LOADING);
        ck_assert_str_eq(rig.last_model, "b");
        loaded();
        configured();
        ck_assert_int_eq(rig.done.outcome, SWAP_OK);
        ck_assert(rig.done.process);
        ck_assert_int_eq(rig.kills, 0);
        close_rig();
    }
}
END_TEST

START_TEST(model_that_kills_two_seats_is_not_tried_again) {
    seat_a();
    to_unloading();
    unloaded(10 * MB, 0);
    died();
    ready();
    died();
    state(SWAP_ROLLING_BACK);
    ck_assert_int_eq(rig.b->state, MODEL_FAILED);
    later(NS_PER_S); /* its backoff */
    ready();
    ck_assert_str_eq(rig.last_model, "a");
    loaded();
    configured();
    ck_assert_int_eq(rig.done.outcome, SWAP_ROLLED_BACK);
    close_rig();
}
END_TEST

START_TEST(hangs_end_the_process) {
    for (int step = 0; step < 4; step++) {
        seat_a();
        begin(rig.b);
        if (step >= 1) evicted();
        if (step >= 2) unloaded(10 * MB, 0);
        if (step >= 3) loaded();
        later(swap_deadline_ns(&rig.swap) - rig.now - 1);
        ck_assert_int_eq(rig.kills, 0);
        later(1);
        ck_assert_int_eq(rig.kills, 1);
        state(SWAP_STARTING);
        ready();
        loaded();
        configured();
        ck_assert_int_eq(rig.done.outcome, SWAP_OK);
        ck_assert(rig.done.process);
        close_rig();
    }
}
END_TEST

START_TEST(progress_is_a_sign_of_life) {
    seat_a();
    to_unloading();
    unloaded(10 * MB, 0);
    for (uint32_t i = 1; i < 10; i++) {
        later(9 * NS_PER_S);
        say((struct msg){.type = MSG_TYPE_PROGRESS, .progress = {.op = rig.last_op, .permille = i * 100}});
    }
    ck_assert_int_eq(rig.kills, 0);
    later(10 * NS_PER_S);
    ck_assert_int_eq(rig.kills, 1);
    close_rig();
}
END_TEST

START_TEST(blocks_being_written_are_a_sign_of_life) {
    seat_a();
    begin(rig.b);
    for (uint64_t i = 1; i < 5; i++) {
        later(4 * NS_PER_S);
        say((struct msg){.type = MSG_TYPE_STATS, .stats = {.blocks_written = i}});
    }
    ck_assert_int_eq(rig.kills, 0);
    evicted();
    state(SWAP_UNLOADING);
    close_rig();
}
END_TEST

START_TEST(seat_that_dies_while_serving_comes_back_with_its_model) {
    seat_a();
    died();
    state(SWAP_STARTING);
    ck_assert(swap_busy(&rig.swap));
    ready();
    ck_assert_str_eq(rig.last_model, "a");
    loaded();
    configured();
    ck_assert_ptr_eq(rig.swap.seated, rig.a);
    ck_assert_int_eq(rig.done.cause, SWAP_CAUSE_RECOVER);
    ck_assert_ptr_null(swap_history_at(&rig.swap, 0));
    close_rig();
}
END_TEST

START_TEST(crash_loop_backs_off) {
    seat_a();
    int64_t waits[6];
    for (int i = 0; i < 6; i++) {
        died();
        waits[i] = swap_deadline_ns(&rig.swap) > rig.now && rig.starts == i + 1
                       ? swap_deadline_ns(&rig.swap) - rig.now
                       : 0;
        later(waits[i]);
        ck_assert_int_eq(rig.starts, i + 2);
        ready();
        loaded();
        configured();
    }
    ck_assert_int_eq(waits[0], 0);
    ck_assert_int_eq(waits[1], SWAP_BACKOFF_MIN_NS);
    ck_assert_int_eq(waits[5], SWAP_BACKOFF_MIN_NS << 4);
    rig.now += 2 * SWAP_CALM_NS;
    died();
    ck_assert_int_eq(rig.starts, 8); /* at once again */
    close_rig();
}
END_TEST

START_TEST(program_that_never_gets_ready) {
    open_rig();
    swap_start(&rig.swap, rig.now);
    begin(rig.a);
    for (int i = 0; i < SWAP_START_TRIES; i++) {
        ck_assert_int_eq(rig.ended, 0);
        died();
        later(SWAP_BACKOFF_MIN_NS << 4); /* longer than these backoffs, shorter than a start may take */
    }
    ck_assert_int_eq(rig.done.outcome, SWAP_GAVE_UP);
    ck_assert_int_eq(rig.done.err, ERR_NO_SEAT);
    state(SWAP_FAILED);
    ck_assert_int_eq(rig.a->state, MODEL_AVAILABLE);
    ready(); /* at last */
    state(SWAP_EMPTY);
    begin(rig.a);
    loaded();
    configured();
    state(SWAP_SERVING);
    close_rig();
}
END_TEST

START_TEST(stale_answers_are_nothing) {
    seat_a();
    begin(rig.b);
    rig.last_op--;
    evicted();
    state(SWAP_EVICTING);
    rig.last_op += 7;
    unloaded(0, 0);
    loaded();
    configured();
    failed(ERR_IO, "x");
    state(SWAP_EVICTING);
    close_rig();
}
END_TEST

START_TEST(history_keeps_the_last) {
    seat_a();
    for (int i = 0; i < SWAP_HISTORY + 5; i++) {
        begin(rig.swap.seated == rig.a ? rig.b : rig.a);
        evicted();
        unloaded(10 * MB, 0);
        loaded();
        configured();
    }
    ck_assert_uint_eq(swap_history_at(&rig.swap, 0)->id, SWAP_HISTORY + 6);
    ck_assert_uint_eq(swap_history_at(&rig.swap, SWAP_HISTORY - 1)->id, 7);
    ck_assert_ptr_null(swap_history_at(&rig.swap, SWAP_HISTORY));
    close_rig();
}
END_TEST

static void begin_twice(void) {
    begin(rig.b), begin(rig.b);
}

START_TEST(two_at_once_is_a_bug) {
    seat_a();
    ck_assert(check_aborts(begin_twice));
    close_rig();
}
END_TEST

int main(void) {
    const TTest *const tests[] = {hot_swap,
                                  deadline_parks_or_cancels,
                                  offload_and_fill,
                                  memory_that_does_not_come_back,
                                  failed_load_rolls_back,
                                  failed_context_unloads_before_the_way_back,
                                  no_way_back_is_failed_and_then_filled_again,
                                  first_load_that_fails_leaves_a_living_server,
                                  memory_gone_between_unload_and_load,
                                  death_at_each_step,
                                  model_that_kills_two_seats_is_not_tried_again,
                                  hangs_end_the_process,
                                  progress_is_a_sign_of_life,
                                  blocks_being_written_are_a_sign_of_life,
                                  seat_that_dies_while_serving_comes_back_with_its_model,
                                  crash_loop_backs_off,
                                  program_that_never_gets_ready,
                                  stale_answers_are_nothing,
                                  history_keeps_the_last,
                                  two_at_once_is_a_bug};
    return CHECK_RUN("swap", tests);
}
