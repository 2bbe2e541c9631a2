#include "http/api_reader.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/ident.h"
#include "http/json_schema.h"

const char *api_rule_name(enum api_rule rule) {
    switch (rule) {
    case API_HONOURED: return "honoured";
    case API_NO_EFFECT: return "accepted, no effect";
    case API_NEUTRAL: return "only the neutral value";
    }
    return "?";
}

/* ---- members ---- */

void api_ignored(struct api_reader *r, const char *name) {
    ident_header_list_add(&r->out->ignored, name, strlen(name));
}

void api_ignored_others(struct api_reader *r, const char *path, const struct json *object,
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
        api_ignored(r, at);
    }
}

bool api_is_given(const struct json *v) {
    return v && json_type(v) != JSON_NULL;
}

static bool take_kind(struct api_reader *r, const char *path, const struct json *v, enum json_type type) {
    if (json_type(v) == type) return true;
    return api_fail(r->error, ERR_INVALID, path, "must be %s, not %s", json_type_name(type),
                    json_type_name(json_type(v)));
}

bool api_take_array(struct api_reader *r, const char *path, const struct json *v) {
    return take_kind(r, path, v, JSON_ARRAY);
}

bool api_take_object(struct api_reader *r, const char *path, const struct json *v) {
    return take_kind(r, path, v, JSON_OBJECT);
}

const char *api_text_of(struct api_reader *r, const char *path, const struct json *object, const char *key,
                        size_t *ret_size) {
    char at[API_PATH_BYTES];
    const struct json *v = json_get(object, key);
    const char *s = json_string(v, ret_size);
    if (s) return s;
    api_path(at, "%s.%s", path, key);
    if (v)
        (void)api_fail(r->error, ERR_INVALID, at, "must be a string, not %s", json_type_name(json_type(v)));
    else
        (void)api_fail(r->error, ERR_INVALID, at, "is missing");
    return NULL;
}

const char *api_type_of(struct api_reader *r, const char *path, const struct json *v) {
    return api_take_object(r, path, v) ? api_text_of(r, path, v, "type", NULL) : NULL;
}

bool api_no_memory(struct api_reader *r, const char *path) {
    return api_fail(r->error, ERR_NOMEM, path, "%s", err_text(ERR_NOMEM));
}

bool api_keep(struct api_reader *r, struct buf *b, struct msg_bytes *ret) {
    size_t size = b->size;
    char *data = buf_take_string(b);
    if (!data) return api_no_memory(r, NULL);
    mem_free(ret->data);
    *ret = (struct msg_bytes){.data = (uint8_t *)data, .size = (uint32_t)size};
    if (size == 0) {
        mem_free(data);
        ret->data = NULL;
    }
    return true;
}

static void schema_refused(void *ctx, const char *place, bool costly) {
    struct api_reader *r = ctx;
    if (costly)
        (void)api_fail(r->error, ERR_INVALID, place, "names a type twice, or its references lead too far");
    else
        (void)api_fail(r->error, ERR_UNSUPPORTED, place,
                       "can't be guaranteed here; leave it out, or strict, where that is a choice");
}

static void schema_ignored(void *ctx, const char *place, bool costly) {
    struct api_reader *r = ctx;
    if (costly)
        schema_refused(ctx, place, true);
    else
        api_ignored(r, place);
}

static void schema_passed(void *ctx, const char *place, bool costly) {
    if (costly) schema_refused(ctx, place, true);
}

bool api_schema_is_cheap(struct api_reader *r, const char *path, const struct json *schema) {
    json_schema_unheld(schema, path, schema_passed, r);
    return !r->error->err;
}

