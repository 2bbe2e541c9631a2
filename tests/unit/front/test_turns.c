/* The policy: its rules one by one, then its bound and its calm on random arrivals. */
#include "front/turns.h"

#include <stdio.h>
#include <string.h>

#include "../check_run.h"

#define S INT64_C(1000000000)

static struct turns_settings usual(void) {
    return (struct turns_settings){
        .wait_bound_ns = 60 * S, .stay_min_ns = -1, .patience_ns = -1, .auto_swap = true};
}

static struct turns_queue queue(int64_t oldest_s) {
    return (struct turns_queue){.oldest_ns = oldest_s * S, .left_seat_ns = INT64_MIN, .swap_ns = 2 * S};
}

START_TEST(nobody_waits) {
    struct turns_input in = {.now_ns = 5 * S, .seated = true, .settings = usual()};
    ck_assert_int_eq(turns_decide(&in).action, TURNS_STAY);
}
END_TEST

START_TEST(empty_seat_takes_the_oldest) {
    struct turns_queue others[] = {queue(3), queue(1), queue(2)};
    struct turns_input in = {.now_ns = 5 * S, .others = others, .n_others = 3, .settings = usual()};
    struct turns_decision d = turns_decide(&in);
    ck_assert_int_eq(d.action, TURNS_SWAP);
    ck_assert_uint_eq(d.target, 1);
    in.settings.auto_swap = false;
    ck_assert_int_eq(turns_decide(&in).action, TURNS_SWAP);
    in.seated = true;
    ck_assert_int_eq(turns_decide(&in).action, TURNS_STAY);
}
END_TEST

START_TEST(idle_model_waits_a_short_patience) {
    struct turns_queue other = queue(10);
    struct turns_input in = {.now_ns = 10 * S,
                             .seated = true,
                             .seated_since_ns = 0,
                             .idle_since_ns = 9 * S,
                             .others = &other,
                             .n_others = 1,
                             .settings = usual()};
    struct turns_decision d = turns_decide(&in);
    ck_assert_int_eq(d.action, TURNS_WAIT);
    ck_assert_int_eq(d.until_ns, 11 * S); /* one swap */
    in.now_ns = 11 * S;
    ck_assert_int_eq(turns_decide(&in).action, TURNS_SWAP);
    other.swap_ns = 20 * S;
    ck_assert_int_eq(turns_decide(&in).until_ns, 14 * S); /* at most 5 s */
    in.settings.patience_ns = 0;
    ck_assert_int_eq(turns_decide(&in).action, TURNS_SWAP);
}
END_TEST

START_TEST(busy_model_stays_until_somebody_waited_too_long) {
    struct turns_queue other = queue(10);
    struct turns_input in = {.now_ns = 30 * S,
                             .seated = true,
                             .seated_oldest_ns = INT64_MAX,
                             .seated_has_work = true,
                             .idle_since_ns = INT64_MAX,
                             .others = &other,
                             .n_others = 1,
                             .settings = usual()};
    struct turns_decision d = turns_decide(&in);
    ck_assert_int_eq(d.action, TURNS_WAIT);
    ck_assert_int_eq(d.until_ns, 70 * S + 1);
    in.now_ns = d.until_ns;
    ck_assert_int_eq(turns_decide(&in).action, TURNS_SWAP);
    in.seated_since_ns = 65 * S; /* it has not sat for Q = 18 s */
    ck_assert_int_eq(turns_decide(&in).action, TURNS_WAIT);
    ck_assert_int_eq(turns_decide(&in).until_ns, 83 * S);
}
END_TEST

START_TEST(who_had_gathered_is_served_first) {
    struct turns_queue other = queue(10);
    struct turns_input in = {.now_ns = 100 * S,
                             .seated = true,
                             .seated_has_work = true,
                             .seated_since_ns = 20 * S,
                             .seated_oldest_ns = 19 * S,
                             .idle_since_ns = INT64_MAX,
                             .others = &other,
                             .n_others = 1,
                             .settings = usual()};
    struct turns_decision d = turns_decide(&in);
    ck_assert_int_eq(d.action, TURNS_WAIT);
    ck_assert_int_eq(d.until_ns, 260 * S); /* G = 4 B after it sat down, whatever has gathered */
    in.seated_oldest_ns = 21 * S;          /* they have entered; who came later waits with all others */
    ck_assert_int_eq(turns_decide(&in).action, TURNS_SWAP);
    in.seated_oldest_ns = 19 * S;
    in.now_ns = 260 * S;
    ck_assert_int_eq(turns_decide(&in).action, TURNS_SWAP);
}
END_TEST

