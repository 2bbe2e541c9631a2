#include "seat/step_budget.h"

#include "base/must.h"

#define SEEN_MIN 2          /* undisturbed steps: one alone may be an outlier */
#define MIXED_MAX 32        /* steps, then an undisturbed one: contexts grow */
#define MIXED_CHANGE 8      /* the same, when streams came or went */
#define ALONE_TOKENS_MIN 32 /* a step of fewer says nothing about what a token costs */
#define NS_MIN 1000         /* what is known never falls below it: whole numbers must still be able to grow */

/* Of what the bound leaves so much is planned: the rest of the turn and noise are in no plan. */
#define PLANNED(ns) ((ns) / 8 * 7)

/* CAREFUL: from known towards sample, by up/8 or down/8 of the way; a sample is at most twice what is known. */
static int64_t towards(int64_t known, int64_t sample, int64_t up, int64_t down) {
    if (sample > 2 * known) sample = 2 * known;
    int64_t way = sample - known;
    return known + way * (way > 0 ? up : down) / 8;
}

static int64_t at_least(int64_t ns) {
    return ns > NS_MIN ? ns : NS_MIN;
}

void step_budget_reset(struct step_budget *b, uint32_t token_gap, uint32_t items_max) {
    *b = (struct step_budget){.token_gap = token_gap ? token_gap : STEP_BUDGET_GAP, .items_max = items_max};
}

/* What the bound leaves for prompts. */
static int64_t left_ns(const struct step_budget *b, uint32_t n_decodes) {
    return PLANNED((b->token_gap - 1) * b->undisturbed[n_decodes].ns);
}

static int64_t token_ns(const struct step_budget *b, uint32_t n_decodes) {
    if (b->token_ns) return b->token_ns;
    if (b->token_alone_ns) return 2 * b->token_alone_ns;
    return at_least(left_ns(b, n_decodes) / STEP_BUDGET_TOKENS_FIRST);
}

static uint32_t planned_tokens(const struct step_budget *b, uint32_t n_decodes) {
    int64_t n = left_ns(b, n_decodes) / token_ns(b, n_decodes);
    int64_t least = b->token_gap - 1, most = b->items_max - n_decodes; /* ADVANCES */
    if (n < least) return (uint32_t)least;
    return (uint32_t)(n < most ? n : most);
}

static void feed_undisturbed(struct undisturbed *u, int64_t ns) {
    if (u->n_seen == 0 || (u->n_seen < SEEN_MIN && ns < u->ns))
        u->ns = ns;
    else if (u->n_seen >= SEEN_MIN)
        u->ns = at_least(towards(u->ns, ns, 1, 6));
    if (u->n_seen < SEEN_MIN) u->n_seen++;
}

/* The last tokens of a prompt, fewer than planned, count for less: what a step costs at all is a large part of them. */
static void feed_mixed(struct step_budget *b, uint32_t n_decodes, uint32_t n, int64_t ns) {
    int64_t known = token_ns(b, n_decodes), planned = planned_tokens(b, n_decodes);
    int64_t sample = (ns - b->undisturbed[n_decodes].ns) / n;
    int64_t moved = towards(known, sample > known / 2 ? sample : known / 2, 4, 2);
    b->token_ns = at_least(known + (moved - known) * (n < planned ? n : planned) / planned);
}

void step_budget_feed(struct step_budget *b, uint32_t n_decodes, uint32_t n_prompt_tokens, int64_t step_ns) {
    must(n_decodes <= PARALLEL_MAX);
    step_ns = at_least(step_ns);
    if (n_decodes == 0) {
        if (n_prompt_tokens < ALONE_TOKENS_MIN) return;
        int64_t ns = at_least(step_ns / n_prompt_tokens);
        b->token_alone_ns = b->token_alone_ns ? at_least(towards(b->token_alone_ns, ns, 1, 4)) : ns;
        return;
    }
    b->last_decodes = n_decodes;
    if (n_prompt_tokens == 0) {
        feed_undisturbed(&b->undisturbed[n_decodes], step_ns);
        b->n_mixed = 0;
        return;
    }
    b->n_mixed++;
    if (b->undisturbed[n_decodes].n_seen >= SEEN_MIN) feed_mixed(b, n_decodes, n_prompt_tokens, step_ns);
}

uint32_t step_budget_tokens(const struct step_budget *b, uint32_t n_decodes) {
    must(n_decodes <= PARALLEL_MAX && n_decodes + b->token_gap <= b->items_max);
    if (n_decodes == 0) return b->items_max;
    if (b->undisturbed[n_decodes].n_seen < SEEN_MIN) return 0;
    if (b->n_mixed >= (n_decodes == b->last_decodes ? MIXED_MAX : MIXED_CHANGE)) return 0;
    return planned_tokens(b, n_decodes);
}
