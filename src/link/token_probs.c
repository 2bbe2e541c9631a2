#include "link/token_probs.h"

#include "base/must.h"

void token_bias_put(struct buf *out, int32_t token, double bias) {
    buf_u32(out, (uint32_t)token);
    buf_f64(out, bias);
}

uint32_t token_bias_count(const struct msg_bytes *b) {
    return b->size / TOKEN_BIAS_BYTES;
}

int32_t token_bias_at(const struct msg_bytes *b, uint32_t i, double *ret_bias) {
    must(i < token_bias_count(b));
    struct cursor c = cursor_over(b->data + (size_t)i * TOKEN_BIAS_BYTES, TOKEN_BIAS_BYTES);
    int32_t token = (int32_t)cursor_u32(&c);
    *ret_bias = cursor_f64(&c);
    return token;
}

static void put_one(struct buf *out, const struct token_prob *p) {
    buf_f64(out, p->logprob);
    buf_u8(out, p->control);
    buf_u32(out, p->size);
    buf_put(out, p->text, p->size);
}

void token_probs_put(struct buf *out, const struct token_probs *p) {
    must(p->n_top <= TOP_LOGPROBS_MAX);
    buf_u32(out, p->index);
    put_one(out, &p->token);
    buf_u8(out, (uint8_t)p->n_top);
    for (uint32_t i = 0; i < p->n_top; i++) put_one(out, &p->top[i]);
}

static void get_one(struct cursor *c, struct token_prob *ret) {
    ret->logprob = cursor_f64(c);
    ret->control = cursor_u8(c) != 0;
    ret->size = cursor_u32(c);
    ret->text = cursor_bytes(c, ret->size);
}

enum err token_probs_get(struct cursor *c, struct token_probs *ret) {
    ret->index = cursor_u32(c);
    get_one(c, &ret->token);
    ret->n_top = cursor_u8(c);
    if (ret->n_top > TOP_LOGPROBS_MAX) c->error = true;
    for (uint32_t i = 0; i < ret->n_top && !c->error; i++) get_one(c, &ret->top[i]);
    return c->error ? ERR_PROTOCOL : ERR_OK;
}
