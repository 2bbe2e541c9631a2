/* The order of the disk thread's jobs, without a thread and without a disk. */
#include "seat/disk_queue.h"

#include "base/mem.h"
#include "check_run.h"

static struct disk_queue queue;
static int32_t a_tokens[1024], b_tokens[1024];

static struct disk_job *job(enum disk_job_kind kind, uint64_t owner, const char *agent, const int32_t *tokens,
                            uint32_t first, uint32_t n) {
    struct disk_job *j = disk_job_new(kind, owner);
    ck_assert_ptr_nonnull(j);
    j->agent = mem_strdup(agent);
    j->first_pos = first;
    j->n_tokens = n;
    if (tokens) j->tokens = mem_dup(tokens + first, n * sizeof *tokens);
    disk_queue_push(&queue, j);
    return j;
}

static struct disk_job *put(uint64_t owner, const char *agent, const int32_t *tokens, uint32_t first) {
    return job(DISK_PUT, owner, agent, tokens, first, 256);
}

static void next_of(bool writes_wait, struct disk_job *want) {
    struct disk_job *got = disk_queue_pop(&queue, writes_wait);
    ck_assert_ptr_eq(got, want);
    disk_job_free(got);
}

static void next_is(struct disk_job *want) {
    next_of(false, want);
}

static void set_up(void) {
    disk_queue_init(&queue);
    for (int i = 0; i < 1024; i++) a_tokens[i] = i, b_tokens[i] = 5000 + i;
}

START_TEST(reads_go_first) {
    struct disk_job *w1 = put(1, "ann", a_tokens, 0), *w2 = job(DISK_NOTE, 1, "ann", NULL, 0, 0);
    struct disk_job *r0 = job(DISK_RESIDENTS, 0, "", NULL, 0, 0),
                    *r1 = job(DISK_CHAINS, 2, "bob", NULL, 0, 0),
                    *r2 = job(DISK_PLAN, 2, "bob", b_tokens, 0, 600),
                    *r3 = job(DISK_GET, 2, "bob", b_tokens, 0, 256);
    next_is(r0), next_is(r1), next_is(r2), next_is(r3), next_is(w1), next_is(w2), next_is(NULL);
}
END_TEST

START_TEST(what_a_plan_needs_is_written_before_it) {
    struct disk_job *c = put(3, "cid", b_tokens, 0), *w0 = put(1, "ann", a_tokens, 0),
                    *d = put(3, "cid", b_tokens, 256), *w1 = put(1, "ann", a_tokens, 256),
                    *note = job(DISK_NOTE, 1, "ann", NULL, 0, 0), *w2 = put(1, "ann", a_tokens, 768);
    struct disk_job *plan = job(DISK_PLAN, 9, "", a_tokens, 0, 600); /* of anybody who begins like it */
    next_is(w0), next_is(w1), next_is(plan), next_is(c), next_is(d), next_is(note), next_is(w2);
}
END_TEST

START_TEST(whose_chains_are_asked_for_is_noted_before) {
    struct disk_job *c = put(3, "cid", b_tokens, 0), *w = put(1, "ann", a_tokens, 0),
                    *note = job(DISK_NOTE, 1, "ann", NULL, 0, 0), *w2 = put(1, "ann", a_tokens, 256),
                    *other = job(DISK_NOTE, 3, "cid", NULL, 0, 0);
    struct disk_job *chains = job(DISK_CHAINS, 9, "ann", NULL, 0, 0);
    next_is(w), next_is(note), next_is(chains), next_is(c), next_is(w2), next_is(other);
}
END_TEST

/* A follower's blocks hang below those of its leader, which nobody asks for. */
START_TEST(before_a_write_its_parent_is_written) {
    struct block_name names[] = {{.h = {{1}}}, {.h = {{2}}}, {.h = {{3}}}};
    for (int only_the_note = 0; only_the_note < 2; only_the_note++) {
        struct disk_job *c = put(3, "cid", b_tokens, 0), *w0 = put(1, "ann", a_tokens, 0),
                        *w1 = put(1, "ann", a_tokens, 256), *w2 = put(1, "ann", a_tokens, 512),
                        *f = only_the_note ? NULL : put(2, "bob", b_tokens, 512),
                        *note = job(DISK_NOTE, 2, "bob", NULL, 0, 0),
                        *chains = job(DISK_CHAINS, 9, "bob", NULL, 0, 0);
        w0->name = w1->parent = names[0];
        w1->name = w2->parent = note->leaf = names[1];
        if (f) f->parent = names[1], f->name = note->leaf = names[2];
        next_is(w0), next_is(w1);
        if (f) next_is(f);
        next_is(note), next_is(chains), next_is(c), next_is(w2), next_is(NULL);
    }
}
END_TEST

