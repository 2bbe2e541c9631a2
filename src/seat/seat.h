/* seat.h - the seat process: three threads around one engine, spoken to over one socket.
 *   link thread (the caller's)  the socket, frames, STATS once a second; ends the process at once when the front is gone
 *   engine thread               struct room: load, batch loop
 *   disk thread                 struct disk_worker: the store
 * They share mailboxes, atomics (struct seat_stats) and engine_cancel().
 * A cancel or a stop that finds a decode running for CANCEL_PATIENCE_NS ends that decode (a stop: a load as well). */
#ifndef HOTSEAT_SEAT_SEAT_H
#define HOTSEAT_SEAT_SEAT_H

#include <stdbool.h>

/* Serves the front at fd (a connected stream socket, taken over) until STOP is done: 0, or the front talks nonsense or
 * threads can't be made: 1. When the front's end closes, the process ends from within with _Exit(0): there is nobody to work
 * for, and a hanging engine must not keep it. measure: only HELLO and MEASURE are taken. */
int seat_run(int fd, bool measure);

#endif
