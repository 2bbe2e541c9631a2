/* reply.h - what the front says to a request's client, as data; http makes bytes of it. Owned by the sink
 * after post. */
#ifndef HOTSEAT_FRONT_REPLY_H
#define HOTSEAT_FRONT_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "link/messages.h"

enum reply_kind {
    REPLY_WAITING, /* the request waits: model, position, eta_ms. At most every 5 s; the first after 1 s */
    REPLY_ENTERED, /* the request is in the seat: prompt_tokens, cached_tokens */
    REPLY_DELTA,   /* text, reasoning, tool_calls, logprobs and shown; logprobs may come alone */
    REPLY_DONE,    /* finish and figures. last */
    REPLY_ERROR,   /* err, text, param, retry_after_s, details. last */
    REPLY_JSON,    /* http_status, body. last */
    REPLY_EVENT    /* one admin event: event name and JSON body */
};

struct reply {
    uint64_t client;
    enum reply_kind kind;
    bool last;
    char *model;     /* the id that answers (after aliases) */
    uint32_t choice; /* which of the request's answers it is about; the DONE of one need not be the last */
    /* WAITING */
    uint32_t position; /* 1: next */
    int64_t eta_ms;
    /* DELTA */
    struct msg_bytes text, reasoning, tool_calls, logprobs;
    struct msg_tokens shown; /* link/token_probs.h */
    /* DONE */
    struct msg_done done;  /* strings owned */
    struct msg_bytes stop; /* the stop string that ended it; empty: none */
    char *agent;
    int64_t queue_ns, swap_ns;
    bool debug;
    /* ERROR */
    enum err err;
    char *error_text;       /* NULL: err_text(err) */
    char *param;            /* NULL: none */
    uint32_t retry_after_s; /* 0: none */
    char *details;          /* NULL or further members for the error object, as JSON without braces:
                               "\"needed_bytes\":1" */
    /* JSON, EVENT */
    int http_status;
    char *event;
    char *body;
};

struct reply *reply_new(uint64_t client, enum reply_kind kind); /* NULL: no memory */
struct reply *reply_error(uint64_t client, enum err err, const char *fmt, ...) PRINTF_LIKE(3, 4);
void reply_free(struct reply *r);

#endif