START_TEST(another_models_blocks_are_not_its_own) {
    struct disk_job *w = put(1, "ann", a_tokens, 0), *plan = job(DISK_PLAN, 9, "ann", a_tokens, 0, 600);
    plan->tag.b[0] = 1;
    next_is(plan), next_is(w);
}
END_TEST

START_TEST(nothing_passes_a_deletion_or_a_flush) {
    static const enum disk_job_kind kinds[] = {DISK_FLUSH, DISK_CLOSE, DISK_QUERY, DISK_SETTINGS};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct disk_job *w = put(1, "ann", a_tokens, 0), *stop = job(kinds[i], 0, "", NULL, 0, 0);
        stop->msg.type = kinds[i] == DISK_QUERY ? MSG_TYPE_QUERY : MSG_NONE;
        if (kinds[i] == DISK_QUERY) stop->msg.query.what = MSG_QUERY_AGENT_DELETE;
        struct disk_job *read = job(DISK_GET, 2, "bob", b_tokens, 0, 256),
                        *last = put(1, "ann", a_tokens, 256);
        next_is(w), next_is(stop), next_is(read), next_is(last);
    }
    struct disk_job *w = put(1, "ann", a_tokens, 0), *list = job(DISK_QUERY, 0, "", NULL, 0, 0);
    list->msg.type = MSG_TYPE_QUERY;
    list->msg.query.what = MSG_QUERY_AGENTS; /* who only looks holds nobody up */
    struct disk_job *read = job(DISK_GET, 2, "bob", b_tokens, 0, 256);
    next_is(read), next_is(w), next_is(list);
}
END_TEST

static struct disk_job *cache_query(enum msg_query_kind what) {
    struct disk_job *j = job(DISK_QUERY, 0, "", NULL, 0, 0);
    j->msg.type = MSG_TYPE_QUERY;
    j->msg.query.what = what;
    return j;
}

START_TEST(writes_wait_until_somebody_waits_for_them) {
    struct disk_job *w0 = put(1, "ann", a_tokens, 0), *w1 = put(1, "ann", a_tokens, 256),
                    *look = cache_query(MSG_QUERY_CACHE), *c = put(3, "cid", b_tokens, 0);
    next_of(true, look), next_of(true, NULL), next_of(true, NULL);
    struct disk_job *read = job(DISK_GET, 2, "bob", b_tokens, 0, 256); /* of what is there: it passes them */
    next_of(true, read), next_of(true, NULL);
    struct disk_job *plan = job(DISK_PLAN, 9, "ann", a_tokens, 0, 400);
    next_of(true, w0), next_of(true, plan), next_of(true, NULL);
    struct disk_job *deletion = cache_query(MSG_QUERY_AGENT_DELETE), *w2 = put(1, "ann", a_tokens, 512);
    next_of(true, w1), next_of(true, c), next_of(true, deletion), next_of(true, NULL);
    next_of(false, w2), next_of(false, NULL);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("disk_queue");
    TCase *t = tcase_create("disk_queue");
    tcase_add_checked_fixture(t, set_up, NULL);
    tcase_add_test(t, reads_go_first);
    tcase_add_test(t, what_a_plan_needs_is_written_before_it);
    tcase_add_test(t, whose_chains_are_asked_for_is_noted_before);
    tcase_add_test(t, before_a_write_its_parent_is_written);
    tcase_add_test(t, another_models_blocks_are_not_its_own);
    tcase_add_test(t, nothing_passes_a_deletion_or_a_flush);
    tcase_add_test(t, writes_wait_until_somebody_waits_for_them);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
