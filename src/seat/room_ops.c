/* The operations of a swap, as the front orders them: load, configure, evict, unload, park, stop, measure.
 * Named rule ONE FILE: the weights that the engine has read, the hash and the header are of one file. Three threads of work meet in
 * one path, under which another file may appear at any time: so the path's identity is the same before and after the load, and
 * that of the descriptors that were hashed; else it is hashed again, and then there is no cache. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/proc_mem.h"
#include "model/gguf_parts.h"
#include "model/model_tag.h"
#include "seat/room.h"

#define WHY_BYTES 512
#define PROGRESS_EVERY_NS (100 * NS_PER_MS)

/* ---- the streams and sequences that stand in the way ---- */

void room_park_all(struct room *r) {
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->state != STREAM_ENDED) stream_end_parked(r, t);
    }
}

void room_drop_all(struct room *r, enum err err) {
    LIST_EACH(&r->streams, struct stream, node, t) {
        stream_drop_sequence(r, t);
        if (t->state != STREAM_ENDED) stream_end_failed(r, t, err, NULL);
    }
    room_reap(r); /* samplers and parsers must not outlive their model */
    LIST_EACH(&r->idle, struct sequence, node, s) {
        save_say_lost(r, s);
        sequence_drop(r, s);
    }
}

/* A newer order takes the place of one that still waits. */
static void abort_pending(struct room *r) {
    if (r->op.step == STEP_NONE) return;
    if (r->op.type == MSG_TYPE_STOP) return;
    outbox_op_failed(r->out, r->op.op, ERR_CANCELED, "another operation came before this one was done");
    r->op.step = STEP_NONE;
}

/* ---- LOAD ---- */

struct progress {
    struct room *room;
    uint64_t op;
    int64_t sent_ns;
};

static void on_progress(void *ctx, uint32_t permille) {
    struct progress *p = ctx;
    int64_t now = clock_now_ns();
    if (permille < 1000 && now - p->sent_ns < PROGRESS_EVERY_NS) return;
    p->sent_ns = now;
    struct msg m = {.type = MSG_TYPE_PROGRESS, .progress = {.op = p->op, .permille = permille}};
    outbox_send(p->room->out, &m);
}

static bool load_params(const char *path, const char *kv, uint32_t repack, uint32_t threads,
                        struct engine_load_params *ret) {
    *ret = (struct engine_load_params){.path = path,
                                       .repack = repack != 0,
                                       .n_threads = threads,
                                       .template_family = "",
                                       .template_source = ""};
    return kv_type_parse(kv, &ret->kv);
}

/* The disk thread reads the file for its hash while the engine reads it for its weights. */
static void ask_hash(struct room *r) {
    r->hash_known = false;
    r->load_serial = ++r->last_serial;
    struct disk_job *job = disk_job_new(DISK_HASH, r->load_serial);
    if (job) job->path = mem_strdup(r->path);
    bool asked = job && job->path;
    if (job && !asked) disk_job_free(job);
    if (asked && room_post_job(r, job)) return;
    r->hash_known = true;
    r->hash_err = ERR_NOMEM;
    snprintf(r->hash_why, sizeof r->hash_why, "the disk thread could not be asked for the model's hash");
}

static void forget_model(struct room *r) {
    mem_free(TAKE(r->model));
    mem_free(TAKE(r->path));
    r->info = (struct engine_model){0};
    r->pool = (struct block_pool){0};
    for (uint32_t i = 0; i < RECENT_CHAINS; i++) { /* of what was not stored the tokens are of no use */
        if (!hash128_equal(r->recent[i].tag, r->tag) ||
            (r->cache_on && r->recent[i].n <= RECENT_TOKENS_LEFT_MAX))
            continue;
        mem_free(TAKE(r->recent[i].tokens));
        r->recent[i].n = 0;
    }
    r->tag = (struct hash128){0};
    r->cache_on = false;
    r->state = ROOM_EMPTY;
    r->residents_changed = true;
}

