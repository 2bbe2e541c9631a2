#include "front/memory.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t memory_physical_bytes(void) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

#if defined(__linux__) && !defined(HOTSEAT_PORTABLE)

static uint64_t file_number(const char *path) { /* "max" and a file that is not there: unlimited */
    char text[64];
    FILE *f = fopen(path, "re");
    if (!f) return MEMORY_UNLIMITED;
    bool got = fgets(text, sizeof text, f) != NULL;
    fclose(f);
    if (!got || text[0] < '0' || text[0] > '9') return MEMORY_UNLIMITED;
    uint64_t v = strtoull(text, NULL, 10);
    return v >= (UINT64_C(1) << 60) ? MEMORY_UNLIMITED : v; /* version 1 says "no limit" with a huge number */
}

static uint64_t file_field(const char *path, const char *key, uint64_t otherwise) {
    char line[256];
    uint64_t v = otherwise;
    size_t n = strlen(key);
    FILE *f = fopen(path, "re");
    if (!f) return otherwise;
    while (fgets(line, sizeof line, f))
        if (!strncmp(line, key, n) && (line[n] == ' ' || line[n] == ':'))
            v = strtoull(line + n + 1, NULL, 10);
    fclose(f);
    return v;
}

/* Our group's folder below the mount point: "0::/a/b" (version 2) or "5:memory:/a/b" (version 1). */
static bool group_path(char *room, size_t room_size) {
    char line[PATH_MAX];
    bool found = false;
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f) return false;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *path = NULL;
        const char *mount = "/sys/fs/cgroup";
        if (!strncmp(line, "0::", 3) && !found)
            path = line + 3;
        else if ((path = strstr(line, ":memory:")) != NULL)
            path += 8, mount = "/sys/fs/cgroup/memory";
        if (!path) continue;
        snprintf(room, room_size, "%s%s", mount, strcmp(path, "/") ? path : "");
        found = true;
    }
    fclose(f);
    return found;
}

/* Walks from our group up to the mount point; for each level calls `look` and keeps the smallest answer. */
static uint64_t group_smallest(uint64_t (*look)(const char *folder)) {
    char folder[PATH_MAX + 64];
    uint64_t least = MEMORY_UNLIMITED;
    if (!group_path(folder, sizeof folder)) return least;
    while (strlen(folder) >= strlen("/sys/fs/cgroup")) {
        uint64_t v = look(folder);
        if (v < least) least = v;
        *strrchr(folder, '/') = '\0';
    }
    /* Inside a container the path may be the host's while the mount shows our own group at its top. */
    uint64_t top = look("/sys/fs/cgroup");
    return top < least ? top : least;
}

static uint64_t level_limit(const char *folder) {
    char path[PATH_MAX + 128];
    snprintf(path, sizeof path, "%s/memory.max", folder);
    uint64_t v = file_number(path);
    if (v != MEMORY_UNLIMITED) return v;
    snprintf(path, sizeof path, "%s/memory.limit_in_bytes", folder);
    return file_number(path);
}

/* Limit - in use + what is only file cache, which goes when it is needed. */
static uint64_t level_room(const char *folder) {
    char path[PATH_MAX + 128];
    uint64_t limit = level_limit(folder);
    if (limit == MEMORY_UNLIMITED) return limit;
    snprintf(path, sizeof path, "%s/memory.current", folder);
    uint64_t used = file_number(path);
    if (used == MEMORY_UNLIMITED) {
        snprintf(path, sizeof path, "%s/memory.usage_in_bytes", folder);
        used = file_number(path);
    }
    if (used == MEMORY_UNLIMITED) return limit;
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    uint64_t cache = file_field(path, "inactive_file", 0) + file_field(path, "active_file", 0);
    used = used > cache ? used - cache : 0;
    return limit > used ? limit - used : 0;
}

uint64_t memory_limit_bytes(void) {
    return group_smallest(level_limit);
}

uint64_t memory_available_bytes(void) {
    uint64_t kb = file_field("/proc/meminfo", "MemAvailable", MEMORY_UNLIMITED);
    uint64_t machine = kb == MEMORY_UNLIMITED ? kb : kb * 1024, group = group_smallest(level_room);
    return group < machine ? group : machine;
}

#else

/* A system without control groups. What is available is not asked for: --memory is the budget there. */
uint64_t memory_limit_bytes(void) {
    return MEMORY_UNLIMITED;
}
uint64_t memory_available_bytes(void) {
    return MEMORY_UNLIMITED;
}

#endif
