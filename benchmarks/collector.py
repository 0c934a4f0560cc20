"""Receive every output on a bare socket, and check them after the run."""

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
QUIET_SECONDS = 0.15  # waiting time after the last expected output, to detect duplicates


@dataclass(frozen=True)
class Collected:
    """The outputs of one run."""

    verdict: Verdict
    last_ns: int
    """Arrival of the last output, monotonic clock; 0 without outputs."""
    arrivals: npt.NDArray[np.int64]
    """(n, 2): index of the input message within the run, arrival of its output in ns."""


class Sink:
    """Receives bytes without decoding them, to measure the broker's limit."""

    def __init__(self, port: int, topic_filter: str) -> None:
        self._sock = open_client(port, "bench-sink", topic_filter)

    def drain(self, count: int, stall_seconds: float) -> int:
        """Receive `count` bytes; return the time of the last in monotonic ns, 0 after a stall."""
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
    """Receives and checks the outputs."""

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
        """Receive outputs until all have arrived, or none arrives for `stall_seconds`."""
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
