#include "http/api_openai.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/ident.h"

#define TEXT_MAX_TOKENS_DEFAULT 16 /* OpenAI's for /v1/completions */
#define TIMEOUT_S_MIN 0.001
#define TIMEOUT_S_MAX 86400.0

void openai_ignored(struct openai_reader *r, const char *name) {
    ident_header_list_add(&r->out->ignored, name, strlen(name));
}

void openai_ignored_others(struct openai_reader *r, const char *path, const struct json *object,
                           const char *const *known) {
    char at[API_PATH_BYTES];
    void *iter = NULL;
    const char *key;
    const struct json *v;
    while (json_next(object, &iter, &key, &v)) {
        bool is_known = json_type(v) == JSON_NULL;
        for (size_t i = 0; known[i] && !is_known; i++) is_known = strcmp(known[i], key) == 0;
        if (is_known) continue;
        api_path(at, "%s.%.60s", path, key);
        openai_ignored(r, at);
    }
}

bool openai_keep(struct openai_reader *r, struct buf *b, struct msg_bytes *ret) {
    size_t size = b->size;
    char *data = buf_take_string(b);
    if (!data) return api_fail(r->error, ERR_NOMEM, NULL, "%s", err_text(ERR_NOMEM));
    mem_free(ret->data);
    *ret = (struct msg_bytes){.data = (uint8_t *)data, .size = (uint32_t)size};
    if (size == 0) {
        mem_free(data);
        ret->data = NULL;
    }
    return true;
}

const char *openai_type_of(struct openai_reader *r, const char *path, const struct json *v) {
    char at[API_PATH_BYTES];
    if (json_type(v) != JSON_OBJECT) {
        (void)api_fail(r->error, ERR_INVALID, path, "must be an object, not %s",
                       json_type_name(json_type(v)));
        return NULL;
    }
    const struct json *type = json_get(v, "type");
    api_path(at, "%s.type", path);
    if (!type) {
        (void)api_fail(r->error, ERR_INVALID, at, "is missing");
        return NULL;
    }
    const char *s = json_string(type, NULL);
    if (!s)
        (void)api_fail(r->error, ERR_INVALID, at, "must be a string, not %s",
                       json_type_name(json_type(type)));
    return s;
}

/* ---- honoured ---- */

