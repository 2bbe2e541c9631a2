/* memory.h - what this machine can give: physical memory, the control group's limit, what is available now.
 * The only file of the front that knows where a system says so (/proc and cgroupfs on Linux, sysctl and mach
 * on macOS). Reads kernel files only, never a disk. Thread: any. */
#ifndef HOTSEAT_FRONT_MEMORY_H
#define HOTSEAT_FRONT_MEMORY_H

#include <stdint.h>

#define MEMORY_UNLIMITED UINT64_MAX

uint64_t memory_physical_bytes(void); /* 0: unknown */
uint64_t
memory_limit_bytes(void); /* the smallest limit of our control group and its parents; MEMORY_UNLIMITED */
uint64_t memory_available_bytes(
    void); /* without pushing others to swap, our group's room included; MEMORY_UNLIMITED: unknown */

#endif
