/* validate.c - before a swap: can this model be loaded now? Known and readable says the scan; what it takes says a measuring
 * seat, a short-lived process that may die of a bad file; whether that fits says admission. All before anything is
 * unloaded, so that a swap that can't succeed costs the seated model nothing. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "front/front_impl.h"

#define RETRY_MEMORY_S 10
#define SHARED_LIMIT_NS (15 * NS_PER_S) /* for an answer, once another model waits to be measured */
#define END_LIMIT_NS NS_PER_S           /* from its closed socket to its status */

/* ---- does it fit ---- */

static struct admission_limits limits_of(const struct front *f, const struct model *m) {
    uint64_t back =
        f->stats.memory_bytes > f->seat_baseline_bytes ? f->stats.memory_bytes - f->seat_baseline_bytes : 0;
    return measure_limits(f->config, m, back);
}

enum err validate_plan(struct front *f, const struct model *m, struct admission *ret, char *why,
                       size_t why_size) {
    struct admission_limits limits = limits_of(f, m);
    *ret = (struct admission){0};
    if (!m->measure.known) {
        snprintf(why, why_size, "its file has changed and was not measured yet");
        return ERR_NO_SEAT;
    }
    return measure_admit(m, &m->measure, &limits, ret, why, why_size);
}

static enum verdict refuse(struct refusal *why, enum err err, uint32_t retry_s, const char *text) {
    why->err = err;
    why->retry_after_s = retry_s;
    snprintf(why->text, sizeof why->text, "%s", text);
    return VERDICT_NO;
}

enum verdict validate_model(struct front *f, struct model *m, struct refusal *why) {
    char text[512];
    *why = (struct refusal){0};
    if (m->state == MODEL_SEATED || m->state == MODEL_LOADING) return VERDICT_OK;
    if (m->state == MODEL_GONE)
        return refuse(why, ERR_MODEL_UNKNOWN, 0, m->reason ? m->reason : "its file is gone");
    if (m->state == MODEL_INVALID) {
        snprintf(text, sizeof text, "%s can't be loaded: %s", m->id,
                 m->reason ? m->reason : err_text(ERR_MODEL_INVALID));
        return refuse(why, ERR_MODEL_INVALID, 0, text);
    }
    if (registry_cooling(f->registry, m, f->now_ns)) {
        snprintf(text, sizeof text, "%s failed to load: %s", m->id, m->reason ? m->reason : "unknown");
        return refuse(why, ERR_MODEL_COOLDOWN, retry_when_cool_s(f, m), text);
    }
    if (!m->measure.known) {
        if (!m->measure_wanted) f->schedule = true; /* it begins in the next round */
        m->measure_wanted = true;
        return VERDICT_PENDING;
    }
    struct admission plan;
    enum err err = validate_plan(f, m, &plan, text, sizeof text);
    if (!err) return VERDICT_OK;
    why->details =
        mem_printf("\"needed_bytes\":%llu,\"available_bytes\":%llu", (unsigned long long)plan.needed_bytes,
                   (unsigned long long)plan.available_bytes);
    return refuse(why, err, err == ERR_NO_SEAT ? RETRY_MEMORY_S : 0, text);
}

/* ---- the measuring seat ---- */

static void measure_ask(struct front *f) {
    struct measuring *g = &f->measuring;
    g->op = seat_next_op(f);
    g->asked_ns = f->now_ns;
    struct msg m = measure_question(f->config, g->model, g->op, g->size);
    enum err err = channel_send(seat_process_channel(g->process), &m);
    if (!err) err = channel_flush(seat_process_channel(g->process));
    if (err) log_warn("measure.send", "err=%s", err_name(err)); /* its end follows */
}

static void measure_end(struct front *f) {
    struct measuring *g = &f->measuring;
    seat_process_kill(g->process); /* it has said all it had to, or never will */
    g->model->measure_wanted = false;
    *g = (struct measuring){0};
    f->schedule = true;
}

