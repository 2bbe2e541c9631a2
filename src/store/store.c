#include "store/store_private.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"

int64_t store_now_s(void) {
    return clock_wall_ns() / NS_PER_S;
}

/* ---- paths ---- */

struct store_path store_path_of(const struct store *s, const char *relative) {
    struct store_path p;
    must(snprintf(p.s, sizeof p.s, "%s/%s", s->dir, relative) < (int)sizeof p.s);
    return p;
}

struct store_path store_path_tag(const struct store *s, struct hash128 tag) {
    char hex[HASH128_HEX_SIZE], relative[64];
    hash128_hex(tag, hex);
    snprintf(relative, sizeof relative, "blocks/%s", hex);
    return store_path_of(s, relative);
}

struct store_path store_path_folder(const struct store *s, struct hash128 tag, uint8_t first_byte) {
    char hex[HASH128_HEX_SIZE], relative[64];
    hash128_hex(tag, hex);
    snprintf(relative, sizeof relative, "blocks/%s/%02x", hex, first_byte);
    return store_path_of(s, relative);
}

struct store_path store_path_part(const struct store *s, const struct store_node *n, enum store_part part) {
    char tag[HASH128_HEX_SIZE], name[HASH128_HEX_SIZE], relative[128];
    hash128_hex(n->model->tag, tag);
    hash128_hex(n->name, name);
    snprintf(relative, sizeof relative, "blocks/%s/%.2s/%s.%s", tag, name, name,
             part == STORE_PART_BASE ? "kv" : "win");
    return store_path_of(s, relative);
}

/* ---- the database ---- */

static uint64_t size_of(struct store *s, const char *relative) {
    struct disk_stat st;
    if (s->disk->stat(s->disk->ctx, store_path_of(s, relative).s, &st) != ERR_OK) return 0;
    return disk_bytes_of(st.size_bytes);
}

void store_look_at_index(struct store *s) {
    s->database_bytes = size_of(s, "index.db");
    s->log_bytes = size_of(s, "index.db-wal") + size_of(s, "index.db-shm");
}

/* Who holds the folder's lock, as a number: a new server's seats count their generations from the start. */
static uint64_t opening_of(uint64_t holder, uint64_t generation) {
    uint64_t both[2] = {holder, generation};
    return hash64(both, sizeof both);
}

bool store_is_fenced(struct store *s) {
    uint64_t opening = 0, holder;
    if (s->fenced) return true;
    if (!s->index || !s->opening) return false; /* not ours yet: store_open() is at it */
    /* Of a folder that was removed under us we still have the database; the new folder's lock is another server's. */
    holder = store_lock_holder(s->dir);
    if ((!holder || holder == s->holder) &&
        (store_index_get_number(s->index, "opening", &opening) != ERR_OK || opening == s->opening))
        return false;
    s->fenced = true;
    log_warn("store.fenced", "generation=%llu", (unsigned long long)s->generation);
    return true;
}

enum err store_database_begin(struct store *s) {
    enum err err = s->disk->database_write(s->disk->ctx);
    if (!err) err = store_index_begin(s->index);
    if (!err && store_is_fenced(s)) {
        store_index_rollback(s->index);
        err = ERR_LOCKED;
    }
    return err;
}

/* Takes the store over, or finds that a later seat of the same server has it. */
static enum err claim(struct store *s) {
    uint64_t holder = store_lock_holder(s->dir), stored_holder = 0, stored_generation = 0;
    uint64_t opening = opening_of(holder, s->generation);
    if (s->lock_holder && holder && holder != s->lock_holder) return ERR_LOCKED; /* another server's by now */
    enum err err = s->disk->database_write(s->disk->ctx);
    if (!err) err = store_index_begin(s->index);
    if (err) return err;
    err = store_index_get_number(s->index, "holder", &stored_holder);
    if (!err) err = store_index_get_number(s->index, "generation", &stored_generation);
    if (!err && stored_holder == holder && stored_generation > s->generation) err = ERR_LOCKED;
    if (!err) err = store_index_put_number(s->index, "holder", holder);
    if (!err) err = store_index_put_number(s->index, "generation", s->generation);
    if (!err) err = store_index_put_number(s->index, "opening", opening);
    if (!err) err = store_index_get_number(s->index, "day_bytes", &s->day_bytes);
    uint64_t day = 0;
    if (!err) err = store_index_get_number(s->index, "day", &day);
    s->day = (int64_t)day;
    if (err)
        store_index_rollback(s->index);
    else
        err = store_index_commit(s->index);
    if (err) return err;
    s->holder = holder;
    s->opening = opening;
    return ERR_OK;
}

