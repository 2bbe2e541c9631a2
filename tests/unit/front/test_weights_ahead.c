/* Reading the next model's file ahead: what is in the page cache afterwards, and when it is left alone. */
#include "front/weights_ahead.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../check_run.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/proc_mem.h"
#include "tmp_folder.h"

#define MB (UINT64_C(1) << 20)
#define FILE_BYTES (40 * MB)

static char folder[64], path[2][128];

/* Written to the disk and out of the page cache again, where the file system has one of its own. */
static void cold_file(const char *name) {
    static char piece[1 << 20];
    int fd = open(name, O_CREAT | O_TRUNC | O_RDWR, 0600);
    ck_assert_int_ge(fd, 0);
    for (uint64_t at = 0; at < FILE_BYTES; at += sizeof piece) {
        memset(piece, (int)(at >> 20) + 1, sizeof piece);
        ck_assert_int_eq(write(fd, piece, sizeof piece), sizeof piece);
    }
    ck_assert_int_eq(fsync(fd), 0);
#ifndef __APPLE__
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
#endif
    close(fd);
}

static uint64_t cached_bytes(const char *name) {
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

#define UNTIL(condition)                                                                                     \
    do {                                                                                                     \
        int64_t end_ = clock_now_ns() + 20 * NS_PER_S;                                                       \
        while (!(condition) && clock_now_ns() < end_) usleep(1000);                                          \
        ck_assert_msg(condition, "not in time: " #condition);                                                \
    } while (0)

static void setup(void) {
    snprintf(folder, sizeof folder, "/tmp/hotseat-ahead-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    for (int i = 0; i < 2; i++) {
        snprintf(path[i], sizeof path[i], "%s/m-0000%d-of-00002.gguf", folder, i + 1);
        cold_file(path[i]);
    }
}

/* Where the system does not say what memory has, nothing is read ahead. */
static void expect_read(const char *name) {
    if (proc_mem_available_bytes() == 0)
        usleep(300000); /* it would have begun by then */
    else
        UNTIL(cached_bytes(name) == FILE_BYTES);
}

START_TEST(all_parts_are_read) {
    setup();
    uint64_t cold = cached_bytes(path[1]); /* 0 on most file systems */
    struct weights_ahead *w;
    ck_assert_int_eq(weights_ahead_open(&w), ERR_OK);
    weights_ahead_begin(w, path[0], 0);
    expect_read(path[0]);
    expect_read(path[1]);
    if (proc_mem_available_bytes() == 0) ck_assert_uint_eq(cached_bytes(path[1]), cold);
    weights_ahead_free(w);
    tmp_folder_remove(folder);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(what_has_no_room_is_left_alone) {
    setup();
    uint64_t cold = cached_bytes(path[1]);
    struct weights_ahead *w;
    ck_assert_int_eq(weights_ahead_open(&w), ERR_OK);
    char other[128];
    snprintf(other, sizeof other, "%s/other.gguf", folder);
    cold_file(other);
    weights_ahead_begin(w, path[0], UINT64_MAX / 2); /* weights in use that fill the machine */
    usleep(300000);                                  /* it would have begun by then */
    weights_ahead_begin(w, "/nowhere/x.gguf", 0);
    weights_ahead_begin(w, other, 0);
    expect_read(other);
    ck_assert_uint_eq(cached_bytes(path[1]), cold);
    weights_ahead_free(w);
    tmp_folder_remove(folder);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(room_for_everybody) {
    ck_assert(weights_ahead_fits(1000 * MB, 2000 * MB, 3600 * MB));
    ck_assert(!weights_ahead_fits(1000 * MB, 2000 * MB, 3500 * MB)); /* half a gigabyte is not ours */
    ck_assert(!weights_ahead_fits(1000 * MB, UINT64_MAX, 3600 * MB));
    ck_assert(!weights_ahead_fits(UINT64_MAX, 0, 3600 * MB));
    ck_assert(!weights_ahead_fits(1, 0, 100 * MB));
}
END_TEST

int main(void) {
    const TTest *const tests[] = {all_parts_are_read, what_has_no_room_is_left_alone, room_for_everybody};
    return CHECK_RUN("weights_ahead", tests);
}
