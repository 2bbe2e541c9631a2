/* metrics_table.h - every figure of GET /metrics. Names get the prefix hotseat_; units are seconds, bytes,
 * tokens. Rows of one family stand together. X(ENUM, TYPE, "family", "labels", "help") COUNTER, GAUGE: whole
 * numbers; SECONDS: a counter that is kept in nanoseconds. */
#ifndef HOTSEAT_FRONT_METRICS_TABLE_H
#define HOTSEAT_FRONT_METRICS_TABLE_H

#define METRICS_TABLE(X)                                                                                     \
    X(TOKENS_READ, COUNTER, "tokens_total", "kind=\"read\"", "tokens by what was done with them")            \
    X(TOKENS_REUSED, COUNTER, "tokens_total", "kind=\"reused\"", "")                                         \
    X(TOKENS_GENERATED, COUNTER, "tokens_total", "kind=\"generated\"", "")                                   \
    X(STREAMS_RUNNING, GAUGE, "streams_running", "", "requests in the seat")                                 \
    X(REQUESTS_WAITING, GAUGE, "requests_waiting", "", "requests that wait for any model")                   \
    X(REQUESTS_BYTES, GAUGE, "requests_bytes", "",                                                           \
      "prompts, tools and schemas of waiting and running requests")                                          \
    X(STREAMS_PARKED, COUNTER, "streams_parked_total", "",                                                   \
      "streams parked by a swap, a stop or a full pool")                                                     \
    X(STREAMS_RESUBMITTED, COUNTER, "streams_resubmitted_total", "",                                         \
      "streams that went on after a death of the seat or a park")                                            \
    X(STREAMS_LOST, COUNTER, "streams_lost_total", "",                                                       \
      "streams ended because the engine died on them twice")                                                 \
    X(SWAPS_HOT_OK, COUNTER, "swaps_total", "kind=\"hot\",outcome=\"ok\"", "swaps by kind and outcome")      \
    X(SWAPS_PROCESS_OK, COUNTER, "swaps_total", "kind=\"process\",outcome=\"ok\"", "")                       \
    X(SWAPS_HOT_ROLLED_BACK, COUNTER, "swaps_total", "kind=\"hot\",outcome=\"rolled_back\"", "")             \
    X(SWAPS_PROCESS_ROLLED_BACK, COUNTER, "swaps_total", "kind=\"process\",outcome=\"rolled_back\"", "")     \
    X(SWAPS_HOT_FAILED, COUNTER, "swaps_total", "kind=\"hot\",outcome=\"failed\"", "")                       \
    X(SWAPS_PROCESS_FAILED, COUNTER, "swaps_total", "kind=\"process\",outcome=\"failed\"", "")               \
    X(SWAPS_REFUSED, COUNTER, "swaps_refused_total", "", "swaps refused before anything was unloaded")       \
    X(SWAPS_NOT_RETURNED, COUNTER, "swap_memory_not_returned_total", "",                                     \
      "unloads that did not give the memory back, so that the process was ended")                            \
    X(SWAP_UNDER_WAY, GAUGE, "swap_under_way", "", "1 while a swap is under way")                            \
    X(SEATED, GAUGE, "model_seated", "", "1 while a model is seated and serves")                             \
    X(BLOCKS_WRITTEN, COUNTER, "blocks_written_total", "", "cache blocks written to disk")                   \
    X(BLOCKS_READ, COUNTER, "blocks_read_total", "", "cache blocks read from disk")                          \
    X(BLOCK_BYTES_WRITTEN, COUNTER, "block_bytes_written_total", "",                                         \
      "bytes of cache blocks written to disk")                                                               \
    X(BLOCK_BYTES_READ, COUNTER, "block_bytes_read_total", "", "bytes of cache blocks read from disk")       \
    X(BLOCKS_EVICTED, COUNTER, "blocks_evicted_total", "", "cache blocks dropped for the disk budget")       \
    X(RESTORES, COUNTER, "restores_total", "", "requests that went on from cached blocks")                   \
    X(RESTORE_FAILURES, COUNTER, "restore_failures_total", "", "restores given up, the prompt read instead") \
    X(BLOCKS_CORRUPT, COUNTER, "blocks_corrupt_total", "", "cache files found damaged and quarantined")      \
    X(WRITE_FAILURES, COUNTER, "cache_write_failures_total", "", "cache writes that failed")                 \
    X(DECODE_CALLS, COUNTER, "decode_calls_total", "", "steps of the engine")                                \
    X(DECODE_CPU, SECONDS, "decode_cpu_seconds_total", "",                                                   \
      "processor time of the engine's thread inside these steps; not of its helpers")                        \
    X(CACHE_DISK, GAUGE, "cache_disk_bytes", "", "size of the cache folder")                                 \
    X(CACHE_BUDGET, GAUGE, "cache_disk_budget_bytes", "", "its budget")                                      \
    X(CACHE_DIRTY, GAUGE, "cache_dirty_bytes", "", "cache bytes on their way to the disk")                   \
    X(AGENTS_UNSAVED, GAUGE, "agents_unsaved", "", "agents whose last turn could not be saved")              \
    X(AGENTS_RESIDENT, GAUGE, "agents_resident", "", "agents whose cache is in memory")                      \
    X(CELLS, GAUGE, "kv_cells", "", "KV cells of the seated model")                                          \
    X(CELLS_USED, GAUGE, "kv_cells_used", "", "KV cells in use")                                             \
    X(SEAT_RESTARTS, COUNTER, "seat_restarts_total", "", "seat processes started after the first one")       \
    X(SEAT_DEATHS, COUNTER, "seat_deaths_total", "", "seat processes that died by themselves")               \
    X(SEAT_KILLS, COUNTER, "seat_kills_total", "", "seat processes ended because they hung or kept memory")  \
    X(AWAY, SECONDS, "away_seconds_total", "",                                                               \
      "time in which the server was stopped or frozen: it counts for no time limit")                         \
    X(MEMORY_SEAT, GAUGE, "memory_bytes", "process=\"seat\"",                                                \
      "private and anonymous memory, mapped weights left out")                                               \
    X(MEMORY_BUDGET, GAUGE, "memory_budget_bytes", "", "what a model may use")                               \
    X(MODELS_KNOWN, GAUGE, "models", "", "models that are known")                                            \
    X(MEASURES, COUNTER, "model_measures_total", "outcome=\"ok\"", "models measured before a load")          \
    X(MEASURE_FAILURES, COUNTER, "model_measures_total", "outcome=\"failed\"", "")                           \
    X(EVENT_CLIENTS, GAUGE, "event_clients", "", "open event streams")                                       \
    X(REPLIES_DROPPED, COUNTER, "replies_dropped_total", "",                                                 \
      "requests ended because their client was too slow")

