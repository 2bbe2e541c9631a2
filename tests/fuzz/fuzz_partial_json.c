/* fuzz_partial_json.c - the arguments of a tool call, cut off anywhere: what comes out is JSON. */
#include "fuzz.h"

#include "base/json.h"
#include "base/must.h"
#include "http/partial_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf out = BUF(0);
    struct json_error where;
    must(partial_json_close(data, size, &out) == ERR_OK);
    struct json *value = json_read(out.data, out.size, &where);
    must(value);
    json_free(value);
    buf_free(&out);
    return 0;
}