void store_row_stale(struct store *s, struct store_node *n) {
    if (!n->row_stale) s->n_rows_stale++;
    store_map_dirty(&s->map, n, true);
}

void store_row_dead(struct store *s, const struct store_node *n) {
    if (s->n_dead_rows == ARRAY_LEN(s->dead_rows)) return;
    s->dead_rows[s->n_dead_rows++] = (struct dead_row){n->model->tag, n->name};
}

/* ---- flushing ---- */

static enum err put_block_row(struct store *s, const struct store_node *n) {
    struct index_block b = {.tag = n->model->tag,
                            .name = n->name,
                            .parent = n->parent_name,
                            .first_pos = n->first_pos,
                            .n_tokens = n->n_tokens,
                            .window_from = n->window_from,
                            .flags = n->flags,
                            .base_bytes = n->base_bytes,
                            .window_bytes = n->window_bytes,
                            .last_used = n->last_used,
                            .window_used = n->window_used,
                            .owner = n->owner,
                            .tokens = n->tokens};
    return store_index_put_block(s->index, &b);
}

/* One transaction of blocks; *ret_n is 0 when there is none left. Rows stay stale until their commit is through. */
static enum err flush_blocks(struct store *s, bool recency, size_t *ret_n) {
    struct store_node *batch[FLUSH_ROWS];
    size_t n = 0;
    LIST_EACH(&s->map.dirty, struct store_node, dirty, it) {
        if (n == ARRAY_LEN(batch)) break;
        if (it->row_stale || recency) batch[n++] = it;
    }
    *ret_n = n;
    if (n == 0) return ERR_OK;
    enum err err = store_database_begin(s);
    if (err) return err;
    for (size_t i = 0; i < n && !err; i++) err = put_block_row(s, batch[i]);
    if (err) {
        store_index_rollback(s->index);
        return err;
    }
    err = store_index_commit(s->index);
    if (err) return err;
    for (size_t i = 0; i < n; i++) {
        if (batch[i]->row_stale) s->n_rows_stale--;
        batch[i]->row_stale = false;
        list_remove(&s->map.dirty, &batch[i]->dirty);
    }
    return ERR_OK;
}

static enum err flush_agents(struct store *s, size_t *ret_n) {
    struct store_agent *batch[FLUSH_ROWS];
    size_t n = 0;
    LIST_EACH(&s->agents_dirty, struct store_agent, dirty, it) {
        if (n == ARRAY_LEN(batch)) break;
        batch[n++] = it;
    }
    *ret_n = n;
    if (n == 0) return ERR_OK;
    enum err err = store_database_begin(s);
    if (err) return err;
    for (size_t i = 0; i < n && !err; i++) {
        struct index_agent row;
        store_agent_row(batch[i], &row);
        err = store_index_put_agent(s->index, &row);
    }
    if (err) {
        store_index_rollback(s->index);
        return err;
    }
    err = store_index_commit(s->index);
    if (err) return err;
    for (size_t i = 0; i < n; i++) list_remove(&s->agents_dirty, &batch[i]->dirty);
    return ERR_OK;
}

static enum err flush_dead_rows(struct store *s) {
    while (s->n_dead_rows > 0) {
        uint32_t n = s->n_dead_rows < FLUSH_ROWS ? s->n_dead_rows : FLUSH_ROWS;
        enum err err = store_database_begin(s);
        if (err) return err;
        for (uint32_t i = 0; i < n && !err; i++) {
            const struct dead_row *row = &s->dead_rows[s->n_dead_rows - 1 - i];
            err = store_index_delete_block(s->index, row->tag, row->name);
        }
        if (err) {
            store_index_rollback(s->index);
            return err;
        }
        err = store_index_commit(s->index);
        if (err) return err;
        s->n_dead_rows -= n;
    }
    return ERR_OK;
}