void room_load(struct room *r, const struct msg_load *m) {
    abort_pending(r);
    struct engine_load_params p;
    if (r->state != ROOM_EMPTY || r->op.step != STEP_NONE ||
        !load_params(m->path, m->kv, m->repack, m->threads, &p)) {
        outbox_op_failed(r->out, m->op, ERR_INVALID,
                         r->state != ROOM_EMPTY ? "another model is in the seat"
                                                : "unknown KV type, or stopping");
        return;
    }
    struct progress progress = {.room = r, .op = m->op};
    p.progress = on_progress;
    p.progress_ctx = &progress;
    p.template_family = m->template_family;
    p.template_source = m->template_source.data ? (const char *)m->template_source.data : "";
    r->model = mem_strdup(m->model);
    r->path = mem_strdup(m->path);
    r->kv = p.kv;
    r->repack = p.repack;
    r->hash_again = r->loaded_known = false;
    char why[WHY_BYTES] = "";
    struct file_identity before;
    enum err err = r->model && r->path ? ERR_OK : ERR_NOMEM;
    bool known = !err && file_identity_of(r->path, &before) == ERR_OK;
    if (!err) ask_hash(r);
    engine_cancel(r->engine, false);
    atomic_store(&r->stats->load_started_ns, clock_now_ns());
    if (!err) err = engine_load(r->engine, &p, &r->info, why, sizeof why);
    atomic_store(&r->stats->load_started_ns, 0);
    if (err) {
        log_warn("seat.load", "model=%s err=%s why=%s", log_q(m->model), err_name(err), log_q(why));
        outbox_op_failed(r->out, m->op, err, why[0] ? why : NULL);
        forget_model(r);
        return;
    }
    r->state = ROOM_LOADED;
    r->loaded_known =
        known && file_identity_of(r->path, &r->loaded) == ERR_OK && file_identity_equal(&before, &r->loaded);
    struct msg done = {.type = MSG_TYPE_LOADED,
                       .loaded = {.op = m->op,
                                  .weights_bytes = r->info.weights_bytes,
                                  .context_train = r->info.context_train,
                                  .base_bytes_per_token = r->info.base_bytes_per_token,
                                  .window_bytes_per_seq = r->info.window_bytes_per_seq}};
    outbox_send(r->out, &done);
}

void room_measure(struct room *r, const struct msg_measure *m) {
    struct engine_load_params p;
    struct engine_measure got = {0};
    struct engine_context_params c = {.n_cells = m->n_cells, .n_seqs = m->n_seqs, .n_batch = BATCH_TOKENS};
    char why[WHY_BYTES] = "unknown KV type";
    enum err err = ERR_INVALID;
    if (load_params(m->path, m->kv, m->repack, m->threads, &p))
        err = engine_measure(&p, &c, &got, why, sizeof why);
    if (err) {
        outbox_op_failed(r->out, m->op, err, why);
        return;
    }
    struct msg done = {.type = MSG_TYPE_MEASURED,
                       .measured = {.op = m->op,
                                    .weights_bytes = got.weights_bytes,
                                    .cells_bytes = got.cells_bytes,
                                    .compute_bytes = got.compute_bytes,
                                    .heap_bytes = got.heap_bytes,
                                    .base_bytes_per_token = got.base_bytes_per_token,
                                    .window_bytes_per_seq = got.window_bytes_per_seq,
                                    .device_bytes = got.device_bytes,
                                    .context_train = got.context_train,
                                    .n_vocab = got.n_vocab}};
    outbox_send(r->out, &done);
}

/* ---- CONFIGURE ---- */

static void cache_off(struct room *r, const char *why) {
    r->cache_on = false;
    snprintf(r->cache_reason, sizeof r->cache_reason, "%s", why);
    log_error("seat.cache_off", "model=%s why=%s", log_q(r->model), log_q(why));
}

static enum err make_context(struct room *r, const struct msg_configure *m, uint64_t *ret_compute,
                             char *why) {
    if (m->parallel == 0 || m->parallel > PARALLEL_MAX) {
        snprintf(why, WHY_BYTES, "%u sequences at the same time; 1 to %d are possible", m->parallel,
                 PARALLEL_MAX);
        return ERR_INVALID;
    }
    if (m->token_gap == 1 || m->token_gap > TOKEN_GAP_MAX) {
        snprintf(why, WHY_BYTES, "a token gap of %u; 2 to %d are possible", m->token_gap, TOKEN_GAP_MAX);
        return ERR_INVALID;
    }
    struct pool_spec spec = {.base_bytes_per_token = r->info.base_bytes_per_token,
                             .window_bytes_per_seq = r->info.window_bytes_per_seq,
                             .context_train = r->info.context_train,
                             .context = m->context,
                             .parallel = m->parallel};
    enum err err = block_pool_reconfigure(&r->pool, &spec, m->pool_bytes, why, WHY_BYTES);
    if (err) return err;
    struct engine_context_params c = {
        .n_cells = r->pool.n_blocks * BLOCK_TOKENS, .n_seqs = r->pool.n_seqs, .n_batch = BATCH_TOKENS};
    int64_t began_ns = clock_now_ns();
    err = engine_configure(r->engine, &c, ret_compute, why, WHY_BYTES);
    log_debug("seat.context", "cells=%u ms=%lld", c.n_cells,
              (long long)((clock_now_ns() - began_ns) / NS_PER_MS));
    return err;
}

