/* server_head.c - what is decided about a request before its body is read. The order is: is it HTTP that only one reading
 * has (else proxies and we could disagree where a request ends), may this host and origin call, is there such a path,
 * is the key right, is there room. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "http/ident.h"
#include "http/server_impl.h"

void server_refuse(struct server *s, struct exchange *ex, const struct http_error *e, bool hard) {
    char seconds[16];
    uint32_t retry_after_s = http_error_retry_after(e);
    struct buf body = BUF(64u << 10);
    net_error_body(ex, e, &body);
    if (retry_after_s) {
        snprintf(seconds, sizeof seconds, "%u", retry_after_s);
        net_header(ex, "Retry-After", seconds);
    }
    if (http_error_status(e) == 401) net_header(ex, "WWW-Authenticate", "Bearer realm=\"hotseat\"");
    ex->early = ex->close = hard;
    ex->end = "refused";
    ex->state = EXCHANGE_ANSWERED;
    net_answer(s->net, ex, http_error_status(e), JSON_TYPE, &body);
    buf_free(&body);
}

static bool refuse(struct server *s, struct exchange *ex, enum err err, const char *text, bool hard) {
    server_refuse(s, ex, &(struct http_error){.err = err, .text = text}, hard);
    return false;
}

static bool parse_length(const char *s, uint64_t *ret) {
    char *end = NULL;
    errno = 0;
    unsigned long long n = strtoull(s, &end, 10);
    if (s[0] < '0' || s[0] > '9' || *end != '\0' || errno != 0) return false;
    *ret = n;
    return true;
}

static bool check_protocol(struct server *s, struct exchange *ex) {
    const struct exchange_head *h = &ex->head;
    uint64_t length = 0;
    if (h->bad_name)
        return refuse(s, ex, ERR_INVALID,
                      "a header's name holds a space or another character that no name may hold", true);
    if (h->n_transfer_encoding > 1)
        return refuse(s, ex, ERR_INVALID, "Transfer-Encoding came more than once", true);
    if (h->transfer_encoding && h->content_length)
        return refuse(s, ex, ERR_INVALID, "Transfer-Encoding and Content-Length may not come together", true);
    if (h->transfer_encoding && strcasecmp(h->transfer_encoding, "chunked") != 0)
        return refuse(s, ex, ERR_INVALID, "the only Transfer-Encoding that is taken is 'chunked'", true);
    if (h->n_content_length > 1)
        return refuse(s, ex, ERR_INVALID, "Content-Length came more than once", true);
    if (h->content_length && !parse_length(h->content_length, &length))
        return refuse(s, ex, ERR_INVALID, "Content-Length is not a number", true);
    if (h->n_host > 1) return refuse(s, ex, ERR_INVALID, "Host came more than once", true);
    if (h->n_host == 0 && !h->http_1_0) return refuse(s, ex, ERR_INVALID, "the Host header is missing", true);
    if (ex->uri_too_long) {
        server_refuse(
            s, ex, &(struct http_error){.err = ERR_TOO_LARGE, .status = 414, .text = "the URL is too long"},
            true);
        return false;
    }
    if (h->header_bytes > HEADER_BYTES_MAX) {
        server_refuse(s, ex,
                      &(struct http_error){
                          .err = ERR_TOO_LARGE, .status = 431, .text = "the headers are larger than 32 KB"},
                      true);
        return false;
    }
    if (length > BODY_BYTES_MAX) return refuse(s, ex, ERR_TOO_LARGE, "the body is larger than 8 MB", true);
    return true;
}

static void cors_headers(struct exchange *ex) {
    net_header(ex, "Access-Control-Allow-Origin", ex->head.origin);
    net_header(ex, "Vary", "Origin");
    net_header(ex, "Access-Control-Expose-Headers",
               "X-Request-ID, request-id, X-Hotseat-Ignored, Retry-After");
}

/* The names a browser asks for are given back, if they look like names. */
static void preflight(struct server *s, struct exchange *ex) {
    const char *wanted = ex->head.cors_headers;
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_, ";
    net_header(ex, "Access-Control-Allow-Methods", ex->match.allow);
    if (wanted && strlen(wanted) <= 2048 && wanted[strspn(wanted, allowed)] == '\0')
        net_header(ex, "Access-Control-Allow-Headers", wanted);
    net_header(ex, "Access-Control-Max-Age", "600");
    if (ex->head.cors_private) net_header(ex, "Access-Control-Allow-Private-Network", "true");
    ex->state = EXCHANGE_ANSWERED;
    ex->end = "preflight";
    net_answer(s->net, ex, 204, NULL, NULL);
}

