#include "link/channel.h"

#include <string.h>
#include <sys/socket.h>

#include "check_run.h"
#include "link/frame.h"
#include "link/message_random.h"

static struct channel *ends[2];
static int fds[2];

static void open_both(void) {
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    for (int i = 0; i < 2; i++) ck_assert_int_eq(channel_open(fds[i], &ends[i]), ERR_OK);
}

static void close_both(void) {
    for (int i = 0; i < 2; i++) channel_free(TAKE(ends[i]));
    ck_assert_int_eq(mem_live_count(), 0);
}

static struct msg parked(uint64_t request) {
    return (struct msg){.type = MSG_TYPE_PARKED, .parked = {.request = request}};
}

static void send_parked(struct channel *c, uint64_t request) {
    struct msg m = parked(request);
    ck_assert_int_eq(channel_send(c, &m), ERR_OK);
    ck_assert_int_eq(channel_flush(c), ERR_OK);
}

START_TEST(messages_go_both_ways) {
    struct msg got;
    open_both();
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(channel_receive(ends[i], &got), ERR_OK);
        ck_assert_int_eq(got.type, MSG_NONE); /* nothing yet */
        send_parked(ends[i], 7);
        send_parked(ends[i], 8);
        ck_assert(!channel_wants_write(ends[i]));
        for (uint64_t request = 7; request <= 8; request++) {
            ck_assert_int_eq(channel_receive(ends[1 - i], &got), ERR_OK);
            ck_assert_int_eq(got.type, MSG_TYPE_PARKED);
            ck_assert_uint_eq(got.parked.request, request);
        }
        ck_assert_int_eq(channel_receive(ends[1 - i], &got), ERR_OK);
        ck_assert_int_eq(got.type, MSG_NONE);
    }
    ck_assert_int_eq(channel_fd(ends[0]), fds[0]);
    ck_assert(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    close_both();
}
END_TEST

START_TEST(nothing_is_sent_before_a_flush) {
    struct msg m = parked(1), got;
    open_both();
    ck_assert_int_eq(channel_send(ends[0], &m), ERR_OK);
    ck_assert(channel_wants_write(ends[0]));
    ck_assert_int_eq(channel_receive(ends[1], &got), ERR_OK);
    ck_assert_int_eq(got.type, MSG_NONE);
    ck_assert_int_eq(channel_flush(ends[0]), ERR_OK);
    ck_assert_int_eq(channel_receive(ends[1], &got), ERR_OK);
    ck_assert_int_eq(got.type, MSG_TYPE_PARKED);
    close_both();
}
END_TEST

/* Small socket buffers, both sides taking turns: everything arrives once, in order, whatever the pieces. */
START_TEST(partial_reads_and_writes) {
    enum { N = 500 };
    static struct msg sent[N];
    struct msg got;
    int n_sent = 0, n_got = 0, small = 2048;
    open_both();
    for (int i = 0; i < 2; i++) {
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
        setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    }
    bool waited = false;
    while (n_got < N) {
        for (int i = 0; i < 250 && n_sent < N; i++, n_sent++) {
            sent[n_sent] = message_random((enum msg_type)(1 + random_below(MSG_TYPE_COUNT - 1)));
            ck_assert_int_eq(channel_send(ends[0], &sent[n_sent]), ERR_OK);
        }
        ck_assert_int_eq(channel_flush(ends[0]), ERR_OK);
        waited |= channel_wants_write(ends[0]);
        for (;;) {
            ck_assert_int_eq(channel_receive(ends[1], &got), ERR_OK);
            if (got.type == MSG_NONE) break;
            ck_assert(message_same(&got, &sent[n_got]));
            msg_free(&got);
            msg_free(&sent[n_got++]);
        }
    }
    ck_assert(waited);
    close_both();
}
END_TEST

