/* test_engine_llama.c - the llama engine on the three real models (HOTSEAT_MODELS_DIR, else ~/.cache/hotseat/models).
 * Exit status 77 when a model is missing: ctest then says "skipped". Equal text proves little, so bits are compared:
 * logits rows, KV hashes, and once a flipped byte that must be seen. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc_mem.h"
#include "seat/engine.h"

#if defined(__SANITIZE_ADDRESS__)
#define MEMORY_IS_TRUE 0 /* its allocator keeps what was freed */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEMORY_IS_TRUE 0
#endif
#endif
#ifndef MEMORY_IS_TRUE
#define MEMORY_IS_TRUE 1
#endif

enum { SMOL, QWEN, GEMMA, N_MODELS };
static const char *const FILES[N_MODELS] = {
    "SmolLM2-135M-Instruct.Q4_1.gguf", "Qwen2.5-Coder-0.5B-Instruct-Q4_K_M.gguf", "gemma-3-270m-Q4_K_M.gguf"};

#define CHUNK 128
#define CELLS 2048
#define SEQS 2

static const char *model_path(int m) {
    static char path[4096];
    const char *dir = getenv("HOTSEAT_MODELS_DIR"), *home = getenv("HOME");
    if (dir) {
        snprintf(path, sizeof path, "%s/%s", dir, FILES[m]);
    } else {
        snprintf(path, sizeof path, "%s/.cache/hotseat/models/%s", home ? home : "", FILES[m]);
    }
    return path;
}

static struct engine_load_params load_params(int m) {
    return (struct engine_load_params){
        .path = model_path(m), .kv = KV_Q8_0, .n_threads = 2, .template_family = "", .template_source = ""};
}

static struct engine *load(int m, struct engine_model *ret_model) {
    struct engine *e = NULL;
    struct engine_model model;
    char why[256] = "";
    struct engine_load_params p = load_params(m);
    ck_assert_int_eq(engine_open(&e), ERR_OK);
    enum err err = engine_load(e, &p, &model, why, sizeof why);
    ck_assert_msg(err == ERR_OK, "load: %s", why);
    if (ret_model) *ret_model = model;
    return e;
}

static uint64_t configure(struct engine *e, uint32_t n_cells) {
    struct engine_context_params p = {.n_cells = n_cells, .n_seqs = SEQS, .n_batch = 512};
    char why[256] = "";
    uint64_t compute = 0;
    enum err err = engine_configure(e, &p, &compute, why, sizeof why);
    ck_assert_msg(err == ERR_OK, "configure: %s", why);
    return compute;
}

/* Natural enough text of n tokens: sentences that count. */
static int32_t *text_tokens(struct engine *e, uint32_t n) {
    struct buf b = BUF(1 << 20);
    for (int i = 0; i < 400; i++) {
        buf_printf(
            &b, "In chapter %d the traveller %s the %s and wrote down what she had seen. ", i,
            (const char *const[]){"left", "found", "lost", "remembered"}[i % 4],
            (const char *const[]){"harbour", "old map", "lighthouse keeper", "north road", "letter"}[i % 5]);
    }
    int32_t *ids = NULL;
    uint32_t got = 0;
    ck_assert_int_eq(engine_tokenize(e, (const char *)b.data, b.size, false, true, &ids, &got), ERR_OK);
    ck_assert_uint_ge(got, n);
    buf_free(&b);
    return ids;
}

static void decode(struct engine *e, const int32_t *ids, int32_t p0, int32_t p1, int32_t seq) {
    struct engine_item items[512];
    for (int32_t p = p0; p < p1;) {
        uint32_t n = 0;
        for (; n < CHUNK && p < p1; n++, p++) {
            items[n] = (struct engine_item){.token = ids[p], .pos = p, .seq = seq, .logits = p + 1 == p1};
        }
        ck_assert_int_eq(engine_decode(e, items, n), ERR_OK);
    }
}

