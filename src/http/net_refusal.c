#include "http/net_refusal.h"

#include <microhttpd.h>

#ifdef __linux__

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "base/must.h"

typedef enum MHD_Result (*queue_fn)(struct MHD_Connection *, unsigned, struct MHD_Response *);

static pthread_once_t once = PTHREAD_ONCE_INIT;
static queue_fn library_queue;
static net_refusal_fn refusal;
static _Thread_local bool ours;

static void find_library(void) {
    void *found = dlsym(RTLD_NEXT, "MHD_queue_response");
    must(found != NULL);
    memcpy(&library_queue, &found, sizeof found); /* C has no cast from an object's pointer to a function's */
}

void net_refusal_open(net_refusal_fn on_refusal) {
    (void)pthread_once(&once, find_library);
    if (!refusal) refusal = on_refusal;
}

bool net_refusal_queue(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response) {
    ours = true;
    bool queued = library_queue(connection, status, response) == MHD_YES;
    ours = false;
    return queued;
}

/* The library's calls come here. MHD_NO makes it close the connection at once. */
enum MHD_Result MHD_queue_response(struct MHD_Connection *connection, unsigned status,
                                   struct MHD_Response *response) {
    if (ours || !refusal) {
        (void)pthread_once(&once, find_library);
        return library_queue(connection, status, response);
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    refusal(info ? info->socket_context : NULL, connection, status);
    return MHD_NO;
}

#else

void net_refusal_open(net_refusal_fn on_refusal) {
    (void)on_refusal;
}

bool net_refusal_queue(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response) {
    return MHD_queue_response(connection, status, response) == MHD_YES;
}

#endif
