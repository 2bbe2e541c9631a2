/* Log-probabilities and biases through the whole seat on the fake engine, where a token is a byte: records come with each token, once,
 * and their text is found again, through replays, stop strings and the parser of chats. */
#include "seat_client.h"

#include <math.h>

#include "link/token_probs.h"

#define EMOJI_PROMPT "Show [[emoji=12]] and [[len=20]]"

static struct msg asks(struct msg m, uint32_t n_top) {
    m.submit.logprobs = 1 + n_top;
    return m;
}

static struct msg biased(struct msg m, const struct buf *biases) {
    m.submit.logit_bias = (struct msg_bytes){biases->data, (uint32_t)biases->size};
    return m;
}

/* One record a token, in their order; what they say is possible. */
static void check_records(const struct answer *a, uint32_t n_top) {
    struct cursor c = cursor_over(a->probs.data, a->probs.size);
    for (uint32_t i = 0; i < a->n_tokens; i++) {
        struct token_probs p;
        ck_assert_int_eq(token_probs_get(&c, &p), ERR_OK);
        ck_assert_uint_eq(p.index, i);
        ck_assert_uint_eq(p.n_top, n_top);
        ck_assert(p.token.logprob <= 0 && p.token.logprob >= -9999);
        ck_assert_int_eq(p.token.control, a->tokens[i] > 255);
        if (a->tokens[i] < 256) ck_assert_mem_eq(p.token.text, &(uint8_t){(uint8_t)a->tokens[i]}, 1);
        double sum = 0;
        for (uint32_t k = 0; k < p.n_top; k++) {
            sum += exp(p.top[k].logprob);
            ck_assert(k == 0 || p.top[k].logprob <= p.top[k - 1].logprob);
            ck_assert(p.token.logprob <= p.top[0].logprob);
        }
        ck_assert_double_le(sum, 1);
    }
    ck_assert_uint_eq(cursor_left(&c), 0);
}

START_TEST(each_token_has_its_record) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    static const uint32_t n_tops[] = {0, 5, 20};
    for (size_t i = 0; i < ARRAY_LEN(n_tops); i++) {
        struct answer *a = client_ask(c, asks(client_text("ann", "Hello [[len=40]]", 100), n_tops[i]));
        check_records(a, n_tops[i]);
        ck_assert_uint_gt(a->n_shown, 2 * 20);
    }
    struct answer *none = client_ask(c, client_text("ann", "Hello [[len=40]]", 100));
    ck_assert_uint_eq(none->probs.size, 0);
    ck_assert_uint_eq(none->n_shown, 0);
    client_stop(c);
}
END_TEST

/* The end token is not shown; text_offset counts characters of the prompt and the answer. */
START_TEST(tokens_stand_in_the_text) {
    static const char prompt[] = "caf\xC3\xA9 [[say:o\xC3\xB6o]]";
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct msg m = asks(client_text("ann", prompt, 100), 0);
    static const int32_t expected[] = {0, 16, 1, 17, 2, 17, 3, 18};
    struct answer *a = client_ask(c, m);
    ck_assert_str_eq(text_of(a), "o\xC3\xB6o");
    ck_assert_uint_eq(a->n_tokens, 5);
    ck_assert_uint_eq(a->n_shown, ARRAY_LEN(expected));
    ck_assert_mem_eq(a->shown, expected, sizeof expected);
    ck_assert_uint_eq(a->shown_after[1], 2); /* half a character: held back */
    ck_assert_uint_eq(a->shown_after[2], 6);
    int32_t ids[sizeof prompt];
    for (size_t i = 0; i < sizeof prompt - 1; i++) ids[i] = (uint8_t)prompt[i];
    m.submit.kind = MSG_KIND_TOKENS;
    m.submit.prompt_ids = (struct msg_tokens){ids, sizeof prompt - 1};
    a = client_ask(c, m); /* which is no script then */
    ck_assert_int_eq(a->shown[0], 0);
    ck_assert_int_eq(a->shown[1], 16);
    client_stop(c);
}
END_TEST

