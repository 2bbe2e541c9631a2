/* man.h - the manual page, docs/hotseat.1, out of the tables that the programs read: `hotseat --help-man`. Thread: one; writes to
 * stdout. */
#ifndef HOTSEAT_CLI_MAN_H
#define HOTSEAT_CLI_MAN_H

#define MAN_OPTION "--help-man" /* to a verb: its own options alone, by man_option() */

void man_page(void);
void man_option(const char *name, const char *argument, const char *text); /* argument NULL or "": none */

#endif
