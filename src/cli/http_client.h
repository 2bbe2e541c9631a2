/* http_client.h - one HTTP request to a server, over libcurl. Thread: the main one; blocks until the answer
 * is there. */
#ifndef HOTSEAT_CLI_HTTP_CLIENT_H
#define HOTSEAT_CLI_HTTP_CLIENT_H

#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"

#define HTTP_CLIENT_ERROR_BYTES 256

struct http_call {
    const char *server; /* "http://127.0.0.1:8480", with or without a slash at its end */
    const char *method, *path;
    const char *body;   /* JSON or NULL */
    const char *key;    /* sent as a Bearer key; NULL: none */
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
/* Percent-encodes text as one part of a path; the caller's; NULL: no memory. */
char *http_client_escape(const char *text) NODISCARD;

#endif
