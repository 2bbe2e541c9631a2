/* What the admin asks for: lists, figures, deletion, pins. Deletion is by a person's order, so pins do not hold it. Rules:
 *   OWNED     who is deleted loses its chains and what it was first to store and no chain names: of turns that never came to their
 *             end there is nothing else. What others' chains need stays. */
#include "store/store_private.h"

#include <string.h>

static bool model_matches(const struct store_model *m, const char *id) {
    return !id[0] || strcmp(m->id, id) == 0;
}

/* ---- agents ---- */

static void agent_write(struct store *s, const struct store_agent *a, store_agent_extra_fn extra, void *ctx,
                        struct json_out *w) {
    uint64_t round = ++s->round, bytes = 0, blocks = 0;
    uint32_t tokens = 0;
    bool saved = true;
    for (uint32_t i = 0; i < a->n_chains; i++) {
        struct store_node *leaf = a->chains[i]->leaf;
        if (a->chains[i]->n_tokens > tokens) tokens = a->chains[i]->n_tokens;
        if (!store_node_reachable(leaf)) saved = false;
        for (struct store_node *n = leaf; n && !store_node_is_root(n) && n->mark != round; n = n->parent) {
            n->mark = round;
            blocks++;
            bytes += n->base_bytes + n->window_bytes;
        }
    }
    json_obj(w);
    json_key(w, "id"), json_str(w, a->id);
    json_key(w, "model"), json_str(w, a->model->id);
    json_key(w, "tokens"), json_u64(w, tokens);
    json_key(w, "blocks"), json_u64(w, blocks);
    json_key(w, "bytes"), json_u64(w, bytes);
    json_key(w, "last_used"), json_i64(w, a->last_used);
    json_key(w, "pinned"), json_boolean(w, store_agent_is_pinned(a));
    json_key(w, "chains"), json_u64(w, a->n_chains);
    if (extra && !extra(ctx, a->model->tag, a->id, w)) saved = false;
    json_key(w, "saved"), json_boolean(w, saved);
    json_end(w);
}

enum err store_agents_json_with(struct store *s, const char *model, const char *agent,
                                store_agent_extra_fn extra, void *ctx, struct buf *out) {
    struct json_out w = json_out_into(out);
    uint64_t n = 0;
    json_obj(&w);
    json_key(&w, "agents"), json_arr(&w);
    LIST_EACH(&s->agents, struct store_agent, node, a) {
        if (!model_matches(a->model, model) || (agent[0] && strcmp(a->id, agent) != 0)) continue;
        agent_write(s, a, extra, ctx, &w);
        n++;
    }
    json_end(&w);
    json_end(&w);
    if (out->error) return out->error;
    return agent[0] && n == 0 ? ERR_NOT_FOUND : ERR_OK;
}

enum err store_agents_json(struct store *s, const char *model, const char *agent, struct buf *out) {
    return store_agents_json_with(s, model, agent, NULL, NULL, out);
}

enum err store_agent_pin(struct store *s, const char *model, const char *agent, bool pin) {
    uint32_t n = 0;
    enum err err = store_scan_all(s);
    if (err) return err;
    LIST_EACH(&s->agents, struct store_agent, node, a) {
        if (!model_matches(a->model, model) || strcmp(a->id, agent) != 0) continue;
        n++;
        if (store_agent_is_pinned(a) == pin) continue;
        store_agent_set_pinned(s, a, pin);
        if (!list_linked(&a->dirty)) list_push_back(&s->agents_dirty, &a->dirty);
    }
    return n ? store_flush_rows(s, false) : ERR_NOT_FOUND;
}

uint64_t store_other_blocks(const struct store *s, struct hash128 tag, const char *model) {
    uint64_t n = 0;
    LIST_EACH(&s->map.models, struct store_model, node, m) {
        if (strcmp(m->id, model) == 0 && !hash128_equal(m->tag, tag)) n += m->n_blocks;
    }
    return n;
}

/* ---- deleting ---- */

/* Names of removed files are gone for good only when their folders are synced: else a loss of power brings them back. */
struct deletion {
    struct store *s;
    struct hash128 tag;
    uint64_t folders[4]; /* that lost a file */
    uint64_t files, bytes;
    enum err err; /* the first */
};

static void note_error(struct deletion *d, enum err err) {
    if (err && !d->err) d->err = err;
}

