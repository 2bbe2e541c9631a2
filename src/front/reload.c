/* reload.c - SIGHUP and POST /admin/reload: the configuration is read again on the scan thread, because that blocks on the
 * disk. What can change at run time does, the rest is named; an invalid file changes nothing. */
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "front/front_impl.h"

struct reload_job {
    struct front *front; /* its inbox only, and only when it is read */
    struct scan *scan;
    int argc;
    char **argv;       /* copies: the front's may be gone before the disk answers */
    struct mail *mail; /* the answer, there from the beginning: somebody waits for it */
};

static void job_free(struct reload_job *job) {
    if (!job) return;
    for (int i = 0; job->argv && i < job->argc; i++) mem_free(job->argv[i]);
    mem_free(job->argv);
    mem_free(job->mail);
    mem_free(job);
}

static struct reload_job *job_new(struct front *f, uint64_t client) {
    const struct config *c = f->config;
    struct reload_job *job = mem_alloc(sizeof *job);
    if (!job) return NULL;
    *job = (struct reload_job){.front = f, .scan = f->scan, .argc = c->argc};
    job->argv = mem_array((size_t)c->argc + 1, sizeof *job->argv);
    job->mail = mem_alloc(sizeof *job->mail);
    bool whole = job->argv && job->mail;
    for (int i = 0; whole && i < c->argc; i++) whole = (job->argv[i] = mem_strdup(c->argv[i])) != NULL;
    if (!whole) {
        job_free(job);
        return NULL;
    }
    *job->mail = (struct mail){.kind = MAIL_RELOADED, .client = client};
    return job;
}

static void reload_read(void *arg) {
    struct reload_job *job = arg;
    struct mail *mail = job->mail;
    bool help;
    enum err err = config_load(job->argc, job->argv, &mail->config, &help, mail->why, sizeof mail->why);
    if (!err && mail->config) err = scan_set_sections(job->scan, mail->config);
    if (err && mail->config) {
        config_free(TAKE(mail->config));
        snprintf(mail->why, sizeof mail->why, "%s", err_text(err));
    }
}

static void reload_is_read(void *arg) {
    struct reload_job *job = arg;
    struct mail *mail = TAKE(job->mail);
    struct front *f = job->front;
    while (mailbox_post(f->inbox, mail)) { /* full: the control thread is taking mail out */
        if (atomic_load(&f->closed)) {
            config_free(mail->config);
            mem_free(mail);
            break;
        }
        sched_yield();
    }
    job_free(job);
}

void reload_begin(struct front *f, uint64_t client) {
    if (client && front_scan_hangs(f)) {
        (void)front_reply(f, reply_error(client, ERR_NO_SEAT,
                                         "the configuration was not read: the look at the models' files does "
                                         "not come back (a disk that does not answer?)"));
        return;
    }
    struct reload_wait *wait = client ? mem_alloc(sizeof *wait) : NULL;
    struct reload_job *job = !client || wait ? job_new(f, client) : NULL;
    if (job && !scan_job(f->scan, reload_read, reload_is_read, job)) {
        if (!wait) return;
        wait->client = client;
        wait->since_ns = f->now_ns;
        list_push_back(&f->reload_waits, &wait->node);
        return;
    }
    job_free(job);
    mem_free(wait);
    if (client) (void)front_reply(f, reply_error(client, ERR_QUEUE_FULL, "too many reloads at once"));
}

static void wait_end(struct front *f, struct reload_wait *w) {
    list_remove(&f->reload_waits, &w->node);
    mem_free(w);
}

void reload_tick(struct front *f) {
    LIST_EACH(&f->reload_waits, struct reload_wait, node, w) {
        if (f->now_ns - w->since_ns < SCAN_LIMIT_NS && !front_scan_hangs(f)) continue;
        (void)front_reply(f, reply_error(w->client, ERR_NO_SEAT,
                                         "the configuration could not be read yet, and will be when the disk "
                                         "with it, or that with the models, answers"));
        wait_end(f, w);
    }
}

