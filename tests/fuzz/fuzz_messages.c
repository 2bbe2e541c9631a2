/* fuzz_messages.c - a frame from the other end of the link: what decodes must encode to the same bytes again. */
#include "fuzz.h"

#include <string.h>

#include "base/must.h"
#include "link/frame.h"
#include "link/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t whole = 0;
    uint16_t type = 0;
    if (frame_peek(data, size, &whole, &type) != ERR_OK) return 0;
    must(whole <= size);
    struct msg m = {0};
    if (msg_decode(data, whole, &m) != ERR_OK) return 0;
    struct buf again = BUF(BUF_CAP_DEFAULT);
    must(msg_encode(&m, &again) == ERR_OK);
    must(again.size == whole && memcmp(again.data, data, whole) == 0);
    buf_free(&again);
    msg_free(&m);
    return 0;
}
