/* One request against a socket that says what the test wants. */
#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/http_client.h"

struct canned {
    int fd;
    int port;
    const char *answer;
    bool holds;              /* the connection stays open until the client ends it */
    const struct wake *wake; /* signalled when the request has come */
    char seen[4096];
    pthread_t thread;
};

static void *canned_serve(void *ctx) {
    struct canned *c = ctx;
    int fd = accept(c->fd, NULL, NULL);
    size_t n = 0;
    while (n < sizeof c->seen - 1 && !strstr(c->seen, "\r\n\r\n")) {
        ssize_t got = read(fd, c->seen + n, sizeof c->seen - 1 - n);
        if (got <= 0) break;
        n += (size_t)got;
    }
    if (c->wake) wake_signal(c->wake);
    if (write(fd, c->answer, strlen(c->answer)) < 0) perror("write");
    char more[64];
    while (c->holds && read(fd, more, sizeof more) > 0) {
    }
    close(fd);
    return NULL;
}

static void canned_open(struct canned *c, const char *answer) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    *c = (struct canned){.answer = answer, .fd = socket(AF_INET, SOCK_STREAM, 0)};
    ck_assert_int_eq(bind(c->fd, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(c->fd, 1), 0);
    ck_assert_int_eq(getsockname(c->fd, (struct sockaddr *)&at, &size), 0);
    c->port = ntohs(at.sin_port);
    ck_assert_int_eq(pthread_create(&c->thread, NULL, canned_serve, c), 0);
}

static void canned_close(struct canned *c) {
    pthread_join(c->thread, NULL);
    close(c->fd);
}

START_TEST(test_status_and_body_come_back) {
    struct canned c;
    struct http_answer answer;
    char url[64], why[HTTP_CLIENT_ERROR_BYTES];
    canned_open(&c, "HTTP/1.1 422 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", c.port);
    struct http_call call = {
        .server = url, .method = "POST", .path = "/x", .body = "", .key = "k1", .timeout_ms = 5000};
    ck_assert_msg(http_client_call(&call, &answer, why) == ERR_OK, "%s", why);
    ck_assert_int_eq(answer.status, 422);
    ck_assert_uint_eq(answer.body.size, 2);
    buf_free(&answer.body);
    canned_close(&c);
    ck_assert_int_eq(strncmp(c.seen, "POST /x HTTP/1.1\r\n", 18), 0);
    ck_assert_ptr_nonnull(strstr(c.seen, "Authorization: Bearer k1\r\n"));
    ck_assert_ptr_null(strstr(c.seen, "Expect:"));
}
END_TEST

START_TEST(test_an_answer_that_breaks_off) {
    struct canned c;
    struct http_answer answer;
    char url[64], why[HTTP_CLIENT_ERROR_BYTES] = "";
    canned_open(&c, "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n{");
    snprintf(url, sizeof url, "http://127.0.0.1:%d", c.port);
    struct http_call call = {.server = url, .method = "GET", .path = "/", .timeout_ms = 5000};
    ck_assert_int_eq(http_client_call(&call, &answer, why), ERR_IO);
    ck_assert_uint_gt(strlen(why), 0);
    canned_close(&c);
}
END_TEST

START_TEST(test_nobody_there_and_no_url) {
    struct http_answer answer;
    char why[HTTP_CLIENT_ERROR_BYTES] = "";
    struct http_call call = {
        .server = "http://127.0.0.1:1", .method = "GET", .path = "/", .timeout_ms = 5000};
    ck_assert_int_eq(http_client_call(&call, &answer, why), ERR_NOT_FOUND);
    ck_assert_uint_gt(strlen(why), 0);
    call.server = "ftp://127.0.0.1:1";
    ck_assert_int_eq(http_client_call(&call, &answer, why), ERR_INVALID);
    call.server = "http://:x y";
    ck_assert_int_ne(http_client_call(&call, &answer, why), ERR_OK);
}
END_TEST

struct taken {
    char text[256];
    size_t size, most;
    bool stops;
    struct wake stop;
};

static bool take(void *ctx, const void *data, size_t size_bytes) {
    struct taken *t = ctx;
    ck_assert_uint_lt(t->size + size_bytes, sizeof t->text);
    memcpy(t->text + t->size, data, size_bytes);
    t->size += size_bytes;
    return t->size <= t->most;
}

