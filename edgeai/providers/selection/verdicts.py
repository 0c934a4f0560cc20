"""Verdicts of proofs, and where they are kept: a proof takes seconds to minutes, a start must not.

A verdict holds for one package, provider, options, machine, driver and Python environment. A change
of any of these is another key, so a verdict is never wrong, only missing. A file that cannot be
read is as none.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from edgeai import paths
from edgeai.model.package import Package
from edgeai.providers.child.spec import ChildSpec
from edgeai.providers.selection.cache import note_use

PROOF_VERSION = 1
"""Raised when a proof checks more than before."""
RETRY_SECONDS = 3600.0
"""A failure is believed for so long: a driver may be mended without any version changing."""


@dataclass(frozen=True)
class Latency:
    """Seconds of one call, with the round trip to the child where that serves."""

    p50: float
    p99: float


@dataclass(frozen=True)
class Verdict:
    """What the proof of one candidate found, for one package."""

    provider: str
    """The name that predictions bear: `openvino-npu`."""
    found: bool
    """Runtime and device are there and load the graph."""
    proven: bool
    reason: str = ""
    """Why it is not proven."""
    cause: str = ""
    """In one word: missing, start_failed, start_timeout, crashed, deadline, parity, ..."""
    precision: str = "fp32"
    parity_error: float | None = None
    """Largest error of an output, relative to that output's largest golden value.

    None: not compared, or an output was no number.
    """
    tolerance_used: float | None = None
    """1: the largest error that is still accepted."""
    flips: int | None = None
    """Golden windows on the other side of the threshold."""
    nodes: dict[str, int] = field(default_factory=dict)
    """Nodes of the graph by ORT's provider."""
    device: str = ""
    driver: str = ""
    runtime: str = ""
    latency: dict[int, Latency] = field(default_factory=dict)
    """By windows in a call."""
    cpu_latency: dict[int, Latency] = field(default_factory=dict)
    """The CPU session's, measured in turn with it."""
    start_seconds: float | None = None
    time: float = 0.0
    """When it was proven, seconds since 1970."""

    @property
    def is_whole(self) -> bool:
        """Whether a choice can be made by it: what is proven has been measured."""
        measured = [*self.latency.values(), *self.cpu_latency.values()]
        return not self.proven or (
            bool(measured)
            and self.latency.keys() == self.cpu_latency.keys()
            and all(one.p50 > 0 for one in measured)
        )


def verdict_key(
    package: Package, spec: ChildSpec, environment: str, hardware: str, measured: dict[str, Any]
) -> str:
    """Return the name under which a verdict is kept.

    Args:
        package: Its manifest holds the hashes of all its files.
        spec: Provider and options.
        environment: Digest of the Python environment.
        hardware: Digest of devices and drivers.
        measured: How the proof goes about it.
    """
    given = [spec.library or "", *spec.provider_options.values()]
    files = [[one, *_stamp(Path(one))] for one in given if one and paths.is_file(Path(one))]
    asked = json.loads(spec.to_json())
    del asked["graph"]  # where a package lies does not matter, and its content is in the manifest
    known = [
        PROOF_VERSION,
        package.manifest.model_dump(mode="json"),
        Path(spec.graph).name,
        asked,
        files,
        environment,
        hardware,
        measured,
    ]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _stamp(file: Path) -> tuple[int, int]:
    """Return what changes when a library or a file of options is replaced."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns


class VerdictStore:
    """The verdicts in the state folder."""

    def __init__(self, state_folder: Path) -> None:
        """Verdicts lie in `providers/verdicts`; a folder that cannot be written keeps none."""
        self._folder = state_folder / "providers" / "verdicts"

    def load(self, key: str) -> Verdict | None:
        """Return a verdict that still holds, or None."""
        path = self._folder / f"{key}.json"
        try:
            text = path.read_bytes()
            verdict = msgspec.json.decode(text, type=Verdict)
        except (OSError, ValueError):
            return None
        if not verdict.is_whole:
            return None
        # Also not one from the future: the clock was wrong then or is now.
        if not verdict.proven and not 0 <= time.time() - verdict.time < RETRY_SECONDS:
            return None
        note_use(path)
        return verdict

    def save(self, key: str, verdict: Verdict) -> None:
        """Keep a verdict, if the folder can be written."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                file.write(msgspec.json.format(msgspec.json.encode(verdict), indent=1))
            Path(file.name).replace(self._folder / f"{key}.json")

    @contextlib.contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """Let one process prove at a time: workers that start together wait for its verdict."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._folder / f"{key}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            yield
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
