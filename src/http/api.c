#include "http/api.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void api_parsed_free(struct api_parsed *p) {
    request_free(p->request);
    buf_free(&p->ignored);
    p->request = NULL;
}

bool api_fail(struct api_error *e, enum err err, const char *path, const char *fmt, ...) {
    if (e->err != ERR_OK) return false;
    int n = 0;
    e->err = err;
    snprintf(e->param, sizeof e->param, "%s", path ? path : "");
    if (e->param[0]) n = snprintf(e->text, sizeof e->text, "%s: ", e->param);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(e->text + n, sizeof e->text - (size_t)n, fmt, args);
    va_end(args);
    return false;
}

void api_path(char out[API_PATH_BYTES], const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(out, API_PATH_BYTES, fmt, args);
    va_end(args);
}

bool api_take_bool(struct api_error *e, const char *path, const struct json *v, bool *ret) {
    if (json_type(v) != JSON_BOOL)
        return api_fail(e, ERR_INVALID, path, "must be true or false, not %s", json_type_name(json_type(v)));
    *ret = json_bool(v, false);
    return true;
}

bool api_take_int(struct api_error *e, const char *path, const struct json *v, int64_t min, int64_t max,
                  int64_t *ret) {
    enum json_type type = json_type(v);
    bool a = json_int(v, 0) == 0, b = json_int(v, 1) == 1; /* both defaults came back: it is no integer */
    if ((type != JSON_INT && type != JSON_REAL) || (a && b))
        return api_fail(e, ERR_INVALID, path, "must be an integer, not %s",
                        type == JSON_REAL ? "a fraction or a number out of range" : json_type_name(type));
    int64_t value = json_int(v, 0);
    if (value < min || value > max)
        return api_fail(e, ERR_INVALID, path, "must be from %lld to %lld, not %lld", (long long)min,
                        (long long)max, (long long)value);
    *ret = value;
    return true;
}

bool api_take_number(struct api_error *e, const char *path, const struct json *v, double min, double max,
                     double *ret) {
    enum json_type type = json_type(v);
    if (type != JSON_INT && type != JSON_REAL)
        return api_fail(e, ERR_INVALID, path, "must be a number, not %s", json_type_name(type));
    double value = json_number(v, 0);
    if (!(value >= min && value <= max))
        return api_fail(e, ERR_INVALID, path, "must be from %g to %g, not %g", min, max, value);
    *ret = value;
    return true;
}

bool api_take_value(struct api_error *e, const char *path, const struct json *v, const struct api_value *is) {
    bool on = false;
    int64_t integer = 0;
    double number = 0;
    switch (is->type) {
    case API_BOOL: return api_take_bool(e, path, v, &on);
    case API_INT: return api_take_int(e, path, v, is->min, is->max, &integer);
    case API_NUMBER: return api_take_number(e, path, v, (double)is->min, (double)is->max, &number);
    case API_ANY:
    case API_WORD:
    case API_SHAPE:
    case API_ONLY: break;
    }
    return true;
}

bool api_is_only(const struct json *v, const char *only) {
    if (json_type(v) == JSON_INT || json_type(v) == JSON_REAL) {
        char *end = NULL;
        double number = strtod(only, &end);
        return end != only && *end == '\0' && number == json_number(v, number + 1);
    }
    /* Some languages know no difference between an empty map and an empty list, and write the list. */
    if (json_type(v) == JSON_ARRAY && json_count(v) == 0 && strcmp(only, "{}") == 0) return true;
    AUTO(buf_free) struct buf b = BUF(256);
    size_t size = strlen(only);
    return json_dump(v, &b) == ERR_OK && b.size == size && memcmp(b.data, only, size) == 0;
}

bool api_take_model(struct api_error *e, const char *path, const struct json *v, char **ret) {
    size_t size = 0;
    const char *s = json_string(v, &size);
    if (!s || size <= MODEL_ID_BYTES_MAX || memchr(s, '\0', size))
        return api_take_string(e, path, v, SIZE_MAX, ret);
    mem_free(*ret);
    *ret = mem_strndup(s, MODEL_ID_BYTES_MAX + 1);
    return *ret ? true : api_fail(e, ERR_NOMEM, path, "%s", err_text(ERR_NOMEM));
}

bool api_take_string(struct api_error *e, const char *path, const struct json *v, size_t max_bytes,
                     char **ret) {
    size_t size = 0;
    const char *s = json_string(v, &size);
    if (!s) return api_fail(e, ERR_INVALID, path, "must be a string, not %s", json_type_name(json_type(v)));
    if (size > max_bytes)
        return api_fail(e, ERR_INVALID, path, "has %zu bytes; at most %zu are taken", size, max_bytes);
    if (memchr(s, '\0', size)) return api_fail(e, ERR_INVALID, path, "must not hold a NUL character");
    mem_free(*ret);
    *ret = mem_strndup(s, size);
    return *ret ? true : api_fail(e, ERR_NOMEM, path, "%s", err_text(ERR_NOMEM));
}
