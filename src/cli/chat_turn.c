#include "cli/chat_turn.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "cli/http_client.h"
#include "cli/sse_reader.h"
#include "cli/table.h"

#define SILENCE_S 60      /* the server says something every 5 s */
#define WAIT_WORTH_MS 100 /* of waiting, to be told */
#define BODY_BYTES (64u << 20)

struct turn {
    struct chat *chat;
    struct sse_reader reader;
    struct buf text;           /* the answer so far */
    struct json *error, *last; /* the error's event; the one with the figures */
    char finish[16];
    bool thought, done;
    enum err err;
};

/* ---- what comes ---- */

/* "waiting model=B position=3 eta_ms=4200"; a model's name may hold spaces. */
static void show_comment(struct chat *chat, const char *comment) {
    const char *model = strstr(comment, "model="), *position = strstr(comment, " position="),
               *eta = strstr(comment, " eta_ms=");
    unsigned place = 0;
    long long eta_ms = 0;
    if (strncmp(comment, "working", 7) == 0) terminal_status(&chat->terminal, "reading the conversation");
    if (strncmp(comment, "waiting", 7) != 0 || !model || !position || model > position) return;
    (void)sscanf(position, " position=%u", &place);
    if (eta) (void)sscanf(eta, " eta_ms=%lld", &eta_ms);
    model += strlen("model=");
    terminal_status(&chat->terminal, "waiting for %.*s: place %u%s%s", (int)(position - model), model, place,
                    eta_ms > 0 ? ", about " : "", eta_ms > 0 ? human_ms(eta_ms) : "");
}

static void show_delta(struct turn *t, const struct json *delta) {
    struct terminal *out = &t->chat->terminal;
    size_t size = 0;
    const char *text = json_string(json_get(delta, "reasoning_content"), &size);
    if (text && size) {
        terminal_text(out, text, size, true);
        t->thought = true;
    }
    text = json_string(json_get(delta, "content"), &size);
    if (!text || !size) return;
    if (t->thought && t->text.size == 0) terminal_line_end(out);
    buf_put(&t->text, text, size);
    terminal_text(out, text, size, false);
}

static void take_event(void *ctx, const struct sse_event *e) {
    struct turn *t = ctx;
    struct json_error at;
    if (e->comment) {
        show_comment(t->chat, e->comment);
        return;
    }
    if (strcmp(e->data, "[DONE]") == 0) {
        t->done = true;
        return;
    }
    AUTO(json_freep) struct json *event = json_read(e->data, e->data_size, &at);
    const struct json *choice = json_at(json_get(event, "choices"), 0);
    const char *finish = cli_text(choice, "finish_reason"), *model = cli_text(event, "model");
    if (!event) t->err = ERR_PROTOCOL;
    if (model && *model && !t->chat->model && !(t->chat->model = mem_strdup(model))) t->err = ERR_NOMEM;
    if (finish) snprintf(t->finish, sizeof t->finish, "%s", finish);
    show_delta(t, json_get(choice, "delta"));
    struct json **keep = json_get(event, "error")                             ? &t->error
                         : json_type(json_get(event, "usage")) == JSON_OBJECT ? &t->last
                                                                              : NULL;
    if (!keep) return;
    json_free(*keep);
    *keep = TAKE(event);
}

static bool take_bytes(void *ctx, const void *data, size_t size_bytes) {
    struct turn *t = ctx;
    enum err err = sse_reader_feed(&t->reader, data, size_bytes, take_event, t);
    if (!t->err) t->err = err ? err : t->text.error;
    return !t->err;
}

/* ---- what it took ---- */

static void put_wait(const struct json *h, struct buf *line) {
    int64_t queue_ms = cli_ms(h, "queue_ms"), swap_ms = cli_ms(h, "swap_ms");
    if (queue_ms + swap_ms < WAIT_WORTH_MS) return;
    buf_printf(line, "; waited %s", human_ms(queue_ms));
    if (swap_ms > 0) buf_printf(line, ", the swap took %s", human_ms(swap_ms));
}

