#include "http/ident.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/utf8.h"

const char *ident_agent_wrong(const char *s, size_t size_bytes) {
    if (size_bytes == 0) return "must not be empty";
    if (size_bytes > AGENT_ID_BYTES_MAX) return "is longer than 256 bytes";
    if (!utf8_valid(s, size_bytes)) return "is not valid UTF-8";
    for (size_t i = 0; i < size_bytes; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < 0x20 || c == 0x7f) return "holds a control character";
        if (c == 0xc2 && i + 1 < size_bytes && (unsigned char)s[i + 1] < 0xa0)
            return "holds a control character";
        if (c == '/' || c == '\\') return "must not hold '/' or '\\'";
    }
    if ((size_bytes == 1 && s[0] == '.') || (size_bytes == 2 && s[0] == '.' && s[1] == '.'))
        return "must not be '.' or '..'";
    return NULL;
}

bool ident_request_ok(const char *s) {
    size_t n = 0;
    for (; s[n]; n++)
        if (n == REQUEST_ID_BYTES_MAX || s[n] <= 0x20 || s[n] >= 0x7f) return false;
    return n > 0;
}

static pthread_once_t request_once = PTHREAD_ONCE_INIT;
static _Atomic uint64_t request_counter;

/* Two servers, or one before and after a restart, should not count from the same number. */
static void request_counter_start(void) {
    int64_t start[3] = {clock_wall_ns(), clock_now_ns(), (int64_t)getpid()};
    atomic_store(&request_counter, hash64(start, sizeof start) & ~UINT64_C(0xffffffff));
}

void ident_request_make(char out[REQUEST_ID_BYTES_MAX + 1]) {
    (void)pthread_once(&request_once, request_counter_start);
    uint64_t n = atomic_fetch_add_explicit(&request_counter, 1, memory_order_relaxed);
    snprintf(out, REQUEST_ID_BYTES_MAX + 1, "req-%016llx", (unsigned long long)n);
}

#define NAME_BYTES_MAX 160 /* of one name in a header's list */

void ident_header_list_add(struct buf *list, const char *name, size_t size_bytes) {
    if (list->size >= 3 && memcmp(list->data + list->size - 3, "...", 3) == 0) return;
    if (list->size) buf_puts(list, ", ");
    if (list->size + NAME_BYTES_MAX + 5 > IGNORED_HEADER_BYTES_MAX) {
        buf_puts(list, "...");
        return;
    }
    for (size_t i = 0; i < size_bytes && i < NAME_BYTES_MAX; i++) {
        bool plain = name[i] > 0x20 && name[i] < 0x7f && name[i] != ',' && name[i] != '"';
        buf_u8(list, plain ? (uint8_t)name[i] : '?');
    }
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool ident_percent_decode(const char *s, size_t size_bytes, bool plus, struct buf *out) {
    for (size_t i = 0; i < size_bytes; i++) {
        if (s[i] == '+' && plus) {
            buf_u8(out, ' ');
        } else if (s[i] != '%') {
            buf_u8(out, (uint8_t)s[i]);
        } else {
            int high = i + 2 < size_bytes ? hex_digit(s[i + 1]) : -1;
            int low = i + 2 < size_bytes ? hex_digit(s[i + 2]) : -1;
            if (high < 0 || low < 0 || (high | low) == 0) return false;
            buf_u8(out, (uint8_t)(high << 4 | low));
            i += 2;
        }
    }
    return out->error == ERR_OK;
}
