"""Settings of Python's garbage collector and the C library's allocator for a long-running node."""

import ctypes
import gc

GC_THRESHOLD = 100_000  # new objects before a collection; Python's default is 700 or 2000
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's parameter numbers, mallopt(3)
TRIM_THRESHOLD_BYTES = 64 * 1024 * 1024
MMAP_THRESHOLD_BYTES = 32 * 1024 * 1024  # the largest value that glibc accepts on 64-bit systems


def trim() -> None:
    """Return all free memory of the heap to the kernel.

    Proving a model allocates full batches and intermediate results. They are freed, but the session
    is allocated behind them, so glibc keeps the pages, and each further model needs new ones.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def tune_for_serving() -> None:
    """Exclude loaded objects from garbage collection, and keep freed memory in the process.

    Loaded objects live as long as the process, and a turn creates no reference cycles, so frequent
    collections would only cost CPU.

    By default glibc returns memory to the kernel when 128 KiB are free at the end of the heap, and
    maps larger blocks separately: each read and each batch would then pay for page faults. Other C
    libraries have no `mallopt` and keep their defaults.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 10, 100)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)
        mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
