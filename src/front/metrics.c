#include "front/metrics.h"

#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

enum metric_type { TYPE_COUNTER, TYPE_GAUGE, TYPE_SECONDS };

static const struct metric_row {
    enum metric_type type;
    const char *family, *labels, *help;
} ROWS[METRIC_COUNT] = {
#define ROW(id, type, family, labels, help) {TYPE_##type, family, labels, help},
    METRICS_TABLE(ROW)
#undef ROW
};
static const struct metric_row HISTOGRAMS[METRIC_HISTOGRAM_COUNT] = {
#define ROW(id, family, labels, help) {TYPE_COUNTER, family, labels, help},
    METRICS_HISTOGRAM_TABLE(ROW)
#undef ROW
};
static const char *const OUTCOMES[METRIC_OUTCOME_COUNT] = {
#define ROW(id, label) label,
    METRICS_OUTCOME_TABLE(ROW)
#undef ROW
};

/* From a cached first token to the load of a big model from a slow disk. */
static const double BOUNDS[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300};
#define N_BOUNDS ARRAY_LEN(BOUNDS)

struct histogram {
    _Atomic uint64_t in_bucket[N_BOUNDS + 1]; /* the last: above all bounds */
    _Atomic int64_t sum_ns;
};
struct model_place {
    char name[MODEL_ID_BYTES_MAX + 1]; /* written before the place is counted, never after */
    _Atomic uint64_t requests[METRIC_OUTCOME_COUNT];
    _Atomic int64_t depth;
};
struct metrics {
    _Atomic int64_t values[METRIC_COUNT];
    struct histogram histograms[METRIC_HISTOGRAM_COUNT];
    struct model_place models[METRICS_MODELS_MAX + 1]; /* the last: "other" */
    _Atomic uint32_t n_models;
};

struct metrics *metrics_new(void) {
    struct metrics *m = mem_alloc(sizeof *m);
    if (m) memcpy(m->models[METRICS_MODELS_MAX].name, "other", 6);
    return m;
}

void metrics_free(struct metrics *m) {
    mem_free(m);
}

void metrics_add(struct metrics *m, enum metric id, int64_t delta) {
    atomic_fetch_add_explicit(&m->values[id], delta, memory_order_relaxed);
}

void metrics_set(struct metrics *m, enum metric id, int64_t value) {
    atomic_store_explicit(&m->values[id], value, memory_order_relaxed);
}

int64_t metrics_get(const struct metrics *m, enum metric id) {
    return atomic_load_explicit(&m->values[id], memory_order_relaxed);
}

