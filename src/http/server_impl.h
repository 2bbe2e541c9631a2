/* server_impl.h - what server.c (life, replies), server_head.c (the checks of a request's head) and api_health.c share.
 * Thread: the net thread, but where a field says otherwise. */
#ifndef HOTSEAT_HTTP_SERVER_IMPL_H
#define HOTSEAT_HTTP_SERVER_IMPL_H

#include <pthread.h>

#include "base/mailbox.h"
#include "base/wake.h"
#include "http/http_error.h"
#include "http/net.h"
#include "http/security.h"
#include "http/server.h"
#include "http/worker.h"

#define JSON_TYPE "application/json"

struct server_counts {    /* net thread writes and reads */
    uint64_t by_class[6]; /* answers by status / 100; [0]: none was sent (499 in the log) */
    uint64_t slow, left, timeouts, lost_replies;
};

struct server {
    const struct config *config;
    struct listener listener;
    struct security security;
    struct buf openapi; /* what GET /openapi.json answers */
    struct server_front front;
    struct net *net;
    struct worker *worker;
    struct mailbox *replies; /* struct reply *; the control thread posts */
    struct mailbox *lost;    /* client handles: those whose reply found .replies full */
    struct wake wake;        /* server_stop() */
    pthread_t thread;
    bool started;
    uint64_t n_answers;
    uint32_t n_event_clients;
    struct server_counts counts;
};

/* The whole answer is this error. hard: now, without reading the body, and the connection ends after it. */
void server_refuse(struct server *s, struct exchange *ex, const struct http_error *e, bool hard);
/* net_handler.head: request id, protocol, Host, Origin, keys, path, size. */
void server_head(void *ctx, struct exchange *ex);
/* GET /health..., /metrics, /openapi.json: answered at once. */
void api_health_answer(struct server *s, struct exchange *ex);

#endif
