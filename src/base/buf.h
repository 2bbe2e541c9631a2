/* buf.h - a byte buffer that grows up to a cap, and a cursor that reads bytes with bounds checks.
 * After a failed append the buffer keeps what it had and remembers the error (buf_error), so a row of appends
 * needs one check at its end. Plain data; zero-initialised with BUF(cap). Thread: one at a time. */
#ifndef HOTSEAT_BASE_BUF_H
#define HOTSEAT_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

#define BUF_CAP_DEFAULT (256u << 20) /* a frame and a block of any model fit; more is a bug's doing */

struct buf {
    uint8_t *data;  /* owned */
    size_t size;    /* bytes in use */
    size_t room;    /* bytes allocated */
    size_t cap;     /* never grows beyond; 0 means BUF_CAP_DEFAULT */
    enum err error; /* the first failure: ERR_NOMEM or ERR_LIMIT */
};
#define BUF(cap_bytes) ((struct buf){.cap = (cap_bytes)})

void buf_put(struct buf *b, const void *data, size_t size_bytes);
void buf_puts(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_u8(struct buf *b, uint8_t v);
void buf_u16(struct buf *b, uint16_t v); /* little-endian, as all numbers here */
void buf_u32(struct buf *b, uint32_t v);
void buf_u64(struct buf *b, uint64_t v);
void buf_f64(struct buf *b, double v);
uint8_t *buf_reserve(struct buf *b,
                     size_t size_bytes);            /* room for that many at the end, not yet in size; NULL */
void buf_consume(struct buf *b, size_t size_bytes); /* drops bytes from the front */
void buf_clear(struct buf *b);                      /* size 0, error OK, memory kept */
void buf_free(struct buf *b);                       /* memory back; b is empty and usable */
char *buf_take_string(struct buf *b) NODISCARD; /* NUL-terminated, caller owns; NULL on buf error; b empty */

/* Reads: once a read runs past the end, error is set and every later read gives 0 / NULL. */
struct cursor {
    const uint8_t *data;
    size_t size;
    size_t at;
    bool error;
};
struct cursor cursor_over(const void *data, size_t size_bytes);
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);
double cursor_f64(struct cursor *c);
const uint8_t *cursor_bytes(struct cursor *c, size_t size_bytes); /* points into data; NULL on error */
size_t cursor_left(const struct cursor *c);

#endif
