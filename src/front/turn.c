/* turn.c - which swap comes next: what an admin asked for, in order, and then whose turn it is (turns.h). Before every
 * swap the model's file is looked at once more, because it may have changed since the last scan. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "front/front_impl.h"

/* ---- answers to those who asked for a swap ---- */

static void wait_free(struct front *f, struct swap_wait *w) {
    if (list_linked(&w->node)) list_remove(&f->swap_waits, &w->node);
    request_free(w->request);
    mem_free(w);
}

static void wait_fail(struct front *f, struct swap_wait *w, const struct refusal *no, char *details) {
    if (w->request)
        front_reply_details(f, w->request, no->err, no->retry_after_s, details, no->text);
    else
        mem_free(details);
    wait_free(f, w);
}

/* Nothing had to be moved. */
static void wait_answer_idle(struct front *f, struct swap_wait *w, const char *status) {
    struct buf body = BUF(4096);
    struct json_out j = json_out_into(&body);
    const char *id = f->swap.seated ? f->swap.seated->id : NULL;
    json_obj(&j);
    json_key(&j, "status"), json_str(&j, status);
    json_key(&j, "from"), json_str(&j, id);
    json_key(&j, "to"), json_str(&j, id);
    json_end(&j);
    if (w->request) front_reply_json(f, w->request->client, 200, &body);
    buf_free(&body);
    wait_free(f, w);
}

static void wait_answer_begun(struct front *f, struct swap_wait *w) {
    struct buf body = BUF(4096);
    struct json_out j = json_out_into(&body);
    json_obj(&j);
    json_key(&j, "id"), json_u64(&j, w->id);
    json_key(&j, "state"), json_str(&j, swap_state_name(f->swap.state));
    json_key(&j, "to"), json_str(&j, w->to ? w->to->id : NULL);
    json_end(&j);
    front_reply_json(f, w->request->client, 202, &body);
    wait_free(f, w);
}

static void wait_answer_done(struct front *f, struct swap_wait *w, const struct swap_record *r) {
    if (r->outcome == SWAP_OK) {
        struct buf body = BUF(16384);
        struct json_out j = json_out_into(&body);
        admin_swap_object(&j, r, w->joined ? "joined" : w->to ? "swapped" : "offloaded");
        front_reply_json(f, w->request->client, 200, &body);
        buf_free(&body);
        wait_free(f, w);
        return;
    }
    bool back = r->outcome == SWAP_ROLLED_BACK;
    struct refusal no = {.err = ERR_SWAP_FAILED};
    if (r->to[0])
        snprintf(no.text, sizeof no.text, "%s could not be loaded: %s; %s%s", r->to, r->reason,
                 back ? r->from : "the seat is empty", back ? " is back" : "");
    else
        snprintf(no.text, sizeof no.text, "the seat could not be emptied: %s", r->reason);
    wait_fail(f, w, &no, mem_printf("\"rolled_back\":%s", back ? "true" : "false"));
}

/* ---- an admin's request ---- */

static bool conflicts(const struct front *f, const struct model *to) {
    if (swap_busy(&f->swap)) return f->swap.to != to || f->swap.rolling_back;
    const struct swap_wait *first = LIST_ENTRY(list_first(&f->swap_waits), struct swap_wait, node);
    return first && first->to != to;
}

/* How long an admin's swap keeps what it brought. */
static int64_t hold_of(const struct front *f, const struct model *to, const struct request *q) {
    if (q->hold_ns >= 0) return q->hold_ns;
    return turns_stay_ns(&f->settings.turns, swap_cost_ns(&f->swap, f->swap.seated, to));
}

static void join(struct front *f, struct swap_wait *w, uint64_t id) {
    w->id = id;
    w->joined = true;
    if (!w->request) return;
    swap_join(&f->swap, hold_of(f, w->to, w->request));
    if (!w->request->wait) wait_answer_begun(f, w);
}

