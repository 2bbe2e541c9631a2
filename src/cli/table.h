/* table.h - columns of text, aligned, and figures as people read them. Thread: one. */
#ifndef HOTSEAT_CLI_TABLE_H
#define HOTSEAT_CLI_TABLE_H

#include <stdint.h>
#include <stdio.h>

#include "base/attr.h"
#include "base/err.h"

#define TABLE_COLUMNS_MAX 12

struct table;

/* Headings separated by '|'; one that begins with '>' is aligned to the right. */
enum err table_open(const char *headings, struct table **ret) NODISCARD;
void table_cell(struct table *t, const char *text); /* NULL: "-"; control characters become '?' */
void table_cellf(struct table *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
void table_print(const struct table *t, FILE *out); /* nothing was added: the headings alone */
enum err table_error(const struct table *t);
void table_free(struct table *t);
void table_freep(struct table **t);

/* "512 B", "1.5 K", "20.0 G": powers of 1,024, as sizes are written on the command line. In one of 8 static
 * buffers. */
const char *human_bytes(uint64_t bytes);
const char *human_ms(int64_t ms);       /* "40 ms", "3.2 s", "4 min" */
const char *human_ago(int64_t seconds); /* "12 s ago", "3 min ago", "2 h ago", "5 d ago" */
const char *human_count(uint64_t n);    /* "999", "134.5 M": thousands, as parameters are told */

#endif
