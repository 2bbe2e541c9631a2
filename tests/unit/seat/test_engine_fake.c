/* What the other rooms' tests rely on in the fake engine: bytes, text and faults. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/must.h"
#include "gguf_tiny.h"
#include "model/gguf_info.h"
#include "put_parts.h"
#include "seat/engine.h"

static char dir[] = "/tmp/test_engine_fake_XXXXXX";
static char path_a[64], path_b[64], path_w[64];
static char why[256];

static void files_make(void) {
    must(mkdtemp(dir));
    snprintf(path_a, sizeof path_a, "%s/a.gguf", dir);
    snprintf(path_b, sizeof path_b, "%s/b.gguf", dir);
    snprintf(path_w, sizeof path_w, "%s/w.gguf", dir);
    must(gguf_tiny_write(path_a, &(struct gguf_tiny){.seed = 1}));
    must(gguf_tiny_write(path_b, &(struct gguf_tiny){.seed = 2}));
    must(gguf_tiny_write(path_w, &(struct gguf_tiny){.architecture = "gemma3", .layers = 6, .window = 64}));
}

static void files_remove(void) {
    unlink(path_a), unlink(path_b), unlink(path_w);
    rmdir(dir);
}

static struct engine *open_model(const char *path, enum kv_type kv) {
    struct engine *e = NULL;
    struct engine_model m;
    uint64_t compute = 0;
    ck_assert_int_eq(engine_open(&e), ERR_OK);
    ck_assert_msg(engine_load(e, &(struct engine_load_params){.path = path, .kv = kv}, &m, why, sizeof why) ==
                      ERR_OK,
                  "%s", why);
    struct engine_context_params c = {.n_cells = 2048, .n_seqs = 3, .n_batch = 512};
    ck_assert_msg(engine_configure(e, &c, &compute, why, sizeof why) == ERR_OK, "%s", why);
    return e;
}

static void feed(struct engine *e, int32_t seq, int32_t from, int32_t to, int32_t salt) {
    struct engine_item items[512];
    while (from < to) {
        uint32_t n = 0;
        for (; from < to && n < 37; from++, n++)
            items[n] = (struct engine_item){
                .token = (from * 7 + salt) % 256, .pos = from, .seq = seq, .logits = from + 1 == to};
        ck_assert_int_eq(engine_decode(e, items, n), ERR_OK);
        if (from == to) ck_assert(engine_logits(e, n - 1) != NULL);
    }
}

/* The logits row at position pos, after dropping it and reading it again. */
static uint64_t row_at(struct engine *e, int32_t seq, int32_t pos, int32_t salt) {
    struct engine_item item = {.token = (pos * 7 + salt) % 256, .pos = pos, .seq = seq, .logits = true};
    ck_assert_int_eq(engine_decode(e, &item, 1), ERR_OK);
    return hash64(engine_logits(e, 0), 320 * sizeof(float));
}

static uint64_t row_after(const char *path, enum kv_type kv, int32_t n, int32_t salt) {
    struct engine *e = open_model(path, kv);
    feed(e, 0, 0, n, salt);
    uint64_t row = row_at(e, 0, n, salt);
    engine_free(e);
    return row;
}

START_TEST(test_logits_depend_on_file_type_and_every_token) {
    uint64_t row = row_after(path_a, KV_Q8_0, 100, 0);
    ck_assert(row == row_after(path_a, KV_Q8_0, 100, 0));
    ck_assert(row != row_after(path_b, KV_Q8_0, 100, 0));
    ck_assert(row != row_after(path_a, KV_F16, 100, 0));
    ck_assert(row != row_after(path_a, KV_Q8_0, 100, 1));
    ck_assert(row != row_after(path_a, KV_Q8_0, 101, 0));
}
END_TEST

