/* test_engine_llama.c - the llama engine on the three real models: blocks, life. Equal text proves little, so bits are
 * compared: logits rows, KV hashes, and once a flipped byte that must be seen. */
#include "engine_fixture.h"

#include <pthread.h>
#include <time.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/proc_mem.h"
#include "put_parts.h"

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
        ck_assert_int_eq(put_parts(e, seq, p0, p1, blocks[b].base.data, blocks[b].base.size,
                                   need ? blocks[b].window.data : NULL, need ? blocks[b].window.size : 0),
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
        ck_assert_int_ne(put_parts(e, 0, 0, BLOCK_TOKENS, b->data, b->size - less, NULL, 0), ERR_OK);
        ck_assert_uint_eq(engine_cells_used(e), 0);
    }
    ck_assert_int_ne(put_parts(e, 0, 0, BLOCK_TOKENS, blocks[1].base.data, blocks[1].base.size, NULL, 0),
                     ERR_OK);
    if (_i == GEMMA) {
        ck_assert_int_ne(put_parts(e, 0, 0, BLOCK_TOKENS, b->data, b->size, blocks[0].window.data,
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
        ck_assert_int_eq(put_parts(e, 1, p0, p0 + BLOCK_TOKENS, base[b].data, base[b].size, window[b].data,
                                   need ? window[b].size : 0),
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

/* A window that was put behind a gap is no window in the gap: what lies before it must not stand for it. */
START_TEST(test_a_gap_below_the_window_is_seen) {
    struct engine *e = load(GEMMA, NULL);
    configure(e, 4096);
    enum { FIRST = 640, END = 7 * BLOCK_TOKENS };
    int32_t *ids = text_tokens(e, END), lowest = END - 512 + 1, from = -1;
    decode(e, ids, 0, FIRST, 1); /* a conversation with its window */
    decode(e, ids, 0, END, 0);   /* and one that has read on */
    struct buf base = BUF(64u << 20), window = BUF(64u << 20);
    for (int32_t p0 = FIRST, p1; p0 < END; p0 = p1) {
        p1 = (p0 / BLOCK_TOKENS + 1) * BLOCK_TOKENS;
        buf_clear(&base), buf_clear(&window);
        ck_assert_int_eq(
            engine_block_take(e, 0, p0, p1, ENGINE_PART_BASE | ENGINE_PART_WINDOW, &base, &window, &from),
            ERR_OK);
        ck_assert_int_eq(
            put_parts(e, 1, p0, p1, base.data, base.size, window.data, p1 > lowest ? window.size : 0),
            ERR_OK);
    }
    uint64_t one = 0, two = 1;
    ck_assert_int_eq(engine_kv_hash(e, 0, END, &one), ERR_OK);
    ck_assert_int_eq(engine_kv_hash(e, 1, END, &two), ERR_OK);
    ck_assert(one == two);
    buf_clear(&window); /* of this block the old window holds the first 128 positions */
    ck_assert_int_eq(engine_block_take(e, 1, 512, 768, ENGINE_PART_WINDOW, &base, &window, &from), ERR_OK);
    ck_assert_int_eq(from, 768);
    ck_assert(!engine_seq_rm(e, 1, 1100, -1));
    ck_assert(!engine_seq_rm(e, 1, lowest + 256, -1));
    ck_assert(engine_seq_rm(e, 1, END - 1, -1));
    decode(e, ids, END - 1, END, 1);
    ck_assert_int_eq(engine_kv_hash(e, 1, END - 1, &two), ERR_OK);
    ck_assert(engine_seq_rm(e, 1, 0, -1)); /* and what comes later has no gap */
    decode(e, ids, 0, FIRST, 1);
    ck_assert(engine_seq_rm(e, 1, FIRST - 200, -1));
    buf_free(&base);
    buf_free(&window);
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

static Suite *suite(void) {
    Suite *s = suite_create("engine_llama");
    TCase *t = tcase_create("blocks");
    tcase_set_timeout(t, 400);
    tcase_add_loop_test(t, test_blocks_go_on_to_the_bit, 0, N_MODELS);
    tcase_add_loop_test(t, test_damaged_blocks_leave_nothing, 0, N_MODELS);
    tcase_add_loop_test(t, test_self_test_leaves_it_empty, 0, N_MODELS);
    tcase_add_test(t, test_window_that_moved_on);
    tcase_add_test(t, test_blocks_of_a_ring_that_wrapped);
    tcase_add_test(t, test_a_gap_below_the_window_is_seen);
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
    return s;
}

int main(void) {
    return run_suite(suite());
}
