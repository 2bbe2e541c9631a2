/* save.h - what of a sequence goes to the disk thread, and when. Taking a block out of the cells is the engine thread's
 * work (1-3 ms), writing it is not. Named rules:
 *   BOUNDED     at most DIRTY_BYTES_MAX wait for the disk. What does not fit stays in the cells and is taken later:
 *               next turn of the loop, end of the turn, eviction.
 *   ONCE        a part that was posted or came from the disk is never posted again, unless the store has lost it.
 *   NOBODY      an unnamed sequence is written on its second use or when its model leaves; if others need its place, or have
 *               worked beside it for a while, it is dropped. Its tokens are remembered, so that a second use is known then, too.
 *   WINDOW      window parts are taken only at restore points: end of a turn, end of a prompt, every RESTORE_POINT_BLOCKS
 *               blocks of a long one, and at the last block before prompts branch: at the end of the system prompt, where what
 *               is stored ends to be what is asked, where others follow (follow.c). docs/benchmarks.md says what each is worth.
 *   AFTER       what hangs below a block that was refused (the day's writes, a full disk) waits until that one is asked for
 *               again: it could not be stored, and to take it out of the cells is work.
 * Thread: the engine's. */
#ifndef HOTSEAT_SEAT_SAVE_H
#define HOTSEAT_SEAT_SAVE_H

#include "seat/sequence.h"

#define RESTORE_POINT_BLOCKS 8

enum save_depth {
    SAVE_FILLED, /* base parts of full blocks */
    SAVE_TURN,   /* and the window parts, the tail, the agent's name */
    SAVE_LEAVING /* the same, now or never: also nobody's, also past the day's writes */
};

struct disk_job;
struct stream;

/* Posts what is not posted yet. True: nothing is left (or the cache is off). False: later. */
bool save_sequence(struct room *r, struct sequence *s, enum save_depth depth);
/* Posts one thing of what save_sequence(SAVE_TURN) would post: does the disk take it? */
void save_probe(struct room *r, struct sequence *s);
/* s is about to be dropped: what was not posted is lost, and the disk thread hears whose it was. */
void save_say_lost(struct room *r, const struct sequence *s);
/* All of s is on the disk, and the disk has said so. */
bool save_is_done(const struct room *r, const struct sequence *s);
/* s has just been read up to a restore point (save_next_restore_point()): window parts for a resume there. */
void save_restore_point(struct room *r, struct sequence *s);
/* The prompt of s is read, nothing is generated yet: full blocks, and all that a retry needs to go on from here. What does
 * not fit is left out. */
void save_prompt_end(struct room *r, struct sequence *s);
/* Where the prompt's chunk that begins at from must end so that a restore point can be taken: a position after from, or to. */
uint32_t save_next_restore_point(const struct room *r, const struct stream *t, uint32_t from, uint32_t to);
void save_step_begin(
    struct room *r); /* a new turn of the loop: some blocks may be taken beside running streams */
void save_written(struct room *r, const struct disk_job *job); /* a PUT or NOTE came back */

#endif
