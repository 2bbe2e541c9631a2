/* config.c - where settings come from: table defaults, then the file, the environment, the command line; the
 * later wins. The only file that sees ini.h. inih cuts section names at 50 bytes and joins indented lines to
 * the one before, so the reader here hands it lines without indentation and tracks [sections] by itself; inih
 * splits key from value. */
#include "front/config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/proc_mem.h"
#include "front/config_table.h"
#include "front/config_value.h"

#define FOLDERS_MAX 64
#define SECTIONS_MAX MODELS_MAX

extern char **environ;

struct config_row {
    const char *key;
    enum config_type type;
    double min, max;
    const char *otherwise, *argument, *text;
    bool reloads;
    size_t offset;
};
static const struct config_row ROWS[] = {
#define ROW(field, key, type, min, max, otherwise, argument, reloads, text)                                  \
    {key, CONFIG_##type, min, max, otherwise, argument, text, reloads, offsetof(struct config, field)},
    CONFIG_TABLE(ROW)
#undef ROW
};
static const struct config_row MODEL_ROWS[] = {
#define ROW(field, key, type, min, max, argument, text)                                                      \
    {key, CONFIG_##type, min, max, "", argument, text, true, offsetof(struct config_model, field)},
    CONFIG_MODEL_TABLE(ROW)
#undef ROW
};
#define N_ROWS ARRAY_LEN(ROWS)

static void *field_of(void *object, const struct config_row *row) {
    return (char *)object + row->offset;
}
static const void *field_of_const(const void *object, const struct config_row *row) {
    return (const char *)object + row->offset;
}

static const struct config_row *row_find(const struct config_row *rows, size_t n, const char *key) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(rows[i].key, key)) return &rows[i];
    return NULL;
}

/* ---- lists ---- */

static void folders_clear(struct config *c) {
    for (uint32_t i = 0; i < c->n_models; i++) mem_free(c->models[i]);
    mem_free(c->models);
    c->models = NULL;
    c->n_models = 0;
}

static enum err folder_add(struct config *c, const char *folder, char *why, size_t why_size) {
    if (!*folder || c->n_models >= FOLDERS_MAX) {
        snprintf(why, why_size,
                 *folder ? "more than %d folders" : "a folder's name is empty (at most %d folders)",
                 FOLDERS_MAX);
        return ERR_INVALID;
    }
    char **grown = mem_realloc(c->models, (c->n_models + 1) * sizeof *grown);
    if (!grown) return ERR_NOMEM;
    c->models = grown;
    if (!(c->models[c->n_models] = mem_strdup(folder))) return ERR_NOMEM;
    c->n_models++;
    return ERR_OK;
}

static enum err aliases_add(struct config_model *m, const char *list, char *why, size_t why_size) {
    while (*list) {
        size_t n = strcspn(list, ",");
        const char *end = list + n;
        while (n && isspace((unsigned char)*list)) list++, n--;
        while (n && isspace((unsigned char)list[n - 1])) n--;
        if (!n || n > MODEL_ID_BYTES_MAX || m->n_aliases >= MODEL_ALIASES_MAX) {
            snprintf(why, why_size, "allowed: 1..%d names of 1..%d bytes", MODEL_ALIASES_MAX,
                     MODEL_ID_BYTES_MAX);
            return ERR_INVALID;
        }
        if (!(m->aliases[m->n_aliases] = mem_strndup(list, n))) return ERR_NOMEM;
        m->n_aliases++;
        list = *end ? end + 1 : end;
    }
    return ERR_OK;
}

/* ---- the file ---- */

struct file_reader {
    struct config *config;
    FILE *file;
    const char *path;
    int line;
    struct config_model *section; /* NULL: the server's own keys */
    uint64_t seen, model_seen;    /* bit per row: a key may stand once */
    enum err err;
    char *why;
    size_t why_size;
};

static enum err file_fail(struct file_reader *r, const char *key, const char *text) {
    if (r->err) return r->err;
    snprintf(r->why, r->why_size, "%s:%d: %s%s%s", r->path, r->line, key, *key ? ": " : "", text);
    return r->err = ERR_INVALID;
}

