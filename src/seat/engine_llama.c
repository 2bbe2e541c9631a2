/* engine_llama.c - libllama behind engine.h: load, context, decode, unload. Blocks, text and sampling are in
 * the files beside this one (engine_llama.h lists them).
 *
 * Chosen once, for reasons that DESIGN 6 gives: one unified cache (kv_unified), flash attention ENABLED (a
 * quantised V needs it, and V then is never transposed), the same type for K and V, a window cache of its
 * real size (swa_full = false), n_ubatch = n_batch so that a step is one graph and an aborted one leaves
 * nothing behind. Weights are mapped; repacking for the CPU is the caller's choice. */
#include "seat/engine_llama.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/proc_mem.h"

#ifndef HOTSEAT_ENGINE_PIN
#define HOTSEAT_ENGINE_PIN "0.3.36"
#endif

#define FAULT_SLICE_NS (5 * NS_PER_MS)
#define LEAK_BYTES_DEFAULT (INT64_C(64) << 20)
#define BLOB_BYTES_MAX                                                                                       \
    ((size_t)1 << 30) /* a block of 256 tokens of the largest open models at f16 is 0.5 GB */
#define BATCH_MIN 32u
#define PROBE_CELLS 256u /* the smallest cache libllama makes: it pads to this */
#define PROBE_BATCH 32u

const char *engine_name(void) {
    return "llama";
}

const char *engine_version(void) {
    return HOTSEAT_ENGINE_PIN;
}

/* ---- libllama's log: its last error is the reason we give for a NULL; its debug lines (every node of a graph) go nowhere,
 * the rest is our debug ---- */

static _Atomic bool cancelling; /* what libllama then complains about is our doing */
static pthread_mutex_t last_error_lock = PTHREAD_MUTEX_INITIALIZER;
static char last_error[WHY_BYTES];

static void llama_logs(enum ggml_log_level level, const char *text, void *unused) {
    (void)unused;
    if (level == GGML_LOG_LEVEL_CONT || level == GGML_LOG_LEVEL_NONE || level == GGML_LOG_LEVEL_DEBUG) return;
    char line[WHY_BYTES];
    size_t n = strcspn(text, "\n");
    if (n == 0) return;
    snprintf(line, sizeof line, "%.*s", (int)(n < sizeof line ? n : sizeof line - 1), text);
    if (level != GGML_LOG_LEVEL_ERROR || atomic_load(&cancelling)) {
        log_debug("engine.llama", "text=%s", log_q(line));
        return;
    }
    pthread_mutex_lock(&last_error_lock);
    memcpy(last_error, line, sizeof last_error);
    pthread_mutex_unlock(&last_error_lock);
    static struct log_limit limit = LOG_LIMIT(10);
    if (log_limit_pass(&limit)) log_warn("engine.llama", "text=%s", log_q(line));
}

static void forget_last_error(void) {
    pthread_mutex_lock(&last_error_lock);
    last_error[0] = 0;
    pthread_mutex_unlock(&last_error_lock);
}

static void say_last_error(char *why, size_t why_size, const char *what) {
    pthread_mutex_lock(&last_error_lock);
    snprintf(why, why_size, "%s%s%s", what, last_error[0] ? ": " : "", last_error);
    pthread_mutex_unlock(&last_error_lock);
}

static void backend_once(void) {
    llama_log_set(llama_logs, NULL);
    shim_quiet();
    llama_backend_init();
}

static void backend_start(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, backend_once);
}

/* ---- lifecycle ---- */

enum err engine_open(struct engine **ret) {
    *ret = NULL;
    struct engine *e = mem_alloc(sizeof *e);
    if (!e) return ERR_NOMEM;
    e->bos = -1;
    e->blob = BUF(BLOB_BYTES_MAX);
    backend_start();
    *ret = e;
    return ERR_OK;
}

void engine_free(struct engine *e) {
    if (!e) return;
    engine_unload(e);
    mem_free(e);
}

void engine_cancel(struct engine *e, bool cancel) {
    atomic_store(&cancelling, cancel);
    atomic_store(&e->cancel, cancel);
}

