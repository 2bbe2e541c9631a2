/* routes.h - every path of the server, in one table: method, path, who may, what it does. Pure. Thread: any. */
#ifndef HOTSEAT_HTTP_ROUTES_H
#define HOTSEAT_HTTP_ROUTES_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/limits.h"
#include "http/http_error.h"
#include "http/security.h"

/* X(NAME, "METHOD", "path", access, body, only with --debug). "{}" is one percent-encoded segment. body: the request's
 * body is collected and goes to the parse thread; else it is read and dropped. */
#define ROUTE_TABLE(X)                                                                                       \
    X(CHAT, "POST", "/v1/chat/completions", API, true, false)                                                \
    X(COMPLETIONS, "POST", "/v1/completions", API, true, false)                                              \
    X(MESSAGES, "POST", "/v1/messages", API, true, false)                                                    \
    X(COUNT_TOKENS, "POST", "/v1/messages/count_tokens", API, true, false)                                   \
    X(TOKENIZE, "POST", "/tokenize", API, true, false)                                                       \
    X(DETOKENIZE, "POST", "/detokenize", API, true, false)                                                   \
    X(APPLY_TEMPLATE, "POST", "/apply-template", API, true, false)                                           \
    X(MODELS, "GET", "/v1/models", API, false, false)                                                        \
    X(MODEL, "GET", "/v1/models/{}", API, false, false)                                                      \
    X(HEALTH, "GET", "/health", OPEN, false, false)                                                          \
    X(HEALTH_LIVE, "GET", "/health/live", OPEN, false, false)                                                \
    X(HEALTH_READY, "GET", "/health/ready", OPEN, false, false)                                              \
    X(METRICS, "GET", "/metrics", METRICS, false, false)                                                     \
    X(OPENAPI, "GET", "/openapi.json", OPEN, false, false)                                                   \
    X(SWAP, "POST", "/admin/models/swap", ADMIN, true, false)                                                \
    X(OFFLOAD, "POST", "/admin/models/offload", ADMIN, true, false)                                          \
    X(CURRENT, "GET", "/admin/models/current", ADMIN, false, false)                                          \
    X(AVAILABLE, "GET", "/admin/models/available", ADMIN, false, false)                                      \
    X(SWAP_STATUS, "GET", "/admin/swap", ADMIN, false, false)                                                \
    X(EVENTS, "GET", "/admin/events", ADMIN, false, false)                                                   \
    X(PS, "GET", "/admin/ps", ADMIN, false, false)                                                           \
    X(AGENTS, "GET", "/admin/agents", ADMIN, false, false)                                                   \
    X(AGENT, "GET", "/admin/agents/{}", ADMIN, false, false)                                                 \
    X(AGENT_DELETE, "DELETE", "/admin/agents/{}", ADMIN, false, false)                                       \
    X(AGENT_PIN, "POST", "/admin/agents/{}/pin", ADMIN, false, false)                                        \
    X(AGENT_UNPIN, "POST", "/admin/agents/{}/unpin", ADMIN, false, false)                                    \
    X(CACHE, "GET", "/admin/cache", ADMIN, false, false)                                                     \
    X(CACHE_DELETE, "DELETE", "/admin/cache", ADMIN, false, false)                                           \
    X(RELOAD, "POST", "/admin/reload", ADMIN, false, false)                                                  \
    X(FAULT, "POST", "/admin/debug/fault", ADMIN, true, true)

enum route {
    ROUTE_NONE,
#define ROUTE_ENUM_ROW(name, method, path, access, body, debug) ROUTE_##name,
    ROUTE_TABLE(ROUTE_ENUM_ROW)
#undef ROUTE_ENUM_ROW
        ROUTE_COUNT
};

struct route_row {
    const char *name, *method, *path;
    enum access access;
    bool body, debug;
};
const struct route_row *route_row(enum route route); /* not NONE; static */

struct route_match {
    enum route route;   /* ROUTE_NONE: see path_known */
    bool path_known;    /* the path is there, but not with this method */
    enum access access; /* of the path, when it is known; /admin... is ACCESS_ADMIN even when it is not */
    bool body;
    const char *param; /* what stands for {}: still encoded, points into path; NULL */
    size_t param_size;
    char allow[48]; /* "GET, DELETE, OPTIONS": the methods of this path; "" when it is not known */
};

/* path: without the query. HEAD is taken where GET is. debug: whether the debug routes exist. */
struct route_match route_find(const char *method, const char *path, bool debug);
/* "GET /v1/models, POST /v1/chat/completions, ..." for the text of a 404. */
void route_list(struct buf *out, bool debug);
/* In which API's shape an error of this path is: of unknown ones below a known API's, too. versioned: the request has Anthropic's
 * header, which decides where both APIs have the same path (/v1/models). path may be NULL. */
enum error_shape route_error_shape(const char *path, bool versioned);
const char *route_name(enum route route); /* "CHAT"; for logs and metrics */

#endif
