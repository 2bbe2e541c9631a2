#include "model/model_tag.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/must.h"
#include "model/gguf_info.h"
#include "model/gguf_parts.h"

#define READ_BYTES (1u << 20) /* a read: long enough for a disk, short enough to stay in the caches */

static int64_t ns_of(struct timespec t) {
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void identity_from(const struct stat *st, struct file_identity *ret) {
#if defined(__APPLE__)
    struct timespec m = st->st_mtimespec, c = st->st_ctimespec;
#else
    struct timespec m = st->st_mtim, c = st->st_ctim;
#endif
    *ret = (struct file_identity){.size_bytes = (uint64_t)st->st_size,
                                  .inode = (uint64_t)st->st_ino,
                                  .device = (uint64_t)st->st_dev,
                                  .mtime_ns = ns_of(m),
                                  .ctime_ns = ns_of(c)};
}

bool file_identity_equal(const struct file_identity *a, const struct file_identity *b) {
    return a->size_bytes == b->size_bytes && a->inode == b->inode && a->device == b->device &&
           a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

/* Several identities as one: sizes add up, the youngest times count, inode and device become hashes over all
 * parts. */
struct identity_sum {
    struct file_identity sum;
    uint32_t n;
    struct buf parts;
};

static void sum_add(struct identity_sum *s, const struct file_identity *id) {
    if (s->n++ == 0) {
        s->sum = *id;
    } else {
        s->sum.size_bytes += id->size_bytes;
        if (id->mtime_ns > s->sum.mtime_ns) s->sum.mtime_ns = id->mtime_ns;
        if (id->ctime_ns > s->sum.ctime_ns) s->sum.ctime_ns = id->ctime_ns;
    }
    buf_u64(&s->parts, id->size_bytes);
    buf_u64(&s->parts, id->inode);
    buf_u64(&s->parts, id->device);
    buf_u64(&s->parts, (uint64_t)id->mtime_ns);
    buf_u64(&s->parts, (uint64_t)id->ctime_ns);
}

static enum err sum_end(struct identity_sum *s, struct file_identity *ret) {
    enum err err = s->parts.error;
    *ret = s->sum;
    if (!err && s->n > 1) {
        struct hash128 h = hash128(s->parts.data, s->parts.size);
        struct cursor c = cursor_over(h.b, sizeof h.b);
        ret->inode = cursor_u64(&c);
        ret->device = cursor_u64(&c);
    }
    buf_free(&s->parts);
    return err;
}

enum err file_identity_of(const char *path, struct file_identity *ret) {
    uint32_t n_parts = gguf_parts_count(path, NULL);
    struct identity_sum sum = {.parts = BUF(0)};
    enum err err = ERR_OK;
    for (uint32_t i = 1; i <= n_parts && !err; i++) {
        AUTO(mem_freep) char *part = gguf_parts_path(path, i);
        struct file_identity id;
        struct stat st;
        if (!part) {
            err = ERR_NOMEM;
        } else if (stat(part, &st) != 0) {
            err = err_from_errno(errno);
        } else {
            identity_from(&st, &id);
            sum_add(&sum, &id);
        }
    }
    enum err summed = sum_end(&sum, ret);
    return err ? err : summed;
}

/* Every field with its length or a fixed width, in this order: two inputs that differ never write the same
 * bytes. */
struct hash128 model_tag_of(const struct model_tag_inputs *in) {
    must(in->architecture && in->engine);
    uint8_t fixed[16 + 8 * 8];
    size_t at = 0;
    const uint32_t numbers[] = {2,
                                /* of this list */ in->n_layers,
                                in->n_kv_heads,
                                in->head_k,
                                in->head_v,
                                in->window,
                                in->n_window_layers,
                                (uint32_t)in->kv,
                                in->flash_attention,
                                in->swa_full,
                                in->format_version,
                                in->repack,
                                in->rope_long,
                                (uint32_t)strlen(in->architecture),
                                (uint32_t)strlen(in->engine)};
    _Static_assert(sizeof numbers + 16 <= sizeof fixed, "the list fits");
    memcpy(fixed, in->weights.b, 16);
    at = 16;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        for (int b = 0; b < 4; b++) fixed[at++] = (uint8_t)(numbers[i] >> (8 * b));
    }
    struct hash128 of_fixed = hash128(fixed, at);
    struct hash128 of_arch = hash128(in->architecture, strlen(in->architecture));
    struct hash128 of_engine = hash128(in->engine, strlen(in->engine));
    uint8_t all[48];
    memcpy(all, of_fixed.b, 16);
    memcpy(all + 16, of_arch.b, 16);
    memcpy(all + 32, of_engine.b, 16);
    return hash128(all, sizeof all);
}

struct hash_part {
    int fd;
    struct file_identity identity;
};

struct model_hash {
    struct hash_state *state;
    uint8_t *room; /* READ_BYTES */
    uint32_t n_parts, part;
    uint64_t at; /* in the part */
    struct hash_part parts[GGUF_PARTS_MAX];
};

void model_hash_free(struct model_hash *h) {
    if (!h) return;
    for (uint32_t i = 0; i < h->n_parts; i++) {
        if (h->parts[i].fd >= 0) close(h->parts[i].fd);
    }
    hash_state_free(h->state);
    mem_free(h->room);
    mem_free(h);
}

static void model_hash_freep(struct model_hash **h) {
    model_hash_free(*h);
}

static enum err open_part(const char *path, struct hash_part *ret) {
    struct stat st;
    ret->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a named pipe must not hold us up */
    if (ret->fd < 0) return err_from_errno(errno);
    if (fstat(ret->fd, &st) != 0) return err_from_errno(errno);
    if (!S_ISREG(st.st_mode)) return ERR_IO;
    identity_from(&st, &ret->identity);
    return ERR_OK;
}

enum err model_hash_open(const char *path, struct model_hash **ret) {
    AUTO(model_hash_freep) struct model_hash *h = mem_alloc(sizeof *h);
    if (!h) return ERR_NOMEM;
    uint32_t n_parts = gguf_parts_count(path, NULL);
    for (uint32_t i = 0; i < n_parts; i++) {
        AUTO(mem_freep) char *part = gguf_parts_path(path, i + 1);
        if (!part) return ERR_NOMEM;
        h->n_parts = i + 1;
        enum err err = open_part(part, &h->parts[i]);
        if (err) return err;
    }
    h->state = hash_state_new();
    h->room = mem_alloc(READ_BYTES);
    if (!h->state || !h->room) return ERR_NOMEM;
    *ret = TAKE(h);
    return ERR_OK;
}

enum err model_hash_identity(const struct model_hash *h, struct file_identity *ret) {
    struct identity_sum sum = {.parts = BUF(0)};
    for (uint32_t i = 0; i < h->n_parts; i++) sum_add(&sum, &h->parts[i].identity);
    return sum_end(&sum, ret);
}

/* A hash of bytes that were written to while we read them is nobody's. */
static enum err check_unchanged(const struct hash_part *p) {
    struct stat st;
    struct file_identity now;
    if (fstat(p->fd, &st) != 0) return err_from_errno(errno);
    identity_from(&st, &now);
    return file_identity_equal(&now, &p->identity) ? ERR_OK : ERR_MISMATCH;
}

/* Reads once; at the part's end goes on to the next. */
static enum err hash_some(struct model_hash *h, uint64_t most, uint64_t *ret_read) {
    struct hash_part *p = &h->parts[h->part];
    uint64_t left = p->identity.size_bytes - h->at;
    *ret_read = 0;
    if (left == 0) {
        h->part++;
        h->at = 0;
        return check_unchanged(p);
    }
    size_t want = READ_BYTES;
    if (want > left) want = (size_t)left;
    if (want > most) want = (size_t)most;
    ssize_t n = pread(p->fd, h->room, want, (off_t)h->at);
    if (n < 0) return errno == EINTR ? ERR_OK : err_from_errno(errno);
    if (n == 0) return ERR_MISMATCH; /* shorter than when it was opened */
    hash_state_add(h->state, h->room, (size_t)n);
    h->at += (uint64_t)n;
    *ret_read = (uint64_t)n;
    return ERR_OK;
}

enum err model_hash_step(struct model_hash *h, uint64_t slice_bytes, bool *ret_done,
                         struct hash128 *ret_hash) {
    must(slice_bytes > 0);
    *ret_done = false;
    uint64_t read_bytes = 0;
    while (h->part < h->n_parts && read_bytes < slice_bytes) {
        uint64_t n;
        enum err err = hash_some(h, slice_bytes - read_bytes, &n);
        if (err) return err;
        read_bytes += n;
    }
    if (h->part < h->n_parts) return ERR_OK;
    *ret_hash = hash_state_end128(h->state);
    *ret_done = true;
    return ERR_OK;
}
