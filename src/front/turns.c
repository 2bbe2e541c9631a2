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

int64_t turns_worst_wait_ns(const struct turns_settings *s, uint32_t n_models, int64_t swap_ns,
                            int64_t drain_ns) {
    int64_t m = n_models;
    return s->wait_bound_ns + (m - 1) * turns_stay_ns(s, swap_ns) + m * (drain_ns + swap_ns);
}

static int64_t waits_since(const struct turns_queue *q) {
    return max_i64(q->oldest_ns, q->left_seat_ns);
}

static bool may_go(const struct turns_input *in, const struct turns_queue *q) {
    return in->seated || !q->parked || in->now_ns >= in->hold_until_ns;
}

struct turns_decision turns_decide(const struct turns_input *in) {
    const struct turns_settings *s = &in->settings;
    if (!in->n_others || (in->seated && !s->auto_swap)) return (struct turns_decision){.action = TURNS_STAY};
    const struct turns_queue *next = NULL;
    for (const struct turns_queue *q = in->others; q < in->others + in->n_others; q++)
        if (may_go(in, q) && (!next || waits_since(q) < waits_since(next))) next = q;
    if (!next) return (struct turns_decision){.action = TURNS_WAIT, .until_ns = in->hold_until_ns};
    uint32_t target = (uint32_t)(next - in->others);

    int64_t at = in->now_ns; /* the moment from which the swap is right */
    if (in->seated) {
        int64_t overdue =
            max_i64(add_i64(in->seated_since_ns, turns_stay_ns(s, next->swap_ns)),
                    add_i64(waits_since(next), s->wait_bound_ns + 1)); /* longer than B, not just as long */
        int64_t idle = add_i64(in->idle_since_ns, turns_patience_ns(s, next->swap_ns));
        at = in->seated_has_work ? overdue : min_i64(overdue, idle);
        at = max_i64(at, in->hold_until_ns);
    }
    if (at <= in->now_ns) return (struct turns_decision){.action = TURNS_SWAP, .target = target};
    return (struct turns_decision){.action = TURNS_WAIT, .until_ns = at, .target = target};
}
