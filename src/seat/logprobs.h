/* logprobs.h - log-probabilities of one row of logits: of the token that was drawn, and of the likeliest ones.
 *
 * Named rule THE MODEL'S OWN: they are the log-softmax of the row as the model gave it, before logit_bias, penalties, grammar,
 * temperature and the filters: what llama.cpp's server reports (server-common.cpp, get_token_probabilities() reads
 * llama_get_logits_ith(), whatever its sampler does to its own copy). So the drawn token need not be among the likeliest.
 * Each is rounded down to a millionth, so that it is short as text and probabilities still add up to 1 at most; what is
 * less likely than OpenAI's -9999.0 says just that. Pure. Thread: any. */
#ifndef HOTSEAT_SEAT_LOGPROBS_H
#define HOTSEAT_SEAT_LOGPROBS_H

#include <stdint.h>

#include "base/limits.h"

#define LOGPROB_LEAST (-9999.0)

struct logprobs {
    double token;
    uint32_t n_top;
    struct {
        int32_t id;
        double logprob;
    } top[TOP_LOGPROBS_MAX]; /* the likeliest first; of two the lower id */
};

/* token < n_vocab; n_top <= TOP_LOGPROBS_MAX. Fewer come where the vocabulary has fewer that are possible at all. */
void logprobs_of_row(const float *row, uint32_t n_vocab, int32_t token, uint32_t n_top, struct logprobs *ret);

#endif
