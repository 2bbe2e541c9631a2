#include "base/proc_mem.h"

#if defined(__linux__) && !defined(HOTSEAT_PORTABLE)

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

#define PROC_FILE_BYTES_MAX (16u << 20) /* maps of a process with 100,000 mappings */

/* The whole of a small file of /proc or /sys, NUL-terminated; NULL when it can't be read. */
static char *read_all(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NULL;
    struct buf b = BUF(PROC_FILE_BYTES_MAX);
    ssize_t n = 0;
    for (;;) {
        uint8_t *to = buf_reserve(&b, 4096);
        if (!to) break;
        n = read(fd, to, 4096);
        if (n <= 0) break;
        b.size += (size_t)n;
    }
    close(fd);
    if (n == 0 && !b.error) return buf_take_string(&b);
    buf_free(&b);
    return NULL;
}

/* The number behind "Key:" or "key "; 0 when the key is not there. */
static uint64_t field(const char *text, const char *key) {
    size_t size = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (!strncmp(line, key, size) && (line[size] == ':' || line[size] == ' '))
            return strtoull(line + size + 1, NULL, 10);
    }
    return 0;
}

/* "Key:   123 kB" -> bytes. */
static uint64_t field_bytes(const char *text, const char *key) {
    return field(text, key) * 1024;
}

uint64_t proc_mem_private_bytes(void) {
    AUTO(mem_freep) char *rollup = read_all("/proc/self/smaps_rollup");
    if (rollup) {
        /* Private_Dirty holds the anonymous pages that no child shares, and written shared memory; Anonymous
         * those that a child shares too. The larger one misses least and counts nothing twice. */
        uint64_t anonymous = field_bytes(rollup, "Anonymous"), dirty = field_bytes(rollup, "Private_Dirty");
        return (anonymous > dirty ? anonymous : dirty) + field_bytes(rollup, "Swap");
    }
    return proc_mem_private_bytes_about(); /* kernels before 4.14 */
}

uint64_t proc_mem_private_bytes_about(void) {
    AUTO(mem_freep) char *status = read_all("/proc/self/status");
    if (!status) return 0;
    return field_bytes(status, "RssAnon") + field_bytes(status, "RssShmem") + field_bytes(status, "VmSwap");
}

struct mapped_file {
    char path[PATH_MAX];
    size_t path_size;
    bool exists;
    struct stat st;
};

/* One line: "55d0-55e0 r--p 00000000 08:01 1234   /a/model.gguf (deleted)". By name or by inode: on some file
 * systems (btrfs, overlayfs) the device there is another than stat's, and a replaced file keeps only its
 * name. */
static bool line_maps(const char *line, size_t size, const struct mapped_file *f) {
    unsigned major_no, minor_no;
    unsigned long long inode;
    int name_at = 0;
    char copy[256];
    size_t n = size < sizeof copy - 1 ? size : sizeof copy - 1;
    memcpy(copy, line, n);
    copy[n] = '\0';
    if (sscanf(copy, "%*s %*s %*s %x:%x %llu %n", &major_no, &minor_no, &inode, &name_at) < 3 || inode == 0)
        return false;
    if (f->exists && inode == f->st.st_ino && major_no == major(f->st.st_dev) &&
        minor_no == minor(f->st.st_dev))
        return true;
    if (name_at <= 0 || (size_t)name_at > size) return false;
    const char *name = line + name_at;
    size_t name_size = size - (size_t)name_at;
    static const char deleted[] = " (deleted)";
    size_t deleted_size = sizeof deleted - 1;
    if (name_size == f->path_size + deleted_size && !memcmp(name + f->path_size, deleted, deleted_size))
        name_size = f->path_size;
    return name_size == f->path_size && !memcmp(name, f->path, name_size);
}

uint32_t proc_mem_mappings_of(const char *path) {
    struct mapped_file f = {.exists = stat(path, &f.st) == 0};
    if (!realpath(path, f.path)) snprintf(f.path, sizeof f.path, "%s", path);
    f.path_size = strlen(f.path);
    AUTO(mem_freep) char *maps = read_all("/proc/self/maps");
    uint32_t count = 0;
    for (const char *line = maps; line && *line;) {
        const char *end = strchrnul(line, '\n');
        if (line_maps(line, (size_t)(end - line), &f)) count++;
        line = *end ? end + 1 : end;
    }
    return count;
}

uint64_t proc_mem_total_bytes(void) {
    AUTO(mem_freep) char *info = read_all("/proc/meminfo");
    return info ? field_bytes(info, "MemTotal") : 0;
}

uint64_t proc_mem_available_bytes(void) {
    AUTO(mem_freep) char *info = read_all("/proc/meminfo");
    return info ? field_bytes(info, "MemAvailable") : 0;
}

