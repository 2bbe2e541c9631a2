/* Two that begin alike read it once: a stream whose prompt begins as an older one's does not read that beginning again, it
 * waits until the other one has read it and takes the blocks over from its cells. Nothing goes by way of the disk.
 *   OLDER    only older streams and idle sequences lead: nobody waits in a circle, and the oldest one waits for nobody.
 *   A BLOCK  it must be worth a block at least, and ends at a block's boundary, as in the store.
 *   STANDS   with a window the leader's chunk ends at that boundary and all is taken over there, in one turn: one step further and
 *            its window has moved on. Without one blocks are taken over as they fill. A leader that is restored has its window only
 *            at the end of its plan.
 *   ANEW     every turn it is looked whether the leader is still one, without comparing its tokens again: one that was cancelled or parked
 *            has stopped too early, one that was cut runs for a younger stream. Then another one is looked for.
 *   WHOLE    a stream in FOLLOW has all of its sequence in the cells, up to where it ends: it may rest, or read on by itself. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/must.h"
#include "seat/room.h"

#define FOLLOW_BLOCKS_PER_STEP 4 /* 2-4 ms each; a leader fills at most 2 in a step */
#define SYSTEM_END_TOKENS_MIN                                                                                \
    (2 * BLOCK_TOKENS) /* to render once more takes 1-9 ms: that is worth so much reading */

/* Where tokens and the prompt of t part, cut to a block's boundary. One token of the prompt is kept back: its row is wanted. */
static uint32_t common_end(const struct stream *t, const int32_t *tokens, uint32_t n) {
    uint32_t most = n < t->n_tokens - 1 ? n : t->n_tokens - 1, i = 0;
    while (i < most && tokens[i] == t->tokens[i]) i++;
    return i / BLOCK_TOKENS * BLOCK_TOKENS;
}

struct leader {
    struct sequence *seq;
    const int32_t *tokens;
    uint32_t n_tokens;  /* it holds, or will soon */
    uint32_t stands_at; /* at least, when it can be taken from */
};

static struct leader running_leader(const struct stream *l) {
    return (struct leader){.seq = l->seq,
                           .tokens = l->tokens,
                           .n_tokens = l->state == STREAM_DECODE ? l->seq->n_tokens : l->n_tokens,
                           .stands_at = l->state == STREAM_RESTORE ? l->plan.n_tokens : l->seq->n_tokens};
}

static struct leader idle_leader(struct sequence *s) {
    return (struct leader){s, s->tokens, s->n_tokens, s->n_tokens};
}

static bool stands(const struct room *r, const struct leader *l, uint32_t end) {
    return !r->info.window || l->stands_at <= end;
}

/* Up to where t, which has so many tokens, would follow l; 0: not at all. */
static uint32_t end_behind(const struct room *r, const struct stream *t, uint32_t n_tokens,
                           const struct leader *l) {
    uint32_t end = common_end(t, l->tokens, l->n_tokens);
    return end >= n_tokens + BLOCK_TOKENS && stands(r, l, end) ? end : 0;
}

static void consider(const struct room *r, struct stream *t, struct leader l) {
    uint32_t end = end_behind(r, t, t->seq->n_tokens, &l);
    if (end <= t->follow_to) return;
    t->leader = l.seq->serial;
    t->follow_to = end;
}

struct sequence *follow_idle(const struct room *r, const struct stream *t, uint32_t n_tokens) {
    struct sequence *best = NULL;
    uint32_t most = 0;
    if (!r->cache_on || t->alone) return NULL;
    LIST_EACH(&r->idle, struct sequence, node, s) {
        struct leader l = idle_leader(s);
        uint32_t end = end_behind(r, t, n_tokens, &l);
        if (end <= most) continue;
        best = s;
        most = end;
    }
    return best;
}

