/* Settings from command line, environment and file; every way to get one wrong, with its place. */
#include "front/config.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "../check_run.h"
#include "base/clock.h"
#include "base/mem.h"
#include "tmp_folder.h"

static char folder[64];

static void gone(void) {
    tmp_folder_remove(folder);
}

/* A home of its own and no settings from outside. */
static void fresh(void) {
    static const char *const NAMES[] = {"HOTSEAT_PORT",    "HOTSEAT_KV",    "HOTSEAT_MODELS",
                                        "HOTSEAT_CONFIG",  "XDG_DATA_HOME", "XDG_CACHE_HOME",
                                        "XDG_CONFIG_HOME", "HOTSEAT_COLOUR"};
    snprintf(folder, sizeof folder, "/tmp/hotseat-config-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    atexit(gone); /* each test is a process of its own */
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) unsetenv(NAMES[i]);
    setenv("HOME", folder, 1);
}

static const char *file(const char *name, const char *text) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
    return path;
}

static char why[512];

static enum err load(struct config **ret, const char *a, const char *b, const char *c, const char *d) {
    const char *from[] = {a, b, c, d};
    char *argv[4];
    int argc = 0;
    bool help = false;
    for (int i = 0; i < 4 && from[i]; i++) argv[argc++] = mem_strdup(from[i]);
    enum err err = config_load(argc, argv, ret, &help, why, sizeof why);
    for (int i = 0; i < argc; i++) mem_free(argv[i]);
    ck_assert(!help);
    return err;
}

static struct config *good(const char *a, const char *b, const char *c, const char *d) {
    struct config *config;
    ck_assert_msg(load(&config, a, b, c, d) == ERR_OK, "%s", why);
    return config;
}

/* Refused, and the text has all of these words. */
static void bad(const char *a, const char *b, const char *w1, const char *w2, const char *w3) {
    struct config *config;
    const char *words[] = {w1, w2, w3};
    ck_assert_int_eq(load(&config, a, b, NULL, NULL), ERR_INVALID);
    ck_assert_ptr_null(config);
    for (int i = 0; i < 3; i++)
        if (words[i]) ck_assert_msg(strstr(why, words[i]), "\"%s\" is not in: %s", words[i], why);
}

static void bad_file(const char *text, const char *w1, const char *w2, const char *w3) {
    bad("--config", file("x.ini", text), w1, w2, w3);
    ck_assert_msg(strstr(why, "x.ini:"), "%s", why);
}

