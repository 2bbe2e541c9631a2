#include "http/openapi.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/must.h"
#include "front/swap.h"
#include "http/api_admin.h"
#include "http/api_anthropic.h"
#include "http/api_llama.h"
#include "http/api_openai.h"
#include "http/openapi_shapes.h"
#include "http/routes.h"

/* ---- what an operation answers ---- */

/* X(status, what clients see in its description) */
#define REFUSAL_TABLE(X)                                                                                     \
    X(400, "JSON, types, values, framing")                                                                   \
    X(401, "no valid key")                                                                                   \
    X(403, "Host or Origin may not call")                                                                    \
    X(404, "no such model or agent")                                                                         \
    X(408, "the time limit has passed, or the request stopped half-way")                                     \
    X(409, "another swap is under way")                                                                      \
    X(413, "the body is larger than 8 MB")                                                                   \
    X(414, "the URL is longer than 4 KB")                                                                    \
    X(422, "that model can never be loaded here")                                                            \
    X(429, "too many wait")                                                                                  \
    X(431, "the headers are larger than 32 KB")                                                              \
    X(500, "something failed here")                                                                          \
    X(503, "not now")                                                                                        \
    X(507, "no space is left on the disk")

enum refusal {
#define REFUSAL_ENUM_ROW(status, text) REFUSAL_##status,
    REFUSAL_TABLE(REFUSAL_ENUM_ROW)
#undef REFUSAL_ENUM_ROW
        REFUSAL_COUNT
};
static const struct {
    int status;
    const char *text;
} REFUSALS[REFUSAL_COUNT] = {
#define REFUSAL_ROW(status, text) {status, text},
    REFUSAL_TABLE(REFUSAL_ROW)
#undef REFUSAL_ROW
};

#define BIT(status) (1u << REFUSAL_##status)
/* What can be said of every request, before anybody looks at what it asks for. */
#define ANY_REFUSALS (BIT(400) | BIT(403) | BIT(408) | BIT(413) | BIT(414) | BIT(431) | BIT(500) | BIT(503))
#define TEXT_REFUSALS (BIT(404) | BIT(422) | BIT(429))
#define STORE_REFUSALS (BIT(404) | BIT(429) | BIT(507))

struct operation {
    const char *tag, *summary;
    const char *answer;    /* the schema of the 200's JSON; NULL: it has none */
    const char *anthropic; /* of the same, with the header anthropic-version */
    const char *event;     /* the schema of each event, where the answer is or may be a stream */
    unsigned refusals;
};

