/* The twin for systems that are neither: what POSIX can say. */
#include "base/proc_mem.h"

#if defined(HOTSEAT_PORTABLE) || (!defined(__linux__) && !defined(__APPLE__))

#include <unistd.h>

#include "base/attr.h"

static uint64_t pages_to_bytes(long pages) {
    long page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

uint64_t proc_mem_private_bytes(void) {
    return 0;
}

uint64_t proc_mem_private_bytes_about(void) {
    return 0;
}

uint32_t proc_mem_mappings_of(const char *path UNUSED) {
    return 0;
}

uint64_t proc_mem_total_bytes(void) {
    return pages_to_bytes(sysconf(_SC_PHYS_PAGES));
}

uint64_t proc_mem_available_bytes(void) {
    return 0; /* what POSIX systems call available is only what is free: without the page cache */
}

uint64_t proc_mem_cgroup_limit_bytes(void) {
    return PROC_MEM_NO_LIMIT;
}

uint64_t proc_mem_cgroup_room_bytes(void) {
    return PROC_MEM_NO_LIMIT;
}

uint64_t proc_mem_cgroup_limit_at(const char *groups_file UNUSED, const char *mount_dir UNUSED) {
    return PROC_MEM_NO_LIMIT;
}

uint64_t proc_mem_cgroup_room_at(const char *groups_file UNUSED, const char *mount_dir UNUSED) {
    return PROC_MEM_NO_LIMIT;
}

#endif