static enum err flush_rest(struct store *s) {
    bool models = s->models_dirty;
    if (!models && !s->day_dirty) return ERR_OK;
    enum err err = store_database_begin(s);
    if (err) return err;
    err = store_index_put_number(s->index, "day", (uint64_t)s->day);
    if (!err) err = store_index_put_number(s->index, "day_bytes", s->day_bytes);
    LIST_EACH(&s->map.models, struct store_model, node, m) {
        if (err || !m->row_stale) continue;
        struct index_model row = {
            .tag = m->tag, .model = m->id, .pinned = m->pinned, .self_test = m->self_test};
        err = store_index_put_model(s->index, &row);
    }
    if (err) {
        store_index_rollback(s->index);
        return err;
    }
    err = store_index_commit(s->index);
    if (err) return err;
    LIST_EACH(&s->map.models, struct store_model, node, m) m->row_stale = false;
    s->models_dirty = s->day_dirty = false;
    return ERR_OK;
}

enum err store_flush_rows(struct store *s, bool recency) {
    if (s->fenced) return ERR_LOCKED;
    /* Names first: a leaf's row may be missing (the scan finds its file), a row without its leaf steps back to the parent
     * that the block's row still tells of. Dead rows before living ones: a block may have come back. */
    if (recency) store_agents_renewed(s);
    enum err err = ERR_OK;
    size_t n = 1;
    while (!err && n > 0) err = flush_agents(s, &n);
    if (!err) err = flush_dead_rows(s);
    if (!err) err = flush_rest(s);
    n = 1;
    while (!err && n > 0) err = flush_blocks(s, recency, &n);
    if (!err && recency) s->flushed_s = store_now_s();
    if (err && err != ERR_LOCKED) {
        s->counters.write_failures++;
        static struct log_limit limit = LOG_LIMIT(3);
        if (log_limit_pass(&limit)) log_warn("store.flush", "err=%s", err_name(err));
    }
    store_look_at_index(s);
    return err;
}

enum err store_flush(struct store *s) {
    bool recency = store_now_s() - s->flushed_s >= RECENCY_FLUSH_S && s->map.dirty.count > 0;
    bool stale =
        s->n_rows_stale || s->n_dead_rows || s->models_dirty || s->day_dirty || s->agents_dirty.count;
    return recency || stale ? store_flush_rows(s, recency) : ERR_OK;
}

/* ---- opening ---- */

/* Leaves that only a file tells of are not here yet when agents' rows are read: the scan comes between, the rows wait. */
struct loader {
    struct store *s;
    struct index_agent *agents; /* their strings are owned */
    size_t n, room;
};

static enum err load_model(void *ctx, const struct index_model *row) {
    struct loader *l = ctx;
    struct store_model *m = store_map_model(&l->s->map, row->tag, row->model);
    if (!m) return ERR_NOMEM;
    m->pinned = row->pinned;
    m->self_test = row->self_test;
    m->row_stale = false;
    return ERR_OK;
}

static enum err load_block(void *ctx, const struct index_block *row) {
    struct loader *l = ctx;
    struct store_model *m = store_map_model(&l->s->map, row->tag, "");
    struct store_node *n = m ? store_node_new(m, row->tokens, row->n_tokens) : NULL;
    if (!n) return ERR_NOMEM;
    n->name = row->name;
    n->parent_name = row->parent;
    n->first_pos = row->first_pos;
    n->window_from = row->window_from;
    n->flags = row->flags;
    n->base_bytes = row->base_bytes;
    n->window_bytes = row->window_bytes;
    n->last_used = row->last_used;
    n->window_used = row->window_used;
    n->owner = row->owner;
    store_map_insert(&l->s->map, n);
    return ERR_OK;
}

static enum err load_agent(void *ctx, const struct index_agent *row) {
    struct loader *l = ctx;
    if (l->n == l->room) {
        size_t room = l->room ? l->room * 2 : 64;
        struct index_agent *agents = mem_realloc(l->agents, room * sizeof agents[0]);
        if (!agents) return ERR_NOMEM;
        l->agents = agents;
        l->room = room;
    }
    struct index_agent copy = *row;
    copy.agent = mem_strdup(row->agent);
    if (!copy.agent) return ERR_NOMEM;
    l->agents[l->n++] = copy;
    return ERR_OK;
}

