#include "front/front.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "front/front_impl.h"
#include "store/store.h"

#define INBOX_MAX 256
#define STOP_LEAVE_NS                                                                                        \
    (15 * NS_PER_S) /* a seat that ends is killed after 10; one that hangs in the kernel is left behind */
#define CANCELS_MAX (2 * CONNECTIONS_MAX) /* each client leaves once: twice as many as can be connected */

/* ---- replies ---- */

struct unsent {
    struct list_node node;
    struct reply *reply;
};

static bool unsent_keep(struct front *f, struct reply *r) {
    struct unsent *u = mem_alloc(sizeof *u);
    if (!u) return false;
    u->reply = r;
    list_push_back(&f->unsent, &u->node);
    return true;
}

static void unsent_retry(struct front *f) {
    LIST_EACH(&f->unsent, struct unsent, node, u) {
        if (f->sink.post(f->sink.ctx, u->reply)) return;
        list_remove(&f->unsent, &u->node);
        mem_free(u);
    }
}

/* At the end: what finds no room within a second never will. */
static void unsent_flush(struct front *f) {
    int64_t until_ns = clock_now_ns() + NS_PER_S;
    while (f->unsent.count && clock_now_ns() < until_ns) unsent_retry(f);
}

bool front_reply(struct front *f, struct reply *r) {
    if (!r) return false;
    bool last = r->last;
    unsent_retry(f); /* their turn is first */
    if (!f->unsent.count && !f->sink.post(f->sink.ctx, r)) return true;
    if (last && unsent_keep(f, r)) return true;
    reply_free(r);
    return false;
}

void front_reply_details(struct front *f, const struct request *q, enum err err, uint32_t retry_s,
                         char *details, const char *text) {
    struct reply *r = reply_error(q->client, err, text && *text ? "%s" : NULL, text);
    if (r) {
        r->retry_after_s = retry_s;
        r->details = details;
        if (err == ERR_MODEL_UNKNOWN) r->param = mem_strdup("model");
    } else {
        mem_free(details);
    }
    (void)front_reply(f, r);
}

void front_reply_error(struct front *f, const struct request *q, enum err err, uint32_t retry_s,
                       const char *fmt, ...) {
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    front_reply_details(f, q, err, retry_s, NULL, text);
}

void front_reply_json(struct front *f, uint64_t client, int http_status, struct buf *body) {
    struct reply *r = reply_new(client, REPLY_JSON);
    if (r && (r->body = buf_take_string(body))) {
        r->http_status = http_status;
    } else {
        reply_free(r);
        r = reply_error(client, ERR_NOMEM, NULL);
    }
    (void)front_reply(f, r);
}

/* ---- what others see ---- */

void front_update_readiness(struct front *f) {
    const struct swap *s = &f->swap;
    enum front_readiness r = FRONT_SWAPPING;
    bool first =
        s->record.id && (s->record.cause == SWAP_CAUSE_START || s->record.cause == SWAP_CAUSE_RECOVER);
    if (f->stop)
        r = FRONT_STOPPING;
    else if (s->state == SWAP_SERVING)
        r = FRONT_READY;
    else if (f->first_pending || first || (s->state == SWAP_STARTING && !s->record.id))
        r = FRONT_LOADING;
    else if (s->state == SWAP_EMPTY)
        r = FRONT_EMPTY;
    else if (s->state == SWAP_FAILED)
        r = FRONT_FAILED;
    atomic_store(&f->readiness, (int)r);
    metrics_set(f->metrics, METRIC_SEATED, s->state == SWAP_SERVING);
    metrics_set(f->metrics, METRIC_SWAP_UNDER_WAY, s->record.id != 0);
}

enum front_readiness front_readiness(const struct front *f) {
    return (enum front_readiness)atomic_load(&f->readiness);
}
struct metrics *front_metrics(struct front *f) {
    return f->metrics;
}
enum err front_metrics_text(const struct front *f, struct buf *out) {
    return metrics_text(f->metrics, out);
}

/* ---- models ---- */

