#include "seat/disk_queue.h"

#include <string.h>

#include "base/must.h"

void disk_queue_init(struct disk_queue *q) {
    list_init(&q->jobs);
}

void disk_queue_push(struct disk_queue *q, struct disk_job *job) {
    list_push_back(&q->jobs, &job->node);
}

static bool is_read(const struct disk_job *j) {
    return j->kind == DISK_CHAINS || j->kind == DISK_PLAN || j->kind == DISK_GET || j->kind == DISK_RESIDENTS;
}

static bool is_write(const struct disk_job *j) {
    return j->kind == DISK_PUT || j->kind == DISK_NOTE || j->kind == DISK_UNSAVED;
}

static bool may_be_passed(const struct disk_job *j) {
    if (j->kind == DISK_QUERY)
        return j->msg.query.what == MSG_QUERY_AGENTS || j->msg.query.what == MSG_QUERY_AGENT ||
               j->msg.query.what == MSG_QUERY_CACHE;
    return is_write(j);
}

/* Of a plan's blocks only the tokens are compared: to write one too many first does no harm. */
static bool needs(const struct disk_job *read, const struct disk_job *write) {
    if (!hash128_equal(read->tag, write->tag)) return false;
    if (read->kind == DISK_CHAINS) return write->kind != DISK_PUT && strcmp(read->agent, write->agent) == 0;
    if (read->kind != DISK_PLAN || write->kind != DISK_PUT) return false;
    return write->n_tokens <= read->n_tokens && write->first_pos <= read->n_tokens - write->n_tokens &&
           memcmp(read->tokens + write->first_pos, write->tokens,
                  sizeof write->tokens[0] * write->n_tokens) == 0;
}

static struct disk_job *first_of(struct disk_queue *q, uint64_t owner) {
    LIST_EACH(&q->jobs, struct disk_job, node, j) {
        if (is_write(j) && j->owner == owner) return j;
    }
    return NULL;
}

/* The block that write hangs below, posted before it; NULL: it does not wait here. */
static struct disk_job *parent_of(struct disk_queue *q, const struct disk_job *write) {
    must(write); /* who asks has found it in the queue */
    const struct block_name root = {0}, *name = write->kind == DISK_NOTE ? &write->leaf : &write->parent;
    LIST_EACH(&q->jobs, struct disk_job, node, j) {
        if (j == write || hash128_equal(name->h, root.h)) break;
        if (j->kind == DISK_PUT && hash128_equal(j->name.h, name->h))
            return j; /* the tag is part of the name */
    }
    return NULL;
}

/* BUT ITS OWN: the first write of the sequence that the read waits for, or of one that it hangs below; or the read. */
static struct disk_job *before(struct disk_queue *q, struct disk_job *read) {
    const struct disk_job *needed = NULL;
    LIST_EACH(&q->jobs, struct disk_job, node, j) {
        if (j == read || needed) break;
        if (is_write(j) && needs(read, j)) needed = j;
    }
    if (!needed) return read;
    struct disk_job *first = first_of(q, needed->owner);
    for (struct disk_job *p; (p = parent_of(q, first)) != NULL;) first = first_of(q, p->owner);
    return first;
}

struct disk_job *disk_queue_pop(struct disk_queue *q, bool writes_wait) {
    struct disk_job *first = LIST_ENTRY(list_first(&q->jobs), struct disk_job, node);
    struct disk_job *next = NULL, *look = NULL;
    LIST_EACH(&q->jobs, struct disk_job, node, j) {
        if (is_read(j))
            next = before(q, j);
        else if (!may_be_passed(j))
            next = first;
        else if (!look && !is_write(j))
            look = j;
        if (next) break;
    }
    if (!next) next = writes_wait ? look : first;
    if (next) list_remove(&q->jobs, &next->node);
    return next;
}
