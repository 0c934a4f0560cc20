"""Store the verdicts of proofs, so that only the first start takes seconds to minutes.

A verdict holds for one package, provider, options, machine, driver and Python environment. All of
these are in its key, so a change of any of them leads to a new proof. A file that cannot be read
counts as missing.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from edgeai import paths
from edgeai.model.package import Package
from edgeai.providers.child.spec import ChildSpec
from edgeai.providers.selection.cache import mark_used

PROOF_VERSION = 1
"""Increase this when a proof checks more than before."""
RETRY_SECONDS = 3600.0
"""Age at which a failure is proven again: a driver may be repaired without a change of version."""


@dataclass(frozen=True)
class Latency:
    """Seconds of one call, including the round trip to the child if a child serves."""

    p50: float
    p99: float


@dataclass(frozen=True)
class Verdict:
    """The result of the proof of one candidate for one package."""

    provider: str
    """Name as in predictions: `openvino-npu`."""
    found: bool
    """Whether runtime and device exist and load the graph."""
    proven: bool
    """Whether the whole proof succeeded."""
    reason: str = ""
    """Why it is not proven."""
    cause: str = ""
    """The reason in one word: missing, start_failed, crashed, deadline, parity, ..."""
    precision: str = "fp32"
    parity_error: float | None = None
    """Largest error of an output, relative to that output's largest golden value.

    None: not compared, or an output was not finite.
    """
    tolerance_used: float | None = None
    """Share of the tolerance that the largest error uses; 1 is the largest accepted error."""
    flips: int | None = None
    """Number of golden windows on the other side of the threshold."""
    nodes: dict[str, int] = field(default_factory=dict)
    """Number of the graph's nodes by ORT's provider."""
    device: str = ""
    driver: str = ""
    runtime: str = ""
    latency: dict[int, Latency] = field(default_factory=dict)
    """Latency by batch size."""
    cpu_latency: dict[int, Latency] = field(default_factory=dict)
    """Latency of the CPU session by batch size, measured alternately."""
    start_seconds: float | None = None
    time: float = 0.0
    """Time of the proof, seconds since 1970."""

    @property
    def is_complete(self) -> bool:
        """Whether it is not proven, or proven and measured: only then a policy can use it."""
        measured = [*self.latency.values(), *self.cpu_latency.values()]
        return not self.proven or (
            bool(measured)
            and self.latency.keys() == self.cpu_latency.keys()
            and all(one.p50 > 0 for one in measured)
        )


def verdict_key(
    package: Package, spec: ChildSpec, environment: str, hardware: str, measured: dict[str, Any]
) -> str:
    """Return the key under which a verdict is stored.

    Args:
        package: The package; its manifest holds the hashes of all its files.
        spec: Provider and options.
        environment: Digest of the Python environment.
        hardware: Digest of devices and drivers.
        measured: Settings of the proof.
    """
    given = [spec.library or "", *spec.provider_options.values()]
    files = [[one, *_stamp(Path(one))] for one in given if one and paths.is_file(Path(one))]
    asked = json.loads(spec.to_json())
    del asked["graph"]  # the path of a package does not matter; its hashes are in the manifest
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
    """Return size and modification time, which change when the file is replaced."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns


class VerdictStore:
    """The verdicts in the state folder."""

    def __init__(self, state_folder: Path) -> None:
        """Use the folder `providers/verdicts`; if it cannot be written nothing is stored."""
        self._folder = state_folder / "providers" / "verdicts"

    def load(self, key: str) -> Verdict | None:
        """Return a verdict that is still valid, or None."""
        path = self._folder / f"{key}.json"
        try:
            text = path.read_bytes()
            verdict = msgspec.json.decode(text, type=Verdict)
        except (OSError, ValueError):
            return None
        if not verdict.is_complete:
            return None
        # Reject a time in the future too: the clock was wrong then, or is wrong now.
        if not verdict.proven and not 0 <= time.time() - verdict.time < RETRY_SECONDS:
            return None
        mark_used(path)
        return verdict

    def save(self, key: str, verdict: Verdict) -> None:
        """Store a verdict, if the folder can be written."""
        with contextlib.suppress(OSError):
            content = msgspec.json.format(msgspec.json.encode(verdict), indent=1)
            paths.write_atomically(self._folder / f"{key}.json", content)

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Lock a key, so that of several workers one proves and the others read its verdict."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._folder / f"{key}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            yield
            return
        try:
            with contextlib.suppress(OSError):  # a network file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
