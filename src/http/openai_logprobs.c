#include "http/openai_logprobs.h"

#include <string.h>

#include "base/limits.h"
#include "base/must.h"
#include "base/utf8.h"
#include "link/token_probs.h"

void openai_logprobs_open(struct openai_logprobs *l) {
    *l = (struct openai_logprobs){.waiting = BUF(ANSWER_BYTES_MAX), .told = BUF(ANSWER_BYTES_MAX)};
}

void openai_logprobs_free(struct openai_logprobs *l) {
    buf_free(&l->waiting);
    buf_free(&l->told);
}

void openai_logprobs_forget(struct openai_logprobs *l) {
    buf_clear(&l->told);
}

/* The token's record leaves those that wait, and with it those before it. */
static enum err show(struct openai_logprobs *l, struct cursor *c, uint32_t index, int32_t place) {
    struct token_probs p;
    size_t from;
    do {
        from = c->at;
        enum err err = cursor_left(c) ? token_probs_get(c, &p) : ERR_PROTOCOL;
        if (err) return err;
    } while (p.index < index);
    if (p.index != index) return ERR_PROTOCOL;
    if (place == SHOWN_NEVER) return ERR_OK;
    buf_u32(&l->told, (uint32_t)place);
    buf_put(&l->told, c->data + from, c->at - from);
    return l->told.error;
}

enum err openai_logprobs_take(struct openai_logprobs *l, const struct reply *r) {
    if (r->logprobs.size) buf_put(&l->waiting, r->logprobs.data, r->logprobs.size);
    if (l->waiting.error) return l->waiting.error;
    struct cursor c = cursor_over(l->waiting.data, l->waiting.size);
    for (uint32_t i = 0; i + 1 < r->shown.n; i += 2) {
        enum err err = show(l, &c, (uint32_t)r->shown.ids[i], r->shown.ids[i + 1]);
        if (err) return err;
    }
    buf_consume(&l->waiting, c.at);
    return ERR_OK;
}

/* ---- writing ---- */

struct place {
    int32_t at;
    struct token_probs p;
};

/* openai_logprobs_take() has read these records before. */
static bool next(struct cursor *c, struct place *ret) {
    if (cursor_left(c) == 0) return false;
    ret->at = (int32_t)cursor_u32(c);
    must(token_probs_get(c, &ret->p) == ERR_OK);
    return true;
}

/* A NUL is no character here: no key of an object may hold one. */
static void token_text(const struct token_prob *p, const char *before, struct buf *out) {
    buf_clear(out);
    bool whole = utf8_valid((const char *)p->text, p->size) && !memchr(p->text, 0, p->size);
    if (!whole) buf_puts(out, before);
    for (size_t at = 0; at < p->size;) {
        size_t n = p->text[at] ? utf8_char((const char *)p->text + at, p->size - at) : 0;
        if (n)
            buf_put(out, p->text + at, n);
        else
            buf_printf(out, "\\x%02x", p->text[at]);
        at += n ? n : 1;
    }
}

static void write_token(const struct token_prob *p, struct buf *text, struct json_out *w) {
    token_text(p, "", text);
    json_key(w, "token");
    json_strn(w, text->data ? (const char *)text->data : "", text->size);
    json_key(w, "logprob");
    json_f64(w, p->logprob);
    json_key(w, "bytes");
    if (p->control) {
        json_null(w);
        return;
    }
    json_arr(w);
    for (uint32_t i = 0; i < p->size; i++) json_u64(w, p->text[i]);
    json_end(w);
}

static void write_chat(const struct openai_logprobs *l, struct json_out *w) {
    AUTO(buf_free) struct buf text = BUF(0);
    struct cursor c = cursor_over(l->told.data, l->told.size);
    json_arr(w);
    for (struct place t; next(&c, &t);) {
        json_obj(w);
        write_token(&t.p.token, &text, w);
        json_key(w, "top_logprobs");
        json_arr(w);
        for (uint32_t i = 0; i < t.p.n_top; i++) {
            json_obj(w);
            write_token(&t.p.top[i], &text, w);
            json_end(w);
        }
        json_end(w);
        json_end(w);
    }
    json_end(w);
}

static bool same_text(const struct token_prob *a, const struct token_prob *b) {
    return a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
}

/* Two tokens may have one text, and an object can't have one key twice: the likelier one stays. The drawn token is always there. */
static void write_top(const struct token_probs *p, struct buf *text, struct json_out *w) {
    json_obj(w);
    for (uint32_t i = 0; i <= p->n_top; i++) {
        const struct token_prob *t = i < p->n_top ? &p->top[i] : &p->token;
        bool again = false;
        for (uint32_t k = 0; k < i && !again; k++) again = same_text(t, &p->top[k]);
        if (again) continue;
        token_text(t, "bytes:", text);
        buf_u8(text, 0);
        json_key(w, text->error ? "" : (const char *)text->data);
        json_f64(w, t->logprob);
    }
    json_end(w);
}

enum column { TOKENS, TOKEN_LOGPROBS, TOP_LOGPROBS, TEXT_OFFSET, COLUMNS };

static void write_text(const struct openai_logprobs *l, struct json_out *w) {
    static const char *const NAMES[COLUMNS] = {"tokens", "token_logprobs", "top_logprobs", "text_offset"};
    AUTO(buf_free) struct buf text = BUF(0);
    for (int column = 0; column < COLUMNS; column++) {
        struct cursor c = cursor_over(l->told.data, l->told.size);
        json_key(w, NAMES[column]);
        json_arr(w);
        for (struct place t; next(&c, &t);) {
            switch ((enum column)column) {
            case TOKENS:
                token_text(&t.p.token, "bytes:", &text);
                json_strn(w, text.data ? (const char *)text.data : "", text.size);
                break;
            case TOKEN_LOGPROBS: json_f64(w, t.p.token.logprob); break;
            case TOP_LOGPROBS: write_top(&t.p, &text, w); break;
            case TEXT_OFFSET: json_i64(w, t.at); break;
            case COLUMNS: break;
            }
        }
        json_end(w);
    }
}

void openai_logprobs_write(const struct openai_logprobs *l, enum answer_kind kind, bool null_content,
                           struct json_out *w) {
    json_obj(w);
    if (kind != ANSWER_CHAT) {
        write_text(l, w);
    } else {
        json_key(w, "content");
        if (null_content)
            json_null(w);
        else
            write_chat(l, w);
        json_key(w, "refusal");
        json_null(w);
    }
    json_end(w);
}
