/* Named rules:
 *   CHAIN      the store takes a block only behind its parent and a name only for a leaf that is there: what was refused on the way
 *              needs no memory of ours, the note says so (unsaved_agents counts who waits).
 *   DELETED    what the engine thread posted before it heard of a deletion is not stored after it: a deletion is remembered until
 *              its job has been to the engine thread, which forgets, and is back behind the last such write. Nobody hears that
 *              it is done before the engine thread's box has it: whoever asks next asks cells that have forgotten.
 *   BETWEEN    the folder is looked through in steps, one after each job and while there is none: who has a model to serve
 *              does not wait for it, but for a step. Until it is over the store takes no write, so writes wait in the queue
 *              (WAITING, disk_queue.h) and are not refused. For one that somebody waits for, and when half of all that may wait
 *              does, the rest is looked through first.
 *   AGAIN      a store that can't be opened, or whose folder has gone, is tried again with later jobs: a full disk gets empty,
 *              an unplugged one comes back. Answers bear the number of the opening: in a folder made anew nothing is stored. */
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
#include "seat/disk_queue.h"
#include "seat/engine.h"
#include "seat/unsaved.h"

#define HASH_SLICE_BYTES                                                                                     \
    (16u << 20) /* 2-5 ms from the page cache: how long a restore may wait for the hash */
#define SCAN_SLICE_NS                                                                                        \
    (5 * NS_PER_MS) /* how long a job may wait for the look through the folder; small ones are done in one */
#define FLUSH_AFTER_NS NS_PER_S      /* without a job, the index is brought up to date */
#define OPEN_AGAIN_NS (3 * NS_PER_S) /* AGAIN: with the first job after it */

struct deletion {
    struct list_node node;
    char *model, *agent; /* owned; "": every one */
};

struct disk_worker {
    pthread_t thread;
    bool started, stopping;
    struct mailbox *inbox, *engine; /* engine: borrowed, as the next two */
    struct outbox *out;
    struct seat_stats *stats;
    struct disk_job stop_mark; /* its address is the mail that ends the thread */
    _Atomic uint32_t n_from_link;
    struct disk_queue queue;
    struct spares spares;
    struct store *store;
    struct store_config config; /* dir: owned, NULL when no store is wanted (any more) */
    int64_t open_after_ns;      /* the next try */
    uint32_t openings;          /* that succeeded */
    char store_why[256];
    struct store_counters closed; /* of stores that were open before this one, and of puts without one */
    struct disk_job *hashing;     /* owned: the job whose file is being read */
    struct model_hash *hash;
    int64_t hash_began_ns;
    char *residents; /* JSON, owned */
    struct unsaved unsaved;
    bool scan_rests;       /* a step failed: again after the next job */
    struct list deletions; /* DELETED: that the engine thread has yet to hear of, in order */
};

static void answer(struct disk_worker *w, struct disk_job *job) {
    job->opening = w->openings;
    must(mailbox_post(w->engine, &job->mail) == ERR_OK); /* seat_mail.h: there is always room */
}

static struct store_counters counters(const struct disk_worker *w) {
    struct store_counters c = {0};
    if (w->store) store_counters_get(w->store, &c);
    c.blocks_written += w->closed.blocks_written;
    c.bytes_written += w->closed.bytes_written;
    c.blocks_read += w->closed.blocks_read;
    c.bytes_read += w->closed.bytes_read;
    c.corrupt += w->closed.corrupt;
    c.write_failures += w->closed.write_failures;
    c.evicted += w->closed.evicted;
    return c;
}

static void publish_counters(struct disk_worker *w) {
    struct store_counters c = counters(w);
    atomic_store(&w->stats->blocks_written, c.blocks_written);
    atomic_store(&w->stats->block_bytes_written, c.bytes_written);
    atomic_store(&w->stats->blocks_read, c.blocks_read);
    atomic_store(&w->stats->block_bytes_read, c.bytes_read);
    atomic_store(&w->stats->blocks_corrupt, c.corrupt);
    atomic_store(&w->stats->write_failures, c.write_failures);
    atomic_store(&w->stats->evicted_blocks, c.evicted);
    atomic_store(&w->stats->disk_bytes, c.disk_bytes);
    atomic_store(&w->stats->disk_budget_bytes, c.budget_bytes);
    atomic_store(&w->stats->unsaved_agents, w->unsaved.n);
}

