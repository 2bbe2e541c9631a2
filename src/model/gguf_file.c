/* The format, in order: magic, version, tensor count, metadata count; metadata: key, type, value; tensors:
 * name, shape, type, offset; padding to the alignment; the tensors' bytes, each beginning where the one
 * before ended, padded. Nothing is allocated by a count that the file's remaining bytes could not hold. */
#include "model/gguf_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/utf8.h"
#include "model/gguf_reader.h"
#include "model/gguf_type.h"

#define MAGIC 0x46554747u /* "GGUF", little-endian */
#define ALIGNMENT_DEFAULT 32
#define ALIGNMENT_MAX (1u << 20)
#define KV_BYTES_MIN 13     /* an empty key, a type, one byte */
#define TENSOR_BYTES_MIN 33 /* a name of one byte, one dimension */
#define TENSOR_BYTES_MAX                                                                                     \
    (UINT64_C(1) << 56) /* of all tensors: sums of offsets and of values stay countable */
#define SHOWN_BYTES 80  /* of a name from the file, in a reason */

struct gguf_file {
    struct gguf_reader r;
    struct gguf_totals totals;
    uint32_t n_kv;
    struct gguf_kv *kv;     /* owned */
    uint64_t *tensor_names; /* owned */
    uint64_t alignment;
    uint64_t data_bytes; /* of the tensors so far, padded: where the next one must begin */
};

/* A name from the file, fit to be shown. */
struct shown {
    char text[SHOWN_BYTES];
};

