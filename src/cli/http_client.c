/* http_client.c - the only file that sees libcurl. */
#include "cli/http_client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define CONNECT_TIMEOUT_MS 5000L
#define ANSWER_BYTES (64u << 20)

static size_t body_write(char *data, size_t size, size_t n, void *ctx) {
    struct buf *body = ctx;
    buf_put(body, data, size * n);
    return body->error == ERR_OK ? size * n : 0;
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
    const char *const lines[] = {"Content-Type: application/json", "Expect:", bearer};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        if (!lines[i]) continue;
        next = curl_slist_append(list, lines[i]);
        if (!next)
            *ret_ok = false;
        else
            list = next;
    }
    if (call->key && !bearer) *ret_ok = false;
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

static enum err call_run(CURL *curl, const struct http_call *call, const char *url, struct http_answer *ret,
                         char *why) {
    bool ok = false;
    struct curl_slist *headers = call_headers(call, &ok);
    char text[CURL_ERROR_SIZE] = "";
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, body_write);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, &ret->body);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
    (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "hotseat/" HOTSEAT_VERSION);
    if (server_is_local(url)) (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    if (call->body)
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body);
    else if (strcmp(call->method, "POST") == 0)
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    CURLcode rc = ok ? curl_easy_perform(curl) : CURLE_OUT_OF_MEMORY;
    long status = 0;
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    ret->status = (int)status;
    curl_slist_free_all(headers);
    if (rc != CURLE_OK) snprintf(why, HTTP_CLIENT_ERROR_BYTES, "%s", text[0] ? text : curl_easy_strerror(rc));
    return curl_err(rc);
}

enum err http_client_call(const struct http_call *call, struct http_answer *ret, char *why) {
    *ret = (struct http_answer){.body = BUF(ANSWER_BYTES)};
    size_t n = strlen(call->server);
    while (n > 0 && call->server[n - 1] == '/') n--;
    AUTO(mem_freep) char *url = mem_printf("%.*s%s", (int)n, call->server, call->path);
    if (!url || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        snprintf(why, HTTP_CLIENT_ERROR_BYTES, "%s", err_text(ERR_NOMEM));
        return ERR_NOMEM;
    }
    CURL *curl = curl_easy_init();
    enum err err = ERR_NOMEM;
    if (curl)
        err = call_run(curl, call, url, ret, why);
    else
        snprintf(why, HTTP_CLIENT_ERROR_BYTES, "%s", err_text(ERR_NOMEM));
    curl_easy_cleanup(curl);
    curl_global_cleanup();
    if (err != ERR_OK) buf_free(&ret->body);
    return err;
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
