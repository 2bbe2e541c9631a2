#include "seat/sequence.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/must.h"
#include "seat/room.h"

static int32_t slot_take(struct room *r) {
    for (uint32_t i = 0; i < r->pool.n_seqs; i++) {
        if (r->slots[i]) continue;
        r->slots[i] = true;
        return (int32_t)i;
    }
    return -1;
}

struct sequence *sequence_new(struct room *r, const char *agent, uint32_t n_blocks) {
    struct sequence *s = mem_alloc(sizeof *s);
    if (!s) return NULL;
    s->agent = mem_strdup(agent);
    s->slot = slot_take(r);
    s->serial = ++r->last_serial;
    s->running = true;
    r->residents_changed = true;
    if (s->agent && s->slot >= 0 && sequence_hold(r, s, n_blocks)) return s;
    sequence_drop(r, s);
    return NULL;
}

void sequence_drop(struct room *r, struct sequence *s) {
    if (!s) return;
    if (list_linked(&s->node)) list_remove(&r->idle, &s->node);
    if (s->slot >= 0) {
        must(engine_seq_rm(r->engine, s->slot, 0, -1)); /* a whole sequence can always go */
        r->slots[s->slot] = false;
    }
    block_pool_put(&r->pool, s->held);
    r->residents_changed = true;
    mem_free(s->agent);
    mem_free(s->tokens);
    mem_free(s->blocks);
    mem_free(s);
}

bool sequence_hold(struct room *r, struct sequence *s, uint32_t n_blocks) {
    if (n_blocks <= s->held) return true;
    uint32_t more = n_blocks - s->held;
    if (!block_pool_get(&r->pool, more)) return false;
    int32_t *tokens = mem_realloc(s->tokens, (size_t)n_blocks * BLOCK_TOKENS * sizeof *tokens);
    if (tokens) s->tokens = tokens;
    struct sequence_block *blocks = mem_realloc(s->blocks, n_blocks * sizeof *blocks);
    if (blocks) s->blocks = blocks;
    if (!tokens || !blocks) {
        block_pool_put(&r->pool, more);
        return false;
    }
    s->held = n_blocks;
    return true;
}

void sequence_append(struct sequence *s, const int32_t *tokens, uint32_t n) {
    must(n <= s->held * BLOCK_TOKENS - s->n_tokens);
    memcpy(s->tokens + s->n_tokens, tokens, n * sizeof *tokens);
    s->n_tokens += n;
}

void sequence_cut(struct sequence *s, uint32_t n_tokens) {
    must(n_tokens <= s->n_tokens);
    s->n_tokens = n_tokens;
    if (s->n_blocks > n_tokens / BLOCK_TOKENS) s->n_blocks = n_tokens / BLOCK_TOKENS;
    if (s->tail_saved > n_tokens) s->tail_saved = 0;
    if (s->noted > n_tokens) s->noted = 0;
}

struct block_name sequence_parent(const struct sequence *s, uint32_t block) {
    must(block <= s->n_blocks);
    return block == 0 ? (struct block_name){0} : s->blocks[block - 1].name;
}

void sequence_name(struct room *r, struct sequence *s) {
    while (s->n_blocks < s->n_tokens / BLOCK_TOKENS) {
        uint32_t k = s->n_blocks;
        s->blocks[k] =
            (struct sequence_block){.name = block_name_of(sequence_parent(s, k), r->tag,
                                                          s->tokens + (size_t)k * BLOCK_TOKENS, BLOCK_TOKENS),
                                    .window_from = WINDOW_NOT_SAVED};
        s->n_blocks++;
    }
}

void sequence_rest(struct room *r, struct sequence *s) {
    must(s->running);
    s->running = false;
    uint32_t need = pool_blocks_for(s->n_tokens);
    block_pool_put(&r->pool, s->held - need);
    s->held = need; /* the arrays stay larger; a hold makes them fit again */
    s->idle_since_ns = clock_now_ns();
    s->idle_since = r->n_decoded;
    s->leave_since_ns = 0;
    list_push_back(&r->idle, &s->node);
    r->residents_changed = true;
}

void sequence_wake(struct room *r, struct sequence *s) {
    must(!s->running);
    list_remove(&r->idle, &s->node);
    s->running = true;
    s->leave_since_ns = 0;
    r->residents_changed = true; /* what it says from here on is not saved yet */
}

uint32_t sequence_common(const struct sequence *s, const int32_t *tokens, uint32_t n) {
    uint32_t most = n < s->n_tokens ? n : s->n_tokens, i = 0;
    while (i < most && s->tokens[i] == tokens[i]) i++;
    return i;
}

struct sequence *sequence_find(struct room *r, uint64_t serial) {
    LIST_EACH(&r->idle, struct sequence, node, s) {
        if (s->serial == serial) return s;
    }
    LIST_EACH(&r->streams, struct stream, node, t) {
        if (t->seq && t->seq->serial == serial) return t->seq;
    }
    return NULL;
}

void sequence_forget_saved(struct sequence *s) {
    for (uint32_t i = 0; i < s->n_blocks; i++) {
        s->blocks[i].base = BLOCK_DIRTY;
        s->blocks[i].window_from = WINDOW_NOT_SAVED;
    }
    s->tail_saved = s->noted = 0;
}
