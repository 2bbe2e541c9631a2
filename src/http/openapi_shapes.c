/* JSON as the preprocessor reads it: a shape's tokens become the text, so names out of limits.h become numbers. Therefore no header may
 * come in here that gives true, false or null another meaning (stdbool.h). Formatted by hand: to the formatter this is no C. */
#include "http/openapi_shapes.h"

#include "base/attr.h"
#include "base/limits.h"

#define TEXT(...) TEXT_OF(__VA_ARGS__)
#define TEXT_OF(...) #__VA_ARGS__
#define SHAPE(name, ...)                                                                                     \
    { #name, TEXT(__VA_ARGS__) }
/* clang-format off */
#define HASH # /* a macro with parameters may not hold one */
#define REF(name) {"$ref": TEXT(HASH/components/schemas/name)}
#define OR_NULL(...) {"anyOf": [__VA_ARGS__, {"type": "null"}]}
#define STRING {"type": "string"}
#define STRING_OR_NULL {"type": ["string", "null"]}
#define BOOLEAN {"type": "boolean"}
#define BOOLEAN_OR_NULL {"type": ["boolean", "null"]}
#define COUNT {"type": "integer", "minimum": 0}
#define TIME {"type": "number", "minimum": 0}
#define LIST(...) {"type": "array", "items": __VA_ARGS__}
#define NULL_ONLY {"type": "null"}

_Static_assert(LOOK_TOKENS_MAX == 1048576, "TokenIds has the number, because this macro is an expression");

const struct openapi_shape OPENAPI_SHAPES[] = {

/* ---- parts of requests ---- */

SHAPE(Text, STRING),
SHAPE(ModelName, {"type": "string", "minLength": 1, "maxLength": MODEL_ID_BYTES_MAX, "pattern": "^[^\\u0000]*$",
    "description": "An id or an alias of GET /v1/models. The length counts bytes of UTF-8."}),
SHAPE(AgentName, {"type": "string", "minLength": 1, "maxLength": AGENT_ID_BYTES_MAX,
    "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f/\\\\]+$", "not": {"enum": [".", ".."]},
    "description": "Who is talking. The length counts bytes of UTF-8."}),
SHAPE(AgentOrNobody, {"anyOf": [{"const": ""}, REF(AgentName)]}),
SHAPE(StopText, {"type": "string", "minLength": 1, "maxLength": STOP_BYTES_MAX, "description": "The length counts bytes of UTF-8."}),
SHAPE(Stops, {"type": "array", "maxItems": STOPS_MAX, "items": REF(StopText)}),
SHAPE(Stop, {"anyOf": [REF(StopText), REF(Stops)]}),
SHAPE(StreamOptions, {"type": "object", "properties": {"include_usage": BOOLEAN_OR_NULL, "include_obfuscation": {}}}),
SHAPE(LogitBias, {"type": "object", "maxProperties": LOGIT_BIAS_MAX, "propertyNames": {"pattern": "^(0|[1-9][0-9]{0,9})$"},
    "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100}, "description": "Of token ids."}),
SHAPE(TokenId, {"type": "integer", "minimum": 0, "maximum": 2147483647}),
SHAPE(TokenIds, {"type": "array", "maxItems": 1048576, "items": REF(TokenId)}),
SHAPE(OnePrompt, {"anyOf": [STRING, {"type": "array", "minItems": 1, "items": REF(TokenId)}]}),
SHAPE(Prompt, {"anyOf": [REF(OnePrompt), {"type": "array", "minItems": 1, "maxItems": CHOICES_MAX, "items": REF(OnePrompt)}]}),
SHAPE(FunctionName, {"type": "string", "minLength": 1, "maxLength": FUNCTION_NAME_BYTES_MAX, "pattern": "^[A-Za-z0-9_-]+$"}),
SHAPE(JsonSchema, {"type": "object", "description": "A JSON schema."}),

/* ---- OpenAI's ---- */

SHAPE(OpenAITextPart, {"type": "object", "required": ["type", "text"], "properties": {"type": {"const": "text"}, "text": STRING}}),
SHAPE(OpenAIRefusalPart, {"type": "object", "required": ["type", "refusal"],
    "properties": {"type": {"const": "refusal"}, "refusal": STRING}}),
SHAPE(OpenAIContent, {"anyOf": [STRING, {"type": "array", "minItems": 1, "items": REF(OpenAITextPart)}]}),
SHAPE(OpenAIToolCall, {"type": "object", "required": ["id", "type", "function"], "properties": {"id": STRING,
    "type": {"const": "function"}, "function": {"type": "object", "required": ["name", "arguments"],
        "properties": {"name": STRING, "arguments": STRING}}}}),
SHAPE(OpenAIPlainMessage, {"type": "object", "required": ["role", "content"], "properties": {
    "role": {"enum": ["system", "developer", "user"]}, "content": REF(OpenAIContent), "name": STRING_OR_NULL,
    "tool_calls": NULL_ONLY, "audio": NULL_ONLY, "function_call": NULL_ONLY}}),
SHAPE(OpenAIToolMessage, {"type": "object", "required": ["role", "content", "tool_call_id"], "properties": {
    "role": {"const": "tool"}, "content": REF(OpenAIContent), "tool_call_id": STRING, "name": STRING_OR_NULL,
    "tool_calls": NULL_ONLY, "audio": NULL_ONLY, "function_call": NULL_ONLY}}),
SHAPE(OpenAIAssistantMessage, {"type": "object", "required": ["role"], "properties": {
    "role": {"const": "assistant"},
    "content": {"anyOf": [STRING, NULL_ONLY,
        {"type": "array", "minItems": 1, "items": {"anyOf": [REF(OpenAITextPart), REF(OpenAIRefusalPart)]}}]},
    "refusal": {}, "reasoning_content": STRING_OR_NULL, "name": STRING_OR_NULL,
    "tool_calls": OR_NULL({"type": "array", "maxItems": TOOLS_MAX, "items": REF(OpenAIToolCall)}),
    "audio": NULL_ONLY, "function_call": NULL_ONLY},
    "anyOf": [{"required": ["content"], "properties": {"content": {"type": ["string", "array"]}}},
        {"required": ["refusal"], "properties": {"refusal": STRING}},
        {"required": ["tool_calls"], "properties": {"tool_calls": {"type": "array", "minItems": 1}}}]}),
SHAPE(OpenAIMessages, {"type": "array", "minItems": 1, "maxItems": MESSAGES_MAX,
    "items": {"anyOf": [REF(OpenAIPlainMessage), REF(OpenAIAssistantMessage), REF(OpenAIToolMessage)]}}),
SHAPE(OpenAITools, {"type": "array", "maxItems": TOOLS_MAX, "items": {"type": "object", "required": ["type", "function"],
    "properties": {"type": {"const": "function"}, "function": {"type": "object", "required": ["name"], "properties": {
        "name": REF(FunctionName), "description": STRING_OR_NULL, "parameters": OR_NULL(REF(JsonSchema)),
        "strict": BOOLEAN_OR_NULL}}}}, "description": "No two have the same name."}),
SHAPE(OpenAIToolChoice, {"anyOf": [{"enum": ["none", "auto", "required"]}, {"type": "object", "required": ["type", "function"],
    "properties": {"type": {"const": "function"}, "function": {"type": "object", "required": ["name"],
        "properties": {"name": REF(FunctionName)}}}}]}),
SHAPE(OpenAIResponseFormat, {"anyOf": [
    {"type": "object", "required": ["type"], "properties": {"type": {"const": "text"}}},
    {"type": "object", "required": ["type"], "properties": {"type": {"const": "json_object"}, "schema": OR_NULL(REF(JsonSchema))}},
    {"type": "object", "required": ["type", "json_schema"], "properties": {"type": {"const": "json_schema"},
        "json_schema": {"type": "object", "required": ["schema"], "properties": {"name": {}, "description": {},
            "schema": REF(JsonSchema), "strict": BOOLEAN_OR_NULL}}}}]}),

SHAPE(Effort, {"enum": [EFFORT_WORDS]}),
SHAPE(HotseatFigures, {"type": "object", "required": ["model", "agent", "queue_ms", "swap_ms", "restore_ms", "prefill_ms",
        "prefill_tokens", "first_token_ms", "decode_ms", "decode_tokens"],
    "properties": {"model": STRING, "agent": STRING_OR_NULL, "queue_ms": TIME, "swap_ms": TIME, "restore_ms": TIME, "prefill_ms": TIME,
        "prefill_tokens": COUNT, "first_token_ms": TIME, "decode_ms": TIME, "decode_tokens": COUNT,
        "debug": {"type": "object", "required": ["first_logits_xxh3", "kv_xxh3", "decoded_tokens"],
            "properties": {"first_logits_xxh3": STRING, "kv_xxh3": STRING, "decoded_tokens": COUNT}}}}),
SHAPE(OpenAIUsage, {"type": "object", "required": ["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"],
    "properties": {"prompt_tokens": COUNT, "completion_tokens": COUNT, "total_tokens": COUNT, "prompt_tokens_details":
        {"type": "object", "required": ["cached_tokens"], "properties": {"cached_tokens": COUNT}}}}),
SHAPE(TokenLogprob, {"type": "object", "required": ["token", "logprob", "bytes"], "properties": {"token": STRING,
    "logprob": {"type": "number"}, "bytes": OR_NULL(LIST({"type": "integer", "minimum": 0, "maximum": 255}))}}),
SHAPE(ChatLogprobs, {"type": "object", "required": ["content", "refusal"], "properties": {"refusal": NULL_ONLY,
    "content": OR_NULL(LIST({"type": "object", "required": ["token", "logprob", "bytes", "top_logprobs"], "properties": {
        "token": STRING, "logprob": {"type": "number"}, "bytes": OR_NULL(LIST(COUNT)), "top_logprobs": LIST(REF(TokenLogprob))}}))}}),
SHAPE(TextLogprobs, {"type": "object", "required": ["tokens", "token_logprobs", "top_logprobs", "text_offset"], "properties": {
    "tokens": LIST(STRING), "token_logprobs": LIST({"type": "number"}), "text_offset": LIST(COUNT),
    "top_logprobs": LIST({"type": "object", "additionalProperties": {"type": "number"}})}}),
SHAPE(FinishReason, {"enum": ["stop", "length", "tool_calls"]}),
SHAPE(ChatCompletion, {"type": "object", "required": ["id", "object", "created", "model", "system_fingerprint", "choices", "usage",
        "hotseat"],
    "properties": {"id": STRING, "object": {"const": "chat.completion"}, "created": COUNT, "model": STRING,
        "system_fingerprint": STRING, "usage": REF(OpenAIUsage), "hotseat": REF(HotseatFigures),
        "choices": {"type": "array", "minItems": 1, "maxItems": CHOICES_MAX, "items": {"type": "object",
            "required": ["index", "message", "logprobs", "finish_reason"], "properties": {"index": COUNT,
                "logprobs": OR_NULL(REF(ChatLogprobs)), "finish_reason": REF(FinishReason),
                "message": {"type": "object", "required": ["role", "content", "refusal"], "properties": {
                    "role": {"const": "assistant"}, "content": STRING_OR_NULL, "refusal": NULL_ONLY, "reasoning_content": STRING,
                    "tool_calls": LIST(REF(OpenAIToolCall))}}}}}}}),
SHAPE(ChatCompletionChunk, {"type": "object", "required": ["id", "object", "created", "model", "system_fingerprint", "choices"],
    "properties": {"id": STRING, "object": {"const": "chat.completion.chunk"}, "created": COUNT, "model": STRING,
        "system_fingerprint": STRING, "usage": OR_NULL(REF(OpenAIUsage)), "hotseat": REF(HotseatFigures),
        "choices": LIST({"type": "object", "required": ["index", "delta", "logprobs", "finish_reason"], "properties": {
            "index": COUNT, "logprobs": OR_NULL(REF(ChatLogprobs)), "finish_reason": OR_NULL(REF(FinishReason)),
            "delta": {"type": "object", "properties": {"role": {"const": "assistant"}, "content": STRING, "reasoning_content": STRING,
                "tool_calls": LIST({"type": "object", "required": ["index"], "properties": {"index": COUNT, "id": STRING,
                    "type": {"const": "function"}, "function": {"type": "object", "properties": {"name": STRING,
                        "arguments": STRING}}}})}}}})}}),
SHAPE(TextCompletion, {"type": "object", "required": ["id", "object", "created", "model", "system_fingerprint", "choices"],
    "properties": {"id": STRING, "object": {"const": "text_completion"}, "created": COUNT, "model": STRING,
        "system_fingerprint": STRING, "usage": OR_NULL(REF(OpenAIUsage)), "hotseat": REF(HotseatFigures),
        "choices": LIST({"type": "object", "required": ["index", "text", "logprobs", "finish_reason"], "properties": {
            "index": COUNT, "text": STRING, "logprobs": OR_NULL(REF(TextLogprobs)),
            "finish_reason": OR_NULL(REF(FinishReason))}})},
    "description": "A whole answer, with usage and hotseat; also each event of a stream."}),
SHAPE(ChatCompletionEvent, {"anyOf": [REF(ChatCompletionChunk), REF(OpenAIError)]}),
SHAPE(TextCompletionEvent, {"anyOf": [REF(TextCompletion), REF(OpenAIError)]}),
SHAPE(OpenAIModel, {"type": "object", "required": ["id", "object", "created", "owned_by", "hotseat"], "properties": {"id": STRING,
    "object": {"const": "model"}, "created": COUNT, "owned_by": STRING, "hotseat": {"type": "object",
        "required": ["seated", "state", "architecture", "parameters", "file_bytes", "context", "cached_agents", "aliases"],
        "properties": {"seated": BOOLEAN, "state": STRING, "architecture": STRING, "parameters": COUNT, "file_bytes": COUNT,
            "context": COUNT, "cached_agents": COUNT, "aliases": LIST(STRING), "reason": STRING}}}}),
SHAPE(OpenAIModels, {"type": "object", "required": ["object", "data"],
    "properties": {"object": {"const": "list"}, "data": LIST(REF(OpenAIModel))}}),
SHAPE(OpenAIError, {"type": "object", "required": ["error"], "properties": {"error": {"type": "object",
    "required": ["message", "type", "code", "param"], "additionalProperties": true, "properties": {
        "message": STRING, "code": REF(ErrorCode), "param": STRING_OR_NULL, "retry_after_s": {"type": "integer", "minimum": 1},
        "type": {"enum": ["invalid_request_error", "authentication_error", "permission_error", "not_found_error", "rate_limit_error",
            "server_error"]}}}}}),

/* ---- Anthropic's ---- */

SHAPE(AnthropicText, {"type": "object", "required": ["type", "text"], "properties": {"type": {"const": "text"}, "text": STRING}}),
SHAPE(AnthropicThinkingBlock, {"type": "object", "required": ["type", "thinking"], "properties": {"type": {"const": "thinking"},
    "thinking": STRING, "signature": {}}}),
SHAPE(AnthropicToolUse, {"type": "object", "required": ["type", "id", "name", "input"], "properties": {"type": {"const": "tool_use"},
    "id": STRING, "name": STRING, "input": {"type": "object"}}}),
SHAPE(AnthropicTexts, {"anyOf": [STRING, LIST(REF(AnthropicText))]}),
SHAPE(AnthropicToolResult, {"type": "object", "required": ["type", "tool_use_id"], "properties": {"type": {"const": "tool_result"},
    "tool_use_id": STRING, "content": OR_NULL(REF(AnthropicTexts)), "is_error": BOOLEAN_OR_NULL}}),
SHAPE(AnthropicMessages, {"type": "array", "minItems": 1, "maxItems": MESSAGES_MAX, "items": {"anyOf": [
    {"type": "object", "required": ["role", "content"], "properties": {"role": {"const": "system"},
        "content": {"anyOf": [STRING, {"type": "array", "minItems": 1, "items": REF(AnthropicText)}]}}},
    {"type": "object", "required": ["role", "content"], "properties": {"role": {"const": "user"},
        "content": {"anyOf": [STRING, {"type": "array", "minItems": 1, "items":
            {"anyOf": [REF(AnthropicText), REF(AnthropicToolResult)]}}]}}},
    {"type": "object", "required": ["role", "content"], "properties": {"role": {"const": "assistant"},
        "content": {"anyOf": [STRING, LIST({"anyOf": [REF(AnthropicText), REF(AnthropicThinkingBlock), REF(AnthropicToolUse)]})]}}}]}}),
SHAPE(AnthropicSystem, REF(AnthropicTexts)),
SHAPE(AnthropicTools, {"type": "array", "maxItems": TOOLS_MAX, "items": {"type": "object", "required": ["name", "input_schema"],
    "properties": {"type": {"enum": ["custom", null]}, "name": REF(FunctionName), "description": STRING_OR_NULL,
        "input_schema": REF(JsonSchema), "strict": BOOLEAN_OR_NULL}}, "description": "No two have the same name."}),
SHAPE(AnthropicToolChoice, {"anyOf": [
    {"type": "object", "required": ["type"], "properties": {"type": {"enum": ["auto", "any", "none"]},
        "disable_parallel_tool_use": BOOLEAN_OR_NULL}},
    {"type": "object", "required": ["type", "name"], "properties": {"type": {"const": "tool"}, "name": REF(FunctionName),
        "disable_parallel_tool_use": BOOLEAN_OR_NULL}}]}),
SHAPE(AnthropicThinking, {"type": "object", "required": ["type"], "properties": {"type": {"enum": ["enabled", "adaptive", "disabled"]},
    "display": {"enum": ["summarized", null]}}}),
SHAPE(AnthropicOutputConfig, {"type": "object", "properties": {"effort": OR_NULL(REF(Effort)),
    "format": OR_NULL({"type": "object", "required": ["type", "schema"], "properties": {"type": {"const": "json_schema"},
        "schema": REF(JsonSchema)}})}}),
SHAPE(AnthropicContextManagement, {"type": "object", "properties": {"edits": OR_NULL({"type": "array",
    "items": {"type": "object", "required": ["type", "keep"], "properties": {"type": {"const": "clear_thinking_20251015"},
        "keep": {"anyOf": [{"const": "all"}, {"type": "object", "required": ["type"], "properties": {"type": {"const": "all"}}}]}}}})}}),
SHAPE(AnthropicMetadata, {"type": "object", "properties": {"user_id": OR_NULL(REF(AgentOrNobody))}}),
SHAPE(AnthropicUsage, {"type": "object", "required": ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens",
        "output_tokens"],
    "properties": {"input_tokens": COUNT, "cache_creation_input_tokens": {"const": 0}, "cache_read_input_tokens": COUNT,
        "output_tokens": COUNT}}),
SHAPE(AnthropicStopReason, {"enum": ["end_turn", "max_tokens", "stop_sequence", "tool_use"]}),
SHAPE(AnthropicMessage, {"type": "object", "required": ["id", "type", "role", "model", "content", "stop_reason", "stop_sequence",
        "usage"],
    "properties": {"id": STRING, "type": {"const": "message"}, "role": {"const": "assistant"}, "model": STRING,
        "content": LIST({"anyOf": [REF(AnthropicText), REF(AnthropicThinkingBlock), REF(AnthropicToolUse)]}),
        "stop_reason": OR_NULL(REF(AnthropicStopReason)), "stop_sequence": STRING_OR_NULL, "usage": REF(AnthropicUsage),
        "hotseat": REF(HotseatFigures)},
    "description": "A whole answer has hotseat; as part of the event message_start it has none, and no stop_reason."}),
SHAPE(AnthropicEvent, {"anyOf": [
    {"type": "object", "required": ["type"], "properties": {"type": {"enum": ["ping", "message_stop"]}}},
    {"type": "object", "required": ["type", "message"], "properties": {"type": {"const": "message_start"},
        "message": REF(AnthropicMessage)}},
    {"type": "object", "required": ["type", "index", "content_block"], "properties": {"type": {"const": "content_block_start"},
        "index": COUNT, "content_block": {"anyOf": [REF(AnthropicText), REF(AnthropicThinkingBlock), REF(AnthropicToolUse)]}}},
    {"type": "object", "required": ["type", "index", "delta"], "properties": {"type": {"const": "content_block_delta"},
        "index": COUNT, "delta": {"type": "object", "required": ["type"], "properties": {
            "type": {"enum": ["text_delta", "thinking_delta", "input_json_delta"]}, "text": STRING, "thinking": STRING,
            "partial_json": STRING}}}},
    {"type": "object", "required": ["type", "index"], "properties": {"type": {"const": "content_block_stop"}, "index": COUNT}},
    {"type": "object", "required": ["type", "delta", "usage", "hotseat"], "properties": {"type": {"const": "message_delta"},
        "usage": REF(AnthropicUsage), "hotseat": REF(HotseatFigures), "delta": {"type": "object",
            "required": ["stop_reason", "stop_sequence"],
            "properties": {"stop_reason": REF(AnthropicStopReason), "stop_sequence": STRING_OR_NULL}}}},
    REF(AnthropicError)]}),
SHAPE(AnthropicCount, {"type": "object", "required": ["input_tokens"], "properties": {"input_tokens": COUNT}}),
SHAPE(AnthropicModel, {"type": "object", "required": ["type", "id", "display_name", "created_at", "lifecycle", "max_input_tokens",
        "max_tokens"],
    "properties": {"type": {"const": "model"}, "id": STRING, "display_name": STRING,
        "created_at": {"type": "string", "format": "date-time"}, "lifecycle": {"const": "active"}, "max_input_tokens": COUNT,
        "max_tokens": COUNT}}),
SHAPE(AnthropicModels, {"type": "object", "required": ["data", "has_more", "first_id", "last_id"], "properties": {
    "data": LIST(REF(AnthropicModel)), "has_more": BOOLEAN, "first_id": STRING_OR_NULL, "last_id": STRING_OR_NULL}}),
SHAPE(AnthropicError, {"type": "object", "required": ["type", "error", "request_id"], "properties": {"type": {"const": "error"},
    "request_id": STRING_OR_NULL, "error": {"type": "object", "required": ["type", "message", "code", "param"],
        "additionalProperties": true, "properties": {"message": STRING, "code": REF(ErrorCode), "param": STRING_OR_NULL,
            "retry_after_s": {"type": "integer", "minimum": 1},
            "type": {"enum": ["invalid_request_error", "authentication_error", "permission_error", "not_found_error", "timeout_error",
                "request_too_large", "rate_limit_error", "api_error", "overloaded_error"]}}}}}),

/* ---- llama-server's ---- */

SHAPE(Tokens, {"type": "object", "required": ["tokens"], "properties": {"tokens": {"anyOf": [LIST(REF(TokenId)),
    LIST({"type": "object", "required": ["id", "piece"], "properties": {"id": REF(TokenId),
        "piece": {"anyOf": [STRING, LIST({"type": "integer", "minimum": 0, "maximum": 255})]}}})]}}}),
SHAPE(Content, {"type": "object", "required": ["content"], "properties": {"content": STRING}}),
SHAPE(PromptText, {"type": "object", "required": ["prompt"], "properties": {"prompt": STRING}}),

/* ---- health, administration ---- */

SHAPE(Live, {"type": "object", "required": ["status"], "properties": {"status": {"const": "live"}}}),
SHAPE(Ready, {"type": "object", "required": ["status"], "properties": {"status": {"enum": ["ready", "empty"]}}}),
SHAPE(NotReady, {"type": "object", "required": ["status"],
    "properties": {"status": {"enum": ["loading", "swapping", "failed", "stopping"]}}}),
SHAPE(SwapRecord, {"type": "object", "required": ["status", "id", "from", "to", "kind", "cause", "started", "steps_ms", "total_ms",
        "blocks_written", "bytes_written", "unsaved", "parked", "memory"],
    "properties": {"status": {"enum": ["under_way", "swapped", "joined", "offloaded", "rolled_back", "failed"]}, "id": COUNT,
        "from": STRING_OR_NULL, "to": STRING_OR_NULL, "kind": {"enum": ["hot", "process"]},
        "cause": {"enum": ["start", "admin", "turn", "recover"]}, "started": TIME,
        "steps_ms": {"type": "object", "required": ["drain", "evict", "unload", "load", "configure"], "properties": {"drain": TIME,
            "evict": TIME, "unload": TIME, "start": TIME, "load": TIME, "configure": TIME}},
        "total_ms": {"type": "number"}, "blocks_written": COUNT, "bytes_written": COUNT, "unsaved": COUNT, "parked": COUNT,
        "memory": {"type": "object", "required": ["before_bytes", "unloaded_bytes", "after_bytes"],
            "properties": {"before_bytes": COUNT, "unloaded_bytes": COUNT, "after_bytes": COUNT}},
        "reason": STRING}}),
SHAPE(SwapDone, {"anyOf": [REF(SwapRecord), {"type": "object", "required": ["status", "from", "to"], "properties": {
    "status": {"enum": ["already_seated", "already_empty"]}, "from": STRING_OR_NULL, "to": STRING_OR_NULL}}]}),
SHAPE(SwapBegun, {"type": "object", "required": ["id", "state", "to"], "properties": {"id": COUNT, "state": REF(SwapState),
    "to": STRING_OR_NULL}}),
SHAPE(SwapStatus, {"type": "object", "required": ["state", "step", "percent", "from", "to", "elapsed_ms", "eta_ms", "model",
        "waiting_swaps", "swaps"],
    "properties": {"id": COUNT, "state": REF(SwapState), "step": STRING_OR_NULL, "percent": COUNT, "from": STRING_OR_NULL,
        "to": STRING_OR_NULL, "elapsed_ms": COUNT, "eta_ms": COUNT, "model": STRING_OR_NULL, "waiting_swaps": COUNT,
        "swaps": {"type": "array", "maxItems": SWAP_HISTORY, "items": REF(SwapRecord)}}}),
SHAPE(Current, {"type": "object", "required": ["model", "state", "running", "agents_resident", "memory_bytes", "engine",
        "engine_version", "generation"],
    "properties": {"model": STRING_OR_NULL, "state": REF(SwapState), "path": STRING, "architecture": STRING_OR_NULL, "kv": STRING,
        "seated_ms": TIME, "context": COUNT, "cells": COUNT, "cells_used": COUNT, "blocks": COUNT, "sequences": COUNT,
        "pool_bytes": COUNT, "compute_bytes": COUNT, "weights_bytes": COUNT, "tag": STRING, "cache_on": BOOLEAN,
        "cache_reason": STRING, "running": COUNT, "agents_resident": COUNT, "memory_bytes": COUNT, "engine": STRING_OR_NULL,
        "engine_version": STRING_OR_NULL, "generation": COUNT}}),
SHAPE(AvailableModels, {"type": "object", "required": ["models"], "properties": {"models": LIST({"type": "object",
    "required": ["id", "state", "reason", "seated", "path", "architecture", "parameters", "file_bytes", "context", "kv", "repack",
        "pinned", "waiting", "aliases"],
    "properties": {"id": STRING, "state": STRING, "reason": STRING_OR_NULL, "retry_after_s": COUNT, "seated": BOOLEAN, "path": STRING,
        "architecture": STRING_OR_NULL, "parameters": COUNT, "file_bytes": COUNT, "context": COUNT, "kv": STRING, "repack": BOOLEAN,
        "pinned": BOOLEAN, "waiting": COUNT, "weights_bytes": COUNT, "compute_bytes": COUNT, "kv_bytes_per_token": COUNT,
        "window_bytes_per_sequence": COUNT, "aliases": LIST(STRING)}})}}),
SHAPE(Agent, {"type": "object", "required": ["id", "model", "tokens", "blocks", "bytes", "resident", "saved"], "properties": {
    "id": STRING, "model": STRING, "tokens": COUNT, "blocks": COUNT, "bytes": COUNT, "last_used": COUNT, "pinned": BOOLEAN,
    "chains": COUNT, "resident": BOOLEAN, "saved": BOOLEAN}}),
SHAPE(Agents, {"type": "object", "required": ["agents"], "properties": {"agents": LIST(REF(Agent))}}),
SHAPE(Ps, {"type": "object", "required": ["seat", "running", "waiting", "queues", "streams"], "properties": {
    "seat": {"type": "object", "required": ["model", "state", "step", "percent", "from", "to", "elapsed_ms", "eta_ms", "memory_bytes"],
        "properties": {"model": STRING_OR_NULL, "state": REF(SwapState), "step": STRING_OR_NULL, "percent": COUNT,
            "from": STRING_OR_NULL, "to": STRING_OR_NULL, "elapsed_ms": COUNT, "eta_ms": COUNT, "memory_bytes": COUNT}},
    "running": COUNT, "waiting": COUNT,
    "queues": LIST({"type": "object", "required": ["model", "waiting", "oldest_ms", "eta_ms"],
        "properties": {"model": STRING, "waiting": COUNT, "oldest_ms": COUNT, "eta_ms": COUNT}}),
    "streams": LIST({"type": "object", "required": ["model", "agent", "request_id", "state", "priority", "tokens", "since_ms"],
        "properties": {"model": STRING, "agent": STRING_OR_NULL, "request_id": STRING, "state": {"enum": ["running", "parked"]},
            "priority": REF(Priority), "tokens": COUNT, "since_ms": TIME}}),
    "agents": OR_NULL(LIST(REF(Agent)))}}),
SHAPE(AgentDeleted, {"type": "object", "required": ["deleted", "files", "bytes"],
    "properties": {"deleted": COUNT, "files": COUNT, "bytes": COUNT}}),
SHAPE(CacheDeleted, {"type": "object", "required": ["files", "bytes"], "properties": {"files": COUNT, "bytes": COUNT}}),
SHAPE(Cache, {"type": "object", "required": ["bytes", "budget_bytes", "blocks", "scanning", "hits", "misses", "models"], "properties": {
    "on": {"const": false}, "reason": STRING, "bytes": COUNT, "budget_bytes": COUNT, "blocks": COUNT, "scanning": BOOLEAN,
    "hits": COUNT, "misses": COUNT, "corrupt": COUNT, "evicted": COUNT, "quarantined": COUNT, "written_today_bytes": COUNT,
    "write_per_day_bytes": COUNT, "refused": {"type": "object", "additionalProperties": COUNT},
    "models": LIST({"type": "object", "required": ["model", "tag", "blocks", "bytes", "agents"], "properties": {"model": STRING,
        "tag": STRING, "blocks": COUNT, "bytes": COUNT, "agents": COUNT}})}}),
SHAPE(Done, {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}, "fault": STRING}}),
SHAPE(Reloaded, {"type": "object", "required": ["status", "config", "models", "differs_from_start", "needs_restart"], "properties": {
    "status": {"const": "reloaded"}, "config": STRING_OR_NULL, "models": COUNT, "differs_from_start": LIST(STRING),
    "needs_restart": LIST(STRING)}}),
SHAPE(Event, {"type": "object", "additionalProperties": true}),
SHAPE(OpenAPI, {"type": "object", "required": ["openapi"], "properties": {"openapi": {"const": "3.1.0"}},
    "additionalProperties": true}),
{0, 0}};
