/* api_admin.h - requests to /admin that have no body that matters: made from path and query. Bodies (swap, offload,
 * fault) are read by api_admin_read() in api.h. Unknown keys of a body or a query are errors here: a misspelled
 * "model" must not delete every model's cache. Thread: pure. */
#ifndef HOTSEAT_HTTP_API_ADMIN_H
#define HOTSEAT_HTTP_API_ADMIN_H

#include "http/api.h"

/* A member of a body or a query. */
struct admin_key {
    const char *name;
    /* Stores v, which is not null and has the type and range of value. NULL in a query: its values are text. */
    bool (*fn)(struct api_error *e, const char *key, const struct json *v, struct request *r);
    struct api_value value;
};
/* Of a route's body: the first *ret_required must be there. *ret_count is 0 for a route that takes none. */
const struct admin_key *api_admin_body(enum route route, size_t *ret_count, size_t *ret_required);
const struct admin_key *api_admin_query(enum route route, size_t *ret_count);

/* match: a route without a body, or GET /v1/models...; query: what follows '?', NULL without; anthropic: the models are asked for in
 * that API's shape. As api_admin_read(). */
void api_admin_make(const struct route_match *match, const char *query, bool anthropic,
                    struct api_parsed *ret);

#endif