static void tell_figures(const struct turn *t) {
    const struct json *usage = json_get(t->last, "usage"), *h = json_get(t->last, "hotseat");
    uint64_t cached = cli_u64(json_get(usage, "prompt_tokens_details"), "cached_tokens");
    uint64_t n = cli_u64(h, "decode_tokens");
    double decode_ms = json_number(json_get(h, "decode_ms"), 0);
    double restore_ms = json_number(json_get(h, "restore_ms"), 0); /* 0: it was in the cells still */
    AUTO(buf_free) struct buf line = BUF(4096);
    if (!usage) return;
    buf_printf(&line, "%s: ", t->chat->model ? t->chat->model : "?");
    if (cached)
        buf_printf(&line, "%llu of %llu tokens from the cache", (unsigned long long)cached,
                   (unsigned long long)cli_u64(usage, "prompt_tokens"));
    if (cached && restore_ms > 0) buf_printf(&line, ", restored in %.1f ms", restore_ms);
    if (cached) buf_puts(&line, ", ");
    buf_printf(&line, "%llu read in %s; %llu written", (unsigned long long)cli_u64(h, "prefill_tokens"),
               human_ms(cli_ms(h, "prefill_ms")), (unsigned long long)cli_u64(usage, "completion_tokens"));
    if (n && decode_ms > 0) buf_printf(&line, ", %.1f tokens/s", (double)n * 1000 / decode_ms);
    put_wait(h, &line);
    AUTO(mem_freep) char *text = buf_take_string(&line);
    if (text) terminal_note(&t->chat->terminal, "%s", text);
}

/* ---- the turn ---- */

static const struct wake *stop_of_handler;
static void on_interrupt(int sig UNUSED) {
    wake_signal(stop_of_handler); /* one write() */
}

static char *turn_body(const struct chat *chat) {
    struct buf body = BUF(BODY_BYTES);
    struct json_out w = json_out_into(&body);
    json_obj(&w);
    if (chat->model) json_key(&w, "model"), json_str(&w, chat->model);
    json_key(&w, "stream"), json_boolean(&w, true);
    json_key(&w, "stream_options");
    json_obj(&w);
    json_key(&w, "include_usage"), json_boolean(&w, true);
    json_end(&w);
    json_key(&w, "messages"), talk_write(&chat->talk, &w);
    json_end(&w);
    char *text = buf_take_string(&body);
    buf_free(&body);
    return text;
}

/* Only while an answer comes, and only where somebody types: else Ctrl-C ends the program as any other. */
static enum err ask(struct turn *t, const struct http_call *call, struct http_answer *answer, char *why) {
    struct chat *chat = t->chat;
    struct sigaction ours = {.sa_handler = on_interrupt}, before;
    struct http_stream stream = {.take = take_bytes, .ctx = t, .stop = &chat->stop, .silence_s = SILENCE_S};
    sigemptyset(&ours.sa_mask);
    stop_of_handler = &chat->stop;
    wake_clear(&chat->stop);
    if (chat->terminal.talks) sigaction(SIGINT, &ours, &before);
    enum err err = http_client_stream(call, &stream, answer, why);
    if (chat->terminal.talks) sigaction(SIGINT, &before, NULL);
    return err;
}

/* Something came, or it was told why not. */
static int turn_end(struct turn *t, enum err err, struct http_answer *answer, const char *why) {
    const struct cli_request request = {.method = "POST", .path = "/v1/chat/completions"};
    struct chat *chat = t->chat;
    struct json_error at;
    terminal_line_end(&chat->terminal);
    if (err == ERR_CANCELED && t->err) return cli_no_answer(chat->cli, t->err, err_text(t->err));
    if (err == ERR_CANCELED) {
        terminal_note(&chat->terminal, "stopped");
        return CLI_DONE;
    }
    if (err) return cli_no_answer(chat->cli, err, why);
    if (answer->status / 100 != 2 || t->error) {
        AUTO(json_freep)
        struct json *body = t->error ? NULL : json_read(answer->body.data, answer->body.size, &at);
        return cli_refused(chat->cli, &request, answer->status, t->error ? t->error : body);
    }
    if (!t->done) return cli_no_answer(chat->cli, ERR_EOF, "the stream broke off");
    tell_figures(t);
    if (strcmp(t->finish, "length") == 0)
        terminal_note(&chat->terminal, "cut off: the context is full; /new begins anew");
    return CLI_DONE;
}

int chat_turn(struct chat *chat) {
    struct turn t = {.chat = chat, .reader = SSE_READER, .text = BUF(ANSWER_BYTES_MAX)};
    struct http_answer answer = {0};
    char why[HTTP_CLIENT_ERROR_BYTES] = "";
    AUTO(mem_freep) char *body = turn_body(chat);
    struct http_call call = {.server = chat->cli->server,
                             .method = "POST",
                             .path = "/v1/chat/completions",
                             .body = body,
                             .key = cli_key(chat->cli, false),
                             .agent = chat->agent};
    enum err err = body ? ask(&t, &call, &answer, why) : ERR_NOMEM;
    int status = turn_end(&t, err, &answer, why);
    if (t.text.size == 0 ||
        talk_add(&chat->talk, TALK_ASSISTANT, (const char *)t.text.data, t.text.size) != ERR_OK)
        talk_drop_last(&chat->talk);
    if (err != ERR_OK) answer.body = BUF(0);
    buf_free(&answer.body);
    buf_free(&t.text);
    sse_reader_free(&t.reader);
    json_free(t.error);
    json_free(t.last);
    return status;
}
