/* macOS. Written with care, not run yet. */
#include "base/proc_mem.h"

#if defined(__APPLE__) && !defined(HOTSEAT_PORTABLE)

#include <libproc.h>
#include <limits.h>
#include <mach/mach.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysctl.h>
#include <unistd.h>

#include "base/attr.h"

/* The footprint: dirty and compressed pages that are this process's own, Metal's buffers too; no clean file
 * pages. */
uint64_t proc_mem_private_bytes(void) {
    task_vm_info_data_t info;
    mach_msg_type_number_t count = TASK_VM_INFO_COUNT;
    if (task_info(mach_task_self(), TASK_VM_INFO, (task_info_t)&info, &count) != KERN_SUCCESS) return 0;
    return info.phys_footprint;
}

uint64_t proc_mem_private_bytes_about(void) {
    return proc_mem_private_bytes(); /* a number that the kernel keeps */
}

uint32_t proc_mem_mappings_of(const char *path) {
    char wanted[PATH_MAX];
    if (!realpath(path, wanted)) strlcpy(wanted, path, sizeof wanted);
    uint32_t found = 0;
    for (uint64_t at = 0;;) {
        struct proc_regionwithpathinfo region;
        int n = proc_pidinfo(getpid(), PROC_PIDREGIONPATHINFO, at, &region, (int)sizeof region);
        if (n < (int)sizeof region) return found;
        if (!strcmp(region.prp_vip.vip_path, wanted)) found++;
        uint64_t next = region.prp_prinfo.pri_address + region.prp_prinfo.pri_size;
        if (next <= at) return found;
        at = next;
    }
}

uint64_t proc_mem_total_bytes(void) {
    uint64_t bytes = 0;
    size_t size = sizeof bytes;
    return sysctlbyname("hw.memsize", &bytes, &size, NULL, 0) == 0 ? bytes : 0;
}

/* Free, and what the kernel takes back without writing anything. */
uint64_t proc_mem_available_bytes(void) {
    vm_statistics64_data_t stats;
    mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
    mach_port_t host = mach_host_self();
    kern_return_t got = host_statistics64(host, HOST_VM_INFO64, (host_info64_t)&stats, &count);
    mach_port_deallocate(mach_task_self(), host);
    if (got != KERN_SUCCESS) return 0;
    uint64_t pages = (uint64_t)stats.free_count + stats.inactive_count + stats.purgeable_count;
    return pages * (uint64_t)vm_kernel_page_size;
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
