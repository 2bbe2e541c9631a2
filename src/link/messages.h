/* messages.h - what the front and a seat say to each other, in one table; structs, encoder, decoder and release
 * come from it. The front speaks, the seat answers: every message with `op` gets exactly one end answer with the same op
 * (*ED, REPLY or OP_FAILED), every SUBMIT exactly one of DONE, FAILED, PARKED. Order within one socket is kept.
 * A decoded struct msg owns its strings: msg_free(). An encoded one only borrows. Pure; thread: any. */
#ifndef HOTSEAT_LINK_MESSAGES_H
#define HOTSEAT_LINK_MESSAGES_H

#include "base/buf.h"

struct msg_bytes { /* any bytes; data is NULL when size is 0, and NUL-terminated (past size) when decoded */
    uint8_t *data;
    uint32_t size;
};
struct msg_tokens {
    int32_t *ids;
    uint32_t n;
};
#define MSG_STRINGS_MAX 64 /* items of a list: stop strings are at most 16 */
struct msg_strings {       /* a list of byte strings */
    struct msg_bytes *items;
    uint32_t n;
};

/* Field kinds: U32 U64 I64 F64; STR (char *, no NUL inside, NULL travels as ""); BYTES; TOKENS; STRS. */

/* front -> seat */
/* Drawn by hand: the formatter draws these tables another way each time. */
/* clang-format off */
#define MSG_HELLO(F) /* first; a measuring seat gets cache_dir "" and opens no store */                      \
    F(U64, generation) /* grows with each seat of one server; the store refuses an older one */              \
    F(U64, holder) /* of the folder's lock */                                                                \
    F(STR, cache_why) /* why cache_dir is "" */                                                              \
    F(STR, cache_dir) F(U64, cache_disk_bytes) F(U64, cache_write_per_day_bytes)                             \
    F(U32, debug) /* 1: debug fields and faults are allowed */                                               \
    F(U32, log_level)
#define MSG_MEASURE(F) /* a load without allocation; -> MEASURED */                                          \
    F(U64, op) F(STR, path) F(STR, kv) F(U32, repack) F(U32, n_cells) F(U32, n_seqs)                         \
    F(U32, threads)
#define MSG_LOAD(F) /* weights and vocabulary; -> PROGRESS ..., LOADED */                                    \
    F(U64, op) F(STR, model) F(STR, path) F(STR, kv) F(U32, repack) F(U32, threads)                          \
    F(STR, template_family) /* "" or "chatml", "gemma", ...: for models without a template of their own */   \
    F(BYTES, template_source) /* "" or the text of a Jinja file; wins over the model's */
#define MSG_CONFIGURE(F) /* the context and the pool; also waits for the tag and the self-test; -> CONFIGURED */ \
    F(U64, op) F(U64, pool_bytes) F(U32, context) F(U32, parallel) F(U32, pin)                               \
    F(U32, token_gap) /* 0: the default (step_budget.h) */
#define MSG_EVICT(F) /* every agent's dirty blocks to disk; no stream may run; -> EVICTED */                 \
    F(U64, op)
#define MSG_UNLOAD(F) /* context, weights; trims; measures; -> UNLOADED */                                   \
    F(U64, op)
#define MSG_PARK(F) /* every running stream: save, forget, say PARKED for it; then REPLY */                  \
    F(U64, op)
