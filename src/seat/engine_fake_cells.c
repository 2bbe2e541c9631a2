/* engine_fake_cells.c - the fake engine's KV: decode writes rows, logits are read from rows, blocks copy
 * rows. Part layout (little-endian): magic u32, first position u32, rows u32, bytes a row u32, then the rows
 * in order of position. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/must.h"
#include "seat/engine_fake.h"

#define PART_BASE_MAGIC 0x42464B31u
#define PART_WINDOW_MAGIC 0x57464B31u
#define PART_HEADER_BYTES 16

static struct fake_seq *seq_at(struct engine *e, int32_t seq) {
    must(e->seqs && seq >= 0 && (uint32_t)seq <= e->n_seqs);
    return &e->seqs[seq];
}

static uint8_t *base_row(const struct engine *e, const struct fake_seq *s, int32_t pos) {
    return e->base + (uint64_t)s->cells[pos] * e->base_bpt;
}

static uint8_t *win_row(const struct engine *e, const struct fake_seq *s, int32_t pos) {
    return s->win + (uint64_t)((uint32_t)pos % e->spec.window) * e->win_bpt;
}

static bool seq_reserve(struct fake_seq *s, uint32_t n) {
    if (n <= s->room) return true;
    uint32_t room = s->room ? s->room : 256;
    while (room < n) room *= 2;
    int32_t *cells = mem_realloc(s->cells, room * sizeof *cells);
    if (!cells) return false;
    s->cells = cells;
    uint64_t *digests = mem_realloc(s->digests, room * sizeof *digests);
    if (!digests) return false;
    s->digests = digests;
    s->room = room;
    return true;
}

/* What the rows that position pos may see say; before: without pos itself. */
static uint64_t seq_state(const struct engine *e, const struct fake_seq *s, int32_t pos, bool before) {
    int32_t last = before ? pos - 1 : pos;
    uint64_t state = last >= 0 ? s->digests[last] : 0;
    if (!e->spec.window) return state;
    int32_t from = pos - (int32_t)e->spec.window + 1;
    for (int32_t p = from < 0 ? 0 : from; p <= last; p++)
        state = fake_mix(state, p < s->win_from ? 1 : s->win_hash[(uint32_t)p % e->spec.window]);
    return state;
}

/* Reads the rows of pos that were just written and takes them into the sequence's digests. */
static void seq_digest(const struct engine *e, struct fake_seq *s, int32_t pos, bool has_window) {
    uint64_t before = pos > 0 ? s->digests[pos - 1] : 0;
    s->digests[pos] = fake_mix(before, hash64(base_row(e, s, pos), e->base_bpt));
    if (has_window) s->win_hash[(uint32_t)pos % e->spec.window] = hash64(win_row(e, s, pos), e->win_bpt);
}

static void row_fill(uint8_t *row, uint64_t size, uint64_t state) {
    for (uint64_t at = 0; at < size; at += 8) {
        uint64_t word = fake_mix(state, at);
        memcpy(row + at, &word, size - at < 8 ? size - at : 8);
    }
}

static void seq_append(struct engine *e, struct fake_seq *s, int32_t token) {
    int32_t pos = s->n_past;
    uint64_t state =
        fake_mix(fake_mix(e->seed, (uint64_t)token), fake_mix(seq_state(e, s, pos, true), (uint64_t)pos));
    s->cells[pos] = e->free_cells[--e->n_free];
    row_fill(base_row(e, s, pos), e->base_bpt, state);
    if (e->spec.window) {
        row_fill(win_row(e, s, pos), e->win_bpt, fake_mix(state, 77));
        if (pos - s->win_from >= (int32_t)e->spec.window) s->win_from = pos - (int32_t)e->spec.window + 1;
    }
    seq_digest(e, s, pos, e->spec.window > 0);
    s->n_past = pos + 1;
}

static void logits_fill(float *row, uint64_t state) {
    for (uint32_t i = 0; i < FAKE_VOCAB; i++)
        row[i] = (float)(fake_mix(state, i) >> 40) / (float)(1u << 24) * 8.0f - 4.0f;
}

