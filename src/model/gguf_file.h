/* gguf_file.h - the structure of one GGUF file: a directory of its metadata and of its tensors, every count,
 * length, type and offset checked against limits.h and the file's length. What the values mean is gguf_info's
 * business. pread only; the directory is kept, values are read from the file when they are asked for. Thread:
 * one at a time; blocks on the disk. Lifecycle: open, any number of reads, free. */
#ifndef HOTSEAT_MODEL_GGUF_FILE_H
#define HOTSEAT_MODEL_GGUF_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

struct gguf_kv {
    uint64_t key_hash; /* finds; the key itself is compared */
    uint64_t key_at;
    uint64_t at; /* the value's first byte: of a string its bytes, of an array its first item */
    uint64_t n;  /* bytes of a string, items of an array */
    uint32_t key_bytes;
    uint32_t type;      /* enum gguf_value_type */
    uint32_t item_type; /* of an array */
};

struct gguf_file; /* opaque */

/* reason (256 bytes or more) is always filled on error, here and below: ERR_MODEL_INVALID, ERR_NOT_FOUND,
 * ERR_IO, ERR_NOMEM. */
enum err gguf_file_open(const char *path, struct gguf_file **ret, char *reason, size_t reason_size) NODISCARD;
void gguf_file_free(struct gguf_file *f);

struct gguf_totals {
    uint32_t version;
    uint64_t file_bytes;
    uint32_t n_tensors;
    uint64_t n_params, tensor_bytes;
};
struct gguf_totals gguf_file_totals(const struct gguf_file *f);
/* XXH3 of each tensor's name, ascending; belongs to f. No name is there twice. */
const uint64_t *gguf_file_tensor_names(const struct gguf_file *f, uint32_t *ret_n);

/* *ret is NULL when there is no such key; belongs to f. */
enum err gguf_file_find(struct gguf_file *f, const char *key, const struct gguf_kv **ret) NODISCARD;
/* A number's value, whatever its width; an integer that is no uint32 is refused with `key` in the reason. */
enum err gguf_file_u32(struct gguf_file *f, const char *key, const struct gguf_kv *kv,
                       uint32_t *ret) NODISCARD;
enum err gguf_file_float(struct gguf_file *f, const char *key, const struct gguf_kv *kv,
                         double *ret) NODISCARD;
/* Items of an array of integers or booleans, at most n_max. *ret_n is how many there are. */
enum err gguf_file_u32s(struct gguf_file *f, const char *key, const struct gguf_kv *kv, uint32_t *ret,
                        uint32_t n_max, uint32_t *ret_n) NODISCARD;
/* As much as fits, NUL-terminated; ends before a NUL in it and at no half character. */
enum err gguf_file_string(struct gguf_file *f, const char *key, const struct gguf_kv *kv, char *ret,
                          size_t ret_size) NODISCARD;

/* Fills the reason that open() was given: ERR_MODEL_INVALID. */
enum err gguf_file_refuse(struct gguf_file *f, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