static bool delete_block(struct deletion *d, struct store_node *n) {
    uint8_t byte = n->name.b[0];
    enum err err = store_remove_block(d->s, n, &d->files, &d->bytes);
    d->folders[byte / 64] |= UINT64_C(1) << (byte % 64);
    note_error(d, err);
    return !err;
}

static void sync_folders(struct deletion *d) {
    const struct disk_ops *disk = d->s->disk;
    for (unsigned byte = 0; byte < 256; byte++) {
        if (!(d->folders[byte / 64] >> (byte % 64) & 1)) continue;
        enum err err = disk->sync_dir(disk->ctx, store_path_folder(d->s, d->tag, (uint8_t)byte).s);
        if (err != ERR_NOT_FOUND) note_error(d, err); /* it went with its last block */
    }
    note_error(d, disk->sync_dir(disk->ctx, store_path_of(d->s, "blocks").s));
}

/* From n towards the root, as long as nobody else needs what is there. False: nothing was deleted. */
static bool delete_upwards(struct deletion *d, struct store_node *n) {
    bool deleted = false;
    while (n && !store_node_is_root(n) && n->chains.count == 0 && n->tails.count == 0 &&
           n->fulls.count == 0) {
        struct store_node *parent = n->parent;
        if (!delete_block(d, n)) break;
        deleted = true;
        n = parent;
    }
    return deleted;
}

/* OWNED. A leaf of this owner that no chain names (any more, or yet), not yet seen in this round. */
static struct store_node *next_owned_leaf(struct store *s, const struct store_model *m, uint64_t owner) {
    for (unsigned c = 0; c < STORE_CLASSES; c++) {
        LIST_EACH(&m->leaves[c], struct store_node, leaf, n) {
            if (n->owner == owner && n->chains.count == 0 && n->mark != s->round) return n;
        }
    }
    return NULL;
}

/* What stays (others' chains need it) is nobody's from now on: its first owner must not come back with it. */
static void disown(struct store *s, const struct store_model *m, uint64_t owner) {
    for (size_t i = 0; i < s->map.n_buckets; i++) {
        for (struct store_node *n = s->map.buckets[i]; n; n = n->hash_next) {
            if (n->model != m || n->owner != owner) continue;
            n->owner = 0;
            store_row_stale(s, n);
        }
    }
}

/* False: there are none. */
static bool delete_owned(struct deletion *d, const struct store_model *m, uint64_t owner) {
    struct store *s = d->s;
    s->round++;
    struct store_node *first = next_owned_leaf(s, m, owner);
    for (struct store_node *n = first; n; n = next_owned_leaf(s, m, owner)) {
        n->mark = s->round;
        delete_upwards(d, n);
    }
    return first != NULL;
}

static void delete_agent(struct deletion *d, struct store_agent *a) {
    struct store *s = d->s;
    struct store_model *m = a->model;
    struct hash128 leaves[CHAINS_PER_AGENT_MAX]; /* by name: one may go with another's chain */
    uint64_t owner = a->hash;
    uint32_t n = a->n_chains;
    for (uint32_t i = 0; i < n; i++) leaves[i] = a->chains[i]->leaf->name;
    note_error(d, store_agent_remove(s, a));
    delete_owned(d, m, owner);
    for (uint32_t i = 0; i < n; i++) delete_upwards(d, store_map_find(&s->map, d->tag, leaves[i]));
}

/* Names that were removed must not come back with an older database. */
static enum err flush_for_good(struct store *s) {
    enum err err = store_flush_rows(s, false);
    if (!err) err = s->disk->database_write(s->disk->ctx);
    if (!err) err = store_index_sync(s->index);
    store_look_at_index(s);
    return err;
}

enum err store_agent_delete(struct store *s, const char *model, const char *agent, uint32_t *ret_agents,
                            uint64_t *ret_files, uint64_t *ret_bytes) {
    *ret_agents = 0;
    *ret_files = *ret_bytes = 0;
    if (store_is_fenced(s)) return ERR_LOCKED;
    enum err err = store_scan_all(s);
    if (err) return err;
    LIST_EACH(&s->map.models, struct store_model, node, m) {
        if (!model_matches(m, model)) continue;
        struct deletion d = {.s = s, .tag = m->tag};
        struct store_agent *a = store_agent_find(s, m, agent);
        if (a)
            delete_agent(&d, a);
        else if (!delete_owned(&d, m, store_owner_of(agent)))
            continue;
        disown(s, m, store_owner_of(agent));
        sync_folders(&d);
        *ret_agents += 1;
        *ret_files += d.files;
        *ret_bytes += d.bytes;
        if (!err) err = d.err;
    }
    if (*ret_agents == 0) return ERR_NOT_FOUND;
    enum err flushed = flush_for_good(s);
    return err ? err : flushed;
}