/* X(ENUM, "family", "labels", "help"): histograms, observed in nanoseconds, shown in seconds. */
#define METRICS_HISTOGRAM_TABLE(X)                                                                           \
    X(QUEUE_WAIT, "queue_wait_seconds", "", "from a request's arrival to its entering the seat")             \
    X(FIRST_TOKEN, "time_to_first_token_seconds", "", "from a request's arrival to its first token")         \
    X(STEP_DRAIN, "swap_step_seconds", "step=\"drain\"", "how long each step of a swap took")                \
    X(STEP_EVICT, "swap_step_seconds", "step=\"evict\"", "")                                                 \
    X(STEP_UNLOAD, "swap_step_seconds", "step=\"unload\"", "")                                               \
    X(STEP_START, "swap_step_seconds", "step=\"start\"", "")                                                 \
    X(STEP_LOAD, "swap_step_seconds", "step=\"load\"", "")                                                   \
    X(STEP_CONFIGURE, "swap_step_seconds", "step=\"configure\"", "")                                         \
    X(SWAP_TOTAL, "swap_seconds", "", "how long each swap took")

/* How a request ended: the label of requests_total{model,outcome}. X(ENUM, "outcome") */
#define METRICS_OUTCOME_TABLE(X)                                                                             \
    X(OK, "ok")                                                                                              \
    X(ERROR, "error")                                                                                        \
    X(REFUSED, "refused")                                                                                    \
    X(CANCELED, "canceled")                                                                                  \
    X(TIMEOUT, "timeout")                                                                                    \
    X(SWAP_CANCELED, "swap_canceled")                                                                        \
    X(ENGINE_DIED, "engine_died")

#endif
