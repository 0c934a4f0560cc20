"""What line controllers put on the wire: rows of all signals, or single tags on change."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edgeai.plant.signals import FloatArray, Signal

NS_PER_SECOND = 1_000_000_000
NS_PER_MS = 1_000_000

DEADBAND_NOISES = 2.0
"""A tag's deadband, in deviations of its sensor's noise: noise alone seldom passes it."""
MAX_SILENCE_NS = NS_PER_SECOND
"""A tag that does not change is published again after this time."""
TAG_SCAN_NS = {
    "degC": 500_000_000,
    "mm": 200_000_000,
    "%": 200_000_000,
    "A": 100_000_000,
    "kW": 100_000_000,
}
"""Scan period of the old controller by unit; units not listed are scanned every second."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One message to publish: topic, payload, retained or not."""

    topic: str
    payload: bytes
    retain: bool = False


class Controller(Protocol):
    """Turns a machine's readings into messages."""

    def publish(self, time_ns: int, readings: FloatArray) -> list[Publication]:
        """Messages due for the readings (C,) taken at time_ns, ns since the epoch."""


class RowController:
    """A controller that publishes every sample as one row.

    Topic `factory/<asset>/sensors`, payload {"timestamp": <ms>, "values": {"<signal>": number}}.

    Args:
        asset: Name of the asset in the topic.
        signals: Signals of the machine, in the order of the readings.
    """

    def __init__(self, asset: str, signals: Sequence[Signal]) -> None:
        self._topic = f"factory/{asset}/sensors"
        self._fields = [(signal.name, signal.decimals) for signal in signals]

    def publish(self, time_ns: int, readings: FloatArray) -> list[Publication]:
        """One message per call."""
        pairs = zip(self._fields, readings.tolist(), strict=True)
        values = {name: round(value, decimals) for (name, decimals), value in pairs}
        row = {"timestamp": time_ns // NS_PER_MS, "values": values}
        return [Publication(self._topic, _encode(row))]


class TagController:
    """An old controller that publishes tag by tag.

    Topic `factory/<asset>/tags/<signal>`, payload {"t": <seconds>, "v": number, "q": "good"}. Each
    tag is scanned at its own rate and published when it has left its deadband or been silent for a
    second. The tags' scans are staggered, so their times differ.

    Args:
        asset: Name of the asset in the topic.
        signals: Signals of the machine, in the order of the readings.
        period_ns: Sample period of the machine; scans fall on samples.
    """

    def __init__(self, asset: str, signals: Sequence[Signal], period_ns: int) -> None:
        self._topics = [f"factory/{asset}/tags/{signal.name}" for signal in signals]
        self._decimals = [signal.decimals for signal in signals]
        self._deadbands = [
            max(DEADBAND_NOISES * signal.noise, signal.resolution) for signal in signals
        ]
        scans = [TAG_SCAN_NS.get(signal.unit, MAX_SILENCE_NS) for signal in signals]
        self._every = [max(1, scan // period_ns) for scan in scans]
        self._period_ns = period_ns
        self._last: list[tuple[int, float] | None] = [None] * len(signals)

    def publish(self, time_ns: int, readings: FloatArray) -> list[Publication]:
        """Messages of the tags that are due; the first call publishes every tag."""
        sample = time_ns // self._period_ns
        due: list[Publication] = []
        for index, reading in enumerate(readings.tolist()):
            # Decided on the value as published, so that a recording in float32 decides the same.
            value = round(reading, self._decimals[index])
            last = self._last[index]
            if last is not None:
                if (sample + index) % self._every[index]:
                    continue
                # The next scan would come too late if it exceeded the longest silence.
                next_ns = time_ns + self._every[index] * self._period_ns
                may_wait = next_ns - last[0] <= MAX_SILENCE_NS
                if may_wait and abs(value - last[1]) < self._deadbands[index]:
                    continue
            self._last[index] = (time_ns, value)
            tag = {"t": time_ns / NS_PER_SECOND, "v": value, "q": "good"}
            due.append(Publication(self._topics[index], _encode(tag)))
        return due


def _encode(payload: dict[str, object]) -> bytes:
    return json.dumps(payload, separators=(",", ":")).encode()
