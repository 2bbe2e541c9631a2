/* Opening: the database's rows and the files of the folder become the map. Rules:
 *   ROWS FIRST   what the database says is served at once: a row whose file is not there is a miss like any other.
 *   SLICES       the folder is looked through one of a model's 256 folders at a time, at once or between other work
 *                (store_scan_step). Meanwhile the store is read only: nothing is put, noted or evicted, and no row is written, for
 *                neither what fits the budget nor what is there already is known.
 *   LEAVES LAST  an agent's row waits until its leaves are there: some may be told of by a file alone. */
#include "store/store_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

struct store_load {
    struct index_agent *agents; /* rows; their strings are owned */
    size_t n, room;
    struct store_scan scan;
};

void store_load_free(struct store *s) {
    struct store_load *l = TAKE(s->load);
    if (!l) return;
    for (size_t i = 0; i < l->n; i++) mem_free((void *)(uintptr_t)l->agents[i].agent);
    mem_free(l->agents);
    store_scan_free(&l->scan);
    mem_free(l);
}

/* ---- rows ---- */

static enum err load_model(void *ctx, const struct index_model *row) {
    struct store *s = ctx;
    struct store_model *m = store_map_model(&s->map, row->tag, row->model);
    if (!m) return ERR_NOMEM;
    m->pinned = row->pinned;
    m->self_test = row->self_test;
    m->token_cost = row->token_cost;
    m->row_stale = false;
    return ERR_OK;
}

static enum err load_block(void *ctx, const struct index_block *row) {
    struct store *s = ctx;
    struct store_model *m = store_map_model(&s->map, row->tag, "");
    struct store_node *n = m ? store_node_new(m, row->tokens, row->n_tokens) : NULL;
    if (!n) return ERR_NOMEM;
    n->name = row->name;
    n->parent_name = row->parent;
    n->first_pos = row->first_pos;
    n->window_from = row->window_from;
    n->flags = row->flags;
    n->uses = row->uses;
    n->base_bytes = row->base_bytes;
    n->window_bytes = row->window_bytes;
    n->last_used = row->last_used;
    n->window_used = row->window_used;
    n->owner = row->owner;
    store_map_insert(&s->map, n);
    return ERR_OK;
}

static enum err load_agent(void *ctx, const struct index_agent *row) {
    struct store *s = ctx;
    struct store_load *l = s->load;
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

static struct store_node *leaf_of(struct store *s, const struct index_agent *row, uint32_t k) {
    struct store_node *leaf = store_map_find(&s->map, row->tag, row->chains[k].leaf);
    return leaf && store_node_end(leaf) == row->chains[k].n_tokens ? leaf : NULL;
}

static bool has_all_leaves(struct store *s, const struct index_agent *row) {
    for (uint32_t k = 0; k < row->n_chains; k++)
        if (!leaf_of(s, row, k)) return false;
    return true;
}

static enum err attach_agent(struct store *s, const struct index_agent *row) {
    struct store_model *m = store_map_model_find(&s->map, row->tag);
    struct store_agent *a = NULL;
    uint32_t n_found = 0;
    for (uint32_t k = 0; m && k < row->n_chains; k++) {
        struct store_node *leaf = leaf_of(s, row, k);
        if (!leaf) continue;
        n_found++;
        if (!a) a = store_agent_make(s, m, row->agent);
        if (!a) return ERR_NOMEM;
        enum err err = store_agent_add_chain(s, a, leaf, row->chains[k].last_used);
        if (err) return err;
    }
    if (!a) return ERR_OK;
    store_agent_set_pinned(s, a, row->pinned);
    a->last_used = row->last_used;
    if (n_found == row->n_chains && list_linked(&a->dirty)) list_remove(&s->agents_dirty, &a->dirty);
    return ERR_OK;
}

/* ---- slices ---- */

enum err store_load_begin(struct store *s) {
    s->load = mem_alloc(sizeof *s->load);
    if (!s->load) return ERR_NOMEM;
    struct index_reader reader = {.ctx = s, .model = load_model, .block = load_block, .agent = load_agent};
    enum err err = store_index_read(s->index, &reader);
    if (!err) err = store_scan_begin(s, &s->load->scan);
    for (size_t i = 0; i < s->load->n && !err; i++) { /* ROWS FIRST, LEAVES LAST */
        if (has_all_leaves(s, &s->load->agents[i])) err = attach_agent(s, &s->load->agents[i]);
    }
    return err;
}

enum err store_load_step(struct store *s, bool *ret_done) {
    return store_scan_next(s, &s->load->scan, ret_done);
}

enum err store_load_end(struct store *s) {
    struct store_load *l = s->load;
    store_look_lost(s);
    if (s->lost) return ERR_IO; /* then that no file is there says nothing */
    enum err err = store_map_sort(&s->map);
    for (size_t i = 0; i < l->n && !err; i++) err = attach_agent(s, &l->agents[i]);
    if (!err) err = store_scan_drop(s); /* after the agents: their chains step back to what is there */
    if (!err) err = store_found_adopt(s, &l->scan.found);
    if (err) return err;
    store_load_free(s);
    LIST_EACH(&s->map.models, struct store_model, node, m) {
        if (m->row_stale) s->models_dirty = true;
        if (m->n_blocks == 0) store_remove_folders(s, m);
    }
    return ERR_OK;
}

enum err store_load_finish(struct store *s) {
    bool done = false;
    enum err err = ERR_OK;
    while (s->load && !done && !err) err = store_load_step(s, &done);
    return s->load && !err ? store_load_end(s) : err;
}

void store_load_settle(struct store *s) {
    enum err room =
        store_make_room(s, 0, NULL); /* a database made anew grows beside the old one and all blocks */
    store_flush_rows(s, false);      /* what the scan found */
    if (room || store_make_room(s, 0, NULL))
        log_warn("store.over_budget", "bytes=%llu", (unsigned long long)store_disk_bytes(s));
}

bool store_is_scanning(const struct store *s) {
    return s->load != NULL;
}

enum err store_scan_step(struct store *s, int64_t slice_ns) {
    bool done = false;
    int64_t began_ns = clock_now_ns();
    if (!s->load) return ERR_OK;
    if (store_is_fenced(s)) return ERR_LOCKED;
    enum err err = store_load_step(s, &done);
    while (!err && !done && clock_now_ns() - began_ns < slice_ns) err = store_load_step(s, &done);
    if (!err && done) err = store_load_end(s);
    if (!err && done) store_load_settle(s);
    return err;
}

enum err store_scan_all(struct store *s) {
    if (!s->load) return ERR_OK;
    if (store_is_fenced(s)) return ERR_LOCKED;
    enum err err = store_load_finish(s);
    if (!err) store_load_settle(s);
    return err;
}
