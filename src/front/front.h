/* front.h - the control thread: it owns the registry, the queues, the turns, the swap and the seat process.
 * Everything else posts requests to it and gets replies from it, as data. front_open() -> front_start() ->
 * ... front_post() ... -> front_stop() (drains, saves) -> front_free() Thread: front_post() and
 * front_health() any; the rest the main thread. */
#ifndef HOTSEAT_FRONT_FRONT_H
#define HOTSEAT_FRONT_FRONT_H

#include "front/config.h"
#include "front/reply.h"
#include "front/request.h"

struct front;
struct metrics; /* front/metrics.h: http counts its own figures there */

/* Called on the control thread, must not block; takes the reply over (ERR_QUEUE_FULL: the front ends the
 * request). */
struct front_sink {
    enum err (*post)(void *ctx, struct reply *reply);
    void *ctx;
};

/* Locks the cache folder, scans the models once. why: for people, with the place. ERR_LOCKED (another
 * server's cache folder), ERR_IO (no folder), ERR_NOT_FOUND (no seat program): the start fails. A cache
 * folder that is read-only or on a full disk is a loud warning, and the cache is off. config stays the
 * caller's and outlives the front. */
enum err front_open(struct config *config, const struct front_sink *sink, struct front **ret, char *why,
                    size_t why_size) NODISCARD;
enum err
front_start(struct front *f) NODISCARD; /* starts the control thread and the first seat; returns at once */
/* Takes request over on OK; its replies follow through the sink, the last one with reply.last set, exactly
 * once. ERR_QUEUE_FULL: the caller still owns it. */
enum err front_post(struct front *f, struct request *request) NODISCARD;
void front_cancel(struct front *f,
                  uint64_t client); /* the client of that request has left; any thread; never fails */
void front_reload(struct front *f); /* SIGHUP */
void front_stop(struct front *f);   /* SIGTERM: streams end or park, caches durable; waits for it */
void front_free(struct front *f);

enum front_readiness {
    FRONT_READY,
    FRONT_EMPTY,
    FRONT_LOADING,
    FRONT_SWAPPING,
    FRONT_FAILED,
    FRONT_STOPPING
};
enum front_readiness front_readiness(const struct front *f); /* any thread, one atomic load */
struct metrics *front_metrics(struct front *f);
enum err front_metrics_text(const struct front *f,
                            struct buf *out) NODISCARD; /* Prometheus text; any thread, atomics only */

#endif