/* ---- the store ---- */

static void want_no_store(struct disk_worker *w) {
    mem_free((void *)(uintptr_t)w->config.dir);
    w->config.dir = NULL;
}

static bool is_scanning(const struct disk_worker *w) {
    return w->store && !w->scan_rests && store_is_scanning(w->store);
}

/* BETWEEN. */
static void scan(struct disk_worker *w, bool all) {
    if (!is_scanning(w)) return;
    enum err err = ERR_OK;
    do { /* in small steps: they are the signs of life of who waits for all of it */
        err = store_scan_step(w->store, SCAN_SLICE_NS);
        atomic_fetch_add(&w->stats->scan_steps, 1);
    } while (all && !err && store_is_scanning(w->store));
    w->scan_rests = err != ERR_OK;
    static struct log_limit limit = LOG_LIMIT(1);
    if (err && log_limit_pass(&limit)) log_warn("seat.scan", "err=%s", err_name(err));
    if (err || store_is_scanning(w->store)) return;
    log_info("seat.scan", "done=1");
    publish_counters(w);
}

/* AGAIN. */
static void try_open(struct disk_worker *w) {
    int64_t now = clock_now_ns();
    if (w->store || !w->config.dir || now < w->open_after_ns) return;
    enum err err = store_open(&w->config, &w->store, w->store_why, sizeof w->store_why);
    if (!err) {
        log_info("seat.cache", "opened=1");
        w->openings++;
        w->scan_rests = false;
        scan(w, false); /* all of a small one: the job that has opened it finds it ready */
        return;
    }
    w->store = NULL;
    w->open_after_ns = clock_now_ns() + OPEN_AGAIN_NS;
    if (!w->store_why[0]) snprintf(w->store_why, sizeof w->store_why, "%s", err_text(err));
    static struct log_limit limit = LOG_LIMIT(1);
    if (log_limit_pass(&limit))
        log_error("seat.cache_off", "err=%s why=%s", err_name(err), log_q(w->store_why));
    if (err == ERR_LOCKED) want_no_store(w); /* a newer seat has it: for good */
}

static void close_store(struct disk_worker *w, const char *why) {
    w->closed = counters(w);
    store_free(TAKE(w->store));
    snprintf(w->store_why, sizeof w->store_why, "%s", why);
}

/* A folder that has gone is made anew at once, a disk that is not there is tried again and again. */
static void look_lost(struct disk_worker *w) {
    if (!w->store || !store_is_lost(w->store)) return;
    w->config.device = store_device(w->store);
    close_store(w, "the cache folder is not there any more");
    w->open_after_ns = 0;
}

static void open_store(struct disk_worker *w, const struct msg_hello *h) {
    w->config = (struct store_config){.dir = h->cache_dir[0] ? mem_strdup(h->cache_dir) : NULL,
                                      .budget_bytes = h->cache_disk_bytes,
                                      .write_per_day_bytes = h->cache_write_per_day_bytes,
                                      .generation = h->generation,
                                      .holder = h->holder,
                                      .scan_later = true};
    const char *why = h->cache_dir[0] ? "not enough memory for the store" : h->cache_why;
    snprintf(w->store_why, sizeof w->store_why, "%s", why[0] ? why : "no cache folder is set");
    try_open(w);
    publish_counters(w);
    uint64_t baseline = proc_mem_private_bytes();
    atomic_store(&w->stats->baseline_bytes, baseline);
    atomic_store(&w->stats->memory_bytes, baseline);
    struct msg m = {.type = MSG_TYPE_READY,
                    .ready = {.generation = h->generation,
                              .engine = (char *)(uintptr_t)engine_name(),
                              .engine_version = (char *)(uintptr_t)engine_version(),
                              .memory_bytes = baseline}};
    outbox_send(w->out, &m);
}

