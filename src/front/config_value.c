#include "front/config_value.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/model_spec.h"

#define SECRET_BYTES_MAX 4096 /* a key file's first line; tokens are 20-200 bytes */

static const char *const LEVELS[] = {"error", "warn", "info", "debug"};

static bool number_parse(const char *text, double *ret, const char **ret_end) {
    if (!isdigit((unsigned char)*text) && *text != '.') return false; /* no signs, no "inf", no hex */
    char *end = NULL;
    errno = 0;
    double v = strtod(text, &end);
    if (end == text || errno || !isfinite(v) || memchr(text, 'x', (size_t)(end - text))) return false;
    *ret = v;
    *ret_end = end;
    return true;
}

bool config_size_parse(const char *text, double *ret_bytes) {
    static const char UNITS[] = "KMGT";
    const char *end;
    double v;
    if (!number_parse(text, &v, &end)) return false;
    if (*end) {
        const char *unit = strchr(UNITS, toupper((unsigned char)*end));
        if (!unit || !*unit) return false;
        v *= pow(1024, (double)(unit - UNITS) + 1);
        end++;
        if (end[0] == 'i' && end[1] == 'B')
            end += 2;
        else if (end[0] == 'B')
            end++;
    }
    *ret_bytes = floor(v);
    return !*end;
}

static void size_print(double bytes, char *room, size_t room_size) {
    static const char UNITS[] = " KMGT";
    int u = 0;
    while (u < 4 && bytes >= 1024 && fmod(bytes, 1024) == 0) {
        bytes /= 1024;
        u++;
    }
    if (u)
        snprintf(room, room_size, "%.0f%c", bytes, UNITS[u]);
    else
        snprintf(room, room_size, "%.0f", bytes);
}

const char *config_value_range(enum config_type type, double min, double max, char *room, size_t room_size) {
    char lo[32], hi[32];
    switch (type) {
    case CONFIG_TEXT:
    case CONFIG_LIST:
    case CONFIG_ALIASES: return "text that is not empty";
    case CONFIG_SECRET: return "a file with the key in its first line, or env:NAME";
    case CONFIG_SWITCH:
    case CONFIG_FLAG: return "on or off";
    case CONFIG_KV: return "f16, q8_0 or q4_0";
    case CONFIG_LEVEL: return "error, warn, info or debug";
    case CONFIG_NUMBER: snprintf(room, room_size, "%.0f..%.0f", min, max); return room;
    case CONFIG_NUMBER_AUTO: snprintf(room, room_size, "%.0f..%.0f or auto", min, max); return room;
    case CONFIG_SECONDS: snprintf(room, room_size, "%.0f..%.0f seconds", min, max); return room;
    case CONFIG_SECONDS_AUTO: snprintf(room, room_size, "%.0f..%.0f seconds or auto", min, max); return room;
    case CONFIG_SIZE:
    case CONFIG_SIZE_AUTO:
        size_print(min, lo, sizeof lo);
        size_print(max, hi, sizeof hi);
        snprintf(room, room_size, "%s..%s%s", lo, hi, type == CONFIG_SIZE_AUTO ? " or auto" : "");
        return room;
    }
    return "";
}

static enum err text_read(const char *text, char **field) {
    char *copy = mem_strdup(text);
    if (!copy) return ERR_NOMEM;
    mem_free(*field);
    *field = copy;
    return ERR_OK;
}

/* A key never stands on the command line or in the file itself: both are read by more people than its own
 * file. */
static enum err secret_read(const char *text, char **field, char *why, size_t why_size) {
    char line[SECRET_BYTES_MAX + 2];
    if (!strncmp(text, "env:", 4)) {
        const char *value = getenv(text + 4);
        if (!value || !*value) {
            snprintf(why, why_size, "the variable %s is not set", text + 4);
            return ERR_INVALID;
        }
        snprintf(line, sizeof line, "%s", value);
    } else {
        FILE *file = fopen(text, "re");
        if (!file) {
            snprintf(why, why_size, "%s: %s", text, strerror(errno));
            return ERR_INVALID;
        }
        bool got = fgets(line, sizeof line, file) != NULL;
        fclose(file);
        if (!got) line[0] = '\0';
    }
    size_t n = strlen(line);
    while (n && isspace((unsigned char)line[n - 1])) line[--n] = '\0';
    bool printable = n > 0 && n <= SECRET_BYTES_MAX;
    for (size_t i = 0; i < n; i++) printable = printable && line[i] > ' ' && line[i] < 0x7f;
    if (!printable) {
        snprintf(why, why_size, "%s holds no key (1..%d printable characters without spaces)", text,
                 SECRET_BYTES_MAX);
        return ERR_INVALID;
    }
    return text_read(line, field);
}

static bool switch_read(const char *text, bool *field) {
    if (!strcasecmp(text, "on") || !strcasecmp(text, "true") || !strcasecmp(text, "yes") ||
        !strcmp(text, "1"))
        *field = true;
    else if (!strcasecmp(text, "off") || !strcasecmp(text, "false") || !strcasecmp(text, "no") ||
             !strcmp(text, "0"))
        *field = false;
    else
        return false;
    return true;
}

