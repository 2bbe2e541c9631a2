/* engine_llama_cells.c - blocks of cells out of and into libllama's cache through its public API (DESIGN 3).
 *
 * libllama can only save and restore a whole sequence. A range becomes one by copying it (no data moves: the
 * cells only get a second owner) to the scratch sequence: take   seq_cp(seq -> scratch, range),
 * state_seq_get_data(scratch), drop the scratch put    state_seq_set_data(scratch), seq_cp(scratch -> seq,
 * range), drop the scratch
 *
 * The bytes. A sequence's state is [header][base part][window part], a PARTIAL_ONLY one [header][window
 * part]; models without a window have no window part, and PARTIAL_ONLY changes nothing. The header (magic and
 * sequence id) is learnt from an empty scratch in cells_learn_layout(): there both parts are equally long, so
 * header = 2 * partial - whole. We store parts without their header; a put writes header, base, window, the
 * latter from the store or the empty one learnt above. THE HEADER RULE: whoever cuts a state into parts takes
 * the header off first. Forgetting it shifts the base part by 8 bytes, and nothing fails, the text only
 * drifts.
 *
 * Inside of a part (cells_part_parse): u32 streams (1: unified), u32 cells; when there are cells, for each
 * one i32 pos, u32 owners (1), on some models 12 bytes more, i32 owner; then u32 transposed (0 with flash
 * attention), u32 layers, and for each tensor i32 type, u64 row bytes, a row for each cell. Only the debug
 * hash, the flip of a byte and a check of the positions look in there; on a model whose parts read otherwise
 * they stand aside (layout_known).
 *
 * GAP: a block put without its window part leaves a gap in the window, and what lies before the gap stays in
 * libllama's window cache: its lowest position says nothing about those in between. So each sequence knows
 * from where on its window was put or decoded without one (seq_whole), and nothing before it counts as held. */
#include "seat/engine_llama.h"

#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"

#define CELL_META_BYTES 12u
#define CELL_META_EXT_BYTES 12u

/* ---- inside of a part ---- */

struct cells_part {
    const uint8_t *bytes;
    size_t size, meta_stride, tensors_at;
    uint32_t n_cells;
};

struct cells_tensor {
    size_t rows_at;
    uint64_t row_bytes;
};

/* The next tensor of the part; *at starts at tensors_at. False at the end, or when the sums do not hold (then
 * *at is not the part's size). */
static bool next_tensor(const struct cells_part *p, size_t *at, struct cells_tensor *ret) {
    struct cursor c = cursor_over(p->bytes + *at, p->size - *at);
    cursor_u32(&c); /* type */
    ret->row_bytes = cursor_u64(&c);
    if (c.error || ret->row_bytes == 0 || ret->row_bytes > cursor_left(&c) / p->n_cells) return false;
    ret->rows_at = *at + c.at;
    *at = ret->rows_at + (size_t)ret->row_bytes * p->n_cells;
    return true;
}

static int32_t cell_pos(const struct cells_part *p, uint32_t i) {
    struct cursor c = cursor_over(p->bytes + 8 + i * p->meta_stride, 4);
    return (int32_t)cursor_u32(&c);
}

static bool parse_with_stride(struct cells_part *p, size_t stride) {
    p->meta_stride = stride;
    size_t meta_end = 8 + stride * p->n_cells;
    if (p->size < meta_end + 8) return false;
    for (uint32_t i = 0; i < p->n_cells; i++) {
        struct cursor c = cursor_over(p->bytes + 8 + i * stride, stride);
        int32_t pos = (int32_t)cursor_u32(&c);
        if (pos < 0 || cursor_u32(&c) != 1) return false;
    }
    struct cursor c = cursor_over(p->bytes + meta_end, 8);
    uint32_t transposed = cursor_u32(&c), n_layers = cursor_u32(&c);
    if (transposed != 0 || n_layers == 0) return false;
    p->tensors_at = meta_end + 8;
    size_t at = p->tensors_at;
    struct cells_tensor t;
    while (next_tensor(p, &at, &t)) {
    }
    return at == p->size;
}

