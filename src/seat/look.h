/* look.h - what a request asks about its prompt, answered at once and without a stream: the tokens of a text, the text of tokens, what
 * the model's template makes of a chat. Nothing is read by the model, and nothing is left behind. (A count is a stream's business,
 * up to its prompt: it takes the tokens of known conversations, admit.c.) Thread: the engine's. */
#ifndef HOTSEAT_SEAT_LOOK_H
#define HOTSEAT_SEAT_LOOK_H

#include "link/messages.h"

struct room;

/* With a model loaded. Sends the request's end answer: DONE, or FAILED with ERR_INVALID (an id that is not in the vocabulary, messages
 * the template refuses), ERR_UNSUPPORTED, ERR_LIMIT (LOOK_TOKENS_MAX, ANSWER_BYTES_MAX), ERR_NOMEM. */
void look_answer(struct room *r, const struct msg_submit *req);

#endif
