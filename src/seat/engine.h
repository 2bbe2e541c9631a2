/* engine.h - the only door to an inference engine: one model, one context, many sequences. Two engines stand behind it:
 * engine_llama.c (with chat_*.cpp the only files that see llama.cpp) and engine_fake.c.
 * Immutable after load: weights, vocabulary, template. Mutable: the KV cells of the context, in sequences 0..n_seqs-1.
 *   EMPTY --load--> LOADED --configure--> READY --(decode, blocks, sampling)-- READY --unload--> EMPTY
 *   (configure again from READY makes a fresh context; unload from any)
 * Nothing of an engine's own memory may stay after unload. Thread: one, the engine thread, but for engine_cancel()
 * (any) and the text functions (tokenize, piece, render, parse), which only read the loaded model.
 * Positions are always explicit; n_past is the caller's. Sequence ids are the caller's, 0..n_seqs-1; the engine keeps
 * scratch ids of its own beyond them. */
#ifndef HOTSEAT_SEAT_ENGINE_H
#define HOTSEAT_SEAT_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "link/messages.h"
#include "model/model_spec.h"

struct engine;

struct engine_load_params {
    const char *path;
    enum kv_type kv;
    bool repack;
    uint32_t n_threads;                             /* 0: physical cores */
    const char *template_family;                    /* "" or a family's name for models without a template */
    const char *template_source;                    /* "" or Jinja text; wins */
    void (*progress)(void *ctx, uint32_t permille); /* may be called from the engine thread during load */
    void *progress_ctx;
};

struct engine_model { /* what a load found out */
    uint64_t weights_bytes, base_bytes_per_token, window_bytes_per_seq;
    uint32_t n_vocab, context_train, window; /* window 0: every position of the KV stays */
    uint32_t n_window_layers;
    bool recurrent; /* no blocks: whole-sequence snapshots only */
};

struct engine_context_params {
    uint32_t n_cells; /* KV cells shared by all sequences; a multiple of BLOCK_TOKENS */
    uint32_t n_seqs;  /* the caller's sequences */
    uint32_t n_batch; /* most items in one engine_decode() */
};

struct engine_measure {
    /* compute: step buffers, and those of the cells that are not n_cells x base + n_seqs x window (scratch, a step's share of a
     * window cache) */
    uint64_t weights_bytes, cells_bytes, compute_bytes, base_bytes_per_token, window_bytes_per_seq;
    uint64_t heap_bytes; /* the vocabulary, and whatever else a loaded model keeps */
    /* What the GPUs may hold of all that but the heap; Metal calls it the recommended working set. 0: there is none, or it does not say. */
    uint64_t device_bytes;
    uint32_t context_train, n_vocab;
};

const char *engine_name(void);    /* "llama" or "fake" */
const char *engine_version(void); /* the pin, "0.3.36"; goes into the tag */

enum err engine_open(struct engine **ret) NODISCARD;
void engine_free(struct engine *e);
/* What a load and a context would take, without allocating them. The file may make the process abort: only in a
 * short-lived process. why (256 bytes or more) is filled on error, here and below. */
enum err engine_measure(const struct engine_load_params *p, const struct engine_context_params *c,
                        struct engine_measure *ret, char *why, size_t why_size) NODISCARD;
enum err engine_load(struct engine *e, const struct engine_load_params *p, struct engine_model *ret,
                     char *why, size_t why_size) NODISCARD; /* ERR_MODEL_INVALID, ERR_NOMEM, ERR_CANCELED */
enum err engine_configure(struct engine *e, const struct engine_context_params *p,
                          uint64_t *ret_compute_bytes, char *why, size_t why_size) NODISCARD;
/* Proves the layout of blocks on this very model: take, put back, take again gives the same bytes. */
enum err engine_self_test(struct engine *e, char *why, size_t why_size) NODISCARD;
void engine_unload(struct engine *e); /* also gives freed heap back to the system (malloc_trim) */
void engine_cancel(struct engine *e,
                   bool cancel); /* any thread: a running decode or load ends with ERR_CANCELED */

/* ---- compute ---- */
struct engine_item {
    int32_t token, pos, seq;
    bool logits; /* the row is wanted; at most n_seqs rows a step */
};
/* One step over items of any sequences; a sequence's positions follow on from what it holds. On error nothing of the
 * batch is left in the cells (a recurrent sequence is then dropped whole: its state can't go back).
 * ERR_NO_CELLS, ERR_CANCELED, ERR_INTERNAL. */
enum err engine_decode(struct engine *e, const struct engine_item *items, uint32_t n) NODISCARD;
const float *engine_logits(struct engine *e, uint32_t item); /* n_vocab floats; valid until the next decode */
uint64_t engine_decoded_tokens(const struct engine *e);      /* handed to the engine's decode since load */

/* ---- cells ---- */
/* Drops positions p0 <= pos < p1 (p1 < 0: to the end). False: this model can't cut there (a window that has moved on, or
 * has a gap there: engine_block_put());
 * then only engine_seq_rm(e, seq, 0, -1) helps. */
