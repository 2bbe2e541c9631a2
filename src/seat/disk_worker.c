/* Named rule LEAF LAST: an agent's name moves to a new leaf only when every block posted for it since the last move was
 * written; else the name stays where its chain is whole (unsaved_agents counts who waits). */
#include "seat/disk_worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/proc_mem.h"
#include "model/gguf_info.h"
#include "seat/disk_query.h"
#include "seat/engine.h"

#define HASH_SLICE_BYTES                                                                                     \
    (16u << 20)                 /* 2-5 ms from the page cache: how long a restore may wait for the hash */
#define FLUSH_AFTER_NS NS_PER_S /* without a job, the index is brought up to date */
#define UNSAVED_MAX 1024        /* names remembered as unsaved; more are counted as one */

struct unsaved {
    char *agent;
    bool block_lost; /* since the name was last to move */
    bool unsaved;    /* it will not be there after a swap */
};

struct disk_worker {
    pthread_t thread;
    bool started;
    struct mailbox *inbox, *engine; /* engine: borrowed, as the next two */
    struct outbox *out;
    struct seat_stats *stats;
    struct disk_job stop_mark; /* its address is the mail that ends the thread */
    struct store *store;
    char store_why[256];
    struct disk_job *hashing; /* owned: the job whose file is being read */
    struct model_hash *hash;
    struct file_identity hash_identity;
    char *residents; /* JSON, owned */
    struct unsaved unsaved[UNSAVED_MAX];
    uint32_t n_unsaved;
};

static void answer(struct disk_worker *w, struct disk_job *job) {
    must(mailbox_post(w->engine, &job->mail) == ERR_OK); /* seat_mail.h: there is always room */
}

static void publish_counters(struct disk_worker *w) {
    if (!w->store) return;
    struct store_counters c;
    store_counters_get(w->store, &c);
    atomic_store(&w->stats->blocks_written, c.blocks_written);
    atomic_store(&w->stats->block_bytes_written, c.bytes_written);
    atomic_store(&w->stats->blocks_read, c.blocks_read);
    atomic_store(&w->stats->block_bytes_read, c.bytes_read);
    atomic_store(&w->stats->blocks_corrupt, c.corrupt);
    atomic_store(&w->stats->write_failures, c.write_failures);
    atomic_store(&w->stats->evicted_blocks, c.evicted);
    atomic_store(&w->stats->disk_bytes, c.disk_bytes);
    atomic_store(&w->stats->disk_budget_bytes, c.budget_bytes);
}

/* ---- the store ---- */

static void open_store(struct disk_worker *w, const struct msg_hello *h) {
    if (h->cache_dir[0]) {
        struct store_config config = {.dir = h->cache_dir,
                                      .budget_bytes = h->cache_disk_bytes,
                                      .write_per_day_bytes = h->cache_write_per_day_bytes,
                                      .generation = h->generation};
        enum err err = store_open(&config, &w->store, w->store_why, sizeof w->store_why);
        if (err) {
            w->store = NULL;
            if (!w->store_why[0]) snprintf(w->store_why, sizeof w->store_why, "%s", err_text(err));
            log_error("seat.cache_off", "err=%s why=%s", err_name(err), log_q(w->store_why));
        }
    } else {
        snprintf(w->store_why, sizeof w->store_why, "no cache folder is set");
    }
    publish_counters(w);
    uint64_t baseline = proc_mem_private_bytes();
    atomic_store(&w->stats->baseline_bytes, baseline);
    struct msg m = {.type = MSG_TYPE_READY,
                    .ready = {.generation = h->generation,
                              .engine = (char *)(uintptr_t)engine_name(),
                              .engine_version = (char *)(uintptr_t)engine_version(),
                              .memory_bytes = baseline}};
    outbox_send(w->out, &m);
}

/* ---- the hash of a model's file ---- */

static void hash_end(struct disk_worker *w, enum err err, const char *why) {
    struct disk_job *job = TAKE(w->hashing);
    model_hash_free(TAKE(w->hash));
    job->err = err;
    if (err) snprintf(job->why, sizeof job->why, "%s", why ? why : err_text(err));
    answer(w, job);
}

static void hash_begin(struct disk_worker *w, struct disk_job *job) {
    if (w->hashing) hash_end(w, ERR_CANCELED, NULL);
    struct gguf_info info;
    char reason[256];
    job->spec_known = gguf_info_read(job->path, &info, reason, sizeof reason) == ERR_OK;
    if (job->spec_known) job->spec = info.spec;
    w->hashing = job;
    if (!w->store) {
        hash_end(w, ERR_NOT_FOUND, w->store_why);
        return;
    }
    enum err err = file_identity_of(job->path, &w->hash_identity);
    if (!err && store_file_hash_get(w->store, &w->hash_identity, &job->hash)) {
        hash_end(w, ERR_OK, NULL);
        return;
    }
    if (!err) err = model_hash_open(job->path, &w->hash);
    if (err) hash_end(w, err, "the model's file can't be read for its hash");
}

