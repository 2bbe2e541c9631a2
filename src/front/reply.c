#include "front/reply.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

struct reply *reply_new(uint64_t client, enum reply_kind kind) {
    struct reply *r = mem_alloc(sizeof *r);
    if (!r) return NULL;
    r->client = client;
    r->kind = kind;
    r->last = kind == REPLY_DONE || kind == REPLY_ERROR || kind == REPLY_JSON;
    return r;
}

struct reply *reply_error(uint64_t client, enum err err, const char *fmt, ...) {
    char text[1024];
    struct reply *r = reply_new(client, REPLY_ERROR);
    if (!r) return NULL;
    r->err = err;
    if (fmt) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(text, sizeof text, fmt, args);
        va_end(args);
        r->error_text = mem_strdup(text); /* without memory err_text(err) stands in */
    }
    return r;
}

void reply_free(struct reply *r) {
    if (!r) return;
    struct msg done = {.type = MSG_TYPE_DONE, .done = r->done};
    msg_free(&done);
    mem_free(r->text.data);
    mem_free(r->reasoning.data);
    mem_free(r->tool_calls.data);
    mem_free(r->stop.data);
    mem_free(r->logprobs.data);
    mem_free(r->shown.ids);
    mem_free(r->model);
    mem_free(r->agent);
    mem_free(r->error_text);
    mem_free(r->param);
    mem_free(r->details);
    mem_free(r->event);
    mem_free(r->body);
    mem_free(r);
}
