#include "seat/stream.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/utf8.h"
#include "link/token_probs.h"
#include "seat/logprobs.h"
#include "seat/room.h"

/* ---- life ---- */

struct stream *stream_new(struct room *r, struct msg_submit *req) {
    struct stream *t = mem_alloc(sizeof *t);
    if (!t) return NULL;
    t->serial = ++r->last_serial;
    t->req = *req;
    *req = (struct msg_submit){0};
    t->arrived_ns = clock_now_ns();
    t->item = UINT32_MAX;
    text_stream_open(&t->text);
    shown_open(&t->shown, 0);
    list_push_back(&r->streams, &t->node);
    return t;
}

void stream_free(struct room *r, struct stream *t) {
    must(!t->seq);
    list_remove(&r->streams, &t->node);
    struct msg m = {.type = MSG_TYPE_SUBMIT, .submit = t->req};
    msg_free(&m);
    engine_sampler_free(t->sampler);
    engine_chat_free(t->chat);
    text_stream_free(&t->text);
    shown_free(&t->shown);
    buf_free(&t->said);
    buf_free(&t->prompt_text);
    mem_free(t->tokens);
    restore_forget(r, t);
    mem_free(t);
}

bool stream_runs(const struct stream *t) {
    return t->state >= STREAM_PLAN && t->state <= STREAM_DECODE;
}

void stream_set_state(struct room *r, struct stream *t, enum stream_state state) {
    static const uint8_t allowed[] = {
        [STREAM_LOOKUP] = 1 << STREAM_QUEUED | 1 << STREAM_ENDED,
        [STREAM_QUEUED] = 1 << STREAM_PLAN | 1 << STREAM_FOLLOW | 1 << STREAM_PREFILL | 1 << STREAM_ENDED,
        [STREAM_PLAN] = 1 << STREAM_RESTORE | 1 << STREAM_FOLLOW | 1 << STREAM_PREFILL | 1 << STREAM_ENDED,
        [STREAM_RESTORE] = 1 << STREAM_PLAN | 1 << STREAM_FOLLOW | 1 << STREAM_PREFILL | 1 << STREAM_ENDED,
        [STREAM_FOLLOW] = 1 << STREAM_PLAN | 1 << STREAM_PREFILL | 1 << STREAM_ENDED,
        [STREAM_PREFILL] = 1 << STREAM_DECODE | 1 << STREAM_ENDED,
        [STREAM_DECODE] = 1 << STREAM_ENDED,
        [STREAM_ENDED] = 0};
    must(allowed[t->state] & 1 << state);
    bool ran = stream_runs(t);
    t->state = state;
    if (!ran && stream_runs(t)) r->n_running++;
    if (ran && !stream_runs(t)) r->n_running--;
    if (state == STREAM_PREFILL) t->prefill_started_ns = clock_now_ns();
}

struct stream *stream_find(struct room *r, uint64_t serial) {
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->serial == serial && t->state != STREAM_ENDED) return t;
    }
    return NULL;
}

struct stream *stream_find_request(struct room *r, uint64_t request) {
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->req.request == request && t->state != STREAM_ENDED) return t;
    }
    return NULL;
}

struct stream *stream_newest(struct room *r, bool background) {
    struct stream *newest = NULL;
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (stream_runs(t) && (t->req.background || !background)) newest = t;
    }
    return newest;
}

/* ---- one generated token: sampler, text, parsers; the same for a new and for a replayed one ---- */

struct delta {
    struct buf text, reasoning, tool_calls, logprobs;
};

static void delta_free(struct delta *d) {
    buf_free(&d->text);
    buf_free(&d->reasoning);
    buf_free(&d->tool_calls);
    buf_free(&d->logprobs);
}

static struct msg_bytes bytes_of(const struct buf *b) {
    return (struct msg_bytes){.data = b->data, .size = (uint32_t)b->size};
}

static bool tokens_push(struct stream *t, int32_t token) {
    if (t->n_tokens == t->tokens_room) {
        uint32_t room = t->tokens_room + t->tokens_room / 2 + 64;
        int32_t *tokens = mem_realloc(t->tokens, room * sizeof *tokens);
        if (!tokens) return false;
        t->tokens = tokens;
        t->tokens_room = room;
    }
    t->tokens[t->n_tokens++] = token;
    return true;
}

/* Text that token releases goes to out. True: a stop string has come. */
static enum err token_text(struct room *r, struct stream *t, int32_t token, struct buf *out, bool *ret_stop) {
    struct buf piece = BUF(0);
    bool special = engine_chat_keeps(t->chat, token);
    enum err err = engine_piece(r->engine, token, special, &piece);
    if (!err && t->req.logprobs) err = shown_feed(&t->shown, t->generated - 1, piece.data, piece.size);
    if (!err && piece.size) *ret_stop = text_stream_feed(&t->text, piece.data, piece.size, out);
    buf_free(&piece);
    if (!err) err = text_stream_error(&t->text);
    return err ? err : out->error;
}

