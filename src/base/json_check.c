/* One pass with a bit a level instead of recursion: depth costs no stack, and JSON_DEPTH_MAX fits into 64
 * bits. VALUE      a value must come                     FIRST_ITEM  '[' came: a value or ']' FIRST_KEY  '{'
 * came: a key or '}'                KEY         ',' came in an object: a key AFTER      a value has ended:
 * ',' or the closing bracket, or the end of the text at depth 0 */
#include "base/json_check.h"

#include <stdint.h>
#include <string.h>

#include "base/limits.h"
#include "base/utf8.h"

_Static_assert(JSON_DEPTH_MAX <= 64, "a level is a bit of scan.is_object");

enum state { VALUE, FIRST_ITEM, FIRST_KEY, KEY, AFTER };

struct scan {
    const char *text;
    size_t size, at;
    const char *what; /* set once something is wrong at `at` */
    uint64_t is_object;
    uint32_t n_values, n_containers; /* so far: what the tree will take is bounded before it is built */
    int depth;
};

static bool wrong(struct scan *s, const char *what) {
    s->what = what;
    return false;
}

static int peek(const struct scan *s) {
    return s->at < s->size ? (unsigned char)s->text[s->at] : -1;
}

static void skip_space(struct scan *s) {
    while (s->at < s->size && strchr(" \t\n\r", s->text[s->at]) && s->text[s->at]) s->at++;
}

/* Four hex digits at `at`: their value, else -1 and `at` on the bad one. */
static int hex4(struct scan *s) {
    int v = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        int c = peek(s);
        int digit = c >= '0' && c <= '9'                          ? c - '0'
                    : (c | 32) >= 'a' && (c | 32) <= 'f' && c > 0 ? (c | 32) - 'a' + 10
                                                                  : -1;
        if (digit < 0) return -1;
        v = v << 4 | digit;
    }
    return v;
}

/* After the backslash. */
static bool check_escape(struct scan *s, bool is_key) {
    size_t backslash = s->at - 1;
    int c = peek(s);
    if (c != 'u') {
        if (c <= 0 || !strchr("\"\\/bfnrt", c)) return wrong(s, "this character may not follow a backslash");
        s->at++;
        return true;
    }
    s->at++;
    int v = hex4(s);
    if (v < 0) return wrong(s, "four hex digits must follow \\u");
    if (v == 0 && is_key) {
        s->at = backslash;
        return wrong(s, "a key may not hold \\u0000");
    }
    if (v >= 0xd800 && v <= 0xdbff) {
        if (s->size - s->at >= 2 && s->text[s->at] == '\\' && s->text[s->at + 1] == 'u') {
            s->at += 2;
            int low = hex4(s);
            if (low < 0) return wrong(s, "four hex digits must follow \\u");
            if (low >= 0xdc00 && low <= 0xdfff) return true;
        }
        v = 0xdc00; /* reported below as alone */
    }
    if (v >= 0xdc00 && v <= 0xdfff) {
        s->at = backslash;
        return wrong(s, "a surrogate stands alone");
    }
    return true;
}

static bool check_string(struct scan *s, bool is_key) {
    s->at++; /* the quote */
    while (s->at < s->size) {
        unsigned char c = (unsigned char)s->text[s->at];
        if (c == '"') {
            s->at++;
            return true;
        }
        if (c < 0x20) return wrong(s, "a control character in a string must be escaped");
        if (c == '\\') {
            s->at++;
            if (!check_escape(s, is_key)) return false;
            continue;
        }
        size_t n = utf8_char(s->text + s->at, s->size - s->at);
        if (n == 0) return wrong(s, "this is not UTF-8");
        s->at += n;
    }
    return wrong(s, "the text ends inside a string");
}

static bool check_digits(struct scan *s) {
    if (peek(s) < '0' || peek(s) > '9') return wrong(s, "a digit is missing in this number");
    while (peek(s) >= '0' && peek(s) <= '9') s->at++;
    return true;
}

