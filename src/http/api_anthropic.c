#include "http/api_anthropic.h"

#include <string.h>

/* ---- honoured ---- */

/* It stands before the messages in what the seat gets: who reads those writes it. */
static bool read_with_messages(struct api_reader *r UNUSED, const char *name UNUSED,
                               const struct json *v UNUSED) {
    return true;
}

static bool read_temperature(struct api_reader *r, const char *name, const struct json *v) {
    return api_take_number(r->error, name, v, 0, 1, &r->request->submit.temperature);
}

static bool read_top_p(struct api_reader *r, const char *name, const struct json *v) {
    return api_take_number(r->error, name, v, 0, 1, &r->request->submit.top_p);
}

static bool read_top_k(struct api_reader *r, const char *name, const struct json *v) {
    return api_take_int(r->error, name, v, 0, INT32_MAX, &r->request->submit.top_k);
}

static bool read_stop_sequences(struct api_reader *r, const char *name, const struct json *v) {
    return api_take_array(r, name, v) && api_read_stops(r, name, v);
}

static bool read_metadata(struct api_reader *r, const char *name, const struct json *v) {
    if (!api_take_object(r, name, v)) return false;
    const struct json *user = json_get(v, "user_id");
    api_ignored_others(r, name, v, (const char *const[]){"user_id", NULL});
    return !api_is_given(user) || api_take_agent(r, "metadata.user_id", user, &r->agents[0]);
}

/* Whether a model thinks is its template's business, which can at most be asked not to. How long it thinks nobody here limits. */
static bool read_thinking(struct api_reader *r, const char *name, const struct json *v) {
    const char *type = api_type_of(r, name, v);
    const struct json *display = json_get(v, "display");
    if (!type) return false;
    if (strcmp(type, "disabled") == 0)
        r->request->submit.no_thinking = 1;
    else if (strcmp(type, "enabled") != 0 && strcmp(type, "adaptive") != 0)
        return api_fail(r->error, ERR_UNSUPPORTED, "thinking.type",
                        "'%.40s' is not supported; send enabled, adaptive or disabled", type);
    if (api_is_given(display) && !api_is_word(display, "summarized"))
        return api_fail(r->error, ERR_UNSUPPORTED, "thinking.display",
                        "is not supported; leave it out or send \"summarized\"");
    api_ignored_others(r, name, v, (const char *const[]){"type", "display", NULL});
    return true;
}

static bool read_output_format(struct api_reader *r, const struct json *format) {
    static const char path[] = "output_config.format";
    const char *type = api_type_of(r, path, format);
    if (!type) return false;
    if (strcmp(type, "json_schema") != 0)
        return api_fail(r->error, ERR_UNSUPPORTED, "output_config.format.type",
                        "'%.40s' is not supported; only 'json_schema' is", type);
    api_ignored_others(r, path, format, (const char *const[]){"type", "schema", NULL});
    return api_keep_schema(r, "output_config.format.schema", json_get(format, "schema"), true);
}

static bool read_output_config(struct api_reader *r, const char *name, const struct json *v) {
    if (!api_take_object(r, name, v)) return false;
    const struct json *effort = json_get(v, "effort"), *format = json_get(v, "format");
    if (api_is_given(effort) && !api_read_effort(r, "output_config.effort", effort)) return false;
    api_ignored_others(r, name, v, (const char *const[]){"effort", "format", NULL});
    return !api_is_given(format) || read_output_format(r, format);
}

/* Clients that manage a long context send it with every request; it changes nothing where all thoughts are kept. */
static bool neutral_keeps_all(struct api_reader *r UNUSED, const char *name UNUSED, const struct json *v) {
    const struct json *edits = json_get(v, "edits");
    if (json_type(v) != JSON_OBJECT || json_count(v) > (edits != NULL)) return false;
    if (edits && json_type(edits) != JSON_ARRAY) return false;
    for (size_t i = 0; i < json_count(edits); i++) {
        const struct json *edit = json_at(edits, i);
        if (!api_is_word(json_get(edit, "type"), "clear_thinking_20251015") ||
            !api_is_word(json_get(edit, "keep"), "all"))
            return false;
    }
    return true;
}

/* ---- the tables ---- */

#define MODEL_ROW                                                                                            \
    { "model", API_HONOURED, api_read_model, "an id, an alias, or absent / \"default\": whatever is seated" }
