/* store_format.h - the bytes of a block file, both kinds: encode and decode, no I/O. docs/store-format.md has the table.
 * A file is one header (with the block's tokens) and one part. The header describes itself: whoever holds only the
 * file knows model, chain, place and owner. Nothing in it is believed before its checksum and its bounds agree.
 * Pure; thread: any. */
#ifndef HOTSEAT_STORE_STORE_FORMAT_H
#define HOTSEAT_STORE_STORE_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "store/store.h"

#define STORE_HEADER_FIXED_BYTES 104 /* up to the model's id */
#define STORE_HEADER_BYTES_MAX 2048  /* 104 + 200 + 256 + 4 x 256 + 8 = 1,592; one read gets any header */
#define STORE_PART_BYTES_MAX (UINT64_C(1) << 30) /* 256 tokens of the largest models are about 200 MB */

enum store_part { STORE_PART_BASE = 1, STORE_PART_WINDOW = 2 };
#define STORE_FLAG_BRANCH 1u /* others start from this tail: longer chains do not make it superfluous */
#define STORE_FLAGS_KNOWN STORE_FLAG_BRANCH

struct store_header {
    enum store_part part;
    uint8_t flags;
    struct hash128 tag, parent, name;
    uint32_t n_tokens, first_pos;
    uint32_t window_from; /* window parts: first_pos..first_pos + n_tokens; base parts: 0 */
    uint64_t part_size;
    uint64_t part_hash;   /* hash64 of the part */
    uint32_t header_size; /* set by encode and decode; the part begins there */
    char model[MODEL_ID_BYTES_MAX + 1];
    char agent[AGENT_ID_BYTES_MAX + 1]; /* "" in full blocks */
    int32_t tokens[BLOCK_TOKENS];
};

/* Appends the header to out and sets h->header_size. h->name must be the chain's name of it. ERR_NOMEM, ERR_LIMIT. */
enum err store_format_encode(struct store_header *h, struct buf *out) NODISCARD;

/* Reads a header from the first size_bytes (STORE_HEADER_BYTES_MAX, or the whole file if that is shorter) of a file of
 * file_size bytes. ERR_CORRUPT, ERR_VERSION; *ret_reason is static text, "ok" on success. */
enum err store_format_decode(const uint8_t *data, size_t size_bytes, uint64_t file_size,
                             struct store_header *ret, const char **ret_reason) NODISCARD;

/* Is it the block that was asked for? Compares what a name can't prove. ERR_MISMATCH. */
struct store_expected {
    enum store_part part;
    struct hash128 tag, parent, name;
    uint32_t first_pos, n_tokens;
    const int32_t *tokens; /* NULL: not compared */
};
enum err store_format_match(const struct store_header *h, const struct store_expected *x,
                            const char **ret_reason) NODISCARD;

#endif
