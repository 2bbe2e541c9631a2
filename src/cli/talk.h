/* talk.h - a conversation as messages, and the request that goes on with it. Pure data. Thread: one. */
#ifndef HOTSEAT_CLI_TALK_H
#define HOTSEAT_CLI_TALK_H

#include <stdbool.h>

#include "base/json.h"

enum talk_role { TALK_USER, TALK_ASSISTANT };

struct talk_message {
    enum talk_role role;
    char *text;
    size_t size;
};
struct talk {
    char *system; /* NULL: none */
    struct talk_message *messages;
    size_t n, room;
};

void talk_free(struct talk *t);                                       /* its parts */
void talk_clear(struct talk *t);                                      /* the messages; the system's stays */
enum err talk_set_system(struct talk *t, const char *text) NODISCARD; /* NULL or "": none */
enum err talk_add(struct talk *t, enum talk_role role, const char *text, size_t size_bytes) NODISCARD;
void talk_drop_last(struct talk *t);
void talk_write(const struct talk *t, struct json_out *w); /* the array of messages, as OpenAI has it */

#endif