START_TEST(what_a_stop_string_cuts_off_is_not_shown) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct msg m = asks(client_text("ann", "x [[say:one two END three]]", 100), 2);
    struct msg_bytes stops[] = {{(uint8_t *)(uintptr_t) "END", 3}};
    m.submit.stops = (struct msg_strings){stops, 1};
    struct answer *a = client_ask(c, m);
    ck_assert_str_eq(text_of(a), "one two ");
    ck_assert_uint_eq(a->n_tokens, 11);
    ck_assert_uint_eq(a->n_shown, 2 * 8);
    ck_assert_int_eq(a->shown[14], 7);
    client_stop(c);
}
END_TEST

/* Content and thoughts of a chat: those that are shown are the content, byte by byte. */
static void content_is_shown(const struct answer *a) {
    struct buf shown = BUF(0);
    for (uint32_t i = 0; i < a->n_shown; i += 2) {
        ck_assert(i == 0 || a->shown[i] > a->shown[i - 2]);
        if (a->shown[i + 1] != SHOWN_NEVER) buf_u8(&shown, (uint8_t)a->tokens[a->shown[i]]);
    }
    ck_assert_uint_eq(shown.size, a->text.size);
    ck_assert_mem_eq(shown.data, a->text.data, shown.size);
    buf_free(&shown);
}

START_TEST(a_chats_content_is_shown_and_nothing_else) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct answer *a = client_ask(
        c,
        asks(client_chat(
                 "ann",
                 "[{\"role\":\"user\",\"content\":\"[[think:yes, hm]][[say:yes \xF0\x9F\x99\x82!]]\"}]", 0),
             3));
    ck_assert_str_eq(text_of(a), "yes \xF0\x9F\x99\x82!");
    ck_assert_uint_eq(a->reasoning.size, 7);
    content_is_shown(a);
    check_records(a, 3);
    struct msg m = asks(
        client_chat("ann",
                    "[{\"role\":\"user\",\"content\":\"[[say:I <look>.]][[tool:look:{\\\"x\\\": 1}]]\"}]", 0),
        0);
    char tools[] = "[{\"type\":\"function\",\"function\":{\"name\":\"look\"}}]";
    m.submit.tools = (struct msg_bytes){(uint8_t *)tools, sizeof tools - 1};
    a = client_ask(c, m);
    ck_assert_uint_eq(a->done.finish, MSG_FINISH_TOOL_CALLS);
    ck_assert_str_eq(text_of(a), "I <look>.");
    content_is_shown(a);
    client_stop(c);
}
END_TEST

/* SAID ONCE: wherever a stream is cut, the two parts have the records and places of an undisturbed run. */
static void moves(struct client *c, struct msg m, const struct answer *whole) {
    for (uint32_t k = 1; k + 1 < whole->n_tokens; k++) {
        m.submit.replay = (struct msg_tokens){(int32_t *)(uintptr_t)whole->tokens, k};
        struct answer *rest = client_ask(c, m);
        uint32_t before = whole->shown_after[k - 1];
        ck_assert_uint_eq(k + rest->n_tokens, whole->n_tokens);
        ck_assert_uint_eq(before + rest->n_shown, whole->n_shown);
        ck_assert_mem_eq(rest->shown, whole->shown + before, rest->n_shown * sizeof rest->shown[0]);
        ck_assert_uint_lt(rest->probs.size, whole->probs.size);
        ck_assert_mem_eq(rest->probs.data, whole->probs.data + (whole->probs.size - rest->probs.size),
                         rest->probs.size);
        struct token_probs first;
        struct cursor at = cursor_over(rest->probs.data, rest->probs.size);
        ck_assert_int_eq(token_probs_get(&at, &first), ERR_OK);
        ck_assert_uint_eq(first.index, k);
    }
}

