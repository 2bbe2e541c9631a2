#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/http_client.h"
#include "cli/man.h"
#include "cli/table.h"
#include "front/config_value.h"

#define CALL_TIMEOUT_MS 60000

int cli_usage(const char *verb, const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "hotseat %s: %s; see hotseat %s --help\n", verb, text, verb);
    return CLI_USAGE;
}

static void help_line(const char *name, const char *argument, const char *text) {
    char left[64];
    snprintf(left, sizeof left, "%s%s%s", name, argument ? " " : "", argument ? argument : "");
    printf("  %-28s %s\n", left, text);
}

void cli_verb_help(const char *verb) {
#define CLI_HELP_ROW(function, name, arguments, text)                                                        \
    if (strcmp(verb, name) == 0) printf("hotseat %s %s: %s\n\n", name, arguments, text);
    CLI_VERB_TABLE(CLI_HELP_ROW)
#undef CLI_HELP_ROW
}

static void cli_help(const char *verb, const struct cli_option *own, size_t n_own,
                     const struct cli_option *common, size_t n_common) {
    cli_verb_help(verb);
    for (size_t i = 0; i < n_own; i++) help_line(own[i].name, own[i].argument, own[i].text);
    for (size_t i = 0; i < n_common; i++) help_line(common[i].name, common[i].argument, common[i].text);
    help_line("--help", NULL, "this text");
    printf("\nExit status: 0 done, 1 the server said no, 2 usage or configuration, 3 no server there.\n");
}

static void cli_man(const struct cli_option *options, size_t n) {
    for (size_t i = 0; i < n; i++) man_option(options[i].name, options[i].argument, options[i].text);
}

static const struct cli_option *option_find(const struct cli_option *options, size_t n, const char *arg,
                                            size_t size) {
    for (size_t i = 0; i < n; i++)
        if (strlen(options[i].name) == size && strncmp(options[i].name, arg, size) == 0) return &options[i];
    return NULL;
}

/* One option at argv[*at]; *at is left on its last word. */
static int option_read(const struct cli *c, const struct cli_option *o, int argc, char **argv, int *at) {
    const char *equals = strchr(argv[*at], '=');
    if (!o->argument && equals) return cli_usage(c->verb, "%s takes no value", o->name);
    if (!o->argument)
        *o->value = "";
    else if (equals)
        *o->value = equals + 1;
    else if (*at + 1 < argc)
        *o->value = argv[++*at];
    else
        return cli_usage(c->verb, "%s needs %s", o->name, o->argument);
    return CLI_DONE;
}

static int key_read(const struct cli *c, const char *option, const char *env, const char *given, char **ret) {
    const char *text = given ? given : getenv(env);
    char why[256] = "";
    if (!text || !text[0]) return CLI_DONE;
    if (config_value_read(CONFIG_SECRET, 0, 0, text, ret, why, sizeof why) == ERR_OK) return CLI_DONE;
    return cli_usage(c->verb, "%s: %s", given ? option : env, why);
}

int cli_open(struct cli *c, int argc, char **argv, const struct cli_option *own, size_t n_own, int words_min,
             int words_max, bool *ret_help) {
    const char *server = getenv("HOTSEAT_SERVER"), *api_key = NULL, *admin_key = NULL;
#define COMMON_ROW(variable, name, argument, text) {name, argument, &variable, text},
    const struct cli_option common[] = {CLI_COMMON_TABLE(COMMON_ROW)};
#undef COMMON_ROW
    *c = (struct cli){.verb = argv[0]};
    *ret_help = false;
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = true;
            continue;
        }
        if (only_words || argv[i][0] != '-') {
            if (c->n_words == words_max) return cli_usage(c->verb, "'%s' is one word too many", argv[i]);
            c->words[c->n_words++] = argv[i];
            continue;
        }
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            cli_help(c->verb, own, n_own, common, ARRAY_LEN(common));
            *ret_help = true;
            return CLI_DONE;
        }
        if (strcmp(argv[i], MAN_OPTION) == 0) {
            cli_man(own, n_own);
            *ret_help = true;
            return CLI_DONE;
        }
        size_t size = strcspn(argv[i], "=");
        const struct cli_option *o = option_find(own, n_own, argv[i], size);
        if (!o) o = option_find(common, ARRAY_LEN(common), argv[i], size);
        if (!o) return cli_usage(c->verb, "there is no option %.*s", (int)size, argv[i]);
        int status = option_read(c, o, argc, argv, &i);
        if (status != CLI_DONE) return status;
    }
    if (c->n_words < words_min) return cli_usage(c->verb, "something is missing");
    c->server = server && server[0] ? server : CLI_SERVER_DEFAULT;
    int status = key_read(c, "--api-key", "HOTSEAT_API_KEY", api_key, &c->api_key);
    return status == CLI_DONE ? key_read(c, "--admin-key", "HOTSEAT_ADMIN_KEY", admin_key, &c->admin_key)
                              : status;
}

