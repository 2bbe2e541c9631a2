/* disk_worker.h - the disk thread of the seat: the one owner of the store, in every state (also with an empty seat and
 * while a model loads). It takes jobs in the order of disk_queue.h; the hash of a model's file goes on in slices while no job waits.
 * A store that can't be opened is no reason not to serve: every job is then answered as a miss or as a
 * failed write, with the reason, and the opening is tried again.
 *   disk_worker_open() -> thread -> DISK_OPEN ... DISK_CLOSE -> disk_worker_stop() -> disk_worker_free()
 * Thread: post any; open, stop and free the one that started it. */
#ifndef HOTSEAT_SEAT_DISK_WORKER_H
#define HOTSEAT_SEAT_DISK_WORKER_H

#include "base/mailbox.h"
#include "seat/outbox.h"
#include "seat/seat_mail.h"
#include "seat/seat_stats.h"
#include "seat/spares.h"

struct disk_worker;

/* Answers go to engine_inbox. All are borrowed for the worker's life. */
enum err disk_worker_open(struct mailbox *engine_inbox, struct outbox *out, struct seat_stats *stats,
                          struct disk_worker **ret) NODISCARD;
/* Takes the job over on OK. ERR_QUEUE_FULL (from_link: its share of the box is used up): the caller keeps it. */
enum err disk_worker_post(struct disk_worker *w, struct disk_job *job, bool from_link) NODISCARD;
struct spares *disk_worker_spares(struct disk_worker *w); /* of block buffers; borrowed, any thread */
void disk_worker_stop(struct disk_worker *w); /* after the jobs that are there; waits for the thread */
void disk_worker_free(struct disk_worker *w);

#endif
