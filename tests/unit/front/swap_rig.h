/* swap_rig.h - the swap's machine, driven by a script: what it sends, and the seat's part. */
#ifndef HOTSEAT_TESTS_SWAP_RIG_H
#define HOTSEAT_TESTS_SWAP_RIG_H

#include "front/swap.h"

#include <stdio.h>
#include <string.h>

#include "../check_run.h"
#include "../gguf_tiny.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "tmp_folder.h"

#define MB (UINT64_C(1) << 20)

static struct rig {
    char folder[64];
    struct config *config;
    struct scan *scan;
    struct registry *registry;
    struct swap swap;
    struct model *a, *b;
    int64_t now;
    uint32_t running;
    int starts, kills, cancels, load_failed, ended, sent;
    enum msg_type last;
    uint64_t last_op;
    char last_model[64];
    uint32_t token_gap; /* of the last CONFIGURE */
    bool no_room;
    uint32_t percent;
    int backwards; /* times the percentage fell */
    struct swap_record done;
} rig;

static inline void op_send(void *ctx, const struct msg *m) {
    (void)ctx;
    rig.sent++;
    rig.last = m->type;
    rig.last_op = rig.swap.op;
    if (m->type == MSG_TYPE_LOAD) snprintf(rig.last_model, sizeof rig.last_model, "%s", m->load.model);
    if (m->type == MSG_TYPE_CONFIGURE) rig.token_gap = m->configure.token_gap;
}
static inline void op_kill(void *ctx, const char *why) {
    (void)ctx;
    ck_assert_uint_gt(strlen(why), 0);
    rig.kills++;
}
static inline void op_start(void *ctx) {
    (void)ctx;
    rig.starts++;
}
static inline uint32_t op_running(void *ctx) {
    (void)ctx;
    return rig.running;
}
static inline void op_cancel(void *ctx) {
    (void)ctx;
    rig.cancels++;
}
static inline enum err op_plan(void *ctx, const struct model *m, struct admission *ret, char *why,
                               size_t why_size) {
    (void)ctx;
    (void)m;
    *ret = (struct admission){.pool_bytes = 64 * MB};
    snprintf(why, why_size, "no room");
    return rig.no_room ? ERR_NO_SEAT : ERR_OK;
}
static inline void op_changed(void *ctx) {
    (void)ctx;
    uint32_t percent = swap_percent(&rig.swap);
    if (percent < rig.percent) rig.backwards++;
    rig.percent = percent;
}
static inline void op_load_failed(void *ctx, const struct swap_record *r) {
    (void)ctx;
    (void)r;
    rig.load_failed++;
}
static inline void op_ended(void *ctx, const struct swap_record *r) {
    (void)ctx;
    rig.ended++;
    rig.done = *r;
}
static inline void model_changed(void *ctx, struct model *m, enum model_state from) {
    (void)ctx;
    (void)m;
    (void)from;
}
static inline bool in_use(const void *ctx, const struct model *m) {
    (void)ctx;
    (void)m;
    return true;
}

static const struct swap_ops OPS = {NULL,      op_send, op_kill,    op_start,       op_running,
                                    op_cancel, op_plan, op_changed, op_load_failed, op_ended};

static inline void open_rig(void) {
    char path[128], a[160], why[256];
    bool help;
    rig = (struct rig){.folder = "/tmp/hotseat-swap-XXXXXX", .now = NS_PER_S};
    log_open(LOG_ERROR, "test");
    log_set_level(LOG_ERROR);
    ck_assert_ptr_nonnull(mkdtemp(rig.folder));
    for (char c = 'a'; c <= 'b'; c++) {
        snprintf(path, sizeof path, "%s/%c.gguf", rig.folder, c);
        ck_assert(gguf_tiny_write(path, &(struct gguf_tiny){.seed = (uint8_t)c}));
    }
    snprintf(a, sizeof a, "--models=%s", rig.folder);
    char *argv[] = {a};
    ck_assert_msg(config_load(1, argv, &rig.config, &help, why, sizeof why) == ERR_OK, "%s", why);
    ck_assert_int_eq(scan_open(rig.config, &rig.scan), ERR_OK);
    ck_assert_int_eq(registry_open(rig.config, model_changed, NULL, &rig.registry), ERR_OK);
    struct scan_result *found;
    ck_assert_int_eq(scan_run(rig.scan, &found), ERR_OK);
    ck_assert_int_eq(registry_apply(rig.registry, found, in_use, NULL), ERR_OK);
    scan_result_free(found);
    rig.a = registry_find(rig.registry, "a");
    rig.b = registry_find(rig.registry, "b");
    rig.a->measure = rig.b->measure =
        (struct admission_measure){.known = true, .weights_bytes = 100 * MB, .base_bytes_per_token = 1024};
    struct swap_settings settings = {
        .load_timeout_ns = 10 * NS_PER_S, .step_timeout_ns = 5 * NS_PER_S, .parallel = 4, .token_gap = 7};
    swap_init(&rig.swap, &OPS, rig.registry, &settings);
}

