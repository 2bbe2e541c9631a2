/* What is in the cells or on the disk is not read again: two at once (C2), a retry, a branch (C4), tails without waste. */
#include "seat_client.h"

#define SHARED 4000 /* tokens: 15 blocks and some */
#define SHARED_BLOCKS (SHARED / 256 * 256)

static char *everybody(const char *end) {
    static char shared[SHARED + 1];
    for (size_t at = 0; at < SHARED; at++) shared[at] = (char)('a' + at * at % 23);
    return join(shared, end, " [[len=30]]");
}

/* The same request alone, on a seat that knows nothing. */
static void equals_alone(struct answer *a, int model, const char *prompt) {
    char cache[96];
    snprintf(cache, sizeof cache, "%s/alone%p", client_dir, (void *)a);
    struct client *c = client_start_full(cache, 1, false);
    client_seat(c, model);
    struct answer *alone = client_ask(c, client_text("alone", prompt, 40));
    ck_assert_uint_eq(alone->done.cached_tokens, 0);
    ck_assert_str_eq(a->logits, alone->logits);
    ck_assert_str_eq(text_of(a), text_of(alone));
    client_stop(c);
}

static void reads_only_its_own(const struct answer *a, uint32_t cached) {
    ck_assert_msg(!a->failed, "%s", a->error);
    ck_assert_uint_eq(a->done.cached_tokens, cached);
    ck_assert_uint_eq(a->done.decoded_tokens, a->done.prompt_tokens - cached + a->n_tokens - 1);
    ck_assert(cached == 0 || a->kv[0]);
}

/* ---- C2, while the other one is still reading ---- */

static const struct {
    int model;
    const char *one, *two, *three;
} together[] = {{MODEL_A, "one", "two", "three"},
                {MODEL_A, "", "", ""},
                {MODEL_A, "same", "same", "same"},
                {MODEL_W, "one", "two", "three"},
                {MODEL_W, "", "", ""}};

START_TEST(who_comes_together_reads_it_once) {
    struct client *c = client_start(1);
    client_seat(c, together[_i].model);
    client_fault(c, "decode_slow", -1, 3);
    char *prompts[] = {everybody("I am one"), everybody("And I two"), everybody("But three")};
    struct answer *a = client_submit(c, client_text(together[_i].one, prompts[0], 40)),
                  *b = client_submit(c, client_text(together[_i].two, prompts[1], 40)),
                  *d = client_submit(c, client_text(together[_i].three, prompts[2], 40));
    client_finish(c, a), client_finish(c, b), client_finish(c, d);
    reads_only_its_own(a, 0);
    reads_only_its_own(b, SHARED_BLOCKS);
    reads_only_its_own(d, SHARED_BLOCKS);
    equals_alone(a, together[_i].model, prompts[0]);
    equals_alone(b, together[_i].model, prompts[1]);
    equals_alone(d, together[_i].model, prompts[2]);
    for (int i = 0; i < 3; i++) free(prompts[i]);
    client_stop(c);
}
END_TEST

/* What was taken over is not written a second time, and is found later. */
START_TEST(what_was_taken_over_is_on_the_disk_once) {
    int model = _i ? MODEL_W : MODEL_A;
    struct client *c = client_start(1);
    client_seat(c, model);
    char *one = everybody("I am one"), *two = everybody("And I two");
    struct answer *a = client_submit(c, client_text("one", one, 40)),
                  *b = client_submit(c, client_text("two", two, 40));
    client_finish(c, a), client_finish(c, b);
    char *next = join(two, text_of(b), " and on");
    client_leave(c);
    uint32_t n = c->n_stats;
    while (c->n_stats < n + 2) client_step(c);
    ck_assert_uint_le(c->stats.blocks_written, 15 + 2 * 2); /* tails: the prompts' and the turns' ends */
    client_seat(c, model);
    ck_assert_uint_ge(client_ask(c, client_text("two", next, 5))->done.cached_tokens, SHARED + 20);
    free(one), free(two), free(next);
    client_stop(c);
}
END_TEST

