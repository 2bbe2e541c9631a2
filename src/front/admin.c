/* admin.c - answers about what the front itself knows, as JSON. Shapes: docs/api.md. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "front/front_impl.h"

#define BODY_MAX (8u << 20) /* 1,024 models of 4 KB each */

static void put_str(struct json_out *w, const char *key, const char *value) {
    json_key(w, key), json_str(w, value);
}
static void put_u64(struct json_out *w, const char *key, uint64_t value) {
    json_key(w, key), json_u64(w, value);
}
static void put_ms(struct json_out *w, const char *key, int64_t ns) {
    int64_t us = ns / NS_PER_US;
    json_key(w, key), json_f64(w, (double)us / 1000);
}
static void put_bool(struct json_out *w, const char *key, bool value) {
    json_key(w, key), json_boolean(w, value);
}
static const char *or_null(const char *s) {
    return s && *s ? s : NULL;
}

static void answer(struct front *f, const struct request *q, struct buf *body) {
    front_reply_json(f, q->client, 200, body);
    buf_free(body);
}

/* ---- swaps ---- */

static const char *outcome_name(const struct swap_record *r) {
    static const char *const NAMES[] = {"under_way", "swapped", "rolled_back", "failed"};
    return r->outcome == SWAP_OK && !r->to[0] ? "offloaded" : NAMES[r->outcome];
}

void admin_swap_object(struct json_out *w, const struct swap_record *r, const char *status) {
    static const char *const CAUSES[] = {"start", "admin", "turn", "recover"};
    json_obj(w);
    put_str(w, "status", status ? status : outcome_name(r));
    put_u64(w, "id", r->id);
    put_str(w, "from", or_null(r->from));
    put_str(w, "to", or_null(r->to));
    put_str(w, "kind", r->process ? "process" : "hot");
    put_str(w, "cause", CAUSES[r->cause]);
    int64_t started_ms = r->started_wall_ns / NS_PER_MS;
    json_key(w, "started"), json_f64(w, (double)started_ms / 1000);
    json_key(w, "steps_ms");
    json_obj(w);
    for (int s = STEP_DRAIN; s < STEP_COUNT; s++)
        if (s != STEP_START || r->process || r->step_ns[s])
            put_ms(w, swap_step_name((enum swap_step)s), r->step_ns[s]);
    json_end(w);
    put_ms(w, "total_ms", r->ended_ns - r->started_ns);
    put_u64(w, "blocks_written", r->blocks_written);
    put_u64(w, "bytes_written", r->bytes_written);
    put_u64(w, "unsaved", r->unsaved);
    put_u64(w, "parked", r->parked);
    json_key(w, "memory");
    json_obj(w);
    put_u64(w, "before_bytes", r->memory_before_bytes);
    put_u64(w, "unloaded_bytes", r->memory_unloaded_bytes);
    put_u64(w, "after_bytes", r->memory_after_bytes);
    json_end(w);
    if (r->reason[0]) put_str(w, "reason", r->reason);
    json_end(w);
}

static void put_progress(struct front *f, struct json_out *w) {
    const struct swap *s = &f->swap;
    const struct swap_record *r = &s->record;
    put_str(w, "state", swap_state_name(s->state));
    put_str(w, "step", r->id ? swap_step_name(s->step) : NULL);
    put_u64(w, "percent", swap_percent(s));
    put_str(w, "from", or_null(r->from));
    put_str(w, "to", or_null(r->to));
    json_key(w, "elapsed_ms"), json_i64(w, r->id ? (f->now_ns - r->started_ns) / NS_PER_MS : 0);
    json_key(w, "eta_ms"), json_i64(w, swap_eta_ns(s, f->now_ns) / NS_PER_MS);
}

static void swap_status(struct front *f, const struct request *q) {
    struct buf body = BUF(BODY_MAX);
    struct json_out w = json_out_into(&body);
    json_obj(&w);
    if (f->swap.record.id) put_u64(&w, "id", f->swap.record.id);
    put_progress(f, &w);
    put_str(&w, "model", f->swap.seated ? f->swap.seated->id : NULL);
    put_u64(&w, "waiting_swaps", f->swap_waits.count);
    json_key(&w, "swaps");
    json_arr(&w);
    const struct swap_record *r;
    for (uint32_t i = 0; (r = swap_history_at(&f->swap, i)); i++) admin_swap_object(&w, r, NULL);
    json_end(&w);
    json_end(&w);
    answer(f, q, &body);
}

