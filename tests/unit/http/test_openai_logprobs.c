/* Log-probabilities in OpenAI's two shapes: held back with their text, streamed and whole the same, tokens that are no text by themselves. */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "check_run.h"
#include "http/openai_answer.h"
#include "link/token_probs.h"

static struct token_prob prob(double logprob, const char *text, size_t size, bool control) {
    return (struct token_prob){
        .logprob = logprob, .control = control, .text = (const uint8_t *)text, .size = (uint32_t)size};
}

static struct msg_bytes bytes_of(struct buf *b) {
    struct msg_bytes r = {b->data, (uint32_t)b->size};
    *b = BUF(0);
    return r;
}

#define NO_TOP                                                                                               \
    {                                                                                                        \
        { .size = 0 }                                                                                        \
    }

/* One delta of a token: its record, the text that goes out with it, and whose that is (pairs). */
struct step {
    struct token_probs p;
    const char *text, *reasoning, *tools;
    int32_t shown[8];
    uint32_t n_shown;
};

static struct reply *delta(const struct step *s) {
    struct reply *r = reply_new(1, REPLY_DELTA);
    struct buf record = BUF(0), text = BUF(0), reasoning = BUF(0), tools = BUF(0);
    token_probs_put(&record, &s->p);
    if (s->text) buf_puts(&text, s->text);
    if (s->reasoning) buf_puts(&reasoning, s->reasoning);
    if (s->tools) buf_puts(&tools, s->tools);
    r->model = mem_strdup("small");
    r->logprobs = bytes_of(&record);
    r->text = bytes_of(&text);
    r->reasoning = bytes_of(&reasoning);
    r->tool_calls = bytes_of(&tools);
    if (s->n_shown) r->shown.ids = mem_dup(s->shown, s->n_shown * sizeof s->shown[0]);
    r->shown.n = s->n_shown;
    return r;
}

static struct reply *done(void) {
    struct reply *r = reply_new(1, REPLY_DONE);
    r->done.finish = MSG_FINISH_STOP;
    return r;
}

static void take(struct openai_answer *a, struct reply *r, struct buf *out) {
    ck_assert_int_eq(openai_answer_take(a, r, out), ERR_OK);
    reply_free(r);
}

static struct buf answer(enum answer_kind kind, bool stream, const struct step *steps, size_t n) {
    struct answer_plan plan = {.kind = kind, .stream = stream, .logprobs = true};
    struct openai_answer *a = openai_answer_new(&plan, 1);
    struct buf out = BUF(1u << 20);
    for (size_t i = 0; i < n; i++) take(a, delta(&steps[i]), &out);
    take(a, done(), &out);
    openai_answer_free(a);
    return out;
}

/* All values of "logprobs" in it, one a line. */
static char *logprobs_in(const struct buf *out) {
    static const char key[] = "\"logprobs\":", after[] = ",\"finish_reason\"";
    struct buf found = BUF(0);
    const char *p = (const char *)out->data, *end = p + out->size;
    while ((p = memmem(p, (size_t)(end - p), key, sizeof key - 1))) {
        p += sizeof key - 1;
        const char *stop = memmem(p, (size_t)(end - p), after, sizeof after - 1);
        ck_assert_ptr_nonnull(stop);
        if (found.size) buf_u8(&found, '\n');
        buf_put(&found, p, (size_t)(stop - p));
        p = stop;
    }
    return buf_take_string(&found);
}

static void expect(enum answer_kind kind, bool stream, const struct step *steps, size_t n,
                   const char *expected) {
    struct buf out = answer(kind, stream, steps, n);
    char *got = logprobs_in(&out);
    ck_assert_str_eq(got, expected);
    mem_free(got);
    buf_free(&out);
    ck_assert_int_eq(mem_live_count(), 0);
}

/* "Hi", then half an emoji and the other half, then the end token. */
static void emoji_steps(struct step steps[4], uint32_t n_top) {
    steps[0] = (struct step){
        {0, prob(-0.25, "Hi", 2, false), n_top, {prob(-0.25, "Hi", 2, false)}}, "Hi", NULL, NULL, {0, 7}, 2};
    steps[1] = (struct step){{1, prob(-1, "\xF0\x9F", 2, false), n_top, {prob(-0.5, "<|end|>", 7, true)}},
                             NULL,
                             NULL,
                             NULL,
                             {0},
                             0};
    steps[2] = (struct step){{2, prob(-2, "\x99\x82!", 3, false), n_top, {prob(-0.75, "\"\n", 2, false)}},
                             "\xF0\x9F\x99\x82!",
                             NULL,
                             NULL,
                             {1, 9, 2, 9},
                             4};
    steps[3] = (struct step){{3, prob(-3, "<|end|>", 7, true), 0, NO_TOP}, NULL, NULL, NULL, {0}, 0};
}

