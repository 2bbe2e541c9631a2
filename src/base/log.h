/* log.h - logfmt on stderr, one write a line: ts=... level=info id=swap.load request=r-12 model=B pct=40
 * Never waits: a line for which stderr has no room is left out, and the thread's next one says how many were (left_out=N).
 * Values with spaces, quotes or control characters are quoted. Thread: any; the request context is per thread. */
#ifndef HOTSEAT_BASE_LOG_H
#define HOTSEAT_BASE_LOG_H

#include "base/attr.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_open(enum log_level level, const char *program); /* program: "front", "seat"; static string */
void log_set_level(enum log_level level);
void log_context(const char *request_id); /* NULL clears; copied (bounded) */

/* fmt gives "key=value key=%s": a %s value is quoted by the caller's LOG_Q only if it may hold spaces. */
void log_line(enum log_level level, const char *id, const char *fmt, ...) PRINTF_LIKE(3, 4);
#define log_error(id, ...) log_line(LOG_ERROR, id, __VA_ARGS__)
#define log_warn(id, ...) log_line(LOG_WARN, id, __VA_ARGS__)
#define log_info(id, ...) log_line(LOG_INFO, id, __VA_ARGS__)
#define log_debug(id, ...) log_line(LOG_DEBUG, id, __VA_ARGS__)

/* A quoted, escaped copy of s in one of 8 per-thread buffers of 512 bytes; for %s in log lines. */
const char *log_q(const char *s);

/* For whatever a client can cause: true at most `burst` times in 10 s per call site; the next line that passes
 * says how many were left out. static struct log_limit l = LOG_LIMIT(5); if (log_limit_pass(&l)) log_warn(...) */
struct log_limit {
    int burst;
    _Atomic long long window_start_ns;
    _Atomic int passed;
    _Atomic long long dropped;
};
#define LOG_LIMIT(n)                                                                                         \
    { .burst = (n) }
int log_limit_pass(struct log_limit *limit);

#endif
