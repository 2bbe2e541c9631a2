#include "http/api_openai.h"

#include <string.h>

#include "base/mem.h"

#define TEXT_MAX_TOKENS_DEFAULT 16 /* OpenAI's for /v1/completions */

/* ---- honoured ---- */

static bool read_seed(struct api_reader *r, const char *name UNUSED, const struct json *v) {
    r->request->submit.seed = (uint64_t)json_int(v, 0);
    r->request->seed_given = true;
    return true;
}

static bool read_max_completion_tokens(struct api_reader *r, const char *name UNUSED, const struct json *v) {
    r->max_completion_tokens = json_int(v, 0);
    return true;
}

static bool read_stop(struct api_reader *r, const char *name, const struct json *v) {
    if (json_type(v) != JSON_STRING && json_type(v) != JSON_ARRAY)
        return api_fail(r->error, ERR_INVALID, name, "must be a string or an array of strings, not %s",
                        json_type_name(json_type(v)));
    return api_read_stops(r, name, v);
}

static bool read_stream_options(struct api_reader *r, const char *name, const struct json *v) {
    if (!api_take_object(r, name, v)) return false;
    void *iter = NULL;
    const char *key;
    const struct json *value;
    while (json_next(v, &iter, &key, &value)) {
        if (strcmp(key, "include_usage") == 0) {
            if (json_type(value) != JSON_NULL &&
                !api_take_bool(r->error, "stream_options.include_usage", value, &r->request->include_usage))
                return false;
        } else if (strcmp(key, "include_obfuscation") != 0) {
            api_ignored(r, key);
        }
    }
    return true;
}

static bool read_cache_key(struct api_reader *r, const char *name, const struct json *v) {
    return api_take_agent(r, name, v, &r->agents[0]);
}

static bool read_user(struct api_reader *r, const char *name, const struct json *v) {
    return api_take_agent(r, name, v, &r->agents[1]);
}

static bool read_prompt_text(struct api_reader *r, const char *path, const struct json *v,
                             struct msg_bytes *ret) {
    size_t size = 0;
    const char *s = json_string(v, &size);
    if (!s)
        return api_fail(r->error, ERR_INVALID, path, "must be a string or an array of token ids, not %s",
                        json_type(v) != JSON_ARRAY ? json_type_name(json_type(v))
                        : json_count(v) == 0       ? "an empty array"
                                                   : "an array of something else");
    AUTO(buf_free) struct buf b = BUF(BODY_BYTES_MAX);
    buf_put(&b, s, size);
    return api_keep(r, &b, ret);
}

static bool is_ids(const struct json *v) {
    enum json_type first = json_type(json_at(v, 0)); /* 1.0 is an integer, too */
    return json_type(v) == JSON_ARRAY && (first == JSON_INT || first == JSON_REAL);
}

static bool read_one_prompt(struct api_reader *r, const char *path, const struct json *v,
                            struct request_prompt *ret) {
    return is_ids(v) ? api_read_token_ids(r, path, v, &ret->ids) : read_prompt_text(r, path, v, &ret->text);
}

/* The first one goes where a single one is. */
static bool read_prompts(struct api_reader *r, const char *name, const struct json *v) {
    struct request *q = r->request;
    size_t n = json_count(v);
    if (n > CHOICES_MAX)
        return api_fail(r->error, ERR_INVALID, name, "has %zu prompts; at most %d are taken", n, CHOICES_MAX);
    if (n > 1 && !(q->more = mem_array(n - 1, sizeof *q->more))) return api_no_memory(r, name);
    for (size_t i = 0; i < n; i++) {
        char path[API_PATH_BYTES];
        struct request_prompt first = {0}, *to = i ? &q->more[q->n_more++] : &first;
        api_path(path, "%s[%zu]", name, i);
        bool ok = read_one_prompt(r, path, json_at(v, i), to);
        if (i == 0) {
            q->submit.prompt = first.text;
            q->submit.prompt_ids = first.ids;
        }
        if (!ok) return false;
    }
    return true;
}

