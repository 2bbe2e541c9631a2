#include "http/api_admin.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "http/ident.h"

#define DRAIN_TIMEOUT_S_MAX 3600
#define HOLD_S_MAX 86400
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

static const struct made *made_of(enum route route) {
    for (size_t i = 0; i < ARRAY_LEN(MADE); i++)
        if (MADE[i].route == route) return &MADE[i];
    return NULL;
}

static const struct admin_key MODEL_KEY = {"model", NULL, API_IS_SHAPE("ModelName")};
enum { PAGE_LIMIT, PAGE_AFTER, PAGE_BEFORE };
static const struct admin_key PAGE_KEYS[] = {
    [PAGE_LIMIT] = {"limit", NULL, API_IS_INT(1, PAGE_MODELS_MAX)},
    [PAGE_AFTER] = {"after_id", NULL, API_IS_SHAPE("Text")},
    [PAGE_BEFORE] = {"before_id", NULL, API_IS_SHAPE("Text")},
};

const struct admin_key *api_admin_query(enum route route, size_t *ret_count) {
    const struct made *made = made_of(route);
    *ret_count = route == ROUTE_MODELS ? ARRAY_LEN(PAGE_KEYS) : made && made->query_model ? 1 : 0;
    return route == ROUTE_MODELS ? PAGE_KEYS : &MODEL_KEY;
}

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

static bool is_key(const struct member *m, const struct admin_key *key) {
    return m->key_size == strlen(key->name) && memcmp(m->key, key->name, m->key_size) == 0;
}

/* Anthropic's pages of models. What it does not know is passed over, as OpenAI's clients want it of this path. */
static bool read_page(struct api_error *e, const struct member *m, struct request *r) {
    if (is_key(m, &PAGE_KEYS[PAGE_AFTER]))
        return decode(e, PAGE_KEYS[PAGE_AFTER].name, m->value, m->value_size, true, &r->after_id);
    if (is_key(m, &PAGE_KEYS[PAGE_BEFORE]))
        return decode(e, PAGE_KEYS[PAGE_BEFORE].name, m->value, m->value_size, true, &r->before_id);
    if (!is_key(m, &PAGE_KEYS[PAGE_LIMIT])) return true;
    r->limit = 0;
    for (size_t i = 0; i < m->value_size && r->limit <= PAGE_MODELS_MAX; i++) {
        char c = m->value[i];
        r->limit = c < '0' || c > '9' ? UINT32_MAX : 10 * r->limit + (uint32_t)(c - '0');
    }
    if (r->limit >= 1 && r->limit <= PAGE_MODELS_MAX) return true;
    return api_fail(e, ERR_INVALID, PAGE_KEYS[PAGE_LIMIT].name, "must be from 1 to %d", PAGE_MODELS_MAX);
}

