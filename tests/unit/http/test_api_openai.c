/* Every parameter of both APIs, one row each: a value that is taken, one that is refused, and the place in the refusal. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/api_openai.h"
#include "link/token_probs.h"

static struct api_parsed read_as(enum openai_api api, const char *body, const char *agent_header) {
    struct api_parsed p;
    struct api_input in = {.route = api == OPENAI_CHAT ? ROUTE_CHAT : ROUTE_COMPLETIONS,
                           .body = body,
                           .body_size = strlen(body),
                           .agent_header = agent_header};
    api_openai_read(&in, &p);
    ck_assert_msg((p.error.err == ERR_OK) == (p.request != NULL), "%s: both or neither", body);
    return p;
}

static struct api_parsed read_headers(const char *priority, const char *timeout) {
    static const char body[] = "{\"prompt\":\"x\"}";
    struct api_parsed p;
    struct api_input in = {.route = ROUTE_COMPLETIONS,
                           .body = body,
                           .body_size = sizeof body - 1,
                           .priority_header = priority,
                           .timeout_header = timeout};
    api_openai_read(&in, &p);
    return p;
}

static struct api_parsed read_with(enum openai_api api, const char *member) {
    static char body[8192];
    const char *base =
        api == OPENAI_CHAT ? "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" : "\"prompt\":\"hi\"";
    bool own = strstr(member, api == OPENAI_CHAT ? "\"messages\":" : "\"prompt\":") == member;
    snprintf(body, sizeof body, "{%s%s%s}", own ? "" : base, own || !member[0] ? "" : ",", member);
    return read_as(api, body, NULL);
}

static bool in_ignored(const struct api_parsed *p, const char *name) {
    return p->ignored.size > 0 && memmem(p->ignored.data, p->ignored.size, name, strlen(name));
}

#define TOOL "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\"}}}"
#define MESSAGE(inner) "\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{" inner "}]"

enum { CHAT = 1, TEXT = 2, BOTH = 3 };

#define SIXTEEN "\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\""

struct row {
    int apis;
    const char *name, *good, *bad; /* whole members; good2 may hold several */
    enum err err;
    const char *param; /* of the refusal */
};

