#include "front/swap.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "front/swap_figures.h"

static const char *const STATE_NAMES[] = {"STARTING",  "EMPTY",   "SERVING",     "DRAINING",     "EVICTING",
                                          "UNLOADING", "LOADING", "CONFIGURING", "ROLLING_BACK", "FAILED"};
static const char *const STEP_NAMES[] = {"none", "drain", "evict", "unload", "start", "load", "configure"};
const char *swap_state_name(enum swap_state s) {
    return STATE_NAMES[s];
}
const char *swap_step_name(enum swap_step s) {
    return STEP_NAMES[s];
}

#define TO(s) (1u << SWAP_##s)
static const unsigned ALLOWED[SWAP_STATE_COUNT] = {
    [SWAP_STARTING] = TO(LOADING) | TO(EMPTY) | TO(ROLLING_BACK) | TO(FAILED),
    [SWAP_EMPTY] = TO(LOADING) | TO(STARTING) | TO(FAILED),
    [SWAP_SERVING] = TO(DRAINING) | TO(STARTING),
    [SWAP_DRAINING] = TO(EVICTING) | TO(SERVING) | TO(STARTING),
    [SWAP_EVICTING] = TO(UNLOADING) | TO(STARTING),
    [SWAP_UNLOADING] = TO(LOADING) | TO(EMPTY) | TO(STARTING) | TO(ROLLING_BACK),
    [SWAP_LOADING] = TO(CONFIGURING) | TO(STARTING) | TO(ROLLING_BACK) | TO(FAILED),
    [SWAP_CONFIGURING] = TO(SERVING) | TO(STARTING) | TO(ROLLING_BACK) | TO(FAILED),
    [SWAP_ROLLING_BACK] = TO(SERVING) | TO(FAILED),
    [SWAP_FAILED] = TO(LOADING) | TO(STARTING) | TO(EMPTY) | TO(ROLLING_BACK),
};

static void load_begin(struct swap *s, int64_t now_ns);
static void load_failed(struct swap *s, enum err err, const char *why, int64_t now_ns);

static void set_state(struct swap *s, enum swap_state to) {
    if (s->state == to) return;
    must(ALLOWED[s->state] & (1u << to));
    log_info("swap.state", "from=%s to=%s model=%s", STATE_NAMES[s->state], STATE_NAMES[to],
             s->record.id ? log_q(s->record.to) : "-");
    s->state = to;
    s->no_process = false;
}

/* The time of the step that ends here goes into the record. */
static void step_set(struct swap *s, enum swap_step step, int64_t limit_ns, int64_t now_ns) {
    if (s->record.id && s->step != STEP_NONE) s->record.step_ns[s->step] += now_ns - s->step_since_ns;
    s->step = step;
    s->step_since_ns = now_ns;
    s->step_deadline_ns = limit_ns ? now_ns + limit_ns : INT64_MAX;
    s->permille = 0;
}

static void step_enter(struct swap *s, enum swap_step step, int64_t limit_ns, int64_t now_ns) {
    step_set(s, step, limit_ns, now_ns);
    s->ops->changed(s->ops->ctx);
}

/* While the old model comes back the state says so, whatever the step. */
static void state_of_step(struct swap *s, enum swap_state state) {
    set_state(s, s->rolling_back ? SWAP_ROLLING_BACK : state);
}

static struct model *target_of(const struct swap *s) {
    return s->rolling_back ? s->from : s->to;
}

static void send_op(struct swap *s, struct msg *m, uint64_t *op_field) {
    *op_field = s->op = ++s->last_op;
    s->ops->send(s->ops->ctx, m);
}

/* ---- the end of an operation ---- */

