/* chat_grammar.cpp - the state of one stream in its grammar: see chat_template.h.
 *
 * A LAZY GRAMMAR SLEEPS until its trigger, the beginning of a tool call, and then holds the answer to its end. What reads like a
 * trigger inside of thoughts is none; once it is awake, what reads like a mark of thoughts is part of the call. */
#include <llama.h>

#include "seat/chat_template_impl.h"

#include <algorithm>

using namespace chat_shim;

#define MARK_BYTES_MAX 256 /* longer than any mark of thoughts */

struct seen {
    llama_token token;
    size_t end; /* where its text ends in the tail */
};

struct chat_grammar {
    struct llama_sampler *rules;
    const struct llama_vocab *vocab;
    bool broken; /* the rules lost the text: nothing is allowed any more, and the answer ends with an error */
    bool watch_thoughts, thinking; /* watch_thoughts: it sleeps, and the model thinks in the text */
    llama_token end;               /* a token that ends the answer */
    std::string tail;              /* the last text; marks in its first n_read bytes have had their effect */
    size_t n_read;
    std::vector<struct seen> tail_tokens;
    std::vector<std::string> think_starts, think_ends;
};

static void grammar_triggers(const struct llama_vocab *vocab, const common_chat_params &params,
                             std::vector<std::string> *patterns, std::vector<llama_token> *tokens) {
    for (const common_grammar_trigger &trigger : params.grammar_triggers) {
        switch (trigger.type) {
        case COMMON_GRAMMAR_TRIGGER_TYPE_TOKEN: tokens->push_back(trigger.token); break;
        case COMMON_GRAMMAR_TRIGGER_TYPE_WORD: {
            int32_t token = single_token(vocab, trigger.value);
            if (token >= 0) tokens->push_back(token);
            patterns->push_back(regex_escape(trigger.value)); /* it may also come spelled out */
            break;
        }
        case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN: patterns->push_back(trigger.value); break;
        case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN_FULL: patterns->push_back("^" + trigger.value + "$"); break;
        }
    }
}

/* The next mark of the tail that turns thinking: where it begins and ends. */
static bool find_mark(const struct chat_grammar *g, size_t *ret_begin, size_t *ret_end) {
    *ret_begin = std::string::npos;
    for (const std::string &mark : g->thinking ? g->think_ends : g->think_starts) {
        size_t at = g->tail.find(mark, g->n_read);
        if (at >= *ret_begin) continue;
        *ret_begin = at;
        *ret_end = at + mark.size();
    }
    return *ret_begin != std::string::npos;
}

static void trim_tail(struct chat_grammar *g) {
    if (g->tail.size() <= 2 * MARK_BYTES_MAX) return;
    size_t gone = g->tail.size() - MARK_BYTES_MAX;
    g->tail.erase(0, gone);
    g->n_read -= std::min(g->n_read, gone);
    auto is_kept = [gone](const struct seen &s) { return s.end > gone; };
    g->tail_tokens.erase(g->tail_tokens.begin(),
                         std::find_if(g->tail_tokens.begin(), g->tail_tokens.end(), is_kept));
    for (struct seen &s : g->tail_tokens) s.end -= gone;
}

/* Reads on. true: thoughts ended, with the mark at *ret_mark in the tail. */
static bool read_marks(struct chat_grammar *g, const std::string &text, size_t *ret_mark) {
    bool ended = false;
    trim_tail(g);
    g->tail += text;
    for (size_t begin, end; find_mark(g, &begin, &end);) {
        g->n_read = end;
        ended = g->thinking;
        g->thinking = !g->thinking;
        *ret_mark = begin;
    }
    return ended;
}

/* A sleeping grammar refuses nothing, one that has just begun a call refuses the end. */
static bool sleeps(const struct chat_grammar *g) {
    llama_token_data one = {g->end, 1.0f, 0.0f};
    llama_token_data_array array = {&one, 1, -1, false};
    llama_sampler_apply(g->rules, &array);
    return one.logit > 0;
}

static void accept_rules(struct chat_grammar *g, llama_token token) {
    /* libllama aborts when an unfinished grammar is told of an end. */
    if (llama_vocab_is_eog(g->vocab, token) && !chat_grammar_allows(g, token)) return;
    llama_sampler_accept(g->rules, token);
    if (g->watch_thoughts && !sleeps(g)) g->watch_thoughts = g->thinking = false;
}

/* The end of thoughts may be the beginning of a call. */
static void accept_mark(struct chat_grammar *g, size_t mark) {
    for (const struct seen &s : g->tail_tokens)
        if (s.end > mark) accept_rules(g, s.token);
}

