#include "http/server.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "http/answer.h"
#include "http/api_admin.h"
#include "http/openapi.h"
#include "http/server_impl.h"
#include "http/sse.h"

#define SSE_TYPE "text/event-stream; charset=utf-8"
/* The front says WAITING after 1 s. Should it be late, the headers go out all the same. */
#define HEADERS_AFTER_NS (1500 * NS_PER_MS)
/* Of silence on a stream; the promise is 5 s, and it is looked at twice a second. A request that waits is told more by the
 * front, every 4 s, so that one gets its time. */
#define WORKING_AFTER_NS (3500 * NS_PER_MS)
#define WAITING_AFTER_NS (4400 * NS_PER_MS)
#define OPENAPI_BYTES_MAX (1u << 20)
#define REPLIES_PER_TURN 4096 /* then the sockets get their turn */

/* ---- answers ---- */

static void refuse(struct server *s, struct exchange *ex, enum err err, const char *text) {
    server_refuse(s, ex, &(struct http_error){.err = err, .text = text}, false);
}

/* The front need not go on. */
static void forget(struct server *s, struct exchange *ex) {
    if (ex->posted) s->front.cancel(s->front.front, ex->client);
    ex->posted = false;
}

/* Ends an exchange that can't go on: the front forgets it, the connection closes. */
static void drop(struct server *s, struct exchange *ex, const char *end) {
    forget(s, ex);
    ex->end = end;
    net_abort(s->net, ex);
}

static void begin_stream(struct server *s, struct exchange *ex) {
    if (ex->streaming) return;
    net_header(ex, "Cache-Control", "no-cache");
    net_header(ex, "X-Accel-Buffering", "no");
    net_stream_begin(s->net, ex, SSE_TYPE);
}

/* False: the client does not read and was dropped. */
static bool put(struct server *s, struct exchange *ex, const struct buf *bytes) {
    if (bytes->size == 0 && !bytes->error) return true;
    enum err err = bytes->error ? bytes->error : net_stream_put(s->net, ex, bytes->data, bytes->size);
    if (!err) return true;
    static struct log_limit limit = LOG_LIMIT(5);
    if (log_limit_pass(&limit))
        log_warn("http.slow_client", "request=%s unsent_bytes=%zu", ex->request_id,
                 ex->out.size - ex->out_at);
    s->counts.slow++;
    drop(s, ex, "slow");
    return false;
}

static void end_stream(struct server *s, struct exchange *ex, const char *end) {
    ex->state = EXCHANGE_ANSWERED;
    ex->end = end;
    net_stream_end(s->net, ex);
}

static void end_by_error(struct server *s, struct exchange *ex, const struct http_error *e) {
    if (!ex->streaming) {
        server_refuse(s, ex, e, false);
        return;
    }
    AUTO(buf_free) struct buf body = BUF(64u << 10);
    AUTO(buf_free) struct buf out = BUF(128u << 10);
    net_error_body(ex, e, &body);
    answer_error(ex->plan.kind, &body, &out);
    if (put(s, ex, &out)) end_stream(s, ex, "error");
}

/* ---- replies of the front ---- */

static void take_answer(struct server *s, struct exchange *ex, const struct reply *r) {
    ex->entered = r->kind != REPLY_WAITING;
    struct buf out = BUF(2 * ANSWER_BYTES_MAX);
    enum err err = answer_take(ex->answer, r, &out);
    if (err) {
        buf_free(&out);
        forget(s, ex);
        end_by_error(s, ex,
                     &(struct http_error){.err = err == ERR_LIMIT ? ERR_INTERNAL : err,
                                          .text = err == ERR_LIMIT
                                                      ? "the answer is too long to be collected; "
                                                        "ask for a stream"
                                                      : NULL});
        return;
    }
    if (ex->plan.stream) {
        begin_stream(s, ex);
        if (put(s, ex, &out) && r->last) end_stream(s, ex, "done");
    } else if (r->last) {
        ex->state = EXCHANGE_ANSWERED;
        ex->end = "done";
        net_answer(s->net, ex, 200, JSON_TYPE, &out);
    }
    buf_free(&out);
}

static void take_json(struct server *s, struct exchange *ex, struct reply *r) {
    const char *body = r->body ? r->body : "{}";
    struct buf out = BUF(64u << 20);
    buf_puts(&out, body);
    if (out.error) {
        buf_free(&out);
        refuse(s, ex, out.error, NULL);
        return;
    }
    if (r->retry_after_s) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%u", r->retry_after_s);
        net_header(ex, "Retry-After", seconds);
    }
    ex->state = EXCHANGE_ANSWERED;
    ex->end = "done";
    net_answer(s->net, ex, r->http_status ? r->http_status : 200, JSON_TYPE, &out);
    buf_free(&out);
}

