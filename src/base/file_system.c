#include "base/file_system.h"

#if defined(__linux__) && !defined(HOTSEAT_PORTABLE)

#include <stddef.h>
#include <sys/vfs.h>

#include "base/attr.h"

/* From statfs(2) and linux/magic.h. */
static const unsigned NETWORK[] = {0x6969 /* nfs */,       0xFF534D42 /* cifs */, 0xFE534D42 /* smb2 */,
                                   0x517B /* smb */,       0x564C /* ncp */,      0x5346414F /* afs */,
                                   0x6B414653 /* k-afs */, 0x00C36400 /* ceph */, 0x01021997 /* 9p */,
                                   0x73757245 /* coda */,  0x65735546 /* fuse */, 0x786F4256 /* vboxsf */};
static const unsigned MEMORY[] = {0x01021994 /* tmpfs */, 0x858458F6 /* ramfs */};

enum file_system file_system_of(const char *path) {
    struct statfs s;
    if (statfs(path, &s) != 0) return FILE_SYSTEM_UNKNOWN;
    unsigned magic = (unsigned)s.f_type;
    for (size_t i = 0; i < ARRAY_LEN(NETWORK); i++)
        if (magic == NETWORK[i]) return FILE_SYSTEM_NETWORK;
    for (size_t i = 0; i < ARRAY_LEN(MEMORY); i++)
        if (magic == MEMORY[i]) return FILE_SYSTEM_MEMORY;
    return FILE_SYSTEM_LOCAL;
}

#elif defined(__APPLE__) && !defined(HOTSEAT_PORTABLE) /* written with care, not run yet */

#include <sys/mount.h>
#include <sys/param.h>

enum file_system file_system_of(const char *path) {
    struct statfs s;
    if (statfs(path, &s) != 0) return FILE_SYSTEM_UNKNOWN;
    return s.f_flags & MNT_LOCAL ? FILE_SYSTEM_LOCAL : FILE_SYSTEM_NETWORK;
}

#else /* POSIX does not say */

#include "base/attr.h"

enum file_system file_system_of(const char *path UNUSED) {
    return FILE_SYSTEM_UNKNOWN;
}

#endif