void turn_swap_request(struct front *f, struct request *q) {
    struct model *to = NULL;
    if (q->verb == REQUEST_SWAP) {
        bool named = q->model && strcmp(q->model, "default");
        to = named ? registry_find(f->registry, q->model) : dispatch_default_model(f);
        if (!to || to->state == MODEL_GONE) {
            models_refuse_unknown(f, q);
            metrics_add(f->metrics, METRIC_SWAPS_REFUSED, 1);
            request_free(q);
            return;
        }
    }
    if (!q->wait && conflicts(f, to)) {
        front_reply_error(f, q, ERR_SWAP_CONFLICT, RETRY_SHORT_S, "another swap is under way");
        request_free(q);
        return;
    }
    struct swap_wait *w = mem_alloc(sizeof *w);
    if (!w) {
        front_reply_error(f, q, ERR_NOMEM, RETRY_SHORT_S, "%s", err_text(ERR_NOMEM));
        request_free(q);
        return;
    }
    w->request = q;
    w->to = to;
    list_push_back(&f->swap_waits, &w->node);
    bool seated_and_quiet = !swap_busy(&f->swap) && to == f->swap.seated;
    if (to && !seated_and_quiet) w->ticket = front_scan_ticket(f);
    if (swap_busy(&f->swap) && f->swap.to == to && !f->swap.rolling_back) join(f, w, f->swap.record.id);
    f->schedule = true;
}

bool turn_cancel_client(struct front *f, uint64_t client) {
    LIST_EACH(&f->swap_waits, struct swap_wait, node, w) {
        if (!w->request || w->request->client != client) continue;
        front_reply_error(f, w->request, ERR_CANCELED, 0, "%s", err_text(ERR_CANCELED));
        wait_free(
            f,
            w); /* a swap that began goes on: others may have joined, and half a swap is no place to stop */
        return true;
    }
    return false;
}

void turn_fail_waits(struct front *f, enum err err, const char *text) {
    struct refusal no = {.err = err, .retry_after_s = RETRY_SHORT_S};
    snprintf(no.text, sizeof no.text, "%s", text);
    LIST_EACH(&f->swap_waits, struct swap_wait, node, w) {
        wait_fail(f, w, &no, NULL);
    }
}

/* ---- beginning ---- */

static uint64_t begin(struct front *f, struct model *to, enum swap_cause cause, const struct request *q,
                      int64_t drain_timeout_ns) {
    struct swap_order order = {
        .to = to, .cause = cause, .drain_timeout_ns = drain_timeout_ns, .hold_ns = q ? hold_of(f, to, q) : 0};
    if (q && q->drain_timeout_ns >= 0) order.drain_timeout_ns = q->drain_timeout_ns;
    if (q) order.cancel_at_deadline = q->cancel_on_deadline;
    if (to) to->look_ticket = 0;
    f->turn_at_ns = INT64_MAX;
    const struct model *seated = f->swap.seated;
    if (to && seated) weights_ahead_begin(f->ahead, to->path, seated->measure.weights_bytes);
    return swap_begin(&f->swap, &order, f->now_ns);
}

static void join_all(struct front *f, struct swap_wait *first, struct model *to) {
    LIST_EACH(&f->swap_waits, struct swap_wait, node, w) {
        if (!w->id && w->to == to && w != first) join(f, w, first->id);
    }
}

/* The first model could not be seated: the server lives, and says why. */
static void first_failed(struct front *f, struct swap_wait *w, const struct refusal *no) {
    log_error("start.model", "model=%s err=%s why=%s", log_q(w->to->id), err_name(no->err), log_q(no->text));
    f->first_pending = false;
    wait_free(f, w);
    swap_mark_failed(&f->swap);
}

/* True: look at the next one; false: it waits, or has begun. */
static bool wait_step(struct front *f, struct swap_wait *w) {
    if (!front_scan_is_done(f, w->ticket)) return false;
    if (w->to == f->swap.seated) {
        if (w->to && w->request && w->request->hold_ns >= 0)
            swap_hold_seated(&f->swap, f->now_ns + w->request->hold_ns);
        wait_answer_idle(f, w, w->to ? "already_seated" : "already_empty");
        return true;
    }
    struct refusal no = {0};
    enum verdict verdict = w->to ? validate_model(f, w->to, &no) : VERDICT_OK;
    if (verdict == VERDICT_PENDING) return false;
    if (verdict == VERDICT_NO) {
        metrics_add(f->metrics, METRIC_SWAPS_REFUSED, 1);
        char *details = TAKE(no.details);
        if (w->request)
            wait_fail(f, w, &no, details);
        else {
            mem_free(details);
            first_failed(f, w, &no);
        }
        return true;
    }
    w->id = begin(f, w->to, w->request ? SWAP_CAUSE_ADMIN : SWAP_CAUSE_START, w->request,
                  f->settings.drain_timeout_ns);
    /* It may be over already: then turn_swap_ended() did not know this wait yet. */
    join_all(f, w, w->to);
    if (!w->request)
        wait_free(f, w);
    else if (!w->request->wait)
        wait_answer_begun(f, w);
    return false;
}

