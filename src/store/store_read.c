/* Finding and reading blocks. Rules:
 *   LONGEST   a plan is the longest stored beginning from which the model can go on, but never all of the tokens: who goes
 *             on must decode at least one.
 *   WINDOW    with a window the plan ends where the last window - 1 positions lie in stored window parts.
 *   PROOF     nothing of a file is given out before its checksums, tag, parent, place and tokens have agreed. */
#include "store/store_private.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"

/* ---- quarantine ---- */

uint64_t store_quarantine_most(const struct store *s) {
    uint64_t percent = s->budget_bytes / 100, eighth = s->budget_bytes / 8;
    uint64_t floor = eighth < QUARANTINE_BYTES_MAX ? eighth : QUARANTINE_BYTES_MAX;
    return percent > floor ? percent : floor;
}

static struct store_path quarantine_path(const struct store *s, const char *name) {
    struct store_path p;
    must(snprintf(p.s, sizeof p.s, "%s/quarantine/%s", s->dir, name) < (int)sizeof p.s);
    return p;
}

static void drop_oldest(struct store *s) {
    struct quarantined *q = &s->quarantine[0];
    enum err err = s->disk->remove(s->disk->ctx, quarantine_path(s, q->name).s);
    s->quarantine_bytes -= q->bytes;
    if (err && err != ERR_NOT_FOUND) s->stray_bytes += q->bytes;
    s->n_quarantined--;
    memmove(q, q + 1, sizeof *q * s->n_quarantined);
}

void store_quarantine_trim(struct store *s, uint64_t most_bytes) {
    while (s->n_quarantined > 0 && s->quarantine_bytes > most_bytes && !store_is_fenced(s)) drop_oldest(s);
}

/* The file leaves its place in any case: as evidence if there is room for it, else for good. */
void store_quarantine_file(struct store *s, const char *path, const char *name, uint64_t size_bytes) {
    struct quarantined q = {.bytes = disk_bytes_of(size_bytes)};
    if (store_is_fenced(s)) return; /* whoever has the folder now finds it as well */
    uint64_t most = store_quarantine_most(s);
    int n = snprintf(q.name, sizeof q.name, "%012lld-%06llu-%s", (long long)store_now_s(),
                     (unsigned long long)++s->quarantine_seq, name);
    if (q.bytes <= most && n < (int)sizeof q.name) {
        store_quarantine_trim(s, most - q.bytes);
        if (s->n_quarantined == QUARANTINE_FILES_MAX) drop_oldest(s);
        if (s->disk->rename(s->disk->ctx, path, quarantine_path(s, q.name).s) == ERR_OK) {
            s->quarantine[s->n_quarantined++] = q;
            s->quarantine_bytes += q.bytes;
            return;
        }
    }
    enum err err = s->disk->remove(s->disk->ctx, path);
    if (err && err != ERR_NOT_FOUND) s->stray_bytes += q.bytes;
}

const char *store_refused_name(enum store_refused why) {
    switch (why) {
    case STORE_REFUSED_CORRUPT: return "corrupt";
    case STORE_REFUSED_VERSION: return "version";
    case STORE_REFUSED_MISMATCH: return "mismatch";
    case STORE_REFUSED_MISSING: return "missing";
    case STORE_REFUSED_UNREADABLE: return "unreadable";
    case STORE_REFUSED_COUNT: break;
    }
    return "?";
}

void store_count_refused(struct store *s, enum err err) {
    s->counters.corrupt++;
    enum store_refused why = STORE_REFUSED_CORRUPT;
    if (err == ERR_VERSION) why = STORE_REFUSED_VERSION;
    if (err == ERR_MISMATCH) why = STORE_REFUSED_MISMATCH;
    if (err == ERR_NOT_FOUND) why = STORE_REFUSED_MISSING;
    if (err == ERR_IO) why = STORE_REFUSED_UNREADABLE;
    s->refused[why]++;
}

/* ---- plan ---- */

/* The blocks of a path, from the root on. */
struct path {
    struct store_node **nodes; /* owned */
    uint32_t n;
};

static bool is_left_alone(int64_t retry_ns) {
    return retry_ns && clock_now_ns() < retry_ns;
}