static void take_event(struct server *s, struct exchange *ex, const struct reply *r) {
    AUTO(buf_free) struct buf out = BUF(CLIENT_OUT_BYTES_MAX);
    const char *body = r->body ? r->body : "{}";
    begin_stream(s, ex);
    sse_event(&out, r->event ? r->event : "message", body, strlen(body));
    if (put(s, ex, &out) && r->last) end_stream(s, ex, "done");
}

static void take_reply(struct server *s, struct reply *r) {
    struct exchange *ex = net_find(s->net, r->client);
    if (!ex || ex->state != EXCHANGE_POSTED) return; /* the client has left, and this reply was on its way */
    if (r->last) ex->posted = false;
    if (r->kind == REPLY_ERROR) {
        end_by_error(s, ex,
                     &(struct http_error){.err = r->err,
                                          .text = r->error_text,
                                          .param = r->param,
                                          .status = r->http_status,
                                          .retry_after_s = r->retry_after_s,
                                          .details = r->details});
    } else if (r->kind == REPLY_JSON) {
        take_json(s, ex, r);
    } else if (r->kind == REPLY_EVENT) {
        take_event(s, ex, r);
    } else if (ex->answer) {
        take_answer(s, ex, r);
    }
    must(!r->last || ex->state != EXCHANGE_POSTED);
}

static enum err sink_post(void *ctx, struct reply *reply) {
    struct server *s = ctx;
    uint64_t client = reply->client;
    /* Text or an event that finds no room can't be made good: its request ends, and the net thread must learn of it. A
     * last reply the poster keeps and posts again; a sign of life less is no loss. */
    bool ends = !reply->last && (reply->kind == REPLY_DELTA || reply->kind == REPLY_EVENT);
    enum err err = mailbox_post(s->replies, reply);
    if (err && ends && mailbox_post(s->lost, (void *)(uintptr_t)client) != ERR_OK)
        log_error("http.lost", "text=\"a reply was lost and nobody could be told\"");
    return err;
}

static void take_lost(struct server *s) {
    void *mail;
    while ((mail = mailbox_take(s->lost, 0))) {
        struct exchange *ex = net_find(s->net, (uint64_t)(uintptr_t)mail);
        if (!ex || ex->state != EXCHANGE_POSTED) continue;
        s->counts.lost_replies++;
        forget(s, ex);
        end_by_error(s, ex, &(struct http_error){.err = ERR_QUEUE_FULL, .text = "the server is overloaded"});
    }
}

/* ---- requests to the front ---- */

static void post(struct server *s, struct exchange *ex, struct api_parsed *parsed) {
    struct request *r = parsed->request;
    if (parsed->error.err) {
        const struct api_error *e = &parsed->error;
        server_refuse(
            s, ex,
            &(struct http_error){.err = e->err, .text = e->text, .param = e->param[0] ? e->param : NULL},
            false);
        return;
    }
    ex->plan = parsed->plan;
    bool text = answer_is_for(ex->plan.kind);
    if (text) ex->answer = answer_new(&ex->plan, ++s->n_answers);
    r->client = ex->client;
    r->request_id = mem_strdup(ex->request_id);
    r->arrived_ns = ex->arrived_ns;
    if (!r->request_id || (text && !ex->answer)) {
        refuse(s, ex, ERR_NOMEM, NULL);
        return;
    }
    bool events = ex->plan.kind == ANSWER_EVENTS;
    if (events && s->n_event_clients >= EVENT_CLIENTS_MAX) {
        refuse(s, ex, ERR_QUEUE_FULL, "too many clients watch the events already");
        return;
    }
    net_watch(s->net, ex); /* even a question may wait: for a seat, a swap, a scan */
    enum err err = s->front.post ? s->front.post(s->front.front, r) : ERR_NO_SEAT;
    if (err) {
        refuse(s, ex, err, NULL);
        return;
    }
    parsed->request = NULL;
    ex->state = EXCHANGE_POSTED;
    ex->posted = true;
    ex->posted_ns = clock_now_ns();
    if (!events) return;
    ex->event_client = ex->entered = true;
    s->n_event_clients++;
    AUTO(buf_free) struct buf hello = BUF(64);
    sse_comment(&hello, "events");
    begin_stream(s, ex);
    (void)put(s, ex, &hello);
}

