/* http_client.c - the only file that sees libcurl. */
#include "cli/http_client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define CONNECT_TIMEOUT_MS 5000L
#define POLL_MS 1000
#define ANSWER_BYTES (64u << 20)

struct transfer {
    CURL *curl;
    const struct http_stream *stream; /* NULL: the whole answer at its end */
    struct http_answer *answer;
    bool ended; /* by the one who takes the stream */
};

static int status_of(CURL *curl) {
    long status = 0;
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

static size_t body_write(char *data, size_t size, size_t n, void *ctx) {
    struct transfer *t = ctx;
    if (t->stream && status_of(t->curl) / 100 == 2) {
        t->ended = !t->stream->take(t->stream->ctx, data, size * n);
        return t->ended ? 0 : size * n;
    }
    buf_put(&t->answer->body, data, size * n);
    return t->answer->body.error == ERR_OK ? size * n : 0;
}

/* A proxy of the environment is no way to this very machine. */
static bool server_is_local(const char *url) {
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    return strncmp(host, "127.", 4) == 0 || strncmp(host, "localhost", 9) == 0 ||
           strncmp(host, "[::1]", 5) == 0;
}

static struct curl_slist *call_headers(const struct http_call *call, bool *ret_ok) {
    struct curl_slist *list = NULL, *next;
    *ret_ok = true;
    AUTO(mem_freep) char *bearer = call->key ? mem_printf("Authorization: Bearer %s", call->key) : NULL;
    AUTO(mem_freep) char *agent = call->agent ? mem_printf("X-Hotseat-Agent: %s", call->agent) : NULL;
    const char *const lines[] = {"Content-Type: application/json", "Expect:", bearer, agent};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        if (!lines[i]) continue;
        next = curl_slist_append(list, lines[i]);
        if (!next)
            *ret_ok = false;
        else
            list = next;
    }
    if ((call->key && !bearer) || (call->agent && !agent)) *ret_ok = false;
    return list;
}

static enum err curl_err(CURLcode rc) {
    if (rc == CURLE_OK) return ERR_OK;
    if (rc == CURLE_COULDNT_CONNECT || rc == CURLE_COULDNT_RESOLVE_HOST || rc == CURLE_COULDNT_RESOLVE_PROXY)
        return ERR_NOT_FOUND;
    if (rc == CURLE_OPERATION_TIMEDOUT) return ERR_TIMEOUT;
    if (rc == CURLE_OUT_OF_MEMORY) return ERR_NOMEM;
    if (rc == CURLE_URL_MALFORMAT || rc == CURLE_UNSUPPORTED_PROTOCOL) return ERR_INVALID;
    return ERR_IO;
}

/* Like curl_easy_perform(), but that it ends when it is told to. */
static CURLcode perform_until(const struct transfer *t, bool *ret_stopped) {
    CURLM *multi = curl_multi_init();
    CURLcode rc = CURLE_OUT_OF_MEMORY;
    int running = 1, left = 0;
    *ret_stopped = false;
    if (!multi || curl_multi_add_handle(multi, t->curl) != CURLM_OK) running = 0;
    while (running && !*ret_stopped) {
        struct curl_waitfd stop = {.fd = t->stream->stop->read_fd, .events = CURL_WAIT_POLLIN};
        if (curl_multi_perform(multi, &running) != CURLM_OK) break;
        if (running && curl_multi_poll(multi, &stop, 1, POLL_MS, NULL) != CURLM_OK) break;
        *ret_stopped = running && (stop.revents & CURL_WAIT_POLLIN);
    }
    for (const CURLMsg *m; multi && (m = curl_multi_info_read(multi, &left));)
        if (m->msg == CURLMSG_DONE) rc = m->data.result;
    if (multi) (void)curl_multi_remove_handle(multi, t->curl);
    (void)curl_multi_cleanup(multi);
    return rc;
}

static void set_up(const struct http_call *call, const char *url, struct transfer *t, char *text) {
    CURL *curl = t->curl;
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, body_write);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
    (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "hotseat/" HOTSEAT_VERSION);
    if (server_is_local(url)) (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    if (call->body)
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body);
    else if (strcmp(call->method, "POST") == 0)
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    if (t->stream && t->stream->silence_s > 0) {
        (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)t->stream->silence_s);
    }
}

static enum err call_run(const struct http_call *call, const char *url, struct transfer *t, char *why) {
    bool ok = false, stopped = false;
    struct curl_slist *headers = call_headers(call, &ok);
    char text[CURL_ERROR_SIZE] = "";
    CURLcode rc = CURLE_OUT_OF_MEMORY;
    set_up(call, url, t, text);
    (void)curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, headers);
    if (ok) rc = t->stream ? perform_until(t, &stopped) : curl_easy_perform(t->curl);
    t->answer->status = status_of(t->curl);
    curl_slist_free_all(headers);
    if (stopped || t->ended) return ERR_CANCELED;
    if (rc != CURLE_OK) snprintf(why, HTTP_CLIENT_ERROR_BYTES, "%s", text[0] ? text : curl_easy_strerror(rc));
    return curl_err(rc);
}

static enum err call_open(const struct http_call *call, const struct http_stream *stream,
                          struct http_answer *ret, char *why) {
    *ret = (struct http_answer){.body = BUF(ANSWER_BYTES)};
    size_t n = strlen(call->server);
    while (n > 0 && call->server[n - 1] == '/') n--;
    AUTO(mem_freep) char *url = mem_printf("%.*s%s", (int)n, call->server, call->path);
    if (!url || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        snprintf(why, HTTP_CLIENT_ERROR_BYTES, "%s", err_text(ERR_NOMEM));
        return ERR_NOMEM;
    }
    struct transfer t = {.curl = curl_easy_init(), .stream = stream, .answer = ret};
    enum err err = ERR_NOMEM;
    if (t.curl)
        err = call_run(call, url, &t, why);
    else
        snprintf(why, HTTP_CLIENT_ERROR_BYTES, "%s", err_text(ERR_NOMEM));
    curl_easy_cleanup(t.curl);
    curl_global_cleanup();
    if (err != ERR_OK) buf_free(&ret->body);
    return err;
}

enum err http_client_call(const struct http_call *call, struct http_answer *ret, char *why) {
    return call_open(call, NULL, ret, why);
}

enum err http_client_stream(const struct http_call *call, const struct http_stream *stream,
                            struct http_answer *ret, char *why) {
    return call_open(call, stream, ret, why);
}

char *http_client_escape(const char *text) {
    static const char hex[] = "0123456789ABCDEF";
    size_t n = strlen(text), at = 0;
    char *out = mem_alloc(n * 3 + 1);
    if (!out) return NULL;
    for (size_t i = 0; i < n; i++) {
        uint8_t b = (uint8_t)text[i];
        bool plain = (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') || b == '-' ||
                     b == '_' || b == '~' ||
                     (b == '.' && n > 2); /* "." and ".." alone would be eaten by whoever normalises paths */
        if (plain) {
            out[at++] = (char)b;
        } else {
            out[at++] = '%';
            out[at++] = hex[b >> 4];
            out[at++] = hex[b & 15];
        }
    }
    return out;
}
