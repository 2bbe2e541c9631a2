/* Whose the folder is: a seat that was replaced deletes nothing, a lock is the lock of the folder that is there, and a folder
 * of somebody else is left as it is. */
#include <sys/file.h>
#include <sys/syscall.h>

#include "store_rig.h"

static int32_t tokens[2048];

static void set_up(void) {
    rig_dir_new();
    rig_tokens(tokens, 2048, 1, 0);
}

static void tear_down(void) {
    rig_remove_tree(rig_dir);
}

/* ---- the fence ---- */

static struct store *open_as(uint64_t generation) {
    rig_generation = generation;
    return rig_open();
}

static void damage_a_file(void) {
    struct rig_count c = {.ending = ".kv"};
    rig_each_file(rig_dir, rig_count_file, &c);
    FILE *f = fopen(c.last, "r+b");
    ck_assert_ptr_nonnull(f);
    fputs("damage", f);
    fclose(f);
}

START_TEST(a_seat_that_was_replaced_deletes_nothing) {
    struct store *old = open_as(1);
    for (uint32_t i = 0; i < 30; i++) {
        rig_tokens(tokens, 2048, i, 0);
        struct rig_chain c = {.tag = rig_tag(1), .agent = "ann", .tokens = tokens, .n = 1100};
        ck_assert_int_eq(rig_say(old, &c), ERR_OK);
    }
    damage_a_file();
    struct store *young = open_as(2);
    unsigned files = rig_files(rig_dir, ".kv"), aside = 0;
    ck_assert_uint_gt(files, 100);
    store_set_limits(old, MB / 2, MB);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), files);
    for (uint32_t i = 0; i < 30; i++) { /* one of them is damaged: it is refused and stays where it is */
        rig_tokens(tokens, 2048, i, 0);
        struct store_plan p;
        ck_assert_int_eq(store_plan(old, rig_tag(1), tokens, 1101, 0, &p), ERR_OK);
        aside += p.n_blocks > 0 && rig_get(old, rig_tag(1), tokens, &p) != ERR_OK;
        store_plan_free(&p);
    }
    ck_assert_uint_eq(aside, 1);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), files);
    char path[512];
    snprintf(path, sizeof path, "%s/quarantine", rig_dir);
    ck_assert_uint_eq(rig_files(path, ".kv"), 0);
    store_free(old);
    store_free(young);
}
END_TEST

START_TEST(another_servers_folder_under_the_old_name_is_not_written) {
    char why[256];
    int fd = -1, second = -1;
    ck_assert_int_eq(store_lock(rig_dir, &fd, why, sizeof why), ERR_OK);
    struct store *s = rig_open();
    struct rig_chain c = {.tag = rig_tag(1), .agent = "ann", .tokens = tokens, .n = 600};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    rig_remove_tree(rig_dir);
    ck_assert_int_eq(store_lock(rig_dir, &second, why, sizeof why), ERR_OK); /* it is free: ours is gone */
    struct store *other = rig_open();
    ck_assert_int_eq(rig_say(other, &c), ERR_OK);
    unsigned files = rig_files(rig_dir, ".kv");
    c.n = 1500;
    ck_assert_int_eq(rig_put(s, &c), ERR_LOCKED);
    store_set_limits(s, MB / 2, MB);
    ck_assert_uint_eq(rig_files(rig_dir, ".kv"), files);
    store_free(s);
    store_free(other);
    close(fd);
    close(second);
}
END_TEST

/* ---- the lock ---- */

/* Stands before libc's: once, the folder's lock is replaced between open and flock. */
static char replace_before_flock[512];
int flock(int fd, int operation) {
    if (replace_before_flock[0]) {
        ck_assert_int_eq(unlink(replace_before_flock), 0);
        replace_before_flock[0] = '\0';
    }
    return (int)syscall(SYS_flock, fd, operation);
}

START_TEST(a_lock_is_that_of_the_file_which_is_there) {
    char why[256], path[512];
    int fd = -1, second = -1;
    snprintf(path, sizeof path, "%s/LOCK", rig_dir);
    memcpy(replace_before_flock, path, sizeof path);
    ck_assert_int_eq(store_lock(rig_dir, &fd, why, sizeof why), ERR_OK);
    ck_assert_str_eq(replace_before_flock, "");
    struct stat held, there;
    ck_assert_int_eq(fstat(fd, &held), 0);
    ck_assert_int_eq(stat(path, &there), 0);
    ck_assert_uint_eq(held.st_ino, there.st_ino);
    ck_assert_int_eq(store_lock(rig_dir, &second, why, sizeof why), ERR_LOCKED);
    close(fd);
}
END_TEST

/* ---- whose folder ---- */

static mode_t mode_of(const char *path) {
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    return st.st_mode & 07777;
}

START_TEST(a_folder_of_somebody_else_is_left_as_it_is) {
    char why[512], dir[512], file[600];
    int fd = -1;
    snprintf(dir, sizeof dir, "%s/home", rig_dir);
    snprintf(file, sizeof file, "%s/letter.txt", dir);
    ck_assert_int_eq(mkdir(dir, 0700) | chmod(dir, 0775), 0);
    FILE *f = fopen(file, "w");
    ck_assert_ptr_nonnull(f);
    fclose(f);
    ck_assert_int_ne(store_lock(dir, &fd, why, sizeof why), ERR_OK);
    ck_assert_msg(strstr(why, dir) != NULL, "%s", why);
    struct store_config c = {.dir = dir, .budget_bytes = 16 * MB};
    struct store *s = NULL;
    ck_assert_int_ne(store_open(&c, &s, why, sizeof why), ERR_OK);
    ck_assert_uint_eq(mode_of(dir), 0775);
    ck_assert_int_eq(chmod(dir, 0755), 0); /* nobody else can write in it: used, and left as it is */
    ck_assert_int_eq(store_lock(dir, &fd, why, sizeof why), ERR_OK);
    ck_assert_int_eq(store_open(&c, &s, why, sizeof why), ERR_OK);
    store_free(s);
    close(fd);
    ck_assert_uint_eq(mode_of(dir), 0755);
    ck_assert_int_eq(unlink(file), 0); /* what is ours alone is taken over */
    ck_assert_int_eq(store_lock(dir, &fd, why, sizeof why), ERR_OK);
    ck_assert_uint_eq(mode_of(dir), 0700);
    close(fd);
    ck_assert_int_eq(chmod(dir, 0755), 0); /* each time */
    ck_assert_int_eq(store_lock(dir, &fd, why, sizeof why), ERR_OK);
    ck_assert_uint_eq(mode_of(dir), 0700);
    close(fd);
    ck_assert_int_eq(chmod(dir, 01777), 0); /* but never one that is everybody's */
    ck_assert_int_ne(store_lock(dir, &fd, why, sizeof why), ERR_OK);
    ck_assert_uint_eq(mode_of(dir), 01777);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        a_seat_that_was_replaced_deletes_nothing, another_servers_folder_under_the_old_name_is_not_written,
        a_lock_is_that_of_the_file_which_is_there, a_folder_of_somebody_else_is_left_as_it_is};
    return rig_run("store_fence", tests, ARRAY_LEN(tests), set_up, tear_down);
}