START_TEST(patience_is_for_those_who_come_back) {
    struct turns_queue other = queue(10);
    struct turns_input in = {.now_ns = 10 * S,
                             .seated = true,
                             .seated_oldest_ns = INT64_MAX,
                             .idle_since_ns = 10 * S,
                             .others = &other,
                             .n_others = 1,
                             .settings = usual()};
    ck_assert_int_eq(turns_decide(&in).action, TURNS_WAIT); /* nothing is known of it */
    turns_habit_note(&in.habit, false);
    ck_assert_int_eq(turns_decide(&in).action, TURNS_SWAP);
    turns_habit_note(&in.habit, true); /* one of two */
    ck_assert_int_eq(turns_decide(&in).until_ns, 12 * S);
    for (int i = 0; i < 5; i++) turns_habit_note(&in.habit, false);
    ck_assert_int_eq(turns_decide(&in).action, TURNS_SWAP);
    in.settings.patience_ns = 3 * S; /* whoever sets it means it */
    ck_assert_int_eq(turns_decide(&in).until_ns, 13 * S);
    in.settings.patience_ns = -1;
    for (int i = 0; i < TURNS_HABIT_MAX; i++)
        turns_habit_note(&in.habit, true); /* the old ones are forgotten */
    ck_assert_int_eq(turns_decide(&in).action, TURNS_WAIT);
}
END_TEST

/* ---- estimates ---- */

START_TEST(estimates_walk_the_policy_ahead) {
    struct turns_queue others[] = {queue(5), queue(3)};
    struct turns_input in = {.now_ns = 10 * S,
                             .seated = true,
                             .seated_has_work = true,
                             .seated_since_ns = 0,
                             .seated_oldest_ns = 9 * S,
                             .idle_since_ns = INT64_MAX,
                             .others = others,
                             .n_others = 2,
                             .settings = usual(),
                             .seated_work = {.running = 4, .waiting = 2, .service_ns = 4 * S},
                             .parallel = 4,
                             .drain_ns = 30 * S};
    in.settings.patience_ns = 1 * S;
    /* A slot comes free every second. */
    ck_assert_int_eq(turns_eta_ns(&in, TURNS_SEATED, 1), 1 * S);
    ck_assert_int_eq(turns_eta_ns(&in, TURNS_SEATED, 3), 3 * S);
    /* Six requests at four a time take 6 s, then the patience, then a swap of 2 s. */
    others[1].work = (struct turns_work){.waiting = 8, .service_ns = 2 * S};
    others[0].work = (struct turns_work){.waiting = 9, .service_ns = 4 * S};
    ck_assert_int_eq(turns_eta_ns(&in, 1, 1), (6 + 1 + 2) * S);
    ck_assert_int_eq(turns_eta_ns(&in, 1, 8),
                     (6 + 1 + 2 + 2) * S); /* four enter at once, the eighth 4 slots later */
    /* The younger queue: after the older one's 4 s of work, a patience and a swap. */
    ck_assert_int_eq(turns_eta_ns(&in, 0, 1), (6 + 1 + 2 + 4 + 1 + 2) * S);
    /* Much work: who waited longer than B ends the sitting, and half a service is drained; what had gathered goes first. */
    in.seated_work.waiting = 116;
    ck_assert_int_eq(turns_eta_ns(&in, 1, 1), (3 + 60 - 10 + 2 + 2) * S + 1);
    in.seated_oldest_ns = -1;
    ck_assert_int_eq(turns_eta_ns(&in, 1, 1), (120 + 1 + 2) * S);
    in.settings.patience_ns = -1;
    turns_habit_note(&in.habit, false);
    ck_assert_int_eq(turns_eta_ns(&in, 1, 1), (120 + 2) * S);
    in.settings.patience_ns = 1 * S;
    /* A free slot is entered at once; what is left of a swap is waited for. */
    in.seated_work.running = 3;
    ck_assert_int_eq(turns_eta_ns(&in, TURNS_SEATED, 1), 0);
    in.swap_left_ns = 7 * S;
    ck_assert_int_eq(turns_eta_ns(&in, TURNS_SEATED, 1), 7 * S);
    in.seated = false; /* an empty seat */
    in.swap_left_ns = 0;
    ck_assert_int_eq(turns_eta_ns(&in, 1, 1), 2 * S);
}
END_TEST

