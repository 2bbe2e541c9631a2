/* The whole seat with the fake engine and a real store, spoken to as the front does. */
#include "seat_client.h"

#include "base/fault.h"
#include "base/json.h"

START_TEST(submits_stream_and_end) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct answer *a = client_ask(c, client_text("ann", "Hello [[say:good day]]", 100));
    ck_assert_str_eq(text_of(a), "good day");
    ck_assert(a->started);
    ck_assert_uint_eq(a->done.finish, MSG_FINISH_STOP);
    ck_assert_uint_eq(a->done.prompt_tokens, 22);
    ck_assert_uint_eq(a->done.cached_tokens, 0);
    ck_assert_uint_eq(a->done.prefill_tokens, 22);
    ck_assert_uint_eq(a->done.generated_tokens, 9); /* eight bytes and the end */
    ck_assert_uint_eq(a->n_tokens, 9);
    ck_assert_uint_eq(a->done.decoded_tokens, 22 + 8);
    a = client_ask(c, client_text("ann", "More [[len=60]]", 20));
    ck_assert_uint_eq(a->done.finish, MSG_FINISH_LENGTH);
    ck_assert_uint_eq(a->n_tokens, 20);
    client_stop(c);
}
END_TEST

START_TEST(chats_and_tools) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct answer *a =
        client_ask(c, client_chat("ann", "[{\"role\":\"user\",\"content\":\"[[think:hm]][[say:yes]]\"}]", 0));
    ck_assert_str_eq(text_of(a), "yes");
    ck_assert_uint_eq(a->reasoning.size, 2);
    struct msg m =
        client_chat("ann", "[{\"role\":\"user\",\"content\":\"[[tool:look:{\\\"x\\\": 1}]]\"}]", 0);
    char tools[] = "[{\"type\":\"function\",\"function\":{\"name\":\"look\"}}]";
    m.submit.tools = (struct msg_bytes){(uint8_t *)tools, sizeof tools - 1};
    a = client_ask(c, m);
    ck_assert_uint_eq(a->done.finish, MSG_FINISH_TOOL_CALLS);
    ck_assert(memmem(a->tools.data, a->tools.size, "look", 4));
    client_stop(c);
}
END_TEST

/* Two turns of an agent on model, with or without a journey of everything to the disk in between. */
static struct answer *two_turns(struct client *c, int model, const char *agent, bool moves, size_t n) {
    struct answer *first = client_ask(c, client_text(agent, prompt_of(agent, n), 40));
    char *second = join(prompt_of(agent, n), text_of(first), " And then? ");
    if (moves) {
        client_leave(c);
        client_seat(c, MODEL_B);
        client_ask(c, client_text(agent, "other things", 10));
        client_leave(c);
        client_seat(c, model);
    }
    struct answer *got = client_ask(c, client_text(agent, second, 40));
    free(second);
    return got;
}

static void moved_equals_stayed(int model, size_t n) {
    char cache[2][96];
    snprintf(cache[0], sizeof cache[0], "%s/c0", client_dir);
    snprintf(cache[1], sizeof cache[1], "%s/c1", client_dir);
    struct client *stays = client_start_full(cache[0], 1, false),
                  *moves = client_start_full(cache[1], 1, false);
    client_seat(stays, model);
    client_seat(moves, model);
    struct answer *a = two_turns(stays, model, "ann", false, n), *b = two_turns(moves, model, "ann", true, n);
    ck_assert_uint_gt(a->done.cached_tokens, (uint32_t)n);
    ck_assert_uint_eq(a->done.cached_tokens, b->done.cached_tokens);
    ck_assert_str_eq(a->kv, b->kv);
    ck_assert_str_ne(a->kv, "");
    ck_assert_str_eq(a->logits, b->logits);
    ck_assert_str_ne(a->logits, "");
    ck_assert_str_eq(text_of(a), text_of(b));
    ck_assert_uint_eq(b->done.decoded_tokens,
                      b->done.prompt_tokens - b->done.cached_tokens + b->n_tokens - 1);
    ck_assert_int_gt(b->done.restore_ns, 0);
    client_stop(stays);
    client_stop(moves);
}

START_TEST(a_moved_agent_equals_one_that_stayed) { /* S1 */
    static const size_t sizes[] = {100, 256, 300, 511, 512, 1100};
    moved_equals_stayed(MODEL_A, sizes[_i]);
}
END_TEST

