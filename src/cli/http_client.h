/* http_client.h - one HTTP request to a server, over libcurl. Thread: the main one; blocks until the answer
 * is there. */
#ifndef HOTSEAT_CLI_HTTP_CLIENT_H
#define HOTSEAT_CLI_HTTP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/wake.h"

#define HTTP_CLIENT_ERROR_BYTES 256

struct http_call {
    const char *server; /* "http://127.0.0.1:8480", with or without a slash at its end */
    const char *method, *path;
    const char *body;   /* JSON or NULL */
    const char *key;    /* sent as a Bearer key; NULL: none */
    const char *agent;  /* who is talking; NULL: nobody */
    int64_t timeout_ms; /* of the whole call; 0: none but the connection's own */
};

struct http_answer {
    int status;
    struct buf body; /* the caller's: buf_free() */
};

/* ERR_OK: an answer came, whatever its status. ERR_NOT_FOUND: nobody answers there. ERR_IO, ERR_TIMEOUT: the
 * answer broke off or did not come. ERR_INVALID: not a URL. ERR_NOMEM. why (HTTP_CLIENT_ERROR_BYTES) is
 * filled on error. */
enum err http_client_call(const struct http_call *call, struct http_answer *ret, char *why) NODISCARD;
struct http_stream {                                              /* takes an answer as it comes */
    bool (*take)(void *ctx, const void *data, size_t size_bytes); /* false: enough, the call ends */
    void *ctx;
    const struct wake *stop; /* signalled: the call ends; it is cleared by its owner */
    int64_t silence_s;       /* an answer without a byte for so long has broken off */
};
/* The same for a long answer: what comes with a 2xx goes to stream->take, another answer's body to ret->body. Also ERR_CANCELED: stopped. */
enum err http_client_stream(const struct http_call *call, const struct http_stream *stream,
                            struct http_answer *ret, char *why) NODISCARD;
/* Percent-encodes text as one part of a path; the caller's; NULL: no memory. */
char *http_client_escape(const char *text) NODISCARD;

#endif
