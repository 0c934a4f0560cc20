"""The witness: a bare socket that takes every output, and judges them when the run is over."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from benchmarks.check import Arrival, Checker, Verdict
from benchmarks.wire import PUBLISH, open_client, split_publish, take_packets
from benchmarks.workload import Workload

RECEIVE_BYTES = 1 << 18
QUIET_SECONDS = 0.15
"""Waited for after the last output that is due, in case one comes twice."""


@dataclass(frozen=True)
class Collected:
    """What arrived in one run."""

    verdict: Verdict
    last_ns: int
    """Monotonic, of the last output; 0: none came."""
    arrivals: npt.NDArray[np.int64]
    """(n, 2) number of the input message within the run, and arrival of its output."""


class Sink:
    """Takes messages and looks at none: what the broker can do."""

    def __init__(self, port: int, topic_filter: str) -> None:
        self._sock = open_client(port, "bench-sink", topic_filter)

    def drain(self, count: int, stall_seconds: float) -> int:
        """Take so many bytes and return the monotonic nanoseconds at the last; 0: some are lost."""
        buffer = memoryview(bytearray(RECEIVE_BYTES))
        self._sock.settimeout(stall_seconds)
        while count > 0:
            try:
                taken = self._sock.recv_into(buffer)
            except TimeoutError:
                return 0
            if not taken:
                raise ConnectionError("the broker closed the connection")
            count -= taken
        return time.monotonic_ns() if count == 0 else 0


class Collector:
    """Subscribes to the outputs."""

    def __init__(
        self,
        port: int,
        topic_filter: str,
        load: Workload,
        kind: Literal["prediction", "echo"],
        graph: Path | None,
        top: int,
    ) -> None:
        self._checker = Checker(load, kind, graph, top)
        self._sock = open_client(port, "bench-collector", topic_filter)
        self._buffer = bytearray()

    def collect(self, first: int, samples: int, stall_seconds: float) -> Collected:
        """Take outputs until all that are due are there, or none comes for so long."""
        expected = self._checker.expected(first, samples)
        arrivals: list[Arrival] = []
        while True:
            missing = len(arrivals) < expected
            self._sock.settimeout(stall_seconds if missing else QUIET_SECONDS)
            try:
                data = self._sock.recv(RECEIVE_BYTES)
            except TimeoutError:
                break
            if not data:
                raise ConnectionError("the broker closed the connection")
            now = time.monotonic_ns()
            self._buffer += data
            for kind, body in take_packets(self._buffer):
                if kind & 0xF0 == PUBLISH:
                    arrivals.append((now, *split_publish(kind, body)))
        verdict, pairs = self._checker.check(arrivals, first, samples)
        return Collected(verdict, arrivals[-1][0] if arrivals else 0, pairs)
