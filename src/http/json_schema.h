/* json_schema.h - what of a JSON schema the engine's grammar does not hold. Its converter takes the keywords that it knows and
 * passes over the others in silence: this names those, so that nobody takes an answer for checked that is not. It goes through a schema
 * as the converter does: one keyword decides what a schema is ($ref, then oneOf and anyOf, const and enum, the type), and an
 * assertion beside it that the converter does not look at is named as well. Annotations (title, description, default, a format that is
 * only a hint ...) and unknown members assert nothing and are never named.
 * Source of the keywords: JSON Schema draft 2020-12, core and validation. Thread: pure. */
#ifndef HOTSEAT_HTTP_JSON_SCHEMA_H
#define HOTSEAT_HTTP_JSON_SCHEMA_H

#include "base/json.h"

#define JSON_SCHEMA_REFS_MAX 512 /* different ones that are followed; each further one is named */
#define JSON_SCHEMA_NODES_MAX 100000

/* place: "<path>.properties.age.multipleOf". costly: the converter must not have this schema at all: a list of types that names one
 * twice (each is converted with all that is below it), or references that lead to more than JSON_SCHEMA_NODES_MAX schemas. */
typedef void (*json_schema_found_fn)(void *ctx, const char *place, bool costly);
/* schema: an object. What is no schema (a type that is a number ...) is left to the converter's error. */
void json_schema_unheld(const struct json *schema, const char *path, json_schema_found_fn found, void *ctx);

#endif
