/* api_health.h - GET /health, /health/live, /health/ready, /metrics: answered on the net thread from atomics, whatever
 * the seat is doing; so is GET /openapi.json, whose text is made at the start. */
#ifndef HOTSEAT_HTTP_API_HEALTH_H
#define HOTSEAT_HTTP_API_HEALTH_H

#include "http/server_impl.h"

#endif