/* An operation that ends inside swap_begin() (an empty seat whose load is refused at once) leaves its waits behind. */
static void waits_of_the_past(struct front *f) {
    LIST_EACH(&f->swap_waits, struct swap_wait, node, w) {
        if (w->id && w->id == f->last_swap.id && w->request) wait_answer_done(f, w, &f->last_swap);
    }
}

static bool admin_step(struct front *f) {
    waits_of_the_past(f);
    while (!swap_busy(&f->swap)) {
        struct swap_wait *w = LIST_ENTRY(list_first(&f->swap_waits), struct swap_wait, node);
        if (!w || !wait_step(f, w)) break;
    }
    waits_of_the_past(f);
    return f->swap_waits.count > 0 || swap_busy(&f->swap);
}

/* ---- whose turn ---- */

static bool may_run(struct front *f, struct model *m) {
    if (!m->waiting.count) m->look_ticket = 0; /* who comes later gets a look of its own */
    if (!m->waiting.count || m == f->swap.seated) return false;
    if (f->now_ns < m->not_before_ns) {
        if (m->not_before_ns < f->turn_at_ns) f->turn_at_ns = m->not_before_ns;
        return false;
    }
    if (m->state == MODEL_FAILED) (void)registry_cooling(f->registry, m, f->now_ns);
    if (!m->measure.known && m->state == MODEL_AVAILABLE) m->measure_wanted = true;
    return m->state == MODEL_AVAILABLE && m->measure.known;
}

/* What the policy wants to know of those that wait; counted once until the queue changes. */
static struct model_queue waiting_of(struct model *m) {
    if (m->queue.known) return m->queue;
    struct model_queue w = {
        .oldest_ns = INT64_MAX, .background_ns = INT64_MAX, .parked = true, .known = true};
    LIST_EACH(&m->waiting, struct stream, node, t) {
        int64_t *oldest = is_background(t) ? &w.background_ns : &w.oldest_ns;
        if (t->waits_since_ns < *oldest) *oldest = t->waits_since_ns;
        if (!t->begun) w.parked = false;
    }
    m->queue = w;
    return w;
}

static void note_idle(struct front *f, bool has_work) {
    struct model *seated = f->swap.seated;
    if (has_work) {
        f->idle_since_ns = INT64_MAX;
    } else if (f->idle_since_ns == INT64_MAX) {
        f->idle_since_ns = f->now_ns;
        if (seated && seated->went_idle_ns == INT64_MAX)
            seated->went_idle_ns = f->now_ns; /* not anew after a death */
    }
}

/* Learned whether it sits still or has left meanwhile: to have left costs nothing to watch. But once another model sits, a whole swap
 * has gone by, and who asks now may have waited for that one's answer: it would not have come if its own had stayed. */
void turn_note_arrival(struct front *f, struct model *m) {
    struct turns_settings usual = {.patience_ns = -1};
    if (m->went_idle_ns == INT64_MAX) return;
    int64_t cost_ns =
        0; /* of the dearest swap it may be kept from, to a model that is used: so long it may stay */
    for (uint32_t i = 0; i < registry_count(f->registry); i++) {
        const struct model *other = registry_at(f->registry, i);
        bool used = other->left_seat_ns != INT64_MIN || other == f->swap.seated || other->waiting.count;
        int64_t c = other != m && used ? swap_cost_ns(&f->swap, m, other) : 0;
        if (c > cost_ns) cost_ns = c;
    }
    bool away = f->swap.seated && f->swap.seated != m;
    turns_habit_note(&m->habit, !away && f->now_ns - m->went_idle_ns <= turns_patience_ns(&usual, cost_ns));
    m->went_idle_ns = INT64_MAX;
}

/* ---- the policy's input ---- */

#define SERVICE_GUESS_NS NS_PER_S

struct turn_view {
    struct turns_queue queues[MODELS_MAX];
    struct model *models[MODELS_MAX];
    struct turns_input in;
};

