#include "model/gguf_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/must.h"

static void fail_with(struct gguf_reader *r, enum err err, const char *fmt, va_list args) PRINTF_LIKE(3, 0);
static void fail_with(struct gguf_reader *r, enum err err, const char *fmt, va_list args) {
    if (r->err) return;
    r->err = err;
    vsnprintf(r->reason, r->reason_size, fmt, args);
}

bool gguf_reader_fail(struct gguf_reader *r, enum err err, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fail_with(r, err, fmt, args);
    va_end(args);
    return false;
}

const char *gguf_figure(uint64_t v, char text[GGUF_FIGURE_BYTES]) {
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)v);
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

static bool open_file(struct gguf_reader *r, const char *path) {
    r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a named pipe must not hold us up */
    if (r->fd < 0) {
        enum err err = errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
        return gguf_reader_fail(r, err, "the file can't be opened: %s", strerror(errno));
    }
    struct stat st;
    if (fstat(r->fd, &st) != 0)
        return gguf_reader_fail(r, ERR_IO, "the file can't be looked at: %s", strerror(errno));
    if (!S_ISREG(st.st_mode)) return gguf_reader_fail(r, ERR_MODEL_INVALID, "this is not a regular file");
    if (st.st_size == 0) return gguf_reader_fail(r, ERR_MODEL_INVALID, "the file is empty");
    r->file_bytes = (uint64_t)st.st_size;
    r->window = mem_alloc(GGUF_WINDOW_BYTES);
    return r->window || gguf_reader_fail(r, ERR_NOMEM, "not enough memory to read the header");
}

enum err gguf_reader_open(struct gguf_reader *r, const char *path, char *reason, size_t reason_size) {
    must(reason && reason_size > 0);
    *r = (struct gguf_reader){.fd = -1, .reason = reason, .reason_size = reason_size};
    if (!open_file(r, path)) gguf_reader_close(r);
    return r->err;
}

void gguf_reader_close(struct gguf_reader *r) {
    if (r->fd >= 0) close(r->fd);
    r->fd = -1;
    mem_freep(&r->window);
}

/* Moves the window to `at`. */
static bool fill_window(struct gguf_reader *r) {
    ssize_t n;
    do n = pread(r->fd, r->window, GGUF_WINDOW_BYTES, (off_t)r->at);
    while (n < 0 && errno == EINTR);
    char figure[GGUF_FIGURE_BYTES];
    if (n < 0)
        return gguf_reader_fail(r, ERR_IO, "reading at byte %s failed: %s", gguf_figure(r->at, figure),
                                strerror(errno));
    if (n == 0) return gguf_reader_fail(r, ERR_MODEL_INVALID, "the file became shorter while it was read");
    r->window_at = r->at;
    r->window_bytes = (size_t)n;
    return true;
}

/* Are there size_bytes more? The one place where a length meets the end of the file. */
static bool check_left(struct gguf_reader *r, uint64_t size_bytes) {
    char want[GGUF_FIGURE_BYTES], at[GGUF_FIGURE_BYTES], have[GGUF_FIGURE_BYTES];
    if (r->err) return false;
    if (size_bytes > r->file_bytes - r->at)
        return gguf_reader_fail(
            r, ERR_MODEL_INVALID,
            "the header wants %s bytes at byte %s of a file of %s: the file is cut short or damaged",
            gguf_figure(size_bytes, want), gguf_figure(r->at, at), gguf_figure(r->file_bytes, have));
    if (r->at + size_bytes > GGUF_HEADER_BYTES_MAX)
        return gguf_reader_fail(r, ERR_MODEL_INVALID, "the header is longer than %s bytes",
                                gguf_figure(GGUF_HEADER_BYTES_MAX, want));
    return true;
}

bool gguf_reader_get(struct gguf_reader *r, void *to, size_t size_bytes) {
    memset(to, 0, size_bytes);
    if (!check_left(r, size_bytes)) return false;
    uint8_t *out = to;
    while (size_bytes > 0) {
        bool inside = r->at >= r->window_at && r->at - r->window_at < r->window_bytes;
        if (!inside) {
            if (!fill_window(r)) return false;
            continue;
        }
        size_t from = (size_t)(r->at - r->window_at);
        size_t n = r->window_bytes - from < size_bytes ? r->window_bytes - from : size_bytes;
        memcpy(out, r->window + from, n);
        out += n;
        size_bytes -= n;
        r->at += n;
    }
    return true;
}

bool gguf_reader_skip(struct gguf_reader *r, uint64_t size_bytes) {
    if (!check_left(r, size_bytes)) return false;
    r->at += size_bytes;
    return true;
}

uint32_t gguf_reader_u32(struct gguf_reader *r) {
    uint8_t b[4];
    gguf_reader_get(r, b, sizeof b);
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

uint64_t gguf_reader_u64(struct gguf_reader *r) {
    uint64_t low = gguf_reader_u32(r);
    return low | (uint64_t)gguf_reader_u32(r) << 32;
}

uint64_t gguf_reader_hash(struct gguf_reader *r, uint64_t size_bytes) {
    uint8_t small[256];
    must(size_bytes <= GGUF_WINDOW_BYTES);
    if (size_bytes <= sizeof small) {
        if (!gguf_reader_get(r, small, (size_t)size_bytes)) return 0;
        return hash64(small, (size_t)size_bytes);
    }
    AUTO(mem_freep) uint8_t *copy = mem_alloc((size_t)size_bytes);
    if (!copy) {
        gguf_reader_fail(r, ERR_NOMEM, "not enough memory to read the header");
        return 0;
    }
    return gguf_reader_get(r, copy, (size_t)size_bytes) ? hash64(copy, (size_t)size_bytes) : 0;
}
