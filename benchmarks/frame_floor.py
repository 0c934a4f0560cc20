"""The floor of B: read a frame from the broker, and run the model."""

import socket
import struct
import time
from pathlib import Path

import numpy as np

from benchmarks.frame_load import Frames
from benchmarks.ort_alone import OUTPUTS, open_session
from benchmarks.wire import open_client

RECEIVE_BYTES = 1 << 18


class Boundaries:
    """Finds the ends of packets in a byte stream that arrives in pieces."""

    def __init__(self) -> None:
        self.packets = 0
        """Number of complete packets so far."""
        self._left = 0
        """Missing bytes of the current packet."""

    def take(self, data: memoryview, end: int) -> int:
        """Skip the first `end` bytes; return how many of the last are an incomplete header."""
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
    """A bare socket that reads frames, and ONNX Runtime on the same windows."""

    def __init__(self, port: int, load: Frames, graph: Path) -> None:
        self._sock = open_client(port, "bench-floor", load.topic_filter)
        self._buffer = memoryview(bytearray(RECEIVE_BYTES))
        self._session = open_session(graph)
        self._windows = load.windows(load.last_samples)

    def read(self, packets: int, stall_seconds: float) -> int:
        """Read packets until all have arrived or the socket stalls; return their number."""
        # Use the kernel's time limit; Python's needs two system calls per read.
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
        """Run the model on windows in batches, at a rate; return the number of windows.

        Args:
            windows: Smallest number of windows.
            batch: Windows in one call.
            rate: Windows per second; None: without pauses.
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
