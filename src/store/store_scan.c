/* What lies in the folder against what the database told. Rules:
 *   KNOWN     a row whose files are there, as long as it says, is believed as it is; the files are opened when they are used.
 *             One of another length is read again: the row may be older than its file.
 *   ADOPTED   a block file that no row tells of is taken in by its own header, with its owner's name. So is the name of an owner that
 *             no agent's row tells of: its server was killed in its first turn.
 *   GONE      a row without its base file is dropped; without its window file it loses the window.
 *   UNLISTED  what lies in a folder that can't be listed now is taken as it was known.
 *   OURS      temporary files, and window files whose base part is missing, are removed; what has no name of ours is
 *             left alone.
 * The scan goes folder by folder (one of 256 a model at a time), so it could run in slices. */
#include "store/store_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"

enum err store_read_header(struct store *s, const char *path, struct store_header *ret, int *ret_fd,
                           const char **ret_reason) {
    uint8_t bytes[STORE_HEADER_BYTES_MAX];
    int fd = -1;
    uint64_t size = 0;
    *ret_reason = "can't be opened";
    enum err err = s->disk->open(s->disk->ctx, path, &fd, &size);
    if (err) return err;
    size_t n = size < sizeof bytes ? (size_t)size : sizeof bytes;
    err = s->disk->read(s->disk->ctx, fd, bytes, n, 0);
    if (err == ERR_EOF) err = ERR_CORRUPT; /* it became shorter while we looked */
    if (err)
        *ret_reason = "can't be read";
    else
        err = store_format_decode(bytes, n, size, ret, ret_reason);
    if (err || !ret_fd)
        s->disk->close(s->disk->ctx, fd);
    else
        *ret_fd = fd;
    return err;
}

/* ---- found owners ---- */

static enum err found_add(struct store_found *found, struct store_node *leaf, const char *agent) {
    if (found->n == found->room) {
        size_t room = found->room ? found->room * 2 : 64;
        struct store_found_tail *tails = mem_realloc(found->tails, room * sizeof tails[0]);
        if (!tails) return ERR_NOMEM;
        found->tails = tails;
        found->room = room;
    }
    char *copy = mem_strdup(agent);
    if (!copy) return ERR_NOMEM;
    found->tails[found->n++] = (struct store_found_tail){leaf, copy};
    return ERR_OK;
}

void store_found_free(struct store_found *found) {
    for (size_t i = 0; i < found->n; i++) mem_free(found->tails[i].agent);
    mem_free(found->tails);
    *found = (struct store_found){0};
}

static int compare_found(const void *a, const void *b) {
    const struct store_node *x = ((const struct store_found_tail *)a)->leaf,
                            *y = ((const struct store_found_tail *)b)->leaf;
    if (x->last_used != y->last_used) return x->last_used < y->last_used ? -1 : 1;
    uint32_t x_end = store_node_end(x), y_end = store_node_end(y);
    return x_end == y_end ? 0 : x_end < y_end ? -1 : 1;
}

/* ADOPTED. Tails whose owner is not in the list: rare, so that their headers may be read. */
static enum err find_unlisted(struct store *s, struct store_found *found) {
    enum err err = ERR_OK;
    for (size_t i = 0; i < s->map.n_buckets && !err; i++) {
        for (struct store_node *n = s->map.buckets[i]; n && !err; n = n->hash_next) {
            struct store_header h;
            const char *reason;
            if (!n->owner || !store_node_is_tail(n) || store_agent_is_listed(s, n->model, n->owner)) continue;
            if (s->agents.count + found->n >= STORE_AGENTS_MAX) return ERR_OK; /* who is listed stays */
            if (store_read_header(s, store_path_part(s, n, STORE_PART_BASE).s, &h, NULL, &reason)) continue;
            if (store_owner_of(h.agent) == n->owner) err = found_add(found, n, h.agent);
        }
    }
    return err;
}

enum err store_found_adopt(struct store *s, struct store_found *found) {
    enum err err = find_unlisted(s, found);
    if (found->n > 1) qsort(found->tails, found->n, sizeof found->tails[0], compare_found);
    for (size_t i = 0; i < found->n && !err; i++)
        err = store_agents_adopt(s, found->tails[i].agent, found->tails[i].leaf);
    return err;
}

/* ---- one folder of blocks ---- */

struct folder_scan {
    struct store *s;
    struct store_found *found;
    struct store_model *model; /* NULL until a file of this tag was adopted */
    struct hash128 tag;
    struct store_path path;
    bool windows; /* second round: base parts are known by now */
};

