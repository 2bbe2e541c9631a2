/* page_cache.h - what the system keeps in memory of files that nobody has mapped. Thread: any; may block for the disk. */
#ifndef HOTSEAT_BASE_PAGE_CACHE_H
#define HOTSEAT_BASE_PAGE_CACHE_H

#include "base/attr.h"
#include "base/err.h"

/* The file's clean pages leave memory. Those that a process has in its page tables stay, and so do dirty ones, whose writing begins:
 * nobody loses anything but time. Errors are those of opening it; ERR_UNSUPPORTED: this system has no call for it (macOS), nothing was done. */
enum err page_cache_forget(const char *path) NODISCARD;

#endif
