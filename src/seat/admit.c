/* From SUBMIT to a sequence: rendering, the splice, the order of admission, and which cells a stream may start on.
 * Named rule IN ORDER: streams enter in the order they came, background after all others; one that does not fit yet holds those behind
 * it back, so that a long one is not passed for ever. So nothing here may wait for the disk without a limit (ASK_SECONDS_MAX,
 * LEAVE_SECONDS_MAX): one that hangs would stop them all. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "seat/look.h"
#include "seat/prompt.h"
#include "seat/room.h"

#define WHY_BYTES 512
/* A request without max_tokens would reserve the whole context and keep all others out. It gets this many tokens beyond its
 * prompt and more as it goes on (batch.c). */
#define GROW_TOKENS 1024
#define CHAINS_MAX                                                                                           \
    (CHAINS_PER_AGENT_MAX + RECENT_CHAINS + 64) /* known conversations that one prompt is compared with */

/* ---- the prompt ---- */

static const char *prompt_text(const struct stream *t, size_t *ret_size) {
    if (t->chat) return engine_chat_prompt(t->chat, ret_size);
    *ret_size = t->req.prompt.size;
    return t->req.prompt.data ? (const char *)t->req.prompt.data : "";
}

static uint32_t chains_of_cells(struct room *r, const char *agent, struct prompt_chain *chains,
                                uint32_t room) {
    uint32_t n = 0;
    LIST_EACH(&r->idle, struct sequence, node, s) {
        if (n < room && strcmp(s->agent, agent) == 0)
            chains[n++] = (struct prompt_chain){s->tokens, s->n_tokens};
    }
    for (uint32_t i = 0; i < RECENT_CHAINS && !agent[0]; i++)
        if (n < room && r->recent[i].n && hash128_equal(r->recent[i].tag, r->tag))
            chains[n++] = (struct prompt_chain){r->recent[i].tokens, r->recent[i].n};
    return n;
}

/* Sampler and replay come after the tokens; then the stream waits for its turn. */
static void queue(struct room *r, struct stream *t) {
    char why[WHY_BYTES] = "";
    if (t->req.look == MSG_LOOK_COUNT) {
        t->n_prompt = t->n_tokens;
        t->finish = MSG_FINISH_STOP;
        stream_end_done(r, t);
        return;
    }
    enum err err = stream_prepare(r, t, why, sizeof why);
    if (err) {
        stream_end_failed(r, t, err, why[0] ? why : NULL);
    } else if (t->finish) { /* a moved stream that had said all but DONE */
        stream_end_done(r, t);
    } else if (t->state == STREAM_LOOKUP) {
        stream_set_state(r, t, STREAM_QUEUED);
    }
}

/* Tokens from text, with the given conversations and those in the cells. ret_whole (or NULL): one in the cells is
 * taken to its end, so that no other one need be asked for. */
static enum err tokenize(struct room *r, struct stream *t, const struct store_chain *stored,
                         uint32_t n_stored, bool *ret_whole, char *why) {
    struct prompt_chain chains[CHAINS_MAX];
    uint32_t n_cells = chains_of_cells(r, t->req.agent, chains, CHAINS_MAX - CHAINS_PER_AGENT_MAX),
             n = n_cells;
    for (uint32_t i = 0; i < n_stored; i++)
        chains[n++] = (struct prompt_chain){stored[i].tokens, stored[i].n_tokens};
    size_t size = 0;
    const char *text = prompt_text(t, &size);
    mem_free(TAKE(t->tokens));
    uint32_t n_max = t->req.look == MSG_LOOK_COUNT ? 0 : r->pool.context;
    enum err err =
        prompt_tokenize(r->engine, text, size, chains, n, n_max, &t->tokens, &t->n_tokens, &t->n_spliced);
    if (err == ERR_CONTEXT_LENGTH)
        snprintf(why, WHY_BYTES, "the prompt has at least %u tokens, the context is %u tokens", t->n_tokens,
                 n_max);
    if (err) t->n_tokens = 0;
    t->tokens_room = t->n_tokens;
    for (uint32_t i = 0; i < n_cells && ret_whole; i++)
        if (t->n_spliced > 0 && t->n_spliced == chains[i].n) *ret_whole = true;
    return err;
}

static bool has_ids(const struct stream *t) {
    return t->req.kind == MSG_KIND_TOKENS || t->req.prompt_ids.n > 0;
}