START_TEST(estimates_know_the_background) {
    struct turns_queue others[] = {queue(3), queue(5)};
    struct turns_input in = {.now_ns = 100 * S,
                             .seated = true,
                             .seated_has_work = true,
                             .seated_since_ns = 95 * S,
                             .seated_oldest_ns = INT64_MAX,
                             .idle_since_ns = INT64_MAX,
                             .others = others,
                             .n_others = 2,
                             .settings = usual(),
                             .seated_work = {.running = 4, .waiting = 400, .service_ns = 4 * S},
                             .parallel = 4,
                             .drain_ns = 30 * S};
    in.settings.patience_ns = 0;
    others[0].background = true;
    others[0].work = (struct turns_work){.waiting = 1, .service_ns = 4 * S};
    others[1].work = (struct turns_work){.waiting = 1, .service_ns = 8 * S};
    /* The younger queue goes first, when the seated model, with other work too, has been cut off; the background waits for its end. */
    ck_assert_int_eq(turns_eta_ns(&in, 1, 1), (13 + 2 + 2) * S);
    ck_assert_int_eq(turns_eta_ns(&in, 0, 1), (13 + 2 + 2 + 2 + 2) * S);
    in.seated_background = true; /* parked at once, without a drain */
    ck_assert_int_eq(turns_eta_ns(&in, 1, 1), (13 + 2) * S);
    in.seated_background = false;
    in.drain_ns = S; /* no drain is longer */
    ck_assert_int_eq(turns_eta_ns(&in, 1, 1), (13 + 1 + 2) * S);
    in.n_others = 1; /* nobody but the background: all 404 s of work */
    ck_assert_int_eq(turns_eta_ns(&in, 0, 1), (404 + 2) * S);
}
END_TEST

START_TEST(background_takes_only_what_nobody_wants) {
    struct turns_queue others[] = {queue(1), queue(50)};
    others[0].background = true;
    struct turns_input in = {.now_ns = 1000 * S,
                             .seated = true,
                             .seated_has_work = true,
                             .seated_since_ns = 0,
                             .seated_oldest_ns = INT64_MAX,
                             .idle_since_ns = INT64_MAX,
                             .others = others,
                             .n_others = 1,
                             .settings = usual()};
    ck_assert_int_eq(turns_decide(&in).action, TURNS_WAIT); /* however long it has waited */
    ck_assert_int_eq(turns_decide(&in).until_ns, INT64_MAX);
    in.n_others = 2; /* whoever is not background goes first, though younger */
    ck_assert_int_eq(turns_decide(&in).action, TURNS_SWAP);
    ck_assert_uint_eq(turns_decide(&in).target, 1);
    in.n_others = 1;
    in.seated_has_work = false;
    in.idle_since_ns = 999 * S;
    ck_assert_int_eq(turns_decide(&in).until_ns, 1001 * S); /* the patience is kept */
    in.now_ns = 1001 * S;
    ck_assert_int_eq(turns_decide(&in).action, TURNS_SWAP);
    in.seated = false;
    in.now_ns = 0;
    ck_assert_int_eq(turns_decide(&in).action, TURNS_SWAP);
}
END_TEST

