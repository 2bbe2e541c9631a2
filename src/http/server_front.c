/* server_front.c - the real front behind struct server_front. In a file of its own so that the unit tests of the server
 * need no front. */
#include "http/server.h"

static enum err post(void *front, struct request *request) {
    return front_post(front, request);
}

static void cancel(void *front, uint64_t client) {
    front_cancel(front, client);
}

static enum front_readiness readiness(void *front) {
    return front_readiness(front);
}

static enum err metrics_text(void *front, struct buf *out) {
    return front_metrics_text(front, out);
}

void server_attach(struct server *s, struct front *front) {
    server_attach_to(s, &(struct server_front){.front = front,
                                               .post = post,
                                               .cancel = cancel,
                                               .readiness = readiness,
                                               .metrics_text = metrics_text});
}
