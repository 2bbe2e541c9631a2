/* What of a sequence is asked for, and what the disk thread's answers make of it: a room without a loop. */
#include "seat/save.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "check_run.h"
#include "gguf_tiny.h"
#include "seat/room.h"

static struct room *room;
static struct seat_stats stats;
static char path[64];

static void set_up(void) {
    log_open(LOG_ERROR, "test");
    snprintf(path, sizeof path, "/tmp/test_save_%ld.gguf", (long)getpid());
    struct gguf_tiny tiny = {.seed = 1, .context = 8192};
    ck_assert(gguf_tiny_write(path, &tiny));
    struct room_ports ports = {.stats = &stats};
    ck_assert_int_eq(engine_open(&ports.engine), ERR_OK);
    ck_assert_int_eq(outbox_open(&ports.out), ERR_OK);
    ck_assert_int_eq(mailbox_open(ROOM_INBOX_MAX, &ports.inbox), ERR_OK);
    ck_assert_int_eq(disk_worker_open(ports.inbox, ports.out, &stats, &ports.disk), ERR_OK);
    ck_assert_int_eq(room_open(&ports, &room), ERR_OK);
    char why[512];
    struct engine_load_params load = {
        .path = path, .kv = KV_Q8_0, .template_family = "", .template_source = ""};
    ck_assert_int_eq(engine_load(room->engine, &load, &room->info, why, sizeof why), ERR_OK);
    struct engine_context_params context = {.n_cells = 4096, .n_seqs = 4, .n_batch = BATCH_TOKENS};
    uint64_t compute;
    ck_assert_int_eq(engine_configure(room->engine, &context, &compute, why, sizeof why), ERR_OK);
    room->state = ROOM_READY;
    room->model = mem_strdup("a");
    room->pool = (struct block_pool){.n_blocks = 16, .n_free = 16, .n_seqs = 4, .context = 4096};
    room->cache_on = true;
}

static void tear_down(void) {
    disk_worker_stop(room->disk);
    for (struct mail *m; (m = mailbox_take(room->inbox, 0));) mail_free(m);
    disk_worker_free(room->disk);
    mailbox_free(room->inbox);
    outbox_free(room->out);
    struct engine *engine = room->engine;
    room_free(room);
    engine_free(engine);
    unlink(path);
}

/* A sequence of 1,100 tokens: four blocks and a tail. */
static struct sequence *sequence(void) {
    struct sequence *s = sequence_new(room, "ann", 5);
    ck_assert_ptr_nonnull(s);
    static struct engine_item items[BATCH_TOKENS];
    static int32_t tokens[BATCH_TOKENS];
    for (uint32_t at = 0, n; at < 1100; at += n) {
        n = 1100 - at < BATCH_TOKENS ? 1100 - at : BATCH_TOKENS;
        for (uint32_t i = 0; i < n; i++) {
            tokens[i] = 32 + (int32_t)(at + i) % 90;
            items[i] = (struct engine_item){.token = tokens[i], .pos = (int32_t)(at + i), .seq = s->slot};
        }
        ck_assert_int_eq(engine_decode(room->engine, items, n), ERR_OK);
        sequence_append(s, tokens, n);
    }
    sequence_name(room, s);
    return s;
}

START_TEST(behind_a_refused_block_nothing_is_asked_for) {
    struct sequence *s = sequence();
    s->blocks[0].base = s->blocks[1].base = BLOCK_SAVED;
    s->blocks[2].base = BLOCK_LATER; /* the day's writes are used up */
    save_step_begin(room);
    ck_assert(save_sequence(room, s, SAVE_FILLED));
    ck_assert(save_sequence(room, s, SAVE_TURN));
    save_prompt_end(room, s);
    ck_assert_uint_eq(room->n_jobs, 0);
    ck_assert(save_sequence(room, s, SAVE_LEAVING)); /* now or never */
    ck_assert_uint_eq(room->n_jobs, 4);
    sequence_drop(room, s);
}
END_TEST

