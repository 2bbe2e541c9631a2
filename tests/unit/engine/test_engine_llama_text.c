/* test_engine_llama_text.c - the llama engine on the three real models: tokens, chat templates, tool calls, sampling. */
#include "engine_fixture.h"

#include "base/json.h"
#include "link/token_probs.h"

/* ---- text ---- */

static struct msg_bytes bytes(const char *s) {
    return (struct msg_bytes){.data = (uint8_t *)(uintptr_t)s, .size = (uint32_t)strlen(s)};
}

static struct msg_submit ask(const char *messages) {
    return (struct msg_submit){.kind = MSG_KIND_CHAT,
                               .messages = bytes(messages),
                               .temperature = 0,
                               .top_p = 1,
                               .seed = 42,
                               .parallel_tool_calls = 1};
}

#define TOOLS                                                                                                \
    "[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"description\":\"Weather\","            \
    "\"parameters\":"                                                                                        \
    "{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"}},\"required\":[\"city\"]}}},"       \
    "{\"type\":\"function\",\"function\":{\"name\":\"get_time\",\"description\":\"Time\",\"parameters\":"    \
    "{\"type\":\"object\",\"properties\":{\"zone\":{\"type\":\"string\"}},\"required\":[\"zone\"]}}}]"

START_TEST(test_tokens_and_pieces) {
    struct engine *e = load(_i, NULL);
    const char *text = "Four    spaces, a tab\t, an emoji \xf0\x9f\xa6\x99 and \xe2\x82\xac.\n";
    int32_t *ids = NULL;
    uint32_t n = 0;
    ck_assert_int_eq(engine_tokenize(e, text, strlen(text), false, false, &ids, &n), ERR_OK);
    struct buf b = BUF(4096);
    for (uint32_t i = 0; i < n; i++) ck_assert_int_eq(engine_piece(e, ids[i], false, &b), ERR_OK);
    ck_assert_uint_eq(b.size, strlen(text));
    ck_assert_mem_eq(b.data, text, b.size);
    mem_free(ids);
    ck_assert_int_eq(engine_tokenize(e, "", 0, false, true, &ids, &n), ERR_OK);
    ck_assert_uint_eq(n, engine_bos(e) >= 0 ? 1 : 0);
    mem_free(ids);
    ck_assert_int_eq(engine_piece(e, -1, true, &b), ERR_INVALID);
    ck_assert(!engine_is_end(e, -1));
    buf_free(&b);
    engine_free(e);
}
END_TEST

START_TEST(test_chat_without_template_is_refused) {
    struct engine *e = load(GEMMA, NULL);
    struct engine_chat *chat = NULL;
    struct msg_submit r = ask("[{\"role\":\"user\",\"content\":\"hello\"}]");
    char why[256] = "";
    ck_assert_int_eq(engine_chat_render(e, &r, &chat, why, sizeof why), ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(why, "template"));
    ck_assert_ptr_null(chat);
    engine_free(e);
}
END_TEST

static const char *const FAMILY_NAMES[] = {"chatml", "gemma", "llama3", "mistral", "phi3"};
static const char *const FAMILY_PROMPTS[] = {
    "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello "
    "\n<|im_end|>\n"
    "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
    "<start_of_turn>user\nBe kind.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello \n<end_of_turn>\n"
    "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n",
    "<|start_header_id|>system<|end_header_id|>\n\nBe "
    "kind.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello "
    "\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    NULL, /* mistral's end of turn is the vocabulary's */
    "<|system|>\nBe kind.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello "
    "\n<|end|>\n<|user|>\nBye<|end|>\n<|assistant|>\n"};

