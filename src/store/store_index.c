#include "store/store_index.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/must.h"

#define APPLICATION_ID 0x68737469 /* "hsti" */
#define BUSY_MS 2000              /* an old seat may still be closing its end */
#define PAGE_BYTES 4096
#define FILES_MAX 4096 /* remembered file hashes; the oldest go */

/* Q(NAME, sql): every statement, prepared once. */
#define QUERY_TABLE(Q)                                                                                       \
    Q(BEGIN, "BEGIN IMMEDIATE")                                                                              \
    Q(COMMIT, "COMMIT")                                                                                      \
    Q(ROLLBACK, "ROLLBACK")                                                                                  \
    Q(READ_MODELS, "SELECT tag, model, pinned, self_test, token_cost FROM models")                           \
    Q(READ_BLOCKS,                                                                                           \
      "SELECT tag, name, parent, first_pos, n_tokens, window_from, flags, base_bytes, window_bytes,"         \
      " last_used, window_used, owner, tokens, uses FROM blocks ORDER BY first_pos")                         \
    Q(READ_AGENTS, "SELECT tag, agent, pinned, last_used, chains FROM agents ORDER BY last_used")            \
    Q(PUT_MODEL, "INSERT OR REPLACE INTO models VALUES (?1, ?2, ?3, ?4, ?5)")                                \
    Q(PUT_BLOCK,                                                                                             \
      "INSERT OR REPLACE INTO blocks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)")  \
    Q(DELETE_BLOCK, "DELETE FROM blocks WHERE tag = ?1 AND name = ?2")                                       \
    Q(PUT_AGENT, "INSERT OR REPLACE INTO agents VALUES (?1, ?2, ?3, ?4, ?5)")                                \
    Q(DELETE_AGENT, "DELETE FROM agents WHERE tag = ?1 AND agent = ?2")                                      \
    Q(PUT_NUMBER, "INSERT OR REPLACE INTO numbers VALUES (?1, ?2)")                                          \
    Q(GET_NUMBER, "SELECT value FROM numbers WHERE key = ?1")                                                \
    Q(PUT_FILE, "INSERT OR REPLACE INTO files VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")                          \
    Q(TRIM_FILES, "DELETE FROM files WHERE rowid <= (SELECT max(rowid) FROM files) - ?1")                    \
    Q(GET_FILE, "SELECT hash FROM files WHERE device = ?1 AND inode = ?2 AND size = ?3 AND mtime_ns = ?4"    \
                " AND ctime_ns = ?5")                                                                        \
    Q(VACUUM, "PRAGMA incremental_vacuum(256)")

enum query {
#define QUERY_ENUM_ROW(name, sql) Q_##name,
    QUERY_TABLE(QUERY_ENUM_ROW)
#undef QUERY_ENUM_ROW
        Q_COUNT
};
static const char *const query_sql[] = {
#define QUERY_SQL_ROW(name, sql) [Q_##name] = (sql),
    QUERY_TABLE(QUERY_SQL_ROW)
#undef QUERY_SQL_ROW
};

static const char schema[] =
    "CREATE TABLE models (tag BLOB PRIMARY KEY, model TEXT, pinned INT, self_test INT, token_cost INT) "
    "WITHOUT ROWID;"
    "CREATE TABLE blocks (tag BLOB, name BLOB, parent BLOB, first_pos INT, n_tokens INT, window_from INT, "
    "flags INT,"
    " base_bytes INT, window_bytes INT, last_used INT, window_used INT, owner INT, tokens BLOB, uses INT,"
    " PRIMARY KEY (tag, name)) WITHOUT ROWID;"
    "CREATE TABLE agents (tag BLOB, agent TEXT, pinned INT, last_used INT, chains BLOB,"
    " PRIMARY KEY (tag, agent)) WITHOUT ROWID;"
    "CREATE TABLE numbers (key TEXT PRIMARY KEY, value INT) WITHOUT ROWID;"
    "CREATE TABLE files (device INT, inode INT, size INT, mtime_ns INT, ctime_ns INT, path TEXT, hash BLOB,"
    " UNIQUE (device, inode, size, mtime_ns, ctime_ns));";

struct store_index {
    sqlite3 *db;
    sqlite3_stmt *stmts[Q_COUNT];
    bool in_transaction;
};

static enum err err_of(int rc) {
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return ERR_OK;
    case SQLITE_NOMEM: return ERR_NOMEM;
    case SQLITE_FULL: return ERR_DISK_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT: return ERR_CORRUPT;
    default: return ERR_IO;
    }
}

/* ---- opening ---- */

