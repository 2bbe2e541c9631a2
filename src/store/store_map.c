#include "store/store_map.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/must.h"
#include "store/disk_ops.h"

#define BUCKETS_MIN 1024

bool store_node_is_root(const struct store_node *n) {
    return n == &n->model->root;
}

bool store_node_is_tail(const struct store_node *n) {
    return n->n_tokens < BLOCK_TOKENS && !store_node_is_root(n);
}

uint32_t store_node_end(const struct store_node *n) {
    return n->first_pos + n->n_tokens;
}

uint64_t store_node_disk_bytes(const struct store_node *n) {
    return disk_bytes_of(n->base_bytes) + disk_bytes_of(n->window_bytes);
}

bool store_node_reachable(const struct store_node *n) {
    while (n->parent) n = n->parent;
    return store_node_is_root(n);
}

enum err store_map_init(struct store_map *m) {
    *m = (struct store_map){.n_buckets = BUCKETS_MIN};
    list_init(&m->models);
    for (size_t i = 0; i < STORE_ORPHAN_LISTS; i++) list_init(&m->orphans[i]);
    list_init(&m->dirty);
    m->buckets = mem_array(m->n_buckets, sizeof(struct store_node *));
    return m->buckets ? ERR_OK : ERR_NOMEM;
}

void store_node_free(struct store_node *n) {
    if (!n) return;
    mem_free(n->tokens);
    mem_free(n);
}

static void model_free(struct store_model *model) {
    mem_free(model->id);
    mem_free(model);
}

void store_map_free(struct store_map *m) {
    if (!m->buckets) return;
    for (size_t i = 0; i < m->n_buckets; i++) {
        for (struct store_node *n = m->buckets[i], *next; n; n = next) {
            next = n->hash_next;
            store_node_free(n);
        }
    }
    LIST_EACH(&m->models, struct store_model, node, model) {
        list_remove(&m->models, &model->node);
        model_free(model);
    }
    mem_free(m->buckets);
    *m = (struct store_map){0};
}

/* ---- models ---- */

struct store_model *store_map_model_find(const struct store_map *m, struct hash128 tag) {
    LIST_EACH(&m->models, struct store_model, node, model) {
        if (hash128_equal(model->tag, tag)) return model;
    }
    return NULL;
}

struct store_model *store_map_model(struct store_map *m, struct hash128 tag, const char *id) {
    struct store_model *model = store_map_model_find(m, tag);
    if (model && (!id[0] || strcmp(model->id, id) == 0)) return model;
    char *copy = mem_strdup(id);
    if (!copy) return NULL;
    if (model) {
        mem_free(model->id);
        model->id = copy;
        model->row_stale = true;
        return model;
    }
    model = mem_alloc(sizeof *model);
    if (!model) {
        mem_free(copy);
        return NULL;
    }
    model->tag = tag;
    model->id = copy;
    model->row_stale = true;
    model->root.model = model;
    list_init(&model->root.tails);
    list_init(&model->root.fulls);
    list_init(&model->root.chains);
    for (size_t i = 0; i < STORE_CLASSES; i++) {
        list_init(&model->leaves[i]);
        list_init(&model->windows[i]);
    }
    list_push_back(&m->models, &model->node);
    return model;
}

/* ---- the hash table ---- */

/* Names are hashes already: any eight bytes of one spread evenly. */
static struct store_node **bucket_of(const struct store_map *m, struct hash128 name) {
    uint64_t h;
    memcpy(&h, name.b, sizeof h);
    return &m->buckets[h & (m->n_buckets - 1)];
}

/* Without memory for a larger table the old one goes on with longer rows. */
static void grow(struct store_map *m) {
    struct store_node **old = m->buckets;
    size_t n_old = m->n_buckets;
    struct store_node **buckets = mem_array(n_old * 2, sizeof(struct store_node *));
    if (!buckets) return;
    m->buckets = buckets;
    m->n_buckets = n_old * 2;
    for (size_t i = 0; i < n_old; i++) {
        for (struct store_node *n = old[i], *next; n; n = next) {
            next = n->hash_next;
            struct store_node **b = bucket_of(m, n->name);
            n->hash_next = *b;
            *b = n;
        }
    }
    mem_free(old);
}

struct store_node *store_map_find(const struct store_map *m, struct hash128 tag, struct hash128 name) {
    for (struct store_node *n = *bucket_of(m, name); n; n = n->hash_next) {
        if (hash128_equal(n->name, name) && hash128_equal(n->model->tag, tag)) return n;
    }
    return NULL;
}

