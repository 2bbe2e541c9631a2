/* server.h - the HTTP server as the program sees it: a socket, a net thread, a parse thread, and the front behind them.
 *   server_open() -> server_sink() for front_open() -> server_attach() -> server_start()
 *   ... front_stop() -> server_stop() -> front_free(), server_free() (in any order)
 * The socket listens from server_open() on: clients that come before server_start() wait in the kernel's queue.
 * Stopping: front_stop() first, so that every request gets its last reply (until front_free(), front_post() answers
 * ERR_STOPPING); then server_stop() sends what is still in the buffers.
 * Thread: the main thread; the sink's post() any. */
#ifndef HOTSEAT_HTTP_SERVER_H
#define HOTSEAT_HTTP_SERVER_H

#include <stdint.h>

#include "front/config.h"
#include "front/front.h"

struct server;

/* The front as the server uses it; tests put their own here. */
struct server_front {
    void *front;
    enum err (*post)(void *front, struct request *request);
    void (*cancel)(void *front, uint64_t client);
    enum front_readiness (*readiness)(void *front);
    enum err (*metrics_text)(void *front, struct buf *out);
};

/* config must outlive the server. why: one sentence for people. ERR_INVALID (host, port, a key is missing on an
 * address that is not loopback), ERR_IO (the address is taken or
 * not permitted), ERR_NOMEM. */
enum err server_open(const struct config *config, struct server **ret, char *why, size_t why_size) NODISCARD;
struct front_sink server_sink(struct server *s); /* on ERR_QUEUE_FULL the poster keeps the reply */
void server_attach(struct server *s, struct front *front);
void server_attach_to(struct server *s, const struct server_front *front);
uint16_t server_port(const struct server *s);
/* "http://127.0.0.1:8480", with the real port and brackets around an IPv6 address. */
void server_url(const struct server *s, char *out, size_t size_bytes);
enum err server_start(struct server *s) NODISCARD;
/* Takes no more connections, lets open answers end within limit_ns, ends the rest; blocks until it is done. */
void server_stop(struct server *s, int64_t limit_ns);
void server_free(struct server *s); /* NULL is fine; stops it first, with no time for open answers */

#endif
