/* Answers made from scripted replies: whole and streamed, text and tool calls, and their sameness. */
#include <check.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "http/openai_answer.h"

static struct msg_bytes bytes(const char *s) {
    return (struct msg_bytes){.data = (uint8_t *)mem_strdup(s), .size = (uint32_t)strlen(s)};
}

static struct reply *delta(const char *text, const char *reasoning, const char *tool_calls) {
    struct reply *r = reply_new(1, REPLY_DELTA);
    r->model = mem_strdup("small");
    if (text) r->text = bytes(text);
    if (reasoning) r->reasoning = bytes(reasoning);
    if (tool_calls) r->tool_calls = bytes(tool_calls);
    return r;
}

static struct reply *done(uint32_t finish) {
    struct reply *r = reply_new(1, REPLY_DONE);
    r->agent = mem_strdup("anna");
    r->queue_ns = 1500000;
    r->done.finish = finish;
    r->done.prompt_tokens = 10;
    r->done.cached_tokens = 8;
    r->done.generated_tokens = 4;
    r->done.prefill_tokens = 2;
    r->done.decode_tokens = 3;
    return r;
}

static void take(struct openai_answer *a, struct reply *r, struct buf *out) {
    ck_assert_int_eq(openai_answer_take(a, r, out), ERR_OK);
    reply_free(r);
}

/* The n-th "data: " of a stream as JSON; NULL when there is none or it is [DONE]. */
static struct json *data_at(const struct buf *out, int n) {
    const char *p = (const char *)out->data, *end = p + out->size;
    struct json_error where;
    while ((p = memmem(p, (size_t)(end - p), "data: ", 6))) {
        const char *stop = memmem(p, (size_t)(end - p), "\n\n", 2);
        if (n-- == 0) return json_read(p + 6, (size_t)(stop - p) - 6, &where);
        p = stop;
    }
    return NULL;
}

static const struct json *choice_of(const struct json *body, const char *member) {
    return json_get(json_at(json_get(body, "choices"), 0), member);
}

