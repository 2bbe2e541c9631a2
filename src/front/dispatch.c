/* dispatch.c - requests for inference: bound to their model when they arrive, waiting in its queue, running in the seat.
 * A stream is in exactly one list; its last reply is sent exactly once (stream_end), whoever ends it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/random.h>
#endif

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "front/front_impl.h"

#define TOKENS_ROOM_MIN 64
#define LATE "not answered within the %.6g s of X-Hotseat-Timeout-S:"
#define NOT_AUTO "%s is not seated and only the admin may swap"

/* ---- streams ---- */

uint64_t dispatch_bytes(const struct request *q) {
    const struct msg_submit *m = &q->submit;
    return (uint64_t)m->messages.size + m->tools.size + m->json_schema.size + m->prompt.size +
           m->logit_bias.size + (uint64_t)m->prompt_ids.n * sizeof *m->prompt_ids.ids;
}

static void stream_free(struct front *f, struct stream *t) {
    f->requests_bytes -= dispatch_bytes(t->request) + t->reserved_bytes;
    metrics_set(f->metrics, METRIC_REQUESTS_BYTES, (int64_t)f->requests_bytes);
    choices_leave(t);
    request_free(t->request);
    mem_free(t->tokens);
    mem_free(t);
}

static void queue_gauges(struct front *f, const struct model *m) {
    metrics_queue_depth(f->metrics, m->id, (int64_t)m->waiting.count);
    metrics_set(f->metrics, METRIC_REQUESTS_WAITING, f->n_waiting);
    metrics_set(f->metrics, METRIC_STREAMS_RUNNING, (int64_t)f->running.count);
}

/* Out of the list it is in. */
static void stream_unlink(struct front *f, struct stream *t) {
    if (t->running) {
        list_remove(&f->running, &t->node);
        t->model->running--;
        if (!is_background(t)) t->model->n_left++;
        t->running = false;
        t->served_ns += f->now_ns - t->submitted_ns;
        if (!f->running.count) swap_on_drained(&f->swap, f->now_ns);
    } else if (list_linked(&t->node)) {
        list_remove(&t->model->waiting, &t->node);
        t->model->queue.known = false;
        f->n_waiting--;
    }
    queue_gauges(f, t->model);
    f->schedule = true;
}

bool is_background(const struct stream *t) {
    return t->request->priority == PRIORITY_BACKGROUND;
}

/* Background stands behind all others. Else whoever has run stands before those that have not: half of its answer is out. */
static bool goes_before(const struct stream *a, const struct stream *b) {
    if (is_background(a) != is_background(b)) return is_background(b);
    if (a->submits && b->submits) return a->id < b->id;
    if (a->submits || b->submits) return a->submits;
    return a->due_ns < b->due_ns;
}

void stream_push(struct front *f, struct stream *t) {
    struct list_node *prev = list_last(&t->model->waiting);
    while (prev && goes_before(t, CONTAINER_OF(prev, struct stream, node)))
        prev = list_prev(&t->model->waiting, prev);
    list_insert_after(&t->model->waiting, &t->node, prev);
    t->model->queue.known = false;
    f->n_waiting++;
    f->schedule = true;
    queue_gauges(f, t->model);
}

void stream_take_prompt(struct front *f, struct stream *t, struct request_prompt *p) {
    struct msg_submit *m = &t->request->submit;
    f->requests_bytes -= dispatch_bytes(t->request);
    mem_free(m->prompt.data);
    mem_free(m->prompt_ids.ids);
    m->kind = p->ids.n ? MSG_KIND_TOKENS : MSG_KIND_TEXT;
    m->prompt = p->text;
    m->prompt_ids = p->ids;
    *p = (struct request_prompt){0};
    f->requests_bytes += dispatch_bytes(t->request);
}

/* COUNTED FIRST: before its last reply, so that who has the answer finds it in the metrics. */
static void count_end(struct front *f, const struct stream *t, enum metric_outcome outcome) {
    if (!t->ended) metrics_request(f->metrics, t->model->id, outcome);
}

/* The last reply is out. A stream that the seat still has stays there until the seat has let go of it. */
void stream_end(struct front *f, struct stream *t) {
    t->ended = true;
    if (t->running) return;
    stream_unlink(f, t);
    stream_free(f, t);
}