START_TEST(defaults) {
    fresh();
    char expect[128];
    struct config *c = good(NULL, NULL, NULL, NULL);
    ck_assert_str_eq(c->host, "127.0.0.1");
    ck_assert_uint_eq(c->port, 8480);
    ck_assert_uint_eq(c->n_models, 1);
    snprintf(expect, sizeof expect, "%s/.local/share/hotseat/models", folder);
    ck_assert_str_eq(c->models[0], expect);
    snprintf(expect, sizeof expect, "%s/.cache/hotseat", folder);
    ck_assert_str_eq(c->cache_dir, expect);
    ck_assert_uint_eq(c->cache_disk_bytes, UINT64_C(20) << 30);
    ck_assert(c->memory_bytes > 0);
    ck_assert_uint_eq(c->parallel, 4);
    ck_assert_uint_eq(c->token_gap, 3);
    ck_assert(c->auto_swap && !c->debug);
    ck_assert_int_eq(c->wait_bound_ns, 60 * NS_PER_S);
    ck_assert_int_eq(c->stay_min_ns, -1);
    ck_assert_int_eq(c->patience_ns, -1);
    ck_assert_int_eq(c->kv, KV_Q8_0);
    ck_assert_ptr_null(c->model);
    ck_assert_ptr_null(c->config_file);
    config_free(c);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(command_line_wins_over_environment_over_file) {
    fresh();
    const char *path = file("x.ini", "port = 1\nkv = f16\nparallel = 3\nmodels = /one\nmodels = /two\n");
    struct config *c = good("--config", path, NULL, NULL);
    ck_assert_uint_eq(c->port, 1);
    ck_assert_uint_eq(c->n_models, 2);
    ck_assert_str_eq(c->config_file, path);
    config_free(c);
    setenv("HOTSEAT_PORT", "2", 1);
    setenv("HOTSEAT_MODELS", "/three:/four:/five", 1);
    c = good("--config", path, "--models=/six", NULL);
    ck_assert_uint_eq(c->port, 2);
    ck_assert_int_eq(c->kv, KV_F16);
    ck_assert_uint_eq(c->n_models, 1);
    ck_assert_str_eq(c->models[0], "/six");
    config_free(c);
    c = good("--config", path, "--port", "3");
    ck_assert_uint_eq(c->port, 3);
    ck_assert_uint_eq(c->n_models, 3);
    ck_assert_uint_eq(c->parallel, 3);
    config_free(c);
    setenv("HOTSEAT_CONFIG", path, 1);
    c = good("--kv", "q4_0", "--kv", "q8_0");
    ck_assert_int_eq(c->kv, KV_Q8_0); /* the last of two */
    ck_assert_uint_eq(c->parallel, 3);
    config_free(c);
}
END_TEST

START_TEST(units) {
    fresh();
    struct config *c = good("--memory", "1.5G", "--pool", "256M");
    ck_assert_uint_eq(c->memory_bytes, UINT64_C(3) << 29);
    ck_assert_uint_eq(c->pool_bytes, 256u << 20);
    config_free(c);
    c = good("--wait-bound", "0.5", "--stay-min=3s", "--debug");
    ck_assert_int_eq(c->wait_bound_ns, NS_PER_S / 2);
    ck_assert_int_eq(c->stay_min_ns, 3 * NS_PER_S);
    ck_assert(c->debug);
    config_free(c);
    c = good("--pool", "auto", "--auto-swap", "off");
    ck_assert_uint_eq(c->pool_bytes, 0);
    ck_assert(!c->auto_swap);
    config_free(c);
}
END_TEST

START_TEST(wrong_values_name_key_and_range) {
    fresh();
    bad("--port", "65536", "--port", "65536", "0..65535");
    bad("--port", "-1", "--port", "0..65535", NULL);
    bad("--port", "80x", "--port", "80x", NULL);
    bad("--port", "0x10", "--port", NULL, NULL);
    bad("--parallel", "0", "--parallel", "1..64", NULL);
    bad("--parallel", "2.5", "--parallel", "2.5", NULL);
    bad("--token-gap", "1", "--token-gap", "2..100", NULL);
    bad("--kv", "q3", "--kv", "f16", "q4_0");
    bad("--cache-disk", "10X", "--cache-disk", "10X", "1M");
    bad("--cache-disk", "10", "--cache-disk", "1M", NULL);
    bad("--memory", "inf", "--memory", NULL, NULL);
    bad("--wait-bound", "nan", "--wait-bound", "seconds", NULL);
    bad("--wait-bound", "100000", "86400", NULL, NULL);
    bad("--auto-swap", "maybe", "on or off", NULL, NULL);
    bad("--log-level", "loud", "debug", NULL, NULL);
    bad("--context", "3", "64..", "auto", NULL);
    bad("--model", "", "--model", NULL, NULL);
    bad("--colour", "red", "--colour", "no such option", NULL);
    bad("stray", NULL, "stray", NULL, NULL);
    bad("--port", NULL, "--port", "missing", NULL);
    setenv("HOTSEAT_PORT", "many", 1);
    bad(NULL, NULL, "HOTSEAT_PORT", "many", "65535");
}
END_TEST

START_TEST(wrong_files_name_line_and_key) {
    fresh();
    bad_file("\n\nparallel = 99\n", ":3:", "parallel", "1..64");
    bad_file("colour = red\n", ":1:", "colour", "no such key");
    bad_file("port = 1\nport = 2\n", ":2:", "port", "twice");
    bad_file("port 1\n", ":1:", NULL, NULL);
    bad_file("[server\n", ":1:", "]", NULL);
    bad_file("[server]\n", ":1:", "server", "[model NAME]");
    bad_file("[model ]\n", ":1:", "NAME", NULL);
    bad_file("[model none]\n", ":1:", "none", NULL);
    bad_file("[model a]\n[model b]\n[model a]\n", ":3:", "a", "second");
    bad_file("[model a]\nkv = q9\n", ":2:", "kv", "f16");
    bad_file("[model a]\nport = 3\n", ":2:", "port", "[model]");
    bad_file("[model a]\npin = on\npin = on\n", ":3:", "pin", "twice");
    bad_file("[model a]\nalias = x,,y\n", ":2:", "alias", "1..");
    bad_file("[hotseat]\nlog-level = x\n", ":2:", "log-level", NULL);
    char line[400] = "cache-dir = /";
    memset(line + strlen(line), 'x', 300);
    bad_file(line, ":1:", "too long", NULL);
    bad("--config", "/nowhere/x.ini", "/nowhere/x.ini", NULL, NULL);
}
END_TEST

START_TEST(models) {
    fresh();
    const char *path =
        file("x.ini",
             "; a comment\n# another\n[model a-model-with-a-name-that-is-longer-than-fifty-characters-yes]\n"
             "  alias = one, two\n  alias = three\n  context = 2048\n  kv = q4_0\n  repack = on\n"
             "  pin = yes\n  template = gemma\n  pool = 1G\n  path = /x/y.gguf ; a comment\n"
             "[model b]\n[hotseat]\nport = 7\n");
    struct config *c = good("--config", path, NULL, NULL);
    ck_assert_uint_eq(c->n_sections, 2);
    ck_assert_uint_eq(c->port, 7);
    const struct config_model *m =
        config_model_find(c, "a-model-with-a-name-that-is-longer-than-fifty-characters-yes");
    ck_assert_ptr_nonnull(m);
    ck_assert_uint_eq(m->n_aliases, 3);
    ck_assert_str_eq(m->aliases[0], "one");
    ck_assert_str_eq(m->aliases[1], "two");
    ck_assert_str_eq(m->aliases[2], "three");
    ck_assert_uint_eq(m->context, 2048);
    ck_assert_int_eq(m->kv, KV_Q4_0);
    ck_assert(m->repack && m->pin);
    ck_assert_str_eq(m->template_name, "gemma");
    ck_assert_uint_eq(m->pool_bytes, 1u << 30);
    ck_assert_str_eq(m->path, "/x/y.gguf");
    m = config_model_find(c, "b");
    ck_assert_int_eq(m->kv, -1);
    ck_assert_ptr_null(config_model_find(c, "c"));
    config_free(c);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(keys) {
    fresh();
    const char *path = file("key", "s3cret\nsecond line\n");
    bad("--host", "0.0.0.0", "0.0.0.0", "--api-key", "--admin-key");
    struct config *c = good("--api-key", path, NULL, NULL);
    ck_assert_str_eq(c->api_key, "s3cret");
    config_free(c);
    setenv("MY_KEY", "other", 1);
    c = good("--host=0.0.0.0", "--api-key=env:MY_KEY", "--admin-key", path);
    ck_assert_str_eq(c->api_key, "other");
    ck_assert_str_eq(c->admin_key, "s3cret");
    config_free(c);
    bad("--api-key", "env:NOT_SET_AT_ALL", "NOT_SET_AT_ALL", NULL, NULL);
    bad("--api-key", "/nowhere/key", "/nowhere/key", NULL, NULL);
    bad("--api-key", file("empty", "\n"), "no key", NULL, NULL);
    bad("--api-key=env:MY_KEY", "--admin-key=env:MY_KEY", "differ", NULL, NULL);
}
END_TEST

START_TEST(unknown_environment_is_named) {
    fresh();
    setenv("HOTSEAT_COLOUR", "red", 1);
    setenv("HOTSEAT_SERVER", "http://x", 1);
    setenv("HOTSEAT_FAKE_SPEED", "1", 1);
    struct config *c = good(NULL, NULL, NULL, NULL);
    ck_assert_ptr_nonnull(c->unknown_environment);
    ck_assert(strstr(c->unknown_environment, "HOTSEAT_COLOUR"));
    ck_assert(!strstr(c->unknown_environment, "HOTSEAT_SERVER"));
    ck_assert(!strstr(c->unknown_environment, "HOTSEAT_FAKE"));
    config_free(c);
}
END_TEST

START_TEST(differences) {
    fresh();
    struct config *a = good("--port=1", "--wait-bound=5", NULL, NULL),
                  *b = good("--port=2", "--wait-bound=6", "--models=/x", NULL);
    char *live, *restart;
    ck_assert_int_eq(config_diff(a, b, &live, &restart), ERR_OK);
    ck_assert_str_eq(live, "wait-bound");
    ck_assert_str_eq(restart, "port,models");
    mem_free(live);
    mem_free(restart);
    ck_assert_int_eq(config_diff(a, a, &live, &restart), ERR_OK);
    ck_assert_ptr_null(live);
    ck_assert_ptr_null(restart);
    config_free(a);
    config_free(b);
}
END_TEST

START_TEST(every_failed_allocation_is_an_error) {
    fresh();
    const char *path = file("x.ini", "models = /one\n[model a]\nalias = x\npath = /y\n");
    char option[160];
    snprintf(option, sizeof option, "--config=%s", path);
    char *argv[] = {option};
    for (int64_t n = 1;; n++) {
        struct config *c;
        bool help;
        int64_t before = mem_live_count();
        mem_fail_at(n);
        enum err err = config_load(1, argv, &c, &help, why, sizeof why);
        mem_fail_at(0);
        if (err == ERR_OK) {
            config_free(c);
            ck_assert_int_eq(mem_live_count(), before);
            if (n > 30) break;
            continue;
        }
        ck_assert_int_eq(err, ERR_NOMEM);
        ck_assert_int_eq(mem_live_count(), before);
    }
}
END_TEST

START_TEST(help_and_markdown_name_every_key) {
    char text[32768] = "";
    FILE *out = fmemopen(text, sizeof text, "w");
    config_help(out);
    config_markdown(out);
    fclose(out);
    static const char *const KEYS[] = {
        "--host", "--seat-program", "--step-timeout", "HOTSEAT_CACHE_WRITE_PER_DAY", "| `alias` |", "1..64"};
    for (size_t i = 0; i < sizeof KEYS / sizeof KEYS[0]; i++)
        ck_assert_msg(strstr(text, KEYS[i]), "%s", KEYS[i]);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {defaults,
                                  command_line_wins_over_environment_over_file,
                                  units,
                                  wrong_values_name_key_and_range,
                                  wrong_files_name_line_and_key,
                                  models,
                                  keys,
                                  unknown_environment_is_named,
                                  differences,
                                  every_failed_allocation_is_an_error,
                                  help_and_markdown_name_every_key};
    return CHECK_RUN("config", tests);
}
