"""Limits of control groups: made files of both versions, and a real group where one can be made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeai.cgroups import usable
from tests.support.paths import REPOSITORY

MIB = 1 << 20


@pytest.fixture
def cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 16 CPUs and 64 GiB, so that the limits of these tests are smaller."""
    monkeypatch.setattr("edgeai.cgroups._machine_cpus", lambda: 16)
    monkeypatch.setattr("edgeai.cgroups._machine_memory", lambda: 65536 * MIB)


def made(
    folder: Path, groups: list[str], mounts: list[str], files: dict[str, str] | None = None
) -> Path:
    """Write a `/proc/self` and control groups below `folder/cg`; return the `/proc/self`."""
    proc = folder / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text("".join(f"{line}\n" for line in groups))
    lines = ["22 1 0:21 / / rw - ext4 /dev/vda rw", *mounts]
    (proc / "mountinfo").write_text("".join(f"{line}\n" for line in lines))
    for name, text in (files or {}).items():
        file = folder / "cg" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return proc


def mount_2(folder: Path, root: str = "/", where: str = "cg") -> str:
    return f"30 22 0:26 {root} {folder / where} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"


def mount_1(folder: Path, controllers: str, root: str = "/") -> str:
    return f"33 22 0:30 {root} {folder / 'cg' / controllers} rw - cgroup cgroup rw,{controllers}"


VERSION_2 = {
    "container with its own namespace": (
        ["0::/"],
        {"cpu.max": "150000 100000", "memory.max": str(512 * MIB)},
    ),
    "service of systemd": (
        ["0::/system.slice/edgeai.service"],
        {
            "system.slice/edgeai.service/cpu.max": "150000 100000",
            "system.slice/edgeai.service/memory.max": str(512 * MIB),
            "system.slice/memory.max": "max",
        },
    ),
    "the group around it is smaller": (
        ["0::/pod/main"],
        {
            "pod/cpu.max": "150000 100000",
            "pod/main/cpu.max": "400000 100000",
            "pod/memory.max": str(512 * MIB),
            "pod/main/memory.max": str(4096 * MIB),
        },
    ),
}


@pytest.mark.usefixtures("cpus")
@pytest.mark.parametrize("name", VERSION_2)
def test_limits_of_version_2(name: str, tmp_path: Path) -> None:
    groups, files = VERSION_2[name]
    found = usable(made(tmp_path, groups, [mount_2(tmp_path)], files))
    assert (found.cpus, found.threads, found.memory_bytes) == (1.5, 1, 512 * MIB)
    assert found.is_cpu_limited
    assert found.is_memory_limited


@pytest.mark.usefixtures("cpus")
@pytest.mark.parametrize("root", ["/", "/docker/4f6d"], ids=["host's path", "own group mounted"])
def test_limits_of_version_1(root: str, tmp_path: Path) -> None:
    """In a container, the path is often the host's, and the mount is the container's own group."""
    inside = "docker/4f6d/" if root == "/" else ""
    files = {
        f"cpu,cpuacct/{inside}cpu.cfs_quota_us": "300000",
        f"cpu,cpuacct/{inside}cpu.cfs_period_us": "100000",
        f"memory/{inside}memory.limit_in_bytes": str(512 * MIB),
    }
    groups = ["9:cpu,cpuacct:/docker/4f6d", "4:memory:/docker/4f6d", "0::/docker/4f6d"]
    mounts = [mount_1(tmp_path, "cpu,cpuacct", root), mount_1(tmp_path, "memory", root)]
    found = usable(made(tmp_path, groups, mounts, files))
    assert (found.cpus, found.threads, found.memory_bytes) == (3.0, 3, 512 * MIB)


@pytest.mark.usefixtures("cpus")
def test_both_versions_side_by_side(tmp_path: Path) -> None:
    files = {
        "unified/box/cpu.max": "200000 100000",
        "memory/box/memory.limit_in_bytes": str(512 * MIB),
    }
    groups = ["4:memory:/box", "1:cpu:/", "0::/box"]
    mounts = [mount_1(tmp_path, "memory"), mount_2(tmp_path, where="cg/unified")]
    found = usable(made(tmp_path, groups, mounts, files))
    assert (found.cpus, found.memory_bytes) == (2.0, 512 * MIB)


