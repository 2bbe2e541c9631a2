/* jansson builds the trees; our own json_check() has looked at the text before, so that what jansson can
 * still refuse is a duplicate key, a number out of range, or memory. jansson allocates through mem_alloc. */
#define json_type jansson_type
#define json_string jansson_string
#define json_null jansson_null
#define JSON_OBJECT JANSSON_OBJECT
#define JSON_ARRAY JANSSON_ARRAY
#define JSON_STRING JANSSON_STRING
#define JSON_REAL JANSSON_REAL
#define JSON_NULL JANSSON_NULL
#include <jansson.h> /* its names that are ours too are renamed while it is read */
#undef json_type
#undef json_string
#undef json_null
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_REAL
#undef JSON_NULL
#undef json_boolean

#include "base/json.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/json_check.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/utf8.h"

/* A struct json * is a json_t *; through an integer, because jansson's iterators want them without const. */
static json_t *value_of(const struct json *v) {
    return (json_t *)(uintptr_t)v;
}

static const struct json *json_of(const json_t *v) {
    return (const struct json *)(uintptr_t)v;
}

/* jansson 2.14 does not notice when the buffer of a string can't grow: it leaves the character out and goes on. So a
 * failed allocation is remembered here. */
static _Thread_local bool starved;

static void *alloc_for_jansson(size_t size_bytes) {
    void *p = mem_alloc(size_bytes);
    if (!p) starved = true;
    return p;
}

static void use_our_memory(void) {
    json_set_alloc_funcs(alloc_for_jansson, mem_free);
}

static void fail_at(struct json_error *ret, const char *text, size_t size_bytes, size_t at,
                    const char *what) {
    if (at > size_bytes) at = size_bytes;
    size_t line_start = 0;
    int line = 1;
    for (size_t i = 0; i < at; i++) {
        if (text[i] != '\n') continue;
        line++;
        line_start = i + 1;
    }
    *ret = (struct json_error){.line = line, .column = 1, .at_byte = at};
    if (at > line_start) ret->column += (int)utf8_count(text + line_start, at - line_start);
    snprintf(ret->text, sizeof ret->text, "line %d, column %d: %s", ret->line, ret->column, what);
}

/* jansson names the end of the token it did not like. */
static const char *what_jansson_said(const json_error_t *e) {
    enum json_error_code code = json_error_code(e);
    if (code == json_error_duplicate_key) return "this key is there twice";
    if (code == json_error_numeric_overflow) return "this number is out of range";
    return "not enough memory to read it";
}

struct json *json_read(const void *data, size_t size_bytes, struct json_error *ret_error) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    must(pthread_once(&once, use_our_memory) == 0);
    struct json_error unwanted = {.line = 0};
    struct json_error *error = ret_error ? ret_error : &unwanted;
    const char *text = data ? data : "";
    size_t at;
    const char *what;
    if (!json_check(text, size_bytes, &at, &what)) {
        fail_at(error, text, size_bytes, at, what);
        return NULL;
    }
    json_error_t e = {.position = 0};
    starved = false;
    json_t *root =
        json_loadb(text, size_bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (root && !starved) return (struct json *)root;
    size_t place = !root && e.position > 0 ? (size_t)e.position : 0;
    fail_at(error, text, size_bytes, place, starved ? "not enough memory to read it" : what_jansson_said(&e));
    json_decref(root);
    return NULL;
}

void json_free(struct json *root) {
    json_decref(value_of(root));
}

void json_freep(struct json **root) {
    json_free(*root);
    *root = NULL;
}

enum json_type json_type(const struct json *v) {
    if (!v) return JSON_NONE;
    switch (value_of(v)->type) {
    case JANSSON_NULL: return JSON_NULL;
    case JSON_TRUE: return JSON_BOOL;
    case JSON_FALSE: return JSON_BOOL;
    case JSON_INTEGER: return JSON_INT;
    case JANSSON_REAL: return JSON_REAL;
    case JANSSON_STRING: return JSON_STRING;
    case JANSSON_ARRAY: return JSON_ARRAY;
    case JANSSON_OBJECT: return JSON_OBJECT;
    }
    return JSON_NONE;
}