void stream_fail(struct front *f, struct stream *t, enum err err, uint32_t retry_s, const char *text) {
    count_end(f, t,
              err == ERR_CANCELED         ? METRIC_OUTCOME_CANCELED
              : err == ERR_TIMEOUT        ? METRIC_OUTCOME_TIMEOUT
              : err == ERR_DRAIN_CANCELED ? METRIC_OUTCOME_SWAP_CANCELED
              : err == ERR_ENGINE_DIED    ? METRIC_OUTCOME_ENGINE_DIED
                                          : METRIC_OUTCOME_ERROR);
    if (!t->ended) {
        struct reply *r = reply_error(t->request->client, err, text ? "%s" : NULL, text);
        if (r) {
            r->retry_after_s = retry_s;
            r->model = mem_strdup(t->model->id);
        }
        (void)front_reply(f, r); /* it is the last one anyway */
        choices_end_others(f, t);
    }
    stream_end(f, t);
}

/* Those that wait for m end; with fresh: only those that have never run. */
static void fail_waiting(struct front *f, struct model *m, bool fresh, enum err err, uint32_t retry_s,
                         const char *details, const char *text) {
    LIST_EACH(&m->waiting, struct stream, node, t) {
        if (t->ended) { /* with a sibling */
            stream_end(f, t);
            continue;
        }
        if (fresh && t->begun) continue;
        count_end(f, t, t->begun ? METRIC_OUTCOME_ERROR : METRIC_OUTCOME_REFUSED);
        front_reply_details(f, t->request, err, retry_s, mem_strdup(details), text);
        choices_end_others(f, t);
        stream_end(f, t);
    }
}

static struct stream *running_find(struct front *f, uint64_t id) {
    LIST_EACH(&f->running, struct stream, node, t) {
        if (t->id == id) return t;
    }
    return NULL;
}

/* ---- arrival ---- */

struct model *dispatch_default_model(struct front *f) {
    struct swap *s = &f->swap;
    struct model *next = swap_next(s); /* who comes next will answer soonest */
    if (next || s->seated) return next ? next : s->seated;
    struct model *last = s->last_seated;
    if (last && last->state != MODEL_GONE && last->state != MODEL_INVALID) return last;
    struct model *m = NULL;
    if (f->config->model && strcmp(f->config->model, "none"))
        m = registry_find(f->registry, f->config->model);
    return m && m->state != MODEL_GONE ? m : registry_first(f->registry);
}

uint32_t retry_after_s(const struct front *f, int64_t at_ns) {
    int64_t left = (at_ns - f->now_ns + NS_PER_S - 1) / NS_PER_S;
    return left < 1 ? 1 : left > 3600 ? 3600 : (uint32_t)left;
}

uint32_t retry_when_cool_s(const struct front *f, const struct model *m) {
    int64_t until_ns = m->cooldown_until_ns;
    if (m->swap_goes_on) until_ns = f->now_ns + swap_eta_ns(&f->swap, f->now_ns) + m->cooldown_ns;
    return retry_after_s(f, until_ns);
}

static struct model *bind(struct front *f, struct request *q) {
    bool named = q->model && *q->model && strcmp(q->model, "default");
    struct model *m = named ? registry_find(f->registry, q->model) : dispatch_default_model(f);
    if (m && m->state != MODEL_GONE) return m;
    models_refuse_unknown(f, q);
    return NULL;
}

/* Until the first of those enters the seat who have to go before there is room: m's own, or, of too many in all, of any model. */
static uint32_t retry_when_room_s(struct front *f, const struct model *m) {
    if (m->waiting.count >= QUEUE_PER_MODEL_MAX) return retry_after_s(f, f->now_ns + turn_eta_ns(f, m, 1));
    int64_t soonest_ns = INT64_MAX;
    for (uint32_t i = 0; i < registry_count(f->registry); i++) {
        const struct model *other = registry_at(f->registry, i);
        int64_t eta_ns = other->waiting.count ? turn_eta_ns(f, other, 1) : INT64_MAX;
        if (eta_ns < soonest_ns) soonest_ns = eta_ns;
    }
    return soonest_ns == INT64_MAX ? RETRY_SHORT_S : retry_after_s(f, f->now_ns + soonest_ns);
}