static bool parse_name(const char *name, const char *ending, struct hash128 *ret) {
    char hex[HASH128_HEX_SIZE];
    if (strlen(name) != HASH128_HEX_SIZE - 1 + strlen(ending) ||
        strcmp(name + HASH128_HEX_SIZE - 1, ending) != 0)
        return false;
    memcpy(hex, name, HASH128_HEX_SIZE - 1);
    hex[HASH128_HEX_SIZE - 1] = '\0';
    return hash128_from_hex(hex, ret);
}

static struct store_path path_in(const struct folder_scan *f, const char *name) {
    struct store_path p;
    must(snprintf(p.s, sizeof p.s, "%s/%s", f->path.s, name) < (int)sizeof p.s);
    return p;
}

static void remove_ours(struct store *s, const char *path) {
    enum err err = s->disk->remove(s->disk->ctx, path);
    if (!err || err == ERR_NOT_FOUND) return;
    struct disk_stat st;
    if (s->disk->stat(s->disk->ctx, path, &st) == ERR_OK) s->stray_bytes += disk_bytes_of(st.size_bytes);
}

static void refuse(struct folder_scan *f, const char *path, const char *name, enum err why,
                   const char *reason) {
    struct disk_stat st;
    log_warn("store.refused", "file=%s err=%s reason=%s", name, err_name(why), log_q(reason));
    store_count_refused(f->s, why);
    if (f->s->disk->stat(f->s->disk->ctx, path, &st) != ERR_OK) st.size_bytes = 0;
    store_quarantine_file(f->s, path, name, st.size_bytes);
}

static struct store_expected expected_of(const struct store_header *h, const struct folder_scan *f,
                                         struct hash128 name, enum store_part part) {
    return (struct store_expected){.part = part,
                                   .tag = f->tag,
                                   .parent = h->parent,
                                   .name = name,
                                   .first_pos = h->first_pos,
                                   .n_tokens = h->n_tokens};
}

static enum err adopt_base(struct folder_scan *f, const char *name, struct hash128 hash) {
    struct store *s = f->s;
    struct store_path path = path_in(f, name);
    struct store_header h;
    struct disk_stat st;
    const char *reason = "";
    enum err err = store_read_header(s, path.s, &h, NULL, &reason);
    if (!err) {
        struct store_expected x = expected_of(&h, f, hash, STORE_PART_BASE);
        err = store_format_match(&h, &x, &reason);
    }
    if (err == ERR_NOT_FOUND || err == ERR_IO) return ERR_OK; /* not readable now: not ours to judge */
    if (err) {
        refuse(f, path.s, name, err, reason);
        return ERR_OK;
    }
    if (!f->model) f->model = store_map_model(&s->map, f->tag, h.model);
    if (f->model && !f->model->id[0]) f->model = store_map_model(&s->map, f->tag, h.model);
    struct store_node *n = f->model ? store_node_new(f->model, h.tokens, h.n_tokens) : NULL;
    if (!n) return ERR_NOMEM;
    n->name = hash;
    n->parent_name = h.parent;
    n->first_pos = h.first_pos;
    n->flags = h.flags;
    n->base_bytes = h.header_size + h.part_size;
    n->owner = store_owner_of(h.agent);
    n->seen_base = true;
    if (s->disk->stat(s->disk->ctx, path.s, &st) == ERR_OK) n->last_used = n->window_used = st.mtime_s;
    store_map_insert(&s->map, n);
    store_row_stale(s, n);
    return h.agent[0] ? found_add(f->found, n, h.agent) : ERR_OK;
}

static void adopt_window(struct folder_scan *f, const char *name, struct store_node *n) {
    struct store *s = f->s;
    struct store_path path = path_in(f, name);
    struct store_header h;
    const char *reason = "";
    enum err err = store_read_header(s, path.s, &h, NULL, &reason);
    if (!err) {
        struct store_expected x = expected_of(&h, f, n->name, STORE_PART_WINDOW);
        err = store_format_match(&h, &x, &reason);
    }
    if (err == ERR_NOT_FOUND || err == ERR_IO) return;
    n->seen_window = !err;
    if (err) {
        refuse(f, path.s, name, err, reason);
        return;
    }
    n->window_from = h.window_from;
    store_map_set_files(&s->map, n, n->base_bytes, h.header_size + h.part_size);
    store_row_stale(s, n);
}

