#include "http/answer.h"

#include "base/mem.h"
#include "http/anthropic_answer.h"
#include "http/look_answer.h"
#include "http/openai_answer.h"
#include "http/sse.h"

struct answer { /* one of them; neither: llama-server's, which have no state */
    enum answer_kind kind;
    struct openai_answer *openai;
    struct anthropic_answer *anthropic;
};

static bool is_anthropic(enum answer_kind kind) {
    return kind == ANSWER_MESSAGE || kind == ANSWER_COUNT;
}

static bool is_llama(enum answer_kind kind) {
    return kind == ANSWER_TOKENS || kind == ANSWER_CONTENT || kind == ANSWER_PROMPT;
}

bool answer_is_for(enum answer_kind kind) {
    return kind == ANSWER_CHAT || kind == ANSWER_TEXT || is_anthropic(kind) || is_llama(kind);
}

struct answer *answer_new(const struct answer_plan *plan, uint64_t serial) {
    struct answer *a = mem_alloc(sizeof *a);
    if (!a) return NULL;
    a->kind = plan->kind;
    if (is_llama(plan->kind)) return a;
    if (is_anthropic(plan->kind))
        a->anthropic = anthropic_answer_new(plan, serial);
    else
        a->openai = openai_answer_new(plan, serial);
    if (a->anthropic || a->openai) return a;
    mem_free(a);
    return NULL;
}

void answer_free(struct answer *a) {
    if (!a) return;
    openai_answer_free(a->openai);
    anthropic_answer_free(a->anthropic);
    mem_free(a);
}

enum err answer_take(struct answer *a, const struct reply *r, struct buf *out) {
    if (is_llama(a->kind)) return r->kind == REPLY_DONE ? look_answer_put(a->kind, r, out) : ERR_OK;
    return a->anthropic ? anthropic_answer_take(a->anthropic, r, out) : openai_answer_take(a->openai, r, out);
}

void answer_alive(enum answer_kind kind, struct buf *out, const char *comment) {
    sse_comment(out, "%s", comment);
    if (kind == ANSWER_MESSAGE) anthropic_answer_ping(out);
}

void answer_error(enum answer_kind kind, const struct buf *body, struct buf *out) {
    if (kind == ANSWER_MESSAGE)
        sse_event(out, "error", body->data, body->size);
    else
        sse_data(out, body->data, body->size);
}
