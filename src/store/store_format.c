#include "store/store_format.h"

#include <string.h>

#include "base/must.h"

static const char magic[8] = {'h', 'o', 't', 's', 'e', 'a', 't', 'B'};
#define CHECKSUM_BYTES 8

static void put_u32_le(uint8_t *to, uint32_t v) {
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(v >> (8 * i));
}

struct block_name block_name_of(struct block_name parent, struct hash128 tag, const int32_t *tokens,
                                uint32_t n) {
    must(n <= BLOCK_TOKENS);
    uint8_t bytes[16 + 16 + 4 * BLOCK_TOKENS];
    memcpy(bytes, parent.h.b, 16);
    memcpy(bytes + 16, tag.b, 16);
    for (uint32_t i = 0; i < n; i++) put_u32_le(bytes + 32 + 4 * (size_t)i, (uint32_t)tokens[i]);
    return (struct block_name){hash128(bytes, 32 + 4 * (size_t)n)};
}

enum err store_format_encode(struct store_header *h, struct buf *out) {
    size_t model_size = strlen(h->model), agent_size = strlen(h->agent), at = out->size;
    must(h->n_tokens >= 1 && h->n_tokens <= BLOCK_TOKENS);
    h->header_size = (uint32_t)(STORE_HEADER_FIXED_BYTES + model_size + agent_size + 4 * (size_t)h->n_tokens +
                                CHECKSUM_BYTES);
    buf_put(out, magic, sizeof magic);
    buf_u32(out, STORE_FORMAT_VERSION);
    buf_u32(out, h->header_size);
    buf_u8(out, (uint8_t)h->part);
    buf_u8(out, h->flags);
    buf_u16(out, (uint16_t)model_size);
    buf_u16(out, (uint16_t)agent_size);
    buf_u16(out, 0);
    buf_u32(out, h->n_tokens);
    buf_u32(out, h->first_pos);
    buf_u32(out, h->window_from);
    buf_u32(out, 0);
    buf_u64(out, h->part_size);
    buf_u64(out, h->part_hash);
    buf_put(out, h->tag.b, 16);
    buf_put(out, h->parent.b, 16);
    buf_put(out, h->name.b, 16);
    buf_put(out, h->model, model_size);
    buf_put(out, h->agent, agent_size);
    for (uint32_t i = 0; i < h->n_tokens; i++) buf_u32(out, (uint32_t)h->tokens[i]);
    if (out->error) return out->error;
    buf_u64(out, hash64(out->data + at, out->size - at));
    if (out->error) return out->error;
    must(out->size - at == h->header_size);
    return ERR_OK;
}

static enum err bad(const char *text, const char **ret_reason) {
    *ret_reason = text;
    return ERR_CORRUPT;
}

static bool read_text(struct cursor *c, size_t size_bytes, char *to) {
    const uint8_t *p = cursor_bytes(c, size_bytes);
    if (!p || memchr(p, 0, size_bytes)) return false;
    memcpy(to, p, size_bytes);
    to[size_bytes] = '\0';
    return true;
}

static void read_hash(struct cursor *c, struct hash128 *to) {
    const uint8_t *p = cursor_bytes(c, sizeof to->b);
    if (p) memcpy(to->b, p, sizeof to->b);
}

/* What the checksum can't see: a writer that was wrong. */
static enum err check_values(const struct store_header *h, uint32_t reserved, const char **ret_reason) {
    if (h->part != STORE_PART_BASE && h->part != STORE_PART_WINDOW)
        return bad("unknown kind of part", ret_reason);
    if ((h->flags & ~STORE_FLAGS_KNOWN) != 0 || reserved != 0) return bad("unknown flags", ret_reason);
    if (h->first_pos % BLOCK_TOKENS != 0 || h->first_pos > INT32_MAX - BLOCK_TOKENS)
        return bad("a first position between blocks", ret_reason);
    if ((h->first_pos == 0) != hash128_is_zero(h->parent))
        return bad("a parent that its position denies", ret_reason);
    if (h->n_tokens == BLOCK_TOKENS && h->agent[0]) return bad("an owner in a full block", ret_reason);
    if (h->part == STORE_PART_BASE && h->window_from != 0) return bad("a window in a base part", ret_reason);
    if (h->part == STORE_PART_WINDOW &&
        (h->window_from < h->first_pos || h->window_from > h->first_pos + h->n_tokens))
        return bad("a window outside of the block", ret_reason);
    struct block_name name = block_name_of((struct block_name){h->parent}, h->tag, h->tokens, h->n_tokens);
    if (!hash128_equal(name.h, h->name)) return bad("its name is not that of its tokens", ret_reason);
    return ERR_OK;
}

