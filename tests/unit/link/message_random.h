/* message_random.h - a message of any type with random fields, made from messages.h's own table, and the comparison of
 * two: so that a new row is tested the moment it is there. */
#ifndef HOTSEAT_TESTS_MESSAGE_RANDOM_H
#define HOTSEAT_TESTS_MESSAGE_RANDOM_H

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "base/must.h"
#include "link/messages.h"

static uint64_t random_state = 88172645463325252u; /* xorshift64: the same messages every time */

static uint64_t random_u64(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static uint32_t random_below(uint32_t n) {
    return (uint32_t)(random_u64() % n);
}

static void random_U32(uint32_t *v) {
    *v = (uint32_t)random_u64() >> random_below(32);
}
static void random_U64(uint64_t *v) {
    *v = random_u64() >> random_below(64);
}
static void random_I64(int64_t *v) {
    *v = (int64_t)random_u64();
}
static void random_F64(double *v) {
    *v = (double)(int64_t)random_u64() / 65536;
}

static void random_STR(char **v) {
    uint32_t n = random_below(40);
    *v = mem_alloc(n + 1);
    must(*v);
    for (uint32_t i = 0; i < n; i++) (*v)[i] = (char)(1 + random_below(255));
}

static void random_BYTES(struct msg_bytes *v) {
    uint32_t n = random_below(3) ? random_below(100) : 0;
    *v = (struct msg_bytes){.size = n};
    if (n == 0) return;
    v->data = mem_alloc(n);
    must(v->data);
    for (uint32_t i = 0; i < n; i++) v->data[i] = (uint8_t)random_u64();
}

static void random_TOKENS(struct msg_tokens *v) {
    uint32_t n = random_below(3) ? random_below(50) : 0;
    *v = (struct msg_tokens){.n = n};
    if (n == 0) return;
    v->ids = mem_array(n, sizeof *v->ids);
    must(v->ids);
    for (uint32_t i = 0; i < n; i++) v->ids[i] = (int32_t)random_u64();
}

static void random_STRS(struct msg_strings *v) {
    uint32_t n = random_below(5);
    *v = (struct msg_strings){.n = n};
    if (n == 0) return;
    v->items = mem_array(n, sizeof *v->items);
    must(v->items);
    for (uint32_t i = 0; i < n; i++) random_BYTES(&v->items[i]);
}

static bool same_U32(const uint32_t *a, const uint32_t *b) {
    return *a == *b;
}
static bool same_U64(const uint64_t *a, const uint64_t *b) {
    return *a == *b;
}
static bool same_I64(const int64_t *a, const int64_t *b) {
    return *a == *b;
}
static bool same_F64(const double *a, const double *b) {
    return memcmp(a, b, sizeof *a) == 0;
}
static bool same_STR(char *const *a, char *const *b) {
    return !strcmp(*a, *b);
}
static bool same_BYTES(const struct msg_bytes *a, const struct msg_bytes *b) {
    return a->size == b->size && (a->size == 0 || !memcmp(a->data, b->data, a->size));
}
static bool same_TOKENS(const struct msg_tokens *a, const struct msg_tokens *b) {
    return a->n == b->n && (a->n == 0 || !memcmp(a->ids, b->ids, a->n * sizeof *a->ids));
}
static bool same_STRS(const struct msg_strings *a, const struct msg_strings *b) {
    if (a->n != b->n) return false;
    for (uint32_t i = 0; i < a->n; i++) {
        if (!same_BYTES(&a->items[i], &b->items[i])) return false;
    }
    return true;
}

/* Owns like a decoded one: msg_free(). */
static struct msg message_random(enum msg_type type) {
    struct msg m;
    memset(&m, 0, sizeof m);
    m.type = type;
    switch (type) {
#define RANDOM_FIELD(kind, name) random_##kind(&m_->name);
#define RANDOM_CASE(upper, lower)                                                                            \
    case MSG_TYPE_##upper: {                                                                                 \
        struct msg_##lower *m_ = &m.lower;                                                                   \
        MSG_##upper(RANDOM_FIELD) break;                                                                     \
    }
        MSG_TABLE(RANDOM_CASE)
    case MSG_NONE:
    case MSG_TYPE_COUNT: break;
    }
    return m;
}

static bool message_same(const struct msg *a, const struct msg *b) {
    if (a->type != b->type) return false;
    switch (a->type) {
#define SAME_FIELD(kind, name) &&same_##kind(&a_->name, &b_->name)
#define SAME_CASE(upper, lower)                                                                              \
    case MSG_TYPE_##upper: {                                                                                 \
        const struct msg_##lower *a_ = &a->lower, *b_ = &b->lower;                                           \
        return true MSG_##upper(SAME_FIELD);                                                                 \
    }
        MSG_TABLE(SAME_CASE)
    case MSG_NONE:
    case MSG_TYPE_COUNT: break;
    }
    return true;
}

#endif