#define MSG_SUBMIT(F)                                                                                        \
    F(U64, request)                                                                                          \
    F(STR, agent) /* "" nobody */                                                                            \
    F(U32, kind) /* enum msg_kind */                                                                         \
    F(BYTES, messages) /* CHAT: JSON array, validated */                                                     \
    F(BYTES, tools) /* CHAT: JSON array or "" */                                                             \
    F(STR, tool_choice) /* "", "auto", "none", "required", or a function's name */                           \
    F(U32, parallel_tool_calls)                                                                              \
    F(BYTES, json_schema) /* "" or a JSON schema the answer must match ("{}": any JSON object) */            \
    F(BYTES, prompt) /* TEXT: the prompt */                                                                  \
    F(TOKENS, prompt_ids) /* TOKENS: the prompt; else, with replay, those of STARTED */                      \
    F(U32, max_tokens) /* 0: up to the context */                                                            \
    F(U32, background) /* 1: enters after all others, and makes way for them */                              \
    F(F64, temperature) F(F64, top_p) F(I64, top_k) F(F64, min_p) F(F64, presence_penalty)                   \
    F(F64, frequency_penalty)                                                                                \
    F(U64, seed) /* always set; the random number at a position is a function of (seed, position) */         \
    F(STRS, stops) F(U32, ignore_eos)                                                                        \
    F(TOKENS, replay) /* tokens generated before the stream moved: fed back in, their text not sent again */ \
    F(U32, debug) /* 1: DONE carries the debug hashes */                                                     \
    F(U32, no_thinking) /* CHAT, 1: where the template lets a model think or not, it does not */             \
    F(STR, effort) /* CHAT: "", or how much to think, for a template that asks */                           \
    F(U32, look) /* enum msg_look; not 0: DONE says it of the prompt, nothing is read or generated */            \
    F(U32, add_special) F(U32, parse_special) F(U32, with_pieces) /* MSG_LOOK_TOKENS: as engine_tokenize(); DONE.ends */ \
    F(U32, logprobs) /* 0: none are wanted; else 1 + the alternatives of each token (token_probs.h) */       \
    F(BYTES, logit_bias) /* token_probs.h */                                                                 \
    F(U32, say_ids) /* 1: STARTED brings the prompt's ids in any case */                                     \
    F(U32, echo) /* TEXT, TOKENS, 1: a first DELTA has the prompt's text */
#define MSG_CANCEL(F) F(U64, request) /* -> FAILED with ERR_CANCELED, unless it ended by itself */
#define MSG_QUERY(F) /* -> REPLY with JSON; asks the store, in every state of the seat */                    \
    F(U64, op)                                                                                               \
    F(U32, what) /* enum msg_query_kind */                                                                   \
    F(STR, agent)                                                                                            \
    F(STR, model) /* "" all */
#define MSG_FAULT(F) /* -> REPLY */                                                                          \
    F(U64, op) F(STR, name) F(I64, times) F(I64, arg)
#define MSG_SETTINGS(F) /* what can be reloaded */                                                           \
    F(U64, cache_disk_bytes) F(U64, cache_write_per_day_bytes) F(U32, log_level)
#define MSG_READ_AHEAD(F) /* a model is loading, and these agents wait for it: a hint for the disk */            \
    F(STR, model) F(STRS, agents)
#define MSG_STOP(F) /* save everything, close the store, -> REPLY, then exit 0 */                            \
    F(U64, op)

/* seat -> front */
#define MSG_READY(F) F(U64, generation) F(STR, engine) F(STR, engine_version) F(U64, memory_bytes)
#define MSG_MEASURED(F)                                                                                      \
    F(U64, op) F(U64, weights_bytes) F(U64, cells_bytes) F(U64, compute_bytes)                               \
    F(U64, heap_bytes)                                                                                       \
    F(U64, base_bytes_per_token) F(U64, window_bytes_per_seq) F(U64, device_bytes)                           \
    F(U32, context_train) F(U32, n_vocab)
#define MSG_PROGRESS(F) F(U64, op) F(U32, permille)
#define MSG_LOADED(F)                                                                                        \
    F(U64, op) F(U64, weights_bytes) F(U32, context_train) F(U64, base_bytes_per_token)                      \
    F(U64, window_bytes_per_seq)
#define MSG_CONFIGURED(F)                                                                                    \
    F(U64, op) F(U64, pool_bytes) F(U32, n_cells) F(U32, n_blocks) F(U32, n_seqs)                            \
    F(U32, context) F(STR, tag) F(U32, cache_on) F(STR, cache_reason) F(U64, memory_bytes)                   \
    F(U64, compute_bytes)
