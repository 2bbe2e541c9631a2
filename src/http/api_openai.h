/* api_openai.h - OpenAI's two ways to ask for text, POST /v1/chat/completions and POST /v1/completions: the tables of
 * their parameters (api_reader.h has the rule) and the reading of their bodies (api_openai_read() in api.h). The answers are in
 * openai_answer.h. Thread: pure; the tables are constant. */
#ifndef HOTSEAT_HTTP_API_OPENAI_H
#define HOTSEAT_HTTP_API_OPENAI_H

#include "http/api_reader.h"

enum openai_api { OPENAI_CHAT, OPENAI_TEXT };
const struct api_table *openai_table(enum openai_api api);

/* The readers of the larger parts (openai_messages.c, openai_tools.c); api_param_fn each. */
bool openai_read_messages(struct api_reader *r, const char *name, const struct json *v);
bool openai_read_tools(struct api_reader *r, const char *name, const struct json *v);
bool openai_read_tool_choice(struct api_reader *r, const char *name, const struct json *v);
bool openai_read_response_format(struct api_reader *r, const char *name, const struct json *v);
bool openai_read_logit_bias(struct api_reader *r, const char *name, const struct json *v);
bool openai_read_chat_logprobs(struct api_reader *r, const char *name, const struct json *v);
bool openai_read_top_logprobs(struct api_reader *r, const char *name, const struct json *v);
bool openai_read_text_logprobs(struct api_reader *r, const char *name, const struct json *v);

/* The rows that make a chat's prompt. */
#define OPENAI_CHAT_INPUT_ROWS                                                                               \
    API_ROW("messages", openai_read_messages, "1 to " NUMERAL(MESSAGES_MAX) " messages; text only",          \
            API_IS_SHAPE("OpenAIMessages")),                                                                 \
        API_ROW("tools", openai_read_tools, "up to " NUMERAL(TOOLS_MAX) " functions",                        \
                API_IS_SHAPE("OpenAITools")),                                                                \
        API_ROW("tool_choice", openai_read_tool_choice, "none, auto, required, or one of the functions",     \
                API_IS_SHAPE("OpenAIToolChoice")),                                                           \
        API_FLAG_ROW(parallel_tool_calls, true, ""),                                                         \
        API_ROW("response_format", openai_read_response_format, "text, json_object or json_schema",          \
                API_IS_SHAPE("OpenAIResponseFormat")),                                                       \
        API_ROW("reasoning_effort", api_read_effort, "how much to think, if the template can say it",        \
                API_IS_SHAPE("Effort"))

#endif
