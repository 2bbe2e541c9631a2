#include "cli/terminal.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"

#define DIM "\033[2m"
#define PLAIN "\033[0m"
#define ERASE_LINE "\r\033[K"

struct terminal terminal_open(void) {
    const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    struct terminal t = {.talks = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)};
    t.colours = t.talks && isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb") != 0 &&
                !(no_colour && *no_colour);
    return t;
}

static void status_erase(struct terminal *t) {
    if (!t->status) return;
    fputs(ERASE_LINE, stderr);
    fflush(stderr);
    t->status = false;
}

static void dim_set(struct terminal *t, bool dim) {
    if (!t->colours || t->dim == dim) return;
    fputs(dim ? DIM : PLAIN, stdout);
    t->dim = dim;
}

/* C0 but tab and line break, DEL, and C1 (U+0080 to U+009F). */
static bool steers(const char *c, size_t size) {
    uint8_t a = (uint8_t)c[0], b = size > 1 ? (uint8_t)c[1] : 0;
    if (size == 1) return (a < 0x20 && a != '\n' && a != '\t') || a == 0x7F;
    return size == 2 && a == 0xC2 && b < 0xA0;
}

void terminal_text(struct terminal *t, const char *text, size_t size_bytes, bool dim) {
    if (size_bytes == 0) return;
    status_erase(t);
    dim_set(t, dim);
    for (size_t at = 0; at < size_bytes;) {
        size_t n = utf8_char(text + at, size_bytes - at);
        if (n == 0)
            fputs("\xEF\xBF\xBD", stdout), n = 1;
        else if (!steers(text + at, n))
            fwrite(text + at, 1, n, stdout);
        at += n;
    }
    t->mid_line = text[size_bytes - 1] != '\n';
    fflush(stdout);
}

void terminal_line_end(struct terminal *t) {
    status_erase(t);
    dim_set(t, false);
    if (t->mid_line) putchar('\n');
    t->mid_line = false;
    fflush(stdout);
}

void terminal_status(struct terminal *t, const char *fmt, ...) {
    char text[256];
    va_list ap;
    if (!t->colours || t->mid_line) return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(stderr, ERASE_LINE DIM "%s" PLAIN, text);
    fflush(stderr);
    t->status = true;
}

void terminal_note(struct terminal *t, const char *fmt, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    terminal_line_end(t);
    fprintf(stderr, t->colours ? DIM "%s" PLAIN "\n" : "%s\n", text);
}