static enum err section_begin(struct file_reader *r, const char *name) {
    struct config *c = r->config;
    r->section = NULL;
    if (!strcmp(name, "hotseat")) return ERR_OK;
    if (strncmp(name, "model ", 6))
        return file_fail(r, name, "no such section; allowed: [hotseat] and [model NAME]");
    name += 6;
    while (isspace((unsigned char)*name)) name++;
    size_t n = strlen(name);
    if (!n || n > MODEL_ID_BYTES_MAX || !strcmp(name, "default") || !strcmp(name, "none"))
        return file_fail(r, "[model NAME]", "NAME must be 1..200 bytes and neither \"default\" nor \"none\"");
    if (config_model_find(c, name)) return file_fail(r, name, "a second section for this model");
    if (c->n_sections >= SECTIONS_MAX) return file_fail(r, name, "too many models");
    struct config_model *grown = mem_realloc(c->sections, (c->n_sections + 1) * sizeof *grown);
    if (!grown) return r->err = ERR_NOMEM;
    c->sections = grown;
    r->section = &c->sections[c->n_sections];
    *r->section = (struct config_model){.kv = -1, .name = mem_strdup(name)};
    if (!r->section->name) return r->err = ERR_NOMEM;
    c->n_sections++;
    r->model_seen = 0;
    return ERR_OK;
}

static char *file_line(char *room, int room_size, void *stream) {
    struct file_reader *r = stream;
    char line[4096];
    if (r->err || !fgets(line, sizeof line, r->file)) return NULL;
    r->line++;
    char *s = line;
    while (*s == ' ' || *s == '\t') s++;
    size_t n = strlen(s);
    while (n && isspace((unsigned char)s[n - 1])) s[--n] = '\0';
    char *close = strchr(s, ']');
    if (*s == '[' && close) {
        *close = '\0';
        char *name = s + 1;
        while (isspace((unsigned char)*name)) name++;
        for (size_t m = strlen(name); m && isspace((unsigned char)name[m - 1]);) name[--m] = '\0';
        (void)section_begin(r, name); /* remembered in r->err */
        s[0] = '\0';
        n = 0;
    } else if (*s == '[') {
        file_fail(r, "", "a section ends with ]");
        n = 0;
    } else if (*s == ';' || *s == '#') {
        n = 0;
    }
    s[n] = '\0';
    if (n + 2 > (size_t)room_size) {
        file_fail(r, "", "this line is too long (most systems' inih takes 198 bytes)");
        s[0] = '\0';
    }
    snprintf(room, (size_t)room_size, "%s\n", s);
    return room;
}

static int file_pair(void *user, const char *section, const char *key, const char *value) {
    (void)section; /* cut at 50 bytes: file_line() tracks the true one */
    struct file_reader *r = user;
    char why[256] = "";
    if (r->err) return 0;
    const struct config_row *rows = r->section ? MODEL_ROWS : ROWS;
    const struct config_row *row = row_find(rows, r->section ? ARRAY_LEN(MODEL_ROWS) : N_ROWS, key);
    if (!row) return file_fail(r, key, r->section ? "no such key in a [model] section" : "no such key"), 0;
    uint64_t bit = UINT64_C(1) << (row - rows);
    must(row->type != CONFIG_ALIASES || r->section);
    bool many = row->type == CONFIG_LIST || row->type == CONFIG_ALIASES;
    uint64_t *seen = r->section ? &r->model_seen : &r->seen;
    if (!many && (*seen & bit)) return file_fail(r, key, "given twice"), 0;
    *seen |= bit;
    if (row->type == CONFIG_LIST)
        r->err = folder_add(r->config, value, why, sizeof why);
    else if (row->type == CONFIG_ALIASES)
        r->err = aliases_add(r->section, value, why, sizeof why);
    else
        r->err = config_value_read(row->type, row->min, row->max, value,
                                   field_of(r->section ? (void *)r->section : (void *)r->config, row), why,
                                   sizeof why);
    if (r->err == ERR_INVALID) {
        r->err = ERR_OK;
        file_fail(r, key, why);
    }
    return r->err == ERR_OK;
}

static enum err file_read(struct config *c, const char *path, char *why, size_t why_size) {
    struct file_reader r = {.config = c, .path = path, .why = why, .why_size = why_size};
    r.file = fopen(path, "re");
    if (!r.file) {
        snprintf(why, why_size, "%s: %s", path, strerror(errno));
        return ERR_INVALID;
    }
    int bad_line = ini_parse_stream(file_line, &r, file_pair, &r);
    if (!r.err && ferror(r.file)) file_fail(&r, "", strerror(errno ? errno : EIO));
    fclose(r.file);
    if (!r.err && bad_line) {
        r.line = bad_line;
        file_fail(&r, "", "not \"key = value\" and no [section]");
    }
    if (r.err) return r.err;
    return (c->config_file = mem_strdup(path)) ? ERR_OK : ERR_NOMEM;
}