/* False: not a part as this file knows it. n_cells 0 is fine and has no tensors. */
static bool cells_part_parse(const uint8_t *bytes, size_t size, struct cells_part *ret) {
    *ret = (struct cells_part){.bytes = bytes, .size = size};
    struct cursor c = cursor_over(bytes, size);
    uint32_t n_streams = cursor_u32(&c);
    ret->n_cells = cursor_u32(&c);
    if (c.error || n_streams != 1 || ret->n_cells > BLOCK_TOKENS) return false;
    if (ret->n_cells == 0) return size == 8;
    return parse_with_stride(ret, CELL_META_BYTES) ||
           parse_with_stride(ret, CELL_META_BYTES + CELL_META_EXT_BYTES);
}

/* order[pos - p0] = the cell that holds pos, -1 for none. False: a position outside of p0..p1-1, or twice. */
static bool cells_order(const struct cells_part *p, int32_t p0, int32_t p1, int16_t order[BLOCK_TOKENS]) {
    for (uint32_t i = 0; i < BLOCK_TOKENS; i++) order[i] = -1;
    for (uint32_t i = 0; i < p->n_cells; i++) {
        int32_t pos = cell_pos(p, i);
        if (pos < p0 || pos >= p1 || order[pos - p0] >= 0) return false;
        order[pos - p0] = (int16_t)i;
    }
    return true;
}

/* ---- the layout ---- */

static void blocks_off(struct engine *e, const char *why) {
    e->blocks_on = false;
    snprintf(e->blocks_why, sizeof e->blocks_why, "%s", why);
}

void cells_learn_layout(struct engine *e) {
    e->window = 0;
    e->layout_known = true;
    e->blocks_on = true;
    e->blocks_why[0] = 0;
    if (e->recurrent) {
        blocks_off(e, "the model's recurrent state can't be cut into blocks");
        return;
    }
    uint8_t whole[STATE_EMPTY_BYTES_MAX] = {0}, partial[STATE_EMPTY_BYTES_MAX] = {0};
    size_t n_whole = llama_state_seq_get_size(e->ctx, SCRATCH);
    size_t n_partial = llama_state_seq_get_size_ext(e->ctx, SCRATCH, LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY);
    if (n_whole > sizeof whole || n_partial > n_whole ||
        llama_state_seq_get_data(e->ctx, whole, sizeof whole, SCRATCH) != n_whole ||
        llama_state_seq_get_data_ext(e->ctx, partial, sizeof partial, SCRATCH,
                                     LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY) != n_partial) {
        blocks_off(e, "the state of an empty sequence can't be read");
        return;
    }
    /* Without a window both states are the same, and the header is what stands before the one empty part. */
    bool windowed = n_partial < n_whole;
    size_t part = windowed ? n_whole - n_partial : 8;
    e->header_bytes = n_partial > part ? n_partial - part : 0;
    if (e->header_bytes != 8 || memcmp(whole, partial, e->header_bytes) != 0 ||
        n_whole != e->header_bytes + part * (windowed ? 2 : 1)) {
        blocks_off(e, "the parts of an empty sequence's state do not add up");
        return;
    }
    memcpy(e->header, whole, e->header_bytes);
    if (!windowed) return;
    e->window = llama_model_n_swa(e->model);
    e->empty_window_bytes = part;
    memcpy(e->empty_window, partial + e->header_bytes, part);
    if (e->window <= 0) blocks_off(e, "the state has two parts, but the model has no window");
}

static void scratch_drop(struct engine *e) {
    llama_memory_seq_rm(e->memory, SCRATCH, -1, -1);
}

/* ---- cutting ---- */

static void forget_from(struct engine *e, int32_t seq, int32_t p0, int32_t p1) {
    int32_t end = e->seq_end[seq];
    if (p1 < 0 || p1 > end) p1 = end;
    if (p0 >= p1) return;
    e->seq_held[seq] -= p1 - p0;
    if (p1 == end) e->seq_end[seq] = p0;
    if (e->seq_held[seq] < 0) e->seq_held[seq] = 0; /* what was cut had a hole already */
}

