#include "seat/unsaved.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"

static struct unsaved_row *find(const struct unsaved *u, struct hash128 tag, const char *agent) {
    for (uint32_t i = 0; i < u->n; i++) {
        const struct unsaved_row *r = &u->rows[i];
        if (hash128_equal(r->tag, tag) && strcmp(r->agent, agent) == 0)
            return (struct unsaved_row *)(uintptr_t)r;
    }
    return NULL;
}

static void drop(struct unsaved *u, struct unsaved_row *r) {
    mem_free(r->model);
    mem_free(r->agent);
    *r = u->rows[--u->n];
}

void unsaved_free(struct unsaved *u) {
    while (u->n > 0) drop(u, &u->rows[0]);
}

void unsaved_set(struct unsaved *u, struct hash128 tag, const char *model, const char *agent) {
    if (find(u, tag, agent) || !agent[0] || u->n == UNSAVED_MAX) return;
    char *m = mem_strdup(model), *a = mem_strdup(agent);
    if (!m || !a) {
        mem_free(m);
        mem_free(a);
        return;
    }
    u->rows[u->n++] = (struct unsaved_row){.tag = tag, .model = m, .agent = a};
}

bool unsaved_is(const struct unsaved *u, struct hash128 tag, const char *agent) {
    return find(u, tag, agent) != NULL;
}

void unsaved_clear(struct unsaved *u, struct hash128 tag, const char *agent) {
    struct unsaved_row *r = find(u, tag, agent);
    if (r) drop(u, r);
}

void unsaved_forget(struct unsaved *u, const char *model, const char *agent) {
    for (uint32_t i = u->n; i > 0; i--) {
        struct unsaved_row *r = &u->rows[i - 1];
        if ((!model[0] || strcmp(r->model, model) == 0) && (!agent[0] || strcmp(r->agent, agent) == 0))
            drop(u, r);
    }
}
