/* unsaved.h - which agents' last turn is not on the disk, by model: for the gauge, and for `saved` in the agents' list.
 *   unsaved_set()         it will not be there after a swap
 *   unsaved_clear()       its name was moved to a chain that is whole
 * Bounded: of more than UNSAVED_MAX the rest is not remembered. Thread: the disk thread. */
#ifndef HOTSEAT_SEAT_UNSAVED_H
#define HOTSEAT_SEAT_UNSAVED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"

#define UNSAVED_MAX 1024

struct unsaved_row {
    struct hash128 tag;
    char *model, *agent; /* owned */
};

struct unsaved {
    struct unsaved_row rows[UNSAVED_MAX];
    uint32_t n;
};

void unsaved_free(struct unsaved *u);
void unsaved_set(struct unsaved *u, struct hash128 tag, const char *model, const char *agent);
bool unsaved_is(const struct unsaved *u, struct hash128 tag, const char *agent);
void unsaved_clear(struct unsaved *u, struct hash128 tag, const char *agent);
/* Deleted by an administrator: "" stands for every model, or every agent. */
void unsaved_forget(struct unsaved *u, const char *model, const char *agent);

#endif
