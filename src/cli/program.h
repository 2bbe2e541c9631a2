/* program.h - where this program lies. Thread: any. */
#ifndef HOTSEAT_CLI_PROGRAM_H
#define HOTSEAT_CLI_PROGRAM_H

#include "base/attr.h"

/* The path of a program in the folder this one runs from, whether it exists or not. The caller's; NULL: not
 * known. */
char *program_beside(const char *name) NODISCARD;

#endif
