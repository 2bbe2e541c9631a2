#include "front/request.h"

#include "base/mem.h"

struct request *request_new(enum request_verb verb) {
    struct request *r = mem_alloc(sizeof *r);
    if (!r) return NULL;
    r->verb = verb;
    r->drain_timeout_ns = -1;
    r->hold_ns = -1;
    r->wait = true;
    r->priority = PRIORITY_NORMAL;
    return r;
}

const char *request_priority_name(enum request_priority p) {
    static const char *const NAMES[PRIORITY_COUNT] = {"background", "normal", "interactive"};
    return NAMES[p];
}

void request_free(struct request *r) {
    if (!r) return;
    struct msg m = {.type = MSG_TYPE_SUBMIT, .submit = r->submit};
    msg_free(&m);
    mem_free(r->request_id);
    mem_free(r->model);
    mem_free(r->after_id);
    mem_free(r->before_id);
    mem_free(r->agent);
    mem_free(r->fault);
    mem_free(r);
}

void request_freep(struct request **r) {
    request_free(*r);
}
