/* What a header means: the model's numbers, each with its bounds, and the parts of a split file put together.
 * A bound here is either libllama's (it would abort or refuse) or far beyond every model there is, so that
 * sums over the spec can't overflow. */
#include "model/gguf_info.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/must.h"
#include "model/gguf_arch.h"
#include "model/gguf_file.h"
#include "model/gguf_parts.h"
#include "model/gguf_type.h"

#define EMBEDDING_MAX (1u << 20)
#define HEADS_MAX (1u << 14)
#define HEAD_VALUES_MAX (1u << 16)
#define POSITIONS_MAX ((1u << 31) - 1) /* libllama's positions are int32 */

struct reading {
    struct gguf_file *f;
    struct model_spec *spec;
    char key[128]; /* the one that is looked at, for reasons */
};

/* ---- one value at a time: keys that begin with '.' get the architecture in front ---- */

static enum err find(struct reading *r, const char *key, const struct gguf_kv **ret) {
    snprintf(r->key, sizeof r->key, "%s%s", key[0] == '.' ? r->spec->architecture : "", key);
    return gguf_file_find(r->f, r->key, ret);
}

static enum err check_range(struct reading *r, uint32_t v, uint32_t min, uint32_t max) {
    if (v >= min && v <= max) return ERR_OK;
    return gguf_file_refuse(r->f, "metadata %s is %u; %u to %u are right", r->key, v, min, max);
}

/* Absent: *ret stays what it is, and ret_found (may be NULL) says so. */
static enum err read_u32(struct reading *r, const char *key, uint32_t min, uint32_t max, uint32_t *ret,
                         bool *ret_found) {
    const struct gguf_kv *kv;
    enum err err = find(r, key, &kv);
    if (ret_found) *ret_found = !err && kv;
    if (err || !kv) return err;
    err = gguf_file_u32(r->f, r->key, kv, ret);
    return err ? err : check_range(r, *ret, min, max);
}

static enum err need_u32(struct reading *r, const char *key, uint32_t min, uint32_t max, uint32_t *ret) {
    bool found;
    enum err err = read_u32(r, key, min, max, ret, &found);
    if (err || found) return err;
    return gguf_file_refuse(r->f, "metadata %s is missing", r->key);
}

/* A number, or one for each layer: then the largest, and *ret_zeros is how many are 0. */
static enum err read_per_layer(struct reading *r, const char *key, uint32_t max, uint32_t *ret,
                               bool *ret_found, uint32_t *ret_zeros) {
    const struct gguf_kv *kv;
    uint32_t items[MODEL_LAYERS_MAX], n;
    enum err err = find(r, key, &kv);
    *ret_found = !err && kv;
    *ret_zeros = 0;
    if (err || !kv) return err;
    if (kv->type != GGUF_ARRAY) {
        err = gguf_file_u32(r->f, r->key, kv, ret);
        return err ? err : check_range(r, *ret, 0, max);
    }
    err = gguf_file_u32s(r->f, r->key, kv, items, MODEL_LAYERS_MAX, &n);
    if (err) return err;
    if (n != r->spec->n_layers)
        return gguf_file_refuse(r->f, "metadata %s has %u items for %u layers", r->key, n, r->spec->n_layers);
    *ret = 0;
    for (uint32_t i = 0; i < n; i++) {
        err = check_range(r, items[i], 0, max);
        if (err) return err;
        if (items[i] > *ret) *ret = items[i];
        if (items[i] == 0) (*ret_zeros)++;
    }
    return ERR_OK;
}

/* Present: finite and within [min, max], else refused. */
static enum err check_float(struct reading *r, const char *key, double min, double max, bool min_is_out) {
    const struct gguf_kv *kv;
    double v;
    enum err err = find(r, key, &kv);
    if (err || !kv) return err;
    err = gguf_file_float(r->f, r->key, kv, &v);
    if (err) return err;
    if (isfinite(v) && v <= max && (min_is_out ? v > min : v >= min)) return ERR_OK;
    return gguf_file_refuse(r->f, "metadata %s is %g; a number from %g to %g is right", r->key, v, min, max);
}

