/* away.h - a clock that stands still while the process does not run. A loop that looks at it several times a second and
 * finds seconds gone was not slow: somebody stopped the process, or its whole machine was frozen. That time is no hang and
 * nobody's slowness, or all limits would be over at once on waking. Plain data, zero at first. Thread: the loop's. */
#ifndef HOTSEAT_BASE_AWAY_H
#define HOTSEAT_BASE_AWAY_H

#include <stdint.h>

#define AWAY_NS INT64_C(5000000000) /* rounds of a loop so far apart: the process did not run */

struct away {
    int64_t now_ns;  /* of this round, on the clock that stands still */
    int64_t gone_ns; /* so much it is behind clock.h's */
    int64_t left_ns; /* its time at the last gap, */
    int64_t gap_ns;  /* which was so long */
};

/* The next round, or the first one. Returns how long the process was away before it; 0: it was not. */
int64_t away_look(struct away *a, int64_t clock_ns);
/* When something happened that clock.h's clock saw at clock_ns, before the end of this round: never later than now. What
 * came before the last gap is as old as it was then; what came in it came when it began. */
int64_t away_time_ns(const struct away *a, int64_t clock_ns);

#endif