static void hash_step(struct disk_worker *w) {
    bool done = false;
    enum err err = model_hash_step(w->hash, HASH_SLICE_BYTES, &done, &w->hashing->hash);
    if (err == ERR_MISMATCH) {
        hash_end(w, err, "the model's file changed while it was read");
    } else if (err) {
        hash_end(w, err, "the model's file can't be read for its hash");
    } else if (done) {
        store_file_hash_put(w->store, &w->hash_identity, w->hashing->path, w->hashing->hash);
        hash_end(w, ERR_OK, NULL);
    }
}

/* ---- who is not saved ---- */

static struct unsaved *unsaved_of(struct disk_worker *w, const char *agent, bool make) {
    for (uint32_t i = 0; i < w->n_unsaved; i++)
        if (strcmp(w->unsaved[i].agent, agent) == 0) return &w->unsaved[i];
    if (!make || w->n_unsaved == UNSAVED_MAX) return NULL;
    char *name = mem_strdup(agent);
    if (!name) return NULL;
    w->unsaved[w->n_unsaved] = (struct unsaved){.agent = name};
    return &w->unsaved[w->n_unsaved++];
}

static void unsaved_publish(struct disk_worker *w) {
    uint64_t n = 0;
    for (uint32_t i = 0; i < w->n_unsaved; i++) n += w->unsaved[i].unsaved;
    atomic_store(&w->stats->unsaved_agents, n);
}

static void unsaved_remove(struct disk_worker *w, struct unsaved *u) {
    mem_free(u->agent);
    *u = w->unsaved[--w->n_unsaved];
}

/* ---- jobs of the engine thread ---- */

static void put(struct disk_worker *w, struct disk_job *job) {
    struct store_block b = {.parent = job->parent,
                            .tag = job->tag,
                            .model = job->model,
                            .agent = job->agent ? job->agent : "",
                            .tokens = job->tokens,
                            .n_tokens = job->n_tokens,
                            .first_pos = job->first_pos,
                            .base = job->has_base ? job->base.data : NULL,
                            .base_size = job->has_base ? job->base.size : 0,
                            .window = job->has_window ? job->window_part.data : NULL,
                            .window_size = job->has_window ? job->window_part.size : 0,
                            .window_from = job->window_from,
                            .leaving = job->leaving};
    job->err = w->store ? store_put(w->store, &b, &job->written) : ERR_NOT_FOUND;
    atomic_fetch_sub(&w->stats->dirty_bytes, job->dirty_bytes);
    buf_free(&job->base);
    buf_free(&job->window_part);
    if (!job->err) return;
    static struct log_limit limit = LOG_LIMIT(3);
    if (log_limit_pass(&limit))
        log_warn("seat.put", "err=%s agent=%s pos=%u leaving=%d", err_name(job->err), log_q(b.agent),
                 job->first_pos, job->leaving);
    struct unsaved *u = b.agent[0] ? unsaved_of(w, b.agent, true) : NULL;
    if (!u) return;
    u->block_lost = true;
    if (job->leaving || job->err != ERR_LIMIT) u->unsaved = true;
    unsaved_publish(w);
}

static void note(struct disk_worker *w, struct disk_job *job) {
    struct unsaved *u = unsaved_of(w, job->agent, false);
    if (u && u->block_lost) { /* LEAF LAST */
        u->block_lost = false;
        job->err = ERR_DISK_FULL;
        return;
    }
    job->err = w->store ? store_agent_note(w->store, job->tag, job->model, job->agent, job->leaf,
                                           job->n_chain, job->pinned)
                        : ERR_NOT_FOUND;
    if (job->err) {
        log_warn("seat.note", "err=%s agent=%s", err_name(job->err), log_q(job->agent));
        u = unsaved_of(w, job->agent, true);
        if (u) u->unsaved = true;
    } else if (u) {
        unsaved_remove(w, u);
    }
    unsaved_publish(w);
}

