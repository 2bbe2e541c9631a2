/* Which tokens a text is of: through half characters, stop strings and the picking of content out of a chat. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "check_run.h"
#include "link/token_probs.h"
#include "seat/shown.h"
#include "seat/text_stream.h"

static char told[8192]; /* "0@5 1@5 | 2- |": token at place, token never; a bar after each feed */

static void tell(struct shown *s) {
    size_t at = strlen(told);
    for (uint32_t i = 0; i < s->pairs.n; i += 2) {
        if (s->pairs.ids[i + 1] == SHOWN_NEVER)
            at += (size_t)snprintf(told + at, sizeof told - at, "%d- ", s->pairs.ids[i]);
        else
            at +=
                (size_t)snprintf(told + at, sizeof told - at, "%d@%d ", s->pairs.ids[i], s->pairs.ids[i + 1]);
    }
    snprintf(told + at, sizeof told - at, "|");
    shown_clear(s);
}

/* Pieces end with NULL; the stream ends after them. */
static void text(const char *stop, uint64_t prompt_chars, const char *const *pieces) {
    struct text_stream t;
    struct shown s;
    struct buf out = BUF(0);
    bool stopped = false;
    text_stream_open(&t);
    if (stop) ck_assert(text_stream_add_stop(&t, stop, strlen(stop)));
    shown_open(&s, prompt_chars);
    told[0] = '\0';
    for (uint32_t i = 0; pieces[i] && !stopped; i++) {
        ck_assert_int_eq(shown_feed(&s, i, pieces[i], strlen(pieces[i])), ERR_OK);
        stopped = text_stream_feed(&t, pieces[i], strlen(pieces[i]), &out);
        if (!pieces[i + 1] && !stopped) text_stream_flush(&t, &out);
        shown_release(&s, t.released);
        ck_assert_int_eq(shown_as_text(&s), ERR_OK);
        ck_assert_uint_eq(s.n_text, out.size);
        tell(&s);
    }
    shown_free(&s);
    text_stream_free(&t);
    buf_free(&out);
}
#define TEXT(stop, prompt_chars, ...) text(stop, prompt_chars, (const char *const[]){__VA_ARGS__, NULL})

START_TEST(a_token_stands_where_its_first_character_does) {
    TEXT(NULL, 10, "Hel", "lo", " w\xC3\xB6rld", "", "!");
    ck_assert_str_eq(told, "0@10 |1@13 |2@15 ||4@21 |");
}
END_TEST

START_TEST(tokens_of_one_character_come_with_it) {
    TEXT(NULL, 0, "a", "\xF0", "\x9F\x99", "\x82", "b");
    ck_assert_str_eq(told, "0@0 |||1@1 2@1 3@1 |4@2 |");
    TEXT(NULL, 0, "a\xF0",
         "\x9F\x99\x82"
         "b",
         "c"); /* shown with its first character */
    ck_assert_str_eq(told, "0@0 |1@1 |2@3 |");
}
END_TEST

START_TEST(what_is_no_character_counts_as_one) {
    TEXT(NULL, 0, "\xF0", "\x9F", "x");
    ck_assert_str_eq(told, "||0@0 1@1 2@2 |");
    TEXT(NULL, 0, "x", "\xF0\x9F"); /* the end comes first */
    ck_assert_str_eq(told, "0@0 |1@1 |");
}
END_TEST

START_TEST(what_a_stop_string_cuts_off_is_not_shown) {
    TEXT("END", 0, "one", " E", "N", "D");
    ck_assert_str_eq(told, "0@0 |1@3 |||"); /* " E" has text before it */
    TEXT("END", 0, "one", "E", "N", "D");
    ck_assert_str_eq(told, "0@0 ||||");
    TEXT("END", 0, "one", "E", "N", "d");
    ck_assert_str_eq(told, "0@0 |||1@3 2@4 3@5 |");
    TEXT("END", 0, "one END two", "x");
    ck_assert_str_eq(told, "0@0 |");
}
END_TEST

