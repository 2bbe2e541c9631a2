/* api.h - what the readers of bodies (api_openai, api_anthropic, api_llama, api_admin) get and give. Plain data. Thread: the parse thread's, then
 * handed to the net thread. */
#ifndef HOTSEAT_HTTP_API_H
#define HOTSEAT_HTTP_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/json.h"
#include "front/request.h"
#include "http/routes.h"

#define API_ERROR_TEXT_BYTES 512
#define API_PATH_BYTES 160 /* "messages[2].content[0].type" */

struct api_input { /* borrows */
    enum route route;
    const void *body;
    size_t body_size;
    const char *agent_header, *priority_header, *timeout_header; /* X-Hotseat-Agent, ...; NULL: not sent */
    bool debug_header;                                           /* X-Hotseat-Debug: 1 */
    bool debug;                                                  /* the server runs with --debug */
};

/* How the replies to a request become bytes. */
enum answer_kind {
    ANSWER_JSON,    /* one REPLY_JSON */
    ANSWER_EVENTS,  /* SSE of REPLY_EVENT */
    ANSWER_CHAT,    /* OpenAI's chat completion */
    ANSWER_TEXT,    /* OpenAI's text completion */
    ANSWER_MESSAGE, /* Anthropic's message */
    ANSWER_COUNT,   /* Anthropic's count of tokens */
    ANSWER_TOKENS,  /* llama-server's: of /tokenize, */
    ANSWER_CONTENT, /* /detokenize, */
    ANSWER_PROMPT   /* and /apply-template */
};
struct answer_plan {
    enum answer_kind kind;
    bool stream;
    bool include_usage;
    bool logprobs;                    /* every choice has them */
    uint32_t n_choices, n_per_prompt; /* OpenAI's: in all, and to each prompt; 0: one */
};

struct api_error {
    enum err err; /* ERR_OK: none */
    char text[API_ERROR_TEXT_BYTES];
    char param[API_PATH_BYTES]; /* "": none */
};

struct api_parsed { /* owns; api_parsed_free() */
    struct api_error error;
    struct request *request; /* NULL when error is set */
    struct answer_plan plan;
    struct buf ignored; /* the value of X-Hotseat-Ignored, not NUL-terminated; may be empty */
};

void api_parsed_free(struct api_parsed *p); /* a zeroed one is fine */

/* Reads one body. Every failure is in ret->error, with the place and what would be right; *ret is to be freed always. */
void api_openai_read(const struct api_input *in, struct api_parsed *ret);
void api_anthropic_read(const struct api_input *in, struct api_parsed *ret);
void api_llama_read(const struct api_input *in, struct api_parsed *ret);
void api_admin_read(const struct api_input *in, struct api_parsed *ret);

/* Sets the error, once: the first one stays. Always false, so that a reader can `return api_fail(...)`. path NULL or "":
 * the error has no place. The text that people see is "path: text". */
bool api_fail(struct api_error *e, enum err err, const char *path, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* What a value may be. It stands in the row of a table that is walked with api_take_value(), and the OpenAPI document is written
 * from the same row (openapi.h). */
enum api_type {
    API_ANY,
    API_BOOL,
    API_INT,    /* from min to max */
    API_NUMBER, /* from min to max */
    API_WORD,   /* one of words, which the row's own reader sees to */
    API_SHAPE,  /* as the schema of this name in openapi_shapes.c says; the row's own reader sees to it */
    API_ONLY    /* the value that only is the JSON text of */
};
struct api_value {
    enum api_type type;
    int64_t min, max;
    const char *text;         /* of SHAPE: the schema's name; of ONLY: compact JSON */
    const char *const *words; /* ends with NULL */
};
#define API_IS_ANY                                                                                           \
    { API_ANY, 0, 0, NULL, NULL }
#define API_IS_BOOL                                                                                          \
    { API_BOOL, 0, 0, NULL, NULL }
#define API_IS_INT(min, max)                                                                                 \
    { API_INT, min, max, NULL, NULL }
#define API_IS_NUMBER(min, max)                                                                              \
    { API_NUMBER, min, max, NULL, NULL }
#define API_IS_WORD(words)                                                                                   \
    { API_WORD, 0, 0, NULL, words }
#define API_IS_SHAPE(name)                                                                                   \
    { API_SHAPE, 0, 0, name, NULL }
#define API_IS_ONLY(json)                                                                                    \
    { API_ONLY, 0, 0, json, NULL }

/* A place in a body, cut off when it is longer than people can read. */
void api_path(char out[API_PATH_BYTES], const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Typed reading with the place in the error. null and "not there" are the caller's business, before. */
bool api_take_bool(struct api_error *e, const char *path, const struct json *v, bool *ret);
bool api_take_int(struct api_error *e, const char *path, const struct json *v, int64_t min, int64_t max,
                  int64_t *ret);
bool api_take_number(struct api_error *e, const char *path, const struct json *v, double min, double max,
                     double *ret);
/* The type and range that is says of a BOOL, INT or NUMBER: false with the error set when v breaks it. Everything else passes. */
bool api_take_value(struct api_error *e, const char *path, const struct json *v, const struct api_value *is);
/* Whether v is the one value of an ONLY: numbers by their value, [] also for {}, everything else by its text. */
bool api_is_only(const struct json *v, const char *only);
/* A copy without NUL bytes inside, at most max_bytes; *ret is freed first. */
bool api_take_string(struct api_error *e, const char *path, const struct json *v, size_t max_bytes,
                     char **ret);
/* Likewise, of any size: of a name too long to be a model's so much is kept that it still is none. */
bool api_take_model(struct api_error *e, const char *path, const struct json *v, char **ret);

#endif
