#include "http/anthropic_answer.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/answer_parts.h"
#include "http/partial_json.h"
#include "http/sse.h"

#define BLOCK_BYTES 128 /* what one counts for beside its content */

enum block_kind { BLOCK_NONE, BLOCK_THINKING, BLOCK_TEXT, BLOCK_TOOL };

struct block {
    enum block_kind kind;
    char *id, *name; /* TOOL */
    struct buf content;
};

struct anthropic_answer {
    struct answer_plan plan;
    char id[48];
    char *model;          /* NULL until a reply named it */
    bool started;         /* stream: message_start is out */
    enum block_kind open; /* of the last block */
    uint32_t n_blocks, n_calls;
    struct block *blocks; /* whole: all of them */
    uint32_t room;
    size_t collected_bytes;
};

struct anthropic_answer *anthropic_answer_new(const struct answer_plan *plan, uint64_t serial) {
    struct anthropic_answer *a = mem_alloc(sizeof *a);
    if (!a) return NULL;
    a->plan = *plan;
    snprintf(a->id, sizeof a->id, "msg_%llx%012llx", (unsigned long long)(clock_wall_ns() / NS_PER_S),
             (unsigned long long)serial);
    return a;
}

void anthropic_answer_free(struct anthropic_answer *a) {
    if (!a) return;
    for (uint32_t i = 0; a->blocks && i < a->n_blocks; i++) {
        mem_free(a->blocks[i].id);
        mem_free(a->blocks[i].name);
        buf_free(&a->blocks[i].content);
    }
    mem_free(a->blocks);
    mem_free(a->model);
    mem_free(a);
}

/* ---- members ---- */

static void write_usage(struct json_out *w, const struct msg_done *d) {
    uint32_t cached = d->cached_tokens < d->prompt_tokens ? d->cached_tokens : d->prompt_tokens;
    json_key(w, "usage");
    json_obj(w);
    json_key(w, "input_tokens");
    json_u64(w, d->prompt_tokens - cached);
    json_key(w, "cache_creation_input_tokens");
    json_u64(w, 0);
    json_key(w, "cache_read_input_tokens");
    json_u64(w, cached);
    json_key(w, "output_tokens");
    json_u64(w, d->generated_tokens);
    json_end(w);
}

static const char *stop_reason(const struct msg_done *d) {
    if (d->stop) return "stop_sequence";
    switch (d->finish) {
    case MSG_FINISH_LENGTH: return "max_tokens";
    case MSG_FINISH_TOOL_CALLS: return "tool_use";
    default: return "end_turn";
    }
}

/* done: the DONE reply, or NULL. */
static void write_stop(struct json_out *w, const struct reply *done) {
    json_key(w, "stop_reason");
    json_str(w, done ? stop_reason(&done->done) : NULL);
    json_key(w, "stop_sequence");
    if (done && done->stop.size)
        json_strn(w, (const char *)done->stop.data, done->stop.size);
    else
        json_null(w);
}

static void write_head(const struct anthropic_answer *a, struct json_out *w) {
    json_key(w, "id");
    json_str(w, a->id);
    json_key(w, "type");
    json_str(w, "message");
    json_key(w, "role");
    json_str(w, "assistant");
    json_key(w, "model");
    json_str(w, a->model ? a->model : "");
}

/* ---- events ---- */

static void put_event(struct buf *out, const char *name, const struct buf *body) {
    if (body->error)
        out->error = out->error ? out->error : body->error;
    else
        sse_event(out, name, body->data, body->size);
}

/* Begins an event's body: {"type": name. */
static struct json_out event_body(struct buf *b, const char *name) {
    struct json_out w = json_out_into(b);
    json_obj(&w);
    json_key(&w, "type");
    json_str(&w, name);
    return w;
}

void anthropic_answer_ping(struct buf *out) {
    AUTO(buf_free) struct buf b = BUF(64);
    struct json_out w = event_body(&b, "ping");
    json_end(&w);
    put_event(out, "ping", &b);
}

static void put_start(struct anthropic_answer *a, const struct reply *r, struct buf *out) {
    if (a->started) return;
    a->started = true;
    struct msg_done figures = {.prompt_tokens = r->done.prompt_tokens,
                               .cached_tokens = r->done.cached_tokens};
    AUTO(buf_free) struct buf b = BUF(ANSWER_BYTES_MAX);
    struct json_out w = event_body(&b, "message_start");
    json_key(&w, "message");
    json_obj(&w);
    write_head(a, &w);
    json_key(&w, "content");
    json_arr(&w);
    json_end(&w);
    write_stop(&w, NULL);
    write_usage(&w, &figures);
    json_end(&w);
    json_end(&w);
    put_event(out, "message_start", &b);
}

