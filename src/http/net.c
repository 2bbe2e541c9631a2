#include "http/net.h"

#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/away.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "http/ident.h"
#include "http/net_linger.h"
#include "http/net_poll.h"
#include "http/net_refusal.h"

#define SPARE_CONNECTIONS 64 /* beyond connections_max: those that get a 503 */
#define LIBRARY_TIMEOUT_S                                                                                    \
    (IDLE_BODY_S + 15) /* idle kept-alive connections; half-sent requests end before, by us */
#define STREAM_BLOCK_BYTES 4096
#define LEFT_PER_WAIT 256
#define TICK_MS 500
#define LINGER_POLL_MS 20
#define QUIT_ROUNDS 64 /* turns of the loop in which the library may end what was aborted */

struct net {
    struct net_options options;
    struct MHD_Daemon *daemon;
    struct net_poll *poll;
    struct net_linger linger;
    struct list exchanges;
    struct exchange **slots; /* by slot number; NULL: free */
    uint32_t *free_slots, n_free, n_slots;
    uint64_t serial;
    uint32_t connections;
    uint64_t bodies_bytes; /* of all exchanges; at most BODIES_BYTES_MAX */
    int64_t tick_ns;
    struct away away;
    _Atomic int64_t quit_at_ns; /* 0: not asked to */
    bool listening;
};

/* ---- exchanges ---- */

struct exchange *net_find(struct net *n, uint64_t client) {
    uint32_t slot = (uint32_t)(client & 0xffff);
    struct exchange *ex = slot < n->n_slots ? n->slots[slot] : NULL;
    return ex && ex->client == client ? ex : NULL;
}

struct list *net_exchanges(struct net *n) {
    return &n->exchanges;
}

static struct exchange *exchange_new(struct net *n, struct MHD_Connection *connection, const char *uri) {
    struct exchange *ex = n->n_free > 0 ? mem_alloc(sizeof *ex) : NULL;
    if (!ex) return NULL;
    ex->uri_too_long = strlen(uri) > URL_BYTES_MAX;
    ex->uri = mem_strndup(uri, URL_BYTES_MAX);
    if (!ex->uri) {
        mem_free(ex);
        return NULL;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    uint32_t slot = n->free_slots[--n->n_free];
    n->slots[slot] = ex;
    ex->client = ++n->serial << 16 | slot;
    ex->connection = connection;
    ex->fd = info ? info->connect_fd : -1;
    ex->began_ns = ex->progress_ns = clock_now_ns();
    ex->body = BUF(BODY_BYTES_MAX);
    ex->out = BUF(2 * ANSWER_BYTES_MAX);
    list_push_back(&n->exchanges, &ex->node);
    return ex;
}

void net_body_done(struct net *n, struct exchange *ex) {
    n->bodies_bytes -= ex->body_charged;
    ex->body_charged = 0;
    buf_free(&ex->body);
}

static void exchange_free(struct net *n, struct exchange *ex) {
    net_body_done(n, ex);
    uint32_t slot = (uint32_t)(ex->client & 0xffff);
    must(n->slots[slot] == ex);
    n->slots[slot] = NULL;
    n->free_slots[n->n_free++] = slot;
    list_remove(&n->exchanges, &ex->node);
    for (uint32_t i = 0; i < ex->n_headers; i++) mem_free(ex->headers[i].value);
    buf_free(&ex->out);
    mem_free(ex->uri);
    mem_free(ex);
}

static void wake_up(struct exchange *ex) {
    if (!ex->suspended) return;
    ex->suspended = false;
    MHD_resume_connection(ex->connection);
}

static void fall_asleep(struct exchange *ex) {
    ex->suspended = true;
    MHD_suspend_connection(ex->connection);
}

/* ---- what the library calls ---- */

static void *on_uri(void *cls, const char *uri, struct MHD_Connection *connection) {
    return exchange_new(cls, connection, uri);
}

/* RFC 9110: a token. The library lets a space before the colon, a folded line or a control byte into the name. */
static bool is_token(const char *s) {
    static const char other[] = "!#$%&'*+-.^_`|~";
    for (const char *c = s; *c; c++) {
        bool letter = (*c | 32) >= 'a' && (*c | 32) <= 'z', digit = *c >= '0' && *c <= '9';
        if (!letter && !digit && !strchr(other, *c)) return false;
    }
    return *s != '\0';
}

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind UNUSED, const char *name,
                                 const char *value) {
    struct exchange_head *h = cls;
    const struct {
        const char *name;
        const char **to;
    } known[] = {{"Host", &h->host},
                 {"Origin", &h->origin},
                 {"Authorization", &h->authorization},
                 {"x-api-key", &h->x_api_key},
                 {"X-Request-ID", &h->request_id},
                 {"X-Hotseat-Agent", &h->agent},
                 {"X-Hotseat-Priority", &h->priority},
                 {"X-Hotseat-Timeout-S", &h->timeout},
                 {"X-Hotseat-Debug", &h->debug},
                 {"anthropic-version", &h->anthropic_version},
                 {"Transfer-Encoding", &h->transfer_encoding},
                 {"Content-Length", &h->content_length},
                 {"Expect", &h->expect},
                 {"Access-Control-Request-Method", &h->cors_method},
                 {"Access-Control-Request-Headers", &h->cors_headers},
                 {"Access-Control-Request-Private-Network", &h->cors_private}};
    value = value ? value : "";
    h->header_bytes += strlen(name) + strlen(value) + 4;
    h->bad_name = h->bad_name || !is_token(name);
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcasecmp(name, known[i].name) == 0) {
            if (!*known[i].to) *known[i].to = value;
            h->n_host += known[i].to == &h->host;
            h->n_content_length += known[i].to == &h->content_length;
            h->n_transfer_encoding += known[i].to == &h->transfer_encoding;
        }
    return MHD_YES;
}

