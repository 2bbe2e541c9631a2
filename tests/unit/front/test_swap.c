/* The swap's machine, driven by a script: what it sends, and what it does when an answer, a death or nothing comes. */
#include "front/swap.h"

#include <stdio.h>
#include <string.h>

#include "../check_run.h"
#include "../gguf_tiny.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "tmp_folder.h"

#define MB (UINT64_C(1) << 20)

static struct rig {
    char folder[64];
    struct config *config;
    struct scan *scan;
    struct registry *registry;
    struct swap swap;
    struct model *a, *b;
    int64_t now;
    uint32_t running;
    int starts, kills, cancels, ended, sent;
    enum msg_type last;
    uint64_t last_op;
    char last_model[64];
    bool no_room;
    uint32_t percent;
    int backwards; /* times the percentage fell */
    struct swap_record done;
} rig;

static void op_send(void *ctx, const struct msg *m) {
    (void)ctx;
    rig.sent++;
    rig.last = m->type;
    rig.last_op = rig.swap.op;
    if (m->type == MSG_TYPE_LOAD) snprintf(rig.last_model, sizeof rig.last_model, "%s", m->load.model);
}
static void op_kill(void *ctx, const char *why) {
    (void)ctx;
    ck_assert_uint_gt(strlen(why), 0);
    rig.kills++;
}
static void op_start(void *ctx) {
    (void)ctx;
    rig.starts++;
}
static uint32_t op_running(void *ctx) {
    (void)ctx;
    return rig.running;
}
static void op_cancel(void *ctx) {
    (void)ctx;
    rig.cancels++;
}
static enum err op_plan(void *ctx, const struct model *m, struct admission *ret, char *why, size_t why_size) {
    (void)ctx;
    (void)m;
    *ret = (struct admission){.pool_bytes = 64 * MB};
    snprintf(why, why_size, "no room");
    return rig.no_room ? ERR_NO_SEAT : ERR_OK;
}
static void op_changed(void *ctx) {
    (void)ctx;
    uint32_t percent = swap_percent(&rig.swap);
    if (percent < rig.percent) rig.backwards++;
    rig.percent = percent;
}
static void op_ended(void *ctx, const struct swap_record *r) {
    (void)ctx;
    rig.ended++;
    rig.done = *r;
}
static void model_changed(void *ctx, struct model *m, enum model_state from) {
    (void)ctx;
    (void)m;
    (void)from;
}
static bool in_use(const void *ctx, const struct model *m) {
    (void)ctx;
    (void)m;
    return true;
}

static const struct swap_ops OPS = {NULL,      op_send, op_kill,    op_start, op_running,
                                    op_cancel, op_plan, op_changed, op_ended};

static void open_rig(void) {
    char path[128], a[160], why[256];
    bool help;
    rig = (struct rig){.folder = "/tmp/hotseat-swap-XXXXXX", .now = NS_PER_S};
    log_open(LOG_ERROR, "test");
    log_set_level(LOG_ERROR);
    ck_assert_ptr_nonnull(mkdtemp(rig.folder));
    for (char c = 'a'; c <= 'b'; c++) {
        snprintf(path, sizeof path, "%s/%c.gguf", rig.folder, c);
        ck_assert(gguf_tiny_write(path, &(struct gguf_tiny){.seed = (uint8_t)c}));
    }
    snprintf(a, sizeof a, "--models=%s", rig.folder);
    char *argv[] = {a};
    ck_assert_msg(config_load(1, argv, &rig.config, &help, why, sizeof why) == ERR_OK, "%s", why);
    ck_assert_int_eq(scan_open(rig.config, &rig.scan), ERR_OK);
    ck_assert_int_eq(registry_open(rig.config, model_changed, NULL, &rig.registry), ERR_OK);
    struct scan_result *found;
    ck_assert_int_eq(scan_run(rig.scan, &found), ERR_OK);
    ck_assert_int_eq(registry_apply(rig.registry, found, in_use, NULL), ERR_OK);
    scan_result_free(found);
    rig.a = registry_find(rig.registry, "a");
    rig.b = registry_find(rig.registry, "b");
    rig.a->measure = rig.b->measure =
        (struct admission_measure){.known = true, .weights_bytes = 100 * MB, .base_bytes_per_token = 1024};
    struct swap_settings settings = {
        .load_timeout_ns = 10 * NS_PER_S, .step_timeout_ns = 5 * NS_PER_S, .parallel = 4};
    swap_init(&rig.swap, &OPS, rig.registry, &settings);
}

