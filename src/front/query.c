/* query.c - what only the seat can answer, because it owns the store: agents, the cache, faults; also who asks for models or
 * for everything at once, because how many agents a model has cached is in the store. A question waits for a seat, but
 * not for long. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "front/front_impl.h"

#define SOFT_LIMIT_NS INT64_C(1500000000) /* a list of models does not wait longer for its agents' counts */

static void query_free(struct front *f, struct query *q) {
    list_remove(&f->queries, &q->node);
    request_free(q->request);
    mem_free(q);
}

/* Lists of models and of everything have an answer without the seat, with the counts as they were. */
static bool is_soft(const struct request *r) {
    return r->verb == REQUEST_MODELS || r->verb == REQUEST_PS;
}

static void send(struct front *f, struct query *q) {
    const struct request *r = q->request;
    static char nothing[] = "";
    struct msg m = {.type = MSG_TYPE_QUERY};
    uint64_t op = seat_next_op(f);
    if (r->verb == REQUEST_FAULT) {
        m.type = MSG_TYPE_FAULT;
        m.fault =
            (struct msg_fault){.op = op, .name = r->fault, .times = r->fault_times, .arg = r->fault_arg};
    } else {
        struct model *model = r->model && !is_soft(r) ? registry_find(f->registry, r->model) : NULL;
        m.query = (struct msg_query){.op = op,
                                     .what = is_soft(r) ? MSG_QUERY_AGENTS : r->query,
                                     .agent = r->agent ? r->agent : nothing,
                                     .model = is_soft(r) ? nothing
                                              : model    ? model->id
                                              : r->model ? r->model
                                                         : nothing};
    }
    if (seat_send(f, &m)) q->op = op;
}

void query_ask(struct front *f, struct request *r) {
    if (r->verb == REQUEST_FAULT && !f->config->debug) {
        front_reply_error(f, r, ERR_FORBIDDEN, 0, "faults are for servers that run with --debug");
        request_free(r);
        return;
    }
    if (r->model && strlen(r->model) > MODEL_ID_BYTES_MAX) { /* it never had a cache */
        models_refuse_unknown(f, r);
        request_free(r);
        return;
    }
    struct query *q = mem_alloc(sizeof *q);
    if (!q || f->queries.count >= QUEUE_PER_MODEL_MAX) {
        front_reply_error(f, r, q ? ERR_QUEUE_FULL : ERR_NOMEM, RETRY_SHORT_S, "%s",
                          err_text(q ? ERR_QUEUE_FULL : ERR_NOMEM));
        request_free(r);
        mem_free(q);
        return;
    }
    q->request = r;
    q->deadline_ns = f->now_ns + (is_soft(r) ? SOFT_LIMIT_NS : QUERY_LIMIT_NS);
    list_push_back(&f->queries, &q->node);
    if (f->seat_greeted) send(f, q);
}

void query_send_all(struct front *f) {
    LIST_EACH(&f->queries, struct query, node, q) {
        if (!q->op) send(f, q);
    }
}

/* Asked again of the next seat; but a deletion may have happened, so its figures would be wrong. */
void query_seat_died(struct front *f) {
    LIST_EACH(&f->queries, struct query, node, q) {
        bool once =
            q->request->query == MSG_QUERY_AGENT_DELETE || q->request->query == MSG_QUERY_CACHE_DELETE;
        if (q->op && once) {
            front_reply_error(f, q->request, ERR_NO_SEAT, 1,
                              "the seat ended during this; ask again what is left");
            query_free(f, q);
            continue;
        }
        q->op = 0;
    }
}

/* How many agents each model has cached, out of the seat's list. */
static void count_agents(struct front *f, const struct msg_bytes *bytes) {
    struct json_error where;
    AUTO(json_freep)
    struct json *root = json_read(bytes->data ? (const char *)bytes->data : "", bytes->size, &where);
    const struct json *agents = json_get(root, "agents");
    if (!root) return;
    for (uint32_t i = 0; i < registry_count(f->registry); i++) registry_at(f->registry, i)->cached_agents = 0;
    for (size_t i = 0; i < json_count(agents); i++) {
        const char *id = json_string(json_get(json_at(agents, i), "model"), NULL);
        struct model *m = id ? registry_find(f->registry, id) : NULL;
        if (m) m->cached_agents++;
    }
}

static void soft_answer(struct front *f, struct query *q, const struct msg_bytes *agents) {
    if (q->request->verb == REQUEST_MODELS)
        models_answer(f, q->request);
    else
        admin_ps(f, q->request, agents);
    query_free(f, q);
}

static void answer(struct front *f, struct query *q, const struct msg_reply *m) {
    enum err err = m->err < ERR_COUNT ? (enum err)m->err : ERR_INTERNAL;
    if (err) {
        front_reply_error(f, q->request, err, err_retryable(err) ? RETRY_SHORT_S : 0, "%s",
                          m->text && *m->text ? m->text : err_text(err));
        query_free(f, q);
        return;
    }
    struct buf body = BUF(FRAME_BYTES_MAX);
    if (m->json.size) {
        buf_put(&body, m->json.data, m->json.size);
    } else {
        struct json_out w = json_out_into(&body);
        json_obj(&w);
        json_key(&w, "status"), json_str(&w, "ok");
        if (q->request->fault) json_key(&w, "fault"), json_str(&w, q->request->fault);
        json_end(&w);
    }
    front_reply_json(f, q->request->client, 200, &body);
    buf_free(&body);
    query_free(f, q);
}

void query_reply(struct front *f, struct msg_reply *m) {
    LIST_EACH(&f->queries, struct query, node, q) {
        if (q->op != m->op) continue;
        if (!is_soft(q->request)) {
            answer(f, q, m);
            return;
        }
        if (!m->err) count_agents(f, &m->json);
        soft_answer(f, q, m->err ? NULL : &m->json);
        return;
    }
}

void query_tick(struct front *f) {
    LIST_EACH(&f->queries, struct query, node, q) {
        if (f->now_ns < q->deadline_ns) continue;
        if (is_soft(q->request)) {
            soft_answer(f, q, NULL);
            continue;
        }
        front_reply_error(f, q->request, ERR_NO_SEAT, RETRY_SHORT_S, "no seat has answered in time");
        query_free(f, q);
    }
}

bool query_cancel_client(struct front *f, uint64_t client) {
    LIST_EACH(&f->queries, struct query, node, q) {
        if (q->request->client != client) continue;
        front_reply_error(f, q->request, ERR_CANCELED, 0, "%s", err_text(ERR_CANCELED));
        query_free(f, q);
        return true;
    }
    return false;
}

void query_fail_all(struct front *f, enum err err) {
    LIST_EACH(&f->queries, struct query, node, q) {
        front_reply_error(f, q->request, err, RETRY_SHORT_S, "%s", err_text(err));
        query_free(f, q);
    }
}
