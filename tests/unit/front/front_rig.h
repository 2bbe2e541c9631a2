/* front_rig.h - a whole front on a scripted seat (the test program itself), and what came to each of its clients. */
#ifndef HOTSEAT_TESTS_FRONT_RIG_H
#define HOTSEAT_TESTS_FRONT_RIG_H

#include "front/front.h"

#include <pthread.h>
#include <sys/stat.h>

#include "../check_run.h"
#include "../gguf_tiny.h"
#include "base/clock.h"
#include "base/log.h"
#include "front/metrics.h"
#include "scripted_seat.h"
#include "tmp_folder.h"

#define CLIENTS 512
#define WAIT_NS (20 * NS_PER_S)

static char program[512];

/* What came to each client, written by the control thread. */
struct client {
    char text[4096];
    char body[16384];
    enum reply_kind end;
    enum err err;
    int status, lasts, waiting, entered, events;
    int nth; /* of all last replies */
    uint32_t retry_after_s, position;
    char model[64], error_text[512], details[256];
};
static struct rig {
    char folder[64];
    struct config *config;
    struct front *front;
    pthread_mutex_t lock;
    struct client clients[CLIENTS];
    bool full;         /* the sink takes nothing */
    bool refuses_last; /* the next last reply */
    int lasts;         /* of all clients */
} rig;

static inline void keep(char *room, size_t room_size, const char *text) {
    snprintf(room, room_size, "%s", text ? text : "");
}

static inline enum err sink(void *ctx, struct reply *r) {
    (void)ctx;
    pthread_mutex_lock(&rig.lock);
    bool refuses = rig.full || (r->last && rig.refuses_last);
    if (r->last) rig.refuses_last = false;
    if (refuses) {
        pthread_mutex_unlock(&rig.lock);
        return ERR_QUEUE_FULL;
    }
    struct client *c = &rig.clients[r->client];
    if (r->kind == REPLY_DELTA) strncat(c->text, (char *)r->text.data, sizeof c->text - strlen(c->text) - 1);
    if (r->kind == REPLY_WAITING) c->waiting++, c->position = r->position;
    if (r->kind == REPLY_ENTERED) c->entered++;
    if (r->kind == REPLY_EVENT) c->events++;
    if (r->model) keep(c->model, sizeof c->model, r->model);
    if (r->last) {
        c->end = r->kind;
        c->err = r->err;
        c->status = r->http_status;
        c->retry_after_s = r->retry_after_s;
        keep(c->body, sizeof c->body, r->body);
        keep(c->error_text, sizeof c->error_text, r->error_text);
        keep(c->details, sizeof c->details, r->details);
        c->lasts++;
        c->nth = ++rig.lasts;
    }
    pthread_mutex_unlock(&rig.lock);
    reply_free(r);
    return ERR_OK;
}

static inline struct client look(uint64_t client) {
    pthread_mutex_lock(&rig.lock);
    struct client c = rig.clients[client];
    pthread_mutex_unlock(&rig.lock);
    return c;
}

