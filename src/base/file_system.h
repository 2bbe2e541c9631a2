/* file_system.h - on what kind of file system something lies, as far as the system says it cheaply. Thread: any. */
#ifndef HOTSEAT_BASE_FILE_SYSTEM_H
#define HOTSEAT_BASE_FILE_SYSTEM_H

enum file_system {
    FILE_SYSTEM_UNKNOWN,
    FILE_SYSTEM_LOCAL,
    FILE_SYSTEM_NETWORK, /* or a user's own program (FUSE), or a share of a virtual machine's host */
    FILE_SYSTEM_MEMORY   /* tmpfs: what is written there takes memory and is gone after a restart */
};
enum file_system file_system_of(const char *path); /* path must be there, else UNKNOWN */

#endif