START_TEST(one_byte_at_a_time) {
    struct msg m = message_random(MSG_TYPE_SUBMIT), got;
    struct buf b = BUF(0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    ck_assert_int_eq(channel_open(fds[0], &ends[0]), ERR_OK);
    ck_assert_int_eq(msg_encode(&m, &b), ERR_OK);
    for (size_t i = 0; i < b.size; i++) {
        ck_assert_int_eq(channel_receive(ends[0], &got), ERR_OK);
        ck_assert_int_eq(got.type, MSG_NONE);
        ck_assert_int_eq(write(fds[1], b.data + i, 1), 1);
    }
    ck_assert_int_eq(channel_receive(ends[0], &got), ERR_OK);
    ck_assert(message_same(&got, &m));
    msg_free(&got);
    msg_free(&m);
    buf_free(&b);
    close(fds[1]);
    channel_free(ends[0]);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(the_longest_frame) {
    struct msg m = {.type = MSG_TYPE_SUBMIT}, got;
    struct buf empty = BUF(0);
    ck_assert_int_eq(msg_encode(&m, &empty), ERR_OK);
    uint32_t size = (uint32_t)(FRAME_BYTES_MAX - (empty.size - FRAME_HEADER_BYTES));
    buf_free(&empty);
    open_both();
    m.submit.messages = (struct msg_bytes){mem_alloc(size + 1), size};
    memset(m.submit.messages.data, 'x', size);
    for (int round = 0; round < 3; round++) { /* the room is used again */
        struct msg before = parked(1);
        ck_assert_int_eq(channel_send(ends[0], &before), ERR_OK);
        ck_assert_int_eq(channel_send(ends[0], &m), ERR_OK);
        ck_assert_int_eq(channel_send(ends[0], &before), ERR_OK);
        int n = 0;
        while (n < 3) {
            ck_assert_int_eq(channel_flush(ends[0]), ERR_OK);
            ck_assert_int_eq(channel_receive(ends[1], &got), ERR_OK);
            if (got.type == MSG_NONE) continue;
            if (n++ == 1) ck_assert(same_BYTES(&got.submit.messages, &m.submit.messages));
            msg_free(&got);
        }
    }
    m.submit.messages.size = size + 1;
    ck_assert_int_eq(channel_send(ends[0], &m), ERR_LIMIT);
    m.submit.messages.size = 10;
    ck_assert_int_eq(channel_send(ends[0], &m), ERR_OK); /* it goes on */
    mem_free(m.submit.messages.data);
    close_both();
}
END_TEST

START_TEST(a_reader_that_does_not_read_is_a_limit) {
    struct msg m = {.type = MSG_TYPE_DELTA};
    open_both();
    uint32_t size = 30u << 20;
    m.delta.text = (struct msg_bytes){mem_alloc(size), size};
    enum err err = ERR_OK;
    int n = 0;
    for (; n < 10 && !err; n++) {
        err = channel_send(ends[0], &m);
        ck_assert_int_eq(channel_flush(ends[0]), ERR_OK);
    }
    ck_assert_int_eq(err, ERR_LIMIT);
    ck_assert_int_ge(n, 4);
    mem_free(m.delta.text.data);
    close_both();
}
END_TEST

START_TEST(what_was_sent_before_the_end_is_still_given) {
    struct msg m = parked(3), got;
    open_both();
    send_parked(ends[1], 1);
    send_parked(ends[1], 2);
    channel_free(TAKE(ends[1]));
    ck_assert_int_eq(channel_send(ends[0], &m), ERR_OK);
    ck_assert_int_eq(channel_flush(ends[0]), ERR_EOF); /* and no SIGPIPE */
    ck_assert_int_eq(channel_flush(ends[0]), ERR_EOF);
    ck_assert_int_eq(channel_send(ends[0], &m), ERR_EOF);
    ck_assert(!channel_wants_write(ends[0]));
    for (uint64_t request = 1; request <= 2; request++) {
        ck_assert_int_eq(channel_receive(ends[0], &got), ERR_OK);
        ck_assert_uint_eq(got.parked.request, request);
    }
    ck_assert_int_eq(channel_receive(ends[0], &got), ERR_EOF);
    ck_assert_int_eq(channel_receive(ends[0], &got), ERR_EOF);
    close_both();
}
END_TEST

START_TEST(an_end_inside_a_frame_is_an_end) {
    struct msg got;
    open_both();
    const uint8_t part[] = {16, 0, 0, 0, LINK_VERSION, 0, 1, 0, 'a', 'b', 'c'};
    ck_assert_int_eq(write(fds[1], part, sizeof part), sizeof part);
    channel_free(TAKE(ends[1]));
    ck_assert_int_eq(channel_receive(ends[0], &got), ERR_EOF);
    close_both();
}
END_TEST

START_TEST(nonsense_ends_it) {
    struct msg got;
    open_both();
    send_parked(ends[1], 1);
    ck_assert_int_eq(write(fds[1], "GET / HTTP/1.1\r\n", 16), 16);
    ck_assert_int_eq(channel_receive(ends[0], &got), ERR_OK);
    ck_assert_int_eq(channel_receive(ends[0], &got), ERR_PROTOCOL);
    send_parked(ends[1], 2);
    ck_assert_int_eq(channel_receive(ends[0], &got), ERR_PROTOCOL); /* no way to find the next frame */
    close_both();
}
END_TEST

START_TEST(short_of_memory_the_message_stays) {
    struct msg m = message_random(MSG_TYPE_SUBMIT), got;
    open_both();
    ck_assert_int_eq(channel_send(ends[0], &m), ERR_OK);
    ck_assert_int_eq(channel_flush(ends[0]), ERR_OK);
    enum err err = ERR_NOMEM;
    for (int64_t n = 1; err; n++) {
        ck_assert_int_lt(n, 1000);
        mem_fail_at(n);
        err = channel_receive(ends[1], &got);
        mem_fail_at(0);
        ck_assert(err == ERR_OK || err == ERR_NOMEM);
    }
    ck_assert(message_same(&got, &m));
    msg_free(&got);
    msg_free(&m);
    close_both();
    struct channel *c;
    mem_fail_at(1);
    ck_assert_int_eq(channel_open(0, &c), ERR_NOMEM);
    ck_assert_int_eq(channel_open(-1, &c), ERR_IO);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {messages_go_both_ways,
                                  nothing_is_sent_before_a_flush,
                                  partial_reads_and_writes,
                                  one_byte_at_a_time,
                                  the_longest_frame,
                                  a_reader_that_does_not_read_is_a_limit,
                                  what_was_sent_before_the_end_is_still_given,
                                  an_end_inside_a_frame_is_an_end,
                                  nonsense_ends_it,
                                  short_of_memory_the_message_stays};
    return CHECK_RUN("channel", tests);
}
