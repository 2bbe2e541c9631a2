/* gguf_make.h - builds GGUF files byte by byte, right ones and wrong ones. Counts are filled in at the end from what was
 * added, unless a test overwrites them. */
#ifndef HOTSEAT_TESTS_GGUF_MAKE_H
#define HOTSEAT_TESTS_GGUF_MAKE_H

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/must.h"
#include "model/gguf_type.h"

#define MAKE_TENSOR_COUNT_AT 8 /* in the file */
#define MAKE_KV_COUNT_AT 16

struct make {
    struct buf b;
    uint64_t n_kv, n_tensors;
    uint64_t data_bytes; /* of the tensors so far */
};

static void make_set(struct make *m, size_t at, uint64_t v, size_t n_bytes) {
    must(at + n_bytes <= m->b.size);
    for (size_t i = 0; i < n_bytes; i++) m->b.data[at + i] = (uint8_t)(v >> (8 * i));
}

static struct make make_begin(void) {
    struct make m = {.b = BUF(0)};
    buf_puts(&m.b, "GGUF");
    buf_u32(&m.b, 3);
    buf_u64(&m.b, 0);
    buf_u64(&m.b, 0);
    return m;
}

static void make_string(struct make *m, const char *s) {
    buf_u64(&m->b, strlen(s));
    buf_puts(&m->b, s);
}

static void make_key(struct make *m, const char *key, uint32_t type) {
    make_string(m, key);
    buf_u32(&m->b, type);
    m->n_kv++;
}

UNUSED static void make_u32(struct make *m, const char *key, uint32_t v) {
    make_key(m, key, GGUF_U32);
    buf_u32(&m->b, v);
}

UNUSED static void make_f32(struct make *m, const char *key, float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    make_key(m, key, GGUF_F32);
    buf_u32(&m->b, bits);
}

UNUSED static void make_text(struct make *m, const char *key, const char *v) {
    make_key(m, key, GGUF_STRING);
    make_string(m, v);
}

/* item_type U32, I32, F32 or BOOL. */
UNUSED static void make_array(struct make *m, const char *key, uint32_t item_type, uint32_t n,
                              const uint32_t *items) {
    make_key(m, key, GGUF_ARRAY);
    buf_u32(&m->b, item_type);
    buf_u64(&m->b, n);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t v = items ? items[i] : 0;
        if (item_type == GGUF_BOOL)
            buf_u8(&m->b, (uint8_t)v);
        else
            buf_u32(&m->b, v);
    }
}

UNUSED static void make_tokens(struct make *m, uint32_t n) {
    make_key(m, "tokenizer.ggml.tokens", GGUF_ARRAY);
    buf_u32(&m->b, GGUF_STRING);
    buf_u64(&m->b, n);
    for (uint32_t i = 0; i < n; i++) {
        char text[16];
        snprintf(text, sizeof text, "t%u", i);
        make_string(m, text);
    }
}

/* A tensor of dims[0] x dims[1] in its place; returns where in the file its dimension count stands. */
UNUSED static size_t make_tensor(struct make *m, const char *name, uint64_t columns, uint64_t rows,
                                 uint32_t type) {
    const struct gguf_tensor_type *t = gguf_tensor_type_of(type);
    make_string(m, name);
    size_t at = m->b.size;
    buf_u32(&m->b, 2);
    buf_u64(&m->b, columns);
    buf_u64(&m->b, rows);
    buf_u32(&m->b, type);
    buf_u64(&m->b, m->data_bytes);
    m->n_tensors++;
    m->data_bytes = (m->data_bytes + columns * rows / t->block_values * t->block_bytes + 31) & ~UINT64_C(31);
    return at;
}

UNUSED static void make_counts(struct make *m) {
    make_set(m, MAKE_TENSOR_COUNT_AT, m->n_tensors, 8);
    make_set(m, MAKE_KV_COUNT_AT, m->n_kv, 8);
}

UNUSED static void make_data(struct make *m) {
    while (m->b.size % 32) buf_u8(&m->b, 0);
    for (uint64_t i = 0; i < m->data_bytes; i++) buf_u8(&m->b, (uint8_t)(i * 7));
}

/* What every model needs, in one architecture. */
UNUSED static void make_model_kv(struct make *m, const char *arch, uint32_t layers) {
    char key[128];
    const struct {
        const char *name;
        uint32_t v;
    } numbers[] = {{"block_count", layers},      {"context_length", 4096},    {"embedding_length", 64},
                   {"feed_forward_length", 128}, {"attention.head_count", 4}, {"attention.head_count_kv", 2}};
    make_text(m, "general.architecture", arch);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        snprintf(key, sizeof key, "%s.%s", arch, numbers[i].name);
        make_u32(m, key, numbers[i].v);
    }
}

UNUSED static void make_write(const struct make *m, const char *path) {
    must(!m->b.error);
    FILE *f = fopen(path, "wb");
    must(f && fwrite(m->b.data, 1, m->b.size, f) == m->b.size);
    must(fclose(f) == 0);
}

#endif
