/* store_private.h - what the files of this room share and nobody else sees: struct store and the verbs between them.
 *   store.c         open, close, flush, limits                store_load.c    the database's rows, and the scan, at open
 *   store_scan.c    what lies in the folder, at open
 *   store_folder.c  whose folder it is, its lock
 *   store_write.c   put, budget, eviction, removal            store_read.c    plan, get, quarantine
 *   store_agents.c  chains of agents                          store_admin.c   figures and orders for the admin
 * Numbered invariants: docs/store-format.md. Thread: the disk thread; no locks. */
#ifndef HOTSEAT_STORE_STORE_PRIVATE_H
#define HOTSEAT_STORE_STORE_PRIVATE_H

#include "store/disk_ops.h"
#include "store/store_format.h"
#include "store/store_index.h"
#include "store/store_map.h"

#define STORE_AGENTS_MAX 65536 /* names; the one that was quiet longest goes. 20 MB of memory */
#define STORE_AGENT_BUCKETS 8192
/* This turn's prompt, where a swap parked it while it was read, the end and the prompt of the turn before. */
#define TAILS_BEFORE_INTERRUPTED 4
#define QUARANTINE_FILES_MAX 64
#define QUARANTINE_BYTES_MAX (64u << 20) /* while that is less than an eighth of the budget; else 1 % of it */
#define RECENCY_FLUSH_S 300              /* how much recency a kill may lose; an idle store writes nothing */
#define FLUSH_ROWS 24              /* rows a transaction: each may touch a page of 4 KB or two in the log */
#define WAL_BYTES_MIN (320u << 10) /* the log's share of the budget, taken off always: 1/64 within these */
#define WAL_BYTES_MAX (4u << 20)
#define WAL_TRANSACTION_BYTES (192u << 10) /* what one transaction may add before the log is folded in */
#define SHM_BYTES (32u << 10)              /* the log's index: made by SQLite */
#define STALE_ROWS_MAX 16                  /* a tight budget has them written before it evicts */
#define ROW_BYTES 1536        /* a row that is not in the database yet: a tail's tokens and half a page */
#define ROW_WRITTEN_BYTES 768 /* what it takes there, on the average of tails and full blocks */
#define READ_RETRY_S 30       /* what could not be read is tried again after it */

#define STORE_SECONDS_A_DAY 86400

struct store_path {
    char s[STORE_DIR_BYTES_MAX + 296];
};

struct agent_chain {
    struct list_node at_leaf; /* in leaf->chains */
    struct store_node *leaf;
    struct store_agent *agent;
    uint32_t n_tokens;
    int64_t last_used;
};

struct store_agent {
    struct list_node node; /* in the store's agents, longest quiet first */
    struct list_node dirty;
    struct store_agent *hash_next;
    struct store_model *model;
    char *id;                /* owned */
    uint64_t hash;           /* of id: what tails' owner says */
    struct list_node pinned; /* in the store's agents_pinned, or in no list */
    bool renewed;            /* the row lacks a last use, or the order of chains */
    int64_t last_used;
    uint32_t n_chains;
    struct agent_chain *chains[CHAINS_PER_AGENT_MAX]; /* oldest first; owned */
};

struct quarantined {
    char name[80];
    uint64_t bytes; /* as the budget counts */
};

/* Rows to delete: a lost one is found by the next scan. */
struct dead_row {
    struct hash128 tag, name;
};

/* Why a file was refused, as counted. */
enum store_refused {
    STORE_REFUSED_CORRUPT,
    STORE_REFUSED_VERSION,
    STORE_REFUSED_MISMATCH,
    STORE_REFUSED_MISSING,
    STORE_REFUSED_UNREADABLE,
    STORE_REFUSED_COUNT
};
const char *store_refused_name(enum store_refused why);
void store_count_refused(struct store *s, enum err err);

struct disk_place { /* which file a path led to */
    uint64_t inode, device;
};

