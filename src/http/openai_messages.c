/* openai_messages.c - the messages of a chat: checked, made uniform, written as compact JSON for the seat. Developer
 * becomes system, text parts are joined with line breaks, null stays null only beside tool calls; every other byte of
 * the content goes through as it came. */
#include <stdio.h>
#include <string.h>

#include "http/api_openai.h"

enum role { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL, ROLE_NONE };

static enum role role_of(const char *s) {
    static const struct {
        const char *name;
        enum role role;
    } NAMES[] = {{"system", ROLE_SYSTEM},
                 {"developer", ROLE_SYSTEM},
                 {"user", ROLE_USER},
                 {"assistant", ROLE_ASSISTANT},
                 {"tool", ROLE_TOOL}};
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++)
        if (strcmp(s, NAMES[i].name) == 0) return NAMES[i].role;
    return ROLE_NONE;
}

/* One part's text, or NULL with the error set. */
static const char *part_text(struct api_reader *r, const char *path, const struct json *part, enum role role,
                             size_t *ret_size) {
    char at[API_PATH_BYTES];
    const char *type = api_type_of(r, path, part);
    if (!type) return NULL;
    bool refusal = strcmp(type, "refusal") == 0 && role == ROLE_ASSISTANT;
    if (strcmp(type, "text") != 0 && !refusal) {
        api_path(at, "%s.type", path);
        (void)api_fail(r->error, ERR_UNSUPPORTED, at,
                       "'%.40s' is not supported; models here read text: send 'text'", type);
        return NULL;
    }
    api_ignored_others(r, path, part, (const char *const[]){"type", type, NULL});
    api_path(at, "%s.%s", path, type);
    const struct json *text = json_get(part, type);
    const char *s = json_string(text, ret_size);
    if (!s)
        (void)api_fail(r->error, ERR_INVALID, at, text ? "must be a string, not %s" : "is missing; not %s",
                       json_type_name(json_type(text)));
    return s;
}

static bool write_parts(struct api_reader *r, struct json_out *w, const char *path, const struct json *parts,
                        enum role role) {
    AUTO(buf_free) struct buf joined = BUF(BODY_BYTES_MAX);
    size_t n = json_count(parts);
    if (n == 0) return api_fail(r->error, ERR_INVALID, path, "must have at least one part");
    for (size_t i = 0; i < n; i++) {
        char at[API_PATH_BYTES];
        size_t size = 0;
        api_path(at, "%s[%zu]", path, i);
        const char *s = part_text(r, at, json_at(parts, i), role, &size);
        if (!s) return false;
        if (i > 0) buf_u8(&joined, '\n');
        buf_put(&joined, s, size);
    }
    if (joined.error) return api_fail(r->error, joined.error, path, "%s", err_text(joined.error));
    json_strn(w, joined.data ? (const char *)joined.data : "", joined.size);
    return true;
}

static bool write_content(struct api_reader *r, struct json_out *w, const char *path,
                          const struct json *message, enum role role) {
    char at[API_PATH_BYTES];
    const struct json *content = json_get(message, "content");
    size_t size = 0;
    const char *s = json_string(content, &size);
    api_path(at, "%s.content", path);
    json_key(w, "content");
    if (s) {
        json_strn(w, s, size);
        return true;
    }
    if (json_type(content) == JSON_ARRAY) return write_parts(r, w, at, content, role);
    if (api_is_given(content))
        return api_fail(r->error, ERR_INVALID, at, "must be a string or an array of text parts, not %s",
                        json_type_name(json_type(content)));
    if (role != ROLE_ASSISTANT)
        return api_fail(r->error, ERR_INVALID, at, content ? "must not be null" : "is missing");
    const struct json *refusal = json_get(message, "refusal");
    s = json_string(refusal, &size);
    if (s) {
        json_strn(w, s, size);
    } else if (json_count(json_get(message, "tool_calls")) > 0) {
        json_null(w);
    } else {
        return api_fail(r->error, ERR_INVALID, at, "may be left out only beside tool_calls");
    }
    return true;
}

/* The string member key of an object, required; written under the same key. */
static bool write_string(struct api_reader *r, struct json_out *w, const char *path,
                         const struct json *object, const char *key) {
    size_t size = 0;
    const char *s = api_text_of(r, path, object, key, &size);
    if (!s) return false;
    json_key(w, key);
    json_strn(w, s, size);
    return true;
}

static bool write_tool_call(struct api_reader *r, struct json_out *w, const char *path,
                            const struct json *call) {
    char at[API_PATH_BYTES];
    const char *type = api_type_of(r, path, call);
    if (!type) return false;
    if (strcmp(type, "function") != 0) {
        api_path(at, "%s.type", path);
        return api_fail(r->error, ERR_UNSUPPORTED, at, "'%.40s' is not supported; only 'function' is", type);
    }
    const struct json *function = json_get(call, "function");
    api_path(at, "%s.function", path);
    if (json_type(function) != JSON_OBJECT)
        return api_fail(r->error, ERR_INVALID, at, "must be an object with name and arguments");
    api_ignored_others(r, path, call, (const char *const[]){"id", "type", "function", NULL});
    api_ignored_others(r, at, function, (const char *const[]){"name", "arguments", NULL});
    json_obj(w);
    if (!write_string(r, w, path, call, "id")) return false;
    json_key(w, "type");
    json_str(w, "function");
    json_key(w, "function");
    json_obj(w);
    if (!write_string(r, w, at, function, "name") || !write_string(r, w, at, function, "arguments"))
        return false;
    json_end(w);
    json_end(w);
    return true;
}

