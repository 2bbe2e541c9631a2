/* gguf_tiny.h - writes GGUF files of a few kilobytes for tests: a whole header and one small tensor. */
#ifndef HOTSEAT_TESTS_GGUF_TINY_H
#define HOTSEAT_TESTS_GGUF_TINY_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/attr.h"
#include "base/buf.h"

struct gguf_tiny {
    const char *architecture;                         /* NULL: "llama" */
    const char *name;                                 /* NULL: "tiny" */
    uint32_t layers, kv_heads, head, context, window; /* 0: 2, 1, 32, 4096, none */
    uint32_t rope_context;                            /* of the short rope factors; 0: no factors */
    uint8_t seed;                                     /* other weights of the same shape */
    bool no_template;
};

static inline void gguf_tiny_string(struct buf *b, const char *s) {
    buf_u64(b, strlen(s));
    buf_puts(b, s);
}

static inline void gguf_tiny_u32(struct buf *b, const char *architecture, const char *key, uint32_t v) {
    char text[96];
    snprintf(text, sizeof text, "%s%s%s", architecture, architecture[0] ? "." : "", key);
    gguf_tiny_string(b, text);
    buf_u32(b, 4);
    buf_u32(b, v);
}

static inline void gguf_tiny_text(struct buf *b, const char *key, const char *value) {
    gguf_tiny_string(b, key);
    buf_u32(b, 8);
    gguf_tiny_string(b, value);
}

static inline void gguf_tiny_tokens(struct buf *b, uint32_t n) {
    gguf_tiny_string(b, "tokenizer.ggml.tokens");
    buf_u32(b, 9);
    buf_u32(b, 8);
    buf_u64(b, n);
    for (uint32_t i = 0; i < n; i++) {
        char text[16];
        snprintf(text, sizeof text, "<%u>", i);
        gguf_tiny_string(b, text);
    }
}

static inline void gguf_tiny_pad(struct buf *b) {
    while (b->size % 32) buf_u8(b, 0);
}

/* False: the file could not be written. */
static inline bool gguf_tiny_write(const char *path, const struct gguf_tiny *g) {
    const char *a = g->architecture ? g->architecture : "llama";
    uint32_t head = g->head ? g->head : 32, kv_heads = g->kv_heads ? g->kv_heads : 1, embd = head * kv_heads;
    struct buf b = BUF(1 << 20);
    buf_puts(&b, "GGUF");
    buf_u32(&b, 3);
    buf_u64(&b, g->rope_context ? 3 : 1);                                           /* tensors */
    buf_u64(&b, 12u + (g->window != 0) + !g->no_template + (g->rope_context != 0)); /* pairs */
    gguf_tiny_text(&b, "general.architecture", a);
    gguf_tiny_text(&b, "general.name", g->name ? g->name : "tiny");
    gguf_tiny_u32(&b, a, "block_count", g->layers ? g->layers : 2);
    gguf_tiny_u32(&b, a, "context_length", g->context ? g->context : 4096);
    gguf_tiny_u32(&b, a, "embedding_length", embd);
    gguf_tiny_u32(&b, a, "feed_forward_length", embd * 2);
    gguf_tiny_u32(&b, a, "attention.head_count", kv_heads);
    gguf_tiny_u32(&b, a, "attention.head_count_kv", kv_heads);
    gguf_tiny_u32(&b, a, "attention.key_length", head);
    gguf_tiny_u32(&b, a, "attention.value_length", head);
    gguf_tiny_text(&b, "tokenizer.ggml.model", "llama");
    gguf_tiny_tokens(&b, 320);
    if (g->window) gguf_tiny_u32(&b, a, "attention.sliding_window", g->window);
    if (g->rope_context) gguf_tiny_u32(&b, a, "rope.scaling.original_context_length", g->rope_context);
    if (!g->no_template) gguf_tiny_text(&b, "tokenizer.chat_template", "{{ messages }}");
    gguf_tiny_string(&b, "token_embd.weight");
    buf_u32(&b, 2);
    buf_u64(&b, embd);
    buf_u64(&b, 320);
    buf_u32(&b, 0); /* F32 */
    buf_u64(&b, 0);
    for (int i = 0; i < 2 && g->rope_context; i++) {
        gguf_tiny_string(&b, i ? "rope_factors_short.weight" : "rope_factors_long.weight");
        buf_u32(&b, 1);
        buf_u64(&b, 8);
        buf_u32(&b, 0);
        buf_u64(&b, (uint64_t)embd * 320 * 4 + 32u * (uint32_t)i);
    }
    gguf_tiny_pad(&b);
    for (uint32_t i = 0; i < embd * 320; i++) buf_u32(&b, i ^ g->seed);
    for (uint32_t i = 0; i < 16 && g->rope_context; i++) buf_u32(&b, 0x3f800000u + i); /* 1.0 and more */
    FILE *f = b.error == ERR_OK ? fopen(path, "wb") : NULL;
    bool ok = f && fwrite(b.data, 1, b.size, f) == b.size;
    if (f && fclose(f) != 0) ok = false;
    buf_free(&b);
    return ok;
}

#endif
