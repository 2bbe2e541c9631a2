/* engine_fake_sampler.c - what the fake engine says. Text is a chain of phrases, chosen token by token: the
 * allowed next bytes (those that continue a phrase) mask the logits as a grammar would, so the words depend
 * on the KV and the text is always sane UTF-8. Directives in the last user message (or the prompt) script the
 * answer, in their order:
 *   [[len=200]]   babble of exactly 200 tokens         [[say:TEXT]]   exactly TEXT
 *   [[emoji]] [[emoji=9]]  that many emoji (8), several tokens each     [[think:TEXT]]  TEXT as reasoning
 *   [[tool:NAME]] a tool call with babble in its arguments      [[tool:NAME:{...}]]  with these arguments
 *   [[die]]       the process aborts when it gets there
 * Without any: babble of BABBLE_DEFAULT tokens. Then the turn ends. logit_bias moves the choice among what the script allows. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/mem.h"
#include "base/must.h"
#include "link/token_probs.h"
#include "seat/engine_fake.h"

#define SEGMENTS_MAX 64
#define BABBLE_DEFAULT 48
#define TOOL_BABBLE 24
#define EMOJI_DEFAULT 8
#define PHRASE_BYTES_MAX 16

/* No phrase of a table may begin with another one of it (table_check), at most 64 in one. */
static const char *const babble[] = {"the seat ",
                                     "a model ",
                                     "cache ",
                                     "blocks, ",
                                     "swap ",
                                     "warm ",
                                     "cold ",
                                     "token ",
                                     "disk ",
                                     "agent ",
                                     "42 ",
                                     "7 ",
                                     "1024 ",
                                     "\n    indent ",
                                     "    x = 1;\n",
                                     "\xF0\x9F\x99\x82 ",
                                     "\xF0\x9F\x9A\x80 ",
                                     "\xF0\x9F\xA6\x8A ",
                                     "caf\xC3\xA9 ",
                                     "na\xC3\xAFve ",
                                     "\xE6\x97\xA5\xE6\x9C\xAC ",
                                     "\xCE\xA9mega ",
                                     "is ",
                                     "goes ",
                                     "and ",
                                     "never ",
                                     "or: ",
                                     "(quite) ",
                                     "until ",
                                     "\"yes\" ",
                                     "3.14 ",
                                     "... "};
static const char *const emoji[] = {
    "\xF0\x9F\x99\x82", "\xF0\x9F\x9A\x80",         "\xF0\x9F\xA6\x8A",
    "\xF0\x9F\x90\x99", "\xE2\x98\x83\xEF\xB8\x8F", "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x9A\x80"};
static const char *const words[] = {"a", "b", "c", "d", "e", "f", "g", "h",
                                    "k", "m", "n", "o", "r", "s", "t", "u"};

enum segment_kind { SEGMENT_SAY, SEGMENT_BABBLE, SEGMENT_WORDS, SEGMENT_EMOJI, SEGMENT_DIE };
struct segment {
    enum segment_kind kind;
    char *text; /* SAY */
    uint32_t n; /* tokens; EMOJI: phrases */
};

struct engine_sampler {
    struct engine *e;
    struct segment segments[SEGMENTS_MAX];
    uint32_t n_segments, segment;
    uint32_t done;    /* tokens (EMOJI: phrases) of this segment */
    uint64_t alive;   /* phrases that begin with what was said since the last phrase ended */
    uint32_t matched; /* bytes of them */
    bool ignore_eos;
    double temperature, top_p, min_p, presence, frequency;
    int64_t top_k;
    uint64_t seed;
    uint32_t counts[FAKE_VOCAB];
    double biases[FAKE_VOCAB];
};

struct table {
    const char *const *phrases;
    uint32_t n;
};

/* ---- the script ---- */

static struct segment *segment_add(struct engine_sampler *s, enum segment_kind kind, const char *text,
                                   size_t size, uint32_t n) {
    if (s->n_segments == SEGMENTS_MAX) return NULL;
    struct segment *g = &s->segments[s->n_segments];
    *g = (struct segment){.kind = kind, .n = n};
    if (kind == SEGMENT_SAY) {
        g->text = mem_strndup(text, size);
        if (!g->text) return NULL;
        g->n = (uint32_t)strlen(g->text);
        if (g->n == 0) {
            mem_free(g->text);
            return g; /* nothing to say is no segment */
        }
    }
    if (kind != SEGMENT_SAY && kind != SEGMENT_DIE && n == 0) return g;
    s->n_segments++;
    return g;
}