struct store {
    const struct disk_ops *disk;
    struct store_index *index;
    char *dir; /* owned */
    uint64_t budget_bytes, write_per_day_bytes, generation, wal_bytes;
    uint64_t lock_holder; /* of our server: 0 not known */
    uint64_t opening;     /* what the database says as long as nobody opened it after us */
    uint64_t holder;      /* what LOCK says as long as the folder is our server's */
    bool
        fenced; /* a newer generation or another server has the store: nothing is written or deleted any more */
    bool scan_later;
    bool lost; /* the folder is another one than we opened, or none */
    struct disk_place index_place, blocks_place;
    struct store_map map;
    struct store_load *load; /* owned; NULL when all that lies in the folder is known */
    uint64_t round;          /* last number given to a walk, for kept_at and mark */

    struct store_agent *agent_buckets[STORE_AGENT_BUCKETS];
    struct list agents, agents_dirty, agents_pinned;

    struct quarantined quarantine[QUARANTINE_FILES_MAX];
    uint32_t n_quarantined;
    uint64_t quarantine_bytes, quarantine_seq;

    uint64_t folder_bytes;              /* of the folders we made or found */
    uint64_t stray_bytes;               /* files that should be gone and could not be removed */
    uint64_t database_bytes, log_bytes; /* of the database's files, as last looked at */
    uint64_t n_temp;                    /* number in the next temporary file's name */
    int64_t day;                        /* days since 1970, UTC */
    uint64_t day_bytes;
    bool day_dirty, models_dirty;
    uint64_t n_rows_stale;
    int64_t flushed_s;

    struct dead_row dead_rows[1024];
    uint32_t n_dead_rows;
    struct store_counters counters;
    uint64_t refused[STORE_REFUSED_COUNT];
};

int64_t store_now_s(void);

/* ---- paths (store.c) ---- */
struct store_path store_path_of(const struct store *s, const char *relative);
struct store_path store_path_tag(const struct store *s, struct hash128 tag);
struct store_path store_path_folder(const struct store *s, struct hash128 tag, uint8_t first_byte);
struct store_path store_path_part(const struct store *s, const struct store_node *n, enum store_part part);

/* ---- the database (store.c) ---- */
enum err store_database_begin(struct store *s) NODISCARD; /* ERR_LOCKED: a newer seat has the store */
/* Everything stale; recency: last uses as well. What fails stays stale for the next time. */
enum err store_flush_rows(struct store *s, bool recency);
void store_row_stale(struct store *s, struct store_node *n);
void store_row_dead(struct store *s, const struct store_node *n);
void store_look_at_index(struct store *s); /* database_bytes, log_bytes */
/* Asks the lock and the database; a failure counts as no. Asked before every write and every deletion. */
bool store_is_fenced(struct store *s);

/* ---- whose folder (store_folder.c) ---- */
/* A folder that is not there is made and its name made durable in the one above. */
enum err store_make_dir(const struct disk_ops *disk, const char *path) NODISCARD;
/* path and its parents; one that was there is closed to others if it is ours. ERR_INVALID: it is not. why is filled on error. */
enum err store_make_dirs(const struct disk_ops *disk, const char *path, char *why, size_t why_size) NODISCARD;
/* A folder that is not there, of a disk that is not there either: ERR_IO. */
enum err store_check_device(const char *path, uint64_t device, char *why, size_t why_size) NODISCARD;
void store_note_place(struct store *s); /* this is the folder we opened */
void store_look_lost(struct store *s);  /* something was not there: sets lost if it is the whole folder */

/* ---- the folder (store_scan.c) ---- */
/* Tails with an owner that no row told of. By name: until the scan is over one may go again. */
struct store_found {
    struct store_found_tail {
        struct hash128 tag, name;
        struct store_node *leaf; /* store_found_adopt()'s */
        char *agent;             /* owned */
    } * tails;
    size_t n, room;
};
/* Files against rows, one of a model's 256 folders at a time: adopts, forgets, cleans up. */
struct store_scan {
    struct store_found found;
    struct hash128 *tags; /* owned: the models' folders */
    size_t n_tags, room, at;
    bool in_tag;         /* folders and byte are of tags[at] */
    uint64_t folders[4]; /* a bit for each that is there */
    unsigned byte;       /* the next one */
};
enum err store_scan_begin(struct store *s, struct store_scan *scan) NODISCARD;
enum err store_scan_next(struct store *s, struct store_scan *scan,
                         bool *ret_done) NODISCARD; /* ERR_NOMEM: again */