START_TEST(who_follows_goes_on_when_the_leader_is_cancelled) {
    int model = _i ? MODEL_W : MODEL_A;
    struct client *c = client_start(1);
    client_seat(c, model);
    client_fault(c, "decode_slow", -1, 60); /* eight chunks of 512 */
    char *one = everybody("I am one"), *two = everybody("And I two");
    struct answer *a = client_submit(c, client_text("one", one, 40)),
                  *b = client_submit(c, client_text("two", two, 40));
    while (!a->started) ck_assert(client_step(c));
    usleep(200000);
    struct msg cancel = {.type = MSG_TYPE_CANCEL, .cancel = {.request = c->request - 1}};
    client_send(c, &cancel);
    client_finish(c, a);
    ck_assert_int_eq(a->err, ERR_CANCELED);
    client_fault(c, "decode_slow", 0, 0);
    client_finish(c, b);
    ck_assert_uint_gt(b->done.cached_tokens, 0); /* what the leader had read by then */
    ck_assert_uint_lt(b->done.cached_tokens, SHARED_BLOCKS);
    reads_only_its_own(b, b->done.cached_tokens);
    equals_alone(b, model, two);
    free(one), free(two);
    client_stop(c);
}
END_TEST

START_TEST(who_can_not_take_over_reads_by_itself) {
    int model = _i ? MODEL_W : MODEL_A;
    struct client *c = client_start(1);
    client_seat(c, model);
    client_fault(c, "block_put_fail", 1, 0);
    char *one = everybody("I am one"), *two = everybody("And I two");
    struct answer *a = client_submit(c, client_text("one", one, 40)),
                  *b = client_submit(c, client_text("two", two, 40));
    client_finish(c, a), client_finish(c, b);
    reads_only_its_own(b, b->done.cached_tokens);
    equals_alone(b, model, two);
    free(one), free(two);
    client_stop(c);
}
END_TEST

/* One that shares too little, or comes to a leader whose window has moved on, does not wait. */
START_TEST(who_shares_less_than_a_block_does_not_wait) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    client_fault(c, "decode_slow", -1, 20);
    char *one = everybody("I am one"), *two = everybody("And I two");
    two[0] = '!';
    struct answer *a = client_submit(c, client_text("one", one, 40)),
                  *b = client_submit(c, client_text("two", two, 40));
    while (!b->started) ck_assert(client_step(c));
    ck_assert_uint_eq(a->n_tokens, 0);
    client_finish(c, a), client_finish(c, b);
    reads_only_its_own(b, 0);
    free(one), free(two);
    client_stop(c);
}
END_TEST

/* ---- C4 ---- */

START_TEST(a_retry_reads_no_prompt_though_the_window_has_moved_on) {
    static const uint32_t sizes[] = {100, 255, 256, 257, 300, 511, 700, 1500};
    struct client *c = client_start(1);
    client_seat(c, MODEL_W); /* a window of 300, an answer of 400 */
    char *prompt =
        join(prompt_of("ann", sizes[_i] - 12), "[[len=400]]", ""); /* and the token of its beginning */
    struct answer *a = client_ask(c, client_text("ann", prompt, 500));
    ck_assert_uint_gt(a->n_tokens, 300);
    for (int i = 0; i < 3; i++) {
        if (i == 2) client_leave(c), client_seat(c, MODEL_W);
        struct answer *b = client_ask(c, client_text("ann", prompt, 500));
        reads_only_its_own(b, b->done.prompt_tokens - 1);
        ck_assert_str_eq(a->logits, b->logits);
        ck_assert_str_eq(text_of(a), text_of(b));
    }
    free(prompt);
    client_stop(c);
}
END_TEST

static char *chat_of(const char *system, const char *question) {
    char *s = malloc(strlen(system) + strlen(question) + 128);
    sprintf(s, "[{\"role\":\"system\",\"content\":\"%s\"},{\"role\":\"user\",\"content\":\"%s\"}]", system,
            question);
    return s;
}

START_TEST(the_end_of_a_system_prompt_is_a_restore_point) { /* C2 with a window, one after the other */
    struct client *c = client_start(1);
    client_seat(c, MODEL_W);
    static char system[2001], question[1001];
    memset(system, 's', 2000), memset(question, 'q', 1000);
    char *one = chat_of(system, question), *two = chat_of(system, "and I ask another one");
    client_ask(c, client_chat("one", one, 40));
    client_leave(c);
    client_seat(c, MODEL_W);
    struct answer *b = client_ask(c, client_chat("two", two, 40));
    ck_assert_uint_eq(b->done.cached_tokens, 1792);
    free(one), free(two);
    client_stop(c);
}
END_TEST

START_TEST(where_prompts_parted_is_a_restore_point) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_W);
    for (int i = 0; i < 3; i++) { /* questions on a document of 1,900 tokens, in one message with it */
        char question[] = "x is what I ask, and nothing else";
        question[0] = (char)('0' + i);
        char *prompt = join(prompt_of("The document", 1900), question, "");
        struct answer *a = client_ask(c, client_text("ann", prompt, 40));
        ck_assert_uint_eq(a->done.cached_tokens, i < 2 ? 0 : 1792);
        client_leave(c);
        client_seat(c, MODEL_W);
        free(prompt);
    }
    client_stop(c);
}
END_TEST