START_TEST(background_makes_way) {
    struct turns_queue other = queue(100);
    struct turns_input in = {.now_ns = 100 * S,
                             .seated = true,
                             .seated_has_work = true,
                             .seated_background = true,
                             .seated_since_ns = 90 * S,
                             .seated_oldest_ns = INT64_MAX,
                             .idle_since_ns = INT64_MAX,
                             .others = &other,
                             .n_others = 1,
                             .settings = usual()};
    ck_assert_int_eq(turns_decide(&in).action, TURNS_WAIT);
    ck_assert_int_eq(turns_decide(&in).until_ns, 108 * S); /* Q, not B */
    in.now_ns = 108 * S;
    ck_assert_int_eq(turns_decide(&in).action, TURNS_SWAP);
    in.hold_until_ns = 120 * S; /* an admin's word */
    ck_assert_int_eq(turns_decide(&in).until_ns, 120 * S);
    in.hold_until_ns = 0;
    other.background = true; /* not for another batch */
    ck_assert_int_eq(turns_decide(&in).until_ns, INT64_MAX);
}
END_TEST

START_TEST(just_idle_with_the_longest_patience) {
    struct turns_queue other = queue(10);
    struct turns_input in = {.now_ns = 30 * S,
                             .seated = true,
                             .seated_oldest_ns = INT64_MAX,
                             .seated_since_ns = 29 * S,
                             .idle_since_ns = INT64_MAX, /* not seen idle yet */
                             .others = &other,
                             .n_others = 1,
                             .settings = usual()};
    struct turns_decision d = turns_decide(&in);
    ck_assert_int_eq(d.action, TURNS_WAIT);
    ck_assert_int_eq(d.until_ns, 70 * S + 1);
}
END_TEST

START_TEST(parked_streams_do_not_undo_an_offload) {
    struct turns_queue others[] = {queue(1), queue(3)};
    struct turns_input in = {
        .now_ns = 5 * S, .hold_until_ns = 8 * S, .others = others, .n_others = 1, .settings = usual()};
    others[0].parked = true;
    ck_assert_int_eq(turns_decide(&in).action, TURNS_WAIT);
    ck_assert_int_eq(turns_decide(&in).until_ns, 8 * S);
    in.n_others = 2; /* somebody new, though younger */
    ck_assert_int_eq(turns_decide(&in).action, TURNS_SWAP);
    ck_assert_uint_eq(turns_decide(&in).target, 1);
    in.now_ns = 8 * S;
    ck_assert_uint_eq(turns_decide(&in).target, 0);
}
END_TEST

START_TEST(hold_of_an_admin) {
    struct turns_queue other = queue(1);
    struct turns_input in = {.now_ns = 30 * S,
                             .seated = true,
                             .seated_oldest_ns = INT64_MAX,
                             .idle_since_ns = 1 * S,
                             .hold_until_ns = 40 * S,
                             .others = &other,
                             .n_others = 1,
                             .settings = usual()};
    ck_assert_int_eq(turns_decide(&in).until_ns, 40 * S);
    in.now_ns = 40 * S;
    ck_assert_int_eq(turns_decide(&in).action, TURNS_SWAP);
}
END_TEST

START_TEST(who_just_left_goes_behind) {
    struct turns_queue others[] = {queue(1), queue(5)};
    others[0].left_seat_ns = 20 * S;
    struct turns_input in = {.now_ns = 30 * S, .others = others, .n_others = 2, .settings = usual()};
    ck_assert_uint_eq(turns_decide(&in).target, 1);
}
END_TEST

START_TEST(stay_and_patience) {
    struct turns_settings s = usual();
    ck_assert_int_eq(turns_stay_ns(&s, S), 9 * S);
    ck_assert_int_eq(turns_stay_ns(&s, 10 * S), 30 * S);
    ck_assert_int_eq(turns_patience_ns(&s, S / 2), S / 2);
    s.stay_min_ns = 7 * S;
    ck_assert_int_eq(turns_stay_ns(&s, S), 7 * S);
}
END_TEST

/* ---- a server in model time: K queues, one seat, one request at a time ---- */

#define K_MAX 5
#define PENDING_MAX 4096

static uint64_t rng;
static uint32_t draw(uint32_t n) {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng % n);
}

