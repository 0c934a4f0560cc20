"""A plan follows the CPUs and the memory that the process may use, and says what it changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeai.assembly.machine import MIB, fit_memory, fit_threads, warnings_about
from edgeai.assembly.plan import check
from edgeai.cgroups import Usable
from edgeai.config.device import load_device
from edgeai.config.node import Config, load_config
from tests.support.packages import write_config, write_package

SOURCE = {"topic": "factory/{asset}/sensors", "time": {"path": "t", "unit": "s"}}
DEFAULT = 1 << 30


def box(cpus: float = 2.0, memory: int | None = 512 * MIB) -> Usable:
    return Usable(cpus, memory, is_cpu_limited=True, is_memory_limited=True)


def config(folder: Path, **keys: object) -> Config:
    return load_config(write_config(folder / "line.yaml", 1, {"p": _pipeline(folder)}, **keys))


def _pipeline(folder: Path) -> dict[str, object]:
    if not (folder / "mean").is_dir():
        write_package(folder / "mean")
    return {"model": "mean", "source": SOURCE}


@pytest.mark.parametrize(("cpus", "used"), [(0.5, 1), (1.0, 1), (2.9, 2), (4.0, 4), (64.0, 4)])
def test_threads_follow_the_quota(tmp_path: Path, cpus: float, used: int) -> None:
    file = tmp_path / "device.yaml"
    file.write_text(
        "description: d\ncandidates: [{provider: cuda, threads: 3}, {provider: cpu, threads: 4}]\n"
    )
    device, warnings = fit_threads(load_device(file), box(cpus))
    assert device.cpu.threads == used
    assert device.accelerators[0].threads == min(3, used)
    changed = (used < 3) + (used < 4)
    assert len(warnings) == changed
    if changed:
        assert warnings[-1] == (
            f"device, candidates.1.threads: 4 is more than the {cpus:g} CPUs of the limit of this "
            f"container or service; {used} will be used"
        )


def test_without_memory_for_the_default_streams_take_less(tmp_path: Path) -> None:
    given = config(tmp_path)
    fitted, (note,) = fit_memory(given, box(memory=512 * MIB))
    free = 512 * MIB - 128 * MIB - given.limits.turn_bytes
    assert fitted.limits.stream_bytes == free // 2
    assert note == (
        f"limits.stream_bytes: {free // 2} instead of {DEFAULT}, because of the memory limit of "
        "this container or service, 512 MiB"
    )
    assert not warnings_about(fitted, box(memory=512 * MIB))


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("memory", [300 * MIB, 1024 * MIB, 4096 * MIB, 65536 * MIB])
def test_the_default_never_needs_more_than_there_is(
    tmp_path: Path, workers: int, memory: int
) -> None:
    usable = box(cpus=64, memory=memory)
    fitted, notes = fit_memory(config(tmp_path, workers=workers), usable)
    assert bool(notes) == (fitted.limits.stream_bytes < DEFAULT)
    fits = memory // workers > 145 * MIB  # a process, a turn and the smallest room for streams
    assert bool(warnings_about(fitted, usable)) != fits


def test_a_value_that_the_user_wrote_is_kept_and_told(tmp_path: Path) -> None:
    given = config(tmp_path, limits={"stream_bytes": DEFAULT}, workers=2)
    fitted, notes = fit_memory(given, box())
    assert (fitted, notes) == (given, [])
    (warning,) = warnings_about(given, box())
    assert warning.startswith("2 workers may need 2336 MiB (128 MiB for a process, ")
    assert "more than the memory limit of this container or service, 512 MiB" in warning


def test_unknown_memory_changes_nothing(tmp_path: Path) -> None:
    given = config(tmp_path)
    assert fit_memory(given, box(memory=None)) == (given, [])
    assert not warnings_about(given, box(memory=None))


def test_more_workers_than_cpus_are_told(tmp_path: Path) -> None:
    (warning,) = warnings_about(config(tmp_path, workers=3), box(memory=None))
    assert warning.startswith("workers: 3 is more than the 2 CPUs of the limit of this container")
    assert not warnings_about(config(tmp_path, workers=2), box(memory=None))


def test_the_plan_has_what_fits_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config(tmp_path)
    monkeypatch.setattr("edgeai.assembly.plan.usable", box)
    plan = check(tmp_path / "line.yaml")
    assert plan.config.limits.stream_bytes < DEFAULT
    assert plan.notes[0].startswith("limits.stream_bytes: ")
