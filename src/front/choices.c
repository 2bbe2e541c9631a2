/* choices.c - a request with several answers (n, several prompts): one stream for each, in a ring of siblings. Each runs, is
 * parked and moves by itself; together they have one last reply.
 *   ONE PROMPT, ONCE   the further answers to a prompt are born when the first one has entered the seat, with the very tokens of its
 *                      prompt: they take its blocks over (seat/follow.c) instead of reading it too.
 *   NOBODY'S           only the first answer belongs to the request's agent: its conversation goes on from that one.
 *   TOGETHER           what ends one of them before it is done ends all. Those in a queue are marked, and freed in the loop's next
 *                      round: whoever ends one may be walking through that very queue. */
#include "base/mem.h"
#include "base/must.h"
#include "front/front_impl.h"

static uint64_t answers_of(const struct request *q) {
    return (uint64_t)(1 + q->n_more) * (q->n_choices ? q->n_choices : 1);
}

uint64_t choices_bytes(const struct request *q) {
    uint64_t bytes = dispatch_bytes(q) * answers_of(q);
    for (uint32_t i = 0; i < q->n_more; i++)
        bytes += (q->more[i].text.size + (uint64_t)q->more[i].ids.n * sizeof *q->more[i].ids.ids) *
                 (q->n_choices ? q->n_choices : 1);
    return bytes;
}

static void join(struct stream *t, struct stream *sibling) {
    must(sibling->sibling == sibling);
    sibling->sibling = t->sibling;
    t->sibling = sibling;
}

void choices_leave(struct stream *t) {
    struct stream *before = t;
    while (before->sibling != t) before = before->sibling;
    before->sibling = t->sibling;
    t->sibling = t;
}

bool choices_is_last(const struct stream *t) {
    for (const struct stream *s = t->sibling; s != t; s = s->sibling)
        if (!s->ended) return false;
    return t->unborn == 0;
}

void choices_begin(struct stream *t) {
    t->begun = true;
    for (struct stream *s = t->sibling; s != t; s = s->sibling) s->begun = true;
}

/* The first one that waits, if none runs. */
bool choices_speaks(const struct stream *t) {
    for (const struct stream *s = t->sibling; s != t; s = s->sibling)
        if (!s->ended && (s->running || s->choice < t->choice)) return false;
    return true;
}

void choices_end_others(struct front *f, struct stream *t) {
    t->unborn = 0;
    for (struct stream *s = t->sibling; s != t; s = s->sibling) {
        if (s->ended) continue;
        s->ended = true;
        s->unborn = 0;
        if (s->running)
            dispatch_tell_cancel(f, s);
        else
            f->sweep = true;
    }
}

void choices_sweep(struct front *f) {
    f->sweep = false;
    for (uint32_t i = 0; i < registry_count(f->registry); i++) {
        LIST_EACH(&registry_at(f->registry, i)->waiting, struct stream, node, t) {
            if (t->ended) stream_end(f, t);
        }
    }
}

/* Another stream for the same client, in the ring and in its queue. NULL: no memory. */
static struct stream *add(struct front *f, struct stream *t, uint32_t choice) {
    struct request *q = request_clone(t->request);
    struct stream *s = q ? stream_new(f, q, t->model) : NULL;
    if (!s) {
        request_free(q);
        return NULL;
    }
    q->submit.agent[0] = '\0'; /* NOBODY'S */
    s->choice = choice;
    join(t, s);
    return s;
}

bool choices_bear(struct front *f, struct stream *t) {
    for (uint32_t i = 1; t->unborn > 0; i++, t->unborn--) {
        struct stream *s = add(f, t, t->choice + i);
        if (!s) return false;
        s->request->submit.seed += i;
        s->begun = true;
        s->due_ns = t->due_ns;
        stream_push(f, s);
    }
    f->requests_bytes -= t->reserved_bytes;
    t->reserved_bytes = 0;
    return true;
}

/* Room for those to come, so that they are not refused when their time has come. */
static void expect(struct front *f, struct stream *t, uint32_t n) {
    t->unborn = n - 1;
    t->reserved_bytes = t->unborn * dispatch_bytes(t->request);
    f->requests_bytes += t->reserved_bytes;
}

bool choices_open(struct front *f, struct stream *t) {
    struct request *q = t->request;
    uint32_t n = q->n_choices ? q->n_choices : 1;
    expect(f, t, n);
    for (uint32_t i = 0; i < q->n_more; i++) {
        struct stream *s = add(f, t, (i + 1) * n);
        if (!s) return false;
        stream_take_prompt(f, s, &q->more[i]);
        expect(f, s, n);
        stream_push(f, s);
    }
    return true;
}
