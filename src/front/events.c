/* events.c - GET /admin/events: every change of the swap's state, its progress in percent, rollbacks, restarts of the seat, models
 * that come and go. An event nobody listens to is not made. */
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "front/front_impl.h"

void events_add(struct front *f, struct request *q) {
    struct event_client *c = f->events.count < EVENT_CLIENTS_MAX ? mem_alloc(sizeof *c) : NULL;
    if (!c) {
        front_reply_error(f, q, ERR_QUEUE_FULL, RETRY_SHORT_S, "%d clients watch the events already",
                          EVENT_CLIENTS_MAX);
        request_free(q);
        return;
    }
    c->client = q->client;
    list_push_back(&f->events, &c->node);
    metrics_set(f->metrics, METRIC_EVENT_CLIENTS, (int64_t)f->events.count);
    request_free(q);
    f->event_percent = UINT32_MAX; /* the newcomer sees where things stand */
    events_swap(f);
}

static void client_free(struct front *f, struct event_client *c) {
    list_remove(&f->events, &c->node);
    mem_free(c);
    metrics_set(f->metrics, METRIC_EVENT_CLIENTS, (int64_t)f->events.count);
}

bool events_cancel_client(struct front *f, uint64_t client) {
    LIST_EACH(&f->events, struct event_client, node, c) {
        if (c->client != client) continue;
        (void)front_reply(f, reply_error(client, ERR_CANCELED, NULL));
        client_free(f, c);
        return true;
    }
    return false;
}

/* Its last event: a last reply is never lost. */
static void client_end(struct front *f, struct event_client *c, const char *reason) {
    struct reply *r = reply_new(c->client, REPLY_EVENT);
    if (r) {
        r->last = true;
        r->event = mem_strdup("end");
        r->body = mem_printf("{\"reason\":\"%s\"}", reason);
    }
    (void)front_reply(f, r);
    client_free(f, c);
}

void events_end(struct front *f) {
    LIST_EACH(&f->events, struct event_client, node, c) {
        client_end(f, c, "the server is shutting down");
    }
}

struct json_out events_begin(struct front *f, struct buf *body) {
    (void)f;
    struct json_out w = json_out_into(body);
    json_obj(&w);
    int64_t ms = clock_wall_ns() / NS_PER_MS;
    json_key(&w, "time"), json_f64(&w, (double)ms / 1000);
    return w;
}

void events_say(struct front *f, const char *event, struct buf *body) {
    AUTO(mem_freep) char *text = buf_take_string(body);
    buf_free(body);
    LIST_EACH(&f->events, struct event_client, node, c) {
        struct reply *r = text ? reply_new(c->client, REPLY_EVENT) : NULL;
        if (r) {
            r->event = mem_strdup(event);
            r->body = mem_strdup(text);
        }
        if (!front_reply(f, r))
            client_end(f, c, "too many events wait to be sent"); /* it has missed this one */
    }
}

/* A state or step that is new is an event; a percentage only when it has moved. */
void events_swap(struct front *f) {
    const struct swap *s = &f->swap;
    uint32_t mark = ((uint32_t)s->state * STEP_COUNT + (uint32_t)s->step) * 128 + swap_percent(s);
    if (mark == f->event_percent) return;
    bool progress = mark / 128 == f->event_percent / 128 && f->event_percent != UINT32_MAX;
    f->event_percent = mark;
    if (!f->events.count) return;
    struct buf body = BUF(16384);
    struct json_out w = events_begin(f, &body);
    json_key(&w, "state"), json_str(&w, swap_state_name(s->state));
    json_key(&w, "model"), json_str(&w, s->seated ? s->seated->id : NULL);
    if (s->record.id) {
        json_key(&w, "id"), json_u64(&w, s->record.id);
        json_key(&w, "step"), json_str(&w, swap_step_name(s->step));
        json_key(&w, "from"), json_str(&w, s->record.from[0] ? s->record.from : NULL);
        json_key(&w, "to"), json_str(&w, s->record.to[0] ? s->record.to : NULL);
        json_key(&w, "percent"), json_u64(&w, swap_percent(s));
        json_key(&w, "elapsed_ms"), json_i64(&w, (f->now_ns - s->record.started_ns) / NS_PER_MS);
        json_key(&w, "eta_ms"), json_i64(&w, swap_eta_ns(s, f->now_ns) / NS_PER_MS);
    }
    json_end(&w);
    events_say(f, progress ? "progress" : "state", &body);
}
