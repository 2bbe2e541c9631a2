/* The budget against machines that are formulas: what a step takes is a function of what it carries. */
#include <math.h>
#include <stdint.h>

#include "base/clock.h"
#include "check_run.h"
#include "seat/step_budget.h"

#define ITEMS_MAX 512
#define T0_US 10000.0 /* an undisturbed step of one stream */

enum shape { LINEAR, FIXED_PART, SMALL_ARE_DEAR, BY_16, CURVED, SHAPES };

struct machine {
    struct step_budget b;
    enum shape shape;
    double slow;     /* all of it */
    double token_us; /* about this for a prompt token */
    double stream;   /* a further stream's part of T0 */
    uint64_t random; /* 0: no noise */
    double last;     /* of the last step, in undisturbed ones */
    uint32_t n_steps, n_mixed, n_over, n_undisturbed;
    uint64_t n_tokens;
};

static double added_us(const struct machine *m, double k) {
    double c = m->token_us;
    if (k == 0) return 0;
    switch (m->shape) {
    case LINEAR: return c * k;
    case FIXED_PART: return 4 * c + c * k;
    case SMALL_ARE_DEAR: return c * k * (1 + 3 * exp(-k / 20));
    case BY_16: return c * 16 * ceil(k / 16);
    case CURVED: return c * k * (1 + k / 200);
    case SHAPES: break;
    }
    return 0;
}

static double undisturbed_us(const struct machine *m, uint32_t n) {
    return m->slow * T0_US * (1 + m->stream * (n - 1));
}

/* About normal, of the given width. */
static double noise(struct machine *m, double width) {
    double sum = -6;
    for (int i = 0; i < 12 && m->random; i++) {
        m->random = m->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        sum += (double)(m->random >> 33) / (double)(1u << 31);
    }
    return m->random ? exp(sum * width) : 1;
}

/* A step beside n running streams with a prompt that never ends; returns its prompt tokens. */
static uint32_t step(struct machine *m, uint32_t n) {
    uint32_t k = step_budget_tokens(&m->b, n);
    double us = (undisturbed_us(m, n) + m->slow * added_us(m, k)) * noise(m, 0.1);
    m->last = us / undisturbed_us(m, n);
    m->n_steps++;
    m->n_mixed += k > 0;
    m->n_undisturbed += k == 0;
    m->n_over += m->last > m->b.token_gap;
    m->n_tokens += k;
    step_budget_feed(&m->b, n, k, (int64_t)(us * NS_PER_US));
    return k;
}

/* The budget of the next step that carries any. */
static uint32_t next(struct machine *m, uint32_t n) {
    while (step_budget_tokens(&m->b, n) == 0) step(m, n);
    return step_budget_tokens(&m->b, n);
}

static void prompt_alone(struct machine *m) {
    step_budget_feed(&m->b, 0, ITEMS_MAX, (int64_t)(m->slow * added_us(m, ITEMS_MAX) * NS_PER_US));
}

static struct machine machine_of(enum shape shape, double token_us) {
    struct machine m = {.shape = shape, .slow = 1, .token_us = token_us, .stream = 0.1};
    step_budget_reset(&m.b, 0, ITEMS_MAX);
    return m;
}

/* The most tokens that keep the bound. */
static uint32_t ideal(const struct machine *m, uint32_t n) {
    uint32_t k = 0;
    double room = (m->b.token_gap - 1) * undisturbed_us(m, n);
    while (k < ITEMS_MAX - n && m->slow * added_us(m, k + 1) <= room) k++;
    return k;
}

static const double token_us[] = {40, 300, 1200}; /* 500, 66, 16 of them are in the bound */

START_TEST(without_streams_it_is_the_whole_step) {
    struct machine m = machine_of(LINEAR, 300);
    ck_assert_uint_eq(step_budget_tokens(&m.b, 0), ITEMS_MAX);
    for (int i = 0; i < 100; i++) step(&m, 2);
    ck_assert_uint_eq(step_budget_tokens(&m.b, 0), ITEMS_MAX);
}
END_TEST

START_TEST(it_begins_with_undisturbed_steps) {
    struct machine m = machine_of(LINEAR, 300);
    ck_assert_uint_eq(step_budget_tokens(&m.b, 1), 0);
    step_budget_feed(&m.b, 1, 0, 90 * NS_PER_MS); /* the first one after a load is slow */
    ck_assert_uint_eq(step_budget_tokens(&m.b, 1), 0);
    step_budget_feed(&m.b, 1, 0, 10 * NS_PER_MS);
    ck_assert_uint_eq(step_budget_tokens(&m.b, 1), STEP_BUDGET_TOKENS_FIRST);
    ck_assert_uint_eq(step_budget_tokens(&m.b, 2), 0); /* another number of streams */
    step(&m, 1);
    ck_assert(m.last < 3);
}
END_TEST

