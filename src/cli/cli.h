/* cli.h - what the subcommands share: their list, their options, a call to the server with its errors told.
 * Exit statuses: 0 done, 1 the server said no, 2 usage or configuration, 3 no server there. Thread: the main
 * one. */
#ifndef HOTSEAT_CLI_CLI_H
#define HOTSEAT_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"

enum cli_exit { CLI_DONE = 0, CLI_REFUSED = 1, CLI_USAGE = 2, CLI_NO_SERVER = 3 };
#define CLI_SERVER_DEFAULT "http://127.0.0.1:8480"
#define CLI_WORDS_MAX 4

/* V(function, "name", "arguments", "what it does"): one file each */
#define CLI_VERB_TABLE(V)                                                                                    \
    V(serve, "serve", "[--option VALUE]...", "run the server in the foreground")                             \
    V(swap, "swap", "MODEL", "seat another model")                                                           \
    V(offload, "offload", "", "empty the seat: every agent's cache to disk, the memory back")                \
    V(ps, "ps", "", "what is seated, who waits, what is running")                                            \
    V(models, "models", "", "the models the server knows")                                                   \
    V(agents, "agents", "[rm|pin|unpin ID]", "the agents that have a cache; delete, keep or let go one")     \
    V(cache, "cache", "", "the block store: size, budget, hits")                                             \
    V(chat, "chat", "[MODEL]", "talk with a model")                                                          \
    V(doctor, "doctor", "[--option VALUE]...", "what would keep hotseat from working here, and what to do")

/* C(variable of cli_open(), "--name", "ARGUMENT", "what it does"): what every verb takes that talks to a server */
#define CLI_COMMON_TABLE(C)                                                                                  \
    C(server, "--server", "URL", "the server; default $HOTSEAT_SERVER, else " CLI_SERVER_DEFAULT)            \
    C(api_key, "--api-key", "FILE|env:NAME", "key of the inference API; default $HOTSEAT_API_KEY")           \
    C(admin_key, "--admin-key", "FILE|env:NAME", "key of the admin API; default $HOTSEAT_ADMIN_KEY")

struct cli_option {
    const char *name;     /* "--on-deadline" */
    const char *argument; /* NULL: a flag */
    const char **value;   /* the text given; a flag's is "" */
    const char *text;
};

/* An option of those whose answer cli_call() may print instead of them; c is their struct cli. */
#define CLI_JSON(c)                                                                                          \
    { "--json", NULL, &(c).json, "print the server's answer as JSON" }

struct cli { /* one command line, parsed */
    const char *verb;
    const char *server;
    char *api_key, *admin_key;            /* owned; NULL: none */
    const char *json;                     /* CLI_JSON was given; NULL: not */
    const char *words[CLI_WORDS_MAX + 1]; /* what is no option; NULL at the end */
    int n_words;
};

#define CLI_RUN_ROW(function, name, arguments, text) int cli_##function(int argc, char **argv);
CLI_VERB_TABLE(CLI_RUN_ROW) /* argv[0] is the verb; the exit status */
#undef CLI_RUN_ROW

/* Reads the options every verb has and its own. CLI_DONE with *ret_help: --help was asked for and told; the
 * caller ends. */
int cli_open(struct cli *c, int argc, char **argv, const struct cli_option *own, size_t n_own, int words_min,
             int words_max, bool *ret_help);
void cli_close(struct cli *c);
void cli_verb_help(const char *verb); /* its line of the table, and an empty one */
int cli_usage(const char *verb, const char *fmt, ...) PRINTF_LIKE(2, 3); /* one line on stderr; CLI_USAGE */

struct cli_request {
    const char *method, *path, *body;
    bool admin;   /* which key */
    bool patient; /* a swap: no time limit */
};
/* The answer, read (the caller's, json_free). With CLI_JSON it was printed as it came, errors too. Anything but
 * CLI_DONE was told on stderr and is the exit status. */
int cli_call(const struct cli *c, const struct cli_request *request, struct json **ret);
/* The parts of it, for who makes the call himself: the key to send (NULL: none); an answer that was no 2xx, and no whole answer, told on
 * stderr; both give the exit status. */
const char *cli_key(const struct cli *c, bool admin);
int cli_refused(const struct cli *c, const struct cli_request *r, int status, const struct json *answer);
int cli_no_answer(const struct cli *c, enum err err, const char *why);
/* Prints the table unless it failed; the exit status. */
struct table;
int cli_print(const struct table *t);

/* Getters with a default, for answers. */
const char *cli_text(const struct json *object, const char *key); /* NULL when it is no string */
uint64_t cli_u64(const struct json *object, const char *key);
int64_t cli_ms(const struct json *object, const char *key); /* milliseconds may have decimals */
int cli_models_print(const struct json *answer);            /* the table of GET /v1/models, for chat too */
int cli_agents_print(const struct json *agents);            /* the table of agents, for ps too */

#endif