static void close_rig(void) {
    swap_clear(&rig.swap);
    registry_free(rig.registry);
    scan_free(rig.scan);
    config_free(rig.config);
    tmp_folder_remove(rig.folder);
    ck_assert_int_eq(mem_live_count(), 0);
}

/* ---- the seat's part ---- */

static void say(struct msg m) {
    rig.now += NS_PER_MS;
    swap_on_msg(&rig.swap, &m, rig.now);
}
static void ready(void) {
    say((struct msg){.type = MSG_TYPE_READY});
}
static void evicted(void) {
    say((struct msg){.type = MSG_TYPE_EVICTED, .evicted = {.op = rig.last_op, .blocks = 3, .bytes = 300}});
}
static void unloaded(uint64_t after, uint32_t mappings) {
    say((struct msg){.type = MSG_TYPE_UNLOADED,
                     .unloaded = {.op = rig.last_op,
                                  .before_bytes = 500 * MB,
                                  .after_bytes = after,
                                  .baseline_bytes = 10 * MB,
                                  .mappings = mappings}});
}
static void loaded(void) {
    say((struct msg){.type = MSG_TYPE_LOADED, .loaded = {.op = rig.last_op, .weights_bytes = 100 * MB}});
}
static void configured(void) {
    say((struct msg){
        .type = MSG_TYPE_CONFIGURED,
        .configured = {.op = rig.last_op, .pool_bytes = 64 * MB, .n_cells = 1024, .memory_bytes = 70 * MB}});
}
static void failed(enum err err, const char *text) {
    char copy[64];
    snprintf(copy, sizeof copy, "%s", text);
    say((struct msg){.type = MSG_TYPE_OP_FAILED, .op_failed = {.op = rig.last_op, .err = err, .text = copy}});
}
static void died(void) {
    rig.now += NS_PER_MS;
    swap_on_death(&rig.swap, "signal 9", rig.now);
}
static void later(int64_t ns) {
    rig.now += ns;
    swap_tick(&rig.swap, rig.now);
}
static uint64_t begin(struct model *to) {
    struct swap_order order = {
        .to = to, .cause = SWAP_CAUSE_ADMIN, .drain_timeout_ns = 2 * NS_PER_S, .hold_ns = 3 * NS_PER_S};
    return swap_begin(&rig.swap, &order, rig.now);
}

static void state(enum swap_state expect) {
    ck_assert_msg(rig.swap.state == expect, "%s, not %s", swap_state_name(rig.swap.state),
                  swap_state_name(expect));
}
static void asked(enum msg_type expect) {
    ck_assert_msg(rig.last == expect, "%s, not %s", msg_type_name(rig.last), msg_type_name(expect));
    rig.last = MSG_NONE;
}

static void seat_a(void) {
    open_rig();
    swap_start(&rig.swap, rig.now);
    ck_assert_int_eq(rig.starts, 1);
    struct swap_order order = {.to = rig.a, .cause = SWAP_CAUSE_START};
    ck_assert_uint_eq(swap_begin(&rig.swap, &order, rig.now), 1);
    ck_assert_int_eq(rig.starts, 1); /* that process will do */
    state(SWAP_STARTING);
    ready();
    state(SWAP_LOADING);
    loaded();
    configured();
    state(SWAP_SERVING);
    ck_assert_ptr_eq(rig.swap.seated, rig.a);
    ck_assert_int_eq(rig.a->state, MODEL_SEATED);
    rig.ended = rig.sent = 0;
}

