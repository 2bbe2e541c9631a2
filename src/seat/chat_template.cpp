/* chat_template.cpp - see chat_template.h. Every function that calls into libllama's C++ or
 * `common` does so inside of guarded(), so no exception leaves.
 *
 * THE SAME PROMPT RULE: a rendered prompt is a function of the request and the template alone. Some templates
 * print today's date; with it every conversation's cached prefix would be worthless the next morning, and a
 * stream that moves to a new seat past midnight could not be replayed. So for templates it is always
 * PINNED_DAY; whoever wants the model to know the date says it in the system message. Tool-call ids are a
 * function of the prompt, the seed and the call's number, for the same reason. */
#include <llama.h>

#include "seat/chat_template_impl.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ctime>
#include <iomanip>
#include <locale>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "json-schema-to-grammar.h"
#include "llama-ext.h"
#include "llama-model.h"
#include "log.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* in C++ a function of a struct's name shadows its constructor */
extern "C" {
#include "base/hash.h"
#include "base/json.h"
}
#pragma GCC diagnostic pop

using namespace chat_shim;

namespace {

const struct tm PINNED_DAY = [] { /* Wednesday, 1 January 2025 */
                                  struct tm day = {};
                                  day.tm_year = 125;
                                  day.tm_mday = 1;
                                  day.tm_wday = 3;
                                  return day;
}();

std::string pinned_date(const std::string &format) {
    std::ostringstream text;
    text.imbue(std::locale::classic());
    text << std::put_time(&PINNED_DAY, format.c_str());
    return text.str();
}

/* strftime_now("...") with a literal format becomes the literal text; "strftime_now is defined" stays true.
 */
std::string pin_dates(std::string source) {
    const std::string call = "strftime_now(";
    for (size_t at = source.find(call); at != std::string::npos; at = source.find(call, at + 1)) {
        size_t open = source.find_first_not_of(" \t", at + call.size());
        if (open == std::string::npos || (source[open] != '"' && source[open] != '\'')) continue;
        size_t close = source.find(source[open], open + 1);
        if (close == std::string::npos) continue;
        size_t end = source.find_first_not_of(" \t", close + 1);
        if (end == std::string::npos || source[end] != ')') continue;
        std::string date = pinned_date(source.substr(open + 1, close - open - 1));
        if (date.find_first_of("\"'\\") != std::string::npos) continue;
        source.replace(at, end + 1 - at, source[open] + date + source[open]);
    }
    return source;
}

/* "{}" means any object to a client, and any value to a grammar. */
common_json schema_of(const std::string &text) {
    common_json schema = common_json::parse(text);
    if (schema.is_object() && schema.empty()) schema["type"] = "object";
    return schema;
}

} // namespace

std::string chat_shim::schema_grammar(const std::string &text) {
    try {
        return json_schema_to_grammar(schema_of(text), true);
    } catch (const std::exception &e) {
        throw refused{ERR_UNSUPPORTED, std::string("no grammar can say this JSON schema: ") + e.what()};
    }
}

int32_t chat_shim::single_token(const struct llama_vocab *vocab, const std::string &text) {
    std::vector<llama_token> ids = common_tokenize(vocab, text, false, true);
    return ids.size() == 1 ? ids[0] : -1;
}

struct chat_templates {
    common_chat_templates_ptr plain, with_tools; /* with_tools: a variant of its own, or NULL */
    const struct llama_vocab *vocab;
    std::string bos; /* "" when the tokenizer adds none */
    std::string stop;
};

/* ---- templates ---- */

static void templates_fill(struct chat_templates *t, const struct llama_model *model, std::string source) {
    std::string tools_source;
    if (source.empty()) {
        source = string_of(llama_model_chat_template(model, nullptr));
        tools_source = string_of(llama_model_chat_template(model, "tool_use"));
        if (source.empty()) std::swap(source, tools_source);
    }
    if (source.empty()) {
        throw refused{
            ERR_INVALID,
            "this model's file has no chat template: set \"template\" in its [model NAME] section to "
            "a family (chatml, gemma, llama3, mistral, phi3) or to a Jinja file"};
    }
    t->vocab = llama_model_get_vocab(model);
    if (llama_vocab_get_add_bos(t->vocab) && llama_vocab_bos(t->vocab) >= 0) {
        t->bos = common_token_to_piece(t->vocab, llama_vocab_bos(t->vocab), true);
    }
    t->plain = common_chat_templates_init(model, pin_dates(source));
    if (!tools_source.empty()) t->with_tools = common_chat_templates_init(model, pin_dates(tools_source));
}