/* Moves seq 0's first n positions to seq 1 by blocks; window parts where window_from says. */
static void move(struct engine *e, struct engine *to, int32_t n, int32_t window_from) {
    for (int32_t p = 0; p < n; p += BLOCK_TOKENS) {
        int32_t p1 = p + BLOCK_TOKENS < n ? p + BLOCK_TOKENS : n, from = 0;
        struct buf base = BUF(0), window = BUF(0);
        int parts = ENGINE_PART_BASE | ENGINE_PART_WINDOW;
        ck_assert_int_eq(engine_block_take(e, 0, p, p1, parts, &base, &window, &from), ERR_OK);
        bool with_window = p1 > window_from;
        ck_assert_int_eq(
            put_parts(to, 1, p, p1, base.data, base.size, window.data, with_window ? window.size : 0),
            ERR_OK);
        buf_free(&base), buf_free(&window);
    }
}

static uint64_t row_moved(const char *path, int32_t n, int32_t window_from) {
    struct engine *e = open_model(path, KV_Q8_0), *to = open_model(path, KV_Q8_0);
    uint64_t before = 0, after = 1;
    feed(to, 2, 0, 33, 5); /* a neighbour: other cells */
    feed(e, 0, 0, n, 0);
    move(e, to, n, window_from);
    ck_assert_int_eq(engine_kv_hash(e, 0, n, &before), ERR_OK);
    ck_assert_int_eq(engine_kv_hash(to, 1, n, &after), ERR_OK);
    if (window_from <= n - 64) ck_assert(before == after);
    uint64_t row = row_at(to, 1, n, 0);
    engine_free(e), engine_free(to);
    return row;
}

START_TEST(test_restored_blocks_go_on_as_if_never_moved) {
    ck_assert(row_moved(path_a, 600, 0) == row_after(path_a, KV_Q8_0, 600, 0));
    ck_assert(row_moved(path_w, 600, 600 - 64) == row_after(path_w, KV_Q8_0, 600, 0));
    ck_assert(row_moved(path_w, 520, 520 - 64) == row_after(path_w, KV_Q8_0, 520, 0));
}
END_TEST

START_TEST(test_a_missing_window_part_changes_what_follows) {
    ck_assert(row_moved(path_w, 600, 600) != row_after(path_w, KV_Q8_0, 600, 0));
    ck_assert(row_moved(path_w, 520, 512) !=
              row_after(path_w, KV_Q8_0, 520, 0)); /* only 8 of its 64 positions */
}
END_TEST

START_TEST(test_one_flipped_byte_changes_what_follows) {
    ck_assert_int_eq(fault_arm("kv_flip", 1, 0), ERR_OK);
    struct engine *e = open_model(path_a, KV_Q8_0), *to = open_model(path_a, KV_Q8_0);
    feed(e, 0, 0, 300, 0);
    move(e, to, 300, 0);
    uint64_t before = 0, after = 0;
    ck_assert_int_eq(engine_kv_hash(e, 0, 300, &before), ERR_OK);
    ck_assert_int_eq(engine_kv_hash(to, 1, 300, &after), ERR_OK);
    ck_assert(before != after);
    ck_assert(row_at(to, 1, 300, 0) != row_after(path_a, KV_Q8_0, 300, 0));
    engine_free(e), engine_free(to);
}
END_TEST

START_TEST(test_window_forgets_and_refuses_to_go_back) {
    struct engine *e = open_model(path_w, KV_Q8_0);
    feed(e, 0, 0, 300, 0);
    struct buf window = BUF(0), base = BUF(0);
    int32_t from = 0;
    ck_assert_int_eq(engine_block_take(e, 0, 0, 256, ENGINE_PART_WINDOW, &base, &window, &from), ERR_OK);
    ck_assert_int_eq(from, 300 - 64);
    ck_assert_uint_eq(base.size, 0);
    buf_free(&window);
    ck_assert(engine_seq_rm(e, 0, 299, -1)); /* the last token can always be read again */
    ck_assert(!engine_seq_rm(e, 0, 200, -1));
    ck_assert_uint_eq(engine_cells_used(e), 299);
    ck_assert(engine_seq_rm(e, 0, 0, -1));
    ck_assert_uint_eq(engine_cells_used(e), 0);
    engine_free(e);
}
END_TEST

