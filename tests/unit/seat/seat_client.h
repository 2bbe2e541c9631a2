/* seat_client.h - a front for tests: starts the seat in a child process (the fake engine, in this very program) and speaks
 * frames with it. */
#ifndef HOTSEAT_TESTS_SEAT_CLIENT_H
#define HOTSEAT_TESTS_SEAT_CLIENT_H

#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "check_run.h"
#include "gguf_tiny.h"
#include "link/channel.h"
#include "seat/seat.h"

#define CLIENT_PATIENCE_NS (60 * NS_PER_S)
#define CLIENT_REQUESTS_MAX 256

struct answer {                               /* what one request got */
    struct buf text, reasoning, tools, probs; /* probs: DELTA.logprobs */
    int32_t tokens[8192], shown[16384];
    uint32_t n_tokens, n_shown, shown_after[8192]; /* by token: how much of shown had come with it */
    bool started, parked, failed, ended;
    struct msg_tokens prompt_ids;          /* of STARTED; owned */
    struct msg_tokens look_ids, look_ends; /* of DONE; owned, as its text */
    struct msg_bytes look_text;
    struct msg_done done; /* its strings are copied below */
    char logits[20], kv[20], error[512], param[64];
    enum err err;
};

struct client {
    struct channel *channel;
    pid_t pid;
    uint64_t op, request;
    struct msg_stats stats;
    uint32_t n_stats, n_progress;
    struct msg last;                             /* the last end answer of an operation; owned */
    struct answer *answers[CLIENT_REQUESTS_MAX]; /* by request number */
};

static char client_dir[64];
static char client_model[8][96]; /* a, b: one shape, other weights; w: with a window; c: a small context */
enum { MODEL_A, MODEL_B, MODEL_W, MODEL_C, MODEL_SLOW };

static inline void client_files(void) {
    snprintf(client_dir, sizeof client_dir, "/tmp/test_seat_XXXXXX");
    ck_assert(mkdtemp(client_dir) != NULL);
    static const char *const names[] = {"a", "b", "w", "c", "slow"};
    const struct gguf_tiny specs[] = {{.seed = 1, .context = 8192},
                                      {.seed = 2, .context = 8192},
                                      {.architecture = "gemma3", .layers = 6, .window = 300, .context = 8192},
                                      {.seed = 3, .context = 600},
                                      {.seed = 4, .name = "slow token_us=2000 load_ms=1500"}};
    for (size_t i = 0; i < 5; i++) {
        snprintf(client_model[i], sizeof client_model[i], "%s/%s.gguf", client_dir, names[i]);
        ck_assert(gguf_tiny_write(client_model[i], &specs[i]));
    }
}

