#include "seat/shown.h"

#include <string.h>

#include "base/mem.h"
#include "base/must.h"
#include "base/utf8.h"
#include "link/token_probs.h"
#include "seat/text_stream.h"

#define ROOM_MIN 16

void shown_open(struct shown *s, uint64_t prompt_chars) {
    *s = (struct shown){.raw = BUF(0), .n_chars = prompt_chars};
}

void shown_free(struct shown *s) {
    buf_free(&s->raw);
    mem_free(s->tokens);
    mem_free(s->pairs.ids);
}

void shown_clear(struct shown *s) {
    s->pairs.n = 0;
}

enum err shown_feed(struct shown *s, uint32_t index, const void *piece, size_t size_bytes) {
    if (size_bytes == 0) return ERR_OK;
    if (s->n == s->room) {
        uint32_t room = s->room + s->room / 2 + ROOM_MIN;
        struct shown_token *tokens = mem_realloc(s->tokens, room * sizeof *tokens);
        if (!tokens) return ERR_NOMEM;
        s->tokens = tokens;
        s->room = room;
    }
    buf_put(&s->raw, piece, size_bytes);
    if (s->raw.error) return s->raw.error;
    s->tokens[s->n++] =
        (struct shown_token){.index = index, .raw_at = s->n_fed, .raw_end = s->n_fed + size_bytes};
    s->n_fed += size_bytes;
    return ERR_OK;
}

/* A character of n raw bytes has gone out as n_text bytes of text. Several tokens may have brought it. */
static void place(struct shown *s, size_t n, size_t n_text) {
    for (uint32_t i = s->n; i-- > 0 && s->tokens[i].raw_end > s->n_out;) {
        struct shown_token *t = &s->tokens[i];
        if (!t->placed && t->raw_at < s->n_out + n) {
            t->placed = true;
            t->at = s->n_text;
            t->chars = s->n_chars;
        }
        if (t->raw_end <= s->n_out + n) t->end = s->n_text + n_text;
    }
}

/* Walks as text_stream.c does when it releases: what is no character has become U+FFFD. */
void shown_release(struct shown *s, uint64_t n_out) {
    must(n_out >= s->n_out && n_out <= s->n_fed);
    size_t size = (size_t)(n_out - s->n_out);
    for (size_t at = 0; at < size;) {
        size_t n = utf8_char((const char *)s->raw.data + at, size - at);
        size_t n_text = n ? n : strlen(TEXT_STREAM_REPLACEMENT);
        if (n == 0) n = 1;
        place(s, n, n_text);
        s->n_out += n;
        s->n_text += n_text;
        s->n_chars++;
        at += n;
    }
    buf_consume(&s->raw, size);
}

static enum err pair_add(struct shown *s, uint32_t index, int64_t place_chars) {
    if (s->pairs.n + 2 > s->pairs_room) {
        uint32_t room = s->pairs_room + s->pairs_room / 2 + ROOM_MIN;
        int32_t *ids = mem_realloc(s->pairs.ids, room * sizeof *ids);
        if (!ids) return ERR_NOMEM;
        s->pairs.ids = ids;
        s->pairs_room = room;
    }
    s->pairs.ids[s->pairs.n++] = (int32_t)index;
    s->pairs.ids[s->pairs.n++] = place_chars < INT32_MAX ? (int32_t)place_chars : INT32_MAX;
    return ERR_OK;
}

static void drop_first(struct shown *s, uint32_t n) {
    s->n -= n;
    if (n && s->n) memmove(s->tokens, s->tokens + n, s->n * sizeof *s->tokens);
}

enum err shown_as_text(struct shown *s) {
    uint32_t n = 0;
    while (n < s->n && s->tokens[n].placed) {
        enum err err = pair_add(s, s->tokens[n].index, (int64_t)s->tokens[n].chars);
        if (err) return err;
        n++;
    }
    drop_first(s, n);
    return ERR_OK;
}

/* Where the parser found this piece: it goes on where the last one ended, or behind a mark, and then what is held back of the text can
 * only stand behind it (before: the other piece of this step, too). Pieces that are not in the text as they are (a parser may
 * rewrite) are all that is left of it. */
static uint64_t find(struct shown *s, const struct buf *said, const struct buf *piece, bool before) {
    if (said->size == 0) return 0;
    const uint8_t *left = said->data + s->told;
    size_t size = said->size - (size_t)s->told, n = piece->size;
    uint64_t begin = s->told, end = said->size;
    const uint8_t *found = n <= size ? memmem(left, size, piece->data, n) : NULL;
    size_t first = found ? (size_t)(found - left) : 0, at = first;
    if (found && first > 0 && !before)
        for (at = size - n; memcmp(left + at, piece->data, n) != 0;) at--;
    if (found) {
        begin = s->told + at;
        end = begin + n;
    }
    s->told = end;
    return begin;
}

/* Up to `to` there is no content: tokens that end there are never shown; of one that goes on behind it the rest may be. */
static enum err settle_others(struct shown *s, uint64_t to) {
    uint32_t n = 0;
    for (; n < s->n && s->tokens[n].end && s->tokens[n].end <= to; n++) {
        enum err err = pair_add(s, s->tokens[n].index, SHOWN_NEVER);
        if (err) return err;
    }
    drop_first(s, n);
    return ERR_OK;
}

/* Content lies from `from` to `to`: tokens that have a part of it are shown, also those that have only begun to come out. */
static enum err settle_content(struct shown *s, uint64_t from, uint64_t to) {
    enum err err = settle_others(s, from);
    uint32_t n = 0;
    for (; n < s->n && s->tokens[n].placed && s->tokens[n].at < to && !err; n++) {
        if (s->tokens[n].end == 0 && s->n_text <= from) break; /* the rest of it may be content */
        err = pair_add(s, s->tokens[n].index, (int64_t)s->tokens[n].chars);
    }
    if (!err) drop_first(s, n);
    return err;
}

enum err shown_in_chat(struct shown *s, const struct buf *said, const struct buf *content,
                       const struct buf *reasoning, bool others) {
    enum err err = ERR_OK;
    must(said->size == s->n_text);
    if (reasoning->size) {
        (void)find(s, said, reasoning, content->size > 0);
        err = settle_others(s, s->told);
    }
    if (!err && content->size) {
        uint64_t from = find(s, said, content, false);
        err = settle_content(s, from, s->told);
    }
    if (!err && others) {
        s->told = said->size;
        err = settle_others(s, s->told);
    }
    return err;
}
