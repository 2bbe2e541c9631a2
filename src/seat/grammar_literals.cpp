/* grammar_literals.cpp - the literals between which a grammar lets an answer choose, as a tree of their beginnings.
 *
 * Why: libllama goes on with one stack for each alternative that still fits, and when a sampled token is refused it tries all of the
 * vocabulary on each of them. The values of an enum begin alike, with a quote at least: of 1,000 all were tried, for seconds, and
 * meanwhile nobody got a token. In a tree they are a few at every place.
 *   ( "\"red\"" | "\"rose\"" | "\"blue\"" )   ->   ( "\"" ("blue\"" | "r" ("ed\"" | "ose\"")) )
 * The language is the same; what is not an alternative of literals alone stays as it is written. */
#include "seat/chat_template_impl.h"

#include <algorithm>
#include <string_view>

#define ALTERNATIVES_MIN 16 /* fewer cost less than they would save */
#define DEPTH_MAX 64        /* of groups in groups: libllama's parser recurses */

using alternatives = std::vector<std::string_view>; /* what stands between the quotes of each */

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

/* From a literal at text[at] on, literals with | between them. Returns where they end. */
static size_t read_alternatives(std::string_view text, size_t at, alternatives *ret) {
    for (;;) {
        size_t end = behind_closing(text, at, '"');
        if (end < at + 2 || text[end - 1] != '"') return end; /* not closed: the parser will say so */
        ret->push_back(text.substr(at + 1, end - at - 2));
        size_t next = behind_spaces(text, end);
        if (next == text.size() || text[next] != '|') return end;
        next = behind_spaces(text, next + 1);
        if (next == text.size() || text[next] != '"') return end;
        at = next;
    }
}

std::string chat_shim::factor_literals(const std::string &grammar) {
    std::string_view text = grammar;
    std::string out;
    char before = 0; /* the last one that is no space */
    for (size_t at = 0, end; at < text.size(); at = end) {
        end = at + 1;
        char c = text[at];
        if (c == '#')
            end = std::min(text.find('\n', at), text.size());
        else if (c == '[')
            end = behind_closing(text, at, ']');
        else if (c == '"') {
            alternatives all;
            end = read_alternatives(text, at, &all);
            size_t close = behind_spaces(text, end);
            char after = close < text.size() ? text[close] : '\n';
            if (all.size() >= ALTERNATIVES_MIN &&
                ((before == '(' && after == ')') || (before == '=' && after == '\n'))) {
                std::sort(all.begin(), all.end());
                all.erase(std::unique(all.begin(), all.end()), all.end());
                put_tree(&out, all, 0, all.size(), 0, 0);
                before = '"';
                continue;
            }
            if (before != '(' && before != '=') end = behind_closing(text, at, '"');
        }
        out.append(text, at, end - at);
        if (c != ' ' && c != '\t' && c != '\n' && c != '#') before = c;
    }
    return out;
}