static void put_block_stop(const struct anthropic_answer *a, struct buf *out) {
    if (a->open == BLOCK_NONE) return;
    AUTO(buf_free) struct buf b = BUF(256);
    struct json_out w = event_body(&b, "content_block_stop");
    json_key(&w, "index");
    json_u64(&w, a->n_blocks - 1);
    json_end(&w);
    put_event(out, "content_block_stop", &b);
}

static void put_end(const struct anthropic_answer *a, const struct reply *r, struct buf *out) {
    AUTO(buf_free) struct buf b = BUF(ANSWER_BYTES_MAX);
    AUTO(buf_free) struct buf last = BUF(64);
    put_block_stop(a, out);
    struct json_out w = event_body(&b, "message_delta");
    json_key(&w, "delta");
    json_obj(&w);
    write_stop(&w, r);
    json_end(&w);
    write_usage(&w, &r->done);
    answer_write_hotseat(&w, a->model, r);
    json_end(&w);
    put_event(out, "message_delta", &b);
    w = event_body(&last, "message_stop");
    json_end(&w);
    put_event(out, "message_stop", &last);
}

/* ---- blocks: a stream's go out, the others are kept ---- */

static void write_block(struct json_out *w, const struct block *block, const struct buf *input) {
    static const char *const TYPES[] = {"", "thinking", "text", "tool_use"};
    json_obj(w);
    json_key(w, "type");
    json_str(w, TYPES[block->kind]);
    if (block->kind == BLOCK_TOOL) {
        json_key(w, "id");
        json_str(w, block->id ? block->id : "");
        json_key(w, "name");
        json_str(w, block->name ? block->name : "");
        json_key(w, "input");
        json_raw(w, input->data, input->size);
    } else {
        answer_write_bytes(w, TYPES[block->kind], &block->content); /* named like the type */
        if (block->kind == BLOCK_THINKING) {
            json_key(w, "signature"); /* clients want one; nothing here is encrypted */
            json_str(w, "");
        }
    }
    json_end(w);
}

static void put_block_start(const struct anthropic_answer *a, const struct block *block, struct buf *out) {
    AUTO(buf_free) struct buf b = BUF(ANSWER_BYTES_MAX);
    static uint8_t braces[] = "{}";
    const struct buf nothing = {.data = braces, .size = sizeof braces - 1};
    struct json_out w = event_body(&b, "content_block_start");
    json_key(&w, "index");
    json_u64(&w, a->n_blocks - 1);
    json_key(&w, "content_block");
    write_block(&w, block, &nothing);
    json_end(&w);
    put_event(out, "content_block_start", &b);
}

static enum err keep_block(struct anthropic_answer *a, const struct block *block) {
    if (a->n_blocks > a->room) {
        uint32_t room = 2 * a->room + 8;
        struct block *grown = mem_realloc(a->blocks, room * sizeof *grown);
        if (!grown) {
            a->n_blocks--;
            return ERR_NOMEM;
        }
        memset(grown + a->room, 0, (room - a->room) * sizeof *grown);
        a->blocks = grown;
        a->room = room;
    }
    struct block *kept = &a->blocks[a->n_blocks - 1];
    *kept = (struct block){.kind = block->kind, .content = BUF(ANSWER_BYTES_MAX)};
    kept->id = mem_strdup(block->id);
    kept->name = mem_strdup(block->name);
    return (block->id && !kept->id) || (block->name && !kept->name) ? ERR_NOMEM : ERR_OK;
}

static enum err open_block(struct anthropic_answer *a, const struct block *block, struct buf *out) {
    if (a->plan.stream) put_block_stop(a, out);
    a->open = block->kind;
    a->n_blocks++;
    a->collected_bytes += BLOCK_BYTES;
    if (!a->plan.stream) return keep_block(a, block);
    put_block_start(a, block, out);
    return out->error;
}

static enum err add_content(struct anthropic_answer *a, const void *data, size_t size, struct buf *out) {
    static const char *const DELTAS[][2] = {{"", ""},
                                            {"thinking_delta", "thinking"},
                                            {"text_delta", "text"},
                                            {"input_json_delta", "partial_json"}};
    if (size == 0) return ERR_OK;
    if (!a->plan.stream) {
        struct block *block = &a->blocks[a->n_blocks - 1];
        a->collected_bytes += size;
        buf_put(&block->content, data, size);
        return a->collected_bytes > ANSWER_BYTES_MAX ? ERR_LIMIT : block->content.error;
    }
    AUTO(buf_free) struct buf b = BUF(ANSWER_BYTES_MAX);
    struct json_out w = event_body(&b, "content_block_delta");
    json_key(&w, "index");
    json_u64(&w, a->n_blocks - 1);
    json_key(&w, "delta");
    json_obj(&w);
    json_key(&w, "type");
    json_str(&w, DELTAS[a->open][0]);
    json_key(&w, DELTAS[a->open][1]);
    json_strn(&w, data, size);
    json_end(&w);
    json_end(&w);
    put_event(out, "content_block_delta", &b);
    return out->error;
}

