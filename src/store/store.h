/* store.h - blocks of KV on disk, found by name; agents' names for chains of them. The one reader and writer of the cache folder.
 * A block is BLOCK_TOKENS tokens of one model (a tail: fewer) and is immutable. Its name is
 * XXH3-128(parent's name, tag, its tokens), so equal beginnings share files. A name is an index, never a proof: tag,
 * parent and tokens in the file are compared on every hit.
 * Base part and window part are two files (<name>.kv, <name>.win): the window part is big and the first to go.
 *   folder 0700:  LOCK  index.db  blocks/<2 hex of tag...>/...  quarantine/      files 0600     byte by byte: docs/store-format.md
 * Writing: temporary file, fsync, rename, fsync of the folder. Nothing here is needed to serve: every failure is a
 * miss with a reason and a counter. Thread: the disk thread only (the front only takes the lock). Blocks on the disk. */
#ifndef HOTSEAT_STORE_STORE_H
#define HOTSEAT_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/json.h"
#include "model/model_tag.h"

#define STORE_FORMAT_VERSION 1u  /* of the block files; part of every model's tag */
#define STORE_DIR_BYTES_MAX 3800 /* with what we append a path stays below PATH_MAX */

struct store;
struct disk_ops; /* store/disk_ops.h: every disk call, so that tests can fail, slow or record them */

struct store_config {
    const char *dir;
    uint64_t budget_bytes; /* enforced before every write: database, tails and temporary files included */
    uint64_t write_per_day_bytes; /* past it only what leaves memory is stored (store_put's leaving) */
    /* Refused (ERR_LOCKED) when the folder has seen a higher one from the same holder of the lock. */
    uint64_t generation;
    uint64_t
        holder; /* what store_lock() said: a folder that another holder has locked since is refused. 0: not asked */
    const struct disk_ops *disk; /* NULL: the real one */
    uint64_t device; /* 0, or store_device() of before: on no other disk is a missing folder made */
    bool scan_later; /* the folder is looked through by store_scan_step(), not by the opening */
};

enum err store_open(const struct store_config *c, struct store **ret, char *why, size_t why_size) NODISCARD;
void store_free(struct store *s);
/* With scan_later: what the database knew is found at once; what only files tell of comes step by step (a step: at least one
 * of a model's 256 folders, then more until slice_ns have gone). Until it is over nothing is put, noted or evicted (ERR_IO: try again), and deletions and pins finish it first.
 * ERR_NOMEM, ERR_IO: again later; ERR_LOCKED: never. */
bool store_is_scanning(const struct store *s);
enum err store_scan_step(struct store *s, int64_t slice_ns) NODISCARD;
/* The folder that was opened is not there any more, or another one is in its place (a disk was taken away, the folder was removed).
 * Nothing is stored or found now and nothing is forgotten: free it and open it again, which makes the folder anew. */
bool store_is_lost(const struct store *s);
uint64_t store_device(const struct store *s); /* st_dev of its folder; 0: not known */
void store_set_limits(struct store *s, uint64_t budget_bytes, uint64_t write_per_day_bytes);

struct block_name {
    struct hash128 h; /* zero: the root, parent of a chain's first block */
};
struct block_name block_name_of(struct block_name parent, struct hash128 tag, const int32_t *tokens,
                                uint32_t n);

/* ---- writing ---- */
struct store_block {
    struct block_name parent;
    struct hash128 tag;
    const char *model; /* for people and statistics: the id it was seated under */
    const char *agent; /* "" nobody; kept in a tail's header, so that names survive the database */
    const int32_t *tokens;
    uint32_t n_tokens; /* 1..BLOCK_TOKENS; fewer than BLOCK_TOKENS is a tail */
    uint32_t first_pos;
    const uint8_t *base; /* NULL: only the window part is written */
    size_t base_size;
    const uint8_t *window; /* NULL: only the base part is written */
    size_t window_size;
    /* Lowest position in the window part. The engine holds each position in as many bytes: a part that reaches further back is longer, by
     * which a row is known to be older than its file. */
    uint32_t window_from;
    bool leaving; /* this is the last chance: write past write_per_day too */
    /* A tail where other conversations begin (the end of a system prompt): longer chains do not make it superfluous. */
    bool branch;
};
/* OK: *ret_written_bytes is 0 when all of it was there already (nothing is touched on disk). ERR_DISK_FULL, ERR_IO,
 * ERR_LIMIT (budget or day's writes; not stored), ERR_NOT_FOUND (its parent, or for a lone window part its base part, is
 * not stored: put the chain again from its beginning), ERR_INVALID (sizes, positions), ERR_LOCKED (a newer seat has
 * opened the store). Written anew only: a window part that reaches further back than the stored one, and what could not
 * be read. */
