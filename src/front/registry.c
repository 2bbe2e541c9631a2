#include "front/registry.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"

struct registry {
    struct model **models; /* by id */
    uint32_t n_models;
    const struct config *config; /* the server's own defaults */
    struct config_model *sections;
    uint32_t n_sections;
    void (*on_change)(void *ctx, struct model *m, enum model_state from);
    void *ctx;
};

static const char *const STATE_NAMES[] = {"available", "loading", "seated", "failed", "gone", "invalid"};
const char *model_state_name(enum model_state s) {
    return STATE_NAMES[s];
}

#define TO(s) (1u << MODEL_##s)
static const unsigned ALLOWED[] = {
    [MODEL_AVAILABLE] = TO(LOADING) | TO(FAILED) | TO(GONE) | TO(INVALID),
    [MODEL_LOADING] = TO(SEATED) | TO(FAILED) | TO(AVAILABLE) | TO(GONE),
    [MODEL_SEATED] = TO(AVAILABLE) | TO(LOADING) | TO(GONE),
    [MODEL_FAILED] = TO(AVAILABLE) | TO(LOADING) | TO(GONE) | TO(INVALID),
    [MODEL_GONE] = TO(AVAILABLE) | TO(INVALID),
    [MODEL_INVALID] = TO(AVAILABLE) | TO(GONE) | TO(INVALID),
};

void registry_set_state(struct registry *r, struct model *m, enum model_state to, const char *reason) {
    enum model_state from = m->state;
    must(ALLOWED[from] & (1u << to));
    char *copy = mem_strdup(reason);
    mem_free(m->reason);
    m->reason = copy;
    m->state = to;
    m->condemned = false;
    if (from != to) r->on_change(r->ctx, m, from);
}

void registry_fail(struct registry *r, struct model *m, int64_t now_ns, const char *reason) {
    m->cooldown_ns = m->cooldown_ns ? 2 * m->cooldown_ns : MODEL_COOLDOWN_MIN_NS;
    if (m->cooldown_ns > MODEL_COOLDOWN_MAX_NS) m->cooldown_ns = MODEL_COOLDOWN_MAX_NS;
    m->cooldown_until_ns = now_ns + m->cooldown_ns;
    registry_set_state(r, m, MODEL_FAILED, reason);
}

void registry_condemn(struct registry *r, struct model *m, const char *reason) {
    registry_set_state(r, m, MODEL_INVALID, reason);
    m->condemned = true;
}

bool registry_cooling(struct registry *r, struct model *m, int64_t now_ns) {
    if (m->state != MODEL_FAILED) return false;
    if (m->swap_goes_on || now_ns < m->cooldown_until_ns) return true;
    registry_set_state(r, m, m->file_gone ? MODEL_GONE : MODEL_AVAILABLE, NULL);
    return false;
}

/* ---- names ---- */

struct model *registry_find(const struct registry *r, const char *name) {
    for (uint32_t i = 0; i < r->n_models; i++)
        if (!strcmp(r->models[i]->id, name)) return r->models[i];
    for (uint32_t i = 0; i < r->n_models; i++)
        for (uint32_t a = 0; a < r->models[i]->n_aliases; a++)
            if (!strcmp(r->models[i]->aliases[a], name)) return r->models[i];
    return NULL;
}

uint32_t registry_count(const struct registry *r) {
    return r->n_models;
}
struct model *registry_at(const struct registry *r, uint32_t i) {
    return r->models[i];
}

struct model *registry_first(const struct registry *r) {
    for (uint32_t i = 0; i < r->n_models; i++)
        if (r->models[i]->state != MODEL_GONE && r->models[i]->state != MODEL_INVALID) return r->models[i];
    return NULL;
}

/* ---- settings ---- */

static void settings_clear(struct model *m) {
    for (uint32_t i = 0; i < m->n_aliases; i++) mem_free(m->aliases[i]);
    m->n_aliases = 0;
    mem_free(m->template_family);
    m->template_family = NULL;
}

