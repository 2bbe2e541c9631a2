#include "link/frame.h"

#include <string.h>

#include "base/limits.h"
#include "check_run.h"

START_TEST(a_frame_is_found_when_all_of_it_is_there) {
    struct buf b = BUF(0);
    size_t size;
    uint16_t type;
    size_t begin = frame_begin(&b, 7);
    buf_puts(&b, "payload");
    ck_assert_int_eq(frame_end(&b, begin), ERR_OK);
    ck_assert_uint_eq(b.size, FRAME_HEADER_BYTES + 7);
    const uint8_t header[] = {7, 0, 0, 0, LINK_VERSION, 0, 7, 0};
    ck_assert_mem_eq(b.data, header, sizeof header);
    ck_assert_mem_eq(b.data + sizeof header, "payload", 7);
    for (size_t have = 0; have < b.size; have++)
        ck_assert_int_eq(frame_peek(b.data, have, &size, &type), ERR_EOF);
    ck_assert_int_eq(frame_peek(b.data, b.size, &size, &type), ERR_OK);
    ck_assert_uint_eq(size, b.size);
    ck_assert_uint_eq(type, 7);
    buf_puts(&b, "the next one");
    ck_assert_int_eq(frame_peek(b.data, b.size, &size, &type), ERR_OK);
    ck_assert_uint_eq(size, 15);
    buf_free(&b);
}
END_TEST

START_TEST(an_empty_payload_and_a_second_frame) {
    struct buf b = BUF(0);
    size_t size;
    uint16_t type;
    ck_assert_int_eq(frame_end(&b, frame_begin(&b, 1)), ERR_OK);
    size_t begin = frame_begin(&b, 2);
    ck_assert_uint_eq(begin, FRAME_HEADER_BYTES);
    ck_assert_int_eq(frame_end(&b, begin), ERR_OK);
    ck_assert_int_eq(frame_peek(b.data + begin, b.size - begin, &size, &type), ERR_OK);
    ck_assert_uint_eq(size, FRAME_HEADER_BYTES);
    ck_assert_uint_eq(type, 2);
    buf_free(&b);
}
END_TEST

START_TEST(a_wild_size_or_version_is_found_at_once) {
    size_t size;
    uint16_t type;
    uint8_t header[FRAME_HEADER_BYTES] = {0, 0, 0, 4, LINK_VERSION, 0, 1, 0}; /* exactly FRAME_BYTES_MAX */
    ck_assert_int_eq(frame_peek(header, sizeof header, &size, &type), ERR_EOF);
    header[0] = 1;
    ck_assert_int_eq(frame_peek(header, sizeof header, &size, &type), ERR_PROTOCOL);
    memset(header, 0xff, 4);
    ck_assert_int_eq(frame_peek(header, sizeof header, &size, &type), ERR_PROTOCOL);
    memset(header, 0, 4);
    ck_assert_int_eq(frame_peek(header, sizeof header, &size, &type), ERR_OK);
    header[4] = LINK_VERSION + 1;
    ck_assert_int_eq(frame_peek(header, sizeof header, &size, &type), ERR_PROTOCOL);
}
END_TEST

START_TEST(a_full_buffer_is_found_at_the_end) {
    struct buf b = BUF(10);
    size_t begin = frame_begin(&b, 1);
    buf_puts(&b, "payload");
    ck_assert_int_eq(frame_end(&b, begin), ERR_LIMIT);
    buf_free(&b);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {a_frame_is_found_when_all_of_it_is_there,
                                  an_empty_payload_and_a_second_frame,
                                  a_wild_size_or_version_is_found_at_once, a_full_buffer_is_found_at_the_end};
    return CHECK_RUN("frame", tests);
}
