/* file_hint.h - asks the kernel to read a part of a file into the page cache. A hint: nothing is promised, and it may wait
 * for the disk's queue. Thread: any. */
#ifndef HOTSEAT_BASE_FILE_HINT_H
#define HOTSEAT_BASE_FILE_HINT_H

#include <stdint.h>

void file_will_need(int fd, uint64_t offset, uint64_t size_bytes);

#endif
