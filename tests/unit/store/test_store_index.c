#include "store/store_index.h"

#include <fcntl.h>

#include "store_rig.h"

static char path[512];

static void set_up(void) {
    rig_dir_new();
    snprintf(path, sizeof path, "%s/index.db", rig_dir);
}
static void tear_down(void) {
    rig_remove_tree(rig_dir);
}

static struct store_index *open_index(void) {
    struct store_index *ix = NULL;
    char why[256] = "";
    enum err err = store_index_open(path, 16, &ix, why, sizeof why);
    ck_assert_msg(err == ERR_OK, "%s", why);
    return ix;
}

static struct {
    int models, blocks, agents;
    struct index_block block;
    struct index_agent agent;
    char name[300], model[300];
    uint32_t token_cost;
    int32_t tokens[BLOCK_TOKENS];
    enum err answer;
} got;

static enum err got_model(void *ctx UNUSED, const struct index_model *m) {
    got.models++;
    snprintf(got.model, sizeof got.model, "%s", m->model);
    got.token_cost = m->token_cost;
    return ERR_OK;
}
static enum err got_block(void *ctx UNUSED, const struct index_block *b) {
    got.blocks++;
    got.block = *b;
    if (b->tokens) memcpy(got.tokens, b->tokens, b->n_tokens * sizeof b->tokens[0]);
    return got.answer;
}
static enum err got_agent(void *ctx UNUSED, const struct index_agent *a) {
    got.agents++;
    got.agent = *a;
    snprintf(got.name, sizeof got.name, "%s", a->agent);
    return ERR_OK;
}
static enum err read_all(struct store_index *ix) {
    memset(&got, 0, offsetof(__typeof__(got), answer));
    struct index_reader r = {.model = got_model, .block = got_block, .agent = got_agent};
    return store_index_read(ix, &r);
}

static struct index_block some_block(const int32_t *tokens) {
    return (struct index_block){.tag = rig_tag(1),
                                .name = rig_tag(2),
                                .parent = rig_tag(3),
                                .first_pos = 512,
                                .n_tokens = 9,
                                .window_from = 515,
                                .flags = 1,
                                .uses = 200,
                                .base_bytes = 77,
                                .window_bytes = 88,
                                .last_used = 1700000000,
                                .window_used = -5,
                                .owner = UINT64_MAX,
                                .tokens = tokens};
}

START_TEST(rows_come_back_as_they_went) {
    struct store_index *ix = open_index();
    int32_t tokens[9] = {1, -2, INT32_MAX, INT32_MIN};
    struct index_block b = some_block(tokens), full = b;
    full.n_tokens = 256, full.tokens = NULL, full.name = rig_tag(9);
    struct index_model m = {
        .tag = rig_tag(1), .model = "m\xc3\xa9", .pinned = true, .token_cost = UINT32_MAX};
    struct index_agent a = {
        .tag = rig_tag(1), .agent = "it's; \"me\"", .pinned = true, .last_used = 4, .n_chains = 2};
    a.chains[0] = (struct index_chain){rig_tag(2), 521, 7};
    a.chains[1] = (struct index_chain){rig_tag(9), UINT32_MAX, INT64_MAX};
    ck_assert_int_eq(store_index_begin(ix), ERR_OK);
    ck_assert_int_eq(store_index_put_model(ix, &m), ERR_OK);
    ck_assert_int_eq(store_index_put_block(ix, &full), ERR_OK);
    ck_assert_int_eq(store_index_put_block(ix, &b), ERR_OK);
    ck_assert_int_eq(store_index_delete_block(ix, full.tag, full.name), ERR_OK);
    ck_assert_int_eq(store_index_put_agent(ix, &a), ERR_OK);
    ck_assert_int_eq(store_index_commit(ix), ERR_OK);
    store_index_free(ix);
    ix = open_index();
    ck_assert_int_eq(read_all(ix), ERR_OK);
    ck_assert_int_eq(got.models * 100 + got.blocks * 10 + got.agents, 111);
    ck_assert_mem_eq(got.tokens, tokens, sizeof tokens);
    got.block.tokens = b.tokens;
    ck_assert(hash128_equal(got.block.parent, b.parent) && got.block.owner == b.owner &&
              got.block.window_used == -5);
    ck_assert_uint_eq(got.block.window_from, 515);
    ck_assert_str_eq(got.name, a.agent);
    ck_assert_uint_eq(got.agent.n_chains, 2);
    ck_assert_uint_eq(got.agent.chains[1].n_tokens, UINT32_MAX);
    ck_assert_int_eq(got.agent.chains[1].last_used, INT64_MAX);
    ck_assert(hash128_equal(got.agent.chains[0].leaf, rig_tag(2)));
    ck_assert_str_eq(got.model, m.model);
    ck_assert_uint_eq(got.token_cost, UINT32_MAX);
    ck_assert_uint_eq(got.block.uses, 200);
    got.answer = ERR_NOMEM; /* a reader's error ends it */
    ck_assert_int_eq(read_all(ix), ERR_NOMEM);
    got.answer = ERR_OK;
    ck_assert_int_eq(store_index_begin(ix), ERR_OK);
    ck_assert_int_eq(store_index_delete_agent(ix, a.tag, a.agent), ERR_OK);
    store_index_rollback(ix);
    ck_assert_int_eq(read_all(ix), ERR_OK);
    ck_assert_int_eq(got.models + got.agents, 2);
    store_index_free(ix);
}
END_TEST

