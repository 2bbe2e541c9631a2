/* Random operations against a naive twin: it knows each agent's conversations as plain token lists, and of the folder what
 * the files themselves say. A plan must be the best that the files allow, no more and no less. The seed is printed;
 * HOTSEAT_SEED sets it. */
#include <time.h>

#include "store_rig.h"

#define AGENTS 4
#define FAMILIES 3
#define LONGEST 1300

static uint64_t seed;
static uint32_t dice(uint32_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

/* ---- the twin ---- */

struct talk {
    uint32_t n;
    int32_t tokens[LONGEST];
};
static struct {
    uint32_t n;
    struct talk talks[CHAINS_PER_AGENT_MAX]; /* oldest first */
} twin[AGENTS];

static bool begins(const struct talk *whole, const struct talk *part) {
    return part->n <= whole->n && memcmp(whole->tokens, part->tokens, part->n * sizeof part->tokens[0]) == 0;
}

static void twin_note(uint32_t agent, const struct talk *talk) {
    uint32_t kept = 0, n = twin[agent].n;
    for (uint32_t i = 0; i < n; i++)
        if (!begins(talk, &twin[agent].talks[i])) twin[agent].talks[kept++] = twin[agent].talks[i];
    if (kept == CHAINS_PER_AGENT_MAX)
        memmove(&twin[agent].talks[0], &twin[agent].talks[1], --kept * sizeof *talk);
    twin[agent].talks[kept] = *talk;
    twin[agent].n = kept + 1;
}

/* Every block file of the folder. */
static struct store_header files[4096];
static uint32_t n_files;
static void read_file_header(void *ctx UNUSED, const char *file, const struct stat *st) {
    if (!S_ISREG(st->st_mode) || (!strstr(file, ".kv") && !strstr(file, ".win"))) return;
    uint8_t bytes[STORE_HEADER_BYTES_MAX];
    FILE *f = fopen(file, "rb");
    size_t n = f ? fread(bytes, 1, sizeof bytes, f) : 0;
    if (f) fclose(f);
    const char *reason;
    ck_assert_int_eq(store_format_decode(bytes, n, (uint64_t)st->st_size, &files[n_files++], &reason),
                     ERR_OK);
}

static const struct store_header *file_with(const struct talk *t, uint32_t first, uint32_t n,
                                            enum store_part part) {
    for (uint32_t i = 0; i < n_files; i++) {
        const struct store_header *h = &files[i];
        struct block_name parent = {{{0}}};
        if (h->part != part || h->first_pos != first || h->n_tokens != n ||
            memcmp(h->tokens, t->tokens + first, n * 4) != 0)
            continue;
        for (uint32_t at = 0; at < first; at += BLOCK_TOKENS)
            parent = block_name_of(parent, rig_tag(1), t->tokens + at, BLOCK_TOKENS);
        if (hash128_equal(h->parent, parent.h)) return h;
    }
    return NULL;
}

static bool can_resume(const struct talk *t, uint32_t end, uint32_t window) {
    for (uint32_t first = 0; first < end; first += BLOCK_TOKENS) {
        uint32_t n = end - first < BLOCK_TOKENS ? end - first : BLOCK_TOKENS,
                 low = end >= window ? end - window + 1 : 0;
        if (!file_with(t, first, n, STORE_PART_BASE)) return false;
        if (window == 0 || first + n <= low) continue;
        const struct store_header *w = file_with(t, first, n, STORE_PART_WINDOW);
        if (!w || w->window_from > (first > low ? first : low)) return false;
    }
    return true;
}

static uint32_t best_end(const struct talk *t, uint32_t window) {
    for (uint32_t end = t->n - 1; end > 0; end--)
        if (can_resume(t, end, window)) return end;
    return 0;
}

/* ---- the play ---- */

static void make_talk(struct talk *t) {
    uint32_t family = dice(FAMILIES), fork = dice(5) * 130;
    t->n = 2 + dice(LONGEST - 2);
    rig_tokens(t->tokens, t->n, 50 + family * 7 + dice(3), fork);
    if (dice(3) == 0) t->n = (t->n + BLOCK_TOKENS - 1) / BLOCK_TOKENS * BLOCK_TOKENS % LONGEST + 2;
    rig_tokens(t->tokens, t->n, 50 + family * 7, fork);
}

static const char *agent_name(uint32_t i) {
    static const char *const names[AGENTS] = {"ann", "bob@example.org", "\xc3\xa9", "x"};
    return names[i];
}

/* lost_order: the order of chains is recency, which a kill may lose: then the twin takes over the store's. */
static void check_agents(struct store *s, bool lost_order) {
    static struct talk old[CHAINS_PER_AGENT_MAX];
    for (uint32_t a = 0; a < AGENTS; a++) {
        struct store_chain chains[CHAINS_PER_AGENT_MAX];
        uint32_t n = 0;
        ck_assert_int_eq(store_agent_chains(s, rig_tag(1), agent_name(a), chains, &n), ERR_OK);
        ck_assert_uint_eq(n, twin[a].n);
        memcpy(old, twin[a].talks, sizeof old);
        for (uint32_t i = 0; i < n; i++) {
            struct talk *t = &twin[a].talks[n - 1 - i];
            for (uint32_t k = 0; lost_order && k < n; k++)
                if (old[k].n == chains[i].n_tokens &&
                    memcmp(old[k].tokens, chains[i].tokens, old[k].n * 4) == 0)
                    *t = old[k];
            ck_assert_uint_eq(chains[i].n_tokens, t->n);
            ck_assert_mem_eq(chains[i].tokens, t->tokens, t->n * 4);
        }
        store_chains_free(chains, n);
    }
}

static void check_plans(struct store *s) {
    struct talk t;
    n_files = 0;
    rig_each_file(rig_dir, read_file_header, NULL);
    for (int i = 0; i < 4; i++) {
        uint32_t window = dice(2) ? 0 : 40 + dice(2) * 260;
        make_talk(&t);
        ck_assert_uint_eq(rig_cached(s, rig_tag(1), t.tokens, t.n, window), best_end(&t, window));
    }
}

static void play(uint64_t budget, bool twin_agents, int steps) {
    struct store *s = rig_open_with(budget, NULL);
    static struct talk t;
    for (int i = 0; i < steps; i++) {
        uint32_t agent = dice(AGENTS), what = dice(20);
        if (what < 13) {
            make_talk(&t);
            struct rig_chain c = {.tag = rig_tag(1),
                                  .agent = agent_name(agent),
                                  .tokens = t.tokens,
                                  .n = t.n,
                                  .window = dice(2) ? 300 : 0,
                                  .n_prompt = dice(2) ? 1 + dice(t.n) : 0,
                                  .interrupted = dice(3) == 0};
            ck_assert_int_eq(rig_say(s, &c), ERR_OK);
            twin_note(agent, &t);
        } else if (what == 13) {
            uint32_t n;
            uint64_t files_gone, bytes_gone;
            enum err err = store_agent_delete(s, "", agent_name(agent), &n, &files_gone, &bytes_gone);
            if (twin_agents) ck_assert_int_eq(err, twin[agent].n ? ERR_OK : ERR_NOT_FOUND);
            twin[agent].n = 0;
        } else if (what == 14) {
            store_free(s);
            s = rig_open_with(budget, NULL);
        } else if (what == 15) {
            rig_generation++; /* the first is not closed before: as after kill -9 */
            struct store *again = rig_open_with(budget, NULL);
            store_free(s);
            s = again;
        } else {
            check_plans(s);
        }
        if (twin_agents) check_agents(s, what == 15);
        ck_assert_uint_le(rig_tree_bytes(rig_dir), budget);
    }
    store_free(s);
}

static void set_up(void) {
    rig_dir_new();
}
static void tear_down(void) {
    rig_remove_tree(rig_dir);
}

START_TEST(with_room_for_all_it_equals_the_twin) {
    play(64 * MB, true, 250);
}
END_TEST

START_TEST(with_little_room_its_plans_are_true_and_its_budget_holds) {
    play(MB + MB / 2, false, 250);
}
END_TEST

int main(void) {
    const char *set = getenv("HOTSEAT_SEED");
    seed = set ? strtoull(set, NULL, 10) : (uint64_t)time(NULL);
    printf("HOTSEAT_SEED=%llu\n", (unsigned long long)seed);
    const TTest *const tests[] = {with_room_for_all_it_equals_the_twin,
                                  with_little_room_its_plans_are_true_and_its_budget_holds};
    return rig_run("store_random", tests, ARRAY_LEN(tests), set_up, tear_down);
}
