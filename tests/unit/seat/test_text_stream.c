#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "check_run.h"
#include "seat/text_stream.h"

/* Feeds text in pieces of `step` bytes; what came out, as a string. */
static char *run(const char *text, size_t step, const char *const *stops, bool *ret_stopped) {
    struct text_stream t;
    struct buf out = BUF(0);
    text_stream_open(&t);
    for (; stops && *stops; stops++) ck_assert(text_stream_add_stop(&t, *stops, strlen(*stops)));
    size_t size = strlen(text);
    bool stopped = false;
    for (size_t at = 0; at < size && !stopped; at += step) {
        size_t n = size - at < step ? size - at : step;
        stopped = text_stream_feed(&t, text + at, n, &out);
        ck_assert(utf8_valid(out.data ? (char *)out.data : "", out.size));
    }
    if (!stopped) text_stream_flush(&t, &out);
    ck_assert_int_eq(text_stream_error(&t), ERR_OK);
    *ret_stopped = stopped;
    text_stream_free(&t);
    char *s = buf_take_string(&out);
    buf_free(&out);
    return s;
}

static void expect(const char *text, const char *const *stops, const char *want, bool want_stop) {
    for (size_t step = 1; step <= strlen(text) + 1; step++) {
        bool stopped = false;
        char *got = run(text, step, stops, &stopped);
        ck_assert_msg(strcmp(got, want) == 0 && stopped == want_stop, "step %zu: '%s', want '%s'", step, got,
                      want);
        mem_free(got);
    }
}

START_TEST(text_goes_through) {
    expect("hello, world", NULL, "hello, world", false);
    expect("caf\xC3\xA9 \xF0\x9F\x9A\x80!", NULL, "caf\xC3\xA9 \xF0\x9F\x9A\x80!", false);
    expect("", NULL, "", false);
}
END_TEST

START_TEST(a_character_is_never_cut) {
    struct text_stream t;
    struct buf out = BUF(0);
    text_stream_open(&t);
    const char *rocket = "\xF0\x9F\x9A\x80";
    for (size_t i = 0; i < 3; i++) {
        ck_assert(!text_stream_feed(&t, rocket + i, 1, &out));
        ck_assert_uint_eq(out.size, 0);
    }
    ck_assert(!text_stream_feed(&t, rocket + 3, 1, &out));
    ck_assert_uint_eq(out.size, 4);
    text_stream_free(&t);
    buf_free(&out);
}
END_TEST

START_TEST(bytes_that_are_no_character) {
    expect("a\xFFz", NULL, "a\xEF\xBF\xBDz", false);
    expect("a\xC3", NULL, "a\xEF\xBF\xBD", false);   /* the stream ended inside a character */
    expect("a\xC3(", NULL, "a\xEF\xBF\xBD(", false); /* it can't become valid any more */
    expect("\xED\xA0\x80", NULL, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", false); /* a surrogate */
}
END_TEST

START_TEST(stop_strings) {
    static const char *const one[] = {"STOP", NULL}, *const two[] = {"</end>", "\n\n", NULL},
                             *const overlap[] = {"abcabd", "cab!", NULL},
                             *const emoji[] = {"\xF0\x9F\x9A\x80", NULL};
    expect("go on STOP and more", one, "go on ", true);
    expect("go on STO", one, "go on STO", false); /* held back, and let go at the end */
    expect("STOP", one, "", true);
    expect("SSTOP", one, "S", true);
    expect("line\n\nrest", two, "line", true);
    expect("a </en </end> b", two, "a </en ", true);
    expect("abcabcabd", overlap, "abc", true);
    expect("xcab!", overlap, "x", true);
    expect("up \xF0\x9F\x9A\x80 gone", emoji, "up ", true);
    expect("up \xF0\x9F\x99\x82 stays", emoji, "up \xF0\x9F\x99\x82 stays", false);
    expect("\xC3STOP", one, "\xEF\xBF\xBD", true);
}
END_TEST

START_TEST(the_first_stop_wins) {
    static const char *const stops[] = {"later", "now", NULL};
    expect("not now, later", stops, "not ", true);
}
END_TEST

START_TEST(which_stop_has_come) {
    static const struct {
        const char *text;
        uint32_t stopped;
    } rows[] = {{"a later b", 1},  {"a now b", 2}, {"now, later", 2},
                {"later, now", 1}, {"never", 0},   {"no", 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct text_stream t;
        struct buf out = BUF(0);
        text_stream_open(&t);
        ck_assert(text_stream_add_stop(&t, "later", 5) && text_stream_add_stop(&t, "now", 3));
        (void)text_stream_feed(&t, rows[i].text, strlen(rows[i].text), &out);
        ck_assert_msg(t.stopped == rows[i].stopped, "%s: %u", rows[i].text, t.stopped);
        text_stream_free(&t);
        buf_free(&out);
    }
}
END_TEST

START_TEST(the_table_is_bounded) {
    struct text_stream t;
    text_stream_open(&t);
    for (int i = 0; i < TEXT_STREAM_STOPS_MAX; i++) ck_assert(text_stream_add_stop(&t, "x", 1));
    ck_assert(!text_stream_add_stop(&t, "x", 1));
    ck_assert(text_stream_add_stop(&t, "", 0)); /* nothing to look for */
    text_stream_free(&t);
}
END_TEST

/* Random text and stops against the plain search in the whole text. */
START_TEST(random_against_the_whole_text) {
    unsigned seed = 7;
    for (int round = 0; round < 3000; round++) {
        char text[40] = "", a[5] = "", b[5] = "";
        size_t n = (size_t)rand_r(&seed) % 38;
        for (size_t i = 0; i < n; i++) text[i] = "abc"[rand_r(&seed) % 3];
        for (size_t i = 0; i < 1 + (size_t)rand_r(&seed) % 4; i++) a[i] = "abc"[rand_r(&seed) % 3];
        for (size_t i = 0; i < 1 + (size_t)rand_r(&seed) % 4; i++) b[i] = "abc"[rand_r(&seed) % 3];
        const char *const stops[] = {a, b, NULL};
        bool stopped = false;
        char *got = run(text, 1, stops, &stopped);
        /* Fed byte by byte, the stop that ends first is found first. */
        size_t ends = SIZE_MAX, begins = n;
        for (int i = 0; i < 2; i++) {
            const char *at = strstr(text, stops[i]);
            size_t end = at ? (size_t)(at - text) + strlen(stops[i]) : SIZE_MAX;
            if (!at || end > ends || (end == ends && (size_t)(at - text) > begins)) continue;
            ends = end;
            begins = (size_t)(at - text);
        }
        ck_assert_msg(strlen(got) == begins && memcmp(got, text, begins) == 0 &&
                          stopped == (ends != SIZE_MAX),
                      "'%s' stops '%s' '%s': '%s'", text, a, b, got);
        mem_free(got);
    }
}
END_TEST

int main(void) {
    const TTest *const tests[] = {text_goes_through,           a_character_is_never_cut,
                                  bytes_that_are_no_character, stop_strings,
                                  the_first_stop_wins,         which_stop_has_come,
                                  the_table_is_bounded,        random_against_the_whole_text};
    return CHECK_RUN("text_stream", tests);
}
