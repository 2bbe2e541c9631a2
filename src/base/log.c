/* A line is built on the stack and written with one write(), so lines of threads and of the seat (same
 * stderr) do not mix. Nothing here allocates, fails or waits: what does not fit is cut, and the line says so; a line that
 * stderr has no room for (a pipe whose reader sleeps) is left out, and the next one says so. */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"

#define LINE_BYTES_MAX 4096
#define Q_BUFFERS 8
#define Q_BYTES 512
#define LIMIT_WINDOW_NS (10 * NS_PER_S)
#define CUT_MARK " cut=1\n"

static _Atomic int log_level = LOG_INFO;
static const char *_Atomic log_program = "hotseat";
static _Thread_local char context[REQUEST_ID_BYTES_MAX + 1];
static _Thread_local long long left_out; /* by log_limit_pass() or a full pipe, for this thread's next line */

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_open(enum log_level level, const char *program) {
    atomic_store(&log_program, program);
    log_set_level(level);
}

void log_set_level(enum log_level level) {
    atomic_store(&log_level, (int)level);
}

void log_context(const char *request_id) {
    snprintf(context, sizeof context, "%s", request_id ? request_id : "");
}

struct line {
    char text[LINE_BYTES_MAX];
    size_t size;
    int cut;
};

static void line_add(struct line *l, const char *fmt, va_list args) PRINTF_LIKE(2, 0);
static void line_add(struct line *l, const char *fmt, va_list args) {
    size_t room = sizeof l->text - sizeof CUT_MARK - l->size;
    int n = vsnprintf(l->text + l->size, room, fmt, args);
    if (n < 0) return;
    if ((size_t)n >= room) {
        l->cut = 1;
        l->size += room - 1;
    } else {
        l->size += (size_t)n;
    }
}

static void line_addf(struct line *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void line_addf(struct line *l, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    line_add(l, fmt, args);
    va_end(args);
}

static void line_add_time(struct line *l) {
    int64_t now_ns = clock_wall_ns();
    time_t seconds = (time_t)(now_ns / NS_PER_S);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    line_addf(l, "ts=%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
              tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(now_ns % NS_PER_S / NS_PER_MS));
}

/* A pipe that can be written has room for a page at least, which is a whole line. */
static bool stderr_has_room(void) {
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT);
}

static bool line_write(struct line *l) {
    /* A value that was not quoted must not begin a line of its own. */
    for (size_t i = 0; i < l->size; i++) {
        if ((unsigned char)l->text[i] < 0x20 || l->text[i] == 0x7f) l->text[i] = '?';
    }
    const char *end = l->cut ? CUT_MARK : "\n";
    memcpy(l->text + l->size, end, strlen(end));
    l->size += strlen(end);
    if (!stderr_has_room()) return false;
    for (size_t at = 0; at < l->size;) {
        ssize_t n = write(STDERR_FILENO, l->text + at, l->size - at);
        if (n < 0 && errno != EINTR) return true; /* nowhere to say it */
        if (n > 0) at += (size_t)n;
    }
    return true;
}

void log_line(enum log_level level, const char *id, const char *fmt, ...) {
    if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed)) return;
    int saved_errno = errno;
    struct line l = {.size = 0};
    line_add_time(&l);
    line_addf(&l, " level=%s program=%s id=%s", level_names[level], atomic_load(&log_program), id);
    if (context[0]) line_addf(&l, " request=%s", log_q(context));
    if (left_out > 0) line_addf(&l, " left_out=%lld", left_out);
    if (fmt[0]) {
        line_addf(&l, " ");
        va_list args;
        va_start(args, fmt);
        line_add(&l, fmt, args);
        va_end(args);
    }
    left_out = line_write(&l) ? 0 : left_out + 1;
    errno = saved_errno;
}

/* What logfmt readers take as one word without quotes. */
static int is_plain(const char *s) {
    if (!*s) return 0;
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f) return 0;
    }
    return 1;
}

const char *log_q(const char *s) {
    static _Thread_local char buffers[Q_BUFFERS][Q_BYTES];
    static _Thread_local unsigned next;
    if (!s) return "null";
    char *out = buffers[next++ % Q_BUFFERS];
    if (is_plain(s) && strlen(s) < Q_BYTES) return memcpy(out, s, strlen(s) + 1);
    size_t at = 0;
    out[at++] = '"';
    for (; *s && at < Q_BYTES - 8; s++) { /* 8: the longest escape, the dots, the quote, the NUL */
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            out[at++] = '\\';
            out[at++] = (char)c;
        } else if (c == '\n') {
            out[at++] = '\\';
            out[at++] = 'n';
        } else if (c < 0x20 || c == 0x7f) {
            at += (size_t)snprintf(out + at, 5, "\\x%02x", c);
        } else {
            out[at++] = (char)c;
        }
    }
    if (*s) {
        memcpy(out + at, "...", 3);
        at += 3;
    }
    out[at++] = '"';
    out[at] = '\0';
    return out;
}

int log_limit_pass(struct log_limit *limit) {
    long long now_ns = clock_now_ns();
    long long start_ns = atomic_load(&limit->window_start_ns);
    if ((start_ns == 0 || now_ns - start_ns >= LIMIT_WINDOW_NS) &&
        atomic_compare_exchange_strong(&limit->window_start_ns, &start_ns, now_ns))
        atomic_store(&limit->passed, 0);
    if (atomic_fetch_add(&limit->passed, 1) < limit->burst) {
        left_out += atomic_exchange(&limit->dropped, 0);
        return 1;
    }
    atomic_fetch_sub(&limit->passed, 1); /* so that it can't overflow */
    atomic_fetch_add(&limit->dropped, 1);
    return 0;
}
