/* frame.h - length-prefixed frames on a stream socket. Pure encode and decode: no I/O here.
 *   bytes 0-3  payload size (u32 LE, at most FRAME_BYTES_MAX)   4-5 LINK_VERSION   6-7 message type   8- payload
 * Thread: a reader belongs to one thread. */
#ifndef HOTSEAT_LINK_FRAME_H
#define HOTSEAT_LINK_FRAME_H

#include "base/buf.h"

#define LINK_VERSION 4
#define FRAME_HEADER_BYTES 8

/* Looks at the bytes received so far. OK: *ret_size is the whole frame's size (header too), all of it is there.
 * ERR_EOF: more bytes are needed. ERR_PROTOCOL: size or version is wrong, the link is unusable. */
enum err frame_peek(const uint8_t *data, size_t size_bytes, size_t *ret_size, uint16_t *ret_type) NODISCARD;
/* Begins a frame in out; returns where its header is, for frame_end(), which fills the size in. */
size_t frame_begin(struct buf *out, uint16_t type);
enum err frame_end(struct buf *out,
                   size_t begin) NODISCARD; /* buf's error, or ERR_LIMIT past FRAME_BYTES_MAX */

#endif
