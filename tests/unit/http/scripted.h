/* scripted.h - a server on a free port of this machine with a front that does what the test says, and a client that
 * sends raw bytes. Used by the tests of http that need a socket. */
#ifndef HOTSEAT_TESTS_HTTP_SCRIPTED_H
#define HOTSEAT_TESTS_HTTP_SCRIPTED_H

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/server.h"
#include "http/server_impl.h"

#define SCRIPT_REQUESTS_MAX 2048

struct script {
    struct config config;
    struct server *server;
    struct front_sink sink;
    pthread_mutex_t lock;
    struct request *requests[SCRIPT_REQUESTS_MAX]; /* in the order they came */
    _Atomic int n_requests, n_cancels;
    _Atomic uint64_t canceled; /* the last one */
    enum err refuse;           /* what post answers, when not OK */
    enum front_readiness readiness;
};

static UNUSED enum err script_post(void *front, struct request *r) {
    struct script *s = front;
    if (s->refuse) return s->refuse;
    pthread_mutex_lock(&s->lock);
    ck_assert_int_lt(s->n_requests, SCRIPT_REQUESTS_MAX);
    s->requests[s->n_requests] = r;
    pthread_mutex_unlock(&s->lock);
    s->n_requests++;
    return ERR_OK;
}

static UNUSED void script_cancel(void *front, uint64_t client) {
    struct script *s = front;
    s->canceled = client;
    s->n_cancels++;
}

static UNUSED enum front_readiness script_readiness(void *front) {
    return ((struct script *)front)->readiness;
}

static UNUSED enum err script_metrics(void *front UNUSED, struct buf *out) {
    buf_puts(out, "hotseat_up 1\n");
    return ERR_OK;
}

static UNUSED void script_open(struct script *s) {
    char why[256];
    log_open(LOG_ERROR, "test");
    pthread_mutex_init(&s->lock, NULL);
    static char host[] = "127.0.0.1";
    if (!s->config.host) s->config.host = host;
    ck_assert_msg(server_open(&s->config, &s->server, why, sizeof why) == ERR_OK, "%s", why);
    s->sink = server_sink(s->server);
    server_attach_to(s->server, &(struct server_front){.front = s,
                                                       .post = script_post,
                                                       .cancel = script_cancel,
                                                       .readiness = script_readiness,
                                                       .metrics_text = script_metrics});
}

static UNUSED void script_start(struct script *s) {
    if (!s->server) script_open(s);
    ck_assert_int_eq(server_start(s->server), ERR_OK);
}

static UNUSED void script_end(struct script *s) {
    server_stop(s->server, NS_PER_S);
    server_free(s->server);
    for (int i = 0; i < s->n_requests; i++) request_free(s->requests[i]);
    pthread_mutex_destroy(&s->lock);
    ck_assert_int_eq(mem_live_count(), 0);
}

/* Waits until *counter has reached n; false after limit_ms. */
static UNUSED bool script_reached(_Atomic int *counter, int n, int limit_ms) {
    int64_t end_ns = clock_now_ns() + limit_ms * NS_PER_MS;
    while (*counter < n) {
        if (clock_now_ns() > end_ns) return false;
        poll(NULL, 0, 1);
    }
    return true;
}

static UNUSED struct request *script_request(struct script *s, int i) {
    ck_assert_msg(script_reached(&s->n_requests, i + 1, 5000), "request %d did not come", i);
    return s->requests[i];
}

static UNUSED void script_say(struct script *s, struct reply *r) {
    ck_assert_ptr_nonnull(r);
    if (!r->model) r->model = mem_strdup("small");
    ck_assert_int_eq(s->sink.post(s->sink.ctx, r), ERR_OK);
}

static UNUSED void script_delta(struct script *s, uint64_t client, const char *text, size_t size) {
    struct reply *r = reply_new(client, REPLY_DELTA);
    r->text = (struct msg_bytes){.data = mem_dup(text, size), .size = (uint32_t)size};
    script_say(s, r);
}