static bool say(struct engine_sampler *s, const char *text) {
    return segment_add(s, SEGMENT_SAY, text, strlen(text), 0) != NULL;
}

static bool script_tool(struct engine_sampler *s, const char *spec, size_t size) {
    const char *colon = memchr(spec, ':', size);
    size_t name_size = colon ? (size_t)(colon - spec) : size;
    bool ok = say(s, "<tool_call>\n{\"name\": \"") && segment_add(s, SEGMENT_SAY, spec, name_size, 0);
    if (colon)
        ok = ok && say(s, "\", \"arguments\": ") &&
             segment_add(s, SEGMENT_SAY, colon + 1, size - name_size - 1, 0);
    else
        ok = ok && say(s, "\", \"arguments\": {\"query\": \"") &&
             segment_add(s, SEGMENT_WORDS, NULL, 0, TOOL_BABBLE) && say(s, "\"}");
    return ok && say(s, "}\n</tool_call>");
}

static bool starts(const char *text, size_t size, const char *with) {
    return size >= strlen(with) && memcmp(text, with, strlen(with)) == 0;
}

/* One directive, without its brackets. Unknown ones say nothing. */
static bool script_directive(struct engine_sampler *s, const char *d, size_t size) {
    if (starts(d, size, "len="))
        return segment_add(s, SEGMENT_BABBLE, NULL, 0, (uint32_t)strtoul(d + 4, NULL, 10)) != NULL;
    if (starts(d, size, "say:")) return segment_add(s, SEGMENT_SAY, d + 4, size - 4, 0) != NULL;
    if (starts(d, size, "emoji="))
        return segment_add(s, SEGMENT_EMOJI, NULL, 0, (uint32_t)strtoul(d + 6, NULL, 10)) != NULL;
    if (size == 5 && starts(d, size, "emoji"))
        return segment_add(s, SEGMENT_EMOJI, NULL, 0, EMOJI_DEFAULT) != NULL;
    if (starts(d, size, "think:"))
        return say(s, "<think>") && segment_add(s, SEGMENT_SAY, d + 6, size - 6, 0) && say(s, "</think>");
    if (starts(d, size, "tool:")) return script_tool(s, d + 5, size - 5);
    if (size == 3 && starts(d, size, "die")) return segment_add(s, SEGMENT_DIE, NULL, 0, 0) != NULL;
    return true;
}

/* A tool call that tool_choice asks for, when the script has none of its own. */
static bool script_forced_tool(struct engine_sampler *s, const struct msg_submit *r) {
    const char *choice = r->tool_choice ? r->tool_choice : "";
    if (!choice[0] || !r->tools.size || strcmp(choice, "auto") == 0 || strcmp(choice, "none") == 0)
        return true;
    if (strcmp(choice, "required") != 0) return script_tool(s, choice, strlen(choice));
    struct json_error at;
    AUTO(json_freep) struct json *tools = json_read(r->tools.data, r->tools.size, &at);
    const char *name = json_string(json_get(json_get(json_at(tools, 0), "function"), "name"), NULL);
    return !name || script_tool(s, name, strlen(name));
}