static void context_free(struct engine *e) {
    if (e->batch.token) llama_batch_free(e->batch);
    e->batch = (struct llama_batch){0};
    if (e->ctx) llama_free(e->ctx);
    e->ctx = NULL;
    e->memory = NULL;
    mem_free(e->seq_end);
    mem_free(e->seq_held);
    mem_free(e->seq_whole);
    e->seq_end = e->seq_held = e->seq_whole = NULL;
    buf_free(&e->blob);
    e->n_cells = e->n_seqs = e->n_batch = 0;
    e->blocks_on = e->layout_known = false;
}

/* A leak on purpose, for the tests of what happens when memory does not come back. */
static void leak_if_asked(void) {
    static void *leaked;
    int64_t bytes = 0;
    if (!fault_hit(FAULT_UNLOAD_LEAK, &bytes)) return;
    if (bytes <= 0) bytes = LEAK_BYTES_DEFAULT;
    char *p = mem_alloc((size_t)bytes + sizeof leaked);
    if (!p) return;
    memset(p, 0x5a, (size_t)bytes);
    memcpy(p, &leaked, sizeof leaked); /* a chain, so that a leak checker finds it reachable */
    leaked = p;
}

void engine_unload(struct engine *e) {
    fault_hang_if(FAULT_UNLOAD_HANG);
    bool had = e->model != NULL;
    context_free(e);
    chat_templates_free(e->templates);
    e->templates = NULL;
    if (e->model) llama_model_free(e->model);
    e->model = NULL;
    e->vocab = NULL;
    mem_free(e->end_ids);
    mem_free(e->candidates);
    e->end_ids = NULL;
    e->candidates = NULL;
    e->n_end_ids = 0;
    e->n_vocab = 0;
    e->bos = -1;
    if (had) leak_if_asked();
    mem_trim();
}

/* ---- load ---- */

static bool llama_progress(float done, void *ctx) {
    struct engine *e = ctx;
    float permille = done < 0 ? 0 : done > 1 ? 1000 : done * 1000;
    if (e->progress) e->progress(e->progress_ctx, (uint32_t)permille);
    return !atomic_load(&e->cancel);
}

/* Sleeps ms in slices, saying what share has passed when asked to. False: cancelled. */
static bool slow_down(struct engine *e, int64_t ms, bool with_progress) {
    int64_t start = clock_now_ns(), end = start + ms * NS_PER_MS;
    for (int64_t now = start; now < end; now = clock_now_ns()) {
        if (atomic_load(&e->cancel)) return false;
        if (with_progress) llama_progress((float)(now - start) / (float)(end - start) * 0.9f, e);
        struct timespec slice = {.tv_nsec = FAULT_SLICE_NS};
        nanosleep(&slice, NULL);
    }
    return !atomic_load(&e->cancel);
}

static struct llama_model *model_from_file(struct engine *e, const struct engine_load_params *p,
                                           bool measure) {
    struct llama_model_params mp = llama_model_default_params();
    mp.n_gpu_layers = -1;
    mp.load_mode = measure ? LLAMA_LOAD_MODE_NONE : LLAMA_LOAD_MODE_MMAP;
    mp.use_extra_bufts = p->repack;
    mp.no_alloc = measure;
    if (!measure) {
        mp.progress_callback = llama_progress;
        mp.progress_callback_user_data = e;
    }
    forget_last_error();
    return llama_model_load_from_file(p->path, mp);
}

static enum ggml_type ggml_type_of(enum kv_type t) {
    switch (t) {
    case KV_F16: return GGML_TYPE_F16;
    case KV_Q8_0: return GGML_TYPE_Q8_0;
    case KV_Q4_0: return GGML_TYPE_Q4_0;
    }
    must_fail("a KV type", __FILE__, __LINE__, __func__);
}

static bool decode_abort(void *ctx) {
    struct engine *e = ctx;
    return atomic_load(&e->cancel);
}

