"""Controllers that publish a machine's readings: rows of all signals, or single tags on change."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edgeai.messages import SECOND_NS
from edgeai.plant.signals import FloatArray, Signal

MILLISECOND_NS = 1_000_000

DEADBAND_NOISES = 2.0  # deadband of a tag in standard deviations of its noise
MAX_SILENCE_NS = SECOND_NS  # an unchanged tag is published again after this time
TAG_SCAN_NS = {
    "degC": 500_000_000,
    "mm": 200_000_000,
    "%": 200_000_000,
    "A": 100_000_000,
    "kW": 100_000_000,
}
"""Scan period of `TagController` by unit; other units are scanned every second."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One message to publish: topic, payload, retained or not."""

    topic: str
    payload: bytes
    retain: bool = False


class Controller(Protocol):
    """Converts a machine's readings to messages."""

    def publish(self, time_ns: int, readings: FloatArray) -> list[Publication]:
        """Return the messages due for the readings (C,) at time_ns, ns since the epoch."""


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
        """Return one message with all readings."""
        pairs = zip(self._fields, readings.tolist(), strict=True)
        values = {name: round(value, decimals) for (name, decimals), value in pairs}
        row = {"timestamp": time_ns // MILLISECOND_NS, "values": values}
        return [Publication(self._topic, _encode(row))]


class TagController:
    """An old controller that publishes tag by tag.

    Topic `factory/<asset>/tags/<signal>`, payload {"t": <seconds>, "v": number, "q": "good"}. Each
    tag is scanned at its own rate, and published if it has left its deadband or was not published
    for a second. The scans of the tags are staggered.

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
        """Return the messages of the tags that are due; the first call publishes every tag."""
        sample = time_ns // self._period_ns
        due: list[Publication] = []
        for index, reading in enumerate(readings.tolist()):
            # Compare rounded values, so that a float32 recording gives the same messages.
            value = round(reading, self._decimals[index])
            last = self._last[index]
            if last is not None:
                if (sample + index) % self._every[index]:
                    continue
                # The tag may wait only if the next scan comes before the longest silence ends.
                next_ns = time_ns + self._every[index] * self._period_ns
                may_wait = next_ns - last[0] <= MAX_SILENCE_NS
                if may_wait and abs(value - last[1]) < self._deadbands[index]:
                    continue
            self._last[index] = (time_ns, value)
            tag = {"t": time_ns / SECOND_NS, "v": value, "q": "good"}
            due.append(Publication(self._topics[index], _encode(tag)))
        return due


def _encode(payload: dict[str, object]) -> bytes:
    return json.dumps(payload, separators=(",", ":")).encode()
