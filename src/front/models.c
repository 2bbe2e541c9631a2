/* models.c - GET /v1/models in OpenAI's shape and in Anthropic's, and the 404 that says which models there are. */
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "front/front_impl.h"

#define BODY_MAX (8u << 20)  /* 1,024 models of 4 KB each */
#define NAMES_BYTES_MAX 4000 /* of all names in one error: it stands in a log and on a screen, too */
#define RFC3339_BYTES 32     /* 2025-02-19T00:00:00Z */

static void put_str(struct json_out *w, const char *key, const char *value) {
    json_key(w, key), json_str(w, value);
}
static void put_u64(struct json_out *w, const char *key, uint64_t value) {
    json_key(w, key), json_u64(w, value);
}
static void put_bool(struct json_out *w, const char *key, bool value) {
    json_key(w, key), json_boolean(w, value);
}

/* What can answer, or could when it has cooled down. What never can is in /admin/models/available, with the reason. */
static bool is_listed(const struct model *m) {
    return m->state != MODEL_GONE && m->state != MODEL_INVALID;
}

uint32_t models_context(const struct front *f, const struct model *m) {
    if (m == f->swap.seated && f->swap.configured.context) return f->swap.configured.context;
    uint32_t train = m->info.spec.context_train;
    return m->context && (!train || m->context < train) ? m->context : train;
}

/* ---- one model ---- */

static void put_openai(struct front *f, struct json_out *w, const struct model *m) {
    json_obj(w);
    put_str(w, "id", m->id);
    put_str(w, "object", "model");
    json_key(w, "created"), json_i64(w, m->created_s);
    put_str(w, "owned_by", "hotseat");
    json_key(w, "hotseat");
    json_obj(w);
    put_bool(w, "seated", m == f->swap.seated);
    put_str(w, "state", model_state_name(m->state));
    put_str(w, "architecture", m->info.spec.architecture);
    put_u64(w, "parameters", m->info.spec.n_params);
    put_u64(w, "file_bytes", m->info.file_bytes);
    put_u64(w, "context", models_context(f, m));
    put_u64(w, "cached_agents", m->cached_agents);
    json_key(w, "aliases");
    json_arr(w);
    for (uint32_t i = 0; i < m->n_aliases; i++) json_str(w, m->aliases[i]);
    json_end(w);
    if (m->reason) put_str(w, "reason", m->reason);
    json_end(w);
    json_end(w);
}

static void put_anthropic(struct front *f, struct json_out *w, const struct model *m) {
    char created[RFC3339_BYTES] = "1970-01-01T00:00:00Z"; /* what the API says of an unknown date */
    time_t at = (time_t)m->created_s;
    struct tm utc;
    if (gmtime_r(&at, &utc)) (void)strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", &utc);
    json_obj(w);
    put_str(w, "type", "model");
    put_str(w, "id", m->id);
    put_str(w, "display_name", m->info.spec.name[0] ? m->info.spec.name : m->id);
    put_str(w, "created_at", created);
    put_str(w, "lifecycle", "active");
    put_u64(w, "max_input_tokens", models_context(f, m));
    put_u64(w, "max_tokens", models_context(f, m));
    json_end(w);
}

/* ---- lists ---- */

/* A page of Anthropic's list, which goes by id. A model that stands on a page's edge may have gone meanwhile: its name is enough. */
struct page {
    uint32_t from,
        to; /* of the registry: the first one and the one behind the last; what is not listed counts for nothing */
    bool more; /* beyond the page, in the direction that was asked for */
};

static struct page page_before(const struct front *f, const struct request *q) {
    struct page p = {0};
    uint32_t left = q->limit;
    while (p.to < registry_count(f->registry) && strcmp(registry_at(f->registry, p.to)->id, q->before_id) < 0)
        p.to++;
    for (p.from = p.to; p.from > 0 && !p.more;) {
        bool listed = is_listed(registry_at(f->registry, p.from - 1));
        p.more = listed && left == 0;
        if (p.more) break;
        left -= listed;
        p.from--;
    }
    return p;
}

