/* Agents: names for chains of blocks. A chain is its leaf. Rules:
 *   GROWN     a chain replaces those of its agent that it contains: whose leaf lies on its path, or whose tail is the beginning
 *             of the block that came in its place.
 *   SLOTS     an agent has CHAINS_PER_AGENT_MAX chains; the one that was noted longest ago goes.
 *   TAILS     of an agent's tails inside its chain only the nearest before the turn's answer stays (a retry starts there), and what
 *             branches or ends a chain. They go after the new name is in the database, not before.
 *   BEFORE    a tail is of use only to who has all of its tokens: after a turn that was interrupted (parked, cancelled) in its answer
 *             its own tails are none to another question. So such a turn deletes those within its answer and leaves what was there
 *             before it, the nearest TAILS_BEFORE_INTERRUPTED; the next one that comes to its end deletes them.
 *   IN PROMPT Where a turn was interrupted while its prompt was read is of use only until it has been read further: such tails are
 *             deleted, not counted, or a few swaps push out the end of the turn before.
 *   RETREAT   a leaf that is evicted hands its chains to its parent; a chain without blocks is gone, and so is an agent
 *             without chains. */
#include "store/store_private.h"

#include <string.h>

#include "base/mem.h"

uint64_t store_owner_of(const char *agent) {
    if (!agent[0]) return 0;
    uint64_t h = hash64(agent, strlen(agent));
    return h ? h : 1;
}

/* ---- the table ---- */

static struct store_agent **bucket_of(struct store_agent *const *buckets, uint64_t hash,
                                      const struct store_model *m) {
    uint64_t tag;
    memcpy(&tag, m->tag.b, sizeof tag);
    return (struct store_agent **)(uintptr_t)&buckets[(hash ^ tag) % STORE_AGENT_BUCKETS];
}

struct store_agent *store_agent_find(const struct store *s, const struct store_model *model, const char *id) {
    struct store_agent *a = *bucket_of(s->agent_buckets, store_owner_of(id), model);
    while (a && (a->model != model || strcmp(a->id, id) != 0)) a = a->hash_next;
    return a;
}

bool store_agent_is_listed(const struct store *s, const struct store_model *model, uint64_t owner) {
    const struct store_agent *a = *bucket_of(s->agent_buckets, owner, model);
    while (a && (a->model != model || a->hash != owner)) a = a->hash_next;
    return a != NULL;
}

static void agent_dirty(struct store *s, struct store_agent *a) {
    if (!list_linked(&a->dirty)) list_push_back(&s->agents_dirty, &a->dirty);
}

bool store_agent_is_pinned(const struct store_agent *a) {
    return list_linked(&a->pinned);
}

void store_agent_set_pinned(struct store *s, struct store_agent *a, bool pinned) {
    if (pinned == store_agent_is_pinned(a)) return;
    if (pinned)
        list_push_back(&s->agents_pinned, &a->pinned);
    else
        list_remove(&s->agents_pinned, &a->pinned);
}

static void chain_remove(struct store *s, struct agent_chain *c) {
    struct store_agent *a = c->agent;
    uint32_t i = 0;
    while (a->chains[i] != c) i++;
    memmove(&a->chains[i], &a->chains[i + 1], sizeof(struct agent_chain *) * (a->n_chains - i - 1));
    a->n_chains--;
    list_remove(&c->leaf->chains, &c->at_leaf);
    mem_free(c);
    agent_dirty(s, a);
}

static void agent_unlink(struct store *s, struct store_agent *a) {
    while (a->n_chains > 0) chain_remove(s, a->chains[0]);
    struct store_agent **at = bucket_of(s->agent_buckets, a->hash, a->model);
    while (*at != a) at = &(*at)->hash_next;
    *at = a->hash_next;
    list_remove(&s->agents, &a->node);
    if (list_linked(&a->dirty)) list_remove(&s->agents_dirty, &a->dirty);
    store_agent_set_pinned(s, a, false);
    mem_free(a->id);
    mem_free(a);
}