enum err chat_templates_open(const struct llama_model *model, const char *source, const char *stop,
                             struct chat_templates **ret, char *why, size_t why_size) {
    *ret = nullptr;
    struct chat_templates *t = nullptr;
    enum err err = guarded(why, why_size, [&] {
        t = new chat_templates();
        t->stop = string_of(stop);
        templates_fill(t, model, string_of(source));
    });
    if (err) {
        delete t;
        t = nullptr;
    }
    *ret = t;
    return err;
}

void chat_templates_free(struct chat_templates *t) {
    delete t;
}

/* ---- render ---- */

static void choose_tools(common_chat_templates_inputs *in, const struct msg_submit *request) {
    std::string tools = string_of(request->tools), choice = string_of(request->tool_choice);
    if (!tools.empty()) in->tools = common_chat_tools_parse_oaicompat(common_json::parse(tools));
    in->parallel_tool_calls = request->parallel_tool_calls != 0;
    if (choice.empty() || choice == "auto") {
        in->tool_choice = COMMON_CHAT_TOOL_CHOICE_AUTO;
    } else if (choice == "none") {
        in->tool_choice = COMMON_CHAT_TOOL_CHOICE_NONE;
    } else {
        in->tool_choice = COMMON_CHAT_TOOL_CHOICE_REQUIRED;
        if (choice != "required") { /* a function's name: it, and no other */
            std::vector<common_chat_tool> only;
            for (const common_chat_tool &tool : in->tools) {
                if (tool.name == choice) only.push_back(tool);
            }
            in->tools = only;
        }
        if (in->tools.empty())
            throw refused{ERR_INVALID, "tool_choice asks for a function that is not in tools"};
    }
}

static void continue_last(common_chat_templates_inputs *in) {
    if (in->messages.empty()) throw refused{ERR_INVALID, "there are no messages"};
    const common_chat_msg &last = in->messages.back();
    if (last.role != "assistant") return;
    if (!last.tool_calls.empty()) {
        throw refused{ERR_INVALID,
                      "the last message calls tools: their answers must follow before the model can go on"};
    }
    if (in->messages.size() >= 2 && in->messages[in->messages.size() - 2].role == "assistant") {
        throw refused{ERR_INVALID, "two messages of the assistant stand at the end"};
    }
    in->continue_final_message = COMMON_CHAT_CONTINUATION_AUTO;
    in->add_generation_prompt = false;
}

/* Takes away the text that the root rule lets stand right before a call: the last there is, for thoughts may stand before it in the same way. */
static void forbid_text(std::string *grammar) {
    const std::string rule = "root ::= ", until = " until-", call = " tool-call";
    size_t root = grammar->compare(0, rule.size(), rule) == 0 ? 0 : grammar->find("\n" + rule);
    if (root == std::string::npos) return;
    size_t line_end = grammar->find('\n', root + 1);
    size_t found = std::string::npos, found_size = 0;
    for (size_t text = grammar->find(until, root); text < line_end; text = grammar->find(until, text + 1)) {
        size_t end = grammar->find_first_not_of("0123456789", text + until.size());
        if (end == std::string::npos) break;
        for (const char *between : {"", "?", " space"}) {
            size_t begin = end + strlen(between);
            if (grammar->compare(end, begin - end, between) != 0) continue;
            if (grammar->compare(begin, call.size(), call) != 0) continue;
            found = text;
            found_size = begin - text;
        }
    }
    if (found != std::string::npos) grammar->erase(found, found_size);
}

/* `common` lets a model that must call a tool write any text first (after its thoughts, if it thinks), which a small one does until
 * max_tokens, and several calls where one is wanted. Both are one rule of the grammar it made; a grammar that reads otherwise stays as
 * it is. */
static std::string tighten(std::string grammar, bool must_call, bool parallel) {
    if (must_call) forbid_text(&grammar);
    const std::string call = "tool-call", many = "tool-calls ::= (" + call;
    size_t calls = grammar.find(many);
    size_t line_end = calls == std::string::npos ? calls : grammar.find('\n', calls);
    if (!parallel && line_end != std::string::npos && grammar.compare(line_end - 2, 2, ")+") == 0 &&
        grammar.find_first_of("()|", calls + many.size()) == line_end - 2) {
        grammar.erase(line_end - 2, 2);
        grammar.erase(calls + many.size() - call.size() - 1, 1);
    }
    return grammar;
}

