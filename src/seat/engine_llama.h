/* engine_llama.h - what the files of the llama engine share; nobody else includes it.
 *   engine_llama.c          load, configure, decode, unload
 *   engine_llama_cells.c    blocks: take, put, cut, hash, the self-test of the layout
 *   engine_llama_text.c     tokens and text, the chat
 *   engine_llama_sampler.c  the next token
 * Sequence ids: the caller's sequence s is libllama's s + 1; libllama's 0 is the scratch, so that a block's
 * bytes (they carry the id of the sequence they were taken through) are the same whatever n_seqs is.
 * Invariant: the scratch is empty whenever no function of engine_llama_cells.c runs. */
#ifndef HOTSEAT_SEAT_ENGINE_LLAMA_H
#define HOTSEAT_SEAT_ENGINE_LLAMA_H

#include <llama.h>
#include <stdatomic.h>

#include "base/limits.h"
#include "seat/chat_template.h"
#include "seat/engine.h"

#define SCRATCH 0
#define SEQ(s) ((llama_seq_id)((s) + 1))
#define STATE_EMPTY_BYTES_MAX 64 /* the state of a sequence without cells; 24 bytes today */
#define WHY_BYTES 256

struct cell_bytes {
    uint64_t base_per_token, window_per_seq;
};

struct engine {
    /* LOADED */
    struct llama_model *model;
    struct cell_bytes cells;
    const struct llama_vocab *vocab;
    struct chat_templates *templates; /* NULL: template_why says why chats can't be rendered */
    char template_why[WHY_BYTES];
    enum kv_type kv;
    int32_t n_threads, n_vocab, bos; /* bos -1: none at the start */
    int32_t *end_ids;                /* tokens that end a generation, ascending */
    uint32_t n_end_ids;
    bool recurrent;
    void (*progress)(void *ctx, uint32_t permille);
    void *progress_ctx;
    uint64_t n_decoded;
    llama_token_data *candidates; /* n_vocab; the samplers' workspace: they run one after another */

    /* READY */
    struct llama_context *ctx;
    llama_memory_t memory;
    struct llama_batch batch;
    uint32_t n_cells, n_seqs, n_batch;
    int32_t *seq_end;  /* n_seqs: one past the last position each sequence holds */
    int32_t *seq_held; /* n_seqs: positions it holds; less than its end when something was cut out */
    int32_t
        *seq_whole; /* n_seqs: from here on nothing was left out of its window: GAP (engine_llama_cells.c) */
    /* the layout of a block's bytes, see engine_llama_cells.c */
    bool blocks_on;    /* false: take and put are ERR_UNSUPPORTED; blocks_why says why */
    bool layout_known; /* cells_part_parse() reads this model's parts */
    char blocks_why[WHY_BYTES];
    int32_t window; /* 0: no window part */
    size_t header_bytes, empty_window_bytes;
    uint8_t header[STATE_EMPTY_BYTES_MAX], empty_window[STATE_EMPTY_BYTES_MAX];
    struct buf blob; /* one sequence's state on its way in or out; kept, a block is up to 60 MB */

    _Atomic bool cancel;
};

/* Sets e->templates, or template_why. family: a name of the table in engine_llama_text.c or ""; source wins. */
enum err text_open_templates(struct engine *e, const char *family, const char *source);
/* Fills e->header ... e->blocks_on from an empty scratch; called once for each context. */
void cells_learn_layout(struct engine *e);
/* Drops positions p0.. of one of the caller's sequences. False: only whole (recurrent state). */
bool cells_drop_from(struct engine *e, int32_t seq, int32_t p0);

#endif
