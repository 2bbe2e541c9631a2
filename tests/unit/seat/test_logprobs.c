/* One row of logits against the plain formula. */
#include <math.h>
#include <stdlib.h>

#include "base/attr.h"
#include "check_run.h"
#include "seat/logprobs.h"

#define VOCAB 500

static float row[VOCAB];

static double plain(int32_t token) {
    long double sum = 0;
    for (int i = 0; i < VOCAB; i++) sum += expl((long double)row[i]);
    return (double)((long double)row[token] - logl(sum));
}

static void near(double got, double expected) {
    ck_assert_msg(got <= expected + 1e-12 && got > expected - 1.001e-6, "%.9f is not %.9f rounded down", got,
                  expected);
}

START_TEST(random_rows) {
    unsigned seed = 3;
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < VOCAB; i++) row[i] = (float)(rand_r(&seed) % 400) / 8 - 25; /* with ties */
        int32_t token = rand_r(&seed) % VOCAB;
        uint32_t n = (uint32_t)rand_r(&seed) % (TOP_LOGPROBS_MAX + 1);
        struct logprobs got;
        logprobs_of_row(row, VOCAB, token, n, &got);
        near(got.token, plain(token));
        ck_assert_uint_eq(got.n_top, n);
        double sum = 0;
        for (uint32_t i = 0; i < n; i++) {
            near(got.top[i].logprob, plain(got.top[i].id));
            sum += exp(got.top[i].logprob);
            uint32_t before = 0; /* tokens that are likelier, or as likely with a lower id */
            for (int32_t t = 0; t < VOCAB; t++)
                before += row[t] > row[got.top[i].id] || (row[t] == row[got.top[i].id] && t < got.top[i].id);
            ck_assert_uint_eq(before, i);
        }
        ck_assert_double_le(sum, 1);
    }
}
END_TEST

START_TEST(a_sure_token_is_0_and_an_impossible_one_is_openais_number) {
    struct logprobs got;
    for (int i = 0; i < VOCAB; i++) row[i] = -INFINITY;
    row[7] = 12.5f;
    logprobs_of_row(row, VOCAB, 7, 5, &got);
    ck_assert_double_eq(got.token, 0);
    ck_assert(!signbit(got.token));
    ck_assert_uint_eq(got.n_top, 1); /* there are no others */
    ck_assert_int_eq(got.top[0].id, 7);
    logprobs_of_row(row, VOCAB, 8, 5, &got);
    ck_assert_double_eq(got.token, LOGPROB_LEAST);
    row[9] = -20000;
    logprobs_of_row(row, VOCAB, 9, 5, &got);
    ck_assert_double_eq(got.token, LOGPROB_LEAST);
    ck_assert_double_eq(got.top[1].logprob, LOGPROB_LEAST);
}
END_TEST

START_TEST(what_is_no_number_stays_inside) {
    struct logprobs got;
    for (int i = 0; i < VOCAB; i++) row[i] = NAN;
    logprobs_of_row(row, VOCAB, 3, 2, &got);
    ck_assert_double_eq(got.token, LOGPROB_LEAST);
    ck_assert_uint_eq(got.n_top, 0);
    for (int i = 0; i < VOCAB; i++) row[i] = -INFINITY;
    logprobs_of_row(row, VOCAB, 3, 2, &got);
    ck_assert_double_eq(got.token, LOGPROB_LEAST);
    for (int i = 0; i < VOCAB; i++) row[i] = INFINITY;
    logprobs_of_row(row, VOCAB, 3, 2, &got);
    for (uint32_t i = 0; i < got.n_top; i++) ck_assert_double_eq(got.top[i].logprob, LOGPROB_LEAST);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {random_rows, a_sure_token_is_0_and_an_impossible_one_is_openais_number,
                                  what_is_no_number_stays_inside};
    return CHECK_RUN("logprobs", tests);
}