static uint64_t row_hash(struct engine *e, int32_t item, uint32_t n_vocab) {
    return hash64(engine_logits(e, (uint32_t)item), n_vocab * sizeof(float));
}

static int32_t greedy(struct engine *e, uint32_t item, uint32_t n_vocab) {
    const float *row = engine_logits(e, item);
    int32_t best = 0;
    for (uint32_t i = 1; i < n_vocab; i++) {
        if (row[i] > row[best]) best = (int32_t)i;
    }
    return best;
}

/* The calls after position p: the rest of the prompt, then n tokens, each row hashed. */
static uint64_t go_on(struct engine *e, const int32_t *ids, int32_t p, int32_t end, uint32_t n_vocab) {
    uint64_t rows[9];
    decode(e, ids, p, end, 0);
    int32_t last = (end - p - 1) % CHUNK;
    rows[0] = row_hash(e, last, n_vocab);
    int32_t token = greedy(e, (uint32_t)last, n_vocab);
    for (int i = 1; i < 9; i++) {
        struct engine_item item = {.token = token, .pos = end + i - 1, .seq = 0, .logits = true};
        ck_assert_int_eq(engine_decode(e, &item, 1), ERR_OK);
        rows[i] = row_hash(e, 0, n_vocab);
        token = greedy(e, 0, n_vocab);
    }
    return hash64(rows, sizeof rows);
}

struct block {
    struct buf base, window;
    int32_t window_from;
};
#define N_BLOCKS_MAX 4

/* Gemma goes well past its window; the others need no more than a border between blocks. */
static int n_blocks(int m) {
    return m == GEMMA ? 4 : 2;
}

static void take(struct engine *e, int32_t seq, struct block *blocks, int n) {
    for (int b = 0; b < n; b++) {
        int32_t p0 = b * BLOCK_TOKENS;
        blocks[b].base = blocks[b].window = BUF(256u << 20);
        ck_assert_int_eq(engine_block_take(e, seq, p0, p0 + BLOCK_TOKENS,
                                           ENGINE_PART_BASE | ENGINE_PART_WINDOW, &blocks[b].base,
                                           &blocks[b].window, &blocks[b].window_from),
                         ERR_OK);
        ck_assert_uint_gt(blocks[b].base.size, 0);
    }
}

static void put(struct engine *e, int32_t seq, const struct block *blocks, int n, uint32_t window) {
    int32_t end = n * BLOCK_TOKENS;
    for (int b = 0; b < n; b++) {
        int32_t p0 = b * BLOCK_TOKENS, p1 = p0 + BLOCK_TOKENS;
        bool need = window && p1 > end - (int32_t)window + 1;
        if (need) ck_assert_int_le(blocks[b].window_from, p0);
        ck_assert_int_eq(engine_block_put(e, seq, p0, p1, blocks[b].base.data, blocks[b].base.size,
                                          need ? blocks[b].window.data : NULL,
                                          need ? blocks[b].window.size : 0),
                         ERR_OK);
    }
}

static void blocks_free(struct block *blocks, int n) {
    for (int b = 0; b < n; b++) {
        buf_free(&blocks[b].base);
        buf_free(&blocks[b].window);
    }
}

