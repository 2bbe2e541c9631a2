/* From a plan of the store to KV in the cells: blocks are read ahead by the disk thread and put a few a turn, so that
 * running streams go on in between. Named rule ONE RETRY: any failure drops the cells, and the stream plans once more (a bad
 * file is in quarantine by then, the plan ends before it); the second failure means cold. A disk that does not answer
 * (ASK_SECONDS_MAX, BLOCK_SECONDS_MAX) is a failure too: late answers bear the serial of an attempt that was given up. */
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "seat/room.h"

#define PUTS_PER_STEP 4              /* 0.6 ms each for SmolLM2's 3 MB */
#define AHEAD_BYTES_MAX (256u << 20) /* of all streams together: blocks of a big model have 30 MB and more */

static void plan_for(struct room *r, struct stream *t, uint32_t n_tokens) {
    struct disk_job *job = r->cache_on && n_tokens > 0 ? disk_job_new(DISK_PLAN, 0) : NULL;
    if (job) {
        t->restore_serial = ++r->last_serial;
        job->owner = t->restore_serial;
        job->tag = r->tag;
        job->window = r->info.window;
        job->n_tokens = n_tokens;
        job->tokens = mem_dup(t->tokens, n_tokens * sizeof *job->tokens);
        t->asked_ns = clock_now_ns();
        if (!job->tokens) disk_job_free(TAKE(job));
    }
    if (job && room_post_job(r, job)) return;
    follow_begin(r, t);
}

void restore_begin(struct room *r, struct stream *t) {
    must(t->state == STREAM_PLAN);
    t->restore_started_ns = clock_now_ns();
    plan_for(r, t, t->n_tokens);
}

static struct stream *find(struct room *r, uint64_t serial, enum stream_state state) {
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->restore_serial == serial && t->state == state) return t;
    }
    return NULL;
}

/* What was read and planned for an attempt that is over. */
void restore_forget(struct room *r, struct stream *t) {
    (void)spares_trim(disk_worker_spares(r->disk), SPARES_BYTES_KEPT);
    for (uint32_t i = 0; i < RESTORE_AHEAD_BLOCKS; i++) disk_job_free(TAKE(t->ready[i]));
    store_plan_free(&t->plan);
    t->plan = (struct store_plan){0};
    t->next_get = t->next_put = 0;
    t->restore_serial = 0;
}

static void empty_cells(struct room *r, struct stream *t) {
    must(engine_seq_rm(r->engine, t->seq->slot, 0, -1));
    sequence_cut(t->seq, 0);
}

void restore_again(struct room *r, struct stream *t) {
    if (t->restore_started_ns == 0) t->restore_started_ns = clock_now_ns(); /* it came from the cells */
    restore_forget(r, t);
    empty_cells(r, t);
    stream_set_state(r, t, STREAM_PLAN);
    plan_for(r, t, t->n_tokens);
}

void restore_count_failure(struct room *r, const struct stream *t, enum err err, const char *what) {
    atomic_fetch_add(&r->stats->restore_failures, 1);
    log_warn("seat.restore_failed", "request=%llu err=%s what=%s pos=%u retried=%d",
             (unsigned long long)t->req.request, err_name(err), log_q(what), t->seq->n_tokens, t->retried);
}

void restore_fail(struct room *r, struct stream *t, enum err err, const char *what) {
    restore_count_failure(r, t, err, what);
    if (!t->retried) {
        t->retried = true;
        restore_again(r, t);
        return;
    }
    restore_forget(r, t);
    empty_cells(r, t);
    follow_begin(r, t);
}

void restore_planned(struct room *r, struct disk_job *job) {
    struct stream *t = find(r, job->owner, STREAM_PLAN);
    if (!t) return;
    t->plan = job->plan;
    job->plan = (struct store_plan){0};
    t->branch_at = t->plan.n_known;
    log_debug("seat.plan", "request=%llu tokens=%u restorable=%u reason=%s",
              (unsigned long long)t->req.request, job->n_tokens, t->plan.n_tokens,
              log_q(t->plan.reason ? t->plan.reason : ""));
    must(t->plan.n_tokens < t->n_tokens); /* the store keeps one token back: its row is wanted */
    if (t->plan.n_tokens == 0 || t->plan.n_blocks == 0) {
        restore_forget(r, t);
        follow_begin(r, t);
        return;
    }
    t->asked_ns = clock_now_ns();
    stream_set_state(r, t, STREAM_RESTORE);
}

void restore_got(struct room *r, struct disk_job *job) {
    struct stream *t = find(r, job->owner, STREAM_RESTORE);
    if (!job->err) r->n_done++;
    if (!t) {
        disk_job_free(job);
        return;
    }
    must(job->index >= t->next_put && job->index < t->next_get);
    t->ready[job->index % RESTORE_AHEAD_BLOCKS] = job;
    t->asked_ns = clock_now_ns();
}

static uint32_t blocks_ahead(const struct room *r) {
    uint64_t bytes = (r->info.base_bytes_per_token +
                      (r->info.window ? r->info.window_bytes_per_seq / r->info.window : 0)) *
                     BLOCK_TOKENS * r->parallel;
    uint64_t n = bytes ? AHEAD_BYTES_MAX / bytes : RESTORE_AHEAD_BLOCKS;
    return n < 1 ? 1 : n > RESTORE_AHEAD_BLOCKS ? RESTORE_AHEAD_BLOCKS : (uint32_t)n;
}