void reload_end(struct front *f) {
    LIST_EACH(&f->reload_waits, struct reload_wait, node, w) {
        (void)front_reply(f, reply_error(w->client, ERR_STOPPING, NULL));
        wait_end(f, w);
    }
}

/* False: it was told already that this takes too long. */
static bool still_waits(struct front *f, uint64_t client) {
    LIST_EACH(&f->reload_waits, struct reload_wait, node, w) {
        if (w->client != client) continue;
        wait_end(f, w);
        return true;
    }
    return false;
}

void front_settings_from(struct front *f, const struct config *c) {
    f->settings = (struct settings){.turns = {.wait_bound_ns = c->wait_bound_ns,
                                              .stay_min_ns = c->stay_min_ns,
                                              .patience_ns = c->patience_ns,
                                              .auto_swap = c->auto_swap},
                                    .drain_timeout_ns = c->drain_timeout_ns,
                                    .cache_disk_bytes = c->cache_disk_bytes,
                                    .cache_write_per_day_bytes = c->cache_write_per_day_bytes,
                                    .log_level = c->log_level};
    f->swap.settings.load_timeout_ns = c->load_timeout_ns;
    f->swap.settings.step_timeout_ns = c->step_timeout_ns;
}

static void apply(struct front *f, const struct config *c) {
    front_settings_from(f, c);
    log_set_level((enum log_level)c->log_level);
    struct msg m = {.type = MSG_TYPE_SETTINGS,
                    .settings = {.cache_disk_bytes = c->cache_disk_bytes,
                                 .cache_write_per_day_bytes = c->cache_write_per_day_bytes,
                                 .log_level = (uint32_t)c->log_level}};
    if (f->seat) (void)seat_send(f, &m);
    enum err err = registry_set_sections(f->registry, c, swap_busy(&f->swap) ? swap_next(&f->swap) : NULL);
    if (err) log_warn("reload.sections", "err=%s", err_name(err));
    registry_warn_sections(f->registry, c);
    (void)front_scan_ticket(f);
    f->schedule = true;
}

static void put_list(struct json_out *w, const char *key, const char *list) {
    json_key(w, key);
    json_arr(w);
    while (list && *list) {
        size_t n = strcspn(list, ",");
        json_strn(w, list, n);
        list += n + (list[n] == ',');
    }
    json_end(w);
}

void reload_done(struct front *f, struct mail *mail) {
    if (mail->client && !still_waits(f, mail->client)) mail->client = 0;
    if (!mail->config) {
        log_error("reload", "ok=0 why=%s", log_q(mail->why));
        if (mail->client) (void)front_reply(f, reply_error(mail->client, ERR_INVALID, "%s", mail->why));
        return;
    }
    AUTO(mem_freep) char *applied = NULL;
    AUTO(mem_freep) char *restart = NULL;
    enum err err = config_diff(f->config, mail->config, &applied, &restart);
    if (!err) apply(f, mail->config);
    log_info("reload", "ok=%d live=%s needs_restart=%s", !err, log_q(applied ? applied : ""),
             log_q(restart ? restart : ""));
    if (!mail->client) return;
    if (err) {
        (void)front_reply(f, reply_error(mail->client, err, NULL));
        return;
    }
    struct buf body = BUF(65536);
    struct json_out w = json_out_into(&body);
    json_obj(&w);
    json_key(&w, "status"), json_str(&w, "reloaded");
    json_key(&w, "config"), json_str(&w, mail->config->config_file);
    json_key(&w, "models"), json_u64(&w, mail->config->n_sections);
    put_list(&w, "differs_from_start",
             applied); /* all live keys count; these are not what the server began with */
    put_list(&w, "needs_restart", restart);
    json_end(&w);
    front_reply_json(f, mail->client, 200, &body);
    buf_free(&body);
}
