/* stop.c - SIGTERM: nothing new is taken, streams run on until the drain's deadline and are then parked, everything is saved,
 * the seat ends by itself. Parked streams are told to come back: their agents' caches are on disk.
 *   NO -> DRAIN -> PARK (deadline) -> SAVE -> EXIT -> DONE      without a seat: -> DONE */
#include "base/clock.h"
#include "base/log.h"
#include "front/front_impl.h"

#define STOP_SAVE_LIMIT_NS                                                                                   \
    (10 * NS_PER_S) /* without a sign that blocks are being written, or --step-timeout */
#define STOP_EXIT_LIMIT_NS (5 * NS_PER_S)

static void step(struct front *f, enum stop_step to, int64_t limit_ns) {
    log_info("stop", "step=%d running=%zu", (int)to, f->running.count);
    f->stop = to;
    f->stop_deadline_ns = f->now_ns + limit_ns;
}

static int64_t save_limit_ns(const struct front *f) {
    int64_t step_ns = f->swap.settings.step_timeout_ns;
    return step_ns < STOP_SAVE_LIMIT_NS ? step_ns : STOP_SAVE_LIMIT_NS;
}

static void fail_waiting(struct front *f) {
    for (uint32_t i = 0; i < registry_count(f->registry); i++)
        dispatch_fail_queue(f, registry_at(f->registry, i), ERR_STOPPING, RETRY_SHORT_S, NULL,
                            err_text(ERR_STOPPING));
}

void stop_begin(struct front *f) {
    if (f->stop) return;
    validate_abort(f);
    weights_ahead_end(f->ahead);
    step(f, STOP_DRAIN, f->settings.drain_timeout_ns);
    fail_waiting(f);
    turn_fail_waits(f, ERR_STOPPING, err_text(ERR_STOPPING));
    query_fail_all(f, ERR_STOPPING);
    f->start_wanted = false;
    stop_tick(f);
}

static void save(struct front *f) {
    if (!f->seat) {
        step(f, STOP_DONE, 0);
        return;
    }
    if (!f->seat_greeted) { /* it has opened no store yet */
        seat_leave(f, f->seat);
        seat_process_kill(f->seat);
        f->seat = NULL;
        step(f, STOP_DONE, 0);
        return;
    }
    struct msg m = {.type = MSG_TYPE_STOP, .stop.op = f->stop_op = seat_next_op(f)};
    step(f, STOP_SAVE, save_limit_ns(f));
    (void)seat_send(f, &m);
}

static void park(struct front *f) {
    struct msg m = {.type = MSG_TYPE_PARK, .park.op = f->stop_op = seat_next_op(f)};
    step(f, STOP_PARK, save_limit_ns(f));
    (void)seat_send(f, &m);
}

static void fail_running(struct front *f) {
    LIST_EACH(&f->running, struct stream, node, t) {
        stream_fail(f, t, ERR_STOPPING, RETRY_SHORT_S, NULL);
    }
}

void stop_seat_gone(struct front *f) {
    fail_waiting(f); /* those that ran went back to their queues */
    if (f->stop != STOP_EXIT)
        log_error("stop.seat", "text=%s", log_q("the seat ended before it had said that all is saved"));
    step(f, STOP_DONE, 0);
}

void stop_msg(struct front *f, const struct msg *m) {
    uint64_t mark = m->type == MSG_TYPE_STATS
                        ? m->stats.dirty_bytes + m->stats.blocks_written + m->stats.scan_steps
                        : f->stop_mark;
    if (mark != f->stop_mark && f->stop == STOP_SAVE)
        f->stop_deadline_ns = f->now_ns + save_limit_ns(f); /* a slow disk, but it writes */
    f->stop_mark = mark;
    if (m->type != MSG_TYPE_REPLY || m->reply.op != f->stop_op) return;
    if (f->stop == STOP_SAVE) step(f, STOP_EXIT, STOP_EXIT_LIMIT_NS);
}

void stop_tick(struct front *f) {
    bool late = f->now_ns >= f->stop_deadline_ns;
    switch (f->stop) {
    case STOP_NO:
    case STOP_DONE: return;
    case STOP_DRAIN:
        if (!f->running.count)
            save(f);
        else if (late)
            park(f);
        return;
    case STOP_PARK:
        if (late) fail_running(f);
        if (!f->running.count || late) save(f);
        return;
    case STOP_SAVE:
    case STOP_EXIT:
        if (!late) return;
        log_error("stop.late", "step=%d", (int)f->stop);
        seat_kill(f, "it did not end in time");
        stop_seat_gone(f);
        return;
    }
}
