#include "base/fault.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"

static const struct {
    const char *name, *text;
} rows[] = {
#define FAULT_ROW(name, str, text) {str, text},
    FAULT_TABLE(FAULT_ROW)
#undef FAULT_ROW
};

static struct {
    _Atomic int64_t times; /* 0: off; negative: until cleared */
    _Atomic int64_t arg;
} armed[FAULT_COUNT];

enum err fault_arm(const char *name, int64_t times, int64_t arg) {
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (strcmp(rows[i].name, name) != 0) continue;
        atomic_store(&armed[i].arg, arg); /* before times: who sees the fault armed sees its arg */
        atomic_store(&armed[i].times, times);
        return ERR_OK;
    }
    return ERR_NOT_FOUND;
}

bool fault_hit(enum fault fault, int64_t *ret_arg) {
    must((size_t)fault < ARRAY_LEN(rows));
    int64_t times = atomic_load(&armed[fault].times);
    while (times > 0 && !atomic_compare_exchange_weak(&armed[fault].times, &times, times - 1)) {
    }
    if (times == 0) return false;
    if (ret_arg) *ret_arg = atomic_load(&armed[fault].arg);
    return true;
}

bool fault_hang_if(enum fault fault) {
    if (!fault_hit(fault, NULL)) return false;
    for (;;) pause();
}

const char *fault_name(enum fault fault) {
    return (size_t)fault < ARRAY_LEN(rows) ? rows[fault].name : "?";
}

const char *fault_text(enum fault fault) {
    return (size_t)fault < ARRAY_LEN(rows) ? rows[fault].text : "?";
}
