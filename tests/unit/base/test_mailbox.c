#include "base/mailbox.h"

#include <poll.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/mem.h"
#include "check_run.h"

static bool readable(const struct mailbox *mb) {
    struct pollfd p = {.fd = mailbox_fd(mb), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

START_TEST(first_in_first_out_and_never_more_than_fits) {
    struct mailbox *mb;
    int mail[5];
    ck_assert_int_eq(mailbox_open(3, &mb), ERR_OK);
    for (int round = 0; round < 7; round++) {
        for (int i = 0; i < 3; i++) ck_assert_int_eq(mailbox_post(mb, &mail[i]), ERR_OK);
        ck_assert_int_eq(mailbox_post(mb, &mail[3]), ERR_QUEUE_FULL);
        ck_assert_uint_eq(mailbox_count(mb), 3);
        ck_assert_ptr_eq(mailbox_take(mb, 0), &mail[0]);
        ck_assert_int_eq(mailbox_post(mb, &mail[4]), ERR_OK);
        ck_assert_ptr_eq(mailbox_take(mb, -1), &mail[1]);
        ck_assert_ptr_eq(mailbox_take(mb, 1), &mail[2]);
        ck_assert_ptr_eq(mailbox_take(mb, 0), &mail[4]);
        ck_assert_ptr_null(mailbox_take(mb, 0));
    }
    mailbox_free(mb);
    mailbox_free(NULL);
}
END_TEST

START_TEST(the_fd_is_readable_exactly_while_mail_waits) {
    struct mailbox *mb;
    int mail;
    ck_assert_int_eq(mailbox_open(4, &mb), ERR_OK);
    ck_assert(!readable(mb));
    ck_assert_int_eq(mailbox_post(mb, &mail), ERR_OK);
    ck_assert_int_eq(mailbox_post(mb, &mail), ERR_OK);
    ck_assert(readable(mb));
    ck_assert_ptr_nonnull(mailbox_take(mb, 0));
    ck_assert(readable(mb));
    ck_assert_ptr_nonnull(mailbox_take(mb, 0));
    ck_assert(!readable(mb));
    mailbox_free(mb);
}
END_TEST

START_TEST(a_wait_ends_when_its_time_is_over_and_not_before) {
    struct mailbox *mb;
    ck_assert_int_eq(mailbox_open(1, &mb), ERR_OK);
    int64_t start_ns = clock_now_ns();
    ck_assert_ptr_null(mailbox_take(mb, 20 * NS_PER_MS));
    ck_assert_int_ge(clock_now_ns() - start_ns, 20 * NS_PER_MS);
    mailbox_free(mb);
}
END_TEST

START_TEST(no_memory) {
    struct mailbox *mb;
    mem_fail_at(1);
    ck_assert_int_eq(mailbox_open(10, &mb), ERR_NOMEM);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

#define POSTERS 4
#define MAIL_EACH 20000

struct poster {
    struct mailbox *mb;
    pthread_t thread;
    unsigned char mail[MAIL_EACH]; /* its addresses are the mail */
};

static void *post_all(void *arg) {
    struct poster *p = arg;
    for (size_t i = 0; i < MAIL_EACH; i++) {
        while (mailbox_post(p->mb, &p->mail[i]) == ERR_QUEUE_FULL) sched_yield();
    }
    return NULL;
}

/* Every mail comes once, each poster's in its order, with the taker blocking and a box that is often full. */
START_TEST(many_post_and_one_takes) {
    static struct poster posters[POSTERS];
    size_t next[POSTERS] = {0};
    struct mailbox *mb;
    ck_assert_int_eq(mailbox_open(16, &mb), ERR_OK);
    for (int i = 0; i < POSTERS; i++) {
        posters[i].mb = mb;
        ck_assert_int_eq(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]), 0);
    }
    for (int n = 0; n < POSTERS * MAIL_EACH; n++) {
        unsigned char *mail = mailbox_take(mb, -1);
        int from = 0;
        while (mail < posters[from].mail || mail >= posters[from].mail + MAIL_EACH) from++;
        ck_assert_int_lt(from, POSTERS);
        ck_assert_ptr_eq(mail, &posters[from].mail[next[from]++]);
    }
    for (int i = 0; i < POSTERS; i++) pthread_join(posters[i].thread, NULL);
    ck_assert_ptr_null(mailbox_take(mb, 0));
    ck_assert(!readable(mb));
    mailbox_free(mb);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {
        first_in_first_out_and_never_more_than_fits, the_fd_is_readable_exactly_while_mail_waits,
        a_wait_ends_when_its_time_is_over_and_not_before, no_memory, many_post_and_one_takes};
    return CHECK_RUN("mailbox", tests);
}