START_TEST(numbers_and_files_are_remembered) {
    struct store_index *ix = open_index();
    uint64_t v = 1;
    ck_assert_int_eq(store_index_get_number(ix, "x", &v), ERR_OK);
    ck_assert_uint_eq(v, 0);
    ck_assert_int_eq(store_index_put_number(ix, "x", UINT64_MAX), ERR_OK);
    ck_assert_int_eq(store_index_get_number(ix, "x", &v), ERR_OK);
    ck_assert_uint_eq(v, UINT64_MAX);
    struct file_identity id = {1, 2, 3, 4, 5};
    struct hash128 h;
    ck_assert_int_eq(store_index_get_file(ix, &id, &h), ERR_NOT_FOUND);
    ck_assert_int_eq(store_index_begin(ix), ERR_OK);
    for (uint64_t i = 0; i < 4200; i++) { /* the oldest of too many go */
        id.inode = i;
        ck_assert_int_eq(store_index_put_file(ix, &id, "/p", hash128(&i, sizeof i)), ERR_OK);
    }
    ck_assert_int_eq(store_index_commit(ix), ERR_OK);
    ck_assert_int_eq(store_index_get_file(ix, &id, &h), ERR_OK);
    id.inode = 3;
    ck_assert_int_eq(store_index_get_file(ix, &id, &h), ERR_NOT_FOUND);
    ck_assert_int_eq(store_index_shrink(ix), ERR_OK);
    store_index_free(ix);
}
END_TEST

static enum err try_open(void) {
    struct store_index *ix = NULL;
    char why[256] = "";
    enum err err = store_index_open(path, 16, &ix, why, sizeof why);
    if (err) ck_assert_ptr_null(ix);
    if (err) ck_assert_uint_gt(strlen(why), 0);
    store_index_free(ix);
    return err;
}

static void put_byte(off_t at, const void *bytes, size_t n) {
    int fd = open(path, O_RDWR);
    ck_assert_int_eq(pwrite(fd, bytes, n, at), (ssize_t)n);
    close(fd);
}

START_TEST(what_is_not_ours_says_so) {
    static char text[9000];
    memset(text, 'x', sizeof text);
    store_index_free(open_index());
    put_byte(68, "abcd", 4); /* application_id */
    ck_assert_int_eq(try_open(), ERR_VERSION);
    unlink(path);
    store_index_free(open_index());
    put_byte(60, "\0\0\0\7", 4); /* user_version */
    ck_assert_int_eq(try_open(), ERR_VERSION);
    unlink(path);
    store_index_free(open_index());
    put_byte(4096, text, 4096); /* the page of a table */
    ck_assert_int_eq(try_open(), ERR_CORRUPT);
    unlink(path);
    close(open(path, O_WRONLY | O_CREAT, 0600));
    put_byte(0, text, sizeof text);
    ck_assert_int_eq(try_open(), ERR_CORRUPT);
    unlink(path);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_ne(try_open(), ERR_OK);
}
END_TEST

START_TEST(rows_out_of_bounds_are_corrupt) {
    int32_t tokens[9] = {0};
    struct index_block good = some_block(tokens), rows[] = {good, good, good, good, good, good};
    rows[0].first_pos = 100;
    rows[1].n_tokens = 300;
    rows[2].n_tokens = 8; /* and nine tokens' bytes would be needed for more */
    rows[2].window_from = 600;
    rows[3].base_bytes = 0;
    rows[4].tokens = NULL;
    rows[5].window_from = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unlink(path);
        struct store_index *ix = open_index();
        if (rows[i].n_tokens > 9) rows[i].tokens = NULL;
        ck_assert_int_eq(store_index_put_block(ix, &rows[i]), ERR_OK);
        ck_assert_int_eq(read_all(ix), ERR_CORRUPT);
        store_index_free(ix);
    }
}
END_TEST

int main(void) {
    const TTest *const tests[] = {rows_come_back_as_they_went, numbers_and_files_are_remembered,
                                  what_is_not_ours_says_so, rows_out_of_bounds_are_corrupt};
    return rig_run("store_index", tests, ARRAY_LEN(tests), set_up, tear_down);
}
