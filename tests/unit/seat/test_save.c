/* What of a sequence is asked for, and what the disk thread's answers make of it: a room without a loop. */
#include "room_fixture.h"

#include "base/fault.h"

static void set_up(void) {
    room_set_up(0);
}

/* Four blocks and a tail. */
static struct sequence *sequence(void) {
    return sequence_of("ann", 1100);
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

/* The answer to a job of s, as the disk thread would give it. */
static void answer(struct sequence *s, struct disk_job job) {
    job.owner = s->serial;
    if (!job.agent) job.agent = s->agent;
    s->n_posted++;
    save_written(room, &job);
}

static struct sequence *saved_sequence(void) {
    struct sequence *s = sequence();
    for (uint32_t k = 0; k < s->n_blocks; k++) s->blocks[k].base = BLOCK_SAVED;
    s->tail_saved = s->noted = s->n_tokens;
    sequence_rest(room, s);
    return s;
}

START_TEST(a_name_whose_chain_is_lost_is_written_anew) {
    struct sequence *s = saved_sequence();
    answer(s, (struct disk_job){.kind = DISK_NOTE, .n_chain = 1100, .err = ERR_NOT_FOUND});
    ck_assert_int_eq(s->blocks[0].base, BLOCK_DIRTY); /* else the name would be refused again and again */
    ck_assert_uint_eq(s->tail_saved, 0);
    s = saved_sequence();
    s->blocks[2].base = BLOCK_LATER; /* AFTER: no wonder */
    answer(s, (struct disk_job){.kind = DISK_NOTE, .n_chain = 1100, .err = ERR_NOT_FOUND});
    ck_assert_int_eq(s->blocks[0].base, BLOCK_SAVED);
    ck_assert_uint_eq(s->noted, 0);
    s = saved_sequence();
    s->tail_saved = 0;
    answer(s, (struct disk_job){.kind = DISK_NOTE, .n_chain = 1100, .err = ERR_NOT_FOUND});
    ck_assert_int_eq(s->blocks[0].base, BLOCK_SAVED);
    answer(s, (struct disk_job){.kind = DISK_NOTE, .n_chain = 700, .err = ERR_NOT_FOUND}); /* an older name */
    ck_assert_int_eq(s->blocks[0].base, BLOCK_SAVED);
}
END_TEST

START_TEST(a_parent_that_is_asked_for_again_is_not_lost) {
    struct sequence *s = sequence();
    s->blocks[0].base = s->blocks[1].base = BLOCK_SAVED;
    s->blocks[2].base =
        BLOCK_POSTED; /* refused, and posted anew before the answer for the next one was read */
    s->blocks[3].base = BLOCK_POSTED;
    sequence_rest(room, s);
    answer(s, (struct disk_job){.kind = DISK_PUT,
                                .first_pos = 768,
                                .n_tokens = 256,
                                .tokens = s->tokens + 768,
                                .has_base = true,
                                .err = ERR_NOT_FOUND});
    ck_assert_int_eq(s->blocks[0].base, BLOCK_SAVED);
    ck_assert_int_eq(s->blocks[2].base, BLOCK_POSTED);
    ck_assert_int_eq(s->blocks[3].base, BLOCK_FAILED);
    ck_assert(s->refused);
    answer(s, (struct disk_job){.kind = DISK_PUT,
                                .first_pos = 512,
                                .n_tokens = 256,
                                .tokens = s->tokens + 512,
                                .has_base = true});
    ck_assert_int_eq(s->blocks[2].base, BLOCK_SAVED);
    ck_assert(!s->refused);
}
END_TEST

START_TEST(what_was_deleted_with_its_first_agent_is_written_anew) {
    struct sequence *s = saved_sequence();
    s->blocks[1].base = BLOCK_POSTED;
    struct disk_job put = {
        .kind = DISK_PUT, .first_pos = 256, .n_tokens = 256, .has_base = true, .err = ERR_CANCELED};
    put.tokens = s->tokens + 256;
    answer(s, put); /* hers: she was told */
    ck_assert_int_eq(s->blocks[1].base, BLOCK_POSTED);
    put.agent = (char *)(uintptr_t) "bob"; /* his, until she took it over */
    answer(s, put);
    ck_assert_int_eq(s->blocks[1].base, BLOCK_DIRTY);
}
END_TEST

START_TEST(a_tail_without_its_window_is_not_done) {
    struct sequence *s = saved_sequence();
    ck_assert(save_is_done(room, s));
    answer(s, (struct disk_job){.kind = DISK_PUT,
                                .first_pos = 1024,
                                .n_tokens = 76,
                                .tokens = s->tokens + 1024,
                                .has_base = true,
                                .has_window = true,
                                .err = ERR_DISK_FULL}); /* the base part is there, and the name */
    answer(s, (struct disk_job){.kind = DISK_NOTE, .n_chain = 1100});
    ck_assert(!save_is_done(room, s));
}
END_TEST

START_TEST(a_restore_point_posts_parents_first) {
    static uint32_t seen[16];
    uint32_t n = 0;
    struct sequence *s = sequence_of("ann", 1024); /* a window of 128: in the last block only */
    save_step_begin(room);
    save_restore_point(room, s);
    uint32_t posted = room->n_jobs;
    while (n < posted) {
        struct mail *mail = mailbox_take(room->inbox, NS_PER_S);
        ck_assert_ptr_nonnull(mail);
        struct disk_job *job = CONTAINER_OF(mail, struct disk_job, mail);
        ck_assert_int_eq(job->kind, DISK_PUT);
        seen[n++] = job->first_pos;
        mail_free(mail);
    }
    ck_assert_uint_eq(n, 4); /* the last one with its window part */
    for (uint32_t i = 0; i < 4; i++) ck_assert_uint_eq(seen[i], i * BLOCK_TOKENS);
    sequence_drop(room, s);
}
END_TEST

START_TEST(without_room_for_the_parents_there_is_no_restore_point) {
    struct sequence *s = sequence_of("ann", 1024);
    atomic_store(&stats.dirty_bytes, DIRTY_BYTES_MAX);
    save_step_begin(room);
    save_restore_point(room, s);
    ck_assert_uint_eq(room->n_jobs, 0);
    ck_assert(s->filled_unsaved); /* at the next step */
    atomic_store(&stats.dirty_bytes, 0);
    sequence_drop(room, s);
}
END_TEST

START_TEST(what_leaves_unsaved_is_said) {
    struct sequence *s = saved_sequence();
    ck_assert(room_leave(room, s));
    ck_assert_uint_eq(room->n_jobs, 0);
    s = saved_sequence();
    s->noted = s->tail_saved = 0;
    ck_assert_int_eq(fault_arm("block_take_fail", -1, 0), ERR_OK);
    ck_assert(!room_leave(room, s));
    s->leave_since_ns -= (LEAVE_SECONDS_MAX + 1) * NS_PER_S;
    ck_assert(room_leave(room, s));
    ck_assert_uint_eq(room->n_jobs, 1);
    struct mail *mail = mailbox_take(room->inbox, NS_PER_S);
    struct disk_job *job = CONTAINER_OF(mail, struct disk_job, mail);
    ck_assert_int_eq(job->kind, DISK_UNSAVED);
    ck_assert_str_eq(job->agent, "ann");
    mail_free(mail);
}
END_TEST

static void set_up_window(void) {
    room_set_up(128);
}

int main(void) {
    Suite *suite = suite_create("save");
    TCase *t = tcase_create("save");
    tcase_set_timeout(t, CHECK_RUN_TIMEOUT_S);
    tcase_add_checked_fixture(t, set_up, room_tear_down);
    tcase_add_test(t, behind_a_refused_block_nothing_is_asked_for);
    tcase_add_test(t, a_probe_is_one_thing);
    tcase_add_test(t, a_parent_that_was_refused_is_not_lost);
    tcase_add_test(t, a_parent_that_is_asked_for_again_is_not_lost);
    tcase_add_test(t, who_is_saved_makes_place_before_who_is_not);
    tcase_add_test(t, a_name_whose_chain_is_lost_is_written_anew);
    tcase_add_test(t, what_was_deleted_with_its_first_agent_is_written_anew);
    tcase_add_test(t, a_tail_without_its_window_is_not_done);
    tcase_add_test(t, what_leaves_unsaved_is_said);
    suite_add_tcase(suite, t);
    t = tcase_create("window");
    tcase_add_checked_fixture(t, set_up_window, room_tear_down);
    tcase_add_test(t, a_restore_point_posts_parents_first);
    tcase_add_test(t, without_room_for_the_parents_there_is_no_restore_point);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
