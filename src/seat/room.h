/* room.h - the engine thread: one model, its cells, the streams that run on them, and the operations of a swap. It owns
 * the engine (but engine_cancel) and never waits for the socket or the disk: both talk to it by mail.
 *   EMPTY --LOAD--> LOADED --CONFIGURE--> READY --UNLOAD--> EMPTY
 * CONFIGURE, EVICT and STOP take several turns of the loop (they wait for the hash of the weights, for the disk): one
 * struct room_op each. The fields are shared by the room's own files (room*.c, sequence.c, save.c, stream.c, admit.c,
 * restore.c, follow.c, batch.c) and by no one else. Thread: the engine's; room_open and room_free the one that starts it. */
#ifndef HOTSEAT_SEAT_ROOM_H
#define HOTSEAT_SEAT_ROOM_H

#include "base/clock.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "seat/block_pool.h"
#include "seat/disk_worker.h"
#include "seat/engine.h"
#include "seat/outbox.h"
#include "seat/save.h"
#include "seat/sequence.h"
#include "seat/step_budget.h"
#include "seat/stream.h"

#define BATCH_TOKENS 512      /* most items of a step: libllama's usual ubatch */
#define BATCH_TOKENS_SHORT 16 /* of prompts, for SHORT_SECONDS after a step that a cancel aborted */
#define SHORT_SECONDS 2
#define IDLE_TOKENS 128 /* of others, and an idle sequence leaves at the beginning of a turn: ADR 4 */
#define IDLE_SECONDS 60 /* or after it */
#define SAVE_AGAIN_NS (2 * NS_PER_S) /* PROBE (room.c): what the disk refused is tried again after it, then */
#define SAVE_AGAIN_MAX_NS (4 * NS_PER_S) /* every so often: longer than a store waits to be opened again */
#define LEAVE_SECONDS_MAX 5 /* a sequence whose place is needed waits so long for a disk that is behind */
#define ASK_SECONDS_MAX                                                                                      \
    5 /* a stream waits so long for what the store knows (CHAINS, PLAN): a disk that hangs never says it */
#define BLOCK_SECONDS_MAX 20 /* and for its next block: those of all streams are 256 MB */
#define RECENT_CHAINS 16     /* nobody's conversations, remembered for the splice of their next prompt */
#define ASKED_BLOCKS 1024    /* nobody's first blocks, remembered for their second use */
#define RECENT_TOKENS_LEFT_MAX 32768 /* longer ones go with their model: 2 MB stay at most */
#define ROOM_INBOX_MAX (3 * MAILBOX_MAIL_MAX + SEAT_JOBS_MAX) /* seat_mail.h: answers always find room */

enum room_state { ROOM_EMPTY, ROOM_LOADED, ROOM_READY };

enum room_step {
    STEP_NONE,
    STEP_WAIT_HASH,
    STEP_WAIT_SELF_TEST,
    STEP_SAVE,
    STEP_WAIT_FLUSH,
    STEP_WAIT_CLOSE
};
struct room_op {
    enum room_step step;
    enum msg_type type; /* CONFIGURE, EVICT, STOP */
    uint64_t op;
    uint64_t flush_serial; /* the FLUSH that counts */
    bool again;            /* EVICT, STOP: saving for the second time */
    bool given_up;         /* the disk takes nothing */
    uint64_t mark;         /* STEP_SAVE: what moves while the disk takes something, and when it last did */
    int64_t moved_ns;
    struct msg_configured answer; /* CONFIGURE: filled as far as it is known */
};

struct room_ports { /* borrowed, for the room's life */
    struct engine *engine;
    struct mailbox *inbox; /* of ROOM_INBOX_MAX */
    struct disk_worker *disk;
    struct outbox *out;
    struct seat_stats *stats;
};

struct room {
    struct engine *engine;
    struct mailbox *inbox;
    struct disk_worker *disk;
    struct outbox *out;
    struct seat_stats *stats;

    enum room_state state;
    char *model, *path;
    struct engine_model info;
    enum kv_type kv;
    bool repack, pin;
    uint64_t last_serial; /* of loads, streams and sequences */
    struct room_op op;
    bool ended; /* STOP is done: the thread ends */

    uint64_t load_serial;        /* the load whose hash counts */
    struct file_identity loaded; /* of the path, before and after the engine read it */
    bool loaded_known;           /* they were the same */
    bool hash_known, hash_again; /* again: it was of another file, and is asked for once more */
    bool store_off;              /* the disk thread has no store now; it goes on trying */
    enum err hash_err;
    char hash_why[256];
    struct hash128 weights, tag;
    struct model_spec spec; /* zeroed when our own reader did not understand the file */
    bool cache_on;
    char cache_reason[256];

    struct block_pool pool;
    bool slots[SEQUENCES_MAX];
    struct list streams, idle; /* in order of arrival; oldest first */
    uint32_t n_running, parallel;
    uint32_t n_jobs;    /* the disk thread has */
    uint64_t n_answers; /* it has given */
    /* room_may_wait(): somebody has waited for it in vain, and since hangs_since signs of its life there was no other one. */
    bool disk_hangs;
    uint64_t hangs_since;
    uint32_t takes_left;
    uint64_t turn; /* of the loop */
    bool residents_changed, residents_posted;
    int64_t save_again_ns, save_again_wait_ns; /* when the next idle one that is not saved is tried again */
    uint32_t opening;                          /* of the store, as the last answer says */
    uint64_t written_blocks, written_bytes;    /* since the eviction began */
    uint64_t n_done; /* blocks and names that the disk thread has stored, blocks that it has read */
    struct {
        struct hash128 tag; /* of the model they were read with; they stay when it leaves, and wait for it */
        int32_t *tokens;
        uint32_t n;
    } recent[RECENT_CHAINS];
    uint32_t next_recent;
    struct block_name
        asked[ASKED_BLOCKS]; /* a ring: nobody's first blocks, of all models; a second use is known by them */
    uint32_t next_asked;
    struct engine_item items[BATCH_TOKENS];
    uint32_t n_items;
    uint64_t n_decoded;        /* items of all steps */
    struct step_budget budget; /* since CONFIGURE */
    uint32_t oldest_owed;   /* of the oldest prompt's part of small steps: what was too little for a token */
    bool together;          /* the step's prompts are more than the budget has: TOGETHER (batch.c) */
    int64_t held_since_ns;  /* the next step waits for the disk's word (batch.c); 0: it does not */
    bool aborted;           /* the last step was */
    int64_t short_until_ns; /* steps are short, since one was aborted a moment ago */
};

