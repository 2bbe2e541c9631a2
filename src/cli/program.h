/* program.h - asking another program of ours which version it is. Thread: any; blocks until it has answered. */
#ifndef HOTSEAT_CLI_PROGRAM_H
#define HOTSEAT_CLI_PROGRAM_H

#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"

/* The first line of `program --version`, without its end. ERR_IO: it can't be run, or ends with another status than 0;
 * ERR_TIMEOUT: it did not end within seconds, and was killed. */
enum err program_version(const char *program, char *room, size_t room_size) NODISCARD;

#endif
