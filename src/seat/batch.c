/* One step of the engine over all streams: a token of each that decodes, and as much of the prompts as the gap between those tokens
 * allows (step_budget.h). Chunks of a lone stream depend on its own tokens only, so the same work is the same calls. Named rules:
 *   SHORTEST  the prompt that is read soonest comes first, so that a short one does not wait behind a long one. Whom others follow
 *             (follow.c) is as short as the shortest of them.
 *   TOGETHER  streams that begin at about the same time are read together: while nobody who runs has more than YOUNG_TOKENS, prompts that
 *             fit whole into a step are in it. The bound on gaps holds from a stream's third token on.
 *   WORD      while the disk is asked about another stream, a step of prompts alone begins a little later, by WORD_PART of what it takes at
 *             most: that stream would wait for all of it, a second and more on a CPU, and be in the next one only.
 *   OLDEST    a fourth of the prompts' part is the oldest one's whatever comes, so that short ones never stop a long one. Each
 *             becomes the oldest one some day; a leader is older than who follows it. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "seat/room.h"

#define OLDEST_PART 4
#define YOUNG_TOKENS 2 /* as many steps tell what an undisturbed gap is */
#define WORD_PART 8

static void item_add(struct room *r, int32_t token, uint32_t pos, int32_t slot, bool logits) {
    must(r->n_items < BATCH_TOKENS);
    r->items[r->n_items++] =
        (struct engine_item){.token = token, .pos = (int32_t)pos, .seq = slot, .logits = logits};
}

/* The next n tokens of t join the batch; the last of all its tokens wants its row. */
static void join(struct room *r, struct stream *t, uint32_t n) {
    uint32_t past = t->seq->n_tokens;
    for (uint32_t i = 0; i < n; i++) {
        bool last = past + i + 1 == t->n_tokens;
        if (last) t->item = r->n_items;
        item_add(r, t->tokens[past + i], past + i, t->seq->slot, last);
    }
    t->chunk = n;
}

/* The pool is used up: the newest stream makes way, of background first; alone it can't go on at all. */
static void make_way(struct room *r) {
    struct stream *t = stream_newest(r, true);
    if (!t) t = stream_newest(r, false);
    must(t);
    if (r->n_running > 1)
        stream_make_way(r, t);
    else
        stream_end_failed(r, t, ERR_NO_CELLS, "the KV pool has no room for another token of this request");
}

static bool has_cell(const struct stream *t) {
    return t->state == STREAM_DECODE && t->seq->n_tokens < t->seq->held * BLOCK_TOKENS;
}

/* A stream without max_tokens reserved only a part of the context. What it still lacks after this it waits for: idle sequences
 * hold it until the disk has taken them. Only running ones may have to make way. */
static void find_cell(struct room *r, struct stream *t) {
    while (t->state == STREAM_DECODE && !has_cell(t)) {
        if (room_make_place(r, 1, false, NULL) && sequence_hold(r, t->seq, t->seq->held + 1)) return;
        if (r->idle.count > 0) return;
        make_way(r);
    }
}

static uint32_t collect_decodes(struct room *r) {
    LIST_EACH(&r->streams, struct stream, node, t) {
        find_cell(r, t);
    }
    uint32_t n = 0;
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (!has_cell(t)) continue;
        join(r, t, 1);
        n++;
    }
    return n;
}

/* Where the prompt's chunk that begins at from ends at the latest: at to, before it at a restore point, or where others follow. */
static uint32_t next_stop(struct room *r, const struct stream *t, uint32_t from, uint32_t to) {
    return follow_stop(r, t, from, save_next_restore_point(r, t, from, to));
}

/* t reads n tokens more in this step, or fewer where its chunk has to end. Returns how many. */
static uint32_t grant(struct room *r, struct stream *t, uint32_t n) {
    uint32_t past = t->seq->n_tokens, left = t->n_tokens - past, before = t->chunk;
    n = n < left - before ? before + n : left;
    t->chunk = next_stop(r, t, past, past + n) - past;
    return t->chunk - before;
}