/* clang-format off */
static const struct operation OPERATIONS[ROUTE_COUNT] = {
    [ROUTE_CHAT] = {"OpenAI", "A chat, whole or streamed", "ChatCompletion", NULL, "ChatCompletionEvent", TEXT_REFUSALS},
    [ROUTE_COMPLETIONS] = {"OpenAI", "A plain prompt, whole or streamed", "TextCompletion", NULL, "TextCompletionEvent", TEXT_REFUSALS},
    [ROUTE_MESSAGES] = {"Anthropic", "Messages, whole or streamed", "AnthropicMessage", NULL, "AnthropicEvent", TEXT_REFUSALS},
    [ROUTE_COUNT_TOKENS] = {"Anthropic", "How many tokens such a request would send", "AnthropicCount", NULL, NULL, TEXT_REFUSALS},
    [ROUTE_TOKENIZE] = {"llama-server", "The tokens of a text", "Tokens", NULL, NULL, TEXT_REFUSALS},
    [ROUTE_DETOKENIZE] = {"llama-server", "The text of tokens", "Content", NULL, NULL, TEXT_REFUSALS},
    [ROUTE_APPLY_TEMPLATE] = {"llama-server", "The prompt that a chat becomes", "PromptText", NULL, NULL, TEXT_REFUSALS},
    [ROUTE_MODELS] = {"Models", "The models; with the header anthropic-version in Anthropic's shape, in pages", "OpenAIModels",
                      "AnthropicModels", NULL, BIT(429)},
    [ROUTE_MODEL] = {"Models", "One model; with the header anthropic-version in Anthropic's shape", "OpenAIModel", "AnthropicModel",
                     NULL, BIT(404) | BIT(429)},
    [ROUTE_HEALTH] = {"Health", "While the process answers", "Live", NULL, NULL, 0},
    [ROUTE_HEALTH_LIVE] = {"Health", "While the process answers", "Live", NULL, NULL, 0},
    [ROUTE_HEALTH_READY] = {"Health", "Whether a request would be served now", "Ready", NULL, NULL, 0},
    [ROUTE_METRICS] = {"Health", "Prometheus text", NULL, NULL, NULL, 0},
    [ROUTE_OPENAPI] = {"Health", "This document", "OpenAPI", NULL, NULL, 0},
    [ROUTE_SWAP] = {"Administration", "Seats a model", "SwapDone", NULL, NULL, BIT(404) | BIT(409) | BIT(422) | BIT(429)},
    [ROUTE_OFFLOAD] = {"Administration", "Empties the seat", "SwapDone", NULL, NULL, BIT(409) | BIT(429)},
    [ROUTE_CURRENT] = {"Administration", "What is seated", "Current", NULL, NULL, 0},
    [ROUTE_AVAILABLE] = {"Administration", "What could be seated", "AvailableModels", NULL, NULL, 0},
    [ROUTE_SWAP_STATUS] = {"Administration", "State, step, percentage, estimate; the last swaps", "SwapStatus", NULL, NULL, 0},
    [ROUTE_EVENTS] = {"Administration", "Server-sent events, without end", NULL, NULL, "Event", BIT(429)},
    [ROUTE_PS] = {"Administration", "Seat, queues and agents", "Ps", NULL, NULL, BIT(429)},
    [ROUTE_AGENTS] = {"Administration", "Agents, and what is cached of them", "Agents", NULL, NULL, STORE_REFUSALS},
    [ROUTE_AGENT] = {"Administration", "An agent's caches, by model", "Agents", NULL, NULL, STORE_REFUSALS},
    [ROUTE_AGENT_DELETE] = {"Administration", "Deletes an agent's caches", "AgentDeleted", NULL, NULL, STORE_REFUSALS},
    [ROUTE_AGENT_PIN] = {"Administration", "Never evicts this agent's blocks", "Done", NULL, NULL, STORE_REFUSALS},
    [ROUTE_AGENT_UNPIN] = {"Administration", "Evicts this agent's blocks again", "Done", NULL, NULL, STORE_REFUSALS},
    [ROUTE_CACHE] = {"Administration", "The block store", "Cache", NULL, NULL, STORE_REFUSALS},
    [ROUTE_CACHE_DELETE] = {"Administration", "Deletes the block store, or a model's part of it", "CacheDeleted", NULL, NULL,
                            STORE_REFUSALS},
    [ROUTE_RELOAD] = {"Administration", "Reads again what can be reloaded", "Reloaded", NULL, NULL, 0},
    [ROUTE_FAULT] = {"Administration", "Arms a fault", "Done", NULL, NULL, BIT(404) | BIT(429)},
};
/* clang-format on */

/* ---- small parts ---- */

static void put_str(struct json_out *w, const char *key, const char *value) {
    json_key(w, key), json_str(w, value);
}

static void put_raw(struct json_out *w, const char *key, const char *json) {
    json_key(w, key), json_raw(w, json, strlen(json));
}

static void put_ref(struct json_out *w, const char *kind, const char *name) {
    char ref[96];
    snprintf(ref, sizeof ref, "#/components/%s/%s", kind, name);
    put_str(w, "$ref", ref);
}

static void schema_ref(struct json_out *w, const char *name) {
    json_obj(w);
    put_ref(w, "schemas", name);
    json_end(w);
}