/* ---- groups of values ---- */

static enum err read_architecture(struct reading *r) {
    struct model_spec *s = r->spec;
    const struct gguf_kv *kv;
    char text[64];
    enum err err = find(r, "general.architecture", &kv);
    if (err) return err;
    if (!kv) return gguf_file_refuse(r->f, "metadata general.architecture is missing");
    if (kv->n >= sizeof s->architecture)
        return gguf_file_refuse(r->f, "metadata general.architecture is longer than %zu bytes",
                                sizeof s->architecture - 1);
    err = gguf_file_string(r->f, r->key, kv, s->architecture, sizeof s->architecture);
    if (err) return err;
    size_t plain =
        strspn(s->architecture, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
    if (plain == 0 || plain != kv->n)
        return gguf_file_refuse(
            r->f, "metadata general.architecture is no name (letters, digits, '-' and '_' are right)");
    if (!gguf_arch_writes_text(s->architecture))
        return gguf_file_refuse(r->f, "this is a \"%s\" model, which writes no text", s->architecture);
    err = find(r, "general.type", &kv);
    if (err || !kv) return err;
    err = gguf_file_string(r->f, r->key, kv, text, sizeof text);
    if (!err && strcmp(text, "model") != 0)
        err = gguf_file_refuse(
            r->f,
            "general.type says that this is no model but another kind of file (an adapter, a projector)");
    return err;
}

static enum err read_names(struct reading *r) {
    const struct gguf_kv *kv;
    enum err err = find(r, "general.name", &kv);
    if (!err && kv) err = gguf_file_string(r->f, r->key, kv, r->spec->name, sizeof r->spec->name);
    if (!err) err = find(r, "tokenizer.chat_template", &kv);
    if (err || !kv) return err;
    r->spec->has_template = kv->type == GGUF_STRING && kv->n > 0;
    return ERR_OK;
}

static enum err read_heads(struct reading *r) {
    struct model_spec *s = r->spec;
    bool found;
    uint32_t zeros, kv_zeros;
    enum err err = read_per_layer(r, ".attention.head_count", HEADS_MAX, &s->n_heads, &found, &zeros);
    if (err) return err;
    s->n_kv_heads = s->n_heads;
    err = read_per_layer(r, ".attention.head_count_kv", HEADS_MAX, &s->n_kv_heads, &found, &kv_zeros);
    if (err) return err;
    if (s->n_heads == 0) { /* no attention at all */
        s->n_kv_heads = 0;
        if (s->recurrent) return ERR_OK;
        return gguf_file_refuse(r->f, "metadata %s.attention.head_count is missing or 0", s->architecture);
    }
    if (s->n_kv_heads == 0 || s->n_kv_heads > s->n_heads)
        return gguf_file_refuse(r->f, "metadata %s.attention.head_count_kv is %u for %u heads",
                                s->architecture, s->n_kv_heads, s->n_heads);
    if (zeros == 0 && kv_zeros == 0 && s->n_heads % s->n_kv_heads)
        return gguf_file_refuse(r->f, "metadata %s.attention: %u heads can't share %u KV heads evenly",
                                s->architecture, s->n_heads, s->n_kv_heads);
    s->head_k = s->head_v = s->n_embd / s->n_heads;
    err = read_u32(r, ".attention.key_length", 1, HEAD_VALUES_MAX, &s->head_k, NULL);
    if (!err) err = read_u32(r, ".attention.value_length", 1, HEAD_VALUES_MAX, &s->head_v, NULL);
    if (!err &&
        (s->head_k == 0 || s->head_v == 0 || s->head_k > HEAD_VALUES_MAX || s->head_v > HEAD_VALUES_MAX))
        err = gguf_file_refuse(r->f, "%u values in %u heads make heads of %u", s->n_embd, s->n_heads,
                               s->head_k);
    return err;
}

/* The pattern: nothing, a period, or a flag for each layer. */
static enum err count_window_layers(struct reading *r, const struct gguf_window_rule *rule) {
    struct model_spec *s = r->spec;
    const struct gguf_kv *kv;
    uint32_t flags[MODEL_LAYERS_MAX], n, period = rule ? rule->period : 1;
    enum err err = find(r, ".attention.sliding_window_pattern", &kv);
    if (err) return err;
    if (kv && kv->type == GGUF_ARRAY) {
        err = gguf_file_u32s(r->f, r->key, kv, flags, MODEL_LAYERS_MAX, &n);
        if (err) return err;
        if (n < s->n_layers)
            return gguf_file_refuse(r->f, "metadata %s has %u items for %u layers", r->key, n, s->n_layers);
        for (uint32_t i = 0; i < s->n_layers; i++) s->n_window_layers += flags[i] != 0;
        return ERR_OK;
    }
    if (kv && rule) err = gguf_file_u32(r->f, r->key, kv, &period);
    if (!err) s->n_window_layers = gguf_window_layers(s->n_layers, period, rule && rule->full_first);
    return err;
}

static enum err read_window(struct reading *r) {
    struct model_spec *s = r->spec;
    bool found;
    uint32_t window = 0;
    const struct gguf_window_rule *rule = gguf_window_rule_of(s->architecture);
    static const struct gguf_window_rule exaone4 = {"exaone4", 4, 4096, false,
                                                    false}; /* of its sizes one has a window */
    if (!strcmp(s->architecture, exaone4.architecture) && s->n_layers == 64) rule = &exaone4;
    enum err err = read_u32(r, ".attention.sliding_window", 0, POSITIONS_MAX, &window, &found);
    if (err) return err;
    if (rule && (!found || (window > 0 && rule->window_is_fixed))) window = rule->window;
    if (window == 0) return ERR_OK;
    err = count_window_layers(r, rule);
    if (!err && s->n_window_layers > 0)
        s->window = window; /* families that ignore the key have no such layer */
    return err;
}

/* What libllama does not survive, or what makes every number it computes worthless. */
static enum err check_numbers(struct reading *r) {
    static const char *const epsilons[] = {".attention.layer_norm_rms_epsilon",
                                           ".attention.layer_norm_epsilon", ".attention.group_norm_epsilon"};
    enum err err = ERR_OK;
    uint32_t ignored = 0;
    for (size_t i = 0; i < ARRAY_LEN(epsilons) && !err; i++) err = check_float(r, epsilons[i], 0, 1, false);
    if (!err) err = check_float(r, ".rope.freq_base", 0, 1e15, true);
    if (!err) err = check_float(r, ".rope.freq_base_swa", 0, 1e15, true);
    if (!err) err = check_float(r, ".rope.scaling.factor", 0, 1e9, false);
    if (!err) err = read_u32(r, ".rope.dimension_count", 0, HEAD_VALUES_MAX, &ignored, NULL);
    if (!err) err = read_u32(r, ".feed_forward_length", 0, UINT32_MAX, &ignored, NULL);
    return err;
}

/* The token list, or vocab_size where a file has none. Lists that go with it must be as long: they are read
 * by index. */
static enum err read_vocabulary(struct reading *r) {
    static const char *const companions[] = {"tokenizer.ggml.scores", "tokenizer.ggml.token_type"};
    const struct gguf_kv *tokens, *kv;
    enum err err = find(r, "tokenizer.ggml.tokens", &tokens);
    if (err) return err;
    if (!tokens) return need_u32(r, ".vocab_size", 1, GGUF_ARRAY_MAX, &r->spec->n_vocab);
    if (tokens->type != GGUF_ARRAY || tokens->item_type != GGUF_STRING || tokens->n == 0)
        return gguf_file_refuse(r->f, "metadata %s is no list of strings", r->key);
    r->spec->n_vocab = (uint32_t)tokens->n; /* at most GGUF_ARRAY_MAX */
    for (size_t i = 0; i < ARRAY_LEN(companions); i++) {
        err = find(r, companions[i], &kv);
        if (err) return err;
        if (!kv) continue;
        if (kv->type != GGUF_ARRAY || gguf_value_bytes(kv->item_type) != 4)
            return gguf_file_refuse(r->f, "metadata %s is no list of 4-byte numbers", r->key);
        if (kv->n != tokens->n)
            return gguf_file_refuse(r->f, "metadata %s has %u items for %u tokens", r->key, (uint32_t)kv->n,
                                    r->spec->n_vocab);
    }
    return ERR_OK;
}

/* Per-layer numbers in arrays: 7B and mixed models alike; blocks can't be cut where a layer keeps a running
 * state. */
static enum err read_recurrent(struct reading *r) {
    const struct gguf_kv *kv;
    enum err err = find(r, ".ssm.state_size", &kv);
    r->spec->recurrent = gguf_arch_recurrent(r->spec->architecture) || (!err && kv);
    return err;
}

/* libllama takes the long factors when a sequence may be longer than this. */
static enum err read_rope(struct reading *r) {
    r->spec->rope_context = r->spec->context_train;
    return read_u32(r, ".rope.scaling.original_context_length", 0, UINT32_MAX, &r->spec->rope_context, NULL);
}

static enum err read_spec(struct reading *r) {
    struct model_spec *s = r->spec;
    enum err err = read_architecture(r);
    if (!err) err = read_names(r);
    if (!err) err = need_u32(r, ".block_count", 1, MODEL_LAYERS_MAX, &s->n_layers);
    if (!err) err = need_u32(r, ".embedding_length", 1, EMBEDDING_MAX, &s->n_embd);
    if (!err) err = need_u32(r, ".context_length", 1, POSITIONS_MAX, &s->context_train);
    if (!err) err = read_recurrent(r);
    if (!err) err = read_heads(r);
    if (!err) err = read_window(r);
    if (!err) err = check_numbers(r);
    if (!err) err = read_rope(r);
    if (!err) err = read_vocabulary(r);
    return err;
}

/* ---- parts ---- */

struct parts {
    const char *path;
    uint32_t count;
    uint64_t *names; /* of all tensors so far; owned */
    uint32_t n_names;
};

/* Does the header say what the file's name says? */
static enum err check_place(struct gguf_file *f, uint32_t number, uint32_t count) {
    struct model_spec none = {.n_layers = 0};
    struct reading r = {.f = f, .spec = &none};
    uint32_t split_no = 0, split_count = 1;
    enum err err = read_u32(&r, "split.no", 0, UINT16_MAX, &split_no, NULL);
    if (!err) err = read_u32(&r, "split.count", 0, UINT16_MAX, &split_count, NULL);
    if (err) return err;
    if (split_count == 0) split_count = 1;
    if (split_count > 1 && count == 1)
        return gguf_file_refuse(f,
                                "the header says part %u of %u; such a file is named "
                                "\"NAME-%05u-of-%05u.gguf\" (at most %d parts)",
                                split_no + 1, split_count, split_no + 1, split_count, GGUF_PARTS_MAX);
    if (split_count != count || split_no + 1 != number)
        return gguf_file_refuse(f, "the name says part %u of %u, the header part %u of %u", number, count,
                                split_no + 1, split_count);
    return ERR_OK;
}

static int compare_u64(const void *a, const void *b) {
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* Adds a part's figures; no tensor may be in two parts. */
static enum err add_totals(struct parts *p, struct gguf_file *f, struct gguf_info *ret) {
    struct gguf_totals t = gguf_file_totals(f);
    uint32_t n;
    const uint64_t *names = gguf_file_tensor_names(f, &n);
    if (n > GGUF_TENSORS_MAX - p->n_names)
        return gguf_file_refuse(f, "the parts have more than %d tensors together", GGUF_TENSORS_MAX);
    uint64_t *more = mem_realloc(p->names, (p->n_names + n) * sizeof *more);
    if (!more) return ERR_NOMEM;
    p->names = more;
    if (n) memcpy(p->names + p->n_names, names, n * sizeof *names);
    p->n_names += n;
    if (p->n_names > 1) qsort(p->names, p->n_names, sizeof *p->names, compare_u64);
    for (uint32_t i = 1; i < p->n_names; i++) {
        if (p->names[i - 1] == p->names[i]) return gguf_file_refuse(f, "a tensor is in another part too");
    }
    ret->file_bytes += t.file_bytes;
    ret->n_tensors += t.n_tensors;
    ret->spec.n_params += t.n_params;
    ret->spec.weights_bytes += t.tensor_bytes;
    return ERR_OK;
}

static bool has_tensor(const struct parts *p, const char *name) {
    uint64_t hash = hash64(name, strlen(name));
    return p->n_names > 0 && bsearch(&hash, p->names, p->n_names, sizeof hash, compare_u64) != NULL;
}

/* How many tensors the first part promises for all of them. */
static enum err check_tensor_count(struct gguf_file *first, const struct gguf_info *info) {
    struct model_spec none = {.n_layers = 0};
    struct reading r = {.f = first, .spec = &none};
    uint32_t promised = info->n_tensors;
    enum err err = read_u32(&r, "split.tensors.count", 0, UINT32_MAX, &promised, NULL);
    if (err) return err;
    if (promised != info->n_tensors)
        return gguf_file_refuse(first, "the parts have %u tensors; the first one promises %u",
                                info->n_tensors, promised);
    return info->n_tensors ? ERR_OK : gguf_file_refuse(first, "there is no tensor in it");
}

static void gguf_file_freep(struct gguf_file **f) {
    gguf_file_free(*f);
}

static enum err add_part(struct parts *p, uint32_t number, struct gguf_info *ret, char *reason,
                         size_t reason_size) {
    AUTO(gguf_file_freep) struct gguf_file *f = NULL;
    AUTO(mem_freep) char *path = gguf_parts_path(p->path, number);
    if (!path) return ERR_NOMEM;
    enum err err = gguf_file_open(path, &f, reason, reason_size);
    if (!err) err = check_place(f, number, p->count);
    if (!err) err = add_totals(p, f, ret);
    if (!err || err == ERR_NOMEM) return err;
    char why[256];
    snprintf(why, sizeof why, "%s", reason);
    snprintf(reason, reason_size, "part %u of %u: %s", number, p->count, why);
    return err == ERR_NOT_FOUND ? ERR_MODEL_INVALID : err; /* the model is there, it is not whole */
}

static enum err read_model(struct parts *p, struct gguf_info *ret, char *reason, size_t reason_size) {
    AUTO(gguf_file_freep) struct gguf_file *first = NULL;
    uint32_t number;
    p->count = gguf_parts_count(p->path, &number);
    enum err err = gguf_file_open(p->path, &first, reason, reason_size);
    if (err) return err;
    if (number > 1)
        return gguf_file_refuse(first, "this is part %u of %u; a model is named by its first part", number,
                                p->count);
    struct reading r = {.f = first, .spec = &ret->spec};
    err = check_place(first, 1, p->count);
    if (!err) err = read_spec(&r);
    if (!err) err = add_totals(p, first, ret);
    for (uint32_t i = 2; i <= p->count && !err; i++) err = add_part(p, i, ret, reason, reason_size);
    if (!err) err = check_tensor_count(first, ret);
    ret->spec.rope_long_short =
        has_tensor(p, "rope_factors_long.weight") || has_tensor(p, "rope_factors_short.weight");
    ret->version = gguf_file_totals(first).version;
    ret->n_parts = p->count;
    return err;
}

enum err gguf_info_read(const char *path, struct gguf_info *ret, char *reason, size_t reason_size) {
    must(reason && reason_size > 0);
    *ret = (struct gguf_info){.n_parts = 0};
    reason[0] = '\0';
    struct parts p = {.path = path};
    enum err err = read_model(&p, ret, reason, reason_size);
    mem_free(p.names);
    if (err && !reason[0]) snprintf(reason, reason_size, "%s", err_text(err));
    return err;
}