static bool read_ahead(struct room *r, struct stream *t) {
    uint32_t ahead = blocks_ahead(r);
    while (t->next_get < t->plan.n_blocks && t->next_get - t->next_put < ahead) {
        const struct store_plan_block *b = &t->plan.blocks[t->next_get];
        struct disk_job *job = disk_job_new(DISK_GET, t->restore_serial);
        if (!job) return false;
        must(b->first_pos + b->n_tokens <= t->n_tokens);
        job->tag = r->tag;
        job->block = *b;
        job->index = t->next_get;
        job->n_tokens = b->n_tokens;
        job->tokens = mem_dup(t->tokens + b->first_pos, b->n_tokens * sizeof *job->tokens);
        if (!job->tokens) {
            disk_job_free(job);
            return false;
        }
        if (!room_post_job(r, job)) return false;
        t->next_get++;
    }
    return true;
}

static enum err put(struct room *r, struct stream *t, struct disk_job *job) {
    if (job->err) return job->err;
    const struct store_plan_block *b = &job->block;
    struct sequence *s = t->seq;
    if (b->first_pos != s->n_tokens || b->n_tokens > s->held * BLOCK_TOKENS - s->n_tokens)
        return ERR_MISMATCH;
    if (fault_hit(FAULT_BLOCK_PUT_FAIL, NULL)) return ERR_INTERNAL;
    enum err err =
        engine_block_put(r->engine, s->slot, (int32_t)b->first_pos, (int32_t)(b->first_pos + b->n_tokens),
                         &job->base, job->window_part.data, b->needs_window ? job->window_part.size : 0);
    if (!err) sequence_append(s, t->tokens + b->first_pos, b->n_tokens);
    return err;
}

/* ONCE (save.h): what came from the disk need not go there again. */
static void mark_saved(struct room *r, struct stream *t) {
    struct sequence *s = t->seq;
    sequence_name(r, s);
    uint32_t end = t->plan.n_tokens, window = r->info.window;
    uint32_t needed = end > window ? end - window : 0;
    for (uint32_t k = 0; k < s->n_blocks; k++) {
        s->blocks[k].base = BLOCK_SAVED;
        if (window && t->plan.blocks[k].needs_window)
            s->blocks[k].window_from = k * BLOCK_TOKENS > needed ? k * BLOCK_TOKENS : needed;
    }
    if (end % BLOCK_TOKENS) s->tail_saved = end;
}

/* All blocks are in the cells. */
static void finish(struct room *r, struct stream *t) {
    mark_saved(r, t);
    t->restore_ns = clock_now_ns() - t->restore_started_ns;
    atomic_fetch_add(&r->stats->restores, 1);
    restore_forget(r, t);
    follow_begin(r, t);
}

static bool put_some(struct room *r, struct stream *t) {
    bool did = false;
    for (uint32_t i = 0; i < PUTS_PER_STEP && t->next_put < t->plan.n_blocks; i++) {
        struct disk_job **place = &t->ready[t->next_put % RESTORE_AHEAD_BLOCKS];
        if (!*place) break;
        struct disk_job *job = TAKE(*place);
        enum err err = put(r, t, job);
        const char *what = job->reason ? job->reason : "the block could not be put back";
        spares_keep(disk_worker_spares(r->disk), &job->base, SPARES_BYTES_BUSY);
        disk_job_free(job);
        did = true;
        if (err) {
            restore_fail(r, t, err, what);
            return true;
        }
        t->next_put++;
    }
    if (t->next_put == t->plan.n_blocks) finish(r, t);
    return did;
}

static bool waits_too_long(const struct stream *t, int64_t now) {
    int64_t most = t->state == STREAM_PLAN      ? ASK_SECONDS_MAX
                   : t->state == STREAM_RESTORE ? BLOCK_SECONDS_MAX
                                                : 0;
    return most > 0 && now - t->asked_ns >= most * NS_PER_S;
}

static void wait_no_longer(struct room *r, struct stream *t) {
    static struct log_limit limit = LOG_LIMIT(3);
    if (log_limit_pass(&limit))
        log_warn("seat.no_answer", "request=%llu of=%s", (unsigned long long)t->req.request,
                 t->state == STREAM_PLAN ? "plan" : "block");
    t->retried = true; /* to ask once more would be to wait once more */
    if (t->state == STREAM_RESTORE) {
        restore_fail(r, t, ERR_IO, "the disk does not answer");
        return;
    }
    restore_forget(r, t);
    follow_begin(r, t);
}

bool restore_step(struct room *r) {
    bool did = false;
    int64_t now = clock_now_ns();
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->state == STREAM_RESTORE) did = put_some(r, t) || did;
        if (t->state == STREAM_RESTORE && !read_ahead(r, t) && t->next_get == t->next_put)
            restore_fail(r, t, ERR_NOMEM, "the disk thread could not be asked");
        if (!waits_too_long(t, now)) continue;
        wait_no_longer(r, t);
        did = true;
    }
    return did;
}
