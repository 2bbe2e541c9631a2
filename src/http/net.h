/* net.h - sockets and HTTP, on libmicrohttpd (the only files that see it are net*.c). Runs in one thread, the net thread,
 * and never blocks in anything but its one wait.
 *   net_open() -> net_run() in the net thread until net_quit() -> net_free()
 * A request goes: handler.head() -> body -> handler.request() -> the connection sleeps until net_answer() or
 * net_stream_*() -> handler.ended(). A sleeping connection is suspended in the library, which then no longer looks at its
 * socket: net_watch() does, so that a client that leaves is noticed.
 * Thread: the net thread, but net_quit(). */
#ifndef HOTSEAT_HTTP_NET_H
#define HOTSEAT_HTTP_NET_H

#include "base/err.h"
#include "http/exchange.h"
#include "http/http_error.h"
#include "http/listen.h"

struct net;

struct net_handler {
    void *ctx;
    void (*head)(void *ctx, struct exchange *ex);    /* may answer already; else sets keep_body */
    void (*request)(void *ctx, struct exchange *ex); /* the body is complete; answers now or later */
    void (*left)(void *ctx, struct exchange *ex);    /* watched, and the client has closed its side */
    void (*ended)(void *ctx, struct exchange *ex);   /* ex is freed after it; answered or not */
    void (*wake)(void *ctx);                         /* one of the wake descriptors may be readable */
    void (*tick)(void *ctx, int64_t now_ns);         /* about twice a second */
};

struct net_options {
    struct listener listener; /* taken over on OK */
    uint32_t connections_max; /* more are answered with 503 */
    int64_t idle_ns;          /* no byte of a half-sent request for this long, or too few from then on: 408 */
    struct net_handler handler;
    int wake_fds[4];
    uint32_t n_wake_fds;
};

enum err net_open(const struct net_options *options, struct net **ret) NODISCARD; /* ERR_NOMEM, ERR_IO */
void net_free(struct net *n); /* after net_run() has returned, or without it */

/* Serves until net_quit(); then takes no more connections, goes on until no exchange is open or the quit's limit has
 * passed, ends what is left, and returns. */
void net_run(struct net *n);
void net_idle_limit(struct net *n, int64_t idle_ns); /* before net_run(): another one than the options' */
/* Any thread; the caller wakes the net thread by a wake descriptor. */
void net_quit(struct net *n, int64_t limit_ns);
bool net_quitting(const struct net *n);
uint32_t net_connections(const struct net *n);
uint32_t net_connections_max(const struct net *n);

struct exchange *net_find(struct net *n, uint64_t client); /* NULL: ended */
struct list *net_exchanges(struct net *n);

/* A header of the answer, before it begins. name is static; value is copied, with control characters replaced. */
void net_header(struct exchange *ex, const char *name, const char *value);
/* e as the body of an answer, in the shape that ex's path asks for; appended to out. */
void net_error_body(const struct exchange *ex, const struct http_error *e, struct buf *out);
/* The whole answer. Takes body's memory (NULL: no body). content_type is static. */
void net_answer(struct net *n, struct exchange *ex, int status, const char *content_type, struct buf *body);
/* 200 with a body that is the same for everybody, is not copied, and stays until net_free(). */
void net_answer_shared(struct net *n, struct exchange *ex, const char *content_type, const struct buf *body);
void net_stream_begin(struct net *n, struct exchange *ex, const char *content_type);
/* ERR_LIMIT: the client reads too slowly, ERR_NOMEM; the stream is to be aborted. */
enum err net_stream_put(struct net *n, struct exchange *ex, const void *data, size_t size_bytes) NODISCARD;
void net_stream_end(struct net *n, struct exchange *ex);
/* Ends the connection without another byte. ended() follows from the loop, not from within. */
void net_abort(struct net *n, struct exchange *ex);
/* The body is not needed any more; its bytes no longer count. */
void net_body_done(struct net *n, struct exchange *ex);
/* From now on left() is called, once, when the client closes. */
void net_watch(struct net *n, struct exchange *ex);

#endif
