/* doctor.c - `hotseat doctor`: takes the options of `hotseat serve`, asks what serve would ask with them, changes nothing, and tells
 * each thing it found: ok, a warning, or a problem with what to do. Needs no server. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file_system.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc_mem.h"
#include "cli/cli.h"
#include "cli/man.h"
#include "cli/program.h"
#include "cli/table.h"
#include "front/measure.h"
#include "front/seat_process.h"
#include "http/listen.h"
#include "http/server.h"
#include "store/store.h"

#define SLOW_WRITE_NS (500 * NS_PER_MS) /* for 1 MB, flushed: an old disk takes 50 ms */
#define REPORT_BYTES (4u << 20)
#define JSON_TEXT "the findings as JSON"

enum level { LEVEL_OK, LEVEL_WARNING, LEVEL_PROBLEM };
static const char *const LEVELS[] = {"ok", "warning", "problem"};

struct doctor {
    struct config *config;
    struct scan *scan;
    struct scan_result *found;
    struct registry *registry;
    char *seat_program;
    bool seat_runs; /* and is of our version */
    bool json;
    struct buf report;
    struct json_out out; /* into report */
    unsigned counts[ARRAY_LEN(LEVELS)];
};

struct finding {
    enum level level;
    const char *check; /* what was looked at */
    const char *todo;  /* NULL: nothing, or the text says it */
};

/* What comes from files' names stays on its line. */
static void PRINTF_LIKE(3, 4) tell(struct doctor *d, struct finding f, const char *fmt, ...) {
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F) *c = '?';
    d->counts[f.level]++;
    json_obj(&d->out);
    json_key(&d->out, "level"), json_str(&d->out, LEVELS[f.level]);
    json_key(&d->out, "check"), json_str(&d->out, f.check);
    json_key(&d->out, "text"), json_str(&d->out, text);
    json_key(&d->out, "todo"), json_str(&d->out, f.todo);
    json_end(&d->out);
    if (d->json) return;
    printf("%-8s %-8s %s%s%s\n", LEVELS[f.level], f.check, text, f.todo ? "; " : "", f.todo ? f.todo : "");
    fflush(stdout);
}
#define OK(d, what, ...) tell(d, (struct finding){LEVEL_OK, what, NULL}, __VA_ARGS__)
#define WARN(d, what, todo, ...) tell(d, (struct finding){LEVEL_WARNING, what, todo}, __VA_ARGS__)
#define PROBLEM(d, what, todo, ...) tell(d, (struct finding){LEVEL_PROBLEM, what, todo}, __VA_ARGS__)

/* ---- settings, programs, the machine ---- */

static void look_at_config(struct doctor *d) {
    const struct config *c = d->config;
    if (c->config_file)
        OK(d, "config", "%s is in order, with %u sections of models", c->config_file, c->n_sections);
    else
        OK(d, "config", "no configuration file; options, environment and defaults count");
    if (c->unknown_environment)
        WARN(d, "config", "hotseat serve --help has the names",
             "no setting has the name of these variables: %s", c->unknown_environment);
}

static void look_at_seat(struct doctor *d) {
    const char *path = d->seat_program;
    char line[256], same[64];
    if (access(path, X_OK) != 0) {
        PROBLEM(d, "seat", "install it beside hotseat (make install), or name it with --seat-program",
                "the seat's program %s: %s", path, strerror(errno));
        return;
    }
    if (program_version(path, line, sizeof line) != ERR_OK) {
        PROBLEM(d, "seat", "build or install it anew for this machine", "%s does not run", path);
        return;
    }
    snprintf(same, sizeof same, "hotseat-seat %s,", HOTSEAT_VERSION);
    d->seat_runs = strncmp(line, same, strlen(same)) == 0;
    if (!d->seat_runs)
        PROBLEM(d, "seat", "install both programs of one build",
                "%s is of another version than hotseat %s: %s", path, HOTSEAT_VERSION, line);
    else
        OK(d, "seat", "%s: %s", path, line);
}

static void look_at_memory(struct doctor *d) {
    uint64_t memory = d->config->memory_bytes, total = proc_mem_total_bytes();
    uint64_t group = proc_mem_cgroup_limit_bytes(), now = proc_mem_available_bytes();
    if (total && memory > total)
        WARN(d, "memory", "lower --memory", "--memory is %s, this machine has %s", human_bytes(memory),
             human_bytes(total));
    else if (group < memory)
        WARN(d, "memory", "raise the group's limit, or lower --memory to it",
             "--memory is %s, the control group allows %s", human_bytes(memory), human_bytes(group));
    else
        OK(d, "memory", "%s for models, of %s; available now: %s", human_bytes(memory), human_bytes(total),
           now ? human_bytes(now) : "not known");
}

static void look_at_files(struct doctor *d) {
    uint32_t fit = listen_make_room(CONNECTIONS_MAX);
    if (fit < CONNECTIONS_MAX)
        WARN(d, "files", "raise the hard limit of open files (ulimit -Hn)",
             "the limit of open files leaves room for %u connections instead of %u", fit, CONNECTIONS_MAX);
    else
        OK(d, "files", "open files are enough for %u connections", CONNECTIONS_MAX);
}

