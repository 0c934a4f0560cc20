"""Without a container: the commands of docs/install.md, and what the systemd unit allows."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.brokers import RunningBroker
from tests.support.environments import clean_variables
from tests.support.image import fetched_packages
from tests.support.live import PATIENCE_SECONDS, patient, peer, wait_for
from tests.support.packages import write_config, write_package
from tests.support.pages import commands
from tests.support.paths import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

PAGE = (REPOSITORY / "docs" / "install.md").read_text()
UNIT = REPOSITORY / "deploy" / "systemd" / "edgeai.service"
ANALYZE, STRACE = shutil.which("systemd-analyze"), shutil.which("strace")


def test_the_documented_commands_install_it(tmp_path: Path) -> None:
    """With the packages of this test's cache; the hashes of the lock hold for them as well."""
    [block] = [one for one in commands(PAGE) if "run by" in one.marks]
    folder = tmp_path / "edgeai"
    script = block.text.replace("/opt/edgeai", str(folder))
    script = script.replace("python3 ", f"{sys.executable} ", 1)
    packages = fetched_packages(f"{sys.version_info[0]}.{sys.version_info[1]}")
    variables = {
        **clean_variables(),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(packages),
        "PIP_QUIET": "1",
        "EDGEAI_STATE_DIR": str(tmp_path / "state"),
    }
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=REPOSITORY, env=variables,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith("demo.yaml: ok")
    origin = subprocess.run(
        [folder / "bin" / "python", "-c", "import edgeai, onnxruntime; print(edgeai.__file__)"],
        cwd=tmp_path, env=variables, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert origin.stdout.startswith(str(folder))


# ------------------------------------------------------------------------------ the systemd unit


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_the_unit_is_as_hardened_as_the_page_says() -> None:
    done = subprocess.run(
        [str(ANALYZE), "security", "--offline=true", "--no-pager", str(UNIT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    level = re.search(r"exposure level for edgeai\.service: ([\d.]+)", done.stdout)
    assert level, done.stdout + done.stderr
    stated = re.search(r"exposure level of (\d+\.\d)", PAGE)
    assert stated
    assert float(level[1]) <= float(stated[1])


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    program = tmp_path / "edgeai"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "edgeai.service"
    unit.write_text(UNIT.read_text().replace("/opt/edgeai/bin/edgeai", str(program)))
    done = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", "--recursive-errors=no", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    complaints = [line for line in done.stderr.splitlines() if "edgeai" in line]
    assert not complaints
    unit.write_text(unit.read_text().replace("PrivateTmp=", "PrivateTemp="))
    done = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", "--recursive-errors=no", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "PrivateTemp" in done.stderr, "the test above can fail"


DISPENSABLE = ("mbind",)  # OpenBLAS asks for memory that is near, and takes any
DENY = [part for name in DISPENSABLE for part in ("-e", f"inject={name}:error=EPERM")]
CALL = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed)")


@pytest.fixture
def trace(tmp_path: Path, broker: RunningBroker) -> list[str]:
    """The system calls of two workers that start, serve, and end, without those in DENY."""
    if STRACE is None:
        pytest.skip("strace is not installed")
    source = {"topic": "{asset}/sensors", "time": {"path": "t", "unit": "s"}}
    write_package(tmp_path / "mean")
    config = write_config(
        tmp_path / "line.yaml",
        broker.port,
        {"p": {"model": "mean", "source": source}},
        http={"enabled": True, "port": 0},
        workers=2,
    )
    log = tmp_path / "strace"
    variables = {**os.environ, "EDGEAI_STATE_DIR": str(tmp_path / "state")}
    with (tmp_path / "log").open("wb") as file, peer(broker.port, "edgeai/#") as other:
        process = subprocess.Popen(
            [
                STRACE, "-f", "-qq", "-o", str(log), *DENY,
                sys.executable, "-m", "edgeai", "run", str(config),
            ],
            stdout=file, stderr=file, cwd=REPOSITORY, env=variables, start_new_session=True,
        )  # fmt: skip
        try:
            wait_for(
                lambda: any(b"online" in message.payload for message in other.heard),
                f"the node, log: {tmp_path / 'log'}", 90,
            )  # fmt: skip
            for t in range(1, 21):
                for asset in "abcd":
                    other.publish(f"{asset}/sensors", {"t": t, "a": t, "b": 0})
            wait_for(lambda: len(other.topics("edgeai/test/predictions/")) > 40, "predictions")
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(PATIENCE_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(patient(10))
    return log.read_text().splitlines()


def settings(name: str) -> list[str]:
    """Return the values of a key of the unit, in order."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def calls_of(group: str) -> set[str]:
    """Return the system calls of one of systemd's groups, such as @system-service, or the one."""
    if not group.startswith("@"):
        return {group}
    text = subprocess.run(
        [str(ANALYZE), "syscall-filter", "--no-pager", group],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    names = {line.strip() for line in text.splitlines()[1:] if line.strip()}
    found = {name for name in names if not name.startswith(("@", "#"))}
    for name in names:
        if name.startswith("@"):
            found |= calls_of(name)
    return found


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_the_unit_allows_what_the_service_does(trace: list[str]) -> None:
    used = {found[1] for line in trace if (found := CALL.match(line))}
    assert {"openat", "socket", "mmap", "clone"} & used
    allowed = calls_of("@default")
    for value in settings("SystemCallFilter"):
        for group in value.removeprefix("~").split():
            allowed = allowed - calls_of(group) if value[0] == "~" else allowed | calls_of(group)
    assert used - allowed <= set(DISPENSABLE)
    families = set(settings("RestrictAddressFamilies")[0].split())
    sockets = {found[1] for line in trace if (found := re.search(r"socket\((AF_\w+)", line))}
    assert "AF_INET" in sockets
    assert sockets - families <= {"AF_NETLINK"}, "the C library does without AF_NETLINK"


DENIED = """
import ctypes, mmap, os, sys
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit(77)
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)
except OSError:
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""Start Python where the kernel refuses what MemoryDenyWriteExecute refuses; the C library's
`prctl` keeps it over `execv`."""


def test_it_needs_no_memory_that_is_writable_and_executable(tmp_path: Path) -> None:
    assert settings("MemoryDenyWriteExecute") == ["yes"]
    done = subprocess.run(
        [sys.executable, "-c", DENIED, "-m", "edgeai", "check", "demo"],
        cwd=REPOSITORY, env={**os.environ, "EDGEAI_STATE_DIR": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip("this kernel is older than Linux 6.3 and has no PR_SET_MDWE")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("demo.yaml: ok")
