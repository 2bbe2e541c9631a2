/* request.h - one request as data: made and validated by http's api_*.c, owned by the front after
 * front_post(). Thread: whoever owns it. */
#ifndef HOTSEAT_FRONT_REQUEST_H
#define HOTSEAT_FRONT_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "link/messages.h"

enum request_verb {
    REQUEST_INFER,  /* submit is filled */
    REQUEST_MODELS, /* GET /v1/models; with model: that one */
    REQUEST_SWAP,   /* admin from here on */
    REQUEST_OFFLOAD,
    REQUEST_CURRENT,
    REQUEST_AVAILABLE,
    REQUEST_SWAP_STATUS,
    REQUEST_EVENTS, /* a stream of REPLY_EVENT until the client leaves */
    REQUEST_AGENTS, /* [model] */
    REQUEST_AGENT,  /* agent [model]: MSG_QUERY_* with `query` */
    REQUEST_CACHE,
    REQUEST_CACHE_DELETE,
    REQUEST_RELOAD,
    REQUEST_FAULT,
    REQUEST_PS /* seat, queues: for `hotseat ps` */
};

/* Being interactive counts like REQUEST_PRIORITY_NS of waiting, so that no normal one waits behind them for ever. */
enum request_priority { PRIORITY_BACKGROUND, PRIORITY_NORMAL, PRIORITY_INTERACTIVE, PRIORITY_COUNT };
#define REQUEST_PRIORITY_NS INT64_C(60000000000)
const char *request_priority_name(enum request_priority p); /* "background"; static */

struct request_prompt { /* of a plain prompt; one of the two */
    struct msg_bytes text;
    struct msg_tokens ids;
};

struct request {
    struct list_node node; /* the front's: the list it is in is its state */
    uint64_t client;       /* http's handle; comes back in every reply */
    char *request_id;      /* X-Request-ID */
    enum request_verb verb;
    char *model; /* as the client named it; NULL or "default": whatever is seated */
    bool stream;
    int64_t arrived_ns;

    struct msg_submit
        submit;         /* INFER: owned like a decoded message; request and replay are the front's to fill */
    uint32_t n_choices; /* answers to each prompt; 0: one */
    struct request_prompt *more; /* prompts beside the one in submit */
    uint32_t n_more;
    bool seed_given; /* else the front draws one */
    bool include_usage;
    enum request_priority priority;
    int64_t timeout_ns; /* from arrived_ns; 0: none */

    int64_t drain_timeout_ns; /* SWAP, OFFLOAD: < 0 the configured one */
    bool cancel_on_deadline;
    bool wait;
    int64_t hold_ns; /* SWAP: < 0 --stay-min */

    bool anthropic; /* MODELS: in Anthropic's shape, a page of at most limit models: those after after_id, */
    char *after_id, *before_id; /* or the last ones before before_id; NULL: not given, at most one is */
    uint32_t limit;

    char *agent;               /* AGENT */
    enum msg_query_kind query; /* AGENT, AGENTS, CACHE ... */

    char *fault; /* FAULT */
    int64_t fault_times, fault_arg;
};

struct request *request_new(
    enum request_verb verb); /* zeroed, drain_timeout_ns and hold_ns -1, wait true, NORMAL; NULL: no memory */
/* One with the same words, for another answer to them: without node, more and n_choices. INFER only. NULL: no memory. */
struct request *request_clone(const struct request *r);
void request_free(struct request *r); /* NULL is fine */
void request_freep(struct request **r);

#endif