enum err store_agent_remove(struct store *s, struct store_agent *a) {
    enum err err = s->fenced ? ERR_LOCKED : store_database_begin(s);
    if (!err) {
        err = store_index_delete_agent(s->index, a->model->tag, a->id);
        if (err)
            store_index_rollback(s->index);
        else
            err = store_index_commit(s->index);
    }
    agent_unlink(s, a);
    return err;
}

void store_agents_free(struct store *s) {
    LIST_EACH(&s->agents, struct store_agent, node, a) agent_unlink(s, a);
}

struct store_agent *store_agent_make(struct store *s, struct store_model *model, const char *id) {
    struct store_agent *a = store_agent_find(s, model, id);
    if (a) return a;
    if (s->agents.count >= STORE_AGENTS_MAX) {
        LIST_EACH(&s->agents, struct store_agent, node, old) {
            if (store_agent_is_pinned(old)) continue;
            store_agent_remove(s, old);
            break;
        }
    }
    a = mem_alloc(sizeof *a);
    char *copy = mem_strdup(id);
    if (!a || !copy) {
        mem_free(a);
        mem_free(copy);
        return NULL;
    }
    a->id = copy;
    a->model = model;
    a->hash = store_owner_of(id);
    struct store_agent **bucket = bucket_of(s->agent_buckets, a->hash, model);
    a->hash_next = *bucket;
    *bucket = a;
    list_push_back(&s->agents, &a->node);
    return a;
}

void store_agent_row(const struct store_agent *a, struct index_agent *ret) {
    *ret = (struct index_agent){.tag = a->model->tag,
                                .agent = a->id,
                                .pinned = store_agent_is_pinned(a),
                                .last_used = a->last_used,
                                .n_chains = a->n_chains};
    for (uint32_t i = 0; i < a->n_chains; i++)
        ret->chains[i] =
            (struct index_chain){a->chains[i]->leaf->name, a->chains[i]->n_tokens, a->chains[i]->last_used};
}

void store_agents_renewed(struct store *s) {
    LIST_EACH(&s->agents, struct store_agent, node, a) {
        if (a->renewed) agent_dirty(s, a);
        a->renewed = false;
    }
}

/* ---- chains ---- */

static struct agent_chain *chain_at(const struct store_agent *a, const struct store_node *leaf) {
    for (uint32_t i = 0; i < a->n_chains; i++) {
        if (a->chains[i]->leaf == leaf) return a->chains[i];
    }
    return NULL;
}

/* Becomes the newest. */
static void chain_renew(struct agent_chain *c, int64_t last_used) {
    struct store_agent *a = c->agent;
    uint32_t i = 0;
    while (a->chains[i] != c) i++;
    memmove(&a->chains[i], &a->chains[i + 1], sizeof(struct agent_chain *) * (a->n_chains - i - 1));
    a->chains[a->n_chains - 1] = c;
    c->last_used = a->last_used = last_used;
    a->renewed = true;
}

enum err store_agent_add_chain(struct store *s, struct store_agent *a, struct store_node *leaf,
                               int64_t last_used) {
    if (chain_at(a, leaf)) return ERR_OK;
    struct agent_chain *c = mem_alloc(sizeof *c);
    if (!c) return ERR_NOMEM;
    if (a->n_chains == CHAINS_PER_AGENT_MAX) chain_remove(s, a->chains[0]); /* SLOTS */
    *c = (struct agent_chain){
        .leaf = leaf, .agent = a, .n_tokens = store_node_end(leaf), .last_used = last_used};
    list_push_back(&leaf->chains, &c->at_leaf);
    a->chains[a->n_chains++] = c;
    if (last_used > a->last_used) a->last_used = last_used;
    agent_dirty(s, a);
    return ERR_OK;
}

