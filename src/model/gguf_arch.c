#include "model/gguf_arch.h"

#include <stddef.h>
#include <string.h>

#include "base/attr.h"

static const struct gguf_window_rule window_rules[] = {
    {"afmoe", 4, 0, false, false},       {"cohere2", 4, 0, false, false},
    {"cohere2moe", 4, 0, true, false},   {"exaone-moe", 4, 128, false, false},
    {"gemma2", 2, 4096, false, false},   {"gemma3", 6, 0, false, false},
    {"gemma3n", 5, 0, false, false},     {"gpt-oss", 2, 0, false, false},
    {"laguna", 4, 0, true, false},       {"llama4", 4, 8192, false, true},
    {"mellum", 4, 0, false, false},      {"muse-glimmer", 4, 0, false, false},
    {"olmo2", 4, 0, false, false},       {"plamo3", 8, 0, false, false},
    {"smallthinker", 4, 0, true, false},
};

const struct gguf_window_rule *gguf_window_rule_of(const char *architecture) {
    for (size_t i = 0; i < ARRAY_LEN(window_rules); i++) {
        if (!strcmp(window_rules[i].architecture, architecture)) return &window_rules[i];
    }
    return NULL;
}

/* Period 0: every layer has the window. */
uint32_t gguf_window_layers(uint32_t n_layers, uint32_t period, bool full_first) {
    if (period == 0) return n_layers;
    uint32_t n_full = full_first ? (n_layers + period - 1) / period : n_layers / period;
    return n_layers - n_full;
}

static bool is_one_of(const char *name, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(list[i], name)) return true;
    }
    return false;
}

bool gguf_arch_recurrent(const char *architecture) {
    static const char *const list[] = {
        "mamba",      "mamba2",         "rwkv6",     "rwkv6qwen2",    "rwkv7",     "arwkv7",
        "jamba",      "falcon-h1",      "plamo2",    "granitehybrid", "lfm2",      "lfm2moe",
        "nemotron_h", "nemotron_h_moe", "qwen3next", "kimi-linear",   "kimi-k3",   "bailingmoe3",
        "glm5-next",  "qwen35",         "qwen35moe", "qwen4exp",      "deepseek4", "minimax-01",
    };
    return is_one_of(architecture, list, ARRAY_LEN(list));
}

bool gguf_arch_writes_text(const char *architecture) {
    static const char *const list[] = {
        "bert",         "modern-bert", "nomic-bert", "nomic-bert-moe",  "neo-bert", "jina-bert-v2",
        "jina-bert-v3", "eurobert",    "t5encoder",  "gemma-embedding", "clip",     "wavtokenizer-dec",
    };
    return !is_one_of(architecture, list, ARRAY_LEN(list));
}
