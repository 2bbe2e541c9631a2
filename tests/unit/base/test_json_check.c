#include "base/json_check.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "check_run.h"

static size_t at;
static const char *what;

static bool check(const char *text) {
    return json_check(text, strlen(text), &at, &what);
}

START_TEST(good_texts) {
    static const char *const good[] = {"0",
                                       "-0",
                                       "-1.5e+10",
                                       "1E-2",
                                       "true",
                                       " null ",
                                       "\"\"",
                                       "[]",
                                       "{}",
                                       "[[],{}]",
                                       "{\"a\":{\"b\":[1,2]},\"c\":\"d\"}",
                                       "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uD83D\\ude00\"",
                                       "\"\xf0\x9f\x98\x80\x7f\"",
                                       "\t[ 1 , 2 ]\r\n",
                                       "{\"\":0}"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        ck_assert_msg(check(good[i]), "%s: %s", good[i], what);
}
END_TEST

static void refuses(const char *text, size_t place, const char *words) {
    ck_assert_msg(!check(text), "%s is taken", text);
    ck_assert_msg(at == place, "%s: at %zu, not %zu", text, at, place);
    ck_assert_msg(strstr(what, words) != NULL, "%s: %s", text, what);
}

START_TEST(bad_texts_and_their_places) {
    refuses("", 0, "ends where a value");
    refuses("  ", 2, "ends where a value");
    refuses("[1,]", 3, "value is expected");
    refuses("[1 2]", 3, "',' or ']'");
    refuses("[,1]", 1, "value is expected");
    refuses("[", 1, "ends where a value");
    refuses("[1", 2, "ends inside an array");
    refuses("[1}", 2, "',' or ']'");
    refuses("{", 1, "ends inside an object");
    refuses("{\"a\"", 4, "':'");
    refuses("{\"a\":", 5, "ends where a value");
    refuses("{\"a\":1", 6, "ends inside an object");
    refuses("{\"a\":1,}", 7, "key in quotes");
    refuses("{\"a\":1 \"b\":2}", 7, "',' or '}'");
    refuses("{a:1}", 1, "key in quotes");
    refuses("{\"a\":1]", 6, "',' or '}'");
    refuses("{\"a\":}", 5, "value is expected");
    refuses("]", 0, "value is expected");
    refuses("1 1", 2, "follows the end");
    refuses("{}x", 2, "follows the end");
    refuses("tru", 0, "value is expected");
    refuses("nulL", 0, "value is expected");
    refuses("'a'", 0, "value is expected");
    refuses("01", 1, "begin with 0");
    refuses("-", 1, "digit is missing");
    refuses("+1", 0, "value is expected");
    refuses("1.", 2, "digit is missing");
    refuses(".5", 0, "value is expected");
    refuses("1e", 2, "digit is missing");
    refuses("1e+", 3, "digit is missing");
    refuses("NaN", 0, "value is expected");
    refuses("\"abc", 4, "ends inside a string");
    refuses("\"a\nb\"", 2, "control character");
    refuses("\"\\x\"", 2, "may not follow a backslash");
    refuses("\"\\", 2, "may not follow a backslash");
    refuses("\"\\u12g4\"", 5, "four hex digits");
    refuses("\"\\ud800\"", 1, "surrogate");
    refuses("\"a\\udc00\"", 2, "surrogate");
    refuses("\"\\ud800\\u0041\"", 1, "surrogate");
    refuses("\"\\ud800\\n\"", 1, "surrogate");
    refuses("\"\xff\"", 1, "UTF-8");
    refuses("\"\xed\xa0\x80\"", 1, "UTF-8");
    refuses("\xef\xbb\xbf{}", 0, "value is expected"); /* a byte order mark */
    refuses("{\"\\u0000\":1}", 2, "\\u0000");
}
END_TEST

START_TEST(nul_bytes_are_no_end) {
    ck_assert(!json_check("1\0", 2, &at, &what));
    ck_assert_uint_eq(at, 1);
    ck_assert(!json_check("[1]\0[2]", 7, &at, &what));
    ck_assert_uint_eq(at, 3);
    ck_assert(!json_check("\"\\\0\"", 4, &at, &what));
    ck_assert_uint_eq(at, 2);
}
END_TEST

START_TEST(depth_is_bounded) {
    char text[4 * JSON_DEPTH_MAX + 1] = "";
    for (int i = 0; i < JSON_DEPTH_MAX; i++) text[i] = '[';
    for (int i = 0; i < JSON_DEPTH_MAX; i++) text[JSON_DEPTH_MAX + i] = ']';
    ck_assert(check(text));
    memset(text, '[', sizeof text - 1);
    refuses(text, JSON_DEPTH_MAX, "too deep");
    static char million[1000000];
    memset(million, '[', sizeof million);
    ck_assert(!json_check(million, sizeof million, &at, &what));
    ck_assert_uint_eq(at, JSON_DEPTH_MAX);
}
END_TEST

/* Objects and arrays keep apart at every level. */
START_TEST(brackets_match_at_the_deepest_level) {
    char text[1000] = "";
    size_t n = 0;
    for (int i = 0; i < JSON_DEPTH_MAX / 2; i++) n += (size_t)sprintf(text + n, "[{\"k\":");
    n += (size_t)sprintf(text + n, "0");
    for (int i = 0; i < JSON_DEPTH_MAX / 2; i++) n += (size_t)sprintf(text + n, "}]");
    ck_assert(check(text));
    text[n - 2] = ']';
    ck_assert(!check(text));
    ck_assert_uint_eq(at, n - 2);
}
END_TEST

/* "[x,x,...]" with n items. */
static bool many(const char *item, size_t n) {
    size_t size = strlen(item), end = 0;
    char *text = malloc(n * (size + 1) + 2);
    ck_assert_ptr_nonnull(text);
    text[end++] = '[';
    for (size_t i = 0; i < n; i++) {
        memcpy(text + end, item, size);
        end += size;
        text[end++] = i + 1 < n ? ',' : ']';
    }
    bool good = json_check(text, end, &at, &what);
    free(text);
    return good;
}

START_TEST(what_the_tree_would_take_is_bounded) {
    ck_assert(many("1", 1000000)); /* a million prompt ids */
    ck_assert(!many("1", JSON_VALUES_MAX));
    ck_assert_str_eq(what, "there are too many values");
    ck_assert(many("{}", 100000));
    ck_assert(!many("{}", JSON_CONTAINERS_MAX));
    ck_assert_str_eq(what, "there are too many objects and arrays");
    ck_assert_uint_eq(at, 1 + 3 * (JSON_CONTAINERS_MAX - 1));
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        good_texts,       bad_texts_and_their_places,          nul_bytes_are_no_end,
        depth_is_bounded, brackets_match_at_the_deepest_level, what_the_tree_would_take_is_bounded};
    return CHECK_RUN("json_check", tests);
}
