/* fault.h - named faults that tests arm (server option --debug, POST /admin/debug/fault). The list is closed: a
 * fault that nobody checks is a lie. An unarmed fault costs one atomic load. Thread: any. */
#ifndef HOTSEAT_BASE_FAULT_H
#define HOTSEAT_BASE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/* X(NAME, "name", "what it does; what arg means") */
#define FAULT_TABLE(X)                                                                                       \
    X(KV_FLIP, "kv_flip", "flips one byte of the next restored block after its checksum was verified")       \
    X(LOAD_FAIL, "load_fail", "the next load fails after the old model was unloaded")                        \
    X(LOAD_HANG, "load_hang", "the next load hangs until the seat is ended")                                 \
    X(LOAD_SLOW, "load_slow", "each load takes arg more milliseconds, with progress")                        \
    X(UNLOAD_HANG, "unload_hang", "the next unload hangs until the seat is ended")                           \
    X(UNLOAD_LEAK, "unload_leak", "the next unload keeps arg bytes (default 64 MB) of touched memory")       \
    X(DECODE_FAIL, "decode_fail", "the next decode returns an error")                                        \
    X(DECODE_DIE, "decode_die", "the seat aborts in the next decode that has a sequence in it")              \
    X(DECODE_HANG, "decode_hang", "the next decode hangs until the seat is ended")                           \
    X(DECODE_SLOW, "decode_slow", "each decode takes arg more milliseconds")                                 \
    X(CONFIGURE_FAIL, "configure_fail", "the next context can't be made")                                    \
    X(SELF_TEST_FAIL, "self_test_fail", "the next self-test of the block layout fails")                      \
    X(BLOCK_TAKE_FAIL, "block_take_fail", "a block can't be taken out of the cells")                         \
    X(BLOCK_PUT_FAIL, "block_put_fail", "a block can't be put back into the cells")                          \
    X(DISK_FULL, "disk_full", "every write of the store fails with ENOSPC until cleared")                    \
    X(DISK_READONLY, "disk_readonly", "every write of the store fails with EROFS until cleared")             \
    X(DISK_SLOW, "disk_slow", "every disk call takes arg more milliseconds until cleared")                   \
    X(IDLE_SHORT, "idle_short", "idle sequences leave the cells after arg milliseconds until cleared")       \
    X(SEAT_EXIT, "seat_exit", "the seat process ends at once, status 1")

enum fault {
#define FAULT_ENUM_ROW(name, str, text) FAULT_##name,
    FAULT_TABLE(FAULT_ENUM_ROW)
#undef FAULT_ENUM_ROW
        FAULT_COUNT
};

/* times: how often it fires; 0 clears, negative means until cleared. ERR_NOT_FOUND for a name not in the table. */
enum err fault_arm(const char *name, int64_t times, int64_t arg) NODISCARD;
/* True when it fires now (and counts one down); *ret_arg gets arg (0 when none was given). ret_arg may be NULL. */
bool fault_hit(enum fault fault, int64_t *ret_arg);
bool fault_hang_if(enum fault fault); /* when it fires: sleeps for ever. Never returns true. */
const char *fault_name(enum fault fault);
const char *fault_text(enum fault fault);

#endif