static void chain_move(struct store *s, struct agent_chain *c, struct store_node *leaf) {
    list_remove(&c->leaf->chains, &c->at_leaf);
    list_push_back(&leaf->chains, &c->at_leaf);
    c->leaf = leaf;
    c->n_tokens = store_node_end(leaf);
    agent_dirty(s, c->agent);
}

void store_agents_retreat(struct store *s, struct store_node *leaf) {
    struct store_node *to = leaf->parent;
    LIST_EACH(&leaf->chains, struct agent_chain, at_leaf, c) {
        struct store_agent *a = c->agent;
        if (!to || store_node_is_root(to) || chain_at(a, to)) {
            chain_remove(s, c);
            if (a->n_chains == 0) store_agent_remove(s, a);
            continue;
        }
        chain_move(s, c, to);
    }
}

/* ---- what contains what ---- */

/* The block's tokens: a tail has them in memory, a full block in its file. */
static bool node_tokens(struct store *s, const struct store_node *n, int32_t ret[BLOCK_TOKENS]) {
    if (n->tokens) {
        memcpy(ret, n->tokens, sizeof ret[0] * n->n_tokens);
        return true;
    }
    struct store_header h;
    const char *reason;
    if (store_read_header(s, store_path_part(s, n, STORE_PART_BASE).s, &h, NULL, &reason) != ERR_OK)
        return false;
    if (!hash128_equal(h.name, n->name) || !hash128_equal(h.tag, n->model->tag)) return false;
    memcpy(ret, h.tokens, sizeof ret[0] * n->n_tokens);
    return true;
}

static bool begins_with(struct store *s, const struct store_node *n, const struct store_node *tail) {
    int32_t tokens[BLOCK_TOKENS];
    if (tail->n_tokens > n->n_tokens || !node_tokens(s, n, tokens)) return false;
    return memcmp(tokens, tail->tokens, sizeof tokens[0] * tail->n_tokens) == 0;
}

static void mark_path(struct store *s, struct store_node *leaf) {
    uint64_t round = ++s->round;
    for (struct store_node *n = leaf; n; n = n->parent) n->mark = round;
}

/* Does the marked path to leaf contain what ends at other? */
static bool path_contains(struct store *s, const struct store_node *leaf, const struct store_node *other) {
    if (other->mark == s->round) return true;
    if (!store_node_is_tail(other) || !other->parent || other->parent->mark != s->round) return false;
    const struct store_node *n = leaf;
    while (n && n->parent != other->parent) n = n->parent;
    return n && begins_with(s, n, other);
}

/* GROWN. One of a's chains that the one to leaf contains (its own, if it has that already) becomes it, the others go;
 * else it takes a slot. Allocates before it changes anything. *ret_news: the database has to hear of it. */
static enum err chain_grow(struct store *s, struct store_agent *a, struct store_node *leaf, int64_t last_used,
                           bool *ret_news) {
    struct agent_chain *grown = chain_at(a, leaf);
    *ret_news = grown == NULL;
    mark_path(s, leaf);
    for (uint32_t i = a->n_chains; i > 0; i--) {
        struct agent_chain *c = a->chains[i - 1];
        if (c == grown || !path_contains(s, leaf, c->leaf)) continue;
        if (grown) {
            chain_remove(s, c);
            *ret_news = true;
        } else {
            grown = c;
        }
    }
    if (!grown) return store_agent_add_chain(s, a, leaf, last_used);
    if (grown->leaf != leaf) chain_move(s, grown, leaf);
    chain_renew(grown, last_used);
    return ERR_OK;
}

/* The longest tail beside n of this owner that ends before `end`, that nothing needs but a retry, and with which `tokens`
 * begin (NULL: whatever it holds). */
