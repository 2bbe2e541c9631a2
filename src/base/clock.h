/* clock.h - one monotonic clock for all durations, wall time for logs and files only. Thread: any. */
#ifndef HOTSEAT_BASE_CLOCK_H
#define HOTSEAT_BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

int64_t clock_now_ns(void);    /* monotonic; never goes back, and stands still while the machine sleeps */
int64_t clock_wall_ns(void);   /* since 1970, UTC */
int64_t clock_thread_ns(void); /* processor time of the calling thread */

#endif
