/* tmp_folder.h - a test's folder goes with the test. */
#ifndef HOTSEAT_TESTS_TMP_FOLDER_H
#define HOTSEAT_TESTS_TMP_FOLDER_H

#include <ftw.h>
#include <stdio.h>

static inline int tmp_folder_entry(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static inline void tmp_folder_remove(const char *path) {
    (void)nftw(path, tmp_folder_entry, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