static void schema_type(struct json_out *w, const char *type, bool or_null) {
    json_key(w, "type");
    if (!or_null) {
        json_str(w, type);
        return;
    }
    json_arr(w);
    json_str(w, type);
    json_str(w, "null");
    json_end(w);
}

static void put_range(struct json_out *w, const struct api_value *value) {
    json_key(w, "minimum"), json_i64(w, value->min);
    json_key(w, "maximum"), json_i64(w, value->max);
}

/* The members of a schema. or_null: null stands for "not given". */
static void put_value(struct json_out *w, const struct api_value *value, bool or_null) {
    switch (value->type) {
    case API_ANY: break;
    case API_BOOL: schema_type(w, "boolean", or_null); break;
    case API_INT:
        schema_type(w, "integer", or_null);
        put_range(w, value);
        break;
    case API_NUMBER:
        schema_type(w, "number", or_null);
        put_range(w, value);
        break;
    case API_WORD:
        json_key(w, "enum"), json_arr(w);
        for (int i = 0; value->words[i]; i++) json_str(w, value->words[i]);
        if (or_null) json_null(w);
        json_end(w);
        break;
    case API_SHAPE:
        if (!or_null) {
            put_ref(w, "schemas", value->text);
            break;
        }
        json_key(w, "anyOf"), json_arr(w);
        schema_ref(w, value->text);
        json_obj(w);
        put_str(w, "type", "null");
        json_end(w);
        json_end(w);
        break;
    case API_ONLY:
        json_key(w, "enum"), json_arr(w);
        json_raw(w, value->text, strlen(value->text));
        if (strcmp(value->text, "{}") == 0) json_raw(w, "[]", 2);
        if (or_null && strcmp(value->text, "null") != 0) json_null(w);
        json_end(w);
        break;
    }
}

/* ---- parameters ---- */

/* "/v1/models/{}" with the name of what stands for {}. */
static const char *path_param(const char *path) {
    if (!strstr(path, "{}")) return NULL;
    return strncmp(path, "/v1/", 4) == 0 ? "model" : "agent";
}

static void put_path(struct json_out *w, const char *path) {
    char key[96];
    const char *name = path_param(path), *hole = strstr(path, "{}");
    if (hole)
        snprintf(key, sizeof key, "%.*s{%s}%s", (int)(hole - path), path, name, hole + 2);
    else
        snprintf(key, sizeof key, "%s", path);
    json_key(w, key);
}

static void param_ref(struct json_out *w, const char *name) {
    json_obj(w);
    put_ref(w, "parameters", name);
    json_end(w);
}

static void param_begin(struct json_out *w, const char *name, const char *in) {
    json_obj(w);
    put_str(w, "name", name);
    put_str(w, "in", in);
    if (strcmp(in, "path") == 0) json_key(w, "required"), json_boolean(w, true);
    json_key(w, "schema");
    json_obj(w);
}

static void param_end(struct json_out *w, const char *description) {
    json_end(w);
    if (description) put_str(w, "description", description);
    json_end(w);
}

static const struct api_table *table_of(enum route route) {
    switch ((int)route) {
    case ROUTE_CHAT: return openai_table(OPENAI_CHAT);
    case ROUTE_COMPLETIONS: return openai_table(OPENAI_TEXT);
    case ROUTE_MESSAGES: return anthropic_table(ANTHROPIC_MESSAGES);
    case ROUTE_COUNT_TOKENS: return anthropic_table(ANTHROPIC_COUNT);
    case ROUTE_TOKENIZE: return look_table(LLAMA_TOKENIZE);
    case ROUTE_DETOKENIZE: return look_table(LLAMA_DETOKENIZE);
    case ROUTE_APPLY_TEMPLATE: return look_table(LLAMA_TEMPLATE);
    default: return NULL;
    }
}

