/* proc_mem.h - figures about the memory of this process and this machine.
 * Linux reads /proc (proc_mem_linux.c), macOS asks the kernel (proc_mem_darwin.c), elsewhere and with
 * HOTSEAT_PORTABLE the neutral twin says what POSIX knows and 0 for what it does not. Thread: any; blocks for
 * a millisecond or two. */
#ifndef HOTSEAT_BASE_PROC_MEM_H
#define HOTSEAT_BASE_PROC_MEM_H

#include <stdint.h>

/* What this process alone holds and what only it can give back: resident anonymous pages (heap, stacks, KV
 * cells), private pages it has written to, and both of them where they were swapped out. Clean pages of a
 * mapped file are not in it, private or not: they are the page cache's, and proc_mem_mappings_of() is the
 * check for those. 0: not known here. */
uint64_t proc_mem_private_bytes(void);

/* About the same from what the kernel counts anyway, for a figure that is wanted every second: the exact one walks all pages, 10 ms for
 * a gigabyte. */
uint64_t proc_mem_private_bytes_about(void);

/* How many mappings of this file the process has; also when the file was deleted or replaced since. 0: none,
 * or not known. */
uint32_t proc_mem_mappings_of(const char *path);

uint64_t proc_mem_total_bytes(void);     /* physical memory of the machine */
uint64_t proc_mem_available_bytes(void); /* what could be taken without swapping; 0: not known */

#define PROC_MEM_NO_LIMIT UINT64_MAX
/* The smallest limit of our control group and of those above it, versions 1 and 2. PROC_MEM_NO_LIMIT: none.
 */
uint64_t proc_mem_cgroup_limit_bytes(void);
/* What these groups leave: for each the limit less what is in use, file cache that would go not counted; the least. */
uint64_t proc_mem_cgroup_room_bytes(void);
/* The same with the file that names the groups and the folder where they are mounted; for tests. Linux only,
 * else no limit. */
uint64_t proc_mem_cgroup_limit_at(const char *groups_file, const char *mount_dir);
uint64_t proc_mem_cgroup_room_at(const char *groups_file, const char *mount_dir);

#endif
