/* swap.h - who is in the seat, and the change from one to another: one state machine, fed with the seat's messages, its
 * death, and the time. It decides; what it decides is done through struct swap_ops, so tests can script every fault.
 *
 *   state         step      leaves it
 *   EMPTY         -         swap_begin()
 *   SERVING       -         swap_begin(); the seat's death (-> STARTING, the same model again)
 *   DRAINING      DRAIN     no stream runs; at the deadline streams are parked or cancelled; swap_call_off() -> SERVING
 *   EVICTING      EVICT     EVICTED
 *   UNLOADING     UNLOAD    UNLOADED, and the memory came back; else the process is ended
 *   STARTING      START     READY
 *   LOADING       LOAD      LOADED; a failure -> ROLLING_BACK, or FAILED when there is no way back
 *   CONFIGURING   CONFIGURE CONFIGURED -> SERVING
 *   ROLLING_BACK  UNLOAD, START, LOAD, CONFIGURE with the old model
 *   FAILED        -         swap_begin()
 * A step that shows no sign of life for its limit ends the process, and the operation goes on in a new one ("process-level
 * swap"); so does a death at any step. A load gets two processes, then it has failed. Thread: the control thread. */
#ifndef HOTSEAT_FRONT_SWAP_H
#define HOTSEAT_FRONT_SWAP_H

#include "front/registry.h"
#include "link/messages.h"

enum swap_state {
    SWAP_STARTING,
    SWAP_EMPTY,
    SWAP_SERVING,
    SWAP_DRAINING,
    SWAP_EVICTING,
    SWAP_UNLOADING,
    SWAP_LOADING,
    SWAP_CONFIGURING,
    SWAP_ROLLING_BACK,
    SWAP_FAILED,
    SWAP_STATE_COUNT
};
enum swap_step {
    STEP_NONE,
    STEP_DRAIN,
    STEP_EVICT,
    STEP_UNLOAD,
    STEP_START,
    STEP_LOAD,
    STEP_CONFIGURE,
    STEP_COUNT
};
const char *swap_state_name(enum swap_state s); /* "LOADING" */
const char *swap_step_name(enum swap_step s);   /* "load" */

enum swap_cause { SWAP_CAUSE_START, SWAP_CAUSE_ADMIN, SWAP_CAUSE_TURN, SWAP_CAUSE_RECOVER };
enum swap_outcome { SWAP_UNDER_WAY, SWAP_OK, SWAP_ROLLED_BACK, SWAP_GAVE_UP };

struct swap_record { /* one operation, for its answer and for the history */
    uint64_t id;
    char from[MODEL_ID_BYTES_MAX + 1], to[MODEL_ID_BYTES_MAX + 1]; /* "": empty */
    enum swap_cause cause;
    enum swap_outcome outcome;
    bool process;      /* a new process was needed */
    bool not_returned; /* because the unload did not give the memory back */
    int64_t started_ns, ended_ns, started_wall_ns;
    int64_t step_ns[STEP_COUNT];
    uint64_t blocks_written, bytes_written, unsaved;
    uint32_t parked;
    uint64_t memory_before_bytes, memory_unloaded_bytes, memory_after_bytes;
    enum err err;
    char reason[512];
};

#define SWAP_LEAK_BYTES (UINT64_C(16) << 20) /* what may stay after an unload, or */
#define SWAP_LEAK_PERCENT 2                  /* this much of the model's cost */
#define SWAP_LOAD_TRIES 2                    /* processes that a load may use up */
#define SWAP_START_LIMIT_NS INT64_C(30000000000)
#define SWAP_START_TRIES 5 /* processes in a row that end before READY, then FAILED */
#define SWAP_BACKOFF_MIN_NS INT64_C(100000000)
#define SWAP_BACKOFF_MAX_NS INT64_C(30000000000)
#define SWAP_CALM_NS INT64_C(60000000000) /* a seat that lived this long starts the next one's backoff anew */
#define SWAP_CONFIGURE_BYTES_PER_S (UINT64_C(32) << 20) /* slowest disk that may hash the weights meanwhile */

struct swap_settings {
    int64_t load_timeout_ns, step_timeout_ns;
    uint32_t parallel, threads, token_gap;
};

struct swap_ops {
    void *ctx;
    /* Queues a message to the seat. A failure is followed by swap_on_death(). */
    void (*send)(void *ctx, const struct msg *m);
    void (*kill)(void *ctx, const char *why); /* ends the seat's process; no swap_on_death() for it */
    /* Starts the next one as soon as the last one is gone; READY or swap_on_death() follow. */
    void (*start)(void *ctx);
    uint32_t (*running)(void *ctx);    /* streams in the seat */
    void (*cancel_streams)(void *ctx); /* each ends with ERR_DRAIN_CANCELED; they leave the seat soon after */
    /* What this model gets now, with the memory as it is. ret is zeroed on error; why has the figures. */
    enum err (*plan)(void *ctx, const struct model *m, struct admission *ret, char *why, size_t why_size);
    void (*changed)(void *ctx);                                  /* state, step or percentage have */
    void (*load_failed)(void *ctx, const struct swap_record *r); /* of the new model; the way back begins */
    void (*ended)(void *ctx, const struct swap_record *r);
};