static void read_head(struct exchange *ex, const char *method, const char *version) {
    char *question = strchr(ex->uri, '?');
    if (question) *question = '\0';
    ex->head.path = ex->uri;
    ex->head.query = question ? question + 1 : NULL;
    ex->head.http_1_0 = strcmp(version, "HTTP/1.0") == 0;
    snprintf(ex->head.method, sizeof ex->head.method, "%s", method);
    (void)MHD_get_connection_values(ex->connection, MHD_HEADER_KIND, on_header, &ex->head);
    ex->head.header_bytes += strlen(method) + strlen(ex->uri);
}

static ssize_t on_read(void *cls, uint64_t at UNUSED, char *to, size_t max) {
    struct exchange *ex = cls;
    size_t left = ex->out.size - ex->out_at;
    if (ex->state == EXCHANGE_GONE) return MHD_CONTENT_READER_END_WITH_ERROR;
    if (left == 0 && ex->ended) return MHD_CONTENT_READER_END_OF_STREAM;
    if (left == 0) {
        fall_asleep(ex);
        return 0;
    }
    size_t n = left < max ? left : max;
    memcpy(to, ex->out.data + ex->out_at, n);
    ex->out_at += n;
    ex->sent_bytes += n;
    if (ex->out_at == ex->out.size) {
        ex->out_at = 0;
        buf_clear(&ex->out);
    }
    return (ssize_t)n;
}

static void free_body(void *body) {
    mem_free(body);
}

static struct MHD_Response *make_response(struct exchange *ex) {
    struct MHD_Response *r;
    if (ex->streaming) {
        r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, on_read, ex, NULL);
    } else if (ex->shared) {
        r = MHD_create_response_from_buffer(ex->shared->size, ex->shared->data, MHD_RESPMEM_PERSISTENT);
        ex->sent_bytes = ex->shared->size;
    } else if (ex->out.size == 0) {
        static char nothing[1];
        r = MHD_create_response_from_buffer(0, nothing, MHD_RESPMEM_PERSISTENT);
    } else {
        r = MHD_create_response_from_buffer_with_free_callback(ex->out.size, ex->out.data, free_body);
        ex->sent_bytes = ex->out.size;
        if (r) ex->out = BUF(2 * ANSWER_BYTES_MAX); /* the response owns the memory now */
    }
    if (!r) return NULL;
    bool ok = !ex->content_type || MHD_add_response_header(r, "Content-Type", ex->content_type) == MHD_YES;
    for (uint32_t i = 0; i < ex->n_headers; i++)
        ok = MHD_add_response_header(r, ex->headers[i].name, ex->headers[i].value) == MHD_YES && ok;
    if (ex->close) ok = MHD_add_response_header(r, "Connection", "close") == MHD_YES && ok;
    if (ok) return r;
    MHD_destroy_response(r);
    return NULL;
}