#define MESSAGES_ROW                                                                                         \
    {                                                                                                        \
        "messages", API_HONOURED, anthropic_read_messages,                                                   \
            "1 to 4,096 messages of blocks: text, thinking, tool_use, tool_result"                           \
    }
/* tool_choice looks at tools: rows are read in this order. */
#define SHARED_ROWS                                                                                          \
    MODEL_ROW, {"system", API_HONOURED, read_with_messages, "a string or an array of text blocks"},          \
        {"tools", API_HONOURED, anthropic_read_tools, "up to 128 tools with an input_schema"},               \
        {"tool_choice", API_HONOURED, anthropic_read_tool_choice,                                            \
         "auto, any, tool or none, with disable_parallel_tool_use"},                                         \
        {"thinking", API_HONOURED, read_thinking,                                                            \
         "disabled, else as the model's template has it; budget_tokens is named as ignored"},                \
        {"output_config", API_HONOURED, read_output_config,                                                  \
         "format: json_schema; effort: as the template has it"},                                             \
        {"cache_control", API_NO_EFFECT, NULL, "prompts are always cached"},                                 \
        {"speed", API_NO_EFFECT, NULL, "there is one speed"},                                                \
        {"user_profile_id", API_NO_EFFECT, NULL, "kept nowhere"},                                            \
        {"workspace_id", API_NO_EFFECT, NULL, "kept nowhere"},                                               \
        {"mcp_servers", API_NEUTRAL, api_neutral_empty, "[]"},                                               \
        {"context_management", API_NEUTRAL, neutral_keeps_all, "no edits, or to keep all thoughts"}, {       \
        "output_format", API_NEUTRAL, api_neutral_null, "null; output_config.format is the newer name"       \
    }

static const struct api_param MESSAGES_PARAMS[] = {
    MESSAGES_ROW,
    {"max_tokens", API_HONOURED, api_read_max_tokens, "1 or more; must be there"},
    SHARED_ROWS,
    {"temperature", API_HONOURED, read_temperature, "0 to 1, default 1; 0 is greedy"},
    {"top_p", API_HONOURED, read_top_p, "0 to 1, default 1"},
    {"top_k", API_HONOURED, read_top_k, "0 or more, default 0: off"},
    {"stop_sequences", API_HONOURED, read_stop_sequences, "up to 16, each of 1 to 1,024 bytes"},
    {"stream", API_HONOURED, api_read_stream, "true or false"},
    {"metadata", API_HONOURED, read_metadata, "user_id names the agent; X-Hotseat-Agent wins"},
    {"service_tier", API_NO_EFFECT, NULL, "there is one tier"},
    {"inference_geo", API_NO_EFFECT, NULL, "there is one place"},
    {"diagnostics", API_NO_EFFECT, NULL, "there are none"},
    {"container", API_NEUTRAL, api_neutral_null, "null"},
};

static const struct api_param COUNT_PARAMS[] = {MESSAGES_ROW, SHARED_ROWS};

const struct api_param *anthropic_params(enum anthropic_api api, size_t *ret_count) {
    *ret_count = api == ANTHROPIC_MESSAGES ? ARRAY_LEN(MESSAGES_PARAMS) : ARRAY_LEN(COUNT_PARAMS);
    return api == ANTHROPIC_MESSAGES ? MESSAGES_PARAMS : COUNT_PARAMS;
}

/* ---- the whole body ---- */

static bool settle_messages(struct api_reader *r) {
    r->request->submit.max_tokens = (uint32_t)r->max_tokens;
    return true;
}

static bool settle_count(struct api_reader *r) {
    r->request->submit.look = MSG_LOOK_COUNT;
    return true;
}

void api_anthropic_read(const struct api_input *in, struct api_parsed *ret) {
    static const struct api_table
        MESSAGES = {MESSAGES_PARAMS, ARRAY_LEN(MESSAGES_PARAMS), 2, MSG_KIND_CHAT, ANSWER_MESSAGE,
                    settle_messages},
        COUNT = {COUNT_PARAMS, ARRAY_LEN(COUNT_PARAMS), 1, MSG_KIND_CHAT, ANSWER_COUNT, settle_count};
    api_read_by(in->route == ROUTE_MESSAGES ? &MESSAGES : &COUNT, in, ret);
}
