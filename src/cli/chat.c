/* chat.c - `hotseat chat`: a conversation with a model, at a terminal or through a pipe. A line is a message, or a command that begins with
 * "/"; lines between two lines of """ are one message. At a terminal an error leaves the prompt, in a pipe it ends the program. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/chat_turn.h"
#include "cli/http_client.h"
#include "cli/line.h"

#define MESSAGE_BYTES_MAX (8u << 20) /* as a request's body */
#define QUIT (-1)                    /* no exit status: the chat ends as it should */

/* X("name", function, "argument", "what it does") */
#define CHAT_COMMANDS(X)                                                                                     \
    X("model", command_model, "[MODEL]", "who answers from now on; without one: who does")                   \
    X("models", command_models, "", "the models the server knows")                                           \
    X("new", command_new, "", "begin a new conversation")                                                    \
    X("system", command_system, "[TEXT]", "what the model is told before all else; without one: nothing")    \
    X("save", command_save, "FILE", "write the conversation as JSON")                                        \
    X("help", command_help, "", "this list")                                                                 \
    X("quit", command_quit, "", "end (as Ctrl-D does)")

#define COMMAND_ROW(name, function, argument, text) static int function(struct chat *chat, const char *given);
CHAT_COMMANDS(COMMAND_ROW)
#undef COMMAND_ROW

/* ---- commands ---- */

static int models_get(struct chat *chat, const char *model, struct json **ret) {
    AUTO(mem_freep) char *part = model ? http_client_escape(model) : NULL;
    AUTO(mem_freep) char *path = mem_printf("/v1/models%s%s", part ? "/" : "", part ? part : "");
    if (!path || (model && !part)) return cli_no_answer(chat->cli, ERR_NOMEM, err_text(ERR_NOMEM));
    return cli_call(chat->cli, &(struct cli_request){.method = "GET", .path = path}, ret);
}

/* The swap comes with the next message, when it is its turn. */
static int command_model(struct chat *chat, const char *given) {
    AUTO(json_freep) struct json *answer = NULL;
    if (!*given) {
        terminal_note(&chat->terminal, "%s", chat->model ? chat->model : "whoever sits there when you begin");
        return CLI_DONE;
    }
    int status = models_get(chat, given, &answer);
    if (status != CLI_DONE) return status;
    char *copy = mem_strdup(given);
    if (!copy) return cli_no_answer(chat->cli, ERR_NOMEM, err_text(ERR_NOMEM));
    mem_free(chat->model);
    chat->model = copy;
    bool seated = json_bool(json_get(json_get(answer, "hotseat"), "seated"), false);
    terminal_note(&chat->terminal, "%s answers from now on%s", given,
                  seated ? "" : "; it takes the seat with your next message, when it is its turn");
    return CLI_DONE;
}

static int command_models(struct chat *chat, const char *given UNUSED) {
    AUTO(json_freep) struct json *answer = NULL;
    int status = models_get(chat, NULL, &answer);
    return status == CLI_DONE ? cli_models_print(answer) : status;
}

static int command_new(struct chat *chat, const char *given UNUSED) {
    talk_clear(&chat->talk);
    terminal_note(&chat->terminal, "a new conversation%s",
                  chat->talk.system ? ", with the same system text" : "");
    return CLI_DONE;
}

static int command_system(struct chat *chat, const char *given) {
    if (talk_set_system(&chat->talk, given) != ERR_OK)
        return cli_no_answer(chat->cli, ERR_NOMEM, err_text(ERR_NOMEM));
    terminal_note(&chat->terminal,
                  *given ? "the model is told so from now on" : "there is no system text now");
    return CLI_DONE;
}

static int write_file(const char *path, const struct buf *body) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    bool ok = file && fwrite(body->data, 1, body->size, file) == body->size;
    if (file) ok = fclose(file) == 0 && ok;
    if (ok) return CLI_DONE;
    fprintf(stderr, "hotseat chat: %s: %s\n", path, strerror(errno));
    return CLI_REFUSED;
}

static int command_save(struct chat *chat, const char *given) {
    AUTO(buf_free) struct buf body = BUF(64u << 20);
    if (!*given) return cli_usage("chat", "/save needs a file's name");
    struct json_out w = json_out_into(&body);
    json_obj(&w);
    json_key(&w, "model"), json_str(&w, chat->model);
    json_key(&w, "messages"), talk_write(&chat->talk, &w);
    json_end(&w);
    buf_u8(&body, '\n');
    if (body.error) return cli_no_answer(chat->cli, ERR_NOMEM, err_text(body.error));
    int status = write_file(given, &body);
    if (status == CLI_DONE) terminal_note(&chat->terminal, "%zu messages in %s", chat->talk.n, given);
    return status;
}

static int command_help(struct chat *chat, const char *given UNUSED) {
#define HELP_ROW(name, function, argument, text)                                                             \
    {                                                                                                        \
        char left[32];                                                                                       \
        snprintf(left, sizeof left, "/%s %s", name, argument);                                               \
        terminal_note(&chat->terminal, "  %-18s %s", left, text);                                            \
    }
    CHAT_COMMANDS(HELP_ROW)
#undef HELP_ROW
    terminal_note(&chat->terminal, "  %-18s %s", "\"\"\"", "begins and ends a message of several lines");
    terminal_note(&chat->terminal, "  %-18s %s", "Ctrl-C", "stops an answer; at the prompt it ends the chat");
    return CLI_DONE;
}

