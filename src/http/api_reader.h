/* api_reader.h - reading the body of a request for text, whichever API it speaks: the table of an API's parameters, the walk over
 * it, and what several of them have in common. api_openai.c, api_anthropic.c and api_llama.c bring their tables.
 *
 * The ignored-nothing rule: every parameter has one row that says what becomes of it.
 *   HONOURED   it does what the API's reference says
 *   NO_EFFECT  it can't change the text; accepted in any value of the right kind
 *   NEUTRAL    it would change the text and is not supported: only the value that asks for nothing is accepted
 * null stands for "not given", but not for a parameter that must be there. What is in no row is accepted and named in
 * X-Hotseat-Ignored. Thread: pure; the tables are constant. */
#ifndef HOTSEAT_HTTP_API_READER_H
#define HOTSEAT_HTTP_API_READER_H

#include "http/api.h"

#define API_AGENT_NAMES 2
#define API_REQUIRED_MAX 2 /* parameters of one table that must be there */

enum api_rule { API_HONOURED, API_NO_EFFECT, API_NEUTRAL };

/* One body while it is read. */
struct api_reader {
    const struct json *root;
    struct request *request;
    struct api_parsed *out;
    struct api_error *error;
    int64_t max_tokens, max_completion_tokens; /* 0: not given */
    char *agents
        [API_AGENT_NAMES]; /* owned; who the body says is talking, the better name first; NULL: it does not */
};

/* Stores v, which is not null (but for a parameter that must be there) and has the row's type and range; false when an error was set. */
typedef bool (*api_param_fn)(struct api_reader *r, const char *name, const struct json *v);
struct api_param {
    const char *name;
    enum api_rule rule;
    api_param_fn fn;  /* HONOURED; NULL: the value, or the default, goes into the request's field as it is */
    const char *text; /* for people: range and default, or the neutral value */
    struct api_value value;
    size_t
        field; /* without fn: where in struct msg_submit; its type goes by value: uint32_t, int64_t, double */
    double otherwise; /* without fn: the default */
};
const char *api_rule_name(enum api_rule rule); /* "honoured" */

/* Rows whose text is made of the numbers that are checked. more: what else there is to say, "" or "; ..." */
#define API_NUMBER_ROW(field, min, max, otherwise, more)                                                     \
    {                                                                                                        \
#field, API_HONOURED, NULL, #min " to " #max ", default " #otherwise more, API_IS_NUMBER(min, max),  \
            offsetof(struct msg_submit, field), otherwise                                                    \
    }
#define API_COUNT_ROW(field, min, otherwise, more)                                                           \
    {                                                                                                        \
#field, API_HONOURED, NULL, #min " or more, default " #otherwise more, API_IS_INT(min, INT32_MAX),   \
            offsetof(struct msg_submit, field), otherwise                                                    \
    }
#define API_FLAG_ROW(field, otherwise, more)                                                                 \
    {                                                                                                        \
#field, API_HONOURED, NULL, "true or false, default " #otherwise more, API_IS_BOOL,                  \
            offsetof(struct msg_submit, field), otherwise                                                    \
    }
#define API_NO_EFFECT_ROW(name, why)                                                                         \
    { name, API_NO_EFFECT, NULL, why, API_IS_ANY, 0, 0 }
/* json: the neutral value. */
#define API_NEUTRAL_ROW(name, json, more)                                                                    \
    { name, API_NEUTRAL, NULL, #json more, API_IS_ONLY(#json), 0, 0 }
#define API_ROW(name, fn, text, ...)                                                                         \
    { name, API_HONOURED, fn, text, __VA_ARGS__, 0, 0 }
#define API_MODEL_ROW                                                                                        \
    API_ROW("model", api_read_model, "an id, an alias, or absent / \"default\": whatever is seated",         \
            API_IS_SHAPE("ModelName"))

/* One route's body. */
struct api_table {
    const struct api_param *params; /* read in this order */
    size_t n_params, n_required;    /* the first n_required of them must be there */
    enum msg_kind kind;
    enum answer_kind answer;
    bool (*settle)(struct api_reader *r); /* what the parameters mean together; NULL: nothing */
};
/* As api_openai_read() in api.h. Reads the body by the table, and the headers that every request for text may have. */
void api_read_by(const struct api_table *table, const struct api_input *in, struct api_parsed *ret);

/* ---- for the rows ---- */

void api_ignored(struct api_reader *r, const char *name);
/* Names every member of object that is not null and not in known (ends with NULL), as path.member. */
void api_ignored_others(struct api_reader *r, const char *path, const struct json *object,
                        const char *const *known);
bool api_is_given(const struct json *v); /* there, and not null */
/* False with the error set: it is no array (no object). */
bool api_take_array(struct api_reader *r, const char *path, const struct json *v);
bool api_take_object(struct api_reader *r, const char *path, const struct json *v);
/* The text of the member key, NULL with the error set when it is missing or no string. */
const char *api_text_of(struct api_reader *r, const char *path, const struct json *object, const char *key,
                        size_t *ret_size);
/* {"type": ..} of an object, or NULL with the error set. */
const char *api_type_of(struct api_reader *r, const char *path, const struct json *v);
bool api_no_memory(struct api_reader *r, const char *path); /* sets the error; false */
/* Writes b's bytes to *ret, which owns them then. */
bool api_keep(struct api_reader *r, struct buf *b, struct msg_bytes *ret);
/* The schema that the answer must match. What no grammar can hold of it (json_schema.h) is an error at its place when strict, else
 * ignored by name. */
bool api_keep_schema(struct api_reader *r, const char *path, const struct json *schema, bool strict);
/* False with the error set: the engine can't be given it (json_schema.h, costly). */
bool api_schema_is_cheap(struct api_reader *r, const char *path, const struct json *schema);

/* An agent's id; an empty text is no name. */
bool api_take_agent(struct api_reader *r, const char *path, const struct json *v, char **ret);
/* A function may have it: 1 to 64 letters, digits, '_' and '-'. */
bool api_function_name_ok(const char *s, size_t size);
/* "none", "auto", "required" or a function's name; a function whose name is one of the words can't be chosen (error at path). */
bool api_choose_word(struct api_reader *r, const char *path, const char *word);
bool api_choose_function(struct api_reader *r, const char *path, const char *name);

/* How much to think: "none" is not at all, the other words are the template's business. */
bool api_read_effort(struct api_reader *r, const char *path, const struct json *v);

/* Rows that are the same in several tables; api_param_fn each. */
bool api_read_model(struct api_reader *r, const char *name, const struct json *v);
bool api_read_stream(struct api_reader *r, const char *name, const struct json *v);
bool api_read_stops(struct api_reader *r, const char *name, const struct json *v); /* an array of strings */
bool api_read_token_ids(struct api_reader *r, const char *name, const struct json *v,
                        struct msg_tokens *ids); /* an array */
bool api_read_max_tokens(struct api_reader *r, const char *name, const struct json *v);
bool api_is_word(const struct json *v, const char *word);

#endif
