"""Send the load: prebuilt PUBLISH packets on a bare socket, paced or at full speed."""

import contextlib
import ctypes
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.wire import open_client
from benchmarks.workload import Packets, Workload

MAX_SEND_MESSAGES = 512
TICK_SECONDS = 0.0002
"""Above 5,000 messages/s, all messages that are due in a tick are sent together."""
MAX_UNACKNOWLEDGED = 20_000
PUBACK_BYTES = 4
ACK_SECONDS = 10.0
PR_SET_TIMERSLACK = 29


@dataclass(frozen=True)
class Sent:
    """The messages that were sent; times of the monotonic clock."""

    messages: int
    first_ns: int
    last_ns: int
    late_seconds: float
    """Delay of the last message against its schedule; positive if the broker is too slow."""
    times_ns: npt.NDArray[np.int64] | None
    """(messages,): time just before each message was written, if recorded."""


class Generator:
    """Publishes for all machines on one connection."""

    def __init__(self, port: int, load: Workload, client_id: str = "bench-generator") -> None:
        self._packets = load.packets()
        self._qos = load.qos
        self._sock = open_client(port, client_id)
        self._unacknowledged = 0
        self._ack_bytes = 0
        with contextlib.suppress(OSError, AttributeError):  # Linux: sleep with a resolution of 1 us
            ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0)

    def send(self, first: int, samples: int, rate: float | None, record: bool) -> Sent:
        """Send samples of all machines.

        Args:
            first: The first sample.
            samples: Number of samples of each machine.
            rate: Messages per second, evenly spread; None: full speed.
            record: Record the time of each message.
        """
        packets = self._packets
        per_sample = len(packets.ends)
        total = samples * per_sample
        times = np.zeros(total, np.int64) if record else None
        block_samples = packets.samples_per_block
        started = now = time.monotonic_ns()
        done = 0
        for start in range(0, samples, block_samples):
            count = min(block_samples, samples - start)
            data = packets.block(first + start, count)
            base = start * per_sample
            end = base + count * per_sample
            while done < end:
                now = time.monotonic_ns()
                due = end
                if rate is not None:
                    due = min(end, int((now - started) * rate / 1e9) + 1)
                    if due <= done:
                        time.sleep(max(done / rate - (now - started) / 1e9, TICK_SECONDS))
                        continue
                due = min(due, done + MAX_SEND_MESSAGES)
                if times is not None:
                    times[done:due] = time.monotonic_ns()
                self._sock.sendall(data[self._offset(done - base) : self._offset(due - base)])
                if self._qos:
                    self._unacknowledged += due - done
                    self._take_acks(MAX_UNACKNOWLEDGED)
                done = due
        last = time.monotonic_ns()
        if self._qos:
            self._take_acks(0)
        late = 0.0 if rate is None else (last - started) / 1e9 - (total - 1) / rate
        return Sent(total, started, last, max(0.0, late), times)

    def send_ahead(self) -> None:
        """Send the samples before the first common one (staggered workloads); row layout, QoS 0."""
        assert isinstance(self._packets, Packets)
        self._sock.sendall(self._packets.ahead())

    def _offset(self, message: int) -> int:
        """Return the start of a message within the block."""
        sample, rest = divmod(message, len(self._packets.ends))
        before = int(self._packets.ends[rest - 1]) if rest else 0
        return sample * self._packets.sample_bytes + before

    def _take_acks(self, allowed: int) -> None:
        """Count PUBACKs; wait while more than `allowed` messages are unacknowledged."""
        deadline = time.monotonic() + ACK_SECONDS
        while self._unacknowledged:
            self._sock.settimeout(0.01 if self._unacknowledged > allowed else 0)
            try:
                data = self._sock.recv(65_536)
            except (BlockingIOError, TimeoutError):
                if self._unacknowledged <= allowed:
                    break
                if time.monotonic() > deadline:
                    raise TimeoutError("the broker does not acknowledge") from None
                continue
            if not data:
                raise ConnectionError("the broker closed the connection")
            whole, self._ack_bytes = divmod(self._ack_bytes + len(data), PUBACK_BYTES)
            self._unacknowledged -= whole
        self._sock.settimeout(None)