START_TEST(test_families) {
    struct engine *e = NULL;
    struct engine_model model;
    char why[256] = "";
    struct engine_load_params p = load_params(GEMMA);
    p.template_family = FAMILY_NAMES[_i];
    ck_assert_int_eq(engine_open(&e), ERR_OK);
    ck_assert_int_eq(engine_load(e, &p, &model, why, sizeof why), ERR_OK);
    struct engine_chat *chat = NULL;
    struct msg_submit r =
        ask("[{\"role\":\"system\",\"content\":\"Be kind.\"},{\"role\":\"user\",\"content\":\"Hi\"},"
            "{\"role\":\"assistant\",\"content\":\"Hello \\n\"},{\"role\":\"user\",\"content\":\"Bye\"}]");
    enum err err = engine_chat_render(e, &r, &chat, why, sizeof why);
    ck_assert_msg(err == ERR_OK, "%s", why);
    size_t size = 0;
    const char *prompt = engine_chat_prompt(chat, &size);
    if (FAMILY_PROMPTS[_i]) ck_assert_str_eq(prompt, FAMILY_PROMPTS[_i]);
    ck_assert_uint_eq(size, strlen(prompt));
    const char *const *stops = NULL;
    ck_assert_uint_ge(engine_chat_stops(chat, &stops), 1);
    /* Content without tools is exact to the byte. */
    struct buf content = BUF(4096), reasoning = BUF(4096), calls = BUF(4096);
    const char *text = "  \n two  {\"a\": 1}\n\n ";
    for (size_t n = 0; n <= strlen(text); n++) {
        ck_assert_int_eq(engine_chat_parse(chat, text, n, n == strlen(text), &content, &reasoning, &calls),
                         ERR_OK);
    }
    ck_assert_uint_eq(content.size, strlen(text));
    ck_assert_mem_eq(content.data, text, content.size);
    ck_assert_uint_eq(reasoning.size + calls.size, 0);
    engine_chat_free(chat);
    r.tools = bytes(TOOLS);
    ck_assert_int_eq(engine_chat_render(e, &r, &chat, why, sizeof why), ERR_UNSUPPORTED);
    buf_free(&content);
    buf_free(&reasoning);
    buf_free(&calls);
    engine_free(e);
}
END_TEST

/* Feeds text in pieces and joins the deltas: names, arguments, ids of up to 4 calls. */
struct joined {
    struct buf content, reasoning;
    char names[4][64], ids[4][64], arguments[4][256];
    int n_calls;
};

static void join_calls(struct joined *j, const struct buf *calls) {
    if (calls->size == 0) return;
    struct json_error error;
    struct json *root = json_read(calls->data, calls->size, &error);
    ck_assert_msg(root != NULL, "%s in %.*s", error.text, (int)calls->size, (const char *)calls->data);
    for (size_t i = 0; i < json_count(root); i++) {
        const struct json *d = json_at(root, i), *f = json_get(d, "function");
        int64_t at = json_int(json_get(d, "index"), -1);
        ck_assert(at >= 0 && at < 4);
        if (at >= j->n_calls) {
            ck_assert_int_eq(at, j->n_calls);
            j->n_calls++;
            ck_assert_str_eq(json_string(json_get(d, "type"), NULL), "function");
            snprintf(j->names[at], 64, "%s", json_string(json_get(f, "name"), NULL));
            snprintf(j->ids[at], 64, "%s", json_string(json_get(d, "id"), NULL));
        } else {
            ck_assert_ptr_null(json_get(d, "id"));
            ck_assert_ptr_null(json_get(f, "name"));
        }
        size_t have = strlen(j->arguments[at]);
        snprintf(j->arguments[at] + have, 256 - have, "%s", json_string(json_get(f, "arguments"), NULL));
    }
    json_free(root);
}

static struct joined feed(struct engine *e, const struct msg_submit *r, const char *text, size_t step) {
    struct engine_chat *chat = NULL;
    char why[256] = "";
    enum err err = engine_chat_render(e, r, &chat, why, sizeof why);
    ck_assert_msg(err == ERR_OK, "%s", why);
    struct joined j = {.content = BUF(4096), .reasoning = BUF(4096)};
    size_t size = strlen(text);
    for (size_t n = step; n < size + step; n += step) {
        struct buf calls = BUF(1 << 16);
        size_t now = n < size ? n : size;
        ck_assert_int_eq(engine_chat_parse(chat, text, now, now == size, &j.content, &j.reasoning, &calls),
                         ERR_OK);
        join_calls(&j, &calls);
        buf_free(&calls);
    }
    ck_assert_int_eq(engine_chat_called_tools(chat), j.n_calls > 0);
    engine_chat_free(chat);
    buf_put(&j.content, "", 1);
    return j;
}

