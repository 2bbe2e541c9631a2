/* Every parameter of Anthropic's API, one row each: a value that is taken, one that is refused, and the place in the refusal; and
 * what the seat gets of its messages and tools. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "check_run.h"
#include "http/api_anthropic.h"

static struct api_parsed read_as(enum anthropic_api api, const char *body) {
    struct api_parsed p;
    struct api_input in = {.route = api == ANTHROPIC_MESSAGES ? ROUTE_MESSAGES : ROUTE_COUNT_TOKENS,
                           .body = body,
                           .body_size = strlen(body)};
    api_anthropic_read(&in, &p);
    ck_assert_msg((p.error.err == ERR_OK) == (p.request != NULL), "%s: both or neither", body);
    return p;
}

/* The members that must be there, and these. */
static struct api_parsed read_with(enum anthropic_api api, const char *member) {
    static char body[16384];
    bool own = strncmp(member, "\"messages\":", 11) == 0;
    bool length = api == ANTHROPIC_COUNT || strstr(member, "\"max_tokens\":");
    snprintf(body, sizeof body, "{%s%s%s%s}",
             own ? "" : "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]", own || !member[0] ? "" : ",",
             member, length ? "" : ",\"max_tokens\":9");
    return read_as(api, body);
}

static bool in_ignored(const struct api_parsed *p, const char *name) {
    return p->ignored.size > 0 && memmem(p->ignored.data, p->ignored.size, name, strlen(name));
}

#define TOOL "{\"name\":\"f\",\"input_schema\":{\"type\":\"object\"}}"
#define KEEPING(type, keep) "\"context_management\":{\"edits\":[{\"type\":\"" type "\",\"keep\":" keep "}]}"
#define CHOOSE(choice) "\"tools\":[" TOOL "],\"tool_choice\":" choice

enum { MESSAGES = 1, COUNT = 2, BOTH = 3 };
struct row {
    int apis;
    const char *name, *good, *bad; /* whole members */
    enum err err;
    const char *param; /* of the refusal */
};

