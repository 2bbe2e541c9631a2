#include "http/openai_answer.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "http/answer_parts.h"
#include "http/openai_choice.h"
#include "http/sse.h"

struct openai_answer {
    struct answer_plan plan;
    char id[48];
    int64_t created_s;
    char *model;                               /* NULL until a reply named it */
    struct openai_choice choices[CHOICES_MAX]; /* plan.n_choices of them */
    struct reply sum; /* of all that are done: their tokens; the times, and who asked, of the first one */
};

struct openai_answer *openai_answer_new(const struct answer_plan *plan, uint64_t serial) {
    struct openai_answer *a = mem_alloc(sizeof *a);
    if (!a) return NULL;
    a->plan = *plan;
    if (a->plan.n_choices == 0) a->plan.n_choices = a->plan.n_per_prompt = 1;
    a->created_s = clock_wall_ns() / NS_PER_S;
    for (uint32_t i = 0; i < a->plan.n_choices; i++) openai_choice_open(&a->choices[i], i);
    snprintf(a->id, sizeof a->id, "%s%llx%012llx", plan->kind == ANSWER_CHAT ? "chatcmpl-" : "cmpl-",
             (unsigned long long)a->created_s, (unsigned long long)serial);
    return a;
}

void openai_answer_free(struct openai_answer *a) {
    if (!a) return;
    for (uint32_t i = 0; i < a->plan.n_choices; i++) openai_choice_free(&a->choices[i]);
    mem_free(a->sum.agent);
    mem_free(a->sum.done.first_logits_xxh3);
    mem_free(a->sum.done.kv_xxh3);
    mem_free(a->model);
    mem_free(a);
}

/* ---- what all bodies share ---- */

static void write_head(const struct openai_answer *a, struct json_out *w, const char *object) {
    json_obj(w);
    json_key(w, "id");
    json_str(w, a->id);
    json_key(w, "object");
    json_str(w, object);
    json_key(w, "created");
    json_i64(w, a->created_s);
    json_key(w, "model");
    json_str(w, a->model ? a->model : "");
    json_key(w, "system_fingerprint");
    json_str(w, "fp_hotseat_" HOTSEAT_VERSION);
}

static const char *finish_name(uint32_t finish) {
    switch (finish) {
    case MSG_FINISH_LENGTH: return "length";
    case MSG_FINISH_TOOL_CALLS: return "tool_calls";
    default: return "stop";
    }
}

/* A prompt counts once, however many answers it has. */
static enum err add_figures(struct openai_answer *a, const struct reply *r) {
    struct msg_done *sum = &a->sum.done;
    const struct msg_done *d = &r->done;
    if (r->choice % a->plan.n_per_prompt == 0) {
        sum->prompt_tokens += d->prompt_tokens;
        sum->cached_tokens += d->cached_tokens;
    }
    sum->generated_tokens += d->generated_tokens;
    sum->prefill_tokens += d->prefill_tokens;
    sum->decode_tokens += d->decode_tokens;
    sum->decoded_tokens += d->decoded_tokens;
    if (r->choice > 0) return ERR_OK;
    a->sum.queue_ns = r->queue_ns;
    a->sum.swap_ns = r->swap_ns;
    a->sum.debug = r->debug;
    sum->restore_ns = d->restore_ns;
    sum->prefill_ns = d->prefill_ns;
    sum->first_token_ns = d->first_token_ns;
    sum->decode_ns = d->decode_ns;
    a->sum.agent = mem_strdup(r->agent);
    sum->first_logits_xxh3 = mem_strdup(d->first_logits_xxh3);
    sum->kv_xxh3 = mem_strdup(d->kv_xxh3);
    bool whole = (a->sum.agent || !r->agent) && (sum->first_logits_xxh3 || !d->first_logits_xxh3) &&
                 (sum->kv_xxh3 || !d->kv_xxh3);
    return whole ? ERR_OK : ERR_NOMEM;
}

static void write_usage(const struct openai_answer *a, struct json_out *w) {
    const struct msg_done *sum = &a->sum.done;
    json_key(w, "usage");
    json_obj(w);
    json_key(w, "prompt_tokens");
    json_u64(w, sum->prompt_tokens);
    json_key(w, "completion_tokens");
    json_u64(w, sum->generated_tokens);
    json_key(w, "total_tokens");
    json_u64(w, (uint64_t)sum->prompt_tokens + sum->generated_tokens);
    json_key(w, "prompt_tokens_details");
    json_obj(w);
    json_key(w, "cached_tokens");
    json_u64(w, sum->cached_tokens);
    json_end(w);
    json_end(w);
}

/* ---- streams ---- */