void metrics_observe(struct metrics *m, enum metric_histogram id, int64_t ns) {
    struct histogram *h = &m->histograms[id];
    double seconds = (double)ns / (double)NS_PER_S;
    size_t i = 0;
    while (i < N_BOUNDS && seconds > BOUNDS[i]) i++;
    atomic_fetch_add_explicit(&h->in_bucket[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_ns, ns, memory_order_relaxed);
}

static struct model_place *place_of(struct metrics *m, const char *model) {
    uint32_t n = atomic_load_explicit(&m->n_models, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++)
        if (!strcmp(m->models[i].name, model)) return &m->models[i];
    size_t size = strlen(model);
    if (n >= METRICS_MODELS_MAX || size > MODEL_ID_BYTES_MAX) return &m->models[METRICS_MODELS_MAX];
    memcpy(m->models[n].name, model, size + 1);
    atomic_store_explicit(&m->n_models, n + 1, memory_order_release);
    return &m->models[n];
}

void metrics_request(struct metrics *m, const char *model, enum metric_outcome outcome) {
    struct model_place *place = model ? place_of(m, model) : &m->models[METRICS_MODELS_MAX];
    atomic_fetch_add_explicit(&place->requests[outcome], 1, memory_order_relaxed);
}

void metrics_queue_depth(struct metrics *m, const char *model, int64_t depth) {
    struct model_place *place = place_of(m, model);
    if (place != &m->models[METRICS_MODELS_MAX])
        atomic_store_explicit(&place->depth, depth, memory_order_relaxed);
}

static void head_print(struct buf *out, const char *family, const char *help, const char *type) {
    buf_printf(out, "# HELP hotseat_%s %s\n# TYPE hotseat_%s %s\n", family, help, family, type);
}

static void label_print(struct buf *out, const char *value) {
    for (; *value; value++) {
        if (*value == '"' || *value == '\\') buf_u8(out, '\\');
        if (*value == '\n')
            buf_puts(out, "\\n");
        else
            buf_u8(out, (uint8_t)*value);
    }
}

static void histogram_print(const struct histogram *h, const struct metric_row *row, struct buf *out) {
    uint64_t total = 0;
    const char *comma = *row->labels ? "," : "";
    for (size_t i = 0; i <= N_BOUNDS; i++) {
        total += atomic_load_explicit(&h->in_bucket[i], memory_order_relaxed);
        buf_printf(out, "hotseat_%s_bucket{%s%sle=\"", row->family, row->labels, comma);
        if (i < N_BOUNDS)
            buf_printf(out, "%g\"} %llu\n", BOUNDS[i], (unsigned long long)total);
        else
            buf_printf(out, "+Inf\"} %llu\n", (unsigned long long)total);
    }
    const char *open = *row->labels ? "{" : "", *close = *row->labels ? "}" : "";
    int64_t sum_ns = atomic_load_explicit(&h->sum_ns, memory_order_relaxed);
    buf_printf(out, "hotseat_%s_sum%s%s%s %.9f\n", row->family, open, row->labels, close,
               (double)sum_ns / 1e9);
    buf_printf(out, "hotseat_%s_count%s%s%s %llu\n", row->family, open, row->labels, close,
               (unsigned long long)total);
}

static void models_print(const struct metrics *m, struct buf *out) {
    uint32_t n = atomic_load_explicit(&m->n_models, memory_order_acquire);
    head_print(out, "requests_total", "requests by model and how they ended", "counter");
    for (uint32_t i = 0; i <= METRICS_MODELS_MAX; i++) {
        if (i == n) i = METRICS_MODELS_MAX; /* the used places, then "other" */
        const struct model_place *place = &m->models[i];
        for (int o = 0; o < METRIC_OUTCOME_COUNT; o++) {
            uint64_t v = atomic_load_explicit(&place->requests[o], memory_order_relaxed);
            if (!v && i == METRICS_MODELS_MAX) continue;
            buf_puts(out, "hotseat_requests_total{model=\"");
            label_print(out, place->name);
            buf_printf(out, "\",outcome=\"%s\"} %llu\n", OUTCOMES[o], (unsigned long long)v);
        }
    }
    head_print(out, "queue_depth", "requests that wait for a model", "gauge");
    for (uint32_t i = 0; i < n; i++) {
        buf_puts(out, "hotseat_queue_depth{model=\"");
        label_print(out, m->models[i].name);
        buf_printf(out, "\"} %lld\n",
                   (long long)atomic_load_explicit(&m->models[i].depth, memory_order_relaxed));
    }
}

enum err metrics_text(const struct metrics *m, struct buf *out) {
    for (int i = 0; i < METRIC_COUNT; i++) {
        const struct metric_row *row = &ROWS[i];
        if (!i || strcmp(row->family, ROWS[i - 1].family))
            head_print(out, row->family, row->help, row->type == TYPE_GAUGE ? "gauge" : "counter");
        const char *open = *row->labels ? "{" : "", *close = *row->labels ? "}" : "";
        int64_t value = metrics_get(m, (enum metric)i);
        buf_printf(out, "hotseat_%s%s%s%s ", row->family, open, row->labels, close);
        if (row->type == TYPE_SECONDS)
            buf_printf(out, "%.9f\n", (double)value / 1e9);
        else
            buf_printf(out, "%lld\n", (long long)value);
    }
    for (int i = 0; i < METRIC_HISTOGRAM_COUNT; i++) {
        const struct metric_row *row = &HISTOGRAMS[i];
        if (!i || strcmp(row->family, HISTOGRAMS[i - 1].family))
            head_print(out, row->family, row->help, "histogram");
        histogram_print(&m->histograms[i], row, out);
    }
    models_print(m, out);
    return out->error;
}