static struct store_node *longest_tail(const struct store_node *n, uint64_t owner, const int32_t *tokens,
                                       uint32_t end) {
    struct store_node *longest = NULL;
    LIST_EACH(&n->parent->tails, struct store_node, sibling, t) {
        if (t == n || t->owner != owner || t->chains.count > 0 || (t->flags & STORE_FLAG_BRANCH)) continue;
        if (store_node_end(t) >= end || (longest && t->n_tokens <= longest->n_tokens)) continue;
        if (!tokens || memcmp(tokens, t->tokens, sizeof tokens[0] * t->n_tokens) == 0) longest = t;
    }
    return longest;
}

/* TAILS, BEFORE, IN PROMPT. Errors leave a tail behind, no more: the next note or the budget takes it. */
static void clean_tails(struct store *s, struct store_node *leaf, const struct store_note *note) {
    uint64_t owner = store_owner_of(note->agent);
    uint32_t answer = note->n_prompt > 0 ? note->n_prompt : note->n_tokens;
    uint32_t keep = note->interrupted ? TAILS_BEFORE_INTERRUPTED : 1;
    for (struct store_node *n = leaf; n->parent; n = n->parent) {
        int32_t tokens[BLOCK_TOKENS];
        uint32_t end = store_node_end(n);
        if (!longest_tail(n, owner, NULL, end) || !node_tokens(s, n, tokens)) continue;
        for (struct store_node *t; (t = longest_tail(n, owner, tokens, end)) != NULL;) {
            end = store_node_end(t);
            if (end < answer && keep > 0 && t->tail != STORE_TAIL_IN_PROMPT) {
                t->tail = STORE_TAIL_KNOWN;
                keep--;
            } else {
                store_remove_block(s, t, NULL, NULL);
            }
        }
    }
}

enum err store_agents_adopt(struct store *s, const char *id, struct store_node *leaf) {
    struct store_agent *a = store_agent_make(s, leaf->model, id);
    if (!a) return ERR_NOMEM;
    for (uint32_t i = 0; i < a->n_chains; i++) {
        mark_path(s, a->chains[i]->leaf);
        if (path_contains(s, a->chains[i]->leaf, leaf)) return ERR_OK;
    }
    bool news = false;
    return chain_grow(s, a, leaf, leaf->last_used, &news);
}

/* ---- note ---- */

static enum err note_chain(struct store *s, struct store_agent *a, struct store_node *leaf, bool *ret_news) {
    list_remove(&s->agents, &a->node);
    list_push_back(&s->agents, &a->node);
    enum err err = chain_grow(s, a, leaf, store_now_s(), ret_news);
    if (a->n_chains == 0) store_agent_remove(s, a);
    return err;
}

/* IN PROMPT. A tail that was there before stays what it was: a turn may go on from it and be interrupted before it has read
 * anything. So does the prompt's end, which is one token before it (a retry starts there). */
static void note_tail(struct store_node *n, const struct store_note *note) {
    bool in_prompt = note->interrupted && note->n_tokens + 1 < note->n_prompt;
    n->tail = in_prompt && n->tail != STORE_TAIL_KNOWN ? STORE_TAIL_IN_PROMPT : STORE_TAIL_KNOWN;
}

enum err store_agent_note(struct store *s, const struct store_note *note) {
    if (s->load) return ERR_IO;
    if (strlen(note->agent) > AGENT_ID_BYTES_MAX || strlen(note->model) > MODEL_ID_BYTES_MAX)
        return ERR_INVALID;
    struct store_model *m = store_map_model(&s->map, note->tag, note->model);
    if (!m) return ERR_NOMEM;
    if (m->pinned != note->pinned_model) m->row_stale = true;
    m->pinned = note->pinned_model;
    if (m->row_stale) s->models_dirty = true;
    struct store_node *n = store_map_find(&s->map, note->tag, note->leaf.h);
    if (!n) return ERR_NOT_FOUND;
    if (store_node_end(n) != note->n_tokens) return ERR_INVALID;
    bool news = true,
         uncommitted = false; /* a note before this one may have failed to get it into the database */
    if (note->agent[0]) {
        struct store_agent *a = store_agent_make(s, m, note->agent);
        uncommitted = a && list_linked(&a->dirty);
        enum err err = a ? note_chain(s, a, n, &news) : ERR_NOMEM;
        if (err) return err;
    }
    enum err err = news || uncommitted || s->models_dirty ? store_flush_rows(s, false) : ERR_OK;
    if (!err) note_tail(n, note);
    if (!err) store_map_use(&s->map, n, store_now_s());
    if (!err && (news || uncommitted)) clean_tails(s, n, note);
    return err;
}

