#include "base/utf8.h"

/* What may follow a first byte: how many bytes in all, and the range of the second one, which is where
 * overlong forms, surrogates and numbers that are too high show. */
struct lead {
    size_t size;
    unsigned char low, high;
};

static struct lead lead_of(unsigned char c) {
    if (c < 0x80) return (struct lead){1, 0, 0};
    if (c >= 0xc2 && c <= 0xdf) return (struct lead){2, 0x80, 0xbf};
    if (c == 0xe0) return (struct lead){3, 0xa0, 0xbf};
    if (c == 0xed) return (struct lead){3, 0x80, 0x9f};
    if (c >= 0xe1 && c <= 0xef) return (struct lead){3, 0x80, 0xbf};
    if (c == 0xf0) return (struct lead){4, 0x90, 0xbf};
    if (c >= 0xf1 && c <= 0xf3) return (struct lead){4, 0x80, 0xbf};
    if (c == 0xf4) return (struct lead){4, 0x80, 0x8f};
    return (struct lead){0, 0, 0};
}

/* How many of the bytes at s belong to one well-formed beginning of a character; *ret_size is its whole size.
 */
static size_t matching(const char *s, size_t size_bytes, size_t *ret_size) {
    const unsigned char *u = (const unsigned char *)s;
    *ret_size = 0;
    if (size_bytes == 0) return 0;
    struct lead lead = lead_of(u[0]);
    *ret_size = lead.size;
    if (lead.size < 2) return lead.size;
    if (size_bytes < 2) return 1;
    if (u[1] < lead.low || u[1] > lead.high) return 0;
    size_t n = 2;
    for (; n < lead.size && n < size_bytes; n++) {
        if (u[n] < 0x80 || u[n] > 0xbf) return 0;
    }
    return n;
}

size_t utf8_char(const char *s, size_t size_bytes) {
    size_t size;
    size_t n = matching(s, size_bytes, &size);
    return n == size ? n : 0;
}

bool utf8_valid(const char *s, size_t size_bytes) {
    for (size_t at = 0; at < size_bytes;) {
        size_t n = utf8_char(s + at, size_bytes - at);
        if (n == 0) return false;
        at += n;
    }
    return true;
}

size_t utf8_cut_tail(const char *s, size_t size_bytes) {
    for (size_t tail = 1; tail <= 3 && tail <= size_bytes; tail++) {
        size_t size;
        size_t n = matching(s + size_bytes - tail, tail, &size);
        if (n == tail && n < size) return tail;
    }
    return 0;
}

size_t utf8_count(const char *s, size_t size_bytes) {
    size_t count = 0;
    for (size_t at = 0; at < size_bytes; count++) {
        size_t n = utf8_char(s + at, size_bytes - at);
        at += n ? n : 1;
    }
    return count;
}
