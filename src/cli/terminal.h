/* terminal.h - what a chat shows: answers on stdout, everything about them on stderr; dim where the terminal can. A model's text can't steer
 * the terminal: control characters are left out. Thread: the main one. */
#ifndef HOTSEAT_CLI_TERMINAL_H
#define HOTSEAT_CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

struct terminal {
    bool talks;    /* a person sits at both ends */
    bool colours;  /* and the terminal knows escape sequences */
    bool status;   /* a status line is shown */
    bool dim;      /* the text shown last is */
    bool mid_line; /* stdout's last character was no line break */
};

struct terminal terminal_open(void);
/* UTF-8; a byte that is no character becomes U+FFFD. */
void terminal_text(struct terminal *t, const char *text, size_t size_bytes, bool dim);
void terminal_line_end(struct terminal *t); /* ends the text's last line, if there is anything on it */
/* One line that the next output of any kind takes the place of; nothing where that can't be done. */
void terminal_status(struct terminal *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
void terminal_note(struct terminal *t, const char *fmt, ...) PRINTF_LIKE(2, 3); /* a dim line */

#endif