static enum err add_words(struct anthropic_answer *a, enum block_kind kind, const struct msg_bytes *words,
                          struct buf *out) {
    enum err err = ERR_OK;
    if (words->size == 0) return ERR_OK;
    if (a->open != kind) err = open_block(a, &(struct block){.kind = kind}, out);
    return err ? err : add_content(a, words->data, words->size, out);
}

static enum err add_both_words(struct anthropic_answer *a, const struct reply *r, struct buf *out) {
    enum err err = add_words(a, BLOCK_THINKING, &r->reasoning, out);
    return err ? err : add_words(a, BLOCK_TEXT, &r->text, out);
}

/* A call that is not the last block any more can't go on: its block has been stopped. */
static enum err add_call(struct anthropic_answer *a, const struct tool_piece *piece, struct buf *out) {
    enum err err = ERR_OK;
    if (piece->index == a->n_calls) {
        char *id = mem_strdup(piece->id), *name = mem_strdup(piece->name);
        bool whole = (id || !piece->id) && (name || !piece->name);
        a->n_calls++;
        err = whole ? open_block(a, &(struct block){.kind = BLOCK_TOOL, .id = id, .name = name}, out)
                    : ERR_NOMEM;
        mem_free(id);
        mem_free(name);
    } else if ((piece->index + 1 != a->n_calls || a->open != BLOCK_TOOL) && piece->arguments_size > 0) {
        return ERR_PROTOCOL;
    }
    return err ? err : add_content(a, piece->arguments, piece->arguments_size, out);
}

/* What comes at once came in this order: the rest of the open call, words, further calls. */
static enum err add_delta(struct anthropic_answer *a, const struct reply *r, struct buf *out) {
    AUTO(json_freep) struct json *pieces = NULL;
    enum err err = tool_pieces_read(r, &pieces);
    bool words = false;
    for (size_t i = 0; i < json_count(pieces) && !err; i++) {
        struct tool_piece piece;
        err = tool_piece_at(pieces, i, a->n_calls, &piece);
        bool goes_on = !err && a->open == BLOCK_TOOL && piece.index + 1 == a->n_calls;
        if (!err && !goes_on && !words) {
            err = add_both_words(a, r, out);
            words = true;
        }
        if (!err) err = add_call(a, &piece, out);
    }
    return err || words ? err : add_both_words(a, r, out);
}

/* ---- the answer ---- */

static enum err put_whole(const struct anthropic_answer *a, const struct reply *r, struct buf *out) {
    struct json_out w = json_out_into(out);
    json_obj(&w);
    write_head(a, &w);
    json_key(&w, "content");
    json_arr(&w);
    for (uint32_t i = 0; i < a->n_blocks; i++) {
        const struct block *block = &a->blocks[i];
        AUTO(buf_free) struct buf input = BUF(2 * ANSWER_BYTES_MAX);
        enum err err = ERR_OK;
        if (block->kind == BLOCK_TOOL)
            err = partial_json_close(block->content.data, block->content.size, &input);
        if (err) return err;
        write_block(&w, block, &input);
    }
    json_end(&w);
    write_stop(&w, r);
    write_usage(&w, &r->done);
    answer_write_hotseat(&w, a->model, r);
    json_end(&w);
    return out->error;
}

static enum err put_count(const struct reply *r, struct buf *out) {
    struct json_out w = json_out_into(out);
    json_obj(&w);
    json_key(&w, "input_tokens");
    json_u64(&w, r->done.prompt_tokens);
    json_end(&w);
    return out->error;
}

static enum err take_stream(struct anthropic_answer *a, const struct reply *r, struct buf *out) {
    if (r->kind == REPLY_WAITING) {
        sse_comment(out, "waiting model=%s position=%u eta_ms=%lld", a->model ? a->model : "", r->position,
                    (long long)r->eta_ms);
        anthropic_answer_ping(out);
        return out->error;
    }
    put_start(a, r, out);
    enum err err = r->kind == REPLY_DELTA ? add_delta(a, r, out) : ERR_OK;
    if (r->kind == REPLY_DONE) put_end(a, r, out);
    return err ? err : out->error;
}

enum err anthropic_answer_take(struct anthropic_answer *a, const struct reply *r, struct buf *out) {
    if (!a->model && r->model && r->model[0] && !(a->model = mem_strdup(r->model))) return ERR_NOMEM;
    if (a->plan.kind == ANSWER_COUNT) return r->kind == REPLY_DONE ? put_count(r, out) : ERR_OK;
    if (a->plan.stream) return take_stream(a, r, out);
    if (r->kind == REPLY_DELTA) return add_delta(a, r, out);
    return r->kind == REPLY_DONE ? put_whole(a, r, out) : ERR_OK;
}
