/* floor_load - the least a load and an unload can cost: the model and a context with hotseat's parameters, nothing else.
 * usage: floor_load MODEL.gguf N_CELLS N_SEQS N_BATCH THREADS [RUNS]; prints one JSON line a run. */
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void quiet(enum ggml_log_level level, const char *text, void *user) {
    (void)user;
    if (level >= GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

int main(int argc, char **argv) {
    if (argc < 6) return fputs("usage: floor_load MODEL N_CELLS N_SEQS N_BATCH THREADS [RUNS]\n", stderr), 2;
    llama_log_set(quiet, NULL);
    llama_backend_init();
    int runs = argc > 6 ? atoi(argv[6]) : 1;
    for (int i = 0; i < runs; i++) {
        double t0 = now_ms();
        struct llama_model_params mp = llama_model_default_params();
        mp.use_extra_bufts = false;
        struct llama_model *model = llama_model_load_from_file(argv[1], mp);
        if (!model) return 1;
        double t1 = now_ms();
        struct llama_context_params cp = llama_context_default_params();
        cp.n_ctx = (uint32_t)atoi(argv[2]);
        cp.n_seq_max = (uint32_t)atoi(argv[3]);
        cp.n_batch = cp.n_ubatch = (uint32_t)atoi(argv[4]);
        cp.n_threads = cp.n_threads_batch = atoi(argv[5]);
        cp.kv_unified = true;
        cp.swa_full = false;
        cp.type_k = cp.type_v = GGML_TYPE_Q8_0;
        cp.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
        struct llama_context *context = llama_init_from_model(model, cp);
        if (!context) return 1;
        double t2 = now_ms();
        llama_free(context);
        llama_model_free(model);
        double t3 = now_ms();
        printf("{\"load_ms\": %.2f, \"context_ms\": %.2f, \"unload_ms\": %.2f}\n", t1 - t0, t2 - t1, t3 - t2);
        fflush(stdout);
    }
    llama_backend_free();
    return 0;
}
