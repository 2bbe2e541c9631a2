#include "seat/disk_query.h"

#include <string.h>

#include "base/json.h"

static bool same(const struct json *v, const char *s) {
    const char *text = json_string(v, NULL);
    return text && s && strcmp(text, s) == 0;
}

/* Copies an agent of the store's list and adds what the cells know about it. */
static void agent_write(struct json_out *w, const struct json *agent, const struct json *residents) {
    const char *id = json_string(json_get(agent, "id"), NULL);
    const struct json *here = NULL;
    if (id && same(json_get(agent, "model"), json_string(json_get(residents, "model"), NULL)))
        here = json_get(json_get(residents, "agents"), id);
    json_obj(w);
    void *at = NULL;
    const char *key = NULL;
    const struct json *value = NULL;
    while (json_next(agent, &at, &key, &value)) {
        if (strcmp(key, "resident") == 0 || strcmp(key, "saved") == 0) continue;
        struct buf copy = BUF(0);
        if (!json_dump(value, &copy)) {
            json_key(w, key);
            json_raw(w, copy.data, copy.size);
        }
        buf_free(&copy);
    }
    json_key(w, "resident"), json_boolean(w, here != NULL);
    bool saved =
        json_bool(json_get(agent, "saved"), true) && (!here || json_bool(json_get(here, "saved"), false));
    json_key(w, "saved"), json_boolean(w, saved);
    json_end(w);
}

static bool in_list(const struct json *agents, const char *id, const char *model) {
    for (size_t i = 0; i < json_count(agents); i++)
        if (same(json_get(json_at(agents, i), "id"), id) &&
            same(json_get(json_at(agents, i), "model"), model))
            return true;
    return false;
}

/* Those that have nothing on disk yet. */
static uint32_t residents_write(struct json_out *w, const struct json *agents, const struct json *residents,
                                const struct msg_query *q) {
    const char *model = json_string(json_get(residents, "model"), NULL);
    if (!model || (q->model[0] && strcmp(q->model, model) != 0)) return 0;
    uint32_t n = 0;
    void *at = NULL;
    const char *id = NULL;
    const struct json *here = NULL;
    while (json_next(json_get(residents, "agents"), &at, &id, &here)) {
        if (in_list(agents, id, model) || (q->agent[0] && strcmp(q->agent, id) != 0)) continue;
        json_obj(w);
        json_key(w, "id"), json_str(w, id);
        json_key(w, "model"), json_str(w, model);
        json_key(w, "tokens"), json_i64(w, json_int(json_get(here, "tokens"), 0));
        json_key(w, "blocks"), json_u64(w, 0);
        json_key(w, "bytes"), json_u64(w, 0);
        json_key(w, "resident"), json_boolean(w, true);
        json_key(w, "saved"), json_boolean(w, false);
        json_end(w);
        n++;
    }
    return n;
}

/* store_agent_extra_fn: says nothing more, but whether the last turn got through. */
static bool is_saved(void *ctx, struct hash128 tag, const char *agent, struct json_out *w UNUSED) {
    const struct unsaved *unsaved = ctx;
    return !unsaved_is(unsaved, tag, agent);
}

static enum err agents_query(const struct disk_query_view *v, const struct msg_query *q, struct buf *out) {
    struct buf stored = BUF(0);
    void *unsaved = (void *)(uintptr_t)v->unsaved;
    enum err err =
        v->store ? store_agents_json_with(v->store, q->model, q->agent, is_saved, unsaved, &stored) : ERR_OK;
    if (err == ERR_NOT_FOUND) err = ERR_OK;
    struct json_error at;
    AUTO(json_freep)
    struct json *list = err || !stored.size ? NULL : json_read(stored.data, stored.size, &at);
    AUTO(json_freep)
    struct json *residents = v->residents ? json_read(v->residents, strlen(v->residents), &at) : NULL;
    buf_free(&stored);
    if (err) return err;
    const struct json *agents = json_type(list) == JSON_ARRAY ? list : json_get(list, "agents");
    struct json_out w = json_out_into(out);
    json_obj(&w);
    json_key(&w, "agents"), json_arr(&w);
    size_t n = json_count(agents);
    for (size_t i = 0; i < n; i++) agent_write(&w, json_at(agents, i), residents);
    n += residents_write(&w, agents, residents, q);
    json_end(&w);
    json_end(&w);
    if (out->error) return out->error;
    return n == 0 && q->what == MSG_QUERY_AGENT ? ERR_NOT_FOUND : ERR_OK;
}