/* Nobody is told before the record is closed: it would look like an operation at its very beginning. */
static void finish(struct swap *s, enum swap_outcome outcome, int64_t now_ns) {
    step_set(s, STEP_NONE, 0, now_ns);
    struct swap_record *r = &s->record;
    if (!r->id) return; /* a seat that came back to an empty place */
    r->outcome = outcome;
    r->ended_ns = now_ns;
    if (outcome == SWAP_OK && s->to) swap_cost_learn(s);
    if (r->cause == SWAP_CAUSE_ADMIN || r->cause == SWAP_CAUSE_TURN)
        s->history[s->n_history++ % SWAP_HISTORY] = *r;
    if (outcome == SWAP_OK && s->hold_ns) s->hold_until_ns = now_ns + s->hold_ns;
    if (s->to && s->to->swap_goes_on) {
        s->to->swap_goes_on = false;
        s->to->cooldown_until_ns = now_ns + s->to->cooldown_ns;
    }
    struct swap_record done = *r;
    *r = (struct swap_record){0};
    s->from = s->to = NULL;
    s->rolling_back = s->draining_by_force = false;
    log_info("swap.done", "id=%llu swap_from=%s swap_to=%s ok=%d kind=%s ms=%lld reason=%s",
             (unsigned long long)done.id, log_q(done.from), log_q(done.to), outcome == SWAP_OK,
             done.process ? "process" : "hot", (long long)((now_ns - done.started_ns) / NS_PER_MS),
             log_q(done.reason));
    s->ops->ended(s->ops->ctx, &done);
    s->ops->changed(s->ops->ctx);
}

static int64_t backoff_ns(const struct swap *s) {
    if (s->starts_failed < 2) return 0;
    uint32_t doublings = s->starts_failed - 2 > 10 ? 10 : s->starts_failed - 2;
    int64_t ns = SWAP_BACKOFF_MIN_NS << doublings;
    return ns > SWAP_BACKOFF_MAX_NS ? SWAP_BACKOFF_MAX_NS : ns;
}

static void start_if_due(struct swap *s, int64_t now_ns) {
    if (s->step != STEP_START || s->start_asked || now_ns < s->start_at_ns) return;
    s->start_asked = true;
    s->step_deadline_ns = now_ns + SWAP_START_LIMIT_NS;
    s->ops->start(s->ops->ctx);
}

static void start_begin(struct swap *s, int64_t now_ns) {
    s->alive = s->loaded = s->start_asked = false;
    s->start_at_ns = now_ns + backoff_ns(s);
    if (s->state != SWAP_FAILED || s->record.id) state_of_step(s, SWAP_STARTING);
    step_enter(s, STEP_START, 0, now_ns);
    start_if_due(s, now_ns);
}

static void give_up(struct swap *s, int64_t now_ns) {
    bool restart = s->loaded || !s->alive;
    if (s->loaded && s->alive) s->ops->kill(s->ops->ctx, "half-made model");
    set_state(s, SWAP_FAILED);
    finish(s, SWAP_GAVE_UP, now_ns);
    if (restart) start_begin(s, now_ns); /* the store wants an owner also while nothing can be seated */
    s->ops->changed(s->ops->ctx);
}

/* ---- leaving the seat ---- */

static void model_left(struct swap *s, int64_t now_ns) {
    struct model *m = s->seated;
    s->seated = NULL;
    if (!m) return;
    m->left_seat_ns = now_ns;
    s->last_seated = m;
    registry_set_state(s->registry, m, m->file_gone ? MODEL_GONE : MODEL_AVAILABLE,
                       m->file_gone ? "its file is gone" : NULL);
}

static void unload_begin(struct swap *s, int64_t now_ns) {
    state_of_step(s, SWAP_UNLOADING);
    step_enter(s, STEP_UNLOAD, s->settings.step_timeout_ns, now_ns);
    struct msg m = {.type = MSG_TYPE_UNLOAD};
    send_op(s, &m, &m.unload.op);
}

static void evict_begin(struct swap *s, int64_t now_ns) {
    set_state(s, SWAP_EVICTING);
    step_enter(s, STEP_EVICT, s->settings.step_timeout_ns, now_ns);
    struct msg m = {.type = MSG_TYPE_EVICT};
    send_op(s, &m, &m.evict.op);
}

void swap_on_drained(struct swap *s, int64_t now_ns) {
    if (s->step == STEP_DRAIN && !s->ops->running(s->ops->ctx)) evict_begin(s, now_ns);
}

