"""Keep freed memory in the process, so that steps in steady state fault no pages."""

from __future__ import annotations

import ctypes
import os
import sys

# <malloc.h> of glibc
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8
_MADV_HUGEPAGE = 14  # <sys/mman.h>
_HUGE_PAGE = 2 << 20
_HEAP_BYTES = 3 << 29


def keep_freed_memory() -> None:
    """Make glibc's malloc reuse freed memory rather than return it to the kernel.

    By default each tensor above some megabytes is mapped when allocated and unmapped when freed:
    the kernel zeroes its pages anew at every step. From now on nothing is mapped for one
    allocation, the heap is not trimmed, and all threads share one arena, since memory that one
    thread has freed would not serve another. The process stays as large as its largest step.

    Arrow's buffers, which its own pool would return, come from malloc too. Does nothing where the
    C library has no mallopt; another malloc (LD_PRELOAD) ignores it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_ARENA_MAX, 1)
        _ask_for_huge_pages()
        os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # read when pyarrow is imported
        if "pyarrow" in sys.modules:
            import pyarrow

            pyarrow.set_memory_pool(pyarrow.system_memory_pool())


def _ask_for_huge_pages() -> None:
    """Have the heap's next 1.5 GiB backed by pages of 2 MiB, where the kernel allows it.

    Tensors larger than the caches are read and written with far fewer misses of the TLB. Nothing
    is taken from the machine until it is used.
    """
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    start = library.malloc(_HEAP_BYTES)
    if start is not None:
        library.free(start)  # stays in the heap, which is not trimmed
        first = -(-start // _HUGE_PAGE) * _HUGE_PAGE
        library.madvise(first, start + _HEAP_BYTES - first, _MADV_HUGEPAGE)
