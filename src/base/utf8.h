/* utf8.h - strict UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. Pure. Thread: any. */
#ifndef HOTSEAT_BASE_UTF8_H
#define HOTSEAT_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

/* Bytes of the valid character at s (1-4); 0: what is there is not a character, or it is cut off. */
size_t utf8_char(const char *s, size_t size_bytes);
bool utf8_valid(const char *s, size_t size_bytes);
/* How many bytes at the end are the beginning of a character that more bytes could complete (0-3). */
size_t utf8_cut_tail(const char *s, size_t size_bytes);
/* Characters in the first size_bytes; a byte that is no character counts as one. */
size_t utf8_count(const char *s, size_t size_bytes);

#endif