static UNUSED void script_done(struct script *s, uint64_t client) {
    struct reply *r = reply_new(client, REPLY_DONE);
    r->done.finish = MSG_FINISH_STOP;
    r->done.prompt_tokens = 7;
    r->done.cached_tokens = 5;
    r->done.generated_tokens = 3;
    script_say(s, r);
}

/* ---- the client ---- */

static UNUSED int dial(const struct script *s) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(server_port(s->server))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static UNUSED void say(int fd, const void *data, size_t size) {
    const char *p = data;
    while (size > 0) {
        ssize_t n = send(fd, p, size, MSG_NOSIGNAL);
        ck_assert_msg(n > 0, "the server closed while we were sending");
        p += n;
        size -= (size_t)n;
    }
}

static UNUSED void says(int fd, const char *text) {
    say(fd, text, strlen(text));
}

static UNUSED void post_json(int fd, const char *path, const char *more_headers, const char *body) {
    char head[1024];
    snprintf(head, sizeof head,
             "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
             "%zu\r\n%s\r\n",
             path, strlen(body), more_headers);
    says(fd, head);
    says(fd, body);
}

struct heard {
    char *text; /* all bytes, NUL-terminated */
    size_t size, room;
    bool closed;
};

/* Reads until `until` is in what was heard, the peer closes, or limit_ms passes. True when it is there. */
static UNUSED bool hear(int fd, struct heard *h, const char *until, int limit_ms) {
    int64_t end_ns = clock_now_ns() + limit_ms * NS_PER_MS;
    for (;;) {
        if (until && h->text && memmem(h->text, h->size, until, strlen(until))) return true;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left_ms = (end_ns - clock_now_ns()) / NS_PER_MS;
        if (h->closed || left_ms <= 0 || poll(&p, 1, (int)left_ms) <= 0) return false;
        if (h->room < h->size + 65537) {
            h->room = 2 * h->size + 65537;
            h->text = realloc(h->text, h->room);
            ck_assert_ptr_nonnull(h->text);
        }
        ssize_t n = recv(fd, h->text + h->size, 65536, 0);
        if (n <= 0) {
            h->closed = true;
            n = 0;
        }
        h->size += (size_t)n;
        h->text[h->size] = '\0';
    }
}

static UNUSED void hush(struct heard *h) {
    free(h->text);
    *h = (struct heard){0};
}

/* One request on a fresh connection, everything the server says until it closes or a whole answer is there. */
static UNUSED struct heard ask(const struct script *s, const char *bytes) {
    struct heard h = {0};
    int fd = dial(s);
    says(fd, bytes);
    if (hear(fd, &h, "\r\n\r\n", 5000)) {
        const char *length = strcasestr(h.text, "content-length: ");
        size_t head = (size_t)(strstr(h.text, "\r\n\r\n") - h.text) + 4;
        size_t body = length ? strtoul(length + 16, NULL, 10) : 0;
        int64_t end_ns = clock_now_ns() + 5 * NS_PER_S;
        while (h.size < head + body && !h.closed && clock_now_ns() < end_ns) (void)hear(fd, &h, NULL, 50);
    }
    close(fd);
    return h;
}

#define ASK_EXPECTS(script, request, ...)                                                                    \
    do {                                                                                                     \
        struct heard heard_ = ask(script, request);                                                          \
        const char *const wanted_[] = {__VA_ARGS__};                                                         \
        for (size_t i_ = 0; i_ < ARRAY_LEN(wanted_); i_++)                                                   \
            ck_assert_msg(heard_.text &&strstr(heard_.text, wanted_[i_]), "no '%s' in:\n%s", wanted_[i_],    \
                          heard_.text ? heard_.text : "(nothing)");                                          \
        hush(&heard_);                                                                                       \
    } while (0)

#endif
