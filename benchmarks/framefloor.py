"""The least that any runtime must do for a frame: read it from the broker, and run the model."""

import socket
import struct
import time
from pathlib import Path

import numpy as np

from benchmarks.frameload import Frames
from benchmarks.ortalone import OUTPUTS, open_session
from benchmarks.wire import open_client

RECEIVE_BYTES = 1 << 18


class Boundaries:
    """Finds where packets end in a stream that is read in pieces; looks at nothing else."""

    def __init__(self) -> None:
        self.packets = 0
        """Whole packets so far."""
        self._left = 0
        """Bytes to come of the packet at hand."""

    def take(self, data: memoryview, end: int) -> int:
        """Pass over the first `end` bytes; return how many of the last must be shown again."""
        at = 0
        while at < end:
            if self._left:
                step = min(self._left, end - at)
                self._left -= step
                at += step
                self.packets += not self._left
                continue
            length = shift = 0
            place = at + 1
            byte = 0x80
            while place < end and byte & 0x80:
                byte = data[place]
                length |= (byte & 0x7F) << shift
                shift += 7
                place += 1
            if byte & 0x80:
                return end - at
            self._left = place - at + length
        return 0


class Floor:
    """A bare socket that reads frames, and ONNX Runtime on the same windows, one at a time."""

    def __init__(self, port: int, load: Frames, graph: Path) -> None:
        self._sock = open_client(port, "bench-floor", load.topic_filter)
        self._buffer = memoryview(bytearray(RECEIVE_BYTES))
        self._session = open_session(graph)
        self._windows = load.windows(load.last_samples)

    def read(self, packets: int, stall_seconds: float) -> int:
        """Read so many packets; return how many came before none came for so long."""
        # The kernel's own time limit: Python's makes it two system calls a read.
        self._sock.setblocking(True)
        limit = struct.pack("ll", int(stall_seconds) + 1, 0)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        buffer, boundaries = self._buffer, Boundaries()
        recv_into = self._sock.recv_into
        kept = 0
        while boundaries.packets < packets:
            try:
                taken = recv_into(buffer[kept:])
            except BlockingIOError:
                break
            if not taken:
                raise ConnectionError("the broker closed the connection")
            end = kept + taken
            kept = boundaries.take(buffer, end)
            if kept:
                buffer[:kept] = bytes(buffer[end - kept : end])
        return boundaries.packets

    def infer(self, windows: int, batch: int, rate: float | None) -> int:
        """Run the model on so many windows, a batch when it is due; return how many were run.

        Args:
            windows: How many, at least.
            batch: In one call.
            rate: Windows a second; None: without a pause.
        """
        own = self._windows
        starts = range(0, len(own) - batch + 1, batch)
        batches = [np.ascontiguousarray(own[start : start + batch]) for start in starts]
        started = time.monotonic()
        done = 0
        while done < windows:
            for part in batches:
                if rate is not None:
                    time.sleep(max(0.0, started + done / rate - time.monotonic()))
                self._session.run(OUTPUTS, {"window": part})
                done += batch
                if done >= windows:
                    break
        return done
