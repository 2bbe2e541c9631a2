/* The whole front on a scripted seat (this program itself): queues, streams that move, swaps, questions, the end. */
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

#define CLIENTS 64
#define WAIT_NS (20 * NS_PER_S)

static char program[512];

/* What came to each client, written by the control thread. */
struct client {
    char text[4096];
    char body[16384];
    enum reply_kind end;
    enum err err;
    int status, lasts, waiting, entered, events;
    uint32_t retry_after_s, position;
    char model[64], error_text[512], details[256];
};
static struct rig {
    char folder[64];
    struct config *config;
    struct front *front;
    pthread_mutex_t lock;
    struct client clients[CLIENTS];
    bool full; /* the sink takes nothing */
} rig;

static void keep(char *room, size_t room_size, const char *text) {
    snprintf(room, room_size, "%s", text ? text : "");
}

static enum err sink(void *ctx, struct reply *r) {
    (void)ctx;
    pthread_mutex_lock(&rig.lock);
    if (rig.full) {
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
    }
    pthread_mutex_unlock(&rig.lock);
    reply_free(r);
    return ERR_OK;
}

static struct client look(uint64_t client) {
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

static struct client ended(uint64_t client) {
    UNTIL(look(client).lasts > 0);
    return look(client);
}

static void model(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/models/%s.gguf", rig.folder, name);
    ck_assert(gguf_tiny_write(path, &(struct gguf_tiny){.seed = (uint8_t)name[0]}));
}

static void open_front(const char *more) {
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
    static const char *const MODELS[] = {"a", "b", "c", "dies", "badload", "big"};
    for (size_t i = 0; i < sizeof MODELS / sizeof MODELS[0]; i++) model(MODELS[i]);
    snprintf(
        text, sizeof text,
        "models = %s/models\ncache-dir = %s/cache\nseat-program = %s\nmodel = a\nmemory = 1G\nparallel = 2\n"
        "patience = 0\ndrain-timeout = 0.2\nstep-timeout = 1\nload-timeout = 5\n%s\n",
        rig.folder, rig.folder, program, more);
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

static void ready(const char *more) {
    open_front(more);
    UNTIL(front_readiness(rig.front) == FRONT_READY);
}

static void close_front(void) {
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

static void post(struct request *q, uint64_t client) {
    q->client = client;
    q->arrived_ns = clock_now_ns();
    ck_assert_int_eq(front_post(rig.front, q), ERR_OK);
}

static void ask(uint64_t client, const char *name, const char *prompt) {
    struct request *q = request_new(REQUEST_INFER);
    q->model = mem_strdup(name);
    q->stream = true;
    q->submit.kind = MSG_KIND_TEXT;
    q->submit.prompt = (struct msg_bytes){mem_dup(prompt, strlen(prompt)), (uint32_t)strlen(prompt)};
    post(q, client);
}

static void swap(uint64_t client, const char *name, bool wait) {
    struct request *q = request_new(name ? REQUEST_SWAP : REQUEST_OFFLOAD);
    q->model = mem_strdup(name);
    q->wait = wait;
    q->hold_ns = 0;
    post(q, client);
}

static int64_t metric(enum metric id) {
    return metrics_get(front_metrics(rig.front), id);
}

START_TEST(answers) {
    ready("");
    ask(1, "a", "n=5");
    ask(2, NULL, "n=3");
    ask(3, "a", "fail");
    ask(4, "nobody", "n=1");
    struct client c = ended(1);
    ck_assert_int_eq(c.end, REPLY_DONE);
    ck_assert_str_eq(c.text, "t0 t1 t2 t3 t4 ");
    ck_assert_int_eq(c.entered, 1);
    ck_assert_int_eq(c.waiting, 0);
    ck_assert_str_eq(ended(2).model, "a");
    ck_assert_int_eq(ended(3).err, ERR_CONTEXT_LENGTH);
    ck_assert_str_eq(ended(3).error_text, "the prompt is too long");
    ck_assert_int_eq(ended(4).err, ERR_MODEL_UNKNOWN);
    close_front();
}
END_TEST

START_TEST(another_model_gets_its_turn) {
    ready("");
    ask(1, "b", "n=3");
    ask(2, "c", "n=3");
    ask(3, "a", "n=3");
    for (uint64_t i = 1; i <= 3; i++) {
        struct client c = ended(i);
        ck_assert_int_eq(c.end, REPLY_DONE);
        ck_assert_str_eq(c.text, "t0 t1 t2 ");
        ck_assert_int_eq(c.model[0], "xbca"[i]);
    }
    ck_assert_int_ge(metric(METRIC_SWAPS_HOT_OK), 2);
    ck_assert_int_eq(metric(METRIC_SEAT_RESTARTS), 0);
    close_front();
}
END_TEST

START_TEST(models_that_can_not_be_seated) {
    ready("");
    ask(1, "dies", "n=1");
    ask(2, "big", "n=1");
    ask(3, "badload", "n=1");
    swap(4, "big", true);
    ck_assert_int_eq(ended(1).err, ERR_MODEL_INVALID);
    ck_assert_int_eq(ended(2).err, ERR_MODEL_TOO_LARGE);
    ck_assert_ptr_nonnull(strstr(ended(2).details, "\"needed_bytes\":1073"));
    ck_assert_int_eq(ended(4).err, ERR_MODEL_TOO_LARGE);
    ck_assert_int_eq(ended(3).err, ERR_MODEL_COOLDOWN);
    ck_assert_uint_ge(ended(3).retry_after_s, 1);
    ck_assert_ptr_nonnull(strstr(ended(3).error_text, "scripted"));
    UNTIL(front_readiness(rig.front) == FRONT_READY);
    ask(5, "badload", "n=1");
    ck_assert_int_eq(ended(5).err, ERR_MODEL_COOLDOWN);
    ask(6, NULL, "n=1");
    ck_assert_str_eq(ended(6).model, "a");
    close_front();
}
END_TEST

START_TEST(a_stream_outlives_its_seat) {
    ready("");
    ask(1, "a", "n=400");
    UNTIL(strlen(look(1).text) > 20);
    ask(2, "a", "die=2 n=9"); /* ends the seat whenever its third token is due: twice without a new one */
    struct client c = ended(1);
    ck_assert_int_eq(c.end, REPLY_DONE);
    ck_assert_int_eq(c.entered, 1);
    char expect[4096] = "";
    for (int i = 0; i < 400; i++)
        snprintf(expect + strlen(expect), sizeof expect - strlen(expect), "t%d ", i);
    ck_assert_str_eq(c.text, expect);
    ck_assert_int_eq(ended(2).err, ERR_ENGINE_DIED);
    ck_assert_str_eq(ended(2).text, "t0 t1 ");
    ck_assert_int_eq(metric(METRIC_STREAMS_LOST), 1);
    ck_assert_int_le(metric(METRIC_SEAT_DEATHS), 3);
    ask(3, "a", "garbage"); /* a seat that talks nonsense is as good as dead */
    ck_assert_int_eq(ended(3).err, ERR_ENGINE_DIED);
    close_front();
}
END_TEST

START_TEST(a_decode_that_hangs_is_ended) {
    ready("");
    ask(1, "a", "hang");
    ck_assert_int_eq(ended(1).err, ERR_ENGINE_DIED);
    ck_assert_int_eq(metric(METRIC_SEAT_KILLS), 2);
    close_front();
}
END_TEST

START_TEST(parked_and_back) {
    ready("");
    ask(1, "a", "n=600");
    UNTIL(strlen(look(1).text) > 20);
    swap(2, "b", true);
    struct client s = ended(2);
    ck_assert_int_eq(s.status, 200);
    ck_assert_ptr_nonnull(strstr(s.body, "\"parked\":1"));
    struct client c = ended(1);
    ck_assert_int_eq(c.end, REPLY_DONE);
    ck_assert_ptr_nonnull(strstr(c.text, "t0 t1 t2 "));
    ck_assert_ptr_nonnull(strstr(c.text, " t598 t599 "));
    close_front();
}
END_TEST

START_TEST(cancel_at_the_deadline) {
    ready("");
    ask(1, "a", "n=60000");
    UNTIL(strlen(look(1).text) > 20);
    struct request *q = request_new(REQUEST_SWAP);
    q->model = mem_strdup("b");
    q->cancel_on_deadline = true;
    post(q, 2);
    ck_assert_int_eq(ended(1).err, ERR_DRAIN_CANCELED);
    ck_assert_uint_ge(ended(1).retry_after_s, 1);
    ck_assert_int_eq(ended(2).status, 200);
    close_front();
}
END_TEST

START_TEST(who_waits_hears_of_it_and_may_leave) {
    ready("stay-min = 100\nwait-bound = 100");
    ask(1, "a", "n=60000");
    ask(2, "b", "n=1");
    ask(3, "b", "n=1");
    UNTIL(look(3).waiting > 0);
    ck_assert_uint_eq(look(2).position, 1);
    ck_assert_uint_eq(look(3).position, 2);
    ck_assert_int_eq(look(3).entered, 0);
    ck_assert_int_eq(metric(METRIC_REQUESTS_WAITING), 2);
    front_cancel(rig.front, 2);
    ck_assert_int_eq(ended(2).err, ERR_CANCELED);
    front_cancel(rig.front, 1); /* it runs: the seat lets go, and b gets its turn */
    ck_assert_int_eq(ended(1).err, ERR_CANCELED);
    ck_assert_int_eq(ended(3).end, REPLY_DONE);
    ck_assert_int_eq(metric(METRIC_STREAMS_RUNNING), 0);
    close_front();
}
END_TEST

START_TEST(swaps_of_an_admin) {
    ready("");
    swap(1, "a", true);
    ck_assert_ptr_nonnull(strstr(ended(1).body, "already_seated"));
    swap(2, "nobody", true);
    ck_assert_int_eq(ended(2).err, ERR_MODEL_UNKNOWN);
    ask(3, "a", "n=60000"); /* the next swap has to wait for its drain */
    UNTIL(strlen(look(3).text) > 5);
    swap(4, "b", true);
    swap(5, "b", true);
    swap(6, "c", false);
    swap(7, "c", true);
    swap(8, "b", false);
    ck_assert_int_eq(ended(6).err, ERR_SWAP_CONFLICT);
    ck_assert_int_eq(ended(8).status, 202);
    ck_assert_ptr_nonnull(strstr(ended(4).body, "\"status\":\"swapped\""));
    ck_assert_ptr_nonnull(strstr(ended(5).body, "\"status\":\"joined\""));
    ck_assert_ptr_nonnull(strstr(ended(7).body, "\"to\":\"c\""));
    front_cancel(rig.front, 3);
    swap(9, "badload", true);
    struct client c = ended(9);
    ck_assert_int_eq(c.err, ERR_SWAP_FAILED);
    ck_assert_str_eq(c.details, "\"rolled_back\":true");
    swap(10, NULL, true);
    ck_assert_ptr_nonnull(strstr(ended(10).body, "offloaded"));
    UNTIL(front_readiness(rig.front) == FRONT_EMPTY);
    ask(11, "default", "n=1");
    ck_assert_int_eq(ended(11).end, REPLY_DONE);
    close_front();
}
END_TEST

START_TEST(auto_swap_off) {
    ready("auto-swap = off");
    ask(1, "b", "n=1");
    ck_assert_int_eq(ended(1).err, ERR_AUTO_SWAP_OFF);
    swap(2, "b", true);
    ck_assert_int_eq(ended(2).status, 200);
    ask(3, "b", "n=1");
    ck_assert_int_eq(ended(3).end, REPLY_DONE);
    close_front();
}
END_TEST

START_TEST(questions) {
    ready("");
    static const struct {
        enum request_verb verb;
        const char *has;
    } CASES[] = {{REQUEST_MODELS, "\"cached_agents\":1"},
                 {REQUEST_AGENTS, "\"id\":\"x\""},
                 {REQUEST_CURRENT, "\"model\":\"a\""},
                 {REQUEST_AVAILABLE, "\"state\":\"available\""},
                 {REQUEST_SWAP_STATUS, "\"state\":\"SERVING\""},
                 {REQUEST_PS, "\"agents\":["},
                 {REQUEST_RELOAD, "\"reloaded\""}};
    for (uint64_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        post(request_new(CASES[i].verb), i + 1);
        struct client c = ended(i + 1);
        ck_assert_int_eq(c.status, 200);
        ck_assert_msg(strstr(c.body, CASES[i].has), "%s", c.body);
    }
    struct request *q = request_new(REQUEST_FAULT);
    q->fault = mem_strdup("decode_die");
    post(q, 20);
    ck_assert_int_eq(ended(20).err, ERR_FORBIDDEN);
    post(request_new(REQUEST_EVENTS), 21);
    UNTIL(look(21).events > 0);
    swap(22, "b", true);
    ended(22);
    ck_assert_int_ge(look(21).events, 6);
    front_cancel(rig.front, 21);
    UNTIL(metric(METRIC_EVENT_CLIENTS) == 0);
    close_front();
}
END_TEST

START_TEST(broken_reload_changes_nothing) {
    ready("");
    char path[128];
    snprintf(path, sizeof path, "%s/x.ini", rig.folder);
    FILE *f = fopen(path, "a");
    fputs("parallel = many\n", f);
    fclose(f);
    post(request_new(REQUEST_RELOAD), 1);
    ck_assert_int_eq(ended(1).err, ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(ended(1).error_text, "x.ini:"));
    close_front();
}
END_TEST

START_TEST(last_replies_are_not_lost_when_the_sink_is_full) {
    ready("");
    ask(1, "a", "n=3");
    ended(1);
    pthread_mutex_lock(&rig.lock);
    rig.full = true;
    pthread_mutex_unlock(&rig.lock);
    ask(2, "a", "n=500");
    UNTIL(metric(METRIC_REPLIES_DROPPED) > 0);
    pthread_mutex_lock(&rig.lock);
    rig.full = false;
    pthread_mutex_unlock(&rig.lock);
    ck_assert_int_eq(ended(2).err, ERR_QUEUE_FULL);
    ask(3, "a", "n=1");
    ck_assert_int_eq(ended(3).end, REPLY_DONE);
    close_front();
}
END_TEST

START_TEST(stop_ends_everybody) {
    ready("stay-min = 100\nwait-bound = 100");
    ask(1, "a", "n=60000");
    ask(2, "b", "n=1");
    UNTIL(strlen(look(1).text) > 5);
    front_stop(rig.front);
    ck_assert_int_eq(ended(1).err, ERR_STOPPING);
    ck_assert_int_eq(ended(2).err, ERR_STOPPING);
    close_front();
}
END_TEST

START_TEST(stop_before_anything_is_ready) {
    open_front("");
    close_front();
}
END_TEST

START_TEST(starts_that_are_refused) {
    char why[512];
    struct front *second;
    struct front_sink to = {.post = sink};
    ready("");
    ck_assert_int_eq(front_open(rig.config, &to, &second, why, sizeof why), ERR_LOCKED);
    ck_assert_ptr_nonnull(strstr(why, rig.config->cache_dir));
    char *dir = rig.config->cache_dir, file[160];
    snprintf(file, sizeof file, "%s/x.ini", rig.folder);
    rig.config->cache_dir = file;
    ck_assert_int_ne(front_open(rig.config, &to, &second, why, sizeof why), ERR_OK);
    ck_assert_ptr_nonnull(strstr(why, file));
    snprintf(file, sizeof file, "%s/other", rig.folder);
    char *name = rig.config->model, nobody[] = "nobody";
    rig.config->model = nobody;
    ck_assert_int_eq(front_open(rig.config, &to, &second, why, sizeof why), ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(why, "nobody"));
    rig.config->model = name;
    char *seat = rig.config->seat_program, nowhere[] = "/nowhere/seat";
    rig.config->seat_program = nowhere;
    ck_assert_int_eq(front_open(rig.config, &to, &second, why, sizeof why), ERR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(why, "/nowhere/seat"));
    rig.config->seat_program = seat;
    rig.config->cache_dir = dir;
    close_front();
}
END_TEST

int main(int argc, char **argv) {
    if (argc > 2 && !strcmp(argv[1], "--fd")) return scripted_seat_run(atoi(argv[2]));
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n < 0 || !argv[0]) return EXIT_FAILURE;
    const TTest *const tests[] = {answers,
                                  another_model_gets_its_turn,
                                  models_that_can_not_be_seated,
                                  a_stream_outlives_its_seat,
                                  a_decode_that_hangs_is_ended,
                                  parked_and_back,
                                  cancel_at_the_deadline,
                                  who_waits_hears_of_it_and_may_leave,
                                  swaps_of_an_admin,
                                  auto_swap_off,
                                  questions,
                                  broken_reload_changes_nothing,
                                  last_replies_are_not_lost_when_the_sink_is_full,
                                  stop_ends_everybody,
                                  stop_before_anything_is_ready,
                                  starts_that_are_refused};
    return CHECK_RUN("front", tests);
}