/* ---- models ---- */

static void available(struct front *f, const struct request *q) {
    struct buf body = BUF(BODY_MAX);
    struct json_out w = json_out_into(&body);
    json_obj(&w);
    json_key(&w, "models");
    json_arr(&w);
    for (uint32_t i = 0; i < registry_count(f->registry); i++) {
        struct model *m = registry_at(f->registry, i);
        bool cooling = registry_cooling(f->registry, m, f->now_ns);
        json_obj(&w);
        put_str(&w, "id", m->id);
        put_str(&w, "state", model_state_name(m->state));
        put_str(&w, "reason", m->reason);
        if (cooling) put_u64(&w, "retry_after_s", retry_when_cool_s(f, m));
        put_bool(&w, "seated", m == f->swap.seated);
        put_str(&w, "path", m->path);
        put_str(&w, "architecture", or_null(m->info.spec.architecture));
        put_u64(&w, "parameters", m->info.spec.n_params);
        put_u64(&w, "file_bytes", m->info.file_bytes);
        put_u64(&w, "context", models_context(f, m));
        put_str(&w, "kv", kv_type_name(m->kv));
        put_bool(&w, "repack", m->repack);
        put_bool(&w, "pinned", m->pin);
        put_u64(&w, "waiting", m->waiting.count);
        if (m->measure.known) {
            put_u64(&w, "weights_bytes", m->measure.weights_bytes);
            put_u64(&w, "compute_bytes", m->measure.compute_bytes);
            put_u64(&w, "kv_bytes_per_token", m->measure.base_bytes_per_token);
            put_u64(&w, "window_bytes_per_sequence", m->measure.window_bytes_per_seq);
        }
        json_key(&w, "aliases");
        json_arr(&w);
        for (uint32_t a = 0; a < m->n_aliases; a++) json_str(&w, m->aliases[a]);
        json_end(&w);
        json_end(&w);
    }
    json_end(&w);
    json_end(&w);
    answer(f, q, &body);
}

/* ---- the seat ---- */

static void current(struct front *f, const struct request *q) {
    const struct swap *s = &f->swap;
    const struct msg_configured *c = &s->configured;
    struct buf body = BUF(65536);
    struct json_out w = json_out_into(&body);
    json_obj(&w);
    put_str(&w, "model", s->seated ? s->seated->id : NULL);
    put_str(&w, "state", swap_state_name(s->state));
    if (s->seated) {
        const struct model *m = s->seated;
        put_str(&w, "path", m->path);
        put_str(&w, "architecture", or_null(m->info.spec.architecture));
        put_str(&w, "kv", kv_type_name(s->kv));
        put_ms(&w, "seated_ms", f->now_ns - s->seated_since_ns);
        put_u64(&w, "context", c->context);
        put_u64(&w, "cells", c->n_cells);
        put_u64(&w, "cells_used", f->stats.cells_used);
        put_u64(&w, "blocks", c->n_blocks);
        put_u64(&w, "sequences", c->n_seqs);
        put_u64(&w, "pool_bytes", c->pool_bytes);
        put_u64(&w, "compute_bytes", c->compute_bytes);
        put_u64(&w, "weights_bytes", m->measure.weights_bytes);
        put_str(&w, "tag", c->tag);
        put_bool(&w, "cache_on", c->cache_on);
        if (c->cache_reason[0]) put_str(&w, "cache_reason", c->cache_reason);
    }
    put_u64(&w, "running", f->running.count);
    put_u64(&w, "agents_resident", f->stats.agents_resident);
    put_u64(&w, "memory_bytes", f->stats.memory_bytes);
    put_str(&w, "engine", f->engine);
    put_str(&w, "engine_version", f->engine_version);
    put_u64(&w, "generation", f->generation);
    json_end(&w);
    answer(f, q, &body);
}

