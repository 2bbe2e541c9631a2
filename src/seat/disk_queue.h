/* disk_queue.h - the order in which the disk thread does its jobs. Named rules:
 *   READS FIRST   CHAINS, PLAN and GET go before writes that were posted earlier: somebody waits for them. So does RESIDENTS, or the agents'
 *                 list would call saved what still waits here.
 *   BUT ITS OWN   what a read needs is written first: the blocks of a plan's tokens, the note of an agent whose chains are asked
 *                 for (a conversation may leave the cells and come back while its blocks still wait here). And before a write
 *                 the one that it hangs below: the parent of a follower's block is its leader's (follow.c).
 *   IN ORDER      writes of one sequence keep their order, reads keep theirs, and nothing passes any other job: deletions, FLUSH
 *                 and CLOSE come after all that was posted before them, and before all that comes later.
 *   WAITING       while the store takes no writes they wait, and who only looks passes them, until somebody waits for one of
 *                 them: a read that needs it, or a job that comes after all that was posted before it.
 * Does not own the jobs. Thread: the disk thread. */
#ifndef HOTSEAT_SEAT_DISK_QUEUE_H
#define HOTSEAT_SEAT_DISK_QUEUE_H

#include "base/list.h"
#include "seat/seat_mail.h"

struct disk_queue {
    struct list jobs; /* as they were posted */
};

void disk_queue_init(struct disk_queue *q);
void disk_queue_push(struct disk_queue *q, struct disk_job *job);
/* The next one to do; NULL: there is none, or (writes_wait) only writes that nobody waits for. */
struct disk_job *disk_queue_pop(struct disk_queue *q, bool writes_wait);

#endif
