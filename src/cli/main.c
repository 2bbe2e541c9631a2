/* main.c - the program: finds the verb and runs it. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/man.h"
#include "cli/program.h"
#include "front/seat_process.h"

static void usage(FILE *out) {
    fprintf(out, "hotseat: language models take turns in one seat, and their agents go on.\n\nUsage:\n");
#define USAGE_ROW(function, name, arguments, text)                                                           \
    {                                                                                                        \
        char left[64];                                                                                       \
        snprintf(left, sizeof left, "hotseat %s %s", name, arguments);                                       \
        fprintf(out, "  %-36s %s\n", left, text);                                                            \
    }
    CLI_VERB_TABLE(USAGE_ROW)
#undef USAGE_ROW
    fprintf(out, "  %-36s %s\n", "hotseat --version", "hotseat's version and the engine's");
    fprintf(out, "\nhotseat VERB --help tells a verb's options.\n");
}

/* Asks the seat beside us which engine it holds: only it is linked to one. */
static int version(void) {
    char line[256];
    printf("hotseat %s\n", HOTSEAT_VERSION);
    AUTO(mem_freep) char *seat = seat_program_path(NULL);
    if (!seat || access(seat, X_OK) != 0) {
        printf("engine: none (no hotseat-seat beside hotseat)\n");
        return CLI_DONE;
    }
    if (program_version(seat, line, sizeof line) != ERR_OK) return CLI_REFUSED;
    puts(line);
    return CLI_DONE;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } verbs[] = {
#define VERB_ROW(function, name, arguments, text) {name, cli_##function},
        CLI_VERB_TABLE(VERB_ROW)
#undef VERB_ROW
    };
    signal(SIGPIPE, SIG_IGN); /* a reader that left is an error of the write */
    if (argc < 2) {
        usage(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return CLI_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) return version();
    if (strcmp(argv[1], MAN_OPTION) == 0) {
        man_page();
        return CLI_DONE;
    }
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (strcmp(argv[1], verbs[i].name) != 0) continue;
        int status = verbs[i].run(argc - 1, argv + 1);
        if (fflush(stdout) != 0 && status == CLI_DONE) status = CLI_REFUSED;
        return status;
    }
    fprintf(stderr, "hotseat: there is no verb '%s'; see hotseat --help\n", argv[1]);
    return CLI_USAGE;
}