/* Blocks taken out and put back into a fresh context go on to the bit, and a flipped byte does not. */
START_TEST(test_blocks_go_on_to_the_bit) {
    struct engine_model model;
    struct engine *e = load(_i, &model);
    configure(e, CELLS);
    int n = n_blocks(_i);
    int32_t cut = n * BLOCK_TOKENS, end = cut + 60;
    int32_t *ids = text_tokens(e, (uint32_t)end);
    ck_assert_uint_eq(model.window, _i == GEMMA ? 512 : 0);

    struct block blocks[N_BLOCKS_MAX];
    decode(e, ids, 0, cut, 0);
    take(e, 0, blocks, n);
    ck_assert_int_eq(blocks[0].window.size > 0, _i == GEMMA);
    uint64_t kv_live = 0, kv_back = 0, kv_flipped = 0;
    ck_assert_int_eq(engine_kv_hash(e, 0, cut, &kv_live), ERR_OK);
    ck_assert_uint_eq(engine_cells_used(e), (uint32_t)cut);
    uint64_t live = go_on(e, ids, cut, end, model.n_vocab);

    configure(e, CELLS);
    put(e, 0, blocks, n, model.window);
    ck_assert_uint_eq(engine_cells_used(e), (uint32_t)cut);
    ck_assert_int_eq(engine_kv_hash(e, 0, cut, &kv_back), ERR_OK);
    ck_assert(kv_live == kv_back);
    uint64_t decoded = engine_decoded_tokens(e);
    ck_assert(go_on(e, ids, cut, end, model.n_vocab) == live);
    ck_assert_uint_eq(engine_decoded_tokens(e) - decoded, (uint64_t)(end - cut) + 8);

    /* Another sequence, with a neighbour in the cells before: the same KV bytes. */
    configure(e, CELLS);
    decode(e, ids, 0, 100, 0);
    put(e, 1, blocks, n, model.window);
    ck_assert_int_eq(engine_kv_hash(e, 1, cut, &kv_back), ERR_OK);
    ck_assert(kv_live == kv_back);

    configure(e, CELLS);
    ck_assert_int_eq(fault_arm("kv_flip", 1, 0), ERR_OK);
    put(e, 0, blocks, n, model.window);
    ck_assert_int_eq(engine_kv_hash(e, 0, cut, &kv_flipped), ERR_OK);
    ck_assert(kv_live != kv_flipped);
    ck_assert(go_on(e, ids, cut, end, model.n_vocab) != live);

    blocks_free(blocks, n);
    mem_free(ids);
    engine_free(e);
}
END_TEST

START_TEST(test_damaged_blocks_leave_nothing) {
    struct engine *e = load(_i, NULL);
    configure(e, CELLS);
    int n = n_blocks(_i);
    int32_t cut = n * BLOCK_TOKENS;
    int32_t *ids = text_tokens(e, (uint32_t)cut);
    struct block blocks[N_BLOCKS_MAX];
    decode(e, ids, 0, cut, 0);
    take(e, 0, blocks, n);
    ck_assert(engine_seq_rm(e, 0, 0, -1));
    struct buf *b = &blocks[0].base;
    for (size_t less = 1; less < b->size; less += b->size / 7) {
        ck_assert_int_ne(engine_block_put(e, 0, 0, BLOCK_TOKENS, b->data, b->size - less, NULL, 0), ERR_OK);
        ck_assert_uint_eq(engine_cells_used(e), 0);
    }
    ck_assert_int_ne(
        engine_block_put(e, 0, 0, BLOCK_TOKENS, blocks[1].base.data, blocks[1].base.size, NULL, 0), ERR_OK);
    if (_i == GEMMA) {
        ck_assert_int_ne(engine_block_put(e, 0, 0, BLOCK_TOKENS, b->data, b->size, blocks[0].window.data,
                                          blocks[0].window.size / 2),
                         ERR_OK);
    }
    /* The cells are all free again: a sequence of full length fits. */
    ck_assert_uint_eq(engine_cells_used(e), 0);
    put(e, 1, blocks, n, _i == GEMMA ? 512 : 0);
    blocks_free(blocks, n);
    mem_free(ids);
    engine_free(e);
}
END_TEST

START_TEST(test_self_test_leaves_it_empty) {
    struct engine *e = load(_i, NULL);
    configure(e, CELLS);
    char why[256] = "";
    int64_t start = clock_now_ns();
    enum err err = engine_self_test(e, why, sizeof why);
    ck_assert_msg(err == ERR_OK, "%s", why);
    printf("%s: self-test %.1f ms\n", FILES[_i], (double)(clock_now_ns() - start) / 1e6);
    ck_assert_uint_eq(engine_cells_used(e), 0);
    ck_assert_uint_eq(engine_decoded_tokens(e), 0);
    engine_free(e);
}
END_TEST

