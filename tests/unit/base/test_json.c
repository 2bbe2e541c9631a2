#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "check_run.h"

static struct json_error error;

static struct json *read_text(const char *text) {
    return json_read(text, strlen(text), &error);
}

START_TEST(values_and_their_types) {
    AUTO(json_freep)
    struct json *j = read_text("{\"s\":\"x\\u0000y\",\"i\":-7,\"r\":2.5,\"w\":3.0,\"t\":true,\"f\":false,"
                               "\"n\":null,\"a\":[1,[2]],\"o\":{}}");
    size_t size;
    ck_assert_ptr_nonnull(j);
    ck_assert_int_eq(json_type(j), JSON_OBJECT);
    ck_assert_uint_eq(json_count(j), 9);
    ck_assert_mem_eq(json_string(json_get(j, "s"), &size), "x\0y", 3);
    ck_assert_uint_eq(size, 3);
    ck_assert_int_eq(json_int(json_get(j, "i"), 0), -7);
    ck_assert_double_eq(json_number(json_get(j, "i"), 0), -7.0);
    ck_assert_double_eq(json_number(json_get(j, "r"), 0), 2.5);
    ck_assert_int_eq(json_int(json_get(j, "r"), 99), 99);
    ck_assert_int_eq(json_int(json_get(j, "w"), 0), 3);
    ck_assert_int_eq(json_type(json_get(j, "w")), JSON_REAL);
    ck_assert(json_bool(json_get(j, "t"), false));
    ck_assert(!json_bool(json_get(j, "f"), true));
    ck_assert_int_eq(json_type(json_get(j, "n")), JSON_NULL);
    ck_assert_int_eq(json_int(json_at(json_at(json_get(j, "a"), 1), 0), 0), 2);
    ck_assert_uint_eq(json_count(json_get(j, "o")), 0);
}
END_TEST

START_TEST(what_is_not_there_gives_the_default) {
    AUTO(json_freep) struct json *j = read_text("[\"x\"]");
    ck_assert_int_eq(json_type(NULL), JSON_NONE);
    ck_assert_ptr_null(json_get(j, "a"));
    ck_assert_ptr_null(json_get(json_get(NULL, "a"), "b"));
    ck_assert_ptr_null(json_at(j, 1));
    ck_assert_ptr_null(json_at(json_at(j, 0), 0));
    ck_assert_ptr_null(json_string(j, NULL));
    ck_assert_int_eq(json_int(json_at(j, 0), 5), 5);
    ck_assert(json_bool(NULL, true));
    ck_assert_double_eq(json_number(NULL, 1.5), 1.5);
    ck_assert_uint_eq(json_count(NULL), 0);
    ck_assert_uint_eq(json_count(json_at(j, 0)), 0);
    void *iter = NULL;
    const char *key;
    const struct json *value;
    ck_assert(!json_next(j, &iter, &key, &value));
    ck_assert_str_eq(json_type_name(json_type(j)), "an array");
    ck_assert_str_eq(json_type_name((enum json_type)99), "?");
}
END_TEST

START_TEST(integers_at_the_edge) {
    AUTO(json_freep)
    struct json *j = read_text(
        "[9223372036854775807,-9223372036854775808,9.223372036854775807e18,-9.223372036854775808e18,1e300]");
    ck_assert_int_eq(json_int(json_at(j, 0), 0), INT64_MAX);
    ck_assert_int_eq(json_int(json_at(j, 1), 0), INT64_MIN);
    ck_assert_int_eq(json_int(json_at(j, 2), 1), 1); /* rounds to 2^63, which does not fit */
    ck_assert_int_eq(json_int(json_at(j, 3), 0), INT64_MIN);
    ck_assert_int_eq(json_int(json_at(j, 4), 1), 1);
}
END_TEST

static void refuses(const char *text, int line, int column, size_t at_byte, const char *words) {
    ck_assert_ptr_null(read_text(text));
    ck_assert_msg(error.line == line && error.column == column && error.at_byte == at_byte,
                  "%s: %s, byte %zu", text, error.text, error.at_byte);
    ck_assert_msg(strstr(error.text, words) != NULL, "%s: %s", text, error.text);
}

START_TEST(errors_say_where) {
    refuses("{\"a\":1,\n  \"b\" 2}", 2, 7, 14, "line 2, column 7: a ':' is expected");
    refuses("[\"\xc3\xa4\xf0\x9f\x98\x80\", x]", 1, 8, 11,
            "a value is expected"); /* columns are characters, bytes are bytes */
    refuses("", 1, 1, 0, "ends where a value");
    refuses("\n\n[", 3, 2, 3, "ends");
    refuses("[\"\\ud800\"]", 1, 3, 2, "surrogate");
    ck_assert_ptr_null(json_read(NULL, 0, NULL)); /* nobody asks why */
    ck_assert_ptr_null(read_text("{\"k\":1,\"x\":{\"k\":1},\"k\":2}"));
    ck_assert_ptr_nonnull(strstr(error.text, "twice"));
    ck_assert_ptr_null(read_text("[1,\n123456789012345678901234567890]"));
    ck_assert_int_eq(error.line, 2);
    ck_assert_ptr_nonnull(strstr(error.text, "out of range"));
    ck_assert_ptr_null(read_text("[1e999]"));
    ck_assert_ptr_nonnull(strstr(error.text, "out of range"));
}
END_TEST