/* e: whose cancel flag ends a decode; NULL for contexts that never decode. */
static struct llama_context *context_new(struct llama_model *model, enum kv_type kv, int32_t n_threads,
                                         const struct engine_context_params *p, struct engine *e) {
    struct llama_context_params cp = llama_context_default_params();
    cp.n_ctx = p->n_cells;
    cp.n_seq_max = p->n_seqs + 1; /* the scratch */
    cp.n_batch = cp.n_ubatch = p->n_batch;
    cp.n_outputs_max =
        p->n_seqs + 1; /* else logits for a whole batch are reserved: 0.5 GB for Gemma's vocabulary */
    cp.kv_unified = true;
    cp.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    cp.type_k = cp.type_v = ggml_type_of(kv);
    cp.swa_full = false;
    cp.offload_kqv = true;
    cp.no_perf = true;
    cp.n_threads = cp.n_threads_batch = n_threads;
    if (e) {
        cp.abort_callback = decode_abort;
        cp.abort_callback_data = e;
    }
    forget_last_error();
    return llama_init_from_model(model, cp);
}

static enum err probe_total(struct llama_model *model, enum kv_type kv, uint32_t n_cells, uint64_t *ret) {
    /* One sequence in all: the scratch's place is the only one, which is why n_seqs is 0 here. */
    struct engine_context_params p = {.n_cells = n_cells, .n_seqs = 0, .n_batch = PROBE_BATCH};
    struct llama_context *ctx = context_new(model, kv, 1, &p, NULL);
    if (!ctx) return ERR_MODEL_INVALID;
    struct shim_memory m;
    enum err err = shim_memory_of(ctx, &m);
    llama_free(ctx);
    *ret = m.cells_bytes;
    return err;
}

/* What a token and a resident sequence cost, asked of libllama itself: which layers have a window, share
 * their cells or keep a recurrent state is its knowledge. Two small contexts give two equations: total(n
 * cells) = n * base + min(n, padded window) * window_token + recurrent state. */
static enum err cell_bytes_of(struct llama_model *model, enum kv_type kv, struct cell_bytes *ret) {
    bool recurrent = llama_model_is_recurrent(model) || llama_model_is_hybrid(model);
    uint64_t window = (uint64_t)llama_model_n_swa(model), small = 0, large = 0;
    enum err err = probe_total(model, kv, PROBE_CELLS, &small);
    if (err) return err;
    if (window == 0 && !recurrent) {
        *ret = (struct cell_bytes){.base_per_token = small / PROBE_CELLS};
        return ERR_OK;
    }
    uint64_t padded =
        recurrent ? PROBE_CELLS : (window + PROBE_BATCH + PROBE_CELLS - 1) / PROBE_CELLS * PROBE_CELLS;
    uint64_t n = padded + PROBE_CELLS;
    if (n > UINT32_MAX) return ERR_MODEL_INVALID;
    err = probe_total(model, kv, (uint32_t)n, &large);
    if (err) return err;
    if (recurrent) {
        ret->base_per_token = (large - small) / (n - PROBE_CELLS);
        ret->window_per_seq = small - ret->base_per_token * PROBE_CELLS;
        return ERR_OK;
    }
    /* small = 256 (base + w); large = n base + padded w */
    uint64_t both = small / PROBE_CELLS;
    uint64_t window_token = (n * both - large) / (n - padded);
    *ret =
        (struct cell_bytes){.base_per_token = both - window_token, .window_per_seq = window_token * window};
    return ERR_OK;
}

/* The devices that libllama puts a model on: GPUs, else the one inside the processor. Metal's total is its recommended working set (written with
 * care, not run yet). */
static uint64_t device_bytes(void) {
    uint64_t sum[2] = {0};
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        enum ggml_backend_dev_type type = ggml_backend_dev_type(device);
        if (type != GGML_BACKEND_DEVICE_TYPE_GPU && type != GGML_BACKEND_DEVICE_TYPE_IGPU) continue;
        size_t unused = 0, total = 0;
        ggml_backend_dev_memory(device, &unused, &total);
        sum[type == GGML_BACKEND_DEVICE_TYPE_IGPU] += total;
    }
    return sum[0] ? sum[0] : sum[1];
}

