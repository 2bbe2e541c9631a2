#include "http/json_schema.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "http/api.h"

#define TYPE_NAMES 7
#define COUNT_MAX 2000       /* of the engine's grammar: beyond it there is no limit */
#define PATTERN_DEPTH_MAX 50 /* half of the converter's */
#define ONE_SIDED_MAX 99     /* a larger bound that stands alone is converted wrongly where a digit is 0 */
#define WHOLE_NUMBER_MAX 9007199254740992.0 /* 2^53: up to there bounds are exact in every reader */

enum { NUL = 1, BOOLEAN = 2, NUMBER = 4, STRING = 8, ARRAY = 16, OBJECT = 32, ANY = 63 };

struct assertion {
    const char *keyword;
    int types; /* that it says something about */
};

static const struct assertion ASSERTIONS[] = {
    {"$ref", ANY},
    {"$dynamicRef", ANY},
    {"$recursiveRef", ANY},
    {"type", ANY},
    {"const", ANY},
    {"enum", ANY},
    {"allOf", ANY},
    {"anyOf", ANY},
    {"oneOf", ANY},
    {"not", ANY},
    {"if", ANY},
    {"multipleOf", NUMBER},
    {"minimum", NUMBER},
    {"exclusiveMinimum", NUMBER},
    {"maximum", NUMBER},
    {"exclusiveMaximum", NUMBER},
    {"minLength", STRING},
    {"maxLength", STRING},
    {"pattern", STRING},
    {"items", ARRAY},
    {"prefixItems", ARRAY},
    {"additionalItems", ARRAY},
    {"unevaluatedItems", ARRAY},
    {"contains", ARRAY},
    {"minItems", ARRAY},
    {"maxItems", ARRAY},
    {"uniqueItems", ARRAY},
    {"properties", OBJECT},
    {"patternProperties", OBJECT},
    {"additionalProperties", OBJECT},
    {"unevaluatedProperties", OBJECT},
    {"propertyNames", OBJECT},
    {"required", OBJECT},
    {"minProperties", OBJECT},
    {"maxProperties", OBJECT},
    {"dependentRequired", OBJECT},
    {"dependentSchemas", OBJECT},
    {"dependencies", OBJECT},
};

struct walk {
    const struct json *root;
    json_schema_found_fn found;
    void *ctx;
    const struct json *targets[JSON_SCHEMA_REFS_MAX]; /* of references, in the order they were met */
    const char *names[JSON_SCHEMA_REFS_MAX];
    uint32_t n, n_nodes;
};

static void node(struct walk *w, const struct json *v, const char *place);

static void found(struct walk *w, const char *place, const char *keyword) {
    char at[API_PATH_BYTES];
    api_path(at, "%s.%s", place, keyword);
    w->found(w->ctx, at, false);
}

static bool is_one_of(const char *s, const char *const *list) {
    for (; *list; list++)
        if (strcmp(s, *list) == 0) return true;
    return false;
}

/* Asks for nothing: a minimum of no length, no required name, items that need not differ. */
static bool asks_nothing(const char *keyword, const struct json *v) {
    if (json_type(v) == JSON_ARRAY) return strcmp(keyword, "required") == 0 && json_count(v) == 0;
    if (strcmp(keyword, "uniqueItems") == 0) return !json_bool(v, true);
    if (strcmp(keyword, "minLength") == 0 || strcmp(keyword, "minItems") == 0 ||
        strcmp(keyword, "minProperties") == 0)
        return json_int(v, 1) == 0;
    return json_type(v) == JSON_BOOL && json_bool(v, false); /* a schema that is true */
}

/* Names what v asserts of values of these types, but for the keywords that are held. */
static void others(struct walk *w, const struct json *v, const char *place, int types,
                   const char *const *held) {
    for (size_t i = 0; i < ARRAY_LEN(ASSERTIONS); i++) {
        const char *keyword = ASSERTIONS[i].keyword;
        const struct json *value = json_get(v, keyword);
        if (!value || !(ASSERTIONS[i].types & types) || is_one_of(keyword, held)) continue;
        if (!asks_nothing(keyword, value)) found(w, place, keyword);
    }
}
#define HELD(...) ((const char *const[]){__VA_ARGS__, NULL})

/* ---- references ---- */