static void on_model_change(void *ctx, struct model *m, enum model_state from) {
    struct front *f = ctx;
    bool notable = m->state == MODEL_FAILED || m->state == MODEL_INVALID;
    log_line(notable ? LOG_WARN : LOG_INFO, "model.state", "model=%s from=%s to=%s reason=%s", log_q(m->id),
             model_state_name(from), model_state_name(m->state), log_q(m->reason ? m->reason : ""));
    if (!f->registry) return; /* the first scan */
    f->schedule = true;
    struct buf body = BUF(4096);
    struct json_out w = events_begin(f, &body);
    json_key(&w, "model"), json_str(&w, m->id);
    json_key(&w, "from"), json_str(&w, model_state_name(from));
    json_key(&w, "to"), json_str(&w, model_state_name(m->state));
    if (m->reason) json_key(&w, "reason"), json_str(&w, m->reason);
    json_end(&w);
    events_say(f, "model", &body);
}

static bool model_in_use(const void *ctx, const struct model *m) {
    const struct front *f = ctx;
    const struct swap *s = &f->swap;
    if (m->waiting.count || m->running || m == s->seated || m == s->last_seated || m == s->from || m == s->to)
        return true;
    if (m == f->measuring.model || m == f->last_swap_to) return true;
    LIST_EACH(&f->swap_waits, struct swap_wait, node, w) {
        if (w->to == m) return true;
    }
    return false;
}

static void on_scanned(struct front *f, const struct scan_result *result) {
    f->scans_done++;
    f->scan_running = false;
    if (result) {
        enum err err = registry_apply(f->registry, result, model_in_use, f);
        if (err) log_warn("models.apply", "err=%s", err_name(err));
    }
    metrics_set(f->metrics, METRIC_MODELS_KNOWN, registry_count(f->registry));
    for (uint32_t i = 0; i < registry_count(f->registry);
         i++) { /* who waits for a model that went or broke */
        struct model *m = registry_at(f->registry, i);
        struct refusal no = {0};
        bool lost = m->waiting.count && (m->state == MODEL_GONE || m->state == MODEL_INVALID);
        if (lost && validate_model(f, m, &no) == VERDICT_NO)
            dispatch_fail_queue(f, m, no.err, no.retry_after_s, no.details, no.text);
        mem_free(no.details);
    }
    f->schedule = true;
    if (f->scan_again) {
        f->scan_again = false;
        front_scan(f);
    }
}

void front_scan(struct front *f) {
    if (!f->scan_running) {
        f->scan_running = scan_again(f->scan);
        f->scan_began_ns = f->now_ns;
    }
    f->next_scan_ns = f->now_ns + RESCAN_NS;
}

uint64_t front_scan_ticket(struct front *f) {
    if (f->scan_running) {
        f->scan_again = true;
        return f->scans_done + 2;
    }
    front_scan(f);
    return f->scans_done + 1;
}

bool front_scan_is_done(const struct front *f, uint64_t ticket) {
    return f->scans_done >= ticket || front_scan_hangs(f);
}

bool front_scan_hangs(const struct front *f) {
    return f->scan_running && f->now_ns - f->scan_began_ns >= SCAN_LIMIT_NS;
}

/* ---- mail ---- */

static void mail_free(struct mail *mail) {
    if (!mail) return;
    scan_result_free(mail->scanned);
    config_free(mail->config);
    mem_free(mail);
}

static enum err mail_post(struct front *f, struct mail m) {
    struct mail *mail = mem_dup(&m, sizeof m);
    enum err err = mail ? mailbox_post(f->inbox, mail) : ERR_NOMEM;
    if (err) mem_free(mail);
    return err;
}

static void post_scanned(void *ctx, struct scan_result *result) { /* the scan thread */
    struct front *f = ctx;
    while (mail_post(f, (struct mail){.kind = MAIL_SCANNED, .scanned = result})) { /* somebody waits for it */
        if (atomic_load(&f->closed)) {
            scan_result_free(result);
            return;
        }
        sched_yield();
    }
}

static void take_mail(struct front *f) {
    for (struct mail *mail; (mail = mailbox_take(f->inbox, 0));) {
        switch (mail->kind) {
        case MAIL_SCANNED: on_scanned(f, mail->scanned); break;
        case MAIL_RELOAD: reload_begin(f, 0); break;
        case MAIL_RELOADED: reload_done(f, mail); break;
        case MAIL_STOP: stop_begin(f); break;
        }
        mail_free(mail);
    }
}

/* A client leaves after its request was posted, so a request whose cancel is here is here too, or has been: the cancels are
 * taken out first, then every request that is there, and then each finds its own. */
