/* engine_llama_sampler.c - the next token, a pure function of (logits, history, seed, pos).
 *
 * Order: the request's logit_bias, forbidden tokens, presence and frequency penalties (OpenAI's: over the generated tokens, subtracted
 * from the logits), top_k, top_p, min_p (libllama's samplers), temperature, and our own pick: an inverse CDF
 * with a uniform number that depends on (seed, pos) only. So a stream that moved to another seat goes on with
 * the numbers it would have had. A grammar costs a walk over the whole vocabulary: first a token is picked
 * without it, and only when the grammar refuses that one is it applied to all, and the pick repeated with the
 * same number. */
#include "seat/engine_llama.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/must.h"
#include "link/token_probs.h"

/* A token e^-24 times as likely as the likeliest is left out before anything is sorted or summed: a whole vocabulary of
 * such tokens has 1e-5 of the probability, and Gemma's 262,144 took 17 ms a token. */
#define NEGLIGIBLE_NATS 24.0

struct engine_sampler {
    struct engine *e;
    double temperature;
    float presence, frequency;
    uint64_t seed;
    bool ignore_end;
    struct {
        int32_t token;
        float bias;
    } * biases; /* n_biases */
    uint32_t n_biases;
    struct llama_sampler *filters; /* top_k, top_p, min_p; NULL when greedy */
    struct chat_grammar *grammar;  /* NULL: none */
    uint32_t *counts;              /* n_vocab; NULL without penalties */
    int32_t *seen;                 /* the tokens with a count, n_seen of them */
    uint32_t n_seen;
};

static enum err make_filters(struct engine_sampler *s, const struct msg_submit *r) {
    s->filters = llama_sampler_chain_init(llama_sampler_chain_default_params());
    if (!s->filters) return ERR_NOMEM;
    if (r->top_k > 0 && r->top_k < s->e->n_vocab) {
        llama_sampler_chain_add(s->filters, llama_sampler_init_top_k((int32_t)r->top_k));
    }
    if (r->top_p < 1.0) llama_sampler_chain_add(s->filters, llama_sampler_init_top_p((float)r->top_p, 1));
    if (r->min_p > 0.0) llama_sampler_chain_add(s->filters, llama_sampler_init_min_p((float)r->min_p, 1));
    return ERR_OK;
}

/* The seat has looked at the ids before; whoever has not gets ERR_INVALID. */
static enum err take_biases(struct engine_sampler *s, const struct msg_bytes *b) {
    uint32_t n = token_bias_count(b);
    if (n == 0) return ERR_OK;
    s->biases = mem_array(n, sizeof *s->biases);
    if (!s->biases) return ERR_NOMEM;
    for (uint32_t i = 0; i < n; i++) {
        double bias;
        s->biases[i].token = token_bias_at(b, i, &bias);
        s->biases[i].bias = (float)bias;
        if (s->biases[i].token < 0 || s->biases[i].token >= s->e->n_vocab) return ERR_INVALID;
    }
    s->n_biases = n;
    return ERR_OK;
}

static enum err sampler_fill(struct engine_sampler *s, const struct msg_submit *r,
                             const struct engine_chat *chat, char *why, size_t why_size) {
    size_t n = (size_t)s->e->n_vocab;
    s->temperature = r->temperature;
    s->presence = (float)r->presence_penalty;
    s->frequency = (float)r->frequency_penalty;
    s->seed = r->seed;
    s->ignore_end = r->ignore_eos;
    if (s->presence != 0 || s->frequency != 0) {
        s->counts = mem_array(n, sizeof *s->counts);
        s->seen = mem_array(n, sizeof *s->seen);
        if (!s->counts || !s->seen) return ERR_NOMEM;
    }
    enum err biased = take_biases(s, &r->logit_bias);
    if (biased) return biased;
    if (s->temperature > 0) {
        enum err err = make_filters(s, r);
        if (err) return err;
    }
    const struct chat_render *render = (const struct chat_render *)(const void *)chat;
    return chat_grammar_new(s->e->model, render, &r->json_schema, &s->grammar, why, why_size);
}

enum err engine_sampler_new(struct engine *e, const struct msg_submit *request,
                            const struct engine_chat *chat, struct engine_sampler **ret, char *why,
                            size_t why_size) {
    *ret = NULL;
    snprintf(why, why_size, "out of memory");
    struct engine_sampler *s = mem_alloc(sizeof *s);
    if (!s) return ERR_NOMEM;
    s->e = e;
    enum err err = sampler_fill(s, request, chat, why, why_size);
    if (err) {
        engine_sampler_free(s);
        return err;
    }
    *ret = s;
    return ERR_OK;
}

void engine_sampler_free(struct engine_sampler *s) {
    if (!s) return;
    if (s->filters) llama_sampler_free(s->filters);
    chat_grammar_free(s->grammar);
    mem_free(s->biases);
    mem_free(s->counts);
    mem_free(s->seen);
    mem_free(s);
}

