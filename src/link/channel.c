#include "link/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/must.h"
#include "link/frame.h"

#define READ_BYTES (64u << 10) /* asked for at a time; a stream socket holds about three of them */
#define KEEP_BYTES (1u << 20)  /* a buffer that grew beyond it is given back once it is empty */
#define IN_BYTES_MAX                                                                                         \
    (FRAME_BYTES_MAX + FRAME_HEADER_BYTES + READ_BYTES) /* one frame, and what came with its end */

#if defined(MSG_NOSIGNAL)
#define SEND_FLAGS MSG_NOSIGNAL
#else
#define SEND_FLAGS 0 /* macOS: SO_NOSIGPIPE on the socket */
#endif

struct channel {
    int fd;
    /* The first error of each direction. They are apart because what a dead seat had sent is still read after a send
     * to it has failed. */
    enum err out_err, in_err;
    struct buf out, in;
    size_t out_at,
        in_at; /* bytes at the front that are dealt with: moved away only now and then, so that the */
               /* cost of many small frames stays linear */
};

static enum err set_up(int fd) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return ERR_IO;
#if defined(SO_NOSIGPIPE)
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on) != 0) return ERR_IO;
#endif
    return ERR_OK;
}

enum err channel_open(int fd, struct channel **ret) {
    struct channel *c = mem_alloc(sizeof *c);
    if (!c) return ERR_NOMEM;
    enum err err = set_up(fd);
    if (err) {
        mem_free(c);
        return err;
    }
    c->fd = fd;
    c->out = BUF(CHANNEL_OUT_BYTES_MAX);
    c->in = BUF(IN_BYTES_MAX);
    *ret = c;
    return ERR_OK;
}

void channel_free(struct channel *c) {
    if (!c) return;
    close(c->fd);
    buf_free(&c->out);
    buf_free(&c->in);
    mem_free(c);
}

/* Drops the first *at bytes when they are all there is, or more than half of it. */
static void drop_done(struct buf *b, size_t *at) {
    if (*at < b->size && *at < b->size / 2 + READ_BYTES) return;
    buf_consume(b, *at);
    *at = 0;
    if (b->size == 0 && b->room > KEEP_BYTES) buf_free(b);
}

enum err channel_send(struct channel *c, const struct msg *m) {
    if (c->out_err) return c->out_err;
    drop_done(&c->out, &c->out_at);
    return msg_encode(m, &c->out);
}

enum err channel_send_frame(struct channel *c, const void *frame, size_t size_bytes) {
    if (c->out_err) return c->out_err;
    drop_done(&c->out, &c->out_at);
    size_t before = c->out.size;
    buf_put(&c->out, frame, size_bytes);
    enum err err = c->out.error;
    c->out.size = err ? before : c->out.size;
    c->out.error = ERR_OK;
    return err;
}

enum err channel_flush(struct channel *c) {
    if (c->out_err) return c->out_err;
    while (c->out_at < c->out.size) {
        ssize_t n = send(c->fd, c->out.data + c->out_at, c->out.size - c->out_at, SEND_FLAGS);
        if (n >= 0) {
            c->out_at += (size_t)n;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            break;
        } else if (errno != EINTR) {
            return c->out_err = errno == EPIPE || errno == ECONNRESET ? ERR_EOF : ERR_IO;
        }
    }
    drop_done(&c->out, &c->out_at);
    return ERR_OK;
}

bool channel_wants_write(const struct channel *c) {
    return !c->out_err && c->out_at < c->out.size;
}

/* *ret_size 0: no whole frame is there yet. */
static enum err next_frame(struct channel *c, size_t *ret_size) {
    uint16_t type;
    *ret_size = 0;
    if (c->in_at == c->in.size) return ERR_OK;
    enum err err = frame_peek(c->in.data + c->in_at, c->in.size - c->in_at, ret_size, &type);
    return err == ERR_EOF ? ERR_OK : err;
}

/* *ret_more: bytes came. */
static enum err read_some(struct channel *c, bool *ret_more) {
    *ret_more = false;
    drop_done(&c->in, &c->in_at);
    if (c->in_at > 0 &&
        c->in.size + READ_BYTES > IN_BYTES_MAX) { /* a long frame behind others needs their room */
        buf_consume(&c->in, c->in_at);
        c->in_at = 0;
    }
    uint8_t *to = buf_reserve(&c->in, READ_BYTES);
    if (!to) {
        enum err err = c->in.error;
        c->in.error = ERR_OK; /* what has come is still good */
        return err;
    }
    ssize_t n;
    do n = recv(c->fd, to, READ_BYTES, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        c->in.size += (size_t)n;
        *ret_more = true;
        return ERR_OK;
    }
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return ERR_OK;
    return c->in_err = n == 0 || errno == ECONNRESET ? ERR_EOF : ERR_IO;
}

enum err channel_receive(struct channel *c, struct msg *ret) {
    *ret = (struct msg){.type = MSG_NONE};
    for (bool more = true; more;) {
        size_t size;
        if (c->in_err == ERR_PROTOCOL) return c->in_err;
        enum err err =
            next_frame(c, &size); /* whole frames come first, also when the other side has closed since */
        if (err) return c->in_err = err;
        if (size > 0) {
            err = msg_decode(c->in.data + c->in_at, size, ret);
            if (!err) c->in_at += size;
            if (err == ERR_PROTOCOL) c->in_err = err;
            return err;
        }
        if (c->in_err) return c->in_err;
        err = read_some(c, &more);
        if (err) return err;
    }
    return ERR_OK;
}

int channel_fd(const struct channel *c) {
    return c->fd;
}
