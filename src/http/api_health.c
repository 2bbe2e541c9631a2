#include "http/api_health.h"

#include <stdio.h>

#include "base/json.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

static void answer_status(struct server *s, struct exchange *ex, int status, const char *word) {
    struct buf body = BUF(256);
    struct json_out w = json_out_into(&body);
    json_obj(&w);
    json_key(&w, "status");
    json_str(&w, word);
    json_end(&w);
    if (status == 503) net_header(ex, "Retry-After", "1");
    net_answer(s->net, ex, status, JSON_TYPE, &body);
    buf_free(&body);
}

static void answer_ready(struct server *s, struct exchange *ex) {
    enum front_readiness readiness = s->front.readiness ? s->front.readiness(s->front.front) : FRONT_LOADING;
    switch (readiness) {
    case FRONT_READY: answer_status(s, ex, 200, "ready"); return;
    case FRONT_EMPTY: answer_status(s, ex, 200, "empty"); return;
    case FRONT_LOADING: answer_status(s, ex, 503, "loading"); return;
    case FRONT_SWAPPING: answer_status(s, ex, 503, "swapping"); return;
    case FRONT_FAILED: answer_status(s, ex, 503, "failed"); return;
    case FRONT_STOPPING: answer_status(s, ex, 503, "stopping"); return;
    }
}

static void put_metric(struct buf *out, const char *name, const char *type, const char *help,
                       uint64_t value) {
    buf_printf(out, "# HELP hotseat_http_%s %s\n# TYPE hotseat_http_%s %s\nhotseat_http_%s %llu\n", name,
               help, name, type, name, (unsigned long long)value);
}

static void answer_metrics(struct server *s, struct exchange *ex) {
    struct buf body = BUF(4u << 20);
    const struct server_counts *c = &s->counts;
    enum err err = s->front.metrics_text ? s->front.metrics_text(s->front.front, &body) : ERR_OK;
    buf_puts(
        &body,
        "# HELP hotseat_http_responses_total Answers by class of status; none: the client left before one.\n"
        "# TYPE hotseat_http_responses_total counter\n");
    static const char *const CLASSES[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    for (size_t i = 0; i < ARRAY_LEN(CLASSES); i++)
        buf_printf(&body, "hotseat_http_responses_total{class=\"%s\"} %llu\n", CLASSES[i],
                   (unsigned long long)c->by_class[i]);
    put_metric(&body, "connections", "gauge", "Open connections.", net_connections(s->net));
    put_metric(&body, "requests_open", "gauge", "Requests being received or answered.",
               net_exchanges(s->net)->count);
    put_metric(&body, "slow_clients_total", "counter", "Streams ended because their client did not read.",
               c->slow);
    put_metric(&body, "clients_left_total", "counter", "Clients that left before their answer ended.",
               c->left);
    put_metric(&body, "timeouts_total", "counter", "Requests that stopped half-way.", c->timeouts);
    put_metric(&body, "lost_replies_total", "counter", "Requests ended because the mailbox was full.",
               c->lost_replies);
    if (err || body.error) {
        buf_free(&body);
        server_refuse(s, ex, &(struct http_error){.err = err ? err : body.error}, false);
        return;
    }
    net_answer(s->net, ex, 200, METRICS_TYPE, &body);
    buf_free(&body);
}

void api_health_answer(struct server *s, struct exchange *ex) {
    ex->state = EXCHANGE_ANSWERED;
    ex->end = "done";
    if (ex->match.route == ROUTE_METRICS)
        answer_metrics(s, ex);
    else if (ex->match.route == ROUTE_OPENAPI)
        net_answer_shared(s->net, ex, JSON_TYPE, &s->openapi);
    else if (ex->match.route == ROUTE_HEALTH_READY)
        answer_ready(s, ex);
    else
        answer_status(s, ex, 200, "live");
}