static enum MHD_Result queue_answer(struct net *n, struct exchange *ex) {
    struct MHD_Response *r = make_response(ex);
    if (!r) return MHD_NO;
    if (ex->early) net_linger_add(&n->linger, ex->fd);
    ex->queued = true;
    bool queued = net_refusal_queue(ex->connection, (unsigned)ex->status, r);
    MHD_destroy_response(r);
    return queued ? MHD_YES : MHD_NO;
}

void net_error_body(const struct exchange *ex, const struct http_error *e, struct buf *out) {
    struct http_error shaped = *e;
    shaped.shape = ex->error_shape;
    shaped.request_id = ex->request_id;
    http_error_body(&shaped, out);
}

/* An answer where the library lets us give none: while a body is being received, or where it would answer itself. The
 * bytes go out raw, in one piece, and our direction is closed, so that the library ends the connection. */
static void answer_raw(struct net *n, struct exchange *ex, const struct http_error *e) {
    AUTO(buf_free) struct buf body = BUF(4096);
    AUTO(buf_free) struct buf all = BUF(8192);
    int status = http_error_status(e);
    net_error_body(ex, e, &body);
    buf_printf(&all,
               "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
               "X-Request-ID: %s\r\n",
               status, MHD_get_reason_phrase_for((unsigned)status), body.size, ex->request_id);
    if (ex->error_shape == ERROR_ANTHROPIC) buf_printf(&all, "request-id: %s\r\n", ex->request_id);
    buf_puts(&all, "Connection: close\r\n\r\n");
    buf_put(&all, body.data, body.size);
    net_linger_add(&n->linger, ex->fd);
    if (!body.error && !all.error) (void)send(ex->fd, all.data, all.size, MSG_NOSIGNAL | MSG_DONTWAIT);
    ex->status = status;
    ex->state = EXCHANGE_GONE;
    ex->sent_bytes = body.size;
    if (!ex->end) ex->end = "refused";
    (void)shutdown(ex->fd, SHUT_WR);
}

/* Before it was counted or refused in full. A small body always finds room, so that nobody's large ones can lock others
 * out. */
static bool body_has_room(struct net *n, struct exchange *ex) {
    if (ex->body_bytes <= BODY_SMALL_BYTES) return true;
    n->bodies_bytes += ex->body_bytes - ex->body_charged;
    ex->body_charged = ex->body_bytes;
    return n->bodies_bytes <= BODIES_BYTES_MAX;
}

static enum MHD_Result take_body(struct net *n, struct exchange *ex, const char *data, size_t *size) {
    ex->progress_ns = clock_now_ns();
    if (ex->state == EXCHANGE_GONE) return MHD_NO;
    ex->body_bytes += *size;
    if (ex->body_bytes > BODY_BYTES_MAX) {
        answer_raw(n, ex, &(struct http_error){.err = ERR_TOO_LARGE, .text = "the body is larger than 8 MB"});
        return MHD_NO;
    }
    if (ex->keep_body) {
        bool room = body_has_room(n, ex);
        if (room) buf_put(&ex->body, data, *size);
        ex->no_memory = ex->body.error || !room;
        if (ex->no_memory) net_body_done(n, ex);
        ex->keep_body = !ex->no_memory;
    }
    *size = 0;
    return MHD_YES;
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *connection UNUSED, const char *url UNUSED,
                                 const char *method, const char *version, const char *data, size_t *size,
                                 void **con_cls) {
    struct net *n = cls;
    struct exchange *ex = *con_cls;
    if (!ex) return MHD_NO; /* no memory */
    if (!ex->head_seen) {
        ex->head_seen = true;
        ex->progress_ns = clock_now_ns();
        read_head(ex, method, version);
        n->options.handler.head(n->options.handler.ctx, ex);
        return ex->status && ex->early ? queue_answer(n, ex) : MHD_YES;
    }
    if (*size > 0) return take_body(n, ex, data, size);
    if (!ex->request_seen) {
        ex->request_seen = true;
        ex->arrived_ns = clock_now_ns();
        if (!ex->status) n->options.handler.request(n->options.handler.ctx, ex);
    }
    if (ex->state == EXCHANGE_GONE) return MHD_NO;
    if (ex->status) return ex->queued ? MHD_YES : queue_answer(n, ex);
    fall_asleep(ex);
    return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *connection UNUSED, void **con_cls,
                         enum MHD_RequestTerminationCode code) {
    struct net *n = cls;
    struct exchange *ex = *con_cls;
    if (!ex) return;
    *con_cls = NULL;
    if (ex->watched) net_poll_unwatch(n->poll, ex->fd);
    if (!ex->end && code != MHD_REQUEST_TERMINATED_COMPLETED_OK)
        ex->end = code == MHD_REQUEST_TERMINATED_TIMEOUT_REACHED ? "timeout" : "left";
    n->options.handler.ended(n->options.handler.ctx, ex);
    exchange_free(n, ex);
}

