/* fuzz_json.c - a body from a client: what reads must dump, and the dump must read and dump the same. */
#include "fuzz.h"

#include <string.h>

#include "base/json.h"
#include "base/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct json_error error;
    struct json *v = json_read(data, size, &error);
    if (!v) return 0;
    struct buf first = BUF(BUF_CAP_DEFAULT), second = BUF(BUF_CAP_DEFAULT);
    must(json_dump(v, &first) == ERR_OK);
    struct json *again = json_read(first.data, first.size, &error);
    must(again);
    must(json_dump(again, &second) == ERR_OK);
    must(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
    buf_free(&first);
    buf_free(&second);
    json_free(again);
    json_free(v);
    return 0;
}
