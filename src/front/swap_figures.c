#include "front/swap_figures.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define COST_GUESS_NS (2 * NS_PER_S)               /* before anything was measured: context and vocabulary */
#define COST_GUESS_BYTES_PER_S (UINT64_C(1) << 30) /* a warm page cache */

/* Where each step begins, in percent; the load's own progress fills its part. */
static const uint8_t BEGINS[STEP_COUNT] = {[STEP_DRAIN] = 0,  [STEP_EVICT] = 5, [STEP_UNLOAD] = 15,
                                           [STEP_START] = 20, [STEP_LOAD] = 25, [STEP_CONFIGURE] = 85};

static struct swap_cost *cost_find(struct swap *s, const char *from, const char *to) {
    for (uint32_t i = 0; i < s->n_costs; i++)
        if (!strcmp(s->costs[i].from, from) && !strcmp(s->costs[i].to, to)) return &s->costs[i];
    return NULL;
}

void swap_cost_learn(struct swap *s) {
    const struct swap_record *r = &s->record;
    int64_t took_ns = r->ended_ns - r->started_ns - r->step_ns[STEP_DRAIN];
    struct swap_cost *cost = cost_find(s, r->from, r->to);
    if (cost) {
        cost->ewma_ns += (took_ns - cost->ewma_ns) / 4; /* half of it forgotten after three swaps */
        return;
    }
    if (s->n_costs == SWAP_COSTS_MAX) { /* the oldest makes room */
        memmove(s->costs, s->costs + 1, (SWAP_COSTS_MAX - 1) * sizeof *s->costs);
        s->n_costs--;
    }
    cost = &s->costs[s->n_costs++];
    snprintf(cost->from, sizeof cost->from, "%s", r->from);
    snprintf(cost->to, sizeof cost->to, "%s", r->to);
    cost->ewma_ns = took_ns;
}

int64_t swap_cost_ns(const struct swap *s, const struct model *from, const struct model *to) {
    if (!to) return NS_PER_S;
    int64_t sum_ns = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_costs; i++) {
        if (strcmp(s->costs[i].to, to->id)) continue;
        if (!strcmp(s->costs[i].from, from ? from->id : "")) return s->costs[i].ewma_ns;
        sum_ns += s->costs[i].ewma_ns;
        n++;
    }
    if (n) return sum_ns / n; /* the load is most of it, whoever sat there before */
    uint64_t bytes = to->measure.known ? to->measure.weights_bytes : to->info.file_bytes;
    return COST_GUESS_NS + (int64_t)(bytes / (COST_GUESS_BYTES_PER_S / 1000)) * NS_PER_MS;
}

uint32_t swap_percent(const struct swap *s) {
    if (!s->record.id) return s->state == SWAP_SERVING || s->state == SWAP_EMPTY ? 100 : 0;
    uint32_t percent = BEGINS[s->step];
    if (s->step == STEP_LOAD) percent += s->permille * 60 / 1000;
    return percent;
}

int64_t swap_eta_ns(const struct swap *s, int64_t now_ns) {
    if (!s->record.id) return 0;
    if (s->step == STEP_LOAD && s->permille >= 50) {
        int64_t load_left = (now_ns - s->step_since_ns) * (1000 - s->permille) / s->permille;
        return load_left + s->expected_ns / 6;
    }
    int64_t drain = s->step == STEP_DRAIN ? now_ns - s->record.started_ns : s->record.step_ns[STEP_DRAIN];
    int64_t left = s->expected_ns - (now_ns - s->record.started_ns - drain);
    return left > 0 ? left : 0;
}

const struct swap_record *swap_history_at(const struct swap *s, uint32_t i) {
    if (i >= s->n_history || i >= SWAP_HISTORY) return NULL;
    return &s->history[(s->n_history - 1 - i) % SWAP_HISTORY];
}
