/* seat_stats.h - figures of the seat, written by the thread that knows them and sent as STATS: by the link thread once a second,
 * by the engine thread before it says that a stream has ended (who has the answer finds it counted, and the death of the
 * seat loses no figure of an answer). Totals are since the seat's start. Atomics only. Thread: any. */
#ifndef HOTSEAT_SEAT_SEAT_STATS_H
#define HOTSEAT_SEAT_SEAT_STATS_H

#include <stdatomic.h>
#include <stdint.h>

#include "seat/outbox.h"

/* The engine thread's: */
#define SEAT_STATS_ENGINE(X)                                                                                 \
    X(cells_used)                                                                                            \
    X(cells) X(agents_resident) X(running) X(restores) X(restore_failures) X(decode_calls) X(decode_cpu_ns)
/* The disk thread's: */
#define SEAT_STATS_DISK(X)                                                                                   \
    X(blocks_written)                                                                                        \
    X(block_bytes_written)                                                                                   \
    X(blocks_read)                                                                                           \
    X(block_bytes_read)                                                                                      \
    X(blocks_corrupt)                                                                                        \
    X(write_failures) X(disk_bytes) X(disk_budget_bytes) X(evicted_blocks) X(unsaved_agents) X(scan_steps)

struct seat_stats {
#define SEAT_STATS_FIELD(name) _Atomic uint64_t name;
    SEAT_STATS_ENGINE(SEAT_STATS_FIELD)
    SEAT_STATS_DISK(SEAT_STATS_FIELD)
#undef SEAT_STATS_FIELD
    _Atomic uint64_t
        dirty_bytes; /* handed to the disk thread (engine adds), not yet dealt with (disk takes off) */
    _Atomic uint64_t baseline_bytes;                    /* memory of the process before its first load */
    _Atomic uint64_t memory_bytes;                      /* and when somebody last looked */
    _Atomic int64_t decode_started_ns, load_started_ns; /* one runs since then; 0: none */
    _Atomic uint64_t cancels_read;                      /* by the engine thread */
    _Atomic uint64_t full_mailboxes;                    /* posts that found no room */
};

void seat_stats_send(struct seat_stats *stats, struct outbox *out);

#endif
