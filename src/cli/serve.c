/* serve.c - `hotseat serve`: puts the rooms together, then the main thread only waits for signals.
 *   SIGTERM, SIGINT  stop: streams end or park, caches durable, exit 0. A second SIGINT ends it at once.
 *   SIGHUP           reload what can be reloaded */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/man.h"
#include "front/config.h"
#include "front/front.h"
#include "http/server.h"

#define STOP_ANSWERS_NS (5 * NS_PER_S) /* for the last bytes of answers, after the front has ended them all */

struct serve {
    struct config *config;
    struct server *server;
    struct front *front;
};

static void signals_of_serve(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

/* From here on they wait for sigwait(), in every thread that is made. */
static void signals_block(void) {
    sigset_t set;
    signals_of_serve(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void signals_wait(struct serve *s) {
    sigset_t set;
    signals_of_serve(&set);
    for (;;) {
        int sig = 0;
        if (sigwait(&set, &sig) != 0) continue;
        log_info("serve.signal", "signal=%s", sig == SIGHUP ? "HUP" : sig == SIGINT ? "INT" : "TERM");
        if (sig != SIGHUP) break;
        front_reload(s->front);
    }
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    signal(SIGINT, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static int serve_failed(enum err err, const char *why) {
    fprintf(stderr, "hotseat serve: %s\n", why[0] ? why : err_text(err));
    return err == ERR_INVALID || err == ERR_NOT_FOUND ? CLI_USAGE : CLI_REFUSED;
}

/* A name that is no folder is a mistake in the configuration, not a state of the disk. */
static enum err check_cache_dir(const struct config *c, char *why, size_t why_size) {
    struct stat st;
    if (stat(c->cache_dir, &st) != 0 || S_ISDIR(st.st_mode)) return ERR_OK;
    snprintf(why, why_size, "cache-dir: %s is not a folder", c->cache_dir);
    return ERR_INVALID;
}

static int serve_run(struct serve *s) {
    char why[512] = "", url[300];
    enum err err = check_cache_dir(s->config, why, sizeof why);
    if (err == ERR_OK) err = server_open(s->config, &s->server, why, sizeof why);
    if (err != ERR_OK) return serve_failed(err, why);
    struct front_sink sink = server_sink(s->server);
    err = front_open(s->config, &sink, &s->front, why, sizeof why);
    if (err != ERR_OK) return serve_failed(err, why);
    server_attach(s->server, s->front);
    err = front_start(s->front);
    if (err == ERR_OK) err = server_start(s->server);
    if (err != ERR_OK) return serve_failed(err, why);
    server_url(s->server, url, sizeof url);
    printf("hotseat: ready on %s\n", url);
    fflush(stdout);
    log_info("serve.ready", "url=%s version=%s", url, HOTSEAT_VERSION);
    signals_wait(s);
    front_stop(s->front);
    server_stop(s->server, STOP_ANSWERS_NS);
    log_info("serve.stopped", "status=0");
    return CLI_DONE;
}

int cli_serve(int argc, char **argv) {
    struct serve s = {0};
    char why[512] = "";
    bool help = false;
    if (argc == 2 && strcmp(argv[1], MAN_OPTION) == 0)
        return CLI_DONE; /* its options have a section of their own */
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help-markdown") != 0) continue;
        config_markdown(stdout);
        return CLI_DONE;
    }
    enum err err = config_load(argc - 1, argv + 1, &s.config, &help, why, sizeof why);
    if (err != ERR_OK) return serve_failed(err, why);
    if (help) {
        config_help(stdout);
        config_free(s.config);
        return CLI_DONE;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    log_open((enum log_level)s.config->log_level, "front");
    signals_block();
    config_log(s.config);
    int status = serve_run(&s);
    front_free(s.front);
    server_free(s.server);
    config_free(s.config);
    return status;
}
