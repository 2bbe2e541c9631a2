/* What of a JSON schema is named as not held, one row each; and what is not. */
#include "http/json_schema.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "check_run.h"

static const struct row {
    const char *schema, *places; /* with a blank behind each */
} ROWS[] = {
    {"{}", ""},
    {"{'title':'T','description':'d','default':1,'examples':[1],'x-mine':[],'$comment':'c'}", ""},
    /* objects */
    {"{'type':'object'}", ""},
    {"{'type':'object','properties':{'a':{'type':'string'},'b':{}},'required':['a'],'additionalProperties':"
     "false}",
     ""},
    {"{'properties':{'a':{'type':'number','minimum':1}}}", "s.properties.a.minimum "},
    {"{'type':'object','required':['a']}", "s.required "},
    {"{'type':'object','required':[]}", ""},
    {"{'type':'object','properties':{'a':{}},'required':['a','b']}", "s.required "},
    {"{'type':'object','minProperties':1,'maxProperties':2}", "s.minProperties s.maxProperties "},
    {"{'type':'object','minProperties':0}", ""},
    {"{'type':'object','properties':{'date_time':{},'date-time':{},'number':{}}}", "s.properties.date_time "},
    {"{'type':'object','properties':{'a':{}},'additionalProperties':true}", "s.additionalProperties "},
    {"{'type':'object','properties':{'a':{}},'additionalProperties':{'type':'null'}}",
     "s.additionalProperties "},
    {"{'type':'object','properties':{},'additionalProperties':{'type':'null'}}", ""},
    {"{'type':'object','properties':{'':{}}}", "s.properties. "},
    {"{'type':'object','patternProperties':{'^a':{}}}", "s.patternProperties "},
    {"{'type':'object','propertyNames':{'maxLength':2}}", "s.propertyNames "},
    {"{'type':'object','additionalProperties':{'type':'number','multipleOf':2}}",
     "s.additionalProperties.multipleOf "},
    {"{'type':'object','properties':{'a':{}},'allOf':[{'properties':{'b':{}}}]}", "s.allOf "},
    {"{'type':'object','properties':{'a':{}},'dependentRequired':{'a':['b']}}", "s.dependentRequired "},
    {"{'type':'object','minLength':3,'minItems':2,'minimum':1}", ""}, /* they say nothing of objects */
    /* arrays */
    {"{'type':'array'}", ""},
    {"{'type':'array','items':{'type':'boolean'},'minItems':1,'maxItems':2}", ""},
    {"{'type':'array','items':{'type':'string','minLength':1},'uniqueItems':true}", "s.uniqueItems "},
    {"{'type':'array','uniqueItems':false}", ""},
    {"{'type':'array','items':{},'maxItems':2000}", ""},
    {"{'type':'array','items':{},'minItems':2001,'maxItems':2002}", "s.minItems s.maxItems "},
    {"{'items':{'type':'number','multipleOf':3}}", "s.items.multipleOf "},
    {"{'type':'array','prefixItems':[{'type':'null'},{'type':'number','maximum':3}]}",
     "s.prefixItems[1].maximum "},
    {"{'type':'array','items':[{'type':'null'}],'minItems':1,'maxItems':1,'additionalItems':false}", ""},
    {"{'type':'array','prefixItems':[{}],'minItems':2}", "s.minItems "},
    {"{'type':'array','prefixItems':[{},{}],'maxItems':1}", "s.maxItems "},
    {"{'type':'array','items':{},'prefixItems':[{}]}", "s.prefixItems "},
    {"{'type':'array','contains':{'const':1}}", "s.contains "},
    /* strings */
    {"{'type':'string','minLength':1,'maxLength':4}", ""},
    {"{'type':'string','maxLength':4000}", "s.maxLength "}, /* would be no limit */
    {"{'type':'string','format':'email'}", ""},             /* a hint */
    {"{'type':'string','format':'date'}", ""},
    {"{'type':'string','format':'date','minLength':10}", "s.minLength "},
    {"{'type':'string','pattern':'^[a-z]+(-[0-9]{1,2})?$'}", ""},
    {"{'type':'string','pattern':'^a\\\\.b$'}", ""},
    {"{'type':'string','pattern':'^(a|b)$'}", ""},
    {"{'type':'string','pattern':'^(?:a|b)$'}", ""},
    {"{'type':'string','pattern':'^a|b$'}", "s.pattern "},
    {"{'type':'string','pattern':'abc'}", "s.pattern "},
    {"{'type':'string','pattern':'^[0-9]+\\\\.?[0-9]*$'}", ""},
    {"{'type':'string','pattern':'^v\\\\.?$'}", "s.pattern "}, /* v as well */
    {"{'type':'string','pattern':'^\\\\(\\\\)?$'}", "s.pattern "},
    {"{'type':'string','pattern':'^{[a-z]+}$'}", "s.pattern "},
    {"{'type':'string','pattern':'^a{x}$'}", "s.pattern "},
    {"{'type':'string','pattern':'^a{1,2,3}$'}", "s.pattern "},
    {"{'type':'string','pattern':'^a{,5}$'}", "s.pattern "},
    {"{'type':'string','pattern':'^a{3,}b{2}c{0,2000}$'}", ""},
    {"{'type':'string','pattern':'^a{0,2001}$'}", "s.pattern "},
    {"{'type':'string','pattern':'^a]$'}", "s.pattern "},
    {"{'type':'string','pattern':'^a}$'}", "s.pattern "},
    {"{'type':'string','pattern':'^[a-z]+?$'}", "s.pattern "},
    {"{'type':'string','pattern':'^[[-a]$'}", "s.pattern "},
    {"{'type':'string','pattern':'^[]a]$'}", "s.pattern "},
    {"{'type':'string','pattern':'^[-a]$'}", ""},
    {"{'type':'string','pattern':'^[a-]$'}", ""},
    {"{'type':'string','pattern':'^(a$'}", "s.pattern "},
    {"{'type':'string','pattern':'^a)$'}", "s.pattern "},
    {"{'type':'string','pattern':'^*a$'}", "s.pattern "},
    {"{'type':'string','pattern':'^(|*a)$'}", "s.pattern "},
    {"{'type':'string','pattern':'^abc'}", "s.pattern "},
    {"{'type':'string','pattern':'^a\\\\$'}", "s.pattern "}, /* the anchor is a character */
    {"{'type':'string','pattern':'^.$'}", "s.pattern "},
    {"{'type':'string','pattern':'^[^a]$'}", "s.pattern "},
    {"{'type':'string','pattern':'^[ -~]$'}", "s.pattern "},
    {"{'type':'string','pattern':'^[A-z]$'}", "s.pattern "},
    {"{'type':'string','pattern':'^[a-z]{3}'}", "s.pattern "},
    {"{'type':'string','pattern':'^\\\\d$'}", "s.pattern "},
    {"{'type':'string','pattern':'^(?=a)b$'}", "s.pattern "},
    {"{'type':'string','pattern':'^a\\\"$'}", "s.pattern "},
    {"{'type':'string','pattern':'^a$','maxLength':1}", "s.maxLength "},
    {"{'minLength':2}", ""},
    /* numbers */
    {"{'type':'integer','minimum':1,'maximum':5}", ""},
    {"{'type':'integer','exclusiveMinimum':1,'exclusiveMaximum':5}", ""},
    {"{'type':'integer','minimum':1,'exclusiveMinimum':3}", "s.exclusiveMinimum "},
    {"{'type':'integer','maximum':1e30}", "s.maximum "},
    {"{'type':'integer','multipleOf':5}", "s.multipleOf "},
    {"{'type':'integer','minimum':0}", ""},
    {"{'type':'integer','minimum':100}", "s.minimum "}, /* the converter would take 10 to 19, too */
    {"{'type':'integer','exclusiveMinimum':2023}", "s.exclusiveMinimum "},
    {"{'type':'integer','maximum':-5}", "s.maximum "},
    {"{'type':'integer','maximum':1000}", ""},
    {"{'type':'integer','minimum':100,'maximum':2024}", ""},
    {"{'type':'number','exclusiveMaximum':1}", "s.exclusiveMaximum "},
    {"{'minimum':1}", "s.minimum "},
    /* values */
    {"{'enum':['a',1,null]}", ""},
    {"{'type':'string','enum':['a','b']}", ""},
    {"{'type':'string','enum':['a',1]}", "s.type "},
    {"{'type':'string','enum':['a','bc'],'minLength':2}", "s.minLength "},
    {"{'type':'integer','const':2.0}", ""},
    {"{'type':'integer','const':2.5}", "s.type "},
    {"{'type':['string','null'],'enum':['a',null]}", ""},
    {"{'type':['string','null'],'enum':['a',1]}", "s.type "},
    {"{'enum':['a',1],'minimum':3,'minItems':2}", "s.minimum "}, /* there is no array among them */
    {"{'type':['string','null'],'minLength':2}", ""},
    {"{'type':['number','null'],'minimum':2}", "s.minimum "},
    /* what decides, and what stands beside it */
    {"{'anyOf':[{'type':'null'},{'type':'number','minimum':0}]}", "s.anyOf[1].minimum "},
    {"{'anyOf':[{'type':'null'},{}],'type':'object'}", "s.type "},
    {"{'oneOf':[{'type':'null'},{'type':'string'}]}", "s.oneOf "},
    {"{'not':{'type':'null'}}", "s.not "},
    {"{'type':'object','if':{},'then':{}}", "s.if "},
    {"{'allOf':[{'$ref':'#/$defs/a'}],'$defs':{'a':{'type':'object','properties':{'x':{'not':{}}}}}}",
     "s.$defs.a.properties.x.not "},
    {"{'allOf':[{'type':'string'}]}", "s.allOf "},
    {"{'allOf':[{'type':'array','properties':{'a':{}}}]}", "s.allOf "},
    {"{'type':'string','allOf':[{'properties':{'a':{}}}]}", "s.allOf "},
    {"{'allOf':[{'enum':['a','a']}]}", "s.allOf "},
    {"{'allOf':[{'properties':{'a':{}}},{'properties':{'b':{}}}]}", "s.allOf "},
    /* references */
    {"{'$ref':'#/$defs/a','$defs':{'a':{'type':'array','items':{'$ref':'#/$defs/a'},'uniqueItems':true}}}",
     "s.$defs.a.uniqueItems "},
    {"{'$ref':'#/$defs/a','minLength':2,'$defs':{'a':{'type':'string'}}}", "s.minLength "},
    {"{'properties':{'a':{'$ref':'#/definitions/0'},'b':{'$ref':'#/definitions/0'}},"
     "'definitions':[{'type':'number','minimum':1}]}",
     "s.definitions.0.minimum "},
    {"{'$defs':{'unused':{'not':{}}}}", ""},
    {"{'$ref':'#/nowhere'}", "s.$ref "},
    {"{'$recursiveRef':'#'}", "s.$recursiveRef "},
    {"{'anyOf':[{'$ref':'#/$defs/a_b'},{'$ref':'#/$defs/a-b'}],'$defs':{'a_b':{},'a-b':{}}}",
     "s.anyOf[1].$ref "},
    {"{'anyOf':[{'$ref':'#/$defs/list'},{'$ref':'#/$defs/list_item'}],'$defs':{'list':{},'list_item':{}}}",
     "s.anyOf[1].$ref "},
    {"{'anyOf':[{'$ref':'#/$defs/list'},{'$ref':'#/$defs/lists'}],'$defs':{'list':{},'lists':{}}}", ""},
    /* what the converter must not have */
    {"{'type':['array','array'],'items':{'type':['null','null']}}", "s.items.type! s.type! "},
    {"{'type':['object','array','object'],'properties':{'a':{'not':{}}}}", "s.properties.a.not s.type! "},
    {"{'type':[7,7],'properties':{'a':3}}", ""}, /* its error */
    {"{'type':7,'properties':{'a':3}}", ""},
};

