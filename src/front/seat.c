/* seat.c - the front's hold on the seat process: starting, sending, receiving, ending it. What a message means is decided
 * elsewhere. One seat lives at a time: the next one starts when the last one is gone, so that never two models' memory and
 * never two owners of the store are there at once. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "front/front_impl.h"
#include "store/store.h"

#define LEAVE_LIMIT_NS (10 * NS_PER_S) /* from closing its socket to SIGKILL */
#define RECEIVE_ROUND 256              /* messages at most before other things get a turn */

/* ---- processes that end ---- */

static void leaving_drop(struct front *f, uint32_t at) {
    f->n_leaving--;
    for (uint32_t i = at; i < f->n_leaving; i++) f->leaving[i] = f->leaving[i + 1];
}

void seat_leave(struct front *f, struct seat_process *p) {
    if (f->n_leaving == ARRAY_LEN(f->leaving)) { /* killed long ago, or their kill is overdue */
        seat_process_free(f->leaving[0]);
        leaving_drop(f, 0);
    }
    f->leaving[f->n_leaving++] = p;
    f->leaving_since_ns = f->now_ns;
}

/* A measuring seat holds no store, and its memory is no model's: nobody waits for its end. */
static bool seat_is_leaving(const struct front *f) {
    for (uint32_t i = 0; i < f->n_leaving; i++)
        if (!seat_process_measures(f->leaving[i])) return true;
    return false;
}

static void start_now(struct front *f);

void seat_reap(struct front *f) {
    char room[32];
    for (uint32_t i = 0; i < f->n_leaving;) {
        struct seat_process *p = f->leaving[i];
        if (!seat_process_reap(p, f->now_ns)) {
            i++;
            continue;
        }
        log_info("seat.gone", "pid=%d end=%s", (int)seat_process_pid(p),
                 log_q(seat_process_status(p, room, sizeof room)));
        seat_process_free(p);
        leaving_drop(f, i);
    }
    if (f->start_wanted && !seat_is_leaving(f)) start_now(f);
}

/* Counters of a process that is gone would jump back; gauges of it mean nothing. */
static void stats_forget(struct front *f) {
    static const enum metric GAUGES[] = {METRIC_MEMORY_SEAT, METRIC_CELLS, METRIC_CELLS_USED,
                                         METRIC_AGENTS_RESIDENT, METRIC_CACHE_DIRTY};
    f->stats = (struct msg_stats){0};
    for (size_t i = 0; i < ARRAY_LEN(GAUGES); i++) metrics_set(f->metrics, GAUGES[i], 0);
}

static void drop(struct front *f, bool by_force) {
    if (by_force)
        seat_process_kill(f->seat);
    else
        seat_process_end(f->seat, f->now_ns + LEAVE_LIMIT_NS);
    seat_leave(f, TAKE(f->seat));
    f->seat_greeted = false;
    stats_forget(f);
    query_seat_died(f);
}

static void say_restart(struct front *f, const char *why) {
    struct buf body = BUF(4096);
    struct json_out w = events_begin(f, &body);
    json_key(&w, "reason"), json_str(&w, why);
    json_key(&w, "generation"), json_u64(&w, f->generation);
    json_end(&w);
    events_say(f, "seat_restart", &body);
}

static void died(struct front *f, const char *why) {
    if (f->stop >= STOP_SAVE) {
        drop(f, false);
        moves_seat_died(f); /* those that it never let go */
        stop_seat_gone(f);
        return;
    }
    log_error("seat.died", "pid=%d generation=%llu running=%zu why=%s", (int)seat_process_pid(f->seat),
              (unsigned long long)f->generation, f->running.count, log_q(why));
    metrics_add(f->metrics, METRIC_SEAT_DEATHS, 1);
    drop(f, true);
    moves_seat_died(f);
    say_restart(f, why);
    if (f->stop) {
        stop_seat_gone(f);
        return;
    }
    swap_on_death(&f->swap, why, f->now_ns);
    f->schedule = true;
}

void seat_kill(struct front *f, const char *why) {
    if (!f->seat) return;
    log_warn("seat.kill", "pid=%d why=%s", (int)seat_process_pid(f->seat), log_q(why));
    metrics_add(f->metrics, METRIC_SEAT_KILLS, 1);
    drop(f, true);
    moves_seat_died(f);
    say_restart(f, why);
    f->schedule = true;
}

/* ---- starting one ---- */

static void hello(struct front *f) {
    char why[512] = "";
    static char no_cache[] = "";
    enum err err = front_lock_cache(f, why, sizeof why);
    if (err) log_error("cache.off", "dir=%s why=%s", log_q(f->config->cache_dir), log_q(why));
    struct msg m = {.type = MSG_TYPE_HELLO,
                    .hello = {.generation = f->generation,
                              .holder = f->lock_fd >= 0 ? store_lock_holder(f->config->cache_dir) : 0,
                              .cache_why = why,
                              .cache_dir = f->lock_fd >= 0 ? f->config->cache_dir : no_cache,
                              .cache_disk_bytes = f->settings.cache_disk_bytes,
                              .cache_write_per_day_bytes = f->settings.cache_write_per_day_bytes,
                              .debug = f->config->debug,
                              .log_level = (uint32_t)f->settings.log_level}};
    (void)seat_send(f, &m);
}

