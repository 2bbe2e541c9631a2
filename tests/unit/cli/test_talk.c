#include "cli/talk.h"

#include <string.h>

#include "base/mem.h"
#include "check_run.h"

static char *written(const struct talk *t) {
    struct buf b = BUF(1 << 20);
    struct json_out w = json_out_into(&b);
    talk_write(t, &w);
    char *text = buf_take_string(&b);
    ck_assert_ptr_nonnull(text);
    return text;
}

static void is(const struct talk *t, const char *expected) {
    AUTO(mem_freep) char *text = written(t);
    ck_assert_str_eq(text, expected);
}

START_TEST(messages_in_their_order) {
    struct talk t = {0};
    is(&t, "[]");
    ck_assert_int_eq(talk_add(&t, TALK_USER, "a\0b", 3), ERR_OK);
    ck_assert_int_eq(talk_add(&t, TALK_ASSISTANT, "\"c\"\n", 4), ERR_OK);
    ck_assert_int_eq(talk_set_system(&t, "be brief"), ERR_OK);
    ck_assert_int_eq(talk_add(&t, TALK_USER, "", 0), ERR_OK);
    is(&t, "[{\"role\":\"system\",\"content\":\"be brief\"},{\"role\":\"user\",\"content\":\"a\\u0000b\"},"
           "{\"role\":\"assistant\",\"content\":\"\\\"c\\\"\\n\"},{\"role\":\"user\",\"content\":\"\"}]");
    talk_drop_last(&t);
    ck_assert_uint_eq(t.n, 2);
    talk_clear(&t);
    is(&t, "[{\"role\":\"system\",\"content\":\"be brief\"}]");
    ck_assert_int_eq(talk_set_system(&t, ""), ERR_OK);
    is(&t, "[]");
    talk_free(&t);
}
END_TEST

START_TEST(many_messages) {
    struct talk t = {0};
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(talk_add(&t, i % 2 ? TALK_ASSISTANT : TALK_USER, "x", 1), ERR_OK);
    ck_assert_uint_eq(t.n, 1000);
    ck_assert_int_eq(t.messages[999].role, TALK_ASSISTANT);
    talk_free(&t);
}
END_TEST

START_TEST(no_memory_changes_nothing) {
    for (int64_t nth = 1;; nth++) {
        struct talk t = {0};
        ck_assert_int_eq(talk_set_system(&t, "one"), ERR_OK);
        mem_fail_at(nth);
        enum err err = talk_set_system(&t, "two");
        if (!err) err = talk_add(&t, TALK_USER, "x", 1);
        mem_fail_at(0);
        if (err) ck_assert_uint_eq(t.n, 0);
        if (err && nth == 1) ck_assert_str_eq(t.system, "one");
        bool done = !err;
        talk_free(&t);
        if (done) {
            ck_assert_int_gt(nth, 2);
            return;
        }
    }
}
END_TEST

int main(void) {
    const TTest *const tests[] = {messages_in_their_order, many_messages, no_memory_changes_nothing};
    return CHECK_RUN("talk", tests);
}
