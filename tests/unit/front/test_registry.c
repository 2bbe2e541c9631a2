/* Models on the disk: what is found, what comes and goes, under which names. */
#include "front/registry.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "../check_run.h"
#include "../gguf_tiny.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "tmp_folder.h"

static char folder[64];
static struct config *config;
static struct scan *scan;
static struct registry *registry;
static int changes;
static bool used;

static void on_change(void *ctx, struct model *m, enum model_state from) {
    (void)ctx;
    ck_assert_int_ne(m->state, from);
    changes++;
}
static bool in_use(const void *ctx, const struct model *m) {
    (void)ctx;
    (void)m;
    return used;
}

static const char *in_folder(const char *name) {
    static char path[4][160];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void put(const char *name, uint8_t seed) {
    ck_assert(gguf_tiny_write(in_folder(name), &(struct gguf_tiny){.seed = seed, .layers = 2u + seed}));
}

static void put_text(const char *name, const char *text) {
    FILE *f = fopen(in_folder(name), "w");
    fputs(text, f);
    fclose(f);
}

static void look(void) {
    struct scan_result *found;
    ck_assert_int_eq(scan_run(scan, &found), ERR_OK);
    ck_assert_int_eq(registry_apply(registry, found, in_use, NULL), ERR_OK);
    scan_result_free(found);
}

static void open_with(const char *sections) {
    char why[256], a[160], b[160];
    bool help;
    put_text("x.ini", sections);
    snprintf(a, sizeof a, "--models=%s", folder);
    snprintf(b, sizeof b, "--config=%s/x.ini", folder);
    char *argv[] = {a, b};
    ck_assert_msg(config_load(2, argv, &config, &help, why, sizeof why) == ERR_OK, "%s", why);
    ck_assert_int_eq(scan_open(config, &scan), ERR_OK);
    ck_assert_int_eq(registry_open(config, on_change, NULL, &registry), ERR_OK);
    changes = 0;
    used = false;
}

static void setup(const char *sections) {
    log_open(LOG_ERROR, "test");
    snprintf(folder, sizeof folder, "/tmp/hotseat-registry-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    open_with(sections);
}

static void teardown(void) {
    scan_free(scan);
    registry_free(registry);
    config_free(config);
    tmp_folder_remove(folder);
    ck_assert_int_eq(mem_live_count(), 0);
}

static struct model *find(const char *name) {
    return registry_find(registry, name);
}

START_TEST(files_become_models) {
    setup("");
    put("b.gguf", 1);
    put("a.gguf", 2);
    put("big-00001-of-00002.gguf", 3);
    put("big-00002-of-00002.gguf", 3);
    put(".hidden.gguf", 4);
    put("default.gguf", 5);
    put_text("readme.txt", "x");
    put_text("text.gguf", "not a model");
    put_text("empty.gguf", "");
    ck_assert_int_eq(mkdir(in_folder("dir.gguf"), 0700), 0);
    look();
    ck_assert_uint_eq(registry_count(registry), 5);
    ck_assert_str_eq(registry_at(registry, 0)->id, "a");
    ck_assert_int_eq(find("a")->state, MODEL_AVAILABLE);
    ck_assert_uint_eq(find("a")->info.spec.n_layers, 4);
    ck_assert(find("a")->created_s > 1600000000);
    ck_assert_ptr_nonnull(find("big"));
    ck_assert_ptr_null(find("default"));
    ck_assert_int_eq(find("text")->state, MODEL_INVALID);
    ck_assert_uint_gt(strlen(find("text")->reason), 5);
    ck_assert_int_eq(find("empty")->state, MODEL_INVALID);
    ck_assert_ptr_eq(registry_first(registry), find("a"));
    int before = changes;
    look(); /* nothing new */
    ck_assert_int_eq(changes, before);
    teardown();
}
END_TEST

START_TEST(files_come_and_go) {
    setup("");
    put("a.gguf", 1);
    look();
    put("b.gguf", 2);
    look();
    ck_assert_int_eq(find("b")->state, MODEL_AVAILABLE);
    unlink(in_folder("b.gguf"));
    used = true;
    look();
    ck_assert_int_eq(find("b")->state, MODEL_GONE);
    put("b.gguf", 3);
    look();
    ck_assert_int_eq(find("b")->state, MODEL_AVAILABLE);
    ck_assert_uint_eq(find("b")->info.spec.n_layers, 5);
    unlink(in_folder("b.gguf"));
    used = false;
    look();
    ck_assert_ptr_null(find("b"));
    teardown();
}
END_TEST

START_TEST(seated_model_keeps_its_seat_when_its_file_goes) {
    setup("");
    put("a.gguf", 1);
    look();
    struct model *a = find("a");
    registry_set_state(registry, a, MODEL_LOADING, NULL);
    registry_set_state(registry, a, MODEL_SEATED, NULL);
    unlink(in_folder("a.gguf"));
    look();
    ck_assert_int_eq(a->state, MODEL_SEATED);
    ck_assert(a->file_gone);
    teardown();
}
END_TEST

START_TEST(changed_file_is_another_model) {
    setup("");
    put("a.gguf", 1);
    put_text("bad.gguf", "x");
    look();
    struct model *a = find("a");
    a->measure.known = true;
    look();
    ck_assert(a->measure.known);
    registry_set_state(registry, a, MODEL_LOADING, NULL);
    registry_fail(registry, a, 0, "for a test");
    put("a.gguf", 2);
    put("bad.gguf", 1);
    look();
    ck_assert(!a->measure.known);
    ck_assert_int_eq(a->state, MODEL_AVAILABLE);
    ck_assert_int_eq(find("bad")->state, MODEL_AVAILABLE);
    ck_assert_ptr_null(find("bad")->reason);
    put_text("a.gguf", "broken");
    look();
    ck_assert_int_eq(a->state, MODEL_INVALID);
    teardown();
}
END_TEST

START_TEST(cooldown_doubles) {
    setup("");
    put("a.gguf", 1);
    look();
    struct model *a = find("a");
    registry_set_state(registry, a, MODEL_LOADING, NULL);
    registry_fail(registry, a, 100, "it broke");
    ck_assert_int_eq(a->state, MODEL_FAILED);
    ck_assert_str_eq(a->reason, "it broke");
    ck_assert(registry_cooling(registry, a, 100 + MODEL_COOLDOWN_MIN_NS - 1));
    ck_assert(!registry_cooling(registry, a, 100 + MODEL_COOLDOWN_MIN_NS));
    ck_assert_int_eq(a->state, MODEL_AVAILABLE);
    registry_set_state(registry, a, MODEL_LOADING, NULL);
    registry_fail(registry, a, 0, "again");
    ck_assert_int_eq(a->cooldown_until_ns, 2 * MODEL_COOLDOWN_MIN_NS);
    for (int i = 0; i < 20; i++) {
        registry_set_state(registry, a, MODEL_LOADING, NULL);
        registry_fail(registry, a, 0, "again");
    }
    ck_assert_int_eq(a->cooldown_until_ns, MODEL_COOLDOWN_MAX_NS);
    teardown();
}
END_TEST

START_TEST(sections_give_names_and_settings) {
    setup("[model a]\nalias = gpt, b\nkv = f16\npin = on\ntemplate = gemma\ncontext = 512\n"
          "[model other]\npath = /nowhere/x.gguf\nalias = o\n");
    put("a.gguf", 1);
    put("b.gguf", 2);
    look();
    ck_assert_ptr_eq(find("gpt"), find("a"));
    ck_assert_str_eq(find("b")->id, "b"); /* an id wins over an alias */
    ck_assert_int_eq(find("a")->kv, KV_F16);
    ck_assert_int_eq(find("b")->kv, KV_Q8_0);
    ck_assert(find("a")->pin);
    ck_assert_uint_eq(find("a")->context, 512);
    ck_assert_str_eq(find("a")->template_family, "gemma");
    ck_assert_str_eq(find("a")->template_source, "");
    teardown();
}
END_TEST

START_TEST(section_with_a_path_and_a_template_file) {
    setup("");
    char text[512];
    ck_assert_int_eq(mkdir(in_folder("far"), 0700), 0);
    put("far/x.gguf", 3);
    put_text("t.jinja", "{{ messages }}");
    snprintf(text, sizeof text,
             "[model away]\npath = %s/far/x.gguf\ntemplate = %s/t.jinja\n[model lost]\npath = %s/no.gguf\n",
             folder, folder, folder);
    put_text("x.ini", text);
    char b[160], why[256];
    bool help;
    struct config *again;
    snprintf(b, sizeof b, "--config=%s/x.ini", folder);
    char *argv[] = {b};
    ck_assert_int_eq(config_load(1, argv, &again, &help, why, sizeof why), ERR_OK);
    ck_assert_int_eq(scan_set_sections(scan, again), ERR_OK);
    ck_assert_int_eq(registry_set_sections(registry, again, NULL), ERR_OK);
    used = true;
    look();
    ck_assert_int_eq(find("away")->state, MODEL_AVAILABLE);
    ck_assert_str_eq(find("away")->template_source, "{{ messages }}");
    ck_assert_str_eq(find("away")->template_family, "");
    ck_assert_ptr_nonnull(find("lost"));
    ck_assert_int_eq(find("lost")->state, MODEL_GONE);
    put("far/x.gguf", 4);
    unlink(in_folder("t.jinja"));
    look();
    ck_assert_int_eq(find("away")->state, MODEL_INVALID);
    config_free(again);
    teardown();
}
END_TEST

/* A hand-made look at one file. */
static void found(const char *id, enum err err) {
    struct model *m = find(id);
    struct scan_found f = {
        .id = m->id, .path = m->path, .identity = m->identity, .info = m->info, .err = err};
    struct scan_result result = {.found = &f, .n_found = 1};
    ck_assert_int_eq(registry_apply(registry, &result, in_use, NULL), ERR_OK);
}

START_TEST(what_the_scan_could_not_read_comes_back_when_it_can) {
    setup("");
    put("a.gguf", 1);
    look();
    found("a", ERR_IO);
    ck_assert_int_eq(find("a")->state, MODEL_INVALID);
    found("a", ERR_OK); /* the same file */
    ck_assert_int_eq(find("a")->state, MODEL_AVAILABLE);
    found("a", ERR_NOMEM); /* our own want says nothing of the file */
    ck_assert_int_eq(find("a")->state, MODEL_AVAILABLE);
    teardown();
}
END_TEST

START_TEST(what_an_engine_condemned_needs_another_file_or_other_settings) {
    setup("");
    put("a.gguf", 1);
    look();
    registry_condemn(registry, find("a"), "the engine says no");
    look();
    ck_assert_int_eq(find("a")->state, MODEL_INVALID);
    put("a.gguf", 2);
    look();
    ck_assert_int_eq(find("a")->state, MODEL_AVAILABLE);
    registry_condemn(registry, find("a"), "no such KV type here");
    put_text("x.ini", "[model a]\nkv = q4_0\n");
    char b[160], why[256];
    bool help;
    struct config *again;
    snprintf(b, sizeof b, "--config=%s/x.ini", folder);
    char *argv[] = {b};
    ck_assert_int_eq(config_load(1, argv, &again, &help, why, sizeof why), ERR_OK);
    ck_assert_int_eq(registry_set_sections(registry, again, NULL), ERR_OK);
    config_free(again);
    ck_assert_int_eq(find("a")->state, MODEL_AVAILABLE);
    teardown();
}
END_TEST

START_TEST(template_that_comes_later) {
    char sections[256];
    setup("");
    put("a.gguf", 1);
    snprintf(sections, sizeof sections, "[model a]\ntemplate = %s/t.jinja\n", folder);
    put_text("x.ini", sections);
    char b[160], why[256];
    bool help;
    struct config *again;
    snprintf(b, sizeof b, "--config=%s/x.ini", folder);
    char *argv[] = {b};
    ck_assert_int_eq(config_load(1, argv, &again, &help, why, sizeof why), ERR_OK);
    ck_assert_int_eq(scan_set_sections(scan, again), ERR_OK);
    config_free(again);
    look();
    ck_assert_int_eq(find("a")->state, MODEL_INVALID);
    put_text("t.jinja", "{{ messages }}");
    look();
    ck_assert_int_eq(find("a")->state, MODEL_AVAILABLE);
    ck_assert_str_eq(find("a")->template_source, "{{ messages }}");
    teardown();
}
END_TEST

START_TEST(folder_that_can_not_be_read_is_not_empty) {
    char sub[80], option[160], why[256];
    bool help;
    setup("");
    scan_free(scan);
    registry_free(registry);
    config_free(config);
    snprintf(sub, sizeof sub, "%s/sub", folder);
    snprintf(option, sizeof option, "--models=%s", sub);
    char *argv[] = {option};
    ck_assert_int_eq(mkdir(sub, 0700), 0);
    put("sub/a.gguf", 1);
    ck_assert_int_eq(config_load(1, argv, &config, &help, why, sizeof why), ERR_OK);
    ck_assert_int_eq(scan_open(config, &scan), ERR_OK);
    ck_assert_int_eq(registry_open(config, on_change, NULL, &registry), ERR_OK);
    look();
    ck_assert_int_eq(rename(sub, in_folder("away")), 0);
    ck_assert_int_eq(symlink("sub", sub), 0); /* a loop: neither there nor not there */
    look();
    ck_assert_ptr_nonnull(find("a"));
    ck_assert_int_eq(find("a")->state, MODEL_AVAILABLE);
    unlink(sub);
    look(); /* now it is gone */
    ck_assert_ptr_null(find("a"));
    teardown();
}
END_TEST

static void skip_a_state(void) {
    registry_set_state(registry, registry_at(registry, 0), MODEL_SEATED, NULL);
}

START_TEST(states_follow_the_table) {
    setup("");
    put("a.gguf", 1);
    look();
    ck_assert(check_aborts(skip_a_state));
    teardown();
}
END_TEST

static _Atomic(struct scan_result *) got;
static void posted(void *ctx, struct scan_result *result) {
    (void)ctx;
    got = result;
}

START_TEST(the_scan_thread_looks_when_asked) {
    setup("");
    put("a.gguf", 1);
    ck_assert_int_eq(scan_start(scan, posted, NULL), ERR_OK);
    for (int round = 0; round < 3; round++) {
        got = NULL;
        ck_assert(scan_again(scan));
        while (!got) usleep(1000);
        ck_assert_uint_eq(got->n_found, 1);
        scan_result_free(got);
    }
    teardown();
}
END_TEST

/* A template's disk does not answer, and does so only after the scan was given up. */
START_TEST(a_look_that_hangs_is_left_behind_and_says_nothing_more) {
    char text[160];
    setup("");
    scan_free(scan);
    registry_free(registry);
    config_free(config);
    snprintf(text, sizeof text, "[model a]\ntemplate = %s/t.jinja\n", folder);
    open_with(text);
    put("a.gguf", 1);
    ck_assert_int_eq(mkfifo(in_folder("t.jinja"), 0600), 0);
    ck_assert_int_eq(scan_start(scan, posted, NULL), ERR_OK);
    got = NULL;
    ck_assert(scan_again(scan));
    int writer = -1; /* opens as soon as somebody reads */
    while (writer < 0) writer = open(in_folder("t.jinja"), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    int64_t began_ns = clock_now_ns();
    scan_free(scan);
    ck_assert_int_lt(clock_now_ns() - began_ns, 5 * NS_PER_S);
    close(writer);
    usleep(300000);
    ck_assert_ptr_null(got);
    registry_free(registry);
    config_free(config);
    tmp_folder_remove(folder);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {files_become_models,
                                  files_come_and_go,
                                  seated_model_keeps_its_seat_when_its_file_goes,
                                  changed_file_is_another_model,
                                  cooldown_doubles,
                                  sections_give_names_and_settings,
                                  section_with_a_path_and_a_template_file,
                                  what_the_scan_could_not_read_comes_back_when_it_can,
                                  what_an_engine_condemned_needs_another_file_or_other_settings,
                                  template_that_comes_later,
                                  folder_that_can_not_be_read_is_not_empty,
                                  states_follow_the_table,
                                  the_scan_thread_looks_when_asked,
                                  a_look_that_hangs_is_left_behind_and_says_nothing_more};
    return CHECK_RUN("registry", tests);
}