START_TEST(test_full_attention_goes_back_anywhere) {
    struct engine *e = open_model(path_a, KV_Q8_0);
    feed(e, 0, 0, 300, 0);
    ck_assert(engine_seq_rm(e, 0, 100, -1));
    ck_assert(row_at(e, 0, 100, 0) == row_after(path_a, KV_Q8_0, 100, 0));
    ck_assert(!engine_seq_rm(e, 0, 10, 20));
    engine_free(e);
}
END_TEST

START_TEST(test_failed_steps_leave_nothing) {
    struct engine *e = open_model(path_w, KV_Q8_0);
    feed(e, 0, 0, 100, 0);
    struct engine_item item = {.token = 700 % 256, .pos = 100, .seq = 0};
    ck_assert_int_eq(fault_arm("decode_fail", 1, 0), ERR_OK);
    ck_assert_int_eq(engine_decode(e, &item, 1), ERR_INTERNAL);
    engine_cancel(e, true);
    ck_assert_int_eq(engine_decode(e, &item, 1), ERR_CANCELED);
    engine_cancel(e, false);
    item.pos = 101; /* a gap */
    ck_assert_int_eq(engine_decode(e, &item, 1), ERR_INTERNAL);
    ck_assert_uint_eq(engine_cells_used(e), 100);
    ck_assert(row_at(e, 0, 100, 0) == row_after(path_w, KV_Q8_0, 100, 0));
    engine_free(e);
}
END_TEST

START_TEST(test_full_cells_are_an_error) {
    struct engine *e = open_model(path_a, KV_Q8_0);
    feed(e, 0, 0, 2048, 0);
    struct engine_item item = {.token = 1, .pos = 0, .seq = 1};
    ck_assert_int_eq(engine_decode(e, &item, 1), ERR_NO_CELLS);
    ck_assert(engine_seq_rm(e, 0, 2047, -1));
    ck_assert_int_eq(engine_decode(e, &item, 1), ERR_OK);
    engine_free(e);
}
END_TEST

START_TEST(test_damaged_parts_are_refused) {
    struct engine *e = open_model(path_w, KV_Q8_0);
    feed(e, 0, 0, 40, 0);
    struct buf base = BUF(0), window = BUF(0);
    int32_t from = 0;
    ck_assert_int_eq(
        engine_block_take(e, 0, 0, 40, ENGINE_PART_BASE | ENGINE_PART_WINDOW, &base, &window, &from), ERR_OK);
    ck_assert_int_eq(put_parts(e, 1, 0, 40, base.data, base.size - 1, window.data, window.size), ERR_CORRUPT);
    ck_assert_int_eq(put_parts(e, 1, 0, 40, base.data, base.size, window.data, window.size - 1), ERR_CORRUPT);
    ck_assert_int_eq(put_parts(e, 1, 0, 39, base.data, base.size, window.data, window.size), ERR_CORRUPT);
    ck_assert_int_eq(put_parts(e, 1, 40, 80, base.data, base.size, window.data, window.size), ERR_INVALID);
    base.data[0] ^= 1;
    ck_assert_int_eq(put_parts(e, 1, 0, 40, base.data, base.size, window.data, window.size), ERR_CORRUPT);
    ck_assert_uint_eq(engine_cells_used(e), 40);
    buf_free(&base), buf_free(&window);
    engine_free(e);
}
END_TEST

START_TEST(test_self_test_passes_and_leaves_nothing) {
    const char *const paths[] = {path_a, path_w};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct engine *e = open_model(paths[i], KV_Q8_0);
        feed(e, 0, 0, 100, 0);
        ck_assert_msg(engine_self_test(e, why, sizeof why) == ERR_OK, "%s", why);
        ck_assert_uint_eq(engine_cells_used(e), 100);
        engine_free(e);
    }
}
END_TEST

