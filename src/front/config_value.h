/* config_value.h - one value of a setting: from text with its range checked, and back. Pure. Thread: any. */
#ifndef HOTSEAT_FRONT_CONFIG_VALUE_H
#define HOTSEAT_FRONT_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

enum config_type {
    CONFIG_TEXT,         /* char * */
    CONFIG_SECRET,       /* char *: a file's first line, or env:NAME */
    CONFIG_LIST,         /* folders: kept by config.c */
    CONFIG_ALIASES,      /* kept by config.c */
    CONFIG_NUMBER,       /* uint32_t */
    CONFIG_NUMBER_AUTO,  /* uint32_t, auto is 0 */
    CONFIG_SIZE,         /* uint64_t bytes; K, M, G, T are powers of 1,024 */
    CONFIG_SIZE_AUTO,    /* uint64_t, auto is 0 */
    CONFIG_SECONDS,      /* int64_t nanoseconds */
    CONFIG_SECONDS_AUTO, /* int64_t, auto is -1 */
    CONFIG_SWITCH,       /* bool: on, off */
    CONFIG_FLAG,         /* bool; the option alone means on */
    CONFIG_KV,           /* enum kv_type as int */
    CONFIG_LEVEL         /* enum log_level as int */
};

/* Reads text into *field (whose type `type` says; strings are replaced, the old one freed). ERR_INVALID: why
 * says what is allowed. ERR_NOMEM. Not for LIST and ALIASES. SECRET reads a file. */
enum err config_value_read(enum config_type type, double min, double max, const char *text, void *field,
                           char *why, size_t why_size) NODISCARD;
void config_value_write(enum config_type type, const void *field,
                        struct buf *out); /* as it may stand in a file */
bool config_value_equal(enum config_type type, const void *a, const void *b);
/* "1..64", "1M..1024T", "on or off"; static or in the given room. */
const char *config_value_range(enum config_type type, double min, double max, char *room, size_t room_size);
/* "20G" -> bytes; false when it is no size. */
bool config_size_parse(const char *text, double *ret_bytes);

#endif
