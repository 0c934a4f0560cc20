"""Commands that serve start no thread of NumPy's library for each core of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeai.cgroups import usable
from tests.support.packages import write_config, write_package
from tests.support.paths import REPOSITORY

CODE = """
import ctypes, re, sys
from edgeai.__main__ import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
maps = open('/proc/self/maps').read()
(library,) = set(re.findall(r'\\S+openblas\\S+\\.so\\S*', maps)) or sys.exit(77)
print('threads', ctypes.CDLL(library).scipy_openblas_get_num_threads64_())
"""


def threads_after(folder: Path, *arguments: str, **variables: str) -> int:
    """Run a command; return how many threads OpenBLAS has in its process at the end."""
    given = {name: text for name, text in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], cwd=folder, capture_output=True, text=True,
        check=False, env={**given, "PYTHONPATH": str(REPOSITORY), **variables},
    )  # fmt: skip
    if done.returncode == 77 or "undefined symbol" in done.stderr:
        pytest.skip("this build of NumPy has no OpenBLAS of its own")
    assert done.returncode == 0, done.stderr
    return int(done.stdout.rpartition("threads ")[2])


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
@pytest.mark.skipif(usable().threads < 2, reason="needs two CPUs")
def test_one_thread_unless_the_user_says_otherwise(tmp_path: Path) -> None:
    write_package(tmp_path / "mean")
    source = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}
    write_config(tmp_path / "line.yaml", 1, {"p": {"model": "mean", "source": source}})
    (tmp_path / "press.csv").write_text("\n".join(["t,a,b", *(f"{t},{t},1" for t in range(1, 9))]))
    replay = ["replay", "line.yaml", "--input", "press.csv", "--output", "out"]
    assert threads_after(tmp_path, "check", "line.yaml") == 1
    assert threads_after(tmp_path, *replay) == 1
    assert threads_after(tmp_path, "check", "line.yaml", OPENBLAS_NUM_THREADS="2") == 2
