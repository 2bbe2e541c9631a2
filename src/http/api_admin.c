#include "http/api_admin.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "http/ident.h"

#define DRAIN_TIMEOUT_S_MAX 3600.0
#define HOLD_S_MAX 86400.0
#define PAGE_MODELS_DEFAULT 20 /* Anthropic's numbers */
#define PAGE_MODELS_MAX 1000

/* ---- from path and query ---- */

struct made {
    enum route route;
    enum request_verb verb;
    enum msg_query_kind query; /* 0: none */
    bool query_model;          /* ?model= is taken */
};

static const struct made MADE[] = {
    {ROUTE_MODELS, REQUEST_MODELS, 0, false},
    {ROUTE_MODEL, REQUEST_MODELS, 0, false},
    {ROUTE_CURRENT, REQUEST_CURRENT, 0, false},
    {ROUTE_AVAILABLE, REQUEST_AVAILABLE, 0, false},
    {ROUTE_SWAP_STATUS, REQUEST_SWAP_STATUS, 0, false},
    {ROUTE_EVENTS, REQUEST_EVENTS, 0, false},
    {ROUTE_PS, REQUEST_PS, 0, false},
    {ROUTE_AGENTS, REQUEST_AGENTS, MSG_QUERY_AGENTS, true},
    {ROUTE_AGENT, REQUEST_AGENT, MSG_QUERY_AGENT, true},
    {ROUTE_AGENT_DELETE, REQUEST_AGENT, MSG_QUERY_AGENT_DELETE, true},
    {ROUTE_AGENT_PIN, REQUEST_AGENT, MSG_QUERY_AGENT_PIN, true},
    {ROUTE_AGENT_UNPIN, REQUEST_AGENT, MSG_QUERY_AGENT_UNPIN, true},
    {ROUTE_CACHE, REQUEST_CACHE, MSG_QUERY_CACHE, true},
    {ROUTE_CACHE_DELETE, REQUEST_CACHE_DELETE, MSG_QUERY_CACHE_DELETE, true},
    {ROUTE_RELOAD, REQUEST_RELOAD, 0, false},
};

static bool decode(struct api_error *e, const char *path, const char *s, size_t size, bool plus, char **ret) {
    AUTO(buf_free) struct buf b = BUF(URL_BYTES_MAX);
    if (!ident_percent_decode(s, size, plus, &b))
        return api_fail(e, ERR_INVALID, path, "has a broken %%-escape or a NUL character");
    mem_free(*ret);
    *ret = buf_take_string(&b);
    return *ret ? true : api_fail(e, ERR_NOMEM, path, "%s", err_text(ERR_NOMEM));
}

struct member { /* of a query */
    const char *key, *value;
    size_t key_size, value_size;
};

static struct member member_at(const char *query, size_t size) {
    struct member m = {.key = query, .key_size = strcspn(query, "=&")};
    m.value = query + m.key_size + (query[m.key_size] == '=');
    m.value_size = (size_t)(query + size - m.value);
    return m;
}

static bool is_key(const struct member *m, const char *key) {
    return m->key_size == strlen(key) && memcmp(m->key, key, m->key_size) == 0;
}

/* Anthropic's pages of models. What it does not know is passed over, as OpenAI's clients want it of this path. */
static bool read_page(struct api_error *e, const struct member *m, struct request *r) {
    if (is_key(m, "after_id")) return decode(e, "after_id", m->value, m->value_size, true, &r->after_id);
    if (is_key(m, "before_id")) return decode(e, "before_id", m->value, m->value_size, true, &r->before_id);
    if (!is_key(m, "limit")) return true;
    r->limit = 0;
    for (size_t i = 0; i < m->value_size && r->limit <= PAGE_MODELS_MAX; i++) {
        char c = m->value[i];
        r->limit = c < '0' || c > '9' ? UINT32_MAX : 10 * r->limit + (uint32_t)(c - '0');
    }
    if (r->limit >= 1 && r->limit <= PAGE_MODELS_MAX) return true;
    return api_fail(e, ERR_INVALID, "limit", "must be from 1 to %d", PAGE_MODELS_MAX);
}