static void configured(struct room *r) {
    char tag[HASH128_HEX_SIZE] = "";
    if (r->hash_known && !r->hash_err) hash128_hex(r->tag, tag);
    r->op.answer.tag = tag;
    r->op.answer.cache_on = r->cache_on && !r->store_off;
    r->op.answer.cache_reason = r->cache_reason;
    r->op.answer.memory_bytes = proc_mem_private_bytes();
    atomic_store(&r->stats->memory_bytes, r->op.answer.memory_bytes);
    struct msg m = {.type = MSG_TYPE_CONFIGURED, .configured = r->op.answer};
    outbox_send(r->out, &m);
    log_info("seat.configured", "model=%s cells=%u sequences=%u context=%u cache=%d tag=%s", log_q(r->model),
             r->pool.n_blocks * BLOCK_TOKENS, r->pool.n_seqs, r->pool.context, r->cache_on,
             tag[0] ? tag : "none");
    r->op = (struct room_op){0};
    r->state = ROOM_READY;
    engine_cancel(r->engine, false);
}

static void make_tag(struct room *r) {
    char engine[160];
    snprintf(engine, sizeof engine, "%s %s", engine_name(), engine_version());
    struct model_tag_inputs in = {.weights = r->weights,
                                  .architecture = r->spec.architecture,
                                  .n_layers = r->spec.n_layers,
                                  .n_kv_heads = r->spec.n_kv_heads,
                                  .head_k = r->spec.head_k,
                                  .head_v = r->spec.head_v,
                                  .window = r->spec.window,
                                  .n_window_layers = r->spec.n_window_layers,
                                  .kv = r->kv,
                                  .flash_attention = true,
                                  .swa_full = false,
                                  .engine = engine,
                                  .format_version = STORE_FORMAT_VERSION,
                                  .repack = r->repack,
                                  .rope_long = r->spec.rope_long_short &&
                                               r->pool.n_blocks * BLOCK_TOKENS > r->spec.rope_context};
    r->tag = model_tag_of(&in);
}

/* The hash is there: the tag, then whether blocks of this model were proven once. */
static void configure_tag(struct room *r) {
    snprintf(r->cache_reason, sizeof r->cache_reason, "%s", r->store_off ? r->hash_why : "");
    r->cache_on = true;
    if (r->hash_err) {
        cache_off(r, r->hash_why[0] ? r->hash_why : err_text(r->hash_err));
    } else if (r->info.recurrent) {
        make_tag(r);
        cache_off(r, "this model's state can't be cut into blocks");
    }
    if (!r->cache_on) {
        configured(r);
        return;
    }
    make_tag(r);
    struct disk_job *job = disk_job_new(DISK_SELF_TEST_GET, r->load_serial);
    if (job) {
        job->tag = r->tag;
        job->model = mem_strdup(r->model);
        job->token_cost = (uint32_t)(r->spec.n_params / 1000000);
    }
    r->op.step = STEP_WAIT_SELF_TEST;
    bool asked = job && job->model;
    if (job && !asked) disk_job_free(job);
    if (asked && room_post_job(r, job)) return;
    cache_off(r, "the disk thread could not be asked for the self-test");
    configured(r);
}

/* Nothing of what lies there under other tags is used: people should hear why their agents are cold. */
static void say_ignored(struct room *r, uint64_t other_blocks) {
    if (other_blocks == 0 || r->cache_reason[0]) return;
    snprintf(
        r->cache_reason, sizeof r->cache_reason,
        "%llu cached blocks of this model's name are not used: they were made with other weights, another "
        "KV type or another engine",
        (unsigned long long)other_blocks);
    log_info("seat.cache_ignored", "model=%s blocks=%llu", log_q(r->model), (unsigned long long)other_blocks);
}

