/* fuzz_gguf.c - a model's file from a stranger. The reader takes a path, so the input goes into a file in memory. */
#include "fuzz.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/must.h"
#include "model/gguf_info.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0) return 0;
    if (write(fd, data, size) == (ssize_t)size) {
        char path[64], reason[256] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        struct gguf_info info;
        enum err err = gguf_info_read(path, &info, reason, sizeof reason);
        if (err != ERR_OK)
            must(reason[0]);
        else
            must(info.spec.n_layers >= 1 && info.spec.n_layers <= MODEL_LAYERS_MAX &&
                 info.file_bytes == size);
    }
    close(fd);
    return 0;
}
