/* The seat with the real engine on the three real models (HOTSEAT_MODELS_DIR, else ~/.cache/hotseat/models): a conversation whose cells
 * went to the disk and came back equals, in KV bytes and in the logits' bits, the same calls on one that stayed; with a
 * control. Exit status 77 when a model is missing: ctest then says "skipped". */
#include "../seat/seat_client.h"

static const char *const files[] = {"SmolLM2-135M-Instruct.Q4_1.gguf",
                                    "Qwen2.5-Coder-0.5B-Instruct-Q4_K_M.gguf", "gemma-3-270m-Q4_K_M.gguf"};
enum { MODELS = 3, GEMMA = 2 };
static char paths[MODELS][512];

static bool find_models(void) {
    const char *dir = getenv("HOTSEAT_MODELS_DIR"), *home = getenv("HOME");
    for (int i = 0; i < MODELS; i++) {
        if (dir)
            snprintf(paths[i], sizeof paths[i], "%s/%s", dir, files[i]);
        else
            snprintf(paths[i], sizeof paths[i], "%s/.cache/hotseat/models/%s", home ? home : "", files[i]);
        if (access(paths[i], R_OK) != 0) return false;
    }
    return true;
}

static void seat_model(struct client *c, int model) {
    struct msg load = {.type = MSG_TYPE_LOAD,
                       .load = {.op = ++c->op,
                                .model = (char *)(uintptr_t)files[model],
                                .path = paths[model],
                                .kv = (char *)(uintptr_t) "q8_0",
                                .threads = 2,
                                .template_family = (char *)(uintptr_t)(model == GEMMA ? "gemma" : "")}};
    client_op(c, &load, MSG_TYPE_LOADED);
    struct msg configure = {
        .type = MSG_TYPE_CONFIGURE,
        .configure = {.op = ++c->op, .pool_bytes = 200u << 20, .context = 4096, .parallel = 2}};
    struct msg_configured *got = &client_op(c, &configure, MSG_TYPE_CONFIGURED)->configured;
    ck_assert_msg(got->cache_on, "%s", got->cache_reason);
}

/* Natural text of about n words. */
static char *story(int n) {
    static const char *const parts[] = {
        "The lighthouse keeper walked down to the harbour every morning to count the boats. ",
        "On Tuesday he found eleven of them, although twelve had left the evening before. ",
        "He asked the baker, who had seen nothing, and the postwoman, who had seen too much. ",
        "Rain came in from the west and the sea turned the colour of old iron. ",
        "In his notebook he wrote the name of the missing boat and drew a small map beside it. "};
    struct buf b = BUF(0);
    buf_puts(&b, "A long story, to be continued word by word. ");
    for (int i = 0; i * 14 < n; i++) buf_printf(&b, "%d. %s", i + 1, parts[i % 5]);
    return buf_take_string(&b);
}

static char *chat_of(const char *user, const char *assistant, const char *next) {
    struct buf b = BUF(0);
    struct json_out w = json_out_into(&b);
    const char *const roles[] = {"user", "assistant", "user"}, *const texts[] = {user, assistant, next};
    json_arr(&w);
    for (int i = 0; i < 3 && texts[i]; i++) {
        json_obj(&w);
        json_key(&w, "role"), json_str(&w, roles[i]);
        json_key(&w, "content"), json_str(&w, texts[i]);
        json_end(&w);
    }
    json_end(&w);
    return buf_take_string(&b);
}

/* Two turns of a chat; moves: by way of the disk and another model. */
static struct answer *two_turns(struct client *c, int model, int words, bool moves, bool flip) {
    char *text = story(words), *first = chat_of(text, NULL, NULL);
    struct answer *a = client_ask(c, client_chat("ann", first, 16));
    char *second = chat_of(text, (char *)a->text.data, "And what did the postwoman say?");
    if (moves) {
        client_leave(c);
        int other = (model + 1) % MODELS;
        seat_model(c, other);
        client_ask(c, client_chat("ann", first, 4));
        client_leave(c);
        seat_model(c, model);
    }
    if (flip) client_fault(c, "kv_flip", 1, 0);
    struct answer *b = client_ask(c, client_chat("ann", second, 12));
    mem_free(text), mem_free(first), mem_free(second);
    return b;
}

