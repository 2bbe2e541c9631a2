/* mem.h - all heap memory of our own code, so that tests can make the n-th allocation fail. Thread: any. */
#ifndef HOTSEAT_BASE_MEM_H
#define HOTSEAT_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

void *mem_alloc(size_t size_bytes) NODISCARD;            /* zeroed; NULL when there is none. */
void *mem_array(size_t n, size_t size_bytes) NODISCARD;  /* zeroed; NULL also on overflow. */
void *mem_realloc(void *p, size_t size_bytes) NODISCARD; /* as realloc; p stays valid on NULL. */
void mem_free(void *p);                                  /* NULL is fine. */
void mem_freep(void *pp);                                /* for AUTO(mem_freep): takes a T **. */
char *mem_strdup(const char *s) NODISCARD;               /* NULL for NULL s. */
char *mem_strndup(const char *s, size_t n) NODISCARD;
void *mem_dup(const void *p, size_t size_bytes) NODISCARD;
char *mem_printf(const char *fmt, ...) PRINTF_LIKE(1, 2) NODISCARD;

/* Tests: the n-th allocation from now fails (1 is the next one), once; 0 switches it off. */
void mem_fail_at(int64_t n);
int64_t mem_live_count(void); /* allocations that were not freed yet: leak checks in tests. */

/* Once, before a second thread is there: all threads share one heap. glibc's trim never gives back the top of any other one,
 * which is up to 64 MB that an unload seems to keep. */
void mem_one_heap(void);
/* Gives freed heap back to the system, where the C library can; slow (milliseconds), so only after a big release. */
void mem_trim(void);

#endif