static struct list *orphans_of(struct store_map *m, struct hash128 parent_name) {
    return &m->orphans[((uint32_t)parent_name.b[0] << 8 | parent_name.b[1]) % STORE_ORPHAN_LISTS];
}

/* ---- orders ---- */

static uint64_t leaf_seq(struct list_node *n) {
    return CONTAINER_OF(n, struct store_node, leaf)->seq;
}

static uint64_t window_seq(struct list_node *n) {
    return CONTAINER_OF(n, struct store_node, window)->window_seq;
}

static void insert_before(struct list *l, struct list_node *n, struct list_node *next) {
    must(!list_linked(n));
    n->prev = next->prev;
    n->next = next;
    next->prev->next = n;
    next->prev = n;
    l->count++;
}

/* By its seq: what is new belongs at the end, a parent that has become a leaf (it was used just before its child) near the
 * front. So it is looked for from both ends. */
static void place(struct list *l, struct list_node *n, uint64_t (*seq_of)(struct list_node *)) {
    uint64_t seq = seq_of(n);
    struct list_node *front = l->head.next, *back = l->head.prev;
    while (front != &l->head && seq_of(front) < seq && seq_of(back) > seq) {
        front = front->next;
        back = back->prev;
    }
    if (front == &l->head || seq_of(front) > seq)
        insert_before(l, n, front);
    else
        insert_before(l, n, back->next);
}

static bool is_leaf(const struct store_node *n) {
    return n->tails.count == 0 && n->fulls.count == 0 && !store_node_is_root(n);
}

static uint8_t leaf_class(const struct store_node *n) {
    struct store_worth w = {.n_tokens = n->n_tokens,
                            .uses = n->uses,
                            .bytes = disk_bytes_of(n->base_bytes),
                            .stranded = n->model->n_windows > 0 && n->window_bytes == 0};
    return store_value_class(&w);
}

static uint8_t window_class(const struct store_node *n) {
    struct store_worth w = {
        .n_tokens = n->n_tokens, .uses = n->uses, .bytes = disk_bytes_of(n->window_bytes), .window = true};
    return store_value_class(&w);
}

/* Puts n into the lists it belongs in now. */
static void settle_leaf(struct store_node *n) {
    bool want = is_leaf(n);
    uint8_t now = want ? leaf_class(n) : 0;
    if (list_linked(&n->leaf)) {
        if (want && now == n->leaf_class) return;
        list_remove(&n->model->leaves[n->leaf_class], &n->leaf);
    }
    n->leaf_class = now;
    if (want) place(&n->model->leaves[now], &n->leaf, leaf_seq);
}

static void settle_window(struct store_node *n) {
    bool want = n->window_bytes > 0;
    uint8_t now = want ? window_class(n) : 0;
    if (list_linked(&n->window)) {
        if (want && now == n->window_class) return;
        list_remove(&n->model->windows[n->window_class], &n->window);
    }
    n->window_class = now;
    if (want) place(&n->model->windows[now], &n->window, window_seq);
}

static void to_end(struct list *l, struct list_node *n) {
    if (!list_linked(n)) return;
    list_remove(l, n);
    list_push_back(l, n);
}

void store_map_touch(struct store_map *m, struct store_node *n, int64_t now_s) {
    n->seq = ++m->seq;
    n->last_used = now_s;
    to_end(&n->model->leaves[n->leaf_class], &n->leaf);
    store_map_dirty(m, n, false);
}

void store_map_touch_window(struct store_map *m, struct store_node *n, int64_t now_s) {
    n->window_seq = ++m->seq;
    n->window_used = now_s;
    to_end(&n->model->windows[n->window_class], &n->window);
    store_map_dirty(m, n, false);
}

static uint8_t one_more(uint8_t uses) {
    return uses < STORE_USES_MAX ? (uint8_t)(uses + 1) : STORE_USES_MAX;
}

/* The uses of a chain's new blocks, of which lowest is the first. */
static uint8_t uses_of_new(const struct store_node *lowest) {
    const struct store_node *parent = lowest->parent;
    if (!parent || store_node_is_root(parent)) return 1;
    size_t others = parent->fulls.count - (store_node_is_tail(lowest) ? 0 : 1);
    return others ? 1 : one_more(parent->uses);
}

