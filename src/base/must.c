#include "base/must.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void must_fail(const char *expr, const char *file, int line, const char *func) {
    char text[512];
    int n = snprintf(text, sizeof text, "level=fatal id=must expr=\"%s\" file=%s line=%d func=%s errno=%d\n",
                     expr, file, line, func, errno);
    if (n > 0) {
        size_t size = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
        ssize_t ignored UNUSED = write(STDERR_FILENO, text, size);
    }
    abort();
}
