/* api_openai.h - OpenAI's two ways to ask for text, POST /v1/chat/completions and POST /v1/completions: the table of
 * their parameters and the reading of their bodies (api_openai_read() in api.h). The answers are in openai_answer.h.
 *
 * The ignored-nothing rule: every parameter has one row that says what becomes of it.
 *   HONOURED   it does what OpenAI's reference says
 *   NO_EFFECT  it can't change the text; accepted in any value of the right kind
 *   NEUTRAL    it would change the text and is not supported: only the value that asks for nothing is accepted
 * null stands for "not given" everywhere but in messages and prompt. What is in no row is accepted and named in
 * X-Hotseat-Ignored. Thread: pure; the table is constant. */
#ifndef HOTSEAT_HTTP_API_OPENAI_H
#define HOTSEAT_HTTP_API_OPENAI_H

#include "http/api.h"

enum openai_api { OPENAI_CHAT, OPENAI_TEXT };
enum openai_rule { OPENAI_HONOURED, OPENAI_NO_EFFECT, OPENAI_NEUTRAL };

/* One body while it is read. */
struct openai_reader {
    enum openai_api api;
    const struct json *root;
    struct request *request;
    struct api_parsed *out;
    struct api_error *error;
    int64_t max_tokens, max_completion_tokens; /* 0: not given */
    char *cache_key, *user;                    /* owned */
};

/* v is never null. HONOURED: stores it, false when an error was set. NEUTRAL: whether v is the neutral value. */
typedef bool (*openai_param_fn)(struct openai_reader *r, const char *name, const struct json *v);
struct openai_param {
    const char *name;
    enum openai_rule rule;
    openai_param_fn fn; /* NULL for NO_EFFECT */
    const char *text;   /* for people: range and default, or the neutral value */
};
const struct openai_param *openai_params(enum openai_api api, size_t *ret_count);
const char *openai_rule_name(enum openai_rule rule); /* "honoured" */

/* The readers of the larger parts (openai_messages.c, openai_tools.c, openai_logits.c); openai_param_fn each. */
bool openai_read_messages(struct openai_reader *r, const char *name, const struct json *v);
bool openai_read_tools(struct openai_reader *r, const char *name, const struct json *v);
bool openai_read_tool_choice(struct openai_reader *r, const char *name, const struct json *v);
bool openai_read_response_format(struct openai_reader *r, const char *name, const struct json *v);
bool openai_read_logit_bias(struct openai_reader *r, const char *name, const struct json *v);
bool openai_read_chat_logprobs(struct openai_reader *r, const char *name, const struct json *v);
bool openai_read_top_logprobs(struct openai_reader *r, const char *name, const struct json *v);
bool openai_read_text_logprobs(struct openai_reader *r, const char *name, const struct json *v);

void openai_ignored(struct openai_reader *r, const char *name);
/* Names every member of object that is not null and not in known (ends with NULL), as path.member. */
void openai_ignored_others(struct openai_reader *r, const char *path, const struct json *object,
                           const char *const *known);
/* {"type": ..} of an object, or NULL with the error set. */
const char *openai_type_of(struct openai_reader *r, const char *path, const struct json *v);
/* Writes b's bytes to *ret, which owns them then. */
bool openai_keep(struct openai_reader *r, struct buf *b, struct msg_bytes *ret);

#endif