static void on_connection(void *cls, struct MHD_Connection *connection UNUSED, void **socket_ctx,
                          enum MHD_ConnectionNotificationCode code) {
    struct net *n = cls;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        n->connections++;
        *socket_ctx = n;
    } else {
        n->connections--;
    }
}

static struct exchange *find_exchange(struct net *n, const struct MHD_Connection *connection) {
    LIST_EACH(&n->exchanges, struct exchange, node, ex) if (ex->connection == connection) return ex;
    return NULL;
}

/* Where the library would send a page of its own. Before the first line is whole there is no exchange yet. */
static void on_refusal(void *ctx, struct MHD_Connection *connection, unsigned status) {
    struct net *n = ctx;
    struct exchange *found = n ? find_exchange(n, connection) : NULL;
    struct exchange *ex = found || !n ? found : exchange_new(n, connection, "");
    if (!ex || ex->queued || ex->state == EXCHANGE_GONE) return;
    const char *id = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "X-Request-ID");
    if (!ex->request_id[0] && id && ident_request_ok(id))
        snprintf(ex->request_id, sizeof ex->request_id, "%s", id);
    else if (!ex->request_id[0])
        ident_request_make(ex->request_id);
    ex->head.path = ex->uri;
    const char *text = status == 413   ? "the body is larger than 8 MB"
                       : status == 414 ? "the URL is too long"
                       : status == 431 ? "the headers are larger than 32 KB"
                       : status == 505 ? "this server speaks HTTP/1.1 and HTTP/1.0"
                       : status >= 500
                           ? "the request can't be answered"
                           : "this is not HTTP: the first line, a header, the length or a chunk is wrong";
    enum err err = status == 413 || status == 414 || status == 431 ? ERR_TOO_LARGE : ERR_INVALID;
    answer_raw(n, ex, &(struct http_error){.err = err, .status = (int)status, .text = text});
    if (found) return; /* on_completed() follows */
    n->options.handler.ended(n->options.handler.ctx, ex);
    exchange_free(n, ex);
}

static void PRINTF_LIKE(2, 0) on_log(void *cls UNUSED, const char *fmt, va_list args) {
    static struct log_limit limit = LOG_LIMIT(10);
    char text[256];
    if (!log_limit_pass(&limit)) return;
    (void)vsnprintf(text, sizeof text, fmt, args);
    log_debug("http.library", "text=%s", log_q(text));
}

/* ---- open and free ---- */

static enum err start_daemon(struct net *n) {
    unsigned flags = net_poll_daemon_flags() | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    net_refusal_open(on_refusal);
    n->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_access, n, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, n->options.listener.fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)n->n_slots,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)LIBRARY_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HEADER_BYTES_MAX * 2, MHD_OPTION_URI_LOG_CALLBACK, on_uri, n, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, n, MHD_OPTION_NOTIFY_CONNECTION, on_connection, n, MHD_OPTION_END);
    if (!n->daemon) return ERR_IO;
    n->listening = true;
    return net_poll_attach(n->poll, n->daemon);
}

static enum err make_slots(struct net *n) {
    uint32_t max = n->options.connections_max;
    if (max > net_poll_connections_max()) max = net_poll_connections_max();
    n->options.connections_max = listen_make_room(max);
    n->n_slots = n->options.connections_max + SPARE_CONNECTIONS;
    n->slots = mem_array(n->n_slots, sizeof(struct exchange *));
    n->free_slots = mem_array(n->n_slots, sizeof *n->free_slots);
    if (!n->slots || !n->free_slots) return ERR_NOMEM;
    for (uint32_t i = 0; i < n->n_slots; i++) n->free_slots[n->n_free++] = n->n_slots - 1 - i;
    return ERR_OK;
}

