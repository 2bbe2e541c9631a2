#include "http/openai_answer.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "http/answer_parts.h"
#include "http/openai_logprobs.h"
#include "http/sse.h"

struct tool_call {
    char *id, *name;
    struct buf arguments;
};

struct openai_answer {
    struct answer_plan plan;
    char id[48];
    int64_t created_s;
    char *model;    /* NULL until a reply named it */
    bool role_sent; /* stream: the first chunk is out */
    struct buf text, reasoning;
    struct tool_call *calls; /* TOOLS_MAX, made with the first */
    uint32_t n_calls;
    struct openai_logprobs logprobs;
};

struct openai_answer *openai_answer_new(const struct answer_plan *plan, uint64_t serial) {
    struct openai_answer *a = mem_alloc(sizeof *a);
    if (!a) return NULL;
    a->plan = *plan;
    a->created_s = clock_wall_ns() / NS_PER_S;
    a->text = BUF(ANSWER_BYTES_MAX);
    a->reasoning = BUF(ANSWER_BYTES_MAX);
    openai_logprobs_open(&a->logprobs);
    snprintf(a->id, sizeof a->id, "%s%llx%012llx", plan->kind == ANSWER_CHAT ? "chatcmpl-" : "cmpl-",
             (unsigned long long)a->created_s, (unsigned long long)serial);
    return a;
}