START_TEST(a_replayed_token_is_not_reported_again) {
    static const char *const chats[] = {
        "[{\"role\":\"user\",\"content\":\"[[think:let me see]][[say:caf\xC3\xA9 <b>]]\"}]",
        "[{\"role\":\"user\",\"content\":\"[[say:\xF0\x9F\x99\x82 STOP more]]\"}]"};
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct msg m = asks(client_text("ann", EMOJI_PROMPT, 100), 4);
    struct msg_bytes stops[] = {{(uint8_t *)(uintptr_t) "STOP", 4}};
    m.submit.temperature = 0.8;
    if (_i > 0) {
        m = asks(client_chat("ann", chats[_i - 1], 100), 1);
        m.submit.stops = (struct msg_strings){stops, 1};
    }
    struct answer *whole = client_ask(c, m);
    check_records(whole, _i > 0 ? 1 : 4);
    moves(c, m, whole);
    client_stop(c);
}
END_TEST

START_TEST(a_bias_forces_and_bans) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct buf force = BUF(0), ban = BUF(0);
    token_bias_put(&force, 'k', 100);
    struct msg m = asks(client_text("ann", "Hi [[len=12]]", 100), 1); /* short babble: single letters */
    struct answer *plain = client_ask(c, m), *forced = client_ask(c, biased(m, &force));
    ck_assert_str_eq(text_of(forced), "kkkkkkkkkkkk");
    ck_assert_str_ne(text_of(plain), text_of(forced));
    token_bias_put(&ban, plain->tokens[0], -100);
    struct answer *banned = client_ask(c, biased(m, &ban));
    ck_assert(!strchr(text_of(banned), plain->tokens[0]));
    /* THE MODEL'S OWN: what is reported of the first token is the same whatever was drawn; only the drawn one differs. */
    struct token_probs p, q;
    struct cursor a = cursor_over(plain->probs.data, plain->probs.size),
                  b = cursor_over(forced->probs.data, forced->probs.size);
    ck_assert_int_eq(token_probs_get(&a, &p), ERR_OK);
    ck_assert_int_eq(token_probs_get(&b, &q), ERR_OK);
    ck_assert_double_eq(p.top[0].logprob, q.top[0].logprob);
    ck_assert_double_lt(q.token.logprob, -0.01);
    buf_free(&force);
    buf_free(&ban);
    client_stop(c);
}
END_TEST

START_TEST(a_bias_of_no_token_is_refused_with_its_place) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct buf b = BUF(0);
    token_bias_put(&b, 319, 1); /* the last one there is */
    client_ask(c, biased(client_text("ann", "Hi [[say:x]]", 100), &b));
    token_bias_put(&b, 320, 1);
    struct answer *a = client_submit(c, biased(client_text("ann", "Hi [[say:x]]", 100), &b));
    client_finish(c, a);
    ck_assert_int_eq(a->err, ERR_INVALID);
    ck_assert_str_eq(a->param, "logit_bias");
    ck_assert_msg(strstr(a->error, "logit_bias.320") && strstr(a->error, "320 tokens"), "%s", a->error);
    a = client_submit(c, client_text("ann", "", 100)); /* another failure names no parameter */
    client_finish(c, a);
    ck_assert_str_eq(a->param, "");
    buf_free(&b);
    client_stop(c);
}
END_TEST

int main(void) {
    TCase *t = tcase_create("seat_logprobs");
    tcase_add_checked_fixture(t, client_files, client_files_remove);
    tcase_add_loop_test(t, a_replayed_token_is_not_reported_again, 0, 3);
    const TTest *const tests[] = {each_token_has_its_record,
                                  tokens_stand_in_the_text,
                                  what_a_stop_string_cuts_off_is_not_shown,
                                  a_chats_content_is_shown_and_nothing_else,
                                  a_bias_forces_and_bans,
                                  a_bias_of_no_token_is_refused_with_its_place};
    for (size_t i = 0; i < ARRAY_LEN(tests); i++) tcase_add_test(t, tests[i]);
    return check_run_case("seat_logprobs", t);
}
