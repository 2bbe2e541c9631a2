#include "http/routes.h"

#include <stdio.h>
#include <string.h>

#include "base/must.h"

static const struct route_row ROWS[ROUTE_COUNT] = {
#define ROUTE_ROW(name, method, path, access, body, debug)                                                   \
    [ROUTE_##name] = {#name, method, path, ACCESS_##access, body, debug},
    ROUTE_TABLE(ROUTE_ROW)
#undef ROUTE_ROW
};

const struct route_row *route_row(enum route route) {
    must(route > ROUTE_NONE && route < ROUTE_COUNT);
    return &ROWS[route];
}

/* True when path has the pattern's form; the segment that stands for {} is what *ret_param points to. */
static bool path_matches(const char *pattern, const char *path, const char **ret_param, size_t *ret_size) {
    *ret_param = NULL;
    *ret_size = 0;
    while (*pattern) {
        if (pattern[0] == '{' && pattern[1] == '}') {
            size_t n = strcspn(path, "/");
            if (n == 0) return false;
            *ret_param = path;
            *ret_size = n;
            path += n;
            pattern += 2;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return *path == '\0';
}

static bool method_matches(const char *row, const char *method) {
    return strcmp(row, method) == 0 || (strcmp(row, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static void allow_add(struct route_match *m, const char *method) {
    size_t n = strlen(m->allow);
    snprintf(m->allow + n, sizeof m->allow - n, "%s%s%s", n ? ", " : "", method,
             strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

struct route_match route_find(const char *method, const char *path, bool debug) {
    struct route_match m = {.access = ACCESS_API};
    if (strncmp(path, "/admin", 6) == 0 && (path[6] == '\0' || path[6] == '/')) m.access = ACCESS_ADMIN;
    for (int i = ROUTE_NONE + 1; i < ROUTE_COUNT; i++) {
        const struct route_row *row = &ROWS[i];
        const char *param;
        size_t param_size;
        if ((row->debug && !debug) || !path_matches(row->path, path, &param, &param_size)) continue;
        m.path_known = true;
        m.access = row->access;
        allow_add(&m, row->method);
        if (!method_matches(row->method, method)) continue;
        m.route = (enum route)i;
        m.body = row->body;
        m.param = param;
        m.param_size = param_size;
    }
    if (m.path_known) {
        size_t n = strlen(m.allow);
        snprintf(m.allow + n, sizeof m.allow - n, ", OPTIONS");
    }
    return m;
}

void route_list(struct buf *out, bool debug) {
    for (int i = ROUTE_NONE + 1; i < ROUTE_COUNT; i++) {
        const struct route_row *row = &ROWS[i];
        if (row->debug && !debug) continue;
        buf_printf(out, "%s%s %s", i == ROUTE_NONE + 1 ? "" : ", ", row->method, row->path);
    }
}

/* At or below base. */
static bool is_below(const char *path, const char *base) {
    size_t n = strlen(base);
    return strncmp(path, base, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

enum error_shape route_error_shape(const char *path, bool versioned) {
    if (!path) return ERROR_OPENAI;
    bool anthropic = is_below(path, "/v1/messages") || (versioned && is_below(path, "/v1/models"));
    return anthropic ? ERROR_ANTHROPIC : ERROR_OPENAI;
}

const char *route_name(enum route route) {
    return route > ROUTE_NONE && route < ROUTE_COUNT ? ROWS[route].name : "NONE";
}
