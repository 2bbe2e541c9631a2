/* mailbox.h - a bounded queue of pointers between threads: many post, one takes. The only thing threads share.
 * A post never blocks: a full mailbox is ERR_QUEUE_FULL, and the poster keeps the mail.
 * The taker either blocks in mailbox_take() or polls mailbox_fd(). */
#ifndef HOTSEAT_BASE_MAILBOX_H
#define HOTSEAT_BASE_MAILBOX_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

struct mailbox;

enum err mailbox_open(size_t capacity, struct mailbox **ret) NODISCARD; /* ERR_NOMEM, ERR_IO */
void mailbox_free(struct mailbox *mb); /* NULL is fine; must be empty or its mail is lost */
enum err mailbox_post(struct mailbox *mb, void *mail) NODISCARD; /* any thread; ERR_QUEUE_FULL */
/* The taker's thread. timeout_ns < 0 waits for ever, 0 does not wait. NULL: nothing came. */
void *mailbox_take(struct mailbox *mb, int64_t timeout_ns);
/* Readable while mail waits (eventfd; a pipe where there is none). A take that empties the box clears it. */
int mailbox_fd(const struct mailbox *mb);
size_t mailbox_count(const struct mailbox *mb);

#endif