static bool read_query(struct api_error *e, const struct made *made, const char *query, struct request *r) {
    while (query && *query) {
        size_t size = strcspn(query, "&");
        struct member m = member_at(query, size);
        bool model = made->query_model && is_key(&m, &MODEL_KEY);
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
    const struct made *made = made_of(match->route);
    *ret = (struct api_parsed){.plan.kind = match->route == ROUTE_EVENTS ? ANSWER_EVENTS : ANSWER_JSON};
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

static int64_t seconds_ns(const struct json *v) {
    return (int64_t)(json_number(v, 0) * (double)NS_PER_S);
}

static bool take_model(struct api_error *e, const char *key, const struct json *v, struct request *r) {
    if (!api_take_model(e, key, v, &r->model)) return false;
    return r->model[0] ? true : api_fail(e, ERR_INVALID, key, "must not be empty");
}

static bool take_drain_timeout(struct api_error *e UNUSED, const char *key UNUSED, const struct json *v,
                               struct request *r) {
    r->drain_timeout_ns = seconds_ns(v);
    return true;
}

static bool take_hold(struct api_error *e UNUSED, const char *key UNUSED, const struct json *v,
                      struct request *r) {
    r->hold_ns = seconds_ns(v);
    return true;
}

static const char *const DEADLINE_WORDS[] = {"park", "cancel", NULL};

static bool take_on_deadline(struct api_error *e, const char *key, const struct json *v, struct request *r) {
    const char *s = json_string(v, NULL);
    for (int i = 0; s && DEADLINE_WORDS[i]; i++) {
        r->cancel_on_deadline = i == 1;
        if (strcmp(s, DEADLINE_WORDS[i]) == 0) return true;
    }
    return api_fail(e, ERR_INVALID, key, "must be \"%s\" or \"%s\"", DEADLINE_WORDS[0], DEADLINE_WORDS[1]);
}

static bool take_wait(struct api_error *e UNUSED, const char *key UNUSED, const struct json *v,
                      struct request *r) {
    r->wait = json_bool(v, true);
    return true;
}

static const char *const FAULT_WORDS[] = {
#define FAULT_WORD(name, str, text) str,
    FAULT_TABLE(FAULT_WORD)
#undef FAULT_WORD
        NULL};

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

static bool take_times(struct api_error *e UNUSED, const char *key UNUSED, const struct json *v,
                       struct request *r) {
    r->fault_times = json_int(v, 1);
    return true;
}

static bool take_arg(struct api_error *e UNUSED, const char *key UNUSED, const struct json *v,
                     struct request *r) {
    r->fault_arg = json_int(v, 0);
    return true;
}

#define DRAIN_KEYS                                                                                           \
    {"drain_timeout_s", take_drain_timeout, API_IS_NUMBER(0, DRAIN_TIMEOUT_S_MAX)},                          \
        {"on_deadline", take_on_deadline, API_IS_WORD(DEADLINE_WORDS)}, {                                    \
        "wait", take_wait, API_IS_BOOL                                                                       \
    }
static const struct admin_key SWAP_KEYS[] = {{"model", take_model, API_IS_SHAPE("ModelName")},
                                             DRAIN_KEYS,
                                             {"hold_s", take_hold, API_IS_NUMBER(0, HOLD_S_MAX)}};
static const struct admin_key OFFLOAD_KEYS[] = {DRAIN_KEYS};
static const struct admin_key FAULT_KEYS[] = {{"name", take_fault_name, API_IS_WORD(FAULT_WORDS)},
                                              {"times", take_times, API_IS_INT(-1, INT32_MAX)},
                                              {"arg", take_arg, API_IS_INT(INT64_MIN, INT64_MAX)}};

const struct admin_key *api_admin_body(enum route route, size_t *ret_count, size_t *ret_required) {
    *ret_required = route == ROUTE_SWAP || route == ROUTE_FAULT;
    switch ((int)route) {
    case ROUTE_SWAP: *ret_count = ARRAY_LEN(SWAP_KEYS); return SWAP_KEYS;
    case ROUTE_OFFLOAD: *ret_count = ARRAY_LEN(OFFLOAD_KEYS); return OFFLOAD_KEYS;
    case ROUTE_FAULT: *ret_count = ARRAY_LEN(FAULT_KEYS); return FAULT_KEYS;
    default: *ret_count = 0; return NULL;
    }
}

static bool read_keys(struct api_error *e, enum route route, const struct json *root, struct request *r) {
    size_t n_keys = 0, n_required = 0;
    const struct admin_key *keys = api_admin_body(route, &n_keys, &n_required);
    void *iter = NULL;
    const char *name;
    const struct json *v;
    while (json_next(root, &iter, &name, &v)) {
        const struct admin_key *key = NULL;
        for (size_t i = 0; i < n_keys; i++)
            if (strcmp(keys[i].name, name) == 0) key = &keys[i];
        if (!key) return api_fail(e, ERR_INVALID, NULL, "'%.60s' is not known here", name);
        if (json_type(v) == JSON_NULL) continue;
        if (!api_take_value(e, name, v, &key->value) || !key->fn(e, name, v, r)) return false;
    }
    return true;
}

static bool read_body(const struct api_input *in, struct api_error *e, const struct json *root,
                      struct request *r) {
    if (json_type(root) != JSON_OBJECT && in->body_size > 0)
        return api_fail(e, ERR_INVALID, NULL, "the body must be a JSON object, not %s",
                        json_type_name(json_type(root)));
    if (in->route == ROUTE_FAULT) r->fault_times = 1;
    if (!read_keys(e, in->route, root, r)) return false;
    if (in->route == ROUTE_SWAP && !r->model)
        return api_fail(e, ERR_INVALID, "model", "is missing: the id or alias to seat");
    if (in->route == ROUTE_FAULT && !r->fault)
        return api_fail(e, ERR_INVALID, "name", "is missing: the fault to arm");
    return true;
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