START_TEST(depth_is_ours_not_the_library_s) {
    char text[2 * JSON_DEPTH_MAX + 3];
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    struct json *j = json_read(text, 2 * JSON_DEPTH_MAX, &error);
    ck_assert_ptr_nonnull(j);
    struct buf b = BUF(0);
    ck_assert_int_eq(json_dump(j, &b), ERR_OK); /* and can be written */
    ck_assert_uint_eq(b.size, 2 * JSON_DEPTH_MAX);
    buf_free(&b);
    json_free(j);
    memset(text, '[', JSON_DEPTH_MAX + 1);
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    ck_assert_ptr_null(json_read(text, 2 * JSON_DEPTH_MAX + 2, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "too deep"));
}
END_TEST

START_TEST(dump_is_compact_and_keeps_the_order) {
    static const char *const texts[] = {
        ("{\"z\":1,\"a\":[],\"m\":{\"k\":null},\"b\":[true,false,\"\\u0000\\\"\\\\\\n\xf0\x9f\x98\x80\"],"
         "\"r\":0.1,\"w\":1.0,\"e\":1e+300}"),
        "-9223372036854775808",
        "\"\"",
        "[[],[{}]]",
        "null",
        "2.5"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        AUTO(json_freep) struct json *j = read_text(texts[i]);
        struct buf b = BUF(0);
        ck_assert_int_eq(json_dump(j, &b), ERR_OK);
        char *s = buf_take_string(&b);
        ck_assert_str_eq(s, texts[i]);
        mem_free(s);
    }
}
END_TEST

START_TEST(walking_an_object) {
    AUTO(json_freep) struct json *j = read_text("{\"c\":1,\"a\":2,\"b\":3}");
    void *iter = NULL;
    const char *key;
    const struct json *value;
    char keys[8] = "";
    int64_t sum = 0;
    while (json_next(j, &iter, &key, &value)) {
        strcat(keys, key);
        sum = sum * 10 + json_int(value, 0);
    }
    ck_assert_str_eq(keys, "cab");
    ck_assert_int_eq(sum, 123);
}
END_TEST

/* The n-th allocation fails, for n = 1, 2, 3 ... until all is well: never a crash, never a leak. */
START_TEST(torture) {
    static const char text[] = "{\"a\":[1,2.5,\"x\",{\"b\":null}],\"c\":\"a longer string that needs a "
                               "buffer of its own, surely\",\"d\":{}}";
    json_free(read_text("1")); /* what the library sets up once */
    int64_t before = mem_live_count();
    bool done = false;
    for (int64_t n = 1; !done; n++) {
        ck_assert_int_lt(n, 10000);
        struct buf b = BUF(0);
        mem_fail_at(n);
        struct json *j = read_text(text);
        enum err err = j ? json_dump(j, &b) : ERR_NOMEM;
        mem_fail_at(0);
        if (!j) ck_assert_ptr_nonnull(strstr(error.text, "not enough memory"));
        done = !err;
        if (done) ck_assert_uint_eq(b.size, sizeof text - 1);
        json_free(j);
        buf_free(&b);
        ck_assert_int_eq(mem_live_count(), before);
    }
}
END_TEST

/* A valid text with one byte changed: refused with a place inside it, or taken and written again without harm. */
START_TEST(every_byte_changed) {
    static const char text[] =
        "{\"a\":[1,-2.5e3,\"x\\u00e4\\ud83d\\ude00\xc3\xa4\",{\"b\":null}],\"c\":[true,false],\"d\":{}}";
    for (size_t i = 0; i < sizeof text - 1; i++) {
        for (int v = 0; v < 256; v++) {
            char *copy = malloc(sizeof text - 1); /* exactly as large: ASan watches */
            memcpy(copy, text, sizeof text - 1);
            copy[i] = (char)v;
            struct json *j = json_read(copy, sizeof text - 1, &error);
            struct buf b = BUF(0);
            if (j) {
                ck_assert_int_eq(json_dump(j, &b), ERR_OK);
            } else {
                ck_assert_uint_le(error.at_byte, sizeof text - 1);
                ck_assert_int_ge(error.line, 1);
            }
            buf_free(&b);
            json_free(j);
            free(copy);
        }
    }
}
END_TEST

int main(void) {
    const TTest *const tests[] = {values_and_their_types,
                                  what_is_not_there_gives_the_default,
                                  integers_at_the_edge,
                                  errors_say_where,
                                  depth_is_ours_not_the_library_s,
                                  dump_is_compact_and_keeps_the_order,
                                  walking_an_object,
                                  torture,
                                  every_byte_changed};
    return CHECK_RUN("json", tests);
}
