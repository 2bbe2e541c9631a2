/* engine_fake_text.c - tokens and chats of the fake engine. A token is a byte or one of five specials, so
 * tokenizing is exact both ways. Chats are ChatML whatever family is named; answers may hold
 * <think>...</think> at their beginning and, when tools were given, <tool_call>{"name": ..., "arguments":
 * {...}}</tool_call>. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/must.h"
#include "seat/engine_fake.h"

#define PROMPT_BYTES_MAX ((size_t)32 << 20)
#define TOOL_NAME_BYTES_MAX 128

static const char *const special_text[] = {"<|im_start|>", "<|im_end|>", "<|eos|>", "<|bos|>"};

static int32_t special_at(const char *text, size_t size) {
    if (size < 2 || text[0] != '<' || text[1] != '|') return -1;
    for (size_t i = 0; i < ARRAY_LEN(special_text); i++) {
        size_t n = strlen(special_text[i]);
        if (size >= n && memcmp(text, special_text[i], n) == 0) return FAKE_TOKEN_IM_START + (int32_t)i;
    }
    return -1;
}

enum err engine_tokenize(const struct engine *e, const char *text, size_t size_bytes, bool special,
                         bool add_bos, int32_t **ret_ids, uint32_t *ret_n) {
    *ret_ids = NULL;
    *ret_n = 0;
    int32_t *ids = mem_array(size_bytes + 2, sizeof *ids);
    if (!ids) return ERR_NOMEM;
    uint32_t n = 0;
    if (add_bos && engine_bos(e) >= 0) ids[n++] = engine_bos(e);
    for (size_t at = 0; at < size_bytes;) {
        int32_t id = special ? special_at(text + at, size_bytes - at) : -1;
        at += id < 0 ? 1 : strlen(special_text[id - FAKE_TOKEN_IM_START]);
        ids[n++] = id < 0 ? (int32_t)(uint8_t)text[at - 1] : id;
    }
    *ret_ids = ids;
    *ret_n = n;
    return ERR_OK;
}

enum err engine_piece(const struct engine *e, int32_t token, bool special, struct buf *out) {
    (void)e;
    if (token < 0 || token >= FAKE_VOCAB) return ERR_INVALID;
    if (token < 256)
        buf_u8(out, (uint8_t)token);
    else if (special && token < FAKE_TOKEN_NAMED_END)
        buf_puts(out, special_text[token - FAKE_TOKEN_IM_START]);
    return out->error;
}

bool engine_is_end(const struct engine *e, int32_t token) {
    (void)e;
    return token == FAKE_TOKEN_IM_END || token == FAKE_TOKEN_EOS;
}

int32_t engine_bos(const struct engine *e) {
    return strncmp(e->spec.architecture, "gemma", 5) == 0 ? FAKE_TOKEN_BOS : -1; /* as the real families do */
}

/* ---- rendering ---- */

/* A message's content: a string, null, or parts with text. */
static void put_content(struct buf *out, const struct json *content) {
    size_t size = 0;
    const char *text = json_string(content, &size);
    if (text) buf_put(out, text, size);
    if (json_type(content) != JSON_ARRAY) return;
    for (size_t i = 0; i < json_count(content); i++) {
        text = json_string(json_get(json_at(content, i), "text"), &size);
        if (text) buf_put(out, text, size);
    }
}

static void put_tool_calls(struct buf *out, const struct json *calls) {
    for (size_t i = 0; i < json_count(calls); i++) {
        const struct json *f = json_get(json_at(calls, i), "function");
        const char *name = json_string(json_get(f, "name"), NULL);
        const char *arguments = json_string(json_get(f, "arguments"), NULL);
        buf_printf(out, "<tool_call>\n{\"name\": \"%s\", \"arguments\": %s}\n</tool_call>", name ? name : "",
                   arguments ? arguments : "{}");
    }
}