/* The deadline of the drain: by choice the streams end, else they are parked and go on when their model returns. */
static void drain_by_force(struct swap *s, int64_t now_ns) {
    s->draining_by_force = true;
    s->step_deadline_ns = now_ns + s->settings.step_timeout_ns;
    if (s->cancel_at_deadline) {
        s->ops->cancel_streams(s->ops->ctx);
        return;
    }
    struct msg m = {.type = MSG_TYPE_PARK};
    send_op(s, &m, &m.park.op);
}

/* A new process does the rest: the one that is there hangs, or keeps memory. */
static void process_level(struct swap *s, const char *why, int64_t now_ns) {
    s->record.process = true;
    s->ops->kill(s->ops->ctx, why);
    s->alive = s->loaded = false;
    if (s->seated) model_left(s, now_ns);
    start_begin(s, now_ns);
}

static void after_unload(struct swap *s, int64_t now_ns) {
    if (target_of(s))
        load_begin(s, now_ns);
    else {
        set_state(s, SWAP_EMPTY);
        finish(s, SWAP_OK, now_ns);
    }
}

static void on_unloaded(struct swap *s, const struct msg_unloaded *m, int64_t now_ns) {
    uint64_t slack = s->seated_cost_bytes / 100 * SWAP_LEAK_PERCENT;
    if (slack < SWAP_LEAK_BYTES) slack = SWAP_LEAK_BYTES;
    log_info("swap.unloaded", "before=%llu after=%llu baseline=%llu allowed=%llu mappings=%u",
             (unsigned long long)m->before_bytes, (unsigned long long)m->after_bytes,
             (unsigned long long)m->baseline_bytes, (unsigned long long)slack, m->mappings);
    if (!s->rolling_back) {
        s->record.memory_before_bytes = m->before_bytes;
        s->record.memory_unloaded_bytes = m->after_bytes;
        s->record.memory_after_bytes = m->after_bytes;
    }
    s->loaded = false;
    if (!s->rolling_back) model_left(s, now_ns);
    if (m->after_bytes <= m->baseline_bytes + slack && m->mappings == 0) {
        after_unload(s, now_ns);
        return;
    }
    log_warn("swap.not_returned", "after=%llu allowed=%llu mappings=%u", (unsigned long long)m->after_bytes,
             (unsigned long long)(m->baseline_bytes + slack), m->mappings);
    s->record.not_returned = true;
    process_level(s, "the unload did not give the memory back", now_ns);
}

/* ---- taking the seat ---- */

/* The memory is looked at again between unload and load: it may have changed since the swap was allowed. The model that sat
 * there is tried whatever the figures say, on the way back and after a death: it did fit. (Its file may have been touched or
 * its settings reloaded while it sat, and then there are no figures.) */
static bool plan_target(struct swap *s, int64_t now_ns) {
    struct admission plan = {0};
    char why[512] = "";
    enum err err = s->ops->plan(s->ops->ctx, target_of(s), &plan, why, sizeof why);
    s->pool_bytes = plan.pool_bytes;
    bool returns = s->rolling_back || s->record.cause == SWAP_CAUSE_RECOVER;
    if (err && returns && s->configured.pool_bytes) {
        s->pool_bytes = s->configured.pool_bytes;
        err = ERR_OK;
    }
    if (err) load_failed(s, err, why, now_ns);
    return !err;
}

