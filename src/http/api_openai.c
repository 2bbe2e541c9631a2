#include "http/api_openai.h"

#include <string.h>

#include "base/mem.h"

#define TEXT_MAX_TOKENS_DEFAULT 16 /* OpenAI's for /v1/completions */

/* ---- honoured ---- */

static bool read_number(struct api_reader *r, const char *name, const struct json *v) {
    static const struct {
        const char *name;
        double min, max;
        size_t at;
    } NUMBERS[] = {
        {"temperature", 0, 2, offsetof(struct msg_submit, temperature)},
        {"top_p", 0, 1, offsetof(struct msg_submit, top_p)},
        {"min_p", 0, 1, offsetof(struct msg_submit, min_p)},
        {"presence_penalty", -2, 2, offsetof(struct msg_submit, presence_penalty)},
        {"frequency_penalty", -2, 2, offsetof(struct msg_submit, frequency_penalty)},
    };
    for (size_t i = 0; i < ARRAY_LEN(NUMBERS); i++)
        if (strcmp(name, NUMBERS[i].name) == 0) {
            void *field = (char *)&r->request->submit + NUMBERS[i].at;
            return api_take_number(r->error, name, v, NUMBERS[i].min, NUMBERS[i].max, field);
        }
    return false;
}

static bool read_top_k(struct api_reader *r, const char *name, const struct json *v) {
    return api_take_int(r->error, name, v, -1, INT32_MAX, &r->request->submit.top_k);
}

static bool read_seed(struct api_reader *r, const char *name, const struct json *v) {
    int64_t seed = 0;
    if (!api_take_int(r->error, name, v, INT64_MIN, INT64_MAX, &seed)) return false;
    r->request->submit.seed = (uint64_t)seed;
    r->request->seed_given = true;
    return true;
}