static enum err script_read(struct engine_sampler *s, const struct msg_submit *r) {
    AUTO(mem_freep) char *text = fake_request_text(r);
    if (!text) return ERR_NOMEM;
    if (r->json_schema.size) { /* {} is the only one that came this far */
        bool ok =
            say(s, "{\"answer\": \"") && segment_add(s, SEGMENT_WORDS, NULL, 0, TOOL_BABBLE) && say(s, "\"}");
        return ok ? ERR_OK : ERR_NOMEM;
    }
    bool no_tools = r->tool_choice && strcmp(r->tool_choice, "none") == 0, has_tool = false;
    for (const char *at = text; (at = strstr(at, "[["));) {
        const char *end = strstr(at, "]]");
        if (!end) break;
        bool tool = starts(at + 2, (size_t)(end - at - 2), "tool:");
        bool thought = starts(at + 2, (size_t)(end - at - 2), "think:");
        has_tool = has_tool || tool;
        if (!(tool && no_tools) && !(thought && r->no_thinking) &&
            !script_directive(s, at + 2, (size_t)(end - at - 2)))
            return ERR_LIMIT;
        at = end + 2;
    }
    if (!has_tool && !script_forced_tool(s, r)) return ERR_LIMIT;
    if (s->n_segments == 0 && !segment_add(s, SEGMENT_BABBLE, NULL, 0, BABBLE_DEFAULT)) return ERR_LIMIT;
    return ERR_OK;
}

/* ---- where the text is ---- */

/* Phrases of the current segment. Babble ends exactly at its n: near it only single letters are left. */
static struct table segment_table(const struct engine_sampler *s) {
    if (s->segment >= s->n_segments)
        return (struct table){babble, ARRAY_LEN(babble)}; /* ignore_eos goes on */
    const struct segment *g = &s->segments[s->segment];
    if (g->kind == SEGMENT_EMOJI) return (struct table){emoji, ARRAY_LEN(emoji)};
    if (g->kind == SEGMENT_WORDS || (s->matched == 0 && g->n - s->done < PHRASE_BYTES_MAX))
        return (struct table){words, ARRAY_LEN(words)};
    return (struct table){babble, ARRAY_LEN(babble)};
}

static uint64_t table_all(struct table t) {
    return t.n == 64 ? UINT64_MAX : (UINT64_C(1) << t.n) - 1;
}

static void segment_next(struct engine_sampler *s) {
    s->segment++;
    s->done = 0;
    s->matched = 0;
}

static void phrase_accept(struct engine_sampler *s, int32_t token) {
    struct table t = segment_table(s);
    if (s->matched == 0) s->alive = table_all(t);
    bool ended = false;
    for (uint32_t i = 0; i < t.n; i++) {
        if (!(s->alive >> i & 1)) continue;
        if ((uint8_t)t.phrases[i][s->matched] != token)
            s->alive &= ~(UINT64_C(1) << i);
        else if (t.phrases[i][s->matched + 1] == '\0')
            ended = true;
    }
    s->matched = ended || s->alive == 0 ? 0 : s->matched + 1;
    if (s->segment >= s->n_segments) return;
    const struct segment *g = &s->segments[s->segment];
    if (g->kind != SEGMENT_EMOJI || ended) s->done++;
    if (s->done >= g->n && s->matched == 0) segment_next(s);
}

void engine_sampler_accept(struct engine_sampler *s, int32_t token) {
    must(token >= 0 && token < FAKE_VOCAB);
    s->counts[token]++;
    if (token >= 256) return;
    if (s->segment < s->n_segments && s->segments[s->segment].kind == SEGMENT_SAY) {
        if (++s->done >= s->segments[s->segment].n) segment_next(s);
        return;
    }
    phrase_accept(s, token);
}

/* The allowed next tokens; their count, at least 1. */
static uint32_t allowed(const struct engine_sampler *s, int32_t *ids) {
    if (s->segment >= s->n_segments && !s->ignore_eos) {
        ids[0] = FAKE_TOKEN_IM_END;
        return 1;
    }
    if (s->segment < s->n_segments) {
        const struct segment *g = &s->segments[s->segment];
        if (g->kind == SEGMENT_DIE) abort();
        if (g->kind == SEGMENT_SAY) {
            ids[0] = (uint8_t)g->text[s->done];
            return 1;
        }
    }
    struct table t = segment_table(s);
    uint64_t alive = s->matched ? s->alive : table_all(t);
    bool seen[256] = {false};
    uint32_t n = 0;
    for (uint32_t i = 0; i < t.n; i++) {
        if (!(alive >> i & 1)) continue;
        uint8_t b = (uint8_t)t.phrases[i][s->matched];
        if (!seen[b]) ids[n++] = b;
        seen[b] = true;
    }
    must(n > 0);
    return n;
}

/* ---- the choice ---- */

struct candidate {
    int32_t id;
    double logit, p;
};