/* open: the answer goes on where it ends. */
static enum err put_message(struct buf *out, const struct json *message, bool open, char *why,
                            size_t why_size) {
    const char *role = json_string(json_get(message, "role"), NULL);
    if (!role) {
        snprintf(why, why_size, "a message has no role");
        return ERR_INVALID;
    }
    buf_printf(out, "<|im_start|>%s\n", strcmp(role, "developer") == 0 ? "system" : role);
    put_content(out, json_get(message, "content"));
    put_tool_calls(out, json_get(message, "tool_calls"));
    if (!open) buf_puts(out, "<|im_end|>\n");
    return out->error;
}

static void put_tools(struct buf *out, const struct json *tools) {
    if (json_count(tools) == 0) return;
    buf_puts(out, "<|im_start|>system\n# Tools\n");
    for (size_t i = 0; i < json_count(tools); i++) {
        (void)json_dump(json_at(tools, i), out);
        buf_puts(out, "\n");
    }
    buf_puts(out, "<|im_end|>\n");
}

static bool is_assistant(const struct json *message) {
    const char *role = json_string(json_get(message, "role"), NULL);
    return role && strcmp(role, "assistant") == 0;
}

/* As the real engine does: the last message may be the beginning of the answer. */
static enum err goes_on(const struct json *messages, bool *ret, char *why, size_t why_size) {
    size_t n = json_count(messages);
    *ret = n > 0 && is_assistant(json_at(messages, n - 1));
    if (*ret && json_count(json_get(json_at(messages, n - 1), "tool_calls")) > 0) {
        snprintf(why, why_size, "the last message calls tools: their answers must follow");
        return ERR_INVALID;
    }
    if (*ret && n > 1 && is_assistant(json_at(messages, n - 2))) {
        snprintf(why, why_size, "two messages of the assistant stand at the end");
        return ERR_INVALID;
    }
    return ERR_OK;
}

struct engine_chat {
    char *prompt;
    size_t prompt_size;
    bool tools;
    /* the parser: how far the text was read, and in what */
    enum { CHAT_START, CHAT_THINK, CHAT_CONTENT, CHAT_CALL_HEAD, CHAT_CALL_ARGUMENTS, CHAT_CALL_END } state;
    size_t at;
    uint32_t n_calls;
    int depth; /* open brackets of the arguments */
    bool in_string, escaped;
};

static enum err chat_prompt(struct engine_chat *c, const struct msg_submit *r, const struct json *messages,
                            const struct json *tools, char *why, size_t why_size) {
    struct buf out = BUF(PROMPT_BYTES_MAX);
    put_tools(&out, tools);
    bool open = false;
    enum err err = goes_on(messages, &open, why, why_size);
    for (size_t i = 0; i < json_count(messages) && err == ERR_OK; i++)
        err = put_message(&out, json_at(messages, i), open && i + 1 == json_count(messages), why, why_size);
    if (!open) buf_puts(&out, "<|im_start|>assistant\n");
    if (err == ERR_OK) err = out.error;
    c->prompt_size = out.size;
    c->tools = json_count(tools) > 0 && !(r->tool_choice && strcmp(r->tool_choice, "none") == 0);
    c->prompt = err == ERR_OK ? buf_take_string(&out) : NULL;
    buf_free(&out);
    return err == ERR_OK && !c->prompt ? ERR_NOMEM : err;
}

enum err engine_chat_render(const struct engine *e, const struct msg_submit *request,
                            struct engine_chat **ret, char *why, size_t why_size) {
    if (!e->has_chat) {
        snprintf(why, why_size,
                 "the model has no chat template; name its family in the configuration: template = chatml");
        return ERR_INVALID;
    }
    if (request->json_schema.size && strcmp((const char *)request->json_schema.data, "{}") != 0) {
        snprintf(why, why_size, "the fake engine knows no JSON schema but {}");
        return ERR_UNSUPPORTED;
    }
    struct json_error at;
    AUTO(json_freep) struct json *messages = json_read(request->messages.data, request->messages.size, &at);
    AUTO(json_freep)
    struct json *tools =
        request->tools.size ? json_read(request->tools.data, request->tools.size, &at) : NULL;
    if (json_type(messages) != JSON_ARRAY || (request->tools.size && !tools)) {
        snprintf(why, why_size, "messages or tools are not JSON arrays");
        return ERR_INVALID;
    }
    struct engine_chat *c = mem_alloc(sizeof *c);
    if (!c) return ERR_NOMEM;
    enum err err = chat_prompt(c, request, messages, tools, why, why_size);
    if (err != ERR_OK) {
        engine_chat_free(c);
        return err;
    }
    *ret = c;
    return ERR_OK;
}

