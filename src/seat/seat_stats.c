#include "seat/seat_stats.h"

void seat_stats_send(struct seat_stats *stats, struct outbox *out) {
    struct msg m = {.type = MSG_TYPE_STATS};
#define STATS_COPY(name) m.stats.name = (__typeof__(m.stats.name))atomic_load(&stats->name);
    SEAT_STATS_ENGINE(STATS_COPY)
    SEAT_STATS_DISK(STATS_COPY)
#undef STATS_COPY
    m.stats.dirty_bytes = atomic_load(&stats->dirty_bytes);
    m.stats.memory_bytes = atomic_load(&stats->memory_bytes);
    outbox_send(out, &m);
}