static void load_begin(struct swap *s, int64_t now_ns) {
    struct model *m = target_of(s);
    if (m->state == MODEL_GONE ||
        m->state == MODEL_INVALID) { /* its file went or broke since the swap was allowed */
        load_failed(s, m->state == MODEL_GONE ? ERR_NOT_FOUND : ERR_MODEL_INVALID, m->reason, now_ns);
        return;
    }
    if (!plan_target(s, now_ns)) return;
    if (m->state != MODEL_LOADING) registry_set_state(s->registry, m, MODEL_LOADING, NULL);
    s->load_tries++;
    s->kv = m->kv;
    state_of_step(s, SWAP_LOADING);
    step_enter(s, STEP_LOAD, s->settings.load_timeout_ns, now_ns);
    static char kv_names[][8] = {[KV_F16] = "f16", [KV_Q8_0] = "q8_0", [KV_Q4_0] = "q4_0"};
    struct msg msg = {.type = MSG_TYPE_LOAD,
                      .load = {.model = m->id,
                               .path = m->path,
                               .kv = kv_names[m->kv],
                               .repack = m->repack,
                               .threads = s->settings.threads,
                               .template_family = m->template_family,
                               .template_source = {.data = (uint8_t *)m->template_source,
                                                   .size = (uint32_t)strlen(m->template_source)}}};
    send_op(s, &msg, &msg.load.op);
}

static void configure_begin(struct swap *s, const struct msg_loaded *loaded, int64_t now_ns) {
    struct model *m = target_of(s);
    s->loaded = true;
    s->seated_cost_bytes = m->measure.weights_bytes + m->measure.compute_bytes + s->pool_bytes;
    state_of_step(s, SWAP_CONFIGURING);
    int64_t hashing_s = (int64_t)(loaded->weights_bytes / SWAP_CONFIGURE_BYTES_PER_S);
    step_enter(s, STEP_CONFIGURE, s->settings.load_timeout_ns + hashing_s * NS_PER_S, now_ns);
    struct msg msg = {.type = MSG_TYPE_CONFIGURE,
                      .configure = {.pool_bytes = s->pool_bytes,
                                    .context = m->context,
                                    .parallel = s->settings.parallel,
                                    .pin = m->pin,
                                    .token_gap = s->settings.token_gap}};
    send_op(s, &msg, &msg.configure.op);
}

static void on_configured(struct swap *s, struct msg_configured *m, int64_t now_ns) {
    struct model *target = target_of(s);
    struct msg old = {.type = MSG_TYPE_CONFIGURED, .configured = s->configured};
    msg_free(&old);
    s->configured = *m;
    *m = (struct msg_configured){0}; /* its strings are ours */
    s->seated = s->last_seated = target;
    if (s->record.cause != SWAP_CAUSE_RECOVER) s->seated_since_ns = now_ns; /* else its sitting goes on */
    if (s->record.cause != SWAP_CAUSE_RECOVER && !s->rolling_back) s->hold_until_ns = 0;
    if (s->record.cause != SWAP_CAUSE_RECOVER) s->returned = s->rolling_back;
    s->record.memory_after_bytes = s->configured.memory_bytes;
    s->seated_cost_bytes = target->measure.weights_bytes + s->configured.compute_bytes +
                           target->measure.base_bytes_per_token * s->configured.n_cells +
                           target->measure.window_bytes_per_seq * s->configured.n_seqs;
    target->cooldown_ns = 0;
    registry_set_state(s->registry, target, MODEL_SEATED, NULL);
    set_state(s, SWAP_SERVING);
    finish(s, s->rolling_back ? SWAP_ROLLED_BACK : SWAP_OK, now_ns);
}

/* Only what went wrong in the model's own load makes it cool down, not a lack of memory that came meanwhile. */
static void target_failed(struct swap *s, enum err err, const char *why, int64_t now_ns) {
    struct model *m = target_of(s);
    if (m->state != MODEL_LOADING) return;
    bool memory = (err == ERR_MODEL_TOO_LARGE || err == ERR_NO_SEAT) && s->step != STEP_CONFIGURE;
    if (memory)
        registry_set_state(s->registry, m, MODEL_AVAILABLE, NULL);
    else
        registry_fail(s->registry, m, now_ns, why);
}