/* What a look that came to nothing says of its file. */
enum blame {
    BLAME_NOBODY, /* whoever waits may ask again */
    BLAME_HUNG,   /* the engine in it, or its disk: another try when it has cooled down */
    BLAME_FILE    /* until there is another one */
};

static void measure_failed(struct front *f, enum blame blame, const char *reason) {
    static const enum err ERRS[] = {ERR_NO_SEAT, ERR_MODEL_COOLDOWN, ERR_MODEL_INVALID};
    struct model *m = f->measuring.model;
    struct seat_process *p = f->measuring.process;
    bool same_file = file_identity_equal(&m->identity, &f->measuring.identity);
    log_warn("measure.failed", "model=%s blame=%d reason=%s", log_q(m->id), blame, log_q(reason));
    metrics_add(f->metrics, METRIC_MEASURE_FAILURES, 1);
    measure_end(f);
    seat_leave(f, p);
    if (!same_file) { /* another file meanwhile: another look */
        m->measure_wanted = m->waiting.count > 0;
        return;
    }
    bool idle = m->state == MODEL_AVAILABLE || m->state == MODEL_FAILED;
    if (m->state == MODEL_LOADING || m->state == MODEL_SEATED) return; /* that says more */
    uint32_t retry_s = blame == BLAME_FILE ? 0 : RETRY_SHORT_S;
    if (blame == BLAME_FILE && idle) registry_condemn(f->registry, m, reason);
    if (blame == BLAME_HUNG && m->state == MODEL_AVAILABLE) {
        registry_fail(f->registry, m, f->now_ns, reason);
        retry_s = retry_when_cool_s(f, m);
    }
    dispatch_fail_queue(f, m, ERRS[blame], retry_s, NULL, reason);
    turn_measure_failed(f, m, ERRS[blame], reason);
}

static void measure_done(struct front *f, const struct msg_measured *got) {
    struct measuring *g = &f->measuring;
    struct model *m = g->model;
    struct admission_measure measure = measure_answer(got, g->size, &g->first);
    struct admission_limits limits = limits_of(f, m);
    if (!g->first.known && measure_again(&measure, &limits, &g->size)) {
        g->first = measure;
        measure_ask(f);
        return;
    }
    log_info("measure.done",
             "model=%s weights=%llu compute=%llu heap=%llu cells=%u sequences=%u bytes_per_token=%llu "
             "window_bytes=%llu",
             log_q(m->id), (unsigned long long)measure.weights_bytes,
             (unsigned long long)measure.compute_bytes, (unsigned long long)measure.heap_bytes,
             measure.n_cells, measure.n_seqs, (unsigned long long)measure.base_bytes_per_token,
             (unsigned long long)measure.window_bytes_per_seq);
    metrics_add(f->metrics, METRIC_MEASURES, 1);
    struct seat_process *p = g->process;
    if (file_identity_equal(&m->identity, &g->identity)) m->measure = measure;
    measure_end(f);
    seat_leave(f, p);
    struct refusal no;
    if (validate_model(f, m, &no) == VERDICT_NO)
        dispatch_fail_queue(f, m, no.err, no.retry_after_s, no.details, no.text);
    mem_free(no.details);
}

void validate_measured(struct front *f) {
    struct measuring *g = &f->measuring;
    while (g->process && !g->closed) {
        struct msg m = {0};
        enum err err = channel_receive(seat_process_channel(g->process), &m);
        if (err == ERR_NOMEM || (!err && m.type == MSG_NONE)) return;
        if (err) { /* measure_ended() follows */
            g->closed = true;
            f->leaving_since_ns = f->now_ns;
            g->deadline_ns = f->now_ns + END_LIMIT_NS;
            return;
        }
        if (m.type == MSG_TYPE_READY) g->greeted = true;
        if (m.type == MSG_TYPE_MEASURED && m.measured.op == g->op) {
            measure_done(f, &m.measured);
        } else if (m.type == MSG_TYPE_OP_FAILED && m.op_failed.op == g->op) {
            measure_failed(f, measure_blames(&m.op_failed) ? BLAME_FILE : BLAME_NOBODY,
                           m.op_failed.text && *m.op_failed.text ? m.op_failed.text
                                                                 : err_text(ERR_MODEL_INVALID));
        }
        msg_free(&m);
    }
}

