/* moves.c - streams that lost their seat: parked by a swap, made way as background, or their process died. They go back to the head of
 * their model's queue (background: behind all others) with the tokens generated so far, and are fed those again when their model returns.
 *
 * Deaths are counted, because one request may be what kills the engine. A stream that brought no new token since it was last
 * submitted counts a death; at the second one it ends. When a death was counted nobody knows yet whose fault it was: the
 * survivors then go on one at a time, each alone among those that have not moved, until each has brought a token. Those that
 * have lost a life go first, while the seat is empty: else a neighbour that brings a token each time and then ends the
 * process would take a long prefill's second life too.
 *
 * Background that the seat has parked, for another one needs its cells, is not given back to it before one that is not background has left
 * the seat: it would stand there with nothing to do. Nor is background tried after a death while others are there: they would wait for it. */
#include "base/log.h"
#include "base/must.h"
#include "front/front_impl.h"

#define DEATHS_MAX 2

void moves_parked(struct front *f, struct stream *t) {
    if (t->ended) {
        stream_end(f, t);
        return;
    }
    t->waits_since_ns = f->now_ns;
    t->next_waiting_ns = f->now_ns + WAITING_FIRST_NS;
    metrics_add(f->metrics, METRIC_STREAMS_PARKED, 1);
    if (swap_busy(&f->swap)) f->swap.record.parked++;
    t->must_move = t->must_move || t->deaths;
    stream_push(f, t);
}

void moves_seat_died(struct front *f) {
    bool counted = false;
    LIST_EACH(&f->running, struct stream, node, t) {
        if (!t->ended && !t->moved) counted = true;
    }
    LIST_EACH(&f->running, struct stream, node, t) {
        list_remove(&f->running, &t->node);
        t->model->running--;
        t->running = false;
        t->served_ns += f->now_ns - t->submitted_ns;
        if (t->ended) {
            stream_end(f, t);
            continue;
        }
        if (!t->moved) t->deaths++;
        t->must_move = t->must_move || counted || t->deaths;
        t->waits_since_ns = f->now_ns;
        t->next_waiting_ns = f->now_ns + WAITING_FIRST_NS;
        stream_push(f, t);
        if (t->deaths < DEATHS_MAX) continue;
        log_warn("stream.lost", "stream=%llu request=%s deaths=%u", (unsigned long long)t->id,
                 log_q(t->request->request_id ? t->request->request_id : ""), t->deaths);
        metrics_add(f->metrics, METRIC_STREAMS_LOST, 1);
        stream_fail(f, t, ERR_ENGINE_DIED, 0, NULL);
    }
}

void moves_made_way(const struct front *f, struct stream *t) {
    if (is_background(t) && !swap_busy(&f->swap)) t->waits_until_left = t->model->n_left + 1;
}

/* Is any that is not background in the seat, or waiting (before those that are)? */
static bool others_are_there(struct front *f, struct model *m) {
    LIST_EACH(&f->running, struct stream, node, r) {
        if (!r->ended && !is_background(r)) return true;
    }
    struct stream *first = LIST_ENTRY(list_first(&m->waiting), struct stream, node);
    return first && !is_background(first);
}

struct stream *moves_next(struct front *f, struct model *m) {
    LIST_EACH(&f->running, struct stream, node, r) {
        if (r->must_move && !r->ended) return NULL; /* one of them is being tried */
    }
    bool others = others_are_there(f, m);
    struct stream *first = NULL, *tried = NULL;
    LIST_EACH(&m->waiting, struct stream, node, w) {
        if (others && is_background(w) && (w->must_move || w->waits_until_left > m->n_left)) continue;
        if (!first) first = w;
        if (w->must_move && (!tried || w->deaths > tried->deaths)) tried = w;
    }
    return tried ? tried : first;
}
