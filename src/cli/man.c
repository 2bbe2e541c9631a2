#include "cli/man.h"

#include <stdio.h>

#include "cli/cli.h"
#include "front/config.h"

/* As roff reads it: a hyphen that can be copied, no line that begins with a command. */
static void put(const char *text) {
    if (*text == '.' || *text == '\'') fputs("\\&", stdout);
    for (; *text; text++) {
        if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '\\')
            fputs("\\e", stdout);
        else
            putchar(*text);
    }
}

static void line(const char *text) {
    put(text);
    putchar('\n');
}

static void section(const char *title) {
    printf(".SH %s\n", title);
}

/* A term in bold, its arguments in italics, and what it is. */
static void term(const char *name, const char *argument) {
    fputs(".TP\n\\fB", stdout);
    put(name);
    fputs("\\fR", stdout);
    if (argument && *argument) {
        fputs(" \\fI", stdout);
        put(argument);
        fputs("\\fR", stdout);
    }
    putchar('\n');
}

void man_option(const char *name, const char *argument, const char *text) {
    term(name, argument);
    line(text);
}

static void settings(bool (*at)(size_t i, struct config_option *ret), const char *dashes) {
    struct config_option o;
    for (size_t i = 0; at(i, &o); i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%s", dashes, o.key);
        term(name, o.argument);
        put(o.text);
        if (*o.otherwise) {
            fputs(" (", stdout);
            put(o.otherwise);
            putchar(')');
        }
        putchar('\n');
    }
}

static void verbs(void) {
    static char option[] = MAN_OPTION;
#define VERB_ROW(function, name, arguments, text)                                                            \
    {                                                                                                        \
        static char verb[] = name;                                                                           \
        char *argv[] = {verb, option, NULL};                                                                 \
        printf(".SS ");                                                                                      \
        line("hotseat " name " " arguments);                                                                 \
        line(text);                                                                                          \
        (void)cli_##function(2, argv);                                                                       \
    }
    CLI_VERB_TABLE(VERB_ROW)
#undef VERB_ROW
}

void man_page(void) {
    printf(".\\\" Made by hotseat --help-man out of the tables in src/cli/cli.h and "
           "src/front/config_table.h.\n");
    printf(".TH HOTSEAT 1 \"\" \"hotseat %s\"\n", HOTSEAT_VERSION);
    section("NAME");
    line("hotseat - language models take turns in one seat, and their agents go on");
    section("SYNOPSIS");
    printf("\\fBhotseat\\fR \\fIverb\\fR [\\fIoption\\fR ...] [\\fIargument\\fR ...]\n");
    section("DESCRIPTION");
    line("Serves local language models (GGUF files) on a machine that can hold only one of them at a time, "
         "over OpenAI's and");
    line("Anthropic's HTTP interfaces. When a request needs another model, the seated one leaves: requests "
         "end or are parked,");
    line("every agent's KV cache goes to disk, and when that model returns its agents go on from there.");
    line("The verb serve runs the server, doctor looks whether it can run here, all others talk to a running "
         "one.");
    section("VERBS");
    verbs();
    section("OPTIONS OF THE VERBS THAT TALK TO A SERVER");
#define COMMON_ROW(variable, name, argument, text) man_option(name, argument, text);
    CLI_COMMON_TABLE(COMMON_ROW)
#undef COMMON_ROW
    man_option("--help", NULL, "the options of a verb");
    section("SETTINGS OF SERVE AND DOCTOR");
    line("Each is an option, a key of the configuration file (key = value) and a variable of the environment "
         "(HOTSEAT_KEY, with _ for");
    line("-). The command line wins over the environment, the environment over the file. Sizes take K, M, G, "
         "T (powers of 1,024).");
    man_option("--config", "FILE", "the configuration file");
    settings(config_option_at, "--");
    section("SECTIONS OF MODELS");
    line("A section [model NAME] of the configuration file sets for one model:");
    settings(config_model_key_at, "");
    section("FILES");
    man_option("$XDG_CONFIG_HOME/hotseat/hotseat.ini", NULL,
               "the configuration file, if there is one (~/.config)");
    man_option("$XDG_DATA_HOME/hotseat/models", NULL,
               "the folder of models (~/.local/share); every *.gguf is one");
    man_option("$XDG_CACHE_HOME/hotseat", NULL, "the caches (~/.cache)");
    section("SIGNALS");
    line("The server ends in order on SIGTERM and SIGINT (a second SIGINT ends it at once) and reads its "
         "settings again on SIGHUP.");
    section("EXIT STATUS");
    man_option("0", NULL, "done");
    man_option("1", NULL, "the server said no; the doctor found a problem");
    man_option("2", NULL, "usage or configuration");
    man_option("3", NULL, "no server there");
}
