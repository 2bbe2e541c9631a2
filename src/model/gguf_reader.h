/* gguf_reader.h - bytes of a file through a window, with the first failure and its reason kept: after it
 * every read gives 0, so a row of reads needs one check. Nothing is read past the file's length, and nothing
 * at all past GGUF_HEADER_BYTES_MAX. Thread: one at a time; blocks on the disk. */
#ifndef HOTSEAT_MODEL_GGUF_READER_H
#define HOTSEAT_MODEL_GGUF_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

#define GGUF_WINDOW_BYTES (64u << 10)

struct gguf_reader {
    int fd;
    uint64_t file_bytes;
    uint64_t at;
    uint64_t window_at; /* where window[0] stands in the file */
    size_t window_bytes;
    uint8_t *window; /* owned, GGUF_WINDOW_BYTES */
    enum err err;
    char *reason; /* the caller's */
    size_t reason_size;
};

/* ERR_NOT_FOUND, ERR_IO, ERR_NOMEM, ERR_MODEL_INVALID (not a regular file, empty). */
enum err gguf_reader_open(struct gguf_reader *r, const char *path, char *reason,
                          size_t reason_size) NODISCARD;
void gguf_reader_close(struct gguf_reader *r);

bool gguf_reader_get(struct gguf_reader *r, void *to, size_t size_bytes);
bool gguf_reader_skip(struct gguf_reader *r, uint64_t size_bytes);
uint32_t gguf_reader_u32(struct gguf_reader *r);
uint64_t gguf_reader_u64(struct gguf_reader *r);
uint64_t gguf_reader_hash(struct gguf_reader *r,
                          uint64_t size_bytes); /* XXH3 of the next bytes; at most a window */

/* Keeps the first failure. Returns false. */
bool gguf_reader_fail(struct gguf_reader *r, enum err err, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* "9,001": figures in reasons are read by people. Returns text. */
#define GGUF_FIGURE_BYTES 32
const char *gguf_figure(uint64_t v, char text[GGUF_FIGURE_BYTES]);

#endif
