#include "store/disk_ops.h"

#include <time.h>

#include "store_rig.h"

static const struct disk_ops *const disk = &disk_ops_real;
static char file[512], folder[512];

static void set_up(void) {
    rig_dir_new();
    snprintf(file, sizeof file, "%s/file", rig_dir);
    snprintf(folder, sizeof folder, "%s/folder", rig_dir);
}
static void tear_down(void) {
    rig_remove_tree(rig_dir);
}

static enum err count(void *ctx, const char *name) {
    *(int *)ctx += 1;
    return strcmp(name, "stop") == 0 ? ERR_LIMIT : ERR_OK;
}

START_TEST(each_verb_does_its_thing) {
    int fd = -1, n = 0;
    bool made = false;
    uint64_t size = 0;
    char text[8] = "";
    struct disk_stat st;
    ck_assert_int_eq(disk->create(NULL, file, &fd), ERR_OK);
    ck_assert_int_eq(disk->write(NULL, fd, "hello", 5), ERR_OK);
    ck_assert_int_eq(disk->sync(NULL, fd), ERR_OK);
    disk->close(NULL, fd);
    ck_assert_int_eq(disk->create(NULL, file, &fd), ERR_IO); /* it exists */
    ck_assert_int_eq(disk->open(NULL, file, &fd, &size), ERR_OK);
    ck_assert_uint_eq(size, 5);
    ck_assert_int_eq(disk->read(NULL, fd, text, 3, 2), ERR_OK);
    ck_assert_str_eq(text, "llo");
    ck_assert_int_eq(disk->read(NULL, fd, text, 4, 2), ERR_EOF);
    disk->close(NULL, fd);
    ck_assert_int_eq(disk->make_dir(NULL, folder, &made), ERR_OK);
    ck_assert(made);
    ck_assert_int_eq(disk->make_dir(NULL, folder, &made), ERR_OK);
    ck_assert(!made);
    ck_assert_int_eq(disk->make_dir(NULL, file, &made), ERR_IO);
    ck_assert_int_eq(disk->open(NULL, folder, &fd, &size), ERR_IO);
    ck_assert_int_eq(disk->sync_dir(NULL, folder), ERR_OK);
    ck_assert_int_eq(disk->stat(NULL, folder, &st), ERR_OK);
    ck_assert(st.is_dir);
    ck_assert_int_eq(disk->list(NULL, rig_dir, count, &n), ERR_OK);
    ck_assert_int_eq(n, 2);
    ck_assert_int_eq(disk->remove_dir(NULL, folder), ERR_OK);
    ck_assert_int_eq(disk->remove_dir(NULL, folder), ERR_NOT_FOUND);
    char to[600];
    snprintf(to, sizeof to, "%s/stop", rig_dir);
    ck_assert_int_eq(disk->rename(NULL, file, to), ERR_OK);
    ck_assert_int_eq(disk->stat(NULL, file, &st), ERR_NOT_FOUND);
    ck_assert_int_eq(disk->list(NULL, rig_dir, count, &n), ERR_LIMIT);
    ck_assert_int_eq(disk->list(NULL, file, count, &n), ERR_NOT_FOUND);
    ck_assert_int_eq(disk->remove(NULL, to), ERR_OK);
    ck_assert_int_eq(disk->remove(NULL, to), ERR_NOT_FOUND);
    ck_assert_int_eq(disk->open(NULL, to, &fd, &size), ERR_NOT_FOUND);
}
END_TEST

START_TEST(links_are_not_followed) {
    char target[600];
    int fd = -1;
    uint64_t size;
    snprintf(target, sizeof target, "%s/target", rig_dir);
    ck_assert_int_eq(disk->create(NULL, target, &fd), ERR_OK);
    disk->close(NULL, fd);
    ck_assert_int_eq(symlink(target, file), 0);
    ck_assert_int_eq(disk->open(NULL, file, &fd, &size), ERR_IO);
    ck_assert_int_eq(disk->create(NULL, file, &fd), ERR_IO);
    unlink(file);
    ck_assert_int_eq(mkfifo(file, 0600), 0); /* and a pipe does not hang us */
    ck_assert_int_eq(disk->open(NULL, file, &fd, &size), ERR_IO);
}
END_TEST

START_TEST(faults_reach_every_write) {
    int fd = -1;
    bool made;
    ck_assert_int_eq(disk->create(NULL, file, &fd), ERR_OK);
    static const struct {
        const char *name;
        enum err err;
    } faults[] = {{"disk_full", ERR_DISK_FULL}, {"disk_readonly", ERR_IO}};
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        enum err err = faults[i].err;
        int other = -1;
        ck_assert_int_eq(fault_arm(faults[i].name, -1, 0), ERR_OK);
        ck_assert_int_eq(disk->write(NULL, fd, "x", 1), err);
        ck_assert_int_eq(disk->sync(NULL, fd), err);
        ck_assert_int_eq(disk->create(NULL, folder, &other), err);
        ck_assert_int_eq(disk->make_dir(NULL, folder, &made), err);
        ck_assert_int_eq(disk->rename(NULL, file, folder), err);
        ck_assert_int_eq(disk->sync_dir(NULL, rig_dir), err);
        ck_assert_int_eq(disk->database_write(NULL), err);
        ck_assert_int_eq(disk->remove(NULL, folder),
                         i == 0 ? ERR_NOT_FOUND : err); /* a full disk can forget */
        ck_assert_int_eq(disk->remove_dir(NULL, folder), i == 0 ? ERR_NOT_FOUND : err);
        ck_assert_int_eq(fault_arm(faults[i].name, 0, 0), ERR_OK);
    }
    ck_assert_int_eq(disk->write(NULL, fd, "x", 1), ERR_OK);
    disk->close(NULL, fd);
}
END_TEST

START_TEST(a_slow_disk_is_slow) {
    struct timespec before, after;
    struct disk_stat st;
    ck_assert_int_eq(fault_arm("disk_slow", 1, 30), ERR_OK);
    clock_gettime(CLOCK_MONOTONIC, &before);
    ck_assert_int_eq(disk->stat(NULL, rig_dir, &st), ERR_OK);
    clock_gettime(CLOCK_MONOTONIC, &after);
    ck_assert_int_ge((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000, 29);
}
END_TEST

START_TEST(lengths_are_counted_in_whole_units) {
    ck_assert_uint_eq(disk_bytes_of(0), 0);
    ck_assert_uint_eq(disk_bytes_of(1), 4096);
    ck_assert_uint_eq(disk_bytes_of(4096), 4096);
    ck_assert_uint_eq(disk_bytes_of(4097), 8192);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {each_verb_does_its_thing, links_are_not_followed, faults_reach_every_write,
                                  a_slow_disk_is_slow, lengths_are_counted_in_whole_units};
    return rig_run("disk_ops", tests, ARRAY_LEN(tests), set_up, tear_down);
}