static void put_parameters(struct json_out *w, enum route route) {
    static const char *const OF_TEXT[] = {"Agent", "Priority", "Timeout", "Debug"};
    const char *in_path = path_param(route_row(route)->path);
    size_t n = 0;
    const struct admin_key *keys = api_admin_query(route, &n);
    json_key(w, "parameters");
    json_arr(w);
    if (in_path) {
        bool model = strcmp(in_path, "model") == 0;
        param_begin(w, in_path, "path");
        put_ref(w, "schemas", model ? "ModelName" : "AgentName");
        param_end(w, NULL);
    }
    for (size_t i = 0; i < n; i++) {
        param_begin(w, keys[i].name, "query");
        put_value(w, &keys[i].value, false);
        param_end(w, NULL);
    }
    if (OPERATIONS[route].anthropic) param_ref(w, "AnthropicVersion");
    for (size_t i = 0; table_of(route) && i < ARRAY_LEN(OF_TEXT); i++) param_ref(w, OF_TEXT[i]);
    param_ref(w, "RequestId");
    json_end(w);
}

static void parameter_components(struct json_out *w) {
    json_key(w, "Agent");
    param_begin(w, "X-Hotseat-Agent", "header");
    put_ref(w, "schemas", "AgentName");
    param_end(w, "Who is talking; wins over what the body says.");
    json_key(w, "Priority");
    param_begin(w, "X-Hotseat-Priority", "header");
    put_ref(w, "schemas", "Priority");
    param_end(w, "Who goes first; default: normal.");
    json_key(w, "Timeout");
    param_begin(w, "X-Hotseat-Timeout-S", "header");
    put_raw(w, "type", "\"number\"");
    put_raw(w, "minimum", NUMERAL(REQUEST_TIMEOUT_S_MIN));
    put_raw(w, "maximum", NUMERAL(REQUEST_TIMEOUT_S_MAX));
    param_end(
        w, "Seconds from the request's arrival to the end of its answer, in digits with at most one point.");
    json_key(w, "Debug");
    param_begin(w, "X-Hotseat-Debug", "header");
    put_str(w, "type", "string");
    param_end(w, "1 asks a server that runs with --debug for hotseat.debug.");
    json_key(w, "AnthropicVersion");
    param_begin(w, "anthropic-version", "header");
    put_str(w, "type", "string");
    param_end(w, "Any value asks for Anthropic's shape.");
    json_key(w, "RequestId");
    param_begin(w, "X-Request-ID", "header");
    put_str(w, "type", "string");
    param_end(w, "Taken for the answer's, if it has 1 to " NUMERAL(
                     REQUEST_ID_BYTES_MAX) " bytes of visible ASCII.");
}

/* ---- bodies ---- */

static void put_member(struct json_out *w, const char *name, const struct api_value *value, bool required) {
    json_key(w, name);
    json_obj(w);
    put_value(w, value, !required);
}

static void put_required(struct json_out *w, const char *const *names, size_t n) {
    if (n == 0) return;
    json_key(w, "required");
    json_arr(w);
    for (size_t i = 0; i < n; i++) json_str(w, names[i]);
    json_end(w);
}

static void put_default(struct json_out *w, const struct api_param *row) {
    if (row->rule != API_HONOURED || row->fn) return;
    json_key(w, "default");
    if (row->value.type == API_BOOL)
        json_boolean(w, row->otherwise != 0);
    else
        json_i64(w, (int64_t)row->otherwise);
}

static void put_table(struct json_out *w, const struct api_table *table) {
    const char *required[API_REQUIRED_MAX] = {NULL};
    must(table->n_required <= API_REQUIRED_MAX);
    json_key(w, "properties");
    json_obj(w);
    for (size_t i = 0; i < table->n_params; i++) {
        const struct api_param *row = &table->params[i];
        if (i < table->n_required) required[i] = row->name;
        put_member(w, row->name, &row->value, i < table->n_required);
        put_default(w, row);
        put_str(w, "description", row->text);
        put_str(w, "x-hotseat-rule", api_rule_name(row->rule));
        json_end(w);
    }
    json_end(w);
    put_required(w, required, table->n_required);
}