static enum err settings_apply(struct registry *r, struct model *m) {
    const struct config_model *section = NULL;
    for (uint32_t i = 0; i < r->n_sections && !section; i++)
        if (!strcmp(r->sections[i].name, m->id)) section = &r->sections[i];
    settings_clear(m);
    enum kv_type kv = section && section->kv >= 0 ? (enum kv_type)section->kv : r->config->kv;
    bool repack = section && section->repack;
    uint64_t pool = section ? section->pool_bytes : 0;
    uint32_t context = section && section->context ? section->context : r->config->context;
    if (kv != m->kv || repack != m->repack || pool != m->pool_bytes || context != m->context) {
        m->measure.known = false;
        if (m->condemned) registry_set_state(r, m, MODEL_AVAILABLE, NULL); /* it may have been the KV type */
    }
    m->kv = kv;
    m->repack = repack;
    m->context = context;
    m->pin = section && section->pin;
    m->pool_bytes = pool;
    bool family = section && section->template_name && !scan_template_is_file(section->template_name);
    m->template_family = mem_strdup(family ? section->template_name : "");
    if (!m->template_family) return ERR_NOMEM;
    for (uint32_t i = 0; section && i < section->n_aliases; i++) {
        struct model *other = registry_find(r, section->aliases[i]);
        if (other && other != m)
            log_warn("models.alias", "alias=%s of=%s is=%s", log_q(section->aliases[i]), log_q(m->id),
                     log_q(other->id));
        if (!(m->aliases[i] = mem_strdup(section->aliases[i]))) return ERR_NOMEM;
        m->n_aliases++;
    }
    return ERR_OK;
}

static void sections_clear(struct registry *r) {
    for (uint32_t i = 0; i < r->n_sections; i++) {
        mem_free(r->sections[i].name);
        mem_free(r->sections[i].template_name);
        for (uint32_t a = 0; a < r->sections[i].n_aliases; a++) mem_free(r->sections[i].aliases[a]);
    }
    mem_free(r->sections);
    r->sections = NULL;
    r->n_sections = 0;
}

static enum err sections_copy(struct registry *r, const struct config *config) {
    sections_clear(r);
    if (!config->n_sections) return ERR_OK;
    if (!(r->sections = mem_array(config->n_sections, sizeof *r->sections))) return ERR_NOMEM;
    for (uint32_t i = 0; i < config->n_sections; i++) {
        const struct config_model *from = &config->sections[i];
        struct config_model *to = &r->sections[r->n_sections++];
        *to = *from;
        to->path = NULL; /* the scan's business */
        to->n_aliases = 0;
        to->name = mem_strdup(from->name);
        to->template_name = mem_strdup(from->template_name);
        if (!to->name || (from->template_name && !to->template_name)) return ERR_NOMEM;
        for (; to->n_aliases < from->n_aliases; to->n_aliases++)
            if (!(to->aliases[to->n_aliases] = mem_strdup(from->aliases[to->n_aliases]))) return ERR_NOMEM;
    }
    return ERR_OK;
}

bool registry_uses_section(const struct registry *r, const struct config_model *section) {
    const struct model *m = registry_find(r, section->name);
    return section->path || (m && strcmp(m->id, section->name) == 0);
}

void registry_warn_sections(struct registry *r, const struct config *config) {
    for (uint32_t i = 0; i < config->n_sections; i++)
        if (!registry_uses_section(r, &config->sections[i]))
            log_warn("models.section", "section=%s why=%s", log_q(config->sections[i].name),
                     log_q("no model file has this name: its settings count for nobody"));
}

enum err registry_set_sections(struct registry *r, const struct config *config, const struct model *but) {
    enum err err = sections_copy(r, config);
    for (uint32_t i = 0; !err && i < r->n_models; i++)
        if (r->models[i] != but) err = settings_apply(r, r->models[i]);
    return err;
}

enum err registry_settings(struct registry *r, struct model *m) {
    return settings_apply(r, m);
}

/* ---- what the disk says ---- */

static void model_free(struct model *m) {
    if (!m) return;
    settings_clear(m);
    mem_free(m->template_source);
    mem_free(m->id);
    mem_free(m->path);
    mem_free(m->reason);
    mem_free(m);
}

static enum err model_add(struct registry *r, const struct scan_found *f, struct model **ret) {
    struct model **grown = mem_realloc(r->models, (r->n_models + 1) * sizeof(struct model *));
    if (!grown) return ERR_NOMEM;
    r->models = grown;
    struct model *m = mem_alloc(sizeof *m);
    if (!m) return ERR_NOMEM;
    *m = (struct model){.id = mem_strdup(f->id),
                        .state = MODEL_GONE,
                        .left_seat_ns = INT64_MIN,
                        .went_idle_ns = INT64_MAX,
                        .seen = true};
    list_init(&m->waiting);
    if (!m->id) {
        model_free(m);
        return ERR_NOMEM;
    }
    uint32_t at = 0;
    while (at < r->n_models && strcmp(r->models[at]->id, m->id) < 0) at++;
    for (uint32_t i = r->n_models; i > at; i--) r->models[i] = r->models[i - 1];
    r->models[at] = m;
    r->n_models++;
    *ret = m;
    return settings_apply(r, m);
}