/* As serve does it: the socket, and the keys that its address asks for. */
static void look_at_port(struct doctor *d) {
    struct server *server = NULL;
    char why[512] = "", url[300];
    enum err err = server_open(d->config, &server, why, sizeof why);
    if (err) {
        PROBLEM(d, "port", err == ERR_IO ? NULL : "see hotseat serve --help", "%s", why);
        return;
    }
    server_url(server, url, sizeof url);
    server_free(server);
    OK(d, "port", "%s can be had", url);
}

/* ---- the cache ---- */

static void warn_of_disk(struct doctor *d, const char *check, const char *path) {
    enum file_system kind = file_system_of(path);
    if (kind == FILE_SYSTEM_NETWORK)
        WARN(d, check, "a disk of this machine is faster, and safer to lock",
             "%s is on a network file system, or one that a program serves", path);
    if (kind == FILE_SYSTEM_MEMORY)
        WARN(d, check, "name a folder on a disk",
             "%s is in memory: what is in it takes room from models and ends with the machine", path);
}

static const char *cache_todo(enum err err) {
    switch ((int)err) {
    case ERR_LOCKED: return "stop that server, or name another folder with --cache-dir";
    case ERR_DISK_FULL: return "free some space, or name another folder with --cache-dir";
    default: return "repair it, or name another folder with --cache-dir";
    }
}

static void look_at_cache(struct doctor *d) {
    const char *dir = d->config->cache_dir;
    struct store_look look;
    char why[STORE_DIR_BYTES_MAX + 256] = "";
    enum err err = store_look(dir, &look, why, sizeof why);
    if (err) {
        PROBLEM(d, "cache", cache_todo(err), "%s", why);
        return;
    }
    uint64_t budget = d->config->cache_disk_bytes, room = look.free_bytes + look.used_bytes;
    if (look.exists)
        OK(d, "cache", "%s can be written; %s in it, %s free", dir, human_bytes(look.used_bytes),
           human_bytes(look.free_bytes));
    else
        OK(d, "cache", "%s will be made; %s free", dir, human_bytes(look.free_bytes));
    if (look.exists && look.open_to_others && !look.only_ours)
        WARN(d, "cache", "chmod 700, if nobody else needs it",
             "others may list %s, which holds more than the cache; the caches themselves are closed", dir);
    if (room < budget)
        WARN(d, "cache", "free some space, or lower --cache-disk",
             "the disk has room for %s of caches, --cache-disk is %s", human_bytes(room),
             human_bytes(budget));
    if (look.write_ns > SLOW_WRITE_NS)
        WARN(d, "cache", "name a folder on a faster disk with --cache-dir",
             "%s is slow: 1 MB took %s to write", look.place, human_ms(look.write_ns / NS_PER_MS));
    warn_of_disk(d, "cache", look.place);
}

/* ---- the models ---- */

static void on_change(void *ctx UNUSED, struct model *m UNUSED, enum model_state from UNUSED) {}
static bool in_use(const void *ctx UNUSED, const struct model *m UNUSED) {
    return false;
}

static void look_at_folders(struct doctor *d) {
    for (uint32_t i = 0; i < d->config->n_models; i++) {
        struct stat st;
        const char *folder = d->config->models[i];
        bool there = stat(folder, &st) == 0;
        if (!there || !S_ISDIR(st.st_mode))
            WARN(d, "models", "make it, or name another one with --models", "the folder %s: %s", folder,
                 there ? "it is no folder" : strerror(errno));
        else
            warn_of_disk(d, "models", folder);
    }
    for (uint32_t i = 0; i < d->found->n_unread; i++)
        PROBLEM(d, "models", "give yourself the right to read it", "the folder %s can't be read",
                d->found->unread[i]);
    if (d->found->limited)
        WARN(d, "models", "name a folder with fewer files", "only the first %d models are looked at",
             MODELS_MAX);
}

static struct model *start_model(const struct doctor *d) {
    const char *name = d->config->model;
    if (name && !strcmp(name, "none")) return NULL;
    return name ? registry_find(d->registry, name) : registry_first(d->registry);
}

/* True: it could be loaded here. */
static bool look_at_model(struct doctor *d, const struct model *m, bool first) {
    struct admission_measure measure = {0};
    struct admission plan;
    char why[1024] = "";
    if (m->state == MODEL_INVALID || m->state == MODEL_GONE) {
        PROBLEM(d, "model", "fetch the file again, or take it away", "%s can't be loaded: %s", m->id,
                m->reason ? m->reason : err_text(ERR_MODEL_INVALID));
        return false;
    }
    if (!d->seat_runs) return true; /* nobody to measure it */
    enum err err =
        measure_now(d->config, d->seat_program, m, d->config->load_timeout_ns, &measure, why, sizeof why);
    if (err) {
        PROBLEM(d, "model",
                err == ERR_MODEL_INVALID ? "fetch the file again, or take it away"
                                         : "try again with more free memory",
                "%s can't be loaded: %s", m->id, why);
        return false;
    }
    struct admission_limits limits = measure_limits(d->config, m, 0);
    err = measure_admit(m, &measure, &limits, &plan, why, sizeof why);
    if (!err) {
        OK(d, "model", "%s: %s, %s parameters, needs %s, may get %s of KV cells", m->id,
           m->info.spec.architecture, human_count(m->info.spec.n_params), human_bytes(plan.needed_bytes),
           human_bytes(plan.pool_bytes));
        return true;
    }
    enum level level = first && err == ERR_MODEL_TOO_LARGE ? LEVEL_PROBLEM : LEVEL_WARNING;
    const char *todo = err == ERR_MODEL_TOO_LARGE ? "raise --memory if there is more, or take a smaller model"
                                                  : "close other programs before it is asked for";
    tell(d, (struct finding){level, "model", todo}, "%s", why);
    return err != ERR_MODEL_TOO_LARGE;
}

