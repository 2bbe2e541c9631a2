/* Files that are not what they were: each is a miss with a counter, the file leaves its place, and what was damaged can be
 * put again. Every test first shows that the undamaged store hits. */
#include <fcntl.h>

#include "base/json.h"
#include "store_rig.h"

static int32_t tokens[2048], other[2048];

static void set_up(void) {
    rig_dir_new();
    rig_tokens(tokens, 2048, 1, 0);
    rig_tokens(other, 2048, 2, 0);
}

static void tear_down(void) {
    rig_remove_tree(rig_dir);
}

/* The part file of the block of tokens that ends at n. */
static void file_of(const int32_t *t, uint32_t n, const char *ending, char *path, size_t size) {
    struct block_name name = {{{0}}};
    for (uint32_t first = 0; first < n; first += BLOCK_TOKENS)
        name =
            block_name_of(name, rig_tag(1), t + first, n - first < BLOCK_TOKENS ? n - first : BLOCK_TOKENS);
    char tag[HASH128_HEX_SIZE], hex[HASH128_HEX_SIZE];
    hash128_hex(rig_tag(1), tag);
    hash128_hex(name.h, hex);
    snprintf(path, size, "%s/blocks/%s/%.2s/%s.%s", rig_dir, tag, hex, hex, ending);
}

static void flip(const char *path, off_t at, uint8_t mask) {
    uint8_t byte;
    int fd = open(path, O_RDWR);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
    byte ^= mask;
    ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static uint64_t corrupt(struct store *s) {
    struct store_counters n;
    store_counters_get(s, &n);
    return n.corrupt;
}

static void say(struct store *s, const int32_t *t, uint32_t n, uint32_t window) {
    struct rig_chain c = {.tag = rig_tag(1), .agent = "ann", .tokens = t, .n = n, .window = window};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), t, n + 1, window), n);
}

static void every_byte(const char *ending, uint32_t window) {
    struct store *s = rig_open();
    char path[512];
    struct stat st;
    say(s, tokens, 270, window);
    file_of(tokens, 270, ending, path, sizeof path);
    ck_assert_int_eq(stat(path, &st), 0);
    for (off_t at = 0; at < st.st_size; at += at < 230 ? 1 : 97) {
        uint64_t before = corrupt(s);
        flip(path, at, (uint8_t)(1 << at % 8));
        uint32_t left = window && strcmp(ending, "win") == 0 ? 0 : window ? 0 : 256;
        ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 271, window), left);
        ck_assert_uint_eq(corrupt(s), before + 1);
        ck_assert_int_ne(access(path, F_OK), 0); /* it is in quarantine */
        say(s, tokens, 270, window);
    }
    ck_assert_uint_le(rig_files(rig_dir, ending), 64 + 4);
    store_free(s);
}

START_TEST(any_damaged_byte_of_a_base_file_is_a_miss) {
    every_byte("kv", 0);
}
END_TEST

START_TEST(any_damaged_byte_of_a_window_file_is_a_miss) {
    every_byte("win", 50);
}
END_TEST

START_TEST(a_file_of_any_other_length_is_a_miss) {
    struct store *s = rig_open();
    char path[512];
    struct stat st;
    say(s, tokens, 270, 0);
    file_of(tokens, 270, "kv", path, sizeof path);
    ck_assert_int_eq(stat(path, &st), 0);
    off_t lengths[] = {0, 1, 7, 8, 15, 16, 100, 200, st.st_size - 1, st.st_size + 1, st.st_size + 5000};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        uint64_t before = corrupt(s);
        ck_assert_int_eq(truncate(path, lengths[i]), 0);
        ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 271, 0), 256);
        ck_assert_uint_eq(corrupt(s), before + 1);
        say(s, tokens, 270, 0);
    }
    ck_assert_int_eq(truncate(path, 0), 0); /* the right length, all zero */
    ck_assert_int_eq(truncate(path, st.st_size), 0);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 271, 0), 256);
    store_free(s);
}
END_TEST

static int64_t refused(struct store *s, const char *why) {
    struct buf out = BUF(0);
    struct json_error e;
    ck_assert_int_eq(store_cache_json(s, &out), ERR_OK);
    struct json *v = json_read(out.data, out.size, &e);
    int64_t n = json_int(json_get(json_get(v, "refused"), why), -1);
    json_free(v);
    buf_free(&out);
    return n;
}

