/* The whole http room over real sockets: streaming, leaving, slowness, limits, protocol errors, stopping. */
#include "scripted.h"

#define CHAT "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define CHAT_STREAM                                                                                          \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":true,"                                \
    "\"stream_options\":{\"include_usage\":true}}"

static struct script script;

static void setup(void) {
    script = (struct script){0};
    script_start(&script);
}

static void teardown(void) {
    script_end(&script);
}

START_TEST(health_and_metrics_answer_from_atomics) {
    ASK_EXPECTS(&script, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 200", "\"live\"",
                "X-Request-ID: req-");
    ASK_EXPECTS(&script, "GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 200",
                "\"ready\"");
    script.readiness = FRONT_SWAPPING;
    ASK_EXPECTS(&script, "GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 503",
                "\"swapping\"", "Retry-After");
    ASK_EXPECTS(&script, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "hotseat_up 1",
                "hotseat_http_connections 1", "hotseat_http_responses_total{class=\"2xx\"}");
}
END_TEST

START_TEST(a_whole_answer) {
    struct heard h = {0};
    int fd = dial(&script);
    post_json(fd, "/v1/chat/completions", "X-Request-ID: mine-1\r\nX-Hotseat-Agent: anna@example.org\r\n",
              "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"frobnicate\":1}");
    struct request *r = script_request(&script, 0);
    ck_assert_str_eq(r->request_id, "mine-1");
    ck_assert_str_eq(r->submit.agent, "anna@example.org");
    script_delta(&script, r->client, "Hello ", 6);
    script_delta(&script, r->client, "\xf0\x9f\x98\x80", 4);
    script_done(&script, r->client);
    ck_assert(hear(fd, &h, "\"decode_tokens\":", 3000));
    ck_assert_ptr_nonnull(strstr(h.text, "X-Request-ID: mine-1"));
    ck_assert_ptr_nonnull(strstr(h.text, "X-Hotseat-Ignored: frobnicate"));
    ck_assert_ptr_nonnull(strstr(h.text, "\"content\":\"Hello \xf0\x9f\x98\x80\""));
    ck_assert_ptr_nonnull(strstr(h.text, "\"cached_tokens\":5"));
    /* The connection lives on. */
    hush(&h);
    says(fd, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ck_assert(hear(fd, &h, "\"live\"", 3000));
    hush(&h);
    close(fd);
}
END_TEST

START_TEST(a_stream_comes_as_it_is_made) {
    struct heard h = {0};
    int fd = dial(&script);
    post_json(fd, "/v1/chat/completions", "", CHAT_STREAM);
    struct request *r = script_request(&script, 0);
    struct reply *waiting = reply_new(r->client, REPLY_WAITING);
    waiting->position = 3;
    waiting->eta_ms = 4200;
    script_say(&script, waiting);
    ck_assert(hear(fd, &h, ": waiting model=small position=3 eta_ms=4200\n\n", 3000));
    ck_assert_ptr_nonnull(strstr(h.text, "text/event-stream"));
    ck_assert_ptr_null(strstr(h.text, "data:"));
    script_say(&script, reply_new(r->client, REPLY_ENTERED));
    ck_assert(hear(fd, &h, "\"role\":\"assistant\"", 3000));
    for (int i = 0; i < 20; i++) {
        char text[16], wanted[32];
        int n = snprintf(text, sizeof text, "tok%d ", i);
        snprintf(wanted, sizeof wanted, "\"content\":\"%s\"", text);
        int64_t start_ns = clock_now_ns();
        script_delta(&script, r->client, text, (size_t)n);
        ck_assert(hear(fd, &h, wanted, 3000));
        ck_assert_int_lt(clock_now_ns() - start_ns, 500 * NS_PER_MS); /* nothing waits for a full packet */
    }
    script_done(&script, r->client);
    ck_assert(hear(fd, &h, "data: [DONE]\n\n", 3000));
    ck_assert_ptr_nonnull(strstr(h.text, "\"finish_reason\":\"stop\""));
    ck_assert_ptr_nonnull(strstr(h.text, "\"choices\":[],\"usage\":{\"prompt_tokens\":7"));
    hush(&h);
    close(fd);
}
END_TEST

START_TEST(errors_before_and_after_the_headers) {
    struct heard h = {0};
    int fd = dial(&script);
    post_json(fd, "/v1/chat/completions", "", CHAT_STREAM);
    struct reply *error = reply_error(script_request(&script, 0)->client, ERR_QUEUE_FULL, "full");
    error->retry_after_s = 7;
    script_say(&script, error);
    ck_assert(hear(fd, &h, "\"code\":\"queue_full\"", 3000));
    ck_assert_ptr_nonnull(strstr(h.text, "HTTP/1.1 429"));
    ck_assert_ptr_nonnull(strstr(h.text, "Retry-After: 7"));
    hush(&h);
    post_json(fd, "/v1/chat/completions", "", CHAT_STREAM);
    struct request *r = script_request(&script, 1);
    script_say(&script, reply_new(r->client, REPLY_ENTERED));
    script_delta(&script, r->client, "a", 1);
    script_say(&script, reply_error(r->client, ERR_DRAIN_CANCELED, NULL));
    ck_assert(hear(fd, &h, "data: {\"error\":", 3000));
    ck_assert(hear(fd, &h, "0\r\n\r\n", 3000));
    ck_assert_ptr_nonnull(strstr(h.text, "\"swap_canceled_request\""));
    ck_assert_ptr_null(strstr(h.text, "[DONE]"));
    hush(&h);
    close(fd);
}
END_TEST

START_TEST(who_leaves_is_noticed_within_a_second) {
    for (int streaming = 0; streaming < 2; streaming++) {
        int fd = dial(&script);
        post_json(fd, "/v1/chat/completions", "", streaming ? CHAT_STREAM : CHAT);
        struct request *r = script_request(&script, streaming);
        if (streaming) script_say(&script, reply_new(r->client, REPLY_ENTERED));
        close(fd);
        ck_assert(script_reached(&script.n_cancels, streaming + 1, 1000));
        ck_assert_uint_eq(script.canceled, r->client);
        script_delta(&script, r->client, "late", 4); /* goes nowhere */
        script_say(&script, reply_error(r->client, ERR_CANCELED, NULL));
    }
}
END_TEST

START_TEST(a_slow_reader_loses_its_stream_alone) {
    struct heard h = {0};
    int slow = dial(&script), quick = dial(&script);
    static char text[16384];
    memset(text, 'x', sizeof text);
    post_json(slow, "/v1/chat/completions", "", CHAT_STREAM);
    struct request *r_slow = script_request(&script, 0);
    post_json(quick, "/v1/chat/completions", "", CHAT_STREAM);
    struct request *r_quick = script_request(&script, 1);
    for (int i = 0; i < 4000 && script.n_cancels == 0; i++) {
        script_delta(&script, r_slow->client, text, sizeof text);
        if (i % 100 == 0) poll(NULL, 0, 1);
    }
    ck_assert(script_reached(&script.n_cancels, 1, 2000));
    ck_assert_uint_eq(script.canceled, r_slow->client);
    script_delta(&script, r_quick->client, "still here", 10);
    script_done(&script, r_quick->client);
    ck_assert(hear(quick, &h, "[DONE]", 3000));
    hush(&h);
    close(quick);
    close(slow);
    ASK_EXPECTS(&script, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
                "hotseat_http_slow_clients_total 1");
}
END_TEST

START_TEST(bodies_that_are_too_large) {
    struct heard h = {0};
    ASK_EXPECTS(&script,
                "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n{",
                "HTTP/1.1 413", "\"too_large\"", "X-Request-ID", "Connection: close");
    int fd = dial(&script);
    says(fd, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    static char chunk[65536 + 16];
    memcpy(chunk, "10000\r\n", 7);
    memset(chunk + 7, ' ', 65536);
    memcpy(chunk + 7 + 65536, "\r\n", 2);
    for (int i = 0; i < 200; i++)
        if (send(fd, chunk, 7 + 65536 + 2, MSG_NOSIGNAL) < 0) break;
    ck_assert(hear(fd, &h, "\"too_large\"", 3000));
    ck_assert_ptr_nonnull(strstr(h.text, "HTTP/1.1 413"));
    hush(&h);
    close(fd);
    ck_assert_int_eq(script.n_requests, 0);
}
END_TEST

START_TEST(a_large_body_is_taken) {
    struct heard h = {0};
    size_t size = 7u << 20;
    char *body = malloc(size + 128);
    size_t head = (size_t)snprintf(body, 128, "{\"messages\":[{\"role\":\"user\",\"content\":\"");
    memset(body + head, 'a', size);
    strcpy(body + head + size, "\"}]}");
    int fd = dial(&script);
    post_json(fd, "/v1/chat/completions", "", body);
    struct request *r = script_request(&script, 0);
    ck_assert_uint_gt(r->submit.messages.size, size);
    script_done(&script, r->client);
    ck_assert(hear(fd, &h, "HTTP/1.1 200", 3000));
    hush(&h);
    close(fd);
    free(body);
}
END_TEST

START_TEST(framing_that_has_two_readings) {
    ASK_EXPECTS(&script,
                "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
                "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "HTTP/1.1 400", "may not come together", "Connection: close");
    ASK_EXPECTS(&script,
                "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\nxx",
                "HTTP/1.1 400");
    ASK_EXPECTS(&script,
                "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: "
                "3\r\n\r\n{}x",
                "HTTP/1.1 400");
    ASK_EXPECTS(&script, "GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", "HTTP/1.1 400");
    ASK_EXPECTS(&script, "GET /health HTTP/1.1\r\n\r\n", "HTTP/1.1 400");
    ASK_EXPECTS(&script, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
                "HTTP/1.1 400");
    ASK_EXPECTS(&script, "GET /health SPAM/9\r\n\r\n", "HTTP/1.1 ");
}
END_TEST

START_TEST(headers_that_are_too_large) {
    static char request[80000];
    int n = snprintf(request, sizeof request, "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Big: ");
    memset(request + n, 'a', 34000);
    strcpy(request + n + 34000, "\r\n\r\n");
    ASK_EXPECTS(&script, request, "HTTP/1.1 431", "X-Request-ID");
    n = snprintf(request, sizeof request, "GET /health?");
    memset(request + n, 'a', 5000);
    strcpy(request + n + 5000, " HTTP/1.1\r\nHost: localhost\r\n\r\n");
    ASK_EXPECTS(&script, request, "HTTP/1.1 414", "X-Request-ID");
    /* Past the library's own memory it answers by itself. */
    n = snprintf(request, sizeof request, "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Big: ");
    memset(request + n, 'a', 70000);
    strcpy(request + n + 70000, "\r\n\r\n");
    ASK_EXPECTS(&script, request, "HTTP/1.1 431");
}
END_TEST

START_TEST(paths_and_methods) {
    ASK_EXPECTS(&script, "GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 404",
                "POST /v1/chat/completions", "\"not_found\"");
    ASK_EXPECTS(&script, "PUT /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
                "HTTP/1.1 405", "Allow: GET, HEAD, OPTIONS");
    ASK_EXPECTS(&script, "POST /admin/debug/fault HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
                "HTTP/1.1 404");
    ASK_EXPECTS(&script, "HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 200",
                "Content-Length: ");
    ASK_EXPECTS(&script, "GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", "HTTP/1.1 403",
                "\"forbidden\"");
    ASK_EXPECTS(&script, "GET /admin/ps HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n",
                "HTTP/1.1 403");
    ASK_EXPECTS(&script,
                "OPTIONS /v1/models HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:3000\r\n"
                "Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization, "
                "x-stainless-os\r\n\r\n",
                "HTTP/1.1 204", "Access-Control-Allow-Origin: http://localhost:3000",
                "Access-Control-Allow-Headers: authorization, x-stainless-os");
    ASK_EXPECTS(&script, "GET /admin/agents/..%2fx HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 400",
                "\"param\":\"agent\"");
    ASK_EXPECTS(&script, "DELETE /admin/cache?modle=B HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 400");
    ASK_EXPECTS(&script,
                "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n{\"a\"",
                "HTTP/1.1 400", "\"invalid_json\"");
    ck_assert_int_eq(script.n_requests, 0);
}
END_TEST

START_TEST(admin_requests_become_data) {
    static const char json[] = "{\"agents\":[]}";
    int fd = dial(&script);
    struct heard h = {0};
    says(fd, "DELETE /admin/agents/a%40b.c%20d?model=B%2b HTTP/1.1\r\nHost: localhost\r\n\r\n");
    struct request *r = script_request(&script, 0);
    ck_assert_int_eq(r->verb, REQUEST_AGENT);
    ck_assert_int_eq(r->query, MSG_QUERY_AGENT_DELETE);
    ck_assert_str_eq(r->agent, "a@b.c d");
    ck_assert_str_eq(r->model, "B+");
    struct reply *reply = reply_new(r->client, REPLY_JSON);
    reply->body = mem_strdup(json);
    script_say(&script, reply);
    ck_assert(hear(fd, &h, json, 3000));
    hush(&h);
    close(fd);
}
END_TEST

START_TEST(events_stream_until_the_client_leaves) {
    int fd = dial(&script);
    struct heard h = {0};
    says(fd, "GET /admin/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    struct request *r = script_request(&script, 0);
    ck_assert(hear(fd, &h, ": events\n\n", 3000));
    struct reply *event = reply_new(r->client, REPLY_EVENT);
    event->event = mem_strdup("state");
    event->body = mem_strdup("{\"state\":\"serving\"}");
    script_say(&script, event);
    ck_assert(hear(fd, &h, "event: state\ndata: {\"state\":\"serving\"}\n\n", 3000));
    hush(&h);
    close(fd);
    ck_assert(script_reached(&script.n_cancels, 1, 1000));
}
END_TEST

START_TEST(a_thousand_wait) {
    enum { N = 1000 };
    static int fds[N];
    int n = net_connections_max(script.server->net) < N + 10 ? 300 : N;
    for (int i = 0; i < n; i++) {
        fds[i] = dial(&script);
        post_json(fds[i], "/v1/chat/completions", "", i % 2 ? CHAT : CHAT_STREAM);
    }
    (void)script_request(&script, n - 1);
    ASK_EXPECTS(&script, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 200");
    for (int i = 0; i < n; i++) script_done(&script, script.requests[i]->client);
    for (int i = 0; i < n; i++) {
        struct heard h = {0};
        ck_assert(hear(fds[i], &h, i % 2 ? "decode_tokens" : "[DONE]", 5000));
        hush(&h);
        close(fds[i]);
    }
}
END_TEST

START_TEST(a_full_front_says_so) {
    script.refuse = ERR_QUEUE_FULL;
    ASK_EXPECTS(&script,
                "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 47\r\n\r\n"
                "{\"messages\":[{\"role\":\"user\",\"content\":\"hi..\"}]}",
                "HTTP/1.1 429", "Retry-After: 2");
}
END_TEST

START_TEST(stopping_ends_what_waits) {
    struct heard h = {0};
    int waiting = dial(&script), streaming = dial(&script), idle = dial(&script);
    post_json(waiting, "/v1/chat/completions", "", CHAT);
    post_json(streaming, "/v1/chat/completions", "", CHAT_STREAM);
    struct request *r = script_request(&script, 1);
    script_say(&script, reply_new(r->client, REPLY_ENTERED));
    int64_t start_ns = clock_now_ns();
    server_stop(script.server, 200 * NS_PER_MS);
    ck_assert_int_lt(clock_now_ns() - start_ns, 2 * NS_PER_S);
    ck_assert_int_eq(script.n_cancels, 2);
    (void)hear(waiting, &h, NULL, 1000);
    ck_assert(h.closed);
    hush(&h);
    close(waiting);
    close(streaming);
    close(idle);
}
END_TEST

START_TEST(a_body_that_stops_half_way) {
    struct script own = {0};
    struct heard h = {0};
    script_open(&own);
    net_idle_limit(own.server->net, 300 * NS_PER_MS);
    script_start(&own);
    int fd = dial(&own);
    says(fd, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"mess");
    ck_assert(hear(fd, &h, "\"timeout\"", 3000));
    ck_assert_ptr_nonnull(strstr(h.text, "HTTP/1.1 408"));
    ck_assert_ptr_nonnull(strstr(h.text, "X-Request-ID: req-"));
    hush(&h);
    close(fd);
    server_stop(own.server, NS_PER_S);
    server_free(own.server);
}
END_TEST

START_TEST(a_taken_port_is_named) {
    struct config config = {.host = script.config.host, .port = server_port(script.server)};
    struct server *second = NULL;
    char why[256];
    ck_assert_int_eq(server_open(&config, &second, why, sizeof why), ERR_IO);
    ck_assert_ptr_nonnull(strstr(why, "is taken by another program"));
    config.host = (char[]){"not.a.host.invalid"};
    ck_assert_int_eq(server_open(&config, &second, why, sizeof why), ERR_INVALID);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("server");
    TCase *t = tcase_create("sockets");
    tcase_set_timeout(t, 30);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, health_and_metrics_answer_from_atomics);
    tcase_add_test(t, a_whole_answer);
    tcase_add_test(t, a_stream_comes_as_it_is_made);
    tcase_add_test(t, errors_before_and_after_the_headers);
    tcase_add_test(t, who_leaves_is_noticed_within_a_second);
    tcase_add_test(t, a_slow_reader_loses_its_stream_alone);
    tcase_add_test(t, bodies_that_are_too_large);
    tcase_add_test(t, a_large_body_is_taken);
    tcase_add_test(t, framing_that_has_two_readings);
    tcase_add_test(t, headers_that_are_too_large);
    tcase_add_test(t, paths_and_methods);
    tcase_add_test(t, admin_requests_become_data);
    tcase_add_test(t, events_stream_until_the_client_leaves);
    tcase_add_test(t, a_thousand_wait);
    tcase_add_test(t, a_full_front_says_so);
    tcase_add_test(t, stopping_ends_what_waits);
    tcase_add_test(t, a_body_that_stops_half_way);
    tcase_add_test(t, a_taken_port_is_named);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