/* Whose text is in d. */
static enum err note_shown(struct stream *t, const struct delta *d) {
    if (!t->req.logprobs) return ERR_OK;
    if (!t->chat) return shown_as_text(&t->shown);
    return shown_in_chat(&t->shown, &t->said, &d->text, &d->reasoning, d->tool_calls.size > 0);
}

static enum err take_token(struct room *r, struct stream *t, int32_t token, struct delta *d) {
    engine_sampler_accept(t->sampler, token);
    t->generated++;
    shown_clear(&t->shown);
    if (!tokens_push(t, token)) return ERR_NOMEM;
    bool end = engine_is_end(r->engine, token), stop = false;
    struct buf *out = t->chat ? &t->said : &d->text;
    enum err err = end ? ERR_OK : token_text(r, t, token, out, &stop);
    if (err) return err;
    if (stop || (end && !t->req.ignore_eos))
        t->finish = MSG_FINISH_STOP;
    else if (t->n_tokens >= t->limit)
        t->finish = MSG_FINISH_LENGTH;
    if (t->finish && !stop) text_stream_flush(&t->text, out);
    if (out->error) return out->error;
    if (t->req.logprobs) shown_release(&t->shown, t->text.released);
    if (!t->chat) return note_shown(t, d);
    err = engine_chat_parse(t->chat, t->said.data ? (const char *)t->said.data : "", t->said.size,
                            t->finish != 0, &d->text, &d->reasoning, &d->tool_calls);
    if (!err) err = note_shown(t, d);
    if (!err && t->finish == MSG_FINISH_STOP && engine_chat_called_tools(t->chat))
        t->finish = MSG_FINISH_TOOL_CALLS;
    return err;
}

/* ---- before the first step ---- */

static enum err add_stops(struct stream *t, char *why, size_t why_size) {
    bool fits = true;
    for (uint32_t i = 0; i < t->req.stops.n; i++)
        fits = fits && text_stream_add_stop(&t->text, t->req.stops.items[i].data, t->req.stops.items[i].size);
    if (!fits || t->req.stops.n > STOPS_MAX) {
        snprintf(why, why_size, "more than %d stop strings", STOPS_MAX);
        return ERR_INVALID;
    }
    const char *const *own = NULL;
    uint32_t n = t->chat ? engine_chat_stops(t->chat, &own) : 0;
    for (uint32_t i = 0; i < n; i++)
        if (!text_stream_add_stop(&t->text, own[i], strlen(own[i])))
            break; /* ours are enough to end an answer */
    return ERR_OK;
}

/* The tokens a moved stream had generated: all state but the cells follows them, their text was sent before. */
static enum err replay(struct room *r, struct stream *t) {
    for (uint32_t i = 0; i < t->req.replay.n && !t->finish; i++) {
        int32_t token = t->req.replay.ids[i];
        if (token < 0 || (uint32_t)token >= r->info.n_vocab) return ERR_INVALID;
        struct delta unsent = {0};
        enum err err = take_token(r, t, token, &unsent);
        delta_free(&unsent);
        if (err) return err;
        t->n_replay++;
    }
    return ERR_OK;
}

static enum err check_bias(struct room *r, struct stream *t, char *why, size_t why_size) {
    uint32_t n = token_bias_count(&t->req.logit_bias);
    t->wrong = "logit_bias";
    if (n > LOGIT_BIAS_MAX) {
        snprintf(why, why_size, "logit_bias: has %u tokens; at most %d are taken", n, LOGIT_BIAS_MAX);
        return ERR_INVALID;
    }
    for (uint32_t i = 0; i < n; i++) {
        double bias;
        int32_t token = token_bias_at(&t->req.logit_bias, i, &bias);
        if (token >= 0 && (uint32_t)token < r->info.n_vocab) continue;
        snprintf(why, why_size, "logit_bias.%d: is not in the vocabulary of %u tokens", token,
                 r->info.n_vocab);
        return ERR_INVALID;
    }
    t->wrong = NULL;
    return ERR_OK;
}

/* The text that a plain prompt's answer may begin with, and that OpenAI's text_offset counts from. */
static enum err read_prompt_text(struct room *r, struct stream *t) {
    if (!t->req.logprobs && !t->req.echo) return ERR_OK;
    struct buf text = BUF(ANSWER_BYTES_MAX);
    enum err err = ERR_OK;
    if (t->req.kind == MSG_KIND_TEXT) buf_put(&text, t->req.prompt.data, t->req.prompt.size);
    for (uint32_t i = 0; t->req.kind == MSG_KIND_TOKENS && i < t->n_prompt && !err; i++)
        err = engine_piece(r->engine, t->tokens[i], false, &text);
    if (!err) err = text.error;
    if (!err && t->req.logprobs)
        shown_open(&t->shown, text.size ? utf8_count((const char *)text.data, text.size) : 0);
    if (!err && t->req.echo)
        t->prompt_text = text;
    else
        buf_free(&text);
    return err;
}

