/* config_table.h - every setting of `hotseat serve`, one row each. The command line (--key), the environment
 * (HOTSEAT_KEY), the INI file (key = value), --help and docs/config.md are made from these rows and from
 * nothing else. X(field, "key", TYPE, min, max, "default", "argument", reloads, "text") field    of struct
 * config        TYPE   how it is read: see config.c min, max the allowed range, in bytes, seconds or plain
 * numbers; texts have none default  read like a value; "" means that config_load() works it out (the text
 * says how) reloads  true: `POST /admin/reload` applies it to the running server */
#ifndef HOTSEAT_FRONT_CONFIG_TABLE_H
#define HOTSEAT_FRONT_CONFIG_TABLE_H

#define CONFIG_MAX_SIZE (1.0 * (1ull << 50)) /* 1 PiB: larger is a slip of the finger */
#define CONFIG_MAX_SECONDS 86400.0

#define CONFIG_TABLE(X)                                                                                      \
    X(host, "host", TEXT, 0, 0, "127.0.0.1", "ADDRESS", false, "address to listen on")                       \
    X(port, "port", NUMBER, 0, 65535, "8480", "N", false, "port to listen on; 0 takes a free one")           \
    X(models, "models", LIST, 0, 0, "", "DIR", false,                                                        \
      "folder whose *.gguf files are the models; repeatable; default $XDG_DATA_HOME/hotseat/models")         \
    X(model, "model", TEXT, 0, 0, "", "ID", false,                                                           \
      "model seated at start; none: an empty seat until somebody asks; default the first by name")           \
    X(cache_dir, "cache-dir", TEXT, 0, 0, "", "DIR", false,                                                  \
      "the block store; default $XDG_CACHE_HOME/hotseat")                                                    \
    X(cache_disk_bytes, "cache-disk", SIZE, 1048576, CONFIG_MAX_SIZE, "20G", "SIZE", true,                   \
      "the store's budget on disk, enforced at every write")                                                 \
    X(memory_bytes, "memory", SIZE, 67108864, CONFIG_MAX_SIZE, "", "SIZE", false,                            \
      "what weights, vocabulary, KV cells and compute buffers together may use; default 75 % of physical "   \
      "memory")                                                                                              \
    X(pool_bytes, "pool", SIZE_AUTO, 1048576, CONFIG_MAX_SIZE, "auto", "SIZE", false,                        \
      "KV cells of the seated model; auto: what is left beside weights and compute, at most 4G")             \
    X(parallel, "parallel", NUMBER, 1, PARALLEL_MAX, "4", "N", false, "sequences that run at the same time") \
    X(token_gap, "token-gap", NUMBER, 2, TOKEN_GAP_MAX, "3", "N", false,                                     \
      "while prompts are read, the gap between tokens of a running stream, from its third on, is kept "      \
      "within so many times the undisturbed gap; prompts get the rest")                                      \
    X(auto_swap, "auto-swap", SWITCH, 0, 0, "on", "on|off", true,                                            \
      "whether a request for another model may cause a swap, or only the admin may")                         \
    X(wait_bound_ns, "wait-bound", SECONDS, 0, CONFIG_MAX_SECONDS, "60", "SECONDS", true,                    \
      "a busy model leaves the seat early only when somebody has waited longer than this")                   \
    X(stay_min_ns, "stay-min", SECONDS_AUTO, 0, CONFIG_MAX_SECONDS, "auto", "SECONDS", true,                 \
      "a busy model keeps the seat at least this long; auto: 9 times a swap, at most 30")                    \
    X(patience_ns, "patience", SECONDS_AUTO, 0, CONFIG_MAX_SECONDS, "auto", "SECONDS", true,                 \
      "how long an idle model keeps the seat while others wait; auto: one swap, at most 5, if its next "     \
      "request tends to come in time")                                                                       \
    X(cache_write_per_day_bytes, "cache-write-per-day", SIZE, 0, CONFIG_MAX_SIZE, "50G", "SIZE", true,       \
      "past it only what leaves memory is stored; 0: nothing else ever is")                                  \
    X(origins, "origins", TEXT, 0, 0, "", "LIST", false,                                                     \
      "web pages that may call (CORS), comma-separated; default pages on this machine")                      \
    X(context, "context", NUMBER_AUTO, 64, 16777216, "auto", "TOKENS", false,                                \
      "longest sequence; auto: the model's own, at most what fits")                                          \
    X(kv, "kv", KV, 0, 0, "q8_0", "f16|q8_0|q4_0", false, "type of the KV cells")                            \
    X(threads, "threads", NUMBER_AUTO, 1, 1024, "auto", "N", false,                                          \
      "threads of the engine; auto: physical cores")                                                         \
    X(drain_timeout_ns, "drain-timeout", SECONDS, 0, CONFIG_MAX_SECONDS, "30", "SECONDS", true,              \
      "how long a swap waits for streams before it parks them")                                              \
    X(api_key, "api-key", SECRET, 0, 0, "", "FILE|env:NAME", false,                                          \
      "key of the inference API; needed on any address but loopback")                                        \
    X(admin_key, "admin-key", SECRET, 0, 0, "", "FILE|env:NAME", false,                                      \
      "key of the admin API; needed on any address but loopback")                                            \
    X(debug, "debug", FLAG, 0, 0, "off", "", false, "debug fields and faults: for tests only")               \
    X(log_level, "log-level", LEVEL, 0, 0, "info", "LEVEL", true, "error, warn, info or debug")              \
    X(load_timeout_ns, "load-timeout", SECONDS, 1, CONFIG_MAX_SECONDS, "120", "SECONDS", true,               \
      "a load without progress for this long hangs: its process is ended and another one loads")             \
    X(step_timeout_ns, "step-timeout", SECONDS, 1, CONFIG_MAX_SECONDS, "120", "SECONDS", true,               \
      "a decode, save or unload without a sign of life for this long hangs: its process is ended")           \
    X(seat_program, "seat-program", TEXT, 0, 0, "", "FILE", false,                                           \
      "the seat; default hotseat-seat beside the hotseat program")

/* The keys of a [model NAME] section: X(field of struct config_model, "key", TYPE, min, max, "argument",
 * "text") */
#define CONFIG_MODEL_TABLE(X)                                                                                \
    X(path, "path", TEXT, 0, 0, "FILE", "the GGUF file; default NAME.gguf in a models folder")               \
    X(aliases, "alias", ALIASES, 0, 0, "LIST", "further names, comma-separated; repeatable")                 \
    X(context, "context", NUMBER_AUTO, 64, 16777216, "TOKENS", "longest sequence")                           \
    X(kv, "kv", KV, 0, 0, "f16|q8_0|q4_0", "type of the KV cells")                                           \
    X(repack, "repack", SWITCH, 0, 0, "on|off",                                                              \
      "repack the weights for this CPU: a slower load, as much memory again, faster for some types")         \
    X(pin, "pin", SWITCH, 0, 0, "on|off", "never evict this model's blocks")                                 \
    X(template_name, "template", TEXT, 0, 0, "NAME|FILE", "chat template: a family's name or a Jinja file")  \
    X(pool_bytes, "pool", SIZE_AUTO, 1048576, CONFIG_MAX_SIZE, "SIZE", "bytes of KV cells")

#endif
