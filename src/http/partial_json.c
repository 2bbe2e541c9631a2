#include "http/partial_json.h"

#include <string.h>

#include "base/json_check.h"
#include "base/limits.h"

struct place { /* in the text, and what would have to be closed there, innermost last */
    size_t at;
    int depth;
    char closers[JSON_DEPTH_MAX];
};

/* Goes over the text; *ret_safe: after the last whole value. False: it ends inside a string, or nests too deep. */
static bool scan(const char *s, size_t size, struct place *now, struct place *safe) {
    bool in_string = false, escaped = false, key = false, key_next = false;
    for (now->at = 0; now->at < size; now->at++) {
        char c = s[now->at];
        bool whole = false;
        if (in_string) {
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            whole = !in_string && !key;
        } else if (c == '"') {
            in_string = true;
            key = key_next;
        } else if (c == '{' || c == '[') {
            if (now->depth == JSON_DEPTH_MAX) return false;
            now->closers[now->depth++] = c == '{' ? '}' : ']';
            key_next = c == '{';
            whole = true; /* an empty one could end here */
        } else if ((c == '}' || c == ']') && now->depth > 0) {
            now->depth--;
            key_next = false;
            whole = true;
        } else if (c == ',') {
            *safe = *now;
            key_next = now->depth > 0 && now->closers[now->depth - 1] == '}';
        } else if (c == ':') {
            key_next = false;
        }
        if (whole) {
            *safe = *now;
            safe->at++;
        }
    }
    return !in_string;
}

/* False: closed there, it is no JSON. */
static bool close_at(const char *s, const struct place *p, struct buf *out) {
    size_t before = out->size, at;
    const char *what;
    buf_put(out, s, p->at);
    for (int i = p->depth; i-- > 0;) buf_u8(out, (uint8_t)p->closers[i]);
    if (out->error) return true;
    /* No tree of it: json_read() would also refuse numbers that are too large, and a key that comes twice. */
    bool ok = json_check(out->data + before, out->size - before, &at, &what);
    if (!ok) out->size = before;
    return ok;
}

enum err partial_json_close(const void *data, size_t size_bytes, struct buf *out) {
    struct place now = {0}, safe = {0};
    bool ended = scan(data, size_bytes, &now, &safe);
    /* As it stands first: a number or a word at the end may be whole. */
    if (size_bytes > 0 && ended && close_at(data, &now, out)) return out->error;
    if (safe.at > 0 && close_at(data, &safe, out)) return out->error;
    buf_puts(out, "{}");
    return out->error;
}