static void drop_whole(struct engine *e, int32_t seq) {
    llama_memory_seq_rm(e->memory, SEQ(seq), -1, -1);
    e->seq_end[seq] = e->seq_held[seq] = e->seq_whole[seq] = 0;
}

bool cells_drop_from(struct engine *e, int32_t seq, int32_t p0) {
    if (llama_memory_seq_rm(e->memory, SEQ(seq), p0, -1)) return true;
    drop_whole(e, seq);
    return false;
}

/* May the cells from p0 on go, so that position p0 can be decoded next? It looks back window - 1 positions,
 * and libllama answers only for what the window cache still holds: pos_min..end. GAP. */
static bool window_allows_cut(const struct engine *e, int32_t seq, int32_t p0) {
    int32_t lowest = llama_memory_seq_pos_min(e->memory, SEQ(seq));
    int32_t needed = p0 - e->window + 1;
    if (lowest >= 0 && lowest < e->seq_whole[seq]) lowest = e->seq_whole[seq];
    return lowest >= 0 && lowest < p0 && lowest <= (needed > 0 ? needed : 0);
}

bool engine_seq_rm(struct engine *e, int32_t seq, int32_t p0, int32_t p1) {
    must(e->ctx && seq >= 0 && (uint32_t)seq < e->n_seqs);
    if (p0 < 0) p0 = 0;
    int32_t end = e->seq_end[seq];
    if (p0 >= end && p0 > 0) return true;
    bool to_end = p1 < 0 || p1 >= end;
    if (p0 == 0 && to_end) {
        drop_whole(e, seq);
        return true;
    }
    if (!to_end && p1 <= p0) return true;
    if (e->window > 0 && (!to_end || !window_allows_cut(e, seq, p0))) return false;
    if (!llama_memory_seq_rm(e->memory, SEQ(seq), p0, to_end ? -1 : p1)) return false;
    forget_from(e, seq, p0, to_end ? -1 : p1);
    return true;
}

uint32_t engine_cells_used(const struct engine *e) {
    uint32_t used = 0;
    for (uint32_t s = 0; s < e->n_seqs; s++) used += (uint32_t)e->seq_held[s];
    return used;
}

/* ---- take ---- */

/* The state of the scratch in e->blob. */
static enum err scratch_read(struct engine *e, bool window_only) {
    llama_state_seq_flags flags =
        window_only ? LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY : LLAMA_STATE_SEQ_FLAGS_NONE;
    size_t size = llama_state_seq_get_size_ext(e->ctx, SCRATCH, flags);
    buf_clear(&e->blob);
    uint8_t *at = buf_reserve(&e->blob, size);
    if (!at) return e->blob.error == ERR_LIMIT ? ERR_LIMIT : ERR_NOMEM;
    if (llama_state_seq_get_data_ext(e->ctx, at, size, SCRATCH, flags) != size) return ERR_INTERNAL;
    e->blob.size = size;
    return size >= e->header_bytes ? ERR_OK : ERR_INTERNAL;
}

static int32_t scratch_window_from(const struct engine *e, int32_t p1) {
    if (e->window == 0) return p1;
    int32_t lowest = llama_memory_seq_pos_min(e->memory, SCRATCH);
    if (lowest < 0) return p1;
    /* A state leaves out what the token after its last one can't see any more. */
    return lowest < p1 - e->window ? p1 - e->window : lowest;
}

static enum err scratch_split(struct engine *e, int parts, struct buf *base, struct buf *window) {
    bool want_base = parts & ENGINE_PART_BASE, want_window = (parts & ENGINE_PART_WINDOW) && e->window > 0;
    if (!want_base && !want_window) return ERR_OK;
    enum err err = scratch_read(e, !want_base);
    if (err) return err;
    const uint8_t *at = e->blob.data + e->header_bytes;
    size_t left = e->blob.size - e->header_bytes, n_window = 0;
    if (e->window > 0) {
        size_t partial =
            want_base ? llama_state_seq_get_size_ext(e->ctx, SCRATCH, LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY)
                      : e->blob.size;
        if (partial < e->header_bytes || partial - e->header_bytes > left) return ERR_INTERNAL;
        n_window = partial - e->header_bytes;
    }
    if (want_base) buf_put(base, at, left - n_window);
    if (want_base && base->error) return base->error;
    if (want_window) buf_put(window, at + left - n_window, n_window);
    return want_window ? window->error : ERR_OK;
}

