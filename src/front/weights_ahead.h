/* weights_ahead.h - the files of two models in the page cache while one takes the seat of the other.
 * Ahead: the next model's file is read while the old model still works, for a load is reading, and a drain leaves the disk idle; and while the
 * engine makes the vocabulary. It is read only if memory has room for all of it, when it begins, without pushing out what is in use, and the reading
 * stops as soon as the swap is over, whatever became of it.
 * Left: the pages of the file that has left the seat are given up when what is available (page cache included, least of machine and control group)
 * would not hold them beside the next model's file, its cells and buffers, and SPARE_BYTES for everybody else; otherwise they stay, and make its return fast
 * (docs/adr/0012). Thread: begin, left, end: the owner's; the reading and the giving up: one of its own. */
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
/* Before next is loaded: nobody has left_path's file mapped any more. beside_bytes: what next takes besides its file. What was read of it in this
 * swap stays read. A file that both models share is kept. */
void weights_ahead_left(struct weights_ahead *w, const char *next_path, const char *left_path,
                        uint64_t beside_bytes);
void weights_ahead_end(struct weights_ahead *w);
/* Is there room for file_bytes beside in_use_bytes, with what is available (page cache included), and still for everybody else? Pure. */
bool weights_ahead_fits(uint64_t file_bytes, uint64_t in_use_bytes, uint64_t available_bytes);

/* Is there too little for file_bytes and beside_bytes with left_bytes still in the page cache? 0 available: not known, then no. Pure. */
bool weights_ahead_short(uint64_t file_bytes, uint64_t left_bytes, uint64_t beside_bytes,
                         uint64_t available_bytes);

#endif
