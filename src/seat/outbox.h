/* outbox.h - frames from the engine and disk threads to the link thread, which alone writes the socket. A send encodes
 * at once and never waits. A seat that can't say what it did (no memory, a front that has not read for MAILBOX_MAIL_MAX
 * frames) is of no use to anybody: it logs the reason and ends the process; the front resubmits what ran.
 * Thread: outbox_send() any; the rest the link thread. */
#ifndef HOTSEAT_SEAT_OUTBOX_H
#define HOTSEAT_SEAT_OUTBOX_H

#include <stdbool.h>

#include "base/buf.h"
#include "link/messages.h"

struct outbox;

enum err outbox_open(struct outbox **ret) NODISCARD;
void outbox_free(struct outbox *o);
void outbox_send(struct outbox *o, const struct msg *m); /* borrows m */
/* After what was sent so far has left through the socket, the process ends with status 0. */
void outbox_send_exit(struct outbox *o);
int outbox_fd(const struct outbox *o);
/* The next frame, NULL when there is none; *ret_exit: no frame, but the wish to end. Caller frees with outbox_frame_free(). */
struct buf *outbox_take(struct outbox *o, bool *ret_exit);
void outbox_frame_free(struct buf *frame);

/* Short forms of what several files say. text NULL: err_text(err). */
void outbox_op_failed(struct outbox *o, uint64_t op, enum err err, const char *text);
void outbox_failed(struct outbox *o, uint64_t request, enum err err, const char *text);
/* Borrows both; param: what of the request was wrong, or NULL. */
struct msg outbox_failed_msg(uint64_t request, enum err err, const char *text, const char *param);
void outbox_reply(struct outbox *o, uint64_t op, enum err err, const char *text, const struct buf *json);

#endif