static const struct row ROWS[] = {
    {BOTH, "messages", "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]", "\"messages\":[]", ERR_INVALID,
     "messages"},
    {BOTH, "messages", "\"messages\":[{\"role\":\"system\",\"content\":\"x\"}]", "\"messages\":null",
     ERR_INVALID, "messages"},
    {MESSAGES, "max_tokens", "\"max_tokens\":1", "\"max_tokens\":0", ERR_INVALID, "max_tokens"},
    {MESSAGES, "max_tokens", "\"max_tokens\":2147483647", "\"max_tokens\":null", ERR_INVALID, "max_tokens"},
    {BOTH, "model", "\"model\":\"a-model\"", "\"model\":3", ERR_INVALID, "model"},
    {BOTH, "model", "\"model\":null", "\"model\":\"\"", ERR_INVALID, "model"},
    {BOTH, "system", "\"system\":\"be brief\"", "\"system\":5", ERR_INVALID, "system"},
    {BOTH, "system", "\"system\":[{\"type\":\"text\",\"text\":\"x\"}]", "\"system\":[{\"type\":\"image\"}]",
     ERR_UNSUPPORTED, "system[0].type"},
    {BOTH, "system", "\"system\":\"\"", "\"system\":[{\"type\":\"text\"}]", ERR_INVALID, "system[0].text"},
    {BOTH, "tools", "\"tools\":[" TOOL "]", "\"tools\":[{\"type\":\"bash_20250124\",\"name\":\"bash\"}]",
     ERR_UNSUPPORTED, "tools[0].type"},
    {BOTH, "tools", "\"tools\":[]", "\"tools\":[{\"name\":\"a b\",\"input_schema\":{}}]", ERR_INVALID,
     "tools[0].name"},
    {BOTH, "tools",
     "\"tools\":[{\"type\":\"custom\",\"name\":\"g\",\"description\":\"d\",\"strict\":true,\"input_schema\":{"
     "},"
     "\"cache_control\":{\"type\":\"ephemeral\"}}]",
     "\"tools\":[{\"name\":\"g\"}]", ERR_INVALID, "tools[0].input_schema"},
    {BOTH, "tools", "\"tools\":null", "\"tools\":[" TOOL "," TOOL "]", ERR_INVALID, "tools[1]"},
    {BOTH, "tool_choice", CHOOSE("{\"type\":\"auto\"}"), CHOOSE("{\"type\":\"required\"}"), ERR_INVALID,
     "tool_choice.type"},
    {BOTH, "tool_choice", CHOOSE("{\"type\":\"any\",\"disable_parallel_tool_use\":true}"),
     CHOOSE("{\"type\":\"any\",\"disable_parallel_tool_use\":1}"), ERR_INVALID,
     "tool_choice.disable_parallel_tool_use"},
    {BOTH, "tool_choice", CHOOSE("{\"type\":\"tool\",\"name\":\"f\"}"),
     CHOOSE("{\"type\":\"tool\",\"name\":\"nope\"}"), ERR_INVALID, "tool_choice.name"},
    {BOTH, "tool_choice", "\"tool_choice\":{\"type\":\"none\"}", "\"tool_choice\":{\"type\":\"any\"}",
     ERR_INVALID, "tool_choice"},
    {BOTH, "tool_choice", "\"tool_choice\":{\"type\":\"auto\"}", CHOOSE("\"auto\""), ERR_INVALID,
     "tool_choice"},
    {BOTH, "thinking", "\"thinking\":{\"type\":\"disabled\"}", "\"thinking\":{\"type\":\"between_tools\"}",
     ERR_UNSUPPORTED, "thinking.type"},
    {BOTH, "thinking", "\"thinking\":{\"type\":\"adaptive\",\"display\":\"summarized\"}",
     "\"thinking\":{\"type\":\"adaptive\",\"display\":\"omitted\"}", ERR_UNSUPPORTED, "thinking.display"},
    {BOTH, "output_config", "\"output_config\":{\"effort\":\"high\"}",
     "\"output_config\":{\"effort\":\"much\"}", ERR_UNSUPPORTED, "output_config.effort"},
    {BOTH, "output_config", "\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{}}}",
     "\"output_config\":{\"format\":{\"type\":\"json_schema\"}}", ERR_INVALID, "output_config.format.schema"},
    {BOTH, "output_config", "\"output_config\":{}", "\"output_config\":{\"format\":{\"type\":\"xml\"}}",
     ERR_UNSUPPORTED, "output_config.format.type"},
    {BOTH, "cache_control", "\"cache_control\":{\"type\":\"ephemeral\"}", NULL, ERR_OK, NULL},
    {BOTH, "speed", "\"speed\":\"fast\"", NULL, ERR_OK, NULL},
    {BOTH, "user_profile_id", "\"user_profile_id\":\"x\"", NULL, ERR_OK, NULL},
    {BOTH, "workspace_id", "\"workspace_id\":\"x\"", NULL, ERR_OK, NULL},
    {BOTH, "mcp_servers", "\"mcp_servers\":[]", "\"mcp_servers\":[{}]", ERR_UNSUPPORTED, "mcp_servers"},
    {BOTH, "context_management", "\"context_management\":null", "\"context_management\":\"auto\"",
     ERR_INVALID, "context_management"},
    {BOTH, "context_management", "\"context_management\":{}", KEEPING("clear_thinking_20251015", "2"),
     ERR_UNSUPPORTED, "context_management.edits[0]"},
    {BOTH, "context_management", KEEPING("clear_thinking_20251015", "\"all\""),
     KEEPING("clear_tool_uses_20250919", "\"all\""), ERR_UNSUPPORTED, "context_management.edits[0]"},
    {BOTH, "context_management", KEEPING("clear_thinking_20251015", "{\"type\":\"all\"}"),
     KEEPING("clear_thinking_20251015", "{\"type\":\"thinking_turns\",\"value\":1}"), ERR_UNSUPPORTED,
     "context_management.edits[0]"},
    {BOTH, "context_management", "\"context_management\":{\"edits\":null}",
     "\"context_management\":{\"edits\":{}}", ERR_INVALID, "context_management.edits"},
    {BOTH, "output_format", "\"output_format\":null", "\"output_format\":{\"type\":\"json_schema\"}",
     ERR_UNSUPPORTED, "output_format"},
    {MESSAGES, "temperature", "\"temperature\":0", "\"temperature\":1.1", ERR_INVALID, "temperature"},
    {MESSAGES, "top_p", "\"top_p\":0.5", "\"top_p\":-1", ERR_INVALID, "top_p"},
    {MESSAGES, "top_k", "\"top_k\":40", "\"top_k\":-1", ERR_INVALID, "top_k"},
    {MESSAGES, "stop_sequences", "\"stop_sequences\":[\"a\",\"b\"]", "\"stop_sequences\":[\"a\",\"\"]",
     ERR_INVALID, "stop_sequences[1]"},
    {MESSAGES, "stop_sequences", "\"stop_sequences\":[]", "\"stop_sequences\":\"a\"", ERR_INVALID,
     "stop_sequences"},
    {MESSAGES, "stream", "\"stream\":true", "\"stream\":1", ERR_INVALID, "stream"},
    {MESSAGES, "metadata", "\"metadata\":{\"user_id\":\"anna\"}", "\"metadata\":{\"user_id\":\"../x\"}",
     ERR_INVALID, "metadata.user_id"},
    {MESSAGES, "metadata", "\"metadata\":{\"user_id\":null}", "\"metadata\":[]", ERR_INVALID, "metadata"},
    {MESSAGES, "service_tier", "\"service_tier\":\"standard_only\"", NULL, ERR_OK, NULL},
    {MESSAGES, "inference_geo", "\"inference_geo\":\"us\"", NULL, ERR_OK, NULL},
    {MESSAGES, "diagnostics", "\"diagnostics\":{}", NULL, ERR_OK, NULL},
    {MESSAGES, "container", "\"container\":null", "\"container\":\"c\"", ERR_UNSUPPORTED, "container"},
};

