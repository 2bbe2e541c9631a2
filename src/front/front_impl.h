/* front_impl.h - the front from inside: what its files share. Everything here belongs to the control thread, but for what
 * says otherwise.
 *   front.c     life, mailboxes, the loop          dispatch.c  queues, streams in the seat
 *   seat.c      the seat's process and its messages moves.c     streams that lost their seat
 *   validate.c  looking at a model before its swap turn.c      admin's swaps, and whose turn it is
 *   admin.c     answers in JSON                    query.c     questions that the seat answers
 *   events.c    event clients                      models.c    GET /v1/models, and the 404
 *   choices.c    requests with several answers     reload.c, stop.c */
#ifndef HOTSEAT_FRONT_FRONT_IMPL_H
#define HOTSEAT_FRONT_FRONT_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/away.h"
#include "base/json.h"
#include "base/mailbox.h"
#include "front/front.h"
#include "front/measure.h"
#include "front/metrics.h"
#include "front/registry.h"
#include "front/scan.h"
#include "front/seat_process.h"
#include "front/swap.h"
#include "front/turns.h"
#include "front/weights_ahead.h"

#define JANITOR_NS INT64_C(250000000)        /* waiting replies, questions, ends of processes */
#define RESCAN_NS INT64_C(3000000000)        /* files come and go */
#define SCAN_LIMIT_NS INT64_C(10000000000)   /* a look at the disk is waited for that long */
#define WAITING_FIRST_NS INT64_C(1000000000) /* a client's first sign of life, and then */
#define WAITING_EVERY_NS INT64_C(4000000000) /* at least every 5 s; before http says something itself */
#define RETRY_SHORT_S 5                      /* Retry-After when nothing better is known */
#define QUERY_LIMIT_NS INT64_C(10000000000)  /* a question waits that long for a seat and its answer */

/* ---- streams: one for each INFER request ---- */

/* A stream's list is its state: its model's `waiting`, or the front's `running`. */
struct stream {
    struct list_node node;
    struct stream
        *sibling;    /* the ring of those that answer the same request (choices.c); itself when alone */
    uint32_t choice; /* which of the request's answers it is */
    uint32_t unborn; /* further answers to its prompt: born when it enters the seat */
    bool begun;      /* part of the request's answer is out, or is being made: this one's or a sibling's */
    bool echoed;     /* its prompt was said (echo) */
    uint64_t reserved_bytes; /* in requests_bytes, for the unborn */
    struct request *request;
    struct model *model;
    uint64_t id; /* order of arrival, and the seat's name for it */
    bool running;
    bool entered;   /* the client knows */
    bool ended;     /* the last reply is out; the seat has yet to let go */
    bool moved;     /* a new token came since it was last submitted */
    bool yields;    /* background that the seat was told to let go: it goes on later */
    bool must_move; /* it was there at a counted death: goes on alone until it has moved */
    /* Background that the seat has parked for its cells: model.n_left from which on it may fit. */
    uint64_t waits_until_left;
    uint32_t deaths, submits;
    uint32_t unread; /* of the prompt, as STARTED said: counted as read with the first token */
    int32_t *tokens; /* all generated so far: the replay */
    uint32_t n_tokens, room;
    int64_t waits_since_ns; /* arrival, or when it was parked */
    int64_t
        due_ns; /* its place among those that have not run: arrival, less what being interactive is worth */
    int64_t deadline_ns; /* INT64_MAX: none */
    int64_t next_waiting_ns;
    int64_t queue_ns, swap_ns, submitted_ns;
    int64_t served_ns;                     /* in the seat, all its stays together */
    uint32_t prompt_tokens, cached_tokens; /* of the first time it entered */
    int64_t first_token_ns;
};

/* ---- the front's own mail ---- */

enum mail_kind { MAIL_SCANNED, MAIL_RELOAD, MAIL_RELOADED, MAIL_STOP };
struct mail {
    enum mail_kind kind;
    struct scan_result *scanned;
    struct config *config; /* RELOADED: NULL with why */
    char why[512];
    uint64_t client; /* RELOAD, RELOADED: 0 for SIGHUP */
};

/* ---- waiting for something ---- */