static void take_requests(struct front *f) {
    static uint64_t left[CANCELS_MAX];
    uint32_t n_left = 0;
    for (void *client; n_left < CANCELS_MAX && (client = mailbox_take(f->cancels, 0));)
        left[n_left++] = (uint64_t)(uintptr_t)client;
    struct request *q;
    for (size_t n = mailbox_count(f->requests); n && (q = mailbox_take(f->requests, 0)); n--) {
        if (q->arrived_ns) q->arrived_ns = away_time_ns(&f->away, q->arrived_ns);
        log_debug("request", "request=%s verb=%d model=%s", log_q(q->request_id ? q->request_id : ""),
                  (int)q->verb, log_q(q->model ? q->model : ""));
        admin_request(f, q);
    }
    for (uint32_t i = 0; i < n_left; i++) dispatch_cancel(f, left[i]);
}

/* ---- the loop ---- */

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Most end at once; one that hangs in the kernel may do so for hours. */
static int64_t reap_every_ns(int64_t since_ns) {
    int64_t ns = since_ns / 8;
    return ns < 2 * NS_PER_MS ? 2 * NS_PER_MS : least(ns, 250 * NS_PER_MS);
}

static int64_t next_deadline_ns(const struct front *f) {
    int64_t at = f->next_janitor_ns;
    if (f->stop) {
        if (f->stop != STOP_DONE) at = least(at, f->stop_deadline_ns);
    } else { /* what is not looked at any more must not wake us */
        at = least(at, swap_deadline_ns(&f->swap));
        at = least(at, seat_hang_deadline_ns(f));
        at = least(at, f->turn_at_ns);
    }
    at = least(at, f->deadline_ns);
    if (f->measuring.process) at = least(at, f->measuring.deadline_ns);
    if (f->n_leaving || f->measuring.closed) /* a process that ends can't be polled everywhere */
        at = least(at, f->now_ns + reap_every_ns(f->now_ns - f->leaving_since_ns));
    return f->schedule || f->more_from_seat ? f->now_ns : at;
}

/* The janitor's rounds are a quarter of a second apart, so seconds that are missing are away.h's: the seat has slept with us. */
static void look_at_clock(struct front *f) {
    int64_t gap_ns = away_look(&f->away, clock_now_ns());
    f->now_ns = f->away.now_ns;
    if (!gap_ns) return;
    log_warn("front.away", "ms=%lld", (long long)(gap_ns / NS_PER_MS));
    metrics_add(f->metrics, METRIC_AWAY, gap_ns);
}

static void wait_for_something(struct front *f) {
    struct pollfd p[5] = {{.fd = mailbox_fd(f->requests), .events = POLLIN},
                          {.fd = mailbox_fd(f->cancels), .events = POLLIN},
                          {.fd = mailbox_fd(f->inbox), .events = POLLIN}};
    nfds_t n = 3;
    if (f->seat) {
        bool writes = channel_wants_write(seat_process_channel(f->seat));
        p[n++] = (struct pollfd){.fd = channel_fd(seat_process_channel(f->seat)),
                                 .events = (short)(POLLIN | (writes ? POLLOUT : 0))};
    }
    if (f->measuring.process && !f->measuring.closed)
        p[n++] =
            (struct pollfd){.fd = channel_fd(seat_process_channel(f->measuring.process)), .events = POLLIN};
    int64_t left = next_deadline_ns(f) - (clock_now_ns() - f->away.gone_ns);
    int ms = left <= 0 ? 0 : left > 3600 * NS_PER_S ? 3600000 : (int)((left + NS_PER_MS - 1) / NS_PER_MS);
    must(poll(p, n, ms) >= 0 || errno == EINTR);
}

static void janitor(struct front *f) {
    f->next_janitor_ns = f->now_ns + JANITOR_NS;
    unsent_retry(f);
    if (f->n_waiting) dispatch_waiting(f);
    query_tick(f);
    reload_tick(f);
    if (f->now_ns >= f->next_scan_ns && !f->stop) front_scan(f);
    f->schedule = true;
}