static const struct json *resolve(const struct json *root, const char *ref) {
    const struct json *v = root;
    if (strncmp(ref, "#/", 2) != 0) return NULL;
    for (const char *at = ref + 2; v;) {
        char part[API_PATH_BYTES];
        size_t n = strcspn(at, "/");
        if (n >= sizeof part) return NULL;
        memcpy(part, at, n);
        part[n] = 0;
        if (json_type(v) == JSON_ARRAY) {
            uint64_t index = 0;
            if (n == 0 || n > 6 || strspn(part, "0123456789") != n) return NULL;
            for (size_t i = 0; i < n; i++) index = index * 10 + (uint64_t)(part[i] - '0');
            v = json_at(v, index);
        } else {
            v = json_get(v, part);
        }
        if (at[n] == 0) break;
        at += n + 1;
    }
    return v;
}

/* The converter's rule for a reference: whatever is no letter, digit or '-' becomes one '-'. False: longer than we look. */
static bool rule_of(const char *name, char out[API_PATH_BYTES]) {
    size_t n = 0;
    for (; *name && n + 1 < API_PATH_BYTES; name++) {
        bool plain = *name == '-' || (*name >= '0' && *name <= '9') || (*name >= 'a' && *name <= 'z') ||
                     (*name >= 'A' && *name <= 'Z');
        if (plain || n == 0 || out[n - 1] != '-') out[n++] = plain ? *name : '-';
    }
    out[n] = 0;
    return *name == 0;
}

/* One rule for both, or one of them is named like a rule within the other: the first stands for both. */
static bool rules_meet(const char *a, const char *b) {
    char x[API_PATH_BYTES], y[API_PATH_BYTES];
    if (!rule_of(a, x) || !rule_of(b, y)) return true;
    size_t n = strlen(x) < strlen(y) ? strlen(x) : strlen(y);
    return strncmp(x, y, n) == 0 && (x[n] == 0 || x[n] == '-') && (y[n] == 0 || y[n] == '-');
}

/* A target is walked once, after the schema that led to it: schemas may refer to themselves. */
static void reference(struct walk *w, const struct json *v, const char *place) {
    const char *ref = json_string(json_get(v, "$ref"), NULL);
    others(w, v, place, ANY, HELD("$ref"));
    const struct json *target = ref ? resolve(w->root, ref) : NULL;
    if (!target || target == w->root) {
        found(w, place, "$ref");
        return;
    }
    bool meets = false, known = false;
    for (uint32_t i = 0; i < w->n; i++) {
        bool same = w->targets[i] == target && strcmp(w->names[i], ref + 2) == 0;
        meets = meets || (!same && rules_meet(w->names[i], ref + 2));
        known = known || w->targets[i] == target;
    }
    if (meets || (!known && w->n == JSON_SCHEMA_REFS_MAX)) found(w, place, "$ref");
    if (known || w->n == JSON_SCHEMA_REFS_MAX) return;
    w->targets[w->n] = target;
    w->names[w->n++] = ref + 2;
}

/* ---- values ---- */

static int types_of_value(const struct json *v) {
    switch (json_type(v)) {
    case JSON_NULL: return NUL;
    case JSON_BOOL: return BOOLEAN;
    case JSON_INT:
    case JSON_REAL: return NUMBER;
    case JSON_STRING: return STRING;
    case JSON_ARRAY: return ARRAY;
    case JSON_OBJECT: return OBJECT;
    case JSON_NONE: break;
    }
    return 0;
}

static int types_of_name(const char *type) {
    static const struct assertion NAMES[TYPE_NAMES] = {
        {"null", NUL},      {"boolean", BOOLEAN}, {"number", NUMBER}, {"integer", NUMBER},
        {"string", STRING}, {"array", ARRAY},     {"object", OBJECT}};
    for (size_t i = 0; type && i < ARRAY_LEN(NAMES); i++)
        if (strcmp(type, NAMES[i].keyword) == 0) return NAMES[i].types;
    return ANY;
}

static bool has_type(const struct json *value, const char *type) {
    if (type && strcmp(type, "integer") == 0 && json_type(value) == JSON_REAL)
        return floor(json_number(value, 0)) == json_number(value, 0);
    return (types_of_value(value) & types_of_name(type)) != 0;
}

/* type: a name, an array of names, or not there. */
static bool may_have(const struct json *value, const struct json *type) {
    bool yes = json_type(type) != JSON_ARRAY && has_type(value, json_string(type, NULL));
    for (size_t i = 0; json_type(type) == JSON_ARRAY && i < json_count(type); i++)
        yes = yes || has_type(value, json_string(json_at(type, i), NULL));
    return yes;
}