void store_map_use(struct store_map *m, struct store_node *leaf, int64_t now_s) {
    const struct store_node *lowest_new = NULL;
    uint64_t n_path = 0;
    for (struct store_node *n = leaf; n && !store_node_is_root(n); n = n->parent) {
        n_path++;
        if (n->uses == 0) lowest_new = n;
    }
    uint8_t uses = lowest_new ? uses_of_new(lowest_new) : 1;
    /* The root's end is the oldest, the leaf the newest; only the leaf can be in a list of leaves. */
    uint64_t seq = m->seq += n_path;
    for (struct store_node *n = leaf; n && !store_node_is_root(n); n = n->parent) {
        n->uses = n->uses ? one_more(n->uses) : uses;
        n->seq = seq--;
        n->last_used = now_s;
        to_end(&n->model->leaves[n->leaf_class], &n->leaf);
        settle_leaf(n);
        settle_window(n);
        store_map_dirty(m, n, false);
    }
}

/* ---- what goes next ---- */

struct victim {
    struct store_node *node;
    bool window;
    double score;
};

static void look_at(struct victim *v, struct store_node *n, bool window, double score) {
    if (v->node && score <= v->score) return;
    *v = (struct victim){n, window, score};
}

struct store_node *store_map_victim(const struct store_map *m, uint64_t round, bool *ret_window) {
    struct victim v = {0};
    LIST_EACH(&m->models, struct store_model, node, model) {
        if (model->pinned) continue;
        for (unsigned c = 0; c < STORE_CLASSES; c++) {
            /* Windows first: at the same score they go before what they belong to. */
            LIST_EACH(&model->windows[c], struct store_node, window, n) {
                if (n->kept_at == round) continue;
                look_at(&v, n, true,
                        store_value_score(m->seq - n->window_seq, (uint8_t)c, model->token_cost));
                break;
            }
            LIST_EACH(&model->leaves[c], struct store_node, leaf, n) {
                if (n->kept_at == round) continue;
                look_at(&v, n, false, store_value_score(m->seq - n->seq, (uint8_t)c, model->token_cost));
                break;
            }
        }
    }
    *ret_window = v.window;
    return v.node;
}

void store_map_dirty(struct store_map *m, struct store_node *n, bool row_stale) {
    if (row_stale) n->row_stale = true;
    if (!list_linked(&n->dirty)) list_push_back(&m->dirty, &n->dirty);
}

/* ---- nodes ---- */

struct store_node *store_node_new(struct store_model *model, const int32_t *tail_tokens, uint32_t n_tokens) {
    struct store_node *n = mem_alloc(sizeof *n);
    if (!n) return NULL;
    n->model = model;
    n->n_tokens = n_tokens;
    if (n_tokens < BLOCK_TOKENS) {
        must(tail_tokens && n_tokens > 0);
        n->tokens = mem_dup(tail_tokens, sizeof tail_tokens[0] * n_tokens);
        if (!n->tokens) {
            mem_free(n);
            return NULL;
        }
    }
    list_init(&n->tails);
    list_init(&n->fulls);
    list_init(&n->chains);
    return n;
}

static void link_child(struct store_node *parent, struct store_node *child) {
    child->parent = parent;
    list_push_back(store_node_is_tail(child) ? &parent->tails : &parent->fulls, &child->sibling);
    settle_leaf(parent);
}

static bool fits_under(const struct store_node *parent, const struct store_node *child) {
    return !store_node_is_tail(parent) && store_node_end(parent) == child->first_pos;
}

static void find_children(struct store_map *m, struct store_node *n) {
    struct list *orphans = orphans_of(m, n->name);
    LIST_EACH(orphans, struct store_node, sibling, child) {
        if (child->model != n->model || !hash128_equal(child->parent_name, n->name) || !fits_under(n, child))
            continue;
        list_remove(orphans, &child->sibling);
        link_child(n, child);
    }
}

static void find_parent(struct store_map *m, struct store_node *n) {
    struct store_node *parent =
        n->first_pos == 0 ? &n->model->root : store_map_find(m, n->model->tag, n->parent_name);
    if (parent && fits_under(parent, n))
        link_child(parent, n);
    else
        list_push_back(orphans_of(m, n->parent_name), &n->sibling);
}