static int candidate_compare(const void *va, const void *vb) {
    const struct candidate *a = va, *b = vb;
    if (a->logit != b->logit) return a->logit > b->logit ? -1 : 1;
    return a->id - b->id;
}

/* Sorted candidates get probabilities; returns how many top_k, top_p and min_p leave. */
static uint32_t candidates_cut(const struct engine_sampler *s, struct candidate *c, uint32_t n) {
    if (s->top_k > 0 && s->top_k < n) n = (uint32_t)s->top_k;
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += c[i].p = exp((c[i].logit - c[0].logit) / s->temperature);
    double total = 0;
    uint32_t kept = 0;
    while (kept < n) {
        if (kept > 0 && c[kept].p < s->min_p * c[0].p) break;
        total += c[kept++].p / sum;
        if (s->top_p < 1 && total >= s->top_p) break;
    }
    return kept;
}

int32_t engine_sampler_pick(struct engine_sampler *s, uint32_t item, int32_t pos) {
    const float *logits = engine_logits(s->e, item);
    int32_t ids[FAKE_VOCAB];
    struct candidate c[FAKE_VOCAB];
    uint32_t n = allowed(s, ids);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t count = s->counts[ids[i]];
        double penalty = s->frequency * count + (count ? s->presence : 0);
        c[i] =
            (struct candidate){.id = ids[i], .logit = (double)logits[ids[i]] + s->biases[ids[i]] - penalty};
    }
    qsort(c, n, sizeof c[0], candidate_compare);
    if (s->temperature <= 0 || n == 1) return c[0].id;
    n = candidates_cut(s, c, n);
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += c[i].p;
    double at = (double)(fake_mix(s->seed, (uint64_t)pos) >> 11) / (double)(UINT64_C(1) << 53) * sum;
    for (uint32_t i = 0; i < n; i++) {
        at -= c[i].p;
        if (at < 0) return c[i].id;
    }
    return c[n - 1].id;
}

/* Else a phrase would end where a longer one goes on, and replayed tokens would not tell which of them was meant. */
static void table_check(struct table t) {
    must(t.n <= 64);
    for (uint32_t i = 0; i < t.n; i++)
        for (uint32_t k = 0; k < t.n; k++)
            must(i == k || strncmp(t.phrases[i], t.phrases[k], strlen(t.phrases[i])) != 0);
}

static enum err take_biases(struct engine_sampler *s, const struct msg_bytes *b) {
    for (uint32_t i = 0; i < token_bias_count(b); i++) {
        double bias;
        int32_t token = token_bias_at(b, i, &bias);
        if (token < 0 || token >= FAKE_VOCAB) return ERR_INVALID;
        s->biases[token] += bias;
    }
    return ERR_OK;
}

enum err engine_sampler_new(struct engine *e, const struct msg_submit *request,
                            const struct engine_chat *chat, struct engine_sampler **ret, char *why,
                            size_t why_size) {
    (void)chat; /* the script is in the request */
    table_check((struct table){babble, ARRAY_LEN(babble)});
    table_check((struct table){emoji, ARRAY_LEN(emoji)});
    table_check((struct table){words, ARRAY_LEN(words)});
    struct engine_sampler *s = mem_alloc(sizeof *s);
    if (!s) return ERR_NOMEM;
    s->e = e;
    s->ignore_eos = request->ignore_eos;
    s->temperature = request->temperature;
    s->top_p = request->top_p > 0 ? request->top_p : 1;
    s->top_k = request->top_k;
    s->min_p = request->min_p;
    s->presence = request->presence_penalty;
    s->frequency = request->frequency_penalty;
    s->seed = request->seed;
    enum err err = take_biases(s, &request->logit_bias);
    if (err == ERR_OK) err = script_read(s, request);
    if (err != ERR_OK) {
        snprintf(why, why_size, "the script of the answer: %s", err_text(err));
        engine_sampler_free(s);
        return err;
    }
    *ret = s;
    return ERR_OK;
}

void engine_sampler_free(struct engine_sampler *s) {
    if (!s) return;
    for (uint32_t i = 0; i < s->n_segments; i++) mem_free(s->segments[i].text);
    mem_free(s);
}