static void take_parsed(struct server *s, struct worker_job *job) {
    struct exchange *ex = net_find(s->net, job->client);
    if (!ex || ex->state != EXCHANGE_PARSING) return;
    net_body_done(s->net, ex);
    if (job->parsed.ignored.size > 0) {
        buf_u8(&job->parsed.ignored, '\0');
        if (!job->parsed.ignored.error)
            net_header(ex, "X-Hotseat-Ignored", (const char *)job->parsed.ignored.data);
    }
    post(s, ex, &job->parsed);
}

static void to_worker(struct server *s, struct exchange *ex) {
    struct api_input input = {.route = ex->match.route,
                              .agent_header = ex->head.agent,
                              .priority_header = ex->head.priority,
                              .timeout_header = ex->head.timeout,
                              .debug_header = ex->head.debug && strcmp(ex->head.debug, "1") == 0,
                              .debug = s->config->debug};
    if (ex->no_memory) {
        refuse(s, ex, ERR_NOMEM, "there is no room for this body now");
        return;
    }
    enum err err = worker_post(s->worker, ex->client, &input, &ex->body);
    if (err)
        refuse(s, ex, err, NULL);
    else
        ex->state = EXCHANGE_PARSING;
}

/* ---- the handler of net ---- */

static void on_request(void *ctx, struct exchange *ex) {
    struct server *s = ctx;
    switch ((int)ex->match.route) {
    case ROUTE_HEALTH:
    case ROUTE_HEALTH_LIVE:
    case ROUTE_HEALTH_READY:
    case ROUTE_METRICS:
    case ROUTE_OPENAPI: api_health_answer(s, ex); return;
    default: break;
    }
    if (ex->match.body) {
        to_worker(s, ex);
        return;
    }
    struct api_parsed parsed;
    api_admin_make(&ex->match, ex->head.query, ex->error_shape == ERROR_ANTHROPIC, &parsed);
    post(s, ex, &parsed);
    api_parsed_free(&parsed);
}

static void on_left(void *ctx, struct exchange *ex) {
    struct server *s = ctx;
    if (ex->state == EXCHANGE_ANSWERED)
        return; /* what is left of the answer may still be wanted: it only half-closed */
    drop(s, ex, "left");
}

/* Every second from some monitors: no news. A probe that is refused or given up is. */
static bool is_probe(const struct exchange *ex) {
    switch ((int)ex->match.route) {
    case ROUTE_HEALTH:
    case ROUTE_HEALTH_LIVE:
    case ROUTE_HEALTH_READY:
    case ROUTE_METRICS: return ex->status && (ex->status < 400 || ex->status == 503);
    default: return false;
    }
}

static void on_ended(void *ctx, struct exchange *ex) {
    struct server *s = ctx;
    int64_t ms = (clock_now_ns() - ex->began_ns) / NS_PER_MS;
    forget(s, ex);
    if (ex->event_client) s->n_event_clients--;
    bool left = ex->end && strcmp(ex->end, "left") == 0;
    s->counts.left += left;
    s->counts.timeouts += ex->end && strcmp(ex->end, "timeout") == 0;
    s->counts.by_class[ex->status / 100 % 6]++;
    answer_free(ex->answer);
    if (!ex->request_id[0]) return; /* not even a head came */
    log_context(ex->request_id);
    log_line(is_probe(ex) ? LOG_DEBUG : LOG_INFO, "http.request",
             "method=%s path=%s status=%d ms=%lld bytes=%llu end=%s", log_q(ex->head.method),
             log_q(ex->head.path), ex->status ? ex->status : 499, (long long)ms,
             (unsigned long long)ex->sent_bytes, ex->end ? ex->end : "done");
    log_context(NULL);
}

static void on_wake(void *ctx) {
    struct server *s = ctx;
    struct worker_job *job;
    struct reply *r;
    wake_clear(&s->wake);
    while ((job = worker_take(s->worker))) {
        take_parsed(s, job);
        worker_job_free(job);
    }
    for (int i = 0; i < REPLIES_PER_TURN && (r = mailbox_take(s->replies, 0)); i++) {
        take_reply(s, r);
        reply_free(r);
    }
    take_lost(s);
}

static void on_tick(void *ctx, int64_t now_ns) {
    struct server *s = ctx;
    LIST_EACH(net_exchanges(s->net), struct exchange, node, ex) {
        if (ex->state != EXCHANGE_POSTED || !ex->plan.stream) continue;
        bool late = !ex->streaming && now_ns - ex->posted_ns > HEADERS_AFTER_NS;
        int64_t after_ns = ex->entered ? WORKING_AFTER_NS : WAITING_AFTER_NS;
        bool silent = ex->streaming && now_ns - ex->sent_ns > after_ns;
        if (!late && !silent) continue;
        AUTO(buf_free) struct buf out = BUF(256);
        answer_alive(ex->plan.kind, &out, ex->entered ? "working" : "waiting");
        begin_stream(s, ex);
        (void)put(s, ex, &out);
    }
}

