#include "link/frame.h"

#include "base/limits.h"
#include "base/must.h"

enum err frame_peek(const uint8_t *data, size_t size_bytes, size_t *ret_size, uint16_t *ret_type) {
    if (size_bytes < FRAME_HEADER_BYTES) return ERR_EOF;
    struct cursor c = cursor_over(data, size_bytes);
    uint32_t payload = cursor_u32(&c);
    uint16_t version = cursor_u16(&c);
    uint16_t type = cursor_u16(&c);
    if (payload > FRAME_BYTES_MAX || version != LINK_VERSION) return ERR_PROTOCOL;
    if (size_bytes - FRAME_HEADER_BYTES < payload) return ERR_EOF;
    *ret_size = FRAME_HEADER_BYTES + (size_t)payload;
    *ret_type = type;
    return ERR_OK;
}

size_t frame_begin(struct buf *out, uint16_t type) {
    size_t begin = out->size;
    buf_u32(out, 0); /* the size, filled in by frame_end() */
    buf_u16(out, LINK_VERSION);
    buf_u16(out, type);
    return begin;
}

enum err frame_end(struct buf *out, size_t begin) {
    if (out->error) return out->error;
    must(out->size - begin >= FRAME_HEADER_BYTES);
    size_t payload = out->size - begin - FRAME_HEADER_BYTES;
    if (payload > FRAME_BYTES_MAX) return ERR_LIMIT;
    for (size_t i = 0; i < 4; i++) out->data[begin + i] = (uint8_t)(payload >> (8 * i));
    return ERR_OK;
}