/* const and enum: the values as they stand, whatever else is asked of them. */
static void values(struct walk *w, const struct json *v, const char *place, const char *keyword) {
    const struct json *all = json_get(v, keyword), *type = json_get(v, "type");
    bool fit = true;
    int types = 0;
    if (strcmp(keyword, "const") == 0) {
        fit = may_have(all, type);
        types = types_of_value(all);
    }
    for (size_t i = 0; strcmp(keyword, "enum") == 0 && i < json_count(all); i++) {
        fit = fit && may_have(json_at(all, i), type);
        types |= types_of_value(json_at(all, i));
    }
    if (!fit) found(w, place, "type");
    others(w, v, place, types, HELD("type", keyword));
}

/* ---- strings ---- */

static bool is_plain(unsigned char c) {
    return c >= 0x20 && c != '"' && c != '\\' && c < 0x7f;
}

/* A class of characters, from behind its '[' to behind its ']'. NULL: it may take one that JSON writes with an escape, or is written
 * in a way that the converter reads otherwise. */
static const char *plain_class(const char *p) {
    const char *begin = p;
    if (*p == '^' || *p == ']') return NULL;
    for (; *p && *p != ']'; p++) {
        if (!is_plain((unsigned char)*p) || *p == '[') return NULL;
        if (*p != '-' || p == begin || p[1] == ']') continue;
        for (int c = (unsigned char)p[-1]; c <= (unsigned char)p[1]; c++)
            if (!is_plain((unsigned char)c)) return NULL;
    }
    return *p == ']' ? p + 1 : NULL;
}

/* "3}", "3,}" or "3,5}", from behind the '{' to behind the '}'; NULL: anything else. */
static const char *plain_counts(const char *p) {
    for (int i = 0; i < 2; i++) {
        size_t n = strspn(p, "0123456789");
        if (n > 4 || (n == 0 && i == 0)) return NULL;
        if (n > 0 && strtol(p, NULL, 10) > COUNT_MAX) return NULL;
        p += n;
        if (*p == '}') return p + 1;
        if (*p++ != ',') return NULL;
    }
    return NULL;
}

/* The converter puts a pattern's characters between the quotes as they are, takes any string for what it does not know, and lets a
 * quantifier behind an escaped character repeat the letters before it as well. Held is what is anchored at both ends, takes only
 * characters that JSON writes as they are, and reads the same to it as to everybody. */
static bool is_plain_pattern(const char *p) {
    enum { NOTHING, LETTER, ESCAPED, ESCAPED_LATER, ITEM, REPEATED } last = NOTHING;
    int depth = 0;
    if (*p++ != '^') return false;
    while (*p && *p != '$') {
        char c = *p++;
        if (c == '(') {
            if (*p == '?' && p[1] != ':') return false;
            if (*p == '?') p += 2;
            if (++depth > PATTERN_DEPTH_MAX) return false;
            last = NOTHING;
        } else if (c == ')') {
            if (--depth < 0) return false;
            last = ITEM;
        } else if (c == '|') {
            if (depth == 0) return false; /* binds looser than the anchors */
            last = NOTHING;
        } else if (c == '[') {
            if (!(p = plain_class(p))) return false;
            last = ITEM;
        } else if (strchr("*+?{", c)) {
            if (last != LETTER && last != ESCAPED && last != ITEM) return false;
            if (c == '{' && !(p = plain_counts(p))) return false;
            last = REPEATED;
        } else if (c == '\\') {
            if (!*p || !strchr(".[]()|{}*+?$^", *p++)) return false;
            last = last == LETTER || last == ESCAPED || last == ESCAPED_LATER ? ESCAPED_LATER : ESCAPED;
        } else {
            if (!is_plain((unsigned char)c) || strchr(".^]}", c)) return false;
            last = LETTER;
        }
    }
    return depth == 0 && *p == '$' && p[1] == 0;
}

static bool is_held_format(const struct json *v) {
    const char *format = json_string(json_get(v, "format"), NULL);
    return format && is_one_of(format, HELD("date", "time", "date-time", "uuid", "uuid1", "uuid2", "uuid3",
                                            "uuid4", "uuid5"));
}

static void counts(struct walk *w, const struct json *v, const char *place, const char *low,
                   const char *high) {
    if (json_int(json_get(v, low), 0) > COUNT_MAX) found(w, place, low);
    if (json_int(json_get(v, high), 0) > COUNT_MAX) found(w, place, high);
}

static void string(struct walk *w, const struct json *v, const char *place) {
    size_t size = 0;
    const char *pattern = json_string(json_get(v, "pattern"), &size);
    if (pattern) {
        if (strlen(pattern) != size || !is_plain_pattern(pattern)) found(w, place, "pattern");
        others(w, v, place, STRING, HELD("type", "pattern"));
    } else if (is_held_format(v)) {
        others(w, v, place, STRING, HELD("type", "pattern"));
    } else {
        counts(w, v, place, "minLength", "maxLength");
        others(w, v, place, STRING, HELD("type", "minLength", "maxLength"));
    }
}

