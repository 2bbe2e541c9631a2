/* openai_logprobs.h - the logprobs of one answer in OpenAI's two shapes, from the records that come with each token and the word of
 * which tokens a text is of (link/token_probs.h: SAID ONCE). Records wait here until their text comes; a stream writes and forgets
 * what came with a delta, a whole answer what came with all of them.
 *   A chat:         {"content": [{"token", "logprob", "bytes", "top_logprobs": [{"token", "logprob", "bytes"}]}], "refusal": null}
 *   A plain prompt: {"tokens", "token_logprobs", "top_logprobs": [{token: logprob}], "text_offset"}
 * A token that is not UTF-8 by itself is shown with \xNN for each byte that is no character (a plain prompt's with "bytes:" before
 * it), as OpenAI does; `bytes` has what it really is, null for a control token, which gives none. Thread: the net thread. */
#ifndef HOTSEAT_HTTP_OPENAI_LOGPROBS_H
#define HOTSEAT_HTTP_OPENAI_LOGPROBS_H

#include "base/json.h"
#include "front/reply.h"
#include "http/api.h"

struct openai_logprobs {
    struct buf waiting; /* records */
    struct buf told;    /* an i32 place and a record each */
};

void openai_logprobs_open(struct openai_logprobs *l);
void openai_logprobs_free(struct openai_logprobs *l);
/* OK, ERR_NOMEM, ERR_LIMIT, ERR_PROTOCOL (what is shown has not come). */
enum err openai_logprobs_take(struct openai_logprobs *l, const struct reply *r) NODISCARD;
/* One value. null_content: a chat's answer has no content at all, so its content is null here too. */
void openai_logprobs_write(const struct openai_logprobs *l, enum answer_kind kind, bool null_content,
                           struct json_out *w);
void openai_logprobs_forget(struct openai_logprobs *l); /* what was written */

#endif