struct query { /* a question to the seat, and who asked */
    struct list_node node;
    struct request *request;
    uint64_t op; /* 0: not sent yet */
    int64_t deadline_ns;
};
struct swap_wait { /* an admin's swap or offload that waits: for its model's look, its turn, or its end */
    struct list_node node;
    struct request *request;
    struct model *to; /* NULL: offload */
    uint64_t ticket;  /* the look at the disk it waits for; 0: done */
    uint64_t id;      /* the operation it began or joined; 0: none yet */
    bool joined;
};
struct reload_wait { /* who asked for the configuration to be read, and is not answered yet */
    struct list_node node;
    uint64_t client;
    int64_t since_ns;
};
struct event_client {
    struct list_node node;
    uint64_t client;
};

enum stop_step { STOP_NO, STOP_DRAIN, STOP_PARK, STOP_SAVE, STOP_EXIT, STOP_DONE };

struct measuring { /* one model at a time */
    struct seat_process *process;
    struct model *model;
    struct file_identity identity;  /* of the file it looked at */
    bool greeted;                   /* READY came: what follows is the file's doing */
    bool closed;                    /* it ended, or does so in a moment: how, says its status */
    bool again;                     /* the first one was killed */
    struct measure_size size;       /* what it was asked about last */
    struct admission_measure first; /* once it is asked again, about the pool that the first answer allows */
    uint64_t op;
    int64_t asked_ns; /* this question */
    int64_t deadline_ns;
};

struct settings { /* what a reload may change; the rest is in config */
    struct turns_settings turns;
    int64_t drain_timeout_ns;
    uint64_t cache_disk_bytes, cache_write_per_day_bytes;
    int log_level;
};

struct front {
    const struct config *config;
    struct settings settings;
    struct front_sink sink;
    struct metrics *metrics;
    struct registry *registry;
    struct scan *scan;
    struct weights_ahead *ahead;
    struct mailbox *requests; /* struct request */
    struct mailbox *cancels;  /* clients as pointers */
    struct mailbox *inbox;    /* struct mail */
    pthread_t thread;
    bool started;
    int lock_fd;
    char *seat_program;
    _Atomic int readiness;
    _Atomic bool closed; /* nothing is taken any more */
    _Atomic int posting; /* threads that are inside front_post() */
    struct away away;    /* the control thread's clock */
    int64_t now_ns;      /* on it, of this round of the loop */
    int64_t next_janitor_ns, next_scan_ns;
    uint64_t scans_done;
    bool scan_running, scan_again;
    int64_t scan_began_ns;

    /* the seat */
    struct seat_process *seat;
    struct seat_process *leaving[8]; /* ended, not reaped */
    uint32_t n_leaving;
    int64_t leaving_since_ns; /* the last one that began to */
    bool start_wanted;        /* as soon as the last one is gone */
    bool first_seat_done;
    bool first_pending; /* the first model is being looked at or loaded */
    uint64_t generation;
    bool seat_greeted; /* READY came */
    char *engine, *engine_version;
    struct msg_stats stats;
    uint64_t seat_baseline_bytes;
    int64_t seat_progress_ns; /* last sign that streams get on */
    struct swap swap;
    struct swap_ops swap_ops;
    struct swap_record last_swap; /* for the share of a request's wait that was a swap */
    struct model *last_swap_to;

    struct list running; /* streams in the seat */
    uint32_t n_waiting;
    uint64_t requests_bytes; /* prompts, tools and the like of all streams */
    uint64_t last_stream;
    int64_t idle_since_ns;
    int64_t turn_at_ns;  /* ask turns again then */
    int64_t deadline_ns; /* no stream's is earlier; INT64_MAX */
    bool schedule;       /* something has changed */
    bool sweep;          /* streams in a queue have ended: choices.c, TOGETHER */
    bool more_from_seat; /* whole messages lie in the channel's own buffer, where poll() does not see them */

    struct measuring measuring;
    struct list queries, swap_waits, reload_waits, events;
    uint32_t event_percent;
    struct list unsent; /* last replies that found no room: tried again */

    enum stop_step stop;
    int64_t stop_deadline_ns;
    uint64_t stop_mark; /* moves while blocks are being written */
    uint64_t stop_op;
};

