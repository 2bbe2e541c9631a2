/* api_llama.h - llama-server's ways to ask what a model's vocabulary and template make of a text: POST /tokenize, /detokenize and
 * /apply-template. The tables of their parameters (api_reader.h has the rule) and the reading of their bodies
 * (api_llama_read() in api.h). The answers are in look_answer.h. Thread: pure; the tables are constant. */
#ifndef HOTSEAT_HTTP_API_LLAMA_H
#define HOTSEAT_HTTP_API_LLAMA_H

#include "http/api_reader.h"

enum look_api { LLAMA_TOKENIZE, LLAMA_DETOKENIZE, LLAMA_TEMPLATE };
const struct api_table *look_table(enum look_api api);

#endif
