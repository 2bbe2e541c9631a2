/* registry.h - the models that are known, what is known about each, and under which names they answer.
 *
 *   AVAILABLE --swap--> LOADING --> SEATED --swap--> AVAILABLE
 *   LOADING, and AVAILABLE when the look at it hung --> FAILED, until it has cooled down
 *   any but LOADING and SEATED --its file went--> GONE, forgotten when nothing refers to it
 *   any but LOADING and SEATED --can't be loaded--> INVALID, until the look that said so says otherwise: the scan's next
 *       one that can read it; for a measuring seat's word (condemned) another file or other settings
 *
 * A state is changed by registry_set_state() only. Pure data: what is on the disk comes from scan.h.
 * Thread: the control thread's (before front_start: the main thread's). */
#ifndef HOTSEAT_FRONT_REGISTRY_H
#define HOTSEAT_FRONT_REGISTRY_H

#include "base/list.h"
#include "front/admission.h"
#include "front/scan.h"
#include "front/turns.h"

enum model_state { MODEL_AVAILABLE, MODEL_LOADING, MODEL_SEATED, MODEL_FAILED, MODEL_GONE, MODEL_INVALID };
const char *model_state_name(enum model_state s); /* "available"; static */

#define MODEL_COOLDOWN_MIN_NS                                                                                \
    INT64_C(10000000000) /* after the first failure; doubles with each further one */
#define MODEL_COOLDOWN_MAX_NS INT64_C(600000000000)

struct model_queue {
    int64_t oldest_ns,
        background_ns; /* waits since: of those that are not background, and of those that are; INT64_MAX: none */
    bool parked;       /* all have run */
    bool known;        /* else the queue has changed since */
};

struct model {
    char *id, *path;
    char *aliases[MODEL_ALIASES_MAX];
    uint32_t n_aliases;
    enum model_state state;
    char *reason;   /* of FAILED, INVALID, GONE; else NULL */
    bool condemned; /* INVALID by a measuring seat: the scan, who found nothing wrong, can't undo it */
    int64_t cooldown_until_ns, cooldown_ns;
    /* swap.c's: a load failed, and the old model is not back yet. The cool-down begins when it is. */
    bool swap_goes_on;
    struct file_identity identity;
    int64_t created_s;
    struct gguf_info info;
    bool file_gone; /* while seated or loading */
    /* the settings it loads with: its section's, else the server's */
    uint32_t context;
    enum kv_type kv;
    bool repack, pin;
    uint64_t pool_bytes;
    char *template_family, *template_source; /* "" when there is none */
    struct admission_measure measure;
    bool measure_wanted;    /* validate.c's */
    uint64_t look_ticket;   /* turn.c's: the look at the disk before its swap */
    uint32_t cached_agents; /* as the seat last said */
    int64_t left_seat_ns;   /* INT64_MIN: never sat */
    int64_t went_idle_ns;   /* turn.c's: it had no work since, and nobody has asked for it; INT64_MAX */
    int64_t service_ns;     /* dispatch.c's: how long a request takes in the seat, EWMA; 0: not known */
    struct turns_habit habit;
    int64_t not_before_ns; /* turn.c's: there was no memory for it; those that were parked ask again then */
    struct list waiting;   /* dispatch.c's: streams in order */
    struct model_queue queue; /* turn.c's: what it says of `waiting` */
    uint32_t running;         /* dispatch.c's */
    uint64_t n_left;          /* its streams that are not background and have left the seat */
    bool seen;
};

struct registry;
/* on_change is called after a model's state has changed, and for a model that came (from == GONE). */
enum err registry_open(const struct config *config,
                       void (*on_change)(void *ctx, struct model *m, enum model_state from), void *ctx,
                       struct registry **ret) NODISCARD;
void registry_free(struct registry *r);

/* Takes over what a look at the disk found (result stays the caller's). in_use: must not be forgotten yet. */
enum err registry_apply(struct registry *r, const struct scan_result *result,
                        bool (*in_use)(const void *ctx, const struct model *m), const void *ctx) NODISCARD;
/* New [model] sections: aliases and settings count from the next load on. */
/* but: not of this one yet (a swap to it is under way, planned with what it has); NULL. registry_settings() makes up for it. */
enum err registry_set_sections(struct registry *r, const struct config *config,
                               const struct model *but) NODISCARD;
enum err registry_settings(struct registry *r, struct model *m) NODISCARD;
/* False: no model has the section's name, so its settings count for nobody. */
bool registry_uses_section(const struct registry *r, const struct config_model *section);
void registry_warn_sections(struct registry *r,
                            const struct config *config); /* of sections that no model has the name of */

struct model *registry_find(const struct registry *r,
                            const char *name); /* by id, then by alias; NULL. GONE ones too */
uint32_t registry_count(const struct registry *r);
struct model *registry_at(const struct registry *r, uint32_t i); /* by id */
struct model *registry_first(const struct registry *r);          /* the first that could be loaded; NULL */

/* must() fails on a transition that is not in the table. reason: copied; NULL clears. */
void registry_set_state(struct registry *r, struct model *m, enum model_state to, const char *reason);
/* A load that failed, or the look before it: FAILED, and no other try before the cool-down is over. */
void registry_fail(struct registry *r, struct model *m, int64_t now_ns, const char *reason);
/* INVALID, because an engine that looked at the file says so. */
void registry_condemn(struct registry *r, struct model *m, const char *reason);
/* AVAILABLE once more when the cool-down is over; true while it still lasts. */
bool registry_cooling(struct registry *r, struct model *m, int64_t now_ns);

#endif
