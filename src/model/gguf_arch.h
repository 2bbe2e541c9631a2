/* gguf_arch.h - what is known of model families by their name alone: which layers have a sliding window,
 * which keep a state that can't be cut into blocks, which write no text. Facts of the pinned engine. Pure.
 * Thread: any. */
#ifndef HOTSEAT_MODEL_GGUF_ARCH_H
#define HOTSEAT_MODEL_GGUF_ARCH_H

#include <stdbool.h>
#include <stdint.h>

/* One layer in `period` has full attention, the others a window. */
struct gguf_window_rule {
    const char *architecture;
    uint32_t period;
    uint32_t window;      /* when the file names none; 0: then there is no window */
    bool full_first;      /* the full layer is the first of each period, else the last */
    bool window_is_fixed; /* a window other than 0 in the file does not change it */
};
const struct gguf_window_rule *
gguf_window_rule_of(const char *architecture); /* NULL: no window in this family */
uint32_t gguf_window_layers(uint32_t n_layers, uint32_t period, bool full_first);

bool gguf_arch_recurrent(const char *architecture);
bool gguf_arch_writes_text(const char *architecture); /* false: embedding models and parts of others */

#endif