static enum err take_range(struct engine *e, int32_t seq, int32_t p0, int32_t p1, int parts, struct buf *base,
                           struct buf *window, int32_t *ret_window_from) {
    llama_memory_seq_cp(e->memory, SEQ(seq), SCRATCH, p0, p1);
    if (ret_window_from) *ret_window_from = scratch_window_from(e, p1);
    enum err err = scratch_split(e, parts, base, window);
    scratch_drop(e);
    return err;
}

/* GAP: of a window only what lies behind it. */
enum err engine_block_take(struct engine *e, int32_t seq, int32_t p0, int32_t p1, int parts, struct buf *base,
                           struct buf *window, int32_t *ret_window_from) {
    must(e->ctx && seq >= 0 && (uint32_t)seq < e->n_seqs);
    must(p0 >= 0 && p0 < p1 && p1 - p0 <= BLOCK_TOKENS && p1 <= e->seq_end[seq]);
    if (ret_window_from) *ret_window_from = p1;
    if (!e->blocks_on) return ERR_UNSUPPORTED;
    int32_t whole = e->seq_whole[seq], gap = e->window > 0 && whole > p0 ? (whole < p1 ? whole : p1) : p0;
    if (gap == p0) return take_range(e, seq, p0, p1, parts, base, window, ret_window_from);
    enum err err = take_range(e, seq, p0, p1, parts & ENGINE_PART_BASE, base, window, NULL);
    if (err || gap == p1) return err;
    return take_range(e, seq, gap, p1, parts & ENGINE_PART_WINDOW, base, window, ret_window_from);
}

/* ---- put ---- */

/* The fault kv_flip: one bit of a K or V row of the middle cell, in the middle tensor. */
static void flip_a_byte(uint8_t *part, size_t size) {
    struct cells_part p;
    struct cells_tensor t = {0};
    size_t at, n = 0;
    if (!cells_part_parse(part, size, &p) || p.n_cells == 0) {
        part[size / 2] ^= 0x40;
        return;
    }
    for (at = p.tensors_at; next_tensor(&p, &at, &t);) n++;
    at = p.tensors_at;
    for (size_t i = 0; i <= n / 2 && next_tensor(&p, &at, &t); i++) {
    }
    part[t.rows_at + t.row_bytes * (p.n_cells / 2) + t.row_bytes / 2] ^= 0x40;
}

/* The positions in a base part must be p0..p1-1, each once. */
static bool base_is_range(const struct engine *e, const uint8_t *base, size_t size, int32_t p0, int32_t p1) {
    struct cells_part p;
    int16_t order[BLOCK_TOKENS];
    if (!e->layout_known) return true;
    return cells_part_parse(base, size, &p) && p.n_cells == (uint32_t)(p1 - p0) &&
           cells_order(&p, p0, p1, order);
}

enum err engine_block_put(struct engine *e, int32_t seq, int32_t p0, int32_t p1, struct buf *base,
                          const uint8_t *window, size_t window_size) {
    must(e->ctx && seq >= 0 && (uint32_t)seq < e->n_seqs && base->size >= ENGINE_BLOCK_HEAD);
    must(p0 >= 0 && p0 < p1 && p1 - p0 <= BLOCK_TOKENS && e->seq_end[seq] <= p0);
    if (!e->blocks_on) return ERR_UNSUPPORTED;
    uint8_t *part = base->data + ENGINE_BLOCK_HEAD;
    size_t part_size = base->size - ENGINE_BLOCK_HEAD;
    if (!base_is_range(e, part, part_size, p0, p1) || (window_size > 0 && e->window == 0))
        return ERR_MISMATCH;
    if (fault_hit(FAULT_KV_FLIP, NULL)) flip_a_byte(part, part_size);
    if (e->window > 0) {
        buf_put(base, window_size ? window : e->empty_window,
                window_size ? window_size : e->empty_window_bytes);
        if (base->error) return base->error;
    }
    uint8_t *state = base->data + ENGINE_BLOCK_HEAD - e->header_bytes;
    size_t size = base->size - ENGINE_BLOCK_HEAD + e->header_bytes;
    memcpy(state, e->header, e->header_bytes);
    if (llama_state_seq_set_data(e->ctx, state, size, SCRATCH) != size) {
        scratch_drop(e); /* a failed restore leaves cells behind */
        return ERR_MISMATCH;
    }
    int32_t from = e->window > 0 ? llama_memory_seq_pos_min(e->memory, SCRATCH) : p0;
    if (from != p0) e->seq_whole[seq] = from < 0 ? p1 : from; /* GAP */
    llama_memory_seq_cp(e->memory, SCRATCH, SEQ(seq), p0, p1);
    scratch_drop(e);
    e->seq_end[seq] = p1;
    e->seq_held[seq] += p1 - p0;
    return ERR_OK;
}