/* ---- tails ---- */

struct files {
    uint64_t n, full, bytes, full_bytes;
};
static struct files found;
static int count_file(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)ftw;
    size_t n = strlen(path);
    if (flag != FTW_F || n < 3 || strcmp(path + n - 3, ".kv") != 0) return 0;
    uint64_t size = (uint64_t)st->st_size;
    if (size > found.full_bytes) found.full_bytes = size, found.full = 0;
    found.full += size == found.full_bytes;
    found.n++;
    found.bytes += size;
    return 0;
}
static struct files block_files(void) {
    char blocks[112];
    snprintf(blocks, sizeof blocks, "%s/cache/blocks", client_dir);
    found = (struct files){0};
    nftw(blocks, count_file, 16, FTW_PHYS);
    return found;
}

static void wait_saved(struct client *c, const char *agent, uint32_t n_tokens) {
    for (int64_t until = clock_now_ns() + 10 * NS_PER_S;;) {
        struct json *v = query(c, MSG_QUERY_AGENT, agent);
        const struct json *a = json_at(json_get(v, "agents"), 0);
        bool there = json_bool(json_get(a, "saved"), false) && json_int(json_get(a, "tokens"), 0) == n_tokens;
        json_free(v);
        if (there) return;
        ck_assert_msg(clock_now_ns() < until, "%u tokens are not saved", n_tokens);
        usleep(5000);
    }
}

START_TEST(tails_are_replaced_without_waste) {
    enum { TURNS = 20 };
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    char *said = join("Once upon a time. [[len=2000]]", "", "");
    uint64_t tail_tokens = 0, n_tails = 0;
    uint32_t n_tokens = 0;
    for (int i = 0; i < TURNS; i++) {
        char *prompt = join(said, prompt_of("and", 60 + 7 * (size_t)i), "");
        struct answer *a = client_ask(c, client_text("ann", prompt, 50));
        uint32_t n_prompt = a->done.prompt_tokens;
        n_tokens = n_prompt + a->n_tokens - 1;
        wait_saved(c, "ann", n_tokens);
        uint32_t ends[] = {n_prompt - 1, n_tokens};
        for (int k = 0; k < 2; k++) tail_tokens += ends[k] % 256, n_tails += ends[k] % 256 > 0;
        struct files f = block_files();
        if (n_tokens >= 256) ck_assert_uint_eq(f.full, n_tokens / 256);
        ck_assert_uint_le(f.n, n_tokens / 256 + 2); /* the turn's end, and the prompt's for a retry */
        free(said);
        said = join(prompt, text_of(a), "");
        free(prompt);
    }
    uint32_t n = c->n_stats;
    while (c->n_stats < n + 2) client_step(c);
    struct files f = block_files();
    uint64_t full = n_tokens / 256;
    ck_assert_uint_le(c->stats.blocks_written, full + n_tails);
    ck_assert_uint_le(c->stats.block_bytes_written,
                      full * f.full_bytes + tail_tokens * f.full_bytes / 256 + n_tails * 256);
    ck_assert_uint_le(f.bytes, n_tokens * f.full_bytes / 256 + f.full_bytes +
                                   512); /* a prompt's end beside the turn's */
    free(said);
    client_stop(c);
}
END_TEST

int main(void) {
    TCase *t = tcase_create("reuse");
    tcase_add_checked_fixture(t, client_files, client_files_remove);
    tcase_add_loop_test(t, who_comes_together_reads_it_once, 0, ARRAY_LEN(together));
    tcase_add_loop_test(t, what_was_taken_over_is_on_the_disk_once, 0, 2);
    tcase_add_loop_test(t, who_follows_goes_on_when_the_leader_is_cancelled, 0, 2);
    tcase_add_loop_test(t, who_can_not_take_over_reads_by_itself, 0, 2);
    tcase_add_test(t, who_shares_less_than_a_block_does_not_wait);
    tcase_add_loop_test(t, a_retry_reads_no_prompt_though_the_window_has_moved_on, 0, 8);
    tcase_add_test(t, the_end_of_a_system_prompt_is_a_restore_point);
    tcase_add_test(t, where_prompts_parted_is_a_restore_point);
    tcase_add_test(t, tails_are_replaced_without_waste);
    return check_run_case("reuse", t);
}
