/* gguf_info.h - our own bounded reader of a GGUF header (versions 2 and 3): a file from a stranger is read by this before
 * libllama sees it. Reads with pread only, never maps; every count, length, offset and type is checked against
 * limits.h and the file's length. Also checks what makes libllama abort (layer count, negative or NaN epsilon).
 * Split files ("-00001-of-0000N"): the first part names the set; all parts are checked and summed.
 * Thread: any; blocks on the disk. */
#ifndef HOTSEAT_MODEL_GGUF_INFO_H
#define HOTSEAT_MODEL_GGUF_INFO_H

#include <stddef.h>

#include "model/model_spec.h"

#define GGUF_PARTS_MAX 64

struct gguf_info {
    struct model_spec spec;
    uint32_t version;
    uint64_t file_bytes; /* of all parts */
    uint32_t n_tensors;
    uint32_t n_parts;
};

/* ERR_MODEL_INVALID: reason says what and where ("tensor blk.3.attn_q.weight ends at byte 9,001 of a file of 8,000");
 * ERR_IO, ERR_NOT_FOUND, ERR_NOMEM. reason is always filled on error. */
enum err gguf_info_read(const char *path, struct gguf_info *ret, char *reason, size_t reason_size) NODISCARD;

#endif
