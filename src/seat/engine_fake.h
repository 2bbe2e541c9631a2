/* engine_fake.h - the inside of the fake engine, shared by its own files only (engine_fake*.c). Others see
 * engine.h.
 *
 * A toy that keeps a real engine's promises about memory: the KV bytes of a position depend on the model's
 * file, the KV type and all bytes before it, they lie in real cells, and what comes next is computed from the
 * bytes in the cells. So a wrong, missing or foreign byte changes every later byte, logit and word. base
 * cells:   n_cells rows, shared, handed out one by one (order differs from run to run, as in a real cache)
 *   window cells: a ring of `window` rows per sequence; position p lies in row p % window, older ones are
 * really gone A position p sees every base row 0..p and the window rows p - window + 1 .. p.
 *
 * Words in a model's general.name set its speed and faults: load_ms=500 step_us=1000 token_us=20 load_fail=1
 * load_hang=1, device_mb=100 the memory of a GPU; HOTSEAT_FAKE_LOAD_MS, HOTSEAT_FAKE_STEP_US and HOTSEAT_FAKE_TOKEN_US do it for every model
 * that says nothing. */
#ifndef HOTSEAT_SEAT_ENGINE_FAKE_H
#define HOTSEAT_SEAT_ENGINE_FAKE_H

#include <stdatomic.h>

#include "base/json.h"
#include "seat/engine.h"

#define FAKE_VOCAB 320
enum fake_token {
    FAKE_TOKEN_IM_START = 256, /* 0..255 are bytes */
    FAKE_TOKEN_IM_END,
    FAKE_TOKEN_EOS,
    FAKE_TOKEN_BOS,
    FAKE_TOKEN_NAMED_END
};

struct fake_seq {
    int32_t n_past;
    uint32_t room;
    int32_t *cells;     /* by position: which row of the base cells */
    uint64_t *digests;  /* by position: digest of the base rows 0..p */
    int32_t win_from;   /* lowest position in the ring; n_past when it is empty */
    uint8_t *win;       /* window rows */
    uint64_t *win_hash; /* by row */
};

struct engine {
    _Atomic bool canceled;
    bool loaded;
    struct model_spec spec;
    uint64_t seed;
    enum kv_type kv;
    uint64_t base_bpt, win_bpt; /* bytes of a row */
    bool has_chat;
    uint8_t *map; /* the file, bounded */
    uint64_t map_size;
    int64_t load_ms, step_us, token_us;
    uint64_t decoded;
    /* the context: NULL and 0 until configured */
    uint32_t n_cells, n_seqs, n_batch;
    uint8_t *base;
    int32_t *free_cells;
    uint32_t n_free;
    struct fake_seq *seqs; /* n_seqs and one scratch for the self-test */
    float *logits;         /* n_batch rows */
    int32_t *next_pos;     /* scratch of engine_decode, by sequence */
    uint32_t n_rows;       /* items of the last decode */
};

uint64_t fake_mix(uint64_t a, uint64_t b);
/* Simulated time; false: canceled meanwhile. */
bool fake_wait_us(struct engine *e, int64_t us);
void fake_context_free(struct engine *e);
uint64_t fake_compute_bytes(const struct engine_context_params *c, uint64_t window_bytes_per_seq);

/* The last user message of a chat, or the prompt, as text the directives are read from. Caller frees; NULL:
 * no memory. */
char *fake_request_text(const struct msg_submit *request);

#endif
