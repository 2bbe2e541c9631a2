#include "model/gguf_parts.h"

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "base/must.h"
#include "model/gguf_info.h"

#define DIGITS 5
static const char sample[] = "-00000-of-00000.gguf"; /* a 0 stands for any digit */
#define SUFFIX_BYTES (sizeof sample - 1)
static const char extension[] = ".gguf";
#define EXTENSION_BYTES (sizeof extension - 1)
#define NUMBER_AT 1
#define COUNT_AT 10

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static uint32_t number_at(const char *s) {
    uint32_t v = 0;
    for (int i = 0; i < DIGITS; i++) v = v * 10 + (uint32_t)(s[i] - '0');
    return v;
}

/* Where "-00001-of-00003.gguf" begins; NULL: it does not end like that, or is nothing else. */
static const char *suffix_of(const char *path) {
    size_t size = strlen(path);
    if (size <= SUFFIX_BYTES) return NULL;
    const char *suffix = path + size - SUFFIX_BYTES;
    for (size_t i = 0; i < SUFFIX_BYTES; i++) {
        if (sample[i] == '0' ? !is_digit(suffix[i]) : suffix[i] != sample[i]) return NULL;
    }
    return suffix;
}

size_t gguf_parts_stem(const char *path) {
    const char *suffix = suffix_of(path);
    size_t size = strlen(path);
    if (suffix) return (size_t)(suffix - path);
    return size > EXTENSION_BYTES && !strcmp(path + size - EXTENSION_BYTES, extension)
               ? size - EXTENSION_BYTES
               : 0;
}

uint32_t gguf_parts_count(const char *path, uint32_t *ret_number) {
    if (ret_number) *ret_number = 1;
    const char *suffix = suffix_of(path);
    if (!suffix) return 1;
    uint32_t number = number_at(suffix + NUMBER_AT), count = number_at(suffix + COUNT_AT);
    if (number < 1 || number > count || count > GGUF_PARTS_MAX) return 1;
    if (ret_number) *ret_number = number;
    return count;
}

char *gguf_parts_path(const char *path, uint32_t number) {
    uint32_t count = gguf_parts_count(path, NULL);
    must(number >= 1 && number <= count);
    if (count == 1) return mem_strdup(path);
    size_t stem = strlen(path) - SUFFIX_BYTES;
    return mem_printf("%.*s-%05u-of-%05u.gguf", (int)stem, path, number, count);
}