static enum err take_ids(struct room *r, struct stream *t, char *why) {
    for (uint32_t i = 0; i < t->req.prompt_ids.n; i++) {
        int32_t id = t->req.prompt_ids.ids[i];
        if (id >= 0 && (uint32_t)id < r->info.n_vocab) continue;
        snprintf(why, WHY_BYTES, "token %d at place %u of the prompt is not in the vocabulary of %u tokens",
                 id, i, r->info.n_vocab);
        return ERR_INVALID;
    }
    t->n_tokens = t->tokens_room = t->req.prompt_ids.n;
    if (t->n_tokens == 0) return ERR_OK; /* stream_prepare says it is empty */
    t->tokens = mem_dup(t->req.prompt_ids.ids, t->n_tokens * sizeof *t->tokens);
    return t->tokens ? ERR_OK : ERR_NOMEM;
}

/* The disk is asked for the agent's other conversations. */
static bool look_up(struct room *r, const struct stream *t) {
    if (!r->cache_on || !t->req.agent[0]) return false;
    struct disk_job *job = disk_job_new(DISK_CHAINS, t->serial);
    if (!job) return false;
    job->tag = r->tag;
    job->agent = mem_strdup(t->req.agent);
    if (!job->agent) {
        disk_job_free(job);
        return false;
    }
    return room_post_job(r, job);
}

static enum err begin(struct room *r, struct stream *t, bool *ret_whole, char *why) {
    if (t->req.kind == MSG_KIND_CHAT) { /* also with its ids: the parsers of the answer come from it */
        enum err err = engine_chat_render(r->engine, &t->req, &t->chat, why, WHY_BYTES);
        if (err) return err;
    }
    if (has_ids(t)) return take_ids(r, t, why);
    return tokenize(r, t, NULL, 0, ret_whole, why);
}

void admit_submit(struct room *r, struct msg_submit *req) {
    if (r->state != ROOM_READY || r->op.step != STEP_NONE) {
        outbox_failed(r->out, req->request, ERR_NO_SEAT, "no model is ready in this seat");
        return;
    }
    if (req->kind < MSG_KIND_CHAT || req->kind > MSG_KIND_TOKENS) {
        outbox_failed(r->out, req->request, ERR_INVALID, "unknown kind of prompt");
        return;
    }
    if (req->look > MSG_LOOK_COUNT) {
        look_answer(r, req);
        return;
    }
    uint64_t request = req->request;
    struct stream *t = stream_new(r, req);
    if (!t) {
        outbox_failed(r->out, request, ERR_NOMEM, NULL);
        return;
    }
    char why[WHY_BYTES] = "";
    bool whole = has_ids(t); /* nothing to splice */
    enum err err = begin(r, t, &whole, why);
    if (err) {
        stream_end_failed(r, t, err, why[0] ? why : NULL);
        return;
    }
    if (!whole && look_up(r, t)) return;
    queue(r, t);
}

void admit_chains(struct room *r, struct disk_job *job) {
    struct stream *t = stream_find(r, job->owner);
    if (!t || t->state != STREAM_LOOKUP) return;
    char why[WHY_BYTES] = "";
    enum err err = job->n_chains ? tokenize(r, t, job->chains, job->n_chains, NULL, why) : ERR_OK;
    if (err)
        stream_end_failed(r, t, err, why[0] ? why : NULL);
    else
        queue(r, t);
}

/* ---- where prompts branch ---- */

/* [the system message, another question]; empty: there is none, or nothing follows it. */
static void probe_messages(const struct stream *t, struct buf *out) {
    struct json_error at;
    AUTO(json_freep) struct json *messages = json_read(t->req.messages.data, t->req.messages.size, &at);
    const struct json *first = json_at(messages, 0);
    const char *role = json_string(json_get(first, "role"), NULL);
    bool system = role && (strcmp(role, "system") == 0 || strcmp(role, "developer") == 0);
    if (json_count(messages) < 2 || !system) return;
    buf_u8(out, '[');
    (void)json_dump(first, out);
    buf_puts(out, ",{\"role\":\"user\",\"content\":\".\"}]");
}

/* Templates put it where they like (Gemma's into the first question), so it is rendered once more before another question: it
 * ends where the texts part. */