static void start_now(struct front *f) {
    f->start_wanted = false;
    f->generation++;
    enum err err = seat_process_start(f->seat_program, false, &f->seat);
    if (err) {
        log_error("seat.start", "program=%s err=%s", log_q(f->seat_program), err_name(err));
        swap_on_death(&f->swap, err_text(err), f->now_ns);
        return;
    }
    if (f->first_seat_done) metrics_add(f->metrics, METRIC_SEAT_RESTARTS, 1);
    f->first_seat_done = true;
    log_info("seat.start", "pid=%d generation=%llu", (int)seat_process_pid(f->seat),
             (unsigned long long)f->generation);
    hello(f);
}

/* ---- talking ---- */

uint64_t seat_next_op(struct front *f) {
    return ++f->swap.last_op;
}

bool seat_send(struct front *f, const struct msg *m) {
    if (!f->seat) return false;
    enum err err = channel_send(seat_process_channel(f->seat), m);
    /* Broken: the receiving side says so in a moment. A seat that does not read is found by its missing signs of life. */
    if (err) log_warn("seat.send", "type=%s err=%s", msg_type_name(m->type), err_name(err));
    return !err;
}

void seat_flush(struct front *f) {
    if (!f->seat || !channel_wants_write(seat_process_channel(f->seat))) return;
    enum err err = channel_flush(seat_process_channel(f->seat));
    if (err) log_debug("seat.flush", "err=%s", err_name(err)); /* the next receive ends it */
}