static enum err text_replace(char **text, const char *with) {
    char *copy = mem_strdup(with ? with : "");
    if (!copy) return ERR_NOMEM;
    mem_free(*text);
    *text = copy;
    return ERR_OK;
}

static enum err model_update(struct registry *r, struct model *m, const struct scan_found *f) {
    bool changed = !m->path || strcmp(m->path, f->path) || !file_identity_equal(&m->identity, &f->identity);
    bool template_changed =
        !m->template_source || strcmp(m->template_source, f->template_source ? f->template_source : "");
    enum err err = changed ? text_replace(&m->path, f->path) : ERR_OK;
    if (!err && template_changed) err = text_replace(&m->template_source, f->template_source);
    if (err) return err;
    m->file_gone = f->err == ERR_NOT_FOUND;
    if (!f->err) m->info = f->info;
    if (changed) {
        m->measure.known = false;
        m->identity = f->identity;
        m->created_s = f->created_s;
        m->cooldown_ns = 0;
    }
    if (m->state == MODEL_SEATED || m->state == MODEL_LOADING)
        return ERR_OK; /* counts from the next load on */
    if (m->file_gone) {
        if (m->state != MODEL_GONE) registry_set_state(r, m, MODEL_GONE, f->reason);
    } else if (f->err) {
        if (m->state != MODEL_INVALID || changed) registry_set_state(r, m, MODEL_INVALID, f->reason);
    } else if (m->state == MODEL_GONE || (m->state == MODEL_INVALID && !m->condemned) ||
               (changed && m->state != MODEL_AVAILABLE)) {
        registry_set_state(r, m, MODEL_AVAILABLE, NULL);
    }
    return ERR_OK;
}

static bool in_unread_folder(const struct scan_result *result, const struct model *m) {
    for (uint32_t i = 0; i < result->n_unread; i++) {
        size_t n = strlen(result->unread[i]);
        if (m->path && !strncmp(m->path, result->unread[i], n) && m->path[n] == '/') return true;
    }
    return false;
}

enum err registry_apply(struct registry *r, const struct scan_result *result,
                        bool (*in_use)(const void *ctx, const struct model *m), const void *ctx) {
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < r->n_models; i++) r->models[i]->seen = false;
    for (uint32_t i = 0; !err && i < result->n_found; i++) {
        const struct scan_found *f = &result->found[i];
        struct model *m = NULL;
        for (uint32_t k = 0; k < r->n_models && !m; k++)
            if (!strcmp(r->models[k]->id, f->id)) m = r->models[k];
        if (m) m->seen = true;
        if (f->err == ERR_NOMEM) continue; /* our own want says nothing of the file */
        if (!m) err = model_add(r, f, &m);
        if (!err) err = model_update(r, m, f);
    }
    if (err) return err; /* what was not looked at is not gone */
    uint32_t kept = 0;
    for (uint32_t i = 0; i < r->n_models; i++) {
        struct model *m = r->models[i];
        if (!m->seen && !in_unread_folder(result, m)) {
            m->file_gone = true;
            bool sits = m->state == MODEL_SEATED || m->state == MODEL_LOADING;
            if (!sits && m->state != MODEL_GONE) registry_set_state(r, m, MODEL_GONE, "its file is gone");
            if (!sits && !in_use(ctx, m)) {
                model_free(m);
                continue;
            }
        }
        r->models[kept++] = m;
    }
    r->n_models = kept;
    if (result->limited) log_warn("models.limit", "max=%d", MODELS_MAX);
    return ERR_OK;
}

/* ---- life ---- */

enum err registry_open(const struct config *config,
                       void (*on_change)(void *ctx, struct model *m, enum model_state from), void *ctx,
                       struct registry **ret) {
    *ret = NULL;
    struct registry *r = mem_alloc(sizeof *r);
    if (!r) return ERR_NOMEM;
    r->config = config;
    r->on_change = on_change;
    r->ctx = ctx;
    enum err err = sections_copy(r, config);
    if (err)
        registry_free(r);
    else
        *ret = r;
    return err;
}

void registry_free(struct registry *r) {
    if (!r) return;
    for (uint32_t i = 0; i < r->n_models; i++) model_free(r->models[i]);
    mem_free(r->models);
    sections_clear(r);
    mem_free(r);
}