static void put_chunk(const struct openai_answer *a, const struct openai_choice *c,
                      const struct openai_chunk *chunk, struct buf *out) {
    AUTO(buf_free) struct buf b = BUF(ANSWER_BYTES_MAX);
    struct json_out w = json_out_into(&b);
    write_head(a, &w, a->plan.kind == ANSWER_CHAT ? "chat.completion.chunk" : "text_completion");
    json_key(&w, "choices");
    json_arr(&w);
    openai_choice_write_chunk(c, &a->plan, chunk, &w);
    json_end(&w);
    if (a->plan.include_usage) {
        json_key(&w, "usage");
        json_null(&w);
    }
    json_end(&w);
    if (b.error)
        out->error = out->error ? out->error : b.error;
    else
        sse_data(out, b.data, b.size);
}

static void put_role(const struct openai_answer *a, struct openai_choice *c, struct buf *out) {
    if (c->role_sent) return;
    c->role_sent = true;
    if (a->plan.kind == ANSWER_CHAT) put_chunk(a, c, &(struct openai_chunk){.role = true}, out);
}

static void put_usage_chunk(const struct openai_answer *a, struct buf *out) {
    AUTO(buf_free) struct buf b = BUF(ANSWER_BYTES_MAX);
    struct json_out w = json_out_into(&b);
    write_head(a, &w, a->plan.kind == ANSWER_CHAT ? "chat.completion.chunk" : "text_completion");
    json_key(&w, "choices");
    json_arr(&w);
    json_end(&w);
    write_usage(a, &w);
    answer_write_hotseat(&w, a->model, &a->sum);
    json_end(&w);
    if (b.error)
        out->error = out->error ? out->error : b.error;
    else
        sse_data(out, b.data, b.size);
}

static enum err stream_take(struct openai_answer *a, struct openai_choice *c, const struct reply *r,
                            struct buf *out) {
    switch ((int)r->kind) {
    case REPLY_WAITING:
        sse_comment(out, "waiting model=%s position=%u eta_ms=%lld", a->model ? a->model : "", r->position,
                    (long long)r->eta_ms);
        break;
    case REPLY_ENTERED: put_role(a, c, out); break;
    case REPLY_DELTA:
        put_role(a, c, out);
        if (r->text.size || r->reasoning.size || r->tool_calls.size)
            put_chunk(a, c, &(struct openai_chunk){.delta = r}, out);
        openai_logprobs_forget(&c->logprobs);
        break;
    case REPLY_DONE:
        put_role(a, c, out);
        put_chunk(a, c, &(struct openai_chunk){.finish = c->finish}, out);
        if (!r->last) break;
        if (a->plan.include_usage) put_usage_chunk(a, out);
        sse_done(out);
        break;
    default: break;
    }
    return out->error;
}

/* ---- whole answers ---- */

static enum err collect(struct openai_answer *a, struct openai_choice *c, const struct reply *r) {
    size_t bytes = 0;
    enum err err = openai_choice_collect(c, r);
    for (uint32_t i = 0; i < a->plan.n_choices; i++) bytes += openai_choice_bytes(&a->choices[i]);
    return !err && bytes > ANSWER_BYTES_MAX ? ERR_LIMIT : err;
}

static void put_whole(const struct openai_answer *a, struct buf *out) {
    struct json_out w = json_out_into(out);
    write_head(a, &w, a->plan.kind == ANSWER_CHAT ? "chat.completion" : "text_completion");
    json_key(&w, "choices");
    json_arr(&w);
    for (uint32_t i = 0; i < a->plan.n_choices; i++) openai_choice_write(&a->choices[i], &a->plan, &w);
    json_end(&w);
    write_usage(a, &w);
    answer_write_hotseat(&w, a->model, &a->sum);
    json_end(&w);
}

enum err openai_answer_take(struct openai_answer *a, const struct reply *r, struct buf *out) {
    if (!a->model && r->model && r->model[0] && !(a->model = mem_strdup(r->model))) return ERR_NOMEM;
    if (r->choice >= a->plan.n_choices) return ERR_PROTOCOL;
    struct openai_choice *c = &a->choices[r->choice];
    enum err err = r->kind == REPLY_DELTA ? openai_logprobs_take(&c->logprobs, r) : ERR_OK;
    if (!err && r->kind == REPLY_DONE) err = add_figures(a, r);
    if (err) return err;
    if (r->kind == REPLY_DONE) c->finish = finish_name(r->done.finish);
    if (a->plan.stream) return stream_take(a, c, r, out);
    if (r->kind == REPLY_DELTA) return collect(a, c, r);
    if (r->kind == REPLY_DONE && r->last) put_whole(a, out);
    return out->error;
}