static bool read_max_completion_tokens(struct api_reader *r, const char *name, const struct json *v) {
    return api_take_int(r->error, name, v, 1, INT32_MAX, &r->max_completion_tokens);
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

static bool read_ignore_eos(struct api_reader *r, const char *name, const struct json *v) {
    bool on = false;
    if (!api_take_bool(r->error, name, v, &on)) return false;
    r->request->submit.ignore_eos = on;
    return true;
}

bool openai_read_parallel(struct api_reader *r, const char *name, const struct json *v) {
    bool on = false;
    if (!api_take_bool(r->error, name, v, &on)) return false;
    r->request->submit.parallel_tool_calls = on;
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
    return json_type(v) == JSON_ARRAY && json_type(json_at(v, 0)) == JSON_INT;
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

static bool read_n(struct api_reader *r, const char *name, const struct json *v) {
    int64_t n = 0;
    if (!api_take_int(r->error, name, v, 1, CHOICES_MAX, &n)) return false;
    r->request->n_choices = (uint32_t)n;
    return true;
}

/* Which answer is the best nobody here judges. */
static bool read_best_of(struct api_reader *r, const char *name, const struct json *v) {
    int64_t n = 0;
    if (!api_take_int(r->error, name, v, 1, CHOICES_MAX, &n)) return false;
    if ((uint32_t)n == r->request->n_choices) return true;
    return api_fail(
        r->error, ERR_UNSUPPORTED, name,
        "is not supported but with the value of n (%u): all answers are given, none is chosen; leave it out",
        r->request->n_choices);
}

static bool read_echo(struct api_reader *r, const char *name, const struct json *v) {
    bool on = false;
    if (!api_take_bool(r->error, name, v, &on)) return false;
    r->request->submit.echo = on;
    return true;
}

/* ---- only the neutral value ---- */

static bool neutral_medium(struct api_reader *r UNUSED, const char *name UNUSED, const struct json *v) {
    return api_is_word(v, "medium");
}

static bool neutral_text_only(struct api_reader *r UNUSED, const char *name UNUSED, const struct json *v) {
    return json_type(v) == JSON_ARRAY && json_count(v) == 1 && api_is_word(json_at(v, 0), "text");
}

static bool neutral_none(struct api_reader *r UNUSED, const char *name UNUSED, const struct json *v) {
    return api_is_word(v, "none");
}

/* ---- the tables ---- */

#define SHARED_ROWS                                                                                          \
    {"model", API_HONOURED, api_read_model, "an id, an alias, or absent / \"default\": whatever is seated"}, \
        {"temperature", API_HONOURED, read_number, "0 to 2, default 1; 0 is greedy"},                        \
        {"top_p", API_HONOURED, read_number, "0 to 1, default 1"},                                           \
        {"top_k", API_HONOURED, read_top_k, "an integer, default 0: off"},                                   \
        {"min_p", API_HONOURED, read_number, "0 to 1, default 0"},                                           \
        {"presence_penalty", API_HONOURED, read_number, "-2 to 2, default 0"},                               \
        {"frequency_penalty", API_HONOURED, read_number, "-2 to 2, default 0"},                              \
        {"seed", API_HONOURED, read_seed, "an integer; default: drawn"},                                     \
        {"stop", API_HONOURED, read_stop, "a string or up to 16, each of 1 to 1,024 bytes"},                 \
        {"stream", API_HONOURED, api_read_stream, "true or false"},                                          \
        {"stream_options", API_HONOURED, read_stream_options, "include_usage"},                              \
        {"user", API_HONOURED, read_user, "names the agent, if nothing better does"},                        \
        {"prompt_cache_key", API_HONOURED, read_cache_key, "names the agent; X-Hotseat-Agent wins"},         \
        {"ignore_eos", API_HONOURED, read_ignore_eos, "true or false: go on past the end token"},            \
        {"logit_bias", API_HONOURED, openai_read_logit_bias,                                                 \
         "up to 1,024 token ids, each with -100 to 100"},                                                    \
        {"metadata", API_NO_EFFECT, NULL, "kept nowhere"},                                                   \
        {"store", API_NO_EFFECT, NULL, "nothing is stored for later retrieval"},                             \
        {"service_tier", API_NO_EFFECT, NULL, "there is one tier"},                                          \
        {"safety_identifier", API_NO_EFFECT, NULL, "kept nowhere"},                                          \
        {"prompt_cache_retention", API_NO_EFFECT, NULL, "the cache keeps what its budget allows"},           \
        {"prediction", API_NO_EFFECT, NULL, "a hint for speed"},                                             \
        {"cache_prompt", API_NO_EFFECT, NULL, "prompts are always cached"},                                  \
        {"n", API_HONOURED, read_n, "1 to 16, default 1"},                                                   \
        {"repeat_penalty", API_NEUTRAL, api_neutral_one, "1"},                                               \
        {"repetition_penalty", API_NEUTRAL, api_neutral_one, "1"},                                           \
        {"typical_p", API_NEUTRAL, api_neutral_one, "1"}, {"mirostat", API_NEUTRAL, api_neutral_zero, "0"},  \
    {                                                                                                        \
        "grammar", API_NEUTRAL, api_neutral_empty, "\"\""                                                    \
    }

/* response_format and tool_choice look at tools, top_logprobs at logprobs: rows are read in this order. */
static const struct api_param CHAT_PARAMS[] = {
    {"messages", API_HONOURED, openai_read_messages, "1 to 4,096 messages; text only"},
    {"tools", API_HONOURED, openai_read_tools, "up to 128 functions"},
    {"tool_choice", API_HONOURED, openai_read_tool_choice, "none, auto, required, or one of the functions"},
    {"parallel_tool_calls", API_HONOURED, openai_read_parallel, "true or false, default true"},
    {"response_format", API_HONOURED, openai_read_response_format, "text, json_object or json_schema"},
    {"max_tokens", API_HONOURED, api_read_max_tokens, "1 or more; default: up to the context"},
    {"max_completion_tokens", API_HONOURED, read_max_completion_tokens, "the newer name of max_tokens"},
    {"logprobs", API_HONOURED, openai_read_chat_logprobs, "true or false"},
    {"top_logprobs", API_HONOURED, openai_read_top_logprobs, "0 to 20; with logprobs"},
    {"reasoning_effort", API_HONOURED, api_read_effort, "none: no thoughts; else as the template has it"},
    SHARED_ROWS,
    {"audio", API_NEUTRAL, api_neutral_null, "null"},
    {"modalities", API_NEUTRAL, neutral_text_only, "[\"text\"]"},
    {"verbosity", API_NEUTRAL, neutral_medium, "\"medium\""},
    {"web_search_options", API_NEUTRAL, api_neutral_null, "null"},
    {"functions", API_NEUTRAL, api_neutral_empty, "[]; tools is the newer name"},
    {"function_call", API_NEUTRAL, neutral_none, "\"none\"; tool_choice is the newer name"},
    {"chat_template_kwargs", API_NEUTRAL, api_neutral_empty, "{}"},
};

static const struct api_param TEXT_PARAMS[] = {
    {"prompt", API_HONOURED, read_prompt, "a string, an array of token ids, or an array of 1 to 16 of these"},
    {"max_tokens", API_HONOURED, api_read_max_tokens, "1 or more, default 16"},
    {"logprobs", API_HONOURED, openai_read_text_logprobs, "0 to 5"},
    SHARED_ROWS,
    {"suffix", API_NEUTRAL, api_neutral_empty, "\"\""},
    {"echo", API_HONOURED, read_echo, "true or false; without logprobs"},
    {"best_of", API_HONOURED, read_best_of, "the same as n"},
};

const struct api_param *openai_params(enum openai_api api, size_t *ret_count) {
    *ret_count = api == OPENAI_CHAT ? ARRAY_LEN(CHAT_PARAMS) : ARRAY_LEN(TEXT_PARAMS);
    return api == OPENAI_CHAT ? CHAT_PARAMS : TEXT_PARAMS;
}

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

void api_openai_read(const struct api_input *in, struct api_parsed *ret) {
    static const struct api_table CHAT = {CHAT_PARAMS, ARRAY_LEN(CHAT_PARAMS), 1, MSG_KIND_CHAT,
                                          ANSWER_CHAT, settle_max_tokens},
                                  TEXT = {TEXT_PARAMS, ARRAY_LEN(TEXT_PARAMS), 1, MSG_KIND_TEXT, ANSWER_TEXT,
                                          settle_text};
    api_read_by(in->route == ROUTE_CHAT ? &CHAT : &TEXT, in, ret);
}