START_TEST(test_tool_calls_in_pieces) {
    struct engine *e = load(QWEN, NULL);
    struct msg_submit r = ask("[{\"role\":\"user\",\"content\":\"Weather and time in Paris?\"}]");
    r.tools = bytes(TOOLS);
    const char *text =
        "I will look.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": "
        "\"Paris\"}}\n</tool_call>\n"
        "<tool_call>\n{\"name\": \"get_time\", \"arguments\": {\"zone\": \"CET\"}}\n</tool_call>";
    struct joined whole = feed(e, &r, text, strlen(text));
    ck_assert_int_eq(whole.n_calls, 2);
    ck_assert_str_eq(whole.names[0], "get_weather");
    ck_assert_str_eq(whole.names[1], "get_time");
    ck_assert_str_ne(whole.ids[0], whole.ids[1]);
    for (int c = 0; c < 2; c++) {
        struct json_error error;
        struct json *args = json_read(whole.arguments[c], strlen(whole.arguments[c]), &error);
        ck_assert_ptr_nonnull(args);
        ck_assert_str_eq(json_string(json_get(args, c ? "zone" : "city"), NULL), c ? "CET" : "Paris");
        json_free(args);
    }
    for (size_t step = 1; step < 12; step += 3) {
        struct joined j = feed(e, &r, text, step);
        ck_assert_int_eq(j.n_calls, whole.n_calls);
        for (int c = 0; c < j.n_calls; c++) {
            ck_assert_str_eq(j.names[c], whole.names[c]);
            ck_assert_str_eq(j.ids[c], whole.ids[c]);
            ck_assert_str_eq(j.arguments[c], whole.arguments[c]);
        }
        ck_assert_str_eq((char *)j.content.data, (char *)whole.content.data);
        buf_free(&j.content);
    }
    buf_free(&whole.content);
    /* Cut short inside of a call: what was read stays, nothing fails. */
    struct joined cut =
        feed(e, &r, "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Pa", 5);
    ck_assert_int_eq(cut.n_calls, 1);
    ck_assert_str_eq(cut.names[0], "get_weather");
    buf_free(&cut.content);
    /* No call at all: plain content. */
    struct joined plain = feed(e, &r, "It is sunny.", 4);
    ck_assert_int_eq(plain.n_calls, 0);
    ck_assert_str_eq((char *)plain.content.data, "It is sunny.");
    buf_free(&plain.content);
    engine_free(e);
}
END_TEST

START_TEST(test_chat_refusals_and_continuation) {
    struct engine *e = load(QWEN, NULL);
    char why[256] = "";
    struct engine_chat *chat = NULL;
    struct msg_submit r = ask("[{\"role\":\"user\",\"content\":\"x\"}]");
    r.tools = bytes(TOOLS);
    r.tool_choice = (char *)(uintptr_t) "no_such_function";
    ck_assert_int_eq(engine_chat_render(e, &r, &chat, why, sizeof why), ERR_INVALID);
    r.tool_choice = (char *)(uintptr_t) "get_time";
    ck_assert_int_eq(engine_chat_render(e, &r, &chat, why, sizeof why), ERR_OK);
    engine_chat_free(chat);
    r.json_schema = bytes("{}");
    ck_assert_int_eq(engine_chat_render(e, &r, &chat, why, sizeof why), ERR_UNSUPPORTED);
    r = ask("[{\"role\":\"user\",\"content\":\"x\"}]");
    r.json_schema = bytes("{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/nowhere\"}}}");
    ck_assert_int_eq(engine_chat_render(e, &r, &chat, why, sizeof why), ERR_UNSUPPORTED);
    ck_assert_str_ne(why, "");
    r = ask("{\"not\":\"an array\"}");
    ck_assert_int_eq(engine_chat_render(e, &r, &chat, why, sizeof why), ERR_INVALID);
    r = ask("[{\"role\":\"user\",\"content\":\"count\"},{\"role\":\"assistant\",\"content\":\"one, two,\"}]");
    ck_assert_int_eq(engine_chat_render(e, &r, &chat, why, sizeof why), ERR_OK);
    size_t size = 0;
    const char *prompt = engine_chat_prompt(chat, &size), *tail = "<|im_start|>assistant\none, two,";
    ck_assert_uint_gt(size, strlen(tail));
    ck_assert_str_eq(prompt + size - strlen(tail), tail);
    struct buf content = BUF(4096), reasoning = BUF(4096), calls = BUF(4096);
    ck_assert_int_eq(engine_chat_parse(chat, " three", 6, true, &content, &reasoning, &calls), ERR_OK);
    ck_assert_mem_eq(content.data, " three", 6);
    ck_assert_uint_eq(content.size, 6);
    buf_free(&content);
    engine_chat_free(chat);
    engine_free(e);
}
END_TEST