static bool refuse_path(struct server *s, struct exchange *ex) {
    struct buf text = BUF(8192);
    if (ex->match.path_known) {
        net_header(ex, "Allow", ex->match.allow);
        buf_printf(&text, "%s does not take %s, but %s", ex->head.path, ex->head.method, ex->match.allow);
    } else {
        buf_printf(&text, "there is no %s %.200s; there are: ", ex->head.method, ex->head.path);
        route_list(&text, s->config->debug);
    }
    char *line = buf_take_string(&text);
    enum err err = ex->match.path_known ? ERR_METHOD : ERR_NOT_FOUND;
    (void)refuse(s, ex, err, line, false);
    mem_free(line);
    return false;
}

static bool check_caller(struct server *s, struct exchange *ex) {
    const struct exchange_head *h = &ex->head;
    struct security_input in = {.host = h->host,
                                .origin = h->origin,
                                .authorization = h->authorization,
                                .x_api_key = h->x_api_key,
                                .access = ex->match.access};
    const char *why = NULL;
    bool preflighted = strcmp(h->method, "OPTIONS") == 0;
    bool allowed = h->origin && security_origin_ok(&s->security, h->origin, in.access);
    if (preflighted) in.access = ACCESS_OPEN; /* a browser sends no keys with it */
    enum err err = security_check(&s->security, &in, &why);
    if (!err && preflighted && h->origin && !allowed) {
        err = ERR_FORBIDDEN;
        why = "this Origin may not call (see --origins)";
    }
    if (allowed && err != ERR_FORBIDDEN) cors_headers(ex);
    return err ? refuse(s, ex, err, why, false) : true;
}

static bool has_body(const struct exchange *ex) {
    const char *length = ex->head.content_length;
    return ex->head.transfer_encoding || (length && strcmp(length, "0") != 0);
}

/* A body that would be dropped unread, although it may ask for something: two bytes hold no more than {}. */
static bool is_ignored(const struct exchange *ex) {
    bool empty =
        !ex->head.transfer_encoding && ex->head.content_length && strcmp(ex->head.content_length, "2") == 0;
    return ex->match.access == ACCESS_ADMIN && !ex->match.body && has_body(ex) && !empty;
}

static void check_all(struct server *s, struct exchange *ex) {
    if (net_connections(s->net) > net_connections_max(s->net)) {
        server_refuse(s, ex,
                      &(struct http_error){
                          .err = ERR_QUEUE_FULL, .status = 503, .text = "too many connections are open"},
                      true);
        return;
    }
    if (!check_protocol(s, ex)) return;
    ex->match = route_find(ex->head.method, ex->head.path, s->config->debug);
    if (!check_caller(s, ex)) return;
    if (strcmp(ex->head.method, "OPTIONS") == 0 && ex->match.path_known) {
        net_header(ex, "Allow", ex->match.allow);
        preflight(s, ex);
        return;
    }
    if (ex->match.route == ROUTE_NONE) {
        (void)refuse_path(s, ex);
        return;
    }
    if (is_ignored(ex)) {
        (void)refuse(s, ex, ERR_INVALID,
                     "this path takes no body; a model is named in the query: ?model=NAME", false);
        return;
    }
    if (net_quitting(s->net) && ex->match.access != ACCESS_OPEN) {
        (void)refuse(s, ex, ERR_STOPPING, NULL, true);
        return;
    }
    ex->keep_body = ex->match.body;
}

void server_head(void *ctx, struct exchange *ex) {
    struct server *s = ctx;
    if (ex->head.request_id && ident_request_ok(ex->head.request_id))
        snprintf(ex->request_id, sizeof ex->request_id, "%s", ex->head.request_id);
    else
        ident_request_make(ex->request_id);
    net_header(ex, "X-Request-ID", ex->request_id);
    ex->error_shape = route_error_shape(ex->head.path, ex->head.anthropic_version != NULL);
    if (ex->error_shape == ERROR_ANTHROPIC) net_header(ex, "request-id", ex->request_id);
    check_all(s, ex);
    /* A body that nobody wants is not waited for: who asks first is told before it sends one, and one that stops half-way
     * does not keep its client from the answer. */
    if (ex->state == EXCHANGE_ANSWERED && (has_body(ex) || ex->head.expect)) ex->early = ex->close = true;
}
