/* json_check.h - is this text JSON (RFC 8259)? Without a tree, without recursion, and with the exact place of
 * the first thing that is wrong, for error texts. json_read() asks here before it builds anything. Pure.
 * Thread: any. */
#ifndef HOTSEAT_BASE_JSON_CHECK_H
#define HOTSEAT_BASE_JSON_CHECK_H

#include <stdbool.h>
#include <stddef.h>

/* False: *ret_at is the byte and *ret_what (static) what is wrong there. Duplicate keys and the range of
 * numbers are not looked at. Depth, values and containers are bounded by limits.h. */
bool json_check(const void *data, size_t size_bytes, size_t *ret_at, const char **ret_what);

#endif