enum err room_open(const struct room_ports *ports, struct room **ret) NODISCARD;
void room_run(struct room *r);  /* the thread's body: until STOP is done */
void room_free(struct room *r); /* after the thread has ended; the engine's model is unloaded */

/* ---- within the room ---- */

/* Takes job over. False: the disk thread has too many already; the job is freed, its bytes leave the gauge. */
bool room_post_job(struct room *r, struct disk_job *job);
/* What all idle sequences hold, but for keep (or NULL). */
uint32_t room_blocks_idle(const struct room *r, const struct sequence *keep);
/* Idle sequences leave, those on the disk first and of these the oldest, until the pool has n_blocks free and a slot is (or need not be) free; keep stays.
 * False: not yet (running ones hold it, and then nobody has left; or the disk is behind). */
bool room_make_place(struct room *r, uint32_t n_blocks, bool slot, const struct sequence *keep);
/* A turn begins: idle sequences that have stayed for IDLE_TOKENS of others leave, if the disk has all of them and nobody who waits goes on
 * from them or takes blocks over from them. */
void room_leave_idle(struct room *r);
/* Has nobody's prompt of n tokens begun like an earlier one? From now on it has. */
bool room_asked_before(struct room *r, const int32_t *tokens, uint32_t n);
bool room_leave(struct room *r,
                struct sequence *s); /* saved and dropped; false: not all could be posted yet */
/* s must be posted before it is cut or goes, and can't be now: true: it waits; false: it has, for LEAVE_SECONDS_MAX, or another one has
 * and the disk gave no sign of life meanwhile nor since: on one that hangs they would wait one after the other. Whoever needs s asks in
 * every turn of the loop; after a turn without it is another need, with a time of its own. */
bool room_may_wait(struct room *r, struct sequence *s);
void room_disk_answers(struct room *r); /* something was stored: what was refused is tried again at once */
void room_reap(struct room *r);         /* frees the streams that have ended */
void room_send_stats(struct room *r);
void room_remember_chain(struct room *r, const int32_t *tokens, uint32_t n);

/* room_ops.c */
void room_load(struct room *r, const struct msg_load *m);
void room_configure(struct room *r, const struct msg_configure *m);
void room_unload(struct room *r, uint64_t op);
void room_measure(struct room *r, const struct msg_measure *m);
void room_op_begin(struct room *r, enum msg_type type, uint64_t op); /* EVICT, STOP */
void room_op_step(struct room *r);                                   /* goes on with the pending one */
void room_op_answer(struct room *r, struct disk_job *job); /* HASH, SELF_TEST_GET, FLUSH, CLOSE came back */
void room_park_all(struct room *r);
void room_drop_all(struct room *r, enum err err); /* streams end failed, sequences go unsaved */

/* admit.c */
void admit_submit(struct room *r, struct msg_submit *req);
void admit_chains(struct room *r, struct disk_job *job);
bool admit_step(struct room *r); /* true: something was done */
/* The idle sequences from which those who wait will go on, or others take blocks over. */
void admit_mark_wanted(struct room *r);
uint32_t admit_system_end(struct room *r,
                          const struct stream *t); /* tokens of a chat's system prompt; 0: none. Renders */

/* restore.c */
void restore_begin(struct room *r, struct stream *t);  /* posts PLAN, or goes on cold */
void restore_forget(struct room *r, struct stream *t); /* what was read and planned */
void restore_planned(struct room *r, struct disk_job *job);
void restore_got(struct room *r, struct disk_job *job); /* takes job over */
bool restore_step(struct room *r);
/* A restore that failed: counted; the store is asked once more, the second time t goes on cold. */
void restore_fail(struct room *r, struct stream *t, enum err err, const char *what);
void restore_again(struct room *r, struct stream *t); /* from empty cells */
void restore_count_failure(struct room *r, const struct stream *t, enum err err, const char *what);

/* follow.c */
void follow_begin(struct room *r,
                  struct stream *t); /* what the store had is in the cells: FOLLOW or PREFILL */
bool follow_step(struct room *r);
/* The idle sequence that t, which waits and will go on with n_tokens in the cells, would follow; NULL. */
struct sequence *follow_idle(const struct room *r, const struct stream *t, uint32_t n_tokens);
/* Where the leader t must stand for a follower: a position after from, or to. */
uint32_t follow_stop(struct room *r, const struct stream *t, uint32_t from, uint32_t to);
/* The shortest prompt that waits for t to read on, in tokens: its own, or one of those that follow it. */
uint32_t follow_shortest(struct room *r, const struct stream *t);

/* batch.c */
bool batch_step(struct room *r);
int64_t batch_word_due_ns(struct room *r); /* WORD: until then no step begins; 0: one may begin */

#endif