static bool read_prompt(struct api_reader *r, const char *name, const struct json *v) {
    struct msg_submit *m = &r->request->submit;
    bool several = json_type(v) == JSON_ARRAY && json_count(v) > 0 && !is_ids(v);
    bool ok = several     ? read_prompts(r, name, v)
              : is_ids(v) ? api_read_token_ids(r, name, v, &m->prompt_ids)
                          : read_prompt_text(r, name, v, &m->prompt);
    m->kind = m->prompt_ids.n > 0 ? MSG_KIND_TOKENS : MSG_KIND_TEXT;
    return ok;
}

static bool read_n(struct api_reader *r, const char *name UNUSED, const struct json *v) {
    r->request->n_choices = (uint32_t)json_int(v, 1);
    return true;
}

/* Which answer is the best nobody here judges. */
static bool read_best_of(struct api_reader *r, const char *name, const struct json *v) {
    if ((uint32_t)json_int(v, 1) == r->request->n_choices) return true;
    return api_fail(
        r->error, ERR_UNSUPPORTED, name,
        "is not supported but with the value of n (%u): all answers are given, none is chosen; leave it out",
        r->request->n_choices);
}

/* ---- the tables ---- */

/* clang-format off */
#define SHARED_ROWS \
    API_MODEL_ROW, \
    API_NUMBER_ROW(temperature, 0, 2, 1, "; 0 is greedy"), \
    API_NUMBER_ROW(top_p, 0, 1, 1, ""), \
    API_COUNT_ROW(top_k, -1, 0, ": off"), \
    API_NUMBER_ROW(min_p, 0, 1, 0, ""), \
    API_NUMBER_ROW(presence_penalty, -2, 2, 0, ""), \
    API_NUMBER_ROW(frequency_penalty, -2, 2, 0, ""), \
    API_ROW("seed", read_seed, "an integer; default: drawn", API_IS_INT(INT64_MIN, INT64_MAX)), \
    API_ROW("stop", read_stop, "a string or up to " NUMERAL(STOPS_MAX) ", each of 1 to " NUMERAL(STOP_BYTES_MAX) " bytes", \
            API_IS_SHAPE("Stop")), \
    API_ROW("stream", api_read_stream, "true or false", API_IS_BOOL), \
    API_ROW("stream_options", read_stream_options, "include_usage", API_IS_SHAPE("StreamOptions")), \
    API_ROW("user", read_user, "names the agent, if nothing better does", API_IS_SHAPE("AgentOrNobody")), \
    API_ROW("prompt_cache_key", read_cache_key, "names the agent; X-Hotseat-Agent wins", API_IS_SHAPE("AgentOrNobody")), \
    API_FLAG_ROW(ignore_eos, false, "; true: go on past the end token"), \
    API_ROW("logit_bias", openai_read_logit_bias, "up to " NUMERAL(LOGIT_BIAS_MAX) " token ids, each with -100 to 100", \
            API_IS_SHAPE("LogitBias")), \
    API_NO_EFFECT_ROW("metadata", "kept nowhere"), \
    API_NO_EFFECT_ROW("store", "nothing is stored for later retrieval"), \
    API_NO_EFFECT_ROW("service_tier", "there is one tier"), \
    API_NO_EFFECT_ROW("safety_identifier", "kept nowhere"), \
    API_NO_EFFECT_ROW("prompt_cache_retention", "the cache keeps what its budget allows"), \
    API_NO_EFFECT_ROW("prediction", "a hint for speed"), \
    API_NO_EFFECT_ROW("cache_prompt", "prompts are always cached"), \
    API_ROW("n", read_n, "1 to " NUMERAL(CHOICES_MAX) ", default 1", API_IS_INT(1, CHOICES_MAX)), \
    API_NEUTRAL_ROW("repeat_penalty", 1, ""), \
    API_NEUTRAL_ROW("repetition_penalty", 1, ""), \
    API_NEUTRAL_ROW("typical_p", 1, ""), \
    API_NEUTRAL_ROW("mirostat", 0, ""), \
    API_NEUTRAL_ROW("grammar", "", "")

