/* store_rig.h - what the tests of the store share: a folder of their own, chains made from a seed, part bytes that are a
 * function of what they belong to, so that any wrong byte shows. */
#ifndef HOTSEAT_TESTS_STORE_RIG_H
#define HOTSEAT_TESTS_STORE_RIG_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "check_run.h"
#include "store/disk_ops.h"
#include "store/store_format.h"

#define MB (UINT64_C(1) << 20)
#define RIG_BASE_BYTES 3000
#define RIG_WINDOW_BYTES 5000

static char rig_dir[256];
static uint64_t rig_generation = 1; /* a test that opens beside an open store counts it up */

static UNUSED const char *rig_dir_new(void) {
    /* Most of a test's time would be fsync: memory has none. */
    const char *tmp = getenv("TMPDIR"), *fast = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(rig_dir, sizeof rig_dir, "%s/hotseat-store-XXXXXX", tmp && tmp[0] ? tmp : fast);
    ck_assert_ptr_nonnull(mkdtemp(rig_dir));
    log_open(LOG_ERROR, "test");
    return rig_dir;
}

static UNUSED void rig_remove_tree(const char *path) {
    DIR *d = opendir(path);
    if (!d) {
        unlink(path);
        return;
    }
    for (struct dirent *e; (e = readdir(d));) {
        char child[4096];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        snprintf(child, sizeof child, "%s/%s", path, e->d_name);
        struct stat st;
        if (lstat(child, &st) == 0 && S_ISDIR(st.st_mode))
            rig_remove_tree(child);
        else
            unlink(child);
    }
    closedir(d);
    rmdir(path);
}

/* Every file below path: fn(path). */
static UNUSED void rig_each_file(const char *path,
                                 void (*fn)(void *ctx, const char *file, const struct stat *st), void *ctx) {
    struct stat st;
    if (lstat(path, &st) != 0) return;
    fn(ctx, path, &st);
    DIR *d = S_ISDIR(st.st_mode) ? opendir(path) : NULL;
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        char child[4096];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        snprintf(child, sizeof child, "%s/%s", path, e->d_name);
        rig_each_file(child, fn, ctx);
    }
    closedir(d);
}

static UNUSED void rig_add_bytes(void *ctx, const char *file UNUSED, const struct stat *st) {
    uint64_t *sum = ctx;
    *sum += S_ISDIR(st->st_mode) ? DISK_UNIT_BYTES : disk_bytes_of((uint64_t)st->st_size);
}

/* What the folder takes, counted from outside. */
static UNUSED uint64_t rig_tree_bytes(const char *path) {
    uint64_t sum = 0;
    rig_each_file(path, rig_add_bytes, &sum);
    return sum;
}

struct rig_count {
    const char *ending;
    unsigned n;
    uint64_t bytes; /* lengths */
    char last[4096];
};
static UNUSED void rig_count_file(void *ctx, const char *file, const struct stat *st) {
    struct rig_count *c = ctx;
    size_t n = strlen(file), m = strlen(c->ending);
    if (!S_ISREG(st->st_mode) || n < m || strcmp(file + n - m, c->ending) != 0) return;
    c->n++;
    c->bytes += (uint64_t)st->st_size;
    snprintf(c->last, sizeof c->last, "%s", file);
}
static UNUSED unsigned rig_files(const char *path, const char *ending) {
    struct rig_count c = {.ending = ending};
    rig_each_file(path, rig_count_file, &c);
    return c.n;
}

static UNUSED uint64_t rig_file_bytes(const char *path, const char *ending) {
    struct rig_count c = {.ending = ending};
    rig_each_file(path, rig_count_file, &c);
    return c.bytes;
}

static UNUSED struct store *rig_open_with(uint64_t budget_bytes, const struct disk_ops *disk) {
    struct store_config c = {.dir = rig_dir,
                             .budget_bytes = budget_bytes,
                             .write_per_day_bytes = 1000 * MB,
                             .generation = rig_generation,
                             .disk = disk};
    struct store *s = NULL;
    char why[256];
    enum err err = store_open(&c, &s, why, sizeof why);
    ck_assert_msg(err == ERR_OK, "%s: %s", err_name(err), why);
    return s;
}
static UNUSED struct store *rig_open(void) {
    return rig_open_with(64 * MB, NULL);
}

