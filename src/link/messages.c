/* One function a field kind and direction; the table strings them together for each message. On the wire:
 * numbers little-endian; STR and BYTES a u32 size and the bytes; TOKENS a u32 count and u32 each; STRS a u32
 * count and BYTES. Nothing is allocated before what the frame still holds was compared with the size it
 * claims. */
#include "link/messages.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/must.h"
#include "link/frame.h"

/* ---- encoding: failures stay in the buffer ---- */

static void too_long(struct buf *out) {
    if (!out->error) out->error = ERR_LIMIT;
}

static void put_U32(struct buf *out, const uint32_t *v) {
    buf_u32(out, *v);
}

static void put_U64(struct buf *out, const uint64_t *v) {
    buf_u64(out, *v);
}

static void put_I64(struct buf *out, const int64_t *v) {
    buf_u64(out, (uint64_t)*v);
}

static void put_F64(struct buf *out, const double *v) {
    buf_f64(out, *v);
}

static void put_sized(struct buf *out, const void *data, size_t size_bytes) {
    if (size_bytes > FRAME_BYTES_MAX) {
        too_long(out);
        return;
    }
    must(data || size_bytes == 0);
    buf_u32(out, (uint32_t)size_bytes);
    buf_put(out, data, size_bytes);
}

static void put_STR(struct buf *out, char *const *v) {
    put_sized(out, *v, *v ? strlen(*v) : 0);
}

static void put_BYTES(struct buf *out, const struct msg_bytes *v) {
    put_sized(out, v->data, v->size);
}

static void put_TOKENS(struct buf *out, const struct msg_tokens *v) {
    if (v->n > FRAME_BYTES_MAX / sizeof(int32_t)) {
        too_long(out);
        return;
    }
    must(v->ids || v->n == 0);
    buf_u32(out, v->n);
    uint8_t *to = buf_reserve(out, v->n * sizeof(int32_t));
    if (!to) return;
    for (uint32_t i = 0; i < v->n; i++) {
        uint32_t id = (uint32_t)v->ids[i];
        for (int b = 0; b < 4; b++) *to++ = (uint8_t)(id >> (8 * b));
    }
    out->size += v->n * sizeof(int32_t);
}

static void put_STRS(struct buf *out, const struct msg_strings *v) {
    if (v->n > MSG_STRINGS_MAX) {
        too_long(out);
        return;
    }
    must(v->items || v->n == 0);
    buf_u32(out, v->n);
    for (uint32_t i = 0; i < v->n; i++) put_BYTES(out, &v->items[i]);
}

#define MSG_PUT_FIELD(kind, name) put_##kind(out, &m->name);
#define MSG_PUT_ROW(upper, lower)                                                                            \
    static void put_##lower(struct buf *out, const struct msg_##lower *m) {                                  \
        MSG_##upper(MSG_PUT_FIELD)                                                                           \
    }
MSG_TABLE(MSG_PUT_ROW)

enum err msg_encode(const struct msg *m, struct buf *out) {
    must(m->type > MSG_NONE && m->type < MSG_TYPE_COUNT);
    if (out->error) return out->error;
    size_t begin = frame_begin(out, (uint16_t)m->type);
    switch (m->type) {
#define MSG_PUT_CASE(upper, lower)                                                                           \
    case MSG_TYPE_##upper: put_##lower(out, &m->lower); break;
        MSG_TABLE(MSG_PUT_CASE)
    case MSG_NONE:
    case MSG_TYPE_COUNT: break;
    }
    enum err err = frame_end(out, begin);
    if (err) {
        out->size = begin; /* frames that were there before stay whole */
        out->error = ERR_OK;
    }
    return err;
}

/* ---- decoding: false with *err set; the caller frees what is there by then ---- */

static bool bad(enum err *err, enum err reason) {
    *err = reason;
    return false;
}

static bool get_number(const struct cursor *c, enum err *err) {
    return c->error ? bad(err, ERR_PROTOCOL) : true;
}

static bool get_U32(struct cursor *c, uint32_t *v, enum err *err) {
    *v = cursor_u32(c);
    return get_number(c, err);
}

static bool get_U64(struct cursor *c, uint64_t *v, enum err *err) {
    *v = cursor_u64(c);
    return get_number(c, err);
}

static bool get_I64(struct cursor *c, int64_t *v, enum err *err) {
    *v = (int64_t)cursor_u64(c);
    return get_number(c, err);
}

static bool get_F64(struct cursor *c, double *v, enum err *err) {
    *v = cursor_f64(c);
    return get_number(c, err);
}

/* A copy with a NUL behind it. */
static bool get_sized(struct cursor *c, uint8_t **ret, uint32_t *ret_size, enum err *err) {
    uint32_t size = cursor_u32(c);
    const uint8_t *bytes = cursor_bytes(c, size);
    if (!bytes) return bad(err, ERR_PROTOCOL);
    uint8_t *copy = mem_alloc((size_t)size + 1);
    if (!copy) return bad(err, ERR_NOMEM);
    memcpy(copy, bytes, size);
    *ret = copy;
    *ret_size = size;
    return true;
}

