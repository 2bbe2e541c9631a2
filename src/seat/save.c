#include "seat/save.h"

#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "seat/room.h"

/* A step of a running stream may be lengthened by taking this many blocks; the rest waits for the next turn. */
#define TAKES_PER_STEP 4

static bool room_for(const struct room *r, uint64_t bytes) {
    uint64_t dirty = atomic_load(&r->stats->dirty_bytes);
    if (r->n_jobs >= SEAT_JOBS_MAX - SEAT_JOBS_RESERVED) return false;
    return dirty == 0 || dirty + bytes <= DIRTY_BYTES_MAX; /* a block larger than the bound goes alone */
}

static uint64_t part_bytes(const struct room *r, uint32_t n_tokens, int parts) {
    uint64_t bytes = 0;
    if (parts & ENGINE_PART_BASE) bytes += r->info.base_bytes_per_token * n_tokens;
    if ((parts & ENGINE_PART_WINDOW) && r->info.window)
        bytes += r->info.window_bytes_per_seq / r->info.window * n_tokens;
    return bytes;
}

static struct disk_job *put_new(const struct room *r, const struct sequence *s, uint32_t first, uint32_t n,
                                bool leaving) {
    struct disk_job *job = disk_job_new(DISK_PUT, s->serial);
    if (!job) return NULL;
    job->tag = r->tag;
    job->model = mem_strdup(r->model);
    job->agent = mem_strdup(s->agent);
    job->tokens = mem_dup(s->tokens + first, n * sizeof *job->tokens);
    job->n_tokens = n;
    job->first_pos = first;
    job->parent = sequence_parent(s, first / BLOCK_TOKENS);
    if (n == BLOCK_TOKENS) job->name = s->blocks[first / BLOCK_TOKENS].name;
    job->leaving = leaving;
    if (job->model && job->agent && job->tokens) return job;
    disk_job_free(job);
    return NULL;
}

/* Takes parts of positions first..first+n-1 and posts them. False: no room now. *ret_window_from as the engine says. */
static bool take_and_post(struct room *r, struct sequence *s, uint32_t first, uint32_t n, int parts,
                          bool leaving, uint32_t *ret_window_from) {
    if (!room_for(r, part_bytes(r, n, parts))) return false;
    if (r->n_running > 0 && !leaving && r->takes_left == 0) return false;
    struct disk_job *job = put_new(r, s, first, n, leaving);
    if (!job) return false;
    if (r->takes_left > 0) r->takes_left--;
    if (parts & ENGINE_PART_BASE) job->base = spares_take(disk_worker_spares(r->disk));
    int32_t from = 0;
    enum err err = fault_hit(FAULT_BLOCK_TAKE_FAIL, NULL)
                       ? ERR_INTERNAL
                       : engine_block_take(r->engine, s->slot, (int32_t)first, (int32_t)(first + n), parts,
                                           &job->base, &job->window_part, &from);
    if (err) {
        static struct log_limit limit = LOG_LIMIT(3);
        if (log_limit_pass(&limit)) log_error("seat.take", "err=%s pos=%u", err_name(err), first);
        disk_job_free(job);
        return false;
    }
    job->has_base = (parts & ENGINE_PART_BASE) != 0;
    job->has_window = (parts & ENGINE_PART_WINDOW) && job->window_part.size > 0 && (uint32_t)from < first + n;
    job->window_from = (uint32_t)from;
    *ret_window_from = job->has_window ? (uint32_t)from : WINDOW_NOT_SAVED;
    job->dirty_bytes = job->base.size + job->window_part.size;
    atomic_fetch_add(&r->stats->dirty_bytes, job->dirty_bytes);
    if (!room_post_job(r, job)) return false;
    s->n_posted++;
    return true;
}

static bool base_wanted(enum block_save state, enum save_depth depth) {
    switch (state) {
    case BLOCK_DIRTY: return true;
    case BLOCK_FAILED: return depth != SAVE_FILLED;
    case BLOCK_LATER: return depth == SAVE_LEAVING;
    case BLOCK_POSTED:
    case BLOCK_SAVED: break;
    }
    return false;
}