/* What a window takes late holds less, and says so; a cut that needs what is gone is refused. */
START_TEST(test_window_that_moved_on) {
    struct engine_model model;
    struct engine *e = load(GEMMA, &model);
    configure(e, 4096);
    int32_t n = 3000;
    int32_t *ids = text_tokens(e, (uint32_t)n);
    decode(e, ids, 0, n, 0);
    struct buf base = BUF(64u << 20), window = BUF(64u << 20);
    int32_t from = -1;
    ck_assert_int_eq(engine_block_take(e, 0, 0, 256, ENGINE_PART_WINDOW, &base, &window, &from), ERR_OK);
    ck_assert_int_eq(from, 256); /* overwritten long ago */
    ck_assert_uint_eq(base.size, 0);
    buf_clear(&window);
    ck_assert_int_eq(engine_block_take(e, 0, n - 200, n, ENGINE_PART_WINDOW, &base, &window, &from), ERR_OK);
    ck_assert_int_eq(from, n - 200);
    ck_assert_uint_gt(window.size, 0);

    ck_assert(engine_seq_rm(e, 0, n, -1));
    ck_assert(engine_seq_rm(e, 0, n - 1, -1));
    ck_assert_uint_eq(engine_cells_used(e), (uint32_t)n - 1);
    uint32_t used = engine_cells_used(e);
    ck_assert(!engine_seq_rm(e, 0, 300, -1));
    ck_assert(!engine_seq_rm(e, 0, 10, 20));
    ck_assert_uint_eq(engine_cells_used(e), used);
    decode(e, ids, n - 1, n, 0); /* still usable */
    ck_assert(engine_seq_rm(e, 0, 0, -1));
    ck_assert_uint_eq(engine_cells_used(e), 0);
    buf_free(&base);
    buf_free(&window);
    mem_free(ids);
    engine_free(e);
}
END_TEST

/* The ring of the window cache has wrapped in the live sequence; what was taken as it filled is the same bytes. */
START_TEST(test_blocks_of_a_ring_that_wrapped) {
    struct engine *e = load(GEMMA, NULL);
    configure(e, 4096);
    enum { N = 11, END = N * BLOCK_TOKENS };
    int32_t *ids = text_tokens(e, END);
    struct buf base[N], window[N];
    for (int32_t b = 0; b < N; b++) {
        int32_t p0 = b * BLOCK_TOKENS, from = -1;
        base[b] = window[b] = BUF(64u << 20);
        decode(e, ids, p0, p0 + BLOCK_TOKENS, 0);
        ck_assert_int_eq(engine_block_take(e, 0, p0, p0 + BLOCK_TOKENS, ENGINE_PART_BASE | ENGINE_PART_WINDOW,
                                           &base[b], &window[b], &from),
                         ERR_OK);
        ck_assert_int_eq(from, p0);
    }
    uint64_t live = 0, back = 0;
    ck_assert_int_eq(engine_kv_hash(e, 0, END, &live), ERR_OK);
    configure(e, 4096);
    for (int32_t b = 0; b < N; b++) {
        int32_t p0 = b * BLOCK_TOKENS;
        bool need = p0 + BLOCK_TOKENS > END - 512 + 1;
        ck_assert_int_eq(engine_block_put(e, 1, p0, p0 + BLOCK_TOKENS, base[b].data, base[b].size,
                                          window[b].data, need ? window[b].size : 0),
                         ERR_OK);
        buf_free(&base[b]);
        buf_free(&window[b]);
    }
    ck_assert_int_eq(engine_kv_hash(e, 1, END, &back), ERR_OK);
    ck_assert(live == back);
    mem_free(ids);
    engine_free(e);
}
END_TEST