char *disk_query_without(const char *residents_text, const char *model, const char *agent) {
    struct json_error at;
    AUTO(json_freep)
    struct json *residents = residents_text ? json_read(residents_text, strlen(residents_text), &at) : NULL;
    const char *of = json_string(json_get(residents, "model"), NULL);
    if (!of) return NULL;
    struct buf text = BUF(0);
    struct json_out w = json_out_into(&text);
    json_obj(&w);
    json_key(&w, "model"), json_str(&w, of);
    json_key(&w, "agents"), json_obj(&w);
    void *next = NULL;
    const char *id = NULL;
    const struct json *here = NULL;
    while (json_next(json_get(residents, "agents"), &next, &id, &here)) {
        if ((!model[0] || strcmp(model, of) == 0) && (!agent[0] || strcmp(agent, id) == 0)) continue;
        json_key(&w, id), json_obj(&w);
        json_key(&w, "tokens"), json_i64(&w, json_int(json_get(here, "tokens"), 0));
        json_key(&w, "saved"), json_boolean(&w, json_bool(json_get(here, "saved"), false));
        json_end(&w);
    }
    json_end(&w);
    json_end(&w);
    return buf_take_string(&text);
}

static bool is_resident(const char *residents_text, const struct msg_query *q) {
    struct json_error at;
    AUTO(json_freep)
    struct json *residents = residents_text ? json_read(residents_text, strlen(residents_text), &at) : NULL;
    const char *model = json_string(json_get(residents, "model"), NULL);
    return model && (!q->model[0] || strcmp(q->model, model) == 0) &&
           json_get(json_get(residents, "agents"), q->agent) != NULL;
}

static enum err delete_query(const struct disk_query_view *v, const struct msg_query *q, struct buf *out) {
    bool agent = q->what == MSG_QUERY_AGENT_DELETE;
    uint32_t agents = 0;
    uint64_t files = 0, bytes = 0;
    enum err err = ERR_NOT_FOUND;
    if (v->store)
        err = agent ? store_agent_delete(v->store, q->model, q->agent, &agents, &files, &bytes)
                    : store_cache_delete(v->store, q->model, &files, &bytes);
    if (err == ERR_NOT_FOUND && agent && is_resident(v->residents, q)) {
        agents = 1;
        err = ERR_OK;
    }
    if (err) return err;
    struct json_out w = json_out_into(out);
    json_obj(&w);
    if (agent) json_key(&w, "deleted"), json_u64(&w, agents);
    json_key(&w, "files"), json_u64(&w, files);
    json_key(&w, "bytes"), json_u64(&w, bytes);
    json_end(&w);
    return out->error;
}

static enum err cache_off(const char *why, struct buf *out) {
    struct json_out w = json_out_into(out);
    json_obj(&w);
    json_key(&w, "on"), json_boolean(&w, false);
    json_key(&w, "reason"), json_str(&w, why);
    json_key(&w, "bytes"), json_u64(&w, 0);
    json_key(&w, "budget_bytes"), json_u64(&w, 0);
    json_key(&w, "blocks"), json_u64(&w, 0);
    json_key(&w, "scanning"), json_boolean(&w, false);
    json_key(&w, "hits"), json_u64(&w, 0);
    json_key(&w, "misses"), json_u64(&w, 0);
    json_key(&w, "models"), json_arr(&w), json_end(&w);
    json_end(&w);
    return out->error;
}

enum err disk_query_run(const struct disk_query_view *v, const struct msg_query *q, struct buf *out) {
    switch ((enum msg_query_kind)q->what) {
    case MSG_QUERY_AGENTS:
    case MSG_QUERY_AGENT: return agents_query(v, q, out);
    case MSG_QUERY_CACHE: return v->store ? store_cache_json(v->store, out) : cache_off(v->store_why, out);
    case MSG_QUERY_AGENT_PIN:
    case MSG_QUERY_AGENT_UNPIN:
        if (!v->store) return ERR_NOT_FOUND;
        return store_agent_pin(v->store, q->model, q->agent, q->what == MSG_QUERY_AGENT_PIN);
    case MSG_QUERY_AGENT_DELETE:
    case MSG_QUERY_CACHE_DELETE: return delete_query(v, q, out);
    }
    return ERR_INVALID;
}
