/* Small pure modules: routes, sse, ident, http_error, and the admin's bodies. */
#include <check.h>
#include <string.h>

#include "base/fault.h"
#include "base/json.h"
#include "base/mem.h"
#include "http/api_admin.h"
#include "http/http_error.h"
#include "http/ident.h"
#include "http/routes.h"
#include "http/sse.h"

START_TEST(routes) {
    struct route_match m = route_find("GET", "/admin/agents/a%2Fb", false);
    ck_assert_int_eq(m.route, ROUTE_AGENT);
    ck_assert_int_eq(m.access, ACCESS_ADMIN);
    ck_assert(m.param_size == 5 && memcmp(m.param, "a%2Fb", 5) == 0);
    ck_assert_int_eq(route_find("DELETE", "/admin/agents/x", false).route, ROUTE_AGENT_DELETE);
    ck_assert_int_eq(route_find("POST", "/admin/agents/x/unpin", false).route, ROUTE_AGENT_UNPIN);
    ck_assert_int_eq(route_find("GET", "/admin/agents/", false).route, ROUTE_NONE);
    ck_assert_int_eq(route_find("GET", "/admin/agents/x/y/z", false).route, ROUTE_NONE);
    ck_assert_int_eq(route_find("HEAD", "/health", false).route, ROUTE_HEALTH);
    ck_assert_int_eq(route_find("GET", "/admin/nope", false).access, ACCESS_ADMIN);
    ck_assert_int_eq(route_find("GET", "/administrator", false).access, ACCESS_API);
    ck_assert_int_eq(route_find("POST", "/admin/debug/fault", false).path_known, false);
    ck_assert_int_eq(route_find("POST", "/admin/debug/fault", true).route, ROUTE_FAULT);
    m = route_find("POST", "/admin/agents/x", false);
    ck_assert_int_eq(m.route, ROUTE_NONE);
    ck_assert(m.path_known);
    ck_assert_str_eq(m.allow, "GET, HEAD, DELETE, OPTIONS");
}
END_TEST

