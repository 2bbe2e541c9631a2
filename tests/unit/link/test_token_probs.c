/* Biases and probabilities go through their bytes, and nothing that is cut off does. */
#include <string.h>

#include "check_run.h"
#include "link/token_probs.h"

static struct token_prob prob(double logprob, const char *text, bool control) {
    return (struct token_prob){.logprob = logprob,
                               .control = control,
                               .text = (const uint8_t *)text,
                               .size = (uint32_t)strlen(text)};
}

static void same(const struct token_prob *a, const struct token_prob *b) {
    ck_assert_double_eq(a->logprob, b->logprob);
    ck_assert_int_eq(a->control, b->control);
    ck_assert_uint_eq(a->size, b->size);
    ck_assert_mem_eq(a->text, b->text, a->size);
}

START_TEST(biases) {
    struct buf b = BUF(0);
    token_bias_put(&b, 0, -100);
    token_bias_put(&b, 2147483647, 0.25);
    struct msg_bytes bytes = {b.data, (uint32_t)b.size};
    double bias;
    ck_assert_uint_eq(token_bias_count(&bytes), 2);
    ck_assert_int_eq(token_bias_at(&bytes, 0, &bias), 0);
    ck_assert_double_eq(bias, -100);
    ck_assert_int_eq(token_bias_at(&bytes, 1, &bias), 2147483647);
    ck_assert_double_eq(bias, 0.25);
    ck_assert_uint_eq(token_bias_count(&(struct msg_bytes){0}), 0);
    buf_free(&b);
}
END_TEST

static struct token_probs sample(uint32_t index, uint32_t n_top) {
    struct token_probs p = {.index = index, .token = prob(-0.5, " caf\xC3\xA9", false), .n_top = n_top};
    for (uint32_t i = 0; i < n_top; i++) p.top[i] = prob(-0.5 - i, i % 2 ? "<|end|>" : "\xF0\x9F", i % 2);
    return p;
}

START_TEST(records) {
    struct buf b = BUF(0);
    struct token_probs a = sample(7, TOP_LOGPROBS_MAX), z = sample(8, 0), got;
    token_probs_put(&b, &a);
    token_probs_put(&b, &z);
    struct cursor c = cursor_over(b.data, b.size);
    ck_assert_int_eq(token_probs_get(&c, &got), ERR_OK);
    ck_assert_uint_eq(got.index, 7);
    ck_assert_uint_eq(got.n_top, TOP_LOGPROBS_MAX);
    same(&got.token, &a.token);
    for (uint32_t i = 0; i < a.n_top; i++) same(&got.top[i], &a.top[i]);
    ck_assert_int_eq(token_probs_get(&c, &got), ERR_OK);
    ck_assert_uint_eq(got.index, 8);
    ck_assert_uint_eq(got.n_top, 0);
    ck_assert_uint_eq(cursor_left(&c), 0);
    buf_free(&b);
}
END_TEST

START_TEST(half_a_record_is_none) {
    struct buf b = BUF(0);
    struct token_probs a = sample(1, 3), got;
    token_probs_put(&b, &a);
    for (size_t size = 0; size < b.size; size++) {
        struct cursor c = cursor_over(b.data, size);
        ck_assert_int_eq(token_probs_get(&c, &got), ERR_PROTOCOL);
    }
    size_t n_top_at = 4 + 8 + 1 + 4 + a.token.size;
    ck_assert_uint_eq(b.data[n_top_at], 3);
    b.data[n_top_at] = TOP_LOGPROBS_MAX + 1;
    struct cursor c = cursor_over(b.data, b.size);
    ck_assert_int_eq(token_probs_get(&c, &got), ERR_PROTOCOL);
    buf_free(&b);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {biases, records, half_a_record_is_none};
    return CHECK_RUN("token_probs", tests);
}