/* splitmix64's mixing function, over the seed and then the position. */
static uint64_t mix(uint64_t x) {
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static double uniform(uint64_t seed, int32_t pos) {
    return (double)(mix(mix(seed) ^ (uint64_t)(uint32_t)pos) >> 11) * 0x1p-53; /* [0, 1) */
}

/* The logits as candidates, biased, forbidden and penalised. */
static llama_token_data_array candidates_of(struct engine_sampler *s, const float *logits) {
    int32_t n = s->e->n_vocab;
    llama_token_data *all = s->e->candidates;
    for (int32_t t = 0; t < n; t++) all[t] = (llama_token_data){.id = t, .logit = logits[t]};
    for (uint32_t i = 0; i < s->n_biases; i++) all[s->biases[i].token].logit += s->biases[i].bias;
    int32_t n_suppressed = 0;
    const llama_token *suppressed = llama_vocab_get_suppress_tokens(s->e->vocab, &n_suppressed);
    for (int32_t i = 0; i < n_suppressed; i++) {
        if (suppressed[i] >= 0 && suppressed[i] < n) all[suppressed[i]].logit = -INFINITY;
    }
    for (uint32_t i = 0; s->ignore_end && i < s->e->n_end_ids; i++) {
        all[s->e->end_ids[i]].logit = -INFINITY;
    }
    for (uint32_t i = 0; i < s->n_seen; i++) {
        int32_t t = s->seen[i];
        all[t].logit -= s->frequency * (float)s->counts[t] + s->presence;
    }
    return (llama_token_data_array){.data = all, .size = (size_t)n, .selected = -1, .sorted = false};
}

/* The lowest id wins ties; -1 when every token is forbidden. */
static int32_t pick_greedy(const llama_token_data_array *c) {
    int32_t best = -1;
    float top = -INFINITY;
    for (size_t i = 0; i < c->size; i++) {
        if (c->data[i].logit > top || (c->data[i].logit == top && best >= 0 && c->data[i].id < best)) {
            best = c->data[i].id;
            top = c->data[i].logit;
        }
    }
    return best;
}

static float top_logit(const llama_token_data_array *c) {
    float top = -INFINITY;
    for (size_t i = 0; i < c->size; i++) {
        if (c->data[i].logit > top) top = c->data[i].logit;
    }
    return top;
}

static void drop_negligible(const struct engine_sampler *s, llama_token_data_array *c) {
    float top = top_logit(c);
    if (!isfinite(top)) {
        c->size = 0;
        return;
    }
    float least = top - (float)(NEGLIGIBLE_NATS * (s->temperature > 1 ? s->temperature : 1));
    size_t n = 0;
    for (size_t i = 0; i < c->size; i++) {
        if (c->data[i].logit >= least) c->data[n++] = c->data[i];
    }
    c->size = n;
}

static int32_t pick_random(const struct engine_sampler *s, const llama_token_data_array *c, double u) {
    float top = top_logit(c);
    /* exp((logit - top) / T): the difference first, so that a tiny T gives no infinities. */
    double sum = 0;
    for (size_t i = 0; i < c->size; i++) {
        double weight = exp(((double)c->data[i].logit - (double)top) / s->temperature);
        c->data[i].p = (float)weight;
        sum += (double)c->data[i].p;
    }
    double left = u * sum;
    int32_t last = -1;
    for (size_t i = 0; i < c->size; i++) {
        if (!(c->data[i].p > 0)) continue;
        last = c->data[i].id;
        left -= (double)c->data[i].p;
        if (left < 0) break;
    }
    return last;
}

static bool is_forbidden(const struct engine_sampler *s, int32_t token) {
    int32_t n_suppressed = 0;
    const llama_token *suppressed = llama_vocab_get_suppress_tokens(s->e->vocab, &n_suppressed);
    for (int32_t i = 0; i < n_suppressed; i++)
        if (suppressed[i] == token) return true;
    for (uint32_t i = 0; s->ignore_end && i < s->e->n_end_ids; i++)
        if (s->e->end_ids[i] == token) return true;
    return false;
}

/* What pick_greedy() says where nothing changes the logits, without a list of candidates; -1: it has to be asked. */
static int32_t pick_plain(const struct engine_sampler *s, const float *logits) {
    if (s->filters || s->n_biases || s->n_seen) return -1;
    int32_t n = s->e->n_vocab, best = -1;
    float top = -INFINITY;
    for (int32_t t = 0; t < n; t++) {
        if (logits[t] > top) {
            top = logits[t];
            best = t;
        }
    }
    return best >= 0 && is_forbidden(s, best) ? -1 : best;
}

static int32_t pick_once(struct engine_sampler *s, const float *logits, double u, bool with_grammar) {
    int32_t plain = with_grammar ? -1 : pick_plain(s, logits);
    if (plain >= 0) return plain;
    llama_token_data_array c = candidates_of(s, logits);
    if (with_grammar) chat_grammar_apply(s->grammar, &c);
    if (!s->filters) return pick_greedy(&c);
    drop_negligible(s, &c);
    if (c.size == 0) return -1;
    if (llama_sampler_chain_n(s->filters) > 0) llama_sampler_apply(s->filters, &c);
    return pick_random(s, &c, u);
}

int32_t engine_sampler_pick(struct engine_sampler *s, uint32_t item, int32_t pos) {
    const float *logits = engine_logits(s->e, item);
    double u = uniform(s->seed, pos);
    int32_t token = pick_once(s, logits, u, false);
    if (s->grammar && (token < 0 || !chat_grammar_allows(s->grammar, token)))
        token = pick_once(s, logits, u, true);
    for (uint32_t i = 0; token < 0 && s->grammar && s->ignore_end && i < s->e->n_end_ids; i++)
        if (chat_grammar_allows(s->grammar, s->e->end_ids[i]))
            token = s->e->end_ids[i]; /* nothing else may follow */
    return token;
}

void engine_sampler_accept(struct engine_sampler *s, int32_t token) {
    if (token < 0 || token >= s->e->n_vocab) return;
    if (s->counts && s->counts[token]++ == 0) s->seen[s->n_seen++] = token;
    if (s->grammar) chat_grammar_accept(s->grammar, token);
}