/* A template that prints the date gives the same prompt every day. */
START_TEST(test_dates_are_pinned) {
    struct engine *e = NULL;
    struct engine_model model;
    char why[256] = "";
    struct engine_load_params p = load_params(SMOL);
    p.template_source =
        "{% if strftime_now is defined %}{% set d = strftime_now('%d %b %Y') %}{% endif %}Today: {{ d }}\n"
        "{{ date_string }}\n{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}";
    ck_assert_int_eq(engine_open(&e), ERR_OK);
    ck_assert_int_eq(engine_load(e, &p, &model, why, sizeof why), ERR_OK);
    struct engine_chat *chat = NULL;
    struct msg_submit r = ask("[{\"role\":\"user\",\"content\":\"hi\"}]");
    ck_assert_int_eq(engine_chat_render(e, &r, &chat, why, sizeof why), ERR_OK);
    size_t size = 0;
    ck_assert_str_eq(engine_chat_prompt(chat, &size),
                     "Today: 01 Jan 2025\n01 Jan 2025\nuser: hi\nassistant: ");
    engine_chat_free(chat);
    engine_free(e);
}
END_TEST

/* A template of the kind that lets a model think or not, as Qwen3's, says how much, as gpt-oss's, takes not every word, as Hunyuan's, and keeps
 * old thoughts if it is told to: the request says which. */
START_TEST(test_a_request_says_how_much_to_think) {
    static const struct {
        bool off;
        const char *effort, *expected;
    } asks[] = {
        {false, NULL, "KEPT"},
        {false, "low", "Effort: low KEPT"},
        {false, "max", "KEPT"}, /* what it does not take is left out */
        {true, NULL, "<think>\n\n</think>\n\nEffort: none KEPT"},
        {true, "low", "<think>\n\n</think>\n\nEffort: none KEPT"},
    };
    struct engine *e = NULL;
    struct engine_model model;
    char why[256] = "";
    struct engine_load_params p = load_params(SMOL);
    p.template_source =
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
        "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}"
        "{% endif %}{% if reasoning_effort is defined %}{% if reasoning_effort == 'max' %}"
        "{{ raise_exception('no such effort') }}{% endif %}{{ 'Effort: ' + reasoning_effort + ' ' }}"
        "{% endif %}{% if preserve_thinking %}{{ 'KEPT' }}{% endif %}{% endif %}";
    ck_assert_int_eq(engine_open(&e), ERR_OK);
    ck_assert_int_eq(engine_load(e, &p, &model, why, sizeof why), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        struct engine_chat *chat = NULL;
        struct msg_submit r = ask("[{\"role\":\"user\",\"content\":\"hi\"}]");
        r.no_thinking = asks[i].off;
        r.effort = (char *)(uintptr_t)asks[i].effort;
        ck_assert_msg(engine_chat_render(e, &r, &chat, why, sizeof why) == ERR_OK, "%s", why);
        size_t size = 0;
        const char *prompt = engine_chat_prompt(chat, &size), *mark = "<|im_start|>assistant\n";
        ck_assert_str_eq(strstr(prompt, mark) + strlen(mark), asks[i].expected);
        engine_chat_free(chat);
    }
    engine_free(e);
}
END_TEST

/* ---- sampling ---- */