struct sim {
    int k, seated;
    int64_t now, since, idle_since, left[K_MAX], swap_ns, busy_until;
    int64_t queue[K_MAX][PENDING_MAX];
    uint32_t head[K_MAX], tail[K_MAX];
    uint32_t swaps, early, served;
    int64_t worst_first; /* longest wait of a request that found its own queue empty */
    bool found_empty[K_MAX][PENDING_MAX];
    uint32_t background[K_MAX], percent; /* background requests that wait; how many of all are */
    int64_t background_since[K_MAX];
    bool runs_background;
    uint32_t background_served, background_swaps;
    struct turns_settings settings;
};

static uint32_t length(const struct sim *m, int i) {
    return m->tail[i] - m->head[i];
}

static void arrive(struct sim *m, int i) {
    if (draw(100) < m->percent) {
        if (!m->background[i]++) m->background_since[i] = m->now;
        return;
    }
    if (m->tail[i] == PENDING_MAX) return;
    m->found_empty[i][m->tail[i]] = !length(m, i);
    m->queue[i][m->tail[i]++] = m->now;
}

static void serve(struct sim *m, int64_t takes) {
    int i = m->seated;
    if (i < 0 || m->now < m->busy_until) return;
    m->runs_background = !length(m, i) && m->background[i];
    if (m->runs_background) {
        m->background[i]--;
        m->background_served++;
        m->busy_until = m->now + takes;
    }
    if (!length(m, i)) return;
    int64_t waited = m->now - m->queue[i][m->head[i]];
    if (m->found_empty[i][m->head[i]] && waited > m->worst_first) m->worst_first = waited;
    m->head[i]++;
    m->served++;
    m->busy_until = m->now + takes;
}

static void turn(struct sim *m, int64_t drain) {
    struct turns_queue others[K_MAX];
    int ids[K_MAX];
    uint32_t n = 0;
    for (int i = 0; i < m->k; i++) {
        bool background = !length(m, i);
        if (i == m->seated || (background && !m->background[i])) continue;
        others[n] =
            (struct turns_queue){.oldest_ns = background ? m->background_since[i] : m->queue[i][m->head[i]],
                                 .left_seat_ns = m->left[i],
                                 .swap_ns = m->swap_ns,
                                 .background = background};
        ids[n++] = i;
    }
    bool queued = m->seated >= 0 && length(m, m->seated), runs = m->seated >= 0 && m->now < m->busy_until;
    bool work = queued || runs || (m->seated >= 0 && m->background[m->seated]);
    bool background = work && !queued && !(runs && !m->runs_background);
    if (work)
        m->idle_since = INT64_MAX;
    else if (m->idle_since == INT64_MAX)
        m->idle_since = m->now;
    struct turns_input in = {.now_ns = m->now,
                             .seated = m->seated >= 0,
                             .seated_has_work = work,
                             .seated_background = background,
                             .seated_oldest_ns = queued ? m->queue[m->seated][m->head[m->seated]] : INT64_MAX,
                             .seated_since_ns = m->since,
                             .idle_since_ns = m->idle_since,
                             .others = others,
                             .n_others = n,
                             .settings = m->settings};
    struct turns_decision d = turns_decide(&in);
    if (d.action != TURNS_SWAP) return;
    if (others[d.target].background) { /* nobody wants the seat, and nobody else wants another */
        ck_assert(!work);
        for (uint32_t i = 0; i < n; i++) ck_assert(others[i].background);
        m->background_swaps++;
    }
    if (background) { /* whoever comes has not to wait for B */
        ck_assert(m->now - m->since >= turns_stay_ns(&m->settings, m->swap_ns));
        if (m->runs_background && runs) { /* parked at once: comes back as a request */
            m->background[m->seated]++;
            m->background_since[m->seated] = m->now;
            m->busy_until = m->now;
        }
    } else if (work) { /* only for somebody who has waited longer than B, and not before Q */
        int64_t waits = others[d.target].oldest_ns > others[d.target].left_seat_ns
                            ? others[d.target].oldest_ns
                            : others[d.target].left_seat_ns;
        ck_assert(m->now - waits > m->settings.wait_bound_ns);
        ck_assert(m->now - m->since >= turns_stay_ns(&m->settings, m->swap_ns));
        m->early++;
    }
    m->left[m->seated < 0 ? 0 : m->seated] = m->seated < 0 ? INT64_MIN : m->now;
    int64_t drained =
        m->busy_until > m->now ? (m->busy_until - m->now > drain ? drain : m->busy_until - m->now) : 0;
    m->now += drained + m->swap_ns;
    m->busy_until = m->now;
    m->seated = ids[d.target];
    m->since = m->now;
    m->idle_since = INT64_MAX;
    m->swaps++;
}