NO_LIMIT = {
    "no control groups": ([], {}),
    "no limit set": (["0::/a"], {"a/cpu.max": "max 100000", "a/memory.max": "max"}),
    "files that cannot be read": (["0::/a"], {"a/cpu.max/x": "", "a/memory.max/x": ""}),
    "nonsense": (["0::/a", "", "x:y"], {"a/cpu.max": "much", "a/memory.max": "-1"}),
    "a period of zero": (["0::/a"], {"a/cpu.max": "100000 0"}),
    "more than the machine has": (
        ["0::/a"],
        {"a/cpu.max": "9900000 100000", "a/memory.max": str(1 << 50)},
    ),
    "a path outside the namespace": (["0::/../a"], {"../a/cpu.max": "100000 100000"}),
}


@pytest.mark.usefixtures("cpus")
@pytest.mark.parametrize("name", NO_LIMIT)
def test_without_a_limit_the_machine_counts(name: str, tmp_path: Path) -> None:
    groups, files = NO_LIMIT[name]
    found = usable(made(tmp_path, groups, [mount_2(tmp_path), "nonsense"], files))
    assert found == (16.0, 65536 * MIB, False, False)


@pytest.mark.usefixtures("cpus")
def test_version_1_without_a_limit(tmp_path: Path) -> None:
    files = {
        "cpu/cpu.cfs_quota_us": "-1",
        "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "9223372036854771712",
    }
    mounts = [mount_1(tmp_path, "cpu"), mount_1(tmp_path, "memory")]
    found = usable(made(tmp_path, ["1:cpu:/", "4:memory:/"], mounts, files))
    assert found == (16.0, 65536 * MIB, False, False)


@pytest.mark.usefixtures("cpus")
def test_a_mount_with_a_space_in_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    proc = made(folder, ["0::/"], [], {"cpu.max": "100000 100000"})
    mount = mount_2(folder).replace(str(folder), str(folder).replace(" ", r"\040"))
    (proc / "mountinfo").write_text(f"{mount}\n")
    assert usable(proc).cpus == 1.0


def test_a_quota_below_one_cpu_leaves_one_thread(tmp_path: Path) -> None:
    found = usable(made(tmp_path, ["0::/"], [mount_2(tmp_path)], {"cpu.max": "20000 100000"}))
    assert (found.cpus, found.threads) == (0.2, 1)


def test_this_machine() -> None:
    found = usable()
    assert 0 < found.cpus <= (os.cpu_count() or 1)
    assert found.memory_bytes is None or found.memory_bytes > 16 * MIB


# ---------------------------------------------------------------------------------- a real group

LIMIT_BYTES = 768 * MIB
QUOTA = "60000"  # of a period of 100000 us
FILES = {
    Path("/sys/fs/cgroup"): {"cpu.max": f"{QUOTA} 100000", "memory.max": str(LIMIT_BYTES)},
    Path("/sys/fs/cgroup/cpu"): {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": QUOTA},
    Path("/sys/fs/cgroup/memory"): {"memory.limit_in_bytes": str(LIMIT_BYTES)},
}


@pytest.fixture
def real_groups() -> Iterator[list[Path]]:
    """New groups with limits, of whichever version this machine has."""
    groups = []
    try:
        for parent, files in FILES.items():
            if (
                not all((parent / name).is_file() for name in files)
                and not (parent / "cgroup.subtree_control").is_file()
            ):
                continue
            group = parent / f"edgeai-test-{os.getpid()}"
            try:
                group.mkdir()
                groups.append(group)
                for name, text in files.items():
                    (group / name).write_text(text)
            except OSError as error:
                pytest.skip(f"this system gives no control groups to tests: {error}")
        if not groups:
            pytest.skip("this system has no control groups that tests can use")
        yield groups
    finally:
        for group in groups:
            group.rmdir()


def run_inside(groups: list[Path], *arguments: str) -> str:
    """Run Python in control groups; return what it prints."""
    enter = "".join(f"echo $$ > {group}/cgroup.procs && " for group in groups)
    done = subprocess.run(
        ["sh", "-c", f'{enter}exec "$@"', "sh", sys.executable, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 and "cgroup.procs" in done.stderr:
        pytest.skip(f"this system lets no process into a new control group: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_limits_of_a_real_group(real_groups: list[Path]) -> None:
    code = "import json; from edgeai.cgroups import usable; print(json.dumps(usable()))"
    assert json.loads(run_inside(real_groups, "-c", code)) == [0.6, LIMIT_BYTES, True, True]


def test_check_says_what_it_fitted_to_a_real_group(real_groups: list[Path]) -> None:
    found = run_inside(real_groups, "-m", "edgeai", "check", "demo").splitlines()
    (note,) = [line for line in found if line.startswith("note: limits.stream_bytes: ")]
    assert note.endswith("because of the memory limit of this container or service, 768 MiB")