static inline void close_rig(void) {
    swap_clear(&rig.swap);
    registry_free(rig.registry);
    scan_free(rig.scan);
    config_free(rig.config);
    tmp_folder_remove(rig.folder);
    ck_assert_int_eq(mem_live_count(), 0);
}

/* ---- the seat's part ---- */

static inline void say(struct msg m) {
    rig.now += NS_PER_MS;
    swap_on_msg(&rig.swap, &m, rig.now);
}
static inline void ready(void) {
    say((struct msg){.type = MSG_TYPE_READY});
}
static inline void evicted(void) {
    say((struct msg){.type = MSG_TYPE_EVICTED, .evicted = {.op = rig.last_op, .blocks = 3, .bytes = 300}});
}
static inline void unloaded(uint64_t after, uint32_t mappings) {
    say((struct msg){.type = MSG_TYPE_UNLOADED,
                     .unloaded = {.op = rig.last_op,
                                  .before_bytes = 500 * MB,
                                  .after_bytes = after,
                                  .baseline_bytes = 10 * MB,
                                  .mappings = mappings}});
}
static inline void loaded(void) {
    say((struct msg){.type = MSG_TYPE_LOADED, .loaded = {.op = rig.last_op, .weights_bytes = 100 * MB}});
}
static inline void configured(void) {
    say((struct msg){
        .type = MSG_TYPE_CONFIGURED,
        .configured = {.op = rig.last_op, .pool_bytes = 64 * MB, .n_cells = 1024, .memory_bytes = 70 * MB}});
}
static inline void failed(enum err err, const char *text) {
    char copy[64];
    snprintf(copy, sizeof copy, "%s", text);
    say((struct msg){.type = MSG_TYPE_OP_FAILED, .op_failed = {.op = rig.last_op, .err = err, .text = copy}});
}
static inline void died(void) {
    rig.now += NS_PER_MS;
    swap_on_death(&rig.swap, "signal 9", rig.now);
}
static inline void later(int64_t ns) {
    rig.now += ns;
    swap_tick(&rig.swap, rig.now);
}
static inline uint64_t begin(struct model *to) {
    struct swap_order order = {
        .to = to, .cause = SWAP_CAUSE_ADMIN, .drain_timeout_ns = 2 * NS_PER_S, .hold_ns = 3 * NS_PER_S};
    return swap_begin(&rig.swap, &order, rig.now);
}

static inline void state(enum swap_state expect) {
    ck_assert_msg(rig.swap.state == expect, "%s, not %s", swap_state_name(rig.swap.state),
                  swap_state_name(expect));
}
static inline void asked(enum msg_type expect) {
    ck_assert_msg(rig.last == expect, "%s, not %s", msg_type_name(rig.last), msg_type_name(expect));
    rig.last = MSG_NONE;
}

static inline void seat_a(void) {
    open_rig();
    swap_start(&rig.swap, rig.now);
    ck_assert_int_eq(rig.starts, 1);
    struct swap_order order = {.to = rig.a, .cause = SWAP_CAUSE_START};
    ck_assert_uint_eq(swap_begin(&rig.swap, &order, rig.now), 1);
    ck_assert_int_eq(rig.starts, 1); /* that process will do */
    state(SWAP_STARTING);
    ready();
    state(SWAP_LOADING);
    loaded();
    configured();
    state(SWAP_SERVING);
    ck_assert_ptr_eq(rig.swap.seated, rig.a);
    ck_assert_int_eq(rig.a->state, MODEL_SEATED);
    rig.ended = rig.sent = 0;
}

static inline void to_unloading(void) {
    begin(rig.b);
    asked(MSG_TYPE_EVICT);
    evicted();
    asked(MSG_TYPE_UNLOAD);
    state(SWAP_UNLOADING);
}

#endif