void store_map_insert(struct store_map *m, struct store_node *n) {
    must(n->base_bytes > 0);
    if (m->n_nodes >= m->n_buckets) grow(m);
    struct store_node **b = bucket_of(m, n->name);
    n->hash_next = *b;
    *b = n;
    m->n_nodes++;
    n->model->n_blocks++;
    n->model->folder_blocks[n->name.b[0]]++;
    n->seq = n->window_seq = ++m->seq;
    uint64_t base_bytes = n->base_bytes, window_bytes = n->window_bytes;
    n->base_bytes = n->window_bytes = 0;
    find_parent(m, n);
    find_children(m, n);
    store_map_set_files(m, n, base_bytes, window_bytes);
}

/* Older first; at the same second what lies later in its chain goes before what it hangs from. */
static int compare_used(const void *a, const void *b) {
    const struct store_node *x = *(struct store_node *const *)a, *y = *(struct store_node *const *)b;
    if (x->last_used != y->last_used) return x->last_used < y->last_used ? -1 : 1;
    return x->first_pos == y->first_pos ? 0 : x->first_pos > y->first_pos ? -1 : 1;
}

static int compare_window_used(const void *a, const void *b) {
    const struct store_node *x = *(struct store_node *const *)a, *y = *(struct store_node *const *)b;
    if (x->window_used != y->window_used) return x->window_used < y->window_used ? -1 : 1;
    return x->first_pos == y->first_pos ? 0 : x->first_pos < y->first_pos ? -1 : 1;
}

/* Both orders become one: what was used at the same second lies side by side. */
enum err store_map_sort(struct store_map *m) {
    size_t n = m->n_nodes, i = 0, k = 0;
    if (n == 0) return ERR_OK;
    AUTO(mem_freep) struct store_node **bases = mem_array(2 * n, sizeof(struct store_node *));
    if (!bases) return ERR_NOMEM;
    struct store_node **windows = bases + n;
    for (size_t bucket = 0; bucket < m->n_buckets; bucket++) {
        for (struct store_node *it = m->buckets[bucket]; it; it = it->hash_next) bases[i++] = it;
    }
    must(i == n);
    memcpy(windows, bases, n * sizeof(struct store_node *));
    qsort(bases, n, sizeof(struct store_node *), compare_used);
    qsort(windows, n, sizeof(struct store_node *), compare_window_used);
    for (i = 0; i < n || k < n;) {
        if (k < n && (i == n || windows[k]->window_used <= bases[i]->last_used)) {
            windows[k]->window_seq = ++m->seq;
            to_end(&windows[k]->model->windows[windows[k]->window_class], &windows[k]->window);
            k++;
        } else {
            bases[i]->seq = ++m->seq;
            to_end(&bases[i]->model->leaves[bases[i]->leaf_class], &bases[i]->leaf);
            i++;
        }
    }
    return ERR_OK;
}

void store_map_set_files(struct store_map *m, struct store_node *n, uint64_t base_bytes,
                         uint64_t window_bytes) {
    uint64_t before = store_node_disk_bytes(n);
    n->model->n_windows += (uint64_t)(window_bytes > 0) - (uint64_t)(n->window_bytes > 0);
    n->base_bytes = base_bytes;
    n->window_bytes = window_bytes;
    uint64_t after = store_node_disk_bytes(n);
    m->bytes += after - before;
    n->model->bytes += after - before;
    settle_leaf(n);
    settle_window(n);
}

void store_map_remove(struct store_map *m, struct store_node *n) {
    must(n->chains.count == 0 && !store_node_is_root(n));
    store_map_set_files(m, n, 0, 0);
    struct store_node **at = bucket_of(m, n->name);
    while (*at != n) at = &(*at)->hash_next;
    *at = n->hash_next;
    m->n_nodes--;
    n->model->n_blocks--;
    n->model->folder_blocks[n->name.b[0]]--;
    struct list *children[] = {&n->tails, &n->fulls};
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        LIST_EACH(children[i], struct store_node, sibling, child) {
            list_remove(children[i], &child->sibling);
            child->parent = NULL;
            list_push_back(orphans_of(m, child->parent_name), &child->sibling);
        }
    }
    if (n->parent)
        list_remove(store_node_is_tail(n) ? &n->parent->tails : &n->parent->fulls, &n->sibling);
    else
        list_remove(orphans_of(m, n->parent_name), &n->sibling);
    if (list_linked(&n->leaf)) list_remove(&n->model->leaves[n->leaf_class], &n->leaf);
    if (list_linked(&n->dirty)) list_remove(&m->dirty, &n->dirty);
    if (n->parent) settle_leaf(n->parent);
    store_node_free(n);
}