START_TEST(a_whole_chat) {
    struct openai_answer *a = openai_answer_new(&(struct answer_plan){.kind = ANSWER_CHAT}, 1);
    struct buf out = BUF(1u << 20);
    struct json_error where;
    take(a, reply_new(1, REPLY_ENTERED), &out);
    take(a, delta("Hel", "hm", NULL), &out);
    take(a, delta("lo \"you\"", NULL, NULL), &out);
    ck_assert_uint_eq(out.size, 0);
    take(a, done(MSG_FINISH_LENGTH), &out);
    struct json *body = json_read(out.data, out.size, &where);
    ck_assert_ptr_nonnull(body);
    ck_assert_str_eq(json_string(json_get(body, "object"), NULL), "chat.completion");
    ck_assert_str_eq(json_string(json_get(body, "model"), NULL), "small");
    const struct json *message = choice_of(body, "message");
    ck_assert_str_eq(json_string(json_get(message, "content"), NULL), "Hello \"you\"");
    ck_assert_str_eq(json_string(json_get(message, "reasoning_content"), NULL), "hm");
    ck_assert_ptr_null(json_get(message, "tool_calls"));
    ck_assert_str_eq(json_string(choice_of(body, "finish_reason"), NULL), "length");
    const struct json *usage = json_get(body, "usage");
    ck_assert_int_eq(json_int(json_get(usage, "total_tokens"), 0), 14);
    ck_assert_int_eq(json_int(json_get(json_get(usage, "prompt_tokens_details"), "cached_tokens"), 0), 8);
    const struct json *hotseat = json_get(body, "hotseat");
    ck_assert_str_eq(json_string(json_get(hotseat, "agent"), NULL), "anna");
    ck_assert_double_eq(json_number(json_get(hotseat, "queue_ms"), 0), 1.5);
    ck_assert_int_eq(json_int(json_get(hotseat, "decode_tokens"), 0), 3);
    ck_assert_ptr_null(json_get(hotseat, "debug"));
    json_free(body);
    buf_free(&out);
    openai_answer_free(a);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

static struct reply *of(uint32_t choice, struct reply *r, bool last) {
    r->choice = choice;
    r->last = last;
    return r;
}

static const struct json *member_of(const struct json *body, size_t choice, const char *member) {
    return json_get(json_at(json_get(body, "choices"), choice), member);
}

START_TEST(several_choices_of_two_prompts) {
    struct answer_plan plan = {.kind = ANSWER_TEXT, .n_choices = 4, .n_per_prompt = 2};
    struct openai_answer *a = openai_answer_new(&plan, 1);
    struct buf out = BUF(1u << 20);
    struct json_error where;
    static const char *const words[] = {"a", "b", "c", "d"};
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < 4; i++) take(a, of(3 - i, delta(words[3 - i], NULL, NULL), false), &out);
    struct reply *other = of(2, done(MSG_FINISH_LENGTH), false);
    other->queue_ns = 7;
    take(a, other, &out);
    for (uint32_t i = 0; i < 2; i++) take(a, of(i, done(MSG_FINISH_STOP), false), &out);
    ck_assert_uint_eq(out.size, 0);
    take(a, of(3, done(MSG_FINISH_STOP), true), &out);
    struct json *body = json_read(out.data, out.size, &where);
    ck_assert_uint_eq(json_count(json_get(body, "choices")), 4);
    for (uint32_t i = 0; i < 4; i++) {
        char twice[3] = {words[i][0], words[i][0], 0};
        ck_assert_int_eq(json_int(member_of(body, i, "index"), -1), i);
        ck_assert_str_eq(json_string(member_of(body, i, "text"), NULL), twice);
        ck_assert_str_eq(json_string(member_of(body, i, "finish_reason"), NULL), i == 2 ? "length" : "stop");
    }
    const struct json *usage = json_get(body, "usage"), *hotseat = json_get(body, "hotseat");
    ck_assert_int_eq(json_int(json_get(usage, "prompt_tokens"), 0), 20);
    ck_assert_int_eq(json_int(json_get(json_get(usage, "prompt_tokens_details"), "cached_tokens"), 0), 16);
    ck_assert_int_eq(json_int(json_get(usage, "completion_tokens"), 0), 16);
    ck_assert_int_eq(json_int(json_get(usage, "total_tokens"), 0), 36);
    ck_assert_int_eq(json_int(json_get(hotseat, "prefill_tokens"), 0), 8);
    ck_assert_double_eq(json_number(json_get(hotseat, "queue_ms"), 0), 1.5);
    json_free(body);
    openai_answer_free(a);
    a = openai_answer_new(&plan, 1);
    struct reply *beyond = of(4, delta("x", NULL, NULL), false);
    ck_assert_int_eq(openai_answer_take(a, beyond, &out), ERR_PROTOCOL);
    reply_free(beyond);
    openai_answer_free(a);
    buf_free(&out);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(a_stream_of_two_choices_ends_once) {
    struct answer_plan plan = {
        .kind = ANSWER_CHAT, .stream = true, .include_usage = true, .n_choices = 2, .n_per_prompt = 2};
    struct openai_answer *a = openai_answer_new(&plan, 1);
    struct buf out = BUF(1u << 20);
    take(a, of(0, delta("a", NULL, NULL), false), &out);
    take(a, of(0, done(MSG_FINISH_STOP), false), &out);
    take(a, of(1, reply_new(1, REPLY_ENTERED), false), &out);
    ck_assert_ptr_null(memmem(out.data, out.size, "[DONE]", 6));
    take(a, of(1, done(MSG_FINISH_LENGTH), true), &out);
    static const struct {
        int index;
        const char *role, *content, *finish;
    } wanted[] = {{0, "assistant", "", NULL},
                  {0, NULL, "a", NULL},
                  {0, NULL, NULL, "stop"},
                  {1, "assistant", "", NULL},
                  {1, NULL, NULL, "length"}};
    for (int i = 0; i < (int)ARRAY_LEN(wanted); i++) {
        struct json *chunk = data_at(&out, i);
        const struct json *delta = choice_of(chunk, "delta");
        const char *role = json_string(json_get(delta, "role"), NULL),
                   *content = json_string(json_get(delta, "content"), NULL),
                   *finish = json_string(choice_of(chunk, "finish_reason"), NULL);
        ck_assert_int_eq(json_int(choice_of(chunk, "index"), -1), wanted[i].index);
        ck_assert_pstr_eq(role, wanted[i].role);
        ck_assert_pstr_eq(content, wanted[i].content);
        ck_assert_pstr_eq(finish, wanted[i].finish);
        json_free(chunk);
    }
    struct json *last = data_at(&out, (int)ARRAY_LEN(wanted));
    ck_assert_int_eq(json_int(json_get(json_get(last, "usage"), "completion_tokens"), 0), 8);
    json_free(last);
    ck_assert_ptr_nonnull(memmem(out.data, out.size, "data: [DONE]", 12));
    openai_answer_free(a);
    buf_free(&out);
}
END_TEST

START_TEST(debug_figures_come_only_when_asked) {
    struct openai_answer *a = openai_answer_new(&(struct answer_plan){.kind = ANSWER_TEXT}, 1);
    struct buf out = BUF(1u << 20);
    struct json_error where;
    struct reply *r = done(MSG_FINISH_STOP);
    r->debug = true;
    r->done.kv_xxh3 = mem_strdup("ab");
    r->done.decoded_tokens = 5;
    take(a, delta("x", NULL, NULL), &out);
    take(a, r, &out);
    struct json *body = json_read(out.data, out.size, &where);
    ck_assert_str_eq(json_string(json_get(body, "object"), NULL), "text_completion");
    ck_assert_str_eq(json_string(choice_of(body, "text"), NULL), "x");
    const struct json *debug = json_get(json_get(body, "hotseat"), "debug");
    ck_assert_str_eq(json_string(json_get(debug, "kv_xxh3"), NULL), "ab");
    ck_assert_int_eq(json_int(json_get(debug, "decoded_tokens"), 0), 5);
    json_free(body);
    buf_free(&out);
    openai_answer_free(a);
}
END_TEST

#define CALL_0                                                                                               \
    "[{\"index\":0,\"id\":\"c0\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]"
#define CALL_0_MORE "[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\":1}\"}}]"
#define CALL_1                                                                                               \
    "[{\"index\":1,\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]"

START_TEST(tool_calls_are_put_together) {
    struct openai_answer *a = openai_answer_new(&(struct answer_plan){.kind = ANSWER_CHAT}, 1);
    struct buf out = BUF(1u << 20);
    struct json_error where;
    take(a, delta(NULL, NULL, CALL_0), &out);
    take(a, delta(NULL, NULL, CALL_0_MORE), &out);
    take(a, delta(NULL, NULL, CALL_1), &out);
    struct reply *bad = delta(NULL, NULL, "[{\"index\":5}]");
    ck_assert_int_eq(openai_answer_take(a, bad, &out), ERR_PROTOCOL);
    reply_free(bad);
    take(a, done(MSG_FINISH_TOOL_CALLS), &out);
    struct json *body = json_read(out.data, out.size, &where);
    const struct json *message = choice_of(body, "message"), *calls = json_get(message, "tool_calls");
    ck_assert_int_eq(json_type(json_get(message, "content")), JSON_NULL);
    ck_assert_uint_eq(json_count(calls), 2);
    ck_assert_str_eq(json_string(json_get(json_at(calls, 0), "id"), NULL), "c0");
    ck_assert_str_eq(json_string(json_get(json_get(json_at(calls, 0), "function"), "arguments"), NULL),
                     "{\"a\":1}");
    ck_assert_str_eq(json_string(json_get(json_get(json_at(calls, 1), "function"), "name"), NULL), "g");
    ck_assert_str_eq(json_string(choice_of(body, "finish_reason"), NULL), "tool_calls");
    json_free(body);
    buf_free(&out);
    openai_answer_free(a);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

static void check_chunk(struct json *chunk, const char *first_id, const char *object) {
    ck_assert_ptr_nonnull(chunk);
    ck_assert_str_eq(json_string(json_get(chunk, "id"), NULL), first_id);
    ck_assert_str_eq(json_string(json_get(chunk, "object"), NULL), object);
    ck_assert_str_eq(json_string(json_get(chunk, "model"), NULL), "small");
    ck_assert_ptr_nonnull(json_get(chunk, "created"));
    ck_assert_ptr_nonnull(json_get(chunk, "system_fingerprint"));
}

START_TEST(a_streamed_chat) {
    bool usage = _i == 1;
    struct answer_plan plan = {.kind = ANSWER_CHAT, .stream = true, .include_usage = usage};
    struct openai_answer *a = openai_answer_new(&plan, 1);
    struct buf out = BUF(1u << 20);
    struct reply *waiting = reply_new(1, REPLY_WAITING);
    waiting->model = mem_strdup("small");
    waiting->position = 2;
    waiting->eta_ms = 10;
    take(a, waiting, &out);
    ck_assert(memmem(out.data, out.size, ": waiting model=small position=2 eta_ms=10\n\n", 44));
    take(a, reply_new(1, REPLY_ENTERED), &out);
    take(a, delta("Hi", NULL, NULL), &out);
    take(a, delta("", NULL, NULL), &out); /* tokens whose text is held back: no chunk */
    take(a, delta(NULL, NULL, CALL_0), &out);
    take(a, done(MSG_FINISH_STOP), &out);
    struct json *chunk[6] = {0};
    int n = usage ? 5 : 4;
    for (int i = 0; i < n; i++) chunk[i] = data_at(&out, i);
    const char *id = json_string(json_get(chunk[0], "id"), NULL);
    for (int i = 0; i < n; i++) check_chunk(chunk[i], id, "chat.completion.chunk");
    ck_assert_str_eq(json_string(json_get(choice_of(chunk[0], "delta"), "role"), NULL), "assistant");
    ck_assert_str_eq(json_string(json_get(choice_of(chunk[1], "delta"), "content"), NULL), "Hi");
    ck_assert_uint_eq(json_count(json_get(choice_of(chunk[2], "delta"), "tool_calls")), 1);
    ck_assert_str_eq(json_string(choice_of(chunk[3], "finish_reason"), NULL), "stop");
    ck_assert_int_eq(json_type(choice_of(chunk[1], "finish_reason")), JSON_NULL);
    ck_assert((json_type(json_get(chunk[1], "usage")) == JSON_NULL) == usage);
    if (usage) {
        ck_assert_uint_eq(json_count(json_get(chunk[4], "choices")), 0);
        ck_assert_int_eq(json_int(json_get(json_get(chunk[4], "usage"), "completion_tokens"), 0), 4);
        ck_assert_ptr_nonnull(json_get(chunk[4], "hotseat"));
    }
    ck_assert(memcmp(out.data + out.size - 14, "data: [DONE]\n\n", 14) == 0);
    for (int i = 0; i < n; i++) json_free(chunk[i]);
    buf_free(&out);
    openai_answer_free(a);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(streamed_text_equals_whole_text) {
    static const char *const pieces[] = {
        "    if", " x:\n", "\t\xf0\x9f\x98\x80", "\\\"\\u0041", "\r\n data: [DONE]\n\n", "\x01"};
    struct openai_answer *whole = openai_answer_new(&(struct answer_plan){.kind = ANSWER_TEXT}, 1);
    struct openai_answer *stream =
        openai_answer_new(&(struct answer_plan){.kind = ANSWER_TEXT, .stream = true}, 2);
    struct buf out = BUF(1u << 20), chunks = BUF(1u << 20), joined = BUF(1u << 20);
    struct json_error where;
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        take(whole, delta(pieces[i], NULL, NULL), &out);
        take(stream, delta(pieces[i], NULL, NULL), &chunks);
    }
    take(whole, done(MSG_FINISH_STOP), &out);
    take(stream, done(MSG_FINISH_STOP), &chunks);
    for (int i = 0;; i++) {
        struct json *chunk = data_at(&chunks, i);
        if (!chunk) break;
        size_t size = 0;
        const char *s = json_string(choice_of(chunk, "text"), &size);
        buf_put(&joined, s, size);
        json_free(chunk);
    }
    struct json *body = json_read(out.data, out.size, &where);
    size_t size = 0;
    const char *text = json_string(choice_of(body, "text"), &size);
    ck_assert_uint_eq(size, joined.size);
    ck_assert_mem_eq(text, joined.data, size);
    json_free(body);
    buf_free(&out);
    buf_free(&chunks);
    buf_free(&joined);
    openai_answer_free(whole);
    openai_answer_free(stream);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("openai_answer");
    TCase *t = tcase_create("answers");
    tcase_add_test(t, a_whole_chat);
    tcase_add_test(t, debug_figures_come_only_when_asked);
    tcase_add_test(t, several_choices_of_two_prompts);
    tcase_add_test(t, a_stream_of_two_choices_ends_once);
    tcase_add_test(t, tool_calls_are_put_together);
    tcase_add_loop_test(t, a_streamed_chat, 0, 2);
    tcase_add_test(t, streamed_text_equals_whole_text);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