static UNUSED struct hash128 rig_tag(uint8_t which) {
    return hash128(&which, 1);
}

/* Tokens of conversation `seed`: two seeds differ from token `shared` on. */
static UNUSED void rig_tokens(int32_t *to, uint32_t n, uint32_t seed, uint32_t shared) {
    for (uint32_t i = 0; i < n; i++) to[i] = (int32_t)((i < shared ? 7 : seed * 1000003u) + i * 31u) & 0xffff;
}

static UNUSED void rig_part(uint8_t *to, size_t size, struct hash128 name, int part) {
    uint32_t x = (uint32_t)name.b[0] << 24 | (uint32_t)name.b[1] << 16 | (uint32_t)name.b[2] << 8 |
                 (uint32_t)(name.b[3] ^ part);
    for (size_t i = 0; i < size; i++) {
        x = x * 1664525u + 1013904223u;
        to[i] = (uint8_t)(x >> 24);
    }
}

/* A window part says from where on it is, and is the shorter the less far back it reaches. Returns its length. */
static UNUSED size_t rig_window(uint8_t *to, struct hash128 name, uint32_t first_pos, uint32_t window_from) {
    rig_part(to, RIG_WINDOW_BYTES, name, STORE_PART_WINDOW);
    memcpy(to, &window_from, sizeof window_from);
    return RIG_WINDOW_BYTES - (window_from - first_pos);
}

/* A chain of tokens as a conversation saves it. */
struct rig_chain {
    struct hash128 tag;
    const char *model, *agent;
    const int32_t *tokens;
    uint32_t n;
    uint32_t window; /* window parts of the last blocks, as a restore point at n needs them; 0: none */
    bool branch, leaving;
    uint32_t n_prompt; /* of the note, as the next */
    bool interrupted, pinned_model;
    struct block_name leaf; /* set by the put */
    uint64_t written;       /* added up by the put */
};

/* Puts all of it; stops at the first error. */
static UNUSED enum err rig_put(struct store *s, struct rig_chain *c) {
    static uint8_t base[RIG_BASE_BYTES], window[RIG_WINDOW_BYTES];
    struct block_name parent = {{{0}}};
    for (uint32_t first = 0; first < c->n; first += BLOCK_TOKENS) {
        uint32_t n = c->n - first < BLOCK_TOKENS ? c->n - first : BLOCK_TOKENS;
        uint32_t lowest = c->window && c->n >= c->window ? c->n - c->window + 1 : 0;
        struct block_name name = block_name_of(parent, c->tag, c->tokens + first, n);
        rig_part(base, sizeof base, name.h, STORE_PART_BASE);
        struct store_block b = {.parent = parent,
                                .tag = c->tag,
                                .model = c->model ? c->model : "m",
                                .agent = c->agent ? c->agent : "",
                                .tokens = c->tokens + first,
                                .n_tokens = n,
                                .first_pos = first,
                                .base = base,
                                .base_size = sizeof base,
                                .leaving = c->leaving,
                                .branch = c->branch && n < BLOCK_TOKENS};
        if (c->window && first + n > lowest) {
            b.window = window;
            b.window_from = lowest > first ? lowest : first;
            b.window_size = rig_window(window, name.h, first, b.window_from);
        }
        uint64_t written = 0;
        enum err err = store_put(s, &b, &written);
        c->written += written;
        if (err) return err;
        parent = name;
    }
    c->leaf = parent;
    return ERR_OK;
}

static UNUSED enum err rig_note(struct store *s, const struct rig_chain *c) {
    struct store_note note = {.tag = c->tag,
                              .model = c->model ? c->model : "m",
                              .agent = c->agent ? c->agent : "",
                              .leaf = c->leaf,
                              .n_tokens = c->n,
                              .n_prompt = c->n_prompt,
                              .interrupted = c->interrupted,
                              .pinned_model = c->pinned_model};
    return store_agent_note(s, &note);
}