static bool refuse(struct gguf_file *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
static bool refuse(struct gguf_file *f, const char *fmt, ...) {
    if (f->r.err) return false;
    va_list args;
    va_start(args, fmt);
    vsnprintf(f->r.reason, f->r.reason_size, fmt, args);
    va_end(args);
    f->r.err = ERR_MODEL_INVALID;
    return false;
}

enum err gguf_file_refuse(struct gguf_file *f, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(f->r.reason, f->r.reason_size, fmt, args);
    va_end(args);
    return ERR_MODEL_INVALID;
}

/* Reads a string of at most max_bytes as far as it can be shown; the rest is skipped. */
static uint64_t read_shown(struct gguf_file *f, uint64_t size_bytes, struct shown *ret) {
    size_t n = size_bytes < SHOWN_BYTES - 1 ? (size_t)size_bytes : SHOWN_BYTES - 1;
    gguf_reader_get(&f->r, ret->text, n);
    gguf_reader_skip(&f->r, size_bytes - n);
    ret->text[n] = '\0';
    for (size_t i = 0; i < n; i++) {
        if (ret->text[i] < 0x20 || ret->text[i] > 0x7e) ret->text[i] = '?';
    }
    return size_bytes;
}

/* ---- metadata ---- */

static bool skip_strings(struct gguf_file *f, uint64_t n, const char *key) {
    char figure[GGUF_FIGURE_BYTES];
    for (uint64_t i = 0; i < n && !f->r.err; i++) {
        uint64_t size = gguf_reader_u64(&f->r);
        if (size > GGUF_STRING_BYTES_MAX)
            return refuse(f, "metadata %s: an item claims %s bytes; a string has at most %u", key,
                          gguf_figure(size, figure), GGUF_STRING_BYTES_MAX);
        gguf_reader_skip(&f->r, size);
    }
    return !f->r.err;
}

static bool read_array(struct gguf_file *f, struct gguf_kv *kv, const char *key) {
    char figure[GGUF_FIGURE_BYTES];
    kv->item_type = gguf_reader_u32(&f->r);
    kv->n = gguf_reader_u64(&f->r);
    kv->at = f->r.at;
    if (f->r.err) return false;
    if (kv->item_type >= GGUF_VALUE_TYPE_COUNT || kv->item_type == GGUF_ARRAY)
        return refuse(f, "metadata %s: an array can't have items of type %u", key, kv->item_type);
    if (kv->n > GGUF_ARRAY_MAX)
        return refuse(f, "metadata %s: the array claims %s items; at most %u are taken", key,
                      gguf_figure(kv->n, figure), GGUF_ARRAY_MAX);
    if (kv->item_type == GGUF_STRING) return skip_strings(f, kv->n, key);
    return gguf_reader_skip(&f->r, kv->n * gguf_value_bytes(kv->item_type));
}

static bool read_value(struct gguf_file *f, struct gguf_kv *kv, const char *key) {
    char figure[GGUF_FIGURE_BYTES];
    kv->type = gguf_reader_u32(&f->r);
    kv->at = f->r.at;
    if (f->r.err) return false;
    if (kv->type == GGUF_ARRAY) return read_array(f, kv, key);
    if (kv->type >= GGUF_VALUE_TYPE_COUNT)
        return refuse(f, "metadata %s: there is no type %u (0 to %d are known)", key, kv->type,
                      GGUF_VALUE_TYPE_COUNT - 1);
    if (kv->type != GGUF_STRING) return gguf_reader_skip(&f->r, gguf_value_bytes(kv->type));
    kv->n = gguf_reader_u64(&f->r);
    kv->at = f->r.at;
    if (kv->n > GGUF_STRING_BYTES_MAX)
        return refuse(f, "metadata %s: the string claims %s bytes; at most %u are taken", key,
                      gguf_figure(kv->n, figure), GGUF_STRING_BYTES_MAX);
    return gguf_reader_skip(&f->r, kv->n);
}

static bool read_kv(struct gguf_file *f, uint32_t i) {
    struct gguf_kv *kv = &f->kv[i];
    struct shown key;
    char figure[GGUF_FIGURE_BYTES];
    uint64_t key_bytes = gguf_reader_u64(&f->r);
    if (f->r.err) return false;
    if (key_bytes < 1 || key_bytes > GGUF_KEY_BYTES_MAX)
        return refuse(f, "the key of metadata %u claims %s bytes; 1 to %d are right", i + 1,
                      gguf_figure(key_bytes, figure), GGUF_KEY_BYTES_MAX);
    kv->key_at = f->r.at;
    kv->key_bytes = (uint32_t)key_bytes;
    kv->key_hash = gguf_reader_hash(&f->r, key_bytes);
    if (f->r.err) return false;
    f->r.at = kv->key_at;
    read_shown(f, key_bytes, &key);
    return read_value(f, kv, key.text);
}

static int compare_u64(const void *a, const void *b) {
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* Sorts the hashes. Two that are alike are taken for the same name: the chance that they are not is 1 in
 * 10^10 at the largest count, and the harm is a refusal. */
static bool sort_unique(uint64_t *hashes, uint32_t n) {
    if (n > 1) qsort(hashes, n, sizeof *hashes, compare_u64);
    for (uint32_t i = 1; i < n; i++) {
        if (hashes[i - 1] == hashes[i]) return false;
    }
    return true;
}

static bool check_keys_differ(struct gguf_file *f) {
    AUTO(mem_freep) uint64_t *hashes = mem_array(f->n_kv, sizeof *hashes);
    if (!hashes) return gguf_reader_fail(&f->r, ERR_NOMEM, "not enough memory to read the header");
    for (uint32_t i = 0; i < f->n_kv; i++) hashes[i] = f->kv[i].key_hash;
    return sort_unique(hashes, f->n_kv) || refuse(f, "two metadata entries have the same key");
}

static bool read_metadata(struct gguf_file *f) {
    f->kv = mem_array(f->n_kv, sizeof *f->kv);
    if (!f->kv) return gguf_reader_fail(&f->r, ERR_NOMEM, "not enough memory to read the header");
    for (uint32_t i = 0; i < f->n_kv; i++) {
        if (!read_kv(f, i)) return false;
    }
    return check_keys_differ(f);
}

/* ---- tensors ---- */

struct tensor {
    struct shown name;
    uint32_t n_dims, type;
    uint64_t dims[GGUF_DIMS_MAX];
    uint64_t n_values, bytes, offset;
};

static bool read_tensor(struct gguf_file *f, uint32_t i, struct tensor *t) {
    char figure[GGUF_FIGURE_BYTES];
    uint64_t name_bytes = gguf_reader_u64(&f->r);
    if (f->r.err) return false;
    if (name_bytes < 1 || name_bytes > GGUF_NAME_BYTES_MAX)
        return refuse(f, "the name of tensor %u claims %s bytes; 1 to %d are right", i + 1,
                      gguf_figure(name_bytes, figure), GGUF_NAME_BYTES_MAX);
    uint64_t name_at = f->r.at;
    f->tensor_names[i] = gguf_reader_hash(&f->r, name_bytes);
    if (f->r.err) return false;
    f->r.at = name_at;
    read_shown(f, name_bytes, &t->name);
    t->n_dims = gguf_reader_u32(&f->r);
    if (f->r.err) return false;
    if (t->n_dims < 1 || t->n_dims > GGUF_DIMS_MAX)
        return refuse(f, "tensor %s claims %u dimensions; 1 to %d are right", t->name.text, t->n_dims,
                      GGUF_DIMS_MAX);
    for (uint32_t d = 0; d < t->n_dims; d++) t->dims[d] = gguf_reader_u64(&f->r);
    t->type = gguf_reader_u32(&f->r);
    t->offset = gguf_reader_u64(&f->r);
    return !f->r.err;
}

/* How many values and bytes its shape and type make. */
static bool size_tensor(struct gguf_file *f, struct tensor *t) {
    char figure[GGUF_FIGURE_BYTES];
    const struct gguf_tensor_type *type = gguf_tensor_type_of(t->type);
    if (!type) return refuse(f, "tensor %s has type %u, which is not known", t->name.text, t->type);
    t->n_values = 1;
    for (uint32_t d = 0; d < t->n_dims; d++) {
        if (t->dims[d] == 0) return refuse(f, "tensor %s: dimension %u is 0", t->name.text, d + 1);
        if (__builtin_mul_overflow(t->n_values, t->dims[d], &t->n_values) || t->n_values > INT64_MAX)
            return refuse(f, "tensor %s: its dimensions multiply to more values than can be counted",
                          t->name.text);
    }
    if (t->dims[0] % type->block_values)
        return refuse(f, "tensor %s: rows of %s values can't be of type %s, which has blocks of %u",
                      t->name.text, gguf_figure(t->dims[0], figure), type->name, type->block_values);
    if (__builtin_mul_overflow(t->n_values / type->block_values, (uint64_t)type->block_bytes, &t->bytes) ||
        t->bytes > TENSOR_BYTES_MAX)
        return refuse(f, "tensor %s: its size is more bytes than can be counted", t->name.text);
    return true;
}

static uint64_t padded(uint64_t v, uint64_t alignment) {
    return (v + alignment - 1) & ~(alignment - 1);
}

/* Tensors follow one another without gaps or overlaps: that is what libllama demands too. */
static bool place_tensor(struct gguf_file *f, const struct tensor *t) {
    char a[GGUF_FIGURE_BYTES], b[GGUF_FIGURE_BYTES];
    if (t->offset != f->data_bytes)
        return refuse(f, "tensor %s begins at offset %s of the data; %s is where the one before ends",
                      t->name.text, gguf_figure(t->offset, a), gguf_figure(f->data_bytes, b));
    if (t->bytes > TENSOR_BYTES_MAX - f->data_bytes)
        return refuse(f, "tensor %s: the tensors together are more bytes than can be counted", t->name.text);
    f->data_bytes = padded(f->data_bytes + t->bytes, f->alignment);
    if (f->data_bytes > TENSOR_BYTES_MAX)
        f->data_bytes = TENSOR_BYTES_MAX; /* by padding; nothing can follow */
    f->totals.n_params += t->n_values;
    f->totals.tensor_bytes += t->bytes;
    return true;
}

static bool fits_file(struct gguf_file *f, const struct tensor *t, uint64_t data_at) {
    char a[GGUF_FIGURE_BYTES], b[GGUF_FIGURE_BYTES];
    uint64_t end = data_at + t->offset + t->bytes; /* no overflow: TENSOR_BYTES_MAX */
    if (end <= f->r.file_bytes) return true;
    return refuse(f, "tensor %s ends at byte %s of a file of %s: the file is cut short", t->name.text,
                  gguf_figure(end, a), gguf_figure(f->r.file_bytes, b));
}

/* Twice over the table: where the data begins is known only after it, and the first tensor that is cut off
 * should be named. */
static bool read_tensors(struct gguf_file *f) {
    uint32_t n = f->totals.n_tensors;
    struct tensor t = {.n_dims = 0};
    f->tensor_names = mem_array(n, sizeof *f->tensor_names);
    if (!f->tensor_names) return gguf_reader_fail(&f->r, ERR_NOMEM, "not enough memory to read the header");
    uint64_t table_at = f->r.at;
    for (uint32_t i = 0; i < n; i++) {
        if (!read_tensor(f, i, &t) || !size_tensor(f, &t) || !place_tensor(f, &t)) return false;
    }
    uint64_t data_at = padded(f->r.at, f->alignment);
    f->r.at = table_at;
    for (uint32_t i = 0; i < n; i++) {
        if (!read_tensor(f, i, &t) || !size_tensor(f, &t) || !fits_file(f, &t, data_at)) return false;
    }
    return sort_unique(f->tensor_names, n) || refuse(f, "two tensors have the same name");
}

/* ---- the file ---- */

static bool read_counts(struct gguf_file *f) {
    char figure[GGUF_FIGURE_BYTES];
    uint32_t magic = gguf_reader_u32(&f->r);
    if (f->r.err && f->r.err != ERR_MODEL_INVALID) return false;
    if (magic != MAGIC) {
        f->r.err = ERR_OK; /* too short for a magic is not GGUF either */
        return refuse(f, "this is not a GGUF file: it does not begin with \"GGUF\"");
    }
    uint32_t version = f->totals.version = gguf_reader_u32(&f->r);
    if (f->r.err) return false;
    if (version && !(version & 0xffff)) return refuse(f, "the file was written for big-endian machines");
    if (version != 2 && version != 3) return refuse(f, "GGUF version %u; versions 2 and 3 are read", version);
    uint64_t n_tensors = gguf_reader_u64(&f->r), n_kv = gguf_reader_u64(&f->r);
    if (f->r.err) return false;
    uint64_t left = f->r.file_bytes - f->r.at;
    if (n_kv < 1 || n_kv > GGUF_KV_MAX || n_kv > left / KV_BYTES_MIN)
        return refuse(f, "the header claims %s metadata entries; 1 to %d that fit into the file are right",
                      gguf_figure(n_kv, figure), GGUF_KV_MAX);
    if (n_tensors > GGUF_TENSORS_MAX || n_tensors > left / TENSOR_BYTES_MIN)
        return refuse(f, "the header claims %s tensors; at most %d that fit into the file are taken",
                      gguf_figure(n_tensors, figure), GGUF_TENSORS_MAX);
    f->n_kv = (uint32_t)n_kv;
    f->totals.n_tensors = (uint32_t)n_tensors;
    return true;
}

static bool read_alignment(struct gguf_file *f) {
    const struct gguf_kv *kv;
    uint32_t alignment = ALIGNMENT_DEFAULT;
    if (gguf_file_find(f, "general.alignment", &kv)) return false;
    if (kv && gguf_file_u32(f, "general.alignment", kv, &alignment)) return false;
    if (alignment == 0 || (alignment & (alignment - 1)) || alignment > ALIGNMENT_MAX)
        return refuse(f, "general.alignment is %u; a power of two up to %u is right", alignment,
                      ALIGNMENT_MAX);
    f->alignment = alignment;
    return true;
}

static bool read_all(struct gguf_file *f) {
    f->totals.file_bytes = f->r.file_bytes;
    if (!read_counts(f) || !read_metadata(f)) return false;
    uint64_t table_at = f->r.at;
    if (!read_alignment(f)) return false;
    f->r.at = table_at;
    return read_tensors(f);
}

static void gguf_file_freep(struct gguf_file **f) {
    gguf_file_free(*f);
}

enum err gguf_file_open(const char *path, struct gguf_file **ret, char *reason, size_t reason_size) {
    AUTO(gguf_file_freep) struct gguf_file *f = mem_alloc(sizeof *f);
    if (!f) {
        snprintf(reason, reason_size, "not enough memory to read the header");
        return ERR_NOMEM;
    }
    enum err err = gguf_reader_open(&f->r, path, reason, reason_size);
    if (err) return err;
    if (!read_all(f)) {
        must(f->r.err);
        return f->r.err;
    }
    *ret = TAKE(f);
    return ERR_OK;
}

void gguf_file_free(struct gguf_file *f) {
    if (!f) return;
    gguf_reader_close(&f->r);
    mem_free(f->kv);
    mem_free(f->tensor_names);
    mem_free(f);
}

struct gguf_totals gguf_file_totals(const struct gguf_file *f) {
    return f->totals;
}

const uint64_t *gguf_file_tensor_names(const struct gguf_file *f, uint32_t *ret_n) {
    *ret_n = f->totals.n_tensors;
    return f->tensor_names;
}

/* ---- values ---- */

static bool key_is(struct gguf_file *f, const struct gguf_kv *kv, const char *key, size_t key_bytes) {
    char text[GGUF_KEY_BYTES_MAX];
    if (kv->key_bytes != key_bytes) return false;
    f->r.at = kv->key_at;
    return gguf_reader_get(&f->r, text, key_bytes) && memcmp(text, key, key_bytes) == 0;
}

enum err gguf_file_find(struct gguf_file *f, const char *key, const struct gguf_kv **ret) {
    size_t key_bytes = strlen(key);
    const struct gguf_kv *all = f->kv;
    must(all && key_bytes <= GGUF_KEY_BYTES_MAX);
    uint64_t hash = hash64(key, key_bytes);
    *ret = NULL;
    for (uint32_t i = 0; i < f->n_kv && !*ret; i++) {
        if (all[i].key_hash == hash && key_is(f, &all[i], key, key_bytes)) *ret = &all[i];
    }
    return f->r.err;
}

/* One number of this type at the reader's place. False: not an integer that fits. */
static bool read_u32(struct gguf_file *f, uint32_t type, uint32_t *ret) {
    uint8_t bytes[8];
    size_t size = gguf_value_bytes(type);
    uint64_t v = 0;
    if (size == 0 || type == GGUF_F32 || type == GGUF_F64) return false;
    if (!gguf_reader_get(&f->r, bytes, size)) return false;
    for (size_t i = 0; i < size; i++) v |= (uint64_t)bytes[i] << (8 * i);
    bool is_signed = type == GGUF_I8 || type == GGUF_I16 || type == GGUF_I32 || type == GGUF_I64;
    if (is_signed && bytes[size - 1] & 0x80) return false;
    if (type == GGUF_BOOL) v = v != 0;
    *ret = (uint32_t)v;
    return v <= UINT32_MAX;
}

enum err gguf_file_u32(struct gguf_file *f, const char *key, const struct gguf_kv *kv, uint32_t *ret) {
    f->r.at = kv->at;
    if (read_u32(f, kv->type, ret)) return ERR_OK;
    refuse(f, "metadata %s is a %s that is no whole number from 0 to 4,294,967,295", key,
           gguf_value_type_name(kv->type));
    return f->r.err;
}

enum err gguf_file_float(struct gguf_file *f, const char *key, const struct gguf_kv *kv, double *ret) {
    f->r.at = kv->at;
    uint8_t bytes[8];
    float narrow;
    if (kv->type == GGUF_F32 && gguf_reader_get(&f->r, bytes, sizeof narrow)) {
        uint32_t bits = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                        (uint32_t)bytes[3] << 24;
        memcpy(&narrow, &bits, sizeof narrow);
        *ret = (double)narrow;
    } else if (kv->type == GGUF_F64) {
        uint64_t bits = gguf_reader_u64(&f->r);
        memcpy(ret, &bits, sizeof *ret);
    } else {
        refuse(f, "metadata %s is a %s; f32 is right", key, gguf_value_type_name(kv->type));
    }
    return f->r.err;
}

enum err gguf_file_u32s(struct gguf_file *f, const char *key, const struct gguf_kv *kv, uint32_t *ret,
                        uint32_t n_max, uint32_t *ret_n) {
    char figure[GGUF_FIGURE_BYTES];
    must(kv->type == GGUF_ARRAY);
    if (kv->n > n_max) {
        refuse(f, "metadata %s has %s items; at most %u are right", key, gguf_figure(kv->n, figure), n_max);
        return f->r.err;
    }
    f->r.at = kv->at;
    for (uint32_t i = 0; i < kv->n; i++) {
        if (read_u32(f, kv->item_type, &ret[i])) continue;
        refuse(f, "metadata %s: item %u is a %s that is no whole number from 0 to 4,294,967,295", key, i + 1,
               gguf_value_type_name(kv->item_type));
        return f->r.err;
    }
    *ret_n = (uint32_t)kv->n;
    return f->r.err;
}

enum err gguf_file_string(struct gguf_file *f, const char *key, const struct gguf_kv *kv, char *ret,
                          size_t ret_size) {
    must(ret_size > 0);
    ret[0] = '\0';
    if (kv->type != GGUF_STRING) {
        refuse(f, "metadata %s is a %s; a string is right", key, gguf_value_type_name(kv->type));
        return f->r.err;
    }
    size_t n = kv->n < ret_size - 1 ? (size_t)kv->n : ret_size - 1;
    f->r.at = kv->at;
    if (!gguf_reader_get(&f->r, ret, n)) return f->r.err;
    ret[n - utf8_cut_tail(ret, n)] = '\0';
    return ERR_OK;
}
