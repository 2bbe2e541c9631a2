#include "http/http_error.h"

#include <string.h>

#include "base/json.h"

#define RETRY_AFTER_DEFAULT_S 2 /* nobody knows better: soon, but not at once */

int http_error_status(const struct http_error *e) {
    return e->status ? e->status : err_http_status(e->err);
}

static const char *anthropic_type(int status) {
    switch (status) {
    case 408: return "timeout_error";
    case 413: return "request_too_large";
    case 503: return "overloaded_error";
    default: return status >= 500 ? "api_error" : "invalid_request_error";
    }
}

const char *http_error_type(int status, enum error_shape shape) {
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 429: return "rate_limit_error";
    default: break;
    }
    if (shape == ERROR_ANTHROPIC) return anthropic_type(status);
    return status >= 500 ? "server_error" : "invalid_request_error";
}

uint32_t http_error_retry_after(const struct http_error *e) {
    int status = http_error_status(e);
    if (e->retry_after_s) return e->retry_after_s;
    bool later = status == 429 || status == 503;
    return later && err_retryable(e->err) ? RETRY_AFTER_DEFAULT_S : 0;
}

void http_error_body(const struct http_error *e, struct buf *out) {
    uint32_t retry_after_s = http_error_retry_after(e);
    struct json_out w = json_out_into(out);
    json_obj(&w);
    if (e->shape == ERROR_ANTHROPIC) {
        json_key(&w, "type");
        json_str(&w, "error");
    }
    json_key(&w, "error");
    json_obj(&w);
    json_key(&w, "message");
    json_str(&w, e->text ? e->text : err_text(e->err));
    json_key(&w, "type");
    json_str(&w, http_error_type(http_error_status(e), e->shape));
    json_key(&w, "code");
    json_str(&w, err_code(e->err));
    json_key(&w, "param");
    json_str(&w, e->param);
    if (retry_after_s) {
        json_key(&w, "retry_after_s");
        json_u64(&w, retry_after_s);
    }
    if (e->details && e->details[0]) {
        buf_u8(out, ',');
        buf_puts(out, e->details);
    }
    json_end(&w);
    if (e->shape == ERROR_ANTHROPIC) {
        json_key(&w, "request_id");
        json_str(&w, e->request_id);
    }
    json_end(&w);
}