static inline int client_unlink(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}
static inline void client_files_remove(void) {
    nftw(client_dir, client_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void client_send(struct client *c, struct msg *m) {
    ck_assert_int_eq(channel_send(c->channel, m), ERR_OK);
    ck_assert_int_eq(channel_flush(c->channel), ERR_OK);
}

static inline void answer_add(struct client *c, struct msg *m, struct answer *a) {
    if (m->type == MSG_TYPE_STARTED) {
        a->started = true;
        a->prompt_ids = m->started.prompt_ids;
        m->started.prompt_ids = (struct msg_tokens){0};
    }
    if (m->type == MSG_TYPE_DELTA) {
        ck_assert(!a->ended);
        buf_put(&a->text, m->delta.text.data, m->delta.text.size);
        buf_put(&a->reasoning, m->delta.reasoning.data, m->delta.reasoning.size);
        buf_put(&a->tools, m->delta.tool_calls.data, m->delta.tool_calls.size);
        buf_put(&a->probs, m->delta.logprobs.data, m->delta.logprobs.size);
        for (uint32_t i = 0; i < m->delta.shown.n; i++) a->shown[a->n_shown++] = m->delta.shown.ids[i];
        for (uint32_t i = 0; i < m->delta.tokens.n; i++) {
            a->shown_after[a->n_tokens] = a->n_shown;
            a->tokens[a->n_tokens++] = m->delta.tokens.ids[i];
        }
    }
    if (m->type == MSG_TYPE_DONE) {
        ck_assert(!a->ended);
        a->look_ids = m->done.ids;
        a->look_ends = m->done.ends;
        a->look_text = m->done.text;
        m->done.ids = m->done.ends = (struct msg_tokens){0};
        m->done.text = (struct msg_bytes){0};
        a->done = m->done;
        snprintf(a->logits, sizeof a->logits, "%s", m->done.first_logits_xxh3);
        snprintf(a->kv, sizeof a->kv, "%s", m->done.kv_xxh3);
        a->ended = true;
    }
    if (m->type == MSG_TYPE_FAILED) {
        ck_assert(!a->ended);
        a->err = m->failed.err;
        snprintf(a->error, sizeof a->error, "%s", m->failed.text);
        snprintf(a->param, sizeof a->param, "%s", m->failed.param);
        a->failed = a->ended = true;
    }
    if (m->type == MSG_TYPE_PARKED) a->parked = a->ended = true;
    (void)c;
}

static inline uint64_t msg_request(const struct msg *m) {
    switch ((int)m->type) {
    case MSG_TYPE_STARTED: return m->started.request;
    case MSG_TYPE_DELTA: return m->delta.request;
    case MSG_TYPE_DONE: return m->done.request;
    case MSG_TYPE_FAILED: return m->failed.request;
    case MSG_TYPE_PARKED: return m->parked.request;
    default: return 0;
    }
}

/* Takes one message; false: the seat has closed. Ends the test when nothing comes. */
static inline bool client_step(struct client *c) {
    int64_t until = clock_now_ns() + CLIENT_PATIENCE_NS;
    for (;;) {
        struct msg m = {0};
        enum err err = channel_receive(c->channel, &m);
        if (err == ERR_EOF || err == ERR_IO) return false;
        ck_assert_int_eq(err, ERR_OK);
        if (m.type == MSG_NONE) {
            struct pollfd p = {.fd = channel_fd(c->channel), .events = POLLIN};
            (void)poll(&p, 1, 1000);
            ck_assert_msg(clock_now_ns() < until, "the seat says nothing");
            continue;
        }
        uint64_t request = msg_request(&m);
        if (request) {
            ck_assert(request < CLIENT_REQUESTS_MAX && c->answers[request]);
            answer_add(c, &m, c->answers[request]);
            msg_free(&m);
        } else if (m.type == MSG_TYPE_STATS) {
            c->stats = m.stats;
            c->n_stats++;
        } else if (m.type == MSG_TYPE_PROGRESS) {
            c->n_progress++;
        } else {
            msg_free(&c->last);
            c->last = m;
        }
        return true;
    }
}

/* Waits for the end answer of an operation. */
static inline struct msg *client_wait(struct client *c, enum msg_type type) {
    while (c->last.type == MSG_NONE) ck_assert(client_step(c));
    ck_assert_msg(c->last.type == type, "%s instead of %s: %s", msg_type_name(c->last.type),
                  msg_type_name(type), c->last.type == MSG_TYPE_OP_FAILED ? c->last.op_failed.text : "");
    return &c->last;
}

static inline struct msg *client_op(struct client *c, struct msg *m, enum msg_type type) {
    msg_free(&c->last);
    c->last = (struct msg){0};
    client_send(c, m);
    return client_wait(c, type);
}

static inline struct client *client_start_full(const char *cache, uint64_t generation, bool measure) {
    int fd[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    struct client *c = calloc(1, sizeof *c);
    c->pid = fork();
    ck_assert_int_ge(c->pid, 0);
    if (c->pid == 0) {
        close(fd[0]);
        log_open(getenv("SEAT_TEST_LOG") ? LOG_DEBUG : LOG_ERROR, "seat");
        int64_t live = mem_live_count();
        int status = seat_run(fd[1], measure);
        if (mem_live_count() != live)
            fprintf(stderr, "%lld allocations were not freed\n", (long long)(mem_live_count() - live));
        _exit(mem_live_count() == live ? status : 99);
    }
    close(fd[1]);
    ck_assert_int_eq(channel_open(fd[0], &c->channel), ERR_OK);
    struct msg hello = {.type = MSG_TYPE_HELLO,
                        .hello = {.generation = generation,
                                  .cache_dir = (char *)(uintptr_t)cache,
                                  .cache_disk_bytes = 1u << 30,
                                  .cache_write_per_day_bytes = 1u << 30,
                                  .debug = 1,
                                  .log_level = getenv("SEAT_TEST_LOG") ? LOG_DEBUG : LOG_ERROR}};
    client_op(c, &hello, MSG_TYPE_READY);
    return c;
}

static inline struct client *client_start(uint64_t generation) {
    char cache[96];
    snprintf(cache, sizeof cache, "%s/cache", client_dir);
    return client_start_full(cache, generation, false);
}

static inline int client_status(struct client *c) {
    int status = 0;
    ck_assert_int_eq(waitpid(c->pid, &status, 0), c->pid);
    channel_free(c->channel);
    msg_free(&c->last);
    for (int i = 0; i < CLIENT_REQUESTS_MAX; i++) {
        if (!c->answers[i]) continue;
        buf_free(&c->answers[i]->text), buf_free(&c->answers[i]->reasoning), buf_free(&c->answers[i]->tools);
        buf_free(&c->answers[i]->probs);
        mem_free(c->answers[i]->prompt_ids.ids);
        mem_free(c->answers[i]->look_ids.ids);
        mem_free(c->answers[i]->look_ends.ids);
        mem_free(c->answers[i]->look_text.data);
        free(c->answers[i]);
    }
    free(c);
    return status;
}

static inline void client_stop(struct client *c) {
    struct msg m = {.type = MSG_TYPE_STOP, .stop = {.op = ++c->op}};
    ck_assert_int_eq(client_op(c, &m, MSG_TYPE_REPLY)->reply.err, ERR_OK);
    int status = client_status(c);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
}

static inline void client_load(struct client *c, int model) {
    char id[8] = {(char)('a' + model), 0};
    struct msg m = {
        .type = MSG_TYPE_LOAD,
        .load = {.op = ++c->op, .model = id, .path = client_model[model], .kv = (char *)(uintptr_t) "q8_0"}};
    client_op(c, &m, MSG_TYPE_LOADED);
}

static inline struct msg_configured *client_configure(struct client *c, uint64_t pool_bytes,
                                                      uint32_t parallel) {
    struct msg m = {.type = MSG_TYPE_CONFIGURE,
                    .configure = {.op = ++c->op, .pool_bytes = pool_bytes, .parallel = parallel}};
    return &client_op(c, &m, MSG_TYPE_CONFIGURED)->configured;
}

static inline void client_seat(struct client *c, int model) {
    client_load(c, model);
    struct msg_configured *got = client_configure(c, 64u << 20, 4);
    ck_assert_msg(got->cache_on, "%s", got->cache_reason);
}

static inline struct msg_evicted client_leave(struct client *c) {
    struct msg evict = {.type = MSG_TYPE_EVICT, .evict = {.op = ++c->op}};
    struct msg_evicted got = client_op(c, &evict, MSG_TYPE_EVICTED)->evicted;
    struct msg unload = {.type = MSG_TYPE_UNLOAD, .unload = {.op = ++c->op}};
    ck_assert_uint_eq(client_op(c, &unload, MSG_TYPE_UNLOADED)->unloaded.mappings, 0);
    return got;
}

/* A prompt as text; caller may change the fields before client_submit(). */
static inline struct msg client_text(const char *agent, const char *prompt, uint32_t max_tokens) {
    return (struct msg){.type = MSG_TYPE_SUBMIT,
                        .submit = {.agent = (char *)(uintptr_t)agent,
                                   .kind = MSG_KIND_TEXT,
                                   .prompt = {(uint8_t *)(uintptr_t)prompt, (uint32_t)strlen(prompt)},
                                   .max_tokens = max_tokens,
                                   .top_p = 1,
                                   .seed = 42,
                                   .debug = 1}};
}
static inline struct msg client_chat(const char *agent, const char *messages, uint32_t max_tokens) {
    struct msg m = client_text(agent, "", max_tokens);
    m.submit.kind = MSG_KIND_CHAT;
    m.submit.messages = (struct msg_bytes){(uint8_t *)(uintptr_t)messages, (uint32_t)strlen(messages)};
    return m;
}

static inline struct answer *client_submit(struct client *c, struct msg m) {
    m.submit.request = ++c->request;
    ck_assert_uint_lt(c->request, CLIENT_REQUESTS_MAX);
    struct answer *a = c->answers[c->request] = calloc(1, sizeof *a);
    client_send(c, &m);
    return a;
}

static inline void client_finish(struct client *c, struct answer *a) {
    while (!a->ended) ck_assert(client_step(c));
    buf_u8(&a->text, 0), a->text.size--; /* a string for messages */
}

static inline struct answer *client_ask(struct client *c, struct msg m) {
    struct answer *a = client_submit(c, m);
    client_finish(c, a);
    ck_assert_msg(!a->failed, "%s: %s", err_name(a->err), a->error);
    return a;
}

static inline void client_fault(struct client *c, const char *name, int64_t times, int64_t arg) {
    struct msg m = {.type = MSG_TYPE_FAULT,
                    .fault = {.op = ++c->op, .name = (char *)(uintptr_t)name, .times = times, .arg = arg}};
    ck_assert_int_eq(client_op(c, &m, MSG_TYPE_REPLY)->reply.err, ERR_OK);
}

/* ---- prompts, texts and questions ---- */

static UNUSED char long_prompt[4096];

/* About n bytes (and, with the fake engine, tokens) of text that begins with name. */
static inline const char *prompt_of(const char *name, size_t n) {
    size_t at = 0;
    while (at < n)
        at += (size_t)snprintf(long_prompt + at, sizeof long_prompt - at, "%s tells part %zu of it. ", name,
                               at);
    long_prompt[n] = '\0';
    return long_prompt;
}

static inline char *text_of(struct answer *a) {
    buf_u8(&a->text, 0), a->text.size--;
    return (char *)a->text.data;
}

static inline char *join(const char *a, const char *b, const char *c) {
    char *s = malloc(strlen(a) + strlen(b) + strlen(c) + 1);
    ck_assert_ptr_nonnull(s);
    sprintf(s, "%s%s%s", a, b, c);
    return s;
}

static inline struct json *query(struct client *c, enum msg_query_kind what, const char *agent) {
    struct msg m = {.type = MSG_TYPE_QUERY,
                    .query = {.op = ++c->op, .what = what, .agent = (char *)(uintptr_t)agent}};
    struct msg *got = client_op(c, &m, MSG_TYPE_REPLY);
    struct json_error at;
    return got->reply.err ? NULL : json_read(got->reply.json.data, got->reply.json.size, &at);
}

#endif