/* ---- numbers ---- */

/* Both bounds of integers are held. One that stands alone: a small minimum, and a maximum that is not negative. */
static void integer(struct walk *w, const struct json *v, const char *place) {
    static const char *const BOUNDS[][2] = {{"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}};
    const char *given[2] = {NULL, NULL};
    for (size_t i = 0; i < ARRAY_LEN(BOUNDS); i++) {
        const char *first = BOUNDS[i][0], *second = BOUNDS[i][1];
        if (json_get(v, first) && json_get(v, second)) found(w, place, second); /* it is not looked at */
        given[i] = json_get(v, first) ? first : json_get(v, second) ? second : NULL;
        if (!given[i]) continue;
        double bound = json_number(json_get(v, given[i]), 0);
        if (fabs(bound) > WHOLE_NUMBER_MAX) found(w, place, given[i]);
    }
    if (given[0] && !given[1] && fabs(json_number(json_get(v, given[0]), 0)) >= ONE_SIDED_MAX)
        found(w, place, given[0]);
    if (given[1] && !given[0] && json_number(json_get(v, given[1]), 0) < 1) found(w, place, given[1]);
    others(w, v, place, NUMBER, HELD("type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"));
}

/* ---- arrays ---- */

static void array(struct walk *w, const struct json *v, const char *place) {
    char at[API_PATH_BYTES];
    const char *key = json_get(v, "items") ? "items" : "prefixItems";
    const struct json *items = json_get(v, key);
    if (json_type(items) != JSON_ARRAY) {
        api_path(at, "%s.%s", place, key);
        node(w, items, at);
        counts(w, v, place, "minItems", "maxItems");
        others(w, v, place, ARRAY, HELD("type", key, "minItems", "maxItems"));
        return;
    }
    size_t n = json_count(items); /* exactly so many, and no others */
    for (size_t i = 0; i < n; i++) {
        api_path(at, "%s.%s[%zu]", place, key, i);
        node(w, json_at(items, i), at);
    }
    if (json_int(json_get(v, "minItems"), 0) > (int64_t)n) found(w, place, "minItems");
    if (json_int(json_get(v, "maxItems"), INT64_MAX) < (int64_t)n) found(w, place, "maxItems");
    others(w, v, place, ARRAY,
           HELD("type", key, "minItems", "maxItems", "additionalItems", "unevaluatedItems"));
}

/* ---- objects ---- */

static bool has_properties(const struct json *v) {
    const struct json *additional = json_get(v, "additionalProperties");
    return json_get(v, "properties") || (additional && !json_bool(additional, false));
}

/* The converter takes the rule of such a property for another one: the object's own, or one of its helpers. */
static bool is_taken_rule(const char *name) {
    char rule[API_PATH_BYTES];
    if (!name[0] || !rule_of(name, rule)) return true;
    return strcmp(rule, name) != 0 &&
           is_one_of(rule, HELD("date-time", "date-string", "time-string", "date-time-string", "decimal-part",
                                "integral-part"));
}

static void object(struct walk *w, const struct json *v, const char *place) {
    char at[API_PATH_BYTES];
    const struct json *properties = json_get(v, "properties"), *required = json_get(v, "required");
    const struct json *property, *additional = json_get(v, "additionalProperties");
    void *iter = NULL;
    const char *name;
    while (json_next(properties, &iter, &name, &property)) {
        api_path(at, "%s.properties.%.60s", place, name);
        if (is_taken_rule(name)) w->found(w->ctx, at, false);
        node(w, property, at);
    }
    if (json_type(additional) == JSON_OBJECT) {
        api_path(at, "%s.additionalProperties", place);
        node(w, additional, at);
    }
    if (additional && json_count(properties) > 0 && json_bool(additional, true))
        found(
            w, place,
            "additionalProperties"); /* its names could be written as no JSON, or as one of the properties */
    for (size_t i = 0; i < json_count(required); i++) {
        const char *needed = json_string(json_at(required, i), NULL);
        if (needed && !json_get(properties, needed)) {
            found(w, place, "required"); /* only names among the properties are */
            break;
        }
    }
    others(w, v, place, OBJECT, HELD("type", "properties", "required", "additionalProperties"));
}

/* Of several the converter builds one object, without looking at more than their properties. One object with properties is held. */
static void all_of(struct walk *w, const struct json *v, const char *place) {
    char at[API_PATH_BYTES];
    const struct json *all = json_get(v, "allOf"), *one = json_at(all, 0);
    const char *ref = json_string(json_get(one, "$ref"), NULL),
               *outer = json_string(json_get(v, "type"), NULL);
    const struct json *target = ref ? resolve(w->root, ref) : one, *type = json_get(target, "type");
    bool is_held = json_count(all) == 1 && json_count(json_get(target, "properties")) > 0 &&
                   (!type || json_string(type, NULL)) && (!outer || strcmp(outer, "object") == 0);
    if (is_held && type) is_held = strcmp(json_string(type, NULL), "object") == 0;
    for (size_t i = 0; is_held && i < 5; i++)
        is_held = !json_get(target, HELD("$ref", "oneOf", "anyOf", "const", "enum")[i]);
    if (is_held) {
        api_path(at, "%s.allOf[0]", place);
        node(w, one, at);
    } else {
        found(w, place, "allOf");
    }
    others(w, v, place, ANY, HELD("type", "allOf"));
}

/* ---- one schema ---- */

static void typed(struct walk *w, const struct json *v, const char *place, const char *type) {
    bool untyped = !type;
    if (untyped ? has_properties(v) : strcmp(type, "object") == 0) {
        if (!has_properties(v) && json_get(v, "allOf"))
            all_of(w, v, place);
        else
            object(w, v, place);
    } else if (json_get(v, "allOf") && (untyped || strcmp(type, "string") == 0)) {
        all_of(w, v, place);
    } else if (untyped ? json_get(v, "items") || json_get(v, "prefixItems") : strcmp(type, "array") == 0) {
        array(w, v, place);
    } else if (untyped ? json_get(v, "pattern") || json_get(v, "minLength") || json_get(v, "maxLength") ||
                             is_held_format(v)
                       : strcmp(type, "string") == 0) {
        string(w, v, place);
    } else if (!untyped && strcmp(type, "integer") == 0) {
        integer(w, v, place);
    } else {
        others(w, v, place, types_of_name(type), HELD("type"));
    }
}

/* Each name once: what is below v is walked for one of them only. */
static void each_type(struct walk *w, const struct json *v, const char *place, const struct json *types) {
    char at[API_PATH_BYTES];
    for (size_t i = 0; i < json_count(types); i++) {
        const char *type = json_string(json_at(types, i), NULL);
        bool again = false;
        for (size_t k = 0; type && k < i && !again; k++) {
            const char *before = json_string(json_at(types, k), NULL);
            again = before && strcmp(before, type) == 0;
        }
        if (again || i == TYPE_NAMES) {
            api_path(at, "%s.type", place);
            w->found(w->ctx, at, true);
            return;
        }
        if (type) typed(w, v, place, type);
    }
}

static void node(struct walk *w, const struct json *v, const char *place) {
    char at[API_PATH_BYTES];
    if (json_type(v) != JSON_OBJECT || w->n_nodes > JSON_SCHEMA_NODES_MAX) return;
    if (++w->n_nodes > JSON_SCHEMA_NODES_MAX) {
        w->found(w->ctx, place, true);
        return;
    }
    if (json_get(v, "$ref")) {
        reference(w, v, place);
        return;
    }
    const char *key = json_get(v, "oneOf") ? "oneOf" : "anyOf";
    const struct json *alternatives = json_get(v, key), *type = json_get(v, "type");
    if (alternatives) {
        if (strcmp(key, "oneOf") == 0) found(w, place, key); /* is taken for anyOf */
        for (size_t i = 0; i < json_count(alternatives); i++) {
            api_path(at, "%s.%s[%zu]", place, key, i);
            node(w, json_at(alternatives, i), at);
        }
        others(w, v, place, ANY, HELD(key));
    } else if (json_get(v, "const") || json_get(v, "enum")) {
        values(w, v, place, json_get(v, "const") ? "const" : "enum");
    } else if (json_type(type) == JSON_ARRAY) {
        each_type(w, v, place, type);
    } else {
        typed(w, v, place, json_string(type, NULL));
    }
}

void json_schema_unheld(const struct json *schema, const char *path, json_schema_found_fn found_fn,
                        void *ctx) {
    struct walk w = {.root = schema, .found = found_fn, .ctx = ctx};
    node(&w, schema, path);
    for (uint32_t i = 0; i < w.n; i++) {
        char at[API_PATH_BYTES];
        api_path(at, "%s.%.80s", path, w.names[i]);
        for (char *c = at; *c; c++)
            if (*c == '/') *c = '.';
        node(&w, w.targets[i], at);
    }
}
