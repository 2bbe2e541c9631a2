/* room_fixture.h - a room of the fake engine without a loop: a test makes sequences and streams and takes the steps itself. The disk
 * thread is there, without a store, and nobody reads its answers: a test writes those it wants. */
#ifndef HOTSEAT_TESTS_ROOM_FIXTURE_H
#define HOTSEAT_TESTS_ROOM_FIXTURE_H

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "check_run.h"
#include "gguf_tiny.h"
#include "seat/room.h"

static struct room *room;
static struct seat_stats stats;
static char room_model[64];

static inline void room_set_up(uint32_t window) {
    log_open(LOG_ERROR, "test");
    snprintf(room_model, sizeof room_model, "/tmp/test_room_%ld.gguf", (long)getpid());
    struct gguf_tiny tiny = {.seed = 1, .context = 8192};
    if (window) tiny.architecture = "gemma3", tiny.layers = 6, tiny.window = window;
    ck_assert(gguf_tiny_write(room_model, &tiny));
    struct room_ports ports = {.stats = &stats};
    ck_assert_int_eq(engine_open(&ports.engine), ERR_OK);
    ck_assert_int_eq(outbox_open(&ports.out), ERR_OK);
    ck_assert_int_eq(mailbox_open(ROOM_INBOX_MAX, &ports.inbox), ERR_OK);
    ck_assert_int_eq(disk_worker_open(ports.inbox, ports.out, &stats, &ports.disk), ERR_OK);
    ck_assert_int_eq(room_open(&ports, &room), ERR_OK);
    char why[512];
    struct engine_load_params load = {
        .path = room_model, .kv = KV_Q8_0, .template_family = "", .template_source = ""};
    ck_assert_int_eq(engine_load(room->engine, &load, &room->info, why, sizeof why), ERR_OK);
    ck_assert_uint_eq(room->info.window, window);
    struct engine_context_params context = {.n_cells = 8192, .n_seqs = 4, .n_batch = BATCH_TOKENS};
    uint64_t compute;
    ck_assert_int_eq(engine_configure(room->engine, &context, &compute, why, sizeof why), ERR_OK);
    room->state = ROOM_READY;
    room->model = mem_strdup("a");
    room->pool = (struct block_pool){.n_blocks = 32, .n_free = 32, .n_seqs = 4, .context = 8192};
    room->parallel = 4;
    step_budget_reset(&room->budget, 0, BATCH_TOKENS);
    room->cache_on = true;
}

static inline void room_tear_down(void) {
    struct room_ports ports = {
        .engine = room->engine, .inbox = room->inbox, .disk = room->disk, .out = room->out};
    disk_worker_stop(ports.disk);
    room_free(room);
    for (struct mail *m; (m = mailbox_take(ports.inbox, 0));) mail_free(m);
    disk_worker_free(ports.disk);
    engine_free(ports.engine);
    mailbox_free(ports.inbox);
    outbox_free(ports.out);
    unlink(room_model);
}

/* All prompts begin alike. */
static inline int32_t token_at(uint32_t pos) {
    return 32 + (int32_t)pos % 90;
}

static inline void read_to(struct sequence *s, uint32_t n_tokens) {
    static struct engine_item items[BATCH_TOKENS];
    static int32_t tokens[BATCH_TOKENS];
    for (uint32_t at = s->n_tokens, n; at < n_tokens; at += n) {
        n = n_tokens - at < BATCH_TOKENS ? n_tokens - at : BATCH_TOKENS;
        for (uint32_t i = 0; i < n; i++) {
            tokens[i] = token_at(at + i);
            items[i] = (struct engine_item){.token = tokens[i], .pos = (int32_t)(at + i), .seq = s->slot};
        }
        ck_assert_int_eq(engine_decode(room->engine, items, n), ERR_OK);
        sequence_append(s, tokens, n);
    }
    sequence_name(room, s);
}

static inline struct sequence *sequence_of(const char *agent, uint32_t n_tokens) {
    struct sequence *s = sequence_new(room, agent, pool_blocks_for(n_tokens) + 2);
    ck_assert_ptr_nonnull(s);
    read_to(s, n_tokens);
    return s;
}

/* A stream of this prompt's length; seq NULL: it waits to be admitted. */
static inline struct stream *stream_of(const char *agent, uint32_t n_tokens, struct sequence *seq) {
    struct msg_submit req = {.agent = mem_strdup(agent), .kind = MSG_KIND_TOKENS, .max_tokens = 10};
    struct stream *t = stream_new(room, &req);
    ck_assert_ptr_nonnull(t);
    t->tokens = mem_array(n_tokens, sizeof *t->tokens);
    for (uint32_t i = 0; i < n_tokens; i++) t->tokens[i] = token_at(i);
    t->n_tokens = t->n_prompt = t->tokens_room = n_tokens;
    t->limit = n_tokens + 10;
    stream_set_state(room, t, STREAM_QUEUED);
    t->seq = seq;
    if (seq) stream_set_state(room, t, STREAM_PLAN);
    return t;
}

#endif