/* response_format and tool_choice look at tools, top_logprobs at logprobs: rows are read in this order. */
static const struct api_param CHAT_PARAMS[] = {
    OPENAI_CHAT_INPUT_ROWS,
    API_ROW("max_tokens", api_read_max_tokens, "1 or more; default: up to the context", API_IS_INT(1, INT32_MAX)),
    API_ROW("max_completion_tokens", read_max_completion_tokens, "the newer name of max_tokens", API_IS_INT(1, INT32_MAX)),
    API_ROW("logprobs", openai_read_chat_logprobs, "true or false", API_IS_BOOL),
    API_ROW("top_logprobs", openai_read_top_logprobs, "0 to " NUMERAL(TOP_LOGPROBS_MAX) "; with logprobs",
            API_IS_INT(0, TOP_LOGPROBS_MAX)),
    SHARED_ROWS,
    API_NEUTRAL_ROW("audio", null, ""),
    API_NEUTRAL_ROW("modalities", ["text"], ""),
    API_NEUTRAL_ROW("verbosity", "medium", ""),
    API_NEUTRAL_ROW("web_search_options", null, ""),
    API_NEUTRAL_ROW("functions", [], "; tools is the newer name"),
    API_NEUTRAL_ROW("function_call", "none", "; tool_choice is the newer name"),
    API_NEUTRAL_ROW("chat_template_kwargs", {}, ""),
};

static const struct api_param TEXT_PARAMS[] = {
    API_ROW("prompt", read_prompt, "a string, an array of token ids, or an array of 1 to " NUMERAL(CHOICES_MAX) " of these",
            API_IS_SHAPE("Prompt")),
    API_ROW("max_tokens", api_read_max_tokens, "1 or more, default " NUMERAL(TEXT_MAX_TOKENS_DEFAULT), API_IS_INT(1, INT32_MAX)),
    API_ROW("logprobs", openai_read_text_logprobs, "0 to " NUMERAL(TEXT_LOGPROBS_MAX), API_IS_INT(0, TEXT_LOGPROBS_MAX)),
    SHARED_ROWS,
    API_NEUTRAL_ROW("suffix", "", ""),
    API_FLAG_ROW(echo, false, "; without logprobs"),
    API_ROW("best_of", read_best_of, "the same as n", API_IS_INT(1, CHOICES_MAX)),
};
/* clang-format on */

/* ---- the whole body ---- */

static bool settle_max_tokens(struct api_reader *r) {
    if (r->max_tokens && r->max_completion_tokens && r->max_tokens != r->max_completion_tokens)
        return api_fail(r->error, ERR_INVALID, "max_tokens",
                        "differs from max_completion_tokens; send one of them");
    r->request->submit.max_tokens = (uint32_t)(r->max_tokens ? r->max_tokens : r->max_completion_tokens);
    return true;
}

static bool settle_text(struct api_reader *r) {
    const struct request *q = r->request;
    if (q->n_choices * (1 + q->n_more) > CHOICES_MAX)
        return api_fail(r->error, ERR_INVALID, "n",
                        "asks for %u answers to each of %u prompts; at most %d in all are given",
                        q->n_choices, 1 + q->n_more, CHOICES_MAX);
    if (q->submit.echo && q->submit.logprobs)
        return api_fail(r->error, ERR_UNSUPPORTED, "echo",
                        "is not supported with logprobs: those of the prompt's tokens are not kept; leave "
                        "one of them out");
    r->request->submit.max_tokens = (uint32_t)(r->max_tokens ? r->max_tokens : TEXT_MAX_TOKENS_DEFAULT);
    return true;
}

const struct api_table *openai_table(enum openai_api api) {
    static const struct api_table CHAT = {CHAT_PARAMS, ARRAY_LEN(CHAT_PARAMS), 1, MSG_KIND_CHAT,
                                          ANSWER_CHAT, settle_max_tokens},
                                  TEXT = {TEXT_PARAMS, ARRAY_LEN(TEXT_PARAMS), 1, MSG_KIND_TEXT, ANSWER_TEXT,
                                          settle_text};
    return api == OPENAI_CHAT ? &CHAT : &TEXT;
}

void api_openai_read(const struct api_input *in, struct api_parsed *ret) {
    api_read_by(openai_table(in->route == ROUTE_CHAT ? OPENAI_CHAT : OPENAI_TEXT), in, ret);
}
