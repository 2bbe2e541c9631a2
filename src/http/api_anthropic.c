#include "http/api_anthropic.h"

#include <string.h>

/* ---- honoured ---- */

/* It stands before the messages in what the seat gets: who reads those writes it. */
static bool read_with_messages(struct api_reader *r UNUSED, const char *name UNUSED,
                               const struct json *v UNUSED) {
    return true;
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

static bool keeps_all(const struct json *keep) {
    return api_is_word(keep, "all") || api_is_word(json_get(keep, "type"), "all");
}

/* Clients that manage a long context send it with every request. All thoughts are kept anyhow, where the template can. */
static bool read_context_management(struct api_reader *r, const char *name, const struct json *v) {
    static const char path[] = "context_management.edits";
    if (!api_take_object(r, name, v)) return false;
    const struct json *edits = json_get(v, "edits");
    api_ignored_others(r, name, v, (const char *const[]){"edits", NULL});
    if (api_is_given(edits) && !api_take_array(r, path, edits)) return false;
    for (size_t i = 0; i < json_count(edits); i++) {
        const struct json *edit = json_at(edits, i);
        char at[API_PATH_BYTES];
        api_path(at, "%s[%zu]", path, i);
        const char *type = api_type_of(r, at, edit);
        if (!type) return false;
        if (strcmp(type, "clear_thinking_20251015") != 0 || !keeps_all(json_get(edit, "keep")))
            return api_fail(r->error, ERR_UNSUPPORTED, at,
                            "is not supported; only clear_thinking_20251015 with keep \"all\" is");
        api_ignored_others(r, at, edit, (const char *const[]){"type", "keep", NULL});
    }
    return true;
}

/* ---- the tables ---- */

/* tool_choice looks at tools: rows are read in this order. */
/* clang-format off */
#define MESSAGES_ROW \
    API_ROW("messages", anthropic_read_messages, \
            "1 to " NUMERAL(MESSAGES_MAX) " messages of blocks: text, thinking, tool_use, tool_result", \
            API_IS_SHAPE("AnthropicMessages"))
#define SHARED_ROWS \
    API_MODEL_ROW, \
    API_ROW("system", read_with_messages, "a string or an array of text blocks", API_IS_SHAPE("AnthropicSystem")), \
    API_ROW("tools", anthropic_read_tools, "up to " NUMERAL(TOOLS_MAX) " tools with an input_schema", \
            API_IS_SHAPE("AnthropicTools")), \
    API_ROW("tool_choice", anthropic_read_tool_choice, "auto, any, tool or none, with disable_parallel_tool_use", \
            API_IS_SHAPE("AnthropicToolChoice")), \
    API_ROW("thinking", read_thinking, "disabled, else as the model's template has it; budget_tokens is named as ignored", \
            API_IS_SHAPE("AnthropicThinking")), \
    API_ROW("output_config", read_output_config, "format: json_schema; effort: as the template has it", \
            API_IS_SHAPE("AnthropicOutputConfig")), \
    API_NO_EFFECT_ROW("cache_control", "prompts are always cached"), \
    API_NO_EFFECT_ROW("speed", "there is one speed"), \
    API_NO_EFFECT_ROW("user_profile_id", "kept nowhere"), \
    API_NO_EFFECT_ROW("workspace_id", "kept nowhere"), \
    API_NEUTRAL_ROW("mcp_servers", [], ""), \
    API_ROW("context_management", read_context_management, "no edits, or to keep all thoughts", \
            API_IS_SHAPE("AnthropicContextManagement")), \
    API_NEUTRAL_ROW("output_format", null, "; output_config.format is the newer name")

static const struct api_param MESSAGES_PARAMS[] = {
    MESSAGES_ROW,
    API_ROW("max_tokens", api_read_max_tokens, "1 or more; must be there", API_IS_INT(1, INT32_MAX)),
    SHARED_ROWS,
    API_NUMBER_ROW(temperature, 0, 1, 1, "; 0 is greedy"),
    API_NUMBER_ROW(top_p, 0, 1, 1, ""),
    API_COUNT_ROW(top_k, 0, 0, ": off"),
    API_ROW("stop_sequences", read_stop_sequences,
            "up to " NUMERAL(STOPS_MAX) ", each of 1 to " NUMERAL(STOP_BYTES_MAX) " bytes", API_IS_SHAPE("Stops")),
    API_ROW("stream", api_read_stream, "true or false", API_IS_BOOL),
    API_ROW("metadata", read_metadata, "user_id names the agent; X-Hotseat-Agent wins", API_IS_SHAPE("AnthropicMetadata")),
    API_NO_EFFECT_ROW("service_tier", "there is one tier"),
    API_NO_EFFECT_ROW("inference_geo", "there is one place"),
    API_NO_EFFECT_ROW("diagnostics", "there are none"),
    API_NEUTRAL_ROW("container", null, ""),
};

static const struct api_param COUNT_PARAMS[] = {MESSAGES_ROW, SHARED_ROWS};
/* clang-format on */

/* ---- the whole body ---- */

static bool settle_messages(struct api_reader *r) {
    r->request->submit.max_tokens = (uint32_t)r->max_tokens;
    return true;
}

static bool settle_count(struct api_reader *r) {
    r->request->submit.look = MSG_LOOK_COUNT;
    return true;
}

const struct api_table *anthropic_table(enum anthropic_api api) {
    static const struct api_table
        MESSAGES = {MESSAGES_PARAMS, ARRAY_LEN(MESSAGES_PARAMS), 2, MSG_KIND_CHAT, ANSWER_MESSAGE,
                    settle_messages},
        COUNT = {COUNT_PARAMS, ARRAY_LEN(COUNT_PARAMS), 1, MSG_KIND_CHAT, ANSWER_COUNT, settle_count};
    return api == ANTHROPIC_MESSAGES ? &MESSAGES : &COUNT;
}

void api_anthropic_read(const struct api_input *in, struct api_parsed *ret) {
    api_read_by(anthropic_table(in->route == ROUTE_MESSAGES ? ANTHROPIC_MESSAGES : ANTHROPIC_COUNT), in, ret);
}
