#include "http/security.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/attr.h"

static const char *const LOCAL_NAMES[] = {"localhost", "127.0.0.1", "[::1]"};

/* "name", "name:port": true when name is this one; *ret_port: what follows the colon, "" without one. */
static bool is_name(const char *s, const char *name, const char **ret_port) {
    size_t n = strlen(name);
    if (n == 0 || strncasecmp(s, name, n) != 0 || (s[n] != '\0' && s[n] != ':')) return false;
    *ret_port = s + n + (s[n] == ':');
    return true;
}

static bool is_local_name(const char *s, const char **ret_port) {
    for (size_t i = 0; i < ARRAY_LEN(LOCAL_NAMES); i++)
        if (is_name(s, LOCAL_NAMES[i], ret_port)) return true;
    return false;
}

static bool is_own_name(const struct security *s, const char *host, const char **ret_port) {
    for (size_t i = 0; i < ARRAY_LEN(s->names); i++)
        if (s->names[i] && is_name(host, s->names[i], ret_port)) return true;
    return false;
}

static bool is_port(const char *s) {
    size_t n = strspn(s, "0123456789");
    return s[n] == '\0' && n >= 1 && n <= 5;
}

bool security_host_ok(const struct security *s, const char *host) {
    const char *port = NULL;
    if (!s->loopback) return true;
    if (!host) return true; /* HTTP/1.0 only: a browser, which is what the rule is about, always sends one */
    if (!is_local_name(host, &port) && !is_own_name(s, host, &port)) return false;
    if (port[0] == '\0') return port[-1] != ':';
    return is_port(port) && strtol(port, NULL, 10) == s->port;
}

static bool origin_in_list(const char *list, const char *origin, enum access access) {
    size_t n = strlen(origin);
    while (*list) {
        list += strspn(list, ", \t");
        size_t item = strcspn(list, ", \t");
        if (item == 1 && list[0] == '*' && access != ACCESS_ADMIN) return true;
        if (item == n && n > 0 && strncasecmp(list, origin, n) == 0) return true;
        list += item;
    }
    return false;
}

bool security_origin_ok(const struct security *s, const char *origin, enum access access) {
    const char *port = NULL;
    if (s->origins) return origin_in_list(s->origins, origin, access);
    if (strncasecmp(origin, "http://", 7) == 0)
        origin += 7;
    else if (strncasecmp(origin, "https://", 8) == 0)
        origin += 8;
    else
        return false;
    if (!is_local_name(origin, &port)) return false;
    return port[0] == '\0' ? port[-1] != ':' : is_port(port);
}

bool security_equal(const char *secret, const char *presented) {
    size_t n_secret = strlen(secret), n = strlen(presented);
    volatile unsigned char differ = n_secret != n;
    for (size_t i = 0; i < n; i++)
        differ = (unsigned char)(differ | (secret[n_secret ? i % n_secret : 0] ^ presented[i]));
    return differ == 0 && n > 0;
}

static const char *bearer(const char *authorization) {
    if (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0) return NULL;
    return authorization + 7 + strspn(authorization + 7, " ");
}

static bool presents(const struct security_input *in, const char *key) {
    const char *token = bearer(in->authorization);
    bool by_bearer = key && token && security_equal(key, token);
    bool by_header = key && in->x_api_key && security_equal(key, in->x_api_key);
    return by_bearer || by_header;
}

bool security_key_ok(const struct security *s, const struct security_input *in) {
    bool admin = presents(in, s->admin_key);
    bool api = presents(in, s->api_key);
    switch (in->access) {
    case ACCESS_OPEN: return true;
    case ACCESS_API: return !s->api_key || api || admin;
    case ACCESS_METRICS: return (!s->api_key && !s->admin_key) || api || admin;
    case ACCESS_ADMIN: return s->admin_key ? admin : !s->api_key || api;
    }
    return false;
}

enum err security_check(const struct security *s, const struct security_input *in, const char **ret_why) {
    if (!security_host_ok(s, in->host)) {
        *ret_why = "the Host header does not name this machine (localhost, 127.0.0.1 or [::1], with this "
                   "server's port)";
        return ERR_FORBIDDEN;
    }
    if (in->origin && in->access == ACCESS_ADMIN && !security_origin_ok(s, in->origin, in->access)) {
        *ret_why = "this Origin may not call /admin (see --origins)";
        return ERR_FORBIDDEN;
    }
    if (!security_key_ok(s, in)) {
        bool given = in->authorization || in->x_api_key;
        if (in->access == ACCESS_ADMIN && s->admin_key)
            *ret_why = given ? "this key does not open /admin; the admin key does"
                             : "the admin key is needed: 'Authorization: Bearer KEY' or 'x-api-key: KEY'";
        else
            *ret_why = given ? "this key is not valid"
                             : "a key is needed: 'Authorization: Bearer KEY' or 'x-api-key: KEY'";
        return ERR_AUTH;
    }
    return ERR_OK;
}
