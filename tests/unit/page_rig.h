/* page_rig.h - files whose pages a test counts in the page cache. */
#ifndef HOTSEAT_TESTS_PAGE_RIG_H
#define HOTSEAT_TESTS_PAGE_RIG_H

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check_run.h"

#define MB (UINT64_C(1) << 20)
#define FILE_BYTES (40 * MB)

/* Written to the disk, which leaves it in the page cache. */
static inline void warm_file(const char *name) {
    static char piece[1 << 20];
    int fd = open(name, O_CREAT | O_TRUNC | O_RDWR, 0600);
    ck_assert_int_ge(fd, 0);
    for (uint64_t at = 0; at < FILE_BYTES; at += sizeof piece) {
        memset(piece, (int)(at >> 20) + 1, sizeof piece);
        ck_assert_int_eq(write(fd, piece, sizeof piece), sizeof piece);
    }
    ck_assert_int_eq(fsync(fd), 0);
    close(fd);
}

/* And out of the page cache again, where the file system has one of its own. */
static inline void cold_file(const char *name) {
    warm_file(name);
#ifndef __APPLE__
    int fd = open(name, O_RDONLY);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
#endif
}

static inline uint64_t cached_bytes(const char *name) {
    static unsigned char pages[FILE_BYTES / 4096];
    int fd = open(name, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    void *map = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    ck_assert(map != MAP_FAILED);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    ck_assert_int_eq(mincore(map, FILE_BYTES, (void *)pages), 0);
    uint64_t n = 0;
    for (size_t i = 0; i < FILE_BYTES / page; i++) n += pages[i] & 1;
    munmap(map, FILE_BYTES);
    close(fd);
    return n * page;
}

#endif
