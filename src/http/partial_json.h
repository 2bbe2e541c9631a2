/* partial_json.h - what is whole of JSON that was cut off: the arguments of a tool call that max_tokens ended. Pure. Thread: any. */
#ifndef HOTSEAT_HTTP_PARTIAL_JSON_H
#define HOTSEAT_HTTP_PARTIAL_JSON_H

#include "base/buf.h"

/* Appends valid JSON: all of data, byte for byte, when it is; else its longest beginning that ends after a whole value, with
 * what is open closed ({"a": 1, "b": "x gives {"a": 1}); {} when there is none. ERR_NOMEM, ERR_LIMIT of out. */
enum err partial_json_close(const void *data, size_t size_bytes, struct buf *out) NODISCARD;

#endif