static void load_failed(struct swap *s, enum err err, const char *why, int64_t now_ns) {
    bool began = target_of(s)->state == MODEL_LOADING; /* else another process would not help */
    if (s->rolling_back && began && s->load_tries < SWAP_LOAD_TRIES) {
        process_level(s, "the way back failed", now_ns);
        return;
    }
    log_warn("swap.load_failed", "model=%s rolling_back=%d err=%s why=%s", log_q(target_of(s)->id),
             s->rolling_back, err_name(err), log_q(why));
    target_failed(s, err, why && *why ? why : err_text(err), now_ns);
    if (!s->rolling_back) {
        s->record.err = err;
        snprintf(s->record.reason, sizeof s->record.reason, "%s", why && *why ? why : err_text(err));
    }
    if (s->rolling_back || !s->from || s->from == s->to) {
        give_up(s, now_ns);
        return;
    }
    s->rolling_back = s->to->swap_goes_on = true;
    s->load_tries = 0;
    set_state(s, SWAP_ROLLING_BACK);
    s->ops->load_failed(s->ops->ctx, &s->record);
    if (!s->alive)
        start_begin(s, now_ns);
    else if (s->loaded)
        unload_begin(s, now_ns);
    else
        load_begin(s, now_ns);
}

/* ---- what comes in ---- */

bool swap_busy(const struct swap *s) {
    return s->record.id != 0;
}

struct model *swap_next(const struct swap *s) {
    return swap_busy(s) ? target_of(s) : s->seated;
}

void swap_join(struct swap *s, int64_t hold_ns) {
    s->joined = true;
    if (hold_ns > s->hold_ns) s->hold_ns = hold_ns;
}

bool swap_call_off(struct swap *s, int64_t now_ns) {
    if (s->step != STEP_DRAIN || s->draining_by_force || s->joined || s->record.cause != SWAP_CAUSE_TURN)
        return false;
    log_info("swap.called_off", "id=%llu swap_to=%s", (unsigned long long)s->record.id, log_q(s->record.to));
    step_set(s, STEP_NONE, 0, now_ns);
    set_state(s, SWAP_SERVING);
    s->record = (struct swap_record){0};
    s->from = s->to = NULL;
    s->ops->changed(s->ops->ctx);
    return true;
}

void swap_hold_seated(struct swap *s, int64_t until_ns) {
    if (until_ns > s->hold_until_ns) s->hold_until_ns = until_ns;
}

uint64_t swap_begin(struct swap *s, const struct swap_order *order, int64_t now_ns) {
    must(!swap_busy(s) && (!order->to || order->to != s->seated));
    s->from = s->seated;
    s->to = order->to;
    s->cancel_at_deadline = order->cancel_at_deadline;
    s->hold_ns = order->hold_ns;
    s->joined = false;
    s->load_tries = 0;
    uint64_t id = ++s->last_id;
    s->record = (struct swap_record){
        .id = id, .cause = order->cause, .started_ns = now_ns, .started_wall_ns = clock_wall_ns()};
    if (s->from) snprintf(s->record.from, sizeof s->record.from, "%s", s->from->id);
    if (s->to) snprintf(s->record.to, sizeof s->record.to, "%s", s->to->id);
    s->expected_ns = swap_cost_ns(s, s->from, s->to);
    if (s->seated) {
        s->drain_deadline_ns = now_ns + order->drain_timeout_ns;
        set_state(s, SWAP_DRAINING);
        step_enter(s, STEP_DRAIN, 0, now_ns);
        swap_on_drained(s, now_ns);
    } else if (!s->alive) {
        bool under_way = s->step == STEP_START && s->start_asked;
        if (!under_way)
            start_begin(s, now_ns);
        else
            state_of_step(s, SWAP_STARTING);
    } else {
        after_unload(s, now_ns);
    }
    return id;
}

static void on_ready(struct swap *s, int64_t now_ns) {
    s->alive = true;
    s->never_ready = 0;
    s->ready_since_ns = now_ns;
    if (s->step != STEP_START) return;
    if (s->record.id) {
        after_unload(s, now_ns);
    } else {
        step_enter(s, STEP_NONE, 0, now_ns);
        /* A model that could not be seated stays FAILED, with a process; the want of one is over. */
        if (s->state == SWAP_STARTING || s->no_process) set_state(s, SWAP_EMPTY);
        s->ops->changed(s->ops->ctx);
    }
}

