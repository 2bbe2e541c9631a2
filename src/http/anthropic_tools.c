/* anthropic_tools.c - tools and tool_choice of Anthropic's shape become OpenAI's. */
#include <string.h>

#include "http/api_anthropic.h"

static bool has_tool(const struct json *tools, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++) {
        const char *other = json_string(json_get(json_at(tools, i), "name"), NULL);
        if (other && strcmp(other, name) == 0) return true;
    }
    return false;
}

static void copy_member(struct json_out *w, const char *key, const struct json *v) {
    AUTO(buf_free) struct buf b = BUF(4 * BODY_BYTES_MAX);
    if (!api_is_given(v)) return;
    if (json_dump(v, &b) != ERR_OK) {
        w->b->error = ERR_NOMEM; /* api_keep() says so */
        return;
    }
    json_key(w, key);
    json_raw(w, b.data, b.size);
}

static bool check_tool(struct api_reader *r, const char *path, const struct json *tool) {
    char at[API_PATH_BYTES];
    size_t size = 0;
    const struct json *type = json_get(tool, "type"), *description = json_get(tool, "description");
    const struct json *strict = json_get(tool, "strict");
    bool is_strict = false;
    api_path(at, "%s.type", path);
    if (api_is_given(type) && !api_is_word(type, "custom"))
        return api_fail(r->error, ERR_UNSUPPORTED, at,
                        "'%.40s' is not supported; send tools of type 'custom', with an input_schema",
                        json_string(type, NULL) ? json_string(type, NULL) : "");
    const char *name = api_text_of(r, path, tool, "name", &size);
    api_path(at, "%s.name", path);
    if (!name) return false;
    if (!api_function_name_ok(name, size))
        return api_fail(r->error, ERR_INVALID, at, "must be 1 to 64 letters, digits, '_' or '-'");
    api_path(at, "%s.description", path);
    if (api_is_given(description) && json_type(description) != JSON_STRING)
        return api_fail(r->error, ERR_INVALID, at, "must be a string, not %s",
                        json_type_name(json_type(description)));
    api_path(at, "%s.strict", path);
    if (api_is_given(strict) && !api_take_bool(r->error, at, strict, &is_strict)) return false;
    api_path(at, "%s.input_schema", path);
    if (!json_get(tool, "input_schema")) return api_fail(r->error, ERR_INVALID, at, "is missing");
    const struct json *schema = json_get(tool, "input_schema");
    return api_take_object(r, at, schema) && api_schema_is_cheap(r, at, schema);
}

static bool write_tool(struct api_reader *r, struct json_out *w, const char *path, const struct json *tool) {
    if (!api_take_object(r, path, tool) || !check_tool(r, path, tool)) return false;
    api_ignored_others(r, path, tool,
                       (const char *const[]){"type", "name", "description", "input_schema", "strict",
                                             "cache_control", NULL});
    json_obj(w);
    json_key(w, "type");
    json_str(w, "function");
    json_key(w, "function");
    json_obj(w);
    copy_member(w, "name", json_get(tool, "name"));
    copy_member(w, "description", json_get(tool, "description"));
    copy_member(w, "parameters", json_get(tool, "input_schema"));
    copy_member(w, "strict", json_get(tool, "strict"));
    json_end(w);
    json_end(w);
    return true;
}

bool anthropic_read_tools(struct api_reader *r, const char *name, const struct json *v) {
    size_t n = json_count(v);
    if (!api_take_array(r, name, v)) return false;
    if (n > TOOLS_MAX)
        return api_fail(r->error, ERR_INVALID, name, "has %zu tools; at most %d are taken", n, TOOLS_MAX);
    if (n == 0) return true;
    AUTO(buf_free) struct buf b = BUF(4 * BODY_BYTES_MAX);
    struct json_out w = json_out_into(&b);
    json_arr(&w);
    for (size_t i = 0; i < n; i++) {
        char path[API_PATH_BYTES];
        api_path(path, "%s[%zu]", name, i);
        if (!write_tool(r, &w, path, json_at(v, i))) return false;
        if (has_tool(v, i, json_string(json_get(json_at(v, i), "name"), NULL)))
            return api_fail(r->error, ERR_INVALID, path, "has the name of another tool");
    }
    json_end(&w);
    return api_keep(r, &b, &r->request->submit.tools);
}

bool anthropic_read_tool_choice(struct api_reader *r, const char *name, const struct json *v) {
    static const char *const WORDS[][2] = {{"auto", "auto"}, {"any", "required"}, {"none", "none"}};
    const char *type = api_type_of(r, name, v);
    const struct json *one = json_get(v, "disable_parallel_tool_use");
    bool tools = r->request->submit.tools.size > 0, only_one = false;
    if (!type) return false;
    if (api_is_given(one) &&
        !api_take_bool(r->error, "tool_choice.disable_parallel_tool_use", one, &only_one))
        return false;
    r->request->submit.parallel_tool_calls = !only_one;
    bool named = strcmp(type, "tool") == 0;
    api_ignored_others(
        r, name, v,
        (const char *const[]){"type", "disable_parallel_tool_use", named ? "name" : "type", NULL});
    if (!tools && (named || strcmp(type, "any") == 0))
        return api_fail(r->error, ERR_INVALID, name, "'%s' needs tools", type);
    for (size_t i = 0; i < ARRAY_LEN(WORDS); i++)
        if (strcmp(type, WORDS[i][0]) == 0) return api_choose_word(r, name, WORDS[i][1]);
    if (!named)
        return api_fail(r->error, ERR_INVALID, "tool_choice.type",
                        "'%.40s' is not known; send auto, any, tool or none", type);
    const char *tool = api_text_of(r, name, v, "name", NULL);
    if (!tool) return false;
    const struct json *all = json_get(r->root, "tools");
    if (!has_tool(all, json_count(all), tool))
        return api_fail(r->error, ERR_INVALID, "tool_choice.name", "no tool has the name '%.64s'", tool);
    return api_choose_function(r, "tool_choice.name", tool);
}
