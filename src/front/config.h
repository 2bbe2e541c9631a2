/* config.h - every setting, in one table (config_table.h): key, type, default, range, unit, text. The parser
 * of the command line, the environment and the INI file, --help and docs/config.md come from it. Command line
 * wins over HOTSEAT_KEY, that over the file, that over the default. Thread: read-only after config_load. */
#ifndef HOTSEAT_FRONT_CONFIG_H
#define HOTSEAT_FRONT_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/limits.h"
#include "model/model_spec.h"

struct config_model { /* a [model NAME] section */
    char *name;
    char *path; /* NULL: DIR/NAME.gguf */
    char *aliases[MODEL_ALIASES_MAX];
    uint32_t n_aliases;
    uint32_t context; /* 0: the server's */
    int kv;           /* -1: the server's, else enum kv_type */
    bool repack;
    bool pin;
    char *template_name; /* a family's name or a Jinja file; NULL: the model's own */
    uint64_t pool_bytes; /* 0: the server's */
};

struct config {
    char *host;
    uint32_t port;
    char **models; /* folders */
    uint32_t n_models;
    char *model; /* NULL: the first by name; "none" */
    char *cache_dir;
    uint64_t cache_disk_bytes;
    uint64_t memory_bytes;
    uint64_t pool_bytes; /* 0: what is left, at most 4G */
    uint32_t parallel;
    uint32_t token_gap; /* of running streams while prompts are read, in undisturbed gaps */
    bool auto_swap;
    int64_t wait_bound_ns, stay_min_ns /* -1: min(Q, 30 s) */, patience_ns /* -1: min(s, 5 s) */;
    uint64_t cache_write_per_day_bytes;
    char *origins;    /* comma-separated; NULL: pages on this machine */
    uint32_t context; /* 0: the model's own */
    enum kv_type kv;
    uint32_t threads; /* 0: physical cores */
    int64_t drain_timeout_ns;
    char *api_key, *admin_key; /* the keys themselves; NULL: none */
    bool debug;
    int log_level;
    int64_t load_timeout_ns; /* a load with no progress for this long hangs: process-level swap */
    int64_t step_timeout_ns; /* a decode, evict, unload without a sign of life for this long hangs: the seat
                                is ended */
    char *seat_program;      /* NULL: hotseat-seat beside the hotseat program */
    char *config_file;       /* the one that was read, NULL */
    struct config_model *sections;
    uint32_t n_sections;
    int argc; /* copies of what config_load() got, so that a reload reads the same again */
    char **argv;
    char *unknown_environment; /* names of HOTSEAT_* variables that are no setting, comma-separated; NULL */
};

/* argv without the verb. ERR_INVALID: why has file, line, key and the allowed range (the caller exits with
 * 2). *ret_help: --help was asked for. */
enum err config_load(int argc, char **argv, struct config **ret, bool *ret_help, char *why,
                     size_t why_size) NODISCARD;
void config_free(struct config *c);
const struct config_model *config_model_find(const struct config *c, const char *name); /* NULL */
void config_help(FILE *out);
void config_markdown(FILE *out); /* docs/config.md: `hotseat serve --help-markdown` */
/* The tables' rows, for who tells of them elsewhere; false: i is past the last. */
struct config_option {
    const char *key, *argument, *otherwise, *text;
};
bool config_option_at(size_t i, struct config_option *ret);
bool config_model_key_at(size_t i, struct config_option *ret);
/* What differs between two configurations, as comma-separated keys: those a running server can apply, and the
 * others. Both strings are the caller's (NULL: none). ERR_NOMEM. */
enum err config_diff(const struct config *a, const struct config *b, char **ret_reloads,
                     char **ret_restart) NODISCARD;
void config_log(const struct config *c); /* the effective one, keys left out, once at start */

#endif
