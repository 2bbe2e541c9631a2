#include "base/hash.h"

#include <string.h>

#include "base/mem.h"
#include "check_run.h"

static const char text[] = "The quick brown fox jumps over the lazy dog";

START_TEST(known_values) {
    char hex[HASH128_HEX_SIZE];
    hash128_hex(hash128("", 0), hex);
    ck_assert_str_eq(hex, "99aa06d3014798d86001c324468d497f"); /* XXH3's, for the empty input */
    ck_assert_uint_eq(hash64("", 0), 0x2d06800538d394c2);
}
END_TEST

START_TEST(in_pieces_as_in_one) {
    enum { SIZE = 10000 };
    static unsigned char data[SIZE];
    for (int i = 0; i < SIZE; i++) data[i] = (unsigned char)(i * 31 + i / 7);
    for (size_t piece = 1; piece < SIZE; piece = piece * 3 + 1) {
        struct hash_state *s = hash_state_new();
        ck_assert_ptr_nonnull(s);
        for (size_t at = 0; at < SIZE; at += piece)
            hash_state_add(s, data + at, SIZE - at < piece ? SIZE - at : piece);
        hash_state_add(s, NULL, 0);
        ck_assert(hash128_equal(hash_state_end128(s), hash128(data, SIZE)));
        ck_assert_uint_eq(hash_state_end64(s), hash64(data, SIZE));
        hash_state_free(s);
    }
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(hex_there_and_back) {
    char hex[HASH128_HEX_SIZE];
    struct hash128 h = hash128(text, strlen(text)), back;
    hash128_hex(h, hex);
    ck_assert_uint_eq(strlen(hex), 32);
    ck_assert(hash128_from_hex(hex, &back));
    ck_assert(hash128_equal(h, back));
    ck_assert(!hash128_is_zero(h));
    ck_assert(hash128_is_zero((struct hash128){{0}}));
}
END_TEST

START_TEST(what_is_not_a_hash_is_refused) {
    struct hash128 h;
    ck_assert(!hash128_from_hex(NULL, &h));
    ck_assert(!hash128_from_hex("", &h));
    ck_assert(!hash128_from_hex("99aa06d3014798d86001c324468d497", &h));
    ck_assert(!hash128_from_hex("99aa06d3014798d86001c324468d497f0", &h));
    ck_assert(!hash128_from_hex("99AA06d3014798d86001c324468d497f", &h));
    ck_assert(!hash128_from_hex("99aa06d3014798d86001c324468d497g", &h));
}
END_TEST

START_TEST(no_memory) {
    mem_fail_at(1);
    ck_assert_ptr_null(hash_state_new());
    hash_state_free(NULL);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {known_values, in_pieces_as_in_one, hex_there_and_back,
                                  what_is_not_a_hash_is_refused, no_memory};
    return CHECK_RUN("hash", tests);
}
