"""The frames of B: blocks of 100 channels at 2 kHz with the header `edgeai1`, ten per second.

In this workload a sample is a whole frame, and a window is one frame: `length` and `hop` count
frames.
"""

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from benchmarks.wire import publish_packet
from benchmarks.workload import FIRST_TIME_MS, MS_NS, Workload

HEADER = struct.Struct("<4s4H3Iqd")
"""magic, version, dtype, channels, -, count, sequence, -, t0_ns, rate_hz (docs/config.md)."""
FLOAT32 = 4
SEQUENCE_AT, TIME_AT = 16, 24
CYCLE_FRAMES = 160
"""Distinct frames of all machines together; later only times and sequence numbers change."""
MIN_CYCLE = 4
CHANNELS = tuple(f"vibration-{index:03}" for index in range(100))


@dataclass(frozen=True)
class Frames(Workload):
    """Machines that publish frames. Each frame is one window."""

    machines: int = 10
    length: int = 1
    hop: int = 1
    layout: Literal["row", "tag", "frame"] = "frame"
    rate_hz: float = 10.0
    """Frames per second of each machine."""
    signals: tuple[str, ...] = CHANNELS
    rows: int = 200
    """Samples per channel in a frame and in a window."""
    sample_rate_hz: float = 2_000.0
    prefix: str = "bench"
    """First level of the topics."""
    model: Literal["spectral", "rms"] = "spectral"
    warm_up_rate: int = 200
    warm_up_samples: int = 4

    @property
    def topic_filter(self) -> str:
        """Topic filter that a system subscribes to."""
        return f"{self.prefix}/+/frame"

    @property
    def frames_per_second(self) -> float:
        """Frames per second of all machines together."""
        return self.machines * self.rate_hz

    @property
    def cycle(self) -> int:
        """Frames of a machine before its values repeat."""
        return max(MIN_CYCLE, CYCLE_FRAMES // self.machines)

    @cached_property
    def blocks(self) -> npt.NDArray[np.float32]:
        """(cycle, M, n, C): a tone with noise; frequency and amplitude differ between frames."""
        rng = np.random.default_rng(self.seed)
        shape = (self.cycle, self.machines, self.rows, len(self.signals))
        blocks: npt.NDArray[np.float32] = rng.standard_normal(shape, np.float32)
        time = np.arange(self.rows, dtype=np.float32)[:, None] / self.sample_rate_hz
        hertz = rng.uniform(20, 900, (*shape[:2], 1, 1)).astype(np.float32)
        size = rng.uniform(1, 10, (*shape[:2], 1, shape[3])).astype(np.float32)
        blocks += size * np.sin(2 * np.pi * hertz * time)
        return blocks

    @cached_property
    def first_time_ms(self) -> int:
        """Time of the first frame: windows end where frames end, whatever their times."""
        return FIRST_TIME_MS

    def sample_of(self, time_ns: int, phase: int = 0) -> int | None:
        """Return the frame whose last sample has this time, or None."""
        within = round((self.rows - 1) * 1e9 / self.sample_rate_hz)
        return super().sample_of(time_ns - within, phase)

    def windows(self, last_samples: list[int]) -> npt.NDArray[np.float32]:
        """Return the windows of these frames, (n * M, W, C), all machines of one frame together."""
        chosen: npt.NDArray[np.float32] = self.blocks[np.array(last_samples) % self.cycle]
        return chosen.reshape(-1, self.rows, len(self.signals))

    @cached_property
    def last_samples(self) -> list[int]:
        """One cycle of frames."""
        return list(range(self.cycle))

    def packets(self) -> "FramePackets":
        """Return the prebuilt bytes."""
        return FramePackets(self)


class FramePackets:
    """The prebuilt PUBLISH packets of one cycle; `block` writes times and sequence numbers."""

    samples_per_block = 1

    def __init__(self, load: Frames) -> None:
        self.load = load
        first = [_packet(load, 0, machine) for machine in range(load.machines)]
        self.ends = np.cumsum([len(packet) for packet in first])
        """(M,): end of each machine's frame."""
        payload_bytes = HEADER.size + FLOAT32 * load.rows * len(load.signals)
        self._headers = (self.ends - payload_bytes).tolist()
        self._cycle = [
            bytearray().join(_packet(load, sample, machine) for machine in range(load.machines))
            for sample in range(load.cycle)
        ]

    @property
    def sample_bytes(self) -> int:
        """Bytes of one frame from every machine."""
        return int(self.ends[-1])

    def block(self, first: int, count: int) -> memoryview:
        """Return the bytes of one frame from every machine; valid until the next call."""
        assert count == 1
        data = self._cycle[first % self.load.cycle]
        t0_ns = self.load.time_ms(first) * MS_NS
        for header in self._headers:
            struct.pack_into("<I", data, header + SEQUENCE_AT, first)
            struct.pack_into("<q", data, header + TIME_AT, t0_ns)
        return memoryview(data)


def _packet(load: Frames, sample: int, machine: int) -> bytes:
    block: npt.NDArray[Any] = load.blocks[sample, machine]
    head = HEADER.pack(
        b"EDG1", 1, FLOAT32, len(load.signals), 0, load.rows, 0, 0,
        FIRST_TIME_MS * MS_NS, load.sample_rate_hz,
    )  # fmt: skip
    topic = f"{load.prefix}/{load.assets[machine]}/frame"
    return publish_packet(topic, head + block.astype("<f4").tobytes(), load.qos)
