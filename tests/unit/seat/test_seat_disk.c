/* The seat and its disk: files that change under a path, a disk that is full, slow or away for a while, and what is said of it. */
#include "seat_client.h"

#include "base/fault.h"
#include "base/hash.h"

#include <sys/stat.h>

static struct answer *say(struct client *c, const char *agent, size_t n) {
    return client_ask(c, client_text(agent, prompt_of(agent, n), 20));
}

/* Of another seat of the same life: what the store knows of the agent's prompt. */
static uint32_t cached_later(struct client *c, int model, const char *agent, size_t n) {
    client_leave(c);
    client_seat(c, model);
    return say(c, agent, n)->done.cached_tokens;
}

/* Of one of its models, "" the first. -1: there is no such agent. */
static int saved_of(struct client *c, const char *agent, const char *model) {
    struct json *all = query(c, MSG_QUERY_AGENT, agent);
    int yes = -1;
    for (size_t i = json_count(json_get(all, "agents")); i > 0; i--) {
        const struct json *a = json_at(json_get(all, "agents"), i - 1);
        const char *of = json_string(json_get(a, "model"), NULL);
        if (!model[0] || (of && strcmp(of, model) == 0)) yes = json_bool(json_get(a, "saved"), false);
    }
    json_free(all);
    return yes;
}

static int saved(struct client *c, const char *agent) {
    return saved_of(c, agent, "");
}

static void wait_stats(struct client *c, uint32_t n) {
    uint32_t until = c->n_stats + n;
    while (c->n_stats < until) ck_assert(client_step(c));
}