/* ANEW: the leader of the turn before; NULL: it is none any more. */
static struct sequence *keep(struct room *r, const struct stream *t) {
    struct leader same = {0};
    LIST_EACH(&r->streams, struct stream, node, l) {
        if (l == t) break; /* OLDER */
        if (l->seq && l->seq->serial == t->leader) same = running_leader(l);
    }
    LIST_EACH(&r->idle, struct sequence, node, s) {
        if (s->serial == t->leader) same = idle_leader(s);
    }
    bool leads = same.n_tokens >= t->follow_to && t->follow_to > t->seq->n_tokens;
    return leads && stands(r, &same, t->follow_to) ? same.seq : NULL;
}

/* The one that will have most of what t still lacks; NULL: t reads by itself. */
static struct sequence *choose(struct room *r, struct stream *t) {
    if (!r->cache_on || t->alone) return NULL; /* off: blocks are not proven on this model */
    struct sequence *same = keep(r, t);
    if (same) return same;
    t->leader = 0;
    t->follow_to = 0;
    LIST_EACH(&r->streams, struct stream, node, l) {
        if (l == t) break; /* OLDER */
        if (l->seq) consider(r, t, running_leader(l));
    }
    LIST_EACH(&r->idle, struct sequence, node, s) {
        consider(r, t, idle_leader(s));
    }
    struct sequence *leader = t->leader ? sequence_find(r, t->leader) : NULL;
    if (leader) leader->shared = true; /* NOBODY (save.h): this is its second use */
    return leader;
}

/* Other conversations with this system prompt will begin at its end: a restore point (save.h, WINDOW). */
static void find_system_end(struct room *r, struct stream *t) {
    if (!r->info.window || !r->cache_on || !t->chat || t->n_prompt < t->cached + SYSTEM_END_TOKENS_MIN)
        return;
    t->system_end = admit_system_end(r, t) / BLOCK_TOKENS * BLOCK_TOKENS;
}

static void read_on(struct room *r, struct stream *t) {
    if (t->state == STREAM_FOLLOW) t->restore_ns = clock_now_ns() - t->follow_started_ns;
    t->cached = t->seq->n_tokens;
    if (t->req.debug && t->cached > 0)
        t->kv_known = engine_kv_hash(r->engine, t->seq->slot, (int32_t)t->cached, &t->kv) == ERR_OK;
    find_system_end(r, t);
    stream_set_state(r, t, STREAM_PREFILL);
    stream_say_started(r, t);
}

void follow_begin(struct room *r, struct stream *t) {
    t->follow_started_ns = clock_now_ns() - t->restore_ns;
    if (choose(r, t))
        stream_set_state(r, t, STREAM_FOLLOW);
    else
        read_on(r, t);
}

/* Positions p0..p1-1 from the leader's cells to those of t. lowest: of the window that a resume at the end needs. */
static enum err copy(struct room *r, struct stream *t, const struct sequence *from, uint32_t p0, uint32_t p1,
                     uint32_t lowest) {
    static const uint8_t head[ENGINE_BLOCK_HEAD];
    struct spares *spares = disk_worker_spares(r->disk);
    struct buf base = spares_take(spares), window = BUF(0);
    buf_put(&base, head, sizeof head);
    bool with_window = r->info.window && p1 > lowest;
    int parts = with_window ? ENGINE_PART_BASE | ENGINE_PART_WINDOW : ENGINE_PART_BASE;
    int32_t window_from = 0;
    enum err err = engine_block_take(r->engine, from->slot, (int32_t)p0, (int32_t)p1, parts, &base, &window,
                                     &window_from);
    if (!err && fault_hit(FAULT_BLOCK_PUT_FAIL, NULL)) err = ERR_INTERNAL;
    if (!err && with_window && (uint32_t)window_from > (p0 > lowest ? p0 : lowest)) err = ERR_NOT_FOUND;
    if (!err)
        err = engine_block_put(r->engine, t->seq->slot, (int32_t)p0, (int32_t)p1, &base, window.data,
                               with_window ? window.size : 0);
    spares_keep(spares, &base, SPARES_BYTES_KEPT);
    buf_free(&window);
    if (!err) sequence_append(t->seq, t->tokens + p0, p1 - p0);
    return err;
}

