#include "base/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__GLIBC__)
#include <malloc.h>
#elif defined(__APPLE__)
#include <malloc/malloc.h>
#endif

static _Atomic int64_t live_count;
static _Atomic int64_t fail_countdown; /* 0: off */

static bool fail_now(void) {
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) <= 0) return false;
    return atomic_fetch_sub(&fail_countdown, 1) == 1;
}

void *mem_alloc(size_t size_bytes) {
    if (fail_now()) return NULL;
    void *p = calloc(1, size_bytes ? size_bytes : 1);
    if (p) atomic_fetch_add_explicit(&live_count, 1, memory_order_relaxed);
    return p;
}

void *mem_array(size_t n, size_t size_bytes) {
    size_t total;
    if (__builtin_mul_overflow(n, size_bytes, &total)) return NULL;
    return mem_alloc(total);
}

void *mem_realloc(void *p, size_t size_bytes) {
    if (fail_now()) return NULL;
    void *q = realloc(p, size_bytes ? size_bytes : 1);
    if (q && !p) atomic_fetch_add_explicit(&live_count, 1, memory_order_relaxed);
    return q;
}

void mem_free(void *p) {
    if (!p) return;
    atomic_fetch_sub_explicit(&live_count, 1, memory_order_relaxed);
    free(p);
}

void mem_freep(void *pp) {
    void *p;
    memcpy(&p, pp, sizeof p); /* pp is a T **: read as bytes, whatever T is */
    mem_free(p);
    p = NULL;
    memcpy(pp, &p, sizeof p);
}

char *mem_strdup(const char *s) {
    return s ? mem_dup(s, strlen(s) + 1) : NULL;
}

char *mem_strndup(const char *s, size_t n) {
    size_t size = strnlen(s, n);
    char *copy = mem_alloc(size + 1);
    if (copy) memcpy(copy, s, size);
    return copy;
}

void *mem_dup(const void *p, size_t size_bytes) {
    void *copy = mem_alloc(size_bytes);
    if (copy && size_bytes) memcpy(copy, p, size_bytes);
    return copy;
}

char *mem_printf(const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *s = n < 0 ? NULL : mem_alloc((size_t)n + 1);
    if (s) vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    return s;
}

void mem_fail_at(int64_t n) {
    atomic_store(&fail_countdown, n);
}

int64_t mem_live_count(void) {
    return atomic_load(&live_count);
}

void mem_one_heap(void) {
#if defined(__GLIBC__)
    mallopt(M_ARENA_MAX, 1);
#endif
}

void mem_trim(void) {
#if defined(__GLIBC__)
    malloc_trim(0);
#elif defined(__APPLE__)
    malloc_zone_pressure_relief(NULL, 0);
#endif
}