/* An unknown member is an error there. */
static void put_admin_body(struct json_out *w, enum route route) {
    size_t n = 0, n_required = 0;
    const struct admin_key *keys = api_admin_body(route, &n, &n_required);
    json_key(w, "properties");
    json_obj(w);
    for (size_t i = 0; i < n; i++) {
        put_member(w, keys[i].name, &keys[i].value, i < n_required);
        json_end(w);
    }
    json_end(w);
    must(n_required <= 1);
    put_required(w, &keys[0].name, n_required);
    json_key(w, "additionalProperties"), json_boolean(w, false);
}

static void put_body(struct json_out *w, enum route route) {
    const struct api_table *table = table_of(route);
    if (!route_row(route)->body) return;
    json_key(w, "requestBody");
    json_obj(w);
    json_key(w, "required"), json_boolean(w, route != ROUTE_OFFLOAD);
    json_key(w, "content"), json_obj(w);
    json_key(w, "application/json"), json_obj(w);
    json_key(w, "schema"), json_obj(w);
    put_str(w, "type", "object");
    if (table)
        put_table(w, table);
    else
        put_admin_body(w, route);
    json_end(w);
    json_end(w);
    json_end(w);
    json_end(w);
}

/* ---- answers ---- */

static void put_headers(struct json_out *w, bool ignored, bool retry_after) {
    static const char *const NAMES[] = {"X-Request-ID", "X-Hotseat-Ignored", "Retry-After"};
    const bool wanted[] = {true, ignored, retry_after};
    json_key(w, "headers");
    json_obj(w);
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
        if (!wanted[i]) continue;
        json_key(w, NAMES[i]), json_obj(w);
        put_ref(w, "headers", NAMES[i]);
        json_end(w);
    }
    json_end(w);
}

static void header_components(struct json_out *w) {
    static const struct {
        const char *name, *type, *text;
    } ROWS[] = {{"X-Request-ID", "string", "The request's own, or one that the server made."},
                {"X-Hotseat-Ignored", "string", "The members of the request that do nothing here."},
                {"Retry-After", "integer", "Seconds."}};
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        json_key(w, ROWS[i].name), json_obj(w);
        if (i == 0) json_key(w, "required"), json_boolean(w, true);
        put_str(w, "description", ROWS[i].text);
        json_key(w, "schema"), json_obj(w);
        put_str(w, "type", ROWS[i].type);
        json_end(w);
        json_end(w);
    }
}

/* One of a or b (NULL: a alone). */
static void put_json_content(struct json_out *w, const char *a, const char *b) {
    json_key(w, "application/json"), json_obj(w);
    json_key(w, "schema"), json_obj(w);
    if (b) {
        json_key(w, "anyOf"), json_arr(w);
        schema_ref(w, a);
        schema_ref(w, b);
        json_end(w);
    } else {
        put_ref(w, "schemas", a);
    }
    json_end(w);
    json_end(w);
}

/* OpenAPI 3.1 does not say how a schema is to be read of a stream; here it is each event's. event: the schema of its data. */
static void put_stream_content(struct json_out *w, const char *event, bool done) {
    json_key(w, "text/event-stream"), json_obj(w);
    json_key(w, "schema"), json_obj(w);
    put_raw(w, "type", "\"object\"");
    put_str(w, "description", "One event.");
    put_raw(w, "required", "[\"data\"]");
    json_key(w, "properties"), json_obj(w);
    put_raw(w, "event", "{\"type\":\"string\"}");
    json_key(w, "data"), json_obj(w);
    if (done) {
        json_key(w, "anyOf"), json_arr(w);
        json_raw(w, "{\"const\":\"[DONE]\"}", 18);
        json_obj(w);
    }
    put_str(w, "type", "string");
    put_str(w, "contentMediaType", "application/json");
    json_key(w, "contentSchema");
    schema_ref(w, event);
    if (done) {
        json_end(w);
        json_end(w);
    }
    json_end(w);
    json_end(w);
    json_end(w);
    json_end(w);
}

