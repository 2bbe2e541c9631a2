/* look_answer.h - llama-server's answers about a prompt: {"tokens": [id, ...]}, with pieces {"tokens": [{"id", "piece"}, ...]} (a piece
 * that is not UTF-8 by itself is an array of its bytes), {"content": text}, {"prompt": text}. Pure. Thread: any. */
#ifndef HOTSEAT_HTTP_LOOK_ANSWER_H
#define HOTSEAT_HTTP_LOOK_ANSWER_H

#include "front/reply.h"
#include "http/api.h"

/* r is the DONE reply. ERR_NOMEM, ERR_LIMIT, ERR_PROTOCOL (pieces that do not fit their tokens). */
enum err look_answer_put(enum answer_kind kind, const struct reply *r, struct buf *out) NODISCARD;

#endif