static void on_progress(struct swap *s, const struct msg_progress *m, int64_t now_ns) {
    if (m->permille <= s->permille) return;
    s->permille = m->permille > 1000 ? 1000 : m->permille;
    int64_t deadline_ns = now_ns + s->settings.load_timeout_ns;
    if (deadline_ns > s->step_deadline_ns || s->step == STEP_LOAD) s->step_deadline_ns = deadline_ns;
    s->ops->changed(s->ops->ctx);
}

static void on_op_failed(struct swap *s, const struct msg_op_failed *m, int64_t now_ns) {
    enum err err = m->err && m->err < ERR_COUNT ? (enum err)m->err : ERR_INTERNAL;
    const char *text = m->text && *m->text ? m->text : err_text(err);
    log_warn("swap.step_failed", "step=%s err=%s text=%s", STEP_NAMES[s->step], err_name(err), log_q(text));
    if (s->step == STEP_LOAD || s->step == STEP_CONFIGURE) {
        if (s->step == STEP_LOAD) s->loaded = false;
        load_failed(s, err, text, now_ns);
    } else if (s->step == STEP_EVICT) {
        unload_begin(s,
                     now_ns); /* what could not be saved will be read again; the seat counts it as unsaved */
    } else if (s->step == STEP_UNLOAD) {
        process_level(s, "the unload failed", now_ns);
    }
}

void swap_on_msg(struct swap *s, struct msg *m, int64_t now_ns) {
    switch ((int)m->type) { /* int: most types are not for this machine */
    case MSG_TYPE_READY: on_ready(s, now_ns); return;
    case MSG_TYPE_STATS: {
        uint64_t mark = m->stats.dirty_bytes + m->stats.blocks_written + m->stats.scan_steps;
        if (s->step == STEP_EVICT && mark != s->evict_mark)
            s->step_deadline_ns = now_ns + s->settings.step_timeout_ns;
        s->evict_mark = mark;
        return;
    }
    case MSG_TYPE_PROGRESS:
        if (m->progress.op == s->op && (s->step == STEP_LOAD || s->step == STEP_CONFIGURE))
            on_progress(s, &m->progress, now_ns);
        return;
    case MSG_TYPE_REPLY:
        if (s->step == STEP_DRAIN && m->reply.op == s->op) swap_on_drained(s, now_ns);
        return;
    case MSG_TYPE_EVICTED:
        if (s->step != STEP_EVICT || m->evicted.op != s->op) return;
        s->record.blocks_written = m->evicted.blocks;
        s->record.bytes_written = m->evicted.bytes;
        s->record.unsaved = m->evicted.unsaved;
        unload_begin(s, now_ns);
        return;
    case MSG_TYPE_UNLOADED:
        if (s->step == STEP_UNLOAD && m->unloaded.op == s->op) on_unloaded(s, &m->unloaded, now_ns);
        return;
    case MSG_TYPE_LOADED:
        if (s->step == STEP_LOAD && m->loaded.op == s->op) configure_begin(s, &m->loaded, now_ns);
        return;
    case MSG_TYPE_CONFIGURED:
        if (s->step == STEP_CONFIGURE && m->configured.op == s->op) on_configured(s, &m->configured, now_ns);
        return;
    case MSG_TYPE_OP_FAILED:
        if (s->step != STEP_NONE && m->op_failed.op == s->op) on_op_failed(s, &m->op_failed, now_ns);
        return;
    default: return;
    }
}

/* The process is gone (died, or was ended because it hung): what this operation does next, in a new one. */
static void go_on_without(struct swap *s, const char *why, int64_t now_ns) {
    s->alive = s->loaded = false;
    s->record.process = true;
    if (s->step == STEP_LOAD || s->step == STEP_CONFIGURE) {
        char text[256];
        snprintf(text, sizeof text, "the engine ended while loading it: %s", why);
        if (s->load_tries < SWAP_LOAD_TRIES)
            start_begin(s, now_ns);
        else
            load_failed(s, ERR_ENGINE_DIED, text, now_ns);
        return;
    }
    if (s->step == STEP_START && s->never_ready >= SWAP_START_TRIES) {
        s->record.err = ERR_NO_SEAT;
        snprintf(s->record.reason, sizeof s->record.reason, "no seat process can be started: %s", why);
        if (target_of(s) && target_of(s)->state == MODEL_LOADING)
            registry_set_state(s->registry, target_of(s), MODEL_AVAILABLE, NULL);
        give_up(s, now_ns);
        s->no_process = true;
        return;
    }
    if (s->seated) model_left(s, now_ns);
    start_begin(s, now_ns);
}