/* Ends first: a chain on disk has no hole, wherever a deletion is cut off. */
static void delete_model(struct deletion *d, struct store_model *m) {
    struct store *s = d->s;
    LIST_EACH(&s->agents, struct store_agent, node, a) {
        if (a->model == m) note_error(d, store_agent_remove(s, a));
    }
    for (size_t i = 0; i < s->map.n_buckets; i++) {
        struct store_node *n = s->map.buckets[i];
        while (n) {
            bool deleted = n->model == m && delete_upwards(d, n);
            n = deleted ? s->map.buckets[i] : n->hash_next; /* the bucket may have lost others as well */
        }
    }
    sync_folders(d);
}

enum err store_cache_delete(struct store *s, const char *model, uint64_t *ret_files, uint64_t *ret_bytes) {
    *ret_files = *ret_bytes = 0;
    if (store_is_fenced(s)) return ERR_LOCKED;
    enum err err = store_scan_all(s);
    if (err) return err;
    LIST_EACH(&s->map.models, struct store_model, node, m) {
        if (!model_matches(m, model)) continue;
        struct deletion d = {.s = s, .tag = m->tag};
        delete_model(&d, m);
        *ret_files += d.files;
        *ret_bytes += d.bytes;
        if (!err) err = d.err;
    }
    if (!model[0]) {
        *ret_files += s->n_quarantined;
        *ret_bytes += s->quarantine_bytes;
        store_quarantine_trim(s, 0);
    }
    enum err flushed = flush_for_good(s);
    if (!flushed) flushed = store_index_shrink(s->index);
    store_look_at_index(s);
    return err ? err : flushed;
}

/* ---- figures ---- */

static uint64_t agents_of(const struct store *s, const struct store_model *m) {
    uint64_t n = 0;
    LIST_EACH(&s->agents, struct store_agent, node, a) n += a->model == m;
    return n;
}

enum err store_cache_json(struct store *s, struct buf *out) {
    struct json_out w = json_out_into(out);
    uint64_t today = store_now_s() / STORE_SECONDS_A_DAY == s->day ? s->day_bytes : 0;
    json_obj(&w);
    json_key(&w, "bytes"), json_u64(&w, store_disk_bytes(s));
    json_key(&w, "budget_bytes"), json_u64(&w, s->budget_bytes);
    json_key(&w, "blocks"), json_u64(&w, s->map.n_nodes);
    json_key(&w, "scanning"), json_boolean(&w, store_is_scanning(s));
    json_key(&w, "hits"), json_u64(&w, s->counters.hits);
    json_key(&w, "misses"), json_u64(&w, s->counters.misses);
    json_key(&w, "corrupt"), json_u64(&w, s->counters.corrupt);
    json_key(&w, "evicted"), json_u64(&w, s->counters.evicted);
    json_key(&w, "quarantined"), json_u64(&w, s->n_quarantined);
    json_key(&w, "written_today_bytes"), json_u64(&w, today);
    json_key(&w, "write_per_day_bytes"), json_u64(&w, s->write_per_day_bytes);
    json_key(&w, "refused"), json_obj(&w);
    for (int why = 0; why < STORE_REFUSED_COUNT; why++)
        json_key(&w, store_refused_name((enum store_refused)why)), json_u64(&w, s->refused[why]);
    json_end(&w);
    json_key(&w, "models"), json_arr(&w);
    LIST_EACH(&s->map.models, struct store_model, node, m) {
        uint64_t agents = agents_of(s, m);
        if (m->n_blocks == 0 && agents == 0) continue;
        char tag[HASH128_HEX_SIZE];
        hash128_hex(m->tag, tag);
        json_obj(&w);
        json_key(&w, "model"), json_str(&w, m->id);
        json_key(&w, "tag"), json_str(&w, tag);
        json_key(&w, "blocks"), json_u64(&w, m->n_blocks);
        json_key(&w, "bytes"), json_u64(&w, m->bytes);
        json_key(&w, "agents"), json_u64(&w, agents);
        json_end(&w);
    }
    json_end(&w);
    json_end(&w);
    return out->error;
}