/* SHORTEST: the one after this one; of two that are as short the older one. NULL before the first and after the last. */
static struct stream *next_shortest(struct room *r, const struct stream *after) {
    struct stream *next = NULL;
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->state != STREAM_PREFILL) continue;
        if (after && (t->left < after->left || (t->left == after->left && t->serial <= after->serial)))
            continue;
        if (!next || t->left < next->left) next = t;
    }
    return next;
}

/* TOGETHER: tokens of the prompts that the step has room for as a whole, shortest first; 0 beside somebody who runs for longer. */
static uint32_t whole_prompts(struct room *r, uint32_t n_decodes) {
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->state == STREAM_DECODE && t->generated > YOUNG_TOKENS) return 0;
    }
    uint32_t n = 0, space = BATCH_TOKENS - n_decodes;
    for (struct stream *t = NULL; (t = next_shortest(r, t)) && n + t->left <= space;) {
        if (t->prefill_tokens == 0) n += t->left; /* the end of a long one has not just begun */
    }
    return n;
}

/* Prompt tokens of any step. */
static uint32_t prompts_most(const struct room *r) {
    bool is_short = r->short_until_ns && clock_now_ns() < r->short_until_ns;
    return is_short ? BATCH_TOKENS_SHORT : BATCH_TOKENS;
}

static uint32_t prompt_tokens(struct room *r, uint32_t n_decodes) {
    uint32_t n = step_budget_tokens(&r->budget, n_decodes),
             whole = n_decodes ? whole_prompts(r, n_decodes) : 0;
    r->together = whole > n;
    if (r->together) n = whole;
    return n < prompts_most(r) ? n : prompts_most(r);
}

static void collect_prefills(struct room *r, uint32_t n_decodes) {
    struct stream *oldest = NULL;
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->state != STREAM_PREFILL) continue;
        if (!oldest) oldest = t;
        t->left = follow_shortest(r, t) - t->seq->n_tokens;
    }
    if (!oldest) return;
    uint32_t n = prompt_tokens(r, n_decodes);
    if (n == 0) return;
    r->oldest_owed += n;
    n -= grant(r, oldest, r->oldest_owed / OLDEST_PART);
    r->oldest_owed %= OLDEST_PART;
    for (struct stream *t = NULL; n > 0 && (t = next_shortest(r, t));) n -= grant(r, t, n);
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->state == STREAM_PREFILL && t->chunk > 0) join(r, t, t->chunk);
    }
}

/* A step that repeats an aborted one can't be aborted, but is short: who cancels all the time must not stop the others. */
static enum err decode(struct room *r) {
    atomic_store(&r->stats->decode_started_ns, r->aborted ? 0 : clock_now_ns());
    int64_t used_ns = clock_thread_ns();
    enum err err = engine_decode(r->engine, r->items, r->n_items);
    atomic_fetch_add(&r->stats->decode_cpu_ns, (uint64_t)(clock_thread_ns() - used_ns));
    atomic_store(&r->stats->decode_started_ns, 0);
    atomic_fetch_add(&r->stats->decode_calls, 1);
    return err;
}

static void fail_batch(struct room *r, enum err err) {
    log_error("seat.decode", "err=%s items=%u streams=%u", err_name(err), r->n_items, r->n_running);
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->chunk == 0 || t->state == STREAM_ENDED) continue;
        stream_drop_sequence(r, t);
        stream_end_failed(r, t, ERR_INTERNAL, "the engine failed in this step");
    }
}

/* True: the step may be tried again. */
static bool idle_leave(struct room *r) {
    bool left = false;
    LIST_EACH(&r->idle, struct sequence, node, s) {
        left = room_leave(r, s) || left;
    }
    return left;
}

/* Who was cancelled says the mail. The step left nothing in the cells; of a recurrent sequence it took everything, so those of the
 * step are parked: they come back with their tokens. */
static void step_aborted(struct room *r) {
    engine_cancel(r->engine, false);
    r->aborted = true;
    r->short_until_ns = clock_now_ns() + SHORT_SECONDS * NS_PER_S;
    if (!r->info.recurrent) return;
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->chunk == 0 || t->state == STREAM_ENDED) continue;
        stream_drop_sequence(r, t);
        stream_end_parked(r, t);
    }
}