/* AFTER: blocks from this one on are not asked for now; n_blocks: all may be. */
static uint32_t refused_from(const struct sequence *s, enum save_depth depth) {
    for (uint32_t k = 0; k < s->n_blocks; k++) {
        enum block_save state = s->blocks[k].base;
        if ((state == BLOCK_LATER || state == BLOCK_FAILED) && !base_wanted(state, depth)) return k;
    }
    return s->n_blocks;
}

/* Lowest position whose window part a resume at n_tokens needs. */
static uint32_t window_needed_from(const struct room *r, uint32_t n_tokens) {
    return n_tokens > r->info.window ? n_tokens - r->info.window : 0;
}

/* Parts of block k that are wanted and not there yet. */
static int parts_missing(const struct room *r, const struct sequence *s, uint32_t k, enum save_depth depth) {
    const struct sequence_block *b = &s->blocks[k];
    int parts = base_wanted(b->base, depth) ? ENGINE_PART_BASE : 0;
    if (!r->info.window || depth == SAVE_FILLED) return parts;
    uint32_t needed = window_needed_from(r, s->n_tokens), end = (k + 1) * BLOCK_TOKENS;
    uint32_t from = k * BLOCK_TOKENS > needed ? k * BLOCK_TOKENS : needed;
    if (from < end && b->window_from > from) parts |= ENGINE_PART_WINDOW;
    return parts;
}

static bool save_block(struct room *r, struct sequence *s, uint32_t k, enum save_depth depth) {
    struct sequence_block *b = &s->blocks[k];
    int parts = parts_missing(r, s, k, depth);
    if (!parts) return true;
    uint32_t from = WINDOW_NOT_SAVED;
    if (!take_and_post(r, s, k * BLOCK_TOKENS, BLOCK_TOKENS, parts, depth == SAVE_LEAVING, &from))
        return false;
    if (parts & ENGINE_PART_BASE) b->base = BLOCK_POSTED;
    /* Asked once for this position: a window that can't give more will not give it later. */
    if (parts & ENGINE_PART_WINDOW) b->window_from = from == WINDOW_NOT_SAVED ? k * BLOCK_TOKENS : from;
    return true;
}

static bool save_blocks(struct room *r, struct sequence *s, uint32_t n, enum save_depth depth) {
    for (uint32_t k = 0; k < n; k++)
        if (!save_block(r, s, k, depth)) return false;
    return true;
}

/* The tail up to position end. */
static bool save_tail(struct room *r, struct sequence *s, uint32_t end, bool leaving) {
    uint32_t first = end / BLOCK_TOKENS * BLOCK_TOKENS;
    if (end == first || s->tail_saved == end) return true;
    uint32_t from = WINDOW_NOT_SAVED;
    int parts = ENGINE_PART_BASE | (r->info.window ? ENGINE_PART_WINDOW : 0);
    if (!take_and_post(r, s, first, end - first, parts, leaving, &from)) return false;
    s->tail_saved = end;
    return true;
}

static bool save_note(struct room *r, struct sequence *s) {
    if (s->noted == s->n_tokens || s->n_tokens == 0) return true;
    struct disk_job *job = disk_job_new(DISK_NOTE, s->serial);
    if (!job) return false;
    uint32_t first = s->n_blocks * BLOCK_TOKENS;
    job->tag = r->tag;
    job->model = mem_strdup(r->model);
    job->agent = mem_strdup(s->agent);
    job->leaf = sequence_parent(s, s->n_blocks);
    if (s->n_tokens > first)
        job->leaf = block_name_of(job->leaf, r->tag, s->tokens + first, s->n_tokens - first);
    job->n_chain = s->n_tokens;
    job->n_prompt = s->n_prompt;
    job->interrupted = s->interrupted;
    job->pinned = r->pin;
    if (!job->model || !job->agent) {
        disk_job_free(job);
        return false;
    }
    if (!room_post_job(r, job)) return false;
    s->n_posted++;
    s->noted = s->n_tokens;
    r->residents_changed = true;
    return true;
}

void save_say_lost(struct room *r, const struct sequence *s) {
    if (!r->cache_on || !s->agent[0] || s->noted == s->n_tokens) return;
    static struct log_limit limit = LOG_LIMIT(20);
    if (log_limit_pass(&limit))
        log_warn("seat.leave_unsaved", "agent=%s tokens=%u", log_q(s->agent), s->n_tokens);
    struct disk_job *job = disk_job_new(DISK_UNSAVED, s->serial);
    if (!job) return;
    job->tag = r->tag;
    job->model = mem_strdup(r->model);
    job->agent = mem_strdup(s->agent);
    if (job->model && job->agent)
        (void)room_post_job(r, job);
    else
        disk_job_free(job);
}