static enum err look_at_models(struct doctor *d) {
    enum err err = scan_open(d->config, &d->scan);
    if (!err) err = scan_run(d->scan, &d->found);
    if (!err) err = registry_open(d->config, on_change, d, &d->registry);
    if (!err) err = registry_apply(d->registry, d->found, in_use, d);
    if (err) return err;
    look_at_folders(d);
    const struct model *first = start_model(d);
    const char *name = d->config->model;
    uint32_t n = registry_count(d->registry), usable = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct model *m = registry_at(d->registry, i);
        usable += look_at_model(d, m, first && m == first);
    }
    for (uint32_t i = 0; i < d->config->n_sections; i++)
        if (!registry_uses_section(d->registry, &d->config->sections[i]))
            WARN(d, "config", "correct its name, or give it a path",
                 "[model %s]: no model file has this name, its settings count for nobody",
                 d->config->sections[i].name);
    if (name && strcmp(name, "none") && !first)
        PROBLEM(d, "models", "name one of those above", "--model: no model is named \"%s\"", name);
    if (!usable)
        PROBLEM(d, "models", "put a *.gguf file into a models folder, or name the folder with --models",
                "there is no model that can be loaded, of %u", n);
    return ERR_OK;
}

/* ---- all together ---- */

static enum err look_at_all(struct doctor *d) {
    look_at_config(d);
    d->config->log_level = LOG_ERROR; /* what the measuring seats log */
    d->seat_program = seat_program_path(d->config->seat_program);
    if (!d->seat_program) return ERR_NOMEM;
    look_at_seat(d);
    look_at_memory(d);
    look_at_files(d);
    look_at_port(d);
    look_at_cache(d);
    return look_at_models(d);
}

static int finish(struct doctor *d, enum err err, bool config_failed) {
    json_end(&d->out);
    json_key(&d->out, "problems"), json_u64(&d->out, d->counts[LEVEL_PROBLEM]);
    json_key(&d->out, "warnings"), json_u64(&d->out, d->counts[LEVEL_WARNING]);
    json_end(&d->out);
    if (!err) err = d->report.error;
    if (err) {
        fprintf(stderr, "hotseat doctor: %s\n", err_text(err));
        return CLI_REFUSED;
    }
    if (d->json) {
        fwrite(d->report.data, 1, d->report.size, stdout);
        putchar('\n');
    }
    return config_failed ? CLI_USAGE : d->counts[LEVEL_PROBLEM] ? CLI_REFUSED : CLI_DONE;
}

static void doctor_close(struct doctor *d) {
    registry_free(d->registry);
    scan_result_free(d->found);
    scan_free(d->scan);
    mem_free(d->seat_program);
    config_free(d->config);
    buf_free(&d->report);
}

static void help(void) {
    cli_verb_help("doctor");
    puts("  --json                       " JSON_TEXT "\n"
         "  --help                       this text\n\n"
         "Each further option is one of hotseat serve, and is looked at as serve would take it.\n\n"
         "Exit status: 0 no problem, 1 a problem, 2 usage or configuration.");
}

int cli_doctor(int argc, char **argv) {
    struct doctor d = {.report = BUF(REPORT_BYTES)};
    char why[512] = "";
    bool wants_help = false;
    int n = 0;
    if (argc == 2 && strcmp(argv[1], MAN_OPTION) == 0) {
        man_option("--json", NULL, JSON_TEXT);
        return CLI_DONE;
    }
    for (int i = 1; i < argc; i++) { /* what is left is serve's */
        if (!strcmp(argv[i], "--json"))
            d.json = true;
        else
            argv[++n] = argv[i];
    }
    log_open(LOG_ERROR, "doctor"); /* what serve would log is told as a finding */
    enum err err = config_load(n, argv + 1, &d.config, &wants_help, why, sizeof why);
    d.out = json_out_into(&d.report);
    json_obj(&d.out);
    json_key(&d.out, "findings");
    json_arr(&d.out);
    int status = CLI_DONE;
    if (!err && wants_help)
        help();
    else if (err == ERR_INVALID) {
        PROBLEM(&d, "config", "nothing else was looked at", "%s", why);
        status = finish(&d, ERR_OK, true);
    } else {
        status = finish(&d, err ? err : look_at_all(&d), false);
    }
    doctor_close(&d);
    return status;
}