#define HI "{\"token\":\"Hi\",\"logprob\":-0.25,\"bytes\":[72,105],\"top_logprobs\":["
#define HALF "{\"token\":\"\\\\xf0\\\\x9f\",\"logprob\":-1.0,\"bytes\":[240,159],\"top_logprobs\":["
#define REST "{\"token\":\"\\\\x99\\\\x82!\",\"logprob\":-2.0,\"bytes\":[153,130,33],\"top_logprobs\":["

START_TEST(a_chat) {
    struct step s[4];
    emoji_steps(s, 0);
    expect(ANSWER_CHAT, false, s, 4, "{\"content\":[" HI "]}," HALF "]}," REST "]}],\"refusal\":null}");
    expect(ANSWER_CHAT, true, s, 4,
           "null\n{\"content\":[" HI "]}],\"refusal\":null}\n{\"content\":[" HALF "]}," REST
           "]}],\"refusal\":null}\nnull");
    emoji_steps(s, 1);
    expect(ANSWER_CHAT, false, s, 4,
           "{\"content\":[" HI "{\"token\":\"Hi\",\"logprob\":-0.25,\"bytes\":[72,105]}]}," HALF
           "{\"token\":\"<|end|>\",\"logprob\":-0.5,\"bytes\":null}]}," REST
           "{\"token\":\"\\\"\\n\",\"logprob\":-0.75,\"bytes\":[34,10]}]}],\"refusal\":null}");
}
END_TEST

START_TEST(a_plain_prompt) {
    struct step s[4];
    emoji_steps(s, 1);
    expect(ANSWER_TEXT, false, s, 4,
           "{\"tokens\":[\"Hi\",\"bytes:\\\\xf0\\\\x9f\",\"bytes:\\\\x99\\\\x82!\"],"
           "\"token_logprobs\":[-0.25,-1.0,-2.0],"
           "\"top_logprobs\":[{\"Hi\":-0.25},{\"<|end|>\":-0.5,\"bytes:\\\\xf0\\\\x9f\":-1.0},"
           "{\"\\\"\\n\":-0.75,\"bytes:\\\\x99\\\\x82!\":-2.0}],\"text_offset\":[7,9,9]}");
    emoji_steps(s, 0); /* 0 asks for the drawn token alone */
    expect(ANSWER_TEXT, true, s, 4,
           "{\"tokens\":[\"Hi\"],\"token_logprobs\":[-0.25],\"top_logprobs\":[{\"Hi\":-0.25}],"
           "\"text_offset\":[7]}\n"
           "{\"tokens\":[\"bytes:\\\\xf0\\\\x9f\",\"bytes:\\\\x99\\\\x82!\"],\"token_logprobs\":[-1.0,-2.0],"
           "\"top_logprobs\":[{\"bytes:\\\\xf0\\\\x9f\":-1.0},{\"bytes:\\\\x99\\\\x82!\":-2.0}],"
           "\"text_offset\":[9,9]}\nnull");
}
END_TEST

START_TEST(thoughts_and_calls_have_none) {
    const struct step s[] = {
        {{0, prob(-1, "<think>", 7, true), 0, NO_TOP}, NULL, NULL, NULL, {0}, 0},
        {{1, prob(-1, "hm", 2, false), 0, NO_TOP}, NULL, "hm", NULL, {0, SHOWN_NEVER, 1, SHOWN_NEVER}, 4},
        {{2, prob(-1, "call", 4, false), 0, NO_TOP},
         NULL,
         NULL,
         "[{\"index\":0,\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}"
         "}]",
         {2, SHOWN_NEVER},
         2},
        {{3, prob(-1, "Hi", 2, false), 0, NO_TOP}, "Hi", NULL, NULL, {3, 0}, 2}};
    expect(ANSWER_CHAT, true, s, 3, "null\nnull\nnull\nnull");
    expect(ANSWER_CHAT, false, s, 3, "{\"content\":null,\"refusal\":null}");
    expect(ANSWER_CHAT, false, s, 4,
           "{\"content\":[{\"token\":\"Hi\",\"logprob\":-1.0,\"bytes\":[72,105],\"top_logprobs\":[]}],"
           "\"refusal\":null}");
    expect(ANSWER_CHAT, false, s, 2, "{\"content\":[],\"refusal\":null}");
    expect(ANSWER_TEXT, false, s, 0,
           "{\"tokens\":[],\"token_logprobs\":[],\"top_logprobs\":[],\"text_offset\":[]}");
}
END_TEST

