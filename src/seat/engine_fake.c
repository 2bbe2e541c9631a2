/* engine_fake.c - the fake engine: opening, loading, measuring, the context. See engine_fake.h. */
#include "seat/engine_fake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/must.h"
#include "model/gguf_info.h"

#define FAKE_MAP_MAX (64u << 20)           /* of a bigger file only this much is mapped and hashed */
#define FAKE_CELLS_MAX (UINT64_C(2) << 30) /* a toy for tests must not fill a machine */
#define FAKE_SLICE_US 10000                /* how often a simulated wait looks at the cancel flag */
#define FAKE_LEAK_BYTES (64 << 20)
#define FAKE_PROGRESS_STEPS 20

const char *engine_name(void) {
    return "fake";
}
const char *engine_version(void) {
    return "1";
}

uint64_t fake_mix(uint64_t a, uint64_t b) {
    uint64_t z = (a ^ (b * UINT64_C(0x9E3779B97F4A7C15))) + UINT64_C(0x2545F4914F6CDD1D);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

bool fake_wait_us(struct engine *e, int64_t us) {
    int64_t end_ns = clock_now_ns() + us * NS_PER_US;
    for (;;) {
        if (atomic_load(&e->canceled)) return false;
        int64_t left_ns = end_ns - clock_now_ns();
        if (left_ns <= 0) return true;
        if (left_ns > FAKE_SLICE_US * NS_PER_US) left_ns = FAKE_SLICE_US * NS_PER_US;
        struct timespec ts = {.tv_nsec = (long)left_ns};
        nanosleep(&ts, NULL);
    }
}

/* The number after "key=" in a model's name, else the environment's, else otherwise. */
static int64_t fake_setting(const struct model_spec *spec, const char *key, const char *env,
                            int64_t otherwise) {
    const char *at = strstr(spec->name, key);
    if (at) return strtoll(at + strlen(key), NULL, 10);
    const char *value = env ? getenv(env) : NULL;
    return value ? strtoll(value, NULL, 10) : otherwise;
}

enum err engine_open(struct engine **ret) {
    struct engine *e = mem_alloc(sizeof *e);
    if (!e) return ERR_NOMEM;
    *ret = e;
    return ERR_OK;
}

void engine_free(struct engine *e) {
    if (!e) return;
    engine_unload(e);
    mem_free(e);
}

void engine_cancel(struct engine *e, bool cancel) {
    atomic_store(&e->canceled, cancel);
}

uint64_t engine_decoded_tokens(const struct engine *e) {
    return e->decoded;
}

static enum err fake_read_spec(const struct engine_load_params *p, struct gguf_info *info, char *why,
                               size_t why_size) {
    enum err err = gguf_info_read(p->path, info, why, why_size);
    if (err != ERR_OK) return err;
    if (info->spec.recurrent) {
        snprintf(why, why_size, "the fake engine has no recurrent state");
        return ERR_MODEL_INVALID;
    }
    return ERR_OK;
}

uint64_t fake_compute_bytes(const struct engine_context_params *c, uint64_t window_bytes_per_seq) {
    return (uint64_t)c->n_batch * FAKE_VOCAB * sizeof(float) +
           window_bytes_per_seq; /* rows, the scratch sequence */
}

enum err engine_measure(const struct engine_load_params *p, const struct engine_context_params *c,
                        struct engine_measure *ret, char *why, size_t why_size) {
    struct gguf_info info;
    enum err err = fake_read_spec(p, &info, why, why_size);
    if (err != ERR_OK) return err;
    uint64_t base = model_spec_base_bytes_per_token(&info.spec, p->kv);
    uint64_t window = model_spec_window_bytes_per_seq(&info.spec, p->kv);
    *ret = (struct engine_measure){.weights_bytes = info.spec.weights_bytes,
                                   .cells_bytes = c->n_cells * base + c->n_seqs * window,
                                   .compute_bytes = fake_compute_bytes(c, window),
                                   .base_bytes_per_token = base,
                                   .window_bytes_per_seq = window,
                                   .device_bytes = (uint64_t)fake_setting(&info.spec, "device_mb=", NULL, 0)
                                                   << 20,
                                   .context_train = info.spec.context_train,
                                   .n_vocab = FAKE_VOCAB};
    return ERR_OK;
}

/* Maps the file and takes the seed from every byte of it: two files of one shape are two models. */
static enum err fake_map(struct engine *e, const char *path, char *why, size_t why_size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        enum err err = err_from_errno(errno);
        snprintf(why, why_size, "%s: %s", path, strerror(errno));
        if (fd >= 0) close(fd);
        return err;
    }
    uint64_t size = (uint64_t)st.st_size < FAKE_MAP_MAX ? (uint64_t)st.st_size : FAKE_MAP_MAX;
    void *map = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    close(fd);
    if (map == MAP_FAILED) {
        snprintf(why, why_size, "%s can't be mapped", path);
        return ERR_NOMEM;
    }
    e->map = map;
    e->map_size = size;
    e->seed = fake_mix(hash64(map, size), (uint64_t)st.st_size);
    return ERR_OK;
}

