#include "http/worker.h"

#include <pthread.h>

#include "base/mailbox.h"
#include "base/mem.h"
#include "base/must.h"

struct worker {
    struct mailbox *jobs, *done;
    pthread_t thread;
    bool started;
    struct worker_job stop; /* this address in the mailbox ends the thread */
};

void worker_job_free(struct worker_job *job) {
    if (!job) return;
    api_parsed_free(&job->parsed);
    buf_free(&job->body);
    for (size_t i = 0; i < ARRAY_LEN(job->headers); i++) mem_free(job->headers[i]);
    mem_free(job);
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    for (;;) {
        struct worker_job *job = mailbox_take(w->jobs, -1);
        if (!job) continue;
        if (job == &w->stop) return NULL;
        switch ((int)job->input.route) {
        case ROUTE_CHAT:
        case ROUTE_COMPLETIONS: api_openai_read(&job->input, &job->parsed); break;
        case ROUTE_MESSAGES:
        case ROUTE_COUNT_TOKENS: api_anthropic_read(&job->input, &job->parsed); break;
        case ROUTE_TOKENIZE:
        case ROUTE_DETOKENIZE:
        case ROUTE_APPLY_TEMPLATE: api_llama_read(&job->input, &job->parsed); break;
        default: api_admin_read(&job->input, &job->parsed); break;
        }
        buf_free(&job->body);
        must(mailbox_post(w->done, job) == ERR_OK); /* as large as the sum of those that can be under way */
    }
}

enum err worker_open(size_t jobs_max, struct worker **ret) {
    struct worker *w = mem_alloc(sizeof *w);
    if (!w) return ERR_NOMEM;
    enum err err = mailbox_open(jobs_max + 1, &w->jobs);
    if (!err) err = mailbox_open(3 * jobs_max + 2, &w->done);
    if (!err && pthread_create(&w->thread, NULL, worker_main, w) != 0) err = ERR_NOMEM;
    w->started = err == ERR_OK;
    if (err) {
        worker_free(w);
        return err;
    }
    *ret = w;
    return ERR_OK;
}

static void drop_all(struct worker *w, struct mailbox *mb) {
    struct worker_job *job;
    while ((job = mailbox_take(mb, 0)))
        if (job != &w->stop) worker_job_free(job);
}

void worker_free(struct worker *w) {
    if (!w) return;
    if (w->started) {
        if (w->jobs) drop_all(w, w->jobs); /* makes room, and spares work that nobody waits for */
        must(mailbox_post(w->jobs, &w->stop) == ERR_OK);
        (void)pthread_join(w->thread, NULL);
    }
    if (w->jobs) drop_all(w, w->jobs);
    if (w->done) drop_all(w, w->done);
    mailbox_free(w->jobs);
    mailbox_free(w->done);
    mem_free(w);
}

static bool copy_headers(struct worker_job *job) {
    const char **from[] = {&job->input.agent_header, &job->input.priority_header, &job->input.timeout_header};
    for (size_t i = 0; i < ARRAY_LEN(from); i++) {
        job->headers[i] = mem_strdup(*from[i]);
        if (*from[i] && !job->headers[i]) return false;
        *from[i] = job->headers[i];
    }
    return true;
}

enum err worker_post(struct worker *w, uint64_t client, const struct api_input *input, struct buf *body) {
    struct worker_job *job = mem_alloc(sizeof *job);
    if (!job) return ERR_NOMEM;
    job->client = client;
    job->input = *input;
    if (!copy_headers(job)) {
        worker_job_free(job);
        return ERR_NOMEM;
    }
    job->body = *body;
    job->input.body = body->data;
    job->input.body_size = body->size;
    enum err err = mailbox_post(w->jobs, job);
    if (err) {
        job->body = (struct buf){0};
        worker_job_free(job);
        return err;
    }
    *body = (struct buf){.cap = body->cap};
    return ERR_OK;
}

struct worker_job *worker_take(struct worker *w) {
    return mailbox_take(w->done, 0);
}

int worker_fd(const struct worker *w) {
    return mailbox_fd(w->done);
}
