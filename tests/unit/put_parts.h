/* A block's parts put back from a copy: engine_block_put() uses up what it is given. */
#ifndef HOTSEAT_TESTS_PUT_PARTS_H
#define HOTSEAT_TESTS_PUT_PARTS_H

#include "seat/engine.h"

static inline enum err put_parts(struct engine *e, int32_t seq, int32_t p0, int32_t p1, const uint8_t *base,
                                 size_t base_size, const uint8_t *window, size_t window_size) {
    static const uint8_t head[ENGINE_BLOCK_HEAD];
    struct buf copy = BUF(0);
    buf_put(&copy, head, sizeof head);
    buf_put(&copy, base, base_size);
    enum err err = copy.error ? copy.error : engine_block_put(e, seq, p0, p1, &copy, window, window_size);
    buf_free(&copy);
    return err;
}

#endif