static struct page page_after(const struct front *f, const struct request *q) {
    struct page p = {0};
    uint32_t left = q->limit;
    const char *after = q->after_id ? q->after_id : "";
    while (p.from < registry_count(f->registry) && strcmp(registry_at(f->registry, p.from)->id, after) <= 0)
        p.from++;
    for (p.to = p.from; p.to < registry_count(f->registry); p.to++) {
        bool listed = is_listed(registry_at(f->registry, p.to));
        p.more = listed && left == 0;
        if (p.more) break;
        left -= listed;
    }
    return p;
}

static void put_page(struct front *f, const struct request *q, struct json_out *w) {
    struct page p = q->before_id ? page_before(f, q) : page_after(f, q);
    const char *first = NULL, *last = NULL;
    json_obj(w);
    json_key(w, "data");
    json_arr(w);
    for (uint32_t i = p.from; i < p.to; i++) {
        const struct model *m = registry_at(f->registry, i);
        if (!is_listed(m)) continue;
        put_anthropic(f, w, m);
        first = first ? first : m->id;
        last = m->id;
    }
    json_end(w);
    put_bool(w, "has_more", p.more);
    put_str(w, "first_id", first);
    put_str(w, "last_id", last);
    json_end(w);
}

static void put_list(struct front *f, struct json_out *w) {
    json_obj(w);
    put_str(w, "object", "list");
    json_key(w, "data");
    json_arr(w);
    for (uint32_t i = 0; i < registry_count(f->registry); i++)
        if (is_listed(registry_at(f->registry, i))) put_openai(f, w, registry_at(f->registry, i));
    json_end(w);
    json_end(w);
}

void models_answer(struct front *f, const struct request *q) {
    const struct model *m = q->model ? registry_find(f->registry, q->model) : NULL;
    if (q->model && (!m || m->state == MODEL_GONE)) {
        models_refuse_unknown(f, q);
        return;
    }
    struct buf body = BUF(BODY_MAX);
    struct json_out w = json_out_into(&body);
    if (m && q->anthropic)
        put_anthropic(f, &w, m);
    else if (m)
        put_openai(f, &w, m);
    else if (q->anthropic)
        put_page(f, q, &w);
    else
        put_list(f, &w);
    front_reply_json(f, q->client, 200, &body);
    buf_free(&body);
}

/* ---- what there is instead ---- */

/* "a, b (or gpt-4o, fast), c"; false: it does not fit any more. */
static bool add_name(struct buf *text, const struct model *m, bool first) {
    size_t size = text->size;
    buf_printf(text, "%s%s", first ? "" : ", ", m->id);
    for (uint32_t i = 0; i < m->n_aliases; i++) buf_printf(text, "%s%s", i ? ", " : " (or ", m->aliases[i]);
    if (m->n_aliases) buf_puts(text, ")");
    if (text->size <= NAMES_BYTES_MAX) return true;
    text->size = size;
    return false;
}

static char *unknown_text(const struct front *f, const char *name) {
    struct buf text = BUF(0);
    uint32_t n = 0, more = 0;
    if (name) {
        size_t size = strlen(name), shown = size > MODEL_ID_BYTES_MAX ? MODEL_ID_BYTES_MAX : size;
        shown -= utf8_cut_tail(name, shown);
        buf_printf(&text, "no model is named \"%.*s%s\"; ", (int)shown, name, shown < size ? "..." : "");
    }
    for (uint32_t i = 0; i < registry_count(f->registry); i++) {
        const struct model *m = registry_at(f->registry, i);
        if (!is_listed(m)) continue;
        if (n == 0) buf_puts(&text, "there are: ");
        if (more || !add_name(&text, m, n == 0)) more++;
        n++;
    }
    if (more) buf_printf(&text, " and %u more (GET /v1/models)", more);
    if (n == 0) buf_puts(&text, "there is no model here");
    char *all = buf_take_string(&text);
    buf_free(&text);
    return all;
}

void models_refuse_unknown(struct front *f, const struct request *q) {
    struct reply *r = reply_error(q->client, ERR_MODEL_UNKNOWN, NULL);
    if (r) {
        r->error_text = unknown_text(f, q->model && strcmp(q->model, "default") ? q->model : NULL);
        r->param = mem_strdup("model");
    }
    (void)front_reply(f, r);
}
