/* floor_restore - the least a restore can cost: read block files, check their sums, set_data into a scratch sequence, seq_cp.
 * No server, no threads, no index. usage: floor_restore MODEL.gguf TAG_DIR N_CELLS N_SEQS THREADS [RUNS]
 * TAG_DIR is the folder of one model in a cache folder that holds one conversation. For models without a window.
 * Prints one JSON line a run. */
#include <fcntl.h>
#include <ftw.h>
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "store/store_format.h"

#define BLOCKS_MAX 4096
#define STATE_HEADER_BYTES 8 /* magic and sequence id before the base part of a state blob */

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void quiet(enum ggml_log_level level, const char *text, void *user) {
    (void)user;
    if (level >= GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

struct found {
    char path[512];
    uint32_t first_pos, n_tokens;
};
static struct found blocks[BLOCKS_MAX];
static int n_blocks;

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)ftw;
    size_t n = strlen(path);
    if (type != FTW_F || n < 4 || strcmp(path + n - 3, ".kv") != 0 || n_blocks == BLOCKS_MAX) return 0;
    static uint8_t head[STORE_HEADER_BYTES_MAX];
    int fd = open(path, O_RDONLY);
    ssize_t got = read(fd, head, sizeof head);
    close(fd);
    struct store_header h;
    const char *reason;
    if (got <= 0 || store_format_decode(head, (size_t)got, (uint64_t)st->st_size, &h, &reason) != ERR_OK)
        return 0;
    snprintf(blocks[n_blocks].path, sizeof blocks[n_blocks].path, "%s", path);
    blocks[n_blocks].first_pos = h.first_pos;
    blocks[n_blocks++].n_tokens = h.n_tokens;
    return 0;
}

/* Of two tails the longer one first. */
static int by_position(const void *a, const void *b) {
    const struct found *x = a, *y = b;
    if (x->first_pos != y->first_pos) return x->first_pos < y->first_pos ? -1 : 1;
    return x->n_tokens > y->n_tokens ? -1 : x->n_tokens < y->n_tokens;
}

/* Reads, verifies and puts back one file; the number of tokens, 0 when anything is wrong. */
static uint32_t put_back(struct llama_context *context, const char *path, uint8_t *file, size_t room) {
    int fd = open(path, O_RDONLY);
    ssize_t got = read(fd, file + STATE_HEADER_BYTES, room - STATE_HEADER_BYTES);
    close(fd);
    struct store_header h;
    const char *reason;
    if (got <= 0 ||
        store_format_decode(file + STATE_HEADER_BYTES, (size_t)got, (uint64_t)got, &h, &reason) != ERR_OK)
        return 0;
    uint8_t *part = file + STATE_HEADER_BYTES + h.header_size;
    if (hash64(part, h.part_size) != h.part_hash) return 0;
    llama_memory_t memory = llama_get_memory(context);
    uint8_t state_header[64];
    llama_state_seq_get_data(context, state_header, sizeof state_header, 1);
    memcpy(part - STATE_HEADER_BYTES, state_header, STATE_HEADER_BYTES);
    size_t size = h.part_size + STATE_HEADER_BYTES;
    if (llama_state_seq_set_data(context, part - STATE_HEADER_BYTES, size, 1) != size) return 0;
    llama_memory_seq_cp(memory, 1, 0, (llama_pos)h.first_pos, (llama_pos)(h.first_pos + h.n_tokens));
    llama_memory_seq_rm(memory, 1, -1, -1);
    return h.n_tokens;
}

int main(int argc, char **argv) {
    if (argc < 6)
        return fputs("usage: floor_restore MODEL TAG_DIR N_CELLS N_SEQS THREADS [RUNS]\n", stderr), 2;
    llama_log_set(quiet, NULL);
    llama_backend_init();
    nftw(argv[2], visit, 16, FTW_PHYS);
    qsort(blocks, (size_t)n_blocks, sizeof blocks[0], by_position);
    struct llama_model_params mp = llama_model_default_params();
    mp.use_extra_bufts = false;
    struct llama_model *model = llama_model_load_from_file(argv[1], mp);
    if (!model) return 1;
    struct llama_context_params cp = llama_context_default_params();
    cp.n_ctx = (uint32_t)atoi(argv[3]);
    cp.n_seq_max = (uint32_t)atoi(argv[4]);
    cp.n_batch = cp.n_ubatch = 512;
    cp.n_threads = cp.n_threads_batch = atoi(argv[5]);
    cp.kv_unified = true;
    cp.type_k = cp.type_v = GGML_TYPE_Q8_0;
    cp.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    struct llama_context *context = llama_init_from_model(model, cp);
    if (!context) return 1;
    size_t room = 256u << 20;
    uint8_t *file = malloc(room);
    int runs = argc > 6 ? atoi(argv[6]) : 1;
    for (int i = 0; i < runs; i++) {
        double t0 = now_ms();
        uint32_t n = 0;
        for (int b = 0; b < n_blocks; b++)
            if (blocks[b].first_pos == n) n += put_back(context, blocks[b].path, file, room);
        printf("{\"restore_ms\": %.3f, \"tokens\": %u}\n", now_ms() - t0, n);
        fflush(stdout);
        llama_memory_seq_rm(llama_get_memory(context), -1, -1, -1);
    }
    free(file);
    llama_free(context);
    llama_model_free(model);
    llama_backend_free();
    return 0;
}