/* Does the reader hand the text through untouched? Then we need not run it at every token. */
static bool reader_is_exact(const struct chat_render *r) {
    const std::string probe = " \n two  words \n ";
    try {
        common_chat_msg msg = common_chat_parse(probe, false, r->reader);
        return msg.content == probe && msg.reasoning_content.empty() && msg.tool_calls.empty();
    } catch (const std::exception &) {
        return false;
    }
}

static void note_stops_and_kept(struct chat_render *r, const struct chat_templates *t) {
    r->stops = r->params.additional_stops;
    if (!t->stop.empty()) r->stops.push_back(t->stop);
    for (const std::string &s : r->stops) r->stop_pointers.push_back(s.c_str());
    for (const std::string &s : r->params.preserved_tokens) {
        int32_t token = single_token(t->vocab, s);
        if (token >= 0) r->kept.push_back(token);
    }
    std::sort(r->kept.begin(), r->kept.end());
}

/* Old thoughts stay where the template has the choice: a prompt that loses them is not the one that is cached. */
static void choose_thinking(common_chat_templates_inputs *in, const struct msg_submit *request) {
    std::string effort = request->no_thinking ? "none" : request->effort ? request->effort : "";
    in->enable_thinking = request->no_thinking == 0;
    in->chat_template_kwargs["preserve_reasoning"] = "true";
    if (!effort.empty()) in->chat_template_kwargs["reasoning_effort"] = "\"" + effort + "\"";
}

/* A template that takes other words for the effort may say so by an exception: it is asked without. */
static common_chat_params apply(const common_chat_templates *templates, common_chat_templates_inputs *in) {
    if (in->chat_template_kwargs.count("reasoning_effort") == 0)
        return common_chat_templates_apply(templates, *in);
    try {
        return common_chat_templates_apply(templates, *in);
    } catch (const std::exception &) {
        in->chat_template_kwargs.erase("reasoning_effort");
        return common_chat_templates_apply(templates, *in);
    }
}

static void render_fill(struct chat_render *r, const struct chat_templates *t,
                        const struct msg_submit *request) {
    common_chat_templates_inputs in;
    in.messages = common_chat_msgs_parse_oaicompat(common_json::parse(string_of(request->messages)));
    choose_tools(&in, request);
    continue_last(&in);
    bool tools = !in.tools.empty() && in.tool_choice != COMMON_CHAT_TOOL_CHOICE_NONE;
    std::string schema = string_of(request->json_schema);
    if (tools && !schema.empty())
        throw refused{ERR_UNSUPPORTED, "response_format with a schema and tools can't be asked for together"};
    const common_chat_templates *templates = tools && t->with_tools ? t->with_tools.get() : t->plain.get();
    in.reasoning_format = COMMON_REASONING_FORMAT_AUTO;
    choose_thinking(&in, request);
    in.now =
        std::chrono::system_clock::from_time_t(1735732800); /* noon of PINNED_DAY, the same day everywhere */
    in.chat_template_kwargs["date_string"] = "\"" + pinned_date("%d %b %Y") + "\"";
    in.chat_template_kwargs["datetime"] = "\"" + pinned_date("%b %d %Y") + "\"";
    std::string grammar = schema.empty() ? "" : schema_grammar(schema); /* refuses what can't be said */

    r->params = apply(templates, &in);
    bool thinks = r->params.supports_thinking;
    auto set_reader = [&] {
        r->reader = common_chat_parser_params(r->params);
        r->reader.reasoning_format = COMMON_REASONING_FORMAT_AUTO;
        r->reader.is_continuation = in.continue_final_message != COMMON_CHAT_CONTINUATION_NONE;
        if (!r->params.parser.empty()) r->reader.parser.load(r->params.parser);
    };
    set_reader();
    r->exact = !tools && !thinks && (r->reader.is_continuation || reader_is_exact(r));
    r->grammar_text = r->params.grammar;
    if (r->exact) {
        r->grammar_text = grammar;
        r->params.grammar_lazy = false;
    } else if (!schema.empty()) {
        /* Thoughts come first: the template's own grammar wraps the schema's. */
        in.json_schema = schema_of(schema).dump();
        r->params = apply(templates, &in);
        set_reader();
        r->grammar_text = r->params.grammar;
    }
    /* Some templates are read by a parser of their own, which their capabilities do not tell; it then has a grammar. */
    if (tools && r->grammar_text.empty() && !common_chat_templates_get_caps(templates)["supports_tool_calls"])
        throw refused{ERR_UNSUPPORTED, "this model's chat template knows no tools"};
    if (tools) {
        bool must_call = in.tool_choice == COMMON_CHAT_TOOL_CHOICE_REQUIRED;
        if (must_call && r->grammar_text.empty())
            throw refused{ERR_UNSUPPORTED, "this model's chat template can't be made to call a tool"};
        r->n_calls_max = in.parallel_tool_calls ? SIZE_MAX : 1;
        r->grammar_text = tighten(r->grammar_text, must_call, in.parallel_tool_calls);
    }
    if (!t->bos.empty() && r->params.prompt.compare(0, t->bos.size(), t->bos) == 0)
        r->params.prompt.erase(0, t->bos.size()); /* the tokenizer adds it */
    if (!r->exact && r->reader.is_continuation) {
        common_chat_msg before =
            common_chat_parse("", true, r->reader); /* what the client sent is not news */
        r->content_sent = before.content;
        r->reasoning_sent = before.reasoning_content;
    }
    note_stops_and_kept(r, t);
    r->id_seed = r->params.prompt + "\n" + std::to_string(request->seed) + "\n";
}

