/* fuzz_partial_json.c - the arguments of a tool call, cut off anywhere: what comes out is JSON. */
#include "fuzz.h"

#include "base/json_check.h"
#include "base/must.h"
#include "http/partial_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf out = BUF(0);
    size_t at;
    const char *what;
    must(partial_json_close(data, size, &out) == ERR_OK);
    /* No tree of it: json_read() refuses numbers out of range and a key that comes twice, which are JSON. */
    must(json_check(out.data, out.size, &at, &what));
    buf_free(&out);
    return 0;
}
