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

static bool copy_string(char *const *from, char **to) {
    *to = mem_strdup(*from);
    return *to || !*from;
}

/* By way of the wire's form: it has every field, also those to come. */
static bool copy_submit(const struct msg_submit *from, struct msg_submit *to) {
    struct buf frame = BUF(0);
    struct msg m = {.type = MSG_TYPE_SUBMIT, .submit = *from};
    bool ok = msg_encode(&m, &frame) == ERR_OK && msg_decode(frame.data, frame.size, &m) == ERR_OK;
    if (ok) *to = m.submit;
    buf_free(&frame);
    return ok;
}

struct request *request_clone(const struct request *r) {
    struct request *c = request_new(r->verb);
    if (!c) return NULL;
    c->client = r->client;
    c->stream = r->stream;
    c->arrived_ns = r->arrived_ns;
    c->seed_given = true; /* drawn by now */
    c->include_usage = r->include_usage;
    c->priority = r->priority;
    c->timeout_ns = r->timeout_ns;
    if (copy_string(&r->request_id, &c->request_id) && copy_string(&r->model, &c->model) &&
        copy_submit(&r->submit, &c->submit))
        return c;
    request_free(c);
    return NULL;
}

void request_free(struct request *r) {
    if (!r) return;
    struct msg m = {.type = MSG_TYPE_SUBMIT, .submit = r->submit};
    msg_free(&m);
    for (uint32_t i = 0; i < r->n_more; i++) {
        mem_free(r->more[i].text.data);
        mem_free(r->more[i].ids.ids);
    }
    mem_free(r->more);
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
