/* openai_choice.h - one of the choices of an OpenAI answer: what was said so far (a whole answer's), its tool calls and its logprobs, and
 * both ways to write it. Thread: the net thread. */
#ifndef HOTSEAT_HTTP_OPENAI_CHOICE_H
#define HOTSEAT_HTTP_OPENAI_CHOICE_H

#include "front/reply.h"
#include "http/api.h"
#include "http/openai_logprobs.h"

struct openai_call {
    char *id, *name;
    struct buf arguments;
};

struct openai_choice {
    uint32_t index;
    bool role_sent;     /* stream: its first chunk is out */
    const char *finish; /* NULL until it is done. Static */
    struct buf text, reasoning;
    struct openai_call *calls; /* TOOLS_MAX, made with the first */
    uint32_t n_calls;
    struct openai_logprobs logprobs;
};

void openai_choice_open(struct openai_choice *c, uint32_t index);
void openai_choice_free(struct openai_choice *c);
/* A whole answer's DELTA. OK, ERR_NOMEM, ERR_LIMIT, ERR_PROTOCOL. */
enum err openai_choice_collect(struct openai_choice *c, const struct reply *r) NODISCARD;
size_t openai_choice_bytes(const struct openai_choice *c); /* collected */
/* One value: the whole choice, done. */
void openai_choice_write(const struct openai_choice *c, const struct answer_plan *plan, struct json_out *w);

struct openai_chunk {
    bool role;                 /* the first one */
    const struct reply *delta; /* its text, reasoning, tool calls; NULL: none */
    const char *finish;        /* NULL: not yet */
};
/* One value: a chunk's choice. */
void openai_choice_write_chunk(const struct openai_choice *c, const struct answer_plan *plan,
                               const struct openai_chunk *chunk, struct json_out *w);

#endif
