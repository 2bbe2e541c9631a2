/* weights_ahead.h - reads the next model's file into the page cache while the old model still works: a load is reading, and a
 * drain leaves the disk idle. It reads a file only if memory has room for all of it, when it begins, without pushing out the weights that are in use, and it
 * stops as soon as the swap is over, whatever became of it. Thread: begin, end: the owner's; the reading: one of its own. */
#ifndef HOTSEAT_FRONT_WEIGHTS_AHEAD_H
#define HOTSEAT_FRONT_WEIGHTS_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

struct weights_ahead;

enum err weights_ahead_open(struct weights_ahead **ret) NODISCARD; /* starts the thread */
void weights_ahead_free(struct weights_ahead *w);                  /* NULL is fine */
/* From the file's beginning, of a split model from the first part's; in_use_bytes: weights that may be in the page cache and must stay
 * there. What was being read is given up. A hint: it can't fail. */
void weights_ahead_begin(struct weights_ahead *w, const char *path, uint64_t in_use_bytes);
void weights_ahead_end(struct weights_ahead *w);
/* Is there room for file_bytes beside in_use_bytes, with what is available (page cache included), and still for everybody else? Pure. */
bool weights_ahead_fits(uint64_t file_bytes, uint64_t in_use_bytes, uint64_t available_bytes);

#endif
