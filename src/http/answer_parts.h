/* answer_parts.h - what the answers of all APIs share: the pieces of tool calls that a reply brings, and the `hotseat` member.
 * Pure. Thread: any. */
#ifndef HOTSEAT_HTTP_ANSWER_PARTS_H
#define HOTSEAT_HTTP_ANSWER_PARTS_H

#include "base/json.h"
#include "front/reply.h"

/* A piece of a tool call. The first one of an index has id and name; each may have more arguments. Points into the JSON. */
struct tool_piece {
    uint32_t index;
    const char *id, *name, *arguments; /* NULL: not in this piece */
    size_t arguments_size;
};
/* The pieces that a reply brings, as a JSON array: json_free(). NULL in *ret: none. ERR_PROTOCOL: not in the shape of reply.h. */
enum err tool_pieces_read(const struct reply *r, struct json **ret) NODISCARD;
/* n_calls: how many calls have begun; a new one takes the next number. ERR_PROTOCOL. */
enum err tool_piece_at(const struct json *pieces, size_t i, uint32_t n_calls,
                       struct tool_piece *ret) NODISCARD;

/* "hotseat": {...}; r is the DONE reply. model may be NULL. */
void answer_write_hotseat(struct json_out *w, const char *model, const struct reply *r);
/* A member with the bytes of b, which may be empty. */
void answer_write_bytes(struct json_out *w, const char *key, const struct buf *b);

#endif
