/* disk_query.h - MSG_QUERY answered from the store, with what the engine thread last said about resident agents laid
 * over it: an agent is resident when its tokens are in the cells, saved when the disk has all of them.
 * Thread: the disk thread. */
#ifndef HOTSEAT_SEAT_DISK_QUERY_H
#define HOTSEAT_SEAT_DISK_QUERY_H

#include "link/messages.h"
#include "seat/unsaved.h"
#include "store/store.h"

struct disk_query_view { /* all borrowed */
    struct store *store; /* NULL: there is none, store_why says why */
    const char *store_why;
    const char *residents; /* {"model": M, "agents": {"id": {"tokens": n, "saved": b}, ...}} or NULL */
    const struct unsaved *unsaved;
};
enum err disk_query_run(const struct disk_query_view *v, const struct msg_query *q,
                        struct buf *out) NODISCARD;
/* The residents without those that a deletion means ("": every model, every agent). Caller frees; NULL: no memory, or there are none. */
char *disk_query_without(const char *residents, const char *model, const char *agent) NODISCARD;

#endif
