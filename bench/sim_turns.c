/* sim_turns - whose turn, in model time: traces of requests for several models go through one seat under four policies, the first
 * of them the server's own code (front/turns.c). One JSON line for each trace, load and policy. usage: sim_turns [SEED]
 *
 * The seat: up to PARALLEL requests of one model at a time; n at once are served n / (1 + SHARE * (n - 1)) times as fast as one (the
 * order of SmolLM2's steps on 2 cores). A swap costs SWAP_S, after those that run have ended, at most DRAIN_S later; who is
 * parked then goes to the head of its queue with what is left. A load of 1 is what the full seat can serve without a swap. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "front/turns.h"

#define MODELS 5
#define PARALLEL 4
#define SHARE 0.3
#define SWAP_S 2.0
#define DRAIN_S 30.0
#define SERVICE_S 4.0 /* of one request alone, on the average; exponential */
#define HOURS 6
#define REQUESTS_MAX 60000
#define CLIENTS_MAX 8
#define SLICE_S 30.0
#define PATIENCE_S SWAP_S /* turns_patience_ns() */
#define ENDLESS 1e18

enum policy { OURS, FIRST_COME, EXHAUSTIVE, SLICES, N_POLICIES };
static const char *const POLICY_NAMES[] = {"hotseat", "first come", "exhaustive", "slices"};

struct request {
    double came, work, left, entered, estimate;
    int model, client;
    bool ran, done;
};

struct queue { /* of request numbers, by arrival; those that ran stand first */
    int items[REQUESTS_MAX];
    int first, n;
};

struct trace {
    const char *name;
    int models, clients; /* clients > 0: each has one request at a time, the next one follows its answer */
    double share[MODELS];
    double burst;    /* requests of one arrival */
    bool alternates; /* a client's next request is for the next model, else for the same */
    double pause;    /* between a client's answer and its next request, exponential */
};

static const struct trace TRACES[] = {
    {"two models", 2, 0, {0.5, 0.5}, 1, false, 0},
    {"bursts", 2, 0, {0.5, 0.5}, 12, false, 0},
    {"chatty and rare", 2, 0, {0.97, 0.03}, 1, false, 0},
    {"five models, Zipf", 5, 0, {0.438, 0.219, 0.146, 0.109, 0.088}, 1, false, 0},
    {"two agents, alternating", 2, 2, {0.5, 0.5}, 1, true, 0},
    {"eight agents, alternating", 2, 8, {0.5, 0.5}, 1, true, 0},
    {"two tool loops", 2, 2, {0.5, 0.5}, 1, false, 0.5},
    {"six talks", 2, 6, {0.5, 0.5}, 1, false, 20},
};

struct sim {
    const struct trace *trace;
    enum policy policy;
    double now, rate; /* rate: arrivals a second */
    struct request requests[REQUESTS_MAX];
    int n_requests, n_done, n_swaps;
    struct queue queues[MODELS];
    int running[PARALLEL], n_running;
    int seated, target; /* target: a swap to it is under way; -1: none */
    bool draining;
    double drain_until, swap_until, since, idle_since, next_arrival, look_at;
    double left_seat[MODELS], idle_at[MODELS];
    struct turns_habit habits[MODELS];
    double client_at[CLIENTS_MAX]; /* its next request */
    int client_model[CLIENTS_MAX];
    double service[MODELS]; /* measured: EWMA of the time in the seat */
};

static uint64_t rng;
static double draw(void) { /* (0, 1] */
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return ((double)(rng >> 11) + 1) / 9007199254740992.0;
}
static double exponential(double mean) {
    return -mean * log(draw());
}

static int pick_model(const struct trace *t) {
    double u = draw();
    for (int m = 0; m < t->models - 1; m++) {
        if (u <= t->share[m]) return m;
        u -= t->share[m];
    }
    return t->models - 1;
}

static double speed_of(int n) {
    return n / (1 + SHARE * (n - 1));
}

/* ---- queues ---- */

static void push(struct queue *q, int r) {
    if (q->first + q->n == REQUESTS_MAX) {
        memmove(q->items, q->items + q->first, (size_t)q->n * sizeof q->items[0]);
        q->first = 0;
    }
    q->items[q->first + q->n++] = r;
}

