#include "front/measure.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/proc_mem.h"
#include "front/seat_process.h"

#define END_WAIT_MS 1000

struct msg measure_hello(int log_level) {
    static char no_cache[] = "";
    return (struct msg){.type = MSG_TYPE_HELLO,
                        .hello = {.cache_dir = no_cache, .log_level = (uint32_t)log_level}};
}

struct measure_size measure_size_first(const struct config *config) {
    return (struct measure_size){config->parallel * BLOCK_TOKENS, config->parallel};
}

struct msg measure_question(const struct config *config, const struct model *m, uint64_t op,
                            struct measure_size size) {
    static char kv_names[][8] = {[KV_F16] = "f16", [KV_Q8_0] = "q8_0", [KV_Q4_0] = "q4_0"};
    return (struct msg){.type = MSG_TYPE_MEASURE,
                        .measure = {.op = op,
                                    .path = m->path,
                                    .kv = kv_names[m->kv],
                                    .repack = m->repack,
                                    .n_cells = size.n_cells,
                                    .n_seqs = size.n_seqs,
                                    .threads = config->threads}};
}

/* What a loaded model keeps on the heap shows in the first answer only: the next load finds there what that one has freed. */
struct admission_measure measure_answer(const struct msg_measured *got, struct measure_size size,
                                        const struct admission_measure *first) {
    return (struct admission_measure){.known = true,
                                      .weights_bytes = got->weights_bytes,
                                      .compute_bytes = got->compute_bytes,
                                      .heap_bytes = first->known ? first->heap_bytes : got->heap_bytes,
                                      .base_bytes_per_token = got->base_bytes_per_token,
                                      .window_bytes_per_seq = got->window_bytes_per_seq,
                                      .device_bytes = got->device_bytes,
                                      .context_train = got->context_train,
                                      .n_cells = size.n_cells,
                                      .n_seqs = size.n_seqs};
}

bool measure_blames(const struct msg_op_failed *failed) {
    return failed->err != ERR_NOMEM && failed->err != ERR_IO && failed->err != ERR_QUEUE_FULL;
}

/* ---- does it fit ---- */

/* What can be had without pushing others out, our control group's room included. Where the system does not say, --memory is
 * the only limit. */
static uint64_t available_now_bytes(void) {
    uint64_t machine = proc_mem_available_bytes(), group = proc_mem_cgroup_room_bytes();
    return machine && machine < group ? machine : group;
}

struct admission_limits measure_limits(const struct config *config, const struct model *m,
                                       uint64_t back_bytes) {
    uint64_t available = available_now_bytes();
    return (struct admission_limits){
        .memory_bytes = config->memory_bytes,
        .group_bytes = proc_mem_cgroup_limit_bytes(),
        .available_bytes = available > UINT64_MAX - back_bytes ? UINT64_MAX : available + back_bytes,
        .pool_bytes = config->pool_bytes,
        .model_pool_bytes = m->pool_bytes,
        .context = m->context,
        .parallel = config->parallel};
}

bool measure_again(const struct admission_measure *m, const struct admission_limits *limits,
                   struct measure_size *ret) {
    struct admission plan;
    struct admission_limits most = *limits;
    most.available_bytes = UINT64_MAX; /* the largest pool it may ever get: fewer cells take less */
    if (admission_plan(m, &most, &plan)) return false;
    if (plan.n_cells <= m->n_cells && plan.n_seqs <= m->n_seqs) return false;
    *ret = (struct measure_size){plan.n_cells, plan.n_seqs};
    return true;
}

static const char *human(uint64_t bytes, char *room, size_t room_size) {
    snprintf(room, room_size, "%.1f MB", (double)bytes / 1048576.0);
    return room;
}

/* What it will never get here is "too large"; what it only does not get now may be asked for again. */
enum err measure_admit(const struct model *m, const struct admission_measure *measure,
                       const struct admission_limits *limits, struct admission *ret, char *why,
                       size_t why_size) {
    char a[32], b[32], c[32], d[32], v[32];
    enum err err = admission_plan(measure, limits, ret);
    if (!err) return ERR_OK;
    uint64_t ever = limits->memory_bytes < limits->group_bytes ? limits->memory_bytes : limits->group_bytes;
    if (ret->needed_bytes <= ever && ret->needed_bytes <= ret->device_bytes) err = ERR_NO_SEAT;
    snprintf(why, why_size,
             "%s needs %s (weights %s, compute %s, vocabulary %s, the rest KV cells), %s are available%s",
             m->id, human(ret->needed_bytes, a, sizeof a), human(measure->weights_bytes, b, sizeof b),
             human(measure->compute_bytes, c, sizeof c), human(measure->heap_bytes, v, sizeof v),
             human(ret->available_bytes, d, sizeof d),
             ret->available_bytes == ret->device_bytes ? ": the GPU may hold no more" : "");
    return err;
}