static enum err attach_agent(struct store *s, const struct index_agent *row) {
    struct store_model *m = store_map_model_find(&s->map, row->tag);
    struct store_agent *a = NULL;
    for (uint32_t k = 0; m && k < row->n_chains; k++) {
        struct store_node *leaf = store_map_find(&s->map, row->tag, row->chains[k].leaf);
        if (!leaf || store_node_end(leaf) != row->chains[k].n_tokens) continue;
        if (!a) a = store_agent_make(s, m, row->agent);
        if (!a) return ERR_NOMEM;
        enum err err = store_agent_add_chain(s, a, leaf, row->chains[k].last_used);
        if (err) return err;
    }
    if (!a) return ERR_OK;
    a->pinned = row->pinned;
    a->last_used = row->last_used;
    if (a->n_chains == row->n_chains) list_remove(&s->agents_dirty, &a->dirty);
    return ERR_OK;
}

static enum err load(struct store *s) {
    struct loader l = {.s = s};
    struct store_found found = {0};
    struct index_reader reader = {.ctx = &l, .model = load_model, .block = load_block, .agent = load_agent};
    enum err err = store_index_read(s->index, &reader);
    if (!err) err = store_scan(s, &found);
    if (!err) err = store_map_sort(&s->map);
    for (size_t i = 0; i < l.n && !err; i++) err = attach_agent(s, &l.agents[i]);
    if (!err) err = store_scan_drop(s); /* after the agents: their chains step back to what is there */
    if (!err) err = store_found_adopt(s, &found);
    store_found_free(&found);
    for (size_t i = 0; i < l.n; i++) mem_free((void *)(uintptr_t)l.agents[i].agent);
    mem_free(l.agents);
    return err;
}

static uint32_t wal_pages(const struct store *s) {
    return (uint32_t)((s->wal_bytes - WAL_TRANSACTION_BYTES) / DISK_UNIT_BYTES);
}

/* A database that can't be used is kept for whoever wants to look at it, and a new one is filled from the files. */
static void move_database_aside(struct store *s) {
    struct disk_stat st;
    struct store_path path = store_path_of(s, "index.db");
    if (s->disk->stat(s->disk->ctx, path.s, &st) == ERR_OK)
        store_quarantine_file(s, path.s, "index.db", st.size_bytes);
    (void)s->disk->remove(s->disk->ctx, path.s); /* it was too large for the quarantine, or a move failed */
    (void)s->disk->remove(s->disk->ctx, store_path_of(s, "index.db-wal").s);
    (void)s->disk->remove(s->disk->ctx, store_path_of(s, "index.db-shm").s);
}

static void reset_map(struct store *s) {
    store_agents_free(s);
    store_map_free(&s->map);
    s->n_rows_stale = s->n_dead_rows = 0;
    s->folder_bytes = s->stray_bytes = 0;
}

static enum err open_and_load(struct store *s, char *why, size_t why_size) {
    enum err err = s->disk->database_write(s->disk->ctx);
    if (!err) err = store_map_init(&s->map);
    if (!err) err = store_index_open(store_path_of(s, "index.db").s, wal_pages(s), &s->index, why, why_size);
    if (!err) err = claim(s);
    if (!err) err = load(s);
    return err;
}

static bool is_database_bad(enum err err) {
    return err == ERR_CORRUPT || err == ERR_VERSION;
}

static enum err open_all(struct store *s, char *why, size_t why_size) {
    enum err err = store_make_dirs(s->disk, s->dir, why, why_size);
    if (!err) err = store_make_dir(s->disk, store_path_of(s, "blocks").s);
    if (!err) err = store_make_dir(s->disk, store_path_of(s, "quarantine").s);
    if (!err) err = store_scan_quarantine(s);
    if (!err) err = open_and_load(s, why, why_size);
    if (!is_database_bad(err)) return err;
    log_warn("store.rebuild", "err=%s why=%s", err_name(err), log_q(why));
    store_index_free(TAKE(s->index));
    s->opening = 0;
    reset_map(s);
    move_database_aside(s);
    return open_and_load(s, why, why_size);
}

