/* A disk that does not answer for a while, or is taken away, is no reason to forget: what was stored is found again when it
 * is back. */
#include "store_rig.h"

#include "store/store_private.h"

static int32_t tokens[2048];

static void set_up(void) {
    rig_dir_new();
    rig_tokens(tokens, 2048, 1, 0);
}

static void tear_down(void) {
    rig_remove_tree(rig_dir);
}

static enum err read_error;
static enum err bad_open(void *ctx, const char *path, int *fd, uint64_t *size) {
    return read_error && strstr(path, "/blocks/") ? read_error : disk_ops_real.open(ctx, path, fd, size);
}

static uint32_t chains(struct store *s, const char *agent) {
    struct store_chain got[CHAINS_PER_AGENT_MAX];
    uint32_t n = 0;
    ck_assert_int_eq(store_agent_chains(s, rig_tag(1), agent, got, &n), ERR_OK);
    store_chains_free(got, n);
    return n;
}

/* As if the time to try again had come. */
static void later(struct store *s) {
    for (size_t i = 0; i < s->map.n_buckets; i++)
        for (struct store_node *n = s->map.buckets[i]; n; n = n->hash_next)
            n->base_retry_ns = n->window_retry_ns = 0;
}

START_TEST(a_read_error_is_not_for_good) {
    struct disk_ops disk = disk_ops_real;
    disk.open = bad_open;
    struct store *s = rig_open_with(64 * MB, &disk);
    struct rig_chain c = {.tag = rig_tag(1), .agent = "ann", .tokens = tokens, .n = 1100, .window = 100};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    struct store_counters before, after;
    store_counters_get(s, &before);
    read_error = ERR_IO;
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 1101, 100), 0); /* plans end before what can't be read */
    read_error = ERR_OK;
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 1101, 100), 0); /* it is not asked again at once */
    later(s);
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 1101, 100), 1100);
    ck_assert_uint_eq(chains(s, "ann"), 1);
    store_counters_get(s, &after);
    ck_assert_uint_eq(after.disk_bytes, before.disk_bytes);
    store_free(s);
}
END_TEST

START_TEST(what_can_not_be_read_is_written_anew) {
    struct disk_ops disk = disk_ops_real;
    disk.open = bad_open;
    struct store *s = rig_open_with(64 * MB, &disk);
    struct rig_chain c = {.tag = rig_tag(1), .agent = "ann", .tokens = tokens, .n = 1100, .window = 100};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    read_error = ERR_IO;
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 1101, 100), 0);
    read_error = ERR_OK;
    c.written = 0;
    ck_assert_int_eq(rig_say(s, &c), ERR_OK); /* who read the prompt again puts it */
    ck_assert_uint_gt(c.written, 0);
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 1101, 100), 1100);
    struct store_counters n;
    store_counters_get(s, &n);
    ck_assert_uint_le(n.disk_bytes, rig_tree_bytes(rig_dir) + 2 * DISK_UNIT_BYTES);
    store_free(s);
}
END_TEST

START_TEST(a_disk_that_was_taken_away_comes_back_whole) {
    char away[300];
    snprintf(away, sizeof away, "%s-away", rig_dir);
    struct store *s = rig_open();
    struct rig_chain c = {.tag = rig_tag(1), .agent = "ann", .tokens = tokens, .n = 1100};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    ck_assert(!store_is_lost(s));
    ck_assert_int_eq(rename(rig_dir, away), 0);
    struct store_plan p;
    ck_assert_int_eq(store_plan(s, c.tag, tokens, 1101, 0, &p), ERR_OK);
    ck_assert_int_ne(rig_get(s, c.tag, tokens, &p), ERR_OK);
    store_plan_free(&p);
    ck_assert(store_is_lost(s)); /* so that its owner opens it anew */
    ck_assert_uint_eq(s->map.n_nodes, 5);
    c.n = 1500;
    ck_assert_int_eq(rig_put(s, &c), ERR_IO);
    store_free(s);
    ck_assert_int_eq(rename(away, rig_dir), 0);
    s = rig_open();
    ck_assert(!store_is_lost(s));
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 1101, 0), 1100);
    ck_assert_uint_eq(chains(s, "ann"), 1);
    store_free(s);
}
END_TEST