const char *json_type_name(enum json_type t) {
    switch (t) {
    case JSON_NONE: return "nothing";
    case JSON_NULL: return "null";
    case JSON_BOOL: return "a boolean";
    case JSON_INT: return "an integer";
    case JSON_REAL: return "a number";
    case JSON_STRING: return "a string";
    case JSON_ARRAY: return "an array";
    case JSON_OBJECT: return "an object";
    }
    return "?";
}

const struct json *json_get(const struct json *object, const char *key) {
    return json_type(object) == JSON_OBJECT ? json_of(json_object_get(value_of(object), key)) : NULL;
}

size_t json_count(const struct json *array_or_object) {
    switch (json_type(array_or_object)) {
    case JSON_ARRAY: return json_array_size(value_of(array_or_object));
    case JSON_OBJECT: return json_object_size(value_of(array_or_object));
    case JSON_NONE:
    case JSON_NULL:
    case JSON_BOOL:
    case JSON_INT:
    case JSON_REAL:
    case JSON_STRING: return 0;
    }
    return 0;
}

const struct json *json_at(const struct json *array, size_t i) {
    return json_type(array) == JSON_ARRAY ? json_of(json_array_get(value_of(array), i)) : NULL;
}

bool json_next(const struct json *object, void **iter, const char **ret_key, const struct json **ret_value) {
    if (json_type(object) != JSON_OBJECT) return false;
    json_t *o = value_of(object);
    *iter = *iter ? json_object_iter_next(o, *iter) : json_object_iter(o);
    if (!*iter) return false;
    *ret_key = json_object_iter_key(*iter);
    *ret_value = json_of(json_object_iter_value(*iter));
    return true;
}

const char *json_string(const struct json *v, size_t *ret_size) {
    if (json_type(v) != JSON_STRING) return NULL;
    if (ret_size) *ret_size = json_string_length(value_of(v));
    return json_string_value(value_of(v));
}

bool json_bool(const struct json *v, bool otherwise) {
    return json_type(v) == JSON_BOOL ? value_of(v)->type == JSON_TRUE : otherwise;
}

int64_t json_int(const struct json *v, int64_t otherwise) {
    if (json_type(v) == JSON_INT) return json_integer_value(value_of(v));
    if (json_type(v) != JSON_REAL) return otherwise;
    double d = json_real_value(value_of(v));
    const double too_large = 9223372036854775808.0; /* 2^63, which is a double, and one too many */
    return d == trunc(d) && d >= -too_large && d < too_large ? (int64_t)d : otherwise;
}

double json_number(const struct json *v, double otherwise) {
    if (json_type(v) == JSON_INT) return (double)json_integer_value(value_of(v));
    return json_type(v) == JSON_REAL ? json_real_value(value_of(v)) : otherwise;
}

/* As deep as the tree, which json_read() bounded. */
static void dump_into(const struct json *v, struct json_out *w) {
    void *iter = NULL;
    const char *key;
    const struct json *item;
    size_t size = 0;
    switch (json_type(v)) {
    case JSON_NONE:
    case JSON_NULL: json_null(w); break;
    case JSON_BOOL: json_boolean(w, json_bool(v, false)); break;
    case JSON_INT: json_i64(w, json_int(v, 0)); break;
    case JSON_REAL: json_f64(w, json_number(v, 0)); break;
    case JSON_STRING: {
        const char *s = json_string(v, &size);
        json_strn(w, s, size);
        break;
    }
    case JSON_ARRAY:
        json_arr(w);
        for (size_t i = 0; i < json_count(v); i++) dump_into(json_at(v, i), w);
        json_end(w);
        break;
    case JSON_OBJECT:
        json_obj(w);
        while (json_next(v, &iter, &key, &item)) {
            json_key(w, key);
            dump_into(item, w);
        }
        json_end(w);
        break;
    }
}

enum err json_dump(const struct json *v, struct buf *out) {
    struct json_out w = json_out_into(out);
    dump_into(v, &w);
    return out->error;
}
