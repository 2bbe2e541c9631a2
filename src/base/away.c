#include "base/away.h"

#include <stdbool.h>

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

int64_t away_look(struct away *a, int64_t clock_ns) {
    int64_t now_ns = clock_ns - a->gone_ns, gap_ns = now_ns - a->now_ns;
    bool first = a->now_ns == 0;
    if (first || gap_ns <= AWAY_NS) {
        a->now_ns = now_ns;
        return 0;
    }
    a->gone_ns += gap_ns;
    a->left_ns = a->now_ns;
    a->gap_ns = gap_ns;
    return gap_ns;
}

int64_t away_time_ns(const struct away *a, int64_t clock_ns) {
    int64_t ns = clock_ns - a->gone_ns;
    if (ns < a->left_ns) ns = least(ns + a->gap_ns, a->left_ns);
    return least(ns, a->now_ns);
}