bool api_keep_schema(struct api_reader *r, const char *path, const struct json *schema, bool strict) {
    AUTO(buf_free) struct buf b = BUF(4 * BODY_BYTES_MAX);
    if (json_type(schema) != JSON_OBJECT)
        return api_fail(r->error, ERR_INVALID, path, "must be an object (a JSON schema), not %s",
                        json_type_name(json_type(schema)));
    json_schema_unheld(schema, path, strict ? schema_refused : schema_ignored, r);
    if (r->error->err) return false;
    if (json_dump(schema, &b) != ERR_OK) return api_no_memory(r, path);
    return api_keep(r, &b, &r->request->submit.json_schema);
}

/* ---- names ---- */

/* One rule for every source of an agent's id: what can't be one is refused before anything runs. An empty text is no name. */
bool api_take_agent(struct api_reader *r, const char *path, const struct json *v, char **ret) {
    size_t size = 0;
    const char *s = json_string(v, &size);
    if (s && size == 0) return true;
    const char *wrong = s ? ident_agent_wrong(s, size) : NULL;
    if (wrong) return api_fail(r->error, ERR_INVALID, path, "%s", wrong);
    return api_take_string(r->error, path, v, AGENT_ID_BYTES_MAX, ret);
}

bool api_function_name_ok(const char *s, size_t size) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    return size >= 1 && size <= FUNCTION_NAME_BYTES_MAX && strspn(s, allowed) == size;
}

bool api_choose_word(struct api_reader *r, const char *path, const char *word) {
    mem_free(r->request->submit.tool_choice);
    r->request->submit.tool_choice = mem_strdup(word);
    return r->request->submit.tool_choice ? true : api_no_memory(r, path);
}

bool api_choose_function(struct api_reader *r, const char *path, const char *name) {
    static const char *const WORDS[] = {"none", "auto", "required"};
    for (size_t i = 0; i < ARRAY_LEN(WORDS); i++)
        if (strcmp(name, WORDS[i]) == 0)
            return api_fail(
                r->error, ERR_UNSUPPORTED, path,
                "a function of this name can't be chosen by name: the word has a meaning of its own");
    return api_choose_word(r, path, name);
}

bool api_read_effort(struct api_reader *r, const char *path, const struct json *v) {
    static const char *const WORDS[] = {EFFORT_WORDS};
    struct msg_submit *s = &r->request->submit;
    if (json_type(v) != JSON_STRING)
        return api_fail(r->error, ERR_INVALID, path, "must be a string, not %s",
                        json_type_name(json_type(v)));
    for (size_t i = 0; i < ARRAY_LEN(WORDS); i++) {
        if (!api_is_word(v, WORDS[i])) continue;
        if (i == 0) {
            s->no_thinking = 1;
            return true;
        }
        s->effort = mem_strdup(WORDS[i]);
        return s->effort ? true : api_no_memory(r, path);
    }
    return api_fail(r->error, ERR_UNSUPPORTED, path,
                    "is not supported; send none, minimal, low, medium, high, xhigh or max");
}

/* ---- rows that are the same in several tables ---- */

bool api_read_model(struct api_reader *r, const char *name, const struct json *v) {
    size_t size = 0;
    if (json_string(v, &size) && size == 0)
        return api_fail(r->error, ERR_INVALID, name, "must not be empty; leave it out for the seated model");
    return api_take_model(r->error, name, v, &r->request->model);
}

bool api_read_stream(struct api_reader *r, const char *name UNUSED, const struct json *v) {
    r->request->stream = json_bool(v, false);
    return true;
}

bool api_read_max_tokens(struct api_reader *r, const char *name UNUSED, const struct json *v) {
    r->max_tokens = json_int(v, 0);
    return true;
}

bool api_read_token_ids(struct api_reader *r, const char *name, const struct json *v,
                        struct msg_tokens *ids) {
    size_t n = json_count(v);
    ids->ids = mem_array(n, sizeof *ids->ids);
    if (!ids->ids) return api_no_memory(r, name);
    for (size_t i = 0; i < n; i++) {
        char path[API_PATH_BYTES];
        int64_t id = 0;
        api_path(path, "%s[%zu]", name, i);
        if (!api_take_int(r->error, path, json_at(v, i), 0, INT32_MAX, &id)) return false;
        ids->ids[ids->n++] = (int32_t)id;
    }
    return true;
}

