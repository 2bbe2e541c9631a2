/* api_openai.h - OpenAI's two ways to ask for text, POST /v1/chat/completions and POST /v1/completions: the tables of
 * their parameters (api_reader.h has the rule) and the reading of their bodies (api_openai_read() in api.h). The answers are in
 * openai_answer.h. Thread: pure; the tables are constant. */
#ifndef HOTSEAT_HTTP_API_OPENAI_H
#define HOTSEAT_HTTP_API_OPENAI_H

#include "http/api_reader.h"

enum openai_api { OPENAI_CHAT, OPENAI_TEXT };
const struct api_param *openai_params(enum openai_api api, size_t *ret_count);

/* The readers of the larger parts (openai_messages.c, openai_tools.c); api_param_fn each. */
bool openai_read_messages(struct api_reader *r, const char *name, const struct json *v);
bool openai_read_tools(struct api_reader *r, const char *name, const struct json *v);
bool openai_read_tool_choice(struct api_reader *r, const char *name, const struct json *v);
bool openai_read_parallel(struct api_reader *r, const char *name, const struct json *v);
bool openai_read_response_format(struct api_reader *r, const char *name, const struct json *v);
bool openai_read_logit_bias(struct api_reader *r, const char *name, const struct json *v);
bool openai_read_chat_logprobs(struct api_reader *r, const char *name, const struct json *v);
bool openai_read_top_logprobs(struct api_reader *r, const char *name, const struct json *v);
bool openai_read_text_logprobs(struct api_reader *r, const char *name, const struct json *v);

#endif