START_TEST(test_measure_says_what_a_load_takes) {
    struct engine_load_params p = {.path = path_w, .kv = KV_Q8_0};
    struct engine_context_params c = {.n_cells = 1024, .n_seqs = 5, .n_batch = 512};
    struct engine_measure m;
    struct gguf_info info;
    ck_assert_int_eq(gguf_info_read(path_w, &info, why, sizeof why), ERR_OK);
    ck_assert_int_eq(engine_measure(&p, &c, &m, why, sizeof why), ERR_OK);
    ck_assert_uint_eq(m.weights_bytes, info.spec.weights_bytes);
    ck_assert_uint_eq(m.device_bytes, 0); /* no GPU: no bound of its own */
    ck_assert_uint_eq(m.base_bytes_per_token, model_spec_base_bytes_per_token(&info.spec, KV_Q8_0));
    ck_assert_uint_gt(m.window_bytes_per_seq, 0);
    ck_assert_uint_eq(m.cells_bytes, 1024 * m.base_bytes_per_token + 5 * m.window_bytes_per_seq);
    struct engine *e = open_model(path_w, KV_Q8_0);
    uint64_t compute = 0;
    ck_assert_int_eq(engine_configure(e, &c, &compute, why, sizeof why), ERR_OK);
    ck_assert_uint_eq(compute, m.compute_bytes);
    engine_free(e);
    p.path = "/nowhere.gguf";
    ck_assert_int_ne(engine_measure(&p, &c, &m, why, sizeof why), ERR_OK);
    ck_assert_int_gt(strlen(why), 0);
}
END_TEST

START_TEST(test_faults_of_load_and_configure) {
    struct engine *e = NULL;
    struct engine_model m;
    struct engine_load_params p = {.path = path_a, .kv = KV_Q8_0};
    struct engine_context_params c = {.n_cells = 256, .n_seqs = 1, .n_batch = 8};
    uint64_t compute = 0;
    ck_assert_int_eq(engine_open(&e), ERR_OK);
    ck_assert_int_eq(fault_arm("load_fail", 1, 0), ERR_OK);
    ck_assert_int_eq(engine_load(e, &p, &m, why, sizeof why), ERR_MODEL_INVALID);
    ck_assert_int_eq(engine_load(e, &p, &m, why, sizeof why), ERR_OK);
    ck_assert_int_eq(fault_arm("configure_fail", 1, 0), ERR_OK);
    ck_assert_int_eq(engine_configure(e, &c, &compute, why, sizeof why), ERR_NOMEM);
    ck_assert_int_eq(engine_configure(e, &c, &compute, why, sizeof why), ERR_OK);
    engine_unload(e);
    ck_assert_int_eq(engine_load(e, &p, &m, why, sizeof why), ERR_OK);
    engine_free(e);
}
END_TEST

static void *cancel_soon(void *e) {
    usleep(30000);
    engine_cancel(e, true);
    return NULL;
}

START_TEST(test_cancel_ends_a_slow_load_and_a_slow_decode) {
    struct engine *e = open_model(path_a, KV_Q8_0);
    struct engine_item item = {.token = 1, .pos = 0, .seq = 0};
    ck_assert_int_eq(fault_arm("decode_slow", 1, 20000), ERR_OK);
    pthread_t t;
    ck_assert_int_eq(pthread_create(&t, NULL, cancel_soon, e), 0);
    int64_t began = clock_now_ns();
    ck_assert_int_eq(engine_decode(e, &item, 1), ERR_CANCELED);
    ck_assert(clock_now_ns() - began < NS_PER_S);
    pthread_join(t, NULL);
    engine_cancel(e, false);
    engine_unload(e);
    struct engine_model m;
    ck_assert_int_eq(fault_arm("load_slow", 1, 20000), ERR_OK);
    ck_assert_int_eq(pthread_create(&t, NULL, cancel_soon, e), 0);
    ck_assert_int_eq(engine_load(e, &(struct engine_load_params){.path = path_a}, &m, why, sizeof why),
                     ERR_CANCELED);
    pthread_join(t, NULL);
    engine_free(e);
}
END_TEST