static bool check_number(struct scan *s) {
    if (peek(s) == '-') s->at++;
    if (peek(s) == '0') {
        s->at++;
        if (peek(s) >= '0' && peek(s) <= '9') return wrong(s, "a number may not begin with 0");
    } else if (!check_digits(s)) {
        return false;
    }
    if (peek(s) == '.') {
        s->at++;
        if (!check_digits(s)) return false;
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        s->at++;
        if (peek(s) == '+' || peek(s) == '-') s->at++;
        return check_digits(s);
    }
    return true;
}

static bool check_word(struct scan *s, const char *word) {
    size_t n = strlen(word);
    if (s->size - s->at < n || memcmp(s->text + s->at, word, n) != 0)
        return wrong(s, "a value is expected here");
    s->at += n;
    return true;
}

static bool enter(struct scan *s, bool object, enum state *state) {
    if (s->depth == JSON_DEPTH_MAX) return wrong(s, "this is nested too deep");
    if (s->n_containers++ == JSON_CONTAINERS_MAX) return wrong(s, "there are too many objects and arrays");
    uint64_t bit = UINT64_C(1) << s->depth++;
    s->is_object = object ? s->is_object | bit : s->is_object & ~bit;
    s->at++;
    *state = object ? FIRST_KEY : FIRST_ITEM;
    return true;
}

static bool check_value(struct scan *s, enum state *state) {
    bool first = *state == FIRST_ITEM;
    *state = AFTER;
    if (s->n_values++ == JSON_VALUES_MAX) return wrong(s, "there are too many values");
    switch (peek(s)) {
    case '{': return enter(s, true, state);
    case '[': return enter(s, false, state);
    case '"': return check_string(s, false);
    case 't': return check_word(s, "true");
    case 'f': return check_word(s, "false");
    case 'n': return check_word(s, "null");
    case '-':
    case '0' ... '9': return check_number(s);
    case ']':
        if (!first) return wrong(s, "a value is expected here");
        s->at++;
        s->depth--;
        return true;
    case -1: return wrong(s, "the text ends where a value is expected");
    default: return wrong(s, "a value is expected here");
    }
}

static bool check_key(struct scan *s, enum state *state) {
    if (*state == FIRST_KEY && peek(s) == '}') {
        s->at++;
        s->depth--;
        *state = AFTER;
        return true;
    }
    if (peek(s) != '"')
        return wrong(s, s->at == s->size ? "the text ends inside an object" : "a key in quotes is expected");
    if (!check_string(s, true)) return false;
    skip_space(s);
    if (peek(s) != ':') return wrong(s, "a ':' is expected after a key");
    s->at++;
    *state = VALUE;
    return true;
}

static bool check_after(struct scan *s, enum state *state) {
    bool object = s->is_object >> (s->depth - 1) & 1;
    int c = peek(s);
    if (c == ',') {
        s->at++;
        *state = object ? KEY : VALUE;
        return true;
    }
    if (c == (object ? '}' : ']')) {
        s->at++;
        s->depth--;
        return true;
    }
    if (c < 0) return wrong(s, object ? "the text ends inside an object" : "the text ends inside an array");
    return wrong(s, object ? "a ',' or '}' is expected here" : "a ',' or ']' is expected here");
}

bool json_check(const void *data, size_t size_bytes, size_t *ret_at, const char **ret_what) {
    struct scan s = {.text = data, .size = size_bytes};
    enum state state = VALUE;
    bool good = true;
    while (good) {
        skip_space(&s);
        if (state == AFTER && s.depth == 0) {
            if (s.at == s.size) return true;
            good = wrong(&s, "something follows the end of the value");
        } else if (state == AFTER) {
            good = check_after(&s, &state);
        } else if (state == FIRST_KEY || state == KEY) {
            good = check_key(&s, &state);
        } else {
            good = check_value(&s, &state);
        }
    }
    *ret_at = s.at;
    *ret_what = s.what;
    return false;
}