static void configure_self_test(struct room *r, bool passed_before, uint64_t other_blocks) {
    say_ignored(r, other_blocks);
    char why[WHY_BYTES] = "";
    int64_t began_ns = clock_now_ns();
    engine_cancel(r->engine, false); /* a late cancel must not look like a failed test */
    enum err err = passed_before                           ? ERR_OK
                   : fault_hit(FAULT_SELF_TEST_FAIL, NULL) ? ERR_MISMATCH
                                                           : engine_self_test(r->engine, why, sizeof why);
    log_debug("seat.self_test", "again=%d ms=%lld", !passed_before,
              (long long)((clock_now_ns() - began_ns) / NS_PER_MS));
    if (err) {
        char text[WHY_BYTES + 64];
        snprintf(text, sizeof text, "the self-test of the block layout failed: %s",
                 why[0] ? why : err_text(err));
        cache_off(r, text);
    } else if (!passed_before) {
        struct disk_job *job = disk_job_new(DISK_SELF_TEST_PUT, r->load_serial);
        if (job) job->tag = r->tag;
        if (job && !room_post_job(r, job)) log_warn("seat.self_test", "remembered=0");
    }
    configured(r);
}

void room_configure(struct room *r, const struct msg_configure *m) {
    abort_pending(r);
    if (r->state == ROOM_EMPTY || r->op.step != STEP_NONE) {
        outbox_op_failed(r->out, m->op, ERR_INVALID, "no model is loaded");
        return;
    }
    room_drop_all(r, ERR_NO_SEAT);
    r->state = ROOM_LOADED;
    char why[WHY_BYTES] = "";
    uint64_t compute = 0;
    enum err err = make_context(r, m, &compute, why);
    if (err) {
        r->pool = (struct block_pool){0};
        outbox_op_failed(r->out, m->op, err, why[0] ? why : NULL);
        return;
    }
    r->parallel = m->parallel;
    r->pin = m->pin != 0;
    step_budget_reset(&r->budget, m->token_gap, BATCH_TOKENS);
    r->op = (struct room_op){.step = STEP_WAIT_HASH,
                             .type = MSG_TYPE_CONFIGURE,
                             .op = m->op,
                             .answer = {.op = m->op,
                                        .pool_bytes = m->pool_bytes,
                                        .n_cells = r->pool.n_blocks * BLOCK_TOKENS,
                                        .n_blocks = r->pool.n_blocks,
                                        .n_seqs = r->pool.n_seqs,
                                        .context = r->pool.context,
                                        .compute_bytes = compute}};
}

/* ---- UNLOAD ---- */

static uint32_t mappings_of(const char *path) {
    uint32_t n_parts = gguf_parts_count(path, NULL), n = 0;
    for (uint32_t i = 1; i <= n_parts; i++) {
        AUTO(mem_freep) char *part = gguf_parts_path(path, i);
        if (part) n += proc_mem_mappings_of(part);
    }
    return n;
}

void room_unload(struct room *r, uint64_t op) {
    abort_pending(r);
    if (r->op.step != STEP_NONE) { /* STOP does it all */
        outbox_op_failed(r->out, op, ERR_STOPPING, NULL);
        return;
    }
    struct msg m = {.type = MSG_TYPE_UNLOADED, .unloaded = {.op = op}};
    (void)spares_trim(disk_worker_spares(r->disk), SPARES_BYTES_KEPT);
    m.unloaded.before_bytes = proc_mem_private_bytes();
    room_park_all(r);
    room_drop_all(r, ERR_NO_SEAT);
    if (r->state != ROOM_EMPTY) engine_unload(r->engine);
    mem_trim();
    m.unloaded.after_bytes = proc_mem_private_bytes();
    /* Spares belong to no model; what is still being written may have become one until now. */
    m.unloaded.baseline_bytes =
        atomic_load(&r->stats->baseline_bytes) + spares_trim(disk_worker_spares(r->disk), SPARES_BYTES_KEPT);
    atomic_store(&r->stats->memory_bytes, m.unloaded.after_bytes);
    m.unloaded.mappings = r->path ? mappings_of(r->path) : 0;
    forget_model(r);
    outbox_send(r->out, &m);
}

/* ---- EVICT and STOP: save, wait for the disk, say so ---- */

void room_op_begin(struct room *r, enum msg_type type, uint64_t op) {
    abort_pending(r);
    if (r->op.step != STEP_NONE) {
        outbox_op_failed(r->out, op, ERR_STOPPING, NULL);
        return;
    }
    room_park_all(r);
    r->written_blocks = r->written_bytes = 0;
    r->op = (struct room_op){.step = STEP_SAVE, .type = type, .op = op};
}