void openai_answer_free(struct openai_answer *a) {
    if (!a) return;
    for (uint32_t i = 0; i < a->n_calls; i++) {
        mem_free(a->calls[i].id);
        mem_free(a->calls[i].name);
        buf_free(&a->calls[i].arguments);
    }
    mem_free(a->calls);
    buf_free(&a->text);
    buf_free(&a->reasoning);
    openai_logprobs_free(&a->logprobs);
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

static void write_usage(struct json_out *w, const struct reply *r) {
    json_key(w, "usage");
    json_obj(w);
    json_key(w, "prompt_tokens");
    json_u64(w, r->done.prompt_tokens);
    json_key(w, "completion_tokens");
    json_u64(w, r->done.generated_tokens);
    json_key(w, "total_tokens");
    json_u64(w, (uint64_t)r->done.prompt_tokens + r->done.generated_tokens);
    json_key(w, "prompt_tokens_details");
    json_obj(w);
    json_key(w, "cached_tokens");
    json_u64(w, r->done.cached_tokens);
    json_end(w);
    json_end(w);
}

/* ---- streams ---- */

struct chunk {
    bool role;                 /* the first one */
    const struct reply *delta; /* its text, reasoning, tool calls; NULL: none */
    const char *finish;        /* NULL: not yet */
};

static void write_chunk_delta(struct json_out *w, const struct chunk *c) {
    json_key(w, "delta");
    json_obj(w);
    if (c->role) {
        json_key(w, "role");
        json_str(w, "assistant");
        json_key(w, "content");
        json_str(w, "");
    }
    if (c->delta && c->delta->reasoning.size) {
        json_key(w, "reasoning_content");
        json_strn(w, (const char *)c->delta->reasoning.data, c->delta->reasoning.size);
    }
    if (c->delta && c->delta->text.size) {
        json_key(w, "content");
        json_strn(w, (const char *)c->delta->text.data, c->delta->text.size);
    }
    if (c->delta && c->delta->tool_calls.size) {
        json_key(w, "tool_calls");
        json_raw(w, c->delta->tool_calls.data, c->delta->tool_calls.size);
    }
    json_end(w);
}

static void put_chunk(const struct openai_answer *a, const struct chunk *c, struct buf *out) {
    AUTO(buf_free) struct buf b = BUF(ANSWER_BYTES_MAX);
    struct json_out w = json_out_into(&b);
    bool chat = a->plan.kind == ANSWER_CHAT;
    write_head(a, &w, chat ? "chat.completion.chunk" : "text_completion");
    json_key(&w, "choices");
    json_arr(&w);
    json_obj(&w);
    json_key(&w, "index");
    json_i64(&w, 0);
    if (chat) {
        write_chunk_delta(&w, c);
    } else {
        json_key(&w, "text");
        json_strn(&w, c->delta && c->delta->text.size ? (const char *)c->delta->text.data : "",
                  c->delta ? c->delta->text.size : 0);
    }
    json_key(&w, "logprobs");
    if (a->plan.logprobs && c->delta && c->delta->text.size)
        openai_logprobs_write(&a->logprobs, a->plan.kind, false, &w);
    else
        json_null(&w);
    json_key(&w, "finish_reason");
    json_str(&w, c->finish);
    json_end(&w);
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

static void put_role(struct openai_answer *a, struct buf *out) {
    if (a->role_sent) return;
    a->role_sent = true;
    if (a->plan.kind == ANSWER_CHAT) put_chunk(a, &(struct chunk){.role = true}, out);
}

static void put_usage_chunk(const struct openai_answer *a, const struct reply *r, struct buf *out) {
    AUTO(buf_free) struct buf b = BUF(ANSWER_BYTES_MAX);
    struct json_out w = json_out_into(&b);
    write_head(a, &w, a->plan.kind == ANSWER_CHAT ? "chat.completion.chunk" : "text_completion");
    json_key(&w, "choices");
    json_arr(&w);
    json_end(&w);
    write_usage(&w, r);
    answer_write_hotseat(&w, a->model, r);
    json_end(&w);
    if (b.error)
        out->error = out->error ? out->error : b.error;
    else
        sse_data(out, b.data, b.size);
}

static enum err stream_take(struct openai_answer *a, const struct reply *r, struct buf *out) {
    switch ((int)r->kind) {
    case REPLY_WAITING:
        sse_comment(out, "waiting model=%s position=%u eta_ms=%lld", a->model ? a->model : "", r->position,
                    (long long)r->eta_ms);
        break;
    case REPLY_ENTERED: put_role(a, out); break;
    case REPLY_DELTA:
        put_role(a, out);
        if (r->text.size || r->reasoning.size || r->tool_calls.size)
            put_chunk(a, &(struct chunk){.delta = r}, out);
        openai_logprobs_forget(&a->logprobs);
        break;
    case REPLY_DONE:
        put_role(a, out);
        put_chunk(a, &(struct chunk){.finish = finish_name(r->done.finish)}, out);
        if (a->plan.include_usage) put_usage_chunk(a, r, out);
        sse_done(out);
        break;
    default: break;
    }
    return out->error;
}

/* ---- whole answers ---- */

static enum err add_tool_call(struct openai_answer *a, const struct tool_piece *piece) {
    if (!a->calls && !(a->calls = mem_array(TOOLS_MAX, sizeof *a->calls))) return ERR_NOMEM;
    struct tool_call *call = &a->calls[piece->index];
    if (piece->index == a->n_calls) {
        call->arguments = BUF(ANSWER_BYTES_MAX);
        a->n_calls++;
    }
    if (piece->id && !call->id && !(call->id = mem_strdup(piece->id))) return ERR_NOMEM;
    if (piece->name && !call->name && !(call->name = mem_strdup(piece->name))) return ERR_NOMEM;
    if (piece->arguments) buf_put(&call->arguments, piece->arguments, piece->arguments_size);
    return call->arguments.error;
}

static enum err collect(struct openai_answer *a, const struct reply *r) {
    if (r->text.size) buf_put(&a->text, r->text.data, r->text.size);
    if (r->reasoning.size) buf_put(&a->reasoning, r->reasoning.data, r->reasoning.size);
    if (a->text.error) return a->text.error;
    if (a->reasoning.error) return a->reasoning.error;
    AUTO(json_freep) struct json *pieces = NULL;
    enum err err = tool_pieces_read(r, &pieces);
    for (size_t i = 0; i < json_count(pieces) && !err; i++) {
        struct tool_piece piece;
        err = tool_piece_at(pieces, i, a->n_calls, &piece);
        if (!err) err = add_tool_call(a, &piece);
    }
    return err;
}

static void write_tool_calls(const struct openai_answer *a, struct json_out *w) {
    json_key(w, "tool_calls");
    json_arr(w);
    for (uint32_t i = 0; i < a->n_calls; i++) {
        const struct tool_call *call = &a->calls[i];
        json_obj(w);
        json_key(w, "id");
        json_str(w, call->id ? call->id : "");
        json_key(w, "type");
        json_str(w, "function");
        json_key(w, "function");
        json_obj(w);
        json_key(w, "name");
        json_str(w, call->name ? call->name : "");
        answer_write_bytes(w, "arguments", &call->arguments);
        json_end(w);
        json_end(w);
    }
    json_end(w);
}

static bool has_no_content(const struct openai_answer *a) {
    return a->n_calls > 0 && a->text.size == 0;
}

static void write_message(const struct openai_answer *a, struct json_out *w) {
    json_key(w, "message");
    json_obj(w);
    json_key(w, "role");
    json_str(w, "assistant");
    if (has_no_content(a)) {
        json_key(w, "content");
        json_null(w);
    } else {
        answer_write_bytes(w, "content", &a->text);
    }
    json_key(w, "refusal");
    json_null(w);
    if (a->reasoning.size) answer_write_bytes(w, "reasoning_content", &a->reasoning);
    if (a->n_calls > 0) write_tool_calls(a, w);
    json_end(w);
}

static void put_whole(const struct openai_answer *a, const struct reply *r, struct buf *out) {
    struct json_out w = json_out_into(out);
    bool chat = a->plan.kind == ANSWER_CHAT;
    write_head(a, &w, chat ? "chat.completion" : "text_completion");
    json_key(&w, "choices");
    json_arr(&w);
    json_obj(&w);
    json_key(&w, "index");
    json_i64(&w, 0);
    if (chat)
        write_message(a, &w);
    else
        answer_write_bytes(&w, "text", &a->text);
    json_key(&w, "logprobs");
    if (a->plan.logprobs)
        openai_logprobs_write(&a->logprobs, a->plan.kind, has_no_content(a), &w);
    else
        json_null(&w);
    json_key(&w, "finish_reason");
    json_str(&w, finish_name(r->done.finish));
    json_end(&w);
    json_end(&w);
    write_usage(&w, r);
    answer_write_hotseat(&w, a->model, r);
    json_end(&w);
}

enum err openai_answer_take(struct openai_answer *a, const struct reply *r, struct buf *out) {
    if (!a->model && r->model && r->model[0] && !(a->model = mem_strdup(r->model))) return ERR_NOMEM;
    enum err err = r->kind == REPLY_DELTA ? openai_logprobs_take(&a->logprobs, r) : ERR_OK;
    if (err) return err;
    if (a->plan.stream) return stream_take(a, r, out);
    if (r->kind == REPLY_DELTA) return collect(a, r);
    if (r->kind == REPLY_DONE) put_whole(a, r, out);
    return out->error;
}