/* ---- environment and command line ---- */

static void env_name(const char *key, char *room, size_t room_size) {
    snprintf(room, room_size, "HOTSEAT_%s", key);
    for (char *p = room; *p; p++) *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
}

static enum err env_read(struct config *c, char *why, size_t why_size) {
    for (size_t i = 0; i < N_ROWS; i++) {
        char name[64], text[256] = "";
        env_name(ROWS[i].key, name, sizeof name);
        const char *value = getenv(name);
        if (!value || !*value) continue;
        enum err err = ERR_OK;
        if (ROWS[i].type == CONFIG_LIST) { /* folders, as in PATH */
            folders_clear(c);
            for (const char *at = value; !err && *at;) {
                size_t n = strcspn(at, ":");
                AUTO(mem_freep) char *folder = mem_strndup(at, n);
                err = folder ? folder_add(c, folder, text, sizeof text) : ERR_NOMEM;
                at += n + (at[n] == ':');
            }
        } else {
            err = config_value_read(ROWS[i].type, ROWS[i].min, ROWS[i].max, value, field_of(c, &ROWS[i]),
                                    text, sizeof text);
        }
        if (err == ERR_INVALID) snprintf(why, why_size, "%s: %s", name, text);
        if (err) return err;
    }
    return ERR_OK;
}

static bool env_known(const char *name, size_t n) {
    static const char *const OTHERS[] = {"HOTSEAT_SERVER", "HOTSEAT_CONFIG", "HOTSEAT_ENGINE_DIR"};
    for (size_t i = 0; i < ARRAY_LEN(OTHERS); i++)
        if (strlen(OTHERS[i]) == n && !strncmp(name, OTHERS[i], n)) return true;
    if (!strncmp(name, "HOTSEAT_FAKE_", 13)) return true;
    for (size_t i = 0; i < N_ROWS; i++) {
        char key[64];
        env_name(ROWS[i].key, key, sizeof key);
        if (strlen(key) == n && !strncmp(name, key, n)) return true;
    }
    return false;
}

static enum err env_unknown(struct config *c) {
    struct buf names = BUF(4096);
    for (char **e = environ; e && *e; e++) {
        size_t n = strcspn(*e, "=");
        if (strncmp(*e, "HOTSEAT_", 8) || env_known(*e, n)) continue;
        buf_printf(&names, "%s%.*s", names.size ? "," : "", (int)n, *e);
    }
    if (names.size) c->unknown_environment = buf_take_string(&names);
    buf_free(&names);
    return ERR_OK;
}

/* One option at argv[*at]: its row, or "config"/"help"; *ret_value NULL: there is none. */
static enum err option_at(int argc, char **argv, int *at, const char **ret_key, const char **ret_value,
                          char *why, size_t why_size) {
    static _Thread_local char key[64];
    const char *arg = argv[*at];
    *ret_value = NULL;
    *ret_key = key;
    size_t n = strcspn(arg, "=");
    if (!strcmp(arg, "-h")) arg = "--help", n = 6;
    if (strncmp(arg, "--", 2) || n < 3 || n - 2 >= sizeof key) {
        snprintf(why, why_size, "%s: no such option (see --help)", arg);
        return ERR_INVALID;
    }
    snprintf(key, sizeof key, "%.*s", (int)(n - 2), arg + 2);
    const struct config_row *row = row_find(ROWS, N_ROWS, key);
    bool is_config = !strcmp(key, "config"), is_help = !strcmp(key, "help");
    if (!row && !is_config && !is_help) {
        snprintf(why, why_size, "--%s: no such option (see --help)", key);
        return ERR_INVALID;
    }
    if (arg[n] == '=')
        *ret_value = arg + n + 1;
    else if (row && row->type == CONFIG_FLAG)
        *ret_value = "on";
    else if (!is_help) {
        if (*at + 1 >= argc) {
            snprintf(why, why_size, "--%s: a value is missing", key);
            return ERR_INVALID;
        }
        *ret_value = argv[++*at];
    }
    return ERR_OK;
}