/* True: all is posted, or the disk has taken nothing for so long that what is left is given up. (What it refuses is no sign of life: it
 * is posted again, and on a slow disk there would be no end of it.) */
static bool all_posted(struct room *r) {
    bool all = true;
    LIST_EACH(&r->idle, struct sequence, node, s) {
        all = save_sequence(r, s, SAVE_LEAVING) && all;
    }
    int64_t now = clock_now_ns();
    uint64_t mark = r->n_done + atomic_load(&r->stats->scan_steps);
    if (r->op.moved_ns == 0 || mark != r->op.mark) r->op.moved_ns = now;
    r->op.mark = mark;
    if (!all && now - r->op.moved_ns >= LEAVE_SECONDS_MAX * NS_PER_S) r->op.given_up = true;
    return all || r->op.given_up;
}

static bool all_saved(struct room *r) {
    LIST_EACH(&r->idle, struct sequence, node, s) {
        if (!save_is_done(r, s)) return false;
    }
    return true;
}

/* Returns how many agents that cost their last turn though the disk thread knows nothing of it: without a cache all. */
static uint64_t drop_idle(struct room *r) {
    uint64_t n = 0;
    LIST_EACH(&r->idle, struct sequence, node, s) {
        n += s->agent[0] && !r->cache_on;
        sequence_drop(r, s);
    }
    return n;
}

static void flushed(struct room *r) {
    /* A put of the turn's end may have come back refused (the day's writes, a parent that was evicted), and that was not its
     * last chance: once more. */
    if (!r->op.again && !r->op.given_up && !all_saved(r)) {
        r->op.again = true;
        r->op.moved_ns = 0;
        r->op.step = STEP_SAVE;
        return;
    }
    uint64_t unsaved = atomic_load(&r->stats->unsaved_agents) + drop_idle(r);
    if (r->op.type == MSG_TYPE_STOP) {
        struct disk_job *job = disk_job_new(DISK_CLOSE, 0);
        r->op.step = STEP_WAIT_CLOSE;
        if (job && room_post_job(r, job)) return;
        r->op.step = STEP_SAVE; /* no memory: next turn */
        return;
    }
    struct msg m = {
        .type = MSG_TYPE_EVICTED,
        .evicted = {
            .op = r->op.op, .blocks = r->written_blocks, .bytes = r->written_bytes, .unsaved = unsaved}};
    r->op = (struct room_op){0};
    outbox_send(r->out, &m);
}

void room_op_step(struct room *r) {
    if (r->op.step == STEP_WAIT_HASH && r->hash_known) configure_tag(r);
    if (r->op.step != STEP_SAVE || !all_posted(r)) return;
    LIST_EACH(&r->idle, struct sequence, node, s) {
        save_say_lost(r, s); /* given up */
    }
    r->op.flush_serial = ++r->last_serial;
    struct disk_job *job = disk_job_new(DISK_FLUSH, r->op.flush_serial);
    if (job && room_post_job(r, job)) r->op.step = STEP_WAIT_FLUSH;
}

/* ONE FILE. */
static void take_hash(struct room *r, const struct disk_job *job) {
    bool same = r->loaded_known && file_identity_equal(&job->identity, &r->loaded);
    bool other = job->err == ERR_MISMATCH || (!job->err && !same);
    if (other && r->loaded_known && !r->hash_again) {
        r->hash_again = true;
        ask_hash(r);
        return;
    }
    r->hash_known = true;
    r->hash_err = other ? ERR_MISMATCH : job->err;
    r->weights = job->hash;
    r->spec = job->spec_known ? job->spec : (struct model_spec){0};
    r->store_off = job->store_off;
    snprintf(r->hash_why, sizeof r->hash_why, "%s",
             other ? "the model's file was replaced or changed while it was loaded" : job->why);
}

void room_op_answer(struct room *r, struct disk_job *job) {
    if (job->kind == DISK_HASH && job->owner == r->load_serial) {
        take_hash(r, job);
    } else if (job->kind == DISK_SELF_TEST_GET && r->op.step == STEP_WAIT_SELF_TEST) {
        configure_self_test(r, job->yes, job->other_blocks);
    } else if (job->kind == DISK_FLUSH && r->op.step == STEP_WAIT_FLUSH && job->owner == r->op.flush_serial) {
        flushed(r);
    } else if (job->kind == DISK_CLOSE) {
        outbox_reply(r->out, r->op.op, ERR_OK, NULL, NULL);
        outbox_send_exit(r->out);
        r->ended = true;
    }
}