static void push_front(struct queue *q, int r) {
    if (q->first == 0) {
        memmove(q->items + 1, q->items, (size_t)q->n * sizeof q->items[0]);
        q->first++;
    }
    q->items[--q->first] = r;
    q->n++;
}

static int pop(struct queue *q) {
    q->n--;
    return q->items[q->first++];
}

static const struct request *head(const struct sim *s, int m) {
    return s->queues[m].n ? &s->requests[s->queues[m].items[s->queues[m].first]] : NULL;
}

/* ---- the policies ---- */

static int64_t ns(double seconds) {
    return (int64_t)(seconds * 1e9);
}

static int oldest(const struct sim *s, bool without_seated, bool by_turn) {
    int best = -1;
    double best_at = ENDLESS;
    for (int m = 0; m < s->trace->models; m++) {
        const struct request *r = head(s, m);
        if (!r || (without_seated && m == s->seated)) continue;
        double at = by_turn && s->left_seat[m] > r->came ? s->left_seat[m] : r->came;
        if (at < best_at) best = m, best_at = at;
    }
    return best;
}

/* The input of the server's policy, as the server makes it (turn.c). */
static uint32_t turns_of(const struct sim *s, struct turns_queue *others, int *ids, struct turns_input *in) {
    uint32_t n = 0;
    for (int m = 0; m < s->trace->models; m++) {
        const struct request *r = head(s, m);
        if (!r || m == s->seated) continue;
        others[n] = (struct turns_queue){
            .oldest_ns = ns(r->came),
            .left_seat_ns = s->left_seat[m] < 0 ? INT64_MIN : ns(s->left_seat[m]),
            .swap_ns = ns(SWAP_S),
            .work = {.waiting = (uint32_t)s->queues[m].n, .service_ns = ns(s->service[m])}};
        ids[n++] = m;
    }
    bool work = s->seated >= 0 && (s->n_running || s->queues[s->seated].n);
    *in = (struct turns_input){
        .now_ns = ns(s->now),
        .seated = s->seated >= 0,
        .seated_has_work = work,
        .seated_since_ns = ns(s->since),
        .idle_since_ns = work ? INT64_MAX : ns(s->idle_since),
        .seated_oldest_ns = s->seated >= 0 && head(s, s->seated) ? ns(head(s, s->seated)->came) : INT64_MAX,
        .others = others,
        .n_others = n,
        .settings = {.wait_bound_ns = ns(60), .stay_min_ns = -1, .patience_ns = -1, .auto_swap = true},
        .parallel = PARALLEL,
        .drain_ns = ns(DRAIN_S)};
    if (s->seated >= 0) in->habit = s->habits[s->seated];
    if (s->seated >= 0)
        in->seated_work = (struct turns_work){.running = (uint32_t)s->n_running,
                                              .waiting = (uint32_t)s->queues[s->seated].n,
                                              .service_ns = ns(s->service[s->seated])};
    return n;
}

/* Where to go now, -1: nowhere. *ret_look: ask again then, at the latest. */
static int decide(struct sim *s, double *ret_look) {
    *ret_look = ENDLESS;
    if (s->policy == OURS) {
        struct turns_queue others[MODELS];
        int ids[MODELS];
        struct turns_input in;
        (void)turns_of(s, others, ids, &in);
        struct turns_decision d = turns_decide(&in);
        if (d.action == TURNS_WAIT && d.until_ns < INT64_MAX)
            *ret_look = (double)d.until_ns / 1e9 + 1e-6; /* not before it, by rounding */
        return d.action == TURNS_SWAP ? ids[d.target] : -1;
    }
    int next = oldest(s, true, s->policy != FIRST_COME);
    bool work = s->seated >= 0 && (s->n_running || s->queues[s->seated].n);
    if (next < 0) return -1;
    if (s->policy == FIRST_COME) {
        int first = oldest(s, false, false);
        return first != s->seated && s->n_running == 0 ? first : -1;
    }
    if (!work) return next;
    if (s->policy == SLICES) {
        if (s->now >= s->since + SLICE_S) return next;
        *ret_look = s->since + SLICE_S;
    }
    return -1;
}

static bool may_enter(const struct sim *s) {
    if (s->draining || s->seated < 0 || s->swap_until > s->now || !s->queues[s->seated].n) return false;
    return s->policy != FIRST_COME || oldest(s, false, false) == s->seated;
}