static struct client *start(const char *name, int model) {
    char cache[128];
    snprintf(cache, sizeof cache, "%s/%s", client_dir, name);
    struct client *c = client_start_full(cache, 1, false);
    seat_model(c, model);
    return c;
}

static const int words[] = {620, 330}; /* past the window of Gemma 3 270M (512), and within it */

START_TEST(a_moved_chat_equals_one_that_stayed) { /* S1, S2 on three architectures */
    int model = _i % MODELS, n = words[_i / MODELS];
    struct client *stays = start("stays", model);
    struct answer *a = two_turns(stays, model, n, false, false);
    struct client *moves = start("moves", model);
    struct answer *b = two_turns(moves, model, n, true, false);
    fprintf(stderr, "%s: prompt %u cached %u / %u restore %lld us first token %lld / %lld ms\n", files[model],
            a->done.prompt_tokens, a->done.cached_tokens, b->done.cached_tokens,
            (long long)b->done.restore_ns / 1000, (long long)a->done.first_token_ns / 1000000,
            (long long)b->done.first_token_ns / 1000000);
    ck_assert_uint_gt(b->done.cached_tokens, (uint32_t)n);
    ck_assert_uint_eq(a->done.cached_tokens, b->done.cached_tokens);
    ck_assert_str_eq(a->kv, b->kv);
    ck_assert_str_eq(a->logits, b->logits);
    ck_assert_str_eq((char *)a->text.data, (char *)b->text.data);
    ck_assert_uint_le(b->done.decoded_tokens, b->done.prompt_tokens - b->done.cached_tokens + b->n_tokens);
    client_stop(stays);
    client_stop(moves);
}
END_TEST

START_TEST(a_flipped_byte_turns_it_red) {
    struct client *stays = start("stays", _i), *moves = start("moves", _i);
    struct answer *a = two_turns(stays, _i, 330, false, false), *b = two_turns(moves, _i, 330, true, true);
    ck_assert_uint_eq(a->done.cached_tokens, b->done.cached_tokens);
    ck_assert_str_ne(a->kv, b->kv);
    ck_assert_str_ne(a->logits, b->logits);
    client_stop(stays);
    client_stop(moves);
}
END_TEST

START_TEST(a_parked_stream_goes_on) { /* S9: the very text, at T=0.8, on the model whose kernels allow it */
    struct client *c = start("c", 0);
    char *text = story(200), *first = chat_of(text, NULL, NULL);
    struct msg m = client_chat("whole", first, 60);
    m.submit.temperature = 0.8;
    struct answer *whole = client_ask(c, m);
    m.submit.agent = (char *)(uintptr_t) "parked";
    struct answer *one = client_submit(c, m);
    while (one->n_tokens < 20) ck_assert(client_step(c));
    struct msg park = {.type = MSG_TYPE_PARK, .park = {.op = ++c->op}};
    client_op(c, &park, MSG_TYPE_REPLY);
    ck_assert(one->parked);
    client_leave(c);
    seat_model(c, 0);
    m.submit.replay = (struct msg_tokens){one->tokens, one->n_tokens};
    struct answer *two = client_ask(c, m);
    buf_put(&one->text, two->text.data, two->text.size);
    buf_u8(&one->text, 0);
    ck_assert_str_eq((char *)one->text.data, (char *)whole->text.data);
    ck_assert_uint_eq(two->done.decoded_tokens, two->n_tokens);
    mem_free(text), mem_free(first);
    client_stop(c);
}
END_TEST

static void make_dir(void) {
    snprintf(client_dir, sizeof client_dir, "/tmp/test_seat_llama_XXXXXX");
    ck_assert(mkdtemp(client_dir) != NULL);
}

int main(void) {
    if (!find_models()) {
        fprintf(stderr, "skipped: a real model is missing\n");
        return 77;
    }
    Suite *suite = suite_create("seat_llama");
    TCase *t = tcase_create("seat_llama");
    tcase_set_timeout(t, 600);
    tcase_add_checked_fixture(t, make_dir, client_files_remove);
    tcase_add_loop_test(t, a_moved_chat_equals_one_that_stayed, 0, MODELS * 2);
    tcase_add_loop_test(t, a_flipped_byte_turns_it_red, 0, MODELS);
    tcase_add_test(t, a_parked_stream_goes_on);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