/* Logits of every row are kept outside of the compute buffers: libllama's breakdown does not count them. */
static uint64_t output_bytes(int32_t n_vocab, uint32_t n_seqs) {
    return (uint64_t)n_vocab * (n_seqs + 1) * sizeof(float);
}

/* All that a context takes and the pool does not count: buffers of a step, rows of logits, and of a window cache the cells of our
 * scratch sequence and of a step. */
static uint64_t beside_pool_bytes(const struct shim_memory *memory, const struct cell_bytes *cells,
                                  const struct engine_context_params *p, int32_t n_vocab) {
    uint64_t pool = cells->base_per_token * p->n_cells + cells->window_per_seq * p->n_seqs;
    uint64_t unpooled = memory->cells_bytes > pool ? memory->cells_bytes - pool : 0;
    return memory->compute_bytes + unpooled + output_bytes(n_vocab, p->n_seqs);
}

enum err engine_measure(const struct engine_load_params *p, const struct engine_context_params *c,
                        struct engine_measure *ret, char *why, size_t why_size) {
    backend_start();
    if (c->n_seqs + 1 > SEQUENCES_MAX) {
        snprintf(why, why_size, "%u sequences, at most %d", c->n_seqs, SEQUENCES_MAX - 1);
        return ERR_INVALID;
    }
    uint64_t before = proc_mem_private_bytes();
    struct llama_model *model = model_from_file(NULL, p, true);
    if (!model) {
        say_last_error(why, why_size, "the model can't be loaded");
        return ERR_MODEL_INVALID;
    }
    mem_trim();
    uint64_t after = proc_mem_private_bytes();
    struct engine_context_params params = *c;
    if (params.n_batch == 0) params.n_batch = 512;
    struct cell_bytes cells = {0};
    struct shim_memory memory = {0};
    struct llama_context *ctx = NULL;
    enum err err = cell_bytes_of(model, p->kv, &cells);
    if (!err && !(ctx = context_new(model, p->kv, 1, &params, NULL))) err = ERR_MODEL_INVALID;
    if (!err) err = shim_memory_of(ctx, &memory);
    if (err) {
        say_last_error(why, why_size, "no context can be made");
    } else {
        int32_t n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
        *ret = (struct engine_measure){.weights_bytes = memory.weights_bytes,
                                       .cells_bytes = memory.cells_bytes,
                                       .compute_bytes = beside_pool_bytes(&memory, &cells, &params, n_vocab),
                                       .heap_bytes = (after > before ? after - before : 0) +
                                                     (uint64_t)n_vocab * sizeof(llama_token_data),
                                       .base_bytes_per_token = cells.base_per_token,
                                       .window_bytes_per_seq = cells.window_per_seq,
                                       .device_bytes = device_bytes(),
                                       .context_train = (uint32_t)llama_model_n_ctx_train(model),
                                       .n_vocab = (uint32_t)n_vocab};
    }
    if (ctx) llama_free(ctx);
    llama_model_free(model);
    return err;
}

static enum err find_end_ids(struct engine *e) {
    e->end_ids = NULL;
    e->n_end_ids = 0;
    for (int pass = 0; pass < 2; pass++) {
        uint32_t n = 0;
        for (int32_t t = 0; t < e->n_vocab; t++) {
            if (!llama_vocab_is_eog(e->vocab, t)) continue;
            if (e->end_ids) e->end_ids[n] = t;
            n++;
        }
        e->n_end_ids = n;
        if (pass == 0 && !(e->end_ids = mem_array(n ? n : 1, sizeof *e->end_ids))) return ERR_NOMEM;
    }
    return ERR_OK;
}

static enum err load_faults(struct engine *e, char *why, size_t why_size) {
    fault_hang_if(FAULT_LOAD_HANG);
    int64_t ms = 0;
    if (fault_hit(FAULT_LOAD_SLOW, &ms) && !slow_down(e, ms, true)) {
        snprintf(why, why_size, "the load was cancelled");
        return ERR_CANCELED;
    }
    if (fault_hit(FAULT_LOAD_FAIL, NULL)) {
        snprintf(why, why_size, "the fault load_fail was armed");
        return ERR_MODEL_INVALID;
    }
    return ERR_OK;
}