START_TEST(a_probe_is_one_thing) {
    struct sequence *s = sequence();
    for (uint32_t k = 1; k < s->n_blocks; k++) s->blocks[k].base = BLOCK_FAILED;
    s->blocks[0].base = BLOCK_SAVED;
    save_step_begin(room);
    save_probe(room, s);
    ck_assert_uint_eq(room->n_jobs, 1);
    ck_assert_int_eq(s->blocks[1].base, BLOCK_POSTED);
    ck_assert_int_eq(s->blocks[2].base, BLOCK_FAILED);
    for (uint32_t k = 1; k < s->n_blocks; k++) s->blocks[k].base = BLOCK_SAVED;
    save_probe(room, s); /* the tail */
    ck_assert_uint_eq(room->n_jobs, 2);
    ck_assert_uint_eq(s->tail_saved, s->n_tokens);
    ck_assert_uint_eq(s->noted, 0);
    save_probe(room, s); /* the name */
    ck_assert_uint_eq(room->n_jobs, 3);
    ck_assert_uint_eq(s->noted, s->n_tokens);
    save_probe(room, s);
    ck_assert_uint_eq(room->n_jobs, 3);
    s->blocks[2].base = BLOCK_LATER; /* the day's writes are used up: nothing is asked for */
    s->noted = s->tail_saved = 0;
    save_probe(room, s);
    ck_assert_uint_eq(room->n_jobs, 3);
    sequence_drop(room, s);
}
END_TEST

START_TEST(a_parent_that_was_refused_is_not_lost) {
    struct sequence *s = sequence();
    s->blocks[0].base = s->blocks[1].base = BLOCK_SAVED;
    s->blocks[2].base = BLOCK_LATER;
    s->blocks[3].base = BLOCK_POSTED; /* it was on its way already */
    s->running = true;
    sequence_rest(room, s);
    struct disk_job put = {.kind = DISK_PUT,
                           .owner = s->serial,
                           .first_pos = 768,
                           .n_tokens = 256,
                           .tokens = s->tokens + 768,
                           .has_base = true,
                           .err = ERR_NOT_FOUND};
    s->n_posted = 1;
    save_written(room, &put);
    ck_assert_int_eq(s->blocks[0].base,
                     BLOCK_SAVED); /* else all of the chain would be taken out of the cells again */
    ck_assert_int_eq(s->blocks[1].base, BLOCK_SAVED);
    ck_assert_int_eq(s->blocks[3].base, BLOCK_LATER);
    s->blocks[2].base = BLOCK_SAVED;
    s->blocks[3].base = BLOCK_POSTED;
    s->n_posted = 1;
    save_written(room, &put); /* with its parent stored it says that the store has lost it */
    ck_assert_int_eq(s->blocks[0].base, BLOCK_DIRTY);
}
END_TEST

START_TEST(who_is_saved_makes_place_before_who_is_not) {
    struct sequence *unsaved = sequence(), *saved = sequence();
    for (uint32_t i = 0; i < saved->n_blocks; i++) saved->blocks[i].base = BLOCK_SAVED;
    saved->tail_saved = saved->noted = saved->n_tokens;
    sequence_rest(room, unsaved); /* idle for longer */
    sequence_rest(room, saved);
    ck_assert(room_make_place(room, room->pool.n_free + 1, false, NULL));
    ck_assert_uint_eq(room->idle.count, 1);
    ck_assert_ptr_eq(list_first(&room->idle), &unsaved->node);
    ck_assert_uint_eq(room->n_jobs, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("save");
    TCase *t = tcase_create("save");
    tcase_set_timeout(t, CHECK_RUN_TIMEOUT_S);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, behind_a_refused_block_nothing_is_asked_for);
    tcase_add_test(t, a_probe_is_one_thing);
    tcase_add_test(t, a_parent_that_was_refused_is_not_lost);
    tcase_add_test(t, who_is_saved_makes_place_before_who_is_not);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