START_TEST(a_moved_agent_equals_one_that_stayed_with_a_window) {
    static const size_t sizes[] = {100, 300, 700, 1500};
    moved_equals_stayed(MODEL_W, sizes[_i]);
}
END_TEST

START_TEST(a_flipped_byte_is_seen) { /* the control of the two above */
    char cache[96];
    snprintf(cache, sizeof cache, "%s/c1", client_dir);
    struct client *c = client_start(1), *d = client_start_full(cache, 1, false);
    client_seat(c, MODEL_A);
    client_seat(d, MODEL_A);
    struct answer *a = two_turns(c, MODEL_A, "ann", true, 700);
    struct answer *first = client_ask(d, client_text("ann", prompt_of("ann", 700), 40));
    char *second = join(prompt_of("ann", 700), text_of(first), " And then? ");
    client_leave(d);
    client_seat(d, MODEL_A);
    client_fault(d, "kv_flip", 1, 0);
    struct answer *b = client_ask(d, client_text("ann", second, 40));
    ck_assert_uint_eq(a->done.cached_tokens, b->done.cached_tokens);
    ck_assert_str_ne(a->kv, b->kv);
    ck_assert_str_ne(a->logits, b->logits);
    free(second);
    client_stop(c);
    client_stop(d);
}
END_TEST

START_TEST(a_restart_keeps_the_agents) { /* C1 */
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct answer *first = client_ask(c, client_text("ann", prompt_of("ann", 600), 30));
    char *second = join(prompt_of("ann", 600), text_of(first), " go on");
    client_stop(c);
    c = client_start(2);
    client_seat(c, MODEL_A);
    struct answer *a = client_ask(c, client_text("ann", second, 5));
    ck_assert_uint_ge(a->done.cached_tokens, 600);
    free(second);
    client_stop(c);
}
END_TEST

START_TEST(nothing_new_writes_nothing) { /* S12 */
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    client_ask(c, client_text("ann", prompt_of("ann", 600), 30));
    ck_assert_uint_eq(client_leave(c).unsaved, 0);
    for (int i = 0; i < 3; i++) {
        client_seat(c, MODEL_B);
        client_leave(c);
        client_seat(c, MODEL_A);
        struct msg_evicted e = client_leave(c);
        ck_assert_uint_eq(e.blocks, 0);
        ck_assert_uint_eq(e.bytes, 0);
    }
    client_stop(c);
}
END_TEST

START_TEST(same_shape_other_weights) { /* S3 */
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    client_ask(c, client_text("ann", prompt_of("ann", 600), 30));
    client_leave(c);
    client_seat(c, MODEL_B);
    struct answer *a = client_ask(c, client_text("ann", prompt_of("ann", 600), 30));
    ck_assert_uint_eq(a->done.cached_tokens, 0);
    client_stop(c);
}
END_TEST

START_TEST(a_shared_beginning_is_reused_by_others) { /* C2 */
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    char *one = join(prompt_of("everybody", 800), "I am one", ""),
         *two = join(prompt_of("everybody", 800), "And I two", "");
    client_ask(c, client_text("one", one, 10));
    ck_assert_uint_eq(client_ask(c, client_text("two", two, 10))->done.cached_tokens, 768);
    ck_assert_uint_eq(client_ask(c, client_text("", two, 10))->done.cached_tokens > 767, 1); /* resident */
    free(one), free(two);
    client_stop(c);
}
END_TEST

START_TEST(nobodys_prompts_are_written_when_used_twice) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    char *one = join(prompt_of("system", 600), "first", ""),
         *two = join(prompt_of("system", 600), "second", "");
    client_ask(c, client_text("", one, 10));
    while (c->n_stats < 2) client_step(c);
    ck_assert_uint_eq(c->stats.blocks_written, 0);
    ck_assert_uint_ge(client_ask(c, client_text("", two, 10))->done.cached_tokens, 512);
    uint32_t n = c->n_stats;
    while (c->n_stats < n + 2) client_step(c);
    ck_assert_uint_ge(c->stats.blocks_written, 2);
    free(one), free(two);
    client_stop(c);
}
END_TEST

