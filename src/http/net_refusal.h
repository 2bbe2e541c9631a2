/* net_refusal.h - the HTTP library's own refusals (no version, a header without a colon, a bad chunk, a wrong
 * Content-Length, more head than it has memory for) become ours. It has no hook for them: it makes an HTML page without
 * X-Request-ID, and for a wrong Content-Length 0.9.75 even writes two heads. But it queues them by its public
 * MHD_queue_response(), and the dynamic linker lets a program's own definition of that name come first; net_refusal.c has
 * one. Everything the net thread queues itself goes through net_refusal_queue().
 * Where a linker binds otherwise (macOS), on_refusal() is never called and the library's page goes out.
 * Thread: the net thread. */
#ifndef HOTSEAT_HTTP_NET_REFUSAL_H
#define HOTSEAT_HTTP_NET_REFUSAL_H

#include <stdbool.h>

struct MHD_Connection;
struct MHD_Response;

/* Called instead of queueing a page of the library's; after it the library closes the connection without another byte.
 * socket_ctx is what on_connection() has set. */
typedef void (*net_refusal_fn)(void *socket_ctx, struct MHD_Connection *connection, unsigned status);

void net_refusal_open(
    net_refusal_fn on_refusal); /* once, before a daemon starts; further calls change nothing */
/* False: the library did not take it. */
bool net_refusal_queue(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response);

#endif