static void put_good(struct json_out *w, enum route route) {
    const struct operation *o = &OPERATIONS[route];
    json_key(w, "200"), json_obj(w);
    put_str(w, "description", "done");
    put_headers(w, table_of(route) != NULL, false);
    json_key(w, "content"), json_obj(w);
    if (o->answer) put_json_content(w, o->answer, o->anthropic);
    if (o->event) put_stream_content(w, o->event, strcmp(o->tag, "OpenAI") == 0);
    if (!o->answer && !o->event) put_raw(w, "text/plain", "{\"schema\":{\"type\":\"string\"}}");
    json_end(w);
    json_end(w);
    if (route != ROUTE_SWAP && route != ROUTE_OFFLOAD) return;
    json_key(w, "202"), json_obj(w);
    put_str(w, "description", "begun, as \"wait\": false asks for");
    put_headers(w, false, false);
    json_key(w, "content"), json_obj(w);
    put_json_content(w, "SwapBegun", NULL);
    json_end(w);
    json_end(w);
}

static const char *const SHAPES_OF_ERRORS[] = {"OpenAI", "Anthropic", "Either"};

static void refusal_name(char out[32], size_t shape, enum refusal refusal) {
    snprintf(out, 32, "%s%d", SHAPES_OF_ERRORS[shape], REFUSALS[refusal].status);
}

static void response_components(struct json_out *w) {
    for (size_t shape = 0; shape < ARRAY_LEN(SHAPES_OF_ERRORS); shape++) {
        for (int i = 0; i < REFUSAL_COUNT; i++) {
            char name[32];
            refusal_name(name, shape, (enum refusal)i);
            json_key(w, name), json_obj(w);
            put_str(w, "description", REFUSALS[i].text);
            put_headers(w, false,
                        REFUSALS[i].status == 409 || REFUSALS[i].status == 429 || REFUSALS[i].status >= 500);
            json_key(w, "content"), json_obj(w);
            put_json_content(w, shape == 1 ? "AnthropicError" : "OpenAIError",
                             shape == 2 ? "AnthropicError" : NULL);
            json_end(w);
            json_end(w);
        }
    }
}

static void put_not_ready(struct json_out *w) {
    json_obj(w);
    put_str(w, "description", REFUSALS[REFUSAL_503].text);
    put_headers(w, false, true);
    json_key(w, "content"), json_obj(w);
    put_json_content(w, "NotReady", "OpenAIError");
    json_end(w);
    json_end(w);
}

static void put_responses(struct json_out *w, enum route route) {
    const struct route_row *row = route_row(route);
    unsigned refusals =
        ANY_REFUSALS | OPERATIONS[route].refusals | (row->access == ACCESS_OPEN ? 0 : BIT(401));
    bool either = OPERATIONS[route].anthropic != NULL;
    size_t shape = either ? 2 : route_error_shape(row->path, false) == ERROR_ANTHROPIC;
    json_key(w, "responses");
    json_obj(w);
    put_good(w, route);
    for (int i = 0; i < REFUSAL_COUNT; i++) {
        char text[32];
        if (!(refusals & 1u << i)) continue;
        snprintf(text, sizeof text, "%d", REFUSALS[i].status);
        json_key(w, text);
        if (i == REFUSAL_503 && route == ROUTE_HEALTH_READY) {
            put_not_ready(w);
            continue;
        }
        refusal_name(text, shape, (enum refusal)i);
        json_obj(w);
        put_ref(w, "responses", text);
        json_end(w);
    }
    json_end(w);
}

/* ---- the document ---- */

