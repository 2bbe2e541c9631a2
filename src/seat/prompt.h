/* prompt.h - the text of a prompt becomes tokens, with the tokens of known conversations where they stand for the same text.
 * Why: what was generated is often not what the tokenizer makes of its text, and KV lies under the tokens. The longest
 * conversation that the prompt begins with gives its tokens verbatim; only the rest is tokenized.
 * Thread: the engine's. */
#ifndef HOTSEAT_SEAT_PROMPT_H
#define HOTSEAT_SEAT_PROMPT_H

#include "seat/engine.h"

struct prompt_chain {
    const int32_t *tokens;
    uint32_t n;
};

/* A conversation is used up to its last token that ends inside the prompt's text at a place where the text may be
 * cut: after a control token, at the text's own end, or, when all of it fits, before anything that does not go on with its
 * last word. The pieces of the result give exactly the text (checked), else all of it is tokenized plainly.
 * A text whose beginning alone has more than n_max tokens (0: any number will do) is not looked at any further: streams wait for their
 * next token meanwhile, and a tokenizer takes seconds for some megabytes. Then ERR_CONTEXT_LENGTH, and it has *ret_n tokens at
 * least. A text that has not many more than n_max passes: the caller counts.
 * *ret_ids: caller frees. *ret_spliced: how many come from a conversation. */
enum err prompt_tokenize(const struct engine *e, const char *text, size_t size,
                         const struct prompt_chain *chains, uint32_t n_chains, uint32_t n_max,
                         int32_t **ret_ids, uint32_t *ret_n, uint32_t *ret_spliced) NODISCARD;

/* How many of ids, which stand for text, stand for at most its first n_bytes. */
uint32_t prompt_tokens_within(const struct engine *e, const char *text, size_t size, const int32_t *ids,
                              uint32_t n, size_t n_bytes);

#endif
