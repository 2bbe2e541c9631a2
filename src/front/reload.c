/* reload.c - SIGHUP and POST /admin/reload: the configuration is read again on the scan thread, because that blocks on the
 * disk. What can change at run time does, the rest is named; an invalid file changes nothing. */
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "front/front_impl.h"

struct reload_job {
    struct front *front; /* its config (immutable), scan and inbox only: this runs on the scan thread */
    struct mail *mail;   /* the answer, there from the beginning: somebody waits for it */
};

static void reload_read(void *arg) {
    struct reload_job *job = arg;
    struct front *f = job->front;
    struct mail *mail = job->mail;
    bool help;
    enum err err =
        config_load(f->config->argc, f->config->argv, &mail->config, &help, mail->why, sizeof mail->why);
    if (!err && mail->config) err = scan_set_sections(f->scan, mail->config);
    if (err && mail->config) {
        config_free(TAKE(mail->config));
        snprintf(mail->why, sizeof mail->why, "%s", err_text(err));
    }
    while (mailbox_post(f->inbox, mail)) { /* full: the control thread is taking mail out */
        if (atomic_load(&f->closed)) {
            config_free(mail->config);
            mem_free(mail);
            break;
        }
        sched_yield();
    }
    mem_free(job);
}

void reload_begin(struct front *f, uint64_t client) {
    struct reload_job *job = mem_alloc(sizeof *job);
    struct mail *mail = mem_alloc(sizeof *mail);
    if (mail) *mail = (struct mail){.kind = MAIL_RELOADED, .client = client};
    if (job) *job = (struct reload_job){.front = f, .mail = mail};
    if (job && mail && !scan_job(f->scan, reload_read, job)) return;
    mem_free(job);
    mem_free(mail);
    if (client) (void)front_reply(f, reply_error(client, ERR_QUEUE_FULL, "too many reloads at once"));
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