enum err store_put(struct store *s, const struct store_block *b, uint64_t *ret_written_bytes) NODISCARD;
/* A turn is over, and this agent's conversation ends at leaf now. */
struct store_note {
    struct hash128 tag;
    const char *model, *agent;
    struct block_name leaf;
    uint32_t n_tokens; /* of all of it */
    uint32_t n_prompt; /* the turn's whole prompt: who asks again starts before its end. 0: not known */
    bool interrupted;  /* the turn did not come to its end: what was stored before it may be wanted as well */
    bool pinned_model;
};
/* Replaces the chain it grew from, else takes a place among the agent's CHAINS_PER_AGENT_MAX (oldest goes). Of this agent's tails
 * inside the chain those that end within the answer are deleted, unless a chain ends there or they branch; of those before it the
 * nearest stays (the prompt's end, for a retry), and of an interrupted turn the nearest TAILS_BEFORE_INTERRUPTED (where it
 * was interrupted before while its prompt was read is not counted, and goes).
 * agent "" has no chains; its tails are cleaned up alike. Durable when it returns OK, but for a loss of power.
 * ERR_NOT_FOUND (leaf is not stored), ERR_INVALID, ERR_NOMEM, ERR_IO, ERR_DISK_FULL (noted in memory only). */
enum err store_agent_note(struct store *s, const struct store_note *note) NODISCARD;

/* ---- finding ---- */
/* The agent's conversations, newest first: tokens from the blocks' own headers (bounded: CHAINS_PER_AGENT_MAX). */
struct store_chain {
    int32_t *tokens;
    uint32_t n_tokens;
};
enum err store_agent_chains(struct store *s, struct hash128 tag, const char *agent, struct store_chain *ret,
                            uint32_t *ret_n) NODISCARD;
/* The agent's newest conversation with the model of this id (its tag need not be known yet) is asked of the disk, from its end, at most
 * STORE_READ_AHEAD_BYTES: it will be restored soon. Nobody of that name: nothing. */
#define STORE_READ_AHEAD_BYTES (UINT64_C(256) << 20)
void store_read_ahead(struct store *s, const char *model, const char *agent);
void store_chains_free(struct store_chain *chains, uint32_t n);

/* The longest stored beginning of tokens from which the model can go on: full blocks, then a tail if one fits; with
 * window > 0 only up to a position whose last `window` positions are in stored window parts. */
struct store_plan {
    uint32_t n_tokens; /* what can be restored; 0: a miss */
    uint32_t
        n_known; /* in stored full blocks, whether their window parts are there or not: here prompts branch */
    uint32_t n_blocks;
    struct store_plan_block {
        struct block_name name;
        uint32_t first_pos, n_tokens;
        bool needs_window;
        uint64_t part_bytes; /* of what is read, as far as the index knows */
    } * blocks;              /* owned */
    const char *reason;      /* static: "hit", "no block", "no window part", "scanning" (a miss, for now) */
};
enum err store_plan(struct store *s, struct hash128 tag, const int32_t *tokens, uint32_t n, uint32_t window,
                    struct store_plan *ret) NODISCARD;
void store_plan_free(struct store_plan *p);

/* Reads and verifies (checksums, tag, parent, tokens) one block of a plan; the parts are appended: the window part
 * only if b->needs_window and window is not NULL. tokens: the block's own, b->n_tokens of them (the plan's tokens +
 * b->first_pos). A bad file is moved to quarantine/, one that can't be read is left alone for a while: ERR_CORRUPT, ERR_VERSION,
 * ERR_MISMATCH (also: its window reaches less far than the database said), ERR_NOT_FOUND, ERR_IO, ERR_NOMEM; counted, *ret_reason static. On error nothing is appended; plan again, or go on cold. */
enum err store_get(struct store *s, struct hash128 tag, const struct store_plan_block *b,
                   const int32_t *tokens, struct buf *base, struct buf *window,
                   const char **ret_reason) NODISCARD;