/* ---- replies (front.c) ---- */
/* Takes r over (NULL: there was no memory for it). False: the client must be given up; a last reply is kept and tried again. */
bool front_reply(struct front *f, struct reply *r);
void front_reply_error(struct front *f, const struct request *q, enum err err, uint32_t retry_after_s,
                       const char *fmt, ...) PRINTF_LIKE(5, 6);
void front_reply_json(struct front *f, uint64_t client, int http_status,
                      struct buf *body); /* body is taken */
/* The same with further members: details as in struct reply, taken. */
void front_reply_details(struct front *f, const struct request *q, enum err err, uint32_t retry_after_s,
                         char *details, const char *text);
enum err front_lock_cache(struct front *f, char *why,
                          size_t why_size); /* OK with lock_fd -1: the cache is off */
void front_update_readiness(struct front *f);
void front_scan(struct front *f);            /* looks at the disk soon */
uint64_t front_scan_ticket(struct front *f); /* asks for a look that begins after now */
/* True: it has been, or hangs (a disk that does not answer): then what was seen before it counts, for a load has limits of its own. */
bool front_scan_is_done(const struct front *f, uint64_t ticket);
bool front_scan_hangs(const struct front *f); /* one is under way for longer than it may */

/* ---- seat.c ---- */
void seat_ops_init(struct front *f);
uint64_t seat_next_op(struct front *f);               /* answers find who asked by it: one counter for all */
bool seat_send(struct front *f, const struct msg *m); /* false: there is no seat, or it is gone */
void seat_receive(struct front *f);
void seat_flush(struct front *f);
void seat_kill(struct front *f, const char *why);
void seat_reap(struct front *f);
void seat_leave(struct front *f, struct seat_process *p); /* to the list of those that end */
void seat_look_for_hangs(struct front *f);
int64_t seat_hang_deadline_ns(const struct front *f);

/* ---- dispatch.c ---- */
void dispatch_request(struct front *f, struct request *q); /* takes q */
void dispatch_streams(struct front *f);                    /* into the seat, as many as may run */
void dispatch_msg(struct front *f, struct msg *m);         /* STARTED, DELTA, DONE, FAILED, PARKED */
void dispatch_cancel(struct front *f, uint64_t client);
bool dispatch_cancel_client(struct front *f, uint64_t client); /* true: it was a stream's */
void dispatch_waiting(struct front *f);                        /* signs of life for those who wait */
void dispatch_fail_queue(struct front *f, struct model *m, enum err err, uint32_t retry_after_s,
                         const char *details, const char *text);
void dispatch_refuse_not_auto(struct front *f);        /* whoever waits for what only the admin may bring */
void dispatch_cancel_running(struct front *f);         /* a swap's deadline, on_deadline cancel */
struct model *dispatch_default_model(struct front *f); /* what "default" means now; NULL */
void dispatch_deadlines(struct front *f);              /* ends those whose time is over */
/* Into its model's queue: background last; those that have run first, by age; then by priority and age. */
void stream_push(struct front *f, struct stream *t);
bool is_background(const struct stream *t);
void stream_end(struct front *f, struct stream *t);
void stream_fail(struct front *f, struct stream *t, enum err err, uint32_t retry_after_s, const char *text);
uint32_t retry_after_s(const struct front *f, int64_t at_ns);
uint32_t retry_when_cool_s(const struct front *f, const struct model *m); /* of one that cools down */

struct stream *stream_new(struct front *f, struct request *q, struct model *m); /* takes q; NULL: no memory */
/* Another prompt instead of its request's; it is taken. */
void stream_take_prompt(struct front *f, struct stream *t, struct request_prompt *p);
void dispatch_tell_cancel(struct front *f, const struct stream *t);
uint64_t dispatch_bytes(const struct request *q); /* what it asks with */

/* ---- choices.c ---- */
uint64_t choices_bytes(const struct request *q); /* of all the streams it will be */
/* The streams for the other prompts of t's request; later those of further answers to t's own prompt. False: no memory. */
bool choices_open(struct front *f, struct stream *t);
bool choices_bear(struct front *f, struct stream *t);
void choices_begin(struct stream *t);         /* it enters the seat */
bool choices_speaks(const struct stream *t);  /* of all of them it says where they wait */
void choices_leave(struct stream *t);         /* out of its ring */
bool choices_is_last(const struct stream *t); /* all others have ended, and none is unborn */
void choices_end_others(struct front *f, struct stream *t);
void choices_sweep(struct front *f); /* frees those that have ended in a queue */