static bool refuse_if_full(struct front *f, struct request *q, const struct model *m) {
    if (m->waiting.count < QUEUE_PER_MODEL_MAX && f->n_waiting < QUEUE_TOTAL_MAX &&
        f->requests_bytes + choices_bytes(q) <= REQUESTS_BYTES_MAX)
        return false;
    front_reply_error(f, q, ERR_QUEUE_FULL, retry_when_room_s(f, m),
                      "%zu requests wait for %s, %u in all, of %llu MB", m->waiting.count, m->id,
                      f->n_waiting, (unsigned long long)(f->requests_bytes >> 20));
    return true;
}

/* Whether only the admin may bring this model, and has not. An empty seat is filled. */
static bool needs_admin(const struct front *f, const struct model *m) {
    const struct model *next = swap_next(&f->swap);
    return !f->settings.turns.auto_swap && next && m != next;
}

static bool refuse_if_not_auto(struct front *f, struct request *q, const struct model *m) {
    if (!needs_admin(f, m)) return false;
    front_reply_error(f, q, ERR_AUTO_SWAP_OFF, 0, NOT_AUTO, m->id);
    return true;
}

/* Several may have been taken while the seat was empty: one of them fills it. Parked streams wait for the admin. */
void dispatch_refuse_not_auto(struct front *f) {
    for (uint32_t i = 0; i < registry_count(f->registry) && !f->settings.turns.auto_swap; i++) {
        struct model *m = registry_at(f->registry, i);
        char text[320];
        snprintf(text, sizeof text, NOT_AUTO, m->id);
        if (needs_admin(f, m)) fail_waiting(f, m, true, ERR_AUTO_SWAP_OFF, 0, NULL, text);
    }
}

static bool draw_seed(struct request *q) {
    return q->seed_given || !getentropy(&q->submit.seed, sizeof q->submit.seed);
}

struct stream *stream_new(struct front *f, struct request *q, struct model *m) {
    struct stream *t = mem_alloc(sizeof *t);
    if (!t || !draw_seed(q)) {
        mem_free(t);
        return NULL;
    }
    t->sibling = t;
    t->request = q;
    t->model = m;
    t->id = ++f->last_stream;
    f->requests_bytes += dispatch_bytes(q);
    metrics_set(f->metrics, METRIC_REQUESTS_BYTES, (int64_t)f->requests_bytes);
    t->waits_since_ns = f->now_ns;
    t->due_ns = f->now_ns - (int64_t)q->priority * REQUEST_PRIORITY_NS;
    t->deadline_ns = q->timeout_ns ? q->arrived_ns + q->timeout_ns : INT64_MAX;
    if (t->deadline_ns < f->deadline_ns) f->deadline_ns = t->deadline_ns;
    t->next_waiting_ns = f->now_ns + WAITING_FIRST_NS;
    return t;
}

/* It lay in a mailbox for too long: nothing may be begun for it, not even a look at its model. */
static bool refuse_if_late(struct front *f, struct request *q) {
    if (!q->timeout_ns || f->now_ns < q->arrived_ns + q->timeout_ns) return false;
    metrics_request(f->metrics, NULL, METRIC_OUTCOME_TIMEOUT);
    front_reply_error(f, q, ERR_TIMEOUT, 0, LATE " nobody had looked at it yet",
                      (double)q->timeout_ns / (double)NS_PER_S);
    request_free(q);
    return true;
}

