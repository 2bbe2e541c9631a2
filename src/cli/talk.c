#include "cli/talk.h"

#include <string.h>

#include "base/mem.h"
#include "base/must.h"

void talk_drop_last(struct talk *t) {
    must(t->n > 0);
    mem_free(t->messages[--t->n].text);
}

void talk_clear(struct talk *t) {
    while (t->n) talk_drop_last(t);
}

void talk_free(struct talk *t) {
    talk_clear(t);
    mem_free(t->messages);
    mem_free(t->system);
    *t = (struct talk){0};
}

enum err talk_set_system(struct talk *t, const char *text) {
    char *copy = text && *text ? mem_strdup(text) : NULL;
    if (text && *text && !copy) return ERR_NOMEM;
    mem_free(t->system);
    t->system = copy;
    return ERR_OK;
}

enum err talk_add(struct talk *t, enum talk_role role, const char *text, size_t size_bytes) {
    if (t->n == t->room) {
        size_t room = t->room ? 2 * t->room : 16;
        struct talk_message *grown = mem_realloc(t->messages, room * sizeof *grown);
        if (!grown) return ERR_NOMEM;
        t->messages = grown;
        t->room = room;
    }
    char *copy = mem_alloc(size_bytes + 1);
    if (!copy) return ERR_NOMEM;
    memcpy(copy, text, size_bytes);
    t->messages[t->n++] = (struct talk_message){role, copy, size_bytes};
    return ERR_OK;
}

static void message_write(struct json_out *w, const char *role, const char *text, size_t size) {
    json_obj(w);
    json_key(w, "role"), json_str(w, role);
    json_key(w, "content"), json_strn(w, text, size);
    json_end(w);
}

void talk_write(const struct talk *t, struct json_out *w) {
    json_arr(w);
    if (t->system) message_write(w, "system", t->system, strlen(t->system));
    for (size_t i = 0; i < t->n; i++)
        message_write(w, t->messages[i].role == TALK_USER ? "user" : "assistant", t->messages[i].text,
                      t->messages[i].size);
    json_end(w);
}
