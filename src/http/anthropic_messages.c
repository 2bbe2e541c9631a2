/* anthropic_messages.c - system and messages of Anthropic's shape become messages of OpenAI's, which is what the seat and its
 * templates read.
 *   system                       a message of role system, in front
 *   messages of the same role    one message: Anthropic joins consecutive ones, and templates want turns
 *   text, thinking               content, reasoning_content; several are joined with line breaks
 *   tool_use                     tool_calls, in the order they come
 *   tool_result                  a message of role tool of its own, at its place; is_error puts "Error: " before its text
 * A last message of the assistant is where the model goes on. */
#include <string.h>

#include "http/api_anthropic.h"

enum role { ROLE_NONE, ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT };
static const char *const ROLES[] = {"", "system", "user", "assistant"};

struct turn { /* what is gathered of one message */
    struct api_reader *r;
    struct json_out *w; /* the array of messages */
    enum role role;
    bool begun; /* it stands there, be it empty */
    bool has_text, has_thoughts;
    struct buf text, thoughts, calls;
    struct json_out calls_out;
    uint32_t n_calls;
};

static void turn_clear(struct turn *t) {
    buf_free(&t->text);
    buf_free(&t->thoughts);
    buf_free(&t->calls);
    t->text = t->thoughts = t->calls = BUF(4 * BODY_BYTES_MAX);
    t->begun = t->has_text = t->has_thoughts = false;
    t->n_calls = 0;
}

static void write_buf(struct json_out *w, const char *key, const struct buf *b) {
    json_key(w, key);
    json_strn(w, b->data ? (const char *)b->data : "", b->size);
}

/* The turn's message is complete. */
static bool turn_end(struct turn *t, const char *path) {
    if (!t->begun) return true;
    if (t->n_calls) json_end(&t->calls_out);
    if (t->text.error || t->thoughts.error || t->calls.error) return api_no_memory(t->r, path);
    json_obj(t->w);
    json_key(t->w, "role");
    json_str(t->w, ROLES[t->role]);
    if (t->has_text || t->n_calls == 0) {
        write_buf(t->w, "content", &t->text);
    } else {
        json_key(t->w, "content");
        json_null(t->w);
    }
    if (t->has_thoughts) write_buf(t->w, "reasoning_content", &t->thoughts);
    if (t->n_calls) {
        json_key(t->w, "tool_calls");
        json_raw(t->w, t->calls.data, t->calls.size);
    }
    json_end(t->w);
    turn_clear(t);
    return true;
}

static void join(struct buf *b, bool *has, const char *s, size_t size) {
    if (*has) buf_u8(b, '\n');
    *has = true;
    buf_put(b, s, size);
}

/* ---- blocks ---- */

static bool refuse_block(struct api_reader *r, const char *path, const char *type, const char *what) {
    char at[API_PATH_BYTES];
    api_path(at, "%s.type", path);
    return api_fail(r->error, ERR_UNSUPPORTED, at, "'%.40s' is not supported here; %s", type, what);
}

/* The text of a text block. */
static const char *text_of(struct api_reader *r, const char *path, const struct json *block,
                           size_t *ret_size) {
    const char *type = api_type_of(r, path, block);
    if (!type) return NULL;
    if (strcmp(type, "text") != 0) {
        (void)refuse_block(r, path, type, "models here read text: send 'text'");
        return NULL;
    }
    api_ignored_others(r, path, block, (const char *const[]){"type", "text", "cache_control", NULL});
    return api_text_of(r, path, block, "text", ret_size);
}

/* A string, or an array of text blocks, joined to *text. */
static bool take_texts(struct api_reader *r, const char *path, const struct json *v, struct buf *text,
                       bool *has) {
    size_t size = 0;
    const char *s = json_string(v, &size);
    if (s) {
        join(text, has, s, size);
        return true;
    }
    if (json_type(v) != JSON_ARRAY)
        return api_fail(r->error, ERR_INVALID, path, "must be a string or an array of blocks, not %s",
                        json_type_name(json_type(v)));
    for (size_t i = 0; i < json_count(v); i++) {
        char at[API_PATH_BYTES];
        api_path(at, "%s[%zu]", path, i);
        if (!(s = text_of(r, at, json_at(v, i), &size))) return false;
        join(text, has, s, size);
    }
    return true;
}