static bool fake_family_known(const char *family) {
    static const char *const known[] = {"chatml", "gemma", "llama2", "llama3", "mistral", "phi3", "qwen2"};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(family, known[i]) == 0) return true;
    return false;
}

static enum err fake_load_wait(struct engine *e, const struct engine_load_params *p) {
    int64_t slow_ms = 0;
    (void)fault_hit(FAULT_LOAD_SLOW, &slow_ms);
    int64_t step_us = (e->load_ms + slow_ms) * 1000 / FAKE_PROGRESS_STEPS;
    for (uint32_t i = 1; i <= FAKE_PROGRESS_STEPS; i++) {
        if (!fake_wait_us(e, step_us)) return ERR_CANCELED;
        if (p->progress) p->progress(p->progress_ctx, i * 1000 / FAKE_PROGRESS_STEPS);
    }
    return ERR_OK;
}

static enum err fake_load_file(struct engine *e, const struct engine_load_params *p, char *why,
                               size_t why_size) {
    struct gguf_info info;
    enum err err = fake_read_spec(p, &info, why, why_size);
    if (err != ERR_OK) return err;
    e->spec = info.spec;
    e->kv = p->kv;
    e->base_bpt = model_spec_base_bytes_per_token(&e->spec, p->kv);
    e->win_bpt = e->spec.window ? model_spec_window_bytes_per_seq(&e->spec, p->kv) / e->spec.window : 0;
    if (e->win_bpt == 0) e->spec.window = 0;
    const char *family = p->template_family ? p->template_family : "";
    const char *source = p->template_source ? p->template_source : "";
    if (family[0] && !fake_family_known(family)) {
        snprintf(why, why_size, "no chat template family is called '%.64s'", family);
        return ERR_MODEL_INVALID;
    }
    e->has_chat = e->spec.has_template || family[0] || source[0];
    e->load_ms = fake_setting(&e->spec, "load_ms=", "HOTSEAT_FAKE_LOAD_MS", 0);
    e->step_us = fake_setting(&e->spec, "step_us=", "HOTSEAT_FAKE_STEP_US", 0);
    e->token_us = fake_setting(&e->spec, "token_us=", "HOTSEAT_FAKE_TOKEN_US", 0);
    err = fake_map(e, p->path, why, why_size);
    if (err != ERR_OK) return err;
    e->seed = fake_mix(e->seed, (uint64_t)p->kv * 2 + p->repack);
    return fake_load_wait(e, p);
}

enum err engine_load(struct engine *e, const struct engine_load_params *p, struct engine_model *ret,
                     char *why, size_t why_size) {
    must(!e->loaded);
    why[0] = '\0';
    (void)fault_hang_if(FAULT_LOAD_HANG);
    if (fault_hit(FAULT_LOAD_FAIL, NULL)) {
        snprintf(why, why_size, "the load failed: the fault load_fail was armed");
        return ERR_MODEL_INVALID;
    }
    enum err err = fake_load_file(e, p, why, why_size);
    if (err == ERR_OK && fake_setting(&e->spec, "load_fail=", NULL, 0)) {
        snprintf(why, why_size, "the load failed: the model's name says load_fail");
        err = ERR_MODEL_INVALID;
    }
    if (err == ERR_OK && fake_setting(&e->spec, "load_hang=", NULL, 0))
        for (;;) pause();
    if (err != ERR_OK) {
        if (!why[0]) snprintf(why, why_size, "%s", err_text(err));
        engine_unload(e);
        return err;
    }
    e->loaded = true;
    e->decoded = 0;
    *ret = (struct engine_model){.weights_bytes = e->spec.weights_bytes,
                                 .base_bytes_per_token = e->base_bpt,
                                 .window_bytes_per_seq = e->win_bpt * e->spec.window,
                                 .n_vocab = FAKE_VOCAB,
                                 .context_train = e->spec.context_train,
                                 .window = e->spec.window,
                                 .n_window_layers = e->spec.n_window_layers};
    return ERR_OK;
}