/* Rows whose files the scan has not seen; their chains retreat; ERR_NOMEM */
enum err store_scan_drop(struct store *s) NODISCARD;
/* Names their owners' chains, oldest first. */
enum err store_found_adopt(struct store *s, struct store_found *found) NODISCARD;
void store_scan_free(struct store_scan *scan);
enum err store_scan_quarantine(struct store *s) NODISCARD;
/* Header of one file. ERR_NOT_FOUND, ERR_IO, ERR_CORRUPT, ERR_VERSION. *ret_fd stays open if not NULL. */
enum err store_read_header(struct store *s, const char *path, struct store_header *ret, int *ret_fd,
                           const char **ret_reason) NODISCARD;

/* ---- rows and files become the map (store_load.c) ---- */
/* Until store_load_end() has returned OK nothing is put, noted, flushed or evicted: what is in the folder is not known yet. */
struct store_load;
/* Reads the database, and which models have folders. ERR_CORRUPT: the database can't be used. */
enum err store_load_begin(struct store *s) NODISCARD;
enum err store_load_step(struct store *s, bool *ret_done) NODISCARD; /* ERR_NOMEM: again */
enum err store_load_end(struct store *s) NODISCARD;    /* ERR_NOMEM: again; ERR_IO: the folder has gone */
enum err store_load_finish(struct store *s) NODISCARD; /* all that is left of it */
void store_load_settle(struct store *s); /* after the end: within the budget, and the rows written */
enum err store_scan_all(struct store *s) NODISCARD; /* both, for who must know all: deletions */
void store_load_free(struct store *s);              /* there may be none */

/* ---- blocks (store_write.c) ---- */
uint64_t store_used_bytes(const struct store *s); /* the upper bound that the budget is held against */
uint64_t store_disk_bytes(const struct store *s); /* what is there */
/* Evicts until need more bytes fit; guard's chain stays (NULL: none). ERR_LIMIT: they can't; then nothing was evicted
 * in vain, as far as sums can tell. ERR_IO: files can't be removed. */
enum err store_make_room(struct store *s, uint64_t need, struct store_node *guard) NODISCARD;
/* Removes files, then the node; chains that ended here end at its parent. ERR_IO: as before. */
enum err store_remove_block(struct store *s, struct store_node *n, uint64_t *ret_files, uint64_t *ret_bytes);
void store_forget_block(struct store *s, struct store_node *n); /* the same when the files are gone already */
void store_remove_folders(struct store *s, struct store_model *model); /* of a model without blocks */

/* ---- quarantine (store_read.c) ---- */
void store_quarantine_file(struct store *s, const char *path, const char *name, uint64_t size_bytes);
void store_quarantine_trim(struct store *s, uint64_t most_bytes);
uint64_t store_quarantine_most(const struct store *s); /* bytes it may take */

/* ---- agents (store_agents.c) ---- */
struct store_agent *store_agent_find(const struct store *s, const struct store_model *model, const char *id);
bool store_agent_is_listed(const struct store *s, const struct store_model *model, uint64_t owner);
struct store_agent *store_agent_make(struct store *s, struct store_model *model, const char *id) NODISCARD;
enum err store_agent_remove(struct store *s,
                            struct store_agent *a); /* and its row; an error is only about that */
void store_agents_free(struct store *s);
enum err store_agent_add_chain(struct store *s, struct store_agent *a, struct store_node *leaf,
                               int64_t last_used) NODISCARD;
bool store_agent_is_pinned(const struct store_agent *a);
void store_agent_set_pinned(struct store *s, struct store_agent *a, bool pinned);
/* leaf is going: chains that end there end at its parent now, or are gone. */
void store_agents_retreat(struct store *s, struct store_node *leaf);
/* Names a chain that was found in the folder, unless its agent has it already. */
enum err store_agents_adopt(struct store *s, const char *id, struct store_node *leaf) NODISCARD;
uint64_t store_owner_of(const char *agent); /* 0 for "" */
void store_agents_renewed(struct store *s); /* those whose row lacks a last use are to be written */
/* Row of an agent as the database wants it. */
void store_agent_row(const struct store_agent *a, struct index_agent *ret);

#endif