static void watch_thoughts(struct chat_grammar *g, const common_chat_params &params) {
    size_t mark = 0;
    g->end = llama_vocab_eot(g->vocab);
    if (!llama_vocab_is_eog(g->vocab, g->end)) g->end = llama_vocab_eos(g->vocab);
    g->think_starts = {params.thinking_start_tag};
    g->think_ends = params.thinking_end_tags;
    g->watch_thoughts = g->end >= 0 && !params.thinking_start_tag.empty() && !g->think_ends.empty();
    if (g->watch_thoughts) read_marks(g, params.generation_prompt, &mark);
}

static struct llama_sampler *rules_of(const struct llama_vocab *vocab, const struct chat_render *r,
                                      const std::string &text) {
    if (!r || !r->params.grammar_lazy) return llama_sampler_init_grammar(vocab, text.c_str(), "root");
    std::vector<std::string> patterns;
    std::vector<llama_token> tokens;
    grammar_triggers(vocab, r->params, &patterns, &tokens);
    std::vector<const char *> pointers;
    for (const std::string &p : patterns) pointers.push_back(p.c_str());
    return llama_sampler_init_grammar_lazy_patterns(vocab, text.c_str(), "root", pointers.data(),
                                                    pointers.size(), tokens.data(), tokens.size());
}

static void grammar_fill(struct chat_grammar *g, const struct chat_render *r, const std::string &text) {
    g->rules = rules_of(g->vocab, r, factor_literals(text));
    if (!g->rules)
        throw refused{ERR_UNSUPPORTED, "the grammar of this request (schema or tools) can't be compiled"};
    if (!r || r->exact) return;
    if (r->params.grammar_lazy) {
        watch_thoughts(g, r->params);
        return;
    }
    /* This grammar begins where the template's opening of the answer begins. */
    for (llama_token token : common_tokenize(g->vocab, r->params.generation_prompt, false, true)) {
        llama_sampler_accept(g->rules, token);
    }
}

/* The grammar that was made stricter may refuse how the answer has begun (a prefilled text before the call): then `common`'s own it is. */
static void grammar_fill_either(struct chat_grammar *g, const struct chat_render *r,
                                const std::string &text) {
    try {
        grammar_fill(g, r, text);
    } catch (const std::exception &) {
        if (!r || r->exact || text == r->params.grammar) throw;
        if (g->rules) llama_sampler_free(g->rules);
        g->rules = nullptr;
        grammar_fill(g, r, r->params.grammar);
    }
}

enum err chat_grammar_new(const struct llama_model *model, const struct chat_render *r,
                          const struct msg_bytes *schema, struct chat_grammar **ret, char *why,
                          size_t why_size) {
    *ret = nullptr;
    struct chat_grammar *g = nullptr;
    enum err err = guarded(why, why_size, [&] {
        std::string text = r              ? r->grammar_text
                           : schema->size ? schema_grammar(string_of(*schema))
                                          : std::string();
        if (text.empty()) return;
        g = new chat_grammar();
        g->vocab = llama_model_get_vocab(model);
        grammar_fill_either(g, r, text);
    });
    if (err) {
        chat_grammar_free(g);
        return err == ERR_INVALID ? ERR_UNSUPPORTED : err;
    }
    *ret = g;
    return err;
}

void chat_grammar_free(struct chat_grammar *g) {
    if (!g) return;
    if (g->rules) llama_sampler_free(g->rules);
    delete g;
}

void chat_grammar_apply(struct chat_grammar *g, llama_token_data_array *candidates) {
    if (g->thinking && !g->broken) return;
    char why[64];
    if (!g->broken && guarded(why, sizeof why, [&] { llama_sampler_apply(g->rules, candidates); }))
        g->broken = true;
    for (size_t i = 0; g->broken && i < candidates->size; i++) candidates->data[i].logit = -INFINITY;
}

bool chat_grammar_allows(struct chat_grammar *g, int32_t token) {
    llama_token_data one = {token, 1.0f, 0.0f};
    llama_token_data_array array = {&one, 1, -1, false};
    chat_grammar_apply(g, &array);
    return one.logit > 0;
}

void chat_grammar_accept(struct chat_grammar *g, int32_t token) {
    if (g->broken) return;
    char why[64];
    enum err err = guarded(why, sizeof why, [&] {
        size_t mark = 0;
        bool was_thinking = g->thinking, ended = false;
        if (g->watch_thoughts) {
            ended = read_marks(g, common_token_to_piece(g->vocab, token, true), &mark);
            g->tail_tokens.push_back({token, g->tail.size()});
        }
        if (ended)
            accept_mark(g, mark);
        else if (!was_thinking)
            accept_rules(g, token);
    });
    if (err) g->broken = true;
}