static bool read_stop(struct api_reader *r, const char *path, const struct json *v) {
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
    uint8_t *copy = mem_alloc(size + 1); /* not mem_strndup(): there may be a NUL in it */
    if (!copy) return api_no_memory(r, path);
    memcpy(copy, s, size);
    stops->items[stops->n++] = (struct msg_bytes){.data = copy, .size = (uint32_t)size};
    return true;
}

bool api_read_stops(struct api_reader *r, const char *name, const struct json *v) {
    struct msg_strings *stops = &r->request->submit.stops;
    bool one = json_type(v) == JSON_STRING;
    size_t n = one ? 1 : json_count(v);
    if (n > STOPS_MAX)
        return api_fail(r->error, ERR_INVALID, name, "has %zu strings; at most %d are taken", n, STOPS_MAX);
    if (n == 0) return true;
    stops->items = mem_array(n, sizeof *stops->items);
    if (!stops->items) return api_no_memory(r, name);
    if (one) return read_stop(r, name, v);
    for (size_t i = 0; i < n; i++) {
        char path[API_PATH_BYTES];
        api_path(path, "%s[%zu]", name, i);
        if (!read_stop(r, path, json_at(v, i))) return false;
    }
    return true;
}

bool api_is_word(const struct json *v, const char *word) {
    size_t size = 0;
    const char *s = json_string(v, &size);
    return s && size == strlen(word) && memcmp(s, word, size) == 0;
}

/* ---- the whole body ---- */

/* v: NULL or null for the default. */
static void store(struct api_reader *r, const struct api_param *row, const struct json *v) {
    void *field = (char *)&r->request->submit + row->field;
    if (row->value.type == API_NUMBER)
        *(double *)field = json_number(v, row->otherwise);
    else if (row->value.type == API_INT)
        *(int64_t *)field = json_int(v, (int64_t)row->otherwise);
    else
        *(uint32_t *)field = json_bool(v, row->otherwise != 0);
}

static bool read_param(struct api_reader *r, const struct api_param *row, const struct json *v, bool given) {
    switch (row->rule) {
    case API_NO_EFFECT: return true;
    case API_NEUTRAL:
        if (!given || api_is_only(v, row->value.text)) return true;
        return api_fail(r->error, ERR_UNSUPPORTED, row->name, "is not supported; leave it out or send %s",
                        row->text);
    case API_HONOURED: break;
    }
    if (given && !api_take_value(r->error, row->name, v, &row->value)) return false;
    if (!row->fn) store(r, row, v);
    return !row->fn || !given || row->fn(r, row->name, v);
}

static bool read_params(struct api_reader *r, const struct api_table *table) {
    for (size_t i = 0; i < table->n_params; i++) {
        const struct api_param *row = &table->params[i];
        const struct json *v = json_get(r->root, row->name);
        bool required = i < table->n_required;
        if (!v && required) return api_fail(r->error, ERR_INVALID, row->name, "is missing: %s", row->text);
        if (!read_param(r, row, v, required || api_is_given(v))) return false;
    }
    return true;
}

static void name_unknown(struct api_reader *r, const struct api_table *table) {
    void *iter = NULL;
    const char *key;
    const struct json *value;
    while (json_next(r->root, &iter, &key, &value)) {
        bool known = false;
        for (size_t i = 0; i < table->n_params && !known; i++)
            known = strcmp(table->params[i].name, key) == 0;
        if (!known) api_ignored(r, key);
    }
}

