/* gguf_type.h - the format's two lists of types: of metadata values, and of tensors (how many values share a
 * block, and how long it is). Facts of the format, to look things up in. Pure. Thread: any. */
#ifndef HOTSEAT_MODEL_GGUF_TYPE_H
#define HOTSEAT_MODEL_GGUF_TYPE_H

#include <stdbool.h>
#include <stdint.h>

enum gguf_value_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_VALUE_TYPE_COUNT
};
uint32_t gguf_value_bytes(uint32_t value_type);        /* 0: strings, arrays, and what is no type */
const char *gguf_value_type_name(uint32_t value_type); /* "u32"; "?" */

struct gguf_tensor_type {
    const char *name;
    uint32_t block_values, block_bytes;
};
/* NULL: a number that means no type, or one of those that were withdrawn. */
const struct gguf_tensor_type *gguf_tensor_type_of(uint32_t number);

#endif