static bool read_number(struct openai_reader *r, const char *name, const struct json *v) {
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

static bool read_top_k(struct openai_reader *r, const char *name, const struct json *v) {
    return api_take_int(r->error, name, v, -1, INT32_MAX, &r->request->submit.top_k);
}

static bool read_seed(struct openai_reader *r, const char *name, const struct json *v) {
    int64_t seed = 0;
    if (!api_take_int(r->error, name, v, INT64_MIN, INT64_MAX, &seed)) return false;
    r->request->submit.seed = (uint64_t)seed;
    r->request->seed_given = true;
    return true;
}

static bool read_max_tokens(struct openai_reader *r, const char *name, const struct json *v) {
    int64_t *to = strcmp(name, "max_tokens") == 0 ? &r->max_tokens : &r->max_completion_tokens;
    return api_take_int(r->error, name, v, 1, INT32_MAX, to);
}

static bool read_stop_item(struct openai_reader *r, const char *path, const struct json *v) {
    struct msg_strings *stops = &r->request->submit.stops;
    size_t size = 0;
    const char *s = json_string(v, &size);
    if (!s)
        return api_fail(r->error, ERR_INVALID, path, "must be a string, not %s",
                        json_type_name(json_type(v)));
    if (size == 0) return api_fail(r->error, ERR_INVALID, path, "must not be empty");
    if (size > STOP_BYTES_MAX)
        return api_fail(r->error, ERR_INVALID, path, "has %zu bytes; at most %d are taken", size,
                        STOP_BYTES_MAX);
    char *copy = mem_strndup(s, size);
    if (!copy) return api_fail(r->error, ERR_NOMEM, path, "%s", err_text(ERR_NOMEM));
    stops->items[stops->n++] = (struct msg_bytes){.data = (uint8_t *)copy, .size = (uint32_t)size};
    return true;
}

static bool read_stop(struct openai_reader *r, const char *name, const struct json *v) {
    struct msg_strings *stops = &r->request->submit.stops;
    bool one = json_type(v) == JSON_STRING;
    if (!one && json_type(v) != JSON_ARRAY)
        return api_fail(r->error, ERR_INVALID, name, "must be a string or an array of strings, not %s",
                        json_type_name(json_type(v)));
    size_t n = one ? 1 : json_count(v);
    if (n > STOPS_MAX)
        return api_fail(r->error, ERR_INVALID, name, "has %zu strings; at most %d are taken", n, STOPS_MAX);
    if (n == 0) return true;
    stops->items = mem_array(n, sizeof *stops->items);
    if (!stops->items) return api_fail(r->error, ERR_NOMEM, name, "%s", err_text(ERR_NOMEM));
    if (one) return read_stop_item(r, name, v);
    for (size_t i = 0; i < n; i++) {
        char path[API_PATH_BYTES];
        api_path(path, "%s[%zu]", name, i);
        if (!read_stop_item(r, path, json_at(v, i))) return false;
    }
    return true;
}

static bool read_stream(struct openai_reader *r, const char *name, const struct json *v) {
    return api_take_bool(r->error, name, v, &r->request->stream);
}

static bool read_stream_options(struct openai_reader *r, const char *name, const struct json *v) {
    if (json_type(v) != JSON_OBJECT)
        return api_fail(r->error, ERR_INVALID, name, "must be an object, not %s",
                        json_type_name(json_type(v)));
    void *iter = NULL;
    const char *key;
    const struct json *value;
    while (json_next(v, &iter, &key, &value)) {
        if (strcmp(key, "include_usage") == 0) {
            if (json_type(value) != JSON_NULL &&
                !api_take_bool(r->error, "stream_options.include_usage", value, &r->request->include_usage))
                return false;
        } else if (strcmp(key, "include_obfuscation") != 0) {
            openai_ignored(r, key);
        }
    }
    return true;
}

static bool read_ignore_eos(struct openai_reader *r, const char *name, const struct json *v) {
    bool on = false;
    if (!api_take_bool(r->error, name, v, &on)) return false;
    r->request->submit.ignore_eos = on;
    return true;
}

static bool read_parallel(struct openai_reader *r, const char *name, const struct json *v) {
    bool on = false;
    if (!api_take_bool(r->error, name, v, &on)) return false;
    r->request->submit.parallel_tool_calls = on;
    return true;
}

static bool read_model(struct openai_reader *r, const char *name, const struct json *v) {
    size_t size = 0;
    if (json_string(v, &size) && size == 0)
        return api_fail(r->error, ERR_INVALID, name, "must not be empty; leave it out for the seated model");
    if (json_string(v, &size) && size > MODEL_ID_BYTES_MAX)
        return api_fail(r->error, ERR_MODEL_UNKNOWN, name, "no model has a name of %zu bytes", size);
    return api_take_string(r->error, name, v, MODEL_ID_BYTES_MAX, &r->request->model);
}

/* One rule for every source of an agent's id: what can't be one is refused before anything runs. An empty text is no name. */
static bool take_agent(struct openai_reader *r, const char *name, const struct json *v, char **ret) {
    size_t size = 0;
    const char *s = json_string(v, &size);
    if (s && size == 0) return true;
    const char *wrong = s ? ident_agent_wrong(s, size) : NULL;
    if (wrong) return api_fail(r->error, ERR_INVALID, name, "%s", wrong);
    return api_take_string(r->error, name, v, AGENT_ID_BYTES_MAX, ret);
}

static bool read_cache_key(struct openai_reader *r, const char *name, const struct json *v) {
    return take_agent(r, name, v, &r->cache_key);
}

static bool read_user(struct openai_reader *r, const char *name, const struct json *v) {
    return take_agent(r, name, v, &r->user);
}

static bool read_prompt_ids(struct openai_reader *r, const char *name, const struct json *v) {
    struct msg_tokens *ids = &r->request->submit.prompt_ids;
    size_t n = json_count(v);
    ids->ids = mem_array(n, sizeof *ids->ids);
    if (!ids->ids) return api_fail(r->error, ERR_NOMEM, name, "%s", err_text(ERR_NOMEM));
    for (size_t i = 0; i < n; i++) {
        char path[API_PATH_BYTES];
        int64_t id = 0;
        api_path(path, "%s[%zu]", name, i);
        if (!api_take_int(r->error, path, json_at(v, i), 0, INT32_MAX, &id)) return false;
        ids->ids[ids->n++] = (int32_t)id;
    }
    r->request->submit.kind = MSG_KIND_TOKENS;
    return true;
}

static bool read_prompt(struct openai_reader *r, const char *name, const struct json *v) {
    const struct json *first = json_at(v, 0);
    if (json_type(v) == JSON_ARRAY && json_count(v) == 1 && json_type(first) == JSON_STRING) {
        v = first; /* a list of one prompt is one prompt */
    } else if (json_type(v) == JSON_ARRAY && json_count(v) > 0) {
        if (json_type(first) == JSON_INT) return read_prompt_ids(r, name, v);
        return api_fail(r->error, ERR_UNSUPPORTED, name,
                        "several prompts in one request are not supported; send one request for each, "
                        "with a string or an array of token ids");
    }
    size_t size = 0;
    const char *s = json_string(v, &size);
    if (!s)
        return api_fail(r->error, ERR_INVALID, name, "must be a string or an array of token ids, not %s",
                        json_type(v) == JSON_ARRAY ? "an empty array" : json_type_name(json_type(v)));
    AUTO(buf_free) struct buf b = BUF(BODY_BYTES_MAX);
    buf_put(&b, s, size);
    r->request->submit.kind = MSG_KIND_TEXT;
    return openai_keep(r, &b, &r->request->submit.prompt);
}

/* ---- only the neutral value ---- */

static bool is_empty(const struct json *v) {
    size_t size = 1;
    if (json_type(v) == JSON_STRING) return json_string(v, &size) && size == 0;
    return (json_type(v) == JSON_ARRAY || json_type(v) == JSON_OBJECT) && json_count(v) == 0;
}

static bool is_number(const struct json *v, double wanted) {
    bool number = json_type(v) == JSON_INT || json_type(v) == JSON_REAL;
    double value = json_number(v, wanted + 1);
    return number && value >= wanted && value <= wanted;
}

static bool is_word(const struct json *v, const char *word) {
    const char *s = json_string(v, NULL);
    return s && strcmp(s, word) == 0;
}

static bool neutral_one(struct openai_reader *r UNUSED, const char *name UNUSED, const struct json *v) {
    return is_number(v, 1);
}

static bool neutral_zero(struct openai_reader *r UNUSED, const char *name UNUSED, const struct json *v) {
    return is_number(v, 0);
}

static bool neutral_false(struct openai_reader *r UNUSED, const char *name UNUSED, const struct json *v) {
    return json_type(v) == JSON_BOOL && !json_bool(v, true);
}

static bool neutral_empty(struct openai_reader *r UNUSED, const char *name UNUSED, const struct json *v) {
    return is_empty(v);
}

static bool neutral_null(struct openai_reader *r UNUSED, const char *name UNUSED,
                         const struct json *v UNUSED) {
    return false;
}

static bool neutral_medium(struct openai_reader *r UNUSED, const char *name UNUSED, const struct json *v) {
    return is_word(v, "medium");
}

static bool neutral_text_only(struct openai_reader *r UNUSED, const char *name UNUSED, const struct json *v) {
    return json_type(v) == JSON_ARRAY && json_count(v) == 1 && is_word(json_at(v, 0), "text");
}

static bool neutral_none(struct openai_reader *r UNUSED, const char *name UNUSED, const struct json *v) {
    return is_word(v, "none");
}

/* ---- the tables ---- */

#define SHARED_ROWS                                                                                          \
    {"model", OPENAI_HONOURED, read_model, "an id, an alias, or absent / \"default\": whatever is seated"},  \
        {"temperature", OPENAI_HONOURED, read_number, "0 to 2, default 1; 0 is greedy"},                     \
        {"top_p", OPENAI_HONOURED, read_number, "0 to 1, default 1"},                                        \
        {"top_k", OPENAI_HONOURED, read_top_k, "an integer, default 0: off"},                                \
        {"min_p", OPENAI_HONOURED, read_number, "0 to 1, default 0"},                                        \
        {"presence_penalty", OPENAI_HONOURED, read_number, "-2 to 2, default 0"},                            \
        {"frequency_penalty", OPENAI_HONOURED, read_number, "-2 to 2, default 0"},                           \
        {"seed", OPENAI_HONOURED, read_seed, "an integer; default: drawn"},                                  \
        {"stop", OPENAI_HONOURED, read_stop, "a string or up to 16, each of 1 to 1,024 bytes"},              \
        {"stream", OPENAI_HONOURED, read_stream, "true or false"},                                           \
        {"stream_options", OPENAI_HONOURED, read_stream_options, "include_usage"},                           \
        {"user", OPENAI_HONOURED, read_user, "names the agent, if nothing better does"},                     \
        {"prompt_cache_key", OPENAI_HONOURED, read_cache_key, "names the agent; X-Hotseat-Agent wins"},      \
        {"ignore_eos", OPENAI_HONOURED, read_ignore_eos, "true or false: go on past the end token"},         \
        {"logit_bias", OPENAI_HONOURED, openai_read_logit_bias,                                              \
         "up to 1,024 token ids, each with -100 to 100"},                                                    \
        {"metadata", OPENAI_NO_EFFECT, NULL, "kept nowhere"},                                                \
        {"store", OPENAI_NO_EFFECT, NULL, "nothing is stored for later retrieval"},                          \
        {"service_tier", OPENAI_NO_EFFECT, NULL, "there is one tier"},                                       \
        {"safety_identifier", OPENAI_NO_EFFECT, NULL, "kept nowhere"},                                       \
        {"prompt_cache_retention", OPENAI_NO_EFFECT, NULL, "the cache keeps what its budget allows"},        \
        {"prediction", OPENAI_NO_EFFECT, NULL, "a hint for speed"},                                          \
        {"cache_prompt", OPENAI_NO_EFFECT, NULL, "prompts are always cached"},                               \
        {"n", OPENAI_NEUTRAL, neutral_one, "1"}, {"repeat_penalty", OPENAI_NEUTRAL, neutral_one, "1"},       \
        {"repetition_penalty", OPENAI_NEUTRAL, neutral_one, "1"},                                            \
        {"typical_p", OPENAI_NEUTRAL, neutral_one, "1"}, {"mirostat", OPENAI_NEUTRAL, neutral_zero, "0"}, {  \
        "grammar", OPENAI_NEUTRAL, neutral_empty, "\"\""                                                     \
    }

/* response_format and tool_choice look at tools, top_logprobs at logprobs: rows are read in this order. */
static const struct openai_param CHAT_PARAMS[] = {
    {"messages", OPENAI_HONOURED, openai_read_messages, "1 to 4,096 messages; text only"},
    {"tools", OPENAI_HONOURED, openai_read_tools, "up to 128 functions"},
    {"tool_choice", OPENAI_HONOURED, openai_read_tool_choice,
     "none, auto, required, or one of the functions"},
    {"parallel_tool_calls", OPENAI_HONOURED, read_parallel, "true or false, default true"},
    {"response_format", OPENAI_HONOURED, openai_read_response_format, "text, json_object or json_schema"},
    {"max_tokens", OPENAI_HONOURED, read_max_tokens, "1 or more; default: up to the context"},
    {"max_completion_tokens", OPENAI_HONOURED, read_max_tokens, "the newer name of max_tokens"},
    {"logprobs", OPENAI_HONOURED, openai_read_chat_logprobs, "true or false"},
    {"top_logprobs", OPENAI_HONOURED, openai_read_top_logprobs, "0 to 20; with logprobs"},
    SHARED_ROWS,
    {"audio", OPENAI_NEUTRAL, neutral_null, "null"},
    {"modalities", OPENAI_NEUTRAL, neutral_text_only, "[\"text\"]"},
    {"reasoning_effort", OPENAI_NEUTRAL, neutral_medium, "\"medium\""},
    {"verbosity", OPENAI_NEUTRAL, neutral_medium, "\"medium\""},
    {"web_search_options", OPENAI_NEUTRAL, neutral_null, "null"},
    {"functions", OPENAI_NEUTRAL, neutral_empty, "[]; tools is the newer name"},
    {"function_call", OPENAI_NEUTRAL, neutral_none, "\"none\"; tool_choice is the newer name"},
    {"chat_template_kwargs", OPENAI_NEUTRAL, neutral_empty, "{}"},
};

static const struct openai_param TEXT_PARAMS[] = {
    {"prompt", OPENAI_HONOURED, read_prompt, "a string or an array of token ids; one prompt a request"},
    {"max_tokens", OPENAI_HONOURED, read_max_tokens, "1 or more, default 16"},
    {"logprobs", OPENAI_HONOURED, openai_read_text_logprobs, "0 to 5"},
    SHARED_ROWS,
    {"suffix", OPENAI_NEUTRAL, neutral_empty, "\"\""},
    {"echo", OPENAI_NEUTRAL, neutral_false, "false"},
    {"best_of", OPENAI_NEUTRAL, neutral_one, "1"},
};

const struct openai_param *openai_params(enum openai_api api, size_t *ret_count) {
    *ret_count = api == OPENAI_CHAT ? ARRAY_LEN(CHAT_PARAMS) : ARRAY_LEN(TEXT_PARAMS);
    return api == OPENAI_CHAT ? CHAT_PARAMS : TEXT_PARAMS;
}

const char *openai_rule_name(enum openai_rule rule) {
    switch (rule) {
    case OPENAI_HONOURED: return "honoured";
    case OPENAI_NO_EFFECT: return "accepted, no effect";
    case OPENAI_NEUTRAL: return "only the neutral value";
    }
    return "?";
}

/* ---- the whole body ---- */

static bool read_params(struct openai_reader *r) {
    size_t n;
    const struct openai_param *rows = openai_params(r->api, &n);
    for (size_t i = 0; i < n; i++) {
        const struct openai_param *row = &rows[i];
        const struct json *v = json_get(r->root, row->name);
        bool required = i == 0; /* messages, prompt */
        if (!v && required) return api_fail(r->error, ERR_INVALID, row->name, "is missing: %s", row->text);
        if (!v || (json_type(v) == JSON_NULL && !required)) continue;
        if (row->rule == OPENAI_HONOURED && !row->fn(r, row->name, v)) return false;
        if (row->rule == OPENAI_NEUTRAL && !row->fn(r, row->name, v))
            return api_fail(r->error, ERR_UNSUPPORTED, row->name, "is not supported; leave it out or send %s",
                            row->text);
    }
    return true;
}

static void name_unknown(struct openai_reader *r) {
    size_t n;
    const struct openai_param *rows = openai_params(r->api, &n);
    void *iter = NULL;
    const char *key;
    const struct json *value;
    while (json_next(r->root, &iter, &key, &value)) {
        bool known = false;
        for (size_t i = 0; i < n && !known; i++) known = strcmp(rows[i].name, key) == 0;
        if (!known) openai_ignored(r, key);
    }
}

/* X-Hotseat-Agent, else prompt_cache_key, else user, else nobody. */
static bool settle_agent(struct openai_reader *r, const struct api_input *in) {
    struct msg_submit *s = &r->request->submit;
    if (in->agent_header) {
        const char *wrong = ident_agent_wrong(in->agent_header, strlen(in->agent_header));
        if (wrong) return api_fail(r->error, ERR_INVALID, "X-Hotseat-Agent", "%s", wrong);
        s->agent = mem_strdup(in->agent_header);
    } else if (r->cache_key) {
        s->agent = TAKE(r->cache_key);
    } else if (r->user) {
        s->agent = TAKE(r->user);
    } else {
        s->agent = mem_strdup("");
    }
    return s->agent ? true : api_fail(r->error, ERR_NOMEM, NULL, "%s", err_text(ERR_NOMEM));
}

static bool settle_priority(struct openai_reader *r, const char *header) {
    if (!header) return true;
    for (int p = 0; p < PRIORITY_COUNT; p++) {
        if (strcmp(header, request_priority_name(p)) != 0) continue;
        r->request->priority = (enum request_priority)p;
        return true;
    }
    return api_fail(r->error, ERR_INVALID, "X-Hotseat-Priority", "must be background, normal or interactive");
}

/* Digits and at most one point: no sign, exponent, hexadecimal or space. */
static bool settle_timeout(struct openai_reader *r, const char *header) {
    if (!header) return true;
    const char *point = strchr(header, '.');
    bool digits = strspn(header, "0123456789.") == strlen(header) && (!point || !strchr(point + 1, '.'));
    double s = digits && strpbrk(header, "0123456789") ? strtod(header, NULL) : 0;
    if (s < TIMEOUT_S_MIN || s > TIMEOUT_S_MAX)
        return api_fail(r->error, ERR_INVALID, "X-Hotseat-Timeout-S",
                        "must be a number of seconds from 0.001 to 86400");
    r->request->timeout_ns = (int64_t)(s * (double)NS_PER_S);
    return true;
}

static bool settle_max_tokens(struct openai_reader *r) {
    if (r->max_tokens && r->max_completion_tokens && r->max_tokens != r->max_completion_tokens)
        return api_fail(r->error, ERR_INVALID, "max_tokens",
                        "differs from max_completion_tokens; send one of them");
    int64_t max = r->max_tokens ? r->max_tokens : r->max_completion_tokens;
    if (max == 0 && r->api == OPENAI_TEXT) max = TEXT_MAX_TOKENS_DEFAULT;
    r->request->submit.max_tokens = (uint32_t)max;
    return true;
}

static bool read_body(struct openai_reader *r, const struct api_input *in) {
    struct msg_submit *s = &r->request->submit;
    if (json_type(r->root) != JSON_OBJECT)
        return api_fail(r->error, ERR_INVALID, NULL, "the body must be a JSON object, not %s",
                        json_type_name(json_type(r->root)));
    s->kind = r->api == OPENAI_CHAT ? MSG_KIND_CHAT : MSG_KIND_TEXT;
    s->temperature = 1;
    s->top_p = 1;
    s->parallel_tool_calls = 1;
    if (!read_params(r) || !settle_max_tokens(r) || !settle_agent(r, in) ||
        !settle_priority(r, in->priority_header) || !settle_timeout(r, in->timeout_header))
        return false;
    name_unknown(r);
    if (in->debug_header && in->debug)
        s->debug = 1;
    else if (in->debug_header)
        openai_ignored(r, "X-Hotseat-Debug");
    r->out->plan = (struct answer_plan){.kind = r->api == OPENAI_CHAT ? ANSWER_CHAT : ANSWER_TEXT,
                                        .stream = r->request->stream,
                                        .include_usage = r->request->include_usage,
                                        .logprobs = s->logprobs > 0};
    return true;
}

void api_openai_read(const struct api_input *in, struct api_parsed *ret) {
    struct json_error where = {0};
    *ret = (struct api_parsed){.ignored = BUF(IGNORED_HEADER_BYTES_MAX + 64)};
    AUTO(json_freep) struct json *root = json_read(in->body, in->body_size, &where);
    if (!root) {
        (void)api_fail(&ret->error, ERR_JSON, NULL, "the body is not valid JSON: %s", where.text);
        return;
    }
    struct openai_reader r = {.api = in->route == ROUTE_CHAT ? OPENAI_CHAT : OPENAI_TEXT,
                              .root = root,
                              .request = request_new(REQUEST_INFER),
                              .out = ret,
                              .error = &ret->error};
    if (!r.request) {
        (void)api_fail(&ret->error, ERR_NOMEM, NULL, "%s", err_text(ERR_NOMEM));
    } else if (read_body(&r, in)) {
        ret->request = TAKE(r.request);
    }
    request_free(r.request);
    mem_free(r.cache_key);
    mem_free(r.user);
}
