/* The splice of known conversations into a prompt, with the fake engine's tokens (bytes and four specials) plus made-up
 * ones: a conversation's tokens need not be what the tokenizer makes of its text, which is the point. */
#include <string.h>

#include "base/mem.h"
#include "check_run.h"
#include "gguf_tiny.h"
#include "seat/engine_fake.h"
#include "seat/prompt.h"

static struct engine *e;

static void open_model(const char *architecture) {
    char path[] = "/tmp/test_prompt_XXXXXX", why[256];
    close(mkstemp(path));
    ck_assert(gguf_tiny_write(path, &(struct gguf_tiny){.architecture = architecture}));
    struct engine_model m;
    struct engine_load_params p = {.path = path, .kv = KV_F16};
    ck_assert_int_eq(engine_open(&e), ERR_OK);
    ck_assert_msg(engine_load(e, &p, &m, why, sizeof why) == ERR_OK, "%s", why);
    unlink(path);
}

static uint32_t ids_of(const char *text, int32_t *ids) {
    int32_t *got = NULL;
    uint32_t n = 0;
    ck_assert_int_eq(engine_tokenize(e, text, strlen(text), true, true, &got, &n), ERR_OK);
    memcpy(ids, got, n * sizeof *got);
    mem_free(got);
    return n;
}

/* How many tokens of a conversation with this text are taken for the prompt. */
static uint32_t spliced(const char *conversation, const char *text) {
    int32_t chain[256], *ids = NULL;
    uint32_t n = 0, taken = 0;
    struct prompt_chain c = {chain, ids_of(conversation, chain)};
    ck_assert_int_eq(prompt_tokenize(e, text, strlen(text), &c, 1, 0, &ids, &n, &taken), ERR_OK);
    ck_assert(memcmp(ids, chain, taken * sizeof *ids) == 0);
    struct buf all = BUF(0);
    for (uint32_t i = 0; i < n; i++)
        if (!(i == 0 && ids[0] == engine_bos(e) && strncmp(text, "<|bos|>", 7) != 0))
            ck_assert_int_eq(engine_piece(e, ids[i], true, &all), ERR_OK);
    ck_assert(all.size == strlen(text) && memcmp(all.data, text, all.size) == 0);
    buf_free(&all);
    mem_free(ids);
    return taken;
}

START_TEST(a_whole_conversation_is_taken) {
    open_model("llama");
    ck_assert_uint_eq(spliced("one two", "one two three"), 7);
    ck_assert_uint_eq(spliced("one two", "one two"), 7);
    ck_assert_uint_eq(spliced("one two", "other"), 0);
    engine_free(e);
}
END_TEST

START_TEST(no_word_is_cut) {
    open_model("llama");
    ck_assert_uint_eq(spliced("The", "These are"), 0);
    ck_assert_uint_eq(spliced("Hel", "Hello"), 0);
    ck_assert_uint_eq(spliced("Hello", "Hello, you"), 5);
    engine_free(e);
}
END_TEST

START_TEST(a_part_is_taken_up_to_a_turns_border) {
    open_model("llama");
    ck_assert_uint_eq(spliced("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nold",
                              "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nnew"),
                      11);
    ck_assert_uint_eq(spliced("<|im_start|>user\nhi", "<|im_start|>user\nho"), 0); /* one token is no gain */
    engine_free(e);
}
END_TEST

START_TEST(
    a_prompt_inside_a_conversation_is_its_beginning) { /* the same request again, after it was answered */
    open_model("llama");
    ck_assert_uint_eq(spliced("Question? Answer.", "Question?"), 9);
    engine_free(e);
}
END_TEST

START_TEST(the_beginning_of_text_is_not_doubled) {
    open_model("gemma3");
    int32_t *ids = NULL;
    uint32_t n = 0, taken = 0;
    ck_assert_int_ge(engine_bos(e), 0);
    ck_assert_int_eq(prompt_tokenize(e, "<|bos|>hi", 9, NULL, 0, 0, &ids, &n, &taken), ERR_OK);
    ck_assert_uint_eq(n, 3);
    mem_free(ids);
    ck_assert_int_eq(prompt_tokenize(e, "hi", 2, NULL, 0, 0, &ids, &n, &taken), ERR_OK);
    ck_assert_uint_eq(n, 3);
    mem_free(ids);
    ck_assert_uint_eq(spliced("one two", "one two three"), 8); /* with it */
    ck_assert_uint_eq(spliced("<|bos|>one two", "one two three"), 0);
    engine_free(e);
}
END_TEST

