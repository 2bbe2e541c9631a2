/* Giving up a file's pages: which go, which stay. */
#include "base/page_cache.h"

#include <stdio.h>
#include <stdlib.h>

#include "../page_rig.h"

#if defined(POSIX_FADV_DONTNEED) && !defined(HOTSEAT_PORTABLE)
static const enum err HERE = ERR_OK;
#else
static const enum err HERE = ERR_UNSUPPORTED;
#endif

static char name[64];

/* What stays after a plain posix_fadvise(): all of it in a file system that is its own page cache. */
static uint64_t setup(void) {
    snprintf(name, sizeof name, "/tmp/hotseat-pages-XXXXXX");
    int fd = mkstemp(name);
    ck_assert_int_ge(fd, 0);
    close(fd);
    cold_file(name);
    uint64_t least = cached_bytes(name);
    warm_file(name);
    ck_assert_uint_eq(cached_bytes(name), FILE_BYTES);
    return HERE == ERR_OK ? least : FILE_BYTES;
}

START_TEST(clean_pages_go) {
    uint64_t least = setup();
    ck_assert_int_eq(page_cache_forget(name), HERE);
    ck_assert_uint_le(cached_bytes(name), least);
    unlink(name);
}
END_TEST

START_TEST(pages_in_use_stay) {
    setup();
    int fd = open(name, O_RDONLY);
    volatile const char *map = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    ck_assert(map != MAP_FAILED);
    long sum = 0;
    for (uint64_t at = 0; at < FILE_BYTES; at += 4096) sum += map[at];
    ck_assert_int_gt(sum, 0);
    ck_assert_int_eq(page_cache_forget(name), HERE);
    ck_assert_uint_eq(cached_bytes(name), FILE_BYTES);
    close(fd);
    unlink(name);
}
END_TEST

START_TEST(a_file_that_is_gone) {
    ck_assert_int_eq(page_cache_forget("/nowhere/x.gguf"), HERE == ERR_OK ? ERR_NOT_FOUND : HERE);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {clean_pages_go, pages_in_use_stay, a_file_that_is_gone};
    return CHECK_RUN("page_cache", tests);
}