/* Everything that can fail happens before the first row is written, so that a failed step leaves nothing. */
static enum err decode_check(struct engine *e, const struct engine_item *items, uint32_t n) {
    if (n == 0 || n > e->n_batch) return ERR_INTERNAL;
    for (uint32_t s = 0; s < e->n_seqs; s++) e->next_pos[s] = e->seqs[s].n_past;
    for (uint32_t i = 0; i < n; i++) {
        const struct engine_item *it = &items[i];
        if (it->seq < 0 || (uint32_t)it->seq >= e->n_seqs || it->token < 0 || it->token >= FAKE_VOCAB ||
            it->pos != e->next_pos[it->seq])
            return ERR_INTERNAL;
        e->next_pos[it->seq]++;
    }
    if (n > e->n_free) return ERR_NO_CELLS;
    for (uint32_t s = 0; s < e->n_seqs; s++)
        if (!seq_reserve(&e->seqs[s], (uint32_t)e->next_pos[s])) return ERR_NOMEM;
    int64_t slow_ms = 0;
    (void)fault_hit(FAULT_DECODE_SLOW, &slow_ms);
    if (fault_hit(FAULT_DECODE_DIE, NULL)) abort();
    (void)fault_hang_if(FAULT_DECODE_HANG);
    if (fault_hit(FAULT_DECODE_FAIL, NULL)) return ERR_INTERNAL;
    return fake_wait_us(e, slow_ms * 1000 + e->step_us + e->token_us * n) ? ERR_OK : ERR_CANCELED;
}

enum err engine_decode(struct engine *e, const struct engine_item *items, uint32_t n) {
    must(e->loaded && e->seqs);
    enum err err = decode_check(e, items, n);
    if (err != ERR_OK) return err;
    for (uint32_t i = 0; i < n; i++) {
        struct fake_seq *s = &e->seqs[items[i].seq];
        seq_append(e, s, items[i].token);
        if (items[i].logits)
            logits_fill(e->logits + (size_t)i * FAKE_VOCAB,
                        fake_mix(seq_state(e, s, items[i].pos, false), e->seed));
    }
    e->decoded += n;
    e->n_rows = n;
    return ERR_OK;
}

const float *engine_logits(struct engine *e, uint32_t item) {
    must(item < e->n_rows);
    return e->logits + (size_t)item * FAKE_VOCAB;
}

uint32_t engine_cells_used(const struct engine *e) {
    return e->n_cells - e->n_free;
}

bool engine_seq_rm(struct engine *e, int32_t seq, int32_t p0, int32_t p1) {
    struct fake_seq *s = seq_at(e, seq);
    if (p0 < 0) p0 = 0;
    if (p0 >= s->n_past) return true;
    if (p1 >= 0 && p1 < s->n_past) return false; /* no holes: every position sees all before it */
    int32_t needs_from = p0 - (int32_t)e->spec.window + 1;
    if (e->spec.window && p0 > 0 && s->win_from > (needs_from < 0 ? 0 : needs_from)) return false;
    for (int32_t p = s->n_past - 1; p >= p0; p--) e->free_cells[e->n_free++] = s->cells[p];
    s->n_past = p0;
    if (s->win_from > p0) s->win_from = p0;
    return true;
}

/* ---- blocks ---- */

static void part_header(struct buf *out, uint32_t magic, int32_t first, uint32_t rows, uint64_t row_bytes) {
    buf_u32(out, magic);
    buf_u32(out, (uint32_t)first);
    buf_u32(out, rows);
    buf_u32(out, (uint32_t)row_bytes);
}