START_TEST(regenerating_reads_no_prompt) { /* C4 */
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct answer *a = client_ask(c, client_text("ann", prompt_of("ann", 700), 50));
    struct answer *b = client_ask(c, client_text("ann", prompt_of("ann", 700), 50));
    ck_assert_uint_eq(b->done.cached_tokens, 699);
    ck_assert_str_eq(text_of(a), text_of(b));
    client_leave(c);
    client_seat(c, MODEL_A);
    b = client_ask(c, client_text("ann", prompt_of("ann", 700), 50));
    ck_assert_uint_eq(b->done.cached_tokens, 699);
    ck_assert_str_eq(text_of(a), text_of(b));
    client_stop(c);
}
END_TEST

/* A stream is parked in its middle, everything moves, it is submitted again with what it had said. */
static void parks(const char *prompt, double temperature, uint32_t park_after, bool chat) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct msg m = chat ? client_chat("ann", prompt, 200) : client_text("ann", prompt, 200);
    m.submit.temperature = temperature;
    m.submit.agent = (char *)(uintptr_t) "undisturbed";
    struct answer *whole = client_ask(c, m);
    m.submit.agent = (char *)(uintptr_t) "";
    client_fault(c, "decode_slow", -1, 2);
    struct answer *one = client_submit(c, m);
    while (one->n_tokens < park_after) ck_assert(client_step(c));
    struct msg park = {.type = MSG_TYPE_PARK, .park = {.op = ++c->op}};
    client_op(c, &park, MSG_TYPE_REPLY);
    ck_assert(one->parked || one->ended);
    client_fault(c, "decode_slow", 0, 0);
    client_leave(c);
    client_seat(c, MODEL_B);
    client_leave(c);
    client_seat(c, MODEL_A);
    struct msg again = m;
    again.submit.replay = (struct msg_tokens){one->tokens, one->n_tokens};
    struct answer *two = client_ask(c, again);
    char *text = join(text_of(one), text_of(two), "");
    ck_assert_str_eq(text, text_of(whole));
    ck_assert_uint_eq(one->n_tokens + two->n_tokens, whole->n_tokens);
    ck_assert_uint_eq(two->done.generated_tokens, whole->done.generated_tokens);
    ck_assert_uint_eq(two->done.finish, whole->done.finish);
    ck_assert_uint_eq(two->done.decoded_tokens, two->n_tokens); /* one kept back, then one a token */
    free(text);
    client_stop(c);
}

START_TEST(a_parked_stream_goes_on) { /* S9 */
    parks("Tell me [[len=150]]", _i ? 0.8 : 0, 30, false);
}
END_TEST

START_TEST(a_parked_stream_goes_on_inside_an_emoji) {
    parks("Show [[emoji=20]] and [[len=30]]", 0.8, 5 + (uint32_t)_i, false);
}
END_TEST

START_TEST(a_parked_chat_goes_on) {
    parks("[{\"role\":\"user\",\"content\":\"[[think:let me see]][[len=100]]\"}]", 0.8,
          12 + 20 * (uint32_t)_i, true);
}
END_TEST

/* A spliced prompt's tokens are told, and those that come back are taken as they are: here ones that no text would give. */
START_TEST(a_moved_stream_keeps_its_prompts_tokens) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct answer *first = client_ask(c, client_text("ann", prompt_of("ann", 300), 20));
    ck_assert_uint_eq(first->prompt_ids.n, 0);
    char *said = join(prompt_of("ann", 300), text_of(first), " And then?");
    struct answer *second = client_ask(c, client_text("ann", said, 20));
    ck_assert_uint_eq(second->prompt_ids.n, second->done.prompt_tokens);
    struct msg m = client_text("ann", said, 20);
    m.submit.prompt_ids = (struct msg_tokens){second->prompt_ids.ids, second->prompt_ids.n};
    ck_assert_str_eq(text_of(client_ask(c, m)), text_of(second));
    int32_t ids[] = {120, 121, 122};
    m.submit.prompt_ids = (struct msg_tokens){ids, 3};
    ck_assert_uint_eq(client_ask(c, m)->done.prompt_tokens, 3);
    free(said);
    client_stop(c);
}
END_TEST

START_TEST(a_replay_that_had_ended_is_done) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct answer *a = client_ask(c, client_text("ann", "x [[say:all said]]", 100));
    struct msg m = client_text("ann", "x [[say:all said]]", 100);
    m.submit.replay = (struct msg_tokens){a->tokens, a->n_tokens};
    struct answer *b = client_ask(c, m);
    ck_assert_uint_eq(b->n_tokens, 0);
    ck_assert_uint_eq(b->text.size, 0);
    ck_assert_uint_eq(b->done.finish, MSG_FINISH_STOP);
    ck_assert_uint_eq(b->done.generated_tokens, a->done.generated_tokens);
    client_stop(c);
}
END_TEST

