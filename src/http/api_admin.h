/* api_admin.h - requests to /admin that have no body that matters: made from path and query. Bodies (swap, offload,
 * fault) are read by api_admin_read() in api.h. Unknown keys of a body or a query are errors here: a misspelled
 * "model" must not delete every model's cache. Thread: pure. */
#ifndef HOTSEAT_HTTP_API_ADMIN_H
#define HOTSEAT_HTTP_API_ADMIN_H

#include "http/api.h"

/* match: a route without a body, or GET /v1/models...; query: what follows '?', NULL without; anthropic: the models are asked for in
 * that API's shape. As api_admin_read(). */
void api_admin_make(const struct route_match *match, const char *query, bool anthropic,
                    struct api_parsed *ret);

#endif