/* Generates up to n tokens for a request; appends the text; returns how many. replay: the first of them are given. */
static uint32_t generate(struct engine *e, const struct msg_submit *r, const int32_t *replay,
                         uint32_t n_replay, int32_t *out, uint32_t n, struct buf *text) {
    char why[256] = "";
    struct engine_chat *chat = NULL;
    struct engine_sampler *s = NULL;
    enum err err = engine_chat_render(e, r, &chat, why, sizeof why);
    ck_assert_msg(err == ERR_OK, "%s", why);
    err = engine_sampler_new(e, r, chat, &s, why, sizeof why);
    ck_assert_msg(err == ERR_OK, "%s", why);
    size_t size = 0;
    const char *prompt = engine_chat_prompt(chat, &size);
    int32_t *ids = NULL;
    uint32_t n_ids = 0, got = 0;
    ck_assert_int_eq(engine_tokenize(e, prompt, size, true, true, &ids, &n_ids), ERR_OK);
    ids = mem_realloc(ids, (n_ids + n_replay) * sizeof *ids);
    for (uint32_t i = 0; i < n_replay; i++) {
        ids[n_ids + i] = out[got++] = replay[i];
        engine_sampler_accept(s, replay[i]);
        ck_assert_int_eq(engine_piece(e, replay[i], engine_chat_keeps(chat, replay[i]), text), ERR_OK);
    }
    int32_t pos = (int32_t)(n_ids + n_replay);
    ck_assert(engine_seq_rm(e, 0, 0, -1));
    decode(e, ids, 0, pos, 0);
    uint32_t item = (uint32_t)((pos - 1) % CHUNK);
    while (got < n) {
        int32_t token = engine_sampler_pick(s, item, pos);
        if (token < 0) break;
        engine_sampler_accept(s, token);
        out[got++] = token;
        if (engine_is_end(e, token)) break;
        ck_assert_int_eq(engine_piece(e, token, engine_chat_keeps(chat, token), text), ERR_OK);
        struct engine_item next = {.token = token, .pos = pos++, .seq = 0, .logits = true};
        ck_assert_int_eq(engine_decode(e, &next, 1), ERR_OK);
        item = 0;
    }
    mem_free(ids);
    engine_sampler_free(s);
    engine_chat_free(chat);
    return got;
}

START_TEST(test_sampling_is_a_function_of_seed_and_position) {
    struct engine *e = load(SMOL, NULL);
    configure(e, CELLS);
    struct msg_submit r = ask("[{\"role\":\"user\",\"content\":\"Tell me a story about a fox.\"}]");
    r.temperature = 0.8;
    r.top_p = 0.95;
    r.top_k = 40;
    r.presence_penalty = 0.5;
    r.frequency_penalty = 0.3;
    r.ignore_eos = 1;
    int32_t a[40], b[40], c[40];
    struct buf text = BUF(1 << 16);
    ck_assert_uint_eq(generate(e, &r, NULL, 0, a, 40, &text), 40);
    ck_assert_uint_eq(generate(e, &r, NULL, 0, b, 40, &text), 40);
    ck_assert_mem_eq(a, b, sizeof a);
    /* Replayed up to the 15th token, the rest comes out the same. SmolLM2's bits do not depend on chunks. */
    ck_assert_uint_eq(generate(e, &r, a, 15, c, 40, &text), 40);
    ck_assert_mem_eq(a, c, sizeof a);
    r.seed = 43;
    ck_assert_uint_eq(generate(e, &r, NULL, 0, b, 40, &text), 40);
    ck_assert(memcmp(a, b, sizeof a) != 0);
    for (int i = 0; i < 40; i++) ck_assert(!engine_is_end(e, b[i]));
    buf_free(&text);
    engine_free(e);
}
END_TEST

START_TEST(test_schema_makes_json) {
    struct engine *e = load(QWEN, NULL);
    configure(e, CELLS);
    struct msg_submit r = ask("[{\"role\":\"user\",\"content\":\"Describe a fox.\"}]");
    r.json_schema = bytes(
        "{\"type\":\"object\",\"properties\":{\"legs\":{\"type\":\"integer\"},\"colour\":{\"enum\":[\"red\","
        "\"blue\"]}},\"required\":[\"legs\",\"colour\"],\"additionalProperties\":false}");
    for (int pass = 0; pass < 2; pass++) {
        r.temperature = pass ? 1.2 : 0;
        int32_t ids[100];
        struct buf text = BUF(1 << 16);
        uint32_t n = generate(e, &r, NULL, 0, ids, 100, &text);
        ck_assert(engine_is_end(e, ids[n - 1]));
        struct json_error error;
        struct json *root = json_read(text.data, text.size, &error);
        ck_assert_msg(root != NULL, "%.*s", (int)text.size, (const char *)text.data);
        ck_assert_int_eq(json_type(json_get(root, "legs")), JSON_INT);
        ck_assert_ptr_nonnull(json_get(root, "colour"));
        ck_assert_uint_eq(json_count(root), 2);
        json_free(root);
        buf_free(&text);
    }
    engine_free(e);
}
END_TEST

