/* Who may call what: one row a case. */
#include <check.h>

#include "base/attr.h"
#include "http/security.h"

START_TEST(hosts) {
    struct security s = {.loopback = true, .port = 8480};
    static const char *const good[] = {"localhost",      "LOCALHOST:8480", "127.0.0.1",
                                       "127.0.0.1:8480", "[::1]",          "[::1]:8480"};
    static const char *const bad[] = {"evil.example",
                                      "localhost.evil.example",
                                      "localhost:8481",
                                      "localhost:",
                                      "127.0.0.1.nip.io",
                                      "127.0.0.11",
                                      "::1",
                                      "",
                                      "localhost:8480x",
                                      "localhost:08480000",
                                      "[::1]x"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) ck_assert_msg(security_host_ok(&s, good[i]), "%s", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) ck_assert_msg(!security_host_ok(&s, bad[i]), "%s", bad[i]);
    s.names[0] = "box.lan";
    s.names[1] = "127.0.0.2";
    ck_assert(security_host_ok(&s, "Box.lan:8480"));
    ck_assert(security_host_ok(&s, "127.0.0.2"));
    ck_assert(!security_host_ok(&s, "127.0.0.22"));
    ck_assert(!security_host_ok(&s, "box.lan:1"));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) ck_assert_msg(!security_host_ok(&s, bad[i]), "%s", bad[i]);
    s.loopback = false;
    ck_assert(security_host_ok(&s, "evil.example"));
}
END_TEST

START_TEST(origins) {
    struct security s = {.loopback = true, .port = 8480};
    static const char *const good[] = {"http://localhost", "https://localhost:3000", "http://127.0.0.1:5173",
                                       "http://[::1]:80"};
    static const char *const bad[] = {"null",
                                      "https://evil.example",
                                      "http://localhost.evil.example",
                                      "http://localhost:x",
                                      "file://",
                                      "http://127.0.0.1@evil.example",
                                      "http://localhost/",
                                      "localhost"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        ck_assert_msg(security_origin_ok(&s, good[i], ACCESS_ADMIN), "%s", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(!security_origin_ok(&s, bad[i], ACCESS_API), "%s", bad[i]);
    s.origins = "https://a.example, https://b.example:444";
    ck_assert(security_origin_ok(&s, "https://A.example", ACCESS_API));
    ck_assert(security_origin_ok(&s, "https://b.example:444", ACCESS_ADMIN));
    ck_assert(!security_origin_ok(&s, "https://b.example", ACCESS_API));
    ck_assert(!security_origin_ok(&s, "http://localhost", ACCESS_API));
    ck_assert(!security_origin_ok(&s, "", ACCESS_API));
    s.origins = "*";
    ck_assert(security_origin_ok(&s, "https://any.example", ACCESS_API));
    ck_assert(!security_origin_ok(&s, "https://any.example", ACCESS_ADMIN));
}
END_TEST

struct key_row {
    const char *api_key, *admin_key, *authorization, *x_api_key;
    enum access access;
    bool ok;
};

static const struct key_row KEYS[] = {
    {NULL, NULL, NULL, NULL, ACCESS_API, true},       {NULL, NULL, NULL, NULL, ACCESS_ADMIN, true},
    {NULL, NULL, NULL, NULL, ACCESS_METRICS, true},   {"k", "a", NULL, NULL, ACCESS_OPEN, true},
    {"k", NULL, NULL, NULL, ACCESS_API, false},       {"k", NULL, "Bearer k", NULL, ACCESS_API, true},
    {"k", NULL, "bearer  k", NULL, ACCESS_API, true}, {"k", NULL, "Basic k", NULL, ACCESS_API, false},
    {"k", NULL, "Bearer ", NULL, ACCESS_API, false},  {"k", NULL, "Bearer kk", NULL, ACCESS_API, false},
    {"k", NULL, NULL, "k", ACCESS_API, true},         {"k", NULL, "Bearer wrong", "k", ACCESS_API, true},
    {"k", NULL, NULL, "", ACCESS_API, false},         {"k", NULL, "Bearer k", NULL, ACCESS_ADMIN, true},
    {"k", NULL, NULL, NULL, ACCESS_ADMIN, false},     {"k", "a", "Bearer k", NULL, ACCESS_ADMIN, false},
    {"k", "a", "Bearer a", NULL, ACCESS_ADMIN, true}, {"k", "a", "Bearer a", NULL, ACCESS_API, true},
    {"k", "a", NULL, "k", ACCESS_METRICS, true},      {"k", "a", NULL, "a", ACCESS_METRICS, true},
    {"k", "a", NULL, NULL, ACCESS_METRICS, false},    {NULL, "a", NULL, NULL, ACCESS_API, true},
    {NULL, "a", NULL, NULL, ACCESS_METRICS, false},   {NULL, "a", NULL, NULL, ACCESS_ADMIN, false},
};

START_TEST(keys) {
    const struct key_row *k = &KEYS[_i];
    struct security s = {.loopback = true, .port = 1, .api_key = k->api_key, .admin_key = k->admin_key};
    struct security_input in = {.host = "localhost",
                                .authorization = k->authorization,
                                .x_api_key = k->x_api_key,
                                .access = k->access};
    const char *why = "";
    ck_assert_int_eq(security_check(&s, &in, &why), k->ok ? ERR_OK : ERR_AUTH);
}
END_TEST

START_TEST(admin_and_foreign_pages) {
    struct security s = {.loopback = true, .port = 1};
    struct security_input in = {
        .host = "localhost", .origin = "https://evil.example", .access = ACCESS_ADMIN};
    const char *why = "";
    ck_assert_int_eq(security_check(&s, &in, &why), ERR_FORBIDDEN);
    in.access = ACCESS_API;
    ck_assert_int_eq(security_check(&s, &in, &why), ERR_OK);
    in.host = "evil.example";
    ck_assert_int_eq(security_check(&s, &in, &why), ERR_FORBIDDEN);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("security");
    TCase *t = tcase_create("rules");
    tcase_add_test(t, hosts);
    tcase_add_test(t, origins);
    tcase_add_loop_test(t, keys, 0, ARRAY_LEN(KEYS));
    tcase_add_test(t, admin_and_foreign_pages);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