static void account(struct room *r, struct stream *t) {
    struct sequence *s = t->seq;
    uint32_t before = s->n_tokens;
    sequence_append(s, t->tokens + before, t->chunk);
    t->decoded_items += t->chunk;
    r->n_decoded += t->chunk;
    if (before < t->n_prompt)
        t->prefill_tokens += (s->n_tokens < t->n_prompt ? s->n_tokens : t->n_prompt) - before;
    t->at_restore_point = before < t->n_prompt && next_stop(r, t, before, UINT32_MAX) == s->n_tokens;
}

/* Rows are read before anything else touches the engine. */
static void sample_all(struct room *r) {
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->chunk == 0 || t->item == UINT32_MAX) continue;
        if (t->state == STREAM_PREFILL) stream_set_state(r, t, STREAM_DECODE);
        (void)stream_sample(r, t);
    }
}

static void settle(struct room *r) {
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->chunk == 0 || t->state == STREAM_ENDED) continue;
        struct sequence *s = t->seq;
        if (t->at_restore_point) save_restore_point(r, s);
        if (t->item != UINT32_MAX && s->n_tokens == t->n_prompt) save_prompt_end(r, s);
        if (t->finish)
            stream_end_done(r, t);
        else if (s->n_tokens / BLOCK_TOKENS > s->n_blocks || s->filled_unsaved)
            s->filled_unsaved = !save_sequence(r, s, SAVE_FILLED);
    }
}

/* Returns how many streams get a token. */
static uint32_t collect(struct room *r) {
    r->n_items = 0;
    r->together = false;
    LIST_EACH(&r->streams, struct stream, node, t) {
        t->chunk = 0;
        t->item = UINT32_MAX;
    }
    uint32_t n_decodes = collect_decodes(r);
    collect_prefills(r, n_decodes);
    return n_decodes;
}

/* Does the disk have a word to say that is of use to the next step? Beside running streams steps are short. IN ORDER (admit.c): not about who
 * stands behind one that can't enter. */
static bool word_is_due(struct room *r) {
    bool due = false, enters = r->n_running < r->parallel;
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->state == STREAM_DECODE) return false;
        if (t->state == STREAM_QUEUED && !t->req.background) enters = false;
        if (t->state == STREAM_PLAN || t->state == STREAM_RESTORE || (t->state == STREAM_LOOKUP && enters))
            due = true;
    }
    return due;
}

/* What the next step takes, of prompts alone; 0: there is none, or none was measured yet. */
static int64_t prompts_ns(struct room *r) {
    uint64_t n = 0;
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->state == STREAM_PREFILL) n += t->n_tokens - t->seq->n_tokens;
    }
    return (int64_t)(n < prompts_most(r) ? n : prompts_most(r)) * r->budget.token_alone_ns;
}

int64_t batch_word_due_ns(struct room *r) {
    if (!word_is_due(r)) return 0;
    int64_t now = clock_now_ns();
    int64_t due_ns = (r->held_since_ns ? r->held_since_ns : now) + prompts_ns(r) / WORD_PART;
    return due_ns > now ? due_ns : 0;
}

bool batch_step(struct room *r) {
    if (batch_word_due_ns(r)) {
        if (!r->held_since_ns) r->held_since_ns = clock_now_ns();
        return false;
    }
    r->held_since_ns = 0;
    uint32_t n_decodes = collect(r);
    if (r->n_items == 0) return false;
    int64_t began_ns = clock_now_ns();
    enum err err = decode(r);
    if (err == ERR_NO_CELLS && idle_leave(r)) {
        began_ns = clock_now_ns();
        err = decode(r);
    }
    if (err == ERR_CANCELED) {
        step_aborted(r);
        return true;
    }
    r->aborted = false;
    if (err == ERR_NO_CELLS) {
        if (r->idle.count > 0) return false; /* the disk will have taken them soon */
        make_way(r);
        return true;
    }
    if (err) {
        fail_batch(r, err);
        return true;
    }
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->chunk > 0) account(r, t);
    }
    sample_all(r);
    if (!r->together)
        step_budget_feed(&r->budget, n_decodes, r->n_items - n_decodes, clock_now_ns() - began_ns);
    settle(r);
    return true;
}
