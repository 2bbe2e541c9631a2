/* measure.h - what a measuring seat is asked about a model, what its answer means, and whether that fits. The front asks on its
 * control thread, which must not wait (validate.c); `hotseat doctor` waits for the answer (measure_now()).
 * Thread: any; only measure_now() blocks. */
#ifndef HOTSEAT_FRONT_MEASURE_H
#define HOTSEAT_FRONT_MEASURE_H

#include "front/registry.h"
#include "link/messages.h"

struct measure_size { /* of the context that is asked about */
    uint32_t n_cells, n_seqs;
};

/* Before it is known how much fits: a block for each running sequence. */
struct measure_size measure_size_first(const struct config *config);
struct msg measure_hello(int log_level); /* borrows static text */
/* Borrows the model's path. */
struct msg measure_question(const struct config *config, const struct model *m, uint64_t op,
                            struct measure_size size);
/* first: what the same process answered before; known is false if this is its first answer. */
struct admission_measure measure_answer(const struct msg_measured *got, struct measure_size size,
                                        const struct admission_measure *first);
/* The seat's failure is the file's doing, not a want of memory or descriptors. */
bool measure_blames(const struct msg_op_failed *failed);

/* What this model may take now; back_bytes: what the seat gives back before it loads. */
struct admission_limits measure_limits(const struct config *config, const struct model *m,
                                       uint64_t back_bytes);
/* True: measure again with *ret, because the largest pool it may ever get holds more cells or sequences. */
bool measure_again(const struct admission_measure *m, const struct admission_limits *limits,
                   struct measure_size *ret);
/* admission_plan() with its refusal in words: ERR_MODEL_TOO_LARGE (it will never fit here), ERR_NO_SEAT (not now). */
enum err measure_admit(const struct model *m, const struct admission_measure *measure,
                       const struct admission_limits *limits, struct admission *ret, char *why,
                       size_t why_size) NODISCARD;

/* Starts a measuring seat for this model and waits for its answer. ERR_MODEL_INVALID (the engine can't load it, or died of it),
 * ERR_NO_SEAT (the seat did not start), ERR_TIMEOUT, ERR_NOMEM, ERR_IO; why says more. */
enum err measure_now(const struct config *config, const char *seat_program, const struct model *m,
                     int64_t limit_ns, struct admission_measure *ret, char *why, size_t why_size) NODISCARD;

#endif