static void *control_thread(void *arg) {
    struct front *f = arg;
    while (f->stop != STOP_DONE || (f->n_leaving && f->now_ns < f->stop_deadline_ns + STOP_LEAVE_NS)) {
        look_at_clock(f);
        take_mail(f);
        take_requests(f);
        seat_receive(f);
        validate_measured(f);
        seat_reap(f);
        if (f->stop) {
            stop_tick(f);
        } else {
            swap_tick(&f->swap, f->now_ns);
            seat_look_for_hangs(f);
        }
        validate_tick(f);
        if (f->now_ns >= f->next_janitor_ns) janitor(f);
        if (f->now_ns >= f->deadline_ns) dispatch_deadlines(f);
        if (f->sweep) choices_sweep(f);
        if (f->schedule || f->now_ns >= f->turn_at_ns) turn_schedule(f);
        front_update_readiness(f);
        seat_reap(f); /* a start that was asked for in this round */
        seat_flush(f);
        wait_for_something(f);
    }
    events_end(f);
    reload_end(f);
    unsent_flush(f);
    return NULL;
}

/* ---- life ---- */

static enum err open_parts(struct front *f) {
    enum err err = mailbox_open(MAILBOX_MAIL_MAX, &f->requests);
    if (!err) err = mailbox_open(CANCELS_MAX, &f->cancels);
    if (!err) err = mailbox_open(INBOX_MAX, &f->inbox);
    if (!err) err = (f->metrics = metrics_new()) ? ERR_OK : ERR_NOMEM;
    if (!err) err = (f->seat_program = seat_program_path(f->config->seat_program)) ? ERR_OK : ERR_NOMEM;
    if (!err) err = scan_open(f->config, &f->scan);
    if (!err) err = weights_ahead_open(&f->ahead);
    return err;
}

/* The lock also tells whether the folder can be used at all. A folder that can't be written (read-only, a full disk) is no
 * reason not to serve, with the cache off: who has no lock must not open the store. It is tried again before each start of a
 * seat. A name that is no folder is a mistake in the configuration. */
enum err front_lock_cache(struct front *f, char *why, size_t why_size) {
    struct stat st;
    if (f->lock_fd >= 0 && store_lock_is_current(f->config->cache_dir, f->lock_fd)) return ERR_OK;
    if (f->lock_fd >= 0)
        close(f->lock_fd); /* somebody has removed the folder: it may be another server's by now */
    f->lock_fd = -1;
    enum err err = store_lock(f->config->cache_dir, &f->lock_fd, why, why_size);
    bool is_folder = !stat(f->config->cache_dir, &st) && S_ISDIR(st.st_mode);
    if ((err == ERR_DISK_FULL || err == ERR_IO) && is_folder) {
        log_error("cache.off", "dir=%s why=%s", log_q(f->config->cache_dir), log_q(why));
        f->lock_fd = -1;
        return ERR_OK;
    }
    return err;
}

static enum err first_scan(struct front *f, char *why, size_t why_size) {
    struct scan_result *found = NULL;
    struct registry *registry = NULL;
    enum err err = scan_run(f->scan, &found);
    if (!err) err = registry_open(f->config, on_model_change, f, &registry);
    if (!err) err = registry_apply(registry, found, model_in_use, f);
    f->registry = registry;
    scan_result_free(found);
    if (err) return err;
    registry_warn_sections(registry, f->config);
    const char *name = f->config->model;
    metrics_set(f->metrics, METRIC_MODELS_KNOWN, registry_count(registry));
    if (name && strcmp(name, "none") && !registry_find(registry, name)) {
        snprintf(why, why_size, "--model: no model is named \"%s\"; %u are known in %s%s", name,
                 registry_count(registry), f->config->models[0],
                 f->config->n_models > 1 ? " and other folders" : "");
        return ERR_INVALID;
    }
    return ERR_OK;
}