static enum err fake_context_alloc(struct engine *e) {
    uint64_t base_bytes = e->n_cells * e->base_bpt;
    uint64_t win_bytes = e->spec.window * e->win_bpt;
    e->base = mem_alloc(base_bytes ? base_bytes : 1);
    e->free_cells = mem_array(e->n_cells, sizeof *e->free_cells);
    e->seqs = mem_array(e->n_seqs + 1, sizeof *e->seqs);
    e->logits = mem_array((size_t)e->n_batch * FAKE_VOCAB, sizeof *e->logits);
    e->next_pos = mem_array(e->n_seqs, sizeof *e->next_pos);
    if (!e->base || !e->free_cells || !e->seqs || !e->logits || !e->next_pos) return ERR_NOMEM;
    memset(e->base, 0xA5, base_bytes); /* touched: a real context's buffer is resident too */
    for (uint32_t s = 0; s <= e->n_seqs && win_bytes; s++) {
        e->seqs[s].win = mem_alloc(win_bytes);
        e->seqs[s].win_hash = mem_array(e->spec.window, sizeof *e->seqs[s].win_hash);
        if (!e->seqs[s].win || !e->seqs[s].win_hash) return ERR_NOMEM;
        memset(e->seqs[s].win, 0xA5, win_bytes);
    }
    for (uint32_t i = 0; i < e->n_cells; i++) e->free_cells[i] = (int32_t)(e->n_cells - 1 - i);
    e->n_free = e->n_cells;
    return ERR_OK;
}

enum err engine_configure(struct engine *e, const struct engine_context_params *p,
                          uint64_t *ret_compute_bytes, char *why, size_t why_size) {
    must(e->loaded);
    fake_context_free(e);
    uint64_t window_bytes = e->win_bpt * e->spec.window;
    uint64_t cells_bytes = p->n_cells * e->base_bpt + p->n_seqs * window_bytes;
    if (fault_hit(FAULT_CONFIGURE_FAIL, NULL)) {
        snprintf(why, why_size, "the context can't be made: the fault configure_fail was armed");
        return ERR_NOMEM;
    }
    if (p->n_cells == 0 || p->n_seqs == 0 || p->n_batch == 0 || p->n_cells % BLOCK_TOKENS != 0 ||
        p->n_seqs >= SEQUENCES_MAX) {
        snprintf(why, why_size, "a context of %u cells, %u sequences and %u batch items is not possible",
                 p->n_cells, p->n_seqs, p->n_batch);
        return ERR_INVALID;
    }
    if (cells_bytes > FAKE_CELLS_MAX) {
        snprintf(why, why_size, "%llu bytes of cells are too many for the fake engine",
                 (unsigned long long)cells_bytes);
        return ERR_NOMEM;
    }
    e->n_cells = p->n_cells;
    e->n_seqs = p->n_seqs;
    e->n_batch = p->n_batch;
    enum err err = fake_context_alloc(e);
    if (err != ERR_OK) {
        fake_context_free(e);
        snprintf(why, why_size, "no memory for %llu bytes of cells", (unsigned long long)cells_bytes);
        return err;
    }
    *ret_compute_bytes = fake_compute_bytes(p, window_bytes);
    return ERR_OK;
}

void fake_context_free(struct engine *e) {
    for (uint32_t s = 0; e->seqs && s <= e->n_seqs; s++) {
        mem_free(e->seqs[s].cells);
        mem_free(e->seqs[s].digests);
        mem_free(e->seqs[s].win);
        mem_free(e->seqs[s].win_hash);
    }
    mem_free(TAKE(e->seqs));
    mem_free(TAKE(e->base));
    mem_free(TAKE(e->free_cells));
    mem_free(TAKE(e->logits));
    mem_free(TAKE(e->next_pos));
    e->n_cells = e->n_seqs = e->n_batch = e->n_free = e->n_rows = 0;
}

/* What a faulty unload keeps; a pointer of the process, so that no leak checker hides the point. */
static void fake_leak(void) {
    static void *leaked;
    int64_t bytes = 0;
    if (!fault_hit(FAULT_UNLOAD_LEAK, &bytes)) return;
    if (bytes <= 0) bytes = FAKE_LEAK_BYTES;
    void *p = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return;
    memset(p, 0x5A, (size_t)bytes);
    leaked = p;
    (void)leaked;
}

void engine_unload(struct engine *e) {
    if (e->loaded) {
        (void)fault_hang_if(FAULT_UNLOAD_HANG);
        fake_leak();
    }
    fake_context_free(e);
    if (e->map) munmap(TAKE(e->map), e->map_size);
    e->map_size = 0;
    e->loaded = false;
    mem_trim();
}