static void set_limits(struct disk_worker *w, const struct msg_settings *m) {
    w->config.budget_bytes = m->cache_disk_bytes;
    w->config.write_per_day_bytes = m->cache_write_per_day_bytes;
    if (w->store) store_set_limits(w->store, m->cache_disk_bytes, m->cache_write_per_day_bytes);
}

/* ---- the hash of a model's file ---- */

static void hash_end(struct disk_worker *w, enum err err, const char *why) {
    struct disk_job *job = TAKE(w->hashing);
    model_hash_free(TAKE(w->hash));
    log_debug("seat.hash", "err=%s ms=%lld", err_name(err),
              (long long)((clock_now_ns() - w->hash_began_ns) / NS_PER_MS));
    job->err = err;
    job->store_off = w->store == NULL;
    if (!err && job->store_off) why = w->store_why;
    if (err || job->store_off) snprintf(job->why, sizeof job->why, "%s", why ? why : err_text(err));
    answer(w, job);
}

/* ONE FILE: header and hash are of the files that were opened here, and the path still means them. */
static enum err hash_open(struct disk_worker *w, struct disk_job *job) {
    struct gguf_info info;
    struct file_identity now;
    char reason[256];
    enum err err = model_hash_open(job->path, &w->hash);
    if (!err) err = model_hash_identity(w->hash, &job->identity);
    job->spec_known = gguf_info_read(job->path, &info, reason, sizeof reason) == ERR_OK;
    if (job->spec_known) job->spec = info.spec;
    if (!err) err = file_identity_of(job->path, &now);
    return err || file_identity_equal(&now, &job->identity) ? err : ERR_MISMATCH;
}

static void hash_failed(struct disk_worker *w, enum err err) {
    hash_end(w, err,
             err == ERR_MISMATCH ? "the model's file changed while it was read"
                                 : "the model's file can't be read for its hash");
}

static void hash_begin(struct disk_worker *w, struct disk_job *job) {
    if (w->hashing) hash_end(w, ERR_CANCELED, NULL);
    w->hashing = job;
    w->hash_began_ns = clock_now_ns();
    enum err err = hash_open(w, job);
    if (!w->store && !w->config.dir)
        hash_end(w, ERR_NOT_FOUND, w->store_why);
    else if (err)
        hash_failed(w, err);
    else if (w->store && store_file_hash_get(w->store, &job->identity, &job->hash))
        hash_end(w, ERR_OK, NULL);
}

static void hash_step(struct disk_worker *w) {
    bool done = false;
    struct disk_job *job = w->hashing;
    enum err err = model_hash_step(w->hash, HASH_SLICE_BYTES, &done, &job->hash);
    if (err) {
        hash_failed(w, err);
    } else if (done) {
        if (w->store) store_file_hash_put(w->store, &job->identity, job->path, job->hash);
        hash_end(w, ERR_OK, NULL);
    }
}

/* ---- DELETED ---- */

static void deletion_free(struct deletion *d) {
    if (!d) return;
    mem_free(d->model);
    mem_free(d->agent);
    mem_free(d);
}

static struct deletion *deletion_new(const struct msg_query *q) {
    struct deletion *d = mem_alloc(sizeof *d);
    if (!d) return NULL;
    d->model = mem_strdup(q->model);
    d->agent = mem_strdup(q->what == MSG_QUERY_AGENT_DELETE ? q->agent : "");
    if (d->model && d->agent) return d;
    deletion_free(d);
    return NULL;
}

static bool is_deleted(const struct disk_worker *w, const struct disk_job *job) {
    LIST_EACH(&w->deletions, struct deletion, node, d) {
        if ((!d->model[0] || strcmp(d->model, job->model) == 0) &&
            (!d->agent[0] || strcmp(d->agent, job->agent) == 0))
            return true;
    }
    return false;
}

