/* openapi.h - the OpenAPI 3.1 document that GET /openapi.json serves: every path of routes.h, parameters and bodies out of the tables
 * that the readers walk, answers out of openapi_shapes.c. Thread: pure. */
#ifndef HOTSEAT_HTTP_OPENAPI_H
#define HOTSEAT_HTTP_OPENAPI_H

#include <stdbool.h>

#include "base/buf.h"

/* Appends the document; debug: with the paths of a server that runs with --debug. A failure is out's error. */
void openapi_write(struct buf *out, bool debug);

#endif
