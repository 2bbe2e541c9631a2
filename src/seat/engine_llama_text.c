/* engine_llama_text.c - tokens and text, and the chat: thin over chat_template.cpp. */
#include "seat/engine_llama.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/must.h"

#define PIECE_BYTES 256

/* The usual turns of families whose files often come without a template. stop: their end of turn as text, for files
 * whose vocabulary does not know it as one token. Content stays as it is, never trimmed: the tokens of an answer must
 * be found again in the next prompt. */
static const struct family {
    const char *name, *stop, *source;
} FAMILIES[] = {
    {"chatml", "<|im_end|>",
     "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% "
     "endfor %}"
     "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"},
    {"gemma", "<end_of_turn>",
     "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set head = messages[0]['content'] + '\n\n' %}"
     "{% set turns = messages[1:] %}{% else %}{% set head = '' %}{% set turns = messages %}{% endif %}"
     "{% for m in turns %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' "
     "}}"
     "{{ (head if loop.first else '') + m['content'] + '<end_of_turn>\n' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"},
    {"llama3", "<|eot_id|>",
     "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' }}"
     "{{ m['content'] + '<|eot_id|>' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"},
    {"mistral", "</s>",
     "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set head = messages[0]['content'] + '\n\n' %}"
     "{% set turns = messages[1:] %}{% else %}{% set head = '' %}{% set turns = messages %}{% endif %}"
     "{% for m in turns %}{% if m['role'] == 'assistant' %}{{ ' ' + m['content'] + eos_token }}"
     "{% else %}{{ '[INST] ' + (head if loop.first else '') + m['content'] + '[/INST]' }}{% endif %}{% "
     "endfor %}"},
    {"phi3", "<|end|>",
     "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"},
};

enum err text_open_templates(struct engine *e, const char *family, const char *source) {
    const char *stop = "";
    if (!source[0] && family[0]) {
        size_t i = 0;
        while (i < ARRAY_LEN(FAMILIES) && strcmp(FAMILIES[i].name, family) != 0) i++;
        if (i == ARRAY_LEN(FAMILIES)) {
            int at = snprintf(e->template_why, sizeof e->template_why,
                              "there is no template family \"%.64s\"; known are", family);
            for (i = 0; i < ARRAY_LEN(FAMILIES); i++) {
                size_t n = at < 0 ? 0 : (size_t)at;
                if (n < sizeof e->template_why) {
                    at += snprintf(e->template_why + n, sizeof e->template_why - n, " %s", FAMILIES[i].name);
                }
            }
            return ERR_INVALID;
        }
        source = FAMILIES[i].source;
        stop = FAMILIES[i].stop;
    }
    return chat_templates_open(e->model, source, stop, &e->templates, e->template_why,
                               sizeof e->template_why);
}

enum err engine_tokenize(const struct engine *e, const char *text, size_t size_bytes, bool special,
                         bool add_bos, int32_t **ret_ids, uint32_t *ret_n) {
    must(e->vocab);
    *ret_ids = NULL;
    *ret_n = 0;
    if (size_bytes > INT32_MAX / 2) return ERR_TOO_LARGE;
    uint32_t n_bos = add_bos && e->bos >= 0 ? 1 : 0;
    /* A token is a byte at least, but for a space that some vocabularies put in front. */
    int32_t room = (int32_t)size_bytes + 8;
    int32_t *ids = mem_array((size_t)room + n_bos, sizeof *ids);
    if (!ids) return ERR_NOMEM;
    if (n_bos) ids[0] = e->bos;
    int32_t n =
        size_bytes ? shim_tokenize(e->vocab, text, (int32_t)size_bytes, ids + n_bos, room, special) : 0;
    if (n < 0 && n > INT32_MIN) {
        room = -n;
        int32_t *more = mem_realloc(ids, ((size_t)room + n_bos) * sizeof *ids);
        if (!more) {
            mem_free(ids);
            return ERR_NOMEM;
        }
        ids = more;
        n = shim_tokenize(e->vocab, text, (int32_t)size_bytes, ids + n_bos, room, special);
    }
    if (n < 0) {
        mem_free(ids);
        return ERR_INVALID;
    }
    *ret_n = (uint32_t)n + n_bos;
    int32_t *exact = mem_realloc(ids, (*ret_n ? *ret_n : 1) * sizeof *ids);
    *ret_ids = exact ? exact : ids;
    return ERR_OK;
}

enum err engine_piece(const struct engine *e, int32_t token, bool special, struct buf *out) {
    must(e->vocab);
    if (token < 0 || token >= e->n_vocab) return ERR_INVALID;
    char piece[PIECE_BYTES];
    int32_t n = llama_token_to_piece(e->vocab, token, piece, sizeof piece, 0, special);
    if (n >= 0) {
        buf_put(out, piece, (size_t)n);
        return out->error;
    }
    uint8_t *at = buf_reserve(out, (size_t)-n);
    if (!at) return out->error ? out->error : ERR_NOMEM;
    int32_t again = llama_token_to_piece(e->vocab, token, (char *)at, -n, 0, special);
    if (again != -n) return ERR_INTERNAL;
    out->size += (size_t)again;
    return ERR_OK;
}

bool engine_is_end(const struct engine *e, int32_t token) {
    return token >= 0 && token < e->n_vocab && llama_vocab_is_eog(e->vocab, token);
}

int32_t engine_bos(const struct engine *e) {
    return e->bos;
}

/* struct engine_chat is the shim's chat_render under the engine's name. */
static struct chat_render *render_of(struct engine_chat *c) {
    return (struct chat_render *)(void *)c;
}

static const struct chat_render *render_of_const(const struct engine_chat *c) {
    return (const struct chat_render *)(const void *)c;
}

enum err engine_chat_render(const struct engine *e, const struct msg_submit *request,
                            struct engine_chat **ret, char *why, size_t why_size) {
    *ret = NULL;
    must(e->model);
    if (!e->templates) {
        snprintf(why, why_size, "%s", e->template_why);
        return ERR_INVALID;
    }
    struct chat_render *r = NULL;
    enum err err = chat_render_new(e->templates, request, &r, why, why_size);
    *ret = (struct engine_chat *)(void *)r;
    return err;
}

void engine_chat_free(struct engine_chat *c) {
    chat_render_free(render_of(c));
}

const char *engine_chat_prompt(const struct engine_chat *c, size_t *ret_size) {
    *ret_size = 0;
    return c ? chat_render_prompt(render_of_const(c), ret_size) : "";
}

uint32_t engine_chat_stops(const struct engine_chat *c, const char *const **ret) {
    *ret = NULL;
    return c ? chat_render_stops(render_of_const(c), ret) : 0;
}

/* Without a chat the text is the content; there is nothing to remember what was handed out before but the
 * caller. */
enum err engine_chat_parse(struct engine_chat *c, const char *text, size_t size_bytes, bool final,
                           struct buf *content, struct buf *reasoning, struct buf *tool_calls) {
    must(c);
    return chat_render_parse(render_of(c), text, size_bytes, final, content, reasoning, tool_calls);
}

bool engine_chat_called_tools(const struct engine_chat *c) {
    return c && chat_render_called_tools(render_of_const(c));
}

bool engine_chat_keeps(const struct engine_chat *c, int32_t token) {
    return c && chat_render_keeps(render_of_const(c), token);
}
