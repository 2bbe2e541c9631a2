/* Anthropic's answers made from scripted replies: whole and streamed, the order of events, stop reasons, and their sameness. */
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "check_run.h"
#include "http/anthropic_answer.h"
#include "http/partial_json.h"

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

static struct reply *figures(enum reply_kind kind, uint32_t finish) {
    struct reply *r = reply_new(1, kind);
    r->model = mem_strdup("small");
    r->done.finish = finish;
    r->done.prompt_tokens = 10;
    r->done.cached_tokens = 8;
    if (kind == REPLY_DONE) r->done.generated_tokens = 4;
    return r;
}

static struct reply *stopped(uint32_t finish, const char *stop) {
    struct reply *r = figures(REPLY_DONE, finish);
    r->done.stop = 1;
    r->stop = bytes(stop);
    return r;
}

static void take(struct anthropic_answer *a, struct reply *r, struct buf *out) {
    ck_assert_int_eq(anthropic_answer_take(a, r, out), ERR_OK);
    reply_free(r);
}

#define CALL(index, more)                                                                                    \
    "[{\"index\":" index ",\"id\":\"c" index "\",\"type\":\"function\",\"function\":{\"name\":\"f" index     \
    "\",\"arguments\":\"" more "\"}}]"
#define MORE(index, more) "[{\"index\":" index ",\"function\":{\"arguments\":\"" more "\"}}]"

/* What a model may say, and what it comes to. */
struct saying {
    const char *said[8][3]; /* text, reasoning, tool_calls */
    uint32_t finish;
    const char *stop;
    const char *content, *events, *reason;
};
static const struct saying SAYINGS[] = {
    {{{"Hel"}, {"lo \"you\""}},
     MSG_FINISH_STOP,
     NULL,
     "[{\"type\":\"text\",\"text\":\"Hello \\\"you\\\"\"}]",
     "message_start 0+ 0d 0d 0- message_delta message_stop ",
     "end_turn"},
    {{{NULL, "hm"}, {NULL, "!"}, {"so"}, {""}},
     MSG_FINISH_LENGTH,
     NULL,
     "[{\"type\":\"thinking\",\"thinking\":\"hm!\",\"signature\":\"\"},{\"type\":\"text\",\"text\":\"so\"}]",
     "message_start 0+ 0d 0d 0- 1+ 1d 1- message_delta message_stop ",
     "max_tokens"},
    {{{"I look.", "hm"},
      {NULL, NULL, CALL("0", "")},
      {NULL, NULL, MORE("0", "{\\\"a\\\": ")},
      {NULL, NULL, MORE("0", "1}")},
      {NULL, NULL, CALL("1", "{}")}},
     MSG_FINISH_TOOL_CALLS,
     NULL,
     "[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"\"},{\"type\":\"text\",\"text\":\"I "
     "look.\"},"
     "{\"type\":\"tool_use\",\"id\":\"c0\",\"name\":\"f0\",\"input\":{\"a\": 1}},"
     "{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"f1\",\"input\":{}}]",
     "message_start 0+ 0d 0- 1+ 1d 1- 2+ 2d 2d 2- 3+ 3d 3- message_delta message_stop ",
     "tool_use"},
    {{{NULL, NULL, CALL("0", "{\\\"a\\\": 1")}, {"Done", NULL, MORE("0", "}")}}, /* at once, in this order */
     MSG_FINISH_TOOL_CALLS,
     NULL,
     "[{\"type\":\"tool_use\",\"id\":\"c0\",\"name\":\"f0\",\"input\":{\"a\": "
     "1}},{\"type\":\"text\",\"text\":\"Done\"}]",
     "message_start 0+ 0d 0d 0- 1+ 1d 1- message_delta message_stop ",
     "tool_use"},
    {{{NULL, NULL, CALL("0", "{\\\"a\\\": [1, \\\"x")}},
     MSG_FINISH_LENGTH,
     NULL,
     "[{\"type\":\"tool_use\",\"id\":\"c0\",\"name\":\"f0\",\"input\":{\"a\": [1]}}]",
     "message_start 0+ 0d 0- message_delta message_stop ",
     "max_tokens"},
    {{{NULL, NULL, CALL("0", "")}},
     MSG_FINISH_TOOL_CALLS,
     NULL,
     "[{\"type\":\"tool_use\",\"id\":\"c0\",\"name\":\"f0\",\"input\":{}}]",
     "message_start 0+ 0- message_delta message_stop ",
     "tool_use"},
    {{{"one "}},
     MSG_FINISH_STOP,
     "END",
     "[{\"type\":\"text\",\"text\":\"one \"}]",
     "message_start 0+ 0d 0- message_delta message_stop ",
     "stop_sequence"},
    {{{NULL, NULL, CALL("0", "{\\\"a")}},
     MSG_FINISH_TOOL_CALLS,
     "END",
     "[{\"type\":\"tool_use\",\"id\":\"c0\",\"name\":\"f0\",\"input\":{}}]",
     "message_start 0+ 0d 0- message_delta message_stop ",
     "stop_sequence"},
    {{{NULL}}, MSG_FINISH_STOP, NULL, "[]", "message_start message_delta message_stop ", "end_turn"},
};