/* ---- asking and waiting ---- */

struct asking {
    struct seat_process *process;
    int64_t deadline_ns;
    bool greeted;
    char *why;
    size_t why_size;
};

static enum err ask_fail(const struct asking *a, enum err err, const char *text) {
    snprintf(a->why, a->why_size, "%s", text);
    return err;
}

/* How it ended is known a moment after its socket closed. */
static enum err ask_ended(const struct asking *a) {
    for (int i = 0; i < END_WAIT_MS && !seat_process_reap(a->process, clock_now_ns()); i++)
        (void)poll(NULL, 0, 1);
    if (seat_process_was_killed(a->process)) /* for memory, or by a person: that says nothing of the file */
        return ask_fail(a, ERR_NO_SEAT, "the measuring seat was killed");
    return a->greeted ? ask_fail(a, ERR_MODEL_INVALID, "the engine ended while it looked at the file")
                      : ask_fail(a, ERR_NO_SEAT, "the measuring seat did not start");
}

static enum err ask_wait(const struct asking *a) {
    int64_t left_ns = a->deadline_ns - clock_now_ns();
    if (left_ns <= 0) return ask_fail(a, ERR_TIMEOUT, "the engine hung while it looked at the file");
    struct pollfd p = {.fd = channel_fd(seat_process_channel(a->process)), .events = POLLIN};
    if (poll(&p, 1, (int)(left_ns / NS_PER_MS) + 1) < 0 && errno != EINTR) return ERR_IO;
    return ERR_OK;
}

/* One question and its answer. */
static enum err ask(struct asking *a, const struct msg *question, struct msg_measured *ret) {
    struct channel *c = seat_process_channel(a->process);
    enum err err = channel_send(c, question);
    if (!err) err = channel_flush(c);
    if (err) return ask_ended(a);
    for (;;) {
        struct msg m = {0};
        err = channel_receive(c, &m);
        if (err) return err == ERR_NOMEM ? err : ask_ended(a);
        if (m.type == MSG_TYPE_READY) a->greeted = true;
        if (m.type == MSG_TYPE_MEASURED) {
            *ret = m.measured;
            return ERR_OK;
        }
        if (m.type == MSG_TYPE_OP_FAILED) {
            const char *text = m.op_failed.text;
            err = ask_fail(a, measure_blames(&m.op_failed) ? ERR_MODEL_INVALID : ERR_NO_SEAT,
                           text && *text ? text : err_text(ERR_MODEL_INVALID));
        } else if (m.type == MSG_NONE) {
            err = ask_wait(a);
        }
        msg_free(&m);
        if (err) return err;
    }
}

enum err measure_now(const struct config *config, const char *seat_program, const struct model *m,
                     int64_t limit_ns, struct admission_measure *ret, char *why, size_t why_size) {
    struct asking a = {.deadline_ns = clock_now_ns() + limit_ns, .why = why, .why_size = why_size};
    snprintf(why, why_size, "no measuring seat can be started");
    enum err err = seat_process_start(seat_program, true, &a.process);
    if (err) return err;
    struct msg hello = measure_hello(config->log_level);
    struct measure_size size = measure_size_first(config);
    struct admission_measure first = {0};
    err = channel_send(seat_process_channel(a.process), &hello);
    for (uint64_t op = 1; !err; op++) {
        struct msg_measured got = {0};
        struct msg question = measure_question(config, m, op, size);
        err = ask(&a, &question, &got);
        if (err) break;
        *ret = measure_answer(&got, size, &first);
        struct admission_limits limits = measure_limits(config, m, 0);
        if (first.known || !measure_again(ret, &limits, &size)) break;
        first = *ret;
    }
    seat_process_free(a.process);
    return err;
}