enum err net_open(const struct net_options *options, struct net **ret) {
    struct net *n = mem_alloc(sizeof *n);
    if (!n) return ERR_NOMEM;
    n->options = *options;
    list_init(&n->exchanges);
    enum err err = make_slots(n);
    if (!err) err = net_poll_open(&n->poll);
    for (uint32_t i = 0; !err && i < options->n_wake_fds; i++)
        err = net_poll_wake_fd(n->poll, options->wake_fds[i]);
    if (!err) err = start_daemon(n);
    if (err) {
        n->options.listener.fd = -1; /* still the caller's */
        net_free(n);
        return err;
    }
    *ret = n;
    return ERR_OK;
}

void net_free(struct net *n) {
    if (!n) return;
    if (n->daemon) MHD_stop_daemon(n->daemon);
    /* The library closes the listening socket, unless net_run() took it away. */
    if (!n->listening && n->options.listener.fd >= 0) close(n->options.listener.fd);
    net_linger_clear(&n->linger);
    net_poll_free(n->poll);
    mem_free(n->slots);
    mem_free(n->free_slots);
    mem_free(n);
}

/* ---- answers ---- */

void net_header(struct exchange *ex, const char *name, const char *value) {
    must(ex->n_headers < EXCHANGE_HEADERS_MAX);
    char *copy = mem_strdup(value);
    if (!copy) return; /* an answer without one of its headers is better than none */
    for (char *c = copy; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = ' ';
    ex->headers[ex->n_headers++] = (struct exchange_header){.name = name, .value = copy};
}

void net_answer(struct net *n UNUSED, struct exchange *ex, int status, const char *content_type,
                struct buf *body) {
    must(ex->status == 0);
    ex->status = status;
    ex->content_type = content_type;
    ex->ended = true;
    buf_free(&ex->out);
    if (body) {
        ex->out = *body;
        *body = (struct buf){.cap = body->cap};
    }
    wake_up(ex);
}

void net_answer_shared(struct net *n, struct exchange *ex, const char *content_type, const struct buf *body) {
    ex->shared = body;
    net_answer(n, ex, 200, content_type, NULL);
}

void net_stream_begin(struct net *n UNUSED, struct exchange *ex, const char *content_type) {
    must(ex->status == 0);
    ex->status = 200;
    ex->content_type = content_type;
    ex->streaming = true;
    ex->sent_ns = clock_now_ns();
    wake_up(ex);
}

enum err net_stream_put(struct net *n UNUSED, struct exchange *ex, const void *data, size_t size_bytes) {
    must(ex->streaming && !ex->ended);
    if (ex->out_at > 0) {
        buf_consume(&ex->out, ex->out_at);
        ex->out_at = 0;
    }
    if (ex->out.size > CLIENT_OUT_BYTES_MAX)
        return ERR_LIMIT; /* one large piece (an echo) is no slow client */
    buf_put(&ex->out, data, size_bytes);
    if (ex->out.error) return ex->out.error;
    ex->sent_ns = clock_now_ns();
    wake_up(ex);
    return ERR_OK;
}

void net_stream_end(struct net *n UNUSED, struct exchange *ex) {
    ex->ended = true;
    wake_up(ex);
}

void net_abort(struct net *n UNUSED, struct exchange *ex) {
    ex->state = EXCHANGE_GONE;
    if (ex->suspended)
        wake_up(ex);
    else
        (void)shutdown(ex->fd, SHUT_RDWR);
}

void net_watch(struct net *n, struct exchange *ex) {
    if (ex->watched || ex->fd < 0) return;
    ex->watched = net_poll_watch(n->poll, ex->fd, ex->client) == ERR_OK;
}

/* ---- the loop ---- */

/* A byte now and then keeps a body alive for ever, and its memory: after a while it must have come at a rate. */
static bool comes_too_slowly(const struct net *n, const struct exchange *ex, int64_t now_ns) {
    int64_t ms = (now_ns - ex->began_ns) / NS_PER_MS;
    return ms * NS_PER_MS > n->options.idle_ns &&
           (int64_t)ex->body_bytes * 1000 < (int64_t)BODY_BYTES_PER_S_MIN * ms;
}

static void end_idle(struct net *n, int64_t now_ns) {
    LIST_EACH(&n->exchanges, struct exchange, node, ex) {
        bool half_sent = ex->state == EXCHANGE_READING && !ex->request_seen && !ex->queued;
        bool idle = now_ns - ex->progress_ns > n->options.idle_ns;
        if (!half_sent || (!idle && !comes_too_slowly(n, ex, now_ns))) continue;
        ex->end = "timeout";
        if (!ex->request_id[0]) ident_request_make(ex->request_id);
        answer_raw(n, ex,
                   &(struct http_error){.err = ERR_TIMEOUT,
                                        .text = idle ? "the request stopped half-way"
                                                     : "the request comes too slowly"});
        (void)shutdown(ex->fd, SHUT_RDWR);
    }
}

/* While the process did not run, whatever a client sent has waited in its socket: that nobody read it was not its slowness. */
static void excuse_all(struct net *n, int64_t gap_ns, int64_t now_ns) {
    LIST_EACH(&n->exchanges, struct exchange, node, ex) {
        ex->began_ns = ex->began_ns + gap_ns < now_ns ? ex->began_ns + gap_ns : now_ns;
        ex->progress_ns = ex->progress_ns + gap_ns < now_ns ? ex->progress_ns + gap_ns : now_ns;
    }
}

static int next_timeout_ms(struct net *n, int64_t now_ns) {
    MHD_UNSIGNED_LONG_LONG library_ms = 0;
    int64_t ms = (n->tick_ns - now_ns) / NS_PER_MS + 1;
    if (MHD_get_timeout(n->daemon, &library_ms) == MHD_YES && (int64_t)library_ms < ms)
        ms = (int64_t)library_ms;
    if (net_linger_count(&n->linger) > 0 && ms > LINGER_POLL_MS) ms = LINGER_POLL_MS;
    return ms < 0 ? 0 : (int)ms;
}

static void turn(struct net *n, bool may_wait) {
    uint64_t left[LEFT_PER_WAIT];
    const struct net_handler *h = &n->options.handler;
    size_t n_left =
        net_poll_wait(n->poll, may_wait ? next_timeout_ms(n, clock_now_ns()) : 0, left, LEFT_PER_WAIT);
    for (size_t i = 0; i < n_left; i++) {
        struct exchange *ex = net_find(n, left[i]);
        if (ex && ex->state != EXCHANGE_GONE) h->left(h->ctx, ex);
    }
    h->wake(h->ctx);
    int64_t now_ns = clock_now_ns();
    int64_t gap_ns = away_look(&n->away, now_ns);
    if (gap_ns) excuse_all(n, gap_ns, now_ns);
    if (now_ns >= n->tick_ns) {
        n->tick_ns = now_ns + TICK_MS * NS_PER_MS;
        end_idle(n, now_ns);
        h->tick(h->ctx, now_ns);
    }
    net_linger_run(&n->linger, now_ns);
    net_poll_run(n->poll);
}

/* The library must not be stopped while a connection sleeps: everything is woken and ended first. */
static void end_all(struct net *n) {
    LIST_EACH(&n->exchanges, struct exchange, node, ex) {
        if (!ex->end) ex->end = "shutdown";
        net_abort(n, ex);
    }
    for (int i = 0; i < QUIT_ROUNDS && n->exchanges.count > 0; i++) turn(n, false);
    LIST_EACH(&n->exchanges, struct exchange, node, ex) must(!ex->suspended);
}

void net_run(struct net *n) {
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipe, NULL);
    while (!net_quitting(n)) turn(n, true);
    int fd = MHD_quiesce_daemon(n->daemon);
    if (fd >= 0) {
        n->listening = false;
        n->options.listener.fd = fd;
    }
    while (n->exchanges.count > 0 && clock_now_ns() < atomic_load(&n->quit_at_ns)) turn(n, true);
    end_all(n);
}

void net_idle_limit(struct net *n, int64_t idle_ns) {
    n->options.idle_ns = idle_ns;
}

void net_quit(struct net *n, int64_t limit_ns) {
    int64_t at_ns = clock_now_ns() + (limit_ns > 0 ? limit_ns : 0);
    atomic_store(&n->quit_at_ns, at_ns > 0 ? at_ns : 1);
}

bool net_quitting(const struct net *n) {
    return atomic_load(&n->quit_at_ns) != 0;
}

uint32_t net_connections(const struct net *n) {
    return n->connections;
}

uint32_t net_connections_max(const struct net *n) {
    return n->options.connections_max;
}