static enum err args_read(struct config *c, int argc, char **argv, char *why, size_t why_size) {
    bool own_folders = false;
    for (int i = 0; i < argc; i++) {
        const char *key, *value;
        char text[256] = "";
        enum err err = option_at(argc, argv, &i, &key, &value, why, why_size);
        if (err) return err;
        const struct config_row *row = row_find(ROWS, N_ROWS, key);
        if (!row) continue;
        if (row->type == CONFIG_LIST) {
            if (!own_folders) folders_clear(c);
            own_folders = true;
            err = folder_add(c, value, text, sizeof text);
        } else { /* of two the last one counts, as with most programs: a wrapper's can be overridden */
            err =
                config_value_read(row->type, row->min, row->max, value, field_of(c, row), text, sizeof text);
        }
        if (err == ERR_INVALID) snprintf(why, why_size, "--%s: %s", key, text);
        if (err) return err;
    }
    return ERR_OK;
}

/* ---- all together ---- */

static char *xdg_path(const char *variable, const char *under_home, const char *tail) {
    const char *base = getenv(variable), *home = getenv("HOME");
    if (base && base[0] == '/')
        return mem_printf("%s/%s", base, tail); /* relative ones are to be ignored, says XDG */
    return mem_printf("%s/%s/%s", home && *home ? home : ".", under_home, tail);
}

static enum err defaults_set(struct config *c) {
    char why[256];
    for (size_t i = 0; i < N_ROWS; i++) {
        if (!*ROWS[i].otherwise) continue;
        enum err err = config_value_read(ROWS[i].type, ROWS[i].min, ROWS[i].max, ROWS[i].otherwise,
                                         field_of(c, &ROWS[i]), why, sizeof why);
        must(err == ERR_OK || err == ERR_NOMEM); /* the table's own values */
        if (err) return err;
    }
    return ERR_OK;
}

static enum err defaults_fill(struct config *c) {
    char why[64];
    if (!c->n_models) {
        AUTO(mem_freep) char *folder = xdg_path("XDG_DATA_HOME", ".local/share", "hotseat/models");
        if (!folder) return ERR_NOMEM;
        enum err err = folder_add(c, folder, why, sizeof why);
        if (err) return err;
    }
    if (!c->cache_dir && !(c->cache_dir = xdg_path("XDG_CACHE_HOME", ".cache", "hotseat"))) return ERR_NOMEM;
    if (!c->memory_bytes) {
        c->memory_bytes = proc_mem_total_bytes() / 4 * 3;
        if (!c->memory_bytes) c->memory_bytes = UINT64_C(4) << 30; /* a system that does not say */
    }
    return ERR_OK;
}

static bool is_loopback(const char *host) {
    return !strncmp(host, "127.", 4) || !strcmp(host, "::1") || !strcmp(host, "[::1]") ||
           !strcasecmp(host, "localhost");
}

static enum err config_check(const struct config *c, char *why, size_t why_size) {
    if (!is_loopback(c->host) && (!c->api_key || !c->admin_key)) {
        snprintf(why, why_size, "host: %s is not a loopback address, so %s must be given too", c->host,
                 c->api_key     ? "--admin-key"
                 : c->admin_key ? "--api-key"
                                : "--api-key and --admin-key");
        return ERR_INVALID;
    }
    if (c->admin_key && c->api_key && !strcmp(c->admin_key, c->api_key)) {
        snprintf(why, why_size, "admin-key: it must differ from the api-key");
        return ERR_INVALID;
    }
    return ERR_OK;
}

static enum err argv_keep(struct config *c, int argc, char **argv) {
    c->argv = mem_array((size_t)argc + 1, sizeof *c->argv);
    if (!c->argv) return ERR_NOMEM;
    for (; c->argc < argc; c->argc++)
        if (!(c->argv[c->argc] = mem_strdup(argv[c->argc]))) return ERR_NOMEM;
    return ERR_OK;
}

