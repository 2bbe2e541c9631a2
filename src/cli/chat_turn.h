/* chat_turn.h - one answer of a chat: asked for, shown as it comes, kept in the conversation. Thread: the main one; blocks until the
 * answer has ended, or Ctrl-C. */
#ifndef HOTSEAT_CLI_CHAT_TURN_H
#define HOTSEAT_CLI_CHAT_TURN_H

#include "base/wake.h"
#include "cli/cli.h"
#include "cli/talk.h"
#include "cli/terminal.h"

#define CHAT_AGENT_BYTES 32

struct chat {
    struct cli *cli;
    struct terminal terminal;
    struct talk talk;
    char *model;       /* whom it talks with; NULL: whoever sits there when the first answer comes */
    const char *agent; /* the name of its caches */
    char own_agent[CHAT_AGENT_BYTES];
    struct wake stop; /* Ctrl-C while an answer comes */
};

/* Goes on with the conversation, whose last message is the user's. CLI_DONE: an answer is in it, perhaps a part of one that was stopped.
 * Else nothing came, it was told, and the user's message is out of it again. */
int chat_turn(struct chat *chat);

#endif