#define WITHIN(c, seconds, condition)                                                                        \
    for (int within = 0; !(condition); within++) {                                                           \
        ck_assert_msg(within < (seconds), "%s", #condition);                                                 \
        wait_stats(c, 1);                                                                                    \
    }

/* ---- one file: weights, hash and header ---- */

static void configured(struct client *c, bool on, char *tag) {
    struct msg_configured *got = client_configure(c, 64u << 20, 4);
    ck_assert_msg((got->cache_on != 0) == on, "%s", got->cache_reason);
    if (!on) ck_assert_str_ne(got->cache_reason, "");
    if (tag) snprintf(tag, HASH128_HEX_SIZE, "%s", got->tag);
}

START_TEST(another_file_under_the_path_while_it_loads) { /* 3 */
    struct client *c = client_start(1);
    client_fault(c, "load_slow", 1, 800);
    msg_free(&c->last);
    c->last = (struct msg){0};
    struct msg m = {.type = MSG_TYPE_LOAD,
                    .load = {.op = ++c->op,
                             .model = (char *)(uintptr_t) "a",
                             .path = client_model[MODEL_A],
                             .kv = (char *)(uintptr_t) "q8_0"}};
    client_send(c, &m);
    while (c->n_progress < 1) ck_assert(client_step(c));
    ck_assert_int_eq(rename(client_model[MODEL_B], client_model[MODEL_A]), 0);
    client_wait(c, MSG_TYPE_LOADED);
    configured(c, false, NULL);
    say(c, "ann", 600); /* it serves */
    client_leave(c);
    client_load(c, MODEL_A); /* and the next load is of one file again */
    configured(c, true, NULL);
    client_stop(c);
}
END_TEST

START_TEST(a_patch_under_the_old_time_is_another_model) { /* 3: touch -r */
    char before[HASH128_HEX_SIZE], after[HASH128_HEX_SIZE];
    struct client *c = client_start(1);
    client_load(c, MODEL_A);
    configured(c, true, before);
    client_leave(c);
    struct stat st;
    ck_assert_int_eq(stat(client_model[MODEL_A], &st), 0);
    usleep(20000);
    int fd = open(client_model[MODEL_A], O_WRONLY);
    ck_assert_int_eq(pwrite(fd, "\x5a", 1, st.st_size - 100), 1);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    ck_assert_int_eq(futimens(fd, times), 0);
    close(fd);
    client_load(c, MODEL_A);
    configured(c, true, after);
    ck_assert_str_ne(before, after);
    client_stop(c);
}
END_TEST

START_TEST(a_larger_pool_takes_the_long_rope) { /* 2 */
    struct gguf_tiny tiny = {.architecture = "phi3", .seed = 9, .context = 8192, .rope_context = 1024};
    static const uint64_t pools[] = {150u << 10, 16u << 20};
    char tags[2][2][HASH128_HEX_SIZE];
    struct client *c = client_start(1);
    for (int rope = 0; rope < 2; rope++) {
        if (!rope) tiny.rope_context = 0;
        ck_assert(gguf_tiny_write(client_model[MODEL_A], &tiny));
        tiny.rope_context = 1024;
        for (int i = 0; i < 2; i++) {
            client_load(c, MODEL_A);
            struct msg_configured *got = client_configure(c, pools[i], 1);
            ck_assert_msg(got->cache_on, "%s", got->cache_reason);
            ck_assert_msg((got->n_cells <= 1024) == (i == 0), "%u cells", got->n_cells);
            snprintf(tags[rope][i], HASH128_HEX_SIZE, "%s", got->tag);
            client_leave(c);
        }
    }
    ck_assert_str_eq(tags[0][0], tags[0][1]);
    ck_assert_str_ne(tags[1][0], tags[1][1]);
    client_stop(c);
}
END_TEST

/* ---- a disk that fails for a while ---- */

START_TEST(what_was_not_saved_is_saved_when_the_disk_is_back) { /* 12 */
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    client_fault(c, "disk_full", -1, 0);
    say(c, "ann", 600), say(c, "bob", 700);
    WITHIN(c, 5, c->stats.unsaved_agents == 2);
    ck_assert_int_eq(saved(c, "ann"), 0);
    client_fault(c, "disk_full", 0, 0);
    WITHIN(c, 20, c->stats.unsaved_agents == 0); /* nobody asks for anything meanwhile */
    WITHIN(c, 3, saved(c, "ann") == 1 && saved(c, "bob") == 1);
    ck_assert_uint_ge(cached_later(c, MODEL_A, "ann", 600), 512);
    client_stop(c);
}
END_TEST

START_TEST(a_full_disk_costs_nobody_anything) { /* PROBE (room.c) */
    struct client *c = client_start(2);
    client_seat(c, MODEL_A);
    client_fault(c, "decode_slow", -1, 20);
    client_fault(c, "disk_full", -1, 0);
    struct answer *b = client_submit(c, client_text("bob", "hello [[len=1500]]", 2000));
    while (b->n_tokens < 2) ck_assert(client_step(c));
    say(c, "ann", 2600); /* more blocks than are taken in two turns of the loop beside bob */
    uint64_t failures = c->stats.write_failures;
    wait_stats(c, 3);
    ck_assert(!b->ended);
    ck_assert_uint_le(c->stats.write_failures - failures, 6); /* not one in each turn of the loop */
    client_fault(c, "disk_full", 0, 0);
    WITHIN(c, 8, saved(c, "ann") == 1); /* beside bob, too */
    ck_assert(!b->ended);
    client_fault(c, "decode_slow", 0, 0);
    client_finish(c, b);
    client_stop(c);
}
END_TEST

START_TEST(an_idle_agent_that_is_not_saved_stays) { /* 12 */
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    client_fault(c, "idle_short", -1, 300);
    client_fault(c, "disk_full", -1, 0);
    say(c, "ann", 600);
    wait_stats(c, 4);
    ck_assert_uint_eq(c->stats.agents_resident, 1);
    ck_assert_uint_ge(say(c, "ann", 600)->done.cached_tokens, 512); /* from the cells */
    client_fault(c, "disk_full", 0, 0);
    WITHIN(c, 40, c->stats.agents_resident == 0); /* it leaves when it is on the disk */
    ck_assert_int_eq(saved(c, "ann"), 1);
    ck_assert_uint_ge(say(c, "ann", 600)->done.cached_tokens, 512);
    client_stop(c);
}
END_TEST

START_TEST(an_agent_whose_last_turn_is_lost_is_not_saved) { /* 13 */
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    say(c, "ann", 600);
    WITHIN(c, 5, saved(c, "ann") == 1);
    client_fault(c, "disk_full", -1, 0);
    client_ask(c, client_text("ann", "quite another thing, and long enough to be more than nothing", 20));
    client_leave(c);
    ck_assert_int_eq(saved(c, "ann"), 0); /* the store has an older chain of hers */
    client_fault(c, "disk_full", 0, 0);
    client_seat(c, MODEL_B); /* what another model saves is not what this one lost */
    say(c, "ann", 600);
    client_leave(c);
    WITHIN(c, 3, saved_of(c, "ann", "b") == 1); /* the list is published behind the answer */
    ck_assert_int_eq(saved_of(c, "ann", "a"), 0);
    wait_stats(c, 2);
    ck_assert_uint_eq(c->stats.unsaved_agents, 1);
    json_free(query(c, MSG_QUERY_AGENT_DELETE, "ann"));
    wait_stats(c, 2);
    ck_assert_uint_eq(c->stats.unsaved_agents, 0); /* who was deleted is not waited for */
    client_stop(c);
}
END_TEST

START_TEST(who_is_only_resident_is_deleted_too) { /* 15 */
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    client_fault(c, "disk_full", -1, 0);
    say(c, "ann", 600);
    WITHIN(c, 5, saved(c, "ann") == 0);
    struct json *gone = query(c, MSG_QUERY_AGENT_DELETE, "ann");
    ck_assert_ptr_nonnull(gone);
    ck_assert_int_eq(json_int(json_get(gone, "deleted"), 0), 1);
    ck_assert_int_eq(json_int(json_get(gone, "files"), -1), 0);
    json_free(gone);
    WITHIN(c, 5, saved(c, "ann") == -1);
    ck_assert_uint_eq(say(c, "ann", 600)->done.cached_tokens, 0);
    ck_assert_ptr_null(query(c, MSG_QUERY_AGENT_DELETE, "nobody"));
    client_stop(c);
}
END_TEST

START_TEST(the_next_turn_of_who_was_deleted_is_cold) { /* DELETED: the answer, the deletion, the next turn */
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    char *talk = join(prompt_of("ann", 600), "", "");
    for (int i = 0; i < 40; i++) {
        struct answer *a = client_ask(c, client_text("ann", talk, 20));
        ck_assert_uint_eq(a->done.cached_tokens, 0);
        char *more = join(talk, text_of(a), " And then?");
        free(talk);
        talk = more;
        json_free(query(c, i % 2 ? MSG_QUERY_AGENT_DELETE : MSG_QUERY_CACHE_DELETE, i % 2 ? "ann" : ""));
    }
    free(talk);
    struct json *cache = query(c, MSG_QUERY_CACHE, "");
    ck_assert_int_eq(json_int(json_get(cache, "blocks"), -1), 0);
    json_free(cache);
    client_stop(c);
}
END_TEST

START_TEST(who_is_deleted_while_it_runs_is_saved_anew) { /* DELETED */
    struct client *c = client_start(1);
    client_seat(c, MODEL_SLOW);
    char *prompt =
        join(prompt_of("ann", 600), " [[len=400]]", ""); /* long enough for a disk that is slow just then */
    for (uint32_t i = 0; i < 3; i++) {
        struct answer *a = client_submit(c, client_text("ann", prompt, 800));
        while (a->n_tokens < 1 + i * 20) ck_assert(client_step(c));
        json_free(query(c, MSG_QUERY_CACHE_DELETE, ""));
        ck_assert(!a->ended);
        client_finish(c, a);
        ck_assert_uint_ge(cached_later(c, MODEL_SLOW, "ann", 600), 512);
        json_free(query(c, MSG_QUERY_CACHE_DELETE, ""));
    }
    free(prompt);
    client_stop(c);
}
END_TEST

START_TEST(a_store_that_could_not_be_opened_is_opened_later) { /* 11 */
    char cache[104], file[96];
    snprintf(file, sizeof file, "%s/x", client_dir);
    snprintf(cache, sizeof cache, "%s/cache", file);
    FILE *f = fopen(file, "w"); /* where a folder must be */
    fclose(f);
    struct client *c = client_start_full(cache, 1, false);
    client_load(c, MODEL_A);
    configured(c, false, NULL);
    say(c, "ann", 600);
    struct json *v = query(c, MSG_QUERY_CACHE, "");
    ck_assert(!json_bool(json_get(v, "on"), true));
    ck_assert_str_ne(json_string(json_get(v, "reason"), NULL), "");
    json_free(v);
    wait_stats(c, 2);
    ck_assert_uint_ge(c->stats.write_failures, 1);
    ck_assert_uint_eq(c->stats.unsaved_agents, 1);
    ck_assert_int_eq(unlink(file), 0);
    WITHIN(c, 40, c->stats.unsaved_agents == 0);
    v = query(c, MSG_QUERY_CACHE, "");
    ck_assert(json_bool(json_get(v, "on"), true));
    json_free(v);
    ck_assert_uint_ge(cached_later(c, MODEL_A, "ann", 600), 512);
    client_stop(c);
}
END_TEST

START_TEST(a_cache_folder_that_vanished_is_made_anew) { /* 14 */
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s/cache", client_dir);
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    say(c, "ann", 600);
    WITHIN(c, 5, saved(c, "ann") == 1);
    wait_stats(c, 1);
    uint64_t failures = c->stats.write_failures, written = c->stats.blocks_written;
    ck_assert_int_eq(system(command), 0);
    struct answer *a = client_ask(c, client_text("ann", prompt_of("ann", 1400), 20));
    ck_assert(!a->failed);
    WITHIN(c, 20, c->stats.blocks_written >= written + 5 && saved(c, "ann") == 1);
    ck_assert_uint_gt(c->stats.write_failures, failures);
    ck_assert_uint_ge(cached_later(c, MODEL_A, "ann", 1400), 1280);
    client_stop(c);
}
END_TEST

/* ---- a slow disk ---- */

START_TEST(who_reads_does_not_wait_for_others_writes) { /* 10 */
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    say(c, "bob", 1000);
    client_leave(c);
    client_seat(c, MODEL_A);
    client_fault(c, "disk_slow", -1, 30);
    say(c, "ann", 3900); /* 15 blocks, each several slow calls */
    int64_t began = clock_now_ns();
    struct answer *a = say(c, "bob", 1000);
    ck_assert_uint_ge(a->done.cached_tokens, 768);
    ck_assert_int_lt(clock_now_ns() - began, 1500 * NS_PER_MS);
    client_fault(c, "disk_slow", 0, 0);
    ck_assert_uint_ge(cached_later(c, MODEL_A, "ann", 3900), 3840); /* and nothing is lost by it */
    client_stop(c);
}
END_TEST

/* ---- a folder that is still being looked through ---- */

static bool is_scanning(struct client *c) {
    struct json *v = query(c, MSG_QUERY_CACHE, "");
    bool yes = json_bool(json_get(v, "scanning"), false);
    json_free(v);
    return yes;
}

/* A seat for a folder with three agents, each disk call so slow that the look through it takes about 7 s: two calls for each of 34 folders
 * that the database tells of, some more for headers. */
static struct client *start_scanning(bool database) {
    char path[128];
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    say(c, "ann", 3900), say(c, "bob", 1000), say(c, "cid", 3900);
    client_leave(c);
    client_stop(c);
    snprintf(path, sizeof path, "%s/cache/index.db", client_dir);
    if (!database) ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(fault_arm("disk_slow", -1, database ? 80 : 25), ERR_OK); /* the seat inherits it */
    c = client_start(2);
    ck_assert_int_eq(fault_arm("disk_slow", 0, 0), ERR_OK);
    client_seat(c, MODEL_A);
    ck_assert(is_scanning(c));
    return c;
}

START_TEST(what_is_said_while_it_scans_is_saved_when_it_is_over) {
    struct client *c = start_scanning(true);
    say(c, "dan", 600);
    ck_assert_uint_ge(say(c, "bob", 1000)->done.cached_tokens, 768); /* what the database tells of is read */
    ck_assert(is_scanning(c));
    ck_assert_int_eq(saved(c, "dan"), 0);
    wait_stats(c, 2);
    ck_assert_uint_eq(c->stats.write_failures, 0); /* it waits, nobody has refused it */
    client_fault(c, "disk_slow", 0, 0);
    WITHIN(c, 20, !is_scanning(c));
    WITHIN(c, 2, saved(c, "dan") == 1);
    wait_stats(c, 2);
    ck_assert_uint_eq(c->stats.write_failures + c->stats.unsaved_agents, 0);
    ck_assert_uint_ge(cached_later(c, MODEL_A, "dan", 600), 512);
    client_stop(c);
}
END_TEST

START_TEST(a_model_that_leaves_while_it_scans_leaves_nothing_behind) {
    struct client *c = start_scanning(false);
    say(c, "dan", 600);
    ck_assert(is_scanning(c));
    struct msg evict = {.type = MSG_TYPE_EVICT, .evict = {.op = ++c->op}};
    msg_free(&c->last);
    c->last = (struct msg){0};
    client_send(c, &evict);
    ck_assert_uint_eq(client_wait(c, MSG_TYPE_EVICTED)->evicted.unsaved, 0);
    ck_assert(!is_scanning(c)); /* the rest was looked through first */
    client_fault(c, "disk_slow", 0, 0);
    ck_assert_uint_ge(cached_later(c, MODEL_A, "dan", 600), 512);
    ck_assert_uint_ge(say(c, "ann", 3900)->done.cached_tokens, 3840);
    client_stop(c);
}
END_TEST

START_TEST(a_deletion_while_it_scans_is_of_all) {
    struct client *c = start_scanning(false);
    say(c, "dan", 600); /* waits for the disk */
    ck_assert(is_scanning(c));
    client_fault(c, "disk_slow", -1, 5);
    for (int i = 0; i < 2; i++) { /* in a file that was not seen yet, in the queue */
        struct json *gone = query(c, MSG_QUERY_AGENT_DELETE, i ? "dan" : "ann");
        ck_assert_ptr_nonnull(gone);
        ck_assert_int_eq(json_int(json_get(gone, "deleted"), 0), 1);
        ck_assert_int_ge(json_int(json_get(gone, "files"), 0), 3);
        json_free(gone);
    }
    ck_assert(!is_scanning(c));
    client_fault(c, "disk_slow", 0, 0);
    client_leave(c);
    ck_assert_int_eq(saved(c, "ann"), -1);
    ck_assert_int_eq(saved(c, "dan"), -1);
    ck_assert_int_eq(saved(c, "bob"), 1);
    client_seat(c, MODEL_A);
    ck_assert_uint_eq(say(c, "dan", 600)->done.cached_tokens, 0);
    client_stop(c);
}
END_TEST

START_TEST(all_of_the_cache_is_deleted_while_it_scans) {
    struct client *c = start_scanning(false);
    say(c, "dan", 600);
    ck_assert(is_scanning(c));
    client_fault(c, "disk_slow", 0, 0);
    struct json *gone = query(c, MSG_QUERY_CACHE_DELETE, "");
    ck_assert_int_ge(json_int(json_get(gone, "files"), 0), 34);
    json_free(gone);
    gone = query(c, MSG_QUERY_CACHE, "");
    ck_assert_int_eq(json_int(json_get(gone, "blocks"), -1), 0);
    json_free(gone);
    client_leave(c);
    client_seat(c, MODEL_A);
    ck_assert_uint_eq(say(c, "ann", 3900)->done.cached_tokens, 0);
    client_stop(c);
}
END_TEST

/* ---- more of disks that fail, and what is listed ---- */

START_TEST(what_was_in_a_folder_that_vanished_is_written_anew) { /* 14: also of those that ask for nothing */
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s/cache", client_dir);
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    say(c, "ann", 600);
    WITHIN(c, 5, saved(c, "ann") == 1);
    ck_assert_int_eq(system(command), 0);
    say(c, "bob", 1400); /* it is noticed, and the folder made anew */
    WITHIN(c, 20, saved(c, "bob") == 1);
    WITHIN(c, 20, saved(c, "ann") == 1);
    ck_assert_uint_ge(cached_later(c, MODEL_A, "ann", 600), 512);
    client_stop(c);
}
END_TEST

START_TEST(a_tail_that_was_given_up_is_lost) { /* 13 */
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    char *talk = join(prompt_of("ann", 600), "", "");
    struct answer *a = client_ask(c, client_text("ann", talk, 20));
    WITHIN(c, 5, saved(c, "ann") == 1);
    client_fault(c, "block_take_fail", -1, 0);
    char *more = join(talk, text_of(a), " And then?");
    client_ask(c, client_text("ann", more, 20)); /* no block is filled by it */
    ck_assert_uint_eq(client_leave(c).unsaved, 1);
    ck_assert_int_eq(saved(c, "ann"), 0);
    WITHIN(c, 3, c->stats.unsaved_agents == 1);
    client_fault(c, "block_take_fail", 0, 0);
    free(talk), free(more);
    client_stop(c);
}
END_TEST

START_TEST(who_has_a_part_unsaved_is_not_saved) {
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    client_fault(c, "decode_slow", -1, 20);
    struct answer *a = client_submit(c, client_text("ann", "a long one [[len=250]]", 300));
    while (a->n_tokens < 2) ck_assert(client_step(c));
    client_ask(
        c, client_text("ann", "quite another thing [[len=3]]", 20)); /* the newer one, and saved at once */
    for (int i = 0; i < 2; i++) {
        wait_stats(c, 1);
        ck_assert_int_eq(saved(c, "ann"), 0);
        ck_assert(!a->ended);
    }
    client_finish(c, a);
    WITHIN(c, 5, saved(c, "ann") == 1);
    client_stop(c);
}
END_TEST

START_TEST(who_was_deleted_is_not_listed) { /* though the engine thread is busy, and has not heard of it */
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    say(c, "ann", 600);
    ck_assert_uint_eq(c->stats.agents_resident, 1); /* LAST WORD */
    WITHIN(c, 5, saved(c, "ann") == 1);
    client_fault(c, "decode_slow", -1, 1500);
    struct answer *b = client_submit(c, client_text("bob", "hello [[len=3]]", 5));
    while (!b->started) ck_assert(client_step(c));
    usleep(200000);
    json_free(query(c, MSG_QUERY_AGENT_DELETE, "ann"));
    ck_assert_int_eq(saved(c, "ann"), -1);
    client_fault(c, "decode_slow", 0, 0);
    client_finish(c, b);
    ck_assert_int_eq(saved(c, "ann"), -1);
    WITHIN(c, 5, saved(c, "bob") == 1);
    client_stop(c);
}
END_TEST

START_TEST(a_disk_that_hangs_is_not_waited_for) { /* C6 */
    struct client *c = client_start(1);
    client_seat(c, MODEL_A);
    client_fault(c, "disk_slow", -1, 8000); /* a block takes several calls */
    say(c, "ann", 600);
    usleep(200000); /* its first block is being written */
    int64_t began = clock_now_ns();
    say(c, "bob", 600);
    ck_assert_int_lt(clock_now_ns() - began, 14 * NS_PER_S); /* the splice and the plan */
    client_fault(c, "disk_slow", 0, 0);
    ck_assert_uint_ge(cached_later(c, MODEL_A, "bob", 600), 512);
    client_stop(c);
}
END_TEST

int main(void) {
    TCase *t = tcase_create("seat_disk");
    tcase_add_checked_fixture(t, client_files, client_files_remove);
    const TTest *const tests[] = {another_file_under_the_path_while_it_loads,
                                  a_patch_under_the_old_time_is_another_model,
                                  a_larger_pool_takes_the_long_rope,
                                  what_was_not_saved_is_saved_when_the_disk_is_back,
                                  a_full_disk_costs_nobody_anything,
                                  an_idle_agent_that_is_not_saved_stays,
                                  an_agent_whose_last_turn_is_lost_is_not_saved,
                                  who_is_only_resident_is_deleted_too,
                                  the_next_turn_of_who_was_deleted_is_cold,
                                  who_is_deleted_while_it_runs_is_saved_anew,
                                  a_store_that_could_not_be_opened_is_opened_later,
                                  a_cache_folder_that_vanished_is_made_anew,
                                  who_reads_does_not_wait_for_others_writes,
                                  what_is_said_while_it_scans_is_saved_when_it_is_over,
                                  a_model_that_leaves_while_it_scans_leaves_nothing_behind,
                                  a_deletion_while_it_scans_is_of_all,
                                  all_of_the_cache_is_deleted_while_it_scans,
                                  what_was_in_a_folder_that_vanished_is_written_anew,
                                  a_tail_that_was_given_up_is_lost,
                                  who_has_a_part_unsaved_is_not_saved,
                                  who_was_deleted_is_not_listed,
                                  a_disk_that_hangs_is_not_waited_for};
    for (size_t i = 0; i < ARRAY_LEN(tests); i++) tcase_add_test(t, tests[i]);
    return check_run_case("seat_disk", t);
}
