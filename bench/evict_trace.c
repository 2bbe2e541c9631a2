/* evict_trace - does eviction by value save more prefill than eviction by age? The store's own map and rule (store_map_victim) and
 * an LRU twin that differs in nothing but the choice, on the same made-up days of work. No disk, no engine.
 * usage: evict_trace [TURNS [SEED]]; prints the table of docs/benchmarks.md, and what one eviction takes.
 * What is saved is counted in tokens that need not be read again, times what a token costs with their model (its parameters). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/must.h"
#include "store/disk_ops.h"
#include "store/store_map.h"

#define GB (UINT64_C(1) << 30)
#define TALKERS_MAX 128
#define HEADER_BYTES 1200 /* of a block file, about */

/* ---- models as they are: bytes of a token at q8_0, parameters in millions ---- */

struct model {
    const char *name;
    uint32_t bytes_per_token, window, window_bytes_per_token, cost;
};
static const struct model models[] = {
    {"SmolLM2 135M", 12240, 0, 0, 135},
    {"Llama 3.1 8B", 69632, 0, 0, 8030},
    {"Qwen 2.5 14B", 104448, 0, 0, 14770},
    {"Gemma 3 12B", 34816, 1024, 174080, 11770},
};
enum { SMOL, LLAMA, QWEN, GEMMA, N_MODELS };

/* ---- the day's work ---- */

struct day {
    const char *name;
    uint32_t talkers;                                   /* agents with long conversations */
    double zipf;                                        /* how unequally they are asked */
    uint32_t once_percent;                              /* of the turns: a prompt that never comes back */
    uint32_t system_blocks, n_systems;                  /* shared beginnings */
    uint32_t first_model, second_model, second_percent; /* of the agents */
    uint32_t turns_a_talk;                              /* on the average */
    uint64_t budget[2];
};
static const struct day days[] = {
    {"long conversations alone", 40, 0.8, 0, 6, 4, LLAMA, LLAMA, 0, 30, {10 * GB, 20 * GB}},
    {"and half of all prompts come once", 40, 0.8, 50, 6, 4, LLAMA, LLAMA, 0, 30, {10 * GB, 20 * GB}},
    {"100 agents, few of them busy", 100, 1.2, 30, 8, 10, LLAMA, LLAMA, 0, 20, {10 * GB, 20 * GB}},
    {"a big and a tiny model", 40, 0.8, 20, 6, 4, QWEN, SMOL, 50, 30, {10 * GB, 20 * GB}},
    {"two big models", 40, 0.8, 30, 6, 4, QWEN, LLAMA, 50, 30, {20 * GB, 40 * GB}},
    {"a model with a window", 40, 0.8, 30, 6, 4, GEMMA, GEMMA, 0, 30, {10 * GB, 30 * GB}},
};

static uint64_t random_state;
static uint32_t dice(uint32_t n) {
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % n;
}

struct talk {
    uint64_t id;
    uint32_t model, system, n; /* tokens so far */
};

/* ---- one store ---- */

struct sim {
    struct store_map map;
    struct store_model *models[N_MODELS];
    bool lru;
    uint64_t budget, round, evicted;
    int64_t evict_ns;
    double saved, asked;
};

static struct hash128 tag_of(uint32_t model) {
    return hash128(&model, sizeof model);
}

/* The name of block i; of its tail, where n tokens are left over. */
static struct hash128 name_of(const struct day *day, const struct talk *t, uint32_t i, uint32_t n) {
    bool shared = i < day->system_blocks && n == BLOCK_TOKENS;
    uint64_t what[4] = {t->model, shared ? t->system : UINT64_C(1000) + t->id, i, n};
    return hash128(what, sizeof what);
}

static struct store_node *oldest(struct list *leaves, struct list *windows, uint64_t round, uint64_t *seq,
                                 bool *window) {
    struct store_node *found = NULL;
    LIST_EACH(windows, struct store_node, window, n) {
        if (n->kept_at == round) continue;
        if (n->window_seq < *seq) found = n, *seq = n->window_seq, *window = true;
        break;
    }
    LIST_EACH(leaves, struct store_node, leaf, n) {
        if (n->kept_at == round) continue;
        if (n->seq < *seq) found = n, *seq = n->seq, *window = false;
        break;
    }
    return found;
}

static struct store_node *lru_victim(struct sim *s, bool *window) {
    struct store_node *victim = NULL;
    uint64_t seq = UINT64_MAX;
    LIST_EACH(&s->map.models, struct store_model, node, m) {
        for (unsigned c = 0; c < STORE_CLASSES; c++) {
            struct store_node *n = oldest(&m->leaves[c], &m->windows[c], s->round, &seq, window);
            if (n) victim = n;
        }
    }
    return victim;
}

