#include "http/openai_choice.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "http/answer_parts.h"

void openai_choice_open(struct openai_choice *c, uint32_t index) {
    *c = (struct openai_choice){
        .index = index, .text = BUF(ANSWER_BYTES_MAX), .reasoning = BUF(ANSWER_BYTES_MAX)};
    openai_logprobs_open(&c->logprobs);
}

void openai_choice_free(struct openai_choice *c) {
    for (uint32_t i = 0; i < c->n_calls; i++) {
        mem_free(c->calls[i].id);
        mem_free(c->calls[i].name);
        buf_free(&c->calls[i].arguments);
    }
    mem_free(c->calls);
    buf_free(&c->text);
    buf_free(&c->reasoning);
    openai_logprobs_free(&c->logprobs);
}

/* ---- streams ---- */

static void write_chunk_delta(struct json_out *w, const struct openai_chunk *c) {
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

void openai_choice_write_chunk(const struct openai_choice *c, const struct answer_plan *plan,
                               const struct openai_chunk *chunk, struct json_out *w) {
    bool has_text = chunk->delta && chunk->delta->text.size;
    json_obj(w);
    json_key(w, "index");
    json_u64(w, c->index);
    if (plan->kind == ANSWER_CHAT) {
        write_chunk_delta(w, chunk);
    } else {
        json_key(w, "text");
        json_strn(w, has_text ? (const char *)chunk->delta->text.data : "",
                  has_text ? chunk->delta->text.size : 0);
    }
    json_key(w, "logprobs");
    if (plan->logprobs && has_text)
        openai_logprobs_write(&c->logprobs, plan->kind, false, w);
    else
        json_null(w);
    json_key(w, "finish_reason");
    json_str(w, chunk->finish);
    json_end(w);
}

/* ---- whole answers ---- */

static enum err add_tool_call(struct openai_choice *c, const struct tool_piece *piece) {
    if (!c->calls && !(c->calls = mem_array(TOOLS_MAX, sizeof *c->calls))) return ERR_NOMEM;
    struct openai_call *call = &c->calls[piece->index];
    if (piece->index == c->n_calls) {
        call->arguments = BUF(ANSWER_BYTES_MAX);
        c->n_calls++;
    }
    if (piece->id && !call->id && !(call->id = mem_strdup(piece->id))) return ERR_NOMEM;
    if (piece->name && !call->name && !(call->name = mem_strdup(piece->name))) return ERR_NOMEM;
    if (piece->arguments) buf_put(&call->arguments, piece->arguments, piece->arguments_size);
    return call->arguments.error;
}

enum err openai_choice_collect(struct openai_choice *c, const struct reply *r) {
    if (r->text.size) buf_put(&c->text, r->text.data, r->text.size);
    if (r->reasoning.size) buf_put(&c->reasoning, r->reasoning.data, r->reasoning.size);
    if (c->text.error) return c->text.error;
    if (c->reasoning.error) return c->reasoning.error;
    AUTO(json_freep) struct json *pieces = NULL;
    enum err err = tool_pieces_read(r, &pieces);
    for (size_t i = 0; i < json_count(pieces) && !err; i++) {
        struct tool_piece piece;
        err = tool_piece_at(pieces, i, c->n_calls, &piece);
        if (!err) err = add_tool_call(c, &piece);
    }
    return err;
}

size_t openai_choice_bytes(const struct openai_choice *c) {
    size_t bytes = c->text.size + c->reasoning.size + c->logprobs.told.size + c->logprobs.waiting.size;
    for (uint32_t i = 0; i < c->n_calls; i++) bytes += c->calls[i].arguments.size;
    return bytes;
}

static void write_tool_calls(const struct openai_choice *c, struct json_out *w) {
    json_key(w, "tool_calls");
    json_arr(w);
    for (uint32_t i = 0; i < c->n_calls; i++) {
        const struct openai_call *call = &c->calls[i];
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

static bool has_no_content(const struct openai_choice *c) {
    return c->n_calls > 0 && c->text.size == 0;
}

static void write_message(const struct openai_choice *c, struct json_out *w) {
    json_key(w, "message");
    json_obj(w);
    json_key(w, "role");
    json_str(w, "assistant");
    if (has_no_content(c)) {
        json_key(w, "content");
        json_null(w);
    } else {
        answer_write_bytes(w, "content", &c->text);
    }
    json_key(w, "refusal");
    json_null(w);
    if (c->reasoning.size) answer_write_bytes(w, "reasoning_content", &c->reasoning);
    if (c->n_calls > 0) write_tool_calls(c, w);
    json_end(w);
}

void openai_choice_write(const struct openai_choice *c, const struct answer_plan *plan, struct json_out *w) {
    json_obj(w);
    json_key(w, "index");
    json_u64(w, c->index);
    if (plan->kind == ANSWER_CHAT)
        write_message(c, w);
    else
        answer_write_bytes(w, "text", &c->text);
    json_key(w, "logprobs");
    if (plan->logprobs)
        openai_logprobs_write(&c->logprobs, plan->kind, has_no_content(c), w);
    else
        json_null(w);
    json_key(w, "finish_reason");
    json_str(w, c->finish);
    json_end(w);
}
