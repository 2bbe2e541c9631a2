/* openapi_shapes.h - the schemas of the OpenAPI document that stand in no table of parameters: parts of bodies that have readers of
 * their own (openai_messages.c, anthropic_tools.c ...), and answers. Each is JSON text; the numbers in it are those of limits.h.
 * Thread: constant. */
#ifndef HOTSEAT_HTTP_OPENAPI_SHAPES_H
#define HOTSEAT_HTTP_OPENAPI_SHAPES_H

struct openapi_shape {
    const char *name; /* below #/components/schemas; NULL ends the list */
    const char *json;
};
extern const struct openapi_shape OPENAPI_SHAPES[];

#endif
