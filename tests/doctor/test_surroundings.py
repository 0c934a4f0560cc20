"""What doctor reads of the machine, and how it takes clocks out of a pipeline's bounds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeai.config.node import load_config
from edgeai.doctor.models import with_any_time
from edgeai.doctor.surroundings import kernel_clock, mount_of
from tests.support.mounts import APART
from tests.support.packages import write_config
from tests.support.paths import REPOSITORY


def test_the_kernel_says_what_timedatectl_says() -> None:
    """Both ask the same call; where there is no systemd the call alone must answer."""
    state = kernel_clock()
    assert state is not None
    assert state.max_error_seconds >= 0
    shown = subprocess.run(
        ["timedatectl", "show", "--property=NTPSynchronized", "--value"],
        capture_output=True, text=True, check=False,
    ).stdout.strip() if Path("/run/systemd/system").is_dir() else ""  # fmt: skip
    assert shown in {"", "yes" if state.is_synchronised else "no"}


def test_the_mount_of_a_folder_with_a_space(tmp_path: Path) -> None:
    folder = tmp_path / "a b" / "c"
    folder.mkdir(parents=True)
    script = (
        "from pathlib import Path; from edgeai.doctor.surroundings import mount_of; "
        f"print(mount_of(Path({str(folder)!r})))"
    )
    command = f"mount -t tmpfs -o ro none '{tmp_path}/a b' && exec {sys.executable} -c \"$1\""
    done = subprocess.run(
        [*APART, "bash", "-c", command, "bash", script],
        capture_output=True, text=True, check=False, env={"PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    if "permission denied" in done.stderr.lower() or "not permitted" in done.stderr.lower():
        pytest.skip("this system gives no mount namespaces to tests (unshare -m)")
    assert f"Mount(point='{tmp_path}/a b', kind='tmpfs', is_read_only=True)" in done.stdout
    found = mount_of(tmp_path)
    assert found is not None
    assert not found.is_read_only


SOURCES: dict[str, dict[str, Any]] = {
    "row": {"time": {"path": "t", "unit": "s", "max_ahead_seconds": 10.0}},
    "tag": {
        "layout": "tag", "topic": "a/{asset}/{signal}",
        "time": {"path": "t", "unit": "s", "max_ahead_seconds": 10.0},
    },
    "binary frame": {
        "layout": "frame",
        "frame": {"type": "binary", "header": "edgeai1", "max_ahead_seconds": 10.0},
    },
    "frame of fields": {
        "layout": "frame",
        "frame": {
            "type": "json", "encoding": "list", "rate_hz": 10.0,
            "time": {"path": "t", "unit": "s", "max_ahead_seconds": 10.0},
        },
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", SOURCES)
def test_any_time_is_taken_in_every_layout(tmp_path: Path, kind: str) -> None:
    source = {"topic": "a/{asset}/x", **SOURCES[kind]}
    config = write_config(tmp_path / "c.yaml", 1883, {"p": {"model": "m", "source": source}})
    pipeline = load_config(config).pipelines["p"]
    before, after = pipeline.source.clock, with_any_time(pipeline).source.clock
    assert before is not None
    assert after is not None
    if "frame" in kind:  # the helper that writes the file widens `time` alone
        assert before.max_ahead_seconds == 10.0
    assert after.max_ahead_seconds >= 1e9
    assert after.max_behind_seconds >= 1e10
