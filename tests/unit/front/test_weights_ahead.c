/* Reading the next model's file ahead: what is in the page cache afterwards, and when it is left alone. */
#include "front/weights_ahead.h"

#include <stdio.h>
#include <stdlib.h>

#include "../page_rig.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/page_cache.h"
#include "base/proc_mem.h"
#include "tmp_folder.h"

static char folder[64], path[2][128];

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

/* A model of two parts has left, and another one comes that is as large. */
static struct weights_ahead *setup_left(char left[2][128]) {
    setup();
    for (int i = 0; i < 2; i++) {
        snprintf(left[i], sizeof left[i], "%s/old-0000%d-of-00002.gguf", folder, i + 1);
        warm_file(left[i]);
    }
    struct weights_ahead *w;
    ck_assert_int_eq(weights_ahead_open(&w), ERR_OK);
    return w;
}

static void finish(struct weights_ahead *w) {
    weights_ahead_free(w);
    tmp_folder_remove(folder);
    ck_assert_int_eq(mem_live_count(), 0);
}

START_TEST(all_parts_of_the_old_model_go_when_memory_is_short) {
    char left[2][128];
    struct weights_ahead *w = setup_left(left);
    uint64_t least = cached_bytes(path[0]), next = cached_bytes(path[1]); /* 0 on most file systems */
    weights_ahead_begin(w, path[0], UINT64_MAX / 2);
    weights_ahead_left(w, path[0], left[0], UINT64_MAX / 2);
    if (page_cache_forget("/dev/null") == ERR_UNSUPPORTED || !proc_mem_available_bytes()) least = FILE_BYTES;
    UNTIL(cached_bytes(left[0]) <= least && cached_bytes(left[1]) <= least);
    ck_assert_uint_eq(cached_bytes(path[1]), next); /* which has no room */
    finish(w);
}
END_TEST

START_TEST(the_old_model_stays_when_memory_is_ample) {
    char left[2][128];
    struct weights_ahead *w = setup_left(left);
    weights_ahead_left(w, path[0], left[0], 0);
    expect_read(path[0]); /* after the look at the old one */
    expect_read(path[1]);
    ck_assert_uint_eq(cached_bytes(left[0]), FILE_BYTES);
    ck_assert_uint_eq(cached_bytes(left[1]), FILE_BYTES);
    finish(w);
}
END_TEST

START_TEST(what_both_models_share_stays) {
    char left[2][128], link_path[128];
    struct weights_ahead *w = setup_left(left);
    for (int i = 0; i < 2; i++) {
        snprintf(link_path, sizeof link_path, "%s/new-0000%d-of-00002.gguf", folder, i + 1);
        ck_assert_int_eq(i == 0 ? symlink(left[1], link_path) : symlink(path[1], link_path), 0);
    }
    snprintf(link_path, sizeof link_path, "%s/new-00001-of-00002.gguf", folder);
    uint64_t least = cached_bytes(path[0]);
    if (page_cache_forget("/dev/null") == ERR_UNSUPPORTED || !proc_mem_available_bytes()) least = FILE_BYTES;
    weights_ahead_left(w, link_path, left[0], UINT64_MAX / 2);
    UNTIL(cached_bytes(left[0]) <= least);
    usleep(100000); /* the second part's turn */
    ck_assert_uint_eq(cached_bytes(left[1]), FILE_BYTES);
    finish(w);
}
END_TEST

START_TEST(what_was_read_is_not_read_again_in_the_same_swap) {
    char left[2][128];
    struct weights_ahead *w = setup_left(left);
    weights_ahead_begin(w, path[0], 0);
    expect_read(path[0]);
    expect_read(path[1]);
    weights_ahead_left(w, path[0], left[0], 0); /* reads what may have been missing */
    usleep(300000);
    for (int i = 0; i < 2; i++) cold_file(path[i]);
    uint64_t cold = cached_bytes(path[0]);
    weights_ahead_left(w, path[0], left[0], 0);
    usleep(300000);
    ck_assert_uint_eq(cached_bytes(path[0]), cold);
    weights_ahead_begin(w, path[0], 0); /* the next swap */
    expect_read(path[0]);
    finish(w);
}
END_TEST

START_TEST(what_is_given_up_at_once_takes_nothing_away) {
    char left[2][128];
    struct weights_ahead *w = setup_left(left);
    weights_ahead_left(w, path[0], "/nowhere/x.gguf", UINT64_MAX / 2); /* is no failure */
    for (int i = 0; i < 100; i++) {
        weights_ahead_begin(w, path[0], UINT64_MAX / 2);
        weights_ahead_end(w);
    }
    weights_ahead_left(w, path[0], left[0], 0);
    weights_ahead_end(w);
    usleep(300000);
    ck_assert_uint_eq(cached_bytes(left[0]), FILE_BYTES);
    finish(w);
}
END_TEST

START_TEST(short_of_memory) {
    ck_assert(!weights_ahead_short(1000 * MB, 2000 * MB, 300 * MB, 3900 * MB));
    ck_assert(
        weights_ahead_short(1000 * MB, 2000 * MB, 300 * MB, 3800 * MB)); /* half a gigabyte is not ours */
    ck_assert(weights_ahead_short(1000 * MB, UINT64_MAX, 300 * MB, 3900 * MB));
    ck_assert(!weights_ahead_short(1000 * MB, 2000 * MB, 300 * MB, 0)); /* nobody knows */
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
    const TTest *const tests[] = {all_parts_are_read,
                                  what_has_no_room_is_left_alone,
                                  all_parts_of_the_old_model_go_when_memory_is_short,
                                  the_old_model_stays_when_memory_is_ample,
                                  what_both_models_share_stays,
                                  what_was_read_is_not_read_again_in_the_same_swap,
                                  what_is_given_up_at_once_takes_nothing_away,
                                  short_of_memory,
                                  room_for_everybody};
    return CHECK_RUN("weights_ahead", tests);
}
