"""What the runtime asks of Python's and the C library's memory management, once, at its start."""

import ctypes
import gc

GC_THRESHOLD = 100_000
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's parameters, mallopt(3)."""
KEPT_BYTES = 64 * 1024 * 1024
MAPPED_FROM_BYTES = 32 * 1024 * 1024
"""The largest that glibc accepts on 64 bits."""


def trim() -> None:
    """Give what is free back to the kernel, wherever in the heap it lies.

    Proving a model takes full batches and their intermediate results, ten megabytes for a small
    one. The session that stays lies behind them, so that glibc keeps them, and the next model takes
    more: 10 MB a model, of which 2 are in use.
    """
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)


def settle() -> None:
    """Keep what is loaded out of the collector's sight, and freed memory in the process.

    What is here stays for the life of the process, and a turn makes no cycles: looking for them
    after every 700 objects was a tenth of all CPU at high rates.

    glibc gives memory back to the kernel whenever 128 KiB are free at the end of the heap, and maps
    every larger piece anew: each read and each batch then pays for its pages again, 50 us for a
    frame of 80 kB. Other C libraries have no such call and are left alone.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 10, 100)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
