#include "front/turns.h"

#include <stddef.h>

static int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static int64_t max_i64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* INT64_MAX stands for "never". */
static int64_t add_i64(int64_t a, int64_t b) {
    return b > 0 && a > INT64_MAX - b ? INT64_MAX : a + b;
}

int64_t turns_stay_ns(const struct turns_settings *s, int64_t swap_ns) {
    return s->stay_min_ns >= 0 ? s->stay_min_ns : min_i64(TURNS_STAY_FACTOR * swap_ns, TURNS_STAY_MAX_NS);
}

int64_t turns_patience_ns(const struct turns_settings *s, int64_t swap_ns) {
    return s->patience_ns >= 0 ? s->patience_ns : min_i64(swap_ns, TURNS_PATIENCE_MAX_NS);
}

int64_t turns_gate_ns(const struct turns_settings *s) {
    return s->wait_bound_ns > INT64_MAX / TURNS_GATE_FACTOR ? INT64_MAX
                                                            : TURNS_GATE_FACTOR * s->wait_bound_ns;
}

int64_t turns_worst_wait_ns(const struct turns_settings *s, uint32_t n_models, int64_t swap_ns,
                            int64_t drain_ns) {
    int64_t m = n_models, sits = max_i64(turns_stay_ns(s, swap_ns), turns_gate_ns(s));
    return s->wait_bound_ns + (m - 1) * sits + m * (drain_ns + swap_ns);
}

void turns_habit_note(struct turns_habit *h, bool came) {
    h->came = (uint8_t)(h->came << 1 | came);
    if (h->n < TURNS_HABIT_MAX) h->n++;
}

/* To stay costs others one swap's time; to have left costs two swaps if the request comes after all. */
bool turns_habit_pays(const struct turns_habit *h) {
    int came = 0;
    for (int i = 0; i < h->n; i++) came += h->came >> i & 1;
    return 2 * came >= h->n;
}

static int64_t patience_ns(const struct turns_input *in, int64_t swap_ns) {
    bool pays = in->settings.patience_ns >= 0 || turns_habit_pays(&in->habit);
    return pays ? turns_patience_ns(&in->settings, swap_ns) : 0;
}

static int64_t waits_since(const struct turns_queue *q) {
    return max_i64(q->oldest_ns, q->left_seat_ns);
}

/* Whose queue comes before whose. */
static bool before(const struct turns_queue *a, const struct turns_queue *b) {
    if (a->background != b->background) return b->background;
    return waits_since(a) < waits_since(b);
}

static bool may_go(const struct turns_input *in, const struct turns_queue *q) {
    return in->seated || !q->parked || in->now_ns >= in->hold_until_ns;
}

struct sitting { /* of a model that has work */
    int64_t since_ns;
    bool gathered;   /* somebody still waits who came before it sat down */
    bool background; /* all its work is */
};

/* When it must make way for q, work or not; INT64_MAX: never. */
static int64_t overdue_ns(const struct turns_settings *s, const struct sitting *now,
                          const struct turns_queue *q) {
    if (q->background) return INT64_MAX;
    int64_t at = add_i64(now->since_ns, turns_stay_ns(s, q->swap_ns));
    if (now->background) return at;
    if (now->gathered) at = max_i64(at, add_i64(now->since_ns, turns_gate_ns(s)));
    return max_i64(at, add_i64(waits_since(q), s->wait_bound_ns + 1)); /* longer than B, not just as long */
}

struct turns_decision turns_decide(const struct turns_input *in) {
    const struct turns_settings *s = &in->settings;
    if (!in->n_others || (in->seated && !s->auto_swap)) return (struct turns_decision){.action = TURNS_STAY};
    const struct turns_queue *next = NULL;
    for (const struct turns_queue *q = in->others; q < in->others + in->n_others; q++)
        if (may_go(in, q) && (!next || before(q, next))) next = q;
    if (!next) return (struct turns_decision){.action = TURNS_WAIT, .until_ns = in->hold_until_ns};
    uint32_t target = (uint32_t)(next - in->others);

    int64_t at = in->now_ns; /* the moment from which the swap is right */
    if (in->seated) {
        struct sitting now = {.since_ns = in->seated_since_ns,
                              .gathered = in->seated_oldest_ns <= in->seated_since_ns,
                              .background = in->seated_background};
        int64_t overdue = overdue_ns(s, &now, next);
        int64_t idle = add_i64(in->idle_since_ns, patience_ns(in, next->swap_ns));
        at = in->seated_has_work ? overdue : min_i64(overdue, idle);
        at = max_i64(at, in->hold_until_ns);
    }
    if (at <= in->now_ns) return (struct turns_decision){.action = TURNS_SWAP, .target = target};
    return (struct turns_decision){.action = TURNS_WAIT, .until_ns = at, .target = target};
}

/* ---- the estimate ---- */

static int64_t work_ns(const struct turns_work *w, uint32_t parallel) {
    return (int64_t)(w->running + w->waiting) * w->service_ns / parallel;
}

/* Slots come free one after the other, evenly. */
static int64_t slot_ns(const struct turns_work *w, uint32_t parallel, uint32_t position) {
    uint32_t free = w->running < parallel ? parallel - w->running : 0;
    return position <= free ? 0 : (int64_t)(position - free) * w->service_ns / parallel;
}

/* Of the queues that are still to come: each goes behind the others when it has had its turn. */
static const struct turns_queue *next_after(const struct turns_input *in, const struct turns_queue *last) {
    const struct turns_queue *next = NULL;
    for (const struct turns_queue *q = in->others; q < in->others + in->n_others; q++) {
        bool later = !last || before(last, q) || (!before(q, last) && q > last);
        if (later && (!next || before(q, next))) next = q;
    }
    return next;
}

int64_t turns_eta_ns(const struct turns_input *in, uint32_t target, uint32_t position) {
    const struct turns_settings *s = &in->settings;
    uint32_t parallel = in->parallel ? in->parallel : 1;
    int64_t at = in->now_ns + in->swap_left_ns;
    if (target == TURNS_SEATED) return in->swap_left_ns + slot_ns(&in->seated_work, parallel, position);
    const struct turns_work *work = in->seated ? &in->seated_work : NULL;
    struct sitting now = {.since_ns = in->swap_left_ns ? at : in->seated_since_ns,
                          .gathered = in->swap_left_ns || in->seated_oldest_ns <= in->seated_since_ns,
                          .background = in->seated_background};
    const struct turns_queue *q = NULL;
    while ((q = next_after(in, q)) != NULL) {
        if (work) {
            bool idle = work == &in->seated_work && !in->swap_left_ns && !in->seated_has_work;
            int64_t patience =
                work == &in->seated_work ? patience_ns(in, q->swap_ns) : turns_patience_ns(s, q->swap_ns);
            int64_t done = idle ? min_i64(in->idle_since_ns, at) : at + work_ns(work, parallel);
            int64_t leaves = min_i64(add_i64(done, patience), overdue_ns(s, &now, q));
            if (leaves < done && !now.background) /* the drain: those that run are half through */
                leaves += min_i64(work->service_ns / 2, in->drain_ns);
            at = max_i64(at, max_i64(leaves, in->hold_until_ns));
        }
        at += q->swap_ns;
        if (q == in->others + target) break;
        now = (struct sitting){.since_ns = at,
                               .gathered = true, /* all that is known of waits already */
                               .background = q->background};
        work = &q->work;
    }
    struct turns_work fresh = {.service_ns = q ? q->work.service_ns : 0};
    return at - in->now_ns + slot_ns(&fresh, parallel, position);
}