/* ---- events ---- */

static double estimate(struct sim *s, int model) {
    struct turns_queue others[MODELS];
    int ids[MODELS];
    struct turns_input in;
    int seated = s->seated;
    if (s->target >= 0) s->seated = s->target; /* who comes */
    uint32_t n = turns_of(s, others, ids, &in), target = TURNS_SEATED;
    if (s->target >= 0) {
        in.seated_work.running = 0;
        in.swap_left_ns = ns(s->draining ? SWAP_S + s->service[seated] / 2 : s->swap_until - s->now);
    }
    for (uint32_t i = 0; i < n; i++)
        if (ids[i] == model) target = i;
    double eta = (double)turns_eta_ns(&in, target, (uint32_t)s->queues[model].n) / 1e9;
    s->seated = seated;
    return eta;
}

static void arrive(struct sim *s, int client, int model) {
    if (s->n_requests == REQUESTS_MAX) return;
    struct request *r = &s->requests[s->n_requests];
    *r = (struct request){
        .came = s->now, .work = exponential(SERVICE_S), .model = model, .client = client, .entered = -1};
    r->left = r->work;
    if (s->idle_at[model] < ENDLESS)
        turns_habit_note(&s->habits[model], s->now - s->idle_at[model] <= PATIENCE_S);
    s->idle_at[model] = ENDLESS;
    push(&s->queues[model], s->n_requests++);
    if (s->policy == OURS) r->estimate = estimate(s, model);
}

static void finish(struct sim *s, int slot) {
    struct request *r = &s->requests[s->running[slot]];
    r->done = true;
    s->n_done++;
    s->service[r->model] += (s->now - r->entered - s->service[r->model]) / 8;
    s->running[slot] = s->running[--s->n_running];
    if (r->client < 0) return;
    s->client_model[r->client] = s->trace->alternates ? (r->model + 1) % s->trace->models : r->model;
    s->client_at[r->client] = s->now + (s->trace->pause > 0 ? exponential(s->trace->pause) : 0);
}

static void work_until(struct sim *s, double until) {
    double each = s->n_running ? speed_of(s->n_running) / s->n_running : 0;
    for (int i = 0; i < s->n_running; i++) s->requests[s->running[i]].left -= each * (until - s->now);
    s->now = until;
}

static void begin_load(struct sim *s) {
    s->draining = false;
    if (s->seated >= 0) s->left_seat[s->seated] = s->now;
    s->seated = -1;
    s->swap_until = s->now + SWAP_S;
    s->n_swaps++;
}

static void step(struct sim *s) {
    while (s->n_running < PARALLEL && s->target < 0 && may_enter(s)) {
        int n = pop(&s->queues[s->seated]);
        struct request *r = &s->requests[n];
        if (!r->ran) r->entered = s->now;
        r->ran = true;
        s->running[s->n_running++] = n;
    }
    bool work = s->seated >= 0 && (s->n_running || s->queues[s->seated].n);
    if (work)
        s->idle_since = ENDLESS;
    else if (s->idle_since >= ENDLESS) {
        s->idle_since = s->now;
        if (s->seated >= 0) s->idle_at[s->seated] = s->now;
    }
    s->look_at = ENDLESS;
    if (s->target >= 0) return;
    int next = decide(s, &s->look_at);
    if (next < 0) return;
    s->target = next;
    s->draining = s->n_running > 0;
    s->drain_until = s->now + DRAIN_S;
    if (!s->draining) begin_load(s);
}

static double next_event(const struct sim *s, int *ret_slot) {
    double at = s->next_arrival < s->look_at ? s->next_arrival : s->look_at;
    *ret_slot = -1;
    for (int c = 0; c < s->trace->clients; c++)
        if (s->client_at[c] < at) at = s->client_at[c];
    if (s->target >= 0 && !s->draining && s->swap_until < at) at = s->swap_until;
    if (s->draining && s->drain_until < at) at = s->drain_until;
    for (int i = 0; i < s->n_running; i++) {
        double ends = s->now + s->requests[s->running[i]].left * s->n_running / speed_of(s->n_running);
        if (ends < at) at = ends, *ret_slot = i;
    }
    return at;
}