static void put_stream(struct front *f, struct json_out *w, const struct stream *t) {
    json_obj(w);
    put_str(w, "model", t->model->id);
    put_str(w, "agent", or_null(t->request->submit.agent));
    put_str(w, "request_id", t->request->request_id);
    put_str(w, "state", t->running ? "running" : "parked");
    put_str(w, "priority", request_priority_name(t->request->priority));
    put_u64(w, "tokens", t->n_tokens);
    put_ms(w, "since_ms", f->now_ns - (t->running ? t->submitted_ns : t->waits_since_ns));
    json_end(w);
}

static void put_streams(struct front *f, struct json_out *w) {
    json_arr(w);
    LIST_EACH(&f->running, struct stream, node, t) {
        put_stream(f, w, t);
    }
    for (uint32_t i = 0; i < registry_count(f->registry); i++) {
        LIST_EACH(&registry_at(f->registry, i)->waiting, struct stream, node, t) {
            if (t->submits) put_stream(f, w, t);
        }
    }
    json_end(w);
}

void admin_ps(struct front *f, const struct request *q, const struct msg_bytes *agents) {
    struct buf body = BUF(FRAME_BYTES_MAX);
    struct json_out w = json_out_into(&body);
    json_obj(&w);
    json_key(&w, "seat");
    json_obj(&w);
    put_str(&w, "model", f->swap.seated ? f->swap.seated->id : NULL);
    put_progress(f, &w);
    put_u64(&w, "memory_bytes", f->stats.memory_bytes);
    json_end(&w);
    put_u64(&w, "running", f->running.count);
    put_u64(&w, "waiting", f->n_waiting);
    json_key(&w, "queues");
    json_arr(&w);
    for (uint32_t i = 0; i < registry_count(f->registry); i++) {
        const struct model *m = registry_at(f->registry, i);
        if (!m->waiting.count) continue;
        int64_t oldest_ns = f->now_ns;
        LIST_EACH(&m->waiting, struct stream, node, t) {
            if (t->waits_since_ns < oldest_ns) oldest_ns = t->waits_since_ns;
        }
        json_obj(&w);
        put_str(&w, "model", m->id);
        put_u64(&w, "waiting", m->waiting.count);
        json_key(&w, "oldest_ms"), json_i64(&w, (f->now_ns - oldest_ns) / NS_PER_MS);
        json_key(&w, "eta_ms"), json_i64(&w, turn_eta_ns(f, m, 1) / NS_PER_MS);
        json_end(&w);
    }
    json_end(&w);
    json_key(&w, "streams");
    put_streams(f, &w);
    struct json_error where;
    AUTO(json_freep)
    struct json *root = agents && agents->size ? json_read(agents->data, agents->size, &where) : NULL;
    if (json_get(root, "agents")) {
        struct buf list = BUF(FRAME_BYTES_MAX);
        json_key(&w, "agents");
        if (json_dump(json_get(root, "agents"), &list) == ERR_OK)
            json_raw(&w, list.data, list.size);
        else
            json_null(&w);
        buf_free(&list);
    }
    json_end(&w);
    answer(f, q, &body);
}

/* ---- by verb ---- */

void admin_request(struct front *f, struct request *q) {
    if (f->stop) {
        front_reply_error(f, q, ERR_STOPPING, RETRY_SHORT_S, "%s", err_text(ERR_STOPPING));
        request_free(q);
        return;
    }
    switch (q->verb) {
    case REQUEST_INFER: dispatch_request(f, q); return;
    case REQUEST_SWAP:
    case REQUEST_OFFLOAD: turn_swap_request(f, q); return;
    case REQUEST_EVENTS: events_add(f, q); return;
    case REQUEST_MODELS:
    case REQUEST_AGENTS:
    case REQUEST_AGENT:
    case REQUEST_CACHE:
    case REQUEST_CACHE_DELETE:
    case REQUEST_FAULT:
    case REQUEST_PS: query_ask(f, q); return;
    case REQUEST_RELOAD: reload_begin(f, q->client); break;
    case REQUEST_CURRENT: current(f, q); break;
    case REQUEST_AVAILABLE: available(f, q); break;
    case REQUEST_SWAP_STATUS: swap_status(f, q); break;
    }
    request_free(q);
}