/* KNOWN: the length of its base file, and if that is another one, its header. */
static void check_base(struct folder_scan *f, const char *name, struct store_node *n) {
    struct store *s = f->s;
    struct store_path path = path_in(f, name);
    struct store_header h;
    struct disk_stat st;
    const char *reason = "";
    n->seen_base = true;
    if (s->disk->stat(s->disk->ctx, path.s, &st) != ERR_OK || st.size_bytes == n->base_bytes) return;
    enum err err = store_read_header(s, path.s, &h, NULL, &reason);
    if (!err) {
        struct store_expected x = {.part = STORE_PART_BASE,
                                   .tag = f->tag,
                                   .parent = n->parent_name,
                                   .name = n->name,
                                   .first_pos = n->first_pos,
                                   .n_tokens = n->n_tokens,
                                   .tokens = n->tokens};
        err = store_format_match(&h, &x, &reason);
    }
    if (err == ERR_NOT_FOUND || err == ERR_IO) return;
    if (err) {
        refuse(f, path.s, name, err, reason);
        n->seen_base = false;
        return;
    }
    n->owner = store_owner_of(h.agent);
    store_map_set_files(&s->map, n, h.header_size + h.part_size, n->window_bytes);
    store_row_stale(s, n);
}

static void check_window(struct folder_scan *f, const char *name, struct store_node *n) {
    struct store *s = f->s;
    struct disk_stat st;
    enum err err = s->disk->stat(s->disk->ctx, path_in(f, name).s, &st);
    n->seen_window = n->window_bytes > 0;
    if (!n->seen_window || (!err && st.size_bytes != n->window_bytes)) adopt_window(f, name, n);
}

static enum err scan_file(void *ctx, const char *name) {
    struct folder_scan *f = ctx;
    struct hash128 hash;
    if (!f->windows && strncmp(name, ".tmp-", 5) == 0) {
        remove_ours(f->s, path_in(f, name).s);
    } else if (!f->windows && parse_name(name, ".kv", &hash)) {
        struct store_node *n = store_map_find(&f->s->map, f->tag, hash);
        if (!n) return adopt_base(f, name, hash);
        check_base(f, name, n);
    } else if (f->windows && parse_name(name, ".win", &hash)) {
        struct store_node *n = store_map_find(&f->s->map, f->tag, hash);
        if (!n || !n->seen_base)
            remove_ours(f->s, path_in(f, name).s);
        else
            check_window(f, name, n);
    }
    return ERR_OK;
}

/* UNLISTED: the known blocks of a model in the folders of `folders` (a bit for each first byte). */
static void keep_unlisted(struct store *s, struct hash128 tag, const uint64_t folders[4]) {
    for (size_t i = 0; i < s->map.n_buckets; i++) {
        for (struct store_node *n = s->map.buckets[i]; n; n = n->hash_next) {
            uint8_t byte = n->name.b[0];
            if (hash128_equal(n->model->tag, tag) && (folders[byte / 64] >> (byte % 64) & 1))
                n->seen_base = n->seen_window = true;
        }
    }
}

static enum err scan_folder(struct folder_scan *f, uint8_t byte) {
    enum err err = ERR_OK;
    for (int round = 0; round < 2 && !err; round++) {
        f->windows = round == 1;
        err = f->s->disk->list(f->s->disk->ctx, f->path.s, scan_file, f);
    }
    if (!err || err == ERR_NOMEM || err == ERR_NOT_FOUND) return err == ERR_NOMEM ? err : ERR_OK;
    log_warn("store.scan", "err=%s folder=%s", err_name(err), log_q(f->path.s));
    uint64_t folders[4] = {0};
    folders[byte / 64] = UINT64_C(1) << (byte % 64);
    keep_unlisted(f->s, f->tag, folders);
    return ERR_OK;
}

/* ---- a model's folders ---- */

struct tag_scan {
    struct store *s;
    struct hash128 tag;
    uint64_t folders[4];
};

static enum err note_folder(void *ctx, const char *name) {
    struct tag_scan *t = ctx;
    static const char digits[] = "0123456789abcdef";
    const char *high = name[0] ? strchr(digits, name[0]) : NULL,
               *low = high && name[1] ? strchr(digits, name[1]) : NULL;
    if (!low || name[2]) return ERR_OK;
    size_t byte = (size_t)(high - digits) * 16 + (size_t)(low - digits);
    t->folders[byte / 64] |= UINT64_C(1) << (byte % 64);
    t->s->folder_bytes += DISK_UNIT_BYTES;
    return ERR_OK;
}

struct scan {
    struct store *s;
    struct store_found *found;
};

