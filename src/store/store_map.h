/* store_map.h - what is on disk, in memory: models, their blocks as trees, who used what last. No I/O, no SQL.
 * A model's root stands for the empty chain; a block hangs under its parent, or, while that is not there, among the orphans
 * (unreachable until the parent comes back). For eviction two kinds of lists are kept, a model's own for each class of value
 * (store_value.h), each oldest first:
 *   leaves   blocks without children: the only ones that may go, so a chain never gets a hole
 *   windows  blocks with a window part, by the window's own last use
 * A node lives from store_map_insert() to store_map_remove(). Thread: the disk thread. */
#ifndef HOTSEAT_STORE_STORE_MAP_H
#define HOTSEAT_STORE_STORE_MAP_H

#include "base/limits.h"
#include "base/list.h"
#include "store/store.h"
#include "store/store_value.h"

struct store_model;

/* What a note finds a tail to be (store_agents); in memory only. */
enum store_tail {
    STORE_TAIL_KNOWN,    /* where a turn ended, or its prompt; or it was there at the start */
    STORE_TAIL_NEW,      /* stored, no note has seen it */
    STORE_TAIL_IN_PROMPT /* where a turn was interrupted while its prompt was read */
};

struct store_node {
    struct hash128 name, parent_name;
    struct store_model *model;
    struct store_node *parent; /* NULL: an orphan, or the root itself */
    struct list tails, fulls;  /* children */
    struct list_node sibling;  /* in the parent's tails or fulls, or the map's orphans */
    struct store_node *hash_next;
    struct list_node leaf, window, dirty;
    struct list chains; /* agents' chains that end here (store_agents) */
    uint32_t first_pos, n_tokens, window_from;
    uint64_t base_bytes, window_bytes; /* of the files, header included; 0: no such file */
    int64_t last_used, window_used;    /* wall seconds, for people and for the classes of age */
    /* A part that could not be read is left alone until then (monotonic), and may be written again; 0: nothing is amiss. */
    int64_t base_retry_ns, window_retry_ns;
    uint64_t seq, window_seq; /* the true order */
    uint64_t kept_at, mark;   /* the round in which it was found kept, or visited */
    uint64_t owner;           /* hash64 of the agent that stored it first, 0 for nobody */
    int32_t *tokens;          /* tails: owned */
    uint8_t flags;
    enum store_tail tail;
    uint8_t uses;                     /* turns that ended here or below: store_map_use(); 0: none yet */
    uint8_t leaf_class, window_class; /* of the lists it is in */
    bool row_stale;                   /* the database's row lacks more than the last use */
    bool seen_base, seen_window;      /* by the scan */
};

struct store_model {
    struct list_node node; /* in the map's models */
    struct hash128 tag;
    char *id; /* owned */
    bool pinned, self_test, row_stale;
    uint32_t token_cost;      /* of a token's prefill, in the seat's unit; 0: not known */
    uint64_t n_blocks, bytes; /* bytes as the budget counts */
    uint64_t n_windows;       /* blocks with a window part */
    struct list leaves[STORE_CLASSES], windows[STORE_CLASSES];
    uint64_t folders[4]; /* bit i: the folder of names that begin with byte i is there */
    bool has_folder;
    uint32_t folder_blocks[256]; /* how many blocks live there */
    struct store_node root;
};

#define STORE_ORPHAN_LISTS 1024

struct store_map {
    struct list models, dirty;
    struct list orphans[STORE_ORPHAN_LISTS]; /* by their parent's name: a scan finds blocks in any order */
    struct store_node **buckets;
    size_t n_buckets, n_nodes;
    uint64_t seq;   /* last one given */
    uint64_t bytes; /* of all nodes' files, as the budget counts */
};

enum err store_map_init(struct store_map *m) NODISCARD; /* ERR_NOMEM */
void store_map_free(struct store_map *m);               /* chains must be gone */

struct store_model *store_map_model_find(const struct store_map *m, struct hash128 tag);
/* Finds or makes; id "" keeps the one that is known. NULL: no memory. */
struct store_model *store_map_model(struct store_map *m, struct hash128 tag, const char *id) NODISCARD;

struct store_node *store_map_find(const struct store_map *m, struct hash128 tag, struct hash128 name);
/* A node of its model, filled but for its places; it becomes the newest. Its orphaned children find it. */
void store_map_insert(struct store_map *m, struct store_node *n);
/* Puts all in the order that last_used and window_used say, one for leaves and windows together; ERR_NOMEM. */
enum err store_map_sort(struct store_map *m) NODISCARD;
void store_map_remove(struct store_map *m, struct store_node *n); /* frees it; children become orphans */
struct store_node *store_node_new(struct store_model *model, const int32_t *tail_tokens,
                                  uint32_t n_tokens) NODISCARD;
void store_node_free(struct store_node *n); /* one that was not inserted */
void store_map_set_files(struct store_map *m, struct store_node *n, uint64_t base_bytes,
                         uint64_t window_bytes);

/* What goes next by store_value_score(); *ret_window: its window part alone. Pinned models and what has kept_at == round are
 * passed over. NULL: nothing may go. Looks at the oldest of each class that is not kept: it takes the
 * same time for any number of blocks, and longer only for many that are kept. */
struct store_node *store_map_victim(const struct store_map *m, uint64_t round, bool *ret_window);
/* A turn has ended at leaf: each block of its chain was used once more, and is touched. A block that is new and the only one
 * that goes on from its parent takes over the parent's uses: it is more of the same conversation. */
void store_map_use(struct store_map *m, struct store_node *leaf, int64_t now_s);
void store_map_touch(struct store_map *m, struct store_node *n, int64_t now_s);
void store_map_touch_window(struct store_map *m, struct store_node *n, int64_t now_s);
void store_map_dirty(struct store_map *m, struct store_node *n, bool row_stale);

bool store_node_is_root(const struct store_node *n);
bool store_node_is_tail(const struct store_node *n);
uint32_t store_node_end(const struct store_node *n);   /* first position after it */
bool store_node_reachable(const struct store_node *n); /* every block from the root to it is there */
uint64_t store_node_disk_bytes(const struct store_node *n);

#endif