static bool get_STR(struct cursor *c, char **v, enum err *err) {
    uint32_t size;
    uint8_t *copy;
    if (!get_sized(c, &copy, &size, err)) return false;
    *v = (char *)copy;
    return memchr(copy, 0, size) ? bad(err, ERR_PROTOCOL) : true;
}

static bool get_BYTES(struct cursor *c, struct msg_bytes *v, enum err *err) {
    if (!get_sized(c, &v->data, &v->size, err)) return false;
    if (v->size == 0) mem_freep(&v->data);
    return true;
}

static bool get_TOKENS(struct cursor *c, struct msg_tokens *v, enum err *err) {
    uint32_t n = cursor_u32(c);
    if (n > cursor_left(c) / sizeof(int32_t)) c->error = true;
    if (c->error) return bad(err, ERR_PROTOCOL);
    if (n == 0) return true;
    v->ids = mem_array(n, sizeof(int32_t));
    if (!v->ids) return bad(err, ERR_NOMEM);
    v->n = n;
    for (uint32_t i = 0; i < n; i++) v->ids[i] = (int32_t)cursor_u32(c);
    return true;
}

static bool get_STRS(struct cursor *c, struct msg_strings *v, enum err *err) {
    uint32_t n = cursor_u32(c);
    if (c->error || n > MSG_STRINGS_MAX || n > cursor_left(c) / sizeof(uint32_t))
        return bad(err, ERR_PROTOCOL);
    if (n == 0) return true;
    v->items = mem_array(n, sizeof *v->items);
    if (!v->items) return bad(err, ERR_NOMEM);
    v->n = n;
    for (uint32_t i = 0; i < n; i++) {
        if (!get_BYTES(c, &v->items[i], err)) return false;
    }
    return true;
}

#define MSG_GET_FIELD(kind, name) &&get_##kind(c, &m->name, err)
#define MSG_GET_ROW(upper, lower)                                                                            \
    static bool get_##lower(struct cursor *c, struct msg_##lower *m, enum err *err) {                        \
        return true MSG_##upper(MSG_GET_FIELD);                                                              \
    }
MSG_TABLE(MSG_GET_ROW)

enum err msg_decode(const uint8_t *frame, size_t size_bytes, struct msg *ret) {
    memset(ret, 0, sizeof *ret);
    size_t frame_size;
    uint16_t type;
    if (frame_peek(frame, size_bytes, &frame_size, &type) || frame_size != size_bytes) return ERR_PROTOCOL;
    if (type == MSG_NONE || type >= MSG_TYPE_COUNT) return ERR_PROTOCOL;
    struct cursor c = cursor_over(frame + FRAME_HEADER_BYTES, size_bytes - FRAME_HEADER_BYTES);
    enum err err = ERR_OK;
    ret->type = (enum msg_type)type;
    switch (ret->type) {
#define MSG_GET_CASE(upper, lower)                                                                           \
    case MSG_TYPE_##upper: (void)get_##lower(&c, &ret->lower, &err); break;
        MSG_TABLE(MSG_GET_CASE)
    case MSG_NONE:
    case MSG_TYPE_COUNT: break;
    }
    if (!err && cursor_left(&c) > 0) err = ERR_PROTOCOL;
    if (err) msg_free(ret);
    return err;
}

/* ---- release ---- */

static void free_U32(const uint32_t *v UNUSED) {}

static void free_U64(const uint64_t *v UNUSED) {}

static void free_I64(const int64_t *v UNUSED) {}

static void free_F64(const double *v UNUSED) {}

static void free_STR(char *const *v) {
    mem_free(*v);
}

static void free_BYTES(const struct msg_bytes *v) {
    mem_free(v->data);
}

static void free_TOKENS(const struct msg_tokens *v) {
    mem_free(v->ids);
}

static void free_STRS(const struct msg_strings *v) {
    for (uint32_t i = 0; i < v->n; i++) free_BYTES(&v->items[i]);
    mem_free(v->items);
}

#define MSG_FREE_FIELD(kind, name) free_##kind(&m->name);
#define MSG_FREE_ROW(upper, lower)                                                                           \
    static void free_##lower(const struct msg_##lower *m) {                                                  \
        MSG_##upper(MSG_FREE_FIELD)                                                                          \
    }
MSG_TABLE(MSG_FREE_ROW)

void msg_free(struct msg *m) {
    switch (m->type) {
#define MSG_FREE_CASE(upper, lower)                                                                          \
    case MSG_TYPE_##upper: free_##lower(&m->lower); break;
        MSG_TABLE(MSG_FREE_CASE)
    case MSG_NONE:
    case MSG_TYPE_COUNT: break;
    }
    memset(m, 0, sizeof *m); /* all of the union, whichever member is asked next */
}

const char *msg_type_name(enum msg_type type) {
    switch (type) {
#define MSG_NAME_CASE(upper, lower)                                                                          \
    case MSG_TYPE_##upper: return #lower;
        MSG_TABLE(MSG_NAME_CASE)
    case MSG_NONE:
    case MSG_TYPE_COUNT: break;
    }
    return "?";
}
