/* must.h - a bug ends the process with a report, in release builds too. Expected failures are enum err. */
#ifndef HOTSEAT_BASE_MUST_H
#define HOTSEAT_BASE_MUST_H

#include "base/attr.h"

#define must(expr) ((expr) ? (void)0 : must_fail(#expr, __FILE__, __LINE__, __func__))

/* Writes one logfmt line to stderr, then abort(). Async-signal-safe enough to run anywhere. */
void must_fail(const char *expr, const char *file, int line, const char *func) NORETURN;

#endif