static enum err sources_read(struct config *c, int argc, char **argv, bool *ret_help, char *why,
                             size_t why_size) {
    const char *path = getenv("HOTSEAT_CONFIG"), *key, *value;
    for (int i = 0; i < argc; i++) {
        enum err err = option_at(argc, argv, &i, &key, &value, why, why_size);
        if (err) return err;
        if (!strcmp(key, "help")) *ret_help = true;
        if (!strcmp(key, "config")) path = value;
    }
    if (*ret_help) return ERR_OK;
    AUTO(mem_freep) char *usual = xdg_path("XDG_CONFIG_HOME", ".config", "hotseat/hotseat.ini");
    if (!usual) return ERR_NOMEM;
    enum err err = ERR_OK;
    if (path && *path)
        err = file_read(c, path, why, why_size);
    else if (!access(usual, F_OK))
        err = file_read(c, usual, why, why_size);
    if (!err) err = env_read(c, why, why_size);
    if (!err) err = env_unknown(c);
    if (!err) err = args_read(c, argc, argv, why, why_size);
    if (!err) err = defaults_fill(c);
    if (!err) err = config_check(c, why, why_size);
    return err;
}

static void config_freep(struct config **c) {
    config_free(*c);
}

enum err config_load(int argc, char **argv, struct config **ret, bool *ret_help, char *why, size_t why_size) {
    *ret = NULL;
    *ret_help = false;
    snprintf(why, why_size, "%s", err_text(ERR_NOMEM));
    AUTO(config_freep) struct config *c = mem_alloc(sizeof *c);
    if (!c) return ERR_NOMEM;
    enum err err = argv_keep(c, argc, argv);
    if (!err) err = defaults_set(c);
    if (!err) err = sources_read(c, argc, argv, ret_help, why, why_size);
    if (err) return err;
    *why = '\0';
    *ret = TAKE(c);
    return ERR_OK;
}

static void section_clear(struct config_model *m) {
    mem_free(m->name);
    mem_free(m->path);
    mem_free(m->template_name);
    for (uint32_t i = 0; i < m->n_aliases; i++) mem_free(m->aliases[i]);
}

void config_free(struct config *c) {
    if (!c) return;
    for (size_t i = 0; i < N_ROWS; i++)
        if (ROWS[i].type == CONFIG_TEXT || ROWS[i].type == CONFIG_SECRET)
            mem_free(*(char **)field_of(c, &ROWS[i]));
    folders_clear(c);
    for (uint32_t i = 0; i < c->n_sections; i++) section_clear(&c->sections[i]);
    mem_free(c->sections);
    for (int i = 0; i < c->argc; i++) mem_free(c->argv[i]);
    mem_free(c->argv);
    mem_free(c->config_file);
    mem_free(c->unknown_environment);
    mem_free(c);
}

const struct config_model *config_model_find(const struct config *c, const char *name) {
    for (uint32_t i = 0; i < c->n_sections; i++)
        if (!strcmp(c->sections[i].name, name)) return &c->sections[i];
    return NULL;
}

enum err config_diff(const struct config *a, const struct config *b, char **ret_reloads, char **ret_restart) {
    struct buf reloads = BUF(4096), restart = BUF(4096);
    for (size_t i = 0; i < N_ROWS; i++) {
        bool same;
        if (ROWS[i].type == CONFIG_LIST) {
            same = a->n_models == b->n_models;
            for (uint32_t k = 0; same && k < a->n_models; k++) same = !strcmp(a->models[k], b->models[k]);
        } else {
            same = config_value_equal(ROWS[i].type, field_of_const(a, &ROWS[i]), field_of_const(b, &ROWS[i]));
        }
        struct buf *list = ROWS[i].reloads ? &reloads : &restart;
        if (!same) buf_printf(list, "%s%s", list->size ? "," : "", ROWS[i].key);
    }
    bool failed = reloads.error || restart.error;
    *ret_reloads = reloads.size ? buf_take_string(&reloads) : NULL;
    *ret_restart = restart.size ? buf_take_string(&restart) : NULL;
    buf_free(&reloads);
    buf_free(&restart);
    return failed ? ERR_NOMEM : ERR_OK;
}

/* ---- for people ---- */