START_TEST(stops_cut_across_tokens) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct msg m = client_text("ann", "x [[say:one two END three]]", 100);
    struct msg_bytes stops[] = {{(uint8_t *)(uintptr_t) "END", 3}, {(uint8_t *)(uintptr_t) "zzz", 3}};
    m.submit.stops = (struct msg_strings){stops, 2};
    struct answer *a = client_ask(c, m);
    ck_assert_str_eq(text_of(a), "one two ");
    ck_assert_uint_eq(a->done.finish, MSG_FINISH_STOP);
    ck_assert_uint_eq(a->done.stop, 1);
    m = client_text("ann", "x [[say:one zzz END]]", 100);
    m.submit.stops = (struct msg_strings){stops, 2};
    ck_assert_uint_eq(client_ask(c, m)->done.stop, 2);
    m = client_text("ann", "x [[say:one two]]", 100);
    m.submit.stops = (struct msg_strings){stops, 2};
    ck_assert_uint_eq(client_ask(c, m)->done.stop, 0); /* it ended by itself */
    client_stop(c);
}
END_TEST

START_TEST(counting_reads_nothing) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_C);
    const char *chat = "[{\"role\":\"user\",\"content\":\"How long is this? [[say:so long]]\"}]";
    struct msg m = client_chat("ann", chat, 0);
    m.submit.look = MSG_LOOK_COUNT;
    struct answer *count = client_ask(c, m), *real = client_ask(c, client_chat("ann", chat, 0));
    ck_assert_uint_gt(count->done.prompt_tokens, 0);
    ck_assert_uint_eq(count->done.prompt_tokens, real->done.prompt_tokens);
    ck_assert_uint_eq(real->done.cached_tokens, 0); /* it had left nothing behind */
    ck_assert(!count->started && count->n_tokens == 0 && count->done.decoded_tokens == 0);
    m = client_text("ann", prompt_of("ann", 900),
                    10); /* of a context of 600 tokens: it is counted all the same */
    m.submit.look = MSG_LOOK_COUNT;
    ck_assert_uint_eq(client_ask(c, m)->done.prompt_tokens, 900);
    client_stop(c);
}
END_TEST

static struct msg look_at(uint32_t look, const char *text, uint32_t pieces) {
    struct msg m = client_text("ann", text, 0);
    m.submit.look = look;
    m.submit.parse_special = 1;
    m.submit.with_pieces = pieces;
    return m;
}

START_TEST(looks_answer_at_once_and_start_nothing) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_C);
    struct answer *a = client_ask(c, look_at(MSG_LOOK_TOKENS, "h\xc3\xa9<|im_end|>", 1));
    static const int32_t ids[] = {'h', 0xc3, 0xa9, 257}, ends[] = {1, 2, 3, 13};
    ck_assert(!a->started && a->n_tokens == 0 && !a->failed);
    ck_assert_uint_eq(a->look_ids.n, 4);
    ck_assert_mem_eq(a->look_ids.ids, ids, sizeof ids);
    ck_assert_uint_eq(a->look_ends.n, 4);
    ck_assert_mem_eq(a->look_ends.ids, ends, sizeof ends);
    a = client_ask(c, look_at(MSG_LOOK_TOKENS, "h", 0));
    ck_assert(a->look_ids.n == 1 && a->look_ends.n == 0 && a->look_text.size == 0);
    struct msg m = look_at(MSG_LOOK_TEXT, "", 0);
    int32_t tokens[] = {'h', 257, 0};
    m.submit.kind = MSG_KIND_TOKENS;
    m.submit.prompt_ids = (struct msg_tokens){.ids = tokens, .n = 3};
    a = client_ask(c, m);
    ck_assert_uint_eq(a->look_text.size, 12);
    ck_assert_mem_eq(a->look_text.data, "h<|im_end|>", 12); /* and its NUL */
    tokens[1] = 320;
    a = client_submit(c, m);
    client_finish(c, a);
    ck_assert_int_eq(a->err, ERR_INVALID);
    ck_assert_str_eq(a->param, "tokens");
    m = client_chat("ann", "[{\"role\":\"user\",\"content\":\"x\"}]", 0);
    m.submit.look = MSG_LOOK_PROMPT;
    a = client_ask(c, m);
    static const char prompt[] = "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n";
    ck_assert_uint_eq(a->look_text.size, sizeof prompt - 1);
    ck_assert_mem_eq(a->look_text.data, prompt, sizeof prompt - 1);
    client_stop(c);
}
END_TEST

