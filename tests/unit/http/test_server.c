/* The whole http room over real sockets: streaming, leaving, slowness, limits, protocol errors, stopping. */
#include "scripted.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

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
    ASK_EXPECTS(&script, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
                "hotseat_http_responses_total{class=\"4xx\"} 2", "hotseat_http_clients_left_total 0");
}
END_TEST

/* All large bodies together have a limit; who sends a small one does not notice. */
START_TEST(large_bodies_do_not_lock_small_ones_out) {
    enum { N = BODIES_BYTES_MAX / BODY_BYTES_MAX + 2, PIECE = 1 << 20 };
    static char piece[PIECE];
    struct heard h = {0};
    int fds[N];
    for (int i = 0; i < N; i++) {
        fds[i] = dial(&script);
        says(fds[i],
             "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8388608\r\n\r\n");
        memset(piece, ' ', sizeof piece);
        for (int k = 0; k < 8; k++) say(fds[i], piece, k < 7 ? PIECE : PIECE - 1);
    }
    int fd = dial(&script);
    post_json(fd, "/v1/chat/completions", "", CHAT);
    script_done(&script, script_request(&script, 0)->client);
    ck_assert(hear(fd, &h, "HTTP/1.1 200", 10000));
    close(fd);
    hush(&h);
    /* The control: a large one found no room. Which one, depends on whose bytes were read last. */
    for (int i = 0; i < N; i++) says(fds[i], " ");
    bool refused = false;
    for (int round = 0; !refused && round < 500; round++) {
        for (int i = 0; i < N; i++) {
            char head[12];
            ssize_t n = recv(fds[i], head, sizeof head, MSG_PEEK | MSG_DONTWAIT);
            refused = refused || (n == sizeof head && memcmp(head, "HTTP/1.1 503", sizeof head) == 0);
        }
        (void)poll(NULL, 0, 20);
    }
    ck_assert(refused);
    for (int i = 0; i < N; i++) close(fds[i]);
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
    ASK_EXPECTS(&script, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length : 2\r\n\r\n{}",
                "HTTP/1.1 400", "a header's name", "Connection: close");
    ASK_EXPECTS(&script, "GET /health HTTP/1.1\r\n X-A: b\r\nHost: localhost\r\n\r\n", "HTTP/1.1 400");
    ASK_EXPECTS(&script, "GET /health HTTP/1.1\r\nHost: localhost\r\nX\x01: b\r\n\r\n", "HTTP/1.1 400");
    ASK_EXPECTS(&script,
                "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
                "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
                "HTTP/1.1 400", "more than once");
}
END_TEST

#ifdef __linux__
#define REFUSED "X-Request-ID: ", "{\"error\":{\"message\":", "Connection: close"

/* What the library refuses by itself is refused in our words, once, and counted. */
START_TEST(what_is_not_http_gets_one_answer_of_ours) {
    ASK_EXPECTS(&script, "GET /health SPAM/9\r\n\r\n", "HTTP/1.1 400", REFUSED);
    ASK_EXPECTS(&script, "GET /health HTTP/2.0\r\n\r\n", "HTTP/1.1 505", REFUSED);
    ASK_EXPECTS(&script, "GET /health HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n", "HTTP/1.1 400",
                REFUSED);
    ASK_EXPECTS(&script,
                "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: mine-2\r\n"
                "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
                "HTTP/1.1 400", REFUSED, "X-Request-ID: mine-2");
    static const char *const lengths[] = {"abc", "-1", "3 ", "3, 3", "99999999999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        char request[256];
        snprintf(request, sizeof request,
                 "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: mine-%zu\r\n"
                 "Content-Length: %s\r\n\r\n",
                 i, lengths[i]);
        struct heard h = ask(&script, request);
        ck_assert_msg(h.text && strncmp(h.text, "HTTP/1.1 4", 10) == 0, "%s: %s", lengths[i], h.text);
        ck_assert_msg(!strstr(h.text + 1, "HTTP/1.1"), "%s: two heads:\n%s", lengths[i], h.text);
        ck_assert_msg(strstr(h.text, "\r\nX-Request-ID: mine-"), "%s", h.text);
        hush(&h);
    }
    ASK_EXPECTS(&script, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
                "hotseat_http_responses_total{class=\"none\"} 0", "hotseat_http_clients_left_total 0",
                "hotseat_http_responses_total{class=\"4xx\"} 8");
}
END_TEST
#endif