static void measure_begin(struct front *f, struct model *m, bool again) {
    struct measuring *g = &f->measuring;
    enum err err = seat_process_start(f->seat_program, true, &g->process);
    if (err) {
        log_error("measure.start", "err=%s", err_name(err));
        m->measure_wanted = false;
        dispatch_fail_queue(f, m, ERR_NO_SEAT, RETRY_SHORT_S, NULL, "no measuring seat can be started");
        turn_measure_failed(f, m, ERR_NO_SEAT, "no measuring seat can be started");
        return;
    }
    g->model = m;
    g->again = again;
    g->identity = m->identity;
    g->deadline_ns = f->now_ns + f->swap.settings.load_timeout_ns;
    struct msg hello = measure_hello(f->settings.log_level);
    err = channel_send(seat_process_channel(g->process), &hello);
    if (err) log_warn("measure.send", "err=%s", err_name(err));
    g->size = measure_size_first(f->config);
    measure_ask(f);
}

/* An engine that ends by itself dies of the file; one that is killed (for memory, by a person) says nothing about it. */
static void measure_ended(struct front *f) {
    struct measuring *g = &f->measuring;
    struct model *m = g->model;
    struct seat_process *p = g->process;
    if (!seat_process_was_killed(p)) {
        measure_failed(f, g->greeted ? BLAME_FILE : BLAME_NOBODY,
                       g->greeted ? "the engine ended while it looked at the file"
                                  : "the measuring seat did not start");
    } else if (g->again) {
        measure_failed(f, BLAME_NOBODY, "the measuring seat was killed twice");
    } else {
        log_warn("measure.killed", "model=%s", log_q(m->id));
        measure_end(f);
        seat_leave(f, p);
        measure_begin(f, m, true);
    }
}

static bool another_waits(const struct front *f) {
    for (uint32_t i = 0; i < registry_count(f->registry); i++) {
        const struct model *m = registry_at(f->registry, i);
        if (m == f->measuring.model) continue;
        bool behind_a_swap =
            f->swap_waits.count && m->waiting.count && m != f->swap.seated; /* turns wait for it */
        if (m->measure_wanted || behind_a_swap) return true;
    }
    return false;
}

/* There is one measuring seat: a file whose disk does not answer must not keep the others from it for as long as a load may take. */
static bool measure_hangs(const struct front *f) {
    const struct measuring *g = &f->measuring;
    bool silent = !g->closed && f->now_ns - g->asked_ns >= SHARED_LIMIT_NS;
    return f->now_ns >= g->deadline_ns || (silent && another_waits(f));
}

void validate_tick(struct front *f) {
    struct measuring *g = &f->measuring;
    if (g->process && g->closed && seat_process_reap(g->process, f->now_ns))
        measure_ended(f);
    else if (g->process && measure_hangs(f))
        measure_failed(f, g->greeted ? BLAME_HUNG : BLAME_NOBODY,
                       "the engine or the disk hung while it looked at the file");
    for (uint32_t i = 0; i < registry_count(f->registry) && !g->process && !f->stop; i++) {
        struct model *m = registry_at(f->registry, i);
        if (!m->measure_wanted) continue;
        if (m->measure.known || m->state == MODEL_GONE || m->state == MODEL_INVALID)
            m->measure_wanted = false;
        else
            measure_begin(f, m, false);
    }
}

void validate_abort(struct front *f) {
    if (!f->measuring.process) return;
    struct seat_process *p = f->measuring.process;
    measure_end(f);
    seat_leave(f, p);
}