static enum err load_model(struct engine *e, const struct engine_load_params *p, char *why, size_t why_size) {
    e->progress = p->progress;
    e->progress_ctx = p->progress_ctx;
    enum err err = load_faults(e, why, why_size);
    if (err) return err;
    e->model = model_from_file(e, p, false);
    if (!e->model && atomic_load(&e->cancel)) {
        snprintf(why, why_size, "the load was cancelled");
        return ERR_CANCELED;
    }
    if (!e->model) {
        say_last_error(why, why_size, "the model can't be loaded");
        return ERR_MODEL_INVALID;
    }
    if (!llama_model_has_decoder(e->model) || llama_model_has_encoder(e->model) ||
        llama_model_is_diffusion(e->model)) {
        snprintf(why, why_size, "this model does not generate text token by token");
        return ERR_MODEL_INVALID;
    }
    e->vocab = llama_model_get_vocab(e->model);
    e->n_vocab = llama_vocab_n_tokens(e->vocab);
    e->bos = llama_vocab_get_add_bos(e->vocab) ? llama_vocab_bos(e->vocab) : -1;
    if (e->n_vocab < 1 || llama_vocab_type(e->vocab) == LLAMA_VOCAB_TYPE_NONE) {
        snprintf(why, why_size, "the model has no vocabulary");
        return ERR_MODEL_INVALID;
    }
    e->candidates = mem_array((size_t)e->n_vocab, sizeof *e->candidates);
    return e->candidates ? find_end_ids(e) : ERR_NOMEM;
}

enum err engine_load(struct engine *e, const struct engine_load_params *p, struct engine_model *ret,
                     char *why, size_t why_size) {
    must(!e->model);
    snprintf(why, why_size, "out of memory");
    struct cell_bytes cells = {0};
    enum err err = load_model(e, p, why, why_size);
    if (!err) {
        err = cell_bytes_of(e->model, p->kv, &cells);
        if (err) say_last_error(why, why_size, "no context can be made");
    }
    e->progress = NULL;
    if (err) {
        engine_unload(e);
        return err;
    }
    e->kv = p->kv;
    e->cells = cells;
    e->n_threads = (int32_t)(p->n_threads ? p->n_threads : shim_physical_cores());
    e->recurrent = llama_model_is_recurrent(e->model) || llama_model_is_hybrid(e->model);
    e->n_decoded = 0;
    /* A model whose template is missing or broken still serves plain completions; a chat gets the reason. */
    const char *family = p->template_family ? p->template_family : "";
    const char *source = p->template_source ? p->template_source : "";
    if (text_open_templates(e, family, source)) {
        log_warn("engine.template", "reason=%s", log_q(e->template_why));
    }
    mem_trim(); /* what reading the header has left: 5 to 15 MB */
    bool windowed = !e->recurrent && cells.window_per_seq > 0;
    *ret = (struct engine_model){.weights_bytes = llama_model_size(e->model),
                                 .base_bytes_per_token = cells.base_per_token,
                                 .window_bytes_per_seq = cells.window_per_seq,
                                 .n_vocab = (uint32_t)e->n_vocab,
                                 .context_train = (uint32_t)llama_model_n_ctx_train(e->model),
                                 .window = windowed ? (uint32_t)llama_model_n_swa(e->model) : 0,
                                 .n_window_layers = windowed ? shim_window_layers(e->model) : 0,
                                 .recurrent = e->recurrent};
    return ERR_OK;
}

/* ---- context ---- */