static enum err exec(struct store_index *ix, const char *sql) {
    return err_of(sqlite3_exec(ix->db, sql, NULL, NULL, NULL));
}

static enum err ask_number(struct store_index *ix, const char *sql, int64_t *ret) {
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(ix->db, sql, -1, &st, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) *ret = sqlite3_column_int64(st, 0);
    enum err err = rc == SQLITE_DONE ? ERR_CORRUPT : err_of(rc);
    sqlite3_finalize(st);
    return err;
}

static enum err ask_sound(struct store_index *ix) {
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(ix->db, "PRAGMA quick_check(1)", -1, &st, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_step(st);
    enum err err = err_of(rc);
    if (rc == SQLITE_ROW) {
        const unsigned char *text = sqlite3_column_text(st, 0);
        err = text && strcmp((const char *)text, "ok") == 0 ? ERR_OK : ERR_CORRUPT;
    }
    sqlite3_finalize(st);
    return err;
}

/* SQLite would make its files by the umask: the file is there before it, and the log takes over its mode. */
static enum err make_file(const char *path, bool *ret_fresh) {
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return errno == EISDIR || errno == ELOOP ? ERR_CORRUPT : err_from_errno(errno);
    struct stat st;
    enum err err = ERR_OK;
    if (fstat(fd, &st) != 0)
        err = err_from_errno(errno);
    else if (!S_ISREG(st.st_mode))
        err = ERR_CORRUPT;
    else if ((st.st_mode & 077) != 0 && fchmod(fd, 0600) != 0)
        err = err_from_errno(errno);
    else
        *ret_fresh = st.st_size == 0;
    close(fd);
    return err;
}

static enum err make_schema(struct store_index *ix) {
    char sql[sizeof schema + 256];
    snprintf(sql, sizeof sql,
             "BEGIN IMMEDIATE; %s PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", schema,
             APPLICATION_ID, STORE_INDEX_SCHEMA);
    return exec(ix, sql);
}

static enum err check_schema(struct store_index *ix) {
    int64_t version = 0, application = 0, tables = 0;
    enum err err = ask_number(ix, "PRAGMA user_version", &version);
    if (!err) err = ask_number(ix, "PRAGMA application_id", &application);
    if (!err) err = ask_number(ix, "SELECT count(*) FROM sqlite_schema", &tables);
    if (err) return err;
    if (version == 0 && application == 0 && tables == 0) return make_schema(ix);
    if (application != APPLICATION_ID || version != STORE_INDEX_SCHEMA) return ERR_VERSION;
    return ask_sound(ix);
}

static enum err prepare_all(struct store_index *ix) {
    for (int q = 0; q < Q_COUNT; q++) {
        int rc = sqlite3_prepare_v3(ix->db, query_sql[q], -1, SQLITE_PREPARE_PERSISTENT, &ix->stmts[q], NULL);
        /* A table or column that our own schema has is not there. */
        if (rc != SQLITE_OK) return (rc & 0xff) == SQLITE_ERROR ? ERR_CORRUPT : err_of(rc);
    }
    return ERR_OK;
}

static enum err set_up(struct store_index *ix, bool fresh, uint32_t wal_pages) {
    sqlite3_busy_timeout(ix->db, BUSY_MS);
    sqlite3_extended_result_codes(ix->db, 1);
    char sql[160];
    snprintf(sql, sizeof sql, "PRAGMA wal_autocheckpoint = %u; PRAGMA journal_size_limit = %u", wal_pages,
             wal_pages * PAGE_BYTES);
    enum err err = fresh ? exec(ix, "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL") : ERR_OK;
    if (!err)
        err = exec(ix, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA trusted_schema = OFF");
    if (!err) err = exec(ix, sql);
    if (!err) err = check_schema(ix);
    if (!err) err = prepare_all(ix);
    return err;
}

enum err store_index_open(const char *path, uint32_t wal_pages, struct store_index **ret, char *why,
                          size_t why_size) {
    *ret = NULL;
    bool fresh = false;
    enum err err = make_file(path, &fresh);
    if (err) {
        snprintf(why, why_size, "%s: %s", path, err_text(err));
        return err;
    }
    struct store_index *ix = mem_alloc(sizeof *ix);
    if (!ix) return ERR_NOMEM;
    /* Not SQLITE_OPEN_NOFOLLOW, which refuses a link anywhere in the path; make_file() has seen that the file is none. */
    int rc = sqlite3_open_v2(path, &ix->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    err = err_of(rc);
    if (!err) err = set_up(ix, fresh, wal_pages);
    if (err) {
        snprintf(why, why_size, "%s: %s (%s)", path, err_text(err),
                 ix->db ? sqlite3_errmsg(ix->db) : "not opened");
        store_index_free(ix);
        return err;
    }
    *ret = ix;
    return ERR_OK;
}

void store_index_free(struct store_index *ix) {
    if (!ix) return;
    for (int q = 0; q < Q_COUNT; q++) sqlite3_finalize(ix->stmts[q]);
    /* The close removes the log by its path; when the file has been moved, that path is somebody else's. */
    int moved = 0, keep = 1;
    if (ix->db && sqlite3_file_control(ix->db, NULL, SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved)
        (void)sqlite3_file_control(ix->db, NULL, SQLITE_FCNTL_PERSIST_WAL, &keep);
    sqlite3_close(ix->db);
    mem_free(ix);
}

/* ---- statements ---- */

static void bind_hash(sqlite3_stmt *st, int at, const struct hash128 *h) {
    sqlite3_bind_blob(st, at, h->b, 16, SQLITE_STATIC);
}

/* Runs a statement that gives no rows and makes it ready for the next time. */
static enum err run(sqlite3_stmt *st) {
    int rc = sqlite3_step(st);
    while (rc == SQLITE_ROW) rc = sqlite3_step(st);
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return err_of(rc);
}

enum err store_index_begin(struct store_index *ix) {
    must(!ix->in_transaction);
    enum err err = run(ix->stmts[Q_BEGIN]);
    ix->in_transaction = err == ERR_OK;
    return err;
}

enum err store_index_commit(struct store_index *ix) {
    must(ix->in_transaction);
    enum err err = run(ix->stmts[Q_COMMIT]);
    if (err) store_index_rollback(ix);
    ix->in_transaction = false;
    return err;
}

void store_index_rollback(struct store_index *ix) {
    if (!ix->in_transaction) return;
    /* Some failures have rolled back already; then this one says so, and that is as good. */
    if (!sqlite3_get_autocommit(ix->db)) (void)run(ix->stmts[Q_ROLLBACK]);
    ix->in_transaction = false;
}

enum err store_index_put_model(struct store_index *ix, const struct index_model *m) {
    sqlite3_stmt *st = ix->stmts[Q_PUT_MODEL];
    bind_hash(st, 1, &m->tag);
    sqlite3_bind_text(st, 2, m->model, -1, SQLITE_STATIC);
    sqlite3_bind_int(st, 3, m->pinned);
    sqlite3_bind_int(st, 4, m->self_test);
    sqlite3_bind_int64(st, 5, m->token_cost);
    return run(st);
}

enum err store_index_put_block(struct store_index *ix, const struct index_block *b) {
    sqlite3_stmt *st = ix->stmts[Q_PUT_BLOCK];
    bind_hash(st, 1, &b->tag);
    bind_hash(st, 2, &b->name);
    bind_hash(st, 3, &b->parent);
    sqlite3_bind_int64(st, 4, b->first_pos);
    sqlite3_bind_int64(st, 5, b->n_tokens);
    sqlite3_bind_int64(st, 6, b->window_from);
    sqlite3_bind_int64(st, 7, b->flags);
    sqlite3_bind_int64(st, 8, (int64_t)b->base_bytes);
    sqlite3_bind_int64(st, 9, (int64_t)b->window_bytes);
    sqlite3_bind_int64(st, 10, b->last_used);
    sqlite3_bind_int64(st, 11, b->window_used);
    sqlite3_bind_int64(st, 12, (int64_t)b->owner);
    if (b->tokens) sqlite3_bind_blob(st, 13, b->tokens, (int)(4 * b->n_tokens), SQLITE_STATIC);
    sqlite3_bind_int(st, 14, b->uses);
    return run(st);
}

enum err store_index_delete_block(struct store_index *ix, struct hash128 tag, struct hash128 name) {
    sqlite3_stmt *st = ix->stmts[Q_DELETE_BLOCK];
    bind_hash(st, 1, &tag);
    bind_hash(st, 2, &name);
    return run(st);
}

#define CHAIN_BYTES 28 /* leaf 16, n_tokens 4, last_used 8 */

enum err store_index_put_agent(struct store_index *ix, const struct index_agent *a) {
    must(a->n_chains <= CHAINS_PER_AGENT_MAX);
    uint8_t chains[CHAINS_PER_AGENT_MAX * CHAIN_BYTES];
    for (uint32_t i = 0; i < a->n_chains; i++) {
        uint8_t *to = chains + (size_t)i * CHAIN_BYTES;
        memcpy(to, a->chains[i].leaf.b, 16);
        for (int k = 0; k < 4; k++) to[16 + k] = (uint8_t)(a->chains[i].n_tokens >> (8 * k));
        for (int k = 0; k < 8; k++) to[20 + k] = (uint8_t)((uint64_t)a->chains[i].last_used >> (8 * k));
    }
    sqlite3_stmt *st = ix->stmts[Q_PUT_AGENT];
    bind_hash(st, 1, &a->tag);
    sqlite3_bind_text(st, 2, a->agent, -1, SQLITE_STATIC);
    sqlite3_bind_int(st, 3, a->pinned);
    sqlite3_bind_int64(st, 4, a->last_used);
    sqlite3_bind_blob(st, 5, chains, (int)(a->n_chains * CHAIN_BYTES), SQLITE_STATIC);
    return run(st);
}

enum err store_index_delete_agent(struct store_index *ix, struct hash128 tag, const char *agent) {
    sqlite3_stmt *st = ix->stmts[Q_DELETE_AGENT];
    bind_hash(st, 1, &tag);
    sqlite3_bind_text(st, 2, agent, -1, SQLITE_STATIC);
    return run(st);
}

enum err store_index_put_number(struct store_index *ix, const char *key, uint64_t value) {
    sqlite3_stmt *st = ix->stmts[Q_PUT_NUMBER];
    sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 2, (int64_t)value);
    return run(st);
}

enum err store_index_get_number(struct store_index *ix, const char *key, uint64_t *ret) {
    sqlite3_stmt *st = ix->stmts[Q_GET_NUMBER];
    sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    int rc = sqlite3_step(st);
    *ret = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return err_of(rc);
}

static void bind_identity(sqlite3_stmt *st, const struct file_identity *id) {
    sqlite3_bind_int64(st, 1, (int64_t)id->device);
    sqlite3_bind_int64(st, 2, (int64_t)id->inode);
    sqlite3_bind_int64(st, 3, (int64_t)id->size_bytes);
    sqlite3_bind_int64(st, 4, id->mtime_ns);
    sqlite3_bind_int64(st, 5, id->ctime_ns);
}

enum err store_index_put_file(struct store_index *ix, const struct file_identity *id, const char *path,
                              struct hash128 hash) {
    sqlite3_stmt *st = ix->stmts[Q_PUT_FILE];
    bind_identity(st, id);
    sqlite3_bind_text(st, 6, path, -1, SQLITE_STATIC);
    bind_hash(st, 7, &hash);
    enum err err = run(st);
    if (err) return err;
    sqlite3_bind_int(ix->stmts[Q_TRIM_FILES], 1, FILES_MAX);
    return run(ix->stmts[Q_TRIM_FILES]);
}

static bool column_hash(sqlite3_stmt *st, int at, struct hash128 *ret) {
    const void *p = sqlite3_column_blob(st, at);
    if (!p || sqlite3_column_bytes(st, at) != 16) return false;
    memcpy(ret->b, p, 16);
    return true;
}

enum err store_index_get_file(struct store_index *ix, const struct file_identity *id, struct hash128 *ret) {
    sqlite3_stmt *st = ix->stmts[Q_GET_FILE];
    bind_identity(st, id);
    int rc = sqlite3_step(st);
    enum err err = rc == SQLITE_DONE ? ERR_NOT_FOUND : err_of(rc);
    if (!err && !column_hash(st, 0, ret)) err = ERR_CORRUPT;
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return err;
}

enum err store_index_sync(struct store_index *ix) {
    /* Folding the log in syncs it first. */
    return err_of(sqlite3_wal_checkpoint_v2(ix->db, NULL, SQLITE_CHECKPOINT_FULL, NULL, NULL));
}

enum err store_index_shrink(struct store_index *ix) {
    enum err err = run(ix->stmts[Q_VACUUM]);
    int rc = sqlite3_wal_checkpoint_v2(ix->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    /* Somebody else reads: the next one folds it in. */
    if ((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED) rc = SQLITE_OK;
    return err ? err : err_of(rc);
}

/* ---- reading all ---- */

static bool in_range(int64_t v, int64_t low, int64_t high) {
    return v >= low && v <= high;
}

static enum err read_model(sqlite3_stmt *st, const struct index_reader *reader) {
    struct index_model m = {.model = (const char *)sqlite3_column_text(st, 1),
                            .pinned = sqlite3_column_int(st, 2) != 0,
                            .self_test = sqlite3_column_int(st, 3) != 0};
    int64_t token_cost = sqlite3_column_int64(st, 4);
    if (!column_hash(st, 0, &m.tag) || !m.model || strlen(m.model) > MODEL_ID_BYTES_MAX) return ERR_CORRUPT;
    if (!in_range(token_cost, 0, UINT32_MAX)) return ERR_CORRUPT;
    m.token_cost = (uint32_t)token_cost;
    return reader->model(reader->ctx, &m);
}

static enum err read_block(sqlite3_stmt *st, const struct index_reader *reader) {
    struct index_block b = {.last_used = sqlite3_column_int64(st, 9),
                            .window_used = sqlite3_column_int64(st, 10),
                            .owner = (uint64_t)sqlite3_column_int64(st, 11)};
    int64_t first_pos = sqlite3_column_int64(st, 3), n_tokens = sqlite3_column_int64(st, 4);
    int64_t window_from = sqlite3_column_int64(st, 5), flags = sqlite3_column_int64(st, 6);
    int64_t base = sqlite3_column_int64(st, 7), window = sqlite3_column_int64(st, 8);
    int64_t uses = sqlite3_column_int64(st, 13);
    if (!column_hash(st, 0, &b.tag) || !column_hash(st, 1, &b.name) || !column_hash(st, 2, &b.parent))
        return ERR_CORRUPT;
    if (!in_range(first_pos, 0, INT32_MAX - BLOCK_TOKENS) || first_pos % BLOCK_TOKENS != 0)
        return ERR_CORRUPT;
    if (!in_range(n_tokens, 1, BLOCK_TOKENS) || !in_range(flags, 0, UINT8_MAX) ||
        !in_range(uses, 0, UINT8_MAX))
        return ERR_CORRUPT;
    if (!in_range(base, 1, INT64_MAX / 4) || !in_range(window, 0, INT64_MAX / 4)) return ERR_CORRUPT;
    if (window > 0 && !in_range(window_from, first_pos, first_pos + n_tokens)) return ERR_CORRUPT;
    if (n_tokens < BLOCK_TOKENS) {
        b.tokens = sqlite3_column_blob(st, 12);
        if (!b.tokens || sqlite3_column_bytes(st, 12) != 4 * (int)n_tokens) return ERR_CORRUPT;
    }
    b.first_pos = (uint32_t)first_pos;
    b.n_tokens = (uint32_t)n_tokens;
    b.window_from = (uint32_t)(window > 0 ? window_from : 0);
    b.flags = (uint8_t)flags;
    b.uses = (uint8_t)uses;
    b.base_bytes = (uint64_t)base;
    b.window_bytes = (uint64_t)window;
    return reader->block(reader->ctx, &b);
}

static enum err read_agent(sqlite3_stmt *st, const struct index_reader *reader) {
    struct index_agent a = {.agent = (const char *)sqlite3_column_text(st, 1),
                            .pinned = sqlite3_column_int(st, 2) != 0,
                            .last_used = sqlite3_column_int64(st, 3)};
    const uint8_t *chains = sqlite3_column_blob(st, 4);
    int size = sqlite3_column_bytes(st, 4);
    if (!column_hash(st, 0, &a.tag) || !a.agent || strlen(a.agent) > AGENT_ID_BYTES_MAX || !a.agent[0])
        return ERR_CORRUPT;
    if (size % CHAIN_BYTES != 0 || size > CHAINS_PER_AGENT_MAX * CHAIN_BYTES) return ERR_CORRUPT;
    a.n_chains = (uint32_t)(size / CHAIN_BYTES);
    struct cursor c = cursor_over(chains, (size_t)size);
    for (uint32_t i = 0; i < a.n_chains; i++) {
        const uint8_t *leaf = cursor_bytes(&c, 16);
        memcpy(a.chains[i].leaf.b, leaf, 16);
        a.chains[i].n_tokens = cursor_u32(&c);
        a.chains[i].last_used = (int64_t)cursor_u64(&c);
    }
    return reader->agent(reader->ctx, &a);
}

typedef enum err (*row_fn)(sqlite3_stmt *st, const struct index_reader *reader);

static enum err read_rows(struct store_index *ix, enum query q, row_fn fn,
                          const struct index_reader *reader) {
    sqlite3_stmt *st = ix->stmts[q];
    enum err err = ERR_OK;
    int rc = SQLITE_OK;
    while (!err && (rc = sqlite3_step(st)) == SQLITE_ROW) err = fn(st, reader);
    sqlite3_reset(st);
    return err ? err : err_of(rc);
}

enum err store_index_read(struct store_index *ix, const struct index_reader *reader) {
    enum err err = read_rows(ix, Q_READ_MODELS, read_model, reader);
    if (!err) err = read_rows(ix, Q_READ_BLOCKS, read_block, reader);
    if (!err) err = read_rows(ix, Q_READ_AGENTS, read_agent, reader);
    return err;
}