/* Text whose token was shown before with another character of it. */
START_TEST(text_without_a_new_token) {
    const struct step s[] = {
        {{0, prob(-1, "a\xF0\x9F", 3, false), 0, NO_TOP}, "a", NULL, NULL, {0, 0}, 2},
        {{1, prob(-1, "", 0, true), 0, NO_TOP}, "\xEF\xBF\xBD\xEF\xBF\xBD", NULL, NULL, {0}, 0}};
    expect(ANSWER_CHAT, true, s, 2,
           "null\n{\"content\":[{\"token\":\"a\\\\xf0\\\\x9f\",\"logprob\":-1.0,\"bytes\":[97,240,159],"
           "\"top_logprobs\":[]}],\"refusal\":null}\n{\"content\":[],\"refusal\":null}\nnull");
}
END_TEST

START_TEST(one_key_comes_once) {
    struct step s = {{0,
                      prob(-3, "a", 1, false),
                      4,
                      {prob(-1, "", 0, true), prob(-2, "x\0y", 3, false), prob(-2.5, "", 0, true),
                       prob(-2.75, "a", 1, false)}},
                     "a",
                     NULL,
                     NULL,
                     {0, 0},
                     2};
    struct json_error where;
    struct buf out = answer(ANSWER_TEXT, false, &s, 1);
    struct json *body =
        json_read(out.data, out.size, &where); /* which refuses double keys, and NUL in them */
    ck_assert_msg(body, "%s", where.text);
    const struct json *top =
        json_at(json_get(json_get(json_at(json_get(body, "choices"), 0), "logprobs"), "top_logprobs"), 0);
    ck_assert_uint_eq(json_count(top), 3);
    ck_assert_double_eq(json_number(json_get(top, ""), 0), -1);
    ck_assert_double_eq(json_number(json_get(top, "bytes:x\\x00y"), 0), -2);
    ck_assert_double_eq(json_number(json_get(top, "a"), 0), -2.75);
    json_free(body);
    buf_free(&out);
}
END_TEST

START_TEST(what_has_not_come_is_no_protocol) {
    const int32_t wrong[][2] = {{1, 0}, {-5, 0}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct answer_plan plan = {.kind = ANSWER_CHAT, .logprobs = true};
        struct openai_answer *a = openai_answer_new(&plan, 1);
        struct buf out = BUF(1u << 20);
        struct step s = {{0, prob(-1, "a", 1, false), 0, NO_TOP}, "a", NULL, NULL, {wrong[i][0], 0}, 2};
        struct reply *r = delta(&s);
        ck_assert_int_eq(openai_answer_take(a, r, &out), ERR_PROTOCOL);
        reply_free(r);
        s.n_shown = 0;
        r = delta(&s);
        r->logprobs.size--; /* half a record, and what is shown is in it */
        ck_assert_int_eq(openai_answer_take(a, r, &out), ERR_OK);
        reply_free(r);
        s.n_shown = 2, s.shown[0] = 7;
        r = delta(&s);
        ck_assert_int_eq(openai_answer_take(a, r, &out), ERR_PROTOCOL);
        reply_free(r);
        openai_answer_free(a);
        buf_free(&out);
    }
}
END_TEST

START_TEST(nobody_asked) {
    struct openai_answer *a = openai_answer_new(&(struct answer_plan){.kind = ANSWER_CHAT}, 1);
    struct buf out = BUF(1u << 20);
    struct reply *r = reply_new(1, REPLY_DELTA);
    struct buf text = BUF(0);
    buf_puts(&text, "Hi");
    r->text = bytes_of(&text);
    take(a, r, &out);
    take(a, done(), &out);
    char *got = logprobs_in(&out);
    ck_assert_str_eq(got, "null");
    mem_free(got);
    buf_free(&out);
    openai_answer_free(a);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {a_chat,
                                  a_plain_prompt,
                                  thoughts_and_calls_have_none,
                                  text_without_a_new_token,
                                  one_key_comes_once,
                                  what_has_not_come_is_no_protocol,
                                  nobody_asked};
    return CHECK_RUN("openai_logprobs", tests);
}