#define MSG_EVICTED(F) F(U64, op) F(U64, blocks) F(U64, bytes) F(U64, unsaved)
#define MSG_UNLOADED(F)                                                                                      \
    F(U64, op) F(U64, before_bytes) F(U64, after_bytes) F(U64, baseline_bytes) F(U32, mappings)
#define MSG_OP_FAILED(F) F(U64, op) F(U32, err) F(STR, text)
#define MSG_STARTED(F) /* the prompt is known and what is cached was put back */                             \
    F(U64, request) F(U32, prompt_tokens) F(U32, cached_tokens)                                              \
    F(TOKENS, prompt_ids) /* "" where the text alone gives them, unless they are wanted; SUBMIT with replay brings them back */
#define MSG_DELTA(F) /* tokens and the text they released: text may be empty (held back) or of earlier tokens */ \
    F(U64, request) F(TOKENS, tokens) F(BYTES, text) F(BYTES, reasoning)                                     \
    F(BYTES, tool_calls) /* "" or a JSON array in the shape of OpenAI's delta.tool_calls */                  \
    F(BYTES, logprobs) /* of each of these tokens, if asked for: kept by who gets them until they are */     \
    F(TOKENS, shown) /* tokens whose text this is, of these or earlier deltas (token_probs.h) */
#define MSG_DONE(F)                                                                                          \
    F(U64, request)                                                                                          \
    F(U32, finish) /* enum msg_finish */                                                                     \
    F(U32, prompt_tokens) F(U32, cached_tokens) F(U32, prefill_tokens) F(U32, generated_tokens)              \
    F(I64, restore_ns) F(I64, prefill_ns) F(I64, first_token_ns) F(I64, decode_ns)                           \
    F(U32, decode_tokens) F(STR, first_logits_xxh3) F(STR, kv_xxh3) F(U32, decoded_tokens)                   \
    F(U32, stop) /* the number of the stop string that ended it, from 1 in SUBMIT's order; 0: none of them */ \
    F(TOKENS, ids) F(BYTES, text) F(TOKENS, ends) /* what SUBMIT.look asks for; ends: of each token's piece in text */
#define MSG_FAILED(F) F(U64, request) F(U32, err) F(STR, text) F(STR, param)
#define MSG_PARKED(F) F(U64, request)
#define MSG_REPLY(F) F(U64, op) F(U32, err) F(STR, text) F(BYTES, json)
#define MSG_STATS(F) /* once a second: heartbeat and totals since the seat's start */                        \
    F(U64, memory_bytes) F(U32, cells_used) F(U32, cells) F(U32, agents_resident)                            \
    F(U32, running) F(U64, blocks_written) F(U64, block_bytes_written) F(U64, blocks_read)                   \
    F(U64, block_bytes_read) F(U64, restores) F(U64, restore_failures) F(U64, blocks_corrupt)                \
    F(U64, write_failures) F(U64, disk_bytes) F(U64, disk_budget_bytes) F(U64, dirty_bytes)                  \
    F(U64, decode_calls) F(U64, decode_cpu_ns) F(U64, evicted_blocks) F(U64, unsaved_agents)                 \
    F(U64, scan_steps)

/* M(UPPER, lower): the order is the wire's type number; new ones go to the end. */
#define MSG_TABLE(M)                                                                                         \
    M(HELLO, hello) M(MEASURE, measure) M(LOAD, load) M(CONFIGURE, configure) M(EVICT, evict)                \
    M(UNLOAD, unload) M(PARK, park) M(SUBMIT, submit) M(CANCEL, cancel) M(QUERY, query) M(FAULT, fault)      \
    M(SETTINGS, settings) M(STOP, stop) M(READY, ready) M(MEASURED, measured) M(PROGRESS, progress)          \
    M(LOADED, loaded) M(CONFIGURED, configured) M(EVICTED, evicted) M(UNLOADED, unloaded)                    \
    M(OP_FAILED, op_failed) M(STARTED, started) M(DELTA, delta) M(DONE, done) M(FAILED, failed)              \
    M(PARKED, parked) M(REPLY, reply) M(STATS, stats) M(READ_AHEAD, read_ahead)