/* Whatever the costs look like: nearly from the first mixed step on, and most of what it leaves is used. */
START_TEST(the_bound_is_kept_and_used) {
    struct machine m = machine_of((enum shape)(_i / 3), token_us[_i % 3]);
    prompt_alone(&m);
    for (int i = 0; i < 300; i++) {
        uint32_t k = step(&m, 2);
        double bound = i < 10 ? 4 : m.shape == BY_16 ? 3.3 : 3.001;
        ck_assert_msg(m.last <= bound || k == m.b.token_gap - 1, "step %d: %u tokens, %.2f", i, k, m.last);
    }
    uint64_t before = m.n_tokens;
    for (int i = 0; i < 330; i++) step(&m, 2);
    double part = (double)(m.n_tokens - before) / 330 / ideal(&m, 2);
    /* By 16: 9 tokens cost what 16 do, and nobody tries more than seems to fit. */
    ck_assert_msg(part > (m.shape == BY_16 ? 0.45 : 0.7), "%.2f of what would be possible", part);
}
END_TEST

START_TEST(it_begins_small_when_no_prompt_was_seen) {
    struct machine m = machine_of(SMALL_ARE_DEAR, token_us[_i]);
    for (int i = 0; i < 50; i++) {
        step(&m, 2);
        ck_assert_msg(m.last <= (i < 10 ? 6 : 3.001), "step %d: %.2f", i, m.last);
    }
    for (int i = 0; i < 100; i++) step(&m, 2);
    uint32_t k = next(&m, 2);
    ck_assert_msg(k >= ideal(&m, 2) * 7 / 10, "%u of %u", k, ideal(&m, 2));
}
END_TEST

START_TEST(prompts_always_advance) {
    struct machine m = machine_of(LINEAR, 50000);
    prompt_alone(&m);
    for (int i = 0; i < 330; i++) {
        uint32_t k = step(&m, 3);
        ck_assert(k == 0 || k == STEP_BUDGET_GAP - 1);
    }
    ck_assert_uint_le(m.n_undisturbed, 12);
}
END_TEST

START_TEST(streams_come_and_go) {
    struct machine m = machine_of(FIXED_PART, 300);
    m.stream = 0.5;
    prompt_alone(&m);
    for (uint32_t i = 0; i < 600; i++) {
        static const uint32_t n[] = {1, 3, 2, 6, 1, 4};
        step(&m, n[i / 20 % 6]);
        ck_assert_msg(i < 20 || m.last <= 3.2, "step %u: %.2f", i, m.last);
    }
    ck_assert_uint_le(m.n_undisturbed, 2 * 5 + 30 + 1);
    double mean = (double)m.n_tokens / m.n_steps;
    ck_assert_msg(mean > 0.6 * ideal(&m, 2), "%.1f", mean);
}
END_TEST

/* New conversations are short where the last ones were long: what was measured of those says too much. */
START_TEST(a_stale_undisturbed_step_is_measured_anew) {
    struct machine m = machine_of(LINEAR, 300);
    for (int i = 0; i < 100; i++) step(&m, 2);
    for (int i = 0; i < 100; i++) step_budget_feed(&m.b, 1, 0, (int64_t)(3 * T0_US * NS_PER_US));
    m.n_over = 0;
    for (int i = 0; i < 200; i++) step(&m, 1);
    ck_assert_uint_le(m.n_over, 3 * 33);
    ck_assert(m.last <= 3);
}
END_TEST

START_TEST(it_follows_the_machine) {
    struct machine m = machine_of(FIXED_PART, 300);
    prompt_alone(&m);
    for (int i = 0; i < 100; i++) step(&m, 2);
    uint64_t before = m.n_tokens;
    m.token_us *= 4; /* a prompt deep in its context */
    for (int i = 0; i < 40; i++) {
        step(&m, 2);
        ck_assert_msg(i < 5 || m.last <= 3.2, "step %d: %.2f", i, m.last);
    }
    uint32_t most = ideal(&m, 2);
    m.token_us /= 4;
    for (int i = 0; i < 40; i++) step(&m, 2);
    before = m.n_tokens;
    for (int i = 0; i < 330; i++) step(&m, 2);
    ck_assert_uint_gt(ideal(&m, 2), 3 * most);
    ck_assert_uint_gt(m.n_tokens - before, 330 * ideal(&m, 2) * 7 / 10);
}
END_TEST