static UNUSED enum err rig_say(struct store *s, struct rig_chain *c) {
    enum err err = rig_put(s, c);
    return err ? err : rig_note(s, c);
}

/* Reads a whole plan and compares every byte. The first error. */
/* A turn of agent that ends after n of these tokens. */
static UNUSED struct rig_chain rig_turn(struct store *s, const char *agent, const int32_t *tokens,
                                        uint32_t n) {
    struct rig_chain c = {.tag = rig_tag(1), .agent = agent, .tokens = tokens, .n = n};
    ck_assert_int_eq(rig_say(s, &c), ERR_OK);
    return c;
}

static UNUSED uint32_t rig_chains(struct store *s, const char *agent) {
    struct store_chain chains[CHAINS_PER_AGENT_MAX];
    uint32_t n = 0;
    ck_assert_int_eq(store_agent_chains(s, rig_tag(1), agent, chains, &n), ERR_OK);
    store_chains_free(chains, n);
    return n;
}

static UNUSED enum err rig_get(struct store *s, struct hash128 tag, const int32_t *tokens,
                               const struct store_plan *p) {
    static uint8_t want[RIG_BASE_BYTES + RIG_WINDOW_BYTES];
    for (uint32_t i = 0; i < p->n_blocks; i++) {
        struct buf base = BUF(0), window = BUF(0);
        const char *reason = "";
        const struct store_plan_block *b = &p->blocks[i];
        enum err err = store_get(s, tag, b, tokens + b->first_pos, &base, &window, &reason);
        ck_assert_ptr_nonnull(reason);
        if (!err) {
            ck_assert_uint_eq(base.size, RIG_BASE_BYTES);
            rig_part(want, RIG_BASE_BYTES, b->name.h, STORE_PART_BASE);
            ck_assert_mem_eq(base.data, want, RIG_BASE_BYTES);
            uint32_t from = b->first_pos;
            if (b->needs_window) {
                ck_assert_uint_gt(window.size, sizeof from);
                memcpy(&from, window.data, sizeof from);
                ck_assert(from >= b->first_pos && from <= b->first_pos + b->n_tokens);
            }
            size_t window_size = rig_window(want, b->name.h, b->first_pos, from);
            ck_assert_uint_eq(window.size, b->needs_window ? window_size : 0);
            if (b->needs_window) ck_assert_mem_eq(window.data, want, window_size);
        } else {
            ck_assert_uint_eq(base.size + window.size, 0);
        }
        buf_free(&base);
        buf_free(&window);
        if (err) return err;
    }
    return ERR_OK;
}

/* Tokens that a plan finds and that read back right; a bad file on the way makes it plan again, as the seat does. */
static UNUSED uint32_t rig_cached(struct store *s, struct hash128 tag, const int32_t *tokens, uint32_t n,
                                  uint32_t window) {
    for (;;) {
        struct store_plan p;
        if (store_plan(s, tag, tokens, n, window, &p) != ERR_OK) return 0;
        uint32_t end = 0;
        for (uint32_t i = 0; i < p.n_blocks; i++) {
            ck_assert_uint_eq(p.blocks[i].first_pos, end);
            end += p.blocks[i].n_tokens;
        }
        ck_assert_uint_eq(end, p.n_tokens);
        ck_assert(p.n_tokens < n || p.n_tokens == 0);
        enum err err = rig_get(s, tag, tokens, &p);
        uint32_t got = p.n_tokens;
        store_plan_free(&p);
        if (!err) return got;
        if (err == ERR_NOMEM) return 0;
    }
}

/* CHECK_RUN with a fixture around each test. */
static UNUSED int rig_run(const char *name, const TTest *const *tests, size_t n, void (*set_up)(void),
                          void (*tear_down)(void)) {
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, CHECK_RUN_TIMEOUT_S);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    for (size_t i = 0; i < n; i++) tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
