#include "front/metrics.h"

#include <stdio.h>
#include <string.h>

#include "../check_run.h"
#include "base/clock.h"
#include "base/mem.h"

static char *text_of(struct metrics *m) {
    struct buf b = BUF(1 << 20);
    ck_assert_int_eq(metrics_text(m, &b), ERR_OK);
    char *text = buf_take_string(&b);
    buf_free(&b);
    return text;
}

static void has(struct metrics *m, const char *line) {
    char *text = text_of(m);
    ck_assert_msg(strstr(text, line), "%s", line);
    mem_free(text);
}

START_TEST(counters_gauges_histograms) {
    struct metrics *m = metrics_new();
    metrics_add(m, METRIC_TOKENS_REUSED, 41);
    metrics_add(m, METRIC_TOKENS_REUSED, 1);
    metrics_add(m, METRIC_DECODE_CPU, 1500 * NS_PER_MS);
    metrics_set(m, METRIC_MEMORY_SEAT, 7);
    metrics_observe(m, METRIC_HISTOGRAM_STEP_LOAD, 300 * NS_PER_MS);
    metrics_observe(m, METRIC_HISTOGRAM_STEP_LOAD, 1000 * NS_PER_S);
    metrics_request(m, "a\"b", METRIC_OUTCOME_OK);
    metrics_queue_depth(m, "a\"b", 3);
    has(m, "\nhotseat_tokens_total{kind=\"reused\"} 42\n");
    has(m, "# TYPE hotseat_decode_cpu_seconds_total counter\nhotseat_decode_cpu_seconds_total 1.500000000\n");
    has(m, "\nhotseat_memory_bytes{process=\"seat\"} 7\n");
    has(m, "\nhotseat_swap_step_seconds_bucket{step=\"load\",le=\"0.25\"} 0\n");
    has(m, "\nhotseat_swap_step_seconds_bucket{step=\"load\",le=\"0.5\"} 1\n");
    has(m, "\nhotseat_swap_step_seconds_bucket{step=\"load\",le=\"+Inf\"} 2\n");
    has(m, "\nhotseat_swap_step_seconds_sum{step=\"load\"} 1000.300000000\n");
    has(m, "\nhotseat_queue_wait_seconds_count 0\n");
    has(m, "\nhotseat_requests_total{model=\"a\\\"b\",outcome=\"ok\"} 1\n");
    has(m, "\nhotseat_queue_depth{model=\"a\\\"b\"} 3\n");
    metrics_free(m);
}
END_TEST

START_TEST(one_head_for_each_family) {
    struct metrics *m = metrics_new();
    char *text = text_of(m), family[128], seen[16384] = "\n";
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (sscanf(line, "# TYPE %100s", family) != 1) continue;
        char key[140];
        snprintf(key, sizeof key, "\n%s\n", family);
        ck_assert_msg(!strstr(seen, key), "%s comes twice", family);
        strncat(seen, key + 1, sizeof seen - strlen(seen) - 1);
    }
    mem_free(text);
    metrics_free(m);
}
END_TEST

START_TEST(labels_are_bounded) {
    struct metrics *m = metrics_new();
    char name[32];
    for (int i = 0; i < METRICS_MODELS_MAX + 40; i++) {
        snprintf(name, sizeof name, "model-%d", i);
        metrics_request(m, name, METRIC_OUTCOME_ERROR);
        metrics_queue_depth(m, name, i);
    }
    has(m, "hotseat_requests_total{model=\"other\",outcome=\"error\"} 40\n");
    metrics_request(m, NULL, METRIC_OUTCOME_REFUSED);
    has(m, "hotseat_requests_total{model=\"other\",outcome=\"refused\"} 1\n");
    char *text = text_of(m);
    ck_assert_uint_lt(strlen(text), 100000);
    mem_free(text);
    metrics_free(m);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {counters_gauges_histograms, one_head_for_each_family, labels_are_bounded};
    return CHECK_RUN("metrics", tests);
}