/* The list says no more that who is deleted is in the cells, though the engine thread has yet to forget. */
static void strip_residents(struct disk_worker *w, const struct deletion *d) {
    char *left = disk_query_without(w->residents, d->model, d->agent);
    if (!left) return;
    mem_free(w->residents);
    w->residents = left;
}

static void set_residents(struct disk_worker *w, struct disk_job *job) {
    mem_free(w->residents);
    w->residents = TAKE(job->text);
    LIST_EACH(&w->deletions, struct deletion, node, d) {
        strip_residents(w, d);
    }
}

static void deletion_heard(struct disk_worker *w) {
    struct deletion *d = LIST_ENTRY(list_first(&w->deletions), struct deletion, node);
    must(d != NULL);
    list_remove(&w->deletions, &d->node);
    deletion_free(d);
}

/* ---- jobs of the engine thread ---- */

static void put(struct disk_worker *w, struct disk_job *job) {
    struct store_block b = {.parent = job->parent,
                            .tag = job->tag,
                            .model = job->model,
                            .agent = job->agent,
                            .tokens = job->tokens,
                            .n_tokens = job->n_tokens,
                            .first_pos = job->first_pos,
                            .base = job->has_base ? job->base.data : NULL,
                            .base_size = job->has_base ? job->base.size : 0,
                            .window = job->has_window ? job->window_part.data : NULL,
                            .window_size = job->has_window ? job->window_part.size : 0,
                            .window_from = job->window_from,
                            .leaving = job->leaving};
    /* Without a store it is not stored; ERR_NOT_FOUND would say that its parent is missing. */
    bool deleted = is_deleted(w, job);
    if (!deleted) scan(w, true);
    job->err = deleted ? ERR_CANCELED : w->store ? store_put(w->store, &b, &job->written) : ERR_IO;
    if (!deleted && !w->store) w->closed.write_failures++;
    atomic_fetch_sub(&w->stats->dirty_bytes, job->dirty_bytes);
    spares_keep(&w->spares, &job->base, SPARES_BYTES_KEPT);
    buf_free(&job->window_part);
    if (!job->err || deleted) return;
    static struct log_limit limit = LOG_LIMIT(3);
    if (log_limit_pass(&limit))
        log_warn("seat.put", "err=%s agent=%s pos=%u leaving=%d", err_name(job->err), log_q(b.agent),
                 job->first_pos, job->leaving);
    if (job->leaving || job->err != ERR_LIMIT) unsaved_set(&w->unsaved, job->tag, b.model, b.agent);
}

static void get(struct disk_worker *w, struct disk_job *job) {
    static const uint8_t head[ENGINE_BLOCK_HEAD];
    job->base = spares_take(&w->spares);
    /* Room for a window part as well: it joins the base part when both are put back. */
    (void)buf_reserve(&job->base, 2 * sizeof head + job->block.part_bytes);
    buf_clear(&job->base); /* a size that is not to be had: the file's own will tell */
    buf_put(&job->base, head, sizeof head);
    job->err = job->base.error;
    if (!job->err)
        job->err = w->store ? store_get(w->store, job->tag, &job->block, job->tokens, &job->base,
                                        &job->window_part, &job->reason)
                            : ERR_NOT_FOUND;
    if (job->err)
        log_warn("seat.get", "err=%s reason=%s pos=%u", err_name(job->err),
                 log_q(job->reason ? job->reason : ""), job->block.first_pos);
}

static void note(struct disk_worker *w, struct disk_job *job) {
    if (is_deleted(w, job)) {
        unsaved_clear(&w->unsaved, job->tag, job->agent);
        job->err = ERR_CANCELED;
        return;
    }
    scan(w, true);
    struct store_note n = {.tag = job->tag,
                           .model = job->model,
                           .agent = job->agent,
                           .leaf = job->leaf,
                           .n_tokens = job->n_chain,
                           .n_prompt = job->n_prompt,
                           .interrupted = job->interrupted,
                           .pinned_model = job->pinned};
    job->err = w->store ? store_agent_note(w->store, &n) : ERR_IO;
    if (!job->err) {
        unsaved_clear(&w->unsaved, job->tag, job->agent);
        return;
    }
    static struct log_limit limit = LOG_LIMIT(3);
    if (log_limit_pass(&limit))
        log_warn("seat.note", "err=%s agent=%s", err_name(job->err), log_q(job->agent));
    unsaved_set(&w->unsaved, job->tag, job->model, job->agent);
}