/* ---- hash ---- */

/* Rows in order of position, so that the hash does not depend on where cells lie nor on any sequence id. */
static enum err hash_part(struct hash_state *h, const uint8_t *bytes, size_t size, int32_t p0, int32_t p1,
                          int32_t from) {
    struct cells_part p;
    struct cells_tensor t;
    int16_t order[BLOCK_TOKENS];
    if (!cells_part_parse(bytes, size, &p) || !cells_order(&p, p0, p1, order)) return ERR_UNSUPPORTED;
    if (p.n_cells == 0) return ERR_OK;
    for (size_t at = p.tensors_at; next_tensor(&p, &at, &t);) {
        for (int32_t pos = p0 > from ? p0 : from; pos < p1; pos++) {
            int16_t cell = order[pos - p0];
            if (cell >= 0)
                hash_state_add(h, bytes + t.rows_at + t.row_bytes * (size_t)cell, (size_t)t.row_bytes);
        }
    }
    return ERR_OK;
}

static enum err hash_block(struct engine *e, struct hash_state *h, int32_t seq, int32_t p0, int32_t p1,
                           int32_t from) {
    struct buf base = BUF(e->blob.cap), window = BUF(e->blob.cap);
    int parts = ENGINE_PART_BASE | (p1 > from ? ENGINE_PART_WINDOW : 0);
    enum err err = engine_block_take(e, seq, p0, p1, parts, &base, &window, NULL);
    if (!err) err = hash_part(h, base.data, base.size, p0, p1, p0);
    if (!err && window.size) err = hash_part(h, window.data, window.size, p0, p1, from);
    buf_free(&base);
    buf_free(&window);
    return err;
}

enum err engine_kv_hash(struct engine *e, int32_t seq, int32_t p1, uint64_t *ret) {
    must(e->ctx && seq >= 0 && (uint32_t)seq < e->n_seqs && p1 <= e->seq_end[seq]);
    *ret = 0;
    if (!e->blocks_on) return ERR_UNSUPPORTED;
    struct hash_state *h = hash_state_new();
    if (!h) return ERR_NOMEM;
    /* The last window as the token at p1 sees it. */
    int32_t from = e->window > 0 ? p1 - e->window + 1 : p1;
    enum err err = ERR_OK;
    for (int32_t p0 = 0; p0 < p1 && !err; p0 += BLOCK_TOKENS) {
        int32_t end = p1 - p0 > BLOCK_TOKENS ? p0 + BLOCK_TOKENS : p1;
        err = hash_block(e, h, seq, p0, end, from);
    }
    if (!err) *ret = hash_state_end64(h);
    hash_state_free(h);
    return err;
}

/* ---- self-test ---- */

#define TEST_TOKENS 64
#define TEST_BLOCK 8
#define TEST_BLOCKS (TEST_TOKENS / TEST_BLOCK)

struct test_block {
    struct buf base, window;
};

