"""Memory management of a node."""

import ctypes
import subprocess
import sys

import pytest

from tests.support.live import patient

HOLES = """
import os
import numpy as np
from edgeai.assembly import memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

blocks = [np.ones(12_000) for _ in range(500)]  # 96 kB each: from the heap, not mapped
before = resident()
blocks = blocks[-1:]  # the remaining block is behind the free memory
kept = resident()
memory.trim()
print(before - kept, before - resident(), blocks[0].sum())
"""

BATCH = """
import os
import numpy as np
from edgeai.assembly import memory
from edgeai.engine.batch import Batch

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

np.ones(1_000_000)  # mapped; freeing it makes glibc use the heap for the next block of this size
hole = np.ones(999_000)
behind = np.ones(50_000)
del hole
memory.trim()
before = resident()
batch = Batch(1024, (64, 30))
print(resident() - before, batch.values.nbytes, batch.values.any(), behind.sum())
"""

needs_glibc = pytest.mark.skipif(
    not (sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim")), reason="glibc only"
)


@needs_glibc
def test_trim_returns_free_memory_between_used_blocks() -> None:
    told = subprocess.run(
        [sys.executable, "-c", HOLES],
        capture_output=True,
        text=True,
        check=True,
        timeout=patient(60),
    )
    by_itself, given_back, _ = (float(text) for text in told.stdout.split())
    whole = 499 * 96_000
    assert by_itself < 0.5 * whole
    assert given_back > 0.9 * whole


@needs_glibc
def test_a_batch_uses_no_memory_before_it_has_windows() -> None:
    told = subprocess.run(
        [sys.executable, "-c", BATCH],
        capture_output=True,
        text=True,
        check=True,
        timeout=patient(60),
    )
    taken, size, has_values, _ = told.stdout.split()
    assert has_values == "False"
    assert float(taken) < 0.1 * float(size)