static bool read_query(struct api_error *e, const struct made *made, const char *query, struct request *r) {
    while (query && *query) {
        size_t size = strcspn(query, "&");
        struct member m = member_at(query, size);
        bool model = made->query_model && is_key(&m, "model");
        if (!model && size > 0 && made->verb != REQUEST_MODELS)
            return api_fail(e, ERR_INVALID, "query", "'%.*s' is not known here%s",
                            (int)(m.key_size > 60 ? 60 : m.key_size), query,
                            made->query_model ? "; only 'model' is" : "");
        if (model && !decode(e, "model", m.value, m.value_size, true, &r->model)) return false;
        if (model && r->model[0] == '\0') return api_fail(e, ERR_INVALID, "model", "must not be empty");
        if (r->anthropic && !read_page(e, &m, r)) return false;
        query += size + (query[size] == '&');
    }
    if (r->after_id && r->before_id)
        return api_fail(e, ERR_INVALID, "before_id", "is not taken together with after_id");
    return true;
}

static bool read_path(struct api_error *e, const struct route_match *match, struct request *r) {
    if (!match->param) return true;
    if (match->route == ROUTE_MODEL)
        return decode(e, "model", match->param, match->param_size, false, &r->model);
    if (!decode(e, "agent", match->param, match->param_size, false, &r->agent)) return false;
    const char *wrong = ident_agent_wrong(r->agent, strlen(r->agent));
    return wrong ? api_fail(e, ERR_INVALID, "agent", "%s", wrong) : true;
}

void api_admin_make(const struct route_match *match, const char *query, bool anthropic,
                    struct api_parsed *ret) {
    const struct made *made = NULL;
    *ret = (struct api_parsed){.plan.kind = match->route == ROUTE_EVENTS ? ANSWER_EVENTS : ANSWER_JSON};
    for (size_t i = 0; i < ARRAY_LEN(MADE); i++)
        if (MADE[i].route == match->route) made = &MADE[i];
    AUTO(request_freep) struct request *r = made ? request_new(made->verb) : NULL;
    if (!r) {
        (void)api_fail(&ret->error, ERR_NOMEM, NULL, "%s", err_text(ERR_NOMEM));
        return;
    }
    r->query = made->query;
    r->anthropic = anthropic && made->verb == REQUEST_MODELS;
    r->limit = PAGE_MODELS_DEFAULT;
    r->stream = match->route == ROUTE_EVENTS;
    ret->plan.stream = r->stream;
    if (read_path(&ret->error, match, r) && read_query(&ret->error, made, query, r)) ret->request = TAKE(r);
}

/* ---- from a body ---- */

typedef bool (*admin_key_fn)(struct api_error *e, const char *key, const struct json *v, struct request *r);
struct admin_key {
    const char *name;
    admin_key_fn fn;
};

static bool take_seconds(struct api_error *e, const char *key, const struct json *v, double max_s,
                         int64_t *ret_ns) {
    double s = 0;
    if (!api_take_number(e, key, v, 0, max_s, &s)) return false;
    *ret_ns = (int64_t)(s * (double)NS_PER_S);
    return true;
}

static bool take_model(struct api_error *e, const char *key, const struct json *v, struct request *r) {
    if (!api_take_string(e, key, v, MODEL_ID_BYTES_MAX, &r->model)) return false;
    return r->model[0] ? true : api_fail(e, ERR_INVALID, key, "must not be empty");
}

static bool take_drain_timeout(struct api_error *e, const char *key, const struct json *v,
                               struct request *r) {
    return take_seconds(e, key, v, DRAIN_TIMEOUT_S_MAX, &r->drain_timeout_ns);
}

static bool take_hold(struct api_error *e, const char *key, const struct json *v, struct request *r) {
    return take_seconds(e, key, v, HOLD_S_MAX, &r->hold_ns);
}

static bool take_on_deadline(struct api_error *e, const char *key, const struct json *v, struct request *r) {
    const char *s = json_string(v, NULL);
    if (!s || (strcmp(s, "park") != 0 && strcmp(s, "cancel") != 0))
        return api_fail(e, ERR_INVALID, key, "must be \"park\" or \"cancel\"");
    r->cancel_on_deadline = s[0] == 'c';
    return true;
}

static bool take_wait(struct api_error *e, const char *key, const struct json *v, struct request *r) {
    return api_take_bool(e, key, v, &r->wait);
}