static void run_engine_job(struct disk_worker *w, struct disk_job *job) {
    struct store *s = w->store;
    switch (job->kind) {
    case DISK_SELF_TEST_GET: job->yes = s && store_self_test_get(s, job->tag); break;
    case DISK_SELF_TEST_PUT:
        if (s) store_self_test_put(s, job->tag);
        break;
    case DISK_CHAINS:
        job->err =
            s ? store_agent_chains(s, job->tag, job->agent, job->chains, &job->n_chains) : ERR_NOT_FOUND;
        if (job->err) job->n_chains = 0;
        break;
    case DISK_PLAN:
        job->err =
            s ? store_plan(s, job->tag, job->tokens, job->n_tokens, job->window, &job->plan) : ERR_NOT_FOUND;
        if (job->err) job->plan = (struct store_plan){.reason = "error"};
        break;
    case DISK_GET:
        job->err =
            s ? store_get(s, job->tag, &job->block, job->tokens, &job->base, &job->window_part, &job->reason)
              : ERR_NOT_FOUND;
        if (job->err)
            log_warn("seat.get", "err=%s reason=%s pos=%u", err_name(job->err),
                     log_q(job->reason ? job->reason : ""), job->block.first_pos);
        break;
    case DISK_PUT: put(w, job); break;
    case DISK_NOTE: note(w, job); break;
    case DISK_RESIDENTS:
        mem_free(w->residents);
        w->residents = TAKE(job->text);
        break;
    case DISK_FLUSH: break; /* jobs run in order: its answer is the news */
    case DISK_CLOSE:
        if (w->hashing) hash_end(w, ERR_CANCELED, NULL);
        store_free(TAKE(w->store));
        snprintf(w->store_why, sizeof w->store_why, "the store is closed");
        break;
    case DISK_OPEN:
    case DISK_SETTINGS:
    case DISK_QUERY:
    case DISK_HASH: must(false); /* the caller's */
    }
    publish_counters(w);
    answer(w, job);
}

/* ---- jobs of the link thread ---- */

static void query(struct disk_worker *w, struct disk_job *job) {
    const struct msg_query *q = &job->msg.query;
    struct buf json = BUF(FRAME_BYTES_MAX / 2);
    bool forget = false;
    enum err err = disk_query_run(w->store, w->store_why, w->residents, q, &json, &forget);
    outbox_reply(w->out, q->op, err, NULL, err ? NULL : &json);
    buf_free(&json);
    publish_counters(w);
    /* The cells know as well what was deleted; without room the engine thread has other worries than an idle agent. */
    if (!forget || err || mailbox_post(w->engine, &job->mail) != ERR_OK) disk_job_free(job);
}

static void run_job(struct disk_worker *w, struct disk_job *job) {
    if (job->kind == DISK_OPEN) {
        open_store(w, &job->msg.hello);
        disk_job_free(job);
    } else if (job->kind == DISK_SETTINGS) {
        const struct msg_settings *m = &job->msg.settings;
        if (w->store) store_set_limits(w->store, m->cache_disk_bytes, m->cache_write_per_day_bytes);
        publish_counters(w);
        disk_job_free(job);
    } else if (job->kind == DISK_QUERY) {
        query(w, job);
    } else if (job->kind == DISK_HASH) {
        hash_begin(w, job);
    } else {
        run_engine_job(w, job);
    }
}

static void *disk_thread(void *arg) {
    struct disk_worker *w = arg;
    bool unflushed = false;
    for (;;) {
        struct disk_job *job = mailbox_take(w->inbox, w->hashing ? 0 : unflushed ? FLUSH_AFTER_NS : -1);
        if (job == &w->stop_mark) break;
        if (job) {
            run_job(w, job);
            unflushed = w->store != NULL;
        } else if (w->hashing) {
            hash_step(w);
        } else if (unflushed) {
            unflushed = false;
            enum err err = w->store ? store_flush(w->store) : ERR_OK;
            if (err) log_warn("seat.flush", "err=%s", err_name(err));
        }
    }
    if (w->hashing) hash_end(w, ERR_CANCELED, NULL);
    return NULL;
}

/* ---- from outside ---- */

enum err disk_worker_open(struct mailbox *engine_inbox, struct outbox *out, struct seat_stats *stats,
                          struct disk_worker **ret) {
    struct disk_worker *w = mem_alloc(sizeof *w);
    if (!w) return ERR_NOMEM;
    w->engine = engine_inbox;
    w->out = out;
    w->stats = stats;
    snprintf(w->store_why, sizeof w->store_why, "no store was opened");
    enum err err = mailbox_open(MAILBOX_MAIL_MAX + SEAT_JOBS_MAX + 1, &w->inbox);
    if (!err && pthread_create(&w->thread, NULL, disk_thread, w) != 0) err = ERR_NOMEM;
    if (err) {
        disk_worker_free(w);
        return err;
    }
    w->started = true;
    *ret = w;
    return ERR_OK;
}

enum err disk_worker_post(struct disk_worker *w, struct disk_job *job, bool from_link) {
    if (from_link && mailbox_count(w->inbox) >= MAILBOX_MAIL_MAX) {
        atomic_fetch_add(&w->stats->full_mailboxes, 1);
        return ERR_QUEUE_FULL;
    }
    return mailbox_post(w->inbox, job);
}

void disk_worker_stop(struct disk_worker *w) {
    if (!w->started) return;
    must(mailbox_post(w->inbox, &w->stop_mark) == ERR_OK);
    must(pthread_join(w->thread, NULL) == 0);
    w->started = false;
}

void disk_worker_free(struct disk_worker *w) {
    if (!w) return;
    must(!w->started);
    store_free(w->store);
    mem_free(w->residents);
    for (uint32_t i = 0; i < w->n_unsaved; i++) mem_free(w->unsaved[i].agent);
    mailbox_free(w->inbox);
    mem_free(w);
}