static bool take_thinking(struct turn *t, const char *path, const struct json *block) {
    size_t size = 0;
    const char *s = api_text_of(t->r, path, block, "thinking", &size);
    if (!s) return false;
    api_ignored_others(t->r, path, block,
                       (const char *const[]){"type", "thinking", "signature", "cache_control", NULL});
    join(&t->thoughts, &t->has_thoughts, s, size);
    return true;
}

static bool take_tool_use(struct turn *t, const char *path, const struct json *block) {
    char at[API_PATH_BYTES];
    size_t id_size = 0, name_size = 0;
    const char *id = api_text_of(t->r, path, block, "id", &id_size);
    const char *name = id ? api_text_of(t->r, path, block, "name", &name_size) : NULL;
    const struct json *input = json_get(block, "input");
    if (!name) return false;
    api_path(at, "%s.input", path);
    if (!input) return api_fail(t->r->error, ERR_INVALID, at, "is missing");
    if (!api_take_object(t->r, at, input)) return false;
    if (t->n_calls == TOOLS_MAX)
        return api_fail(t->r->error, ERR_INVALID, path, "is one call too many; at most %d are taken",
                        TOOLS_MAX);
    api_ignored_others(t->r, path, block,
                       (const char *const[]){"type", "id", "name", "input", "cache_control", NULL});
    AUTO(buf_free) struct buf arguments = BUF(4 * BODY_BYTES_MAX);
    if (json_dump(input, &arguments) != ERR_OK) return api_no_memory(t->r, path);
    struct json_out *w = &t->calls_out;
    if (t->n_calls++ == 0) {
        *w = json_out_into(&t->calls);
        json_arr(w);
    }
    json_obj(w);
    json_key(w, "id");
    json_strn(w, id, id_size);
    json_key(w, "type");
    json_str(w, "function");
    json_key(w, "function");
    json_obj(w);
    json_key(w, "name");
    json_strn(w, name, name_size);
    write_buf(w, "arguments", &arguments);
    json_end(w);
    json_end(w);
    return true;
}

static bool take_tool_result(struct turn *t, const char *path, const struct json *block) {
    static const char mark[] = "Error: ";
    char at[API_PATH_BYTES];
    size_t size = 0;
    bool failed = false, has = false;
    const struct json *content = json_get(block, "content"), *is_error = json_get(block, "is_error");
    const char *id = api_text_of(t->r, path, block, "tool_use_id", &size);
    AUTO(buf_free) struct buf text = BUF(2 * BODY_BYTES_MAX);
    if (!id) return false;
    api_path(at, "%s.is_error", path);
    if (api_is_given(is_error) && !api_take_bool(t->r->error, at, is_error, &failed)) return false;
    if (failed) buf_puts(&text, mark);
    api_path(at, "%s.content", path);
    if (api_is_given(content) && !take_texts(t->r, at, content, &text, &has)) return false;
    api_ignored_others(
        t->r, path, block,
        (const char *const[]){"type", "tool_use_id", "content", "is_error", "cache_control", NULL});
    if (text.error) return api_no_memory(t->r, path);
    if (!turn_end(t, path)) return false; /* what stood before it */
    json_obj(t->w);
    json_key(t->w, "role");
    json_str(t->w, "tool");
    write_buf(t->w, "content", &text);
    json_key(t->w, "tool_call_id");
    json_strn(t->w, id, size);
    json_end(t->w);
    return true;
}