enum err chat_render_new(const struct chat_templates *t, const struct msg_submit *request,
                         struct chat_render **ret, char *why, size_t why_size) {
    *ret = nullptr;
    struct chat_render *r = nullptr;
    enum err err = guarded(why, why_size, [&] {
        r = new chat_render();
        render_fill(r, t, request);
    });
    if (err) {
        delete r;
        r = nullptr;
    }
    *ret = r;
    return err;
}

void chat_render_free(struct chat_render *r) {
    delete r;
}

const char *chat_render_prompt(const struct chat_render *r, size_t *ret_size) {
    *ret_size = r->params.prompt.size();
    return r->params.prompt.c_str();
}

uint32_t chat_render_stops(const struct chat_render *r, const char *const **ret) {
    *ret = r->stop_pointers.data();
    return static_cast<uint32_t>(r->stop_pointers.size());
}

bool chat_render_keeps(const struct chat_render *r, int32_t token) {
    return std::binary_search(r->kept.begin(), r->kept.end(), token);
}

bool chat_render_called_tools(const struct chat_render *r) {
    return !r->calls_sent.empty() && r->calls_sent[0].head;
}

/* ---- reading the answer ---- */

static bool begins_with(const std::string &s, const std::string &head) {
    return s.compare(0, head.size(), head) == 0;
}

/* Appends what now goes beyond what was sent. A reading that took something back (the parser had guessed) is
 * no news: nothing is ever sent twice, and nothing can be unsent. */
static void send_more(std::string *sent, const std::string &now, struct buf *out) {
    if (now.size() <= sent->size() || !begins_with(now, *sent)) return;
    buf_put(out, now.data() + sent->size(), now.size() - sent->size());
    *sent = now;
}

static std::string call_id(const struct chat_render *r, const common_chat_tool_call &call, size_t i) {
    if (!call.id.empty()) return call.id; /* the model wrote one */
    std::string text = r->id_seed + std::to_string(i);
    char hex[HASH128_HEX_SIZE];
    hash128_hex(hash128(text.data(), text.size()), hex);
    return "call_" + std::string(hex, 24);
}

static void write_call(struct json_out *w, const common_chat_tool_call &call, const struct call_sent &sent,
                       size_t i, bool head, const std::string &arguments) {
    json_obj(w);
    json_key(w, "index");
    json_u64(w, i);
    if (head) {
        json_key(w, "id");
        json_strn(w, sent.id.data(), sent.id.size());
        json_key(w, "type");
        json_str(w, "function");
    }
    json_key(w, "function");
    json_obj(w);
    if (head) {
        json_key(w, "name");
        json_strn(w, call.name.data(), call.name.size());
    }
    json_key(w, "arguments");
    json_strn(w, arguments.data(), arguments.size());
    json_end(w);
    json_end(w);
}

/* A name may still grow while it is read: a call's head goes out with its first argument byte, when the next
 * call has begun, or at the end. */