static void add(void *ctx, const char *place, bool costly) {
    struct buf *b = ctx;
    buf_puts(b, place);
    buf_puts(b, costly ? "! " : " ");
}

START_TEST(what_is_not_held_is_named) {
    const struct row *row = &ROWS[_i];
    char text[512];
    size_t n = 0;
    for (const char *c = row->schema; *c; c++) text[n++] = *c == '\'' ? '"' : *c;
    struct json_error e;
    struct json *schema = json_read(text, n, &e);
    ck_assert_msg(schema != NULL, "%s: %s", row->schema, e.text);
    struct buf places = BUF(4096);
    json_schema_unheld(schema, "s", add, &places);
    buf_u8(&places, 0);
    ck_assert_msg(strcmp((const char *)places.data, row->places) == 0, "%s: '%s', not '%s'", row->schema,
                  (const char *)places.data, row->places);
    buf_free(&places);
    json_free(schema);
}
END_TEST

/* As many references as nobody writes: those beyond the limit are named, and none is followed twice. */
START_TEST(references_are_bounded) {
    struct buf b = BUF(0), places = BUF(0);
    struct json_out w = json_out_into(&b);
    char name[64];
    json_obj(&w), json_key(&w, "anyOf"), json_arr(&w);
    for (int i = 0; i < JSON_SCHEMA_REFS_MAX + 3; i++) {
        snprintf(name, sizeof name, "#/$defs/d%d", i);
        json_obj(&w), json_key(&w, "$ref"), json_str(&w, name), json_end(&w);
    }
    json_end(&w), json_key(&w, "$defs"), json_obj(&w);
    for (int i = 0; i < JSON_SCHEMA_REFS_MAX + 3; i++) {
        snprintf(name, sizeof name, "d%d", i);
        json_key(&w, name), json_obj(&w), json_key(&w, "type"), json_str(&w, "null"), json_end(&w);
    }
    json_end(&w), json_end(&w);
    struct json_error e;
    struct json *schema = json_read(b.data, b.size, &e);
    ck_assert_ptr_nonnull(schema);
    json_schema_unheld(schema, "s", add, &places);
    buf_u8(&places, 0);
    ck_assert_str_eq((const char *)places.data, "s.anyOf[512].$ref s.anyOf[513].$ref s.anyOf[514].$ref ");
    json_free(schema);
    buf_free(&b), buf_free(&places);
}
END_TEST