#define UNTIL(condition)                                                                                     \
    do {                                                                                                     \
        int64_t end_ = clock_now_ns() + WAIT_NS;                                                             \
        while (!(condition) && clock_now_ns() < end_) usleep(1000);                                          \
        ck_assert_msg(condition, "not in time: " #condition);                                                \
    } while (0)

static inline struct client ended(uint64_t client) {
    UNTIL(look(client).lasts > 0);
    return look(client);
}

static inline void model(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/models/%s.gguf", rig.folder, name);
    ck_assert(gguf_tiny_write(path, &(struct gguf_tiny){.seed = (uint8_t)name[0]}));
}

static inline void open_front(const char *more) {
    char why[512], text[2048], option[160];
    bool help;
    memset(&rig, 0, sizeof rig);
    pthread_mutex_init(&rig.lock, NULL);
    log_open(LOG_ERROR, "test");
    log_set_level(LOG_ERROR);
    snprintf(rig.folder, sizeof rig.folder, "/tmp/hotseat-front-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(rig.folder));
    snprintf(text, sizeof text, "%s/models", rig.folder);
    ck_assert_int_eq(mkdir(text, 0700), 0);
    setenv("HOTSEAT_FAKE_SCRIPT", rig.folder, 1);
    static const char *const MODELS[] = {"a",   "b",      "c",        "dies",  "badload",
                                         "big", "killed", "killonce", "silent"};
    for (size_t i = 0; i < sizeof MODELS / sizeof MODELS[0]; i++) model(MODELS[i]);
    snprintf(
        text, sizeof text,
        "models = %s/models\ncache-dir = %s/cache\nseat-program = %s\nmodel = a\nmemory = 1G\nparallel = 2\n"
        "patience = 0\n%s\n%s\n%s\n%s\n",
        rig.folder, rig.folder, program, more, strstr(more, "load-timeout") ? "" : "load-timeout = 5",
        strstr(more, "drain-timeout") ? "" : "drain-timeout = 0.2",
        strstr(more, "step-timeout") ? "" : "step-timeout = 1");
    char path[128];
    snprintf(path, sizeof path, "%s/x.ini", rig.folder);
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
    snprintf(option, sizeof option, "--config=%s", path);
    char *argv[] = {option};
    ck_assert_msg(config_load(1, argv, &rig.config, &help, why, sizeof why) == ERR_OK, "%s", why);
    struct front_sink to = {.post = sink};
    ck_assert_msg(front_open(rig.config, &to, &rig.front, why, sizeof why) == ERR_OK, "%s", why);
    ck_assert_int_eq(front_start(rig.front), ERR_OK);
}

static inline void ready(const char *more) {
    open_front(more);
    UNTIL(front_readiness(rig.front) == FRONT_READY);
}

static inline void close_front(void) {
    front_stop(rig.front);
    struct request *late = request_new(REQUEST_CURRENT);
    ck_assert_int_eq(front_post(rig.front, late), ERR_STOPPING);
    request_free(late);
    for (int i = 0; i < CLIENTS; i++) ck_assert_int_le(rig.clients[i].lasts, 1);
    front_free(rig.front);
    config_free(rig.config);
    tmp_folder_remove(rig.folder);
    ck_assert_int_eq(mem_live_count(), 0);
}

static inline void post(struct request *q, uint64_t client) {
    q->client = client;
    q->arrived_ns = clock_now_ns();
    ck_assert_int_eq(front_post(rig.front, q), ERR_OK);
}

static inline void ask_as(uint64_t client, const char *name, const char *prompt, const char *agent) {
    struct request *q = request_new(REQUEST_INFER);
    q->model = mem_strdup(name);
    q->submit.agent = mem_strdup(agent);
    q->stream = true;
    q->submit.kind = MSG_KIND_TEXT;
    q->submit.prompt = (struct msg_bytes){mem_dup(prompt, strlen(prompt)), (uint32_t)strlen(prompt)};
    post(q, client);
}

static inline void ask(uint64_t client, const char *name, const char *prompt) {
    ask_as(client, name, prompt, "");
}

/* A swap with a drain of its own, held for so long. */
static inline void swap_with(uint64_t client, const char *name, int64_t drain_ns, int64_t hold_ns) {
    struct request *q = request_new(name ? REQUEST_SWAP : REQUEST_OFFLOAD);
    q->model = mem_strdup(name);
    q->drain_timeout_ns = drain_ns;
    q->hold_ns = hold_ns;
    post(q, client);
}

static inline void swap(uint64_t client, const char *name, bool wait) {
    struct request *q = request_new(name ? REQUEST_SWAP : REQUEST_OFFLOAD);
    q->model = mem_strdup(name);
    q->wait = wait;
    q->hold_ns = 0;
    post(q, client);
}

static inline int64_t metric(enum metric id) {
    return metrics_get(front_metrics(rig.front), id);
}

/* A word that the seat looks for: see scripted_seat.h. */
static inline void script(const char *word, bool on) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", rig.folder, word);
    if (on)
        fclose(fopen(path, "w"));
    else
        unlink(path);
}

static inline int front_tests_run(int argc, char **argv, const char *name, const TTest *const *tests,
                                  size_t n) {
    if (argc > 2 && !strcmp(argv[1], "--fd")) return scripted_seat_run(atoi(argv[2]), argc > 3);
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
    return size < 0 || !argv[0] ? EXIT_FAILURE : check_run(name, tests, n);
}
#define FRONT_TESTS_RUN(argc, argv, name, tests)                                                             \
    front_tests_run(argc, argv, name, tests, sizeof(tests) / sizeof((tests)[0]))

#endif