static struct turns_work work_of(const struct model *m) {
    return (struct turns_work){.running = (uint32_t)m->running,
                               .waiting = (uint32_t)m->waiting.count,
                               .service_ns = m->service_ns ? m->service_ns : SERVICE_GUESS_NS};
}

static void add_queue(struct front *f, struct turn_view *v, struct model *m) {
    struct model_queue w = waiting_of(m);
    bool background = m->waiting.count && w.oldest_ns == INT64_MAX;
    int64_t oldest_ns = background ? w.background_ns : w.oldest_ns;
    v->queues[v->in.n_others] = (struct turns_queue){.oldest_ns = m->waiting.count ? oldest_ns : f->now_ns,
                                                     .left_seat_ns = m->left_seat_ns,
                                                     .swap_ns = swap_cost_ns(&f->swap, f->swap.seated, m),
                                                     .parked = w.parked,
                                                     .background = background,
                                                     .work = work_of(m)};
    v->models[v->in.n_others++] = m;
}

static bool runs_but_background(const struct front *f, const struct model *m) {
    LIST_EACH(&f->running, struct stream, node, t) {
        if (t->model == m && !is_background(t)) return true;
    }
    return false;
}

/* seated: who sits, or for estimates who will in a moment. */
static void view(struct front *f, struct turn_view *v, struct model *seated, bool has_work) {
    v->in = (struct turns_input){.now_ns = f->now_ns,
                                 .seated = seated != NULL,
                                 .seated_has_work = has_work,
                                 .seated_since_ns = f->swap.seated_since_ns,
                                 .seated_oldest_ns = INT64_MAX,
                                 .idle_since_ns = f->idle_since_ns,
                                 .hold_until_ns = f->swap.hold_until_ns,
                                 .others = v->queues,
                                 .settings = f->settings.turns,
                                 .drain_ns = f->settings.drain_timeout_ns,
                                 .parallel = f->config->parallel};
    if (!seated) return;
    v->in.habit = seated->habit;
    v->in.seated_work = work_of(seated);
    v->in.seated_oldest_ns = waiting_of(seated).oldest_ns;
    v->in.seated_background =
        has_work && v->in.seated_oldest_ns == INT64_MAX && !runs_but_background(f, seated);
    /* Nobody has gathered for a model that is back at once; else all that waited for it would be before the others again. */
    if (f->swap.returned) v->in.seated_oldest_ns = INT64_MAX;
}

/* Those that run are half through, on the average. */
static int64_t drain_left_ns(const struct front *f, const struct swap *s) {
    int64_t half = work_of(s->from).service_ns / 2, left = s->drain_deadline_ns - f->now_ns;
    return left < 0 ? 0 : left < half ? left : half;
}

int64_t turn_eta_ns(struct front *f, const struct model *m, uint32_t position) {
    static struct turn_view v;
    const struct swap *s = &f->swap;
    struct model *next = swap_next(s);
    view(f, &v, next, next && (next->running || next->waiting.count));
    if (swap_busy(s)) {
        v.in.swap_left_ns = swap_eta_ns(s, f->now_ns);
        if (s->step == STEP_DRAIN && s->from) v.in.swap_left_ns += drain_left_ns(f, s);
        if (v.in.swap_left_ns < 1) v.in.swap_left_ns = 1; /* it takes longer than expected: still under way */
        bool comes_back = s->rolling_back || s->record.cause == SWAP_CAUSE_RECOVER; /* and its hold goes on */
        int64_t hold_ns = next ? s->hold_ns : 0;
        if (!comes_back) v.in.hold_until_ns = hold_ns ? f->now_ns + v.in.swap_left_ns + hold_ns : 0;
    }
    uint32_t target = TURNS_SEATED;
    for (uint32_t i = 0; i < registry_count(f->registry) && v.in.n_others < MODELS_MAX; i++) {
        struct model *other = registry_at(f->registry, i);
        bool comes = other->waiting.count && other->state == MODEL_AVAILABLE && other->measure.known &&
                     f->now_ns >= other->not_before_ns;
        if (other == next || (!comes && other != m)) continue;
        if (other == m) target = v.in.n_others;
        add_queue(f, &v, other);
    }
    return turns_eta_ns(&v.in, target, position);
}

/* The policy says: now. One more look at the disk, one more at the memory, then it begins. Background streams that make way for
 * others are parked at once. */