static bool seconds_parse(const char *text, double *ret) {
    const char *end;
    return number_parse(text, ret, &end) && (!*end || !strcmp(end, "s"));
}

static bool whole_parse(const char *text, double *ret) {
    const char *end;
    return number_parse(text, ret, &end) && !*end && *ret == floor(*ret);
}

enum err config_value_read(enum config_type type, double min, double max, const char *text, void *field,
                           char *why, size_t why_size) {
    char room[96];
    double v = 0;
    bool ok = false, is_auto = !strcasecmp(text, "auto");
    switch (type) {
    case CONFIG_LIST:
    case CONFIG_ALIASES: break; /* not one value */
    case CONFIG_TEXT:
        if (*text) return text_read(text, field);
        break;
    case CONFIG_SECRET: return secret_read(text, field, why, why_size);
    case CONFIG_NUMBER:
    case CONFIG_NUMBER_AUTO:
        ok = (type == CONFIG_NUMBER_AUTO && is_auto) || (whole_parse(text, &v) && v >= min && v <= max);
        if (ok) *(uint32_t *)field = (uint32_t)v;
        break;
    case CONFIG_SIZE:
    case CONFIG_SIZE_AUTO:
        ok = (type == CONFIG_SIZE_AUTO && is_auto) || (config_size_parse(text, &v) && v >= min && v <= max);
        if (ok) *(uint64_t *)field = (uint64_t)v;
        break;
    case CONFIG_SECONDS:
    case CONFIG_SECONDS_AUTO:
        if (type == CONFIG_SECONDS_AUTO && is_auto) {
            *(int64_t *)field = -1;
            return ERR_OK;
        }
        ok = seconds_parse(text, &v) && v >= min && v <= max;
        if (ok) *(int64_t *)field = (int64_t)(v * 1e9);
        break;
    case CONFIG_SWITCH:
    case CONFIG_FLAG: ok = switch_read(text, field); break;
    case CONFIG_KV: {
        enum kv_type kv;
        ok = kv_type_parse(text, &kv);
        if (ok) *(int *)field = (int)kv;
        break;
    }
    case CONFIG_LEVEL:
        for (size_t i = 0; i < ARRAY_LEN(LEVELS) && !ok; i++)
            if ((ok = !strcmp(text, LEVELS[i]))) *(int *)field = (int)i;
        break;
    }
    if (ok) return ERR_OK;
    snprintf(why, why_size, "\"%s\" is not allowed here; allowed: %s", text,
             config_value_range(type, min, max, room, sizeof room));
    return ERR_INVALID;
}

void config_value_write(enum config_type type, const void *field, struct buf *out) {
    char room[32];
    switch (type) {
    case CONFIG_LIST:
    case CONFIG_ALIASES: break;
    case CONFIG_TEXT: buf_puts(out, *(char *const *)field ? *(char *const *)field : ""); break;
    case CONFIG_SECRET: buf_puts(out, *(char *const *)field ? "(set)" : ""); break;
    case CONFIG_NUMBER: buf_printf(out, "%u", *(const uint32_t *)field); break;
    case CONFIG_NUMBER_AUTO:
        if (*(const uint32_t *)field)
            buf_printf(out, "%u", *(const uint32_t *)field);
        else
            buf_puts(out, "auto");
        break;
    case CONFIG_SIZE_AUTO:
    case CONFIG_SIZE:
        size_print((double)*(const uint64_t *)field, room, sizeof room);
        buf_puts(out, type == CONFIG_SIZE_AUTO && !*(const uint64_t *)field ? "auto" : room);
        break;
    case CONFIG_SECONDS:
    case CONFIG_SECONDS_AUTO:
        if (*(const int64_t *)field < 0)
            buf_puts(out, "auto");
        else
            buf_printf(out, "%g", (double)*(const int64_t *)field / (double)NS_PER_S);
        break;
    case CONFIG_SWITCH:
    case CONFIG_FLAG: buf_puts(out, *(const bool *)field ? "on" : "off"); break;
    case CONFIG_KV: buf_puts(out, kv_type_name((enum kv_type) * (const int *)field)); break;
    case CONFIG_LEVEL: buf_puts(out, LEVELS[*(const int *)field]); break;
    }
}

bool config_value_equal(enum config_type type, const void *a, const void *b) {
    switch (type) {
    case CONFIG_TEXT:
    case CONFIG_SECRET: {
        const char *x = *(char *const *)a, *y = *(char *const *)b;
        return x && y ? !strcmp(x, y) : x == y;
    }
    case CONFIG_NUMBER:
    case CONFIG_NUMBER_AUTO: return *(const uint32_t *)a == *(const uint32_t *)b;
    case CONFIG_SIZE:
    case CONFIG_SIZE_AUTO: return *(const uint64_t *)a == *(const uint64_t *)b;
    case CONFIG_SECONDS:
    case CONFIG_SECONDS_AUTO: return *(const int64_t *)a == *(const int64_t *)b;
    case CONFIG_SWITCH:
    case CONFIG_FLAG: return *(const bool *)a == *(const bool *)b;
    case CONFIG_KV:
    case CONFIG_LEVEL: return *(const int *)a == *(const int *)b;
    case CONFIG_LIST:
    case CONFIG_ALIASES: break;
    }
    return false;
}
