/* ident.h - what a client may call things: its agent, its request. Pure. Thread: any. */
#ifndef HOTSEAT_HTTP_IDENT_H
#define HOTSEAT_HTTP_IDENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"

/* The agent-id rule: 1 to AGENT_ID_BYTES_MAX bytes of valid UTF-8 without control characters (C0, DEL, C1), without
 * '/' and '\', and neither "." nor "..". E-mail addresses, dots, spaces and every script are fine. An id is never a
 * part of a file name, but it goes into logs, URLs and terminals. NULL when s is good, else what is wrong with it. */
const char *ident_agent_wrong(const char *s, size_t size_bytes);

/* The client's X-Request-ID is taken over if it has 1 to REQUEST_ID_BYTES_MAX bytes of visible ASCII. */
bool ident_request_ok(const char *s);
/* "req-" and 16 hex digits: a start drawn once a process and a counter. */
void ident_request_make(char out[REQUEST_ID_BYTES_MAX + 1]);

/* Appends name to the comma-separated list of a response header; bytes that a header can't carry become '?'. When
 * IGNORED_HEADER_BYTES_MAX is reached the list ends with "..." and takes no more. */
void ident_header_list_add(struct buf *list, const char *name, size_t size_bytes);

/* %41 -> A; plus: '+' means a space (queries). Appends to out. False: a broken escape or a NUL byte. */
bool ident_percent_decode(const char *s, size_t size_bytes, bool plus, struct buf *out);

#endif