/* ONCE (save.h): blocks that the leader has posted need not be posted again; what becomes of them is its affair. (If it was
 * refused, the next block's put says that its parent is missing, and the chain goes again.) */
static void mark_saved(struct room *r, struct sequence *s, struct sequence *from) {
    uint32_t k = s->n_blocks;
    sequence_name(r, s);
    sequence_name(r, from);
    for (; k < s->n_blocks && k < from->n_blocks; k++) {
        enum block_save base = from->blocks[k].base;
        if (base == BLOCK_POSTED || base == BLOCK_SAVED) s->blocks[k].base = BLOCK_SAVED;
    }
}

static enum err take_over(struct room *r, struct stream *t, struct sequence *leader) {
    uint32_t end = t->follow_to, window = r->info.window, lowest = end >= window ? end - window + 1 : 0;
    if (window && leader->n_tokens < end) return ERR_OK;
    enum err err = ERR_OK;
    for (uint32_t n = 0; !err && t->seq->n_tokens < end && (window || n < FOLLOW_BLOCKS_PER_STEP); n++) {
        uint32_t p0 = t->seq->n_tokens, p1 = (p0 / BLOCK_TOKENS + 1) * BLOCK_TOKENS;
        if (leader->n_tokens < p1) break;
        err = copy(r, t, leader, p0, p1, lowest);
    }
    mark_saved(r, t->seq, leader);
    return err;
}

/* All of s is on the disk (or nothing is in it): the store can give it once more, and what a leader has stored beyond it. */
static bool is_stored(const struct sequence *s) {
    for (uint32_t k = 0; k < s->n_blocks; k++)
        if (s->blocks[k].base != BLOCK_SAVED) return false;
    return s->n_posted == 0 && (s->n_tokens % BLOCK_TOKENS == 0 || s->tail_saved == s->n_tokens);
}

/* WHOLE: it goes on from what it has, but for a window of which some blocks are there and some are not. */
static void not_taken_over(struct room *r, struct stream *t, enum err err, uint32_t had) {
    static const char what[] = "a block could not be taken over from another sequence";
    t->alone = true;
    if (r->info.window && t->seq->n_tokens != had) {
        restore_fail(r, t, err, what);
        return;
    }
    restore_count_failure(r, t, err, what);
    read_on(r, t);
}

static void step(struct room *r, struct stream *t) {
    uint32_t wanted = t->follow_to, had = t->seq->n_tokens;
    struct sequence *leader = choose(r, t);
    enum err err = leader ? take_over(r, t, leader) : ERR_OK;
    if (err)
        not_taken_over(r, t, err, had);
    else if (!leader && r->info.window && had < wanted && is_stored(t->seq))
        restore_again(r, t); /* its window died with the leader; what it had read is in the store */
    else if (!leader)
        read_on(r, t);
}

bool follow_step(struct room *r) {
    bool did = false;
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->state != STREAM_FOLLOW) continue;
        uint32_t before = t->seq->n_tokens;
        step(r, t);
        did = did || t->state != STREAM_FOLLOW || t->seq->n_tokens != before;
    }
    return did;
}

uint32_t follow_stop(struct room *r, const struct stream *t, uint32_t from, uint32_t to) {
    LIST_EACH(&r->streams, struct stream, node, f) {
        if (!r->info.window || f->state != STREAM_FOLLOW || f->leader != t->seq->serial) continue;
        if (f->follow_to > from && f->follow_to < to) to = f->follow_to;
    }
    return to;
}

uint32_t follow_shortest(struct room *r, const struct stream *t) {
    uint32_t shortest = t->n_tokens;
    LIST_EACH(&r->streams, struct stream, node, f) {
        if (f->state != STREAM_FOLLOW || f->leader != t->seq->serial || f->follow_to <= t->seq->n_tokens)
            continue;
        if (f->n_tokens < shortest) shortest = f->n_tokens;
    }
    return shortest;
}