static void turn_to(struct front *f, struct model *m, bool background_gives_way) {
    if (!m->look_ticket) m->look_ticket = front_scan_ticket(f);
    if (!front_scan_is_done(f, m->look_ticket)) return;
    struct refusal no;
    enum verdict verdict = validate_model(f, m, &no);
    if (verdict == VERDICT_OK) {
        (void)begin(f, m, SWAP_CAUSE_TURN, NULL, background_gives_way ? 0 : f->settings.drain_timeout_ns);
    } else if (verdict == VERDICT_NO) {
        m->look_ticket = 0;
        metrics_add(f->metrics, METRIC_SWAPS_REFUSED, 1);
        dispatch_fail_queue(f, m, no.err, no.retry_after_s, no.details, no.text);
    }
    mem_free(no.details);
}

/* What a reload said of it while its swap was under way. */
static void settings_of_reload(struct front *f, struct model *m) {
    if (m && registry_settings(f->registry, m)) log_warn("reload.sections", "model=%s", log_q(m->id));
}

/* Who wanted the model that comes has left, or is too late, and nothing was moved for it yet. */
static void call_off(struct front *f) {
    struct model *from = f->swap.from, *to = f->swap.to;
    if (f->stop || !to || to->waiting.count || !swap_call_off(&f->swap, f->now_ns)) return;
    weights_ahead_end(f->ahead);
    settings_of_reload(f, to);
    settings_of_reload(f, from);
}

/* Somebody waits who is no background one, for a model that is still being looked at: then background waits too. */
static bool background_is_early(const struct front *f, const struct turns_queue *chosen) {
    for (uint32_t i = 0; i < registry_count(f->registry) && chosen->background; i++) {
        struct model *m = registry_at(f->registry, i);
        bool wanted = m->waiting.count && waiting_of(m).oldest_ns != INT64_MAX;
        if (wanted && m->state == MODEL_AVAILABLE && !m->measure.known && f->now_ns >= m->not_before_ns)
            return true;
    }
    return false;
}

void turn_schedule(struct front *f) {
    f->schedule = false;
    f->turn_at_ns = INT64_MAX;
    call_off(f);
    dispatch_streams(f);
    struct model *seated = f->swap.seated;
    bool has_work = f->running.count || (seated && seated->waiting.count);
    note_idle(f, has_work);
    if (admin_step(f) || f->stop) return;
    dispatch_refuse_not_auto(f);
    static struct turn_view v;
    view(f, &v, seated, has_work);
    for (uint32_t i = 0; i < registry_count(f->registry) && v.in.n_others < MODELS_MAX; i++) {
        struct model *m = registry_at(f->registry, i);
        if (may_run(f, m)) add_queue(f, &v, m);
    }
    struct turns_decision d = turns_decide(&v.in);
    if (d.action == TURNS_WAIT && d.until_ns < f->turn_at_ns) f->turn_at_ns = d.until_ns;
    if (d.action == TURNS_SWAP && !background_is_early(f, &v.queues[d.target]))
        turn_to(f, v.models[d.target], v.in.seated_background);
}

/* ---- the end of a swap ---- */

static void count_swap(struct front *f, const struct swap_record *r) {
    static const enum metric_histogram STEPS[STEP_COUNT] = {
        [STEP_DRAIN] = METRIC_HISTOGRAM_STEP_DRAIN,   [STEP_EVICT] = METRIC_HISTOGRAM_STEP_EVICT,
        [STEP_UNLOAD] = METRIC_HISTOGRAM_STEP_UNLOAD, [STEP_START] = METRIC_HISTOGRAM_STEP_START,
        [STEP_LOAD] = METRIC_HISTOGRAM_STEP_LOAD,     [STEP_CONFIGURE] = METRIC_HISTOGRAM_STEP_CONFIGURE};
    static const enum metric COUNTS[2][3] = {
        {METRIC_SWAPS_HOT_OK, METRIC_SWAPS_HOT_ROLLED_BACK, METRIC_SWAPS_HOT_FAILED},
        {METRIC_SWAPS_PROCESS_OK, METRIC_SWAPS_PROCESS_ROLLED_BACK, METRIC_SWAPS_PROCESS_FAILED}};
    if (r->not_returned) metrics_add(f->metrics, METRIC_SWAPS_NOT_RETURNED, 1);
    for (int s = STEP_DRAIN; s < STEP_COUNT; s++)
        if (r->step_ns[s] > 0) metrics_observe(f->metrics, STEPS[s], r->step_ns[s]);
    if (r->cause != SWAP_CAUSE_ADMIN && r->cause != SWAP_CAUSE_TURN) return;
    metrics_add(f->metrics, COUNTS[r->process][r->outcome - SWAP_OK], 1);
    metrics_observe(f->metrics, METRIC_HISTOGRAM_SWAP_TOTAL, r->ended_ns - r->started_ns);
}