enum err engine_block_take(struct engine *e, int32_t seq, int32_t p0, int32_t p1, int parts, struct buf *base,
                           struct buf *window, int32_t *ret_window_from) {
    struct fake_seq *s = seq_at(e, seq);
    if (p0 < 0 || p1 <= p0 || p1 > s->n_past || p1 - p0 > BLOCK_TOKENS) return ERR_INVALID;
    if (parts & ENGINE_PART_BASE) {
        part_header(base, PART_BASE_MAGIC, p0, (uint32_t)(p1 - p0), e->base_bpt);
        for (int32_t p = p0; p < p1; p++) buf_put(base, base_row(e, s, p), e->base_bpt);
        if (base->error != ERR_OK) return base->error;
    }
    int32_t from = p1;
    if (e->spec.window) {
        from = s->win_from > p0 ? s->win_from : p0;
        if (from > p1) from = p1;
    }
    if ((parts & ENGINE_PART_WINDOW) && e->spec.window) {
        part_header(window, PART_WINDOW_MAGIC, from, (uint32_t)(p1 - from), e->win_bpt);
        for (int32_t p = from; p < p1; p++) buf_put(window, win_row(e, s, p), e->win_bpt);
        if (window->error != ERR_OK) return window->error;
    }
    if (ret_window_from) *ret_window_from = from;
    return ERR_OK;
}

/* Checks a part's header and length; *ret_first is its first position. The rows' bytes are trusted, as a real
 * engine does. */
static bool part_open(const uint8_t *data, size_t size, uint32_t magic, uint64_t row_bytes, int32_t p1,
                      int32_t *ret_first) {
    struct cursor c = cursor_over(data, size);
    bool known = cursor_u32(&c) == magic;
    uint32_t first = cursor_u32(&c), rows = cursor_u32(&c), bytes = cursor_u32(&c);
    if (c.error || !known || bytes != row_bytes || rows > BLOCK_TOKENS || first + rows != (uint32_t)p1)
        return false;
    *ret_first = (int32_t)first;
    return size == PART_HEADER_BYTES + rows * row_bytes;
}

/* The window rows first..p1-1 enter the ring; what lay there joins them only if it ends where they begin. */
static void window_put(struct engine *e, struct fake_seq *s, int32_t first, int32_t p1, const uint8_t *rows) {
    int32_t window = (int32_t)e->spec.window;
    bool joins = first == s->n_past && s->win_from < first;
    for (int32_t p = first; p < p1; p++) {
        if (p < p1 - window) continue;
        memcpy(win_row(e, s, p), rows + (uint64_t)(p - first) * e->win_bpt, e->win_bpt);
        s->win_hash[p % window] = hash64(win_row(e, s, p), e->win_bpt);
    }
    if (!joins) s->win_from = first;
    if (s->win_from < p1 - window) s->win_from = p1 - window;
}

enum err engine_block_put(struct engine *e, int32_t seq, int32_t p0, int32_t p1, struct buf *base,
                          const uint8_t *window, size_t window_size) {
    must(base->size >= ENGINE_BLOCK_HEAD);
    const uint8_t *part = base->data + ENGINE_BLOCK_HEAD;
    struct fake_seq *s = seq_at(e, seq);
    int32_t base_first = 0, win_first = p1;
    if (p0 != s->n_past || p1 <= p0 || p1 - p0 > BLOCK_TOKENS) return ERR_INVALID;
    if (!part_open(part, base->size - ENGINE_BLOCK_HEAD, PART_BASE_MAGIC, e->base_bpt, p1, &base_first) ||
        base_first != p0)
        return ERR_CORRUPT;
    if (window_size > 0 &&
        (!e->spec.window || !part_open(window, window_size, PART_WINDOW_MAGIC, e->win_bpt, p1, &win_first) ||
         win_first < p0))
        return ERR_CORRUPT;
    if ((uint32_t)(p1 - p0) > e->n_free) return ERR_NO_CELLS;
    if (!seq_reserve(s, (uint32_t)p1)) return ERR_NOMEM;
    if (e->spec.window) {
        if (window_size > 0)
            window_put(e, s, win_first, p1, window + PART_HEADER_BYTES);
        else
            s->win_from = p1;
    }
    bool flip = fault_hit(FAULT_KV_FLIP, NULL);
    for (int32_t p = p0; p < p1; p++) {
        s->cells[p] = e->free_cells[--e->n_free];
        memcpy(base_row(e, s, p), part + PART_HEADER_BYTES + (uint64_t)(p - p0) * e->base_bpt, e->base_bpt);
        if (flip && p == p0 && e->base_bpt) base_row(e, s, p)[0] ^= 1;
        seq_digest(e, s, p, false);
    }
    s->n_past = p1;
    memset(base->data, 0xa5, base->size); /* used up */
    return ERR_OK;
}