/* ---- life ---- */

static enum err open_parts(struct server *s) {
    enum err err = wake_open(&s->wake);
    if (!err) err = mailbox_open(MAILBOX_MAIL_MAX, &s->replies);
    if (!err) err = mailbox_open(2 * CONNECTIONS_MAX, &s->lost);
    if (!err) err = worker_open(CONNECTIONS_MAX, &s->worker);
    s->openapi = BUF(OPENAPI_BYTES_MAX);
    openapi_write(&s->openapi, s->config->debug);
    if (!err) err = s->openapi.error;
    if (err) return err;
    struct net_options options = {
        .listener = s->listener,
        .connections_max = CONNECTIONS_MAX,
        .idle_ns = IDLE_BODY_S * NS_PER_S,
        .handler = {.ctx = s,
                    .head = server_head,
                    .request = on_request,
                    .left = on_left,
                    .ended = on_ended,
                    .wake = on_wake,
                    .tick = on_tick},
        .wake_fds = {s->wake.read_fd, mailbox_fd(s->replies), mailbox_fd(s->lost), worker_fd(s->worker)},
        .n_wake_fds = 4};
    err = net_open(&options, &s->net);
    if (!err) s->listener.fd = -1;
    return err;
}

/* By the address that was bound, whatever name led to it: a name that looks like this machine's may be another's. */
static enum err check_keys(const struct server *s, char *why, size_t why_size) {
    const struct config *c = s->config;
    if (s->listener.loopback || (c->api_key && c->admin_key)) return ERR_OK;
    snprintf(why, why_size, "host: %s is %s, which is no loopback address, so %s must be given too", c->host,
             s->listener.address,
             c->api_key     ? "--admin-key"
             : c->admin_key ? "--api-key"
                            : "--api-key and --admin-key");
    return ERR_INVALID;
}

enum err server_open(const struct config *config, struct server **ret, char *why, size_t why_size) {
    struct server *s = mem_alloc(sizeof *s);
    if (!s) {
        snprintf(why, why_size, "%s", err_text(ERR_NOMEM));
        return ERR_NOMEM;
    }
    s->config = config;
    s->wake = (struct wake){-1, -1};
    s->listener.fd = -1;
    enum err err = listen_open(config->host, config->port, &s->listener, why, why_size);
    if (!err) err = check_keys(s, why, why_size);
    if (!err && (err = open_parts(s)) != ERR_OK)
        snprintf(why, why_size, "can't start the server: %s", err_text(err));
    if (err) {
        server_free(s);
        return err;
    }
    s->security = (struct security){.loopback = s->listener.loopback,
                                    .names = {config->host, s->listener.address},
                                    .port = s->listener.port,
                                    .api_key = config->api_key,
                                    .admin_key = config->admin_key,
                                    .origins = config->origins};
    *ret = s;
    return ERR_OK;
}

struct front_sink server_sink(struct server *s) {
    return (struct front_sink){.post = sink_post, .ctx = s};
}

void server_attach_to(struct server *s, const struct server_front *front) {
    must(!s->started);
    s->front = *front;
}

uint16_t server_port(const struct server *s) {
    return s->listener.port;
}

void server_url(const struct server *s, char *out, size_t size_bytes) {
    bool brackets = strchr(s->config->host, ':') && s->config->host[0] != '[';
    snprintf(out, size_bytes, "http://%s%s%s:%u", brackets ? "[" : "", s->config->host, brackets ? "]" : "",
             s->listener.port);
}

static void *net_main(void *arg) {
    struct server *s = arg;
    net_run(s->net);
    return NULL;
}

enum err server_start(struct server *s) {
    must(!s->started);
    if (pthread_create(&s->thread, NULL, net_main, s) != 0) return ERR_NOMEM;
    s->started = true;
    return ERR_OK;
}

void server_stop(struct server *s, int64_t limit_ns) {
    if (!s->started) return;
    net_quit(s->net, limit_ns);
    wake_signal(&s->wake);
    (void)pthread_join(s->thread, NULL);
    s->started = false;
}

void server_free(struct server *s) {
    struct reply *r;
    if (!s) return;
    server_stop(s, 0);
    net_free(s->net);
    worker_free(s->worker);
    while (s->replies && (r = mailbox_take(s->replies, 0))) reply_free(r);
    mailbox_free(s->replies);
    mailbox_free(s->lost);
    if (s->wake.read_fd >= 0) wake_close(&s->wake);
    if (s->listener.fd >= 0) close(s->listener.fd);
    buf_free(&s->openapi);
    mem_free(s);
}
