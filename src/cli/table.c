#include "cli/table.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"

struct table {
    uint32_t n_columns;
    bool right[TABLE_COLUMNS_MAX];
    size_t width[TABLE_COLUMNS_MAX];
    char **cells; /* the headings first */
    size_t n_cells, room;
    enum err error;
};

/* Characters as a terminal counts them, but for wide ones. */
static size_t text_width(const char *s) {
    size_t n = 0;
    for (; *s; s++) n += ((uint8_t)*s & 0xC0) != 0x80;
    return n;
}

void table_cell(struct table *t, const char *text) {
    if (t->n_cells == t->room) {
        size_t room = t->room ? t->room * 2 : 64;
        char **cells = mem_realloc(t->cells, room * sizeof *cells);
        if (!cells) {
            t->error = ERR_NOMEM;
            return;
        }
        t->cells = cells;
        t->room = room;
    }
    char *copy = mem_strdup(text ? text : "-");
    if (!copy) {
        t->error = ERR_NOMEM;
        return;
    }
    for (char *c = copy; *c; c++)
        if ((uint8_t)*c < 0x20 || *c == 0x7F) *c = '?';
    size_t column = t->n_cells % t->n_columns, width = text_width(copy);
    if (width > t->width[column]) t->width[column] = width;
    t->cells[t->n_cells++] = copy;
}

void table_cellf(struct table *t, const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    table_cell(t, text);
}

enum err table_open(const char *headings, struct table **ret) {
    AUTO(table_freep) struct table *t = mem_alloc(sizeof *t);
    AUTO(mem_freep) char *copy = mem_strdup(headings);
    if (!t || !copy) return ERR_NOMEM;
    t->n_columns = 1;
    for (const char *c = headings; *c; c++) t->n_columns += *c == '|';
    if (t->n_columns > TABLE_COLUMNS_MAX) return ERR_LIMIT;
    char *rest = copy;
    for (uint32_t i = 0; i < t->n_columns; i++) {
        char *heading = strsep(&rest, "|");
        t->right[i] = heading[0] == '>';
        table_cell(t, heading + t->right[i]);
    }
    if (t->error != ERR_OK) return t->error;
    *ret = TAKE(t);
    return ERR_OK;
}

void table_print(const struct table *t, FILE *out) {
    for (size_t i = 0; i < t->n_cells; i++) {
        size_t column = i % t->n_columns, pad = t->width[column] - text_width(t->cells[i]);
        bool last = column == t->n_columns - 1;
        if (t->right[column]) fprintf(out, "%*s", (int)pad, "");
        fputs(t->cells[i], out);
        if (!t->right[column] && !last) fprintf(out, "%*s", (int)pad, "");
        fputs(last ? "\n" : "  ", out);
    }
}

enum err table_error(const struct table *t) {
    return t->error;
}

void table_free(struct table *t) {
    if (!t) return;
    for (size_t i = 0; i < t->n_cells; i++) mem_free(t->cells[i]);
    mem_free(t->cells);
    mem_free(t);
}

void table_freep(struct table **t) {
    table_free(*t);
}

static char *human_room(size_t *ret_size) {
    static char room[8][32];
    static unsigned next;
    *ret_size = sizeof room[0];
    return room[next++ % ARRAY_LEN(room)];
}

static const char *human_scaled(double v, double step, const char *const *units, size_t n_units) {
    size_t size = 0, unit = 0;
    char *room = human_room(&size);
    while (v >= step && unit + 1 < n_units) v /= step, unit++;
    snprintf(room, size, unit ? "%.1f%s%s" : "%.0f%s%s", v, units[unit][0] ? " " : "", units[unit]);
    return room;
}

const char *human_bytes(uint64_t bytes) {
    static const char *const units[] = {"B", "K", "M", "G", "T", "P"};
    return human_scaled((double)bytes, 1024, units, ARRAY_LEN(units));
}

const char *human_count(uint64_t n) {
    static const char *const units[] = {"", "K", "M", "B", "T"};
    return human_scaled((double)n, 1000, units, ARRAY_LEN(units));
}

const char *human_ms(int64_t ms) {
    size_t size = 0;
    char *room = human_room(&size);
    if (ms < 1000)
        snprintf(room, size, "%lld ms", (long long)ms);
    else if (ms < 120000)
        snprintf(room, size, "%.1f s", (double)ms / 1000);
    else
        snprintf(room, size, "%lld min", (long long)(ms / 60000));
    return room;
}

const char *human_ago(int64_t seconds) {
    size_t size = 0;
    char *room = human_room(&size);
    if (seconds < 0) seconds = 0;
    if (seconds < 120)
        snprintf(room, size, "%lld s ago", (long long)seconds);
    else if (seconds < 7200)
        snprintf(room, size, "%lld min ago", (long long)(seconds / 60));
    else if (seconds < 172800)
        snprintf(room, size, "%lld h ago", (long long)(seconds / 3600));
    else
        snprintf(room, size, "%lld d ago", (long long)(seconds / 86400));
    return room;
}
