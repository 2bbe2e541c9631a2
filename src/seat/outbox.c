#include "seat/outbox.h"

#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/mem.h"

struct outbox {
    struct mailbox *box;
    struct buf exit_mark; /* its address is the mail */
};

enum err outbox_open(struct outbox **ret) {
    struct outbox *o = mem_alloc(sizeof *o);
    if (!o) return ERR_NOMEM;
    enum err err = mailbox_open(MAILBOX_MAIL_MAX, &o->box);
    if (err) {
        mem_free(o);
        return err;
    }
    *ret = o;
    return ERR_OK;
}

void outbox_free(struct outbox *o) {
    if (!o) return;
    bool ends = false;
    for (struct buf *frame = outbox_take(o, &ends); frame; frame = outbox_take(o, &ends))
        outbox_frame_free(frame);
    mailbox_free(o->box);
    mem_free(o);
}

static NORETURN void outbox_lost(enum err err, const char *what) {
    log_error("seat.outbox", "frame=%s err=%s", what, err_name(err));
    _Exit(1);
}

void outbox_send(struct outbox *o, const struct msg *m) {
    struct buf *frame = mem_alloc(sizeof *frame);
    if (!frame) outbox_lost(ERR_NOMEM, msg_type_name(m->type));
    enum err err = msg_encode(m, frame);
    if (!err) err = mailbox_post(o->box, frame);
    if (err) outbox_lost(err, msg_type_name(m->type));
}

void outbox_send_exit(struct outbox *o) {
    enum err err = mailbox_post(o->box, &o->exit_mark);
    if (err) outbox_lost(err, "exit");
}

int outbox_fd(const struct outbox *o) {
    return mailbox_fd(o->box);
}

struct buf *outbox_take(struct outbox *o, bool *ret_exit) {
    struct buf *frame = mailbox_take(o->box, 0);
    *ret_exit = frame == &o->exit_mark;
    return *ret_exit ? NULL : frame;
}

void outbox_frame_free(struct buf *frame) {
    buf_free(frame);
    mem_free(frame);
}

/* Encoding only borrows: a const text may stand in a message for as long as it takes. */
static char *borrow(const char *s) {
    return (char *)(uintptr_t)s;
}

void outbox_op_failed(struct outbox *o, uint64_t op, enum err err, const char *text) {
    struct msg m = {.type = MSG_TYPE_OP_FAILED,
                    .op_failed = {.op = op, .err = err, .text = borrow(text ? text : err_text(err))}};
    outbox_send(o, &m);
}

struct msg outbox_failed_msg(uint64_t request, enum err err, const char *text, const char *param) {
    return (struct msg){.type = MSG_TYPE_FAILED,
                        .failed = {.request = request,
                                   .err = err,
                                   .text = borrow(text ? text : err_text(err)),
                                   .param = borrow(param)}};
}

void outbox_failed(struct outbox *o, uint64_t request, enum err err, const char *text) {
    struct msg m = outbox_failed_msg(request, err, text, NULL);
    outbox_send(o, &m);
}

void outbox_reply(struct outbox *o, uint64_t op, enum err err, const char *text, const struct buf *json) {
    struct msg m = {.type = MSG_TYPE_REPLY,
                    .reply = {.op = op,
                              .err = err,
                              .text = borrow(text  ? text
                                             : err ? err_text(err)
                                                   : "")}};
    if (json) m.reply.json = (struct msg_bytes){.data = json->data, .size = (uint32_t)json->size};
    outbox_send(o, &m);
}