void dispatch_request(struct front *f, struct request *q) {
    struct refusal no = {0};
    if (refuse_if_late(f, q)) return;
    if (f->stop) {
        front_reply_error(f, q, ERR_STOPPING, RETRY_SHORT_S, "%s", err_text(ERR_STOPPING));
        request_free(q);
        return;
    }
    struct model *m = bind(f, q);
    bool refused = !m || refuse_if_full(f, q, m) || refuse_if_not_auto(f, q, m);
    if (!refused && validate_model(f, m, &no) == VERDICT_NO) {
        front_reply_details(f, q, no.err, no.retry_after_s, TAKE(no.details), no.text);
        refused = true;
    }
    struct stream *t = refused ? NULL : stream_new(f, q, m);
    if (t) {
        turn_note_arrival(f, m);
        stream_push(f, t);
        if (!choices_open(f, t)) stream_fail(f, t, ERR_NOMEM, RETRY_SHORT_S, NULL);
        return;
    }
    if (!refused) front_reply_error(f, q, ERR_NOMEM, RETRY_SHORT_S, "%s", err_text(ERR_NOMEM));
    metrics_request(f->metrics, m ? m->id : NULL, METRIC_OUTCOME_REFUSED);
    request_free(q);
}

/* ---- into the seat ---- */

static int64_t overlap_ns(int64_t a0, int64_t a1, int64_t b0, int64_t b1) {
    int64_t from = a0 > b0 ? a0 : b0, to = a1 < b1 ? a1 : b1;
    return to > from ? to - from : 0;
}

/* How much of its wait was the swap that brought its model: told apart from waiting for a turn. */
static void note_wait(struct front *f, struct stream *t) {
    int64_t arrived = t->request->arrived_ns ? t->request->arrived_ns : t->waits_since_ns;
    if (t->begun) return;
    if (f->last_swap_to == t->model)
        t->swap_ns = overlap_ns(arrived, f->now_ns, f->last_swap.started_ns, f->last_swap.ended_ns);
    t->queue_ns = f->now_ns - arrived - t->swap_ns;
    if (t->queue_ns < 0) t->queue_ns = 0;
    metrics_observe(f->metrics, METRIC_HISTOGRAM_QUEUE_WAIT, f->now_ns - arrived);
}

static bool submit(struct front *f, struct stream *t) {
    struct msg m = {.type = MSG_TYPE_SUBMIT, .submit = t->request->submit};
    m.submit.request = t->id;
    m.submit.replay = (struct msg_tokens){.ids = t->tokens, .n = t->n_tokens};
    m.submit.say_ids = t->unborn > 0;
    m.submit.background = is_background(t);
    if (t->echoed) m.submit.echo = 0;
    if (!f->config->debug) m.submit.debug = 0;
    if (!seat_send(f, &m)) return false; /* the death of the seat is told elsewhere */
    note_wait(f, t);
    choices_begin(t);
    list_remove(&t->model->waiting, &t->node);
    t->model->queue.known = false;
    f->n_waiting--;
    list_push_back(&f->running, &t->node);
    t->model->running++;
    t->running = true;
    t->moved = t->yields = false;
    t->waits_until_left = 0;
    t->submitted_ns = f->now_ns;
    if (t->submits++) metrics_add(f->metrics, METRIC_STREAMS_RESUBMITTED, 1);
    if (f->running.count == 1) f->seat_progress_ns = f->now_ns;
    queue_gauges(f, t->model);
    log_debug("stream.submit", "stream=%llu request=%s model=%s replay=%u", (unsigned long long)t->id,
              log_q(t->request->request_id ? t->request->request_id : ""), log_q(t->model->id), t->n_tokens);
    return true;
}

void dispatch_tell_cancel(struct front *f, const struct stream *t) {
    struct msg m = {.type = MSG_TYPE_CANCEL, .cancel.request = t->id};
    (void)seat_send(f, &m);
}

/* Whoever waits and is not background gets the place of one that is: the seat lets go of it, and it waits, with what it has said. */
static void make_way(struct front *f, const struct model *m) {
    size_t yielding = 0, wanted = 0;
    LIST_EACH(&m->waiting, struct stream, node, t) {
        if (is_background(t)) break;
        wanted++;
    }
    LIST_EACH(&f->running, struct stream, node, t) {
        yielding += t->yields || t->ended;
    }
    for (struct list_node *n = list_last(&f->running); n && yielding < wanted;
         n = list_prev(&f->running, n)) {
        struct stream *t = CONTAINER_OF(n, struct stream, node);
        if (!is_background(t) || t->yields || t->ended) continue;
        t->yields = true;
        yielding++;
        dispatch_tell_cancel(f, t);
    }
}

