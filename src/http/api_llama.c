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

/* ---- the tables ---- */

/* clang-format off */
static const struct api_param TOKENIZE_PARAMS[] = {
    API_ROW("content", read_content, "a string", API_IS_SHAPE("Text")),
    API_MODEL_ROW,
    API_FLAG_ROW(add_special, false, ": the beginning-of-text token, where the model wants one"),
    API_FLAG_ROW(parse_special, true, ": text of control tokens becomes those tokens"),
    API_FLAG_ROW(with_pieces, false, ""),
};

static const struct api_param DETOKENIZE_PARAMS[] = {
    API_ROW("tokens", read_tokens, "an array of token ids", API_IS_SHAPE("TokenIds")),
    API_MODEL_ROW,
};

/* response_format and tool_choice look at tools: rows are read in this order. */
static const struct api_param TEMPLATE_PARAMS[] = {
    OPENAI_CHAT_INPUT_ROWS,
    API_MODEL_ROW,
    API_NEUTRAL_ROW("add_generation_prompt", true, ""),
    API_NEUTRAL_ROW("chat_template_kwargs", {}, ""),
};
/* clang-format on */

/* ---- the whole body ---- */

static bool settle_tokenize(struct api_reader *r) {
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

const struct api_table *look_table(enum look_api api) {
    static const struct api_table
        TOKENIZE = {TOKENIZE_PARAMS, ARRAY_LEN(TOKENIZE_PARAMS), 1, MSG_KIND_TEXT, ANSWER_TOKENS,
                    settle_tokenize},
        DETOKENIZE = {DETOKENIZE_PARAMS, ARRAY_LEN(DETOKENIZE_PARAMS), 1, MSG_KIND_TOKENS, ANSWER_CONTENT,
                      settle_detokenize},
        TEMPLATE = {TEMPLATE_PARAMS, ARRAY_LEN(TEMPLATE_PARAMS), 1, MSG_KIND_CHAT, ANSWER_PROMPT,
                    settle_template};
    return api == LLAMA_TOKENIZE ? &TOKENIZE : api == LLAMA_DETOKENIZE ? &DETOKENIZE : &TEMPLATE;
}

void api_llama_read(const struct api_input *in, struct api_parsed *ret) {
    api_read_by(look_table(in->route == ROUTE_TOKENIZE     ? LLAMA_TOKENIZE
                           : in->route == ROUTE_DETOKENIZE ? LLAMA_DETOKENIZE
                                                           : LLAMA_TEMPLATE),
                in, ret);
}