void cli_close(struct cli *c) {
    mem_free(c->api_key);
    mem_free(c->admin_key);
}

/* The server's own words, and what to do where there is something to do. */
int cli_refused(const struct cli *c, const struct cli_request *r, int status, const struct json *answer) {
    const struct json *error = json_get(answer, "error");
    const char *message = cli_text(error, "message"), *code = cli_text(error, "code");
    const char *hint = "";
    if (status == 401)
        hint = r->admin ? "; give the key with --admin-key or HOTSEAT_ADMIN_KEY"
                        : "; give the key with --api-key or HOTSEAT_API_KEY";
    if (code && strcmp(code, "model_not_found") == 0) hint = "; hotseat models lists what there is";
    if (!error) hint = "; is this a hotseat server?";
    char http[32] = ""; /* an error inside a stream has no status of its own */
    if (status / 100 != 2) snprintf(http, sizeof http, "HTTP %d%s", status, code ? ", " : "");
    fprintf(stderr, "hotseat %s: %s (%s%s)%s\n", c->verb,
            message ? message : "the server refused without a reason", http, code ? code : "", hint);
    return CLI_REFUSED;
}

int cli_no_answer(const struct cli *c, enum err err, const char *why) {
    if (err == ERR_NOMEM) {
        fprintf(stderr, "hotseat %s: %s\n", c->verb, err_text(err));
        return CLI_REFUSED;
    }
    if (err == ERR_INVALID) return cli_usage(c->verb, "'%s' is no server's address: %s", c->server, why);
    if (err == ERR_NOT_FOUND)
        fprintf(stderr,
                "hotseat %s: no server at %s (%s); start one with hotseat serve, or name it with --server\n",
                c->verb, c->server, why);
    else
        fprintf(stderr, "hotseat %s: no whole answer from %s: %s\n", c->verb, c->server, why);
    return CLI_NO_SERVER;
}

/* The admin key opens everything; the API key opens /admin where the server has no other. */
const char *cli_key(const struct cli *c, bool admin) {
    const char *first = admin ? c->admin_key : c->api_key, *second = admin ? c->api_key : c->admin_key;
    return first ? first : second;
}

int cli_call(const struct cli *c, const struct cli_request *r, struct json **ret) {
    char why[HTTP_CLIENT_ERROR_BYTES] = "";
    struct http_answer answer;
    struct http_call call = {.server = c->server,
                             .method = r->method,
                             .path = r->path,
                             .body = r->body,
                             .key = cli_key(c, r->admin),
                             .timeout_ms = r->patient ? 0 : CALL_TIMEOUT_MS};
    enum err err = http_client_call(&call, &answer, why);
    if (err != ERR_OK) return cli_no_answer(c, err, why);
    struct json_error at;
    struct json *body = json_read(answer.body.data, answer.body.size, &at);
    if (c->json && body) {
        fwrite(answer.body.data, 1, answer.body.size, stdout);
        if (answer.body.data[answer.body.size - 1] != '\n') putchar('\n');
    }
    buf_free(&answer.body);
    if (answer.status < 200 || answer.status >= 300 || !body) {
        int status = cli_refused(c, r, answer.status, body);
        json_free(body);
        return status;
    }
    *ret = body;
    return CLI_DONE;
}

int cli_print(const struct table *t) {
    if (table_error(t) != ERR_OK) {
        fprintf(stderr, "hotseat: %s\n", err_text(table_error(t)));
        return CLI_REFUSED;
    }
    table_print(t, stdout);
    return CLI_DONE;
}

const char *cli_text(const struct json *object, const char *key) {
    return json_string(json_get(object, key), NULL);
}

uint64_t cli_u64(const struct json *object, const char *key) {
    int64_t v = json_int(json_get(object, key), 0);
    return v < 0 ? 0 : (uint64_t)v;
}

int64_t cli_ms(const struct json *object, const char *key) {
    return (int64_t)json_number(json_get(object, key), 0);
}