START_TEST(a_prompt_is_said_when_it_is_wanted) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct msg m = client_text("ann", "[[say:yes]]", 10);
    struct answer *a = client_ask(c, m);
    ck_assert_uint_eq(a->prompt_ids.n, 0); /* nobody wanted to know */
    ck_assert_str_eq(text_of(a), "yes");
    m.submit.say_ids = m.submit.echo = 1;
    a = client_ask(c, m);
    ck_assert_uint_eq(a->prompt_ids.n, 11);
    ck_assert_int_eq(a->prompt_ids.ids[10], ']');
    ck_assert_str_eq(text_of(a), "[[say:yes]]yes");
    int32_t ids[] = {'x', 257, 0xc3};
    m = client_text("ann", "", 1);
    m.submit.kind = MSG_KIND_TOKENS;
    m.submit.prompt_ids = (struct msg_tokens){ids, 3};
    m.submit.echo = 1;
    a = client_ask(c, m);
    ck_assert_mem_eq(text_of(a), "x\xc3", 2); /* without the control token's */
    client_stop(c);
}
END_TEST

START_TEST(a_model_may_be_asked_not_to_think) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct msg m = client_chat("ann", "[{\"role\":\"user\",\"content\":\"[[think:hm]][[say:yes]]\"}]", 0);
    m.submit.no_thinking = 1;
    struct answer *a = client_ask(c, m);
    ck_assert_str_eq(text_of(a), "yes");
    ck_assert_uint_eq(a->reasoning.size, 0);
    client_stop(c);
}
END_TEST

START_TEST(too_long_prompts_say_both_numbers) { /* G6 */
    struct client *c = client_start(1);
    client_seat(c, MODEL_C);
    struct answer *a = client_submit(c, client_text("ann", prompt_of("ann", 700), 10));
    client_finish(c, a);
    ck_assert_int_eq(a->err, ERR_CONTEXT_LENGTH);
    ck_assert(strstr(a->error, "700") && strstr(a->error, "600"));
    a = client_ask(c, client_text("ann", prompt_of("bob", 590), 0)); /* what the context leaves */
    ck_assert_uint_le(a->n_tokens, 10);
    int32_t ids[] = {1, 2, 99999};
    struct msg m = client_text("ann", "", 5);
    m.submit.kind = MSG_KIND_TOKENS;
    m.submit.prompt_ids = (struct msg_tokens){ids, 3};
    a = client_submit(c, m);
    client_finish(c, a);
    ck_assert_int_eq(a->err, ERR_INVALID);
    ck_assert(strstr(a->error, "99999"));
    client_stop(c);
}
END_TEST

START_TEST(agents_take_turns_in_a_small_pool) { /* C8 */
    enum { AGENTS = 25 };
    struct client *c = client_start(1);
    client_load(c, MODEL_A);
    struct msg_configured *got = client_configure(c, 150000, 3); /* some blocks: not nearly enough for all */
    ck_assert_uint_lt(got->n_blocks, AGENTS);
    char *prompts[AGENTS];
    struct answer *first[AGENTS];
    for (int i = 0; i < AGENTS; i++) {
        char name[32];
        snprintf(name, sizeof name, "agent %d", i);
        prompts[i] = join(prompt_of(name, 300), "", "");
        first[i] = client_submit(c, client_text(name, prompts[i], 20));
    }
    for (int i = 0; i < AGENTS; i++) client_finish(c, first[i]);
    for (int i = 0; i < AGENTS; i++) {
        char name[32];
        snprintf(name, sizeof name, "agent %d", i);
        ck_assert_msg(!first[i]->failed, "%s", first[i]->error);
        char *second = join(prompts[i], text_of(first[i]), " next");
        struct answer *a = client_ask(c, client_text(name, second, 10));
        ck_assert_msg(a->done.cached_tokens * 10 >= a->done.prompt_tokens * 9, "%s: %u of %u", name,
                      a->done.cached_tokens, a->done.prompt_tokens);
        free(second);
        free(prompts[i]);
    }
    client_stop(c);
}
END_TEST