uint32_t admit_system_end(struct room *r, const struct stream *t) {
    struct buf messages = BUF(0);
    probe_messages(t, &messages);
    struct msg_submit probe = t->req;
    probe.messages = (struct msg_bytes){.data = messages.data, .size = (uint32_t)messages.size};
    struct engine_chat *chat = NULL;
    char why[WHY_BYTES];
    uint32_t n = 0;
    if (!messages.error && messages.size > 0 &&
        engine_chat_render(r->engine, &probe, &chat, why, sizeof why) == ERR_OK) {
        size_t size = 0, other_size = 0, same = 0;
        const char *text = engine_chat_prompt(t->chat, &size), *other = engine_chat_prompt(chat, &other_size);
        while (same < size && same < other_size && text[same] == other[same]) same++;
        n = prompt_tokens_within(r->engine, text, size, t->tokens, t->n_prompt, same);
    }
    engine_chat_free(chat);
    buf_free(&messages);
    return n;
}

/* ---- cells to start on ---- */

/* NOBODY (save.h): whoever begins like it is its second use. */
static void mark_shared(struct room *r, const struct stream *t) {
    LIST_EACH(&r->idle, struct sequence, node, s) {
        if (s->agent[0] || s->shared || sequence_common(s, t->tokens, t->n_tokens) < BLOCK_TOKENS) continue;
        s->shared = true;
        s->turn_unsaved = !save_sequence(r, s, SAVE_TURN);
    }
    LIST_EACH(&r->streams, struct stream, node, other) {
        struct sequence *s = other->seq;
        if (!s || s->agent[0] || s->shared || sequence_common(s, t->tokens, t->n_tokens) < BLOCK_TOKENS)
            continue;
        s->shared = true;
        (void)save_sequence(r, s, SAVE_FILLED);
    }
}

/* Is what s shares with the prompt worth going on from s, which then loses the rest? A prompt that only shares a short
 * beginning would throw a long conversation out of the cells; the store has the blocks of that beginning too. */
static bool worth(const struct stream *t, const struct sequence *s, uint32_t common) {
    if (common == 0) return false;
    bool same = strcmp(s->agent, t->req.agent) == 0;
    if (common < s->n_tokens && (!same || common * 2 < s->n_tokens)) return false;
    /* A longer conversation is known to the store. */
    return common + BLOCK_TOKENS > t->n_spliced || common >= t->n_spliced;
}

static struct sequence *best_resident(struct room *r, const struct stream *t, uint32_t *ret_common) {
    struct sequence *best = NULL;
    LIST_EACH(&r->idle, struct sequence, node, s) {
        uint32_t common = sequence_common(s, t->tokens, t->n_tokens);
        if (!worth(t, s, common) || (best && common <= *ret_common)) continue;
        best = s;
        *ret_common = common;
    }
    return best;
}

void admit_mark_wanted(struct room *r) {
    LIST_EACH(&r->idle, struct sequence, node, s) {
        s->wanted = false;
    }
    LIST_EACH(&r->streams, struct stream, node, t) {
        uint32_t common = 0;
        struct sequence *s = NULL;
        if (t->state == STREAM_FOLLOW)
            s = sequence_find(r, t->leader);
        else if (t->state <= STREAM_QUEUED && t->n_tokens > 0)
            s = best_resident(r, t, &common);
        if (!s) continue;
        s->wanted = true;
        if (t->state != STREAM_FOLLOW && (s = follow_idle(r, t, common))) s->wanted = true;
    }
}

static uint32_t blocks_wanted(const struct stream *t) {
    uint32_t tokens = t->limit;
    if (t->req.max_tokens == 0 && t->limit - t->n_tokens > GROW_TOKENS) tokens = t->n_tokens + GROW_TOKENS;
    return pool_blocks_for(tokens);
}

enum take { TAKE_DONE, TAKE_WAIT, TAKE_NOT };