/* clang-format on */

enum msg_kind { MSG_KIND_CHAT = 1, MSG_KIND_TEXT, MSG_KIND_TOKENS };
enum msg_look {
    MSG_LOOK_NONE,
    MSG_LOOK_COUNT,  /* its length as an agent's prompt: DONE.prompt_tokens */
    MSG_LOOK_TOKENS, /* TEXT -> ids */
    MSG_LOOK_TEXT,   /* TOKENS -> text */
    MSG_LOOK_PROMPT  /* CHAT -> text: what the template makes of it */
};
enum msg_finish { MSG_FINISH_STOP = 1, MSG_FINISH_LENGTH, MSG_FINISH_TOOL_CALLS };
enum msg_query_kind {
    MSG_QUERY_AGENTS = 1,   /* agents of a model or of all -> {"agents": [...]} */
    MSG_QUERY_AGENT,        /* one -> the same shape with one, ERR_NOT_FOUND */
    MSG_QUERY_AGENT_DELETE, /* -> {"deleted": n, "files": n, "bytes": n} */
    MSG_QUERY_AGENT_PIN,
    MSG_QUERY_AGENT_UNPIN,
    MSG_QUERY_CACHE,       /* -> {"bytes", "budget_bytes", "blocks", "hits", "misses", "models": [...]} */
    MSG_QUERY_CACHE_DELETE /* of a model or of all -> {"files", "bytes"} */
};

enum msg_type {
    MSG_NONE,
#define MSG_ENUM_ROW(upper, lower) MSG_TYPE_##upper,
    MSG_TABLE(MSG_ENUM_ROW)
#undef MSG_ENUM_ROW
        MSG_TYPE_COUNT
};

#define MSG_FIELD_U32(name) uint32_t name;
#define MSG_FIELD_U64(name) uint64_t name;
#define MSG_FIELD_I64(name) int64_t name;
#define MSG_FIELD_F64(name) double name;
#define MSG_FIELD_STR(name) char *name;
#define MSG_FIELD_BYTES(name) struct msg_bytes name;
#define MSG_FIELD_TOKENS(name) struct msg_tokens name;
#define MSG_FIELD_STRS(name) struct msg_strings name;
#define MSG_FIELD(kind, name) MSG_FIELD_##kind(name)
#define MSG_STRUCT_ROW(upper, lower)                                                                         \
    struct msg_##lower {                                                                                     \
        MSG_##upper(MSG_FIELD)                                                                               \
    };
MSG_TABLE(MSG_STRUCT_ROW)
#undef MSG_STRUCT_ROW

struct msg {
    enum msg_type type;
    union {
#define MSG_UNION_ROW(upper, lower) struct msg_##lower lower;
        MSG_TABLE(MSG_UNION_ROW)
#undef MSG_UNION_ROW
    };
};

/* Appends one whole frame to out; on error out is as before. ERR_NOMEM, ERR_LIMIT (a frame that is too long, out's cap). */
enum err msg_encode(const struct msg *m, struct buf *out) NODISCARD;
/* One whole frame, as frame_peek() found it. ERR_PROTOCOL (unknown type, bytes missing or left over), ERR_NOMEM.
 * *ret owns; on error nothing is left behind. */
enum err msg_decode(const uint8_t *frame, size_t size_bytes, struct msg *ret) NODISCARD;
void msg_free(struct msg *m); /* what a decode gave; a zeroed one is fine */
const char *msg_type_name(enum msg_type type);

#endif