/* ---- moves.c ---- */
void moves_seat_died(struct front *f); /* every running stream goes back to its queue, or ends */
void moves_parked(struct front *f, struct stream *t);
/* The seat said PARKED: of itself, unless a swap goes on. Before moves_parked(). */
void moves_made_way(const struct front *f, struct stream *t);
struct stream *moves_next(struct front *f, struct model *m); /* whom to submit now; NULL: nobody */

/* ---- validate.c ---- */
enum verdict { VERDICT_OK, VERDICT_PENDING, VERDICT_NO };
struct refusal {
    enum err err;
    uint32_t retry_after_s;
    char *details; /* caller frees */
    char text[1024];
};
/* May this model be loaded now? PENDING: it is being measured, ask again. seated models are always OK. */
enum verdict validate_model(struct front *f, struct model *m, struct refusal *why);
enum err validate_plan(struct front *f, const struct model *m, struct admission *ret, char *why,
                       size_t why_size);
void validate_measured(struct front *f); /* messages of the measuring seat */
void validate_tick(struct front *f);
void validate_abort(struct front *f);

/* ---- turn.c ---- */
void turn_swap_request(struct front *f, struct request *q); /* SWAP and OFFLOAD; takes q */
void turn_schedule(struct front *f);
/* How long until the request at this position (1: the next) of the model enters the seat: an estimate. */
int64_t turn_eta_ns(struct front *f, const struct model *m, uint32_t position);
void turn_note_arrival(struct front *f, struct model *m); /* a request that has never run */
void turn_load_failed(struct front *f, const struct swap_record *r);
void turn_swap_ended(struct front *f, const struct swap_record *r);
bool turn_cancel_client(struct front *f, uint64_t client);
void turn_fail_waits(struct front *f, enum err err, const char *text);
void turn_measure_failed(struct front *f, struct model *m, enum err err, const char *reason);
void turn_first_model(struct front *f); /* at start: --model */

/* ---- admin.c, query.c, events.c ---- */
void admin_request(struct front *f, struct request *q); /* takes q */
void admin_swap_object(struct json_out *w, const struct swap_record *r, const char *status);
void admin_ps(struct front *f, const struct request *q,
              const struct msg_bytes *agents);      /* agents: the seat's JSON, NULL */
void query_ask(struct front *f, struct request *q); /* takes q */
void query_reply(struct front *f, struct msg_reply *m);
void query_send_all(struct front *f); /* a seat is there again */
void query_seat_died(struct front *f);
void query_tick(struct front *f);
bool query_cancel_client(struct front *f, uint64_t client);
void query_fail_all(struct front *f, enum err err);
void events_add(struct front *f, struct request *q); /* takes q */
bool events_cancel_client(struct front *f, uint64_t client);
void events_end(struct front *f);
void events_swap(struct front *f); /* state, step or percentage have changed */
void events_say(struct front *f, const char *event, struct buf *body); /* body is taken */
struct json_out events_begin(struct front *f, struct buf *body); /* an open object with the time in it */

/* ---- models.c ---- */
void models_answer(struct front *f, const struct request *q); /* q stays the caller's, here and below */
void models_refuse_unknown(struct front *f, const struct request *q);  /* 404, with the names there are */
uint32_t models_context(const struct front *f, const struct model *m); /* the longest sequence, in tokens */

/* ---- reload.c, stop.c ---- */
void reload_begin(struct front *f, uint64_t client);
void reload_tick(struct front *f); /* ends those that have waited for too long */
void reload_end(struct front *f);
void reload_done(struct front *f, struct mail *mail); /* mail stays the caller's */
void front_settings_from(struct front *f, const struct config *c);
void stop_begin(struct front *f);
void stop_tick(struct front *f);
void stop_msg(struct front *f, const struct msg *m);
void stop_seat_gone(struct front *f);

#endif