bool save_sequence(struct room *r, struct sequence *s, enum save_depth depth) {
    if (!r->cache_on) return true;
    sequence_name(r, s);
    if (!s->agent[0] && !s->shared && depth != SAVE_LEAVING) return true; /* NOBODY */
    uint32_t n = refused_from(s, depth);
    if (!save_blocks(r, s, n, depth)) return false;
    if (depth == SAVE_FILLED || n < s->n_blocks) return true;
    return save_tail(r, s, s->n_tokens, depth == SAVE_LEAVING) && save_note(r, s);
}

void save_probe(struct room *r, struct sequence *s) {
    if (!r->cache_on) return;
    sequence_name(r, s);
    uint32_t n = refused_from(s, SAVE_TURN), k = 0, before = r->n_jobs;
    while (k < n && !parts_missing(r, s, k, SAVE_TURN)) k++;
    if (k < n) {
        save_block(r, s, k, SAVE_TURN);
        return;
    }
    if (n == s->n_blocks && save_tail(r, s, s->n_tokens, false) && r->n_jobs == before) save_note(r, s);
}

bool save_is_done(const struct room *r, const struct sequence *s) {
    if (s->n_posted > 0 || s->noted != s->n_tokens || s->n_tokens == 0) return false;
    if (s->n_tokens % BLOCK_TOKENS != 0 && s->tail_saved != s->n_tokens)
        return false; /* its window part was refused */
    for (uint32_t k = 0; k < s->n_blocks; k++)
        if (parts_missing(r, s, k, SAVE_TURN)) return false;
    return true;
}

/* Window parts of the full blocks for a resume here, or one token before. All or nothing: a window that is not whole is no
 * restore point. False: there is no room for it now. */
static bool save_windows(struct room *r, struct sequence *s) {
    uint32_t needed = window_needed_from(r, s->n_tokens), first = needed / BLOCK_TOKENS;
    uint32_t n = first < s->n_blocks ? s->n_blocks - first : 0;
    if (n > 0 && !room_for(r, part_bytes(r, n * BLOCK_TOKENS, ENGINE_PART_WINDOW))) return false;
    if (r->takes_left < n) r->takes_left = n;
    for (uint32_t k = first; k < s->n_blocks; k++) {
        struct sequence_block *b = &s->blocks[k];
        uint32_t from = k * BLOCK_TOKENS > needed ? k * BLOCK_TOKENS : needed;
        if (b->window_from <= from) continue;
        int parts = ENGINE_PART_WINDOW | (base_wanted(b->base, SAVE_FILLED) ? ENGINE_PART_BASE : 0);
        uint32_t got = WINDOW_NOT_SAVED;
        if (!take_and_post(r, s, k * BLOCK_TOKENS, BLOCK_TOKENS, parts, false, &got)) return false;
        if (parts & ENGINE_PART_BASE) b->base = BLOCK_POSTED;
        if (got != WINDOW_NOT_SAVED) b->window_from = got;
        if (got > from) return false; /* the window has moved on */
    }
    return true;
}

void save_prompt_end(struct room *r, struct sequence *s) {
    if (!r->cache_on) return;
    s->filled_unsaved = !save_sequence(r, s, SAVE_FILLED);
    if (s->filled_unsaved || (!s->agent[0] && !s->shared)) return;
    if (refused_from(s, SAVE_FILLED) < s->n_blocks) return;
    if (r->info.window && !save_windows(r, s)) return;
    if (r->takes_left == 0) r->takes_left = 1;
    (void)save_tail(r, s, s->n_tokens - 1, false); /* a retry decodes the last token again */
}

/* ---- restore points of models with a window ---- */

uint32_t save_next_restore_point(const struct room *r, const struct stream *t, uint32_t from, uint32_t to) {
    if (!r->info.window || !r->cache_on || t->n_prompt <= from) return to;
    uint32_t step = RESTORE_POINT_BLOCKS * BLOCK_TOKENS;
    uint32_t next = (from / step + 1) * step;
    if (t->system_end > from && t->system_end < next) next = t->system_end;
    if (t->branch_at > from && t->branch_at < next) next = t->branch_at;
    return next < to ? next : to;
}

