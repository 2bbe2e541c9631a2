/* fuzz_requests.c - a request's body. The first byte chooses the route, so that one corpus serves all of them. */
#include "fuzz.h"

#include "base/must.h"
#include "http/api.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum route routes[] = {
        ROUTE_CHAT,     ROUTE_COMPLETIONS,  ROUTE_SWAP,     ROUTE_OFFLOAD,    ROUTE_FAULT,
        ROUTE_MESSAGES, ROUTE_COUNT_TOKENS, ROUTE_TOKENIZE, ROUTE_DETOKENIZE, ROUTE_APPLY_TEMPLATE};
    if (size == 0) return 0;
    size_t which = data[0] % (sizeof routes / sizeof routes[0]);
    struct api_input in = {.route = routes[which], .body = data + 1, .body_size = size - 1, .debug = true};
    struct api_parsed parsed = {0};
    if (which < 2)
        api_openai_read(&in, &parsed);
    else if (which > 6)
        api_llama_read(&in, &parsed);
    else if (which > 4)
        api_anthropic_read(&in, &parsed);
    else
        api_admin_read(&in, &parsed);
    must((parsed.error.err == ERR_OK) == (parsed.request != NULL));
    if (parsed.error.err != ERR_OK) must(parsed.error.text[0]);
    api_parsed_free(&parsed);
    return 0;
}