START_TEST(an_outlier_moves_little) {
    struct machine m = machine_of(LINEAR, 300);
    prompt_alone(&m);
    for (int i = 0; i < 100; i++) step(&m, 2);
    uint32_t k = next(&m, 2);
    step_budget_feed(&m.b, 2, k, NS_PER_S * 60);
    ck_assert_uint_ge(step_budget_tokens(&m.b, 2), k * 6 / 10);
    for (int i = 0; i < 12; i++) step(&m, 2);
    ck_assert_uint_ge(step_budget_tokens(&m.b, 2), k * 9 / 10);
    step_budget_feed(&m.b, 2, 0, NS_PER_S * 60);
    step(&m, 2);
    ck_assert(m.last <= 3.1);
    step_budget_feed(&m.b, 2, k, 1);
    step(&m, 2);
    ck_assert(m.last <= 3.4);
}
END_TEST

START_TEST(noise_makes_it_careful) {
    struct machine m = machine_of(SMALL_ARE_DEAR, token_us[_i]);
    m.random = 1;
    for (int i = 0; i < 100; i++) step(&m, 2);
    m.n_tokens = m.n_over = m.n_steps = 0;
    for (int i = 0; i < 5000; i++) step(&m, 2);
    ck_assert_msg(m.n_over < m.n_steps / 12, "%u of %u over the bound", m.n_over, m.n_steps);
    double part = (double)m.n_tokens / m.n_steps / ideal(&m, 2);
    ck_assert_msg(part > 0.5, "%.2f of what would be possible", part);
}
END_TEST

/* The last tokens of many prompts: each takes a step of its own, and says little of what a token costs. */
START_TEST(a_prompts_end_counts_for_less) {
    struct machine m = machine_of(FIXED_PART, 300);
    prompt_alone(&m);
    for (int i = 0; i < 100; i++) step(&m, 2);
    uint32_t k = next(&m, 2);
    for (int i = 0; i < 3; i++)
        step_budget_feed(&m.b, 2, 1, (int64_t)((undisturbed_us(&m, 2) + added_us(&m, 1)) * NS_PER_US));
    ck_assert_uint_ge(step_budget_tokens(&m.b, 2), k * 9 / 10);
}
END_TEST

START_TEST(the_setting_counts) {
    static const uint32_t gaps[] = {2, 3, 5, 20};
    struct machine m = machine_of(LINEAR, 300);
    step_budget_reset(&m.b, gaps[_i], ITEMS_MAX);
    prompt_alone(&m);
    for (int i = 0; i < 100; i++) {
        step(&m, 2);
        ck_assert(m.last <= gaps[_i] + 0.001);
    }
    ck_assert_uint_ge(next(&m, 2), (uint32_t)(0.8 * ideal(&m, 2)));
    step_budget_reset(&m.b, gaps[_i], ITEMS_MAX);
    ck_assert_uint_eq(step_budget_tokens(&m.b, 2), 0); /* all is forgotten */
}
END_TEST

/* The fake engine takes no time at all; figures near zero must be able to grow again. */
START_TEST(no_time_at_all_is_fine) {
    struct machine m = machine_of(LINEAR, 300);
    for (int i = 0; i < 100; i++) step_budget_feed(&m.b, 2, (uint32_t)(i % 2), 0);
    ck_assert_uint_ge(step_budget_tokens(&m.b, 2), STEP_BUDGET_GAP - 1);
    for (int i = 0; i < 4000; i++) step(&m, 2);
    ck_assert(m.last <= 3.2);
    ck_assert_uint_gt(next(&m, 2), ideal(&m, 2) / 2);
    ck_assert_uint_eq(step_budget_tokens(&m.b, PARALLEL_MAX), 0);
}
END_TEST

int main(void) {
    TCase *t = tcase_create("step_budget");
    const TTest *const tests[] = {without_streams_it_is_the_whole_step,
                                  it_begins_with_undisturbed_steps,
                                  prompts_always_advance,
                                  streams_come_and_go,
                                  a_stale_undisturbed_step_is_measured_anew,
                                  it_follows_the_machine,
                                  an_outlier_moves_little,
                                  a_prompts_end_counts_for_less,
                                  no_time_at_all_is_fine};
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) tcase_add_test(t, tests[i]);
    tcase_add_loop_test(t, the_bound_is_kept_and_used, 0, SHAPES * 3);
    tcase_add_loop_test(t, it_begins_small_when_no_prompt_was_seen, 0, 3);
    tcase_add_loop_test(t, noise_makes_it_careful, 0, 3);
    tcase_add_loop_test(t, the_setting_counts, 0, 4);
    return check_run_case("step_budget", t);
}
