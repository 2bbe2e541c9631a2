#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "check_run.h"

static struct buf b;
static struct json_out w;

static void begin(void) {
    b = BUF(0);
    w = json_out_into(&b);
}

static void is(const char *expected) {
    char *s = buf_take_string(&b);
    ck_assert_str_eq(s, expected);
    mem_free(s);
    begin();
}

START_TEST(commas_and_nesting) {
    begin();
    json_obj(&w);
    json_key(&w, "a");
    json_arr(&w);
    json_i64(&w, -1);
    json_u64(&w, UINT64_MAX);
    json_arr(&w);
    json_end(&w);
    json_obj(&w);
    json_end(&w);
    json_null(&w);
    json_end(&w);
    json_key(&w, "b");
    json_boolean(&w, true);
    json_key(&w, "c");
    json_raw(&w, "[1]", 3);
    json_key(&w, "d");
    json_str(&w, NULL);
    json_key(&w, "e");
    json_strn(&w, "a\0b", 3);
    json_end(&w);
    is("{\"a\":[-1,18446744073709551615,[],{},null],\"b\":true,\"c\":[1],\"d\":null,\"e\":\"a\\u0000b\"}");
}
END_TEST

START_TEST(strings) {
    begin();
    json_str(&w, "q\" b\\ n\n r\r t\t \x01 \x7f /");
    is("\"q\\\" b\\\\ n\\n r\\r t\\t \\u0001 \x7f /\"");
    json_str(&w, "\xc3\xa4\xf0\x9f\x98\x80");
    is("\"\xc3\xa4\xf0\x9f\x98\x80\"");
    json_str(&w, "a\xff"
                 "b\xc3");
    is("\"a\xef\xbf\xbd"
       "b\xef\xbf\xbd\"");
    json_str(&w, "");
    is("\"\"");
}
END_TEST

static void number(double v, const char *expected) {
    json_f64(&w, v);
    is(expected);
}

START_TEST(numbers) {
    begin();
    number(0, "0.0");
    number(1, "1.0");
    number(0.1, "0.1");
    number(-2.5, "-2.5");
    number(1e300, "1e+300");
    number(123456789, "123456789.0");
    number(NAN, "null");
    number(INFINITY, "null");
    number(-INFINITY, "null");
    double edges[] = {DBL_MAX, DBL_MIN, DBL_EPSILON, 1.0 / 3, 4e-324, -0.0, 0x1p53 + 2, 1e21, 5e-7};
    srand(7);
    for (int i = 0; i < 20000; i++) {
        double v = i < (int)ARRAY_LEN(edges)
                       ? edges[i]
                       : ((double)rand() / RAND_MAX - 0.5) * pow(10, rand() % 600 - 300);
        json_f64(&w, v);
        struct json *j = json_read(b.data, b.size, NULL);
        ck_assert_int_eq(json_type(j), JSON_REAL);
        double back = json_number(j, NAN);
        ck_assert_msg(memcmp(&back, &v, sizeof v) == 0, "%.17g is written %.*s", v, (int)b.size,
                      (char *)b.data);
        json_free(j);
        buf_free(&b);
        begin();
    }
}
END_TEST

START_TEST(sixty_four_levels) {
    begin();
    for (int i = 0; i < 64; i++) {
        if (i % 2) json_key(&w, "k");
        if (i % 2)
            json_arr(&w);
        else
            json_obj(&w);
    }
    for (int i = 0; i < 64; i++) json_end(&w);
    struct json *j = json_read(b.data, b.size, NULL);
    ck_assert_ptr_nonnull(j);
    json_free(j);
    buf_free(&b);
}
END_TEST

static void key_in_array(void) {
    begin();
    json_arr(&w);
    json_key(&w, "a");
}

static void value_without_key(void) {
    begin();
    json_obj(&w);
    json_i64(&w, 1);
}

static void end_of_nothing(void) {
    begin();
    json_end(&w);
}

static void too_deep(void) {
    begin();
    for (int i = 0; i < 65; i++) json_arr(&w);
}

START_TEST(misuse_is_a_bug) {
    ck_assert(check_aborts(key_in_array));
    ck_assert(check_aborts(value_without_key));
    ck_assert(check_aborts(end_of_nothing));
    ck_assert(check_aborts(too_deep));
}
END_TEST

START_TEST(a_full_buffer_is_found_at_the_end) {
    b = BUF(4);
    w = json_out_into(&b);
    json_arr(&w);
    for (int i = 0; i < 100; i++) json_str(&w, "abc");
    json_end(&w);
    ck_assert_int_eq(b.error, ERR_LIMIT);
    buf_free(&b);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {commas_and_nesting, strings,         numbers,
                                  sixty_four_levels,  misuse_is_a_bug, a_full_buffer_is_found_at_the_end};
    return CHECK_RUN("json_out", tests);
}