static bool take_fault_name(struct api_error *e, const char *key, const struct json *v, struct request *r) {
    if (!api_take_string(e, key, v, 64, &r->fault)) return false;
    for (int i = 0; i < FAULT_COUNT; i++)
        if (strcmp(fault_name((enum fault)i), r->fault) == 0) return true;
    char names[API_ERROR_TEXT_BYTES - 100];
    size_t n = 0;
    for (int i = 0; i < FAULT_COUNT && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", fault_name((enum fault)i));
    return api_fail(e, ERR_NOT_FOUND, key, "no fault has this name; there are %s", names);
}

static bool take_times(struct api_error *e, const char *key, const struct json *v, struct request *r) {
    return api_take_int(e, key, v, -1, INT32_MAX, &r->fault_times);
}

static bool take_arg(struct api_error *e, const char *key, const struct json *v, struct request *r) {
    return api_take_int(e, key, v, INT64_MIN, INT64_MAX, &r->fault_arg);
}

static const struct admin_key SWAP_KEYS[] = {{"model", take_model},
                                             {"drain_timeout_s", take_drain_timeout},
                                             {"on_deadline", take_on_deadline},
                                             {"wait", take_wait},
                                             {"hold_s", take_hold}};
static const struct admin_key OFFLOAD_KEYS[] = {
    {"drain_timeout_s", take_drain_timeout}, {"on_deadline", take_on_deadline}, {"wait", take_wait}};
static const struct admin_key FAULT_KEYS[] = {
    {"name", take_fault_name}, {"times", take_times}, {"arg", take_arg}};

static bool read_keys(struct api_error *e, const struct json *root, const struct admin_key *keys,
                      size_t n_keys, struct request *r) {
    void *iter = NULL;
    const char *name;
    const struct json *v;
    while (json_next(root, &iter, &name, &v)) {
        const struct admin_key *key = NULL;
        for (size_t i = 0; i < n_keys; i++)
            if (strcmp(keys[i].name, name) == 0) key = &keys[i];
        if (!key) return api_fail(e, ERR_INVALID, NULL, "'%.60s' is not known here", name);
        if (json_type(v) != JSON_NULL && !key->fn(e, key->name, v, r)) return false;
    }
    return true;
}

static bool read_body(const struct api_input *in, struct api_error *e, const struct json *root,
                      struct request *r) {
    if (json_type(root) != JSON_OBJECT && in->body_size > 0)
        return api_fail(e, ERR_INVALID, NULL, "the body must be a JSON object, not %s",
                        json_type_name(json_type(root)));
    switch ((int)in->route) {
    case ROUTE_SWAP:
        if (!read_keys(e, root, SWAP_KEYS, ARRAY_LEN(SWAP_KEYS), r)) return false;
        return r->model ? true : api_fail(e, ERR_INVALID, "model", "is missing: the id or alias to seat");
    case ROUTE_OFFLOAD: return read_keys(e, root, OFFLOAD_KEYS, ARRAY_LEN(OFFLOAD_KEYS), r);
    default:
        r->fault_times = 1;
        if (!read_keys(e, root, FAULT_KEYS, ARRAY_LEN(FAULT_KEYS), r)) return false;
        return r->fault ? true : api_fail(e, ERR_INVALID, "name", "is missing: the fault to arm");
    }
}

void api_admin_read(const struct api_input *in, struct api_parsed *ret) {
    struct json_error where = {0};
    *ret = (struct api_parsed){.plan.kind = ANSWER_JSON};
    AUTO(json_freep) struct json *root = NULL;
    if (in->body_size > 0) root = json_read(in->body, in->body_size, &where);
    if (in->body_size > 0 && !root) {
        (void)api_fail(&ret->error, ERR_JSON, NULL, "the body is not valid JSON: %s", where.text);
        return;
    }
    enum request_verb verb = in->route == ROUTE_SWAP      ? REQUEST_SWAP
                             : in->route == ROUTE_OFFLOAD ? REQUEST_OFFLOAD
                                                          : REQUEST_FAULT;
    AUTO(request_freep) struct request *r = request_new(verb);
    if (!r) {
        (void)api_fail(&ret->error, ERR_NOMEM, NULL, "%s", err_text(ERR_NOMEM));
        return;
    }
    if (read_body(in, &ret->error, root, r)) ret->request = TAKE(r);
}