static void to_unloading(void) {
    begin(rig.b);
    asked(MSG_TYPE_EVICT);
    evicted();
    asked(MSG_TYPE_UNLOAD);
    state(SWAP_UNLOADING);
}

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
    loaded();
    state(SWAP_ROLLING_BACK);
    configured();
    state(SWAP_SERVING);
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
    registry_set_state(rig.registry, rig.b, MODEL_AVAILABLE, NULL);
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
    state(SWAP_FAILED);
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

/* The disk is looked at while a swap is under way, so its target may be in any state when its load is due. */
static void expect_load(struct model *m, enum model_state found, enum swap_state without) {
    bool can = found != MODEL_GONE && found != MODEL_INVALID;
    if (!can) {
        state(without);
        ck_assert_int_eq(m->state, found);
        return;
    }
    asked(MSG_TYPE_LOAD);
    ck_assert_str_eq(rig.last_model, m->id);
    loaded();
    configured();
    state(SWAP_SERVING);
    ck_assert_ptr_eq(rig.swap.seated, m);
}

START_TEST(every_state_a_model_may_be_found_in) {
    for (int found = MODEL_AVAILABLE; found <= MODEL_INVALID; found++) {
        seat_a();
        to_unloading();
        rig.b->state = (enum model_state)found;
        unloaded(10 * MB, 0);
        expect_load(rig.b, (enum model_state)found, SWAP_ROLLING_BACK);
        close_rig();
    }
    for (int found = MODEL_AVAILABLE; found <= MODEL_INVALID; found++) {
        seat_a();
        to_unloading();
        unloaded(10 * MB, 0);
        rig.a->state = (enum model_state)found;
        failed(ERR_MODEL_INVALID, "b is bad");
        expect_load(rig.a, (enum model_state)found, SWAP_FAILED);
        ck_assert_int_eq(rig.kills, 0); /* no other process would find the file */
        ck_assert_str_eq(rig.done.reason, "b is bad");
        close_rig();
    }
    for (int found = MODEL_AVAILABLE; found <= MODEL_INVALID; found++) {
        seat_a();
        died();
        rig.a->state = (enum model_state)found;
        ready();
        expect_load(rig.a, (enum model_state)found, SWAP_FAILED);
        ck_assert_int_eq(rig.kills, 0);
        close_rig();
    }
}
END_TEST

START_TEST(model_that_sat_returns_though_it_was_not_measured_again) {
    seat_a();
    rig.no_room = true; /* what plan says of a file that was touched, too */
    died();
    ready();
    state(SWAP_LOADING);
    loaded();
    configured();
    ck_assert_ptr_eq(rig.swap.seated, rig.a);
    close_rig();
}
END_TEST

START_TEST(hold_outlives_the_seat) {
    seat_a();
    to_unloading();
    unloaded(10 * MB, 0);
    loaded();
    configured();
    int64_t until_ns = rig.swap.hold_until_ns;
    ck_assert_int_gt(until_ns, rig.now);
    died();
    ready();
    loaded();
    configured();
    ck_assert_int_eq(rig.swap.hold_until_ns, until_ns);
    close_rig();
}
END_TEST

START_TEST(empty_server_whose_seat_comes_up_at_last) {
    open_rig();
    swap_start(&rig.swap, rig.now);
    for (int i = 0; i < SWAP_START_TRIES; i++) {
        died();
        later(SWAP_BACKOFF_MIN_NS << 4);
    }
    state(SWAP_FAILED);
    ready();
    state(SWAP_EMPTY); /* nobody had asked for a model: nothing has failed any more */
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
                                  every_state_a_model_may_be_found_in,
                                  model_that_sat_returns_though_it_was_not_measured_again,
                                  hold_outlives_the_seat,
                                  empty_server_whose_seat_comes_up_at_last,
                                  history_keeps_the_last,
                                  two_at_once_is_a_bug};
    return CHECK_RUN("swap", tests);
}
