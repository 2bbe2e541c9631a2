/* Writing blocks, and making room for them. Rules:
 *   WHOLE     a name in a block folder always stands for a whole, synced file: temporary file, fsync, rename, fsync of the folder.
 *   ONCE      a part that is there is not written again; only a window part that reaches further back replaces one, and
 *             anything one that could not be read.
 *   BEFORE    room is made before the first byte is written, the temporary file included.
 *   FENCED    before each deletion the lock and the database are asked whether the store is still ours.
 *   LEAVES    only leaves go (and window parts, which no chain needs to hang together).
 *   VALUE     the part goes first that is oldest for what it is worth (store_value.h), a window part before its base part. */
#include "store/store_private.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"

/* ---- sums ---- */

uint64_t store_disk_bytes(const struct store *s) {
    return s->map.bytes + s->quarantine_bytes + s->folder_bytes + s->stray_bytes + s->database_bytes +
           s->log_bytes + DISK_UNIT_BYTES; /* LOCK */
}

uint64_t store_used_bytes(const struct store *s) {
    uint64_t log = s->wal_bytes + SHM_BYTES;
    uint64_t rows = s->n_rows_stale * ROW_BYTES;
    return store_disk_bytes(s) + (s->log_bytes < log ? log - s->log_bytes : 0) + rows;
}

/* ---- removing ---- */