enum err store_format_decode(const uint8_t *data, size_t size_bytes, uint64_t file_size,
                             struct store_header *ret, const char **ret_reason) {
    *ret = (struct store_header){0};
    struct cursor c = cursor_over(data, size_bytes);
    const uint8_t *m = cursor_bytes(&c, sizeof magic);
    uint32_t version = cursor_u32(&c);
    uint32_t header_size = cursor_u32(&c);
    if (!m || c.error) return bad("shorter than a header", ret_reason);
    if (memcmp(m, magic, sizeof magic) != 0) return bad("not a block file", ret_reason);
    if (version != STORE_FORMAT_VERSION) {
        *ret_reason = "another format version";
        return ERR_VERSION;
    }
    if (header_size < STORE_HEADER_FIXED_BYTES + CHECKSUM_BYTES || header_size > STORE_HEADER_BYTES_MAX)
        return bad("impossible header size", ret_reason);
    if (header_size > size_bytes) return bad("shorter than its header", ret_reason);
    struct cursor sum = cursor_over(data + header_size - CHECKSUM_BYTES, CHECKSUM_BYTES);
    if (cursor_u64(&sum) != hash64(data, header_size - CHECKSUM_BYTES))
        return bad("header checksum", ret_reason);

    c = cursor_over(data, header_size - CHECKSUM_BYTES);
    cursor_bytes(&c, sizeof magic + 8);
    ret->header_size = header_size;
    ret->part = (enum store_part)cursor_u8(&c);
    ret->flags = cursor_u8(&c);
    uint16_t model_size = cursor_u16(&c), agent_size = cursor_u16(&c);
    uint32_t reserved = cursor_u16(&c);
    ret->n_tokens = cursor_u32(&c);
    ret->first_pos = cursor_u32(&c);
    ret->window_from = cursor_u32(&c);
    reserved |= cursor_u32(&c);
    ret->part_size = cursor_u64(&c);
    ret->part_hash = cursor_u64(&c);
    read_hash(&c, &ret->tag);
    read_hash(&c, &ret->parent);
    read_hash(&c, &ret->name);
    if (model_size > MODEL_ID_BYTES_MAX || agent_size > AGENT_ID_BYTES_MAX)
        return bad("too long a name", ret_reason);
    if (ret->n_tokens < 1 || ret->n_tokens > BLOCK_TOKENS)
        return bad("impossible number of tokens", ret_reason);
    if (!read_text(&c, model_size, ret->model) || !read_text(&c, agent_size, ret->agent))
        return bad("a name with NUL", ret_reason);
    for (uint32_t i = 0; i < ret->n_tokens; i++) ret->tokens[i] = (int32_t)cursor_u32(&c);
    if (c.error || cursor_left(&c) != 0) return bad("lengths that do not add up", ret_reason);
    enum err err = check_values(ret, reserved, ret_reason);
    if (err) return err;
    if (ret->part_size > STORE_PART_BYTES_MAX) return bad("impossible part size", ret_reason);
    if (file_size < header_size + ret->part_size) return bad("cut short", ret_reason);
    if (file_size > header_size + ret->part_size) return bad("bytes after its end", ret_reason);
    *ret_reason = "ok";
    return ERR_OK;
}

enum err store_format_match(const struct store_header *h, const struct store_expected *x,
                            const char **ret_reason) {
    const char *reason = NULL;
    if (!hash128_equal(h->tag, x->tag))
        reason = "another model's block";
    else if (!hash128_equal(h->name, x->name))
        reason = "another block's file";
    else if (h->part != x->part)
        reason = "another part's file";
    else if (!hash128_equal(h->parent, x->parent))
        reason = "another chain's block";
    else if (h->first_pos != x->first_pos || h->n_tokens != x->n_tokens)
        reason = "other positions";
    else if (x->tokens && memcmp(h->tokens, x->tokens, sizeof h->tokens[0] * h->n_tokens) != 0)
        reason = "other tokens";
    *ret_reason = reason ? reason : "ok";
    return reason ? ERR_MISMATCH : ERR_OK;
}
