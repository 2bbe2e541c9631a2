/* http_error.h - the shapes of an error that clients see: OpenAI's object everywhere, Anthropic's on Anthropic's paths. Pure.
 * Thread: any. */
#ifndef HOTSEAT_HTTP_HTTP_ERROR_H
#define HOTSEAT_HTTP_HTTP_ERROR_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum error_shape { ERROR_OPENAI, ERROR_ANTHROPIC };

struct http_error {
    enum err err;           /* gives code, type and status */
    int status;             /* 0: err_http_status(err) */
    const char *text;       /* NULL: err_text(err) */
    const char *param;      /* NULL: null */
    uint32_t retry_after_s; /* 0: none */
    const char *details;    /* NULL, or more members as JSON without braces */
    enum error_shape shape;
    const char *request_id; /* ANTHROPIC: a part of the body; NULL: null */
};

int http_error_status(const struct http_error *e);
/* "invalid_request_error", "server_error", "overloaded_error" ... Static. */
const char *http_error_type(int status, enum error_shape shape);
/* Seconds for Retry-After: the error's own, else a default for what can be tried again, else 0. */
uint32_t http_error_retry_after(const struct http_error *e);
/* OPENAI     {"error": {"message", "type", "code", "param", ...}}
 * ANTHROPIC  {"type": "error", "error": {"message", "type", "code", "param", ...}, "request_id"}
 * appended to out. */
void http_error_body(const struct http_error *e, struct buf *out);

#endif