void dispatch_streams(struct front *f) {
    struct model *m = f->swap.seated;
    if (f->swap.state != SWAP_SERVING || !m || f->stop > STOP_DRAIN) return;
    while (f->running.count < f->config->parallel) {
        struct stream *t = moves_next(f, m);
        if (!t || !submit(f, t)) return;
    }
    make_way(f, m);
}

/* ---- what the seat says about them ---- */

static struct reply *reply_for(struct stream *t, enum reply_kind kind) {
    struct reply *r = reply_new(t->request->client, kind);
    if (r && !(r->model = mem_strdup(t->model->id))) {
        reply_free(r);
        return NULL;
    }
    if (r) r->choice = t->choice;
    return r;
}

/* The client is too slow, or there was no memory for it: its work ends. */
static void give_up(struct front *f, struct stream *t) {
    metrics_add(f->metrics, METRIC_REPLIES_DROPPED, 1);
    dispatch_tell_cancel(f, t);
    stream_fail(f, t, ERR_QUEUE_FULL, RETRY_SHORT_S, "too many answers wait to be sent");
}

/* A stream that moves is the same stream only if its prompt is the same tokens. */
static void keep_prompt(struct front *f, struct stream *t, struct msg_started *m) {
    struct msg_tokens *ids = &t->request->submit.prompt_ids;
    if (ids->n > 0 || m->prompt_ids.n == 0) return;
    f->requests_bytes -= dispatch_bytes(t->request);
    *ids = m->prompt_ids;
    m->prompt_ids = (struct msg_tokens){0};
    f->requests_bytes += dispatch_bytes(t->request);
}

static void on_started(struct front *f, struct stream *t, struct msg_started *m) {
    metrics_add(f->metrics, METRIC_TOKENS_REUSED, m->cached_tokens);
    t->unread = m->prompt_tokens > m->cached_tokens ? m->prompt_tokens - m->cached_tokens : 0;
    if (t->entered || t->ended) return;
    keep_prompt(f, t, m);
    t->entered = true;
    t->prompt_tokens = m->prompt_tokens;
    t->cached_tokens = m->cached_tokens;
    struct reply *r = reply_for(t, REPLY_ENTERED);
    if (r) {
        r->done.prompt_tokens = m->prompt_tokens;
        r->done.cached_tokens = m->cached_tokens;
    }
    if (!front_reply(f, r)) {
        give_up(f, t);
    } else if (!choices_bear(f, t)) {
        dispatch_tell_cancel(f, t);
        stream_fail(f, t, ERR_NOMEM, RETRY_SHORT_S, NULL);
    }
}

static bool tokens_keep(struct stream *t, const struct msg_tokens *tokens) {
    if (t->n_tokens + tokens->n > t->room) {
        uint32_t room = t->room + t->room / 2 + TOKENS_ROOM_MIN + tokens->n;
        int32_t *grown = mem_realloc(t->tokens, room * sizeof *grown);
        if (!grown) return false;
        t->tokens = grown;
        t->room = room;
    }
    if (tokens->n) memcpy(t->tokens + t->n_tokens, tokens->ids, tokens->n * sizeof *tokens->ids);
    t->n_tokens += tokens->n;
    return true;
}

/* A first token says that the prompt was read, however the stream ends; DONE says how much it was. */
static void count_read(struct front *f, struct stream *t, uint32_t n_tokens) {
    if (t->unread) metrics_add(f->metrics, METRIC_TOKENS_READ, n_tokens);
    t->unread = 0;
}