void engine_chat_free(struct engine_chat *c) {
    if (!c) return;
    mem_free(c->prompt);
    mem_free(c);
}

const char *engine_chat_prompt(const struct engine_chat *c, size_t *ret_size) {
    *ret_size = c->prompt_size;
    return c->prompt;
}

uint32_t engine_chat_stops(const struct engine_chat *c, const char *const **ret) {
    (void)c;
    *ret = NULL; /* ends by a token */
    return 0;
}

bool engine_chat_called_tools(const struct engine_chat *c) {
    return c && c->n_calls > 0;
}

char *fake_request_text(const struct msg_submit *request) {
    struct buf out = BUF(PROMPT_BYTES_MAX);
    if (request->kind == MSG_KIND_TEXT) buf_put(&out, request->prompt.data, request->prompt.size);
    if (request->kind == MSG_KIND_CHAT) {
        struct json_error at;
        AUTO(json_freep)
        struct json *messages = json_read(request->messages.data, request->messages.size, &at);
        for (size_t i = json_count(messages); i-- > 0;) {
            const char *role = json_string(json_get(json_at(messages, i), "role"), NULL);
            if (!role || strcmp(role, "user") != 0) continue;
            put_content(&out, json_get(json_at(messages, i), "content"));
            break;
        }
    }
    char *text = buf_take_string(&out);
    buf_free(&out);
    return text;
}

/* ---- reading the answer ---- */

/* How many of the last bytes of text could be the beginning of mark. */
static size_t held_back(const char *text, size_t size, const char *mark) {
    for (size_t n = strlen(mark) - 1; n > 0; n--)
        if (n <= size && memcmp(text + size - n, mark, n) == 0) return n;
    return 0;
}

/* Hands out text up to mark and goes over it: true. Without it, all but what could become it (final: all). */
static bool chat_until(struct engine_chat *c, const char *text, size_t size, const char *mark, bool final,
                       struct buf *out) {
    const char *rest = text + c->at;
    size_t left = size - c->at;
    const char *found = mark ? memmem(rest, left, mark, strlen(mark)) : NULL;
    size_t n = found ? (size_t)(found - rest) : left;
    if (!found && !final && mark) n -= held_back(rest, left, mark);
    if (out) buf_put(out, rest, n);
    c->at += n + (found ? strlen(mark) : 0);
    return found != NULL;
}

static bool chat_start(struct engine_chat *c, const char *text, size_t size, bool final) {
    static const char mark[] = "<think>";
    size_t n = size < strlen(mark) ? size : strlen(mark);
    if (n < strlen(mark) && memcmp(text, mark, n) == 0 && !final) return false;
    bool thinks = n == strlen(mark) && memcmp(text, mark, n) == 0;
    c->at = thinks ? n : 0;
    c->state = thinks ? CHAT_THINK : CHAT_CONTENT;
    return true;
}

static void call_open(struct engine_chat *c, const char *name, size_t name_size, struct json_out *w) {
    char id[32];
    snprintf(id, sizeof id, "call_%016llx",
             (unsigned long long)fake_mix(hash64(c->prompt, c->prompt_size), c->n_calls));
    json_obj(w);
    json_key(w, "index"), json_u64(w, c->n_calls);
    json_key(w, "id"), json_str(w, id);
    json_key(w, "type"), json_str(w, "function");
    json_key(w, "function"), json_obj(w);
    json_key(w, "name"), json_strn(w, name, name_size);
    json_key(w, "arguments"), json_str(w, "");
    json_end(w), json_end(w);
    c->n_calls++;
}

