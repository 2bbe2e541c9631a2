/* gguf_parts.h - the files of a model that was split: "NAME-00001-of-00003.gguf" stands for all three. By
 * name only; whether the headers agree is gguf_info's question. Pure. Thread: any. */
#ifndef HOTSEAT_MODEL_GGUF_PARTS_H
#define HOTSEAT_MODEL_GGUF_PARTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/* How many parts the name claims: 1 for an ordinary name, and for one that claims none or more than
 * GGUF_PARTS_MAX. *ret_number (may be NULL) is this file's own place, from 1. */
uint32_t gguf_parts_count(const char *path, uint32_t *ret_number);
/* Bytes before "-00001-of-00003.gguf", whatever the numbers, else before ".gguf"; 0: it ends with neither. */
size_t gguf_parts_stem(const char *path);
/* The path of part `number` (from 1) of the set that path belongs to; the caller frees. NULL: no memory. */
char *gguf_parts_path(const char *path, uint32_t number) NODISCARD;

#endif
