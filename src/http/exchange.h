/* exchange.h - one request and its answer on a connection: plain data that net.c (bytes and sockets) and server.c
 * (meaning) share. A connection has at most one at a time; a kept-alive one has many in a row.
 *   READING -> PARSING  the body is complete and with the parse thread
 *   READING, PARSING -> POSTED  the front has the request; its replies come to .client
 *   any -> ANSWERED     the whole answer, or the end of the stream, is set; the front owes nothing
 *   any -> GONE         the client has left, or was too slow: nothing more is sent, replies are dropped
 * .client is a handle, not a pointer: slot and a number that never comes again, so that a late reply finds nothing.
 * Thread: the net thread's. */
#ifndef HOTSEAT_HTTP_EXCHANGE_H
#define HOTSEAT_HTTP_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/list.h"
#include "http/api.h"
#include "http/routes.h"

#define EXCHANGE_HEADERS_MAX 12

enum exchange_state { EXCHANGE_READING, EXCHANGE_PARSING, EXCHANGE_POSTED, EXCHANGE_ANSWERED, EXCHANGE_GONE };

struct exchange_header {
    const char *name; /* static */
    char *value;      /* owned */
};

/* The request's head. Strings point into the HTTP library's memory and live as long as the exchange; NULL: not sent. */
struct exchange_head {
    char method[16];
    const char *path, *query; /* into .uri; query NULL without '?' */
    const char *host, *origin, *authorization, *x_api_key, *request_id, *agent, *priority, *timeout, *debug,
        *anthropic_version, *transfer_encoding, *content_length, *expect, *cors_method, *cors_headers,
        *cors_private;
    uint32_t n_host, n_content_length, n_transfer_encoding;
    size_t header_bytes;
    bool http_1_0;
    bool bad_name; /* a header's name holds what no name may hold: proxies might read another header */
};

struct answer;

struct exchange {
    struct list_node node;
    uint64_t client;
    enum exchange_state state;
    int64_t began_ns, progress_ns; /* first byte; last byte of the body */
    int64_t arrived_ns, posted_ns; /* the whole body was there; the front has it */
    int64_t sent_ns;               /* last time bytes were put into a stream */

    /* net.c */
    void *connection;
    int fd;
    char *uri; /* owned */
    bool uri_too_long, head_seen, request_seen, suspended, watched, queued;
    bool no_memory;        /* the body could not be kept; answered as an error */
    uint64_t body_bytes;   /* received so far, kept or dropped */
    uint64_t body_charged; /* of them, counted in the total of all bodies; small bodies are not */

    /* the request */
    struct exchange_head head;
    struct buf body;
    bool keep_body; /* else it is read and dropped */

    /* the answer */
    int status;            /* 0: none yet */
    bool streaming, ended; /* ended: no more bytes follow what is in out */
    bool early, close;     /* early: answered before the body was read */
    const char *content_type;
    struct exchange_header headers[EXCHANGE_HEADERS_MAX];
    uint32_t n_headers;
    const struct buf *shared; /* instead of out */
    struct buf out;
    size_t out_at; /* bytes of out that were sent */
    uint64_t sent_bytes;

    /* server.c */
    char request_id[REQUEST_ID_BYTES_MAX + 1];
    struct route_match match;
    struct answer_plan plan;
    enum error_shape error_shape;
    struct answer *answer;
    bool posted;       /* the front owes a last reply: it is told when the client has left */
    bool entered;      /* it is in the seat, or an event stream: what is said in silence depends on it */
    bool event_client; /* counted in the server's number of open event streams */
    const char *end;   /* how it ended, for the log */
};

#endif
