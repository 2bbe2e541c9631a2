#include "cli/program.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

#include "base/mem.h"

char *program_beside(const char *name) {
    char path[PATH_MAX] = "";
#ifdef __APPLE__
    uint32_t size = sizeof path;
    if (_NSGetExecutablePath(path, &size) != 0) return NULL;
#else
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0) return NULL;
    path[n] = '\0';
#endif
    char *slash = strrchr(path, '/');
    if (!slash) return NULL;
    *slash = '\0';
    return mem_printf("%s/%s", path, name);
}