static void store_release(struct store *s) {
    store_index_free(s->index);
    store_agents_free(s);
    store_map_free(&s->map);
    mem_free(s->dir);
    mem_free(s);
}

enum err store_open(const struct store_config *c, struct store **ret, char *why, size_t why_size) {
    *ret = NULL;
    if (why_size) why[0] = '\0';
    if (!c->dir || !c->dir[0] || strlen(c->dir) > STORE_DIR_BYTES_MAX) {
        snprintf(why, why_size, "the cache folder's name is empty or too long");
        return ERR_LIMIT;
    }
    struct store *s = mem_alloc(sizeof *s);
    if (!s) return ERR_NOMEM;
    list_init(&s->agents);
    list_init(&s->agents_dirty);
    s->disk = c->disk ? c->disk : &disk_ops_real;
    s->budget_bytes = c->budget_bytes;
    s->write_per_day_bytes = c->write_per_day_bytes;
    s->generation = c->generation;
    s->lock_holder = c->holder;
    s->wal_bytes = c->budget_bytes / 64;
    if (s->wal_bytes < WAL_BYTES_MIN) s->wal_bytes = WAL_BYTES_MIN;
    if (s->wal_bytes > WAL_BYTES_MAX) s->wal_bytes = WAL_BYTES_MAX;
    s->flushed_s = store_now_s();
    s->dir = mem_strdup(c->dir);
    enum err err = s->dir ? store_check_device(s->dir, c->device, why, why_size) : ERR_NOMEM;
    if (!err) err = open_all(s, why, why_size);
    if (err) {
        if (why_size && !why[0]) snprintf(why, why_size, "%s: %s", c->dir, err_text(err));
        store_release(s);
        return err;
    }
    store_note_place(s);
    store_look_at_index(s);
    enum err room =
        store_make_room(s, 0, NULL); /* a database made anew grows beside the old one and all blocks */
    store_flush_rows(s, false);      /* what the scan found */
    if (room || store_make_room(s, 0, NULL))
        log_warn("store.over_budget", "bytes=%llu", (unsigned long long)store_disk_bytes(s));
    *ret = s;
    return ERR_OK;
}

void store_free(struct store *s) {
    if (!s) return;
    if (store_flush_rows(s, true) == ERR_OK) store_index_shrink(s->index);
    store_release(s);
}

bool store_is_lost(const struct store *s) {
    return s->lost;
}

uint64_t store_device(const struct store *s) {
    return s->blocks_place.device;
}

void store_set_limits(struct store *s, uint64_t budget_bytes, uint64_t write_per_day_bytes) {
    s->budget_bytes = budget_bytes;
    s->write_per_day_bytes = write_per_day_bytes;
    store_quarantine_trim(s, store_quarantine_most(s));
    if (store_make_room(s, 0, NULL))
        log_warn("store.over_budget", "bytes=%llu", (unsigned long long)store_disk_bytes(s));
}

void store_counters_get(const struct store *s, struct store_counters *ret) {
    *ret = s->counters;
    ret->disk_bytes = store_disk_bytes(s);
    ret->budget_bytes = s->budget_bytes;
}

/* ---- remembered ---- */

bool store_file_hash_get(struct store *s, const struct file_identity *id, struct hash128 *ret) {
    return store_index_get_file(s->index, id, ret) == ERR_OK;
}

void store_file_hash_put(struct store *s, const struct file_identity *id, const char *path,
                         struct hash128 hash) {
    enum err err = store_database_begin(s);
    if (err) return; /* it will be read again, that is all */
    err = store_index_put_file(s->index, id, path, hash);
    if (!err) err = store_index_commit(s->index);
    if (err) store_index_rollback(s->index);
}

bool store_self_test_get(struct store *s, struct hash128 tag) {
    const struct store_model *m = store_map_model_find(&s->map, tag);
    return m && m->self_test;
}

void store_self_test_put(struct store *s, struct hash128 tag) {
    struct store_model *m = store_map_model(&s->map, tag, "");
    if (!m) return;
    if (!m->self_test) m->row_stale = s->models_dirty = true;
    m->self_test = true;
    store_flush_rows(s, false);
}
