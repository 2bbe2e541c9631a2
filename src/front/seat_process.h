/* seat_process.h - one child process that speaks the link: a seat or a measuring seat. It starts with a clean environment,
 * default signals, a socket as descriptor 3 and nothing else open but stderr.
 *   RUNNING --seat_process_kill()/end(), or by itself--> ENDED (seat_process_reap() says true) --> free
 * Only processes started here are ever signalled, by pid, and only until they were reaped.
 * Thread: the control thread. seat_process_start() forks; nothing here waits but the free, a moment. */
#ifndef HOTSEAT_FRONT_SEAT_PROCESS_H
#define HOTSEAT_FRONT_SEAT_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "link/channel.h"

struct seat_process;

/* ERR_IO, ERR_NOMEM; a program that can't be executed shows as an early end with status 127. */
enum err seat_process_start(const char *program, bool measure, struct seat_process **ret) NODISCARD;
struct channel *seat_process_channel(struct seat_process *p); /* NULL once it was ended */
pid_t seat_process_pid(const struct seat_process *p);
void seat_process_kill(struct seat_process *p); /* SIGKILL; closes the channel */
/* Closes the channel, upon which a seat ends by itself; SIGKILL when it has not by kill_at_ns (see reap). */
void seat_process_end(struct seat_process *p, int64_t kill_at_ns);
bool seat_process_reap(struct seat_process *p, int64_t now_ns); /* true: the process is gone */
bool seat_process_measures(const struct seat_process *p);
bool seat_process_was_killed(
    const struct seat_process *p); /* reaped, and SIGKILL ended it: somebody else's doing */
/* "signal 9", "status 1", "still running"; in the given room. */
const char *seat_process_status(const struct seat_process *p, char *room, size_t room_size);
/* Kills it when it is not reaped, and waits a moment, not for ever: a process that hangs in the kernel stays as it is. NULL is
 * fine. */
void seat_process_free(struct seat_process *p);

/* The seat's program: the configured one, else hotseat-seat beside this very program. Caller frees. NULL: no memory. */
char *seat_program_path(const char *configured) NODISCARD;

#endif
