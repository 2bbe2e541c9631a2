/* llama-server's three bodies and their answers. */
#include <check.h>
#include <string.h>

#include "base/mem.h"
#include "check_run.h"
#include "http/api_llama.h"
#include "http/look_answer.h"

static struct api_parsed read_as(enum route route, const char *body) {
    struct api_parsed p;
    struct api_input in = {.route = route, .body = body, .body_size = strlen(body)};
    api_llama_read(&in, &p);
    ck_assert_msg((p.error.err == ERR_OK) == (p.request != NULL), "%s: both or neither", body);
    return p;
}

START_TEST(bodies) {
    struct api_parsed p = read_as(ROUTE_TOKENIZE, "{\"content\":\"a\\u0000b\"}");
    const struct msg_submit *s = &p.request->submit;
    ck_assert(s->kind == MSG_KIND_TEXT && s->look == MSG_LOOK_TOKENS && p.plan.kind == ANSWER_TOKENS);
    ck_assert(s->prompt.size == 3 && memcmp(s->prompt.data, "a\0b", 3) == 0);
    ck_assert(s->parse_special && !s->add_special && !s->with_pieces);
    api_parsed_free(&p);
    p = read_as(ROUTE_TOKENIZE, "{\"content\":\"\",\"add_special\":true,\"parse_special\":false,"
                                "\"with_pieces\":true,\"model\":\"m\"}");
    s = &p.request->submit;
    ck_assert(s->prompt.size == 0 && !s->parse_special && s->add_special && s->with_pieces);
    ck_assert_str_eq(p.request->model, "m");
    api_parsed_free(&p);
    p = read_as(ROUTE_TOKENIZE, "{\"content\":\"\",\"parse_special\":null}");
    ck_assert(p.request->submit.parse_special);
    api_parsed_free(&p);
    p = read_as(ROUTE_DETOKENIZE, "{\"tokens\":[0,7]}");
    s = &p.request->submit;
    ck_assert(s->kind == MSG_KIND_TOKENS && s->look == MSG_LOOK_TEXT && p.plan.kind == ANSWER_CONTENT);
    ck_assert(s->prompt_ids.n == 2 && s->prompt_ids.ids[1] == 7);
    api_parsed_free(&p);
    p = read_as(ROUTE_APPLY_TEMPLATE, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}");
    s = &p.request->submit;
    ck_assert(s->kind == MSG_KIND_CHAT && s->look == MSG_LOOK_PROMPT && p.plan.kind == ANSWER_PROMPT);
    api_parsed_free(&p);
    p = read_as(ROUTE_APPLY_TEMPLATE, "{\"tokens\":[1]}");
    ck_assert_str_eq(p.error.param, "messages");
    api_parsed_free(&p);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

static enum err put(enum answer_kind kind, struct msg_done done, struct buf *out) {
    buf_clear(out);
    enum err err = look_answer_put(kind, &(struct reply){.kind = REPLY_DONE, .done = done}, out);
    buf_u8(out, 0);
    return err;
}

START_TEST(answers) {
    struct buf out = BUF(1000);
    int32_t ids[] = {7, 8, 9}, ends[] = {1, 2, 4};
    uint8_t text[] = {'a', 0xc3, 0xa9, '"', 0};
    struct msg_done d = {.ids = {ids, 3}};
    ck_assert_int_eq(put(ANSWER_TOKENS, d, &out), ERR_OK);
    ck_assert_str_eq((char *)out.data, "{\"tokens\":[7,8,9]}");
    d.ends = (struct msg_tokens){ends, 3};
    d.text = (struct msg_bytes){text, 4};
    ck_assert_int_eq(put(ANSWER_TOKENS, d, &out), ERR_OK);
    ck_assert_str_eq((char *)out.data, "{\"tokens\":[{\"id\":7,\"piece\":\"a\"},{\"id\":8,\"piece\":[195]},"
                                       "{\"id\":9,\"piece\":[169,34]}]}");
    ck_assert_int_eq(put(ANSWER_CONTENT, d, &out), ERR_OK);
    ck_assert_str_eq((char *)out.data, "{\"content\":\"a\xc3\xa9\\\"\"}");
    ck_assert_int_eq(put(ANSWER_PROMPT, (struct msg_done){0}, &out), ERR_OK);
    ck_assert_str_eq((char *)out.data, "{\"prompt\":\"\"}");
    ends[2] = 5; /* past the text */
    ck_assert_int_eq(put(ANSWER_TOKENS, d, &out), ERR_PROTOCOL);
    ends[2] = 1; /* backwards */
    ck_assert_int_eq(put(ANSWER_TOKENS, d, &out), ERR_PROTOCOL);
    d.ends.n = 2;
    ck_assert_int_eq(put(ANSWER_TOKENS, d, &out), ERR_PROTOCOL);
    buf_free(&out);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {bodies, answers};
    return CHECK_RUN("llama", tests);
}