static enum err walk_full_blocks(struct store *s, const struct store_model *m, const int32_t *tokens,
                                 uint32_t n, struct path *ret) {
    uint32_t most = (n - 1) / BLOCK_TOKENS; /* LONGEST: at least one token is left over */
    ret->nodes = mem_array((size_t)most + 1, sizeof(struct store_node *)); /* and a tail */
    if (!ret->nodes) return ERR_NOMEM;
    struct block_name name = {{{0}}};
    for (uint32_t i = 0; i < most; i++) {
        name = block_name_of(name, m->tag, tokens + (size_t)i * BLOCK_TOKENS, BLOCK_TOKENS);
        struct store_node *node = store_map_find(&s->map, m->tag, name.h);
        if (!node || !node->parent || node->first_pos != i * BLOCK_TOKENS) break;
        if (is_left_alone(node->base_retry_ns)) break;
        ret->nodes[ret->n++] = node;
    }
    return ERR_OK;
}

/* Do the windows of the last blocks reach far enough back for a resume at end? *ret_needed: how many of them. */
static bool window_ok(const struct path *p, uint32_t n_nodes, uint32_t end, uint32_t window,
                      uint32_t *ret_needed) {
    *ret_needed = 0;
    uint32_t lowest = end >= window ? end - window + 1 : 0; /* what position `end` still sees */
    for (uint32_t i = n_nodes; i > 0; i--) {
        const struct store_node *n = p->nodes[i - 1];
        if (store_node_end(n) <= lowest) break;
        uint32_t from = n->first_pos > lowest ? n->first_pos : lowest;
        if (!n->window_bytes || n->window_from > from || is_left_alone(n->window_retry_ns)) return false;
        *ret_needed += 1;
    }
    return true;
}

/* The longest tail of at that fits the tokens, ends before n, is shorter than `below`, and, with a window, can be resumed at. */
static struct store_node *best_tail(struct path *p, uint32_t n_nodes, struct store_node *at,
                                    const int32_t *tokens, uint32_t n, uint32_t window,
                                    uint32_t *ret_needed) {
    struct store_node *best = NULL;
    uint32_t first = store_node_end(at);
    LIST_EACH(&at->tails, struct store_node, sibling, t) {
        uint32_t end = store_node_end(t), needed = 0;
        if (end >= n || (best && t->n_tokens <= best->n_tokens)) continue;
        if (memcmp(t->tokens, tokens + first, sizeof tokens[0] * t->n_tokens) != 0) continue;
        if (is_left_alone(t->base_retry_ns)) continue;
        struct store_node *shadowed = p->nodes[n_nodes];
        p->nodes[n_nodes] = t;
        bool ok = window == 0 || window_ok(p, n_nodes + 1, end, window, &needed);
        p->nodes[n_nodes] = shadowed;
        if (!ok) continue;
        best = t;
        *ret_needed = needed;
    }
    return best;
}

/* Cuts p to the longest end that can be resumed at: at each boundary from the last back, its tails first. */
static bool choose_end(struct path *p, struct store_model *m, const int32_t *tokens, uint32_t n,
                       uint32_t window, uint32_t *ret_needed) {
    for (uint32_t k = p->n;; k--) {
        struct store_node *at = k > 0 ? p->nodes[k - 1] : &m->root;
        struct store_node *tail = best_tail(p, k, at, tokens, n, window, ret_needed);
        if (tail) {
            p->nodes[k] = tail;
            p->n = k + 1;
            return true;
        }
        if (k == 0) return false;
        *ret_needed = 0;
        if (window == 0 || window_ok(p, k, store_node_end(at), window, ret_needed)) {
            p->n = k;
            return true;
        }
    }
}

