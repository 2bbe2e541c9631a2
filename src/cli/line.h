/* line.h - lines from a person or a pipe. At a terminal they can be edited and called back (libedit); else they are read as they come.
 * Thread: the main one; blocks until a line is there. One at a time. */
#ifndef HOTSEAT_CLI_LINE_H
#define HOTSEAT_CLI_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"

struct line_input;

/* edits: stdin and stdout are a terminal. The locale's character set is made UTF-8 if that can be had. ERR_NOMEM, ERR_IO. */
enum err line_open(bool edits, struct line_input **ret) NODISCARD;
void line_free(struct line_input *l); /* NULL is fine; the terminal is as it was */

/* The next line without its end; valid until the next call. NULL: the input is at its end, or Ctrl-C was typed. prompt is shown at a
 * terminal only. */
const char *line_read(struct line_input *l, const char *prompt, size_t *ret_size);
void line_remember(struct line_input *l,
                   const char *line); /* can be called back by the arrow keys from now on */

#endif
