#include "seat/prompt.h"

#include <string.h>

#include "base/mem.h"

#define LONG_TOKEN_BYTES 8 /* text takes 3 to 5 a token; runs of spaces up to 128 */
#define CUT_TOKENS 64      /* so many fewer may the beginning of a text have within the whole */

/* One token's text in b (cleared first); a model's control tokens too. False: no memory. */
static bool piece(const struct engine *e, int32_t token, bool special, struct buf *b) {
    buf_clear(b);
    return engine_piece(e, token, special, b) == ERR_OK && !b->error;
}

/* Letters, digits and anything beyond ASCII: two of them side by side may be one token. */
static bool is_word(char c) {
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || (unsigned char)c >= 0x80;
}

static bool seam_is_clean(const char *text, size_t size, size_t at) {
    return at == 0 || at == size || !(is_word(text[at - 1]) && is_word(text[at]));
}

/* A beginning-of-text token that the text does not spell out. */
static bool is_silent_bos(const struct engine *e, const char *text, size_t size, int32_t token,
                          struct buf *b) {
    if (token != engine_bos(e)) return false;
    return piece(e, token, true, b) &&
           (b->size == 0 || b->size > size || memcmp(text, b->data, b->size) != 0);
}

struct splice {
    uint32_t n_tokens;
    size_t at; /* bytes of text they stand for */
};

/* How far chain's tokens stand for the beginning of text, up to a place where the text may be cut. */
static struct splice walk(const struct engine *e, const char *text, size_t size,
                          const struct prompt_chain *chain, struct buf *b) {
    struct splice best = {0};
    size_t at = 0;
    for (uint32_t i = 0; i < chain->n; i++) {
        int32_t token = chain->tokens[i];
        bool silent = i == 0 && is_silent_bos(e, text, size, token, b);
        if (!silent) {
            if (!piece(e, token, true, b) || b->size > size - at || memcmp(text + at, b->data, b->size) != 0)
                return best;
            at += b->size;
        }
        bool control = silent || (b->size > 0 && piece(e, token, false, b) && b->size == 0);
        bool whole = i + 1 == chain->n && seam_is_clean(text, size, at);
        if (control || whole || at == size) best = (struct splice){i + 1, at};
        if (at == size) return best;
    }
    return best;
}

static bool stands_for(const struct engine *e, const int32_t *ids, uint32_t n, const char *text, size_t size,
                       struct buf *b) {
    size_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (i == 0 && is_silent_bos(e, text, size, ids[0], b)) continue;
        if (!piece(e, ids[i], true, b) || b->size > size - at || memcmp(text + at, b->data, b->size) != 0)
            return false;
        at += b->size;
    }
    return at == size;
}

/* n_max (0: any) as in prompt_tokenize(). Looks at beginnings, each four times as long as the one before, while all of it is more than
 * twice as long. */
static enum err tokenize_within(const struct engine *e, const char *text, size_t size, bool add_bos,
                                uint32_t n_max, int32_t **ret_ids, uint32_t *ret_n) {
    for (size_t n = (size_t)n_max * LONG_TOKEN_BYTES; n && n < size / 2; n *= 4) {
        size_t cut = n;
        while (cut > 0 && ((uint8_t)text[cut] & 0xC0) == 0x80) cut--; /* not within a character */
        enum err err = engine_tokenize(e, text, cut, true, add_bos, ret_ids, ret_n);
        if (err) return err;
        mem_free(TAKE(*ret_ids));
        if (*ret_n <= n_max + CUT_TOKENS) continue;
        *ret_n -= CUT_TOKENS;
        return ERR_CONTEXT_LENGTH;
    }
    return engine_tokenize(e, text, size, true, add_bos, ret_ids, ret_n);
}

static enum err splice_with(const struct engine *e, const char *text, size_t size,
                            const struct prompt_chain *chain, const struct splice *s, uint32_t n_max,
                            int32_t **ret_ids, uint32_t *ret_n) {
    AUTO(mem_freep) int32_t *rest = NULL;
    uint32_t n_rest = 0;
    enum err err = ERR_OK;
    if (n_max) n_max = s->n_tokens < n_max ? n_max - s->n_tokens : 1;
    if (s->at < size) err = tokenize_within(e, text + s->at, size - s->at, false, n_max, &rest, &n_rest);
    *ret_n = s->n_tokens + n_rest;
    if (err) return err;
    int32_t *ids = mem_array(s->n_tokens + n_rest, sizeof *ids);
    if (!ids) return ERR_NOMEM;
    memcpy(ids, chain->tokens, s->n_tokens * sizeof *ids);
    if (n_rest) memcpy(ids + s->n_tokens, rest, n_rest * sizeof *ids);
    *ret_ids = ids;
    return ERR_OK;
}

static bool spells_bos(const struct engine *e, const char *text, size_t size, struct buf *b) {
    int32_t bos = engine_bos(e);
    return bos >= 0 && !is_silent_bos(e, text, size, bos, b);
}

enum err prompt_tokenize(const struct engine *e, const char *text, size_t size,
                         const struct prompt_chain *chains, uint32_t n_chains, uint32_t n_max,
                         int32_t **ret_ids, uint32_t *ret_n, uint32_t *ret_spliced) {
    struct buf b = BUF(0);
    struct splice best = {0};
    const struct prompt_chain *from = NULL;
    for (uint32_t i = 0; i < n_chains; i++) {
        struct splice s = walk(e, text, size, &chains[i], &b);
        /* The most text, and of as much the fewest tokens: those of somebody who spelled it out would cost everybody. */
        if (s.at < best.at || (s.at == best.at && best.n_tokens && s.n_tokens >= best.n_tokens)) continue;
        best = s;
        from = &chains[i];
    }
    *ret_spliced = 0;
    enum err err = ERR_OK;
    bool done = false;
    if (from && best.n_tokens > 1) {
        err = splice_with(e, text, size, from, &best, n_max, ret_ids, ret_n);
        bool fits = n_max == 0 || *ret_n < n_max; /* else it may fit in the tokenizer's own */
        done = !err && fits && stands_for(e, *ret_ids, *ret_n, text, size, &b);
        if (done) *ret_spliced = best.n_tokens;
        if (!err && !done) mem_free(*ret_ids);
        if (err == ERR_CONTEXT_LENGTH) err = ERR_OK;
    }
    if (!done && !err)
        err = tokenize_within(e, text, size, !spells_bos(e, text, size, &b), n_max, ret_ids, ret_n);
    buf_free(&b);
    return err;
}

uint32_t prompt_tokens_within(const struct engine *e, const char *text, size_t size, const int32_t *ids,
                              uint32_t n, size_t n_bytes) {
    struct buf b = BUF(0);
    size_t at = 0;
    uint32_t i = 0;
    for (; i < n; i++) {
        if (i == 0 && is_silent_bos(e, text, size, ids[0], &b)) continue;
        if (!piece(e, ids[i], true, &b) || b.size > n_bytes - at) break;
        at += b.size;
    }
    buf_free(&b);
    return i;
}