/* Every KV type has its own layout of rows, and repacked weights compute elsewhere. */
START_TEST(test_every_kv_type) {
    for (int repack = 0; repack < 2; repack++) {
        struct engine *e = NULL;
        struct engine_model model;
        char why[256] = "";
        struct engine_load_params p = load_params(_i % 2 ? GEMMA : SMOL);
        p.kv = (enum kv_type[]){KV_F16, KV_Q8_0, KV_Q4_0}[_i / 2];
        p.repack = repack;
        ck_assert_int_eq(engine_open(&e), ERR_OK);
        ck_assert_int_eq(engine_load(e, &p, &model, why, sizeof why), ERR_OK);
        configure(e, 1024);
        enum err err = engine_self_test(e, why, sizeof why);
        ck_assert_msg(err == ERR_OK, "%s", why);
        engine_free(e);
    }
}
END_TEST

START_TEST(test_measure_is_what_a_load_takes) {
    struct engine_load_params p = load_params(_i);
    struct engine_context_params c = {.n_cells = CELLS, .n_seqs = SEQS, .n_batch = 512};
    struct engine_measure m = {0};
    struct engine_model model;
    char why[256] = "";
    int64_t start = clock_now_ns();
    ck_assert_int_eq(engine_measure(&p, &c, &m, why, sizeof why), ERR_OK);
    double ms = (double)(clock_now_ns() - start) / 1e6;
    struct engine *e = load(_i, &model);
    uint64_t before = proc_mem_private_bytes(), compute = configure(e, CELLS),
             after = proc_mem_private_bytes();
    printf("%s: measured in %.0f ms: weights %.1f MB, cells %.1f MB, compute %.1f MB; %lu B/token, %lu "
           "B/window; took %.1f MB\n",
           FILES[_i], ms, (double)m.weights_bytes / 1e6, (double)m.cells_bytes / 1e6,
           (double)m.compute_bytes / 1e6, (unsigned long)m.base_bytes_per_token,
           (unsigned long)m.window_bytes_per_seq, (double)(after - before) / 1e6);
    ck_assert_uint_eq(m.base_bytes_per_token, model.base_bytes_per_token);
    ck_assert_uint_eq(m.window_bytes_per_seq, model.window_bytes_per_seq);
    ck_assert_uint_eq(m.context_train, model.context_train);
    ck_assert_uint_eq(m.n_vocab, model.n_vocab);
    ck_assert_double_eq_tol((double)m.weights_bytes / (double)model.weights_bytes, 1.0, 0.03);
    ck_assert_double_eq_tol((double)m.compute_bytes / (double)compute, 1.0, 0.03);
    uint64_t per_window_token = model.window ? model.window_bytes_per_seq / model.window : 0;
    uint64_t ring = model.window * (SEQS + 1) + 512;
    ck_assert_uint_eq(m.cells_bytes,
                      CELLS * model.base_bytes_per_token + (ring < CELLS ? ring : CELLS) * per_window_token);
    /* Heap that the load left behind is used again, so a context may add less than it takes. */
    if (before) ck_assert_uint_ge(after - before, m.cells_bytes / 2);
    engine_free(e);
}
END_TEST