static enum err fill_plan(const struct path *p, uint32_t needed, struct store_plan *ret) {
    ret->blocks = mem_array(p->n, sizeof ret->blocks[0]);
    if (!ret->blocks) return ERR_NOMEM;
    ret->n_blocks = p->n;
    for (uint32_t i = 0; i < p->n; i++) {
        const struct store_node *n = p->nodes[i];
        ret->blocks[i] = (struct store_plan_block){.name = {n->name},
                                                   .first_pos = n->first_pos,
                                                   .n_tokens = n->n_tokens,
                                                   .needs_window = i + needed >= p->n,
                                                   .part_bytes = n->base_bytes +
                                                                 (i + needed >= p->n ? n->window_bytes : 0)};
    }
    ret->n_tokens = store_node_end(p->nodes[p->n - 1]);
    ret->reason = "hit";
    return ERR_OK;
}

/* What is about to be read is not what was used longest ago, whatever others write until then. */
static void touch_path(struct store *s, const struct path *p, uint32_t needed) {
    int64_t now = store_now_s();
    for (uint32_t i = 0; i < p->n; i++) {
        store_map_touch(&s->map, p->nodes[i], now);
        if (i + needed >= p->n) store_map_touch_window(&s->map, p->nodes[i], now);
    }
}

enum err store_plan(struct store *s, struct hash128 tag, const int32_t *tokens, uint32_t n, uint32_t window,
                    struct store_plan *ret) {
    *ret = (struct store_plan){.reason = s->load ? "scanning" : "no block"};
    struct store_model *m = store_map_model_find(&s->map, tag);
    if (!m || n < 2) {
        s->counters.misses++;
        return ERR_OK;
    }
    struct path p = {0};
    uint32_t needed = 0;
    enum err err = walk_full_blocks(s, m, tokens, n, &p);
    ret->n_known = p.n * BLOCK_TOKENS;
    if (!err && choose_end(&p, m, tokens, n, window, &needed))
        err = fill_plan(&p, needed, ret);
    else if (!err && p.n > 0 && !s->load)
        ret->reason = "no window part";
    if (!err && ret->n_tokens) {
        touch_path(s, &p, needed);
        s->counters.hits++;
    } else {
        s->counters.misses++;
    }
    mem_free(p.nodes);
    return err;
}

void store_plan_free(struct store_plan *p) {
    mem_free(p->blocks);
    *p = (struct store_plan){.reason = "freed"};
}

/* ---- get ---- */

/* A whole header is truer than a row, which may be older than the file. False: its window reaches less far than the row said. */
static bool learn(struct store *s, struct store_node *n, const struct store_header *h) {
    bool base = h->part == STORE_PART_BASE;
    uint64_t size = h->header_size + h->part_size;
    if (size != (base ? n->base_bytes : n->window_bytes)) {
        store_map_set_files(&s->map, n, base ? size : n->base_bytes, base ? n->window_bytes : size);
        store_row_stale(s, n);
    }
    if (base || h->window_from == n->window_from) return true;
    bool enough = h->window_from < n->window_from;
    n->window_from = h->window_from;
    store_row_stale(s, n);
    return enough;
}

/* Header and part of one file, checked; the part is appended to out, or out is as before. */
static enum err read_part(struct store *s, struct store_node *n, enum store_part part, const int32_t *tokens,
                          struct buf *out, const char **ret_reason) {
    struct store_path path = store_path_part(s, n, part);
    struct store_header h;
    int fd = -1;
    enum err err = store_read_header(s, path.s, &h, &fd, ret_reason);
    if (err) return err;
    struct store_expected x = {.part = part,
                               .tag = n->model->tag,
                               .parent = n->parent_name,
                               .name = n->name,
                               .first_pos = n->first_pos,
                               .n_tokens = n->n_tokens,
                               .tokens = tokens};
    err = store_format_match(&h, &x, ret_reason);
    if (!err && !learn(s, n, &h)) {
        err = ERR_MISMATCH;
        *ret_reason = "a window that reaches less far than its row said";
    }
    uint8_t *to = NULL;
    if (!err && !(to = buf_reserve(out, h.part_size))) {
        err = out->error ? out->error : ERR_NOMEM;
        out->error = ERR_OK;
        *ret_reason = "no memory for it";
    }
    if (!err && (err = s->disk->read(s->disk->ctx, fd, to, h.part_size, h.header_size)) != ERR_OK) {
        *ret_reason = err == ERR_EOF ? "cut short" : "can't be read";
        if (err == ERR_EOF) err = ERR_CORRUPT;
    }
    s->disk->close(s->disk->ctx, fd);
    if (!err && hash64(to, h.part_size) != h.part_hash) {
        err = ERR_CORRUPT;
        *ret_reason = "part checksum";
    }
    if (err) return err;
    out->size += h.part_size;
    s->counters.bytes_read += h.part_size;
    return ERR_OK;
}

