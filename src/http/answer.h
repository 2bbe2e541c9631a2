/* answer.h - the answer to a request for text, in the shapes of its API, made from the front's replies. A stream gives bytes with
 * every reply, else they are collected and the whole body comes at the end. One door for the server; behind it stand
 * openai_answer.h, anthropic_answer.h and look_answer.h.
 *   NEW -> (ENTERED, WAITING, DELTA)* -> DONE.   Errors are not its business: see http_error.h.
 * Thread: the net thread. */
#ifndef HOTSEAT_HTTP_ANSWER_H
#define HOTSEAT_HTTP_ANSWER_H

#include "base/attr.h"
#include "front/reply.h"
#include "http/api.h"

struct answer;

bool answer_is_for(enum answer_kind kind); /* whether a request of this kind is answered through here */
/* serial: makes the id unique in this process. NULL: no memory. */
struct answer *answer_new(const struct answer_plan *plan, uint64_t serial) NODISCARD;
void answer_free(struct answer *a); /* NULL is fine */
/* Appends what is to be sent now to out. OK, ERR_NOMEM, ERR_LIMIT (longer than ANSWER_BYTES_MAX), ERR_PROTOCOL (tool
 * calls that are not in the shape of reply.h, pieces that are not their tokens'). */
enum err answer_take(struct answer *a, const struct reply *r, struct buf *out) NODISCARD;
/* A sign of life on a stream that would else be silent: a comment, and what the API has for it. */
void answer_alive(enum answer_kind kind, struct buf *out, const char *comment);
/* The last event of a stream that failed; body is the error's. */
void answer_error(enum answer_kind kind, const struct buf *body, struct buf *out);

#endif