bool engine_seq_rm(struct engine *e, int32_t seq, int32_t p0, int32_t p1);
uint32_t engine_cells_used(const struct engine *e);

enum engine_part { ENGINE_PART_BASE = 1, ENGINE_PART_WINDOW = 2 };
/* Copies out positions p0..p1-1 of seq (p1 - p0 <= BLOCK_TOKENS). The wanted parts are appended to their buffers.
 * *ret_window_from: the lowest position that the window part still holds (p1 when none). Models without a window
 * have no window part: its buffer stays empty. */
enum err engine_block_take(struct engine *e, int32_t seq, int32_t p0, int32_t p1, int parts, struct buf *base,
                           struct buf *window, int32_t *ret_window_from) NODISCARD;
#define ENGINE_BLOCK_HEAD                                                                                    \
    64 /* bytes before a base part that is put back: there is no copy, the engine writes its own there */
/* Puts p0..p1-1 back at the end of seq (which must hold nothing at or after p0). base: ENGINE_BLOCK_HEAD bytes of any content and the
 * base part; it is used up, whatever comes of it. window size 0: the empty window part.
 * A window part joins what lies before it only when it begins at p0; else what was there counts as gone: it is not taken any more,
 * and no cut may look back at it. It lasts until the sequence is dropped.
 * On error the sequence is as before; the caller drops it and goes on cold. */
enum err engine_block_put(struct engine *e, int32_t seq, int32_t p0, int32_t p1, struct buf *base,
                          const uint8_t *window, size_t window_size) NODISCARD;
/* XXH3 over the KV bytes of positions 0..p1-1 of seq in order of position, base parts and what the window still holds
 * of the last window; debug only. */
enum err engine_kv_hash(struct engine *e, int32_t seq, int32_t p1, uint64_t *ret) NODISCARD;

/* ---- text ---- */
/* special: text of special tokens becomes those tokens. add_bos: where the model wants one. *ret_ids: caller frees; NULL on an error. */
enum err engine_tokenize(const struct engine *e, const char *text, size_t size_bytes, bool special,
                         bool add_bos, int32_t **ret_ids, uint32_t *ret_n) NODISCARD;
/* Appends the token's bytes; special: control tokens give their text, else nothing. */
enum err engine_piece(const struct engine *e, int32_t token, bool special, struct buf *out) NODISCARD;
bool engine_is_end(const struct engine *e, int32_t token); /* end of generation */
int32_t engine_bos(const struct engine *e);                /* -1 when this model wants none at the start */

/* A chat rendered by the model's template: the prompt, and what reads the answer. Opaque, owned by the caller. */
struct engine_chat;
/* ERR_INVALID (the template refuses these messages, no template: why says so), ERR_UNSUPPORTED (schema), ERR_NOMEM.
 * TEXT requests have no chat: NULL is fine for every function that takes one, but engine_chat_parse(). */
enum err engine_chat_render(const struct engine *e, const struct msg_submit *request,
                            struct engine_chat **ret, char *why, size_t why_size) NODISCARD;
void engine_chat_free(struct engine_chat *c);
const char *engine_chat_prompt(const struct engine_chat *c,
                               size_t *ret_size); /* the text to tokenize, special = true */
uint32_t engine_chat_stops(const struct engine_chat *c,
                           const char *const **ret); /* the template's own stop strings */
/* Feeds the whole text generated so far (UTF-8, cut at no character) and appends what is new since the last call:
 * content, reasoning, and tool_calls as a JSON array of OpenAI deltas ("" when none). final: no more will come.
 * Deterministic: the same texts in the same order give the same deltas. */
enum err engine_chat_parse(struct engine_chat *c, const char *text, size_t size_bytes, bool final,
                           struct buf *content, struct buf *reasoning, struct buf *tool_calls) NODISCARD;
bool engine_chat_called_tools(const struct engine_chat *c);
/* A control token whose text belongs to the answer (the marks around a tool call or thoughts, which the parser must
 * see): engine_piece(special = true) for it. False for NULL. */
bool engine_chat_keeps(const struct engine_chat *c, int32_t token);

/* ---- sampling ---- */
/* History, penalties, grammar of one stream. The token at pos is a pure function of (logits, history, seed, pos). */
struct engine_sampler;
enum err engine_sampler_new(struct engine *e, const struct msg_submit *request,
                            const struct engine_chat *chat, struct engine_sampler **ret, char *why,
                            size_t why_size) NODISCARD;
void engine_sampler_free(struct engine_sampler *s);
/* From engine_logits(item). -1: no token may come next (its grammar asks for a character that the vocabulary can't write, or the logits
 * are no numbers). */
int32_t engine_sampler_pick(struct engine_sampler *s, uint32_t item, int32_t pos);
void engine_sampler_accept(struct engine_sampler *s, int32_t token); /* also each replayed token */

#endif