START_TEST(a_file_in_the_place_of_the_folder_is_no_folder) { /* ENOTDIR, not ENOENT */
    char away[300], why[256];
    snprintf(away, sizeof away, "%s-away", rig_dir);
    struct store *s = rig_open();
    struct rig_chain c = {.tag = rig_tag(1), .agent = "ann", .tokens = tokens, .n = 1100};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    ck_assert_int_eq(rename(rig_dir, away), 0);
    FILE *f = fopen(rig_dir, "w");
    ck_assert_ptr_nonnull(f);
    fclose(f);
    c.n = 1500;
    ck_assert_int_eq(rig_put(s, &c), ERR_IO);
    ck_assert(store_is_lost(s));
    ck_assert_uint_eq(s->map.n_nodes, 5);
    store_free(s);
    struct store_config config = {.dir = rig_dir, .budget_bytes = 64 * MB, .generation = 1};
    ck_assert_int_ne(store_open(&config, &s, why, sizeof why), ERR_OK);
    ck_assert_str_ne(why, "");
    ck_assert_int_eq(unlink(rig_dir), 0);
    ck_assert_int_eq(rename(away, rig_dir), 0);
    s = rig_open();
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 1101, 0), 1100);
    store_free(s);
}
END_TEST

START_TEST(no_folder_is_made_in_the_mount_point_of_a_disk_that_was_taken_away) {
    char link[64], disk[64], root[] = "/tmp/hotseat-mount-XXXXXX", saved[256], why[256];
    struct stat a, b;
    ck_assert_ptr_nonnull(mkdtemp(root)); /* another file system than rig_dir's, on most machines */
    snprintf(link, sizeof link, "%s/mnt", root);
    snprintf(disk, sizeof disk, "%s/empty", root);
    ck_assert_int_eq(mkdir(disk, 0700) | symlink(rig_dir, link), 0);
    ck_assert_int_eq(stat(rig_dir, &a) | stat(root, &b), 0);
    memcpy(saved, rig_dir, sizeof saved);
    snprintf(rig_dir, sizeof rig_dir, "%s/cache", link);
    struct store *s = rig_open();
    struct store_config c = {
        .dir = rig_dir, .budget_bytes = 64 * MB, .generation = 1, .device = store_device(s)};
    store_free(s);
    ck_assert_int_eq(unlink(link) | symlink(disk, link), 0);
    enum err err = store_open(&c, &s, why, sizeof why);
    ck_assert_int_eq(err, a.st_dev == b.st_dev ? ERR_OK : ERR_IO);
    store_free(s);
    ck_assert_int_eq(unlink(link) | symlink(saved, link), 0);
    ck_assert_int_eq(store_open(&c, &s, why, sizeof why), ERR_OK);
    store_free(s);
    memcpy(rig_dir, saved, sizeof rig_dir);
    rig_remove_tree(root);
}
END_TEST

START_TEST(a_vanished_folder_is_said_and_made_anew) {
    char command[400];
    snprintf(command, sizeof command, "rm -rf %s/blocks", rig_dir);
    struct store *s = rig_open();
    struct rig_chain c = {.tag = rig_tag(1), .agent = "ann", .tokens = tokens, .n = 600};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    struct store_counters before, after;
    store_counters_get(s, &before);
    ck_assert_int_eq(system(command), 0);
    c.n = 1500; /* the parents are not lost by the budget: ERR_NOT_FOUND would have them all written again */
    ck_assert_int_eq(rig_put(s, &c), ERR_IO);
    store_counters_get(s, &after);
    ck_assert_uint_gt(after.write_failures, before.write_failures);
    ck_assert(store_is_lost(s));
    store_free(s);
    s = rig_open();
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 1501, 0), 0);
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    ck_assert_uint_eq(rig_cached(s, c.tag, tokens, 1501, 0), 1500);
    store_free(s);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {a_read_error_is_not_for_good,
                                  what_can_not_be_read_is_written_anew,
                                  a_disk_that_was_taken_away_comes_back_whole,
                                  a_file_in_the_place_of_the_folder_is_no_folder,
                                  no_folder_is_made_in_the_mount_point_of_a_disk_that_was_taken_away,
                                  a_vanished_folder_is_said_and_made_anew};
    return rig_run("store_unplugged", tests, ARRAY_LEN(tests), set_up, tear_down);
}