static void on_delta(struct front *f, struct stream *t, struct msg_delta *m) {
    if (m->tokens.n) count_read(f, t, t->unread);
    if (t->ended) return;
    if (!tokens_keep(t, &m->tokens)) {
        give_up(f, t);
        return;
    }
    if (m->tokens.n) {
        t->moved = true;
        if (t->must_move) f->schedule = true; /* the next survivor may go on */
        t->must_move = false;
        metrics_add(f->metrics, METRIC_TOKENS_GENERATED, m->tokens.n);
        if (!t->first_token_ns) {
            t->first_token_ns = f->now_ns;
            int64_t arrived = t->request->arrived_ns ? t->request->arrived_ns : f->now_ns;
            if (t->choice == 0)
                metrics_observe(f->metrics, METRIC_HISTOGRAM_FIRST_TOKEN, f->now_ns - arrived);
        }
    }
    if (!m->tokens.n && m->text.size) t->echoed = true;
    if (!m->text.size && !m->reasoning.size && !m->tool_calls.size && !m->logprobs.size) return;
    struct reply *r = reply_for(t, REPLY_DELTA);
    if (r) { /* the bytes change hands */
        r->text = m->text;
        r->reasoning = m->reasoning;
        r->tool_calls = m->tool_calls;
        r->logprobs = m->logprobs;
        r->shown = m->shown;
        m->text = m->reasoning = m->tool_calls = m->logprobs = (struct msg_bytes){0};
        m->shown = (struct msg_tokens){0};
    }
    if (!front_reply(f, r)) give_up(f, t);
}

static void name_stop(struct reply *r, const struct msg_strings *stops, uint32_t number) {
    if (number == 0 || number > stops->n) return;
    const struct msg_bytes *stop = &stops->items[number - 1];
    r->stop.data =
        mem_dup(stop->data, stop->size); /* without memory it has no name, but DONE says that there was one */
    r->stop.size = r->stop.data ? stop->size : 0;
}

static void on_done(struct front *f, struct stream *t, struct msg_done *m) {
    stream_unlink(f, t);
    int64_t known_ns = t->model->service_ns;
    if (!t->request->submit.look) /* those take no time: they would make the others' look short */
        t->model->service_ns += known_ns ? (t->served_ns - known_ns) / 8 : t->served_ns;
    count_read(f, t, m->prefill_tokens);
    bool last = choices_is_last(t);
    if (last) count_end(f, t, METRIC_OUTCOME_OK);
    if (!t->ended) {
        struct reply *r = reply_for(t, REPLY_DONE);
        if (r) {
            r->agent = t->request->submit.agent && *t->request->submit.agent
                           ? mem_strdup(t->request->submit.agent)
                           : NULL;
            r->queue_ns = t->queue_ns;
            r->swap_ns = t->swap_ns;
            r->debug = f->config->debug && t->request->submit.debug;
            name_stop(r, &t->request->submit.stops, m->stop);
            r->done = *m;
            *m = (struct msg_done){0}; /* its strings went along */
            if (t->submits > 1)
                r->done.cached_tokens = t->cached_tokens; /* what its own wait was shortened by */
            r->last = last;
        }
        if (!front_reply(f, r) && !last) {
            give_up(f, t);
            return;
        }
    }
    stream_end(f, t);
}

static void on_failed(struct front *f, struct stream *t, const struct msg_failed *m) {
    enum err err = m->err && m->err < ERR_COUNT ? (enum err)m->err : ERR_INTERNAL;
    stream_unlink(f, t);
    if (err == ERR_CANCELED && t->yields && !t->ended) {
        moves_parked(f, t);
        return;
    }
    count_end(f, t, err == ERR_CANCELED ? METRIC_OUTCOME_CANCELED : METRIC_OUTCOME_ERROR);
    if (!t->ended) {
        struct reply *r = reply_error(t->request->client, err, m->text && *m->text ? "%s" : NULL, m->text);
        if (r) {
            if (m->param && *m->param) r->param = mem_strdup(m->param);
            if (err_retryable(err)) r->retry_after_s = RETRY_SHORT_S;
        }
        (void)front_reply(f, r);
        choices_end_others(f, t);
    }
    stream_end(f, t);
}

void dispatch_msg(struct front *f, struct msg *m) {
    uint64_t id = m->type == MSG_TYPE_STARTED  ? m->started.request
                  : m->type == MSG_TYPE_DELTA  ? m->delta.request
                  : m->type == MSG_TYPE_DONE   ? m->done.request
                  : m->type == MSG_TYPE_FAILED ? m->failed.request
                                               : m->parked.request;
    struct stream *t = running_find(f, id);
    f->seat_progress_ns = f->now_ns;
    if (!t) return;
    switch ((int)m->type) { /* int: the caller has picked these */
    case MSG_TYPE_STARTED: on_started(f, t, &m->started); break;
    case MSG_TYPE_DELTA: on_delta(f, t, &m->delta); break;
    case MSG_TYPE_DONE: on_done(f, t, &m->done); break;
    case MSG_TYPE_FAILED: on_failed(f, t, &m->failed); break;
    default:
        stream_unlink(f, t);
        moves_made_way(f, t);
        moves_parked(f, t);
        break;
    }
}

