/* openai_logits.c - the parameters about logits: logit_bias, logprobs, top_logprobs (api_openai.h). */
#include <string.h>

#include "http/api_openai.h"
#include "link/token_probs.h"

/* Digits as JSON writes an integer: every id has one way to be written, so that no token has two biases. */
static bool read_id(const char *key, int32_t *ret) {
    size_t n = strlen(key);
    if (n == 0 || n > 10 || strspn(key, "0123456789") != n || (n > 1 && key[0] == '0')) return false;
    int64_t id = 0;
    for (const char *c = key; *c; c++) id = id * 10 + (*c - '0');
    *ret = (int32_t)id;
    return id <= INT32_MAX;
}

bool openai_read_logit_bias(struct api_reader *r, const char *name, const struct json *v) {
    if (json_type(v) != JSON_OBJECT)
        return api_fail(r->error, ERR_INVALID, name, "must be an object of token ids and numbers, not %s",
                        json_type_name(json_type(v)));
    size_t n = json_count(v);
    if (n > LOGIT_BIAS_MAX)
        return api_fail(r->error, ERR_INVALID, name, "has %zu tokens; at most %d are taken", n,
                        LOGIT_BIAS_MAX);
    AUTO(buf_free) struct buf b = BUF(0);
    void *iter = NULL;
    const char *key;
    const struct json *value;
    while (json_next(v, &iter, &key, &value)) {
        char path[API_PATH_BYTES];
        int32_t id = 0;
        double bias = 0;
        if (!read_id(key, &id))
            return api_fail(r->error, ERR_INVALID, name,
                            "has the member '%.40s'; each is a token's id, as \"50256\"", key);
        api_path(path, "%s.%s", name, key);
        if (!api_take_number(r->error, path, value, -100, 100, &bias)) return false;
        token_bias_put(&b, id, bias);
    }
    return api_keep(r, &b, &r->request->submit.logit_bias);
}

bool openai_read_chat_logprobs(struct api_reader *r, const char *name UNUSED, const struct json *v) {
    r->request->submit.logprobs = json_bool(v, false);
    return true;
}

bool openai_read_top_logprobs(struct api_reader *r, const char *name, const struct json *v) {
    int64_t n = json_int(v, 0);
    if (n > 0 && !r->request->submit.logprobs)
        return api_fail(r->error, ERR_INVALID, name, "is only taken with \"logprobs\": true");
    if (n > 0) r->request->submit.logprobs = 1 + (uint32_t)n;
    return true;
}

bool openai_read_text_logprobs(struct api_reader *r, const char *name UNUSED, const struct json *v) {
    r->request->submit.logprobs = 1 + (uint32_t)json_int(v, 0);
    return true;
}
