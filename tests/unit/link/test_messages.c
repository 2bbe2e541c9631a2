#include "link/messages.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "check_run.h"
#include "link/frame.h"
#include "link/message_random.h"

static enum msg_type type_at(int i) {
    return (enum msg_type)i;
}

START_TEST(random_messages_come_back_as_they_were) {
    for (int i = MSG_NONE + 1; i < MSG_TYPE_COUNT; i++) {
        for (int round = 0; round < 200; round++) {
            struct msg m = message_random(type_at(i)), back;
            struct buf b = BUF(0);
            ck_assert_int_eq(msg_encode(&m, &b), ERR_OK);
            ck_assert_int_eq(msg_decode(b.data, b.size, &back), ERR_OK);
            ck_assert_msg(message_same(&m, &back), "%s, round %d", msg_type_name(type_at(i)), round);
            msg_free(&m);
            msg_free(&back);
            buf_free(&b);
        }
    }
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

/* Decodes a copy that is exactly as large, so that ASan sees a read past its end. */
static enum err decode_copy(const uint8_t *data, size_t size, struct msg *ret) {
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    enum err err = msg_decode(copy, size, ret);
    free(copy);
    return err;
}

static void set_payload_size(uint8_t *frame, size_t size) {
    for (int i = 0; i < 4; i++) frame[i] = (uint8_t)(size >> (8 * i));
}

/* With the header's size made to fit, a short payload always lacks something and a long one has something over. */
START_TEST(every_message_cut_at_every_byte_or_too_long) {
    struct msg back;
    for (int i = MSG_NONE + 1; i < MSG_TYPE_COUNT; i++) {
        for (int round = 0; round < 10; round++) {
            struct msg m = message_random(type_at(i));
            struct buf b = BUF(0);
            ck_assert_int_eq(msg_encode(&m, &b), ERR_OK);
            for (size_t cut = 0; cut < b.size; cut++) {
                ck_assert_int_eq(decode_copy(b.data, cut, &back), ERR_PROTOCOL);
                ck_assert_int_eq(back.type, MSG_NONE);
            }
            size_t payload = b.size - FRAME_HEADER_BYTES;
            for (size_t cut = 0; cut < payload; cut++) {
                set_payload_size(b.data, cut);
                ck_assert_int_eq(decode_copy(b.data, FRAME_HEADER_BYTES + cut, &back), ERR_PROTOCOL);
            }
            buf_u8(&b, 0);
            set_payload_size(b.data, payload);
            ck_assert_int_eq(decode_copy(b.data, b.size, &back), ERR_PROTOCOL);
            set_payload_size(b.data, payload + 1);
            ck_assert_int_eq(decode_copy(b.data, b.size, &back), ERR_PROTOCOL);
            msg_free(&m);
            buf_free(&b);
        }
    }
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(damaged_messages_are_refused_or_other_messages) {
    for (int i = MSG_NONE + 1; i < MSG_TYPE_COUNT; i++) {
        struct msg m = message_random(type_at(i)), back;
        struct buf b = BUF(0);
        ck_assert_int_eq(msg_encode(&m, &b), ERR_OK);
        for (size_t at = 0; at < b.size; at++) {
            uint8_t before = b.data[at];
            for (int bit = 0; bit < 8; bit++) {
                b.data[at] = (uint8_t)(before ^ 1 << bit);
                if (decode_copy(b.data, b.size, &back) == ERR_OK) msg_free(&back);
            }
            b.data[at] = 0xff;
            if (decode_copy(b.data, b.size, &back) == ERR_OK) msg_free(&back);
            b.data[at] = before;
        }
        msg_free(&m);
        buf_free(&b);
    }
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(types_that_do_not_exist) {
    struct buf b = BUF(0);
    struct msg back;
    for (int type = 0; type < 65536; type++) {
        if (type > MSG_NONE && type < MSG_TYPE_COUNT) continue;
        buf_clear(&b);
        ck_assert_int_eq(frame_end(&b, frame_begin(&b, (uint16_t)type)), ERR_OK);
        ck_assert_int_eq(msg_decode(b.data, b.size, &back), ERR_PROTOCOL);
    }
    buf_free(&b);
    ck_assert_str_eq(msg_type_name(MSG_NONE), "?");
    ck_assert_str_eq(msg_type_name(type_at(5000)), "?");
    ck_assert_str_eq(msg_type_name(MSG_TYPE_SUBMIT), "submit");
}
END_TEST

START_TEST(null_and_nul) {
    struct msg m = {.type = MSG_TYPE_PARKED}, back;
    struct buf b = BUF(0);
    memset(&m, 0, sizeof m);
    m.type = MSG_TYPE_SUBMIT; /* every pointer is NULL */
    ck_assert_int_eq(msg_encode(&m, &b), ERR_OK);
    ck_assert_int_eq(msg_decode(b.data, b.size, &back), ERR_OK);
    ck_assert_str_eq(back.submit.agent, "");
    ck_assert_ptr_null(back.submit.messages.data);
    ck_assert_ptr_null(back.submit.replay.ids);
    ck_assert_ptr_null(back.submit.stops.items);
    msg_free(&back);
    msg_free(&back); /* zeroed by the first */

    buf_clear(&b);
    m = (struct msg){.type = MSG_TYPE_OP_FAILED, .op_failed = {.op = 1, .err = 2, .text = (char[]){"abc"}}};
    ck_assert_int_eq(msg_encode(&m, &b), ERR_OK);
    b.data[b.size - 2] = 0; /* "a\0c" */
    ck_assert_int_eq(msg_decode(b.data, b.size, &back), ERR_PROTOCOL);
    buf_free(&b);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(decoded_bytes_end_with_a_nul) {
    uint8_t text[] = {'h', 'i'};
    struct msg m = {.type = MSG_TYPE_DELTA, .delta = {.request = 1, .text = {text, 2}}}, back;
    struct buf b = BUF(0);
    ck_assert_int_eq(msg_encode(&m, &b), ERR_OK);
    ck_assert_int_eq(msg_decode(b.data, b.size, &back), ERR_OK);
    ck_assert_str_eq((char *)back.delta.text.data, "hi");
    msg_free(&back);
    buf_free(&b);
}
END_TEST

/* A claim of a length allocates nothing that the frame's bytes do not back. */
START_TEST(claims_without_bytes) {
    for (int i = MSG_NONE + 1; i < MSG_TYPE_COUNT; i++) {
        struct buf b = BUF(0);
        struct msg back;
        size_t begin = frame_begin(&b, (uint16_t)i);
        for (int n = 0; n < 64; n++) buf_u32(&b, 0x03ffffff);
        ck_assert_int_eq(frame_end(&b, begin), ERR_OK);
        mem_fail_at(1); /* had it tried to allocate for the claim, this would be ERR_NOMEM */
        enum err err = msg_decode(b.data, b.size, &back);
        mem_fail_at(0);
        ck_assert_msg(err == ERR_PROTOCOL || err == ERR_OK, "%s: %s", msg_type_name(type_at(i)),
                      err_name(err));
        if (!err) msg_free(&back);
        buf_free(&b);
    }
}
END_TEST

START_TEST(what_is_too_long_is_not_sent) {
    static uint8_t byte;
    struct msg_bytes items[MSG_STRINGS_MAX + 1] = {{.size = 0}};
    struct buf b = BUF(1000);
    struct msg m = {.type = MSG_TYPE_PARKED, .parked = {.request = 1}};
    ck_assert_int_eq(msg_encode(&m, &b), ERR_OK);
    size_t before = b.size;
    m = (struct msg){.type = MSG_TYPE_SUBMIT};
    m.submit.stops = (struct msg_strings){items, MSG_STRINGS_MAX + 1};
    ck_assert_int_eq(msg_encode(&m, &b), ERR_LIMIT);
    m.submit.stops.n = MSG_STRINGS_MAX;
    ck_assert_int_eq(msg_encode(&m, &b), ERR_OK);
    b.size = before;
    m.submit.stops.n = 0;
    m.submit.prompt =
        (struct msg_bytes){&byte, FRAME_BYTES_MAX + 1}; /* never read: its size is looked at first */
    ck_assert_int_eq(msg_encode(&m, &b), ERR_LIMIT);
    m.submit.prompt = (struct msg_bytes){&byte, 1001}; /* more than the buffer's cap */
    ck_assert_int_eq(msg_encode(&m, &b), ERR_LIMIT);
    ck_assert_uint_eq(b.size, before);
    ck_assert_int_eq(b.error, ERR_OK); /* the frame before it is whole, and others may follow */
    buf_free(&b);
}
END_TEST

START_TEST(torture) {
    for (int i = MSG_NONE + 1; i < MSG_TYPE_COUNT; i++) {
        struct msg m = message_random(type_at(i)), back;
        int64_t before = mem_live_count();
        bool done = false;
        for (int64_t n = 1; !done; n++) {
            ck_assert_int_lt(n, 1000);
            struct buf b = BUF(0);
            mem_fail_at(n);
            enum err err = msg_encode(&m, &b);
            if (!err) err = msg_decode(b.data, b.size, &back);
            mem_fail_at(0);
            ck_assert(err == ERR_OK || err == ERR_NOMEM);
            done = !err;
            if (done) msg_free(&back);
            buf_free(&b);
            ck_assert_int_eq(mem_live_count(), before);
        }
        msg_free(&m);
    }
}
END_TEST

int main(void) {
    const TTest *const tests[] = {random_messages_come_back_as_they_were,
                                  every_message_cut_at_every_byte_or_too_long,
                                  damaged_messages_are_refused_or_other_messages,
                                  types_that_do_not_exist,
                                  null_and_nul,
                                  decoded_bytes_end_with_a_nul,
                                  claims_without_bytes,
                                  what_is_too_long_is_not_sent,
                                  torture};
    return CHECK_RUN("messages", tests);
}