/* ---- text ---- */

static struct msg_submit chat_of(const char *messages) {
    struct msg_submit s = {.kind = MSG_KIND_CHAT, .top_p = 1, .seed = 7};
    s.messages = (struct msg_bytes){(uint8_t *)mem_strdup(messages), (uint32_t)strlen(messages)};
    return s;
}

static void text_of(struct msg_bytes *b, const char *text) {
    *b = (struct msg_bytes){(uint8_t *)mem_strdup(text), (uint32_t)strlen(text)};
}

/* Runs a request to its end on a fresh engine; the text (caller frees). replay: how many tokens are fed back
 * instead of drawn. */
static char *answer(struct msg_submit *s, uint32_t max, int32_t *tokens, uint32_t *ret_n, uint32_t replay) {
    struct engine *e = open_model(path_a, KV_Q8_0);
    struct engine_chat *chat = NULL;
    struct engine_sampler *sampler = NULL;
    int32_t *ids = NULL;
    uint32_t n = 0, made = 0;
    size_t size = 0;
    ck_assert_msg(engine_chat_render(e, s, &chat, why, sizeof why) == ERR_OK, "%s", why);
    const char *prompt = engine_chat_prompt(chat, &size);
    ck_assert_int_eq(engine_tokenize(e, prompt, size, true, true, &ids, &n), ERR_OK);
    ck_assert_msg(engine_sampler_new(e, s, chat, &sampler, why, sizeof why) == ERR_OK, "%s", why);
    struct buf text = BUF(0);
    for (uint32_t i = 0; i < n; i++) {
        struct engine_item item = {.token = ids[i], .pos = (int32_t)i, .logits = i + 1 == n};
        ck_assert_int_eq(engine_decode(e, &item, 1), ERR_OK);
    }
    for (; made < max; made++) {
        int32_t token = made < replay ? tokens[made] : engine_sampler_pick(sampler, 0, (int32_t)(n + made));
        engine_sampler_accept(sampler, token);
        if (tokens) tokens[made] = token;
        if (engine_is_end(e, token)) break;
        ck_assert_int_eq(engine_piece(e, token, false, &text), ERR_OK);
        struct engine_item item = {.token = token, .pos = (int32_t)(n + made), .logits = true};
        ck_assert_int_eq(engine_decode(e, &item, 1), ERR_OK);
    }
    if (ret_n) *ret_n = made;
    mem_free(ids);
    engine_sampler_free(sampler);
    engine_chat_free(chat);
    engine_free(e);
    char *out = buf_take_string(&text);
    ck_assert_ptr_nonnull(out);
    return out;
}

#define USER(text) "[{\"role\": \"user\", \"content\": \"" text "\"}]"

START_TEST(test_script_of_an_answer) {
    uint32_t n = 0;
    struct msg_submit s = chat_of(USER("[[say:Hi there.]] and [[len=100]]"));
    char *text = answer(&s, 1000, NULL, &n, 0);
    ck_assert_int_eq(strncmp(text, "Hi there.", 9), 0);
    ck_assert_uint_eq(n, 109);
    mem_free(text);
    mem_free(s.messages.data);
    s = chat_of(USER("hello"));
    text = answer(&s, 1000, NULL, &n, 0);
    ck_assert_uint_eq(n, 48);
    mem_free(text);
    mem_free(s.messages.data);
    s = chat_of(USER("[[emoji=5]]"));
    text = answer(&s, 1000, NULL, &n, 0);
    ck_assert_uint_ge(strlen(text), 5 * 4);
    for (const char *c = text; *c; c++) ck_assert_int_ge((uint8_t)*c, 0x80);
    mem_free(text);
    mem_free(s.messages.data);
}
END_TEST