static enum err remove_file(struct store *s, const char *path) {
    enum err err = s->disk->remove(s->disk->ctx, path);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err remove_window(struct store *s, struct store_node *n, uint64_t *ret_files,
                              uint64_t *ret_bytes) {
    if (!n->window_bytes) return ERR_OK;
    if (store_is_fenced(s)) return ERR_LOCKED;
    enum err err = remove_file(s, store_path_part(s, n, STORE_PART_WINDOW).s);
    if (err) return err;
    *ret_files += 1;
    *ret_bytes += n->window_bytes;
    store_map_set_files(&s->map, n, n->base_bytes, 0);
    store_row_stale(s, n);
    return ERR_OK;
}

static bool has_folder(const struct store_model *model, uint8_t byte) {
    return model->folders[byte / 64] >> (byte % 64) & 1;
}

static void set_folder(struct store *s, struct store_model *model, uint8_t byte, bool there) {
    if (has_folder(model, byte) == there) return;
    model->folders[byte / 64] ^= UINT64_C(1) << (byte % 64);
    s->folder_bytes += there ? DISK_UNIT_BYTES : -(uint64_t)DISK_UNIT_BYTES;
}

static void set_tag_folder(struct store *s, struct store_model *model, bool there) {
    if (model->has_folder == there) return;
    model->has_folder = there;
    s->folder_bytes += there ? DISK_UNIT_BYTES : -(uint64_t)DISK_UNIT_BYTES;
}

static bool remove_folder(struct store *s, struct store_model *model, uint8_t byte) {
    if (!has_folder(model, byte)) return true;
    enum err err = s->disk->remove_dir(s->disk->ctx, store_path_folder(s, model->tag, byte).s);
    if (!err || err == ERR_NOT_FOUND) set_folder(s, model, byte, false);
    return !has_folder(model, byte);
}

void store_remove_folders(struct store *s, struct store_model *model) {
    bool all = true;
    for (unsigned byte = 0; byte < 256; byte++) all = remove_folder(s, model, (uint8_t)byte) && all;
    if (!all || !model->has_folder) return;
    enum err err = s->disk->remove_dir(s->disk->ctx, store_path_tag(s, model->tag).s);
    if (!err || err == ERR_NOT_FOUND) set_tag_folder(s, model, false);
}

void store_forget_block(struct store *s, struct store_node *n) {
    struct store_model *model = n->model;
    uint8_t byte = n->name.b[0];
    store_agents_retreat(s, n);
    store_row_dead(s, n);
    if (n->row_stale) s->n_rows_stale--;
    store_map_remove(&s->map, n);
    /* An empty folder is kept for the next block, unless folders are much of the budget. */
    if (model->n_blocks == 0)
        store_remove_folders(s, model);
    else if (model->folder_blocks[byte] == 0 && s->folder_bytes > s->budget_bytes / 16)
        remove_folder(s, model, byte);
}

enum err store_remove_block(struct store *s, struct store_node *n, uint64_t *ret_files, uint64_t *ret_bytes) {
    uint64_t files = 0, bytes = 0;
    /* The window part first: a lone window file has no meaning, a lone base file has. */
    enum err err = remove_window(s, n, &files, &bytes);
    if (!err && store_is_fenced(s)) err = ERR_LOCKED;
    if (!err) err = remove_file(s, store_path_part(s, n, STORE_PART_BASE).s);
    if (!err) {
        files++;
        bytes += n->base_bytes;
        store_forget_block(s, n);
    }
    if (ret_files) *ret_files += files;
    if (ret_bytes) *ret_bytes += bytes;
    return err;
}

/* ---- eviction ---- */

static uint64_t mark_path(struct store_node *leaf, uint64_t round) {
    uint64_t bytes = 0;
    for (struct store_node *n = leaf; n && !store_node_is_root(n) && n->kept_at != round; n = n->parent) {
        n->kept_at = round;
        if (!n->model->pinned) bytes += store_node_disk_bytes(n);
    }
    return bytes;
}

/* What can't go, marked with a new round: pinned agents' chains and the chain that is being extended. *ret_bytes: of
 * those, and of pinned models. */
static uint64_t mark_kept(struct store *s, struct store_node *guard, uint64_t *ret_bytes) {
    uint64_t round = ++s->round;
    *ret_bytes = 0;
    LIST_EACH(&s->map.models, struct store_model, node, m) {
        if (m->pinned) *ret_bytes += m->bytes;
    }
    LIST_EACH(&s->agents_pinned, struct store_agent, pinned, a) {
        for (uint32_t i = 0; i < a->n_chains; i++) *ret_bytes += mark_path(a->chains[i]->leaf, round);
    }
    if (guard) *ret_bytes += mark_path(guard, round);
    return round;
}

static enum err evict_one(struct store *s, uint64_t round) {
    if (s->n_quarantined > 0) {
        uint64_t before = s->quarantine_bytes;
        store_quarantine_trim(s, before - s->quarantine[0].bytes);
        if (s->quarantine_bytes < before) return ERR_OK;
    }
    bool window = false;
    struct store_node *n = store_map_victim(&s->map, round, &window);
    if (!n) return ERR_LIMIT;
    uint64_t files = 0, bytes = 0;
    enum err err = window ? remove_window(s, n, &files, &bytes) : store_remove_block(s, n, &files, &bytes);
    if (!err) s->counters.evicted++;
    return err;
}

/* Rows that wait for the database take their share as well; written they are smaller, if there is room to write them. */
static bool rows_help(const struct store *s, uint64_t need) {
    uint64_t written = store_used_bytes(s) - s->n_rows_stale * (ROW_BYTES - ROW_WRITTEN_BYTES);
    return s->n_rows_stale > STALE_ROWS_MAX && written + need <= s->budget_bytes;
}

enum err store_make_room(struct store *s, uint64_t need, struct store_node *guard) {
    if (s->load) return need > 0 ? ERR_IO : ERR_OK; /* what is there is not known yet */
    if (store_used_bytes(s) + need <= s->budget_bytes) return ERR_OK;
    if (store_is_fenced(s)) return ERR_LOCKED;
    uint64_t kept = 0, round = mark_kept(s, guard, &kept);
    uint64_t can_go = s->map.bytes - kept + s->quarantine_bytes;
    if (store_used_bytes(s) - can_go + need > s->budget_bytes && need > 0) return ERR_LIMIT;
    while (store_used_bytes(s) + need > s->budget_bytes) {
        enum err err = rows_help(s, need) ? store_flush_rows(s, false) : ERR_LIMIT;
        if (!err) continue;
        if (err != ERR_LOCKED) err = evict_one(s, round);
        if (err) return err;
    }
    return ERR_OK;
}

/* ---- writing ---- */

static void roll_day(struct store *s) {
    int64_t day = store_now_s() / STORE_SECONDS_A_DAY;
    if (day == s->day) return;
    s->day = day;
    s->day_bytes = 0;
    s->day_dirty = true;
}

/* Makes what is missing of blocks/<tag>/<first byte>; a new name is made durable in the folder above. */
static enum err make_folder(struct store *s, struct store_model *model, uint8_t byte) {
    struct store_path folder = store_path_folder(s, model->tag, byte), tag = store_path_tag(s, model->tag);
    bool made = false;
    enum err err = ERR_OK;
    if (!model->has_folder) {
        err = s->disk->make_dir(s->disk->ctx, tag.s, &made);
        if (!err) err = s->disk->sync_dir(s->disk->ctx, store_path_of(s, "blocks").s);
        if (err) return err;
        set_tag_folder(s, model, true);
    }
    if (has_folder(model, byte)) return ERR_OK;
    err = s->disk->make_dir(s->disk->ctx, folder.s, &made);
    if (!err) err = s->disk->sync_dir(s->disk->ctx, tag.s);
    if (!err) set_folder(s, model, byte, true);
    return err;
}

/* A file that should not be there; what can't be removed counts until the next start. */
static void discard(struct store *s, const char *path, uint64_t size_bytes) {
    enum err err = remove_file(s, path);
    if (err) s->stray_bytes += disk_bytes_of(size_bytes);
}

/* WHOLE. ERR_NOT_FOUND: the folder is not there (somebody removed it). */
static enum err write_file(struct store *s, const struct store_node *n, enum store_part part,
                           const struct buf *header, const uint8_t *data, size_t size_bytes) {
    char name[48];
    snprintf(name, sizeof name, "/.tmp-%ld-%llu", (long)getpid(), (unsigned long long)++s->n_temp);
    struct store_path folder = store_path_folder(s, n->model->tag, n->name.b[0]), temp = folder;
    struct store_path path = store_path_part(s, n, part);
    must(strlen(temp.s) + strlen(name) < sizeof temp.s);
    memcpy(temp.s + strlen(temp.s), name, strlen(name) + 1);
    int fd = -1;
    enum err err = s->disk->create(s->disk->ctx, temp.s, &fd);
    if (err) return err;
    err = s->disk->write(s->disk->ctx, fd, header->data, header->size);
    if (!err) err = s->disk->write(s->disk->ctx, fd, data, size_bytes);
    if (!err) err = s->disk->sync(s->disk->ctx, fd);
    s->disk->close(s->disk->ctx, fd);
    if (!err) err = s->disk->rename(s->disk->ctx, temp.s, path.s);
    if (err) {
        discard(s, temp.s, header->size + size_bytes);
        return err == ERR_NOT_FOUND ? ERR_IO : err;
    }
    err = s->disk->sync_dir(s->disk->ctx, folder.s);
    if (err) discard(s, path.s, header->size + size_bytes); /* its name may be lost: then it is not stored */
    return err;
}

static void fill_header(struct store_header *h, const struct store_block *b, const struct store_node *n,
                        enum store_part part) {
    bool base = part == STORE_PART_BASE;
    *h = (struct store_header){.part = part,
                               .flags = n->flags,
                               .tag = b->tag,
                               .parent = b->parent.h,
                               .name = n->name,
                               .n_tokens = b->n_tokens,
                               .first_pos = b->first_pos,
                               .window_from = base ? 0 : b->window_from,
                               .part_size = base ? b->base_size : b->window_size};
    h->part_hash = hash64(base ? b->base : b->window, h->part_size);
    snprintf(h->model, sizeof h->model, "%s", b->model);
    if (b->n_tokens < BLOCK_TOKENS) snprintf(h->agent, sizeof h->agent, "%s", b->agent);
    memcpy(h->tokens, b->tokens, sizeof b->tokens[0] * b->n_tokens);
}

/* Writes one part of n and notes its file. */
static enum err write_part(struct store *s, const struct store_block *b, struct store_node *n,
                           enum store_part part, uint64_t *ret_size) {
    struct store_header h;
    uint8_t room[STORE_HEADER_BYTES_MAX];
    struct buf header = {
        .data = room, .room = sizeof room, .cap = sizeof room}; /* never grows: never freed */
    fill_header(&h, b, n, part);
    enum err err = store_format_encode(&h, &header);
    if (err) return err;
    const uint8_t *data = part == STORE_PART_BASE ? b->base : b->window;
    err = make_folder(s, n->model, n->name.b[0]);
    if (!err) err = write_file(s, n, part, &header, data, h.part_size);
    if (err == ERR_NOT_FOUND) store_look_lost(s);
    if (err == ERR_NOT_FOUND &&
        !s->lost) { /* somebody has removed the folder under us: once more from the start */
        set_folder(s, n->model, n->name.b[0], false);
        set_tag_folder(s, n->model, false);
        err = make_folder(s, n->model, n->name.b[0]);
        if (!err) err = write_file(s, n, part, &header, data, h.part_size);
    }
    if (err) return err == ERR_NOT_FOUND ? ERR_IO : err; /* that one means a parent */
    *ret_size = h.header_size + h.part_size;
    s->day_bytes += *ret_size;
    s->day_dirty = true;
    s->counters.bytes_written += *ret_size;
    return ERR_OK;
}

/* ---- put ---- */

static uint64_t file_bytes(const struct store_block *b, size_t part_size) {
    size_t agent = b->n_tokens < BLOCK_TOKENS ? strlen(b->agent) : 0;
    return STORE_HEADER_FIXED_BYTES + strlen(b->model) + agent + 4 * (uint64_t)b->n_tokens + 8 + part_size;
}

static bool is_valid(const struct store_block *b) {
    if (!b->tokens || b->n_tokens < 1 || b->n_tokens > BLOCK_TOKENS || (!b->base && !b->window)) return false;
    if (b->first_pos % BLOCK_TOKENS != 0 || b->first_pos > INT32_MAX - BLOCK_TOKENS) return false;
    if ((b->first_pos == 0) != hash128_is_zero(b->parent.h) || hash128_is_zero(b->tag)) return false;
    if (b->window && (b->window_from < b->first_pos || b->window_from > b->first_pos + b->n_tokens))
        return false;
    if (b->base_size > STORE_PART_BYTES_MAX || b->window_size > STORE_PART_BYTES_MAX) return false;
    return strlen(b->model) <= MODEL_ID_BYTES_MAX && strlen(b->agent) <= AGENT_ID_BYTES_MAX;
}

/* What of b is to be written. */
struct put_plan {
    bool base, window;
    uint64_t need; /* bytes of new files and folders */
};

static struct put_plan plan_put(const struct store_block *b, const struct store_model *m,
                                const struct store_node *n) {
    struct put_plan p = {.base = b->base && (!n || n->base_retry_ns),
                         .window = b->window && (!n || !n->window_bytes || n->window_retry_ns ||
                                                 b->window_from < n->window_from)};
    if (p.base) p.need += disk_bytes_of(file_bytes(b, b->base_size));
    if (p.window) p.need += disk_bytes_of(file_bytes(b, b->window_size));
    if (p.need > 0) p.need += (m->has_folder ? 1 : 2) * (uint64_t)DISK_UNIT_BYTES + ROW_BYTES;
    return p;
}

static enum err may_put(struct store *s, const struct store_block *b, uint64_t need,
                        struct store_node *guard) {
    if (s->lost) return ERR_IO;
    if (store_is_fenced(s)) return ERR_LOCKED;
    roll_day(s);
    if (!b->leaving && s->day_bytes + need > s->write_per_day_bytes) return ERR_LIMIT;
    return store_make_room(s, need, guard);
}

static enum err put_base(struct store *s, const struct store_block *b, struct store_model *m,
                         struct hash128 name, struct store_node **ret, uint64_t *ret_written) {
    struct store_node *n = store_node_new(m, b->tokens, b->n_tokens);
    if (!n) return ERR_NOMEM;
    n->name = name;
    n->parent_name = b->parent.h;
    n->first_pos = b->first_pos;
    bool tail = b->n_tokens < BLOCK_TOKENS;
    if (tail && b->branch) n->flags |= STORE_FLAG_BRANCH;
    if (tail) n->tail = STORE_TAIL_NEW;
    n->owner = store_owner_of(b->agent);
    uint64_t size = 0;
    enum err err = write_part(s, b, n, STORE_PART_BASE, &size);
    if (err) {
        store_node_free(n);
        return err;
    }
    n->base_bytes = size;
    n->last_used = store_now_s();
    store_map_insert(&s->map, n);
    store_row_stale(s, n);
    s->counters.blocks_written++;
    *ret_written += size;
    *ret = n;
    return ERR_OK;
}

/* The file of n could not be read: a new one takes its place. */
static enum err renew_base(struct store *s, const struct store_block *b, struct store_node *n,
                           uint64_t *ret_written) {
    uint64_t size = 0;
    enum err err = write_part(s, b, n, STORE_PART_BASE, &size);
    if (err) return err;
    n->base_retry_ns = 0;
    n->owner = store_owner_of(b->agent);
    store_map_set_files(&s->map, n, size, n->window_bytes);
    store_map_touch(&s->map, n, store_now_s());
    store_row_stale(s, n);
    *ret_written += size;
    return ERR_OK;
}

static enum err put_window(struct store *s, const struct store_block *b, struct store_node *n,
                           uint64_t *ret_written) {
    uint64_t size = 0;
    enum err err = write_part(s, b, n, STORE_PART_WINDOW, &size);
    if (err) return err;
    n->window_from = b->window_from;
    n->window_retry_ns = 0;
    store_map_set_files(&s->map, n, n->base_bytes, size);
    store_map_touch_window(&s->map, n, store_now_s());
    store_row_stale(s, n);
    *ret_written += size;
    return ERR_OK;
}

/* b's chain up to it: ERR_NOT_FOUND when its parent is not stored, ERR_INVALID when that can't be its parent. */
static enum err find_parent(struct store *s, const struct store_block *b, struct store_model *m,
                            struct store_node **ret) {
    *ret = b->first_pos == 0 ? &m->root : store_map_find(&s->map, b->tag, b->parent.h);
    if (!*ret) return ERR_NOT_FOUND;
    return store_node_end(*ret) == b->first_pos && !store_node_is_tail(*ret) ? ERR_OK : ERR_INVALID;
}

static enum err put(struct store *s, const struct store_block *b, uint64_t *ret_written) {
    if (s->load) return ERR_IO; /* its parent may be there and not be seen yet */
    struct store_model *m = store_map_model(&s->map, b->tag, b->model);
    if (!m) return ERR_NOMEM;
    if (m->row_stale) s->models_dirty = true;
    struct hash128 name = block_name_of(b->parent, b->tag, b->tokens, b->n_tokens).h;
    struct store_node *n = store_map_find(&s->map, b->tag, name), *parent = NULL;
    enum err err = find_parent(s, b, m, &parent);
    if (err) return err;
    if (!n && !b->base) return ERR_NOT_FOUND;
    struct put_plan p = plan_put(b, m, n);
    if (p.need > 0) err = may_put(s, b, p.need, n ? n : parent);
    if (err) return err;
    if (p.base && n)
        err = renew_base(s, b, n, ret_written);
    else if (p.base)
        err = put_base(s, b, m, name, &n, ret_written);
    else
        store_map_touch(&s->map, n, store_now_s());
    if (!err && p.window) err = put_window(s, b, n, ret_written);
    return err;
}

enum err store_put(struct store *s, const struct store_block *b, uint64_t *ret_written_bytes) {
    *ret_written_bytes = 0;
    if (!is_valid(b)) return ERR_INVALID;
    enum err err = put(s, b, ret_written_bytes);
    if (err && err != ERR_LIMIT && err != ERR_NOT_FOUND && !s->load) s->counters.write_failures++;
    return err;
}