/* The stream goes on from an idle sequence, cut to what they share (one token is always kept back to be decoded). */
static enum take take_resident(struct room *r, struct stream *t, struct sequence *s, uint32_t common) {
    uint32_t keep = common < t->n_tokens ? common : t->n_tokens - 1, wanted = blocks_wanted(t);
    bool other = strcmp(s->agent, t->req.agent) != 0;
    if (keep == 0) return TAKE_NOT;
    /* What the turn before has left to be stored is stored now: once t has read on, its end is none any more. Nobody waits for it
     * whose tokens all stay. */
    bool lossy = common < s->n_tokens || other;
    if ((lossy || s->turn_unsaved) && !save_sequence(r, s, SAVE_TURN) && lossy)
        return !s->refused && room_may_wait(r, s)
                   ? TAKE_WAIT
                   : TAKE_NOT; /* it stays as it is, and may be followed (follow.c) */
    if (wanted > s->held && !room_make_place(r, wanted - s->held, false, s)) return TAKE_WAIT;
    if (!sequence_hold(r, s, wanted)) return TAKE_NOT; /* no memory: the new one will say so */
    char *agent = other ? mem_strdup(t->req.agent) : NULL;
    if (other && !agent) return TAKE_NOT;
    if (keep < s->n_tokens && !engine_seq_rm(r->engine, s->slot, (int32_t)keep, -1)) {
        mem_free(agent); /* its window has moved on: by way of the store */
        return room_leave(r, s) ? TAKE_NOT : TAKE_WAIT;
    }
    sequence_cut(s, keep);
    if (other) {
        mem_free(s->agent);
        s->agent = agent;
        s->noted = 0;
    }
    if (!s->agent[0] && keep >= BLOCK_TOKENS) s->shared = true;
    sequence_wake(r, s);
    t->seq = s;
    return TAKE_DONE;
}

/* False: it has to wait. */
static bool admit(struct room *r, struct stream *t) {
    mark_shared(r, t);
    uint32_t common = 0;
    struct sequence *s = best_resident(r, t, &common);
    enum take took = s ? take_resident(r, t, s, common) : TAKE_NOT;
    if (took == TAKE_WAIT) return false;
    if (took == TAKE_DONE) {
        follow_begin(r, t);
        room_leave_idle(r); /* now it is known who is followed */
        return true;
    }
    uint32_t wanted = blocks_wanted(t);
    if (!room_make_place(r, wanted, true, NULL)) return false;
    t->seq = sequence_new(r, t->req.agent, wanted);
    if (!t->seq) {
        stream_end_failed(r, t, ERR_NOMEM, NULL);
        return true;
    }
    t->seq->shared = !t->seq->agent[0] && room_asked_before(r, t->tokens, t->n_tokens);
    room_leave_idle(r);
    stream_set_state(r, t, STREAM_PLAN);
    restore_begin(r, t);
    return true;
}

/* The disk does not say what it knows of t: without a splice, then. A late answer finds t no more in LOOKUP. */
static void look_no_longer(struct room *r, struct stream *t) {
    static struct log_limit limit = LOG_LIMIT(3);
    if (log_limit_pass(&limit))
        log_warn("seat.no_answer", "request=%llu of=chains", (unsigned long long)t->req.request);
    queue(r, t);
}

static bool asks_too_long(const struct stream *t, int64_t now) {
    return t->state == STREAM_LOOKUP && now - t->arrived_ns >= ASK_SECONDS_MAX * NS_PER_S;
}

/* Who only counts does not enter, so who stands before it is nothing to wait for. (The others may as well wait for their splice until they
 * can enter.) */
static bool count_no_longer(struct room *r, int64_t now) {
    bool did = false;
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->req.look != MSG_LOOK_COUNT || !asks_too_long(t, now)) continue;
        look_no_longer(r, t);
        did = true;
    }
    return did;
}

/* t waits for cells that background has: the newest of it gets out of the cells, if t then fits. (The others follow in the next turns; whether
 * idle ones are enough is theirs to say first.) */
static void background_makes_way(struct room *r, const struct stream *t) {
    uint32_t wanted = blocks_wanted(t), free = r->pool.n_free + room_blocks_idle(r, NULL), yields = 0;
    struct stream *newest = stream_newest(r, true);
    if (t->req.background || !newest || wanted <= free) return;
    LIST_EACH(&r->streams, struct stream, node, other) {
        if (stream_runs(other) && other->req.background) yields += other->seq->held;
    }
    if (wanted <= free + yields) stream_make_way(r, newest);
}

/* False: one of them can't enter yet. */
static bool admit_those(struct room *r, int64_t now, bool background, bool *did) {
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (r->op.step != STEP_NONE || r->n_running >= r->parallel) return false;
        if ((t->req.background != 0) != background) continue;
        if (asks_too_long(t, now)) look_no_longer(r, t);
        if (t->state == STREAM_LOOKUP) return false;
        if (t->state != STREAM_QUEUED) continue;
        if (!admit(r, t)) { /* IN ORDER */
            background_makes_way(r, t);
            return false;
        }
        *did = true;
    }
    return true;
}

bool admit_step(struct room *r) {
    int64_t now = clock_now_ns();
    bool did = count_no_longer(r, now);
    if (admit_those(r, now, false, &did)) (void)admit_those(r, now, true, &did);
    return did;
}