static bool take_block(struct turn *t, const char *path, const struct json *block) {
    size_t size = 0;
    const char *type = api_type_of(t->r, path, block);
    if (!type) return false;
    bool assistant = t->role == ROLE_ASSISTANT;
    if (strcmp(type, "tool_result") == 0 && t->role == ROLE_USER) return take_tool_result(t, path, block);
    t->begun = true;
    if (strcmp(type, "thinking") == 0 && assistant) return take_thinking(t, path, block);
    if (strcmp(type, "tool_use") == 0 && assistant) return take_tool_use(t, path, block);
    if (strcmp(type, "redacted_thinking") == 0 && assistant)
        return refuse_block(t->r, path, type, "only Anthropic can read it: leave it out");
    if (strcmp(type, "text") != 0 && assistant)
        return refuse_block(t->r, path, type, "an assistant's message has text, thinking and tool_use");
    if (strcmp(type, "text") != 0 && t->role == ROLE_USER)
        return refuse_block(t->r, path, type, "models here read text: send 'text' or 'tool_result'");
    const char *s = text_of(t->r, path, block, &size);
    if (s) join(&t->text, &t->has_text, s, size);
    return s != NULL;
}

/* ---- messages ---- */

static enum role role_of(const char *s) {
    for (int role = ROLE_SYSTEM; role <= ROLE_ASSISTANT; role++)
        if (strcmp(s, ROLES[role]) == 0) return (enum role)role;
    return ROLE_NONE;
}

static bool take_message(struct turn *t, const char *path, const struct json *message) {
    char at[API_PATH_BYTES];
    if (!api_take_object(t->r, path, message)) return false;
    const char *name = api_text_of(t->r, path, message, "role", NULL);
    if (!name) return false;
    enum role role = role_of(name);
    api_path(at, "%s.role", path);
    if (role == ROLE_NONE)
        return api_fail(t->r->error, ERR_INVALID, at,
                        "'%.40s' is not known; roles are user, assistant and system", name);
    if (role != t->role && !turn_end(t, path)) return false;
    t->role = role;
    api_ignored_others(t->r, path, message, (const char *const[]){"role", "content", NULL});
    const struct json *content = json_get(message, "content");
    api_path(at, "%s.content", path);
    if (json_type(content) != JSON_ARRAY) {
        t->begun = true;
        return content ? take_texts(t->r, at, content, &t->text, &t->has_text)
                       : api_fail(t->r->error, ERR_INVALID, at, "is missing");
    }
    if (json_count(content) == 0 && role != ROLE_ASSISTANT) /* whose own empty answers come back */
        return api_fail(t->r->error, ERR_INVALID, at, "must have at least one block");
    t->begun = t->begun || json_count(content) == 0;
    for (size_t i = 0; i < json_count(content); i++) {
        api_path(at, "%s.content[%zu]", path, i);
        if (!take_block(t, at, json_at(content, i))) return false;
    }
    return true;
}

static bool take_system(struct turn *t) {
    const struct json *system = json_get(t->r->root, "system");
    if (!api_is_given(system)) return true;
    t->role = ROLE_SYSTEM;
    if (!take_texts(t->r, "system", system, &t->text, &t->has_text)) return false;
    t->begun = t->text.size > 0;
    if (!t->begun) turn_clear(t);
    return turn_end(t, "system");
}

static bool take_all(struct turn *t, const char *name, const struct json *v) {
    char path[API_PATH_BYTES] = "";
    if (!take_system(t)) return false;
    for (size_t i = 0; i < json_count(v); i++) {
        api_path(path, "%s[%zu]", name, i);
        if (!take_message(t, path, json_at(v, i))) return false;
    }
    if (t->n_calls)
        return api_fail(t->r->error, ERR_INVALID, path,
                        "calls tools: a message with their tool_result blocks must follow");
    return turn_end(t, path);
}

bool anthropic_read_messages(struct api_reader *r, const char *name, const struct json *v) {
    if (!api_take_array(r, name, v)) return false;
    if (json_count(v) == 0) return api_fail(r->error, ERR_INVALID, name, "must have at least one message");
    if (json_count(v) > MESSAGES_MAX)
        return api_fail(r->error, ERR_INVALID, name, "has %zu messages; at most %d are taken", json_count(v),
                        MESSAGES_MAX);
    AUTO(buf_free) struct buf b = BUF(8 * BODY_BYTES_MAX);
    struct json_out w = json_out_into(&b);
    struct turn t = {.r = r, .w = &w};
    turn_clear(&t);
    json_arr(&w);
    bool good = take_all(&t, name, v);
    json_end(&w);
    turn_clear(&t);
    return good && api_keep(r, &b, &r->request->submit.messages);
}