START_TEST(test_same_seed_same_text_and_replay_goes_on) {
    for (int hot = 0; hot < 2; hot++) {
        int32_t tokens[600];
        uint32_t n = 0;
        struct msg_submit s = chat_of(USER("tell [[len=300]][[emoji=9]]"));
        s.temperature = hot ? 0.8 : 0;
        char *first = answer(&s, 600, tokens, &n, 0);
        for (uint32_t cut = 1; cut < n; cut += 97) {
            char *again = answer(&s, 600, tokens, NULL, cut);
            ck_assert_str_eq(first, again);
            mem_free(again);
        }
        s.seed = 8;
        char *other = answer(&s, 600, NULL, NULL, 0);
        if (hot)
            ck_assert_str_ne(first, other);
        else
            ck_assert_str_eq(first, other);
        mem_free(first), mem_free(other);
        mem_free(s.messages.data);
    }
}
END_TEST

START_TEST(test_chat_renders_tools_and_past_calls_as_they_were_said) {
    struct engine *e = open_model(path_a, KV_Q8_0);
    struct engine_chat *chat = NULL;
    size_t size = 0;
    struct msg_submit s = chat_of(
        "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Q\"}]},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"x\",\"type\":\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": 1}\"}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"x\",\"content\":\"R\"}]");
    ck_assert_int_eq(engine_chat_render(e, &s, &chat, why, sizeof why), ERR_OK);
    ck_assert_str_eq(engine_chat_prompt(chat, &size),
                     "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<tool_call>\n{\"name\": \"f\", "
                     "\"arguments\": {\"a\": 1}}\n"
                     "</tool_call><|im_end|>\n<|im_start|>tool\nR<|im_end|>\n<|im_start|>assistant\n");
    engine_chat_free(chat);
    mem_free(s.messages.data);
    engine_free(e);
}
END_TEST

#define ASKED "{\"role\":\"user\",\"content\":\"Q\"}"
#define BEGUN "{\"role\":\"assistant\",\"content\":\"It is\"}"
#define CALLED                                                                                               \
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":"  \
    "\"{}\"}}]}"

START_TEST(test_chat_goes_on_where_the_last_message_ends) {
    struct engine *e = open_model(path_a, KV_Q8_0);
    struct engine_chat *chat = NULL;
    size_t size = 0;
    struct msg_submit s = chat_of("[" ASKED "," BEGUN "]");
    ck_assert_int_eq(engine_chat_render(e, &s, &chat, why, sizeof why), ERR_OK);
    ck_assert_str_eq(engine_chat_prompt(chat, &size),
                     "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nIt is");
    engine_chat_free(chat);
    mem_free(s.messages.data);
    static const char *const refused[] = {"[" ASKED "," BEGUN "," BEGUN "]", "[" ASKED "," CALLED "]"};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        s = chat_of(refused[i]);
        ck_assert_int_eq(engine_chat_render(e, &s, &chat, why, sizeof why), ERR_INVALID);
        mem_free(s.messages.data);
    }
    engine_free(e);
}
END_TEST

/* Feeds text in steps of `step` bytes; the three outputs, arguments joined. */
static void parse_in_steps(const char *text, size_t step, struct buf *content, struct buf *reasoning,
                           struct buf *calls) {
    struct engine *e = open_model(path_a, KV_Q8_0);
    struct engine_chat *chat = NULL;
    struct msg_submit s = chat_of(USER("x"));
    text_of(&s.tools, "[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]");
    ck_assert_int_eq(engine_chat_render(e, &s, &chat, why, sizeof why), ERR_OK);
    for (size_t at = 0; at < strlen(text);) {
        at = at + step < strlen(text) ? at + step : strlen(text);
        ck_assert_int_eq(engine_chat_parse(chat, text, at, at == strlen(text), content, reasoning, calls),
                         ERR_OK);
    }
    ck_assert(engine_chat_called_tools(chat) == (calls->size > 0));
    engine_chat_free(chat);
    mem_free(s.messages.data), mem_free(s.tools.data);
    engine_free(e);
}