/* Of a copy: the parts are compared later. */
static enum err test_put(struct engine *e, int32_t p0, const struct test_block *b) {
    struct buf copy = BUF(e->blob.cap);
    static const uint8_t head[ENGINE_BLOCK_HEAD];
    buf_put(&copy, head, sizeof head);
    buf_put(&copy, b->base.data, b->base.size);
    enum err err = copy.error;
    if (!err) err = engine_block_put(e, 0, p0, p0 + TEST_BLOCK, &copy, b->window.data, b->window.size);
    buf_free(&copy);
    return err;
}

static enum err test_decode(struct engine *e, int32_t seq) {
    struct engine_item items[TEST_BLOCK];
    for (int32_t p = 0; p < TEST_TOKENS; p += TEST_BLOCK) {
        for (int32_t i = 0; i < TEST_BLOCK; i++) {
            /* Any tokens do; spread over the vocabulary so that no two cells are alike. */
            int32_t token = (int32_t)(((int64_t)(p + i + 1) * 7919) % e->n_vocab);
            items[i] = (struct engine_item){.token = token, .pos = p + i, .seq = seq};
        }
        enum err err = engine_decode(e, items, TEST_BLOCK);
        if (err) return err;
    }
    return ERR_OK;
}

static enum err test_take(struct engine *e, int32_t seq, struct test_block *blocks) {
    for (int32_t b = 0; b < TEST_BLOCKS; b++) {
        int32_t p0 = b * TEST_BLOCK;
        int32_t from = 0;
        enum err err = engine_block_take(e, seq, p0, p0 + TEST_BLOCK, ENGINE_PART_BASE | ENGINE_PART_WINDOW,
                                         &blocks[b].base, &blocks[b].window, &from);
        if (err) return err;
    }
    return ERR_OK;
}

static bool buf_same(const struct buf *a, const struct buf *b) {
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

static enum err test_round(struct engine *e, struct test_block *a, struct test_block *b,
                           const char **ret_step) {
    *ret_step = "decode";
    enum err err = test_decode(e, 0);
    if (err) return err;
    *ret_step = "take";
    err = test_take(e, 0, a);
    if (err) return err;
    /* Decoding wrote cells, so a row of zeros everywhere would be a layout that reads past them. */
    struct cells_part part;
    e->layout_known = cells_part_parse(a[0].base.data, a[0].base.size, &part) && part.n_cells == TEST_BLOCK;
    engine_seq_rm(e, 0, 0, -1);
    *ret_step = "put";
    for (int32_t i = 0; i < TEST_BLOCKS && !err; i++) err = test_put(e, i * TEST_BLOCK, &a[i]);
    if (err) return err;
    *ret_step = "take again";
    err = test_take(e, 0, b);
    if (err) return err;
    *ret_step = "compare";
    for (int32_t i = 0; i < TEST_BLOCKS; i++) {
        if (!buf_same(&a[i].base, &b[i].base) || !buf_same(&a[i].window, &b[i].window)) return ERR_MISMATCH;
    }
    return ERR_OK;
}

enum err engine_self_test(struct engine *e, char *why, size_t why_size) {
    must(e->ctx && engine_cells_used(e) == 0);
    if (!e->blocks_on) {
        snprintf(why, why_size, "%s", e->blocks_why);
        return ERR_UNSUPPORTED;
    }
    struct test_block a[TEST_BLOCKS] = {0}, b[TEST_BLOCKS] = {0};
    for (int i = 0; i < TEST_BLOCKS; i++) {
        a[i].base = a[i].window = b[i].base = b[i].window = BUF(e->blob.cap);
    }
    const char *step = "";
    uint64_t decoded = e->n_decoded;
    enum err err = test_round(e, a, b, &step);
    if (err) {
        snprintf(why, why_size, "self-test of the KV layout: %s: %s", step, err_text(err));
        if (err != ERR_CANCELED) blocks_off(e, why);
    }
    for (int i = 0; i < TEST_BLOCKS; i++) {
        buf_free(&a[i].base);
        buf_free(&a[i].window);
        buf_free(&b[i].base);
        buf_free(&b[i].window);
    }
    engine_seq_rm(e, 0, 0, -1);
    /* Cells as in a fresh context, the search for free ones from the first: what follows lies as if nothing
     * had been. */
    llama_memory_clear(e->memory, false);
    e->n_decoded = decoded;
    return err;
}