static void check_row(enum anthropic_api api, const struct row *row) {
    struct api_parsed p = read_with(api, row->good);
    ck_assert_msg(p.error.err == ERR_OK, "%s: %s", row->good, p.error.text);
    ck_assert_msg(p.ignored.size == 0, "%s: %.*s is called ignored", row->good, (int)p.ignored.size,
                  (const char *)p.ignored.data);
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
    if (row->apis & MESSAGES) check_row(ANTHROPIC_MESSAGES, row);
    if (row->apis & COUNT) check_row(ANTHROPIC_COUNT, row);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(every_parameter_has_a_row_here) {
    for (int api = ANTHROPIC_MESSAGES; api <= ANTHROPIC_COUNT; api++) {
        const struct api_table *table = anthropic_table((enum anthropic_api)api);
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

struct conversation {
    const char *messages; /* what the client sends, with what else is in the body */
    const char *written;  /* what the seat gets; NULL: refused */
    const char *param;
};

#define USER(content) "{\"role\":\"user\",\"content\":" content "}"
#define ASSISTANT(content) "{\"role\":\"assistant\",\"content\":" content "}"
#define SYSTEM(text) "{\"role\":\"system\",\"content\":\"" text "\"}"
#define TOOL_SAYS(text) "{\"role\":\"tool\",\"content\":\"" text "\",\"tool_call_id\":\"t1\"}"
#define TEXT(text) "{\"type\":\"text\",\"text\":\"" text "\"}"
#define USE(more) "{\"type\":\"tool_use\",\"id\":\"t1\",\"name\":\"f\",\"input\":{\"a\": 1}" more "}"
#define RESULT(more) "{\"type\":\"tool_result\",\"tool_use_id\":\"t1\"" more "}"
#define CALL                                                                                                 \
    "\"tool_calls\":[{\"id\":\"t1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{"    \
    "\\\"a\\\":1}\"}}]"

/* clang-format off */
static const struct conversation CONVERSATIONS[] = {
    {"[" USER("\"a\"") "]", "[" USER("\"a\"") "]", NULL},
    {"[" USER("[" TEXT("a  ") "," TEXT("b") "]") "]", "[" USER("\"a  \\nb\"") "]", NULL},
    {"[" USER("\"a\"") "," USER("[" TEXT("b") "]") "," ASSISTANT("\"c\"") "," USER("\"d\"") "]",
     "[" USER("\"a\\nb\"") "," ASSISTANT("\"c\"") "," USER("\"d\"") "]", NULL},
    {"[" USER("\"a\"") "],\"system\":\"s\"", "[" SYSTEM("s") "," USER("\"a\"") "]", NULL},
    {"[" USER("\"a\"") "],\"system\":[" TEXT("s") "," TEXT("t") "]",
     "[" SYSTEM("s\\nt") "," USER("\"a\"") "]", NULL},
    {"[" USER("\"a\"") "],\"system\":\"\"", "[" USER("\"a\"") "]", NULL},
    {"[" USER("\"a\"") "," SYSTEM("now") "," USER("\"b\"") "]",
     "[" USER("\"a\"") "," SYSTEM("now") "," USER("\"b\"") "]", NULL},
    {"[" USER("\"\\u00e9 \\ud83d\\ude00 \\\"\\\\ \\t\\u0001\\u0000\"") "]",
     "[" USER("\"\xc3\xa9 \xf0\x9f\x98\x80 \\\"\\\\ \\t\\u0001\\u0000\"") "]", NULL},
    {"[" USER("\"q\"") ","
     ASSISTANT("[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"x\"}," TEXT("ok") "," USE("") "]") ","
     USER("[" RESULT(",\"content\":\"42\"") "," TEXT("go on") "]") "]",
     "[" USER("\"q\"") ",{\"role\":\"assistant\",\"content\":\"ok\",\"reasoning_content\":\"hm\"," CALL "},"
     TOOL_SAYS("42") "," USER("\"go on\"") "]", NULL},
    {"[" ASSISTANT("[" USE("") "]") ","
     USER("[" TEXT("see") "," RESULT(",\"content\":[" TEXT("4") "," TEXT("2") "],\"is_error\":true") "]") "]",
     "[{\"role\":\"assistant\",\"content\":null," CALL "}," USER("\"see\"") "," TOOL_SAYS("Error: 4\\n2") "]", NULL},
    {"[" ASSISTANT("[" USE("") "]") "," USER("[" RESULT("") "]") "]",
     "[{\"role\":\"assistant\",\"content\":null," CALL "}," TOOL_SAYS("") "]", NULL},
    /* An empty answer of our own comes back with the next turn; a last one of the assistant is where the model goes on. */
    {"[" USER("\"a\"") "," ASSISTANT("[]") "," USER("\"b\"") "," ASSISTANT("\"It is\"") "]",
     "[" USER("\"a\"") "," ASSISTANT("\"\"") "," USER("\"b\"") "," ASSISTANT("\"It is\"") "]", NULL},
    {"[" USER("[{\"type\":\"image\",\"source\":{}}]") "]", NULL, "messages[0].content[0].type"},
    {"[" USER("\"a\"") "," USER("[" TEXT("a") ",{\"type\":\"document\"}]") "]", NULL, "messages[1].content[1].type"},
    {"[" USER("[" RESULT(",\"content\":[{\"type\":\"image\"}]") "]") "]", NULL, "messages[0].content[0].content[0].type"},
    {"[" USER("[" RESULT(",\"is_error\":\"yes\"") "]") "]", NULL, "messages[0].content[0].is_error"},
    {"[" USER("[{\"type\":\"tool_result\"}]") "]", NULL, "messages[0].content[0].tool_use_id"},
    {"[" USER("[" USE("") "]") "]", NULL, "messages[0].content[0].type"},
    {"[" ASSISTANT("[" RESULT("") "]") "]", NULL, "messages[0].content[0].type"},
    {"[" ASSISTANT("[{\"type\":\"redacted_thinking\",\"data\":\"x\"}]") "]", NULL, "messages[0].content[0].type"},
    {"[" ASSISTANT("[{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":\"x\"}]") "]", NULL,
     "messages[0].content[0].input"},
    {"[" ASSISTANT("[{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\"}]") "]", NULL, "messages[0].content[0].input"},
    {"[" USER("\"q\"") "," ASSISTANT("[" USE("") "]") "]", NULL, "messages[1]"},
    {"[" USER("[]") "]", NULL, "messages[0].content"},
    {"[" USER("[{\"type\":\"text\"}]") "]", NULL, "messages[0].content[0].text"},
    {"[" USER("[\"x\"]") "]", NULL, "messages[0].content[0]"},
    {"[" USER("null") "]", NULL, "messages[0].content"},
    {"[" USER("5") "]", NULL, "messages[0].content"},
    {"[{\"role\":\"user\"}]", NULL, "messages[0].content"},
    {"[{\"role\":\"tool\",\"content\":\"x\"}]", NULL, "messages[0].role"},
    {"[{\"content\":\"x\"}]", NULL, "messages[0].role"},
    {"[\"x\"]", NULL, "messages[0]"},
};
/* clang-format on */

START_TEST(one_conversation) {
    const struct conversation *c = &CONVERSATIONS[_i];
    char member[4096];
    snprintf(member, sizeof member, "\"messages\":%s", c->messages);
    struct api_parsed p = read_with(ANTHROPIC_MESSAGES, member);
    if (c->written) {
        ck_assert_msg(p.error.err == ERR_OK, "%s: %s", c->messages, p.error.text);
        ck_assert_str_eq((const char *)p.request->submit.messages.data, c->written);
        ck_assert_uint_eq(p.ignored.size, 0);
    } else {
        ck_assert_msg(p.error.err != ERR_OK, "%s", c->messages);
        ck_assert_str_eq(p.error.param, c->param);
    }
    api_parsed_free(&p);
    ck_assert_int_eq(mem_live_count(), 0);
}
END_TEST

START_TEST(a_stop_may_hold_any_byte) {
    struct api_parsed p =
        read_with(ANTHROPIC_MESSAGES, "\"max_tokens\":9,\"stop_sequences\":[\"\\u0000bc\",\"a\\u0000\"]");
    ck_assert_msg(p.request, "%s", p.error.text);
    const struct msg_strings *stops = &p.request->submit.stops;
    ck_assert_uint_eq(stops->n, 2);
    ck_assert_uint_eq(stops->items[0].size, 3);
    ck_assert_mem_eq(stops->items[0].data, "\0bc", 3); /* all of it was copied */
    ck_assert_uint_eq(stops->items[1].size, 2);
    ck_assert_mem_eq(stops->items[1].data, "a", 2);
    api_parsed_free(&p);
}
END_TEST

START_TEST(what_is_read_is_what_was_sent) {
    struct api_parsed p = read_with(
        ANTHROPIC_MESSAGES,
        "\"model\":\"B\",\"temperature\":0.25,\"top_p\":0.5,\"top_k\":7,\"stop_sequences\":[\"x\",\"yy\"],"
        "\"max_tokens\":9,\"stream\":true,\"thinking\":{\"type\":\"disabled\"},"
        "\"output_config\":{\"effort\":\"low\"},\"tools\":[{\"name\":\"f\","
        "\"description\":\"d\",\"input_schema\":{\"type\":\"object\"},\"strict\":false}],"
        "\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\",\"disable_parallel_tool_use\":true}");
    ck_assert_msg(p.request, "%s", p.error.text);
    const struct msg_submit *s = &p.request->submit;
    ck_assert_str_eq(p.request->model, "B");
    ck_assert(p.request->stream && p.plan.stream && p.plan.kind == ANSWER_MESSAGE);
    ck_assert_double_eq(s->temperature, 0.25);
    ck_assert_double_eq(s->top_p, 0.5);
    ck_assert_int_eq(s->top_k, 7);
    ck_assert_uint_eq(s->stops.n, 2);
    ck_assert_str_eq((const char *)s->stops.items[1].data, "yy");
    ck_assert_uint_eq(s->max_tokens, 9);
    ck_assert_uint_eq(s->no_thinking, 1);
    ck_assert_str_eq(s->effort, "low");
    ck_assert_str_eq(
        (const char *)s->tools.data,
        "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":"
        "{\"type\":\"object\"},\"strict\":false}}]");
    ck_assert_str_eq(s->tool_choice, "f");
    ck_assert_uint_eq(s->parallel_tool_calls, 0);
    ck_assert_uint_eq(s->look, MSG_LOOK_NONE);
    ck_assert_uint_eq(s->kind, MSG_KIND_CHAT);
    api_parsed_free(&p);
    p = read_with(ANTHROPIC_MESSAGES, "");
    ck_assert_double_eq(p.request->submit.temperature, 1);
    ck_assert_uint_eq(p.request->submit.parallel_tool_calls, 1);
    ck_assert_uint_eq(p.request->submit.no_thinking, 0);
    api_parsed_free(&p);
    static const char *const choices[][2] = {{"auto", "auto"}, {"any", "required"}, {"none", "none"}};
    for (size_t i = 0; i < ARRAY_LEN(choices); i++) {
        char member[256];
        snprintf(member, sizeof member, CHOOSE("{\"type\":\"%s\"}"), choices[i][0]);
        p = read_with(ANTHROPIC_MESSAGES, member);
        ck_assert_str_eq(p.request->submit.tool_choice, choices[i][1]);
        api_parsed_free(&p);
    }
    p = read_with(
        ANTHROPIC_MESSAGES,
        "\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{\"type\":\"object\"}}}");
    ck_assert_str_eq((const char *)p.request->submit.json_schema.data, "{\"type\":\"object\"}");
    api_parsed_free(&p);
}
END_TEST

START_TEST(a_count_counts) {
    struct api_parsed p = read_with(ANTHROPIC_COUNT, "\"tools\":[" TOOL "],\"max_tokens\":5,\"stream\":true");
    ck_assert_msg(p.request, "%s", p.error.text);
    ck_assert_uint_eq(p.request->submit.look, MSG_LOOK_COUNT);
    ck_assert(p.plan.kind == ANSWER_COUNT && !p.plan.stream && !p.request->stream);
    ck_assert(in_ignored(&p, "max_tokens, stream"));
    api_parsed_free(&p);
}
END_TEST

START_TEST(what_must_be_there) {
    static const struct {
        const char *body, *param;
    } rows[] = {{"{\"max_tokens\":5}", "messages"},
                {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", "max_tokens"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct api_parsed p = read_as(ANTHROPIC_MESSAGES, rows[i].body);
        ck_assert_int_eq(p.error.err, ERR_INVALID);
        ck_assert_str_eq(p.error.param, rows[i].param);
        ck_assert_msg(strstr(p.error.text, "is missing"), "%s", p.error.text);
        api_parsed_free(&p);
    }
}
END_TEST

START_TEST(who_is_talking) {
    static const char body[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":1,"
                               "\"metadata\":{\"user_id\":\"anna\"}}";
    struct api_parsed p = read_as(ANTHROPIC_MESSAGES, body);
    ck_assert_str_eq(p.request->submit.agent, "anna");
    api_parsed_free(&p);
    struct api_input in = {.route = ROUTE_MESSAGES,
                           .body = body,
                           .body_size = sizeof body - 1,
                           .agent_header = "h@x.org",
                           .priority_header = "interactive",
                           .timeout_header = "5"};
    api_anthropic_read(&in, &p);
    ck_assert_str_eq(p.request->submit.agent, "h@x.org");
    ck_assert_int_eq(p.request->priority, PRIORITY_INTERACTIVE);
    ck_assert_int_eq(p.request->timeout_ns, 5000000000);
    api_parsed_free(&p);
}
END_TEST

START_TEST(members_that_do_nothing_are_named) {
    static const struct {
        const char *member, *named;
    } rows[] = {
        {"\"frob\":1", "frob"},
        {"\"metadata\":{\"a\":1}", "metadata.a"},
        {"\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024}", "thinking.budget_tokens"},
        {"\"output_config\":{\"x\":1}", "output_config.x"},
        {"\"tools\":[{\"name\":\"f\",\"input_schema\":{},\"defer_loading\":true}]", "tools[0].defer_loading"},
        {CHOOSE("{\"type\":\"auto\",\"name\":\"f\"}"), "tool_choice.name"},
        {"\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"name\":\"bob\"}]", "messages[0].name"},
        {"\"messages\":[" USER("[{\"type\":\"text\",\"text\":\"x\",\"citations\":[1]}]") "]",
         "messages[0].content[0].citations"},
        {"\"messages\":[" ASSISTANT("[" USE(",\"caller\":{}") "]") "," USER("[" RESULT("") "]") "]",
         "messages[0].content[0].caller"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct api_parsed p = read_with(ANTHROPIC_MESSAGES, rows[i].member);
        ck_assert_msg(p.request && in_ignored(&p, rows[i].named), "%s: %.*s %s", rows[i].member,
                      (int)p.ignored.size, p.ignored.data ? (const char *)p.ignored.data : "", p.error.text);
        api_parsed_free(&p);
    }
    struct api_parsed p =
        read_with(ANTHROPIC_MESSAGES,
                  "\"messages\":[" USER(
                      "[{\"type\":\"text\",\"text\":\"x\",\"citations\":null,\"cache_control\":{}}]") "]");
    ck_assert(p.request && p.ignored.size == 0);
    api_parsed_free(&p);
}
END_TEST

/* No string of 15 bytes or more: jansson 2.14 takes no notice when the buffer that it reads strings into can't grow. */
START_TEST(no_allocation_may_be_missed) {
    static const char body[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]},"
        "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"h\"},"
        "{\"type\":\"text\",\"text\":\"b\"},"
        "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{\"a\":1}}]},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t\",\"content\":\"c\"},"
        "{\"type\":\"text\",\"text\":\"d\"}]}],\"max_tokens\":5,\"system\":[{\"type\":\"text\",\"text\":"
        "\"s\"}],"
        "\"model\":\"m\",\"metadata\":{\"user_id\":\"u\"},\"tools\":[" TOOL
        "],\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\"},\"y\":1,"
        "\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{}}}}";
    /* One that did no harm is not the end: jansson tries some again. */
    int n_whole = 0;
    for (int n = 1; n < 2000 && n_whole < 30; n++) {
        mem_fail_at(n);
        struct api_parsed p = read_as(ANTHROPIC_MESSAGES, body);
        n_whole = p.error.err == ERR_OK && p.ignored.error == ERR_OK ? n_whole + 1 : 0;
        api_parsed_free(&p);
        mem_fail_at(0);
        ck_assert_int_eq(mem_live_count(), 0);
    }
    ck_assert_int_eq(n_whole, 30);
}
END_TEST

int main(void) {
    TCase *t = tcase_create("reading");
    tcase_add_loop_test(t, one_parameter, 0, ARRAY_LEN(ROWS));
    tcase_add_loop_test(t, one_conversation, 0, ARRAY_LEN(CONVERSATIONS));
    const TTest *const tests[] = {every_parameter_has_a_row_here,
                                  a_stop_may_hold_any_byte,
                                  what_is_read_is_what_was_sent,
                                  a_count_counts,
                                  what_must_be_there,
                                  who_is_talking,
                                  members_that_do_nothing_are_named,
                                  no_allocation_may_be_missed};
    for (size_t i = 0; i < ARRAY_LEN(tests); i++) tcase_add_test(t, tests[i]);
    return check_run_case("api_anthropic", t);
}