START_TEST(each_reason_is_counted) {
    struct store *s = rig_open();
    char a[512], b[512], swap[512];
    say(s, tokens, 300, 0);
    say(s, other, 300, 0);
    file_of(tokens, 300, "kv", a, sizeof a);
    file_of(other, 300, "kv", b, sizeof b);
    snprintf(swap, sizeof swap, "%s/swap", rig_dir);
    ck_assert_int_eq(rename(a, swap) | rename(b, a) | rename(swap, b),
                     0); /* two whole files under each other's names */
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 301, 0), 256);
    ck_assert_int_eq(refused(s, "mismatch"), 1);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), other, 301, 0), 256);
    ck_assert_int_eq(refused(s, "mismatch"), 2);
    say(s, tokens, 300, 0);
    flip(a, 8, 2); /* format version 3 */
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 301, 0), 256);
    ck_assert_int_eq(refused(s, "version"), 1);
    say(s, tokens, 300, 0);
    unlink(a);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 301, 0), 256);
    ck_assert_int_eq(refused(s, "missing"), 1);
    say(s, tokens, 300, 0);
    unlink(a);
    ck_assert_int_eq(mkdir(a, 0700), 0); /* something else stands there */
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 301, 0), 256);
    ck_assert_int_eq(refused(s, "unreadable"), 1);
    rmdir(a);
    ck_assert_int_eq(refused(s, "corrupt"), 0);
    store_free(s);
}
END_TEST

START_TEST(a_damaged_block_in_the_middle_cuts_the_chain_until_it_is_back) {
    struct store *s = rig_open();
    char path[512];
    say(s, tokens, 1100, 0);
    file_of(tokens, 512, "kv", path, sizeof path);
    flip(path, 2000, 1);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 1101, 0), 256);
    struct store_chain chains[CHAINS_PER_AGENT_MAX];
    uint32_t n = 9;
    ck_assert_int_eq(store_agent_chains(s, rig_tag(1), "ann", chains, &n), ERR_OK);
    ck_assert_uint_eq(n, 0);
    struct rig_chain c = {.tag = rig_tag(1), .agent = "ann", .tokens = tokens, .n = 1100};
    ck_assert_int_eq(rig_put(s, &c), ERR_OK);
    ck_assert_uint_lt(c.written, 2 * 4400); /* only the missing one was written */
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 1101, 0), 1100);
    ck_assert_int_eq(store_agent_chains(s, rig_tag(1), "ann", chains, &n), ERR_OK);
    ck_assert_uint_eq(n, 1);
    store_chains_free(chains, n);
    store_free(s);
}
END_TEST

START_TEST(damage_while_the_server_was_down_is_found) {
    struct store *s = rig_open();
    char path[512], db[512];
    say(s, tokens, 1100, 300);
    store_free(s);
    file_of(tokens, 1100, "kv", path, sizeof path);
    flip(path, 50, 1);
    file_of(tokens, 1024, "win", path, sizeof path);
    flip(path, 50, 1);
    snprintf(db, sizeof db, "%s/index.db", rig_dir);
    ck_assert_int_eq(unlink(db), 0); /* so that the scan reads the headers */
    s = rig_open();
    ck_assert_uint_eq(corrupt(s), 2);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 1101, 0), 1024);
    ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 1101, 300), 0);
    say(s, tokens, 1100, 300);
    store_free(s);
}
END_TEST

START_TEST(the_quarantine_is_bounded) {
    struct store *s = rig_open();
    char path[512];
    file_of(tokens, 270, "kv", path, sizeof path);
    for (int i = 0; i < 100; i++) {
        say(s, tokens, 270, 0);
        flip(path, 100, 1);
        ck_assert_uint_eq(rig_cached(s, rig_tag(1), tokens, 271, 0), 256);
    }
    snprintf(path, sizeof path, "%s/quarantine", rig_dir);
    ck_assert_uint_eq(rig_files(path, ".kv"), 64);
    store_free(s);
    s = rig_open();
    ck_assert_uint_eq(rig_files(path, ".kv"), 64);
    store_set_limits(s, MB, MB);
    ck_assert_uint_le(rig_tree_bytes(path), MB / 8 + DISK_UNIT_BYTES);
    store_free(s);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {any_damaged_byte_of_a_base_file_is_a_miss,
                                  any_damaged_byte_of_a_window_file_is_a_miss,
                                  a_file_of_any_other_length_is_a_miss,
                                  each_reason_is_counted,
                                  a_damaged_block_in_the_middle_cuts_the_chain_until_it_is_back,
                                  damage_while_the_server_was_down_is_found,
                                  the_quarantine_is_bounded};
    return rig_run("store_damage", tests, ARRAY_LEN(tests), set_up, tear_down);
}
