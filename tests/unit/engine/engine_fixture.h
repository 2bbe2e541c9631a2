/* engine_fixture.h - what the tests of the llama engine share: the three real models (HOTSEAT_MODELS_DIR, else
 * ~/.cache/hotseat/models), a loaded engine, a decode in chunks. A missing model ends the program with status 77, which
 * ctest calls "skipped". */
#ifndef HOTSEAT_TESTS_ENGINE_FIXTURE_H
#define HOTSEAT_TESTS_ENGINE_FIXTURE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "seat/engine.h"

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

static int run_suite(Suite *s) {
    for (int m = 0; m < N_MODELS; m++) {
        if (access(model_path(m), R_OK) != 0) {
            printf("skip: no model %s (scripts/setup fetches it)\n", model_path(m));
            return 77;
        }
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    log_open(LOG_WARN, "test");
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}

#endif
