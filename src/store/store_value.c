#include "store/store_value.h"

#include <math.h>

#define CLASS_OF_ONE 32   /* value 1: one token a KiB. Real parts lie between 1/2,000 and 2,000 */
#define CLASSES_A_TWO 2.0 /* classes a factor of two */
#define USES_END 16       /* from so many on all conversations come back alike */
#define WINDOW_PART 0.5
#define STRANDED 0.125

/* How much likelier it is used again than what was used once: a prompt that came alone may be all there ever is of its
 * conversation, one that came five times comes a sixth time. */
static double u(uint32_t uses) {
    if (uses < 1) uses = 1;
    if (uses > USES_END) uses = USES_END;
    return 1.0 + log2(uses);
}

uint8_t store_value_class(const struct store_worth *w) {
    double kib = w->bytes ? (double)w->bytes / 1024 : 1;
    double value = w->n_tokens * u(w->uses) / kib;
    if (w->window) value *= WINDOW_PART;
    if (w->stranded) value *= STRANDED;
    double place = floor(CLASSES_A_TWO * log2(value > 0 ? value : 1e-9) + 0.5) + CLASS_OF_ONE;
    return (uint8_t)(place < 0 ? 0 : place > STORE_CLASSES - 1 ? STORE_CLASSES - 1 : place);
}

double store_value_score(uint64_t age, uint8_t value_class, uint32_t token_cost) {
    double value = exp2((value_class - CLASS_OF_ONE) / CLASSES_A_TWO);
    return (double)age / (value * (token_cost ? token_cost : STORE_TOKEN_COST_UNKNOWN));
}