static const struct row ROWS[] = {
    {CHAT, "messages", "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]", "\"messages\":[]", ERR_INVALID,
     "messages"},
    {CHAT, "messages", "\"messages\":[{\"role\":\"developer\",\"content\":\"x\"}]", "\"messages\":null",
     ERR_INVALID, "messages"},
    {TEXT, "prompt", "\"prompt\":\"x\"", "\"prompt\":[\"a\",[]]", ERR_INVALID, "prompt[1]"},
    {TEXT, "prompt", "\"prompt\":[\"a\",[1,2],\"\"]", "\"prompt\":[\"a\",[\"b\"]]", ERR_INVALID, "prompt[1]"},
    {TEXT, "prompt", "\"prompt\":[[1],[2]]", "\"prompt\":[[1],[2,-1]]", ERR_INVALID, "prompt[1][1]"},
    {TEXT, "prompt", "\"prompt\":[" SIXTEEN "]", "\"prompt\":[" SIXTEEN ",\"\"]", ERR_INVALID, "prompt"},
    {TEXT, "prompt", "\"prompt\":[1,2,3]", "\"prompt\":[1,-2]", ERR_INVALID, "prompt[1]"},
    {TEXT, "prompt", "\"prompt\":[1.0,2]", "\"prompt\":[1.5,2]", ERR_INVALID, "prompt[0]"},
    {TEXT, "prompt", "\"prompt\":[[1.0],\"a\"]", "\"prompt\":[[1.5],\"a\"]", ERR_INVALID, "prompt[0][0]"},
    {TEXT, "prompt", "\"prompt\":[\"only one\"]", "\"prompt\":[]", ERR_INVALID, "prompt"},
    {TEXT, "prompt", "\"prompt\":\"\"", "\"prompt\":[1,\"a\"]", ERR_INVALID, "prompt[1]"},
    {BOTH, "model", "\"model\":\"a-model\"", "\"model\":3", ERR_INVALID, "model"},
    {BOTH, "model", "\"model\":null", "\"model\":\"\"", ERR_INVALID, "model"},
    {BOTH, "temperature", "\"temperature\":0", "\"temperature\":2.1", ERR_INVALID, "temperature"},
    {BOTH, "temperature", "\"temperature\":2", "\"temperature\":\"hot\"", ERR_INVALID, "temperature"},
    {BOTH, "top_p", "\"top_p\":0.5", "\"top_p\":1.5", ERR_INVALID, "top_p"},
    {BOTH, "top_k", "\"top_k\":40", "\"top_k\":1.5", ERR_INVALID, "top_k"},
    {BOTH, "min_p", "\"min_p\":0.05", "\"min_p\":-1", ERR_INVALID, "min_p"},
    {BOTH, "presence_penalty", "\"presence_penalty\":-2", "\"presence_penalty\":-2.5", ERR_INVALID,
     "presence_penalty"},
    {BOTH, "frequency_penalty", "\"frequency_penalty\":2", "\"frequency_penalty\":[]", ERR_INVALID,
     "frequency_penalty"},
    {BOTH, "seed", "\"seed\":-7", "\"seed\":\"x\"", ERR_INVALID, "seed"},
    {BOTH, "seed", "\"seed\":9223372036854775807", "\"seed\":1e300", ERR_INVALID, "seed"},
    {BOTH, "stop", "\"stop\":\"END\"", "\"stop\":[\"a\",\"\"]", ERR_INVALID, "stop[1]"},
    {BOTH, "stop", "\"stop\":[\"a\",\"b\"]",
     "\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\",\"j\",\"k\",\"l\",\"m\",\"n\",\"o\","
     "\"p\",\"q\"]",
     ERR_INVALID, "stop"},
    {BOTH, "stop", "\"stop\":[]", "\"stop\":{}", ERR_INVALID, "stop"},
    {BOTH, "stream", "\"stream\":true", "\"stream\":1", ERR_INVALID, "stream"},
    {BOTH, "stream_options", "\"stream_options\":{\"include_usage\":true}",
     "\"stream_options\":{\"include_usage\":1}", ERR_INVALID, "stream_options.include_usage"},
    {BOTH, "user", "\"user\":\"anna\"", "\"user\":{}", ERR_INVALID, "user"},
    {BOTH, "user", "\"user\":\"\"", "\"user\":\"../x\"", ERR_INVALID, "user"},
    {BOTH, "prompt_cache_key", "\"prompt_cache_key\":\"k\"", "\"prompt_cache_key\":\"a/b\"", ERR_INVALID,
     "prompt_cache_key"},
    {BOTH, "ignore_eos", "\"ignore_eos\":true", "\"ignore_eos\":\"yes\"", ERR_INVALID, "ignore_eos"},
    {BOTH, "max_tokens", "\"max_tokens\":1", "\"max_tokens\":0", ERR_INVALID, "max_tokens"},
    {CHAT, "max_completion_tokens", "\"max_completion_tokens\":5", "\"max_completion_tokens\":-1",
     ERR_INVALID, "max_completion_tokens"},
    {CHAT, "max_completion_tokens", "\"max_completion_tokens\":5,\"max_tokens\":5",
     "\"max_completion_tokens\":5,\"max_tokens\":6", ERR_INVALID, "max_tokens"},
    {CHAT, "tools", "\"tools\":[" TOOL "]", "\"tools\":[{\"type\":\"web\"}]", ERR_UNSUPPORTED,
     "tools[0].type"},
    {CHAT, "tools", "\"tools\":[]", "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a b\"}}]",
     ERR_INVALID, "tools[0].function.name"},
    {CHAT, "tools", "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"g\"}}]",
     "\"tools\":[" TOOL "," TOOL "]", ERR_INVALID, "tools[1].function"},
    {CHAT, "tools", "\"tools\":null",
     "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"g\",\"parameters\":[]}}]", ERR_INVALID,
     "tools[0].function.parameters"},
    {CHAT, "tool_choice", "\"tool_choice\":\"auto\"", "\"tool_choice\":\"required\"", ERR_INVALID,
     "tool_choice"},
    {CHAT, "tool_choice",
     "\"tools\":[" TOOL "],\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}",
     "\"tools\":[" TOOL "],\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"nope\"}}",
     ERR_INVALID, "tool_choice.function.name"},
    {CHAT, "parallel_tool_calls", "\"parallel_tool_calls\":false", "\"parallel_tool_calls\":0", ERR_INVALID,
     "parallel_tool_calls"},
    {CHAT, "response_format", "\"response_format\":{\"type\":\"json_object\"}",
     "\"response_format\":{\"type\":\"xml\"}", ERR_UNSUPPORTED, "response_format.type"},
    {CHAT, "response_format",
     "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":{\"type\":"
     "\"object\"}}}",
     "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\"}}", ERR_INVALID,
     "response_format.json_schema.schema"},
    {BOTH, "metadata", "\"metadata\":{\"a\":\"b\"}", NULL, ERR_OK, NULL},
    {BOTH, "store", "\"store\":true", NULL, ERR_OK, NULL},
    {BOTH, "service_tier", "\"service_tier\":\"flex\"", NULL, ERR_OK, NULL},
    {BOTH, "safety_identifier", "\"safety_identifier\":\"x\"", NULL, ERR_OK, NULL},
    {BOTH, "prompt_cache_retention", "\"prompt_cache_retention\":\"24h\"", NULL, ERR_OK, NULL},
    {BOTH, "prediction", "\"prediction\":{\"type\":\"content\"}", NULL, ERR_OK, NULL},
    {BOTH, "cache_prompt", "\"cache_prompt\":true", NULL, ERR_OK, NULL},
    {BOTH, "n", "\"n\":1", "\"n\":0", ERR_INVALID, "n"},
    {BOTH, "n", "\"n\":16", "\"n\":17", ERR_INVALID, "n"},
    {TEXT, "n", "\"prompt\":[\"a\",\"b\",\"c\"],\"n\":5", "\"prompt\":[\"a\",\"b\",\"c\"],\"n\":6",
     ERR_INVALID, "n"},
    {BOTH, "logit_bias", "\"logit_bias\":{}", "\"logit_bias\":[]", ERR_INVALID, "logit_bias"},
    {BOTH, "logit_bias", "\"logit_bias\":{\"0\":100,\"50256\":-100}", "\"logit_bias\":{\"7\":100.5}",
     ERR_INVALID, "logit_bias.7"},
    {BOTH, "logit_bias", "\"logit_bias\":{\"2147483647\":0.5}", "\"logit_bias\":{\"2147483648\":1}",
     ERR_INVALID, "logit_bias"},
    {BOTH, "logit_bias", "\"logit_bias\":{\"7\":0}", "\"logit_bias\":{\"7\":\"much\"}", ERR_INVALID,
     "logit_bias.7"},
    {BOTH, "logit_bias", "\"logit_bias\":null", "\"logit_bias\":{\"07\":1}", ERR_INVALID, "logit_bias"},
    {BOTH, "logit_bias", "\"logit_bias\":null", "\"logit_bias\":{\"-1\":1}", ERR_INVALID, "logit_bias"},
    {BOTH, "logit_bias", "\"logit_bias\":null", "\"logit_bias\":{\"\":1}", ERR_INVALID, "logit_bias"},
    {BOTH, "repeat_penalty", "\"repeat_penalty\":1.0", "\"repeat_penalty\":1.1", ERR_UNSUPPORTED,
     "repeat_penalty"},
    {BOTH, "repetition_penalty", "\"repetition_penalty\":1", "\"repetition_penalty\":2", ERR_UNSUPPORTED,
     "repetition_penalty"},
    {BOTH, "typical_p", "\"typical_p\":1", "\"typical_p\":0.9", ERR_UNSUPPORTED, "typical_p"},
    {BOTH, "mirostat", "\"mirostat\":0", "\"mirostat\":2", ERR_UNSUPPORTED, "mirostat"},
    {BOTH, "grammar", "\"grammar\":\"\"", "\"grammar\":\"root ::= x\"", ERR_UNSUPPORTED, "grammar"},
    {BOTH, "grammar", "\"grammar\":null", "\"grammar\":[]", ERR_UNSUPPORTED, "grammar"},
    {CHAT, "logprobs", "\"logprobs\":true", "\"logprobs\":1", ERR_INVALID, "logprobs"},
    {TEXT, "logprobs", "\"logprobs\":0", "\"logprobs\":true", ERR_INVALID, "logprobs"},
    {TEXT, "logprobs", "\"logprobs\":5", "\"logprobs\":6", ERR_INVALID, "logprobs"},
    {CHAT, "top_logprobs", "\"top_logprobs\":0", "\"top_logprobs\":1", ERR_INVALID, "top_logprobs"},
    {CHAT, "top_logprobs", "\"top_logprobs\":20,\"logprobs\":true", "\"top_logprobs\":21,\"logprobs\":true",
     ERR_INVALID, "top_logprobs"},
    {CHAT, "top_logprobs", "\"top_logprobs\":null", "\"top_logprobs\":5,\"logprobs\":false", ERR_INVALID,
     "top_logprobs"},
    {CHAT, "audio", "\"audio\":null", "\"audio\":{\"voice\":\"a\"}", ERR_UNSUPPORTED, "audio"},
    {CHAT, "modalities", "\"modalities\":[\"text\"]", "\"modalities\":[\"text\",\"audio\"]", ERR_UNSUPPORTED,
     "modalities"},
    {CHAT, "reasoning_effort", "\"reasoning_effort\":\"medium\"", "\"reasoning_effort\":\"much\"",
     ERR_UNSUPPORTED, "reasoning_effort"},
    {CHAT, "reasoning_effort", "\"reasoning_effort\":null", "\"reasoning_effort\":3", ERR_INVALID,
     "reasoning_effort"},
    {CHAT, "reasoning_effort", "\"reasoning_effort\":\"none\"", "\"reasoning_effort\":\"low\\u0000\"",
     ERR_UNSUPPORTED, "reasoning_effort"},
    {CHAT, "verbosity", "\"verbosity\":\"medium\"", "\"verbosity\":\"low\"", ERR_UNSUPPORTED, "verbosity"},
    {CHAT, "web_search_options", "\"web_search_options\":null", "\"web_search_options\":{}", ERR_UNSUPPORTED,
     "web_search_options"},
    {CHAT, "functions", "\"functions\":[]", "\"functions\":[{\"name\":\"f\"}]", ERR_UNSUPPORTED, "functions"},
    {CHAT, "functions", "\"functions\":null", "\"functions\":\"\"", ERR_UNSUPPORTED, "functions"},
    {CHAT, "function_call", "\"function_call\":\"none\"", "\"function_call\":\"auto\"", ERR_UNSUPPORTED,
     "function_call"},
    {CHAT, "chat_template_kwargs", "\"chat_template_kwargs\":[]", "\"chat_template_kwargs\":[1]",
     ERR_UNSUPPORTED, "chat_template_kwargs"},
    {CHAT, "chat_template_kwargs", "\"chat_template_kwargs\":{}", "\"chat_template_kwargs\":{\"a\":1}",
     ERR_UNSUPPORTED, "chat_template_kwargs"},
    {TEXT, "suffix", "\"suffix\":\"\"", "\"suffix\":\"}\"", ERR_UNSUPPORTED, "suffix"},
    {TEXT, "echo", "\"echo\":false", "\"echo\":1", ERR_INVALID, "echo"},
    {TEXT, "echo", "\"echo\":true", "\"echo\":true,\"logprobs\":0", ERR_UNSUPPORTED, "echo"},
    {TEXT, "best_of", "\"best_of\":1", "\"best_of\":3", ERR_UNSUPPORTED, "best_of"},
    {TEXT, "best_of", "\"best_of\":3,\"n\":3", "\"best_of\":3,\"n\":2", ERR_UNSUPPORTED, "best_of"},
};

static void check_row(enum openai_api api, const struct row *row) {
    struct api_parsed p = read_with(api, row->good);
    ck_assert_msg(p.error.err == ERR_OK, "%s: %s", row->good, p.error.text);
    ck_assert_msg(!in_ignored(&p, row->name), "%s is in the table and was called ignored", row->name);
    api_parsed_free(&p);
    if (!row->bad) return;
    p = read_with(api, row->bad);
    ck_assert_msg(p.error.err == row->err, "%s: %s, not %s", row->bad, err_name(p.error.err),
                  err_name(row->err));
    ck_assert_str_eq(p.error.param, row->param);
    ck_assert_msg(strncmp(p.error.text, row->param, strlen(row->param)) == 0, "%s: no place", p.error.text);
    api_parsed_free(&p);
}

START_TEST(one_parameter) {
    const struct row *row = &ROWS[_i];
    if (row->apis & CHAT) check_row(OPENAI_CHAT, row);
    if (row->apis & TEXT) check_row(OPENAI_TEXT, row);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(every_parameter_has_a_row_here) {
    for (int api = OPENAI_CHAT; api <= OPENAI_TEXT; api++) {
        const struct api_table *table = openai_table((enum openai_api)api);
        for (size_t i = 0; i < table->n_params; i++) {
            bool found = false;
            for (size_t j = 0; j < ARRAY_LEN(ROWS); j++)
                found = found ||
                        (strcmp(ROWS[j].name, table->params[i].name) == 0 && (ROWS[j].apis & (1 << api)));
            ck_assert_msg(found, "%s has no row", table->params[i].name);
        }
    }
}
END_TEST

START_TEST(several_prompts_and_answers) {
    struct api_parsed p = read_as(OPENAI_TEXT, "{\"prompt\":[\"a\",[7,8],\"\"],\"n\":2,\"echo\":true}", NULL);
    const struct request *q = p.request;
    ck_assert_msg(q, "%s", p.error.text);
    ck_assert(q->submit.kind == MSG_KIND_TEXT && q->submit.prompt.size == 1 && q->submit.echo);
    ck_assert(q->n_choices == 2 && q->n_more == 2);
    ck_assert(q->more[0].ids.n == 2 && q->more[0].ids.ids[1] == 8 && q->more[1].text.size == 0);
    ck_assert(p.plan.n_choices == 6 && p.plan.n_per_prompt == 2);
    struct request *c = request_clone(q);
    ck_assert(c->n_more == 0 && c->n_choices == 0 && c->submit.prompt.size == 1 && c->submit.echo);
    ck_assert_str_eq(c->submit.agent, "");
    request_free(c);
    api_parsed_free(&p);
    p = read_as(OPENAI_TEXT, "{\"prompt\":[[7,8],\"a\"]}", NULL);
    ck_assert(p.request->submit.kind == MSG_KIND_TOKENS && p.request->submit.prompt_ids.n == 2);
    ck_assert(p.request->n_more == 1 && p.plan.n_choices == 2 && p.plan.n_per_prompt == 1);
    api_parsed_free(&p);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

struct conversation {
    const char *messages; /* what the client sends */
    const char *written;  /* what the seat gets; NULL: refused */
    const char *param;
};

static const struct conversation CONVERSATIONS[] = {
    {"[{\"role\":\"developer\",\"content\":\"d\"},{\"role\":\"user\",\"content\":\"u\"}]",
     "[{\"role\":\"system\",\"content\":\"d\"},{\"role\":\"user\",\"content\":\"u\"}]", NULL},
    {"[{\"content\":[{\"type\":\"text\",\"text\":\"a  "
     "\"},{\"text\":\"b\",\"type\":\"text\"}],\"role\":\"user\"}]",
     "[{\"role\":\"user\",\"content\":\"a  \\nb\"}]", NULL},
    {"[{\"role\":\"user\",\"content\":\"\\u00e9 \\ud83d\\ude00 \\\"\\\\ \\t\\u0001\"}]",
     "[{\"role\":\"user\",\"content\":\"\xc3\xa9 \xf0\x9f\x98\x80 \\\"\\\\ \\t\\u0001\"}]", NULL},
    {"[{\"role\":\"assistant\",\"content\":null,\"refusal\":null,\"audio\":null,\"annotations\":[],"
     "\"function_call\":null,"
     "\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{"
     "\\\"a\\\": 1}\"}}]},"
     "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"42\"}]",
     "[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\","
     "\"function\":{\"name\":"
     "\"f\",\"arguments\":\"{\\\"a\\\": "
     "1}\"}}]},{\"role\":\"tool\",\"content\":\"42\",\"tool_call_id\":\"c1\"}]",
     NULL},
    {"[{\"role\":\"user\",\"name\":\"bob\",\"content\":\"x\",\"cache_control\":1}]",
     "[{\"role\":\"user\",\"content\":\"x\",\"name\":\"bob\"}]", NULL},
    {"[{\"role\":\"assistant\",\"content\":null,\"refusal\":\"no\"},{\"role\":\"user\",\"content\":\"x\"}]",
     "[{\"role\":\"assistant\",\"content\":\"no\"},{\"role\":\"user\",\"content\":\"x\"}]", NULL},
    {"[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{}}]}]", NULL,
     "messages[0].content[0].type"},
    {"[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
     "\"a\"},{\"type\":"
     "\"input_audio\"}]}]",
     NULL, "messages[1].content[1].type"},
    {"[{\"role\":\"user\",\"content\":[]}]", NULL, "messages[0].content"},
    {"[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]", NULL, "messages[0].content[0].text"},
    {"[{\"role\":\"user\",\"content\":null}]", NULL, "messages[0].content"},
    {"[{\"role\":\"user\"}]", NULL, "messages[0].content"},
    {"[{\"role\":\"user\",\"content\":5}]", NULL, "messages[0].content"},
    {"[{\"role\":\"assistant\",\"content\":null}]", NULL, "messages[0].content"},
    {"[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[]}]", NULL, "messages[0].content"},
    {"[{\"role\":\"tool\",\"content\":\"x\"}]", NULL, "messages[0].tool_call_id"},
    {"[{\"role\":\"king\",\"content\":\"x\"}]", NULL, "messages[0].role"},
    {"[{\"content\":\"x\"}]", NULL, "messages[0].role"},
    {"[\"x\"]", NULL, "messages[0]"},
    {"[{\"role\":\"user\",\"content\":\"x\",\"tool_calls\":[]}]", NULL, "messages[0].tool_calls"},
    {"[{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[{\"type\":\"function\",\"function\":{"
     "\"name\":\"f\","
     "\"arguments\":\"\"}}]}]",
     NULL, "messages[0].tool_calls[0].id"},
    {"[{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\","
     "\"function\":{\"name\":"
     "\"f\",\"arguments\":{}}}]}]",
     NULL, "messages[0].tool_calls[0].function.arguments"},
};

START_TEST(one_conversation) {
    const struct conversation *c = &CONVERSATIONS[_i];
    char member[4096];
    snprintf(member, sizeof member, "\"messages\":%s", c->messages);
    struct api_parsed p = read_with(OPENAI_CHAT, member);
    if (c->written) {
        ck_assert_msg(p.error.err == ERR_OK, "%s: %s", c->messages, p.error.text);
        ck_assert_str_eq((const char *)p.request->submit.messages.data, c->written);
        ck_assert_uint_eq(p.request->submit.messages.size, strlen(c->written));
    } else {
        ck_assert_int_ne(p.error.err, ERR_OK);
        ck_assert_str_eq(p.error.param, c->param);
    }
    api_parsed_free(&p);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(what_is_read_is_what_was_sent) {
    struct api_parsed p = read_with(
        OPENAI_CHAT, "\"model\":\"B\",\"temperature\":0.25,\"top_p\":0.5,\"top_k\":7,\"min_p\":0.125,"
                     "\"seed\":11,\"stop\":[\"x\",\"yy\"],\"max_completion_tokens\":9,"
                     "\"presence_penalty\":1,\"frequency_penalty\":-1,\"stream\":true,"
                     "\"stream_options\":{\"include_usage\":true},\"tools\":[" TOOL "],"
                     "\"tool_choice\":\"required\",\"parallel_tool_calls\":false,"
                     "\"response_format\":{\"type\":\"json_object\"}");
    ck_assert_msg(p.request, "%s", p.error.text);
    const struct msg_submit *s = &p.request->submit;
    ck_assert_str_eq(p.request->model, "B");
    ck_assert(p.request->stream && p.request->include_usage && p.request->seed_given);
    ck_assert(p.plan.stream && p.plan.include_usage && p.plan.kind == ANSWER_CHAT);
    ck_assert_double_eq(s->temperature, 0.25);
    ck_assert_double_eq(s->top_p, 0.5);
    ck_assert_int_eq(s->top_k, 7);
    ck_assert_double_eq(s->min_p, 0.125);
    ck_assert_uint_eq(s->seed, 11);
    ck_assert_uint_eq(s->stops.n, 2);
    ck_assert_str_eq((const char *)s->stops.items[1].data, "yy");
    ck_assert_uint_eq(s->max_tokens, 9);
    ck_assert_double_eq(s->presence_penalty, 1);
    ck_assert_double_eq(s->frequency_penalty, -1);
    ck_assert_str_eq((const char *)s->tools.data, "[" TOOL "]");
    ck_assert_str_eq(s->tool_choice, "required");
    ck_assert_uint_eq(s->parallel_tool_calls, 0);
    ck_assert_str_eq((const char *)s->json_schema.data, "{}");
    ck_assert_uint_eq(s->kind, MSG_KIND_CHAT);
    api_parsed_free(&p);
}
END_TEST

START_TEST(logits_are_read) {
    struct api_parsed p = read_with(OPENAI_CHAT, "\"logit_bias\":{\"5\":-100,\"319\":0.5}");
    const struct msg_submit *s = &p.request->submit;
    double bias;
    ck_assert_uint_eq(token_bias_count(&s->logit_bias), 2);
    ck_assert_int_eq(token_bias_at(&s->logit_bias, 0, &bias), 5);
    ck_assert_double_eq(bias, -100);
    ck_assert_int_eq(token_bias_at(&s->logit_bias, 1, &bias), 319);
    ck_assert_double_eq(bias, 0.5);
    ck_assert(!p.plan.logprobs);
    api_parsed_free(&p);
    static const struct {
        enum openai_api api;
        const char *member;
        uint32_t logprobs;
    } ASKED[] = {{OPENAI_CHAT, "\"logprobs\":true", 1},
                 {OPENAI_CHAT, "\"top_logprobs\":20,\"logprobs\":true", 21},
                 {OPENAI_CHAT, "\"logprobs\":true,\"top_logprobs\":0", 1},
                 {OPENAI_TEXT, "\"logprobs\":0", 1},
                 {OPENAI_TEXT, "\"logprobs\":5", 6}};
    for (size_t i = 0; i < ARRAY_LEN(ASKED); i++) {
        p = read_with(ASKED[i].api, ASKED[i].member);
        ck_assert_msg(p.request, "%s", p.error.text);
        ck_assert_uint_eq(p.request->submit.logprobs, ASKED[i].logprobs);
        ck_assert(p.plan.logprobs);
        api_parsed_free(&p);
    }
}
END_TEST

/* LOGIT_BIAS_MAX, and one more. */
START_TEST(many_biases) {
    for (int n = LOGIT_BIAS_MAX; n <= LOGIT_BIAS_MAX + 1; n++) {
        struct buf b = BUF(1u << 20);
        buf_puts(&b, "{\"prompt\":\"x\",\"logit_bias\":{");
        for (int i = 0; i < n; i++) buf_printf(&b, "%s\"%d\":1", i ? "," : "", i);
        buf_puts(&b, "}}");
        char *body = buf_take_string(&b);
        struct api_parsed p = read_as(OPENAI_TEXT, body, NULL);
        ck_assert_int_eq(p.error.err, n > LOGIT_BIAS_MAX ? ERR_INVALID : ERR_OK);
        if (n > LOGIT_BIAS_MAX) ck_assert_str_eq(p.error.param, "logit_bias");
        api_parsed_free(&p);
        mem_free(body);
    }
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(defaults) {
    struct api_parsed p = read_with(OPENAI_TEXT, "");
    const struct msg_submit *s = &p.request->submit;
    ck_assert_uint_eq(s->max_tokens, 16);
    ck_assert_double_eq(s->temperature, 1);
    ck_assert_double_eq(s->top_p, 1);
    ck_assert_ptr_null(p.request->model);
    ck_assert_str_eq(s->agent, "");
    ck_assert_uint_eq(s->kind, MSG_KIND_TEXT);
    ck_assert(!p.request->seed_given && !p.request->stream);
    api_parsed_free(&p);
    p = read_with(OPENAI_CHAT, "");
    ck_assert_uint_eq(p.request->submit.max_tokens, 0);
    ck_assert_uint_eq(p.request->submit.parallel_tool_calls, 1);
    api_parsed_free(&p);
}
END_TEST

START_TEST(who_is_talking) {
    static const char body[] = "{\"prompt\":\"x\",\"user\":\"u\",\"prompt_cache_key\":\"k\"}";
    struct api_parsed p = read_as(OPENAI_TEXT, body, "h@x.org");
    ck_assert_str_eq(p.request->submit.agent, "h@x.org");
    api_parsed_free(&p);
    p = read_as(OPENAI_TEXT, body, NULL);
    ck_assert_str_eq(p.request->submit.agent, "k");
    api_parsed_free(&p);
    p = read_as(OPENAI_TEXT, "{\"prompt\":\"x\",\"user\":\"u\"}", NULL);
    ck_assert_str_eq(p.request->submit.agent, "u");
    api_parsed_free(&p);
    p = read_as(OPENAI_TEXT, "{\"prompt\":\"x\",\"user\":\"\",\"prompt_cache_key\":\"\"}", NULL);
    ck_assert_str_eq(p.request->submit.agent, "");
    api_parsed_free(&p);
    p = read_as(OPENAI_TEXT, body, "../x");
    ck_assert_int_eq(p.error.err, ERR_INVALID);
    ck_assert_str_eq(p.error.param, "X-Hotseat-Agent");
    api_parsed_free(&p);
}
END_TEST

START_TEST(priority_and_time_limit) {
    static const struct {
        const char *priority, *timeout;
        enum request_priority is;
        int64_t ns;
    } GOOD[] = {{NULL, NULL, PRIORITY_NORMAL, 0},
                {"background", "5", PRIORITY_BACKGROUND, 5000000000},
                {"normal", "0.001", PRIORITY_NORMAL, 1000000},
                {"interactive", "86400", PRIORITY_INTERACTIVE, 86400000000000}};
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++) {
        struct api_parsed p = read_headers(GOOD[i].priority, GOOD[i].timeout);
        ck_assert_int_eq(p.error.err, ERR_OK);
        ck_assert_int_eq(p.request->priority, GOOD[i].is);
        ck_assert_int_eq(p.request->timeout_ns, GOOD[i].ns);
        api_parsed_free(&p);
    }
    static const char *const PRIORITIES[] = {"", "high", "Background", "normal "},
                             *const TIMEOUTS[] = {"",    "0",   "0.0001", "-1",    "1e3", "0x10", " 5",
                                                  "5 s", "nan", "inf",    "1.2.3", ".",   "86401"};
    for (size_t i = 0; i < sizeof PRIORITIES / sizeof PRIORITIES[0]; i++) {
        struct api_parsed p = read_headers(PRIORITIES[i], NULL);
        ck_assert_int_eq(p.error.err, ERR_INVALID);
        ck_assert_str_eq(p.error.param, "X-Hotseat-Priority");
        api_parsed_free(&p);
    }
    for (size_t i = 0; i < sizeof TIMEOUTS / sizeof TIMEOUTS[0]; i++) {
        struct api_parsed p = read_headers(NULL, TIMEOUTS[i]);
        ck_assert_msg(p.error.err == ERR_INVALID, "\"%s\"", TIMEOUTS[i]);
        ck_assert_str_eq(p.error.param, "X-Hotseat-Timeout-S");
        api_parsed_free(&p);
    }
}
END_TEST

START_TEST(unknown_members_are_named) {
    struct api_parsed p = read_with(OPENAI_CHAT, "\"frob\":1,\"zap, zip\":2,\"messages2\":[]");
    ck_assert(in_ignored(&p, "frob, zap??zip, messages2"));
    api_parsed_free(&p);
    char many[8000] = "\"a\":1";
    for (int i = 0; i < 300; i++) snprintf(many + strlen(many), 40, ",\"member_number_%d\":1", i);
    p = read_with(OPENAI_CHAT, many);
    ck_assert_uint_le(p.ignored.size, IGNORED_HEADER_BYTES_MAX);
    ck_assert(in_ignored(&p, ", ..."));
    api_parsed_free(&p);
}
END_TEST

#define CHAT_OF(message) "\"messages\":[{\"role\":\"user\",\"content\":\"a\"}," message "]"
#define CALL(more)                                                                                           \
    "{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"" more "}"

START_TEST(members_inside_that_do_nothing_are_named) {
    static const struct {
        const char *member, *named;
    } rows[] = {
        {CHAT_OF("{\"role\":\"assistant\",\"content\":\"b\",\"refusal\":\"no\"}"), "messages[1].refusal"},
        {CHAT_OF("{\"role\":\"user\",\"content\":\"b\",\"refusal\":\"no\"}"), "messages[1].refusal"},
        {CHAT_OF("{\"role\":\"assistant\",\"content\":\"b\",\"annotations\":[1]}"),
         "messages[1].annotations"},
        {CHAT_OF("{\"role\":\"user\",\"content\":\"b\",\"tool_call_id\":\"x\"}"), "messages[1].tool_call_id"},
        {CHAT_OF("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"b\",\"cache_control\":{}}]}"),
         "messages[1].content[0].cache_control"},
        {CHAT_OF("{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" CALL("") ",\"index\":0}]}"),
         "messages[1].tool_calls[0].index"},
        {CHAT_OF("{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" CALL(",\"x\":1") "}]}"),
         "messages[1].tool_calls[0].function.x"},
        {"\"tools\":[" TOOL
         "],\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\",\"y\":1},\"z\":2}",
         "tool_choice.z, tool_choice.function.y"},
        {"\"response_format\":{\"type\":\"text\",\"schema\":{}}", "response_format.schema"},
        {"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{},\"q\":1},\"p\":1}",
         "response_format.p, response_format.json_schema.q"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct api_parsed p = read_with(OPENAI_CHAT, rows[i].member);
        ck_assert_msg(p.request && in_ignored(&p, rows[i].named), "%s: %.*s %s", rows[i].member,
                      (int)p.ignored.size, p.ignored.data ? (const char *)p.ignored.data : "", p.error.text);
        api_parsed_free(&p);
    }
    static const char *const silent[] = {
        CHAT_OF("{\"role\":\"assistant\",\"content\":\"b\",\"refusal\":null,\"annotations\":[]}"),
        CHAT_OF("{\"role\":\"assistant\",\"refusal\":\"no\"}"),
        CHAT_OF("{\"role\":\"tool\",\"content\":\"b\",\"tool_call_id\":\"x\"}")};
    for (size_t i = 0; i < ARRAY_LEN(silent); i++) {
        struct api_parsed p = read_with(OPENAI_CHAT, silent[i]);
        ck_assert_msg(p.request && p.ignored.size == 0, "%s: %s", silent[i], p.error.text);
        api_parsed_free(&p);
    }
}
END_TEST

START_TEST(a_schema_beside_json_object_is_honoured) {
    static const char schema[] = "{\"type\":\"object\",\"required\":[\"a\"]}";
    struct api_parsed p = read_with(OPENAI_CHAT, "\"response_format\":{\"type\":\"json_object\",\"schema\":"
                                                 "{\"type\":\"object\",\"required\":[\"a\"]}}");
    ck_assert_ptr_nonnull(p.request);
    ck_assert_uint_eq(p.request->submit.json_schema.size, strlen(schema));
    ck_assert(memcmp(p.request->submit.json_schema.data, schema, strlen(schema)) == 0);
    api_parsed_free(&p);
    p = read_with(OPENAI_CHAT, "\"response_format\":{\"type\":\"json_object\",\"schema\":7}");
    ck_assert_int_eq(p.error.err, ERR_INVALID);
    ck_assert_str_eq(p.error.param, "response_format.schema");
    api_parsed_free(&p);
}
END_TEST

START_TEST(bodies_that_are_no_request) {
    static const struct {
        const char *body;
        enum err err;
    } bad[] = {{"", ERR_JSON},
               {"{", ERR_JSON},
               {"[]", ERR_INVALID},
               {"\"x\"", ERR_INVALID},
               {"null", ERR_INVALID},
               {"{}", ERR_INVALID},
               {"{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}", ERR_JSON},
               {"{\"messages\":[],\"messages\":[]}", ERR_JSON}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct api_parsed p = read_as(OPENAI_CHAT, bad[i].body, NULL);
        ck_assert_msg(p.error.err == bad[i].err, "%s: %s", bad[i].body, p.error.text);
        api_parsed_free(&p);
    }
    char *deep = malloc(20000);
    memset(deep, '[', 1000);
    strcpy(deep + 1000, "");
    struct api_parsed p = read_as(OPENAI_CHAT, deep, NULL);
    ck_assert_int_eq(p.error.err, ERR_JSON);
    api_parsed_free(&p);
    free(deep);
}
END_TEST

START_TEST(no_allocation_may_be_missed) {
    static const char body[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}],\"stop\":["
        "\"a\"],"
        "\"model\":\"m\",\"user\":\"u\",\"prompt_cache_key\":\"k\",\"tools\":[" TOOL "],\"x\":1,"
        "\"tool_choice\":\"auto\",\"response_format\":{\"type\":\"json_object\"}}";
    for (int n = 1; n < 500; n++) {
        mem_fail_at(n);
        struct api_parsed p = read_as(OPENAI_CHAT, body, NULL);
        bool whole = p.error.err == ERR_OK && p.ignored.error == ERR_OK;
        api_parsed_free(&p);
        mem_fail_at(0);
        ck_assert_int_eq(mem_live_count(), 0);
        if (whole) {
            ck_assert_int_gt(n, 8);
            return;
        }
    }
    ck_abort_msg("it never succeeded");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("api_openai");
    TCase *t = tcase_create("reading");
    tcase_add_test(t, several_prompts_and_answers);
    tcase_add_loop_test(t, one_parameter, 0, ARRAY_LEN(ROWS));
    tcase_add_loop_test(t, one_conversation, 0, ARRAY_LEN(CONVERSATIONS));
    tcase_add_test(t, every_parameter_has_a_row_here);
    tcase_add_test(t, what_is_read_is_what_was_sent);
    tcase_add_test(t, defaults);
    tcase_add_test(t, logits_are_read);
    tcase_add_test(t, many_biases);
    tcase_add_test(t, who_is_talking);
    tcase_add_test(t, priority_and_time_limit);
    tcase_add_test(t, unknown_members_are_named);
    tcase_add_test(t, members_inside_that_do_nothing_are_named);
    tcase_add_test(t, a_schema_beside_json_object_is_honoured);
    tcase_add_test(t, bodies_that_are_no_request);
    tcase_add_test(t, no_allocation_may_be_missed);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