START_TEST(test_answers_are_parsed_the_same_in_any_pieces) {
    static const char text[] = "<think>hm</think>Look <b: <tool_call>\n{\"name\": \"f\", \"arguments\": "
                               "{\"q\": \"a}\\\"b\", \"n\": [1]}}\n"
                               "</tool_call>done";
    for (size_t step = 1; step < sizeof text; step++) {
        struct buf content = BUF(0), reasoning = BUF(0), calls = BUF(0);
        parse_in_steps(text, step, &content, &reasoning, &calls);
        buf_u8(&content, 0), buf_u8(&reasoning, 0), buf_u8(&calls, 0);
        ck_assert_str_eq((char *)content.data, "Look <b: done");
        ck_assert_str_eq((char *)reasoning.data, "hm");
        ck_assert_ptr_nonnull(strstr((char *)calls.data, "\"name\":\"f\""));
        if (step == sizeof text - 1)
            ck_assert_ptr_nonnull(
                strstr((char *)calls.data, "{\\\"q\\\": \\\"a}\\\\\\\"b\\\", \\\"n\\\": [1]}"));
        buf_free(&content), buf_free(&reasoning), buf_free(&calls);
    }
}
END_TEST

START_TEST(test_no_tokens_without_memory) {
    struct engine *e = open_model(path_a, KV_Q8_0);
    int32_t other = 0, *ids = &other; /* freed by others before */
    uint32_t n = 1;
    mem_fail_at(1);
    ck_assert_int_eq(engine_tokenize(e, "x", 1, true, true, &ids, &n), ERR_NOMEM);
    mem_fail_at(0);
    ck_assert_ptr_null(ids);
    ck_assert_uint_eq(n, 0);
    engine_free(e);
}
END_TEST

START_TEST(test_no_template_is_said) {
    char path[80];
    snprintf(path, sizeof path, "%s/n.gguf", dir);
    ck_assert(gguf_tiny_write(path, &(struct gguf_tiny){.no_template = true}));
    struct engine *e = open_model(path, KV_Q8_0);
    struct engine_chat *chat = NULL;
    struct msg_submit s = chat_of(USER("x"));
    ck_assert_int_eq(engine_chat_render(e, &s, &chat, why, sizeof why), ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(why, "template"));
    mem_free(s.messages.data);
    engine_free(e);
    unlink(path);
}
END_TEST

int main(void) {
    files_make();
    Suite *s = suite_create("engine_fake");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, test_logits_depend_on_file_type_and_every_token);
    tcase_add_test(t, test_restored_blocks_go_on_as_if_never_moved);
    tcase_add_test(t, test_a_missing_window_part_changes_what_follows);
    tcase_add_test(t, test_one_flipped_byte_changes_what_follows);
    tcase_add_test(t, test_window_forgets_and_refuses_to_go_back);
    tcase_add_test(t, test_full_attention_goes_back_anywhere);
    tcase_add_test(t, test_failed_steps_leave_nothing);
    tcase_add_test(t, test_full_cells_are_an_error);
    tcase_add_test(t, test_damaged_parts_are_refused);
    tcase_add_test(t, test_self_test_passes_and_leaves_nothing);
    tcase_add_test(t, test_measure_says_what_a_load_takes);
    tcase_add_test(t, test_faults_of_load_and_configure);
    tcase_add_test(t, test_cancel_ends_a_slow_load_and_a_slow_decode);
    tcase_add_test(t, test_script_of_an_answer);
    tcase_add_test(t, test_same_seed_same_text_and_replay_goes_on);
    tcase_add_test(t, test_chat_renders_tools_and_past_calls_as_they_were_said);
    tcase_add_test(t, test_chat_goes_on_where_the_last_message_ends);
    tcase_add_test(t, test_answers_are_parsed_the_same_in_any_pieces);
    tcase_add_test(t, test_no_tokens_without_memory);
    tcase_add_test(t, test_no_template_is_said);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    files_remove();
    return failed ? 1 : 0;
}