START_TEST(test_unload_gives_memory_back) {
    struct engine *e = NULL;
    uint64_t baseline = 0;
    ck_assert_int_eq(engine_open(&e), ERR_OK);
    for (int i = 0; i < 4; i++) {
        struct engine_load_params p = load_params(_i);
        struct engine_model model;
        char why[256] = "";
        ck_assert_int_eq(engine_load(e, &p, &model, why, sizeof why), ERR_OK);
        configure(e, CELLS);
        int32_t *ids = text_tokens(e, 256);
        decode(e, ids, 0, 256, 0);
        mem_free(ids);
        engine_unload(e);
        uint64_t now = proc_mem_private_bytes();
        printf("%s: %.1f MB private after unload %d\n", FILES[_i], (double)now / 1e6, i + 1);
        ck_assert_uint_eq(proc_mem_mappings_of(p.path), 0);
        if (i == 0) baseline = now;
        if (MEMORY_IS_TRUE) ck_assert_uint_le(now, baseline + (2u << 20));
    }
    if (MEMORY_IS_TRUE) ck_assert_uint_le(baseline, 40u << 20);
    engine_free(e);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

static void *cancel_soon(void *arg) {
    struct timespec t = {.tv_nsec = 300 * NS_PER_MS};
    nanosleep(&t, NULL);
    engine_cancel(arg, true);
    return NULL;
}

START_TEST(test_cancel_ends_a_decode) {
    struct engine_model model;
    struct engine *e = load(QWEN, &model);
    configure(e, CELLS);
    int32_t *ids = text_tokens(e, 1024);
    decode(e, ids, 0, 512, 0);
    uint64_t before = 0, after = 0;
    ck_assert_int_eq(engine_kv_hash(e, 0, 512, &before), ERR_OK);
    struct engine_item items[512];
    for (int32_t i = 0; i < 512; i++) {
        items[i] = (struct engine_item){.token = ids[512 + i], .pos = 512 + i, .seq = 0, .logits = i == 511};
    }
    pthread_t thread;
    pthread_create(&thread, NULL, cancel_soon, e);
    int64_t start = clock_now_ns();
    enum err err = engine_decode(e, items, 512);
    int64_t took = clock_now_ns() - start;
    pthread_join(thread, NULL);
    ck_assert_int_eq(err, ERR_CANCELED);
    ck_assert_int_lt(took, 300 * NS_PER_MS + NS_PER_S);
    ck_assert_uint_eq(engine_cells_used(e), 512);
    engine_cancel(e, false);
    ck_assert_int_eq(engine_kv_hash(e, 0, 512, &after), ERR_OK);
    ck_assert(before == after);
    decode(e, ids, 512, 600, 0);
    mem_free(ids);
    engine_free(e);
}
END_TEST

START_TEST(test_cancel_ends_a_load) {
    struct engine *e = NULL;
    struct engine_model model;
    char why[256] = "";
    struct engine_load_params p = load_params(SMOL);
    ck_assert_int_eq(engine_open(&e), ERR_OK);
    ck_assert_int_eq(fault_arm("load_slow", 1, 20000), ERR_OK);
    pthread_t thread;
    pthread_create(&thread, NULL, cancel_soon, e);
    ck_assert_int_eq(engine_load(e, &p, &model, why, sizeof why), ERR_CANCELED);
    pthread_join(thread, NULL);
    ck_assert_int_eq(engine_load(e, &p, &model, why, sizeof why), ERR_CANCELED); /* until it is taken back */
    engine_cancel(e, false);
    ck_assert_int_eq(engine_load(e, &p, &model, why, sizeof why), ERR_OK);
    engine_free(e);
}
END_TEST

START_TEST(test_failures_are_errors) {
    struct engine *e = NULL;
    struct engine_model model;
    char why[256] = "";
    struct engine_load_params p = load_params(SMOL);
    ck_assert_int_eq(engine_open(&e), ERR_OK);
    p.path = "/proc/self/cmdline";
    ck_assert_int_eq(engine_load(e, &p, &model, why, sizeof why), ERR_MODEL_INVALID);
    ck_assert_str_ne(why, "");
    p = load_params(SMOL);
    ck_assert_int_eq(fault_arm("load_fail", 1, 0), ERR_OK);
    ck_assert_int_eq(engine_load(e, &p, &model, why, sizeof why), ERR_MODEL_INVALID);
    ck_assert_int_eq(engine_load(e, &p, &model, why, sizeof why), ERR_OK);
    struct engine_context_params c = {.n_cells = 512, .n_seqs = 1, .n_batch = 512};
    ck_assert_int_eq(fault_arm("configure_fail", 1, 0), ERR_OK);
    ck_assert_int_eq(engine_configure(e, &c, NULL, why, sizeof why), ERR_NOMEM);
    ck_assert_int_eq(engine_configure(e, &c, NULL, why, sizeof why), ERR_OK);
    int32_t *ids = text_tokens(e, 600);
    struct engine_item items[512];
    for (int32_t i = 0; i < 512; i++) items[i] = (struct engine_item){.token = ids[i], .pos = i, .seq = 0};
    ck_assert_int_eq(fault_arm("decode_fail", 1, 0), ERR_OK);
    ck_assert_int_eq(engine_decode(e, items, 8), ERR_INTERNAL);
    ck_assert_int_eq(engine_decode(e, items, 512), ERR_OK);
    struct engine_item one = {.token = ids[512], .pos = 512, .seq = 0, .logits = true};
    ck_assert_int_eq(engine_decode(e, &one, 1), ERR_NO_CELLS);
    ck_assert_uint_eq(engine_cells_used(e), 512);
    one.token = 1 << 30;
    ck_assert(engine_seq_rm(e, 0, 500, -1));
    one.pos = 500;
    ck_assert_int_eq(engine_decode(e, &one, 1), ERR_INTERNAL);
    ck_assert_uint_eq(engine_cells_used(e), 500);
    mem_free(ids);
    engine_free(e);
}
END_TEST

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

static Suite *suite(void) {
    Suite *s = suite_create("engine_llama");
    TCase *t = tcase_create("blocks");
    tcase_set_timeout(t, 400);
    tcase_add_loop_test(t, test_blocks_go_on_to_the_bit, 0, N_MODELS);
    tcase_add_loop_test(t, test_damaged_blocks_leave_nothing, 0, N_MODELS);
    tcase_add_loop_test(t, test_self_test_leaves_it_empty, 0, N_MODELS);
    tcase_add_test(t, test_window_that_moved_on);
    tcase_add_test(t, test_blocks_of_a_ring_that_wrapped);
    tcase_add_loop_test(t, test_every_kv_type, 0, 6);
    suite_add_tcase(s, t);
    t = tcase_create("life");
    tcase_set_timeout(t, 400);
    tcase_add_loop_test(t, test_measure_is_what_a_load_takes, 0, N_MODELS);
    tcase_add_loop_test(t, test_unload_gives_memory_back, 0, N_MODELS);
    tcase_add_test(t, test_cancel_ends_a_decode);
    tcase_add_test(t, test_cancel_ends_a_load);
    tcase_add_test(t, test_failures_are_errors);
    suite_add_tcase(s, t);
    t = tcase_create("text");
    tcase_set_timeout(t, 400);
    tcase_add_loop_test(t, test_tokens_and_pieces, 0, N_MODELS);
    tcase_add_test(t, test_chat_without_template_is_refused);
    tcase_add_loop_test(t, test_families, 0, 5);
    tcase_add_test(t, test_tool_calls_in_pieces);
    tcase_add_test(t, test_chat_refusals_and_continuation);
    tcase_add_test(t, test_dates_are_pinned);
    suite_add_tcase(s, t);
    t = tcase_create("sampling");
    tcase_set_timeout(t, 400);
    tcase_add_test(t, test_sampling_is_a_function_of_seed_and_position);
    tcase_add_test(t, test_schema_makes_json);
    tcase_add_test(t, test_forced_tool_call);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    for (int m = 0; m < N_MODELS; m++) {
        if (access(model_path(m), R_OK) != 0) {
            printf("skip: no model %s (scripts/setup fetches it)\n", model_path(m));
            return 77;
        }
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    log_open(LOG_WARN, "test");
    SRunner *r = srunner_create(suite());
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