static void run(struct sim *s) {
    double end = HOURS * 3600.0;
    s->next_arrival = s->rate > 0 ? exponential(s->trace->burst / s->rate) : ENDLESS;
    for (int c = 0; c < s->trace->clients; c++)
        s->client_at[c] = c, s->client_model[c] = c % s->trace->models;
    while (s->now < end) {
        step(s);
        int slot;
        double at = next_event(s, &slot);
        work_until(s, at > s->now ? at : s->now);
        if (slot >= 0) {
            finish(s, slot);
        } else if (s->draining && s->now >= s->drain_until) {
            while (s->n_running) push_front(&s->queues[s->seated], s->running[--s->n_running]);
        } else if (s->target >= 0 && !s->draining && s->now >= s->swap_until) {
            s->seated = s->target;
            s->target = -1;
            s->since = s->now;
            s->idle_since = ENDLESS;
        } else if (s->now >= s->next_arrival) {
            int model = pick_model(s->trace);
            for (int i = 0; i < (int)s->trace->burst; i++) arrive(s, -1, model);
            s->next_arrival = s->now + exponential(s->trace->burst / s->rate);
        }
        for (int c = 0; c < s->trace->clients; c++) {
            if (s->client_at[c] > s->now) continue;
            s->client_at[c] = ENDLESS;
            arrive(s, c, s->client_model[c]);
        }
        if (s->draining && s->n_running == 0) begin_load(s);
    }
}

/* ---- figures ---- */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double at_part(const double *sorted, int n, double part) {
    return n ? sorted[(int)(part * (n - 1))] : 0;
}

static void print(struct sim *s, double load) {
    static double waits[REQUESTS_MAX], errors[REQUESTS_MAX];
    double sum = 0, done_work = 0;
    int n = 0, n_errors = 0;
    for (int i = 0; i < s->n_requests; i++) {
        const struct request *r = &s->requests[i];
        if (r->done) done_work += r->work;
        waits[n] = (r->ran ? r->entered : s->now) - r->came; /* who still waits has waited so long at least */
        sum += waits[n++];
        if (r->ran && r->entered - r->came >= 1)
            errors[n_errors++] = fabs(r->estimate - (r->entered - r->came));
    }
    qsort(waits, (size_t)n, sizeof waits[0], by_value);
    qsort(errors, (size_t)n_errors, sizeof errors[0], by_value);
    printf("{\"trace\":\"%s\",\"hours\":%d,\"policy\":\"%s\",\"load\":%.2f,\"requests\":%d,\"done\":%d,"
           "\"utilisation\":%."
           "4f,\"wait_mean\":%.3f,"
           "\"wait_p99\":%.3f,\"wait_max\":%.3f,\"swaps_per_hour\":%.1f,\"error_median\":%.3f,\"error_p90\":%"
           ".3f}\n",
           s->trace->name, HOURS, POLICY_NAMES[s->policy], load, s->n_requests, s->n_done,
           done_work / (HOURS * 3600.0 * speed_of(PARALLEL)), n ? sum / n : 0, at_part(waits, n, 0.99),
           at_part(waits, n, 1), s->n_swaps / (double)HOURS, at_part(errors, n_errors, 0.5),
           at_part(errors, n_errors, 0.9));
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    static const double LOADS[] = {0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95};
    struct sim *s = malloc(sizeof *s);
    if (!s) return 1;
    for (size_t t = 0; t < sizeof TRACES / sizeof TRACES[0]; t++) {
        bool closed = TRACES[t].clients > 0;
        for (size_t l = 0; l < (closed ? 1 : sizeof LOADS / sizeof LOADS[0]); l++) {
            for (int policy = 0; policy < N_POLICIES; policy++) {
                memset(s, 0, sizeof *s);
                rng = seed * 0x9E3779B97F4A7C15u + t + 1; /* the same arrivals for every policy */
                s->trace = &TRACES[t];
                s->policy = (enum policy)policy;
                s->rate = closed ? 0 : LOADS[l] * speed_of(PARALLEL) / SERVICE_S;
                s->seated = s->target = -1;
                s->idle_since = s->look_at = ENDLESS;
                for (int m = 0; m < MODELS; m++)
                    s->left_seat[m] = -1, s->service[m] = SERVICE_S, s->idle_at[m] = ENDLESS;
                run(s);
                print(s, closed ? 0 : LOADS[l]);
            }
        }
    }
    free(s);
    return 0;
}