static bool write_tool_calls(struct api_reader *r, struct json_out *w, const char *path,
                             const struct json *calls) {
    char at[API_PATH_BYTES];
    api_path(at, "%s.tool_calls", path);
    if (!api_take_array(r, at, calls)) return false;
    if (json_count(calls) > TOOLS_MAX)
        return api_fail(r->error, ERR_INVALID, at, "has %zu calls; at most %d are taken", json_count(calls),
                        TOOLS_MAX);
    if (json_count(calls) == 0) return true;
    json_key(w, "tool_calls");
    json_arr(w);
    for (size_t i = 0; i < json_count(calls); i++) {
        api_path(at, "%s.tool_calls[%zu]", path, i);
        if (!write_tool_call(r, w, at, json_at(calls, i))) return false;
    }
    json_end(w);
    return true;
}

/* Whether a member is read elsewhere, or says nothing: an answer's own members come back with every turn, empty ones too. */
static bool is_silent(const struct json *message, const char *key, const struct json *v, enum role role) {
    if (!api_is_given(v) || strcmp(key, "role") == 0 || strcmp(key, "content") == 0) return true;
    if (strcmp(key, "tool_calls") == 0) return true;
    if (strcmp(key, "tool_call_id") == 0) return role == ROLE_TOOL;
    if (strcmp(key, "refusal") == 0) /* stands for a content that is not there */
        return role == ROLE_ASSISTANT && !api_is_given(json_get(message, "content")) && json_string(v, NULL);
    return strcmp(key, "annotations") == 0 && json_type(v) == JSON_ARRAY && json_count(v) == 0;
}

/* What stands in a message besides role and content. */
static bool write_members(struct api_reader *r, struct json_out *w, const char *path,
                          const struct json *message, enum role role) {
    char at[API_PATH_BYTES];
    void *iter = NULL;
    const char *key;
    const struct json *v;
    while (json_next(message, &iter, &key, &v)) {
        if (is_silent(message, key, v, role)) continue;
        api_path(at, "%s.%.60s", path, key);
        if (strcmp(key, "name") == 0 || (strcmp(key, "reasoning_content") == 0 && role == ROLE_ASSISTANT)) {
            if (!write_string(r, w, path, message, key)) return false;
        } else if (strcmp(key, "audio") == 0 || strcmp(key, "function_call") == 0) {
            return api_fail(r->error, ERR_UNSUPPORTED, at, "is not supported; leave it out or send null");
        } else {
            api_ignored(r, at);
        }
    }
    const struct json *calls = json_get(message, "tool_calls");
    if (api_is_given(calls) && role != ROLE_ASSISTANT) {
        api_path(at, "%s.tool_calls", path);
        return api_fail(r->error, ERR_INVALID, at, "only an assistant's message has tool calls");
    }
    if (api_is_given(calls) && !write_tool_calls(r, w, path, calls)) return false;
    return role != ROLE_TOOL || write_string(r, w, path, message, "tool_call_id");
}

static bool write_message(struct api_reader *r, struct json_out *w, const char *path,
                          const struct json *message) {
    static const char *const WRITTEN[] = {"system", "user", "assistant", "tool"};
    char at[API_PATH_BYTES];
    if (!api_take_object(r, path, message)) return false;
    const char *name = api_text_of(r, path, message, "role", NULL);
    if (!name) return false;
    api_path(at, "%s.role", path);
    enum role role = role_of(name);
    if (role == ROLE_NONE)
        return api_fail(r->error, ERR_INVALID, at,
                        "'%.40s' is not known; roles are system, developer, user, assistant and tool", name);
    json_obj(w);
    json_key(w, "role");
    json_str(w, WRITTEN[role]);
    if (!write_content(r, w, path, message, role) || !write_members(r, w, path, message, role)) return false;
    json_end(w);
    return true;
}

bool openai_read_messages(struct api_reader *r, const char *name, const struct json *v) {
    size_t n = json_count(v);
    if (!api_take_array(r, name, v)) return false;
    if (n == 0) return api_fail(r->error, ERR_INVALID, name, "must have at least one message");
    if (n > MESSAGES_MAX)
        return api_fail(r->error, ERR_INVALID, name, "has %zu messages; at most %d are taken", n,
                        MESSAGES_MAX);
    /* A control character takes six bytes as JSON; a body can't hold more than its own size of them, escaped too. */
    AUTO(buf_free) struct buf b = BUF(4 * BODY_BYTES_MAX);
    struct json_out w = json_out_into(&b);
    json_arr(&w);
    for (size_t i = 0; i < n; i++) {
        char path[API_PATH_BYTES];
        api_path(path, "%s[%zu]", name, i);
        if (!write_message(r, &w, path, json_at(v, i))) return false;
    }
    json_end(&w);
    return api_keep(r, &b, &r->request->submit.messages);
}