/* 55 levels, two ways down at each: nobody lives to see the end of that. */
START_TEST(a_type_named_twice_is_not_walked_twice) {
    struct buf b = BUF(0), places = BUF(0);
    for (int i = 0; i < 55; i++) buf_puts(&b, "{\"type\":[\"array\",\"array\"],\"items\":");
    buf_puts(&b, "{}");
    for (int i = 0; i < 55; i++) buf_puts(&b, "}");
    struct json_error e;
    struct json *schema = json_read(b.data, b.size, &e);
    ck_assert_ptr_nonnull(schema);
    json_schema_unheld(schema, "s", add, &places);
    ck_assert_uint_gt(places.size, 0);
    json_free(schema);
    buf_free(&b), buf_free(&places);
}
END_TEST

/* References that overlap: each alone is small, all of them are not. */
START_TEST(schemas_are_bounded) {
    enum { DEPTH = 20, WIDE = 9000 };
    struct buf b = BUF(0), places = BUF(0);
    buf_puts(&b, "{\"anyOf\":[");
    for (int i = 0; i < DEPTH; i++) {
        buf_puts(&b, i ? ",{\"$ref\":\"#" : "{\"$ref\":\"#");
        for (int k = 0; k <= i; k++) buf_puts(&b, "/items");
        buf_puts(&b, "\"}");
    }
    buf_puts(&b, "],\"items\":");
    for (int i = 0; i < DEPTH; i++) buf_puts(&b, "{\"type\":\"array\",\"items\":");
    buf_puts(&b, "{\"anyOf\":[{}");
    for (int i = 0; i < WIDE; i++) buf_puts(&b, ",{}");
    buf_puts(&b, "]}");
    for (int i = 0; i < DEPTH; i++) buf_puts(&b, "}");
    buf_puts(&b, "}");
    struct json_error e;
    struct json *schema = json_read(b.data, b.size, &e);
    ck_assert_msg(schema != NULL, "%s", e.text);
    json_schema_unheld(schema, "s", add, &places);
    buf_u8(&places, 0);
    ck_assert_ptr_nonnull(strchr((const char *)places.data, '!'));
    json_free(schema);
    buf_free(&b), buf_free(&places);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("json_schema");
    TCase *t = tcase_create("json_schema");
    tcase_add_loop_test(t, what_is_not_held_is_named, 0, (int)(sizeof ROWS / sizeof ROWS[0]));
    tcase_add_test(t, references_are_bounded);
    tcase_add_test(t, a_type_named_twice_is_not_walked_twice);
    tcase_add_test(t, schemas_are_bounded);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