/* X-Hotseat-Agent, else what the body says, else nobody. */
static bool settle_agent(struct api_reader *r, const struct api_input *in) {
    struct msg_submit *s = &r->request->submit;
    if (in->agent_header) {
        const char *wrong = ident_agent_wrong(in->agent_header, strlen(in->agent_header));
        if (wrong) return api_fail(r->error, ERR_INVALID, "X-Hotseat-Agent", "%s", wrong);
        s->agent = mem_strdup(in->agent_header);
    }
    for (size_t i = 0; i < API_AGENT_NAMES && !in->agent_header && !s->agent; i++)
        s->agent = TAKE(r->agents[i]);
    if (!s->agent && !in->agent_header) s->agent = mem_strdup("");
    return s->agent ? true : api_no_memory(r, NULL);
}

static bool settle_priority(struct api_reader *r, const char *header) {
    if (!header) return true;
    for (int p = 0; p < PRIORITY_COUNT; p++) {
        if (strcmp(header, request_priority_name(p)) != 0) continue;
        r->request->priority = (enum request_priority)p;
        return true;
    }
    return api_fail(r->error, ERR_INVALID, "X-Hotseat-Priority", "must be background, normal or interactive");
}

/* Digits and at most one point: no sign, exponent, hexadecimal or space. */
static bool settle_timeout(struct api_reader *r, const char *header) {
    if (!header) return true;
    const char *point = strchr(header, '.');
    bool digits = strspn(header, "0123456789.") == strlen(header) && (!point || !strchr(point + 1, '.'));
    double s = digits && strpbrk(header, "0123456789") ? strtod(header, NULL) : 0;
    if (s < REQUEST_TIMEOUT_S_MIN || s > REQUEST_TIMEOUT_S_MAX)
        return api_fail(r->error, ERR_INVALID, "X-Hotseat-Timeout-S",
                        "must be a number of seconds from " NUMERAL(REQUEST_TIMEOUT_S_MIN) " to " NUMERAL(
                            REQUEST_TIMEOUT_S_MAX));
    r->request->timeout_ns = (int64_t)(s * (double)NS_PER_S);
    return true;
}

static bool read_body(struct api_reader *r, const struct api_table *table, const struct api_input *in) {
    struct msg_submit *s = &r->request->submit;
    if (json_type(r->root) != JSON_OBJECT)
        return api_fail(r->error, ERR_INVALID, NULL, "the body must be a JSON object, not %s",
                        json_type_name(json_type(r->root)));
    s->kind = table->kind;
    r->request->n_choices = 1;
    s->parallel_tool_calls = 1; /* Anthropic has no row for it: tool_choice may say otherwise */
    if (!read_params(r, table) || (table->settle && !table->settle(r)) || !settle_agent(r, in) ||
        !settle_priority(r, in->priority_header) || !settle_timeout(r, in->timeout_header))
        return false;
    name_unknown(r, table);
    if (in->debug_header && in->debug)
        s->debug = 1;
    else if (in->debug_header)
        api_ignored(r, "X-Hotseat-Debug");
    r->out->plan = (struct answer_plan){.kind = table->answer,
                                        .stream = r->request->stream,
                                        .include_usage = r->request->include_usage,
                                        .logprobs = r->request->submit.logprobs > 0,
                                        .n_choices = r->request->n_choices * (1 + r->request->n_more),
                                        .n_per_prompt = r->request->n_choices};
    return true;
}

void api_read_by(const struct api_table *table, const struct api_input *in, struct api_parsed *ret) {
    struct json_error where = {0};
    *ret = (struct api_parsed){.ignored = BUF(IGNORED_HEADER_BYTES_MAX + 64)};
    AUTO(json_freep) struct json *root = json_read(in->body, in->body_size, &where);
    if (!root) {
        (void)api_fail(&ret->error, ERR_JSON, NULL, "the body is not valid JSON: %s", where.text);
        return;
    }
    struct api_reader r = {
        .root = root, .request = request_new(REQUEST_INFER), .out = ret, .error = &ret->error};
    if (!r.request) {
        (void)api_no_memory(&r, NULL);
    } else if (read_body(&r, table, in)) {
        ret->request = TAKE(r.request);
    }
    request_free(r.request);
    for (size_t i = 0; i < API_AGENT_NAMES; i++) mem_free(r.agents[i]);
}