enum err stream_prepare(struct room *r, struct stream *t, char *why, size_t why_size) {
    t->n_prompt = t->n_tokens;
    if (t->n_prompt == 0) {
        snprintf(why, why_size, "the prompt is empty");
        return ERR_INVALID;
    }
    if (t->n_prompt >= r->pool.context) {
        snprintf(why, why_size, "the prompt has %u tokens, the context is %u tokens", t->n_prompt,
                 r->pool.context);
        return ERR_CONTEXT_LENGTH;
    }
    uint32_t left = r->pool.context - t->n_prompt;
    t->limit = t->n_prompt + (t->req.max_tokens && t->req.max_tokens < left ? t->req.max_tokens : left);
    enum err err = add_stops(t, why, why_size);
    if (!err) err = check_bias(r, t, why, why_size);
    if (!err) err = read_prompt_text(r, t);
    if (!err) err = engine_sampler_new(r->engine, &t->req, t->chat, &t->sampler, why, why_size);
    if (err) return err;
    err = replay(r, t);
    if (err) snprintf(why, why_size, "the stream could not be replayed: %s", err_text(err));
    return err;
}

/* ---- sampling ---- */

static void note_first_row(struct room *r, struct stream *t) {
    int64_t now = clock_now_ns();
    t->first_token_ns = now - t->arrived_ns;
    t->prefill_ns = now - t->prefill_started_ns;
    t->decode_started_ns = now;
    if (!t->req.debug) return;
    t->first_logits = hash64(engine_logits(r->engine, t->item), r->info.n_vocab * sizeof(float));
    t->first_logits_known = true;
}

/* The token's text is that of an answer; a control token, which gives none, is named as the vocabulary does. */
static enum err name_token(struct room *r, const struct stream *t, int32_t token, struct token_prob *p,
                           struct buf *text) {
    enum err err = engine_piece(r->engine, token, engine_chat_keeps(t->chat, token), text);
    p->control = text->size == 0;
    if (!err && p->control) err = engine_piece(r->engine, token, true, text);
    p->text = text->data;
    p->size = (uint32_t)text->size;
    return err;
}

/* SAID ONCE (token_probs.h). The row is that of the coming token. */
static enum err pack_probs(struct room *r, const struct stream *t, int32_t token, struct buf *out) {
    struct logprobs row;
    struct buf text[TOP_LOGPROBS_MAX + 1] = {0};
    uint32_t n_top = t->req.logprobs - 1 < TOP_LOGPROBS_MAX ? t->req.logprobs - 1 : TOP_LOGPROBS_MAX;
    logprobs_of_row(engine_logits(r->engine, t->item), r->info.n_vocab, token, n_top, &row);
    struct token_probs p = {.index = t->generated, .token.logprob = row.token, .n_top = row.n_top};
    enum err err = name_token(r, t, token, &p.token, &text[TOP_LOGPROBS_MAX]);
    for (uint32_t i = 0; i < row.n_top && !err; i++) {
        p.top[i].logprob = row.top[i].logprob;
        err = name_token(r, t, row.top[i].id, &p.top[i], &text[i]);
    }
    if (!err) token_probs_put(out, &p);
    for (uint32_t i = 0; i <= TOP_LOGPROBS_MAX; i++) buf_free(&text[i]);
    return err ? err : out->error;
}

bool stream_sample(struct room *r, struct stream *t) {
    if (t->decode_tokens == 0) note_first_row(r, t);
    int32_t token = engine_sampler_pick(t->sampler, t->item, (int32_t)t->generated);
    if (token < 0) {
        bool bound = t->req.json_schema.size > 0 || t->req.tools.size > 0;
        stream_end_failed(r, t, bound ? ERR_UNSUPPORTED : ERR_INTERNAL,
                          bound ? "the schema or the tools ask for text that this model's tokens can't write"
                                : "the model gives no probabilities");
        return false;
    }
    struct delta d = {0};
    enum err err = t->req.logprobs ? pack_probs(r, t, token, &d.logprobs) : ERR_OK;
    if (!err) err = take_token(r, t, token, &d);
    if (!err) {
        t->decode_tokens++;
        struct msg m = {.type = MSG_TYPE_DELTA,
                        .delta = {.request = t->req.request,
                                  .tokens = {.ids = &token, .n = 1},
                                  .text = bytes_of(&d.text),
                                  .reasoning = bytes_of(&d.reasoning),
                                  .tool_calls = bytes_of(&d.tool_calls),
                                  .logprobs = bytes_of(&d.logprobs),
                                  .shown = t->shown.pairs}};
        outbox_send(r->out, &m);
    }
    delta_free(&d);
    if (err) stream_end_failed(r, t, err, "the answer's text could not be read");
    return err == ERR_OK;
}

