/* worker.h - the parse thread: bodies in, requests out. JSON is read here, so that a body of 8 MB (some 0.2 s) holds up
 * nobody's stream. Thread: worker_post() and worker_take() the net thread; the reading its own. */
#ifndef HOTSEAT_HTTP_WORKER_H
#define HOTSEAT_HTTP_WORKER_H

#include "http/api.h"

struct worker_job { /* owns everything */
    uint64_t client;
    struct api_input input; /* body and headers point into what is below */
    struct buf body;
    char *headers[3];
    struct api_parsed parsed; /* the result */
};

struct worker;

enum err worker_open(size_t jobs_max, struct worker **ret) NODISCARD; /* starts the thread */
void worker_free(struct worker *w); /* ends it; jobs that wait are dropped */
/* Takes body's memory over on OK. ERR_QUEUE_FULL, ERR_NOMEM: nothing was taken. */
enum err worker_post(struct worker *w, uint64_t client, const struct api_input *input,
                     struct buf *body) NODISCARD;
struct worker_job *worker_take(struct worker *w); /* a finished one, NULL: none; worker_job_free() */
void worker_job_free(struct worker_job *job);
int worker_fd(const struct worker *w); /* readable while worker_take() has something */

#endif