static void send_calls(struct chat_render *r, const common_chat_msg &msg, bool final, struct buf *out) {
    struct json_out w = json_out_into(out);
    bool any = false;
    size_t n = std::min(msg.tool_calls.size(), r->n_calls_max);
    if (r->calls_sent.size() < n) r->calls_sent.resize(n);
    for (size_t i = 0; i < n; i++) {
        const common_chat_tool_call &call = msg.tool_calls[i];
        struct call_sent &sent = r->calls_sent[i];
        bool settled = final || i + 1 < msg.tool_calls.size() || !call.arguments.empty();
        if (call.name.empty() || (!sent.head && !settled)) continue;
        std::string more;
        if (call.arguments.size() > sent.arguments.size() && begins_with(call.arguments, sent.arguments)) {
            more = call.arguments.substr(sent.arguments.size());
        }
        bool head = !sent.head;
        if (!head && more.empty()) continue;
        if (!any) json_arr(&w);
        any = true;
        if (head) sent.id = call_id(r, call, i);
        write_call(&w, call, sent, i, head, more);
        sent.head = true;
        sent.arguments += more;
    }
    if (any) json_end(&w);
}

/* The answer does not read as the template says. Whatever of it was not sent yet is shown as it is, unless a
 * tool call is already on its way: the client must not lose what the model wrote. */
static void send_unread(struct chat_render *r, const std::string &text, struct buf *content) {
    if (chat_render_called_tools(r) || !r->reasoning_sent.empty()) return;
    if (r->reader.is_continuation) return;
    send_more(&r->content_sent, text, content);
}

static void render_parse(struct chat_render *r, const std::string &text, bool final, struct buf *content,
                         struct buf *reasoning, struct buf *tool_calls) {
    common_chat_msg msg;
    bool read = false;
    for (int partial = final ? 0 : 1; partial < 2 && !read; partial++) {
        try {
            msg = common_chat_parse(text, partial == 1, r->reader);
            read = true;
        } catch (const std::bad_alloc &) {
            throw;
        } catch (const std::exception &) { /* an answer cut short by max_tokens reads as a partial one */
        }
    }
    if (!read) {
        if (final) send_unread(r, text, content);
        return;
    }
    send_more(&r->reasoning_sent, msg.reasoning_content, reasoning);
    send_more(&r->content_sent, msg.content, content);
    send_calls(r, msg, final, tool_calls);
}

enum err chat_render_parse(struct chat_render *r, const char *text, size_t size_bytes, bool final,
                           struct buf *content, struct buf *reasoning, struct buf *tool_calls) {
    if (r->exact) {
        if (size_bytes > r->n_exact_sent)
            buf_put(content, text + r->n_exact_sent, size_bytes - r->n_exact_sent);
        r->n_exact_sent = std::max(r->n_exact_sent, size_bytes);
        return content->error;
    }
    char why[128];
    enum err err = guarded(why, sizeof why, [&] {
        render_parse(r, std::string(text, size_bytes), final, content, reasoning, tool_calls);
    });
    if (err) return err;
    if (content->error) return content->error;
    return reasoning->error ? reasoning->error : tool_calls->error;
}

/* ---- the model ---- */

int32_t shim_tokenize(const struct llama_vocab *vocab, const char *text, int32_t size, int32_t *ids,
                      int32_t n_max, bool special) {
    int32_t n = INT32_MIN;
    char why[64];
    auto tokenize = [&] { n = llama_tokenize(vocab, text, size, ids, n_max, false, special); };
    return guarded(why, sizeof why, tokenize) ? INT32_MIN : n;
}

enum err shim_memory_of(const struct llama_context *ctx, struct shim_memory *ret) {
    *ret = {};
    char why[64];
    return guarded(why, sizeof why, [&] {
        for (const auto &[type, m] : llama_get_memory_breakdown(ctx)) {
            ret->weights_bytes += m.model;
            ret->cells_bytes += m.context;
            ret->compute_bytes += m.compute;
        }
    });
}

uint32_t shim_window_layers(const struct llama_model *model) {
    uint32_t n = 0;
    char why[64];
    auto count = [&] {
        for (int32_t i = 0; i < llama_model_n_layer(model); i++)
            n += model->hparams.is_swa(static_cast<uint32_t>(i)) ? 1 : 0;
    };
    return guarded(why, sizeof why, count) ? 0 : n;
}

uint32_t shim_physical_cores(void) {
    int32_t n = 1;
    char why[64];
    if (guarded(why, sizeof why, [&] { n = common_cpu_get_num_physical_cores(); })) return 1;
    uint32_t allowed = std::thread::hardware_concurrency(); /* less in a container with a few of the cores */
    uint32_t cores = n > 0 ? static_cast<uint32_t>(n) : 1;
    return allowed > 0 ? std::min(cores, allowed) : cores;
}

void shim_quiet(void) {
    common_log_set_verbosity_thold(-1);
}