/* Room for need more bytes; the chain that ends at guard stays. */
static void make_room(struct sim *s, uint64_t need, struct store_node *guard) {
    s->round++;
    for (struct store_node *n = guard; n; n = n->parent) n->kept_at = s->round;
    while (s->map.bytes + need > s->budget) {
        bool window = false;
        int64_t began = clock_now_ns();
        struct store_node *n = s->lru ? lru_victim(s, &window) : store_map_victim(&s->map, s->round, &window);
        must(n);
        if (window)
            store_map_set_files(&s->map, n, n->base_bytes, 0);
        else
            store_map_remove(&s->map, n);
        s->evict_ns += clock_now_ns() - began;
        s->evicted++;
    }
}

static struct store_node *put(struct sim *s, const struct day *day, const struct talk *t,
                              struct store_node *parent, uint32_t i, uint32_t n_tokens) {
    static const int32_t tokens[BLOCK_TOKENS];
    struct hash128 name = name_of(day, t, i, n_tokens);
    struct store_node *n = store_map_find(&s->map, tag_of(t->model), name);
    if (n) {
        store_map_touch(&s->map, n, 0);
        return n;
    }
    uint64_t bytes = HEADER_BYTES + (uint64_t)n_tokens * models[t->model].bytes_per_token;
    make_room(s, disk_bytes_of(bytes), parent);
    n = store_node_new(s->models[t->model], tokens, n_tokens);
    must(n);
    n->name = name;
    n->parent_name = parent->name;
    n->first_pos = i * BLOCK_TOKENS;
    n->base_bytes = bytes;
    store_map_insert(&s->map, n);
    return n;
}

/* Window parts of the last window before end, as a restore point needs them. */
static void put_windows(struct sim *s, const struct talk *t, struct store_node *leaf) {
    const struct model *m = &models[t->model];
    uint32_t end = store_node_end(leaf), lowest = end >= m->window ? end - m->window + 1 : 0;
    for (struct store_node *n = leaf; m->window && !store_node_is_root(n) && store_node_end(n) > lowest;
         n = n->parent) {
        if (n->window_bytes) continue;
        uint64_t bytes = HEADER_BYTES + (uint64_t)n->n_tokens * m->window_bytes_per_token;
        make_room(s, disk_bytes_of(bytes), leaf);
        store_map_set_files(&s->map, n, n->base_bytes, bytes);
        store_map_touch_window(&s->map, n, 0);
    }
}

static bool can_resume(const struct talk *t, const struct store_node *leaf) {
    const struct model *m = &models[t->model];
    uint32_t end = store_node_end(leaf), lowest = end >= m->window ? end - m->window + 1 : 0;
    for (const struct store_node *n = leaf; !store_node_is_root(n) && store_node_end(n) > lowest;
         n = n->parent)
        if (!n->window_bytes) return false;
    return true;
}

/* Tokens of a prompt that begins with t which need not be read: as store_plan() finds and touches them. */
static uint32_t plan(struct sim *s, const struct day *day, const struct talk *t, uint32_t n_prompt) {
    struct store_node *at = &s->models[t->model]->root;
    uint32_t full = t->n / BLOCK_TOKENS;
    for (uint32_t i = 0; i < (n_prompt - 1) / BLOCK_TOKENS; i++) {
        struct store_node *n = store_map_find(&s->map, tag_of(t->model), name_of(day, t, i, BLOCK_TOKENS));
        if (!n || !n->parent) break;
        at = n;
    }
    if (t->n % BLOCK_TOKENS && store_node_end(at) == full * BLOCK_TOKENS) {
        struct store_node *n =
            store_map_find(&s->map, tag_of(t->model), name_of(day, t, full, t->n % BLOCK_TOKENS));
        if (n && n->parent) at = n;
    }
    uint32_t window = models[t->model].window;
    while (window && !store_node_is_root(at) && !can_resume(t, at)) at = at->parent;
    uint32_t end = store_node_end(at), lowest = end >= window ? end - window + 1 : 0;
    struct store_node *path[4096];
    size_t n_path = 0;
    for (; !store_node_is_root(at); at = at->parent) path[n_path++] = at;
    while (n_path-- > 0) {
        store_map_touch(&s->map, path[n_path], 0);
        if (window && store_node_end(path[n_path]) > lowest) store_map_touch_window(&s->map, path[n_path], 0);
    }
    return end;
}

/* A turn: the conversation so far comes back as a prompt with asked more tokens, and grows to n_after. */
static void turn(struct sim *s, const struct day *day, struct talk *t, uint32_t asked, uint32_t n_after) {
    double cost = models[t->model].cost;
    s->saved += cost * plan(s, day, t, t->n + asked);
    s->asked += cost * (t->n + asked);
    uint32_t old_tail = t->n % BLOCK_TOKENS, old_full = t->n / BLOCK_TOKENS;
    struct store_node *at = &s->models[t->model]->root;
    for (uint32_t i = 0; i < n_after / BLOCK_TOKENS; i++) {
        at = put(s, day, t, at, i, BLOCK_TOKENS);
        if (i + 1 == day->system_blocks) put_windows(s, t, at);
    }
    if (n_after % BLOCK_TOKENS) at = put(s, day, t, at, n_after / BLOCK_TOKENS, n_after % BLOCK_TOKENS);
    put_windows(s, t, at);
    store_map_use(&s->map, at, 0);
    struct store_node *old =
        old_tail ? store_map_find(&s->map, tag_of(t->model), name_of(day, t, old_full, old_tail)) : NULL;
    if (old && old != at) store_map_remove(&s->map, old);
    t->n = n_after;
}

