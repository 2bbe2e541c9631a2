/* token_probs.h - what SUBMIT and DELTA carry about logits, packed into their BYTES and TOKENS: the biases of a request, the
 * log-probabilities of a generated token, and which tokens a delta's text is of. Pure. Thread: any.
 *
 * Named rule SAID ONCE: a token's probabilities travel once, in the delta that brings the token. Its text may be held back (half a
 * character, the beginning of a stop string) and come in a later delta, which names the token in `shown`. The receiver keeps what has
 * not been shown yet. So a stream that moves to another seat needs nothing but its tokens: what the old seat drew and did not show, the
 * new one finds out again from the replayed tokens, without their logits. */
#ifndef HOTSEAT_LINK_TOKEN_PROBS_H
#define HOTSEAT_LINK_TOKEN_PROBS_H

#include "base/limits.h"
#include "link/messages.h"

/* SUBMIT.logit_bias: a u32 id and an f64 each. */
#define TOKEN_BIAS_BYTES 12
void token_bias_put(struct buf *out, int32_t token, double bias);
uint32_t token_bias_count(const struct msg_bytes *b);
int32_t token_bias_at(const struct msg_bytes *b, uint32_t i, double *ret_bias); /* i < the count */

/* DELTA.logprobs */
struct token_prob {
    double logprob;
    bool control; /* text names it; it gives no bytes to an answer */
    const uint8_t *text;
    uint32_t size;
};
struct token_probs {
    uint32_t index; /* of the token among those generated, from 0; a moved stream goes on counting */
    struct token_prob token;
    uint32_t n_top;
    struct token_prob top[TOP_LOGPROBS_MAX]; /* the likeliest first */
};
void token_probs_put(struct buf *out, const struct token_probs *p);
/* The next record; its texts point into c's data. ERR_PROTOCOL. */
enum err token_probs_get(struct cursor *c, struct token_probs *ret) NODISCARD;

/* DELTA.shown: pairs of an index and the place where the token's text begins, in characters from the beginning of the prompt, ascending.
 * The place is SHOWN_NEVER when it is known that the token's text is no content (thoughts, a tool call). */
#define SHOWN_NEVER (-1)

#endif