START_TEST(agents_are_listed_and_deleted) { /* C12 */
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    client_ask(c, client_text("ann@example.org", prompt_of("ann", 600), 20));
    while (c->n_stats < 2) client_step(c); /* the list is published behind the answer */
    struct json *all = query(c, MSG_QUERY_AGENTS, "");
    const struct json *ann = json_at(json_get(all, "agents"), 0);
    ck_assert_str_eq(json_string(json_get(ann, "id"), NULL), "ann@example.org");
    ck_assert(json_bool(json_get(ann, "resident"), false));
    ck_assert(json_bool(json_get(ann, "saved"), false));
    json_free(all);
    struct json *gone = query(c, MSG_QUERY_AGENT_DELETE, "ann@example.org");
    ck_assert_int_ge(json_int(json_get(gone, "files"), 0), 3);
    json_free(gone);
    struct answer *a = client_ask(c, client_text("ann@example.org", prompt_of("ann", 600), 20));
    ck_assert_uint_eq(a->done.cached_tokens, 0);
    ck_assert_ptr_null(query(c, MSG_QUERY_AGENT, "nobody else"));
    client_leave(c);
    json_free(all = query(c, MSG_QUERY_AGENTS, "")); /* with an empty seat too */
    ck_assert_ptr_nonnull(all);
    client_stop(c);
}
END_TEST

START_TEST(a_measuring_seat_only_measures) {
    struct client *c = client_start_full("", 1, true);
    struct msg m = {.type = MSG_TYPE_MEASURE,
                    .measure = {.op = 1,
                                .path = client_model[MODEL_A],
                                .kv = (char *)(uintptr_t) "q8_0",
                                .n_cells = 1024,
                                .n_seqs = 4}};
    ck_assert_uint_gt(client_op(c, &m, MSG_TYPE_MEASURED)->measured.weights_bytes, 0);
    channel_free(TAKE(c->channel));
    ck_assert_int_eq(client_status(c), 0);
}
END_TEST

START_TEST(streams_share_the_seat) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    struct answer *a[12];
    for (int i = 0; i < 12; i++) {
        char name[32], prompt[96];
        snprintf(name, sizeof name, "agent%d", i);
        snprintf(prompt, sizeof prompt, "%d [[len=%d]] [[say:-%d-]]", i, 20 + i * 9, i);
        a[i] = client_submit(c, client_text(name, prompt, 0));
    }
    for (int i = 0; i < 12; i++) {
        client_finish(c, a[i]);
        ck_assert_uint_eq(a[i]->n_tokens, (uint32_t)(20 + i * 9 + (i > 9 ? 4 : 3) + 1));
    }
    client_stop(c);
}
END_TEST

int main(void) {
    TCase *t = tcase_create("seat");
    tcase_add_checked_fixture(t, client_files, client_files_remove);
    tcase_add_loop_test(t, a_moved_agent_equals_one_that_stayed, 0, 6);
    tcase_add_loop_test(t, a_moved_agent_equals_one_that_stayed_with_a_window, 0, 4);
    tcase_add_loop_test(t, a_parked_stream_goes_on, 0, 2);
    tcase_add_loop_test(t, a_parked_stream_goes_on_inside_an_emoji, 0, 4);
    tcase_add_loop_test(t, a_parked_chat_goes_on, 0, 3);
    const TTest *const tests[] = {submits_stream_and_end,
                                  chats_and_tools,
                                  a_flipped_byte_is_seen,
                                  a_restart_keeps_the_agents,
                                  nothing_new_writes_nothing,
                                  same_shape_other_weights,
                                  a_shared_beginning_is_reused_by_others,
                                  nobodys_prompts_are_written_when_used_twice,
                                  regenerating_reads_no_prompt,
                                  a_moved_stream_keeps_its_prompts_tokens,
                                  a_replay_that_had_ended_is_done,
                                  stops_cut_across_tokens,
                                  counting_reads_nothing,
                                  looks_answer_at_once_and_start_nothing,
                                  a_prompt_is_said_when_it_is_wanted,
                                  looks_answer_at_once_and_start_nothing,
                                  a_model_may_be_asked_not_to_think,
                                  too_long_prompts_say_both_numbers,
                                  agents_take_turns_in_a_small_pool,
                                  agents_are_listed_and_deleted,
                                  a_measuring_seat_only_measures,
                                  streams_share_the_seat};
    for (size_t i = 0; i < ARRAY_LEN(tests); i++) tcase_add_test(t, tests[i]);
    return check_run_case("seat", t);
}