#define SWAP_COSTS_MAX 64

struct swap {
    const struct swap_ops *ops;
    struct registry *registry;
    struct swap_settings settings;
    enum swap_state state;
    enum swap_step step;
    struct model *seated;      /* while SERVING or DRAINING, EVICTING of it */
    struct model *last_seated; /* for "default" with an empty seat */
    int64_t seated_since_ns, hold_until_ns;
    bool returned; /* it sits because another one could not be loaded */
    bool alive;    /* the seat's process has said READY */

    /* the operation under way; record.id 0: none */
    struct swap_record record;
    struct model *from, *to; /* NULL: empty */
    int64_t drain_deadline_ns, hold_ns;
    bool cancel_at_deadline, draining_by_force, rolling_back, loaded; /* loaded: the seat holds weights */
    bool joined;                                                      /* somebody has joined it */
    uint32_t load_tries;
    uint64_t op; /* of the message whose answer is awaited */
    int64_t step_since_ns, step_deadline_ns;
    uint32_t permille; /* of the load */
    int64_t expected_ns;
    uint64_t pool_bytes;              /* planned for what is being loaded */
    uint64_t seated_cost_bytes;       /* weights, cells, compute of what is loaded */
    struct msg_configured configured; /* of the seated model; strings owned */

    uint64_t last_id;
    uint64_t last_op; /* of everything that is asked of the seat, whoever asks: seat_next_op() */
    bool no_process;  /* FAILED only because no process gets ready */
    enum kv_type kv;  /* of what was loaded: a reload counts from the next load on */
    uint32_t starts_failed, never_ready; /* processes in a row that ended soon; that ended before READY */
    int64_t start_at_ns;                 /* STEP_START: not before */
    bool start_asked;
    int64_t ready_since_ns;
    uint64_t evict_mark; /* moves while blocks are being written */

    struct swap_record history[SWAP_HISTORY];
    uint32_t n_history; /* all in all; the last SWAP_HISTORY are kept */
    struct swap_cost {
        char from[MODEL_ID_BYTES_MAX + 1], to[MODEL_ID_BYTES_MAX + 1];
        int64_t ewma_ns;
    } costs[SWAP_COSTS_MAX];
    uint32_t n_costs;
};

void swap_init(struct swap *s, const struct swap_ops *ops, struct registry *registry,
               const struct swap_settings *settings);
void swap_clear(struct swap *s);
bool swap_busy(const struct swap *s); /* an operation is under way: swap_begin() must wait */

void swap_start(struct swap *s,
                int64_t now_ns); /* the first process; READY makes it EMPTY, or goes on with what was begun */
void swap_mark_failed(
    struct swap
        *s); /* an empty seat whose first model can't be had: FAILED until somebody asks for another */

struct swap_order {
    struct model *to; /* NULL: empty the seat */
    enum swap_cause cause;
    int64_t drain_timeout_ns;
    int64_t hold_ns; /* the new model, or nobody, keeps the seat that long; 0: none */
    bool cancel_at_deadline;
};
/* Not while busy; to must have been validated and not be seated. Returns the operation's id. */
uint64_t swap_begin(struct swap *s, const struct swap_order *order, int64_t now_ns);
struct model *swap_next(const struct swap *s); /* who sits when what is under way is over; NULL: nobody */
void swap_join(struct swap *s,
               int64_t hold_ns); /* the operation under way is theirs too, and holds at least so long */
/* A turn that drains, for whose model nobody waits any more: as if it had never begun. False: it goes on (it has moved something,
 * or somebody ordered or joined it). */
bool swap_call_off(struct swap *s, int64_t now_ns);
void swap_hold_seated(struct swap *s, int64_t until_ns); /* who sits stays at least until then */

void swap_on_msg(struct swap *s, struct msg *m,
                 int64_t now_ns); /* answers of operations, READY, PROGRESS, STATS */
void swap_on_death(struct swap *s, const char *why, int64_t now_ns);
void swap_on_drained(struct swap *s, int64_t now_ns); /* no stream runs any more */
void swap_tick(struct swap *s, int64_t now_ns);
int64_t swap_deadline_ns(const struct swap *s); /* INT64_MAX: none */

uint32_t swap_percent(const struct swap *s);
int64_t swap_eta_ns(const struct swap *s, int64_t now_ns);
/* What a swap from -> to takes: measured, else of any other, else a guess. from NULL: an empty seat. */
int64_t swap_cost_ns(const struct swap *s, const struct model *from, const struct model *to);
const struct swap_record *swap_history_at(const struct swap *s,
                                          uint32_t i); /* 0: the last one; NULL past the end */

#endif
