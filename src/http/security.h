/* security.h - who may call what: Host, Origin, keys. Pure rules over one request's headers; the rules as people read
 * them are in docs/api.md.
 * - Host rule: on a loopback address a Host other than localhost, 127.0.0.1, [::1], the configured host and the bound
 *   address (with our port or none) is refused: a page that rebinds its own name to 127.0.0.1 is stopped here.
 * - Origin rule: an /admin request that carries an Origin that is not allowed is refused, preflight or not. CORS
 *   headers go to allowed origins only.
 * - Key rule: the admin key opens everything; the api key opens /v1 and /metrics, and /admin only when there is no
 *   admin key; without any key everything is open (front's configuration asks for keys on other addresses).
 * Thread: any; struct security is read-only after security_open(). */
#ifndef HOTSEAT_HTTP_SECURITY_H
#define HOTSEAT_HTTP_SECURITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum access {
    ACCESS_OPEN,    /* /health* */
    ACCESS_API,     /* /v1 */
    ACCESS_METRICS, /* /metrics: api or admin key */
    ACCESS_ADMIN    /* /admin */
};

struct security { /* borrows all strings */
    bool loopback;
    const char *names[2]; /* further ones that Host may have: configured, bound; NULL: none */
    uint16_t port;
    const char *api_key, *admin_key; /* NULL: none */
    const char *origins; /* comma-separated, "*": any (never for /admin); NULL: pages on this machine */
};

/* What of a request the rules look at; NULL: the header is not there. */
struct security_input {
    const char *host, *origin, *authorization, *x_api_key;
    enum access access;
};

bool security_host_ok(const struct security *s, const char *host);
bool security_origin_ok(const struct security *s, const char *origin, enum access access);
bool security_key_ok(const struct security *s, const struct security_input *in);
/* All three; OK, FORBIDDEN, AUTH. *ret_why: a static English clause for the client. */
enum err security_check(const struct security *s, const struct security_input *in, const char **ret_why);
/* Takes the same time for every presented of one length, whatever it holds. */
bool security_equal(const char *secret, const char *presented);

#endif