/* ---- what models' files hash to ---- */
bool store_file_hash_get(struct store *s, const struct file_identity *id, struct hash128 *ret);
void store_file_hash_put(struct store *s, const struct file_identity *id, const char *path,
                         struct hash128 hash);
bool store_self_test_get(struct store *s, struct hash128 tag); /* passed once under this tag */
/* Blocks of a model of this id that were made with other weights, another KV type, another engine: under other tags. While
 * it is scanning: as the database has them, and those seen so far. */
uint64_t store_other_blocks(const struct store *s, struct hash128 tag, const char *model);
void store_self_test_put(struct store *s, struct hash128 tag);
/* What a token's prefill costs with this model, in a unit that is the same for all of them (the seat says millions of
 * parameters): what the budget keeps of each goes by it. 0: not known, nothing changes. */
void store_set_token_cost(struct store *s, struct hash128 tag, uint32_t cost);

/* Writes what the database lacks: block rows, recency, the day's writes. For when the disk thread is idle; recency
 * alone waits up to 5 minutes, so that an idle store writes nothing. store_free() does it too. What is lost without it:
 * recency. */
enum err store_flush(struct store *s) NODISCARD;

/* ---- administration: JSON for the admin API; "" model: all ---- */
/* Called inside each agent's object: adds keys (resident, unsaved, ...). False: something of this agent is not on the
 * disk yet, and `saved` says so. */
typedef bool (*store_agent_extra_fn)(void *ctx, struct hash128 tag, const char *agent, struct json_out *w);
enum err store_agents_json_with(struct store *s, const char *model, const char *agent,
                                store_agent_extra_fn extra, void *ctx,
                                struct buf *out) NODISCARD; /* as the next; extra may be NULL */
/* {"agents": [{"id", "model", "tokens" (of the longest chain), "blocks", "bytes" (lengths of its files; shared ones count in each),
 * "last_used" (unix seconds), "saved", "pinned", "chains"}]}. ERR_NOT_FOUND: one was asked for and is not there. */
enum err store_agents_json(struct store *s, const char *model, const char *agent,
                           struct buf *out) NODISCARD; /* agent "": all */
/* Ends its chains and deletes the blocks that no other chain or continuation needs; figures are of files really gone. ERR_NOT_FOUND. */
enum err store_agent_delete(struct store *s, const char *model, const char *agent, uint32_t *ret_agents,
                            uint64_t *ret_files, uint64_t *ret_bytes) NODISCARD;
enum err store_agent_pin(struct store *s, const char *model, const char *agent,
                         bool pin) NODISCARD; /* ERR_NOT_FOUND */
enum err store_cache_json(struct store *s, struct buf *out) NODISCARD;
enum err store_cache_delete(struct store *s, const char *model, uint64_t *ret_files,
                            uint64_t *ret_bytes) NODISCARD;

struct store_counters {
    uint64_t blocks_written, bytes_written, blocks_read, bytes_read, hits, misses, corrupt, write_failures,
        evicted;
    uint64_t disk_bytes, budget_bytes;
};
void store_counters_get(const struct store *s, struct store_counters *ret);

/* The folder (made with its parents when it is not there, 0700) and its lock, held by the front for as long as it lives. ERR_LOCKED: why names
 * the holder's pid. ERR_INVALID: the folder is open to others and holds what is not ours. */
enum err store_lock(const char *dir, int *ret_fd, char *why, size_t why_size) NODISCARD;
/* The lock is still that of the file in the folder: nobody has removed it. */
bool store_lock_is_current(const char *dir, int fd);
/* What store_lock() and a store would find in this folder, without making or changing anything: for `hotseat doctor`. */
struct store_look {
    bool exists;    /* else place is the nearest folder above, where it would be made */
    bool only_ours; /* nothing but the store's own files lies in it, so it is closed to others at the start */
    bool open_to_others; /* some rights of its mode are not the owner's */
    char place[STORE_DIR_BYTES_MAX + 1];
    uint64_t free_bytes, used_bytes; /* of the disk for this user; of the folder's own files */
    int64_t write_ns;                /* for 1 MB, written and flushed */
};
/* ERR_LOCKED and ERR_INVALID as store_lock(); ERR_INVALID also when a file is in the way; ERR_DISK_FULL, ERR_IO ...: it can't
 * be written. */
enum err store_look(const char *dir, struct store_look *ret, char *why, size_t why_size) NODISCARD;
uint64_t store_lock_holder(const char *dir); /* a number for what LOCK says now; 0: there is none */

#endif
