"""The messages of a benchmark and the predictions that they must produce.

Machines publish one after the other, sample by sample. Values repeat after some samples, so packets
are prebuilt, and only times and packet ids are written later. The time of a prediction identifies
its window, and so its expected score.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from benchmarks.wire import publish_packet

CYCLE = 256
BLOCK_MESSAGES = 2_000
FIRST_TIME_MS = 1_763_719_200_000
TIME_DIGITS = 13
MS_NS = 1_000_000
SIGNALS = (
    "temperature", "pressure", "flow", "speed", "torque", "current", "voltage", "vibration",
    "position", "humidity",
)  # fmt: skip
MARK = "1" * TIME_DIGITS  # placeholder for the time; no value looks like it


class Prebuilt(Protocol):
    """The prebuilt bytes of a workload."""

    ends: npt.NDArray[Any]
    """(m,): end of each message of a sample."""

    @property
    def samples_per_block(self) -> int:
        """Largest number of samples in one call of `block`."""

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample from every machine."""

    def block(self, first: int, count: int) -> memoryview:
        """Return the bytes of samples; valid until the next call."""


@dataclass(frozen=True)
class Workload:
    """Machines, their messages, and the windows of the model."""

    machines: int = 50
    length: int = 64
    hop: int = 16
    layout: Literal["row", "tag", "frame"] = "row"
    qos: int = 0
    rate_hz: float = 100.0
    """Rate of the times in the messages; messages may be sent at another rate."""
    signals: tuple[str, ...] = SIGNALS
    seed: int = 7
    warm_up_rate: int = 10_000
    """Messages per second."""
    warm_up_samples: int = 64
    models: int = 1
    """Number of pipelines; each takes every message."""
    network: Literal["autoencoder", "distance"] = "autoencoder"
    hidden: tuple[int, ...] = (128, 32, 128)
    """Layers of the autoencoder."""
    staggered: bool = False
    """Whether windows of the machines are due one after the other: machine m is m % hop samples
    ahead, sends these samples before the first common one, and its clock is as much ahead."""
    distinct_samples: int = CYCLE
    """Samples of a machine before its values repeat; a multiple of the hop."""

    @property
    def pipelines(self) -> list[str]:
        """The names of the pipelines."""
        return ["bench", *(f"bench-{number}" for number in range(2, self.models + 1))]

    @property
    def period_ms(self) -> int:
        """Time between two samples of a machine, ms."""
        return round(1000 / self.rate_hz)

    @property
    def messages_per_sample(self) -> int:
        """Messages of one sample from every machine."""
        return self.machines * (len(self.signals) if self.layout == "tag" else 1)

    @property
    def lead(self) -> int:
        """Number of later samples needed to release a sample; a held one waits for the next."""
        return 1 if self.layout == "tag" else 0

    @property
    def topic_filter(self) -> str:
        """Topic filter that a system subscribes to."""
        return f"bench/+/{'+' if self.layout == 'tag' else 'row'}"

    @cached_property
    def assets(self) -> list[str]:
        """The names of the machines, all of the same length."""
        digits = len(str(self.machines - 1))
        return [f"machine-{index:0{digits}}" for index in range(self.machines)]

    @cached_property
    def values(self) -> npt.NDArray[np.float64]:
        """(samples, M, C), each with three digits before and after the decimal point."""
        rng = np.random.default_rng(self.seed)
        shape = (self.distinct_samples, self.machines, len(self.signals))
        values: npt.NDArray[np.float64] = np.round(rng.normal(500, 50, shape).clip(101, 899), 3)
        return values

    @cached_property
    def first_time_ms(self) -> int:
        """Time of the first common sample.

        The last sample of the first window has a time at which windows end (multiples of the hop
        since 1970).
        """
        hop_ms = self.hop * self.period_ms
        return -(-FIRST_TIME_MS // hop_ms) * hop_ms - (self.length - 1) * self.period_ms

    def time_ms(self, sample: int) -> int:
        """Return the time of a sample of a machine that is not ahead."""
        return self.first_time_ms + sample * self.period_ms

    def sample_of(self, time_ns: int, phase: int = 0) -> int | None:
        """Return the sample with this time, or None; `phase` as for `windows_due`."""
        index, rest = divmod(time_ns - self.first_time_ms * MS_NS, self.period_ms * MS_NS)
        return None if rest or index < 0 else index - phase

    @cached_property
    def phases(self) -> npt.NDArray[np.int64]:
        """(M,): number of samples by which each machine is ahead."""
        return np.arange(self.machines) % (self.hop if self.staggered else 1)

    def windows_due(self, first: int, count: int, phase: int = 0) -> list[int]:
        """Return the last samples of the windows due for `count` samples from `first` on.

        Args:
            first: The first sample.
            count: Number of samples.
            phase: Number of samples by which the machine is ahead.
        """
        low, high = max(0, first - self.lead), first + count - self.lead
        start = self.length - 1 - phase
        missing = max(0, low - start)
        start += -(-missing // self.hop) * self.hop
        return list(range(start, high, self.hop))

    def windows(self, last_samples: list[int]) -> npt.NDArray[np.float32]:
        """Return the windows that end at these samples, (n * M, W, C).

        Windows of a machine that is ahead end correspondingly earlier.
        """
        offsets = np.arange(-self.length + 1, 1)
        ends = np.array(last_samples)[:, None] - self.phases  # (n, M)
        rows = (ends[:, :, None] + offsets) % self.distinct_samples  # (n, M, W)
        values = self.values.astype(np.float32)
        windows = values[rows, np.arange(self.machines)[:, None]]  # (n, M, W, C)
        return windows.reshape(-1, self.length, len(self.signals))

    @cached_property
    def last_samples(self) -> list[int]:
        """The last samples of the distinct windows of one cycle."""
        cycle = self.distinct_samples
        return self.windows_due(self.length - 1, cycle)[: cycle // self.hop]

    def packets(self) -> "Prebuilt":
        """Return the prebuilt bytes."""
        return Packets(self)


def _packets(load: Workload, sample: int) -> list[bytes]:
    """Encode the messages of one sample of the cycle, with MARK in place of times."""
    packets = []
    for machine, asset in enumerate(load.assets):
        values = load.values[sample, machine]
        if load.layout == "tag":
            for name, value in zip(load.signals, values, strict=True):
                payload = f'{{"t":{MARK},"v":{value:.3f}}}'
                packets.append(publish_packet(f"bench/{asset}/{name}", payload.encode(), load.qos))
        else:
            pairs = ",".join(
                f'"{name}":{value:.3f}' for name, value in zip(load.signals, values, strict=True)
            )
            payload = f'{{"timestamp":{MARK},"values":{{{pairs}}}}}'
            packets.append(publish_packet(f"bench/{asset}/row", payload.encode(), load.qos))
    return packets


class Packets:
    """The prebuilt bytes of one cycle; all samples have the same length and positions of times."""

    def __init__(self, load: Workload) -> None:
        self.load = load
        first = _packets(load, 0)
        self.ends = np.cumsum([len(packet) for packet in first])
        """(m,): end of each message of a sample."""
        starts = self.ends - [len(packet) for packet in first]
        self._times = starts + [packet.index(MARK.encode()) for packet in first]
        self._cycle = np.frombuffer(
            b"".join(b"".join(_packets(load, sample)) for sample in range(load.distinct_samples)),
            np.uint8,
        ).reshape(load.distinct_samples, -1)
        self._ids: npt.NDArray[Any] | None = None
        if load.qos:
            payload = [packet.index(b"{") for packet in first]
            self._ids = starts + payload - 2

    @property
    def samples_per_block(self) -> int:
        """Largest number of samples in one call of `block`."""
        return max(1, BLOCK_MESSAGES // len(self.ends))

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample from every machine."""
        return int(self.ends[-1])

    def ahead(self) -> bytes:
        """Return the bytes of the samples before the first common one."""
        load = self.load
        starts = [0, *self.ends[:-1].tolist()]
        parts = []
        for sample in range(-int(load.phases.max()), 0):
            block = self.block(sample, 1)
            machines = np.flatnonzero(load.phases >= -sample).tolist()
            parts += [bytes(block[starts[one] : self.ends[one]]) for one in machines]
        return b"".join(parts)

    def block(self, first: int, count: int) -> memoryview:
        """Return the bytes of samples, with their times and packet ids."""
        load = self.load
        samples = np.arange(first, first + count)
        block = self._cycle[samples % load.distinct_samples]
        ahead = np.repeat(load.phases, len(self.ends) // load.machines)
        times = load.first_time_ms + (samples[:, None] + ahead) * load.period_ms
        for digit in range(TIME_DIGITS):
            column = (times // 10 ** (TIME_DIGITS - 1 - digit) % 10 + ord("0")).astype(np.uint8)
            block[:, self._times + digit] = column
        if self._ids is not None:
            number = samples[:, None] * len(self._ids) + np.arange(len(self._ids))
            packet_ids = number % 65_535 + 1
            block[:, self._ids] = (packet_ids >> 8).astype(np.uint8)
            block[:, self._ids + 1] = (packet_ids & 0xFF).astype(np.uint8)
        return block.data.cast("B")
