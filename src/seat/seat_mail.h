/* seat_mail.h - what the three threads of the seat hand each other. A mail's receiver owns it. Every job that the engine
 * thread posts to the disk thread comes back to it exactly once, answered.
 *   link --struct mail_msg--> engine     link, engine --struct disk_job--> disk     disk --the same job--> engine
 * A deletion goes link -> disk -> engine -> disk. No poster ever waits: what the disk thread and the engine thread send each other always
 * finds room, because each box is larger than what the link thread may put there by SEAT_JOBS_MAX and MAILBOX_MAIL_MAX,
 * and no more jobs and deletions are under way. */
#ifndef HOTSEAT_SEAT_SEAT_MAIL_H
#define HOTSEAT_SEAT_SEAT_MAIL_H

#include "base/limits.h"
#include "base/list.h"
#include "link/messages.h"
#include "store/store.h"

#define SEAT_JOBS_MAX 4096 /* jobs of the engine thread that the disk thread has */
#define SEAT_JOBS_RESERVED                                                                                   \
    1024 /* of these only for what is not a write, so that writes can't starve a restore */

enum mail_kind { MAIL_MSG = 1, MAIL_JOB };
struct mail {
    enum mail_kind kind;
};

struct mail_msg {
    struct mail mail;
    struct msg msg; /* owned */
};

enum disk_job_kind {
    /* the link thread's; they do not come back */
    DISK_OPEN = 1,   /* msg HELLO: opens the store, says READY */
    DISK_SETTINGS,   /* msg SETTINGS */
    DISK_READ_AHEAD, /* msg READ_AHEAD */
    DISK_QUERY, /* msg QUERY: says REPLY; a deletion goes to the engine thread, which forgets too, and comes back */
    /* the engine thread's */
    DISK_HASH, /* path: stored or computed hash in slices -> hash, identity, spec (of one file), err */
    DISK_SELF_TEST_GET, /* tag, model, token_cost -> yes, other_blocks */
    DISK_SELF_TEST_PUT, /* tag */
    DISK_CHAINS,        /* tag, agent -> chains */
    DISK_PLAN,          /* tag, tokens, window -> plan */
    DISK_GET,           /* tag, block, its tokens -> base, window_part */
    DISK_PUT,           /* a block -> err, written */
    DISK_NOTE,          /* tag, model, agent, leaf, n_chain, n_prompt, interrupted, pinned */
    DISK_UNSAVED,       /* tag, model, agent: of its last turn something was never posted, and is lost */
    DISK_RESIDENTS,     /* text: JSON {"agent": saved, ...} of the seated model, for queries */
    DISK_FLUSH,         /* all before it is done */
    DISK_CLOSE          /* the store is closed */
};

struct disk_job {
    struct mail mail;
    struct list_node node; /* in the disk thread's queue */
    bool from_link;
    enum disk_job_kind kind;
    uint64_t owner; /* serial of the stream (CHAINS, PLAN, GET), sequence (PUT) or load (HASH) it is for */
    struct msg msg; /* OPEN, SETTINGS, QUERY */

    struct hash128 tag;
    char *path;  /* HASH */
    char *model; /* all strings owned */
    char *agent;
    char *text;
    int32_t *tokens; /* owned */
    uint32_t n_tokens;
    uint32_t window;     /* PLAN */
    uint32_t token_cost; /* SELF_TEST_GET: millions of parameters; 0: not known */
    uint32_t index;      /* GET: of the plan's blocks */
    struct store_plan_block block;
    struct block_name name, parent, leaf; /* name: of a full block */
    uint32_t first_pos, window_from, n_chain, n_prompt;
    bool leaving, pinned, interrupted, has_base, has_window;
    struct buf base, window_part; /* PUT: to write; GET: what was read, base behind ENGINE_BLOCK_HEAD bytes */
    uint64_t dirty_bytes;         /* PUT: what it added to the gauge */

    uint32_t
        opening; /* answers: how often the store has been opened: of another number it may be another one */
    enum err err;
    const char *reason;
    char why[256];
    bool yes, spec_known;
    uint64_t written;
    uint64_t other_blocks; /* of a model of this id, but under other tags */
    struct hash128 hash;
    struct file_identity identity; /* HASH: of what was hashed */
    bool store_off;                /* HASH: the store can't be opened now; why says it */
    struct model_spec spec;
    struct store_plan plan;
    struct store_chain chains[CHAINS_PER_AGENT_MAX];
    uint32_t n_chains;
};

struct mail_msg *
mail_msg_new(struct msg *m); /* takes m's contents over and zeroes it; NULL: no memory, m untouched */
void mail_msg_free(struct mail_msg *m);
struct disk_job *disk_job_new(enum disk_job_kind kind, uint64_t owner);
void disk_job_free(struct disk_job *j); /* NULL is fine */
void mail_free(struct mail *m);

#endif