void stream_say_started(struct room *r, struct stream *t) {
    struct msg m = {
        .type = MSG_TYPE_STARTED,
        .started = {.request = t->req.request, .prompt_tokens = t->n_prompt, .cached_tokens = t->cached}};
    /* Spliced tokens stand for a conversation that another process may not know. */
    if (t->n_spliced > 0 || t->req.say_ids)
        m.started.prompt_ids = (struct msg_tokens){t->tokens, t->n_prompt};
    outbox_send(r->out, &m);
    if (t->prompt_text.size == 0) return;
    m = (struct msg){.type = MSG_TYPE_DELTA,
                     .delta = {.request = t->req.request, .text = bytes_of(&t->prompt_text)}};
    outbox_send(r->out, &m);
    buf_free(&t->prompt_text);
}

/* ---- the ends ---- */

void stream_drop_sequence(struct room *r, struct stream *t) {
    if (t->seq) sequence_drop(r, TAKE(t->seq));
}

/* The sequence rests with what is in its cells; half a restore is worth nothing. (In FOLLOW it may have tokens that are nowhere else.) */
static void give_back(struct room *r, struct stream *t, bool interrupted) {
    if (!t->seq) return;
    if (t->state < STREAM_FOLLOW || t->seq->n_tokens == 0) {
        stream_drop_sequence(r, t);
        return;
    }
    struct sequence *s = TAKE(t->seq);
    s->n_prompt = t->n_prompt;
    s->interrupted = interrupted;
    if (!s->agent[0]) room_remember_chain(r, s->tokens, s->n_tokens);
    sequence_rest(r, s);
    s->turn_unsaved = !save_sequence(r, s, SAVE_TURN);
}

/* LAST WORD: m is the last that is heard of t. By then its saves are posted (who deletes after the answer deletes them too), and
 * the figures have been sent (who asks for them after the answer finds it counted). */
static void end(struct room *r, struct stream *t, const struct msg *m) {
    give_back(r, t, m->type != MSG_TYPE_DONE);
    stream_set_state(r, t, STREAM_ENDED);
    room_send_stats(r);
    outbox_send(r->out, m);
}

void stream_end_done(struct room *r, struct stream *t) {
    must(t->finish);
    char logits[17] = "", kv[17] = "";
    if (t->first_logits_known)
        snprintf(logits, sizeof logits, "%016llx", (unsigned long long)t->first_logits);
    if (t->kv_known) snprintf(kv, sizeof kv, "%016llx", (unsigned long long)t->kv);
    struct msg m = {.type = MSG_TYPE_DONE,
                    .done = {.request = t->req.request,
                             .finish = t->finish,
                             .prompt_tokens = t->n_prompt,
                             .cached_tokens = t->cached < t->n_prompt ? t->cached : t->n_prompt,
                             .prefill_tokens = t->prefill_tokens,
                             .generated_tokens = t->generated,
                             .restore_ns = t->restore_ns,
                             .prefill_ns = t->prefill_ns,
                             .first_token_ns = t->first_token_ns,
                             .decode_ns = t->decode_started_ns ? clock_now_ns() - t->decode_started_ns : 0,
                             .decode_tokens = t->decode_tokens,
                             .first_logits_xxh3 = logits,
                             .kv_xxh3 = kv,
                             .decoded_tokens = t->decoded_items,
                             .stop = t->text.stopped <= t->req.stops.n ? t->text.stopped : 0}};
    end(r, t, &m);
}

void stream_end_failed(struct room *r, struct stream *t, enum err err, const char *text) {
    static struct log_limit limit = LOG_LIMIT(20);
    if (err != ERR_CANCELED && log_limit_pass(&limit))
        log_info("seat.failed", "request=%llu err=%s text=%s", (unsigned long long)t->req.request,
                 err_name(err), log_q(text ? text : ""));
    struct msg m = outbox_failed_msg(t->req.request, err, text, t->wrong);
    end(r, t, &m);
}

void stream_end_parked(struct room *r, struct stream *t) {
    if (t->seq) t->seq->shared = true; /* it comes back: a second use */
    struct msg m = {.type = MSG_TYPE_PARKED, .parked = {.request = t->req.request}};
    end(r, t, &m);
}

void stream_make_way(struct room *r, struct stream *t) {
    log_info("seat.make_way", "request=%llu tokens=%u", (unsigned long long)t->req.request, t->n_tokens);
    stream_end_parked(r, t);
}
