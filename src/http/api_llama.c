#include "http/api_llama.h"

#include <string.h>

#include "http/api_openai.h"

/* ---- honoured ---- */

static bool read_content(struct api_reader *r, const char *name, const struct json *v) {
    size_t size = 0;
    const char *s = json_string(v, &size);
    if (!s)
        return api_fail(r->error, ERR_INVALID, name, "must be a string, not %s",
                        json_type_name(json_type(v)));
    AUTO(buf_free) struct buf b = BUF(BODY_BYTES_MAX);
    buf_put(&b, s, size);
    return api_keep(r, &b, &r->request->submit.prompt);
}

static bool read_tokens(struct api_reader *r, const char *name, const struct json *v) {
    if (!api_take_array(r, name, v)) return false;
    if (json_count(v) > LOOK_TOKENS_MAX)
        return api_fail(r->error, ERR_LIMIT, name, "has %zu tokens; at most %u are taken", json_count(v),
                        LOOK_TOKENS_MAX);
    return api_read_token_ids(r, name, v, &r->request->submit.prompt_ids);
}

static bool read_flag(struct api_reader *r, const char *name, const struct json *v) {
    static const struct {
        const char *name;
        size_t at;
    } FLAGS[] = {{"add_special", offsetof(struct msg_submit, add_special)},
                 {"parse_special", offsetof(struct msg_submit, parse_special)},
                 {"with_pieces", offsetof(struct msg_submit, with_pieces)}};
    bool on = false;
    if (!api_take_bool(r->error, name, v, &on)) return false;
    for (size_t i = 0; i < ARRAY_LEN(FLAGS); i++)
        if (strcmp(name, FLAGS[i].name) == 0)
            *(uint32_t *)(void *)((char *)&r->request->submit + FLAGS[i].at) = on;
    return true;
}

/* ---- only the neutral value ---- */

static bool neutral_true(struct api_reader *r UNUSED, const char *name UNUSED, const struct json *v) {
    return json_type(v) == JSON_BOOL && json_bool(v, false);
}

/* ---- the tables ---- */

#define MODEL_ROW                                                                                            \
    { "model", API_HONOURED, api_read_model, "an id, an alias, or absent / \"default\": whatever is seated" }

static const struct api_param TOKENIZE_PARAMS[] = {
    {"content", API_HONOURED, read_content, "a string"},
    MODEL_ROW,
    {"add_special", API_HONOURED, read_flag,
     "true or false, default false: the beginning-of-text token, where the model wants one"},
    {"parse_special", API_HONOURED, read_flag,
     "true or false, default true: text of control tokens becomes those tokens"},
    {"with_pieces", API_HONOURED, read_flag, "true or false, default false"},
};

static const struct api_param DETOKENIZE_PARAMS[] = {
    {"tokens", API_HONOURED, read_tokens, "an array of token ids"},
    MODEL_ROW,
};

/* response_format and tool_choice look at tools: rows are read in this order. */
static const struct api_param TEMPLATE_PARAMS[] = {
    {"messages", API_HONOURED, openai_read_messages, "1 to 4,096 messages; text only"},
    MODEL_ROW,
    {"tools", API_HONOURED, openai_read_tools, "up to 128 functions"},
    {"tool_choice", API_HONOURED, openai_read_tool_choice, "none, auto, required, or one of the functions"},
    {"parallel_tool_calls", API_HONOURED, openai_read_parallel, "true or false, default true"},
    {"response_format", API_HONOURED, openai_read_response_format, "text, json_object or json_schema"},
    {"add_generation_prompt", API_NEUTRAL, neutral_true, "true"},
    {"chat_template_kwargs", API_NEUTRAL, api_neutral_empty, "{}"},
};

const struct api_param *look_params(enum look_api api, size_t *ret_count) {
    static const struct {
        const struct api_param *params;
        size_t n;
    } TABLES[] = {{TOKENIZE_PARAMS, ARRAY_LEN(TOKENIZE_PARAMS)},
                  {DETOKENIZE_PARAMS, ARRAY_LEN(DETOKENIZE_PARAMS)},
                  {TEMPLATE_PARAMS, ARRAY_LEN(TEMPLATE_PARAMS)}};
    *ret_count = TABLES[api].n;
    return TABLES[api].params;
}

/* ---- the whole body ---- */

static bool settle_tokenize(struct api_reader *r) {
    if (!api_is_given(json_get(r->root, "parse_special"))) r->request->submit.parse_special = 1;
    r->request->submit.look = MSG_LOOK_TOKENS;
    return true;
}

static bool settle_detokenize(struct api_reader *r) {
    r->request->submit.look = MSG_LOOK_TEXT;
    return true;
}

static bool settle_template(struct api_reader *r) {
    r->request->submit.look = MSG_LOOK_PROMPT;
    return true;
}

void api_llama_read(const struct api_input *in, struct api_parsed *ret) {
    static const struct api_table
        TOKENIZE = {TOKENIZE_PARAMS, ARRAY_LEN(TOKENIZE_PARAMS), 1, MSG_KIND_TEXT, ANSWER_TOKENS,
                    settle_tokenize},
        DETOKENIZE = {DETOKENIZE_PARAMS, ARRAY_LEN(DETOKENIZE_PARAMS), 1, MSG_KIND_TOKENS, ANSWER_CONTENT,
                      settle_detokenize},
        TEMPLATE = {TEMPLATE_PARAMS, ARRAY_LEN(TEMPLATE_PARAMS), 1, MSG_KIND_CHAT, ANSWER_PROMPT,
                    settle_template};
    api_read_by(in->route == ROUTE_TOKENIZE     ? &TOKENIZE
                : in->route == ROUTE_DETOKENIZE ? &DETOKENIZE
                                                : &TEMPLATE,
                in, ret);
}