static void run_engine_job(struct disk_worker *w, struct disk_job *job) {
    struct store *s = w->store;
    switch (job->kind) {
    case DISK_SELF_TEST_GET:
        job->yes = s && store_self_test_get(s, job->tag);
        if (s) store_set_token_cost(s, job->tag, job->token_cost);
        job->other_blocks = s ? store_other_blocks(s, job->tag, job->model) : 0;
        break;
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
    case DISK_GET: get(w, job); break;
    case DISK_PUT: put(w, job); break;
    case DISK_NOTE: note(w, job); break;
    case DISK_UNSAVED:
        if (is_deleted(w, job))
            unsaved_clear(&w->unsaved, job->tag, job->agent);
        else
            unsaved_set(&w->unsaved, job->tag, job->model, job->agent);
        break;
    case DISK_RESIDENTS: set_residents(w, job); break;
    case DISK_FLUSH: break; /* jobs run in order: its answer is the news */
    case DISK_CLOSE:
        if (w->hashing) hash_end(w, ERR_CANCELED, NULL);
        want_no_store(w);
        close_store(w, "the store is closed");
        break;
    case DISK_OPEN:
    case DISK_SETTINGS:
    case DISK_READ_AHEAD:
    case DISK_QUERY:
    case DISK_HASH: must(false); /* the caller's */
    }
    publish_counters(w);
    answer(w, job);
}

/* ---- jobs of the link thread ---- */

/* The cells hold as well what is deleted. Takes job over; false: it could not be begun, the job stays the caller's. */
static bool forget(struct disk_worker *w, struct disk_job *job) {
    const struct msg_query *q = &job->msg.query;
    struct deletion *d = w->deletions.count < MAILBOX_MAIL_MAX ? deletion_new(q) : NULL;
    if (!d) return false;
    list_push_back(&w->deletions, &d->node);
    unsaved_forget(&w->unsaved, d->model, d->agent);
    strip_residents(w, d);
    answer(w, job);
    return true;
}

static void query(struct disk_worker *w, struct disk_job *job) {
    const struct msg_query *q = &job->msg.query;
    uint64_t op = q->op;
    struct buf json = BUF(FRAME_BYTES_MAX / 2);
    struct disk_query_view view = {w->store, w->store_why, w->residents, &w->unsaved};
    enum err err = disk_query_run(&view, q, &json);
    bool deletes = q->what == MSG_QUERY_AGENT_DELETE || q->what == MSG_QUERY_CACHE_DELETE;
    if (!deletes) {
        disk_job_free(job);
    } else if (!forget(w, job)) {
        disk_job_free(job);
        err = ERR_NOMEM;
    }
    publish_counters(w); /* after forget(): whom it deleted is not waited for */
    outbox_reply(w->out, op, err, NULL, err ? NULL : &json);
    buf_free(&json);
}

static void read_ahead(struct disk_worker *w, const struct msg_read_ahead *m) {
    char agent[AGENT_ID_BYTES_MAX + 1];
    int64_t began_ns = clock_now_ns();
    for (uint32_t i = 0; w->store && i < m->agents.n; i++) {
        if (m->agents.items[i].size > AGENT_ID_BYTES_MAX) continue;
        snprintf(agent, sizeof agent, "%.*s", (int)m->agents.items[i].size,
                 (const char *)m->agents.items[i].data);
        store_read_ahead(w->store, m->model, agent);
    }
    log_debug("seat.caches_ahead", "agents=%u ms=%lld", m->agents.n,
              (long long)((clock_now_ns() - began_ns) / NS_PER_MS));
}