void config_help(FILE *out) {
    char env[64], left[64];
    fputs(
        "Usage: hotseat serve [OPTION...]\n\n"
        "Each option is also a key of the configuration file (key = value) and a variable HOTSEAT_KEY;\n"
        "the command line wins over the environment, the environment over the file.\n\n"
        "  --config FILE             the configuration file; default $XDG_CONFIG_HOME/hotseat/hotseat.ini\n",
        out);
    for (size_t i = 0; i < N_ROWS; i++) {
        snprintf(left, sizeof left, "--%s%s%s", ROWS[i].key, *ROWS[i].argument ? " " : "", ROWS[i].argument);
        fprintf(out, "  %-25s %s", left, ROWS[i].text);
        if (*ROWS[i].otherwise) fprintf(out, " (%s)", ROWS[i].otherwise);
        fputc('\n', out);
    }
    fputs("  --help                    this text\n\nA [model NAME] section of the file sets for one model:\n",
          out);
    for (size_t i = 0; i < ARRAY_LEN(MODEL_ROWS); i++)
        fprintf(out, "  %-25s %s (%s)\n", MODEL_ROWS[i].key, MODEL_ROWS[i].text, MODEL_ROWS[i].argument);
    env_name("cache-dir", env, sizeof env);
    fprintf(
        out,
        "\nSizes take K, M, G, T (powers of 1,024). --cache-dir, for example, is %s in the environment.\n",
        env);
}

void config_markdown(FILE *out) {
    char env[64], room[96];
    fputs("# Settings\n\nMade by `hotseat serve --help-markdown` from `src/front/config_table.h`. Each "
          "option is also a key of the\n"
          "configuration file (`--config FILE`, default `$XDG_CONFIG_HOME/hotseat/hotseat.ini` if it exists) "
          "and an\n"
          "environment variable (`HOTSEAT_CONFIG` names the file; `HOTSEAT_MODELS` may hold several folders, "
          "with `:` between "
          "them);\nthe command line wins over the environment, the environment over the file. "
          "Keys stand\n"
          "before any section or under `[hotseat]`. \"live\": applied by `POST /admin/reload` and SIGHUP.\n\n"
          "| option and key | environment | default | allowed | live | what |\n|---|---|---|---|---|---|\n",
          out);
    for (size_t i = 0; i < N_ROWS; i++) {
        env_name(ROWS[i].key, env, sizeof env);
        fprintf(out, "| `--%s` | `%s` | %s | %s | %s | %s |\n", ROWS[i].key, env, ROWS[i].otherwise,
                config_value_range(ROWS[i].type, ROWS[i].min, ROWS[i].max, room, sizeof room),
                ROWS[i].reloads ? "yes" : "", ROWS[i].text);
    }
    fputs("\n## `[model NAME]`\n\nNAME is the model's id: its file's name without `.gguf`, or a new name "
          "when `path` is given.\n"
          "All of it is live: it counts from the model's next load on.\n\n| key | allowed | what "
          "|\n|---|---|---|\n",
          out);
    for (size_t i = 0; i < ARRAY_LEN(MODEL_ROWS); i++)
        fprintf(
            out, "| `%s` | %s | %s |\n", MODEL_ROWS[i].key,
            config_value_range(MODEL_ROWS[i].type, MODEL_ROWS[i].min, MODEL_ROWS[i].max, room, sizeof room),
            MODEL_ROWS[i].text);
}

static bool row_tell(const struct config_row *rows, size_t n, size_t i, struct config_option *ret) {
    if (i >= n) return false;
    *ret = (struct config_option){rows[i].key, rows[i].argument, rows[i].otherwise, rows[i].text};
    return true;
}

bool config_option_at(size_t i, struct config_option *ret) {
    return row_tell(ROWS, N_ROWS, i, ret);
}
bool config_model_key_at(size_t i, struct config_option *ret) {
    return row_tell(MODEL_ROWS, ARRAY_LEN(MODEL_ROWS), i, ret);
}

void config_log(const struct config *c) {
    struct buf line = BUF(16384);
    for (size_t i = 0; i < N_ROWS; i++) {
        struct buf value = BUF(4096);
        if (ROWS[i].type == CONFIG_LIST)
            for (uint32_t k = 0; k < c->n_models; k++) buf_printf(&value, "%s%s", k ? ":" : "", c->models[k]);
        else
            config_value_write(ROWS[i].type, field_of_const(c, &ROWS[i]), &value);
        AUTO(mem_freep) char *text = buf_take_string(&value);
        buf_free(&value);
        buf_printf(&line, "%s%s=%s", line.size ? " " : "", ROWS[i].key, log_q(text ? text : ""));
    }
    AUTO(mem_freep) char *all = buf_take_string(&line);
    buf_free(&line);
    if (all)
        log_info("config", "file=%s sections=%u %s", log_q(c->config_file ? c->config_file : ""),
                 c->n_sections, all);
    if (c->unknown_environment) log_warn("config.environment", "unknown=%s", log_q(c->unknown_environment));
}
