/* openai_answer.h - one answer in OpenAI's shapes, made from the front's replies. A stream gives bytes with every reply,
 * else the deltas are collected and the whole body comes at the end. id, created, model and system_fingerprint are the
 * same in every chunk.
 *   NEW -> (ENTERED, WAITING, DELTA)* -> DONE.   Errors are not its business: see http_error.h.
 * Thread: the net thread. */
#ifndef HOTSEAT_HTTP_OPENAI_ANSWER_H
#define HOTSEAT_HTTP_OPENAI_ANSWER_H

#include "front/reply.h"
#include "http/api.h"

struct openai_answer;

/* serial: makes the id ("chatcmpl-...") unique in this process. NULL: no memory. */
struct openai_answer *openai_answer_new(const struct answer_plan *plan, uint64_t serial) NODISCARD;
void openai_answer_free(struct openai_answer *a);
/* Appends what is to be sent now to out. OK, ERR_NOMEM, ERR_LIMIT (longer than ANSWER_BYTES_MAX), ERR_PROTOCOL (tool
 * calls that are not in the shape of reply.h). */
enum err openai_answer_take(struct openai_answer *a, const struct reply *r, struct buf *out) NODISCARD;

#endif
