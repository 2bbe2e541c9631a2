/* sequence.h - one sequence in the cells: which tokens lie there, how many pool blocks it holds, and which of its blocks
 * the disk has. A stream runs on a sequence; after the turn the sequence stays resident, idle, until its place is needed.
 *   sequence_new() RUNNING --sequence_rest()--> IDLE --sequence_wake()--> RUNNING     any --sequence_drop()--> gone
 * The tokens are exactly those whose KV is in the cells; the last sampled token is not. Thread: the engine's. */
#ifndef HOTSEAT_SEAT_SEQUENCE_H
#define HOTSEAT_SEAT_SEQUENCE_H

#include "base/list.h"
#include "store/store.h"

struct room;

enum block_save {
    BLOCK_DIRTY,  /* never posted */
    BLOCK_POSTED, /* the disk thread has it */
    BLOCK_SAVED,
    BLOCK_LATER, /* the day's writes or the budget are used up: only when it leaves */
    BLOCK_FAILED /* the disk said no: again at the turn's end */
};
#define WINDOW_NOT_SAVED UINT32_MAX

struct sequence_block { /* a full one */
    struct block_name name;
    enum block_save base;
    uint32_t window_from; /* lowest position of the window part that was posted; WINDOW_NOT_SAVED */
};

struct sequence {
    struct list_node node; /* the room's list of idle ones while it rests */
    uint64_t serial;
    int32_t slot; /* the engine's sequence id */
    char *agent;  /* owned; "" nobody */
    int32_t *tokens;
    uint32_t n_tokens; /* in the cells */
    struct sequence_block *blocks;
    uint32_t n_blocks; /* full and named; n_tokens / BLOCK_TOKENS after sequence_name() */
    uint32_t held;     /* blocks of the pool; tokens and blocks have room for as many */
    uint32_t n_posted; /* its PUT and NOTE jobs that the disk thread has */
    bool running;
    bool shared;                /* nobody's, but used more than once: worth writing */
    bool filled_unsaved;        /* full blocks that the disk was too busy for */
    bool turn_unsaved;          /* a turn has ended and not all of it is posted yet */
    bool refused;               /* the last thing of it that came back: the disk has said no */
    uint32_t tail_saved, noted; /* n_tokens when the tail was posted, when the agent's name was moved */
    uint32_t n_prompt;          /* of the last turn that ran on it; its answer begins there */
    bool interrupted;           /* that turn was parked, cancelled, failed */
    bool wanted;                /* idle, and somebody goes on from it or takes blocks: admit_mark_wanted() */
    int64_t idle_since_ns;
    uint64_t idle_since; /* the room's n_decoded then */
    /* room_may_wait(): asked since then (and so many signs of the disk's life), and last in that turn of the loop. */
    int64_t leave_since_ns;
    uint64_t leave_signs, leave_turn;
};

/* Takes a slot and n_blocks of the pool; NULL when there is none (nothing was taken) or no memory. */
struct sequence *sequence_new(struct room *r, const char *agent, uint32_t n_blocks);
/* Out of the cells and the pool. What was not posted is lost: save first. NULL is fine. */
void sequence_drop(struct room *r, struct sequence *s);
bool sequence_hold(struct room *r, struct sequence *s,
                   uint32_t n_blocks); /* at least so many; false: not to be had */
void sequence_append(struct sequence *s, const int32_t *tokens, uint32_t n); /* they fit into what it holds */
void sequence_cut(struct sequence *s, uint32_t n_tokens);                    /* after the cells were cut */
void sequence_name(struct room *r, struct sequence *s); /* names the blocks that are full now */
struct block_name sequence_parent(const struct sequence *s,
                                  uint32_t block);      /* name of the block before it, or the root */
void sequence_rest(struct room *r, struct sequence *s); /* gives back the blocks it does not fill */
void sequence_wake(struct room *r, struct sequence *s);
uint32_t sequence_common(const struct sequence *s, const int32_t *tokens,
                         uint32_t n);                            /* equal tokens at the beginning */
struct sequence *sequence_find(struct room *r, uint64_t serial); /* running or idle; NULL */
/* Nothing of it is on disk any more (an administrator deleted it). */
void sequence_forget_saved(struct sequence *s);

#endif
