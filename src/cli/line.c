/* line.c - the only file that sees libedit. While a line is edited Ctrl-C and Ctrl-Z are keys (libedit reads on after a
 * signal), and everything else is its own. */
#include "cli/line.h"

#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "base/mem.h"

#define HISTORY_LINES 500

struct line_input {
    EditLine *edit; /* NULL: plain reading */
    History *history;
    HistEvent event;
    const char *prompt;
    char *plain; /* getline()'s own memory */
    size_t plain_room;
    char *line; /* what was given last */
};

static char *prompt_of(EditLine *edit) {
    struct line_input *l = NULL;
    static char room[64];
    el_get(edit, EL_CLIENTDATA, &l);
    snprintf(room, sizeof room, "%s", l && l->prompt ? l->prompt : "");
    return room;
}

static unsigned char key_ctrl_c(EditLine *edit UNUSED, wint_t key UNUSED) {
    return CC_EOF;
}

/* libedit's own handler gives the terminal back, and takes it again when we go on. */
static unsigned char key_ctrl_z(EditLine *edit UNUSED, wint_t key UNUSED) {
    kill(getpid(), SIGTSTP);
    return CC_REDISPLAY;
}

/* Characters are bytes in the "C" locale, and libedit would show them as numbers. */
static void use_utf8(void) {
    static const char *const names[] = {"", "C.UTF-8", "en_US.UTF-8", "UTF-8"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (setlocale(LC_CTYPE, names[i]) && strcmp(nl_langinfo(CODESET), "UTF-8") == 0) return;
}

/* Names of functions are wide: libedit never gives back the copies that it makes of others. */
static enum err edit_open(struct line_input *l) {
    use_utf8();
    l->history = history_init();
    l->edit = el_init("hotseat", stdin, stdout, stderr);
    if (!l->history || !l->edit) return ERR_NOMEM;
    history(l->history, &l->event, H_SETSIZE, HISTORY_LINES);
    history(l->history, &l->event, H_SETUNIQUE, 1);
    bool ok = el_set(l->edit, EL_CLIENTDATA, l) == 0 && el_set(l->edit, EL_PROMPT, prompt_of) == 0 &&
              el_set(l->edit, EL_EDITOR, "emacs") == 0 &&
              el_set(l->edit, EL_HIST, history, l->history) == 0 && el_set(l->edit, EL_SIGNAL, 1) == 0 &&
              el_set(l->edit, EL_SETTY, "-d", "-isig", NULL) == 0 &&
              el_wset(l->edit, EL_ADDFN, L"hotseat-end", L"ends the input", key_ctrl_c) == 0 &&
              el_wset(l->edit, EL_ADDFN, L"hotseat-suspend", L"as a shell's Ctrl-Z", key_ctrl_z) == 0 &&
              el_set(l->edit, EL_BIND, "^C", "hotseat-end", NULL) == 0 &&
              el_set(l->edit, EL_BIND, "^Z", "hotseat-suspend", NULL) == 0 &&
              el_set(l->edit, EL_BIND, "^R", "em-inc-search-prev", NULL) == 0;
    (void)el_source(l->edit, NULL); /* the user's own keys, if there are any */
    return ok ? ERR_OK : ERR_IO;
}

enum err line_open(bool edits, struct line_input **ret) {
    struct line_input *l = mem_alloc(sizeof *l);
    if (!l) return ERR_NOMEM;
    enum err err = edits ? edit_open(l) : ERR_OK;
    if (err)
        line_free(l);
    else
        *ret = l;
    return err;
}

void line_free(struct line_input *l) {
    if (!l) return;
    if (l->edit) el_end(l->edit);
    if (l->history) history_end(l->history);
    free(l->plain);
    mem_free(l->line);
    mem_free(l);
}

const char *line_read(struct line_input *l, const char *prompt, size_t *ret_size) {
    const char *line = NULL;
    size_t size = 0;
    if (l->edit) {
        int n = 0;
        l->prompt = prompt;
        line = el_gets(l->edit, &n);
        size = line && n > 0 ? (size_t)n : 0;
        if (line && size == 0) line = NULL;
    } else {
        ssize_t n = getline(&l->plain, &l->plain_room, stdin);
        line = n > 0 ? l->plain : NULL;
        size = n > 0 ? (size_t)n : 0;
    }
    if (!line) return NULL;
    while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r')) size--;
    char *copy = mem_realloc(l->line, size + 1);
    if (!copy) return NULL;
    memcpy(copy, line, size);
    copy[size] = '\0';
    l->line = copy;
    *ret_size = size;
    return copy;
}

void line_remember(struct line_input *l, const char *line) {
    if (l->edit) history(l->history, &l->event, H_ENTER, line);
}