/* What a bad part costs: the base part its block, the window part only itself. One that can't be read is left alone for a
 * while, else every plan would lead to it again; and if all of the folder is gone, nothing can be said of its files. */
static void part_failed(struct store *s, struct store_node *n, enum store_part part, enum err err,
                        const char *reason) {
    if (err == ERR_NOMEM || err == ERR_LIMIT) return; /* ours to mend */
    if (err == ERR_NOT_FOUND) store_look_lost(s);
    char hex[HASH128_HEX_SIZE], name[HASH128_HEX_SIZE + 8];
    hash128_hex(n->name, hex);
    snprintf(name, sizeof name, "%s.%s", hex, part == STORE_PART_BASE ? "kv" : "win");
    store_count_refused(s, err);
    static struct log_limit limit = LOG_LIMIT(5);
    if (log_limit_pass(&limit))
        log_warn("store.bad_file", "file=%s err=%s reason=%s", name, err_name(err), log_q(reason));
    struct store_path path = store_path_part(s, n, part);
    uint64_t size = part == STORE_PART_BASE ? n->base_bytes : n->window_bytes;
    struct disk_stat st;
    if (s->lost) return;
    if (err == ERR_IO) {
        int64_t retry_ns = clock_now_ns() + READ_RETRY_S * NS_PER_S;
        *(part == STORE_PART_BASE ? &n->base_retry_ns : &n->window_retry_ns) = retry_ns;
        return;
    }
    if (err != ERR_NOT_FOUND) {
        if (s->disk->stat(s->disk->ctx, path.s, &st) == ERR_OK) size = st.size_bytes;
        store_quarantine_file(s, path.s, name, size);
    }
    if (part == STORE_PART_WINDOW) {
        store_map_set_files(&s->map, n, n->base_bytes, 0);
        store_row_stale(s, n);
        return;
    }
    if (n->window_bytes && !store_is_fenced(s)) {
        enum err removed = s->disk->remove(s->disk->ctx, store_path_part(s, n, STORE_PART_WINDOW).s);
        if (removed && removed != ERR_NOT_FOUND) s->stray_bytes += disk_bytes_of(n->window_bytes);
    }
    store_forget_block(s, n);
}

enum err store_get(struct store *s, struct hash128 tag, const struct store_plan_block *b,
                   const int32_t *tokens, struct buf *base, struct buf *window, const char **ret_reason) {
    const char *reason = "ok";
    struct store_node *n = store_map_find(&s->map, tag, b->name.h);
    bool with_window = b->needs_window && window;
    size_t base_before = base->size;
    uint32_t window_from = n ? n->window_from : 0;
    *ret_reason = reason;
    if (!n || n->first_pos != b->first_pos || n->n_tokens != b->n_tokens ||
        (with_window && !n->window_bytes)) {
        *ret_reason = "it is not stored any more";
        return ERR_NOT_FOUND;
    }
    enum err err = read_part(s, n, STORE_PART_BASE, tokens, base, &reason);
    enum store_part part = STORE_PART_BASE;
    if (!err && with_window) {
        part = STORE_PART_WINDOW;
        err = read_part(s, n, part, tokens, window, &reason);
        if (err) base->size = base_before;
    }
    *ret_reason = reason;
    if (err == ERR_MISMATCH && n->window_from > window_from) { /* the file is good; the plan was not */
        store_count_refused(s, err);
        return err;
    }
    if (err) {
        part_failed(s, n, part, err, reason);
        return err;
    }
    n->base_retry_ns = 0;
    if (with_window) n->window_retry_ns = 0;
    s->counters.blocks_read++;
    store_map_touch(&s->map, n, store_now_s());
    if (with_window) store_map_touch_window(&s->map, n, store_now_s());
    return ERR_OK;
}