START_TEST(agent_ids) {
    static const struct {
        const char *id;
        size_t size;
        bool ok;
    } rows[] = {{"a", 1, true},
                {"anna@example.org", 16, true},
                {"\xc3\xa9\xe6\xbc\xa2", 5, true},
                {"v1.2..3", 7, true},
                {"a b", 3, true},
                {"...", 3, true},
                {"", 0, false},
                {".", 1, false},
                {"..", 2, false},
                {"../x", 4, false},
                {"a\\b", 3, false},
                {"a\nb", 3, false},
                {"a\0b", 3, false},
                {"\x7f", 1, false},
                {"\xc2\x85", 2, false},
                {"\xff", 1, false},
                {"\xc3", 1, false}};
    char large[AGENT_ID_BYTES_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        ck_assert_msg((ident_agent_wrong(rows[i].id, rows[i].size) == NULL) == rows[i].ok, "%s", rows[i].id);
    memset(large, 'a', sizeof large);
    ck_assert_ptr_null(ident_agent_wrong(large, AGENT_ID_BYTES_MAX));
    ck_assert_ptr_nonnull(ident_agent_wrong(large, AGENT_ID_BYTES_MAX + 1));
}
END_TEST

START_TEST(request_ids) {
    char made[REQUEST_ID_BYTES_MAX + 1], other[REQUEST_ID_BYTES_MAX + 1],
        large[REQUEST_ID_BYTES_MAX + 2] = {0};
    ident_request_make(made);
    ident_request_make(other);
    ck_assert(ident_request_ok(made));
    ck_assert_str_ne(made, other);
    ck_assert(!ident_request_ok("") && !ident_request_ok("a b") && !ident_request_ok("a\n") &&
              !ident_request_ok("\xc3\xa9"));
    memset(large, 'a', REQUEST_ID_BYTES_MAX + 1);
    ck_assert(!ident_request_ok(large));
    large[REQUEST_ID_BYTES_MAX] = '\0';
    ck_assert(ident_request_ok(large));
}
END_TEST

START_TEST(percent) {
    struct buf b = BUF(100);
    ck_assert(ident_percent_decode("a%40b%2Fc+d", 11, false, &b));
    ck_assert(b.size == 7 && memcmp(b.data, "a@b/c+d", 7) == 0);
    buf_clear(&b);
    ck_assert(ident_percent_decode("c+d", 3, true, &b));
    ck_assert(memcmp(b.data, "c d", 3) == 0);
    ck_assert(!ident_percent_decode("%", 1, false, &b));
    ck_assert(!ident_percent_decode("%4", 2, false, &b));
    ck_assert(!ident_percent_decode("%4g", 3, false, &b));
    ck_assert(!ident_percent_decode("%00", 3, false, &b));
    buf_free(&b);
}
END_TEST

START_TEST(events) {
    struct buf b = BUF(1000);
    sse_data(&b, "a\nb\r\nc", 6);
    sse_event(&b, "x", "{}", 2);
    sse_comment(&b, "w %d\nz", 1);
    sse_done(&b);
    char *s = buf_take_string(&b);
    ck_assert_str_eq(s, "data: a\ndata: b\ndata: c\n\nevent: x\ndata: {}\n\n: w 1 z\n\ndata: [DONE]\n\n");
    mem_free(s);
}
END_TEST

START_TEST(errors) {
    struct buf b = BUF(1000);
    http_error_body(
        &(struct http_error){.err = ERR_MODEL_TOO_LARGE, .param = "model", .details = "\"needed_bytes\":12"},
        &b);
    char *s = buf_take_string(&b);
    ck_assert_str_eq(
        s,
        "{\"error\":{\"message\":\"the model does not fit into the memory budget\",\"type\":"
        "\"invalid_request_error\",\"code\":\"model_too_large\",\"param\":\"model\",\"needed_bytes\":12}}");
    mem_free(s);
    b = BUF(1000);
    struct http_error e = {.err = ERR_QUEUE_FULL, .text = "a \"b\"", .retry_after_s = 9};
    http_error_body(&e, &b);
    s = buf_take_string(&b);
    ck_assert_str_eq(
        s, "{\"error\":{\"message\":\"a \\\"b\\\"\",\"type\":\"rate_limit_error\",\"code\":\"queue_full\","
           "\"param\":null,\"retry_after_s\":9}}");
    mem_free(s);
    b = BUF(1000);
    e.shape = ERROR_ANTHROPIC;
    e.request_id = "r1";
    http_error_body(&e, &b);
    s = buf_take_string(&b);
    ck_assert_str_eq(
        s,
        "{\"type\":\"error\",\"error\":{\"message\":\"a \\\"b\\\"\",\"type\":\"rate_limit_error\",\"code\":"
        "\"queue_full\",\"param\":null,\"retry_after_s\":9},\"request_id\":\"r1\"}");
    mem_free(s);
    ck_assert_int_eq(http_error_status(&e), 429);
    ck_assert_uint_eq(http_error_retry_after(&(struct http_error){.err = ERR_AUTO_SWAP_OFF}), 0);
}
END_TEST

START_TEST(errors_have_the_types_of_their_api) {
    static const struct {
        int status;
        const char *openai, *anthropic;
    } rows[] = {{400, "invalid_request_error", "invalid_request_error"},
                {401, "authentication_error", "authentication_error"},
                {403, "permission_error", "permission_error"},
                {404, "not_found_error", "not_found_error"},
                {405, "invalid_request_error", "invalid_request_error"},
                {408, "invalid_request_error", "timeout_error"},
                {413, "invalid_request_error", "request_too_large"},
                {422, "invalid_request_error", "invalid_request_error"},
                {429, "rate_limit_error", "rate_limit_error"},
                {500, "server_error", "api_error"},
                {503, "server_error", "overloaded_error"},
                {507, "server_error", "api_error"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ck_assert_str_eq(http_error_type(rows[i].status, ERROR_OPENAI), rows[i].openai);
        ck_assert_str_eq(http_error_type(rows[i].status, ERROR_ANTHROPIC), rows[i].anthropic);
    }
    static const char *const anthropic[] = {"/v1/messages", "/v1/messages/count_tokens",
                                            "/v1/messages/batches"},
                             *const others[] = {"/v1/messages2", "/v1/modelsx", "/v1/message", "/"};
    for (int versioned = 0; versioned < 2; versioned++) {
        for (size_t i = 0; i < ARRAY_LEN(anthropic); i++)
            ck_assert_int_eq(route_error_shape(anthropic[i], versioned), ERROR_ANTHROPIC);
        for (size_t i = 0; i < ARRAY_LEN(others); i++)
            ck_assert_int_eq(route_error_shape(others[i], versioned), ERROR_OPENAI);
        enum error_shape shared = versioned ? ERROR_ANTHROPIC : ERROR_OPENAI; /* of a path that both have */
        ck_assert_int_eq(route_error_shape("/v1/models", versioned), shared);
        ck_assert_int_eq(route_error_shape("/v1/models/a", versioned), shared);
        ck_assert_int_eq(route_error_shape(NULL, versioned), ERROR_OPENAI);
    }
}
END_TEST

static struct api_parsed admin(enum route route, const char *body) {
    struct api_parsed p;
    struct api_input in = {.route = route, .body = body, .body_size = strlen(body)};
    api_admin_read(&in, &p);
    return p;
}

START_TEST(swap_bodies) {
    struct api_parsed p = admin(
        ROUTE_SWAP,
        "{\"model\":\"B\",\"drain_timeout_s\":1.5,\"on_deadline\":\"cancel\",\"wait\":false,\"hold_s\":0}");
    ck_assert_msg(p.request, "%s", p.error.text);
    ck_assert_int_eq(p.request->verb, REQUEST_SWAP);
    ck_assert_str_eq(p.request->model, "B");
    ck_assert_int_eq(p.request->drain_timeout_ns, 1500000000);
    ck_assert_int_eq(p.request->hold_ns, 0);
    ck_assert(p.request->cancel_on_deadline && !p.request->wait);
    api_parsed_free(&p);
    p = admin(ROUTE_SWAP, "{\"model\":\"B\"}");
    ck_assert(p.request->wait && p.request->drain_timeout_ns < 0 && p.request->hold_ns < 0);
    api_parsed_free(&p);
    p = admin(ROUTE_OFFLOAD, "");
    ck_assert_int_eq(p.request->verb, REQUEST_OFFLOAD);
    api_parsed_free(&p);
    static const char *const bad[] = {"",
                                      "{}",
                                      "[]",
                                      "{\"model\":1}",
                                      "{\"model\":\"\"}",
                                      "{\"model\":\"B\",\"on_deadline\":\"x\"}",
                                      "{\"model\":\"B\",\"wait\":1}",
                                      "{\"model\":\"B\",\"drain_timeout_s\":-1}",
                                      "{\"model\":\"B\",\"drain\":1}",
                                      "{\"model\":\"B\",\"hold_s\":1e9}",
                                      "{"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        p = admin(ROUTE_SWAP, bad[i]);
        ck_assert_msg(p.error.err != ERR_OK && !p.request, "%s", bad[i]);
        api_parsed_free(&p);
    }
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(fault_bodies) {
    struct api_parsed p = admin(ROUTE_FAULT, "{\"name\":\"kv_flip\",\"times\":-1,\"arg\":5}");
    ck_assert_msg(p.request, "%s", p.error.text);
    ck_assert_str_eq(p.request->fault, "kv_flip");
    ck_assert_int_eq(p.request->fault_times, -1);
    ck_assert_int_eq(p.request->fault_arg, 5);
    api_parsed_free(&p);
    p = admin(ROUTE_FAULT, "{\"name\":\"load_fail\"}");
    ck_assert_int_eq(p.request->fault_times, 1);
    api_parsed_free(&p);
    p = admin(ROUTE_FAULT, "{\"name\":\"nope\"}");
    ck_assert_int_eq(p.error.err, ERR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(p.error.text, "kv_flip"));
    api_parsed_free(&p);
}
END_TEST

START_TEST(admin_paths) {
    struct api_parsed p;
    struct route_match m = route_find("GET", "/v1/models/a%20b", false);
    api_admin_make(&m, "api-version=1", false, &p);
    ck_assert_str_eq(p.request->model, "a b");
    ck_assert_int_eq(p.request->verb, REQUEST_MODELS);
    api_parsed_free(&p);
    m = route_find("GET", "/admin/agents", false);
    api_admin_make(&m, "model=a%2fb", false, &p);
    ck_assert_str_eq(p.request->model, "a/b");
    ck_assert_int_eq(p.request->query, MSG_QUERY_AGENTS);
    api_parsed_free(&p);
    static const char *const bad[] = {"modle=x", "model=", "model=%zz", "model=a&x=1"};
    m = route_find("DELETE", "/admin/cache", false);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        api_admin_make(&m, bad[i], false, &p);
        ck_assert_msg(p.error.err == ERR_INVALID && !p.request, "%s", bad[i]);
        api_parsed_free(&p);
    }
    /* Of one longer than any model's the front says what there is instead. */
    char longest[sizeof "model=" + MODEL_ID_BYTES_MAX + 1] = "model=";
    for (size_t size = MODEL_ID_BYTES_MAX; size <= MODEL_ID_BYTES_MAX + 1; size++) {
        memset(longest + 6, 'a', size);
        api_admin_make(&m, longest, false, &p);
        ck_assert_msg(p.request, "%s", p.error.text);
        ck_assert_uint_eq(strlen(p.request->model), size);
        api_parsed_free(&p);
    }
    static const char *const paths[] = {"/admin/agents/..", "/admin/agents/%2e%2e", "/admin/agents/a%2fb",
                                        "/admin/agents/a%00", "/admin/agents/a%0ab"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        m = route_find("GET", paths[i], false);
        api_admin_make(&m, NULL, false, &p);
        ck_assert_msg(p.error.err == ERR_INVALID && !p.request, "%s", paths[i]);
        api_parsed_free(&p);
    }
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(pages_of_models) {
    struct api_parsed p;
    struct route_match m = route_find("GET", "/v1/models", false);
    api_admin_make(&m, NULL, true, &p);
    ck_assert(p.request->anthropic && p.request->limit == 20 && !p.request->after_id &&
              !p.request->before_id);
    api_parsed_free(&p);
    api_admin_make(&m, "beta=true&limit=1000&after_id=a%20b&&x", true, &p);
    ck_assert_uint_eq(p.request->limit, 1000);
    ck_assert_str_eq(p.request->after_id, "a b");
    api_parsed_free(&p);
    api_admin_make(&m, "limit=x&before_id=a&after_id=b", false, &p); /* OpenAI's path takes anything */
    ck_assert(!p.request->anthropic && !p.request->before_id);
    api_parsed_free(&p);
    static const char *const bad[][2] = {{"limit=0", "limit"},
                                         {"limit=1001", "limit"},
                                         {"limit=", "limit"},
                                         {"limit=-1", "limit"},
                                         {"limit=99999999999999999999", "limit"},
                                         {"limit=1x", "limit"},
                                         {"after_id=%zz", "after_id"},
                                         {"after_id=a&before_id=b", "before_id"}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        api_admin_make(&m, bad[i][0], true, &p);
        ck_assert_msg(p.error.err == ERR_INVALID && !p.request, "%s", bad[i][0]);
        ck_assert_str_eq(p.error.param, bad[i][1]);
        api_parsed_free(&p);
    }
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("routes");
    TCase *t = tcase_create("pure");
    tcase_add_test(t, routes);
    tcase_add_test(t, agent_ids);
    tcase_add_test(t, request_ids);
    tcase_add_test(t, percent);
    tcase_add_test(t, events);
    tcase_add_test(t, errors);
    tcase_add_test(t, errors_have_the_types_of_their_api);
    tcase_add_test(t, swap_bodies);
    tcase_add_test(t, fault_bodies);
    tcase_add_test(t, admin_paths);
    tcase_add_test(t, pages_of_models);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