static int command_quit(struct chat *chat UNUSED, const char *given UNUSED) {
    return QUIT;
}

static int command_run(struct chat *chat, const char *line) {
    static const struct {
        const char *name;
        int (*run)(struct chat *chat, const char *given);
    } commands[] = {
#define COMMAND_ROW(name, function, argument, text) {name, function},
        CHAT_COMMANDS(COMMAND_ROW)
#undef COMMAND_ROW
    };
    size_t size = strcspn(line, " ");
    const char *given = line + size + strspn(line + size, " ");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strlen(commands[i].name) == size && strncmp(commands[i].name, line, size) == 0)
            return commands[i].run(chat, given);
    fprintf(stderr,
            "hotseat chat: there is no /%.*s; /help lists what there is, and a message that begins with / is "
            "written with two\n",
            (int)size, line);
    return CLI_USAGE;
}

/* ---- messages ---- */

static int say(struct chat *chat, const char *text, size_t size) {
    enum err err = talk_add(&chat->talk, TALK_USER, text, size);
    if (err) return cli_no_answer(chat->cli, err, err_text(err));
    return chat_turn(chat);
}

/* Lines up to the closing """, or to the end. */
static int say_lines(struct chat *chat, struct line_input *lines) {
    AUTO(buf_free) struct buf text = BUF(MESSAGE_BYTES_MAX);
    const char *line;
    size_t size = 0;
    while ((line = line_read(lines, ". ", &size)) && strcmp(line, "\"\"\"") != 0) {
        if (text.size) buf_u8(&text, '\n');
        buf_put(&text, line, size);
    }
    if (text.error) return cli_no_answer(chat->cli, text.error, err_text(text.error));
    return text.size ? say(chat, (const char *)text.data, text.size) : CLI_DONE;
}

static int take_line(struct chat *chat, struct line_input *lines, const char *line, size_t size) {
    if (size == 0) return CLI_DONE;
    if (strcmp(line, "\"\"\"") == 0) return say_lines(chat, lines);
    line_remember(lines, line);
    if (line[0] == '/' && line[1] != '/') return command_run(chat, line + 1);
    bool escaped = line[0] == '/';
    return say(chat, line + escaped, size - escaped);
}

static int talk_until_end(struct chat *chat, struct line_input *lines) {
    const char *line;
    size_t size = 0;
    while ((line = line_read(lines, "> ", &size))) {
        int status = take_line(chat, lines, line, size);
        if (status == QUIT) return CLI_DONE;
        if (status != CLI_DONE && !chat->terminal.talks) return status;
    }
    if (chat->terminal.talks) putchar('\n');
    return CLI_DONE;
}

/* ---- the verb ---- */

static enum err name_agent(struct chat *chat, const char *given) {
    uint32_t random = 0;
    if (getentropy(&random, sizeof random) != 0) return ERR_IO;
    snprintf(chat->own_agent, sizeof chat->own_agent, "chat-%08x", random);
    chat->agent = given ? given : chat->own_agent;
    return ERR_OK;
}

static int chat_run(struct chat *chat, const char *system, const char *agent) {
    AUTO(json_freep) struct json *answer = NULL;
    const char *model = chat->cli->words[0];
    struct line_input *lines = NULL;
    int status = models_get(chat, model, &answer); /* somebody is there, and knows it */
    if (status != CLI_DONE) return status;
    enum err err = name_agent(chat, agent);
    if (!err) err = talk_set_system(&chat->talk, system);
    if (!err && model) err = (chat->model = mem_strdup(model)) ? ERR_OK : ERR_NOMEM;
    if (!err) err = wake_open(&chat->stop);
    if (!err) err = line_open(chat->terminal.talks, &lines);
    if (err) return cli_no_answer(chat->cli, err, err_text(err));
    if (chat->terminal.talks)
        terminal_note(&chat->terminal, "%s at %s, as %s; /help lists the commands, Ctrl-D ends",
                      model ? model : "whoever sits", chat->cli->server, chat->agent);
    status = talk_until_end(chat, lines);
    line_free(lines);
    return status;
}

int cli_chat(int argc, char **argv) {
    const char *system = NULL, *agent = NULL;
    const struct cli_option own[] = {
        {"--system", "TEXT", &system, "what the model is told before all else"},
        {"--agent", "ID", &agent, "the name of the conversation's caches; default a new one each time"}};
    struct cli c;
    bool help = false;
    int status = cli_open(&c, argc, argv, own, ARRAY_LEN(own), 0, 1, &help);
    struct chat chat = {.cli = &c, .terminal = terminal_open(), .stop = {-1, -1}};
    if (status == CLI_DONE && !help) status = chat_run(&chat, system, agent);
    if (chat.stop.read_fd >= 0) wake_close(&chat.stop);
    talk_free(&chat.talk);
    mem_free(chat.model);
    cli_close(&c);
    return status;
}
