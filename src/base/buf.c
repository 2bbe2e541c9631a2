#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/must.h"

#define BUF_ROOM_MIN 64

/* Room for size_bytes more; grows by half or more, so that appends cost constant time on average. */
static bool make_room(struct buf *b, size_t size_bytes) {
    if (b->error) return false;
    size_t cap = b->cap ? b->cap : BUF_CAP_DEFAULT;
    if (b->size > cap || size_bytes > cap - b->size) {
        b->error = ERR_LIMIT;
        return false;
    }
    size_t need = b->size + size_bytes;
    if (need <= b->room) return true;
    size_t room = b->room + b->room / 2;
    if (room < need) room = need;
    if (room < BUF_ROOM_MIN) room = BUF_ROOM_MIN;
    if (room > cap) room = cap;
    uint8_t *data = mem_realloc(b->data, room);
    if (!data) {
        b->error = ERR_NOMEM;
        return false;
    }
    b->data = data;
    b->room = room;
    return true;
}

void buf_put(struct buf *b, const void *data, size_t size_bytes) {
    if (!make_room(b, size_bytes) || size_bytes == 0) return;
    memcpy(b->data + b->size, data, size_bytes);
    b->size += size_bytes;
}

void buf_puts(struct buf *b, const char *s) {
    buf_put(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    must(n >= 0);
    /* vsnprintf ends its text with a NUL, which is not kept: room for it is needed all the same. */
    if (make_room(b, (size_t)n + 1)) {
        vsnprintf((char *)b->data + b->size, (size_t)n + 1, fmt, again);
        b->size += (size_t)n;
    }
    va_end(again);
}

static void put_le(struct buf *b, uint64_t v, size_t n_bytes) {
    uint8_t le[8];
    for (size_t i = 0; i < n_bytes; i++) le[i] = (uint8_t)(v >> (8 * i));
    buf_put(b, le, n_bytes);
}

void buf_u8(struct buf *b, uint8_t v) {
    put_le(b, v, 1);
}

void buf_u16(struct buf *b, uint16_t v) {
    put_le(b, v, 2);
}

void buf_u32(struct buf *b, uint32_t v) {
    put_le(b, v, 4);
}

void buf_u64(struct buf *b, uint64_t v) {
    put_le(b, v, 8);
}

void buf_f64(struct buf *b, double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_le(b, bits, 8);
}

uint8_t *buf_reserve(struct buf *b, size_t size_bytes) {
    if (!make_room(b, size_bytes ? size_bytes : 1)) return NULL;
    return b->data + b->size;
}

void buf_consume(struct buf *b, size_t size_bytes) {
    must(size_bytes <= b->size);
    if (size_bytes == 0) return;
    b->size -= size_bytes;
    if (b->size) memmove(b->data, b->data + size_bytes, b->size);
}

void buf_clear(struct buf *b) {
    b->size = 0;
    b->error = ERR_OK;
}

void buf_free(struct buf *b) {
    mem_free(b->data);
    *b = BUF(b->cap);
}

char *buf_take_string(struct buf *b) {
    size_t cap = b->cap;
    if (b->cap) b->cap++; /* the NUL does not count */
    buf_u8(b, 0);
    b->cap = cap;
    char *s = NULL;
    if (!b->error) s = (char *)TAKE(b->data);
    buf_free(b);
    return s;
}

struct cursor cursor_over(const void *data, size_t size_bytes) {
    return (struct cursor){.data = data, .size = size_bytes};
}

size_t cursor_left(const struct cursor *c) {
    return c->error ? 0 : c->size - c->at;
}

const uint8_t *cursor_bytes(struct cursor *c, size_t size_bytes) {
    if (c->error || size_bytes > c->size - c->at) {
        c->error = true;
        return NULL;
    }
    static const uint8_t nothing[1];
    const uint8_t *p = c->data ? c->data + c->at : nothing;
    c->at += size_bytes;
    return p;
}

static uint64_t read_le(struct cursor *c, size_t n_bytes) {
    const uint8_t *p = cursor_bytes(c, n_bytes);
    uint64_t v = 0;
    for (size_t i = 0; p && i < n_bytes; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

uint8_t cursor_u8(struct cursor *c) {
    return (uint8_t)read_le(c, 1);
}

uint16_t cursor_u16(struct cursor *c) {
    return (uint16_t)read_le(c, 2);
}

uint32_t cursor_u32(struct cursor *c) {
    return (uint32_t)read_le(c, 4);
}

uint64_t cursor_u64(struct cursor *c) {
    return read_le(c, 8);
}

double cursor_f64(struct cursor *c) {
    uint64_t bits = read_le(c, 8);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}
