/* swap_figures.h - what swaps took and will take: the learned costs. Part of swap.h's module, beside its steps. */
#ifndef HOTSEAT_FRONT_SWAP_FIGURES_H
#define HOTSEAT_FRONT_SWAP_FIGURES_H

#include "front/swap.h"

void swap_cost_learn(
    struct swap *s); /* from the record that ends: without the drain, which is not the swap's own */

#endif