/* A parser for tests: `step` says which parts of the text it has found. */
struct step {
    const char *piece, *content, *reasoning;
    bool others;
};

static void chat(const struct step *steps, size_t n) {
    struct shown s;
    struct buf said = BUF(0);
    shown_open(&s, 0);
    told[0] = '\0';
    for (uint32_t i = 0; i < n; i++) {
        struct buf content = BUF(0), reasoning = BUF(0);
        const char *piece = steps[i].piece;
        ck_assert_int_eq(shown_feed(&s, i, piece, strlen(piece)), ERR_OK);
        buf_puts(&said, piece);
        shown_release(&s, said.size);
        if (steps[i].content) buf_puts(&content, steps[i].content);
        if (steps[i].reasoning) buf_puts(&reasoning, steps[i].reasoning);
        ck_assert_int_eq(shown_in_chat(&s, &said, &content, &reasoning, steps[i].others), ERR_OK);
        tell(&s);
        buf_free(&content);
        buf_free(&reasoning);
    }
    shown_free(&s);
    buf_free(&said);
}
#define HELD(piece)                                                                                          \
    { piece, NULL, NULL, false }
#define SAYS(piece, content)                                                                                 \
    { piece, content, NULL, false }
#define THINKS(piece, reasoning)                                                                             \
    { piece, NULL, reasoning, false }
#define BOTH(piece, content, reasoning)                                                                      \
    { piece, content, reasoning, false }
#define CALLS(piece)                                                                                         \
    { piece, NULL, NULL, true }
#define CHAT(...) chat((const struct step[]){__VA_ARGS__}, ARRAY_LEN(((const struct step[]){__VA_ARGS__})))

START_TEST(content_goes_on) {
    CHAT(SAYS("Hi", "Hi"), SAYS(" there", " there"), SAYS("!", "!"));
    ck_assert_str_eq(told, "0@0 |1@2 |2@8 |");
}
END_TEST

START_TEST(thoughts_and_marks_are_not_shown) {
    CHAT(HELD("<think>"), THINKS("hm", "hm"), THINKS(", yes", ", yes"), HELD("</think>"), HELD("\n\n"),
         SAYS("yes", "yes"), SAYS(", hm", ", hm"));
    ck_assert_str_eq(told, "|0- 1- |2- |||3- 4- 5@24 |6@27 |");
    CHAT(HELD("<think>"), THINKS("hm", "hm"), HELD("</think>"), SAYS("i", "i")); /* the mark has an i too */
    ck_assert_str_eq(told, "|0- 1- ||2- 3@17 |");
}
END_TEST

START_TEST(tool_calls_are_not_shown) {
    CHAT(SAYS("I look.", "I look."), HELD(" "), HELD("<tool_call>"), CALLS("{\"name\": \"f\""),
         CALLS(", \"a\"}"), HELD("</tool_call>"), SAYS("done", "done"));
    ck_assert_str_eq(told, "0@0 |||1- 2- 3- |4- ||5- 6@49 |");
}
END_TEST

START_TEST(what_the_parser_held_back_comes_later) {
    CHAT(SAYS("a", "a"), HELD("<"), HELD("tool"), SAYS("box>", "<toolbox>"));
    ck_assert_str_eq(told, "0@0 |||1@1 2@2 3@6 |");
    CHAT(SAYS("x <", "x "), SAYS("b>", "<b>")); /* a token of two pieces comes with the first */
    ck_assert_str_eq(told, "0@0 |1@3 |");
    CHAT(HELD("</think>"), SAYS("a<", "a"), SAYS("too", "<too")); /* held back behind a mark */
    ck_assert_str_eq(told, "|0- 1@8 |2@10 |");
}
END_TEST

START_TEST(both_in_one_step) {
    CHAT(HELD("<think>"), BOTH("so</think>so", "so", "so"));
    ck_assert_str_eq(told, "|0- 1@7 |");
    CHAT(HELD("<think>"), THINKS("so", "so"), SAYS("</think>so", "so"));
    ck_assert_str_eq(told, "|0- 1- |2@9 |");
}
END_TEST

