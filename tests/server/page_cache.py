"""How much of a file the system has in memory."""
import ctypes
import mmap
import os


def cached_bytes(path):
    libc = ctypes.CDLL(None, use_errno=True)
    with open(path, "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
        size, page = len(m), mmap.PAGESIZE
        pages = (ctypes.c_ubyte * -(-size // page))()
        begin = ctypes.c_char.from_buffer(m)
        try:
            assert libc.mincore(ctypes.c_void_p(ctypes.addressof(begin)), ctypes.c_size_t(size), pages) == 0, os.strerror(ctypes.get_errno())
        finally:
            del begin
        return sum(p & 1 for p in pages) * page