enum err front_open(struct config *config, const struct front_sink *sink, struct front **ret, char *why,
                    size_t why_size) {
    *ret = NULL;
    snprintf(why, why_size, "%s", err_text(ERR_NOMEM));
    struct front *f = mem_alloc(sizeof *f);
    if (!f) return ERR_NOMEM;
    f->config = config;
    f->sink = *sink;
    f->lock_fd = -1;
    f->turn_at_ns = INT64_MAX;
    f->deadline_ns = INT64_MAX;
    f->idle_since_ns = INT64_MAX;
    list_init(&f->running);
    list_init(&f->queries);
    list_init(&f->swap_waits);
    list_init(&f->reload_waits);
    list_init(&f->events);
    list_init(&f->unsent);
    atomic_store(&f->readiness, FRONT_LOADING);
    enum err err = open_parts(f);
    if (!err && access(f->seat_program, X_OK)) {
        snprintf(why, why_size, "the seat's program %s: %s", f->seat_program, strerror(errno));
        err = ERR_NOT_FOUND;
    }
    if (!err) err = front_lock_cache(f, why, why_size);
    if (!err) err = first_scan(f, why, why_size);
    if (!err) {
        seat_ops_init(f);
        front_settings_from(f, config);
        metrics_set(f->metrics, METRIC_MEMORY_BUDGET, (int64_t)config->memory_bytes);
        *ret = f;
    } else {
        front_free(f);
    }
    return err;
}

enum err front_start(struct front *f) {
    look_at_clock(f);
    f->next_scan_ns = f->now_ns + RESCAN_NS;
    enum err err = scan_start(f->scan, post_scanned, f);
    if (err) return err;
    turn_first_model(f);
    swap_start(&f->swap, f->now_ns);
    front_update_readiness(f);
    if (pthread_create(&f->thread, NULL, control_thread, f)) return ERR_NOMEM;
    f->started = true;
    return ERR_OK;
}

/* Counted, so that front_stop() can wait for who has not seen yet that it is closed: nothing comes after the last look. */
enum err front_post(struct front *f, struct request *request) {
    atomic_fetch_add(&f->posting, 1);
    enum err err = atomic_load(&f->closed) ? ERR_STOPPING : mailbox_post(f->requests, request);
    atomic_fetch_sub(&f->posting, 1);
    return err;
}

void front_cancel(struct front *f, uint64_t client) {
    /* Each client leaves once, and there is room for twice as many as can be connected. */
    while (!atomic_load(&f->closed) && mailbox_post(f->cancels, (void *)(uintptr_t)client)) sched_yield();
}

void front_reload(struct front *f) {
    if (mail_post(f, (struct mail){.kind = MAIL_RELOAD}))
        log_warn("reload", "ok=0 why=%s", log_q("the mailbox is full"));
}

static void refuse_the_rest(struct front *f) {
    for (struct request *q; (q = mailbox_take(f->requests, 0));) {
        front_reply_error(f, q, ERR_STOPPING, RETRY_SHORT_S, "%s", err_text(ERR_STOPPING));
        request_free(q);
    }
    unsent_flush(f);
}

void front_stop(struct front *f) {
    if (!f->started) return;
    while (mail_post(f, (struct mail){.kind = MAIL_STOP})) sched_yield();
    pthread_join(f->thread, NULL);
    f->started = false;
    atomic_store(&f->closed, true);
    while (atomic_load(&f->posting)) sched_yield();
    refuse_the_rest(f);
}

void front_free(struct front *f) {
    if (!f) return;
    front_stop(f);
    atomic_store(&f->closed, true);
    scan_free(f->scan);
    weights_ahead_free(f->ahead);
    for (struct mail *mail; f->inbox && (mail = mailbox_take(f->inbox, 0));) mail_free(mail);
    for (struct request *q; f->requests && (q = mailbox_take(f->requests, 0));) request_free(q);
    while (f->cancels && mailbox_take(f->cancels, 0)) continue;
    LIST_EACH(&f->unsent, struct unsent, node, u) {
        list_remove(&f->unsent, &u->node);
        reply_free(u->reply);
        mem_free(u);
    }
    LIST_EACH(&f->swap_waits, struct swap_wait, node, w) { /* the first model's, when it never started */
        list_remove(&f->swap_waits, &w->node);
        request_free(w->request);
        mem_free(w);
    }
    seat_process_free(f->seat);
    seat_process_free(f->measuring.process);
    for (uint32_t i = 0; i < f->n_leaving; i++) seat_process_free(f->leaving[i]);
    mailbox_free(f->requests);
    mailbox_free(f->cancels);
    mailbox_free(f->inbox);
    swap_clear(&f->swap);
    registry_free(f->registry);
    metrics_free(f->metrics);
    mem_free(f->seat_program);
    mem_free(f->engine);
    mem_free(f->engine_version);
    if (f->lock_fd >= 0) close(f->lock_fd);
    mem_free(f);
}