static void run(struct sim *m, int64_t seconds, uint32_t gap_ms, int64_t takes, int64_t drain) {
    int64_t next = 0, step = S / 20;
    for (m->now = 0; m->now < seconds * S; m->now += step) {
        while (next <= m->now) {
            arrive(m, (int)draw((uint32_t)m->k));
            next += (int64_t)(1 + draw(2 * gap_ms)) * (S / 1000);
        }
        serve(m, takes);
        turn(m, drain);
    }
}

START_TEST(bound_holds_on_random_arrivals) {
    static struct sim m;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        memset(&m, 0, sizeof m);
        rng = seed * 0x9E3779B97F4A7C15u;
        m.k = 2 + (int)draw(4);
        m.seated = -1;
        m.idle_since = INT64_MAX;
        m.swap_ns = S / 2 + (int64_t)draw(4) * S;
        m.settings = usual();
        m.settings.wait_bound_ns = (int64_t)(5 + draw(60)) * S;
        for (int i = 0; i < K_MAX; i++) m.left[i] = INT64_MIN;
        m.percent = seed % 2 ? draw(60) : 0;
        uint32_t gap_ms = 300 + draw(3000);
        int64_t takes = S / 5 + (int64_t)draw(10) * S / 10, drain = 3 * S;
        run(&m, 1500, gap_ms, takes, drain);
        int64_t bound = turns_worst_wait_ns(&m.settings, (uint32_t)m.k, m.swap_ns, drain) +
                        S; /* the simulation's own step */
        ck_assert_msg(m.worst_first <= bound, "seed %llu: %.1f s > %.1f s", (unsigned long long)seed,
                      (double)m.worst_first / 1e9, (double)bound / 1e9);
        ck_assert_uint_gt(m.served, 100);
        ck_assert(m.percent == 0 || m.background_served + m.background_swaps > 0);
        /* No oscillation: a sitting is at least a patience or Q long, so the seat is not spent on swaps. */
        ck_assert_msg((int64_t)m.swaps * m.swap_ns <= 1500 * S * 6 / 10, "seed %llu: %u swaps",
                      (unsigned long long)seed, m.swaps);
    }
}
END_TEST

START_TEST(two_busy_models_share_without_thrash) {
    static struct sim m;
    memset(&m, 0, sizeof m);
    rng = 42;
    m.k = 2;
    m.seated = -1;
    m.idle_since = INT64_MAX;
    m.swap_ns = S;
    m.settings = usual();
    m.left[0] = m.left[1] = INT64_MIN;
    run(&m, 1200, 200, S, 5 * S);               /* five times as much work as there is time */
    ck_assert_uint_le(m.swaps, 1200 / 240 + 2); /* each turn lasts G: there is always a backlog */
    ck_assert_uint_ge(m.early, 4);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {nobody_waits,
                                  empty_seat_takes_the_oldest,
                                  idle_model_waits_a_short_patience,
                                  busy_model_stays_until_somebody_waited_too_long,
                                  who_had_gathered_is_served_first,
                                  patience_is_for_those_who_come_back,
                                  estimates_walk_the_policy_ahead,
                                  estimates_know_the_background,
                                  background_takes_only_what_nobody_wants,
                                  background_makes_way,
                                  just_idle_with_the_longest_patience,
                                  parked_streams_do_not_undo_an_offload,
                                  hold_of_an_admin,
                                  who_just_left_goes_behind,
                                  stay_and_patience,
                                  bound_holds_on_random_arrivals,
                                  two_busy_models_share_without_thrash};
    return CHECK_RUN("turns", tests);
}
