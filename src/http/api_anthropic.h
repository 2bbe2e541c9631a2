/* api_anthropic.h - Anthropic's way to ask for text, POST /v1/messages, and for its length, POST /v1/messages/count_tokens: the
 * tables of their parameters (api_reader.h has the rule) and the reading of their bodies (api_anthropic_read() in api.h), which
 * gives the seat the same messages and tools as an OpenAI body does. The answers are in anthropic_answer.h.
 * Thread: pure; the tables are constant. */
#ifndef HOTSEAT_HTTP_API_ANTHROPIC_H
#define HOTSEAT_HTTP_API_ANTHROPIC_H

#include "http/api_reader.h"

enum anthropic_api { ANTHROPIC_MESSAGES, ANTHROPIC_COUNT };
const struct api_table *anthropic_table(enum anthropic_api api);

/* The readers of the larger parts (anthropic_messages.c, anthropic_tools.c); api_param_fn each. */
bool anthropic_read_messages(struct api_reader *r, const char *name, const struct json *v); /* and system */
bool anthropic_read_tools(struct api_reader *r, const char *name, const struct json *v);
bool anthropic_read_tool_choice(struct api_reader *r, const char *name, const struct json *v);

#endif