static void run_job(struct disk_worker *w, struct disk_job *job) {
    if (job->from_link) atomic_fetch_sub(&w->n_from_link, 1);
    try_open(w);
    if (job->kind == DISK_OPEN) {
        open_store(w, &job->msg.hello);
        disk_job_free(job);
    } else if (job->kind == DISK_SETTINGS) {
        set_limits(w, &job->msg.settings);
        publish_counters(w);
        disk_job_free(job);
    } else if (job->kind == DISK_READ_AHEAD) {
        read_ahead(w, &job->msg.read_ahead);
        disk_job_free(job);
    } else if (job->kind == DISK_QUERY && job->from_link) {
        query(w, job);
    } else if (job->kind == DISK_QUERY) { /* it has been to the engine thread */
        deletion_heard(w);
        disk_job_free(job);
    } else if (job->kind == DISK_HASH) {
        hash_begin(w, job);
    } else {
        run_engine_job(w, job);
    }
}

/* BETWEEN: not forever. More than half of what may wait would keep the engine thread from handing over the rest. */
static bool may_writes_wait(const struct disk_worker *w) {
    return is_scanning(w) && !w->stopping && w->queue.jobs.count < SEAT_JOBS_MAX / 2 &&
           atomic_load(&w->stats->dirty_bytes) < DIRTY_BYTES_MAX / 2;
}

/* Whose note waits is not saved, whatever else the store has of him. */
static void push(struct disk_worker *w, struct disk_job *job) {
    bool tells = job->kind == DISK_NOTE || job->kind == DISK_UNSAVED;
    if (tells && is_scanning(w)) unsaved_set(&w->unsaved, job->tag, job->model, job->agent);
    disk_queue_push(&w->queue, job);
}

/* Takes in what was posted, and waits for it if there is nothing else to do. NULL: nothing to do but the hash, or a flush. */
static struct disk_job *next_job(struct disk_worker *w, bool unflushed) {
    bool busy = w->hashing || is_scanning(w) || w->queue.jobs.count > 0 || w->stopping;
    int64_t timeout_ns = busy ? 0 : unflushed ? FLUSH_AFTER_NS : -1;
    struct disk_job *job;
    while ((job = mailbox_take(w->inbox, timeout_ns)) != NULL) {
        timeout_ns = 0;
        if (job == &w->stop_mark)
            w->stopping = true;
        else
            push(w, job);
    }
    return disk_queue_pop(&w->queue, may_writes_wait(w));
}

static void *disk_thread(void *arg) {
    struct disk_worker *w = arg;
    bool unflushed = false;
    for (;;) {
        struct disk_job *job = next_job(w, unflushed);
        if (!job && w->stopping) break;
        if (job) {
            run_job(w, job);
            look_lost(w);
            unflushed = w->store != NULL;
            w->scan_rests = false;
            scan(w, false); /* so that it comes to an end under load, too */
        } else if (w->hashing || is_scanning(w)) {
            if (w->hashing) hash_step(w);
            scan(w, false);
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
    disk_queue_init(&w->queue);
    spares_init(&w->spares);
    list_init(&w->deletions);
    enum err err = mailbox_open(2 * MAILBOX_MAIL_MAX + SEAT_JOBS_MAX + 1, &w->inbox);
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
    job->from_link = from_link;
    if (!from_link) return mailbox_post(w->inbox, job);
    bool full = atomic_fetch_add(&w->n_from_link, 1) >= MAILBOX_MAIL_MAX;
    enum err err = full ? ERR_QUEUE_FULL : mailbox_post(w->inbox, job);
    if (err) atomic_fetch_sub(&w->n_from_link, 1);
    if (err) atomic_fetch_add(&w->stats->full_mailboxes, 1);
    return err;
}

struct spares *disk_worker_spares(struct disk_worker *w) {
    return &w->spares;
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
    unsaved_free(&w->unsaved);
    while (w->deletions.count > 0) deletion_heard(w);
    want_no_store(w);
    mailbox_free(w->inbox);
    spares_free(&w->spares);
    mem_free(w);
}