/* ---- a day ---- */

static uint32_t zipf(const double *weights, uint32_t n) {
    double sum = 0, at = dice(1u << 30) / (double)(1u << 30);
    for (uint32_t i = 0; i < n; i++) sum += weights[i];
    at *= sum;
    for (uint32_t i = 0; i < n; i++)
        if ((at -= weights[i]) < 0) return i;
    return n - 1;
}

static void begin(const struct day *day, struct talk *t, uint64_t id, bool second) {
    *t = (struct talk){
        .id = id, .model = second ? day->second_model : day->first_model, .system = dice(day->n_systems)};
}

static void run_day(struct sim *s, const struct day *day, uint64_t budget, uint32_t turns, uint64_t seed) {
    static struct talk talks[TALKERS_MAX];
    static double weights[TALKERS_MAX];
    uint64_t id = 0;
    random_state = seed;
    s->budget = budget;
    must(store_map_init(&s->map) == ERR_OK && day->talkers <= TALKERS_MAX);
    for (uint32_t i = 0; i < N_MODELS; i++) {
        s->models[i] = store_map_model(&s->map, tag_of(i), models[i].name);
        must(s->models[i]);
        s->models[i]->token_cost = models[i].cost;
    }
    for (uint32_t i = 0; i < day->talkers; i++) {
        weights[i] = pow(i + 1, -day->zipf);
        begin(day, &talks[i], id++, i * 37 % 100 < day->second_percent);
    }
    for (uint32_t i = 0; i < turns; i++) {
        uint32_t system_tokens = day->system_blocks * BLOCK_TOKENS;
        if (dice(100) < day->once_percent) {
            struct talk once;
            begin(day, &once, id++, dice(100) < day->second_percent);
            uint32_t asked = system_tokens + 300 + dice(3000);
            turn(s, day, &once, asked, asked + 100 + dice(300));
            continue;
        }
        uint32_t who = zipf(weights, day->talkers);
        struct talk *t = &talks[who];
        if (t->n > 0 && dice(day->turns_a_talk) == 0)
            begin(day, t, id++, who * 37 % 100 < day->second_percent);
        uint32_t asked = (t->n ? 0 : system_tokens) + 50 + dice(700);
        turn(s, day, t, asked, t->n + asked + 50 + dice(500));
        if (i % 100 == 99) { /* what is busy changes over the day */
            uint32_t a = dice(day->talkers), b = dice(day->talkers);
            double w = weights[a];
            weights[a] = weights[b];
            weights[b] = w;
        }
    }
}

/* Many small blocks: what a choice and its lists take. */
static const struct day crowd = {"many blocks", 100, 0.8, 80, 6, 4, SMOL, SMOL, 0, 30, {50 * GB, 0}};

static void time_evictions(uint32_t turns, uint64_t seed) {
    static struct sim s;
    run_day(&s, &crowd, crowd.budget[0], turns, seed);
    printf("\none eviction among %zu blocks: %.2f us, of %llu (the choice and the lists, not the file)\n",
           s.map.n_nodes, s.evicted ? (double)s.evict_ns / 1e3 / (double)s.evicted : 0,
           (unsigned long long)s.evicted);
    store_map_free(&s.map);
}

int main(int argc, char **argv) {
    uint32_t turns = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 5000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    static struct sim sims[2];
    printf("%u turns, seed %llu; saved: of all prefill, in tokens times the model's parameters\n\n", turns,
           (unsigned long long)seed);
    printf("| a day of | budget | saved, LRU | saved, by value | prefill left, against LRU |\n");
    printf("|---|---|---|---|---|\n");
    for (size_t d = 0; d < ARRAY_LEN(days); d++) {
        for (size_t b = 0; b < ARRAY_LEN(days[d].budget); b++) {
            for (int rule = 0; rule < 2; rule++) {
                sims[rule] = (struct sim){.lru = rule == 0};
                run_day(&sims[rule], &days[d], days[d].budget[b], turns, seed);
                store_map_free(&sims[rule].map);
            }
            double lru = sims[0].saved / sims[0].asked, ours = sims[1].saved / sims[1].asked;
            printf("| %s | %llu GB | %.1f %% | %.1f %% | %.2f |\n", days[d].name,
                   (unsigned long long)(days[d].budget[b] / GB), 100 * lru, 100 * ours,
                   (1 - ours) / (1 - lru));
            fflush(stdout);
        }
    }
    time_evictions(turns, seed);
    return 0;
}
