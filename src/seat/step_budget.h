/* step_budget.h - how many prompt tokens the next step may carry beside running streams. It learns from measured steps, so that the
 * gap between the tokens of running streams stays within token_gap times the undisturbed one, and prompts get the rest:
 *   (token_gap - 1) * an undisturbed step / what one prompt token adds to a step
 * Named rules:
 *   UNDISTURBED  a step without prompts is measured for each number of running streams. Where it is not known (two steps, of which
 *                the shorter one counts) or old, the next step carries no prompt token: one of 33, or of 9 when the number of
 *                streams has changed. That costs prompts little, and nothing has to be guessed.
 *   IN PLACE     what a prompt token adds is measured in the very steps that are bounded: few tokens cost more each than many do.
 *                Before the first one it is taken for twice its share of a step of prompts alone.
 *   CAREFUL      what makes budgets smaller is believed sooner than what makes them larger, and no single step moves a figure far:
 *                on a machine that does other things too, gaps get shorter, not longer.
 *   ADVANCES     prompts get token_gap - 1 tokens a step at least, but for undisturbed ones: hardly any machine takes longer for one more token than for a
 *                step of one stream, so they are in the bound. Where they are not, the bound gives way.
 * Plain data, no clock. Thread: its owner's. */
#ifndef HOTSEAT_SEAT_STEP_BUDGET_H
#define HOTSEAT_SEAT_STEP_BUDGET_H

#include <stdint.h>

#include "base/limits.h"

#define STEP_BUDGET_GAP 3          /* token_gap when nothing else is set */
#define STEP_BUDGET_TOKENS_FIRST 4 /* when no step with a prompt was seen yet */

struct undisturbed {
    int64_t ns;
    uint32_t n_seen; /* counts up to what is needed */
};

struct step_budget {
    uint32_t token_gap, items_max;
    struct undisturbed undisturbed[PARALLEL_MAX + 1]; /* by number of running streams */
    int64_t token_ns,
        token_alone_ns;             /* added by a prompt token; its share of a step of prompts. 0: unknown */
    uint32_t last_decodes, n_mixed; /* of the last step; mixed steps since one without a prompt */
};

/* Forgets all: another model. token_gap 0: STEP_BUDGET_GAP. items_max: prompt tokens and running streams of a step. */
void step_budget_reset(struct step_budget *b, uint32_t token_gap, uint32_t items_max);
/* A step took step_ns until its rows were read. Not for one that was aborted or has failed. */
void step_budget_feed(struct step_budget *b, uint32_t n_decodes, uint32_t n_prompt_tokens, int64_t step_ns);
/* 0: the next step is to be undisturbed. Without running streams items_max. */
uint32_t step_budget_tokens(const struct step_budget *b, uint32_t n_decodes);

#endif
