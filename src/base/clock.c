#include "base/clock.h"

#include <time.h>

#include "base/must.h"

static int64_t read_clock(clockid_t id) {
    struct timespec t;
    must(clock_gettime(id, &t) == 0);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* Of the clocks that never go back the one that stands still while the machine sleeps, else every time limit would be over when it
 * wakes: on macOS CLOCK_MONOTONIC goes on, as CLOCK_BOOTTIME does on Linux. */
#if defined(__APPLE__)
#define AWAKE_CLOCK CLOCK_UPTIME_RAW
#else
#define AWAKE_CLOCK CLOCK_MONOTONIC
#endif

int64_t clock_now_ns(void) {
    return read_clock(AWAKE_CLOCK);
}

int64_t clock_wall_ns(void) {
    return read_clock(CLOCK_REALTIME);
}

int64_t clock_thread_ns(void) {
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}
