/* stream.h - one request on its way through the seat: prompt, cache, generation. It runs on a sequence.
 *   LOOKUP   the agent's chains are asked for (for the splice of the prompt)
 *   QUEUED   prompt known; waits for its turn, a sequence and pool blocks
 *   PLAN     the store is asked what can be restored
 *   RESTORE  blocks are read ahead and put into the cells
 *   FOLLOW   another stream reads the same beginning: its blocks are taken over (follow.c)
 *   PREFILL  prompt (and replayed) tokens are decoded in chunks
 *   DECODE   one token a step
 *   ENDED    its one end answer (DONE, FAILED, PARKED) was sent; it is freed at the end of the turn
 * LOOKUP -> QUEUED -> PLAN -> RESTORE -> FOLLOW -> PREFILL -> DECODE, each may be skipped but for PREFILL; PLAN again at most once after a
 * failed restore, and when the leader of a stored sequence is lost on a model with a window; any -> ENDED. Only stream_set_state() moves it. Thread: the engine's. */
#ifndef HOTSEAT_SEAT_STREAM_H
#define HOTSEAT_SEAT_STREAM_H

#include "base/list.h"
#include "seat/engine.h"
#include "seat/seat_mail.h"
#include "seat/shown.h"
#include "seat/text_stream.h"

struct room;
struct sequence;

enum stream_state {
    STREAM_LOOKUP,
    STREAM_QUEUED,
    STREAM_PLAN,
    STREAM_RESTORE,
    STREAM_FOLLOW,
    STREAM_PREFILL,
    STREAM_DECODE,
    STREAM_ENDED
};

struct stream {
    struct list_node node; /* the room's streams, in order of arrival */
    uint64_t serial;
    enum stream_state state;
    struct msg_submit req; /* owned */
    struct engine_chat *chat;
    struct engine_sampler *sampler;
    struct text_stream text;
    struct buf said;        /* all text released so far: what the chat parser reads */
    struct shown shown;     /* fed only if req.logprobs */
    struct buf prompt_text; /* only if req.echo, until it is said */
    const char *wrong;      /* of the request: the parameter that FAILED names; NULL. Static */

    int32_t *tokens; /* prompt, replay, generated; the last one is not in the cells while it decodes */
    uint32_t n_tokens, tokens_room, n_prompt, n_replay;
    uint32_t limit; /* n_tokens never passes it: prompt + max_tokens, at most the context */

    struct sequence *seq; /* from admission on */
    struct store_plan plan;
    struct disk_job *ready[RESTORE_AHEAD_BLOCKS]; /* read blocks, at index % RESTORE_AHEAD_BLOCKS */
    uint32_t next_get, next_put;
    uint64_t restore_serial; /* answers of an attempt that was given up bear another one */
    int64_t asked_ns;        /* PLAN, RESTORE: when the disk was asked, or last gave a block */
    uint32_t n_spliced;      /* tokens of the prompt taken from a known conversation */
    uint64_t leader;         /* FOLLOW: serial of the sequence whose blocks it waits for, up to follow_to */
    uint32_t follow_to;
    bool alone; /* a block could not be taken over: it follows nobody any more */
    bool retried, at_restore_point;
    /* Restore points: the last block of the system prompt, and of what the store knew of the prompt. */
    uint32_t system_end, branch_at;
    enum msg_finish finish; /* 0 until the last token is known */

    uint32_t item;  /* of this step's batch: the row to sample from; UINT32_MAX none */
    uint32_t chunk; /* tokens in this step's batch */
    uint32_t left;  /* PREFILL: to be read until it, or who follows it, has its prompt (batch.c, SHORTEST) */
    uint32_t cached, prefill_tokens, generated, decode_tokens, decoded_items;
    int64_t arrived_ns, restore_started_ns, restore_ns, follow_started_ns, prefill_started_ns, prefill_ns,
        first_token_ns, decode_started_ns;
    uint64_t first_logits, kv;
    bool first_logits_known, kv_known;
};

/* Takes *req over (zeroed). NULL: no memory. */
struct stream *stream_new(struct room *r, struct msg_submit *req);
void stream_free(struct room *r, struct stream *t); /* an ended one; its sequence was given back before */
void stream_set_state(struct room *r, struct stream *t, enum stream_state state);
struct stream *stream_find(struct room *r, uint64_t serial);
struct stream *stream_find_request(struct room *r, uint64_t request);
bool stream_runs(const struct stream *t); /* PLAN .. DECODE: it has a sequence */
/* The newest that runs, of background alone or of all; or NULL. */
struct stream *stream_newest(struct room *r, bool background);

/* With tokens = the prompt: sampler, stop strings, limit, the replayed tokens. On error why is filled. finish is set when the replay ends the answer. */
enum err stream_prepare(struct room *r, struct stream *t, char *why, size_t why_size) NODISCARD;
/* Samples from row t->item and sends the token and its text. finish is set when it was the last one; the caller then ends
 * the stream, after all rows of the step are sampled. False: it has ended already, failed. */
bool stream_sample(struct room *r, struct stream *t);
void stream_say_started(struct room *r, struct stream *t);

/* The ends. The sequence rests with what it has, saved, unless it is dropped. */
void stream_end_done(struct room *r, struct stream *t);
void stream_end_failed(struct room *r, struct stream *t, enum err err, const char *text);
void stream_end_parked(struct room *r, struct stream *t);
void stream_make_way(struct room *r, struct stream *t); /* parked, for another one needs its cells */
void stream_drop_sequence(struct room *r,
                          struct stream *t); /* its cells can't be trusted or are not complete */

#endif
