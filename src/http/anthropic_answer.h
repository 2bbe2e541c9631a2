/* anthropic_answer.h - one answer in Anthropic's shapes, made from the front's replies (answer.h). What the model says becomes
 * blocks, thinking, text and tool_use, in the order it says them: a block ends where another kind, or another call, begins. A
 * stream sends them as they come, a whole answer collects them; both go through the same two functions, so that they are the same.
 *
 *   ENTERED, or what comes first   message_start
 *   DELTA                          content_block_start, content_block_delta ..., content_block_stop
 *   DONE                           content_block_stop, message_delta, message_stop
 *   WAITING                        a comment and `ping`, before all that
 *
 * input_tokens is what the prompt has beyond what came from the cache. cache_creation_input_tokens is always 0: whatever is read
 * anew is kept, nothing is read for the cache's sake alone, and it is counted once. Thread: the net thread. */
#ifndef HOTSEAT_HTTP_ANTHROPIC_ANSWER_H
#define HOTSEAT_HTTP_ANTHROPIC_ANSWER_H

#include "front/reply.h"
#include "http/api.h"

struct anthropic_answer;

struct anthropic_answer *anthropic_answer_new(const struct answer_plan *plan, uint64_t serial) NODISCARD;
void anthropic_answer_free(struct anthropic_answer *a);
enum err anthropic_answer_take(struct anthropic_answer *a, const struct reply *r, struct buf *out) NODISCARD;
void anthropic_answer_ping(struct buf *out);

#endif
