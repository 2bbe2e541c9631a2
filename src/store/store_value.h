/* store_value.h - the eviction rule in numbers: what a part on disk is worth its bytes. docs/store-format.md has it in words.
 *   value = tokens it saves * u(uses) / KiB it takes             score = age / (value * what a token's prefill costs)
 * The part with the highest score goes. Age is counted in uses of any part since its own last one, so nothing ages while
 * nobody works. Values are put into classes, each sqrt(2) times the one before: within a class of one model the oldest has
 * the highest score, so only the oldest of each class is ever looked at. Pure. Thread: any. */
#ifndef HOTSEAT_STORE_STORE_VALUE_H
#define HOTSEAT_STORE_STORE_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#define STORE_CLASSES 64
#define STORE_USES_MAX 255 /* more says nothing more: u() is at its end long before */
#define STORE_TOKEN_COST_UNKNOWN                                                                             \
    500 /* of a model that nobody told the cost of: half a thousand million parameters */

struct store_worth {
    uint32_t n_tokens;
    uint32_t uses; /* turns that ended at or below it; 0: none yet */
    uint64_t bytes;
    bool
        window; /* a window part: it goes before the base part of the same block, which serves later ends as well */
    bool stranded; /* a leaf without a window part, of a model that has them: nobody can go on from it */
};

uint8_t store_value_class(const struct store_worth *w); /* below STORE_CLASSES */
/* token_cost: in any unit that is the same for all models; 0: not known. */
double store_value_score(uint64_t age, uint8_t value_class, uint32_t token_cost);

#endif