/* Whatever follows text that a schema does not allow, it would not be an answer to that schema. */
START_TEST(test_after_text_that_left_the_grammar_nothing_is_allowed) {
    struct engine *e = load(QWEN, NULL);
    configure(e, CELLS);
    struct msg_submit r = ask("[{\"role\":\"user\",\"content\":\"Describe a fox.\"}]");
    int32_t free_text[4], ids[20];
    struct buf text = BUF(1 << 16);
    ck_assert_uint_eq(generate(e, &r, NULL, 0, free_text, 4, &text), 4);
    r.json_schema = bytes("{\"type\":\"object\"}");
    for (int pass = 0; pass < 2; pass++) {
        r.temperature = pass ? 1.2 : 0;
        ck_assert_uint_eq(generate(e, &r, free_text, 4, ids, 20, &text), 4);
    }
    buf_free(&text);
    engine_free(e);
}
END_TEST

/* After the tokens of given the end is wanted above all: n_more tokens come. */
static void check_end(struct engine *e, struct msg_submit r, const char *given, uint32_t n_more) {
    int32_t *ids = NULL, out[80];
    uint32_t n = 0;
    struct buf bias = BUF(1 << 12), text = BUF(1 << 16);
    ck_assert_int_eq(engine_tokenize(e, "<|im_end|>", 10, true, false, &ids, &n), ERR_OK);
    token_bias_put(&bias, ids[0], 100);
    mem_free(ids);
    r.logit_bias = (struct msg_bytes){.data = bias.data, .size = (uint32_t)bias.size};
    ck_assert_int_eq(engine_tokenize(e, given, strlen(given), false, false, &ids, &n), ERR_OK);
    uint32_t got = generate(e, &r, ids, n, out, n + 3, &text);
    ck_assert_msg(got == n + n_more, "%s: %u after %u", given, got, n);
    ck_assert_msg(n_more == 0 || engine_is_end(e, out[n]), "%s", given);
    mem_free(ids);
    buf_free(&bias);
    buf_free(&text);
}

/* grammar_literals.cpp: many values are one tree, in which beginnings, escapes and characters of several bytes are what they are. */
START_TEST(test_a_long_enum_is_each_of_its_values) {
    static const char *const values[] = {"\"a\"",
                                         "\"ab\"",
                                         "\"abc\"",
                                         "\"abd\"",
                                         "\"\"",
                                         "\"\\\"q\\\"\"",
                                         "\"\\\\\"",
                                         "\"\\\\a\"",
                                         "\"\\n\"",
                                         "\"caf\u00e9\"",
                                         "\"caf\u00e8\"",
                                         "\"caf\"",
                                         "\"[x]\"",
                                         "\"x-y\"",
                                         "1",
                                         "12",
                                         "-1",
                                         "true",
                                         "null",
                                         "\"red or blue\"",
                                         "\"red\"",
                                         "\"a\""};
    static const char *const others[] = {"\"abe",       "\"abcd", "\"b",        "13", "\"ca\"",
                                         "\"caf\u00ea", "\"\\t",  "\"red or\"", "a",  "false"};
    struct engine *e = load(SMOL, NULL);
    configure(e, CELLS);
    struct msg_submit r = ask("[{\"role\":\"user\",\"content\":\"Choose.\"}]");
    for (int constants = 0; constants < 2; constants++) {
        struct buf schema = BUF(1 << 12);
        for (size_t i = 0; i < ARRAY_LEN(values); i++)
            buf_printf(&schema, constants ? "%s{\"const\":%s}" : "%s%s",
                       i           ? ","
                       : constants ? "{\"anyOf\":["
                                   : "{\"enum\":[",
                       values[i]);
        buf_puts(&schema, "]}");
        r.json_schema = (struct msg_bytes){.data = schema.data, .size = (uint32_t)schema.size};
        for (size_t i = 0; i < ARRAY_LEN(values); i++) check_end(e, r, values[i], 1);
        for (size_t i = 0; i < ARRAY_LEN(others); i++) check_end(e, r, others[i], 0);
        buf_free(&schema);
    }
    engine_free(e);
}
END_TEST

