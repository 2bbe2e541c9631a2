/* shown.h - which generated tokens the text belongs to that goes out. Bytes go in as tokens bring them; text goes out later, in
 * pieces that know no tokens (text_stream.h holds back, the chat's parser picks the content out), and for each piece this module says
 * which tokens it is the first text of: DELTA.shown (token_probs.h).
 *   A token is shown with the first character that a byte of it is in. What never gives a character, is never shown: tokens past a
 *   stop string, the end token, control tokens.
 *   In a chat only content counts. Tokens of which a character is content are shown; of thoughts, tool calls and the marks around
 *   them it is said that they never will be.
 * Same pieces in the same order give the same (a replay relies on it). Pure but for memory. Thread: the owner's. */
#ifndef HOTSEAT_SEAT_SHOWN_H
#define HOTSEAT_SEAT_SHOWN_H

#include "link/messages.h"

struct shown_token {
    uint32_t index;
    uint64_t raw_at, raw_end; /* its bytes among all that came in */
    bool placed;              /* its first character is out; at, chars are known */
    uint64_t at;              /* where that character begins in the text so far, in bytes */
    uint64_t end;             /* and where the one with its last byte ends; 0: not known yet */
    uint64_t chars;           /* as at, in characters from the beginning of the prompt */
};

struct shown {
    struct buf raw;        /* came in, not out yet */
    uint64_t n_fed, n_out; /* bytes in, and of these out */
    uint64_t n_text, n_chars;
    uint64_t told; /* a chat: up to here the text is known as content or thoughts */
    struct shown_token *tokens;
    uint32_t n, room; /* that wait */
    struct msg_tokens pairs;
    uint32_t pairs_room;
};

void shown_open(struct shown *s, uint64_t prompt_chars); /* nothing to free before the first feed */
void shown_free(struct shown *s);
/* Before the next token: the pairs of the last one are gone. */
void shown_clear(struct shown *s);
/* The token brought these bytes; none: it is never shown. ERR_NOMEM. */
enum err shown_feed(struct shown *s, uint32_t index, const void *piece, size_t size_bytes) NODISCARD;
/* So many of all bytes are out by now; what follows them may be dropped for good. */
void shown_release(struct shown *s, uint64_t n_out);
/* Then one of the two adds to s->pairs. ERR_NOMEM. The text that is out is what the client sees: */
enum err shown_as_text(struct shown *s) NODISCARD;
/* said is all of it, content and reasoning what the chat's parser found in it since the last call, others that it found something else. */
enum err shown_in_chat(struct shown *s, const struct buf *said, const struct buf *content,
                       const struct buf *reasoning, bool others) NODISCARD;

#endif
