/* fuzz_store_header.c - a block file that somebody else wrote, or a disk garbled. Once as it is, and once with its checksum
 * made right, so that what lies behind the checksum is reached. */
#include "fuzz.h"

#include <string.h>

#include "base/hash.h"
#include "base/must.h"
#include "store/store_format.h"

static void one(const uint8_t *data, size_t size) {
    struct store_header h;
    const char *reason = NULL;
    enum err err = store_format_decode(data, size, size, &h, &reason);
    must(reason);
    if (err != ERR_OK) return;
    must(h.n_tokens >= 1 && h.n_tokens <= BLOCK_TOKENS && h.header_size <= size);
    struct buf again = BUF(STORE_HEADER_BYTES_MAX);
    must(store_format_encode(&h, &again) == ERR_OK);
    must(again.size <= size && memcmp(again.data, data, again.size) == 0);
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    one(data, size);
    uint8_t copy[STORE_HEADER_BYTES_MAX];
    if (size < STORE_HEADER_FIXED_BYTES + 8 || size > sizeof copy) return 0;
    memcpy(copy, data, size);
    uint32_t header_size =
        (uint32_t)copy[12] | (uint32_t)copy[13] << 8 | (uint32_t)copy[14] << 16 | (uint32_t)copy[15] << 24;
    if (header_size < 16 || header_size > size) return 0;
    uint64_t sum = hash64(copy, header_size - 8);
    for (int i = 0; i < 8; i++) copy[header_size - 8 + (uint32_t)i] = (uint8_t)(sum >> (8 * i));
    one(copy, size);
    return 0;
}
