/* Events out of pieces of every size. */
#include "cli/sse_reader.h"

#include <stdio.h>
#include <string.h>

#include "check_run.h"

static char got[4096];

static void take(void *ctx, const struct sse_event *e) {
    char more[1024];
    ck_assert_ptr_null(ctx);
    if (e->comment)
        snprintf(more, sizeof more, "(%s)", e->comment);
    else
        snprintf(more, sizeof more, "[%s|%zu|%s]", e->name, e->data_size, e->data);
    strcat(got, more);
}

static const char TEXT[] = ": waiting model=B position=3 eta_ms=4200\n\n"
                           "data: {\"a\": 1}\n\n"
                           "event: ping\ndata:x\n\n"
                           "data: one\r\ndata: two\r\n\r\n"
                           "id: 7\nretry: 5\nnothing\n\n"
                           "data\n\n"
                           "event: lost\n\n"
                           ":\n"
                           "data: \xC3\xBC: y\n\n"
                           "data: not ended\n";
static const char EXPECTED[] =
    "(waiting model=B position=3 eta_ms=4200)[|8|{\"a\": 1}][ping|1|x][|7|one\ntwo][|0|]()[|5|\xC3\xBC: y]";

START_TEST(pieces_of_every_size) {
    for (size_t piece = 1; piece <= sizeof TEXT; piece++) {
        struct sse_reader r = SSE_READER;
        got[0] = '\0';
        for (size_t at = 0; at < sizeof TEXT - 1; at += piece) {
            size_t n = sizeof TEXT - 1 - at < piece ? sizeof TEXT - 1 - at : piece;
            ck_assert_int_eq(sse_reader_feed(&r, TEXT + at, n, take, NULL), ERR_OK);
        }
        ck_assert_str_eq(got, EXPECTED);
        sse_reader_free(&r);
    }
}
END_TEST

START_TEST(line_without_end_is_refused_at_the_limit) {
    struct sse_reader r = {BUF(100), BUF(100), BUF(100), false};
    enum err err = ERR_OK;
    for (int i = 0; i < 30 && !err; i++) err = sse_reader_feed(&r, "data: xx", 8, take, NULL);
    ck_assert_int_eq(err, ERR_LIMIT);
    sse_reader_free(&r);
}
END_TEST

START_TEST(data_without_end_is_refused_at_the_limit) {
    struct sse_reader r = {BUF(100), BUF(100), BUF(100), false};
    enum err err = ERR_OK;
    for (int i = 0; i < 30 && !err; i++) err = sse_reader_feed(&r, "data: xxxxxxx\n", 14, take, NULL);
    ck_assert_int_eq(err, ERR_LIMIT);
    sse_reader_free(&r);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {pieces_of_every_size, line_without_end_is_refused_at_the_limit,
                                  data_without_end_is_refused_at_the_limit};
    return CHECK_RUN("sse_reader", tests);
}
