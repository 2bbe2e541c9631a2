/* grammar_literals.cpp - the literals between which a grammar lets an answer choose, as a tree of their beginnings.
 *
 * Why: libllama goes on with one stack for each alternative that still fits, and when a sampled token is refused it tries all of the
 * vocabulary on each of them. The values of an enum begin alike, with a quote at least: of 1,000 all were tried, for seconds, and
 * meanwhile nobody got a token. In a tree they are a few at every place.
 *   ( "\"red\"" | "\"rose\"" | "\"blue\"" )   ->   ( "\"" ("blue\"" | "r" ("ed\"" | "ose\"")) )
 * The name of a rule that is one literal stands for it: so are unions of constants written. The language is the same; what is not an
 * alternative of literals alone stays as it is written. */
#include "seat/chat_template_impl.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <string_view>

#define ALTERNATIVES_MIN 16 /* fewer cost less than they would save */
#define DEPTH_MAX 64        /* of groups in groups: libllama's parser recurses */

using alternatives = std::vector<std::string_view>; /* what stands between the quotes of each */
using literal_rules = std::map<std::string_view, std::string_view>; /* the same, by the rule's name */

/* Bytes of the character or escape at s[at]; it is never divided. */
static size_t unit_bytes(std::string_view s, size_t at) {
    unsigned char c = static_cast<unsigned char>(s[at]);
    size_t n = 1;
    if (c == '\\' && at + 1 < s.size()) {
        char kind = s[at + 1];
        n = kind == 'x' ? 4 : kind == 'u' ? 6 : kind == 'U' ? 10 : 2;
    } else if (c >= 0xC0) {
        n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    }
    return std::min(n, s.size() - at);
}

/* Where a and b, alike up to at, begin to differ. */
static size_t alike_until(std::string_view a, std::string_view b, size_t at) {
    while (at < a.size()) {
        size_t n = unit_bytes(a, at);
        if (b.compare(at, n, a, at, n) != 0) break;
        at += n;
    }
    return at;
}

static void put_literal(std::string *out, std::string_view text) {
    out->append(1, '"').append(text).append(1, '"');
}

/* all[begin..end): sorted, each once, alike up to at. */
static void put_tree(std::string *out, const alternatives &all, size_t begin, size_t end, size_t at,
                     int depth) {
    bool first = true, one_ends = false;
    for (size_t next; begin < end; begin = next) {
        std::string_view s = all[begin];
        next = begin + 1;
        if (s.size() == at) {
            one_ends = true;
            continue;
        }
        size_t unit = unit_bytes(s, at);
        while (depth < DEPTH_MAX && next < end && all[next].compare(at, unit, s, at, unit) == 0) next++;
        if (!first) out->append(" | ");
        first = false;
        size_t until = next == begin + 1 ? s.size() : alike_until(s, all[next - 1], at);
        put_literal(out, s.substr(at, until - at));
        if (next == begin + 1) continue;
        out->append(" (");
        put_tree(out, all, begin, next, until, depth + 1);
        out->append(")");
    }
    if (one_ends) out->append(first ? "\"\"" : " | \"\"");
}

static size_t behind_spaces(std::string_view text, size_t at) {
    while (at < text.size() && (text[at] == ' ' || text[at] == '\t')) at++;
    return at;
}

/* Behind the mark that closes what text[at] opens. */
static size_t behind_closing(std::string_view text, size_t at, char close) {
    for (at++; at < text.size() && text[at] != close; at++)
        if (text[at] == '\\') at++;
    return std::min(at + 1, text.size());
}

static bool is_name(char c) {
    return isalnum(static_cast<unsigned char>(c)) || c == '-';
}

static size_t behind_name(std::string_view text, size_t at) {
    while (at < text.size() && is_name(text[at])) at++;
    return at;
}

/* What stands between the quotes from text[at] on; false: they are not closed, or there are none. */
static bool read_literal(std::string_view text, size_t at, std::string_view *ret, size_t *ret_end) {
    if (at >= text.size() || text[at] != '"') return false;
    *ret_end = behind_closing(text, at, '"');
    if (*ret_end < at + 2 || text[*ret_end - 1] != '"') return false;
    *ret = text.substr(at + 1, *ret_end - at - 2);
    return true;
}

static literal_rules find_literal_rules(std::string_view text) {
    const std::string_view is = " ::= ";
    literal_rules rules;
    for (size_t at = 0, line_end; at < text.size(); at = line_end + 1) {
        line_end = std::min(text.find('\n', at), text.size());
        std::string_view line = text.substr(at, line_end - at), literal;
        size_t name = behind_name(line, 0), end;
        if (name == 0 || line.compare(name, is.size(), is) != 0) continue;
        if (!read_literal(line, name + is.size(), &literal, &end)) continue;
        if (behind_spaces(line, end) == line.size()) rules[line.substr(0, name)] = literal;
    }
    return rules;
}

/* From text[at] on, literals (and names of rules that are one) with | between them. Where they end; or npos: something else is
 * among them. */
static size_t read_alternatives(std::string_view text, size_t at, const literal_rules &rules,
                                alternatives *ret) {
    for (;;) {
        std::string_view literal;
        size_t end;
        if (!read_literal(text, at, &literal, &end)) {
            end = behind_name(text, at);
            auto rule = rules.find(text.substr(at, end - at));
            if (rule == rules.end()) return std::string_view::npos;
            literal = rule->second;
        }
        ret->push_back(literal);
        size_t next = behind_spaces(text, end);
        if (next == text.size() || text[next] != '|') return end;
        at = behind_spaces(text, next + 1);
    }
}

/* The same for what stands between before and the character behind it, which must open and close it. Where it ends; or npos. */
static size_t put_alternatives(std::string *out, std::string_view text, size_t at, char before,
                               const literal_rules &rules) {
    alternatives all;
    size_t end = read_alternatives(text, at, rules, &all);
    if (end == std::string_view::npos || all.size() < ALTERNATIVES_MIN) return std::string_view::npos;
    size_t close = behind_spaces(text, end);
    char after = close < text.size() ? text[close] : '\n';
    if (after != (before == '(' ? ')' : '\n')) return std::string_view::npos;
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    put_tree(out, all, 0, all.size(), 0, 0);
    return end;
}

std::string chat_shim::factor_literals(const std::string &grammar) {
    std::string_view text = grammar;
    literal_rules rules = find_literal_rules(text);
    std::string out;
    char before = 0; /* the last one that is no space */
    for (size_t at = 0, end; at < text.size(); at = end) {
        char c = text[at];
        if ((before == '(' || before == '=') && (c == '"' || is_name(c))) {
            end = put_alternatives(&out, text, at, before, rules);
            before = c;
            if (end != std::string_view::npos) continue;
        }
        end = at + 1;
        if (c == '#')
            end = std::min(text.find('\n', at), text.size());
        else if (c == '[' || c == '"')
            end = behind_closing(text, at, c == '[' ? ']' : '"');
        out.append(text, at, end - at);
        if (c != ' ' && c != '\t' && c != '\n' && c != '#') before = c;
    }
    return out;
}
