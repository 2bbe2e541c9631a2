/* metrics.h - counters, gauges and histograms of GET /metrics, from one table (metrics_table.h). Labels are
 * bounded: a model gets one of METRICS_MODELS_MAX places when it is first named, all later ones share
 * model="other". Thread: everything is atomic and may be called from any; a model's first naming by the
 * control thread only. */
#ifndef HOTSEAT_FRONT_METRICS_H
#define HOTSEAT_FRONT_METRICS_H

#include <stdint.h>

#include "base/buf.h"
#include "front/metrics_table.h"

#define METRICS_MODELS_MAX 64 /* a page of metrics stays below 100 KB */

enum metric {
#define METRIC_ROW(id, type, family, labels, help) METRIC_##id,
    METRICS_TABLE(METRIC_ROW)
#undef METRIC_ROW
        METRIC_COUNT
};
enum metric_histogram {
#define METRIC_ROW(id, family, labels, help) METRIC_HISTOGRAM_##id,
    METRICS_HISTOGRAM_TABLE(METRIC_ROW)
#undef METRIC_ROW
        METRIC_HISTOGRAM_COUNT
};
enum metric_outcome {
#define METRIC_ROW(id, label) METRIC_OUTCOME_##id,
    METRICS_OUTCOME_TABLE(METRIC_ROW)
#undef METRIC_ROW
        METRIC_OUTCOME_COUNT
};

struct metrics;

struct metrics *metrics_new(void) NODISCARD; /* NULL: no memory */
void metrics_free(struct metrics *m);

void metrics_add(struct metrics *m, enum metric id, int64_t delta); /* counters: delta >= 0 */
void metrics_set(struct metrics *m, enum metric id, int64_t value); /* gauges */
int64_t metrics_get(const struct metrics *m, enum metric id);
void metrics_observe(struct metrics *m, enum metric_histogram id, int64_t ns);
void metrics_request(struct metrics *m, const char *model, enum metric_outcome outcome);
void metrics_queue_depth(struct metrics *m, const char *model, int64_t depth);

/* Prometheus text format 0.0.4. */
enum err metrics_text(const struct metrics *m, struct buf *out) NODISCARD;

#endif