/* libllama counts the rules within what is repeated: those of the tree don't count. */
START_TEST(test_a_tree_is_repeated_like_anything_else) {
    struct engine *e = load(SMOL, NULL);
    configure(e, CELLS);
    struct buf schema = BUF(1 << 12);
    buf_puts(&schema, "{\"type\":\"string\",\"pattern\":\"^(ba");
    for (char c = 'a'; c < 'a' + 20; c++) buf_printf(&schema, "|a%c", c);
    buf_puts(&schema, "){1,1500}$\"}");
    struct msg_submit r = ask("[{\"role\":\"user\",\"content\":\"Choose.\"}]");
    r.json_schema = (struct msg_bytes){.data = schema.data, .size = (uint32_t)schema.size};
    check_end(e, r, "\"abba\"", 1);
    check_end(e, r, "\"az", 0);
    buf_free(&schema);
    engine_free(e);
}
END_TEST

START_TEST(test_forced_tool_call) {
    struct engine *e = load(QWEN, NULL);
    configure(e, CELLS);
    struct msg_submit r = ask("[{\"role\":\"user\",\"content\":\"What time is it in Tokyo?\"}]");
    r.tools = bytes(TOOLS);
    r.tool_choice = (char *)(uintptr_t) "get_time";
    r.parallel_tool_calls = 0;
    int32_t ids[120];
    struct buf text = BUF(1 << 16);
    generate(e, &r, NULL, 0, ids, 120, &text);
    buf_put(&text, "", 1);
    struct joined j = feed(e, &r, (const char *)text.data, 3);
    ck_assert_msg(j.n_calls == 1, "%s", (const char *)text.data);
    ck_assert_str_eq(j.names[0], "get_time");
    ck_assert_ptr_nonnull(strstr(j.arguments[0], "zone"));
    ck_assert_mem_eq(text.data, "<tool_call>", 11); /* at once */
    buf_free(&j.content);
    buf_free(&text);
    engine_free(e);
}
END_TEST

/* A model that thinks and calls tools, in the form of Qwen3's template. */
#define THINKER                                                                                              \
    "{% if tools %}{{ '<|im_start|>system\nTools:\n<tools>' }}{% for tool in tools %}{{ '\n' }}{{ tool | "   \
    "tojson }}"                                                                                              \
    "{% endfor %}{{ '\n</tools>\n<tool_call>\n{\"name\": <function-name>, \"arguments\": "                   \
    "<args-json-object>}\n</tool_call><|im_end|>\n' }}"                                                      \
    "{% endif %}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"                                 \
    "{% if m.role == 'assistant' and m.reasoning_content %}"                                                 \
    "{{ '<think>\n' + m.reasoning_content + '\n</think>\n\n' }}{% endif %}{{ m.content }}"                   \
    "{% for c in m.tool_calls or [] %}{% if m.content or not loop.first %}{{ '\n' }}{% endif %}"             \
    "{{ '<tool_call>\n{\"name\": \"' }}{{ c.function.name }}{{ '\", \"arguments\": ' }}"                     \
    "{{ c.function.arguments | tojson }}{{ '}\n</tool_call>' }}{% endfor %}{{ '<|im_end|>\n' }}"             \
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"                              \
    "{% if enable_thinking is defined and enable_thinking is false %}"                                       \
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"

#define THINKER_XML THINKER "{# <function=NAME>, <parameter=NAME>: as Qwen3.5's #}"

static struct engine *load_thinker(const char *template_source) {
    struct engine *e = NULL;
    struct engine_model model;
    char why[256] = "";
    struct engine_load_params p = load_params(QWEN);
    p.template_source = template_source;
    ck_assert_int_eq(engine_open(&e), ERR_OK);
    enum err err = engine_load(e, &p, &model, why, sizeof why);
    ck_assert_msg(err == ERR_OK, "load: %s", why);
    configure(e, CELLS);
    return e;
}