struct group_files { /* what the two versions call them */
    const char *limit, *used;
};
static const struct group_files VERSION_1 = {"memory.limit_in_bytes", "memory.usage_in_bytes"};
static const struct group_files VERSION_2 = {"memory.max", "memory.current"};

static char *read_in(const char *dir, const char *file) {
    char path[PATH_MAX];
    return snprintf(path, sizeof path, "%s/%s", dir, file) < (int)sizeof path ? read_all(path) : NULL;
}

/* "max", a missing file and version 1's huge number all mean that there is none. */
static uint64_t number_in(const char *dir, const char *file) {
    AUTO(mem_freep) char *text = read_in(dir, file);
    if (!text || text[0] < '0' || text[0] > '9') return PROC_MEM_NO_LIMIT;
    uint64_t v = strtoull(text, NULL, 10);
    return v >= UINT64_C(1) << 60 ? PROC_MEM_NO_LIMIT : v;
}

static uint64_t limit_of(const char *dir, const struct group_files *files) {
    return number_in(dir, files->limit);
}

static uint64_t room_of(const char *dir, const struct group_files *files) {
    uint64_t limit = number_in(dir, files->limit), used = number_in(dir, files->used);
    if (limit == PROC_MEM_NO_LIMIT || used == PROC_MEM_NO_LIMIT) return limit;
    AUTO(mem_freep) char *stat = read_in(dir, "memory.stat");
    uint64_t cache = stat ? field(stat, "inactive_file") + field(stat, "active_file") : 0;
    used = used > cache ? used - cache : 0;
    return limit > used ? limit - used : 0;
}

typedef uint64_t look_fn(const char *dir, const struct group_files *files);

/* From the group's folder up to the mount itself: in a container the folder that /proc names is often not
 * visible, and the mount is the group. */
static uint64_t least_upwards(const char *mount, const char *group, size_t group_size, look_fn *look,
                              const struct group_files *files) {
    char dir[PATH_MAX];
    uint64_t least = PROC_MEM_NO_LIMIT;
    if (snprintf(dir, sizeof dir, "%s%.*s", mount, (int)group_size, group) >= (int)sizeof dir) return least;
    for (size_t end = strlen(dir); end >= strlen(mount) && end > 0; end--) {
        if (dir[end] != '/' && dir[end] != '\0') continue;
        dir[end] = '\0';
        uint64_t found = look(dir, files);
        if (found < least) least = found;
    }
    return least;
}

/* Is "memory" one of the comma-separated controllers? */
static bool names_memory(const char *list, size_t size) {
    for (size_t at = 0; at + 6 <= size; at++) {
        if (memcmp(list + at, "memory", 6)) continue;
        if ((at == 0 || list[at - 1] == ',') && (at + 6 == size || list[at + 6] == ',')) return true;
    }
    return false;
}

static uint64_t least_at(const char *groups_file, const char *mount_dir, look_fn *look) {
    char mount[PATH_MAX];
    uint64_t least = PROC_MEM_NO_LIMIT;
    AUTO(mem_freep) char *groups = read_all(groups_file);
    for (const char *line = groups; line && *line;) { /* "0::/a" is version 2, "4:cpu,memory:/a" version 1 */
        const char *end = strchrnul(line, '\n');
        const char *list = memchr(line, ':', (size_t)(end - line));
        const char *group = list ? memchr(list + 1, ':', (size_t)(end - list - 1)) : NULL;
        size_t size = group ? (size_t)(end - group - 1) : 0;
        uint64_t found = PROC_MEM_NO_LIMIT;
        if (group && group == list + 1) {
            found = least_upwards(mount_dir, group + 1, size, look, &VERSION_2);
            snprintf(mount, sizeof mount, "%s/unified", mount_dir); /* where both versions are mounted */
            uint64_t unified = least_upwards(mount, group + 1, size, look, &VERSION_2);
            if (unified < found) found = unified;
        } else if (group && names_memory(list + 1, (size_t)(group - list - 1))) {
            snprintf(mount, sizeof mount, "%s/memory", mount_dir);
            found = least_upwards(mount, group + 1, size, look, &VERSION_1);
        }
        if (found < least) least = found;
        line = *end ? end + 1 : end;
    }
    return least;
}

uint64_t proc_mem_cgroup_limit_at(const char *groups_file, const char *mount_dir) {
    return least_at(groups_file, mount_dir, limit_of);
}
uint64_t proc_mem_cgroup_room_at(const char *groups_file, const char *mount_dir) {
    return least_at(groups_file, mount_dir, room_of);
}
uint64_t proc_mem_cgroup_limit_bytes(void) {
    return proc_mem_cgroup_limit_at("/proc/self/cgroup", "/sys/fs/cgroup");
}
uint64_t proc_mem_cgroup_room_bytes(void) {
    return proc_mem_cgroup_room_at("/proc/self/cgroup", "/sys/fs/cgroup");
}

#endif