void save_restore_point(struct room *r, struct sequence *s) {
    if (!r->info.window || !r->cache_on || s->n_tokens % BLOCK_TOKENS != 0) return;
    if (!s->agent[0] && !s->shared) return;
    sequence_name(r, s);
    if (refused_from(s, SAVE_FILLED) < s->n_blocks) return;
    uint32_t first = window_needed_from(r, s->n_tokens) / BLOCK_TOKENS;
    /* The store takes nothing whose parent was not posted. */
    s->filled_unsaved = !save_blocks(r, s, first, SAVE_FILLED) || !save_windows(r, s);
}

/* ---- answers ---- */

/* The state of the first block below k that was refused; BLOCK_SAVED: none was. Writes of one sequence keep their order, so one
 * that the disk thread still has when it answers for k was refused before, and is asked for again. */
static enum block_save refused_below(const struct sequence *s, uint32_t k) {
    for (uint32_t i = 0; i < k && i < s->n_blocks; i++) {
        if (s->blocks[i].base == BLOCK_POSTED) return BLOCK_FAILED;
        if (s->blocks[i].base == BLOCK_LATER || s->blocks[i].base == BLOCK_FAILED) return s->blocks[i].base;
    }
    return BLOCK_SAVED;
}

static void note_written(struct room *r, struct sequence *s, const struct disk_job *job) {
    r->residents_changed = true;
    if (!job->err || s->noted != job->n_chain) return;
    bool refused = refused_below(s, job->n_chain / BLOCK_TOKENS) != BLOCK_SAVED ||
                   (job->n_chain % BLOCK_TOKENS != 0 && s->tail_saved != job->n_chain);
    if (job->err == ERR_NOT_FOUND && !refused)
        sequence_forget_saved(s); /* the store lost what the name is for: the whole chain goes again */
    s->noted = 0;                 /* again at the next turn's end, or when it leaves */
}

void save_written(struct room *r, const struct disk_job *job) {
    if (!job->err && job->written > 0) {
        r->written_blocks++;
        r->written_bytes += job->written;
    }
    if (!job->err) {
        r->n_done++;
        room_disk_answers(r);
    }
    struct sequence *s = sequence_find(r, job->owner);
    if (!s) return;
    must(s->n_posted > 0);
    if (--s->n_posted == 0) r->residents_changed = true;
    if (job->err != ERR_CANCELED) s->refused = job->err != ERR_OK;
    /* DELETED (disk_worker.c): s was told before, and has forgotten; but not when it had become another agent's. */
    if (job->err == ERR_CANCELED && strcmp(s->agent, job->agent) != 0) sequence_forget_saved(s);
    if (job->kind == DISK_NOTE) {
        note_written(r, s, job);
        return;
    }
    if (job->err == ERR_CANCELED) return;
    enum block_save now = !job->err ? BLOCK_SAVED : job->err == ERR_LIMIT ? BLOCK_LATER : BLOCK_FAILED;
    uint32_t k = job->first_pos / BLOCK_TOKENS;
    /* The sequence may have been cut and filled with other tokens since. */
    if (job->first_pos + job->n_tokens > s->n_tokens ||
        memcmp(s->tokens + job->first_pos, job->tokens, job->n_tokens * sizeof *job->tokens) != 0)
        return;
    if (job->err == ERR_NOT_FOUND) now = refused_below(s, k); /* AFTER: its parent was refused before it */
    if (job->err == ERR_NOT_FOUND && now == BLOCK_SAVED) {
        sequence_forget_saved(
            s); /* the store lost its parent (budget, deletion): the whole chain goes again */
        return;
    }
    if (job->n_tokens < BLOCK_TOKENS) {
        if (job->err && s->tail_saved == job->first_pos + job->n_tokens) s->tail_saved = 0;
    } else if (k < s->n_blocks) {
        if (job->has_base && s->blocks[k].base == BLOCK_POSTED) s->blocks[k].base = now;
        if (job->has_window && job->err) s->blocks[k].window_from = WINDOW_NOT_SAVED;
    }
}

void save_step_begin(struct room *r) {
    r->turn++;
    r->takes_left = TAKES_PER_STEP;
}
