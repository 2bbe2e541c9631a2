#include "seat/logprobs.h"

#include <math.h>

#include "base/must.h"

#define MILLIONTH 1e6
/* Less than the likeliest one by so much, and a quarter of a million of them are less than 1e-12 of the sum. */
#define NEGLIGIBLE_NATS 40.0

static double rounded(double logprob) {
    double down = floor(logprob * MILLIONTH) / MILLIONTH;
    if (!(down > LOGPROB_LEAST)) return LOGPROB_LEAST; /* also for what is no number */
    return down < 0 ? down : 0;
}

/* The ids of the n largest, in order; returns how many there are. A row is walked once: few tokens pass the last place. */
static uint32_t largest(const float *row, uint32_t n_vocab, uint32_t n, int32_t *ids) {
    uint32_t have = 0;
    float least = -INFINITY; /* to be passed */
    for (uint32_t t = 0; t < n_vocab && n > 0; t++) {
        if (!(row[t] > least)) continue;
        uint32_t at = have < n ? have++ : n - 1;
        for (; at > 0 && row[ids[at - 1]] < row[t]; at--) ids[at] = ids[at - 1];
        ids[at] = (int32_t)t;
        if (have == n) least = row[ids[n - 1]];
    }
    return have;
}

void logprobs_of_row(const float *row, uint32_t n_vocab, int32_t token, uint32_t n_top,
                     struct logprobs *ret) {
    must(token >= 0 && (uint32_t)token < n_vocab && n_top <= TOP_LOGPROBS_MAX);
    int32_t ids[TOP_LOGPROBS_MAX + 1] = {0};
    uint32_t n = largest(row, n_vocab, n_top ? n_top : 1, ids);
    double top = n ? (double)row[ids[0]] : 0, sum = 0;
    for (uint32_t t = 0; t < n_vocab; t++) {
        double below = (double)row[t] - top;
        if (below > -NEGLIGIBLE_NATS) sum += exp(below);
    }
    double all = sum > 0 ? top + log(sum) : top; /* a row of nothing possible */
    ret->token = rounded((double)row[token] - all);
    ret->n_top = n_top ? n : 0;
    for (uint32_t i = 0; i < ret->n_top; i++) {
        ret->top[i].id = ids[i];
        ret->top[i].logprob = rounded((double)row[ids[i]] - all);
    }
}
