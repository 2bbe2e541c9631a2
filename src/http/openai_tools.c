/* openai_tools.c - tools, tool_choice and response_format of a chat. */
#include <string.h>

#include "base/mem.h"
#include "http/api_openai.h"

static const struct json *function_name(const struct json *tool) {
    return json_get(json_get(tool, "function"), "name");
}

static bool has_function(const struct json *tools, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++) {
        const char *other = json_string(function_name(json_at(tools, i)), NULL);
        if (other && strcmp(other, name) == 0) return true;
    }
    return false;
}

static bool check_function(struct api_reader *r, const char *path, const struct json *function) {
    char at[API_PATH_BYTES];
    size_t size = 0;
    const char *name = json_string(json_get(function, "name"), &size);
    const struct json *description = json_get(function, "description");
    const struct json *parameters = json_get(function, "parameters");
    const struct json *strict = json_get(function, "strict");
    if (!api_take_object(r, path, function)) return false;
    api_path(at, "%s.name", path);
    if (!name || !api_function_name_ok(name, size))
        return api_fail(r->error, ERR_INVALID, at, "must be 1 to 64 letters, digits, '_' or '-'");
    api_path(at, "%s.description", path);
    if (description && json_type(description) != JSON_NULL && json_type(description) != JSON_STRING)
        return api_fail(r->error, ERR_INVALID, at, "must be a string, not %s",
                        json_type_name(json_type(description)));
    api_path(at, "%s.parameters", path);
    if (parameters && json_type(parameters) != JSON_NULL && json_type(parameters) != JSON_OBJECT)
        return api_fail(r->error, ERR_INVALID, at, "must be an object (a JSON schema), not %s",
                        json_type_name(json_type(parameters)));
    bool is_strict = false;
    api_path(at, "%s.strict", path);
    if (api_is_given(strict) && !api_take_bool(r->error, at, strict, &is_strict)) return false;
    api_path(at, "%s.parameters", path);
    return !api_is_given(parameters) || api_schema_is_cheap(r, at, parameters);
}

bool openai_read_tools(struct api_reader *r, const char *name, const struct json *v) {
    size_t n = json_count(v);
    if (!api_take_array(r, name, v)) return false;
    if (n > TOOLS_MAX)
        return api_fail(r->error, ERR_INVALID, name, "has %zu tools; at most %d are taken", n, TOOLS_MAX);
    if (n == 0) return true;
    for (size_t i = 0; i < n; i++) {
        char path[API_PATH_BYTES], at[API_PATH_BYTES];
        const struct json *tool = json_at(v, i);
        api_path(path, "%s[%zu]", name, i);
        const char *type = api_type_of(r, path, tool);
        if (!type) return false;
        api_path(at, "%s.type", path);
        if (strcmp(type, "function") != 0)
            return api_fail(r->error, ERR_UNSUPPORTED, at, "'%.40s' is not supported; only 'function' is",
                            type);
        api_path(at, "%s.function", path);
        if (!check_function(r, at, json_get(tool, "function"))) return false;
        if (has_function(v, i, json_string(function_name(tool), NULL)))
            return api_fail(r->error, ERR_INVALID, at, "has the name of another tool");
    }
    AUTO(buf_free) struct buf b = BUF(4 * BODY_BYTES_MAX);
    if (json_dump(v, &b) != ERR_OK) return api_no_memory(r, name);
    return api_keep(r, &b, &r->request->submit.tools);
}

bool openai_read_tool_choice(struct api_reader *r, const char *name, const struct json *v) {
    static const char *const WORDS[] = {"none", "auto", "required"};
    bool tools = r->request->submit.tools.size > 0;
    const char *word = json_string(v, NULL);
    for (size_t i = 0; word && i < ARRAY_LEN(WORDS); i++) {
        if (strcmp(word, WORDS[i]) != 0) continue;
        if (!tools && i == 2) return api_fail(r->error, ERR_INVALID, name, "'required' needs tools");
        return api_choose_word(r, name, word);
    }
    if (word)
        return api_fail(r->error, ERR_INVALID, name, "'%.40s' is not known; send none, auto or required",
                        word);
    const char *type = api_type_of(r, name, v);
    if (!type) return false;
    if (strcmp(type, "function") != 0)
        return api_fail(r->error, ERR_UNSUPPORTED, "tool_choice.type",
                        "'%.40s' is not supported; only 'function' is", type);
    size_t size = 0;
    const char *function = json_string(json_get(json_get(v, "function"), "name"), &size);
    if (!function || !api_function_name_ok(function, size))
        return api_fail(r->error, ERR_INVALID, "tool_choice.function.name", "must name one of the tools");
    api_ignored_others(r, name, v, (const char *const[]){"type", "function", NULL});
    api_ignored_others(r, "tool_choice.function", json_get(v, "function"),
                       (const char *const[]){"name", NULL});
    const struct json *all = json_get(r->root, "tools");
    if (!tools || !has_function(all, json_count(all), function))
        return api_fail(r->error, ERR_INVALID, "tool_choice.function.name", "no tool has the name '%s'",
                        function);
    return api_choose_function(r, "tool_choice.function.name", function);
}

/* {"type": "json_object"}: any object; with a `schema` beside it, as some servers take it, one that matches. */
static bool read_json_object(struct api_reader *r, const char *name, const struct json *v) {
    AUTO(buf_free) struct buf b = BUF(16);
    const struct json *schema = json_get(v, "schema");
    api_ignored_others(r, name, v, (const char *const[]){"type", "schema", NULL});
    if (schema && json_type(schema) != JSON_NULL)
        return api_keep_schema(r, "response_format.schema", schema, false);
    buf_puts(&b, "{}");
    return api_keep(r, &b, &r->request->submit.json_schema);
}

bool openai_read_response_format(struct api_reader *r, const char *name, const struct json *v) {
    const char *type = api_type_of(r, name, v);
    if (!type) return false;
    if (strcmp(type, "json_object") == 0) return read_json_object(r, name, v);
    if (strcmp(type, "text") == 0) {
        api_ignored_others(r, name, v, (const char *const[]){"type", NULL});
        return true;
    }
    if (strcmp(type, "json_schema") != 0)
        return api_fail(r->error, ERR_UNSUPPORTED, "response_format.type",
                        "'%.40s' is not supported; send text, json_object or json_schema", type);
    const struct json *outer = json_get(v, "json_schema");
    if (json_type(outer) != JSON_OBJECT)
        return api_fail(r->error, ERR_INVALID, "response_format.json_schema",
                        "must be an object with name and schema");
    api_ignored_others(r, name, v, (const char *const[]){"type", "json_schema", NULL});
    api_ignored_others(r, "response_format.json_schema", outer,
                       (const char *const[]){"name", "description", "strict", "schema", NULL});
    const struct json *strict = json_get(outer, "strict");
    bool is_strict = false;
    if (api_is_given(strict) &&
        !api_take_bool(r->error, "response_format.json_schema.strict", strict, &is_strict))
        return false;
    return api_keep_schema(r, "response_format.json_schema.schema", json_get(outer, "schema"), is_strict);
}
