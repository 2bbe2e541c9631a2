/* What `hotseat doctor` is told of a cache folder, without a change to it. */
#include "store_rig.h"

#include <sys/wait.h>

#include "store/store.h"

static char why[4200];
static struct store_look look;

static void set_up(void) {
    rig_dir_new();
    why[0] = '\0';
}

static void tear_down(void) {
    rig_remove_tree(rig_dir);
}

static const char *below(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", rig_dir, name);
    return path;
}

static int entries(const char *path) {
    int n = 0;
    DIR *d = opendir(path);
    ck_assert_ptr_nonnull(d);
    while (readdir(d)) n++;
    closedir(d);
    return n - 2;
}

START_TEST(folder_that_is_not_there_is_not_made) {
    ck_assert_msg(store_look(below("a/b/c"), &look, why, sizeof why) == ERR_OK, "%s", why);
    ck_assert(!look.exists);
    ck_assert_str_eq(look.place, rig_dir);
    ck_assert_uint_gt(look.free_bytes, 0);
    ck_assert_int_gt(look.write_ns, 0);
    ck_assert_int_eq(entries(rig_dir), 0);
}
END_TEST

START_TEST(store_in_use_and_not) {
    static int32_t tokens[600];
    rig_tokens(tokens, 600, 1, 0);
    struct store *s = rig_open_with(64 * MB, &disk_ops_real);
    struct rig_chain c = {.tag = rig_tag(1), .agent = "ann", .tokens = tokens, .n = 600, .window = 0};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    store_free(s);
    int fd = -1, before = entries(rig_dir);
    ck_assert_int_eq(store_lock(rig_dir, &fd, why, sizeof why), ERR_OK);
    pid_t pid = fork(); /* another process, as a doctor is */
    if (pid == 0)
        _exit(store_look(rig_dir, &look, why, sizeof why) == ERR_LOCKED && strstr(why, "pid") ? 0 : 1);
    int status = 1;
    ck_assert(waitpid(pid, &status, 0) == pid && status == 0);
    ck_assert(store_lock_is_current(rig_dir, fd));
    close(fd);
    ck_assert_msg(store_look(rig_dir, &look, why, sizeof why) == ERR_OK, "%s", why);
    ck_assert(look.exists && look.only_ours && !look.open_to_others);
    ck_assert_uint_ge(look.used_bytes, 3 * RIG_BASE_BYTES);
    ck_assert_int_eq(entries(rig_dir), before + 1);                      /* LOCK, which store_lock() made */
    ck_assert_int_eq(store_lock(rig_dir, &fd, why, sizeof why), ERR_OK); /* it held nothing back */
    close(fd);
}
END_TEST

START_TEST(others_files_are_not_counted_and_open_folders_are_told) {
    FILE *f = fopen(below("theirs"), "w");
    ck_assert_ptr_nonnull(f);
    for (int i = 0; i < 100000; i++) fputc('x', f);
    fclose(f);
    chmod(rig_dir, 0755);
    ck_assert_int_eq(store_look(rig_dir, &look, why, sizeof why), ERR_OK);
    ck_assert(look.exists && !look.only_ours && look.open_to_others);
    ck_assert_uint_eq(look.used_bytes, 0);
    chmod(rig_dir, 0777);
    ck_assert_int_eq(store_look(rig_dir, &look, why, sizeof why), ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(why, "other users"));
    unlink(below("theirs"));
    chmod(rig_dir, 0777);
    ck_assert_int_eq(store_look(rig_dir, &look, why, sizeof why), ERR_OK); /* a start would close it */
    struct stat st;
    ck_assert(stat(rig_dir, &st) == 0 && (st.st_mode & 0777) == 0777);
}
END_TEST

START_TEST(what_can_not_be_a_folder) {
    FILE *f = fopen(below("file"), "w");
    ck_assert_ptr_nonnull(f);
    fclose(f);
    ck_assert_int_eq(store_look(below("file"), &look, why, sizeof why), ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(why, "not a folder"));
    ck_assert_int_eq(store_look(below("file/below"), &look, why, sizeof why), ERR_INVALID);
    ck_assert_int_eq(store_look("", &look, why, sizeof why), ERR_LIMIT);
#ifdef __linux__
    ck_assert_int_ne(store_look("/proc/hotseat", &look, why, sizeof why), ERR_OK);
    ck_assert_ptr_nonnull(strstr(why, "no file can be made"));
#endif
}
END_TEST

int main(void) {
    TCase *t = tcase_create("store_look");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, folder_that_is_not_there_is_not_made);
    tcase_add_test(t, store_in_use_and_not);
    tcase_add_test(t, others_files_are_not_counted_and_open_folders_are_told);
    tcase_add_test(t, what_can_not_be_a_folder);
    return check_run_case("store_look", t);
}