static void put_operation(struct json_out *w, enum route route) {
    const struct route_row *row = route_row(route);
    const struct operation *o = &OPERATIONS[route];
    const char *method = strcmp(row->method, "GET") == 0    ? "get"
                         : strcmp(row->method, "POST") == 0 ? "post"
                                                            : "delete";
    must(o->summary);
    json_key(w, method);
    json_obj(w);
    put_str(w, "operationId", row->name);
    put_str(w, "summary", o->summary);
    json_key(w, "tags"), json_arr(w);
    json_str(w, o->tag);
    json_end(w);
    /* A server without keys asks for none; one with keys takes them in two ways. */
    put_raw(w, "security", row->access == ACCESS_OPEN ? "[]" : "[{},{\"bearer\":[]},{\"x-api-key\":[]}]");
    put_parameters(w, route);
    put_body(w, route);
    put_responses(w, route);
    json_end(w);
}

static bool is_there(enum route route, bool debug) {
    return debug || !route_row(route)->debug;
}

static void put_paths(struct json_out *w, bool debug) {
    json_key(w, "paths");
    json_obj(w);
    for (int i = ROUTE_NONE + 1; i < ROUTE_COUNT; i++) {
        const char *path = route_row((enum route)i)->path;
        bool begun = false;
        for (int j = ROUTE_NONE + 1; j < i; j++)
            begun = begun || strcmp(route_row((enum route)j)->path, path) == 0;
        if (begun || !is_there((enum route)i, debug)) continue;
        put_path(w, path);
        json_obj(w);
        for (int j = i; j < ROUTE_COUNT; j++)
            if (strcmp(route_row((enum route)j)->path, path) == 0) put_operation(w, (enum route)j);
        json_end(w);
    }
    json_end(w);
}

static const char *error_code_at(int i) {
    return err_code((enum err)i);
}

static const char *swap_state_at(int i) {
    return swap_state_name((enum swap_state)i);
}

static const char *priority_at(int i) {
    return request_priority_name((enum request_priority)i);
}

static void put_words(struct json_out *w, const char *name, const char *(*word_at)(int i), int from, int to) {
    json_key(w, name), json_obj(w);
    put_str(w, "type", "string");
    json_key(w, "enum"), json_arr(w);
    for (int i = from; i < to; i++) json_str(w, word_at(i));
    json_end(w);
    json_end(w);
}

static void put_components(struct json_out *w) {
    json_key(w, "components");
    json_obj(w);
    json_key(w, "schemas"), json_obj(w);
    put_words(w, "ErrorCode", error_code_at, ERR_OK + 1, ERR_COUNT);
    put_words(w, "SwapState", swap_state_at, 0, SWAP_STATE_COUNT);
    put_words(w, "Priority", priority_at, 0, PRIORITY_COUNT);
    for (const struct openapi_shape *shape = OPENAPI_SHAPES; shape->name; shape++)
        put_raw(w, shape->name, shape->json);
    json_end(w);
    json_key(w, "parameters"), json_obj(w);
    parameter_components(w);
    json_end(w);
    json_key(w, "headers"), json_obj(w);
    header_components(w);
    json_end(w);
    json_key(w, "responses"), json_obj(w);
    response_components(w);
    json_end(w);
    put_raw(w, "securitySchemes",
            "{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\"},"
            "\"x-api-key\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"x-api-key\"}}");
    json_end(w);
}

void openapi_write(struct buf *out, bool debug) {
    struct json_out w = json_out_into(out);
    json_obj(&w);
    put_str(&w, "openapi", "3.1.0");
    json_key(&w, "info"), json_obj(&w);
    put_str(&w, "title", "hotseat");
    put_str(&w, "version", HOTSEAT_VERSION);
    put_str(&w, "description",
            "Many agents, several models, one seat. What JSON schemas can't say is in docs/api.md: which "
            "members need others, and that no key of an object holds a NUL.");
    json_end(&w);
    put_raw(&w, "servers", "[{\"url\":\"/\"}]");
    put_paths(&w, debug);
    put_components(&w);
    json_end(&w);
}