/* Two threads of the seat take these figures and send them: an older one may come after a newer one. What is counted only goes up. */
static void on_stats(struct front *f, struct msg_stats *s) {
    const struct msg_stats *old = &f->stats;
#define COUNT(metric, field)                                                                                 \
    if (s->field < old->field) s->field = old->field;                                                        \
    metrics_add(f->metrics, METRIC_##metric, (int64_t)(s->field - old->field))
    COUNT(BLOCKS_WRITTEN, blocks_written);
    COUNT(BLOCK_BYTES_WRITTEN, block_bytes_written);
    COUNT(BLOCKS_READ, blocks_read);
    COUNT(BLOCK_BYTES_READ, block_bytes_read);
    COUNT(RESTORES, restores);
    COUNT(RESTORE_FAILURES, restore_failures);
    COUNT(BLOCKS_CORRUPT, blocks_corrupt);
    COUNT(WRITE_FAILURES, write_failures);
    COUNT(BLOCKS_EVICTED, evicted_blocks);
    COUNT(DECODE_CALLS, decode_calls);
    COUNT(DECODE_CPU, decode_cpu_ns);
#undef COUNT
    metrics_set(f->metrics, METRIC_MEMORY_SEAT, (int64_t)s->memory_bytes);
    metrics_set(f->metrics, METRIC_CELLS, s->cells);
    metrics_set(f->metrics, METRIC_CELLS_USED, s->cells_used);
    metrics_set(f->metrics, METRIC_AGENTS_RESIDENT, s->agents_resident);
    metrics_set(f->metrics, METRIC_CACHE_DISK, (int64_t)s->disk_bytes);
    metrics_set(f->metrics, METRIC_CACHE_BUDGET, (int64_t)s->disk_budget_bytes);
    metrics_set(f->metrics, METRIC_CACHE_DIRTY, (int64_t)s->dirty_bytes);
    metrics_set(f->metrics, METRIC_AGENTS_UNSAVED, (int64_t)s->unsaved_agents);
    /* A block that was put back is progress too: a long restore from a slow disk takes no step. */
    if (s->decode_calls != old->decode_calls || s->blocks_read != old->blocks_read)
        f->seat_progress_ns = f->now_ns;
    f->stats = *s;
}

static void on_ready(struct front *f, struct msg_ready *m) {
    f->seat_greeted = true;
    f->seat_baseline_bytes = m->memory_bytes;
    mem_free(f->engine);
    mem_free(f->engine_version);
    f->engine = TAKE(m->engine);
    f->engine_version = TAKE(m->engine_version);
    query_send_all(f);
}

static void take(struct front *f, struct msg *m) {
    switch ((int)m->type) { /* int: what only a front says is an error of the link */
    case MSG_TYPE_STARTED:
    case MSG_TYPE_DELTA:
    case MSG_TYPE_DONE:
    case MSG_TYPE_FAILED:
    case MSG_TYPE_PARKED: dispatch_msg(f, m); return;
    case MSG_TYPE_READY: on_ready(f, &m->ready); break;
    case MSG_TYPE_STATS: on_stats(f, &m->stats); break;
    case MSG_TYPE_REPLY: query_reply(f, &m->reply); break;
    /* Fresher than the last heartbeat: */
    case MSG_TYPE_UNLOADED: f->stats.memory_bytes = m->unloaded.after_bytes; break;
    case MSG_TYPE_CONFIGURED: f->stats.memory_bytes = m->configured.memory_bytes; break;
    default: break;
    }
    if (f->stop >= STOP_PARK)
        stop_msg(f, m);
    else
        swap_on_msg(&f->swap, m, f->now_ns);
    f->schedule = true;
}

void seat_receive(struct front *f) {
    int i = 0;
    f->more_from_seat = false;
    for (; i < RECEIVE_ROUND && f->seat; i++) {
        struct seat_process *p = f->seat;
        struct msg m = {0};
        enum err err = channel_receive(seat_process_channel(p), &m);
        if (err == ERR_NOMEM) break;
        if (err) {
            char status[32], why[96];
            bool gone = seat_process_reap(p, f->now_ns);
            snprintf(why, sizeof why, "%s",
                     gone ? seat_process_status(p, status, sizeof status) : err_text(err));
            died(f, why);
            return;
        }
        if (m.type == MSG_NONE) break;
        take(f, &m);
        msg_free(&m);
    }
    f->more_from_seat = i == RECEIVE_ROUND;
}

/* ---- a decode that hangs: streams run, and for the step timeout neither a token came nor a step was made ---- */

int64_t seat_hang_deadline_ns(const struct front *f) {
    return f->running.count && f->seat ? f->seat_progress_ns + f->swap.settings.step_timeout_ns : INT64_MAX;
}

void seat_look_for_hangs(struct front *f) {
    if (f->now_ns < seat_hang_deadline_ns(f)) return;
    seat_kill(f, "a decode showed no sign of life");
    swap_on_death(&f->swap, "a decode hung", f->now_ns);
}

/* ---- what the swap orders ---- */

/* Who waits for the model that loads now: their caches come from the disk meanwhile. */
static void read_ahead(struct front *f, struct model *m) {
    struct msg_bytes agents[PARALLEL_MAX];
    uint32_t n = 0;
    LIST_EACH(&m->waiting, struct stream, node, t) {
        char *agent = t->request->submit.agent;
        if (n == f->config->parallel) break; /* the others can't start at once */
        if (agent && *agent)
            agents[n++] = (struct msg_bytes){.data = (uint8_t *)agent, .size = (uint32_t)strlen(agent)};
    }
    struct msg hint = {.type = MSG_TYPE_READ_AHEAD, .read_ahead = {.model = m->id, .agents = {agents, n}}};
    if (n > 0) (void)seat_send(f, &hint);
}

/* Whoever sat there last is unmapped; on the way back that is the model that failed. */
static void make_room(struct front *f, const struct model *m) {
    const struct model *left = f->swap.rolling_back ? f->swap.to : f->swap.last_seated;
    if (left && left != m)
        weights_ahead_left(f->ahead, m->path, left->path,
                           m->measure.compute_bytes + m->measure.heap_bytes + f->swap.pool_bytes);
}

static void op_send(void *ctx, const struct msg *m) {
    struct front *f = ctx;
    struct model *loading = m->type == MSG_TYPE_LOAD ? registry_find(f->registry, m->load.model) : NULL;
    if (loading) make_room(f, loading);
    if (seat_send(f, m) && loading) read_ahead(f, loading);
}
static void op_kill(void *ctx, const char *why) {
    seat_kill(ctx, why);
}
static void op_start(void *ctx) {
    struct front *f = ctx;
    f->start_wanted = true; /* seat_reap() starts it, this round when nothing is left of the last one */
}
static uint32_t op_running(void *ctx) {
    return (uint32_t)((struct front *)ctx)->running.count;
}
static void op_cancel_streams(void *ctx) {
    dispatch_cancel_running(ctx);
}
static enum err op_plan(void *ctx, const struct model *m, struct admission *ret, char *why, size_t why_size) {
    return validate_plan(ctx, m, ret, why, why_size);
}
static void op_changed(void *ctx) {
    struct front *f = ctx;
    bool loading = f->swap.step == STEP_LOAD || f->swap.step == STEP_CONFIGURE; /* of the old model, below */
    if (f->swap.rolling_back && !loading)
        weights_ahead_end(f->ahead); /* nobody waits for the new one's file */
    front_update_readiness(f);
    events_swap(ctx);
}
static void op_load_failed(void *ctx, const struct swap_record *r) {
    turn_load_failed(ctx, r);
}
static void op_ended(void *ctx, const struct swap_record *r) {
    turn_swap_ended(ctx, r);
}

void seat_ops_init(struct front *f) {
    f->swap_ops = (struct swap_ops){.ctx = f,
                                    .send = op_send,
                                    .kill = op_kill,
                                    .start = op_start,
                                    .running = op_running,
                                    .cancel_streams = op_cancel_streams,
                                    .plan = op_plan,
                                    .changed = op_changed,
                                    .load_failed = op_load_failed,
                                    .ended = op_ended};
    struct swap_settings settings = {.load_timeout_ns = f->config->load_timeout_ns,
                                     .step_timeout_ns = f->config->step_timeout_ns,
                                     .parallel = f->config->parallel,
                                     .threads = f->config->threads,
                                     .token_gap = f->config->token_gap};
    swap_init(&f->swap, &f->swap_ops, f->registry, &settings);
}
