/* err.h - every expected failure, in one table: name, HTTP status, retryable, code that clients see, text.
 * A bug is not in this table: that is must(). The numeric value travels in frames (link/messages.h), so new
 * rows go to the end. Thread: any. */
#ifndef HOTSEAT_BASE_ERR_H
#define HOTSEAT_BASE_ERR_H

#include <stdbool.h>

/* X(NAME, http_status, retryable, "code", "text") */
#define ERR_TABLE(X)                                                                                         \
    X(OK, 200, false, "ok", "ok")                                                                            \
    X(NOMEM, 503, true, "out_of_memory", "not enough memory for this")                                       \
    X(INVALID, 400, false, "invalid_request", "the request is not valid")                                    \
    X(JSON, 400, false, "invalid_json", "the body is not valid JSON")                                        \
    X(UNSUPPORTED, 400, false, "unsupported_parameter", "this parameter is not supported")                   \
    X(CONTEXT_LENGTH, 400, false, "context_length_exceeded", "the prompt is longer than the context")        \
    X(AUTH, 401, false, "invalid_api_key", "a valid key is needed")                                          \
    X(FORBIDDEN, 403, false, "forbidden", "this host or origin may not call")                                \
    X(NOT_FOUND, 404, false, "not_found", "there is no such thing")                                          \
    X(MODEL_UNKNOWN, 404, false, "model_not_found", "no model has this name")                                \
    X(METHOD, 405, false, "method_not_allowed", "this path does not take this method")                       \
    X(TIMEOUT, 408, true, "timeout", "the time limit has passed")                                            \
    X(SWAP_CONFLICT, 409, true, "swap_in_progress", "another swap is under way")                             \
    X(TOO_LARGE, 413, false, "too_large", "the body is larger than the limit")                               \
    X(MODEL_INVALID, 422, false, "model_invalid", "the model's file can't be loaded")                        \
    X(MODEL_TOO_LARGE, 422, false, "model_too_large", "the model does not fit into the memory budget")       \
    X(QUEUE_FULL, 429, true, "queue_full", "too many requests wait")                                         \
    X(CANCELED, 499, false, "canceled", "the client has left")                                               \
    X(DRAIN_CANCELED, 503, true, "swap_canceled_request", "a swap ended this request at its deadline")       \
    X(ENGINE_DIED, 500, true, "engine_died", "the engine died twice on this request")                        \
    X(SWAP_FAILED, 500, true, "swap_failed", "the model could not be loaded; the old one is back")           \
    X(INTERNAL, 500, false, "internal", "internal error")                                                    \
    X(MODEL_COOLDOWN, 503, true, "model_cooling_down", "the model failed to load a moment ago")              \
    X(NO_SEAT, 503, true, "no_seat", "no model can be loaded now")                                           \
    X(STOPPING, 503, true, "shutting_down", "the server is shutting down")                                   \
    X(AUTO_SWAP_OFF, 503, false, "auto_swap_off", "another model is seated and only the admin may swap")     \
    X(IO, 500, true, "io_error", "the disk or the socket failed")                                            \
    X(DISK_FULL, 507, true, "disk_full", "no space is left on the disk")                                     \
    X(CORRUPT, 500, false, "corrupt", "stored data is damaged")                                              \
    X(VERSION, 500, false, "version", "another version wrote this")                                          \
    X(MISMATCH, 500, false, "mismatch", "stored data belongs to something else")                             \
    X(LOCKED, 409, false, "locked", "another server uses this folder")                                       \
    X(LIMIT, 400, false, "limit", "a limit was reached")                                                     \
    X(NO_CELLS, 503, true, "no_cells", "the KV pool is full")                                                \
    X(EOF, 500, true, "end_of_stream", "the other side has closed")                                          \
    X(PROTOCOL, 500, false, "protocol", "a frame is not valid")                                              \
    X(NOT_LEAKED, 500, true, "memory_not_returned", "the unload did not give the memory back")

enum err {
#define ERR_ENUM_ROW(name, status, retryable, code, text) ERR_##name,
    ERR_TABLE(ERR_ENUM_ROW)
#undef ERR_ENUM_ROW
        ERR_COUNT
};

const char *err_name(enum err err); /* "QUEUE_FULL"; "?" out of range. Static. */
const char *err_code(enum err err); /* "queue_full": what error.code says to clients. Static. */
const char *err_text(enum err err); /* One English clause. Static. */
int err_http_status(enum err err);  /* 429 */
bool err_retryable(enum err err);
enum err err_from_errno(
    int errnum); /* ENOMEM, EMFILE and ENFILE -> NOMEM, ENOSPC/EDQUOT -> DISK_FULL, ENOENT/ENOTDIR -> NOT_FOUND, else IO. */

#endif
