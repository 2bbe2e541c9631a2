/* hash.h - XXH3 (xxHash library), 64 and 128 bits, one-shot and in pieces. Not cryptographic: an index, never a
 * proof; whoever trusts a hit compares the bytes. Byte order of the digests is big-endian ("canonical"). */
#ifndef HOTSEAT_BASE_HASH_H
#define HOTSEAT_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

struct hash128 {
    uint8_t b[16];
};
#define HASH128_HEX_SIZE 33 /* with NUL */

uint64_t hash64(const void *data, size_t size_bytes);
struct hash128 hash128(const void *data, size_t size_bytes);
bool hash128_equal(struct hash128 a, struct hash128 b);
bool hash128_is_zero(struct hash128 a);
void hash128_hex(struct hash128 h, char out[HASH128_HEX_SIZE]);
bool hash128_from_hex(const char *hex, struct hash128 *ret); /* exactly 32 lower-case digits */

struct hash_state;                                 /* opaque */
struct hash_state *hash_state_new(void) NODISCARD; /* NULL: no memory */
void hash_state_free(struct hash_state *s);
void hash_state_add(struct hash_state *s, const void *data, size_t size_bytes);
uint64_t hash_state_end64(const struct hash_state *s);
struct hash128 hash_state_end128(const struct hash_state *s);

#endif