START_TEST(a_rewritten_piece_is_all_that_is_left) {
    CHAT(HELD("ab"), SAYS("cd", "xyz"), SAYS("e", "e"));
    ck_assert_str_eq(told, "|0@0 1@2 |2@4 |");
}
END_TEST

/* Random pieces of random characters, with a stop: every token that is shown stands where its bytes are. */
START_TEST(random_pieces) {
    static const char chars[] = "ab\xC3\xA9\xF0\x9F\x99\x82S"; /* cut anywhere */
    unsigned seed = 5;
    for (int round = 0; round < 3000; round++) {
        char piece[12][6] = {""};
        struct text_stream t;
        struct shown s;
        struct buf out = BUF(0), raw = BUF(0);
        uint64_t raw_at[12];
        int place[12], n = 1 + rand_r(&seed) % 12;
        bool stopped = false;
        text_stream_open(&t);
        ck_assert(text_stream_add_stop(&t, "SaS", 3));
        shown_open(&s, 0);
        for (int i = 0; i < n; i++) place[i] = -2;
        for (int i = 0; i < n && !stopped; i++) {
            size_t from = (size_t)rand_r(&seed) % (sizeof chars - 1), size = 1 + (size_t)rand_r(&seed) % 3;
            if (from + size > sizeof chars - 1) size = sizeof chars - 1 - from;
            memcpy(piece[i], chars + from, size);
            raw_at[i] = raw.size;
            buf_put(&raw, piece[i], size);
            ck_assert_int_eq(shown_feed(&s, (uint32_t)i, piece[i], size), ERR_OK);
            stopped = text_stream_feed(&t, piece[i], size, &out);
            if (i + 1 == n && !stopped) text_stream_flush(&t, &out);
            shown_release(&s, t.released);
            ck_assert_int_eq(shown_as_text(&s), ERR_OK);
            for (uint32_t k = 0; k < s.pairs.n; k += 2) {
                ck_assert_int_eq(place[s.pairs.ids[k]], -2); /* once */
                place[s.pairs.ids[k]] = s.pairs.ids[k + 1];
                ck_assert_uint_lt((uint64_t)s.pairs.ids[k + 1], utf8_count((char *)out.data, out.size));
            }
            shown_clear(&s);
        }
        for (int i = 0; i < n && piece[i][0]; i++) {
            ck_assert_int_eq(place[i] >= 0, raw_at[i] < t.released);
            if (place[i] < 0) continue;
            size_t chars_before =
                0; /* whole characters, and bytes that are none, that begin before the token's first byte */
            for (uint64_t at = 0; at < t.released;) {
                size_t size = utf8_char((char *)raw.data + at, t.released - at);
                at += size ? size : 1;
                if (at > raw_at[i]) break;
                chars_before++;
            }
            ck_assert_uint_eq(chars_before, (size_t)place[i]);
        }
        shown_free(&s);
        text_stream_free(&t);
        buf_free(&out);
        buf_free(&raw);
    }
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(no_memory_is_said) {
    for (int64_t n = 1; n <= 3; n++) {
        struct shown s;
        shown_open(&s, 0);
        mem_fail_at(n);
        enum err err = shown_feed(&s, 0, "ab", 2);
        if (!err) {
            shown_release(&s, 2);
            err = shown_as_text(&s);
        }
        mem_fail_at(0);
        ck_assert_int_eq(err, ERR_NOMEM);
        shown_free(&s);
    }
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {a_token_stands_where_its_first_character_does,
                                  tokens_of_one_character_come_with_it,
                                  what_is_no_character_counts_as_one,
                                  what_a_stop_string_cuts_off_is_not_shown,
                                  content_goes_on,
                                  thoughts_and_marks_are_not_shown,
                                  tool_calls_are_not_shown,
                                  what_the_parser_held_back_comes_later,
                                  both_in_one_step,
                                  a_rewritten_piece_is_all_that_is_left,
                                  random_pieces,
                                  no_memory_is_said};
    return CHECK_RUN("shown", tests);
}
