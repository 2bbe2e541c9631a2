/* The writer's half of json.h. It works on a struct buf, whose first error stays: one check at the end. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/must.h"
#include "base/utf8.h"

#define DEPTH_BITS 64 /* of is_object and has_item */

struct json_out json_out_into(struct buf *b) {
    return (struct json_out){.b = b};
}

static uint64_t level_bit(const struct json_out *w) {
    return UINT64_C(1) << (w->depth - 1);
}

/* Before every value: the comma between items of an array; an object's came with the key. */
static void begin_value(struct json_out *w) {
    if (w->depth == 0) return;
    if (w->is_object & level_bit(w)) {
        must(w->after_key);
        w->after_key = false;
        return;
    }
    if (w->has_item & level_bit(w)) buf_u8(w->b, ',');
    w->has_item |= level_bit(w);
}

static void open_level(struct json_out *w, bool object) {
    begin_value(w);
    must(w->depth < DEPTH_BITS);
    w->depth++;
    w->has_item &= ~level_bit(w);
    w->is_object = object ? w->is_object | level_bit(w) : w->is_object & ~level_bit(w);
    buf_u8(w->b, object ? '{' : '[');
}

void json_obj(struct json_out *w) {
    open_level(w, true);
}

void json_arr(struct json_out *w) {
    open_level(w, false);
}

void json_end(struct json_out *w) {
    must(w->depth > 0 && !w->after_key);
    buf_u8(w->b, w->is_object & level_bit(w) ? '}' : ']');
    w->depth--;
}

static void put_escaped(struct buf *b, unsigned char c) {
    switch (c) {
    case '"': buf_puts(b, "\\\""); break;
    case '\\': buf_puts(b, "\\\\"); break;
    case '\n': buf_puts(b, "\\n"); break;
    case '\r': buf_puts(b, "\\r"); break;
    case '\t': buf_puts(b, "\\t"); break;
    default: buf_printf(b, "\\u%04x", c); break;
    }
}

static void put_string(struct buf *b, const char *s, size_t size_bytes) {
    buf_u8(b, '"');
    size_t done = 0;
    for (size_t at = 0; at < size_bytes;) {
        unsigned char c = (unsigned char)s[at];
        bool plain = c >= 0x20 && c != '"' && c != '\\';
        size_t n = c < 0x80 ? 1 : utf8_char(s + at, size_bytes - at);
        if (plain && n > 0) {
            at += n;
            continue;
        }
        buf_put(b, s + done, at - done);
        if (n == 0) {
            buf_puts(b, "\xef\xbf\xbd");
        } else {
            put_escaped(b, c);
        }
        done = ++at;
    }
    buf_put(b, s + done, size_bytes - done);
    buf_u8(b, '"');
}

void json_key(struct json_out *w, const char *key) {
    must(w->depth > 0 && (w->is_object & level_bit(w)) && !w->after_key);
    if (w->has_item & level_bit(w)) buf_u8(w->b, ',');
    w->has_item |= level_bit(w);
    put_string(w->b, key, strlen(key));
    buf_u8(w->b, ':');
    w->after_key = true;
}

void json_str(struct json_out *w, const char *s) {
    if (s) {
        json_strn(w, s, strlen(s));
    } else {
        json_null(w);
    }
}

void json_strn(struct json_out *w, const char *s, size_t size_bytes) {
    begin_value(w);
    put_string(w->b, s, size_bytes);
}

void json_i64(struct json_out *w, int64_t v) {
    begin_value(w);
    buf_printf(w->b, "%lld", (long long)v);
}

void json_u64(struct json_out *w, uint64_t v) {
    begin_value(w);
    buf_printf(w->b, "%llu", (unsigned long long)v);
}

void json_f64(struct json_out *w, double v) {
    if (!isfinite(v)) {
        json_null(w);
        return;
    }
    begin_value(w);
    char text[40];
    for (int digits = 6; digits <= 17;
         digits++) { /* trailing zeros are not shown: fewer digits need no try */
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) break;
    }
    buf_puts(w->b, text);
    if (!strpbrk(text, ".e")) buf_puts(w->b, ".0");
}

void json_boolean(struct json_out *w, bool v) {
    begin_value(w);
    buf_puts(w->b, v ? "true" : "false");
}

void json_null(struct json_out *w) {
    begin_value(w);
    buf_puts(w->b, "null");
}

void json_raw(struct json_out *w, const void *json, size_t size_bytes) {
    must(size_bytes > 0);
    begin_value(w);
    buf_put(w->b, json, size_bytes);
}
