#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

#include "check_run.h"

/* Writes a code point the plain way; the number of bytes. */
static size_t encode(uint32_t cp, char out[4]) {
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, cp >>= 6) out[i] = (char)(0x80 | (cp & 0x3f));
    out[0] = (char)((0xf0 << (4 - n)) | cp);
    return n;
}

static bool is_read_right(uint32_t cp) {
    char s[4];
    size_t n = encode(cp, s);
    if (cp >= 0xd800 && cp <= 0xdfff) return utf8_char(s, n) == 0; /* a surrogate */
    for (size_t cut = 1; cut < n; cut++)
        if (utf8_char(s, cut) != 0 || utf8_cut_tail(s, cut) != cut) return false;
    return utf8_char(s, n) == n && utf8_cut_tail(s, n) == 0;
}

START_TEST(every_code_point) {
    for (uint32_t cp = 0; cp <= 0x10ffff; cp++)
        if (!is_read_right(cp)) ck_abort_msg("U+%04X", cp); /* an assertion each would take a minute */
}
END_TEST

START_TEST(what_is_not_utf8) {
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x80\x80",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x80\x80\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xc3(",
                                      "\xe2\x82(",
                                      "\xf0\x9f\x98("};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_uint_eq(utf8_char(bad[i], strlen(bad[i])), 0);
        ck_assert(!utf8_valid(bad[i], strlen(bad[i])));
        ck_assert_uint_eq(utf8_cut_tail(bad[i], strlen(bad[i])), 0); /* more bytes do not make it good */
    }
    ck_assert(utf8_valid("", 0));
    ck_assert(utf8_valid("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 10));
    ck_assert(!utf8_valid("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98", 9));
}
END_TEST

START_TEST(tails_and_counts) {
    ck_assert_uint_eq(utf8_cut_tail("ab\xf0\x9f\x98", 5), 3);
    ck_assert_uint_eq(utf8_cut_tail("ab", 2), 0);
    ck_assert_uint_eq(utf8_cut_tail("", 0), 0);
    ck_assert_uint_eq(utf8_cut_tail("\xf0\x9f\x98\x80\xf0", 5), 1);
    ck_assert_uint_eq(utf8_count("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 10), 4);
    ck_assert_uint_eq(utf8_count("\xff\xff", 2), 2);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {every_code_point, what_is_not_utf8, tails_and_counts};
    return CHECK_RUN("utf8", tests);
}