/* ---- leaving early ---- */

static void cancel(struct front *f, struct stream *t) {
    if (t->running) dispatch_tell_cancel(f, t);
    stream_fail(f, t, ERR_CANCELED, 0, NULL);
}

/* True: its time is over. */
static bool end_if_late(struct front *f, struct stream *t) {
    if (t->ended || f->now_ns < t->deadline_ns) return false;
    char text[512];
    snprintf(text, sizeof text, LATE " it %s %s", (double)t->request->timeout_ns / (double)NS_PER_S,
             t->running ? "ran on" : "waited for", t->model->id);
    if (t->running) dispatch_tell_cancel(f, t);
    stream_fail(f, t, ERR_TIMEOUT, 0, text);
    return true;
}

static void look_at_deadlines(struct front *f, const struct list *streams) {
    LIST_EACH(streams, struct stream, node, t) {
        int64_t deadline = t->ended ? INT64_MAX : t->deadline_ns;
        if (!end_if_late(f, t) && deadline < f->deadline_ns) f->deadline_ns = deadline;
    }
}

void dispatch_deadlines(struct front *f) {
    f->deadline_ns = INT64_MAX;
    look_at_deadlines(f, &f->running);
    for (uint32_t i = 0; i < registry_count(f->registry); i++)
        look_at_deadlines(f, &registry_at(f->registry, i)->waiting);
}

bool dispatch_cancel_client(struct front *f, uint64_t client) {
    LIST_EACH(&f->running, struct stream, node, t) {
        if (t->request->client == client) return cancel(f, t), true;
    }
    for (uint32_t i = 0; i < registry_count(f->registry); i++) {
        LIST_EACH(&registry_at(f->registry, i)->waiting, struct stream, node, t) {
            if (t->request->client == client) return cancel(f, t), true;
        }
    }
    return false;
}

void dispatch_cancel(struct front *f, uint64_t client) {
    if (dispatch_cancel_client(f, client) || events_cancel_client(f, client) ||
        query_cancel_client(f, client))
        return;
    (void)turn_cancel_client(f, client);
}

void dispatch_cancel_running(struct front *f) {
    LIST_EACH(&f->running, struct stream, node, t) {
        dispatch_tell_cancel(f, t);
        stream_fail(f, t, ERR_DRAIN_CANCELED, retry_after_s(f, f->now_ns + swap_eta_ns(&f->swap, f->now_ns)),
                    NULL);
    }
}

/* Not now (ERR_NO_SEAT): who has not run may ask again; who was parked can't, half of its answer is out, and waits on. */
void dispatch_fail_queue(struct front *f, struct model *m, enum err err, uint32_t retry_s,
                         const char *details, const char *text) {
    bool not_now = err == ERR_NO_SEAT;
    fail_waiting(f, m, not_now, err, retry_s, details, text);
    if (not_now && m->waiting.count) m->not_before_ns = f->now_ns + (int64_t)retry_s * NS_PER_S;
}

/* ---- signs of life ---- */

void dispatch_waiting(struct front *f) {
    for (uint32_t i = 0; i < registry_count(f->registry); i++) {
        struct model *m = registry_at(f->registry, i);
        uint32_t position = 0;
        LIST_EACH(&m->waiting, struct stream, node, t) {
            position++;
            if (!t->request->stream || t->ended || f->now_ns < t->next_waiting_ns) continue;
            if (!choices_speaks(t)) continue;
            t->next_waiting_ns = f->now_ns + WAITING_EVERY_NS;
            struct reply *r = reply_for(t, REPLY_WAITING);
            if (r) {
                r->position = position;
                r->eta_ms = turn_eta_ns(f, m, position) / NS_PER_MS;
            }
            (void)front_reply(f, r); /* a sign of life less is no reason to end a request */
        }
    }
}
