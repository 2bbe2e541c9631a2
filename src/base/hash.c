#include "base/hash.h"

#include <string.h>

#define XXH_STATIC_LINKING_ONLY /* for the size of the state: it is allocated by mem_alloc */
#include <xxhash.h>

#include "base/mem.h"
#include "base/must.h"

/* XXH3_state_t wants 64-byte alignment, which malloc does not promise: the state is placed inside a larger
 * piece. */
#define STATE_ALIGN 64

struct hash_state {
    XXH3_state_t *xxh; /* points into room */
    uint8_t room[sizeof(XXH3_state_t) + STATE_ALIGN];
};

static struct hash128 digest_of(XXH128_hash_t h) {
    XXH128_canonical_t canonical;
    struct hash128 ret;
    XXH128_canonicalFromHash(&canonical, h);
    memcpy(ret.b, canonical.digest, sizeof ret.b);
    return ret;
}

uint64_t hash64(const void *data, size_t size_bytes) {
    return XXH3_64bits(data, size_bytes);
}

struct hash128 hash128(const void *data, size_t size_bytes) {
    return digest_of(XXH3_128bits(data, size_bytes));
}

bool hash128_equal(struct hash128 a, struct hash128 b) {
    return memcmp(a.b, b.b, sizeof a.b) == 0;
}

bool hash128_is_zero(struct hash128 a) {
    return hash128_equal(a, (struct hash128){{0}});
}

void hash128_hex(struct hash128 h, char out[HASH128_HEX_SIZE]) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof h.b; i++) {
        out[2 * i] = digits[h.b[i] >> 4];
        out[2 * i + 1] = digits[h.b[i] & 15];
    }
    out[HASH128_HEX_SIZE - 1] = '\0';
}

static int digit_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

bool hash128_from_hex(const char *hex, struct hash128 *ret) {
    struct hash128 h;
    if (!hex || strlen(hex) != HASH128_HEX_SIZE - 1) return false;
    for (size_t i = 0; i < sizeof h.b; i++) {
        int high = digit_value(hex[2 * i]), low = digit_value(hex[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        h.b[i] = (uint8_t)(high << 4 | low);
    }
    *ret = h;
    return true;
}

struct hash_state *hash_state_new(void) {
    struct hash_state *s = mem_alloc(sizeof *s);
    if (!s) return NULL;
    size_t past = (uintptr_t)s->room % STATE_ALIGN;
    s->xxh = (XXH3_state_t *)(void *)(s->room + (past ? STATE_ALIGN - past : 0));
    must(XXH3_128bits_reset(s->xxh) == XXH_OK);
    return s;
}

void hash_state_free(struct hash_state *s) {
    mem_free(s);
}

void hash_state_add(struct hash_state *s, const void *data, size_t size_bytes) {
    if (size_bytes == 0) return;
    must(XXH3_128bits_update(s->xxh, data, size_bytes) == XXH_OK);
}

uint64_t hash_state_end64(const struct hash_state *s) {
    return XXH3_64bits_digest(s->xxh);
}

struct hash128 hash_state_end128(const struct hash_state *s) {
    return digest_of(XXH3_128bits_digest(s->xxh));
}
