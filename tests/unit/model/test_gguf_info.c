#include "model/gguf_info.h"

#include <math.h>
#include <stdlib.h>

#include "base/limits.h"
#include "check_run.h"
#include "model/gguf_make.h"

static char dir[] = "/tmp/gguf_info_XXXXXX";
static char reason[256];
static struct gguf_info info;

static const char *path_of(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static enum err read_named(const char *name) {
    memset(reason, 0, sizeof reason);
    return gguf_info_read(path_of(name), &info, reason, sizeof reason);
}

/* Adds a tensor and the data, writes, reads, frees. */
static enum err read_made(struct make *m) {
    make_tensor(m, "token_embd.weight", 64, 10, 0);
    make_counts(m);
    make_data(m);
    make_write(m, path_of("model.gguf"));
    buf_free(&m->b);
    return read_named("model.gguf");
}

static void taken(struct make *m) {
    ck_assert_msg(read_made(m) == ERR_OK, "%s", reason);
}

static void refused(struct make *m, const char *words) {
    enum err err = read_made(m);
    ck_assert_msg(err == ERR_MODEL_INVALID, "%s instead of a refusal with '%s'", err_name(err), words);
    ck_assert_msg(strstr(reason, words) != NULL, "'%s' does not say '%s'", reason, words);
}

static struct make model(const char *arch, uint32_t layers) {
    struct make m = make_begin();
    make_model_kv(&m, arch, layers);
    make_tokens(&m, 10);
    return m;
}

START_TEST(a_plain_model) {
    struct make m = model("llama", 3);
    make_text(&m, "general.name", "A small llama");
    make_text(&m, "tokenizer.chat_template", "{{ messages }}");
    taken(&m);
    const struct model_spec *s = &info.spec;
    ck_assert_str_eq(s->architecture, "llama");
    ck_assert_str_eq(s->name, "A small llama");
    ck_assert_uint_eq(s->n_layers, 3);
    ck_assert_uint_eq(s->n_embd, 64);
    ck_assert_uint_eq(s->n_heads, 4);
    ck_assert_uint_eq(s->n_kv_heads, 2);
    ck_assert_uint_eq(s->head_k, 16);
    ck_assert_uint_eq(s->head_v, 16);
    ck_assert_uint_eq(s->window, 0);
    ck_assert_uint_eq(s->n_window_layers, 0);
    ck_assert_uint_eq(s->context_train, 4096);
    ck_assert_uint_eq(s->n_vocab, 10);
    ck_assert_uint_eq(s->n_params, 640);
    ck_assert_uint_eq(s->weights_bytes, 2560);
    ck_assert(s->has_template);
    ck_assert(!s->recurrent);
    ck_assert_uint_eq(info.n_parts, 1);
    ck_assert_uint_eq(info.n_tensors, 1);
    ck_assert_uint_eq(info.version, 3);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(long_and_short_rope_factors) {
    struct make m = model("phi3", 3);
    taken(&m);
    ck_assert(!info.spec.rope_long_short);
    ck_assert_uint_eq(info.spec.rope_context, 4096); /* the trained one */
    m = model("phi3", 3);
    make_u32(&m, "phi3.rope.scaling.original_context_length", 1024);
    make_tensor(&m, "rope_factors_long.weight", 8, 1, 0);
    make_tensor(&m, "rope_factors_short.weight", 8, 1, 0);
    taken(&m);
    ck_assert(info.spec.rope_long_short);
    ck_assert_uint_eq(info.spec.rope_context, 1024);
}
END_TEST

START_TEST(version_2_too) {
    struct make m = model("llama", 3);
    make_set(&m, 4, 2, 4);
    taken(&m);
    ck_assert_uint_eq(info.version, 2);
}
END_TEST

START_TEST(keys_may_come_before_the_architecture) {
    struct make m = make_begin();
    make_tokens(&m, 10);
    make_u32(&m, "llama.attention.key_length", 24);
    make_model_kv(&m, "llama", 3);
    make_u32(&m, "llama.attention.value_length", 40);
    taken(&m);
    ck_assert_uint_eq(info.spec.head_k, 24);
    ck_assert_uint_eq(info.spec.head_v, 40);
}
END_TEST

START_TEST(windows) {
    struct make m = model("gemma3", 18);
    make_u32(&m, "gemma3.attention.sliding_window", 512);
    taken(&m);
    ck_assert_uint_eq(info.spec.window, 512);
    ck_assert_uint_eq(info.spec.n_window_layers, 15);

    m = model("gemma3", 18); /* a period of the file's own */
    make_u32(&m, "gemma3.attention.sliding_window", 512);
    make_u32(&m, "gemma3.attention.sliding_window_pattern", 3);
    taken(&m);
    ck_assert_uint_eq(info.spec.n_window_layers, 12);

    static const uint32_t flags[] = {1, 1, 0, 1};
    m = model("gemma4", 4); /* a flag for each layer, in any family */
    make_u32(&m, "gemma4.attention.sliding_window", 512);
    make_array(&m, "gemma4.attention.sliding_window_pattern", GGUF_BOOL, 4, flags);
    taken(&m);
    ck_assert_uint_eq(info.spec.window, 512);
    ck_assert_uint_eq(info.spec.n_window_layers, 3);

    m = model("gemma4", 4);
    make_u32(&m, "gemma4.attention.sliding_window", 512);
    make_array(&m, "gemma4.attention.sliding_window_pattern", GGUF_BOOL, 3, flags);
    refused(&m, "gemma4.attention.sliding_window_pattern has 3 items for 4 layers");

    m = model("qwen2", 4); /* the key is there, and this family does not use it */
    make_u32(&m, "qwen2.attention.sliding_window", 512);
    taken(&m);
    ck_assert_uint_eq(info.spec.window, 0);
    ck_assert_uint_eq(info.spec.n_window_layers, 0);

    m = model("gemma2", 4); /* a window without a key */
    taken(&m);
    ck_assert_uint_eq(info.spec.window, 4096);
    ck_assert_uint_eq(info.spec.n_window_layers, 2);

    m = model("gemma3", 18);
    make_u32(&m, "gemma3.attention.sliding_window", 0);
    taken(&m);
    ck_assert_uint_eq(info.spec.n_window_layers, 0);

    m = model("exaone4", 64);
    taken(&m);
    ck_assert_uint_eq(info.spec.n_window_layers, 48);
    m = model("exaone4", 30);
    taken(&m);
    ck_assert_uint_eq(info.spec.n_window_layers, 0);
}
END_TEST

/* The model's keys with one left out or with another value. */
static struct make without(const char *key) {
    static const struct {
        const char *key;
        uint32_t v;
    } numbers[] = {{"llama.block_count", 3},
                   {"llama.context_length", 4096},
                   {"llama.embedding_length", 64},
                   {"llama.attention.head_count", 4},
                   {"llama.attention.head_count_kv", 2}};
    struct make m = make_begin();
    if (strcmp(key, "general.architecture") != 0) make_text(&m, "general.architecture", "llama");
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (strcmp(key, numbers[i].key) != 0) make_u32(&m, numbers[i].key, numbers[i].v);
    }
    if (strcmp(key, "tokenizer.ggml.tokens") != 0) make_tokens(&m, 10);
    return m;
}

static void number_refused(const char *key, uint32_t v, const char *words) {
    struct make m = without(key);
    make_u32(&m, key, v);
    refused(&m, words);
}

static void float_refused(const char *key, float v, const char *words) {
    struct make m = without("");
    make_f32(&m, key, v);
    refused(&m, words);
}

START_TEST(what_must_be_there) {
    struct make m = without("general.architecture");
    refused(&m, "general.architecture is missing");
    m = without("llama.block_count");
    refused(&m, "llama.block_count is missing");
    m = without("llama.embedding_length");
    refused(&m, "llama.embedding_length is missing");
    m = without("llama.context_length");
    refused(&m, "llama.context_length is missing");
    m = without("llama.attention.head_count");
    refused(&m, "llama.attention.head_count is missing or 0");
    m = without("tokenizer.ggml.tokens");
    refused(&m, "llama.vocab_size is missing");
    m = without("tokenizer.ggml.tokens");
    make_u32(&m, "llama.vocab_size", 99);
    taken(&m);
    ck_assert_uint_eq(info.spec.n_vocab, 99);
    m = without("llama.attention.head_count_kv"); /* as many as heads */
    taken(&m);
    ck_assert_uint_eq(info.spec.n_kv_heads, 4);
}
END_TEST

START_TEST(numbers_out_of_bounds) {
    number_refused("llama.block_count", 0, "llama.block_count is 0; 1 to 512 are right");
    number_refused("llama.block_count", 513, "llama.block_count is 513; 1 to 512 are right");
    number_refused("llama.embedding_length", 0, "llama.embedding_length is 0");
    number_refused("llama.embedding_length", 0x80000000, "llama.embedding_length is 2147483648");
    number_refused("llama.context_length", 0, "llama.context_length is 0");
    number_refused("llama.context_length", 0xffffffff, "llama.context_length is 4294967295");
    number_refused("llama.attention.head_count", 0, "head_count is missing or 0");
    number_refused("llama.attention.head_count", 100000, "llama.attention.head_count is 100000; 0 to 16384");
    number_refused("llama.attention.head_count", 65, "65 heads can't share 2 KV heads evenly");
    number_refused("llama.attention.head_count", 66, "64 values in 66 heads make heads of 0");
    number_refused("llama.attention.head_count_kv", 0, "head_count_kv is 0 for 4 heads");
    number_refused("llama.attention.head_count_kv", 5, "head_count_kv is 5 for 4 heads");
    number_refused("llama.attention.head_count_kv", 3, "4 heads can't share 3 KV heads evenly");
    number_refused("llama.attention.key_length", 0, "key_length is 0");
    number_refused("llama.attention.value_length", 100000, "value_length is 100000");
}
END_TEST

/* A negative or NaN epsilon makes libllama abort at the first decode. */
START_TEST(numbers_that_kill) {
    float_refused("llama.attention.layer_norm_rms_epsilon", -1e-5f,
                  "layer_norm_rms_epsilon is -1e-05; a number from 0 to 1");
    float_refused("llama.attention.layer_norm_rms_epsilon", NAN, "layer_norm_rms_epsilon is ");
    float_refused("llama.attention.layer_norm_rms_epsilon", -NAN, "nan");
    float_refused("llama.attention.layer_norm_epsilon", INFINITY, "layer_norm_epsilon is inf");
    float_refused("llama.attention.group_norm_epsilon", 2, "group_norm_epsilon is 2");
    float_refused("llama.rope.freq_base", 0, "rope.freq_base is 0");
    float_refused("llama.rope.freq_base", NAN, "rope.freq_base is ");
    float_refused("llama.rope.scaling.factor", -1, "rope.scaling.factor is -1");
    number_refused("llama.attention.layer_norm_rms_epsilon", 1,
                   "layer_norm_rms_epsilon is a u32; f32 is right");
    struct make m = without("");
    make_f32(&m, "llama.attention.layer_norm_rms_epsilon", 0);
    make_f32(&m, "llama.rope.freq_base", 1e6f);
    make_f32(&m, "llama.rope.scaling.factor", 8);
    taken(&m);
}
END_TEST

START_TEST(numbers_for_each_layer) {
    static const uint32_t kv_heads[] = {1, 4, 2}, wild[] = {1, 99999, 2};
    struct make m = without("llama.attention.head_count_kv");
    make_array(&m, "llama.attention.head_count_kv", GGUF_U32, 3, kv_heads);
    taken(&m);
    ck_assert_uint_eq(info.spec.n_kv_heads, 4);
    m = without("llama.attention.head_count_kv");
    make_array(&m, "llama.attention.head_count_kv", GGUF_I32, 2, kv_heads);
    refused(&m, "head_count_kv has 2 items for 3 layers");
    m = without("llama.attention.head_count_kv");
    make_array(&m, "llama.attention.head_count_kv", GGUF_U32, 3, wild);
    refused(&m, "head_count_kv is 99999");
    m = without("llama.attention.head_count_kv");
    make_array(&m, "llama.attention.head_count_kv", GGUF_F32, 3, kv_heads);
    refused(&m, "item 1 is a f32 that is no whole number");
    m = without("llama.attention.head_count_kv");
    make_array(&m, "llama.attention.head_count_kv", GGUF_U32, MODEL_LAYERS_MAX + 1, NULL);
    refused(&m, "has 513 items; at most 512");
    m = without("llama.attention.head_count_kv");
    make_text(&m, "llama.attention.head_count_kv", "four");
    refused(&m, "head_count_kv is a string that is no whole number");
}
END_TEST

START_TEST(lists_of_the_vocabulary) {
    struct make m = without("");
    make_array(&m, "tokenizer.ggml.scores", GGUF_F32, 10, NULL);
    make_array(&m, "tokenizer.ggml.token_type", GGUF_I32, 10, NULL);
    taken(&m);
    m = without("");
    make_array(&m, "tokenizer.ggml.scores", GGUF_F32, 9, NULL); /* would be read past its end */
    refused(&m, "tokenizer.ggml.scores has 9 items for 10 tokens");
    m = without("");
    make_array(&m, "tokenizer.ggml.token_type", GGUF_BOOL, 10, NULL);
    refused(&m, "tokenizer.ggml.token_type is no list of 4-byte numbers");
    m = without("tokenizer.ggml.tokens");
    make_tokens(&m, 0);
    refused(&m, "tokenizer.ggml.tokens is no list of strings");
    m = without("tokenizer.ggml.tokens");
    make_array(&m, "tokenizer.ggml.tokens", GGUF_U32, 10, NULL);
    refused(&m, "tokenizer.ggml.tokens is no list of strings");
}
END_TEST

START_TEST(what_is_no_text_model) {
    struct make m = model("bert", 3);
    refused(&m, "\"bert\" model, which writes no text");
    m = model("llama", 3);
    make_text(&m, "general.type", "adapter");
    refused(&m, "no model but another kind of file");
    m = model("llama", 3);
    make_text(&m, "general.type", "model");
    taken(&m);
    m = model("a \"name\"", 3);
    refused(&m, "general.architecture is no name");
    m = model("", 3);
    refused(&m, "general.architecture is no name");
    m = model("an-architecture-whose-name-is-longer-than-the-sixty-three-bytes-that-are-kept", 3);
    refused(&m, "general.architecture is longer than 63 bytes");
}
END_TEST

START_TEST(models_with_a_running_state) {
    struct make m = model("mamba2", 3);
    taken(&m);
    ck_assert(info.spec.recurrent);
    m = model("tomorrow", 3);
    make_u32(&m, "tomorrow.ssm.state_size", 16);
    taken(&m);
    ck_assert(info.spec.recurrent);
    m = make_begin(); /* no attention at all */
    make_text(&m, "general.architecture", "mamba");
    make_u32(&m, "mamba.block_count", 2);
    make_u32(&m, "mamba.context_length", 100);
    make_u32(&m, "mamba.embedding_length", 64);
    make_u32(&m, "mamba.attention.head_count", 0);
    make_tokens(&m, 10);
    taken(&m);
    ck_assert_uint_eq(info.spec.n_kv_heads, 0);
    ck_assert_uint_eq(model_spec_base_bytes_per_token(&info.spec, KV_F16), 0);
}
END_TEST

START_TEST(no_tensor_at_all) {
    struct make m = model("llama", 3);
    make_counts(&m);
    make_write(&m, path_of("model.gguf"));
    buf_free(&m.b);
    ck_assert_int_eq(read_named("model.gguf"), ERR_MODEL_INVALID);
    ck_assert_ptr_nonnull(strstr(reason, "no tensor"));
}
END_TEST

/* ---- split files ---- */

struct part {
    uint32_t no, count; /* split.no, split.count; count 0: not written */
    uint32_t tensors;   /* split.tensors.count; 0: not written */
    const char *tensor; /* NULL: none */
};

static void write_part(const char *name, const struct part *p) {
    struct make m = make_begin();
    if (p->no == 0) {
        make_model_kv(&m, "llama", 3);
        make_tokens(&m, 10);
    }
    make_u32(&m, "split.no", p->no);
    if (p->count) make_u32(&m, "split.count", p->count);
    if (p->tensors) make_u32(&m, "split.tensors.count", p->tensors);
    if (p->tensor) make_tensor(&m, p->tensor, 64, 10, 0);
    make_counts(&m);
    make_data(&m);
    make_write(&m, path_of(name));
    buf_free(&m.b);
}

static void write_three(void) {
    write_part("s-00001-of-00003.gguf", &(struct part){.no = 0, .count = 3, .tensors = 2});
    write_part("s-00002-of-00003.gguf", &(struct part){.no = 1, .count = 3, .tensor = "b"});
    write_part("s-00003-of-00003.gguf", &(struct part){.no = 2, .count = 3, .tensor = "c"});
}

static void set_refused(const char *words) {
    enum err err = read_named("s-00001-of-00003.gguf");
    ck_assert_msg(err == ERR_MODEL_INVALID && strstr(reason, words), "%s '%s', not '%s'", err_name(err),
                  reason, words);
    ck_assert_int_eq(mem_live_count(), 0);
}

START_TEST(all_parts_count) {
    write_three();
    ck_assert_msg(read_named("s-00001-of-00003.gguf") == ERR_OK, "%s", reason);
    ck_assert_uint_eq(info.n_parts, 3);
    ck_assert_uint_eq(info.n_tensors, 2);
    ck_assert_uint_eq(info.spec.n_params, 1280);
    ck_assert_uint_eq(info.spec.weights_bytes, 5120);
    ck_assert_uint_gt(info.file_bytes, 5120);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(sets_that_are_not_whole) {
    write_three();
    ck_assert_int_eq(read_named("s-00002-of-00003.gguf"), ERR_MODEL_INVALID);
    ck_assert_ptr_nonnull(strstr(reason, "this is part 2 of 3; a model is named by its first part"));
    unlink(path_of("s-00003-of-00003.gguf"));
    set_refused("part 3 of 3: the file can't be opened");
    write_part("s-00003-of-00003.gguf", &(struct part){.no = 1, .count = 3, .tensor = "c"});
    set_refused("part 3 of 3: the name says part 3 of 3, the header part 2 of 3");
    write_part("s-00003-of-00003.gguf", &(struct part){.no = 2, .count = 4, .tensor = "c"});
    set_refused("the header part 3 of 4");
    write_part("s-00003-of-00003.gguf", &(struct part){.no = 2, .count = 3, .tensor = "b"});
    set_refused("part 3 of 3: a tensor is in another part too");
    write_part("s-00003-of-00003.gguf", &(struct part){.no = 2, .count = 3});
    set_refused("the parts have 1 tensors; the first one promises 2");
    write_three();
    ck_assert_int_eq(truncate(path_of("s-00002-of-00003.gguf"), 1000), 0);
    set_refused("part 2 of 3: tensor b ends at byte");
    write_part("alone.gguf", &(struct part){.no = 0, .count = 3, .tensor = "a"});
    ck_assert_int_eq(read_named("alone.gguf"), ERR_MODEL_INVALID);
    ck_assert_ptr_nonnull(strstr(reason, "the header says part 1 of 3; such a file is named"));
    write_part("s-00001-of-00003.gguf", &(struct part){.no = 0, .tensor = "a"});
    set_refused("the name says part 1 of 3, the header part 1 of 1");
}
END_TEST

/* ---- harm ---- */

START_TEST(torture) {
    write_three();
    enum err err = ERR_NOMEM;
    for (int64_t n = 1; err; n++) {
        ck_assert_int_lt(n, 200);
        mem_fail_at(n);
        err = read_named("s-00001-of-00003.gguf");
        mem_fail_at(0);
        ck_assert_msg(err == ERR_OK || err == ERR_NOMEM, "%s", reason);
        ck_assert((err != ERR_OK) == (reason[0] != '\0'));
        ck_assert_int_eq(mem_live_count(), 0);
    }
}
END_TEST

START_TEST(every_byte_damaged) {
    static const uint8_t flips[] = {0x01, 0x80, 0xff};
    struct make m = model("gemma3", 18);
    make_u32(&m, "gemma3.attention.sliding_window", 512);
    make_f32(&m, "gemma3.attention.layer_norm_rms_epsilon", 1e-6f);
    make_tensor(&m, "token_embd.weight", 64, 10, 0);
    make_counts(&m);
    make_data(&m);
    size_t header = m.b.size - m.data_bytes;
    for (size_t i = 0; i < header; i++) {
        for (size_t k = 0; k < sizeof flips; k++) {
            m.b.data[i] ^= flips[k];
            make_write(&m, path_of("model.gguf"));
            enum err err = read_named("model.gguf");
            ck_assert(err == ERR_OK || err == ERR_MODEL_INVALID);
            ck_assert((err != ERR_OK) == (reason[0] != '\0'));
            if (!err) { /* whatever it says is within bounds */
                ck_assert_uint_le(info.spec.n_layers, MODEL_LAYERS_MAX);
                ck_assert_uint_le(info.spec.n_window_layers, info.spec.n_layers);
                ck_assert_uint_ge(info.spec.n_vocab, 1);
                ck_assert_uint_lt(model_spec_base_bytes_per_token(&info.spec, KV_F16), UINT64_MAX);
                ck_assert_uint_lt(model_spec_window_bytes_per_seq(&info.spec, KV_F16), UINT64_MAX);
            }
            m.b.data[i] ^= flips[k];
        }
    }
    buf_free(&m.b);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

/* ---- the three real ones ---- */

static const struct real {
    const char *file;
    struct model_spec spec;
    uint32_t n_tensors;
} reals[] = {
    {"SmolLM2-135M-Instruct.Q4_1.gguf",
     {.architecture = "llama",
      .n_layers = 30,
      .n_embd = 576,
      .n_heads = 9,
      .n_kv_heads = 3,
      .head_k = 64,
      .head_v = 64,
      .context_train = 8192,
      .n_vocab = 49152,
      .n_params = 134515008,
      .weights_bytes = 96576768,
      .has_template = true},
     272},
    {"Qwen2.5-Coder-0.5B-Instruct-Q4_K_M.gguf",
     {.architecture = "qwen2",
      .n_layers = 24,
      .n_embd = 896,
      .n_heads = 14,
      .n_kv_heads = 2,
      .head_k = 64,
      .head_v = 64,
      .context_train = 32768,
      .n_vocab = 151936,
      .n_params = 630167424,
      .weights_bytes = 485452288,
      .has_template = true},
     291},
    {"gemma-3-270m-Q4_K_M.gguf",
     {.architecture = "gemma3",
      .n_layers = 18,
      .n_embd = 640,
      .n_heads = 4,
      .n_kv_heads = 1,
      .head_k = 256,
      .head_v = 256,
      .window = 512,
      .n_window_layers = 15,
      .context_train = 32768,
      .n_vocab = 262144,
      .n_params = 268098176,
      .weights_bytes = 246587904},
     236},
};

static const char *models_dir(void) {
    static char text[256];
    const char *set = getenv("HOTSEAT_MODELS_DIR"), *home = getenv("HOME");
    if (set && *set) return set;
    snprintf(text, sizeof text, "%s/.cache/hotseat/models", home ? home : "");
    return text;
}

static void check_real(const char *path, const struct real *r) {
    ck_assert_msg(gguf_info_read(path, &info, reason, sizeof reason) == ERR_OK, "%s: %s", path, reason);
    const struct model_spec *a = &info.spec, *b = &r->spec;
    ck_assert_str_eq(a->architecture, b->architecture);
    ck_assert_uint_gt(strlen(a->name), 0);
    ck_assert_uint_eq(a->n_layers, b->n_layers);
    ck_assert_uint_eq(a->n_embd, b->n_embd);
    ck_assert_uint_eq(a->n_heads, b->n_heads);
    ck_assert_uint_eq(a->n_kv_heads, b->n_kv_heads);
    ck_assert_uint_eq(a->head_k, b->head_k);
    ck_assert_uint_eq(a->head_v, b->head_v);
    ck_assert_uint_eq(a->window, b->window);
    ck_assert_uint_eq(a->n_window_layers, b->n_window_layers);
    ck_assert_uint_eq(a->context_train, b->context_train);
    ck_assert_uint_eq(a->n_vocab, b->n_vocab);
    ck_assert_uint_eq(a->n_params, b->n_params);
    ck_assert_uint_eq(a->weights_bytes, b->weights_bytes);
    ck_assert(a->has_template == b->has_template && !a->recurrent);
    ck_assert_uint_eq(info.n_tensors, r->n_tensors);
}

START_TEST(real_models) {
    for (size_t i = 0; i < ARRAY_LEN(reals); i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", models_dir(), reals[i].file);
        if (access(path, R_OK) != 0) {
            printf("not checked: %s is not there\n", path);
            continue;
        }
        check_real(path, &reals[i]);
    }
}
END_TEST

/* A whole file's beginning in a file of its own: refused by the first tensor that is not there, whatever the cut. */
START_TEST(real_models_cut_short) {
    static uint8_t head[1 << 20];
    for (size_t i = 0; i < ARRAY_LEN(reals); i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", models_dir(), reals[i].file);
        FILE *f = fopen(path, "rb");
        if (!f) continue; /* said above */
        size_t have = fread(head, 1, sizeof head, f);
        fclose(f);
        for (size_t cut = 1; cut <= have; cut = cut * 5 / 4 + 1) {
            struct make m = {.b = {.data = head, .size = cut}};
            make_write(&m, path_of("model.gguf"));
            ck_assert_int_eq(read_named("model.gguf"), ERR_MODEL_INVALID);
            ck_assert_str_ne(reason, "");
        }
    }
}
END_TEST

int main(void) {
    if (!mkdtemp(dir)) return EXIT_FAILURE;
    const TTest *const tests[] = {a_plain_model,
                                  long_and_short_rope_factors,
                                  version_2_too,
                                  keys_may_come_before_the_architecture,
                                  windows,
                                  what_must_be_there,
                                  numbers_out_of_bounds,
                                  numbers_that_kill,
                                  numbers_for_each_layer,
                                  lists_of_the_vocabulary,
                                  what_is_no_text_model,
                                  models_with_a_running_state,
                                  no_tensor_at_all,
                                  all_parts_count,
                                  sets_that_are_not_whole,
                                  torture,
                                  every_byte_damaged,
                                  real_models,
                                  real_models_cut_short};
    int status = CHECK_RUN("gguf_info", tests);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command) == 0 ? status : EXIT_FAILURE;
}
