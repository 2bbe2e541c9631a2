/* chat_template.h - the C face of what libllama and llama.cpp's `common` offer only to C++: chat templates
 * (render a conversation, read the answer back), grammars, memory figures. Behind it are the C++ files, chat_template.cpp,
 * chat_grammar.cpp and grammar_literals.cpp; no exception leaves them, whatever is thrown below becomes an enum err and a text in why.
 *   chat_templates  opened with a model, lives as long as it; const afterwards, so any thread may render
 *   chat_render     one rendered conversation and the state of reading its answer; one thread at a time
 *   chat_grammar    the state of one stream in its grammar; one thread at a time
 * Every *_free(NULL) is fine. */
#ifndef HOTSEAT_SEAT_CHAT_TEMPLATE_H
#define HOTSEAT_SEAT_CHAT_TEMPLATE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" { /* the C headers below do not say so themselves */
#endif

#include "base/buf.h"
#include "link/messages.h"

struct llama_model;
struct llama_vocab;
struct llama_context;
struct llama_token_data_array;

/* ---- chat ---- */
struct chat_templates;
/* The template of a model: source (Jinja text), or "" for the file's own. stop: a text that ends a turn besides what the
 * vocabulary knows, or "". ERR_INVALID: there is none, or it can't be parsed; why says which setting helps. */
enum err chat_templates_open(const struct llama_model *model, const char *source, const char *stop,
                             struct chat_templates **ret, char *why, size_t why_size) NODISCARD;
void chat_templates_free(struct chat_templates *t);

struct chat_render;
/* ERR_INVALID: the template refuses these messages; ERR_UNSUPPORTED: a schema no grammar can say, tools on a
 * template that knows none; ERR_NOMEM. */
enum err chat_render_new(const struct chat_templates *t, const struct msg_submit *request,
                         struct chat_render **ret, char *why, size_t why_size) NODISCARD;
void chat_render_free(struct chat_render *r);
const char *chat_render_prompt(const struct chat_render *r, size_t *ret_size);
uint32_t chat_render_stops(const struct chat_render *r, const char *const **ret);
bool chat_render_keeps(const struct chat_render *r, int32_t token);
bool chat_render_called_tools(const struct chat_render *r);
enum err chat_render_parse(struct chat_render *r, const char *text, size_t size_bytes, bool final,
                           struct buf *content, struct buf *reasoning, struct buf *tool_calls) NODISCARD;

/* ---- grammar ---- */
struct chat_grammar;
/* The grammar of a rendered chat, or of a bare JSON schema when r is NULL. *ret is NULL when nothing
 * constrains the answer. ERR_UNSUPPORTED with the reason: the schema is not one that a grammar can say. */
enum err chat_grammar_new(const struct llama_model *model, const struct chat_render *r,
                          const struct msg_bytes *schema, struct chat_grammar **ret, char *why,
                          size_t why_size) NODISCARD;
void chat_grammar_free(struct chat_grammar *g);
bool chat_grammar_allows(struct chat_grammar *g, int32_t token);
void chat_grammar_apply(struct chat_grammar *g,
                        struct llama_token_data_array *candidates); /* refused: -inf */
void chat_grammar_accept(struct chat_grammar *g, int32_t token);

/* ---- the model ---- */
/* As llama_tokenize(), without BOS: at most n_max ids, the number on success. Negative: -(ids it would take),
 * or INT32_MIN when the tokenizer refused the text. */
int32_t shim_tokenize(const struct llama_vocab *vocab, const char *text, int32_t size, int32_t *ids,
                      int32_t n_max, bool special);
struct shim_memory {
    uint64_t weights_bytes, cells_bytes, compute_bytes; /* summed over all devices */
};
enum err shim_memory_of(const struct llama_context *ctx, struct shim_memory *ret) NODISCARD;
uint32_t shim_window_layers(const struct llama_model *model);
uint32_t shim_physical_cores(void);
void shim_quiet(void); /* `common` logs on its own, to stderr, from a thread of its own: switched off */

#ifdef __cplusplus
}
#endif

#endif
