/* json.h - reading JSON (jansson behind it: strict, bounded depth) and writing it (ours, into a struct buf).
 * A value that was read belongs to its root: json_free(root) ends all. Getters on NULL give NULL / the default,
 * so that a path needs one check. Thread: a value belongs to one thread at a time. */
#ifndef HOTSEAT_BASE_JSON_H
#define HOTSEAT_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* libjansson exports functions of these two names: ours get other ones for the linker, else they would stand in for
 * the library's own calls. */
#define json_string hotseat_json_string
#define json_null hotseat_json_null

struct json; /* one value */
enum json_type { JSON_NONE, JSON_NULL, JSON_BOOL, JSON_INT, JSON_REAL, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_error {
    char text[160]; /* "'}' expected near ..." */
    int line, column;
    size_t at_byte;
};
/* Any top-level value; duplicate keys refused; at most limits.h JSON_DEPTH_MAX levels, JSON_VALUES_MAX values,
 * JSON_CONTAINERS_MAX objects and arrays. NULL: *ret_error says where
 * (line and column count from 1, a column is a character; at_byte counts from 0). Integers are int64.
 * A lone surrogate or raw control character is an error; \u0000 is allowed in strings, not in keys. */
struct json *json_read(const void *data, size_t size_bytes, struct json_error *ret_error) NODISCARD;
void json_free(struct json *root); /* only what json_read gave */
void json_freep(struct json **root);
enum json_type json_type(const struct json *v);
const char *json_type_name(enum json_type t); /* "an object", "a string" ... for error texts */
const struct json *json_get(const struct json *object, const char *key);
size_t json_count(const struct json *array_or_object);
const struct json *json_at(const struct json *array, size_t i);
/* Walks an object: start with *iter NULL; false at the end. */
bool json_next(const struct json *object, void **iter, const char **ret_key, const struct json **ret_value);
const char *json_string(const struct json *v,
                        size_t *ret_size); /* NULL if not a string; may hold NUL bytes */
bool json_bool(const struct json *v, bool otherwise);
int64_t json_int(const struct json *v, int64_t otherwise); /* an integral real counts as an integer */
double json_number(const struct json *v, double otherwise);
enum err json_dump(const struct json *v, struct buf *out); /* compact, keys in the order they came */

/* The writer: commas and nesting are kept by it; a string that is not UTF-8 has its bad bytes replaced by U+FFFD.
 * struct json_out w = json_out_into(&b); json_obj(&w); json_key(&w, "id"); json_str(&w, "x"); json_end(&w); */
struct json_out {
    struct buf *b;
    uint64_t is_object; /* bit per level */
    uint64_t has_item;
    int depth;
    bool after_key;
};
struct json_out json_out_into(struct buf *b);
void json_obj(struct json_out *w);
void json_arr(struct json_out *w);
void json_end(struct json_out *w); /* closes the innermost object or array */
void json_key(struct json_out *w, const char *key);
void json_str(struct json_out *w, const char *s); /* NULL writes null */
void json_strn(struct json_out *w, const char *s, size_t size_bytes);
void json_i64(struct json_out *w, int64_t v);
void json_u64(struct json_out *w, uint64_t v);
/* The fewest digits that read back as v, always with a point or an exponent; NaN and infinities write null. */
void json_f64(struct json_out *w, double v);
void json_boolean(struct json_out *w, bool v);
void json_null(struct json_out *w);
void json_raw(struct json_out *w, const void *json, size_t size_bytes); /* a ready value */

#endif