/* UNLISTED, all of a model: it has the folders that its blocks must lie in. */
static void keep_tag(struct store *s, struct hash128 tag) {
    static const uint64_t all[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    struct store_model *m = store_map_model_find(&s->map, tag);
    log_warn("store.scan", "folder=%s", log_q(store_path_tag(s, tag).s));
    keep_unlisted(s, tag, all);
    s->folder_bytes += DISK_UNIT_BYTES;
    if (!m) return;
    m->has_folder = true;
    for (unsigned byte = 0; byte < 256; byte++) {
        if (m->folder_blocks[byte] == 0) continue;
        m->folders[byte / 64] |= UINT64_C(1) << (byte % 64);
        s->folder_bytes += DISK_UNIT_BYTES;
    }
}

static enum err scan_tag(void *ctx, const char *name) {
    struct scan *all = ctx;
    struct store *s = all->s;
    struct tag_scan t = {.s = s};
    if (!hash128_from_hex(name, &t.tag)) return ERR_OK;
    uint64_t folder_bytes = s->folder_bytes;
    enum err err = s->disk->list(s->disk->ctx, store_path_tag(s, t.tag).s, note_folder, &t);
    if (err) {
        s->folder_bytes = folder_bytes;
        if (err != ERR_NOT_FOUND) keep_tag(s, t.tag);
        return ERR_OK;
    }
    s->folder_bytes += DISK_UNIT_BYTES;
    struct folder_scan f = {
        .s = s, .found = all->found, .tag = t.tag, .model = store_map_model_find(&s->map, t.tag)};
    for (unsigned byte = 0; byte < 256; byte++) {
        if (!(t.folders[byte / 64] >> (byte % 64) & 1)) continue;
        f.path = store_path_folder(s, t.tag, (uint8_t)byte);
        err = scan_folder(&f, (uint8_t)byte);
        if (err) return err;
    }
    struct store_model *model = store_map_model(&s->map, t.tag, "");
    if (!model) return ERR_NOMEM;
    model->has_folder = true;
    memcpy(model->folders, t.folders, sizeof t.folders);
    return ERR_OK;
}

/* Ends of chains first: who steps back must still find what its chain hung from. */
static int compare_end_first(const void *a, const void *b) {
    const struct store_node *x = *(struct store_node *const *)a, *y = *(struct store_node *const *)b;
    return x->first_pos == y->first_pos ? 0 : x->first_pos > y->first_pos ? -1 : 1;
}

/* GONE. */
enum err store_scan_drop(struct store *s) {
    AUTO(mem_freep) struct store_node **gone = mem_array(s->map.n_nodes + 1, sizeof(struct store_node *));
    if (!gone) return ERR_NOMEM;
    size_t n_gone = 0;
    for (size_t i = 0; i < s->map.n_buckets; i++) {
        for (struct store_node *n = s->map.buckets[i]; n; n = n->hash_next) {
            if (!n->seen_base) {
                gone[n_gone++] = n;
            } else if (n->window_bytes && !n->seen_window) {
                store_map_set_files(&s->map, n, n->base_bytes, 0);
                store_row_stale(s, n);
            }
        }
    }
    if (n_gone > 1) qsort(gone, n_gone, sizeof(struct store_node *), compare_end_first);
    for (size_t i = 0; i < n_gone; i++) store_forget_block(s, gone[i]);
    return ERR_OK;
}

enum err store_scan(struct store *s, struct store_found *found) {
    struct scan all = {.s = s, .found = found};
    s->folder_bytes = 3 * DISK_UNIT_BYTES; /* the folder itself, blocks, quarantine */
    enum err err = s->disk->list(s->disk->ctx, store_path_of(s, "blocks").s, scan_tag, &all);
    if (err) return err;
    LIST_EACH(&s->map.models, struct store_model, node, m) {
        if (m->row_stale) s->models_dirty = true;
        if (m->n_blocks == 0) store_remove_folders(s, m);
    }
    return ERR_OK;
}

/* ---- quarantine ---- */

static enum err note_quarantined(void *ctx, const char *name) {
    struct store *s = ctx;
    struct disk_stat st;
    struct store_path p;
    struct quarantined q;
    if (strlen(name) >= sizeof q.name || s->n_quarantined == QUARANTINE_FILES_MAX) return ERR_OK;
    must(snprintf(p.s, sizeof p.s, "%s/quarantine/%s", s->dir, name) < (int)sizeof p.s);
    if (s->disk->stat(s->disk->ctx, p.s, &st) != ERR_OK || st.is_dir) return ERR_OK;
    memcpy(q.name, name, strlen(name) + 1);
    q.bytes = disk_bytes_of(st.size_bytes);
    s->quarantine[s->n_quarantined++] = q;
    s->quarantine_bytes += q.bytes;
    return ERR_OK;
}

static int compare_quarantined(const void *a, const void *b) {
    return strcmp(((const struct quarantined *)a)->name, ((const struct quarantined *)b)->name);
}

enum err store_scan_quarantine(struct store *s) {
    s->n_quarantined = 0;
    s->quarantine_bytes = 0;
    enum err err = s->disk->list(s->disk->ctx, store_path_of(s, "quarantine").s, note_quarantined, s);
    /* Their names begin with the time: the order of names is the order of age. */
    if (s->n_quarantined > 1)
        qsort(s->quarantine, s->n_quarantined, sizeof s->quarantine[0], compare_quarantined);
    if (!err) store_quarantine_trim(s, store_quarantine_most(s));
    return err;
}
