/* store_index.h - the store's database: SQLite in WAL mode, one file. It holds what may be lost or rebuilt from the block
 * files (recency, block rows, agents' names) and what is merely remembered (pins, files' hashes, self-tests, the day's
 * writes). The only file with sqlite3.h. Writes happen between begin and commit; a failed one is rolled back whole.
 * Thread: the disk thread. Blocks on the disk. */
#ifndef HOTSEAT_STORE_STORE_INDEX_H
#define HOTSEAT_STORE_STORE_INDEX_H

#include "base/limits.h"
#include "store/store.h"

#define STORE_INDEX_SCHEMA 3 /* PRAGMA user_version */

struct store_index;

struct index_model {
    struct hash128 tag;
    const char *model;
    bool pinned, self_test;
    uint32_t token_cost;
};
struct index_block {
    struct hash128 tag, name, parent;
    uint32_t first_pos, n_tokens, window_from;
    uint8_t flags, uses;
    uint64_t base_bytes, window_bytes;
    int64_t last_used, window_used;
    uint64_t owner;
    const int32_t *tokens; /* tails: n_tokens of them; else NULL */
};
struct index_chain {
    struct hash128 leaf;
    uint32_t n_tokens;
    int64_t last_used;
};
struct index_agent {
    struct hash128 tag;
    const char *agent;
    bool pinned;
    int64_t last_used;
    uint32_t n_chains;
    struct index_chain chains[CHAINS_PER_AGENT_MAX];
};

/* ERR_CORRUPT, ERR_VERSION: the file can't be used and is better moved aside; ERR_IO, ERR_DISK_FULL, ERR_NOMEM.
 * wal_pages: with so many (of 4 KB) the write-ahead log is folded in. */
enum err store_index_open(const char *path, uint32_t wal_pages, struct store_index **ret, char *why,
                          size_t why_size) NODISCARD;
void store_index_free(struct store_index *ix); /* NULL is fine */

/* Models, then blocks (parents before children), then agents; pointers in them die with the call. A callback's error ends the reading and is returned. A row that
 * breaks a bound is ERR_CORRUPT. */
struct index_reader {
    void *ctx;
    enum err (*model)(void *ctx, const struct index_model *m);
    enum err (*block)(void *ctx, const struct index_block *b);
    enum err (*agent)(void *ctx, const struct index_agent *a);
};
enum err store_index_read(struct store_index *ix, const struct index_reader *reader) NODISCARD;

enum err store_index_begin(struct store_index *ix) NODISCARD;
enum err store_index_commit(struct store_index *ix) NODISCARD; /* not OK: rolled back */
void store_index_rollback(struct store_index *ix);
enum err store_index_put_model(struct store_index *ix, const struct index_model *m) NODISCARD;
enum err store_index_put_block(struct store_index *ix, const struct index_block *b) NODISCARD;
enum err store_index_delete_block(struct store_index *ix, struct hash128 tag, struct hash128 name) NODISCARD;
enum err store_index_put_agent(struct store_index *ix, const struct index_agent *a) NODISCARD;
enum err store_index_delete_agent(struct store_index *ix, struct hash128 tag, const char *agent) NODISCARD;
enum err store_index_put_number(struct store_index *ix, const char *key, uint64_t value) NODISCARD;
enum err store_index_get_number(struct store_index *ix, const char *key,
                                uint64_t *ret) NODISCARD; /* 0 when it has none */
enum err store_index_put_file(struct store_index *ix, const struct file_identity *id, const char *path,
                              struct hash128 hash) NODISCARD;
enum err store_index_get_file(struct store_index *ix, const struct file_identity *id,
                              struct hash128 *ret) NODISCARD; /* ERR_NOT_FOUND */
/* What was committed survives a loss of power when it returns OK; a commit alone survives the process. */
enum err store_index_sync(struct store_index *ix) NODISCARD;
enum err store_index_shrink(struct store_index *ix); /* gives unused pages and the log back to the system */

#endif