static enum err stream(const char *raw, bool holds, struct taken *t, struct http_answer *answer) {
    struct canned c;
    char url[64], why[HTTP_CLIENT_ERROR_BYTES];
    canned_open(&c, raw);
    c.holds = holds;
    c.wake = t->stops ? &t->stop : NULL;
    snprintf(url, sizeof url, "http://127.0.0.1:%d", c.port);
    struct http_call call = {.server = url, .method = "POST", .path = "/x", .body = "{}", .agent = "ann"};
    struct http_stream s = {.take = take, .ctx = t, .stop = &t->stop, .silence_s = 1};
    enum err err = http_client_stream(&call, &s, answer, why);
    canned_close(&c);
    ck_assert_ptr_nonnull(strstr(c.seen, "X-Hotseat-Agent: ann\r\n"));
    return err;
}

static struct taken taken_open(void) {
    struct taken t = {.most = 200};
    ck_assert_int_eq(wake_open(&t.stop), ERR_OK);
    return t;
}

START_TEST(test_stream_is_taken_as_it_comes) {
    struct taken t = taken_open();
    struct http_answer answer;
    ck_assert_int_eq(stream("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ndata: x\n\n", false, &t, &answer),
                     ERR_OK);
    ck_assert_int_eq(answer.status, 200);
    ck_assert_str_eq(t.text, "data: x\n\n");
    ck_assert_uint_eq(answer.body.size, 0);
    buf_free(&answer.body);
    wake_close(&t.stop);
}
END_TEST

START_TEST(test_refusal_of_a_stream_is_a_body) {
    struct taken t = taken_open();
    struct http_answer answer;
    ck_assert_int_eq(
        stream("HTTP/1.1 404 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", false, &t, &answer),
        ERR_OK);
    ck_assert_int_eq(answer.status, 404);
    ck_assert_uint_eq(t.size, 0);
    ck_assert_uint_eq(answer.body.size, 2);
    buf_free(&answer.body);
    wake_close(&t.stop);
}
END_TEST

START_TEST(test_stream_that_is_stopped) {
    struct taken t = taken_open();
    struct http_answer answer;
    t.stops = true;
    ck_assert_int_eq(stream("", true, &t, &answer), ERR_CANCELED); /* while it waits for the first byte */
    wake_clear(&t.stop);
    t.stops = false;
    t.most = 0;
    ck_assert_int_eq(stream("HTTP/1.1 200 OK\r\n\r\ndata", true, &t, &answer),
                     ERR_CANCELED); /* by the one who takes it */
    wake_close(&t.stop);
}
END_TEST

START_TEST(test_stream_that_breaks_off) {
    struct taken t = taken_open();
    struct http_answer answer;
    ck_assert_int_eq(stream("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ndata", false, &t, &answer), ERR_IO);
    ck_assert_int_eq(stream("", true, &t, &answer), ERR_TIMEOUT); /* silent for too long */
    wake_close(&t.stop);
}
END_TEST

START_TEST(test_escape) {
    static const char *const cases[][2] = {{"ann@example.org", "ann%40example.org"},
                                           {"a/b c", "a%2Fb%20c"},
                                           {"..", "%2E%2E"},
                                           {"\xC3\xBC", "%C3%BC"},
                                           {"a-b_c~1", "a-b_c~1"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = http_client_escape(cases[i][0]);
        ck_assert_str_eq(text, cases[i][1]);
        mem_free(text);
    }
}
END_TEST

int main(void) {
    Suite *s = suite_create("http_client");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 30);
    tcase_add_test(t, test_status_and_body_come_back);
    tcase_add_test(t, test_an_answer_that_breaks_off);
    tcase_add_test(t, test_nobody_there_and_no_url);
    tcase_add_test(t, test_stream_is_taken_as_it_comes);
    tcase_add_test(t, test_refusal_of_a_stream_is_a_body);
    tcase_add_test(t, test_stream_that_is_stopped);
    tcase_add_test(t, test_stream_that_breaks_off);
    tcase_add_test(t, test_escape);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