/* A process for nobody in particular; that none ever gets ready is said, and tried on. */
static void start_alone(struct swap *s, int64_t now_ns) {
    if (s->never_ready >= SWAP_START_TRIES && s->state != SWAP_FAILED) {
        set_state(s, SWAP_FAILED);
        s->no_process = true;
    }
    start_begin(s, now_ns);
}

void swap_on_death(struct swap *s, const char *why, int64_t now_ns) {
    if (s->alive && now_ns - s->ready_since_ns > SWAP_CALM_NS) s->starts_failed = 0;
    s->starts_failed++;
    if (!s->alive) s->never_ready++;
    s->alive = s->loaded = false;
    if (s->record.id) {
        go_on_without(s, why, now_ns);
    } else if (s->seated) { /* the same model again, in a new process */
        struct model *m = s->seated;
        model_left(s, now_ns);
        if (m->state != MODEL_GONE) s->to = m;
        s->from = NULL;
        s->load_tries = 0;
        s->hold_ns = 0;
        s->expected_ns = swap_cost_ns(s, NULL, s->to);
        s->record = (struct swap_record){.id = ++s->last_id,
                                         .cause = SWAP_CAUSE_RECOVER,
                                         .process = true,
                                         .started_ns = now_ns,
                                         .started_wall_ns = clock_wall_ns()};
        if (s->to) snprintf(s->record.to, sizeof s->record.to, "%s", s->to->id);
        start_begin(s, now_ns);
    } else {
        start_alone(s, now_ns);
    }
}

void swap_tick(struct swap *s, int64_t now_ns) {
    start_if_due(s, now_ns);
    if (s->step == STEP_DRAIN && !s->draining_by_force) {
        if (now_ns >= s->drain_deadline_ns) drain_by_force(s, now_ns);
        return;
    }
    if (s->step == STEP_NONE || now_ns < s->step_deadline_ns) return;
    char why[96];
    snprintf(why, sizeof why, "%s showed no sign of life for %lld s", STEP_NAMES[s->step],
             (long long)((now_ns - s->step_since_ns) / NS_PER_S));
    log_warn("swap.hangs", "step=%s", STEP_NAMES[s->step]);
    s->ops->kill(s->ops->ctx, why);
    if (s->step == STEP_START) {
        s->starts_failed++;
        s->never_ready++;
    }
    if (s->record.id)
        go_on_without(s, why, now_ns);
    else
        start_alone(s, now_ns);
}

int64_t swap_deadline_ns(const struct swap *s) {
    if (s->step == STEP_START && !s->start_asked) return s->start_at_ns;
    if (s->step == STEP_DRAIN && !s->draining_by_force) return s->drain_deadline_ns;
    return s->step == STEP_NONE ? INT64_MAX : s->step_deadline_ns;
}

void swap_start(struct swap *s, int64_t now_ns) {
    start_begin(s, now_ns);
}

void swap_mark_failed(struct swap *s) {
    if (!s->record.id && (s->state == SWAP_EMPTY || s->state == SWAP_STARTING)) set_state(s, SWAP_FAILED);
    s->ops->changed(s->ops->ctx);
}

void swap_init(struct swap *s, const struct swap_ops *ops, struct registry *registry,
               const struct swap_settings *settings) {
    *s = (struct swap){.ops = ops, .registry = registry, .settings = *settings, .state = SWAP_STARTING};
}

void swap_clear(struct swap *s) {
    struct msg m = {.type = MSG_TYPE_CONFIGURED, .configured = s->configured};
    msg_free(&m);
    s->configured = (struct msg_configured){0};
}