enum err engine_configure(struct engine *e, const struct engine_context_params *p,
                          uint64_t *ret_compute_bytes, char *why, size_t why_size) {
    must(e->model);
    must(p->n_cells > 0 && p->n_seqs > 0);
    context_free(e);
    struct engine_context_params params = *p;
    if (params.n_batch == 0) params.n_batch = 512;
    if (params.n_seqs + 1 > SEQUENCES_MAX) {
        snprintf(why, why_size, "%u sequences, at most %d", params.n_seqs, SEQUENCES_MAX - 1);
        return ERR_INVALID;
    }
    /* A row of logits of every sequence must fit into a batch, and the self-test's blocks. */
    if (params.n_batch < BATCH_MIN) params.n_batch = BATCH_MIN;
    if (params.n_batch < params.n_seqs + 1) params.n_batch = params.n_seqs + 1;
    if (fault_hit(FAULT_CONFIGURE_FAIL, NULL)) {
        snprintf(why, why_size, "the fault configure_fail was armed");
        return ERR_NOMEM;
    }
    e->ctx = context_new(e->model, e->kv, e->n_threads, &params, e);
    if (!e->ctx) {
        say_last_error(why, why_size, "no context can be made");
        return ERR_NOMEM;
    }
    e->memory = llama_get_memory(e->ctx);
    e->n_cells = params.n_cells;
    e->n_seqs = params.n_seqs;
    e->n_batch = params.n_batch;
    e->seq_end = mem_array(e->n_seqs, sizeof *e->seq_end);
    e->seq_held = mem_array(e->n_seqs, sizeof *e->seq_held);
    e->seq_whole = mem_array(e->n_seqs, sizeof *e->seq_whole);
    e->batch = llama_batch_init((int32_t)e->n_batch, 0, 1);
    struct shim_memory memory = {0};
    if (!e->seq_end || !e->seq_held || !e->seq_whole || !e->batch.token || shim_memory_of(e->ctx, &memory)) {
        context_free(e);
        snprintf(why, why_size, "out of memory");
        return ERR_NOMEM;
    }
    if (ret_compute_bytes) *ret_compute_bytes = beside_pool_bytes(&memory, &e->cells, &params, e->n_vocab);
    cells_learn_layout(e);
    return ERR_OK;
}

/* ---- decode ---- */

static enum err decode_faults(struct engine *e) {
    int64_t ms = 0;
    if (fault_hit(FAULT_DECODE_DIE, NULL)) abort();
    fault_hang_if(FAULT_DECODE_HANG);
    if (fault_hit(FAULT_DECODE_SLOW, &ms) && !slow_down(e, ms, false)) return ERR_CANCELED;
    return fault_hit(FAULT_DECODE_FAIL, NULL) ? ERR_INTERNAL : ERR_OK;
}

static enum err decode_err(int32_t rc) {
    if (rc == 0) return ERR_OK;
    if (rc == 1) return ERR_NO_CELLS;
    return rc == 2 ? ERR_CANCELED : ERR_INTERNAL;
}

enum err engine_decode(struct engine *e, const struct engine_item *items, uint32_t n) {
    must(e->ctx && n > 0 && n <= e->n_batch);
    if (atomic_load(&e->cancel)) return ERR_CANCELED;
    if (n > llama_n_batch(e->ctx)) return ERR_NO_CELLS; /* libllama shrinks a batch to its cells */
    enum err err = decode_faults(e);
    if (err) return err;
    uint32_t n_rows = 0;
    for (uint32_t i = 0; i < n; i++) {
        must(items[i].seq >= 0 && (uint32_t)items[i].seq < e->n_seqs);
        e->batch.token[i] = items[i].token;
        e->batch.pos[i] = items[i].pos;
        e->batch.n_seq_id[i] = 1;
        e->batch.seq_id[i][0] = SEQ(items[i].seq);
        e->batch.logits[i] = items[i].logits;
        n_rows += items[i].logits;
    }
    must(n_rows <= e->n_seqs + 1);
    e->batch.n_tokens = (int32_t)n;
    e->n_decoded += n;
    err = decode_err(llama_decode(e->ctx, e->batch));
    for (uint32_t i = 0; i < n; i++) {
        int32_t seq = items[i].seq;
        if (err) {
            cells_drop_from(e, seq, e->seq_end[seq]);
        } else {
            if (items[i].pos >= e->seq_end[seq]) e->seq_end[seq] = items[i].pos + 1;
            e->seq_held[seq]++;
        }
    }
    return err;
}

const float *engine_logits(struct engine *e, uint32_t item) {
    const float *row = llama_get_logits_ith(e->ctx, (int32_t)item);
    must(row);
    return row;
}

uint64_t engine_decoded_tokens(const struct engine *e) {
    return e->n_decoded;
}