START_TEST(the_longest_wins) {
    open_model("llama");
    int32_t a[64], b[64], *ids = NULL;
    struct prompt_chain chains[] = {{a, ids_of("once upon", a)}, {b, ids_of("once upon a time", b)}};
    uint32_t n = 0, taken = 0;
    ck_assert_int_eq(prompt_tokenize(e, "once upon a time there", 22, chains, 2, 0, &ids, &n, &taken),
                     ERR_OK);
    ck_assert_uint_eq(taken, 16);
    mem_free(ids);
    engine_free(e);
}
END_TEST

/* Anybody may have sent a beginning that others use, spelled out letter by letter. */
START_TEST(of_the_same_text_the_fewest_tokens_win) {
    open_model("llama");
    const char *text = "<|im_start|>hi there";
    int32_t tokens[64], letters[64], *ids = NULL;
    uint32_t n_tokens = ids_of("<|im_start|>hi", tokens), n = 0, taken = 0;
    ck_assert_uint_eq(n_tokens, 3);
    for (int i = 0; i < 14; i++) letters[i] = text[i];
    struct prompt_chain chains[] = {{letters, 14}, {tokens, 3}, {letters, 14}};
    for (int first = 0; first < 2; first++) {
        ck_assert_int_eq(prompt_tokenize(e, text, strlen(text), chains + first, 2, 0, &ids, &n, &taken),
                         ERR_OK);
        ck_assert_uint_eq(taken, 3);
        mem_free(ids);
    }
    engine_free(e);
}
END_TEST

/* With the conversation it has 240 tokens, of its own 20. */
START_TEST(what_fits_by_itself_is_not_refused) {
    open_model("llama");
    char text[241] = "";
    int32_t letters[240], *ids = NULL;
    for (int i = 0; i < 20; i++) strcat(text, "<|im_start|>");
    for (int i = 0; i < 240; i++) letters[i] = text[i];
    uint32_t n = 0, taken = 0;
    struct prompt_chain chain = {letters, 240};
    ck_assert_int_eq(prompt_tokenize(e, text, 240, &chain, 1, 0, &ids, &n, &taken), ERR_OK);
    ck_assert_uint_eq(taken, 240);
    mem_free(ids);
    ck_assert_int_eq(prompt_tokenize(e, text, 240, &chain, 1, 100, &ids, &n, &taken), ERR_OK);
    ck_assert_uint_eq(taken, 0);
    ck_assert_uint_eq(n, 20);
    mem_free(ids);
    engine_free(e);
}
END_TEST

static enum err tokenized(size_t size, const struct prompt_chain *chain, uint32_t n_max, uint32_t *ret_n) {
    char *text = mem_array(size, 1);
    memset(text, '.', size); /* a token each */
    int32_t *ids = NULL;
    uint32_t taken = 0;
    enum err err = prompt_tokenize(e, text, size, chain, chain ? 1 : 0, n_max, &ids, ret_n, &taken);
    ck_assert((err == ERR_OK) == (ids != NULL));
    mem_free(ids);
    mem_free(text);
    return err;
}

/* What cannot fit is known by its beginning: the rest of it is not looked at. */
START_TEST(of_what_is_far_too_long_only_the_beginning_is_read) {
    open_model("llama");
    uint32_t n = 0;
    ck_assert_int_eq(tokenized(100000, NULL, 10, &n), ERR_CONTEXT_LENGTH);
    ck_assert_uint_eq(n, 80 - 64);
    ck_assert_int_eq(tokenized(100000, NULL, 2, &n), ERR_CONTEXT_LENGTH); /* 16 and 64 said nothing */
    ck_assert_uint_eq(n, 256 - 64);
    ck_assert_int_eq(tokenized(100000, NULL, 0, &n), ERR_OK); /* counted */
    ck_assert_uint_eq(n, 100000);
    ck_assert_int_eq(tokenized(150, NULL, 10, &n), ERR_OK); /* by hardly less than all of it */
    ck_assert_uint_eq(n, 150);
    int32_t known[90];
    for (uint32_t i = 0; i < 90; i++) known[i] = '.';
    /* Nor with a conversation: neither its rest nor the whole fits. */
    ck_assert_int_eq(tokenized(10000, &(struct prompt_chain){known, 90}, 100, &n), ERR_CONTEXT_LENGTH);
    ck_assert_uint_eq(n, 800 - 64);
    engine_free(e);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {a_whole_conversation_is_taken,
                                  no_word_is_cut,
                                  a_part_is_taken_up_to_a_turns_border,
                                  a_prompt_inside_a_conversation_is_its_beginning,
                                  the_beginning_of_text_is_not_doubled,
                                  the_longest_wins,
                                  of_the_same_text_the_fewest_tokens_win,
                                  what_fits_by_itself_is_not_refused,
                                  of_what_is_far_too_long_only_the_beginning_is_read};
    return CHECK_RUN("prompt", tests);
}