/* {"name": "X", "arguments": and then the arguments themselves. False: not all of it is there yet. */
static bool call_head(struct engine_chat *c, const char *text, size_t size, struct json_out *w) {
    static const char mark[] = "\"arguments\":";
    const char *rest = text + c->at;
    const char *arguments = memmem(rest, size - c->at, mark, strlen(mark));
    if (!arguments) return false;
    const char *name = memmem(rest, (size_t)(arguments - rest), "\"name\": \"", 9);
    const char *end = name ? memchr(name + 9, '"', (size_t)(arguments - name - 9)) : NULL;
    const char *value = arguments + strlen(mark);
    while (value < text + size && *value == ' ') value++;
    if (value == text + size) return false;
    if (end)
        call_open(c, name + 9, (size_t)(end - name - 9), w);
    else
        call_open(c, "", 0, w);
    c->at = (size_t)(value - text);
    c->depth = 0;
    c->in_string = c->escaped = false;
    c->state = CHAT_CALL_ARGUMENTS;
    return true;
}

static bool call_arguments(struct engine_chat *c, const char *text, size_t size, struct json_out *w) {
    size_t from = c->at;
    bool ended = false;
    while (c->at < size && !ended) {
        char b = text[c->at++];
        if (c->in_string) {
            if (b == '"' && !c->escaped) c->in_string = false;
            c->escaped = b == '\\' && !c->escaped;
        } else if (b == '"') {
            c->in_string = true;
        } else if (b == '{' || b == '[') {
            c->depth++;
        } else if (b == '}' || b == ']') {
            ended = --c->depth <= 0;
        }
    }
    if (c->at > from) {
        json_obj(w);
        json_key(w, "index"), json_u64(w, c->n_calls - 1);
        json_key(w, "function"), json_obj(w);
        json_key(w, "arguments"), json_strn(w, text + from, c->at - from);
        json_end(w), json_end(w);
    }
    if (ended) c->state = CHAT_CALL_END;
    return ended;
}

/* One state's step; false: it needs more text. */
static bool chat_step(struct engine_chat *c, const char *text, size_t size, bool final, struct buf *content,
                      struct buf *reasoning, struct json_out *calls) {
    switch (c->state) {
    case CHAT_START: return chat_start(c, text, size, final);
    case CHAT_THINK:
        if (!chat_until(c, text, size, "</think>", final, reasoning)) return false;
        c->state = CHAT_CONTENT;
        return true;
    case CHAT_CONTENT:
        if (!chat_until(c, text, size, c->tools ? "<tool_call>" : NULL, final, content)) return false;
        c->state = CHAT_CALL_HEAD;
        return true;
    case CHAT_CALL_HEAD: return call_head(c, text, size, calls);
    case CHAT_CALL_ARGUMENTS: return call_arguments(c, text, size, calls);
    case CHAT_CALL_END:
        if (!chat_until(c, text, size, "</tool_call>", final, NULL)) return false;
        c->state = CHAT_CONTENT;
        return true;
    default: must(false); /* no other state */
    }
    return false;
}

enum err engine_chat_parse(struct engine_chat *c, const char *text, size_t size_bytes, bool final,
                           struct buf *content, struct buf *reasoning, struct buf *tool_calls) {
    must(c);
    must(size_bytes >= c->at);
    struct buf calls = BUF(0);
    struct json_out w = json_out_into(&calls);
    json_arr(&w);
    size_t empty = calls.size;
    while (chat_step(c, text, size_bytes, final, content, reasoning, &w)) {
    }
    bool any = calls.size > empty;
    json_end(&w);
    if (any) buf_put(tool_calls, calls.data, calls.size);
    enum err err = calls.error != ERR_OK ? calls.error : tool_calls->error;
    buf_free(&calls);
    if (err == ERR_OK) err = content->error != ERR_OK ? content->error : reasoning->error;
    return err;
}

bool engine_chat_keeps(const struct engine_chat *c, int32_t token) {
    (void)c, (void)token; /* the marks of its calls and thoughts are plain text */
    return false;
}