/* Nobody waits for a body that will be thrown away. */
START_TEST(a_refusal_does_not_wait_for_the_body) {
    ASK_EXPECTS(&script, "PUT /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab",
                "HTTP/1.1 405", "Connection: close");
    ASK_EXPECTS(&script, "POST /nope HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
                "HTTP/1.1 404");
    ASK_EXPECTS(&script, "POST /v1/completions HTTP/1.1\r\nHost: evil\r\nContent-Length: 9\r\n\r\n",
                "HTTP/1.1 403");
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
    n = snprintf(request, sizeof request, "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Big: ");
    memset(request + n, 'a', 70000);
    strcpy(request + n + 70000, "\r\n\r\n");
#ifdef __linux__
    ASK_EXPECTS(&script, request, "HTTP/1.1 431", "X-Request-ID");
#else
    ASK_EXPECTS(&script, request, "HTTP/1.1 431");
#endif
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

START_TEST(a_question_is_watched_too) {
    int fd = dial(&script);
    says(fd, "GET /admin/agents HTTP/1.1\r\nHost: localhost\r\n\r\n");
    struct request *r = script_request(&script, 0);
    close(fd);
    ck_assert(script_reached(&script.n_cancels, 1, 1000));
    ck_assert_uint_eq(script.canceled, r->client);
}
END_TEST

/* Waiting counts from when the front could do something. */
START_TEST(a_slow_upload_is_no_waiting) {
    static const char body[] = CHAT_STREAM;
    struct heard h = {0};
    char head[256];
    int fd = dial(&script);
    snprintf(head, sizeof head,
             "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n",
             strlen(body));
    says(fd, head);
    say(fd, body, 10);
    poll(NULL, 0, 1700); /* longer than a stream waits for its headers */
    int64_t whole_ns = clock_now_ns();
    says(fd, body + 10);
    struct request *r = script_request(&script, 0);
    ck_assert_int_ge(r->arrived_ns, whole_ns);
    ck_assert(!hear(fd, &h, "HTTP/1.1", 1200));
    script_say(&script, reply_error(r->client, ERR_MODEL_COOLDOWN, NULL));
    ck_assert(hear(fd, &h, "HTTP/1.1 503", 3000));
    hush(&h);
    close(fd);
}
END_TEST

START_TEST(silence_on_a_stream_is_broken_in_time) {
    struct heard h = {0};
    int fd = dial(&script);
    post_json(fd, "/v1/chat/completions", "", CHAT_STREAM);
    struct request *r = script_request(&script, 0);
    script_say(&script, reply_new(r->client, REPLY_ENTERED));
    ck_assert(hear(fd, &h, "assistant", 3000));
    ck_assert(hear(fd, &h, ": working\n\n", 4400));
    script_done(&script, r->client);
    ck_assert(hear(fd, &h, "[DONE]", 3000));
    hush(&h);
    close(fd);
}
END_TEST

/* A reply that finds the mailbox full: what is the last one comes again, and a sign of life is no loss; the rest is. */
START_TEST(which_lost_replies_end_a_request) {
    static const struct {
        enum reply_kind kind;
        bool last, lost;
    } rows[] = {{REPLY_WAITING, false, false}, {REPLY_ENTERED, false, false}, {REPLY_DELTA, false, true},
                {REPLY_EVENT, false, true},    {REPLY_EVENT, true, false},    {REPLY_DONE, true, false},
                {REPLY_ERROR, true, false},    {REPLY_JSON, true, false}};
    struct script own = {0};
    script_open(&own); /* nobody takes them out */
    for (int i = 0; i < MAILBOX_MAIL_MAX; i++)
        ck_assert_int_eq(own.sink.post(own.sink.ctx, reply_new(7, REPLY_WAITING)), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reply *r = reply_new(77, rows[i].kind);
        r->last = rows[i].last;
        ck_assert_int_eq(own.sink.post(own.sink.ctx, r), ERR_QUEUE_FULL);
        reply_free(r);
        ck_assert_msg((mailbox_take(own.server->lost, 0) != NULL) == rows[i].lost, "row %zu", i);
    }
    server_free(own.server);
}
END_TEST

START_TEST(keys_are_needed_where_others_can_call) {
    struct config config = {.host = (char[]){"0.0.0.0"}};
    struct server *s = NULL;
    char why[256];
    ck_assert_int_eq(server_open(&config, &s, why, sizeof why), ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(why, "--api-key and --admin-key"));
    config.api_key = (char[]){"a"};
    ck_assert_int_eq(server_open(&config, &s, why, sizeof why), ERR_INVALID);
    config.admin_key = (char[]){"b"};
    ck_assert_int_eq(server_open(&config, &s, why, sizeof why), ERR_OK);
    server_free(s);
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
    /* A byte now and then is no progress. */
    fd = dial(&own);
    says(fd, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n");
    for (int i = 0; i < 40 && !hear(fd, &h, "\"timeout\"", 100); i++) (void)send(fd, " ", 1, MSG_NOSIGNAL);
    ck_assert_ptr_nonnull(h.text);
    ck_assert_ptr_nonnull(strstr(h.text, "too slowly"));
    hush(&h);
    close(fd);
    server_stop(own.server, NS_PER_S);
    server_free(own.server);
}
END_TEST

/* The process stands still for longer than a body may, and meanwhile the rest of it comes. */
START_TEST(time_in_which_nothing_ran_is_nobodys_slowness) {
    struct script own = {0};
    struct heard h = {0};
    script_open(&own);
    net_idle_limit(own.server->net, 2 * NS_PER_S);
    script_start(&own);
    int fd = dial(&own);
    says(fd,
         "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 45\r\n\r\n{\"messages\"");
    ck_assert(!hear(fd, &h, "HTTP", 300));
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (!child) { /* nothing but system calls: the other threads' locks are not ours */
        static const char rest[] = ":[{\"role\":\"user\",\"content\":\"hi\"}]}";
        pid_t parent = getppid();
        (void)kill(parent, SIGSTOP);
        (void)nanosleep(&(struct timespec){.tv_sec = 6}, NULL);
        (void)send(fd, rest, sizeof rest - 1, MSG_NOSIGNAL);
        (void)nanosleep(&(struct timespec){.tv_nsec = 100 * NS_PER_MS}, NULL);
        (void)kill(parent, SIGCONT);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    struct request *r = script_request(&own, 0);
    script_done(&own, r->client);
    ck_assert(hear(fd, &h, "\"decode_tokens\":", 3000));
    hush(&h);
    close(fd);
    server_stop(own.server, NS_PER_S);
    server_free(own.server);
    request_free(r);
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
    tcase_add_test(t, large_bodies_do_not_lock_small_ones_out);
    tcase_add_test(t, a_large_body_is_taken);
    tcase_add_test(t, framing_that_has_two_readings);
#ifdef __linux__
    tcase_add_test(t, what_is_not_http_gets_one_answer_of_ours);
#endif
    tcase_add_test(t, a_refusal_does_not_wait_for_the_body);
    tcase_add_test(t, headers_that_are_too_large);
    tcase_add_test(t, paths_and_methods);
    tcase_add_test(t, admin_requests_become_data);
    tcase_add_test(t, events_stream_until_the_client_leaves);
    tcase_add_test(t, a_thousand_wait);
    tcase_add_test(t, a_full_front_says_so);
    tcase_add_test(t, a_question_is_watched_too);
    tcase_add_test(t, a_slow_upload_is_no_waiting);
    tcase_add_test(t, silence_on_a_stream_is_broken_in_time);
    tcase_add_test(t, which_lost_replies_end_a_request);
    tcase_add_test(t, keys_are_needed_where_others_can_call);
    tcase_add_test(t, stopping_ends_what_waits);
    tcase_add_test(t, a_body_that_stops_half_way);
    tcase_add_test(t, time_in_which_nothing_ran_is_nobodys_slowness);
    tcase_add_test(t, a_taken_port_is_named);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