static void say(const struct saying *s, struct anthropic_answer *a, struct buf *out) {
    take(a, figures(REPLY_ENTERED, 0), out);
    for (size_t i = 0; i < ARRAY_LEN(s->said); i++) {
        const char *const *said = s->said[i];
        if (said[0] || said[1] || said[2]) take(a, delta(said[0], said[1], said[2]), out);
    }
    take(a, s->stop ? stopped(s->finish, s->stop) : figures(REPLY_DONE, s->finish), out);
}

static char *dump(const struct json *v) {
    struct buf b = BUF(1u << 20);
    ck_assert_int_eq(json_dump(v, &b), ERR_OK);
    return buf_take_string(&b);
}

static void expect_dump(const struct json *v, const char *wanted) {
    struct json_error where;
    struct json *json = json_read(wanted, strlen(wanted), &where);
    char *got = dump(v), *want = dump(json);
    ck_assert_str_eq(got, want);
    mem_free(got);
    mem_free(want);
    json_free(json);
}

#define USAGE                                                                                                \
    "{\"input_tokens\":2,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":8,\"output_tokens\":" \
    "4}"

START_TEST(a_whole_answer) {
    const struct saying *s = &SAYINGS[_i];
    struct anthropic_answer *a = anthropic_answer_new(&(struct answer_plan){.kind = ANSWER_MESSAGE}, 1);
    struct buf out = BUF(1u << 20);
    struct json_error where;
    say(s, a, &out);
    struct json *body = json_read(out.data, out.size, &where);
    ck_assert_msg(body, "%.*s", (int)out.size, (const char *)out.data);
    ck_assert_str_eq(json_string(json_get(body, "type"), NULL), "message");
    ck_assert_str_eq(json_string(json_get(body, "role"), NULL), "assistant");
    ck_assert_str_eq(json_string(json_get(body, "model"), NULL), "small");
    ck_assert_int_eq(strncmp(json_string(json_get(body, "id"), NULL), "msg_", 4), 0);
    expect_dump(json_get(body, "content"), s->content);
    expect_dump(json_get(body, "usage"), USAGE);
    ck_assert_str_eq(json_string(json_get(body, "stop_reason"), NULL), s->reason);
    const char *stop = json_string(json_get(body, "stop_sequence"), NULL);
    ck_assert(s->stop ? stop && strcmp(stop, s->stop) == 0
                      : json_type(json_get(body, "stop_sequence")) == JSON_NULL);
    ck_assert_str_eq(json_string(json_get(json_get(body, "hotseat"), "model"), NULL), "small");
    json_free(body);
    buf_free(&out);
    anthropic_answer_free(a);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

/* The next event of a stream: its data, which must name its type as the event does. NULL at the end. */
static struct json *next_event(const struct buf *out, size_t *at) {
    struct json_error where;
    const char *p = (const char *)out->data + *at, *end = (const char *)out->data + out->size;
    if (p == end) return NULL;
    ck_assert_int_eq(strncmp(p, "event: ", 7), 0);
    const char *data = memmem(p, (size_t)(end - p), "\ndata: ", 7),
               *stop = memmem(p, (size_t)(end - p), "\n\n", 2);
    ck_assert(data && stop && data < stop);
    struct json *event = json_read(data + 7, (size_t)(stop - data) - 7, &where);
    ck_assert_ptr_nonnull(event);
    const char *type = json_string(json_get(event, "type"), NULL);
    ck_assert(type && strlen(type) == (size_t)(data - p) - 7 && strncmp(type, p + 7, strlen(type)) == 0);
    *at = (size_t)(stop + 2 - (const char *)out->data);
    return event;
}

/* What a client puts together of the deltas of one block. */
struct gathered {
    char *start; /* the content_block of its start */
    struct buf more;
};

static void note_event(const struct json *event, struct gathered *blocks, struct buf *order) {
    const char *type = json_string(json_get(event, "type"), NULL);
    int64_t index = json_int(json_get(event, "index"), -1);
    if (strcmp(type, "content_block_start") == 0) {
        blocks[index].start = dump(json_get(event, "content_block"));
        buf_printf(order, "%lld+ ", (long long)index);
    } else if (strcmp(type, "content_block_delta") == 0) {
        void *iter = NULL;
        const char *key;
        const struct json *v;
        while (json_next(json_get(event, "delta"), &iter, &key, &v))
            if (strcmp(key, "type") != 0) buf_puts(&blocks[index].more, json_string(v, NULL));
        buf_printf(order, "%lldd ", (long long)index);
    } else if (strcmp(type, "content_block_stop") == 0) {
        buf_printf(order, "%lld- ", (long long)index);
    } else {
        buf_printf(order, "%s ", type);
    }
}

/* One block as the whole answer has it: the text put into its start, or the input closed. */
static void put_gathered(const struct gathered *g, struct buf *out) {
    bool tool = strstr(g->start, "\"input\":{}");
    const char *hole = strstr(g->start, tool ? "{}" : "\"\"");
    ck_assert_ptr_nonnull(hole);
    buf_put(out, g->start, (size_t)(hole - g->start));
    struct json_out w = json_out_into(out);
    if (tool)
        ck_assert_int_eq(partial_json_close(g->more.data, g->more.size, out), ERR_OK);
    else
        json_strn(&w, g->more.data ? (const char *)g->more.data : "", g->more.size);
    buf_puts(out, hole + 2);
}

START_TEST(a_stream_is_the_same_in_its_order) {
    const struct saying *s = &SAYINGS[_i];
    struct anthropic_answer *a =
        anthropic_answer_new(&(struct answer_plan){.kind = ANSWER_MESSAGE, .stream = true}, 1);
    struct buf out = BUF(1u << 20), order = BUF(4096), content = BUF(4096);
    struct gathered blocks[8] = {0};
    say(s, a, &out);
    size_t at = 0;
    struct json *event;
    while ((event = next_event(&out, &at))) {
        const char *type = json_string(json_get(event, "type"), NULL);
        note_event(event, blocks, &order);
        if (strcmp(type, "message_start") == 0) {
            const struct json *usage = json_get(json_get(event, "message"), "usage");
            ck_assert_int_eq(json_int(json_get(usage, "input_tokens"), -1), 2);
            ck_assert_int_eq(json_int(json_get(usage, "output_tokens"), -1), 0);
            expect_dump(json_get(json_get(event, "message"), "content"), "[]");
            ck_assert_int_eq(json_type(json_get(json_get(event, "message"), "stop_reason")), JSON_NULL);
        }
        if (strcmp(type, "message_delta") == 0) {
            const struct json *end = json_get(event, "delta");
            ck_assert_str_eq(json_string(json_get(end, "stop_reason"), NULL), s->reason);
            ck_assert(s->stop ? strcmp(json_string(json_get(end, "stop_sequence"), NULL), s->stop) == 0
                              : json_type(json_get(end, "stop_sequence")) == JSON_NULL);
            expect_dump(json_get(event, "usage"), USAGE);
        }
        json_free(event);
    }
    char *said = buf_take_string(&order);
    ck_assert_str_eq(said, s->events);
    mem_free(said);
    buf_puts(&content, "[");
    for (size_t i = 0; i < ARRAY_LEN(blocks) && blocks[i].start; i++) {
        if (i > 0) buf_puts(&content, ",");
        put_gathered(&blocks[i], &content);
        mem_free(blocks[i].start);
        buf_free(&blocks[i].more);
    }
    buf_puts(&content, "]");
    char *all = buf_take_string(&content);
    ck_assert_str_eq(all, s->content);
    mem_free(all);
    buf_free(&out);
    anthropic_answer_free(a);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(who_waits_is_pinged) {
    struct anthropic_answer *a =
        anthropic_answer_new(&(struct answer_plan){.kind = ANSWER_MESSAGE, .stream = true}, 1);
    struct buf out = BUF(1u << 20);
    struct reply *waiting = reply_new(1, REPLY_WAITING);
    waiting->model = mem_strdup("small");
    waiting->position = 2;
    waiting->eta_ms = 10;
    take(a, waiting, &out);
    char *text = buf_take_string(&out);
    ck_assert_str_eq(
        text, ": waiting model=small position=2 eta_ms=10\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n");
    mem_free(text);
    anthropic_answer_free(a);
}
END_TEST

START_TEST(a_count) {
    struct anthropic_answer *a = anthropic_answer_new(&(struct answer_plan){.kind = ANSWER_COUNT}, 1);
    struct buf out = BUF(1u << 20);
    take(a, figures(REPLY_DONE, MSG_FINISH_STOP), &out);
    char *text = buf_take_string(&out);
    ck_assert_str_eq(text, "{\"input_tokens\":10}");
    mem_free(text);
    anthropic_answer_free(a);
}
END_TEST

START_TEST(calls_that_are_none) {
    static const char *const bad[] = {"{}", "[{\"index\":5}]", "[{}]", "x"};
    for (size_t i = 0; i < 2 * ARRAY_LEN(bad); i++) {
        struct answer_plan plan = {.kind = ANSWER_MESSAGE, .stream = i % 2};
        struct anthropic_answer *a = anthropic_answer_new(&plan, 1);
        struct buf out = BUF(1u << 20);
        struct reply *r = delta(NULL, NULL, bad[i / 2]);
        ck_assert_int_eq(anthropic_answer_take(a, r, &out), ERR_PROTOCOL);
        reply_free(r);
        /* Nor may one go on that is no more the last. */
        take(a, delta(NULL, NULL, CALL("0", "")), &out);
        take(a, delta(NULL, NULL, CALL("1", "")), &out);
        r = delta(NULL, NULL, MORE("0", "{}"));
        ck_assert_int_eq(anthropic_answer_take(a, r, &out), ERR_PROTOCOL);
        reply_free(r);
        buf_free(&out);
        anthropic_answer_free(a);
    }
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(no_allocation_may_be_missed) {
    int n_whole = 0; /* one that did no harm is not the end */
    for (int n = 1; n < 2000 && n_whole < 30; n++) {
        mem_fail_at(n);
        struct anthropic_answer *a = anthropic_answer_new(&(struct answer_plan){.kind = ANSWER_MESSAGE}, 1);
        struct buf out = BUF(1u << 20);
        enum err err = a ? ERR_OK : ERR_NOMEM;
        const struct saying *s = &SAYINGS[2];
        for (size_t i = 0; i < ARRAY_LEN(s->said) && !err; i++) {
            struct reply r = {.kind = REPLY_DELTA, .model = (char *)(uintptr_t) "small"};
            struct msg_bytes *to[] = {&r.text, &r.reasoning, &r.tool_calls};
            for (int k = 0; k < 3 && s->said[i][k]; k++)
                *to[k] =
                    (struct msg_bytes){(uint8_t *)(uintptr_t)s->said[i][k], (uint32_t)strlen(s->said[i][k])};
            err = anthropic_answer_take(a, &r, &out);
        }
        struct reply end = {.kind = REPLY_DONE};
        if (!err) err = anthropic_answer_take(a, &end, &out);
        buf_free(&out);
        anthropic_answer_free(a);
        mem_fail_at(0);
        ck_assert_int_eq(mem_live_count(), 0);
        n_whole = err ? 0 : n_whole + 1;
        ck_assert_msg(!err || err == ERR_NOMEM || err == ERR_PROTOCOL, "%s",
                      err_name(err)); /* JSON that was not read is none */
    }
    ck_assert_int_eq(n_whole, 30);
}
END_TEST

START_TEST(what_is_whole_of_json) {
    static const char *const rows[][2] = {
        {"{\"a\": 1}", "{\"a\": 1}"},
        {" {\"a\" : [1,2] } ", " {\"a\" : [1,2] } "},
        {"", "{}"},
        {"{", "{}"},
        {"{\"a", "{}"},
        {"{\"a\"", "{}"},
        {"{\"a\":", "{}"},
        {"{\"a\": 12", "{\"a\": 12}"},
        {"{\"a\": 1.", "{}"},
        {"{\"a\": tr", "{}"},
        {"{\"a\": true", "{\"a\": true}"},
        {"{\"a\": \"x", "{}"},
        {"{\"a\": \"x\\", "{}"},
        {"{\"a\": \"x\\\"", "{}"},
        {"{\"a\": \"{[,:\"", "{\"a\": \"{[,:\"}"},
        {"{\"a\": 1,", "{\"a\": 1}"},
        {"{\"a\": 1, \"b\": \"x", "{\"a\": 1}"},
        {"{\"a\": [1, 2", "{\"a\": [1, 2]}"},
        {"{\"a\": [1, \"b", "{\"a\": [1]}"},
        {"{\"a\": [", "{\"a\": []}"},
        {"{\"a\": {\"b\": 1, \"c", "{\"a\": {\"b\": 1}}"},
        {"{\"a\": [{\"x\":1},{\"y\"", "{\"a\": [{\"x\":1},{}]}"},
        {"not json", "{}"},
        {"{\"a\": 1, \"a\": 2}", "{\"a\": 1, \"a\": 2}"},
        {"{\"n\": 99999999999999999999}", "{\"n\": 99999999999999999999}"},
        {"{\"n\": 1e999, \"b\": \"x", "{\"n\": 1e999}"},
        {"{\"a\": 1}}", "{\"a\": 1}"},
        {"]", "{}"},
        {"[1, 2]", "[1, 2]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = BUF(4096);
        ck_assert_int_eq(partial_json_close(rows[i][0], strlen(rows[i][0]), &out), ERR_OK);
        char *got = buf_take_string(&out);
        ck_assert_msg(strcmp(got, rows[i][1]) == 0, "%s: %s, not %s", rows[i][0], got, rows[i][1]);
        mem_free(got);
    }
    char deep[2000];
    memset(deep, '[', sizeof deep);
    struct buf out = BUF(8192);
    struct json_error where;
    ck_assert_int_eq(partial_json_close(deep, sizeof deep, &out), ERR_OK);
    struct json *value = json_read(out.data, out.size, &where);
    ck_assert_ptr_nonnull(value);
    json_free(value);
    buf_free(&out);
}
END_TEST

int main(void) {
    TCase *t = tcase_create("answers");
    tcase_add_loop_test(t, a_whole_answer, 0, ARRAY_LEN(SAYINGS));
    tcase_add_loop_test(t, a_stream_is_the_same_in_its_order, 0, ARRAY_LEN(SAYINGS));
    const TTest *const tests[] = {who_waits_is_pinged, a_count, calls_that_are_none,
                                  no_allocation_may_be_missed, what_is_whole_of_json};
    for (size_t i = 0; i < ARRAY_LEN(tests); i++) tcase_add_test(t, tests[i]);
    return check_run_case("anthropic_answer", t);
}