/* ---- an agent's conversations ---- */

static enum err chain_tokens(struct store *s, const struct agent_chain *c, struct store_chain *ret) {
    ret->tokens = mem_array(c->n_tokens, sizeof ret->tokens[0]);
    if (!ret->tokens) return ERR_NOMEM;
    ret->n_tokens = c->n_tokens;
    for (const struct store_node *n = c->leaf; n && !store_node_is_root(n); n = n->parent) {
        int32_t tokens[BLOCK_TOKENS];
        if (!node_tokens(s, n, tokens)) return ERR_NOT_FOUND;
        memcpy(ret->tokens + n->first_pos, tokens, sizeof tokens[0] * n->n_tokens);
    }
    return ERR_OK;
}

enum err store_agent_chains(struct store *s, struct hash128 tag, const char *agent, struct store_chain *ret,
                            uint32_t *ret_n) {
    *ret_n = 0;
    const struct store_model *m = store_map_model_find(&s->map, tag);
    const struct store_agent *a = m && agent[0] ? store_agent_find(s, m, agent) : NULL;
    for (uint32_t i = a ? a->n_chains : 0; i > 0; i--) {
        struct store_chain chain = {0};
        const struct agent_chain *c = a->chains[i - 1];
        /* One with a hole is no use to anybody who wants to go on from it. */
        enum err err = store_node_reachable(c->leaf) ? chain_tokens(s, c, &chain) : ERR_NOT_FOUND;
        if (!err) {
            ret[(*ret_n)++] = chain;
            continue;
        }
        mem_free(chain.tokens);
        if (err != ERR_NOMEM) continue;
        store_chains_free(ret, *ret_n);
        *ret_n = 0;
        return err;
    }
    return ERR_OK;
}

static uint64_t read_ahead(struct store *s, const struct store_node *n, enum store_part part) {
    int fd = -1;
    uint64_t size = 0;
    if (s->disk->open(s->disk->ctx, store_path_part(s, n, part).s, &fd, &size) != ERR_OK) return 0;
    s->disk->read_ahead(s->disk->ctx, fd, size);
    s->disk->close(s->disk->ctx, fd);
    return size;
}

/* Window parts are read only of the last window, which the newest blocks hold: those next to the end that have one. */
static void read_ahead_chain(struct store *s, const struct store_node *leaf) {
    uint64_t bytes = 0;
    bool window = true;
    for (const struct store_node *n = leaf; n && !store_node_is_root(n) && bytes < STORE_READ_AHEAD_BYTES;
         n = n->parent) {
        bytes += read_ahead(s, n, STORE_PART_BASE);
        window = window && n->window_bytes > 0;
        if (window) bytes += read_ahead(s, n, STORE_PART_WINDOW);
    }
}

void store_read_ahead(struct store *s, const char *model, const char *agent) {
    LIST_EACH(&s->map.models, struct store_model, node, m) {
        const struct store_agent *a = strcmp(m->id, model) == 0 ? store_agent_find(s, m, agent) : NULL;
        if (a && a->n_chains > 0) read_ahead_chain(s, a->chains[a->n_chains - 1]->leaf);
    }
}

void store_chains_free(struct store_chain *chains, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        mem_free(chains[i].tokens);
        chains[i] = (struct store_chain){0};
    }
}