/* Who waits for a model that could not be loaded is told. */
void turn_load_failed(struct front *f, const struct swap_record *r) {
    struct model *to = r->to[0] ? registry_find(f->registry, r->to) : NULL;
    if (!to) return;
    bool cools = to->state == MODEL_FAILED;
    char text[1024];
    snprintf(text, sizeof text, "%s could not be loaded: %s", r->to, r->reason);
    dispatch_fail_queue(f, to, cools ? ERR_MODEL_COOLDOWN : ERR_NO_SEAT,
                        cools ? retry_when_cool_s(f, to) : RETRY_SHORT_S, NULL, text);
}

/* Where there was no way back, who waits for the old model is told too. Where there was one, who has come for the new one since then has
 * not been tried, and waits on. */
static void fail_queues(struct front *f, const struct swap_record *r) {
    struct model *to = r->outcome == SWAP_ROLLED_BACK ? registry_find(f->registry, r->to) : NULL;
    if (to && to->waiting.count) to->not_before_ns = f->now_ns + RETRY_SHORT_S * NS_PER_S;
    if (r->outcome != SWAP_GAVE_UP) return;
    turn_load_failed(f, r);
    struct model *from = r->from[0] ? registry_find(f->registry, r->from) : NULL;
    struct refusal no = {0};
    if (from && validate_model(f, from, &no) == VERDICT_NO)
        dispatch_fail_queue(f, from, no.err, no.retry_after_s, no.details, no.text);
    mem_free(no.details);
}

void turn_swap_ended(struct front *f, const struct swap_record *r) {
    front_update_readiness(f); /* before the answers: who has one finds it there */
    count_swap(f, r);
    weights_ahead_end(f->ahead);
    f->last_swap = *r;
    f->last_swap_to = r->outcome == SWAP_OK ? f->swap.seated : NULL;
    f->first_pending = false;
    f->schedule = true;
    settings_of_reload(f, r->to[0] ? registry_find(f->registry, r->to) : NULL);
    settings_of_reload(f, r->from[0] ? registry_find(f->registry, r->from) : NULL);
    f->idle_since_ns = INT64_MAX; /* the new model's idleness begins when it is seen to have no work */
    struct buf body = BUF(16384);
    struct json_out w = events_begin(f, &body);
    json_key(&w, "swap");
    admin_swap_object(&w, r, NULL);
    json_end(&w);
    events_say(f,
               r->outcome == SWAP_OK            ? "swap_done"
               : r->outcome == SWAP_ROLLED_BACK ? "rollback"
                                                : "swap_failed",
               &body);
    fail_queues(f, r);
    LIST_EACH(&f->swap_waits, struct swap_wait, node, wait) {
        if (wait->id == r->id && wait->request) wait_answer_done(f, wait, r);
    }
}

void turn_measure_failed(struct front *f, struct model *m, enum err err, const char *reason) {
    if (err != ERR_NO_SEAT) return; /* the model's state tells those who wait for it */
    struct refusal no = {.err = err, .retry_after_s = RETRY_SHORT_S};
    snprintf(no.text, sizeof no.text, "%s", reason);
    LIST_EACH(&f->swap_waits, struct swap_wait, node, w) {
        if (w->to != m || w->id) continue;
        if (w->request)
            wait_fail(f, w, &no, NULL);
        else
            first_failed(f, w, &no);
    }
}

void turn_first_model(struct front *f) {
    const char *name = f->config->model;
    struct model *m = name && !strcmp(name, "none") ? NULL
                      : name                        ? registry_find(f->registry, name)
                                                    : registry_first(f->registry);
    struct swap_wait *w = m ? mem_alloc(sizeof *w) : NULL;
    if (!w) return; /* an empty seat */
    w->to = m;
    f->first_pending = true;
    list_push_back(&f->swap_waits, &w->node);
    f->schedule = true;
}