/* What goes on after the tokens of given, pushed to end at once, which only a grammar can forbid: it must have begun a call, or not. */
static void check_pushed(struct engine *e, struct msg_submit r, const char *given, bool called) {
    int32_t *end = NULL, *begun = NULL, out[100];
    uint32_t n_end = 0, n = 0;
    struct buf bias = BUF(64), text = BUF(1 << 16);
    ck_assert_int_eq(engine_tokenize(e, "<|im_end|>", 10, true, false, &end, &n_end), ERR_OK);
    ck_assert_uint_eq(n_end, 1);
    token_bias_put(&bias, end[0], 100);
    r.logit_bias = (struct msg_bytes){.data = bias.data, .size = (uint32_t)bias.size};
    ck_assert_int_eq(engine_tokenize(e, given, strlen(given), true, false, &begun, &n), ERR_OK);
    uint32_t got = generate(e, &r, begun, n, out, 100, &text);
    buf_put(&text, "", 1);
    ck_assert_msg(engine_is_end(e, out[got - 1]), "%s", (const char *)text.data);
    ck_assert_msg(called ? got > n + 3 : got == n + 1, "%u after %u: %s", got, n, (const char *)text.data);
    struct joined j = feed(e, &r, (const char *)text.data, 5);
    ck_assert_msg(j.n_calls == called, "%s", (const char *)text.data);
    struct json_error error;
    struct json *args = json_read(j.arguments[0], strlen(j.arguments[0]), &error);
    ck_assert_msg(!called || json_string(json_get(args, "city"), NULL), "%s", j.arguments[0]);
    json_free(args);
    buf_free(&j.content);
    buf_free(&j.reasoning);
    buf_free(&text);
    buf_free(&bias);
    mem_free(begun);
    mem_free(end);
}

#define CALL "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \""
#define CALL_XML "<tool_call>\n<function=get_weather>\n<parameter=city>\n"

/* Once a call has begun its grammar holds it to the end, whatever stands in its arguments; a call inside of thoughts is none. */
START_TEST(test_marks_of_thoughts_inside_of_a_call) {
    static const struct {
        const char *begun;
        bool called;
    } cases[] = {
        {CALL "Par", true},
        {CALL "a <think> b", true},
        {CALL "a </think> b", true},
        {CALL "<think>x</think> b", true},
        {"<think>\nHm.\n</think>\n\n" CALL "a <think>", true},
        {"<think>\nShall I write " CALL, false},
        {"It is", false},
    };
    struct engine *e = load_thinker(THINKER);
    struct msg_submit r = ask("[{\"role\":\"user\",\"content\":\"Weather in Paris?\"}]");
    r.tools = bytes(TOOLS);
    r.parallel_tool_calls = 0;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) check_pushed(e, r, cases[i].begun, cases[i].called);
    engine_free(e);
}
END_TEST

/* Whether the template itself ends the thoughts or a call does, the grammar of the call wakes. */
START_TEST(test_a_call_at_the_end_of_thoughts) {
    static const struct {
        const char *begun;
        bool no_thinking, called;
    } cases[] = {
        {CALL_XML "Par", true, true},
        {"<think>\nHm.\n" CALL_XML "Par", false, true},
        {"<think>\nHm.\n</think>\n\n" CALL_XML "Par", false, true},
        {"<think>\nHm.\n" CALL_XML "<think>Par", false, true},
        {"<think>\nHm.", false, false},
    };
    struct engine *e = load_thinker(THINKER_XML);
    struct msg_submit r = ask("[{\"role\":\"user\",\"content\":\"Weather in Paris?\"}]");
    r.tools = bytes(TOOLS);
    r.parallel_tool_calls = 0;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        r.no_thinking = cases[i].no_thinking;
        check_pushed(e, r, cases[i].begun, cases[i].called);
    }
    engine_free(e);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("engine_llama_text");
    TCase *t = tcase_create("text");
    tcase_set_timeout(t, 400);
    tcase_add_loop_test(t, test_tokens_and_pieces, 0, N_MODELS);
    tcase_add_test(t, test_chat_without_template_is_refused);
    tcase_add_loop_test(t, test_families, 0, 5);
    tcase_add_test(t, test_tool_calls_in_pieces);
    tcase_add_test(t, test_chat_refusals_and_continuation);
    tcase_add_test(t, test_dates_are_pinned);
    tcase_add_test(t, test_a_request_says_how_much_to_think);
    suite_add_tcase(s, t);
    t = tcase_create("sampling");
    tcase_set_timeout(t, 400);
    tcase_add_test(t, test_sampling_is_a_function_of_seed_and_position);
    tcase_add_test(t, test_schema_makes_json);
    tcase_add_test(t, test_a_long_enum_is_each_of_its_values);
    tcase_add_test(t, test_a_tree_is_repeated_like_anything_else);
    tcase_add_test(t, test_after_text_that_left_the_grammar_nothing_is_allowed);
    tcase_add_test(t, test_forced_tool_call);
    tcase_add_test(t, test_marks_of_thoughts_inside_of_a_call);
    tcase_add_test(t, test_a_call_at_the_end_of_thoughts);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return run_suite(suite());
}
