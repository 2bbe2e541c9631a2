/* turns.h - whose turn is it: one seat, a queue for each model, and a price for changing. Pure: no clock, no I/O, no memory.
 *
 * The rule (DESIGN 5, ADR 10). Serve the seated model while it has work. When it has none and others wait, stay for a short
 * patience P, if this model's next request tends to come within it (its habit). Leave early only if somebody has waited longer
 * than B, the model has sat at least Q, and those that had gathered for it before it sat down have entered (or it has sat G). Go
 * to the queue that has waited longest.
 *   s  what a swap costs, measured per pair        Q  min(9 s, 30 s) (utilisation 0.9: Q = s * 0.9 / 0.1), or --stay-min
 *   B  --wait-bound                                P  min(s, 5 s), or --patience (then always)            G  4 B
 * Serving first who had gathered is what keeps the queues stable near full load: a sitting grows with its backlog, so that swaps and
 * drains take a smaller part of the time (docs/scheduling.md has the figures).
 * A queue's wait counts from its oldest request or from the moment its model last left the seat, whichever is later: a backlog
 * that outlived its own turn goes behind those who had none yet. That makes a bound:
 *
 *   a request that finds its own queue empty, and a place among its model's running ones, and that no interactive one overtakes,
 *   enters the seat at most
 *       W(M) = B + (M - 1) * max(Q, G) + M * (D + s)
 *   after it came, for M models with work, D the drain timeout, s the slowest swap. Why: at B after its arrival every
 * sitting is cut at max(Q, G); of the M - 1 others each sits at most once more, because whoever leaves goes behind it; each
 * change costs at most D + s, and one may be under way at that moment. An admin's hold (hold_until) comes on top.
 *
 * Background requests (batches) stand outside of that: a queue of nothing else goes behind every other queue and takes the seat only
 * when the seated model has no work, however long that lasts; a model whose work is nothing else leaves for others when it has sat Q.
 *
 * Thread: any. */
#ifndef HOTSEAT_FRONT_TURNS_H
#define HOTSEAT_FRONT_TURNS_H

#include <stdbool.h>
#include <stdint.h>

#define TURNS_STAY_FACTOR 9 /* theta / (1 - theta) at a utilisation of 0.9 */
#define TURNS_STAY_MAX_NS                                                                                    \
    INT64_C(30000000000) /* big models swap in 15-30 s: 9 times that would be minutes  \
                                                */
#define TURNS_PATIENCE_MAX_NS INT64_C(5000000000)
#define TURNS_GATE_FACTOR 4

struct turns_settings {
    int64_t wait_bound_ns; /* B */
    int64_t stay_min_ns;   /* Q; -1: from the swap's cost */
    int64_t patience_ns;   /* P; -1: from the swap's cost */
    bool auto_swap;        /* false: only the admin swaps (an empty seat is filled all the same) */
};

/* Does a model's next request come within its patience after it went idle? The last HABIT_MAX times, the youngest in bit 0. */
#define TURNS_HABIT_MAX 8
struct turns_habit {
    uint8_t came, n;
};
void turns_habit_note(struct turns_habit *h, bool came);
bool turns_habit_pays(const struct turns_habit *h);

struct turns_work {     /* of one model; for estimates only */
    uint32_t running;   /* its requests in the seat */
    uint32_t waiting;   /* and those that wait */
    int64_t service_ns; /* how long one of them takes in the seat, on the average */
};

struct turns_queue { /* one model with at least one waiting request that may run */
    int64_t
        oldest_ns; /* arrival of the oldest that is not background (if all are: of the oldest), or when it was parked */
    int64_t left_seat_ns; /* when its model last left the seat; INT64_MIN: never */
    int64_t swap_ns;      /* what it costs to seat it now */
    bool parked;     /* nobody in it but streams that lost the seat: they do not undo an admin's offload */
    bool background; /* nobody in it but background requests */
    struct turns_work work;
};

struct turns_input {
    int64_t now_ns;
    bool seated;            /* a model is */
    bool seated_has_work;   /* streams run or wait for it */
    bool seated_background; /* and all of them are background requests */
    int64_t seated_since_ns;
    int64_t idle_since_ns; /* seated_has_work is false since then */
    int64_t
        seated_oldest_ns; /* arrival of its oldest request that still waits and is not background; INT64_MAX: none does */
    struct turns_habit habit; /* the seated model's */
    int64_t hold_until_ns;    /* an admin's swap: no leaving before; an offload: see parked; 0: none */
    const struct turns_queue *others; /* not the seated model's */
    uint32_t n_others;
    struct turns_settings settings;
    /* For estimates only: */
    struct turns_work seated_work;
    uint32_t parallel;    /* requests that the seat takes at a time */
    int64_t drain_ns;     /* the longest drain */
    int64_t swap_left_ns; /* of a swap under way; then the seated model is the one that comes */
};

enum turns_action { TURNS_STAY, TURNS_WAIT, TURNS_SWAP };
struct turns_decision {
    enum turns_action
        action; /* STAY: nobody else waits. WAIT: ask again at until_ns. SWAP: to others[target] */
    int64_t until_ns;
    uint32_t target;
};

struct turns_decision turns_decide(const struct turns_input *in);
int64_t turns_stay_ns(const struct turns_settings *s, int64_t swap_ns);     /* Q */
int64_t turns_patience_ns(const struct turns_settings *s, int64_t swap_ns); /* P */
int64_t turns_gate_ns(const struct turns_settings *s);                      /* G */
/* How long until the request at this position (1: the next one) of others[target] enters the seat; target TURNS_SEATED: of the
 * seated model. The policy is walked ahead with the work that is known now: nobody else arrives, every request takes its
 * model's average. Not negative. */
#define TURNS_SEATED UINT32_MAX
int64_t turns_eta_ns(const struct turns_input *in, uint32_t target, uint32_t position);
/* W(M), the formula above. */
int64_t turns_worst_wait_ns(const struct turns_settings *s, uint32_t n_models, int64_t swap_ns,
                            int64_t drain_ns);

#endif