enum err engine_kv_hash(struct engine *e, int32_t seq, int32_t p1, uint64_t *ret) {
    struct fake_seq *s = seq_at(e, seq);
    if (p1 < 0 || p1 > s->n_past) return ERR_INVALID;
    struct hash_state *h = hash_state_new();
    if (!h) return ERR_NOMEM;
    for (int32_t p = 0; p < p1; p++) hash_state_add(h, base_row(e, s, p), e->base_bpt);
    int32_t from =
        e->spec.window ? p1 - (int32_t)e->spec.window + 1 : p1; /* what the next position will see */
    if (from < s->win_from) from = s->win_from;
    for (int32_t p = from; p < p1 && e->spec.window; p++) hash_state_add(h, win_row(e, s, p), e->win_bpt);
    *ret = hash_state_end64(h);
    hash_state_free(h);
    return ERR_OK;
}

enum err engine_self_test(struct engine *e, char *why, size_t why_size) {
    must(e->seqs);
    int32_t scratch = (int32_t)e->n_seqs;
    enum { STEP = 8, TOTAL = 64 };
    static const uint8_t head[ENGINE_BLOCK_HEAD];
    struct buf base = BUF(0), window = BUF(0), base2 = BUF(0), window2 = BUF(0), copy = BUF(0);
    struct fake_seq *s = seq_at(e, scratch);
    enum err err = e->n_free < TOTAL ? ERR_NO_CELLS : seq_reserve(s, TOTAL) ? ERR_OK : ERR_NOMEM;
    for (int32_t p = 0; p < TOTAL && err == ERR_OK; p += STEP) {
        int32_t from = 0, from2 = 0;
        for (int32_t i = 0; i < STEP; i++) seq_append(e, s, (p + i) * 3 % 256);
        buf_clear(&base), buf_clear(&window), buf_clear(&base2), buf_clear(&window2);
        err = engine_block_take(e, scratch, p, p + STEP, ENGINE_PART_BASE | ENGINE_PART_WINDOW, &base,
                                &window, &from);
        if (err != ERR_OK) break;
        int32_t win_from = s->win_from; /* the ring keeps its rows: only this block leaves and comes back */
        for (int32_t q = s->n_past - 1; q >= p; q--) e->free_cells[e->n_free++] = s->cells[q];
        s->n_past = p;
        buf_clear(&copy); /* the put uses it up */
        buf_put(&copy, head, sizeof head);
        buf_put(&copy, base.data, base.size);
        err = engine_block_put(e, scratch, p, p + STEP, &copy, window.data, window.size);
        if (err == ERR_OK && win_from < s->win_from) s->win_from = win_from;
        if (err == ERR_OK)
            err = engine_block_take(e, scratch, p, p + STEP, ENGINE_PART_BASE | ENGINE_PART_WINDOW, &base2,
                                    &window2, &from2);
        if (err == ERR_OK && (base.size != base2.size || window.size != window2.size || from != from2 ||
                              memcmp(base.data, base2.data, base.size) != 0 ||
                              (window.size && memcmp(window.data, window2.data, window.size) != 0)))
            err = ERR_MISMATCH;
    }
    (void)engine_seq_rm(e, scratch, 0, -1);
    if (err != ERR_OK) snprintf(why, why_size, "blocks do not come back as they were: %s", err_text(err));
    buf_free(&base), buf_free(&window), buf_free(&base2), buf_free(&window2);
    buf_free(&copy);
    return err;
}
