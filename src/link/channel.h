/* channel.h - messages over a connected stream socket that never block: what front and seat both hold one end of.
 * The owner's event loop waits for channel_fd(): readable -> channel_receive() until it gives no message; writable, while
 * channel_wants_write() -> channel_flush().
 *   OPEN --the other side closes, an error, a bad frame--> BROKEN, each direction by itself: its calls say the same again
 *   any  --channel_free()--> gone, the socket closed
 * A SIGPIPE never comes of it. Thread: one. */
#ifndef HOTSEAT_LINK_CHANNEL_H
#define HOTSEAT_LINK_CHANNEL_H

#include <stdbool.h>

#include "base/limits.h"
#include "link/messages.h"

#define CHANNEL_OUT_BYTES_MAX (2 * FRAME_BYTES_MAX) /* unsent: the longest frame and as much again */

struct channel; /* opaque */

/* Takes fd over on OK only, makes it non-blocking and closed on exec. ERR_NOMEM, ERR_IO. */
enum err channel_open(int fd, struct channel **ret) NODISCARD;
void channel_free(struct channel *c); /* closes; what was not sent is lost. NULL is fine */

/* Queues one message; nothing is sent before channel_flush(). The message is borrowed. ERR_LIMIT: the other side does not
 * read, or the frame is too long; ERR_NOMEM; after both the channel goes on without this message. ERR_EOF, ERR_IO: broken. */
enum err channel_send(struct channel *c, const struct msg *m) NODISCARD;
/* The same for one whole frame that msg_encode() made on another thread. */
enum err channel_send_frame(struct channel *c, const void *frame, size_t size_bytes) NODISCARD;
/* Sends what the socket takes now. OK also when some is left (channel_wants_write). ERR_EOF, ERR_IO. */
enum err channel_flush(struct channel *c) NODISCARD;
bool channel_wants_write(const struct channel *c);

/* The next message: OK and its type, the caller ends it with msg_free(). OK and MSG_NONE: nothing yet, wait until fd is
 * readable. ERR_EOF: the other side has closed and every whole message was given. ERR_PROTOCOL: it talks nonsense.
 * ERR_IO. ERR_NOMEM: the message is still there, ask again. */
enum err channel_receive(struct channel *c, struct msg *ret) NODISCARD;

int channel_fd(const struct channel *c);

#endif
