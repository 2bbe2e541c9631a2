/* hotseat-seat: started by the front with a connected socket as a file descriptor. People never start it.
 *   hotseat-seat --fd 3 [--measure] */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "seat/engine.h"
#include "seat/seat.h"

static int usage(void) {
    fprintf(stderr, "hotseat-seat is started by `hotseat serve`: hotseat-seat --fd N [--measure]\n");
    return 2;
}

/* A terminal's Ctrl-C and a service manager's SIGTERM reach the whole group: the front decides what becomes of us, by
 * STOP or by closing the socket, after it has saved what runs. */
static void ignore_signals(void) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) signal(signals[i], SIG_IGN);
}

int main(int argc, char **argv) {
    long fd = -1;
    bool measure = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--version") == 0) {
            printf("hotseat-seat %s, engine %s %s\n", HOTSEAT_VERSION, engine_name(), engine_version());
            return 0;
        }
        if (strcmp(argv[i], "--fd") == 0 && i + 1 < argc) {
            char *end = NULL;
            fd = strtol(argv[++i], &end, 10);
            if (*end || fd < 0 || fd > 65535) return usage();
        } else if (strcmp(argv[i], "--measure") == 0) {
            measure = true;
        } else {
            return usage();
        }
    }
    if (fd < 0) return usage();
    mem_one_heap();
    log_open(LOG_INFO, "seat");
    ignore_signals();
    if (measure) { /* a damaged file may abort it: expected, not worth a core file */
        struct rlimit none = {0};
        (void)setrlimit(RLIMIT_CORE, &none);
    }
    return seat_run((int)fd, measure);
}
