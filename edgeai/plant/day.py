"""A working day of the injection moulding machine: cold start, set-up, two products, stops, night.

The controller says by the signal `operating_mode` what the machine does, as a PLC does. Short stops
within production (a robot waits, a door is open) keep the mode of production: they show by the
phase alone. At night the controller is off and publishes nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edgeai.messages import SECOND_NS
from edgeai.plant.controllers import Publication, RowController
from edgeai.plant.faults import ScheduledFault
from edgeai.plant.injection import MELT_DEGC
from edgeai.plant.moulding import FAULTS, RATE_HZ, SIGNALS, Moulding
from edgeai.plant.signals import FloatArray, Signal

OFF, HEATING, SET_UP, PRODUCT_A, PRODUCT_B, STOPPED = range(6)
MODES = {
    OFF: "off", HEATING: "heating up", SET_UP: "set-up", PRODUCT_A: "producing A",
    PRODUCT_B: "producing B", STOPPED: "stopped",
}  # fmt: skip
PRODUCTION = (PRODUCT_A, PRODUCT_B)
DAY_SIGNALS = (*SIGNALS, Signal("operating_mode", "1", 0, 5, "of the controller", 0.0, 1.0))

HALL_DEGC = 24.0
LAST_CYCLE_SECONDS = 10.0
HEATING_SHARE = 0.25
"""Time constant of the barrel's heating, as a share of the time that it is given."""
B_PACK_SHARE, B_COOL_SECONDS = 1.06, 0.25
SHORT_STOP_SECONDS = (4.0, 25.0)
FAULT_SECONDS = 90.0
CALM_SECONDS = 240.0
"""After the start of a production and after a fault, so long no other fault begins."""
SET_UP_PACK, SET_UP_COOL_SECONDS = (0.7, 1.3), (-0.5, 1.5)
"""Ranges of what the setter tries."""
TRIAL_SECONDS = 45.0
"""Time between two trials of the setter."""
_FULL_DAY: Sequence[tuple[int, float]] = (
    (HEATING, 40), (SET_UP, 15), (PRODUCT_A, 230), (STOPPED, 5), (PRODUCT_A, 160), (SET_UP, 20),
    (PRODUCT_B, 240), (STOPPED, 5), (PRODUCT_B, 180), (STOPPED, 10),
)  # fmt: skip
"""Mode and minutes, from the morning on; then it is night until 24 h are over."""
_SHORT_DAY: Sequence[tuple[int, float]] = (
    (HEATING, 6), (SET_UP, 3), (PRODUCT_A, 18), (STOPPED, 5), (PRODUCT_A, 18), (SET_UP, 4),
    (PRODUCT_B, 18), (STOPPED, 5), (PRODUCT_B, 18), (STOPPED, 2),
)  # fmt: skip


class Part(NamedTuple):
    """A part of a day in one mode."""

    mode: int
    start_seconds: float
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Day:
    """What happens in one day, all drawn beforehand. Times in seconds since its start."""

    parts: Sequence[Part]
    short_stops: Sequence[tuple[float, float]]
    """Start and length."""
    faults: Sequence[ScheduledFault]

    @property
    def seconds(self) -> float:
        """Time until the controller is switched off."""
        return self.parts[-1].start_seconds + self.parts[-1].seconds


def plan_day(seed: int, *, short: bool = False, short_stop_gap_seconds: float = 600.0) -> Day:
    """Draw a day: every fault once in each product, and short stops between them.

    Args:
        seed: Determines everything.
        short: Whether the parts are minutes long instead of hours, for tests. Stops, heating and
            faults are as long as the machine needs.
        short_stop_gap_seconds: Mean time between two short stops.
    """
    rng = np.random.default_rng(seed)
    parts: list[Part] = []
    start = 0.0
    for mode, minutes in _SHORT_DAY if short else _FULL_DAY:
        parts.append(Part(mode, start, 60.0 * minutes))
        start += 60.0 * minutes
    faults: list[ScheduledFault] = []
    for product in PRODUCTION:
        names = list(rng.permutation(sorted(FAULTS)))
        mine = [part for part in parts if part.mode == product]
        share = -(-len(names) // len(mine))
        for index, part in enumerate(mine):
            faults += _faults_in(part, names[index * share : (index + 1) * share], rng)
    stops: list[tuple[float, float]] = []
    for part in parts:
        if part.mode in PRODUCTION:
            stops += _stops_in(part, faults, rng, short_stop_gap_seconds)
    return Day(parts, stops, faults)


def _faults_in(
    part: Part, names: Sequence[str], rng: np.random.Generator
) -> Iterator[ScheduledFault]:
    """Yield faults in slots of equal length, each somewhere in its slot."""
    slot = (part.seconds - CALM_SECONDS) / len(names)
    for index, name in enumerate(names):
        begin = part.start_seconds + CALM_SECONDS + index * slot
        free = max(0.0, slot - FAULT_SECONDS - min(CALM_SECONDS, slot / 3))
        yield ScheduledFault(begin + rng.uniform(0.0, free), FAULT_SECONDS, str(name))


def _stops_in(
    part: Part, faults: Sequence[ScheduledFault], rng: np.random.Generator, gap_seconds: float
) -> Iterator[tuple[float, float]]:
    """Yield short stops that touch no fault."""
    at = part.start_seconds + rng.exponential(gap_seconds)
    while at < part.start_seconds + part.seconds - 2 * SHORT_STOP_SECONDS[1]:
        length = rng.uniform(*SHORT_STOP_SECONDS)
        if all(
            at + length < fault.start_seconds - SHORT_STOP_SECONDS[1]
            or at > fault.start_seconds + fault.duration_seconds
            for fault in faults
        ):
            yield at, length
        at += length + rng.exponential(gap_seconds)


class DayMachine:
    """The machine in the course of one day; `readings` gives all samples until it is switched off.

    Args:
        day: What happens.
        seed: Of the machine: noise, disturbances, set-points.
    """

    def __init__(self, day: Day, seed: int) -> None:
        self.day = day
        self._machine = Moulding(seed)
        self._trials = np.random.default_rng(seed).spawn(5)[4]
        self._machine.operate(is_held=True)
        for _ in range(round(LAST_CYCLE_SECONDS * RATE_HZ)):  # the cycle that runs, before the day
            self._machine.step()
        self._barrel_k = HALL_DEGC - MELT_DEGC

    def readings(self) -> Iterator[tuple[float, FloatArray]]:
        """Yield the time of each sample in seconds, and the readings (14,) of `DAY_SIGNALS`."""
        period = 1.0 / RATE_HZ
        stops, faults = list(self.day.short_stops), list(self.day.faults)
        pack_share, cool_seconds = 1.0, 0.0
        running: ScheduledFault | None = None
        row = np.empty(len(DAY_SIGNALS))
        for part in self.day.parts:
            for index in range(round(part.seconds * RATE_HZ)):
                at = part.start_seconds + index * period
                if running is not None and at >= running.start_seconds + running.duration_seconds:
                    self._machine.clear(running.name)
                    running = None
                if faults and at >= faults[0].start_seconds:
                    running = faults.pop(0)
                    self._machine.inject(running.name, running.severity)
                while stops and at >= sum(stops[0]):
                    stops.pop(0)
                is_short_stop = bool(stops) and at >= stops[0][0]
                self._heat(part, period)
                if part.mode == SET_UP and index % round(TRIAL_SECONDS * RATE_HZ) == 0:
                    pack_share = self._trials.uniform(*SET_UP_PACK)
                    cool_seconds = self._trials.uniform(*SET_UP_COOL_SECONDS)
                elif part.mode == PRODUCT_A:
                    pack_share, cool_seconds = 1.0, 0.0
                elif part.mode == PRODUCT_B:
                    pack_share, cool_seconds = B_PACK_SHARE, B_COOL_SECONDS
                self._machine.operate(
                    is_held=part.mode in {HEATING, STOPPED, OFF} or is_short_stop,
                    pack_share=pack_share,
                    cool_seconds=cool_seconds,
                    barrel_k=self._barrel_k,
                )
                row[:-1], row[-1] = self._machine.step(), part.mode
                yield at, row

    def _heat(self, part: Part, period: float) -> None:
        """Let the barrel heat up or stay warm."""
        tau = HEATING_SHARE * part.seconds if part.mode == HEATING else 60.0
        self._barrel_k += (0.0 - self._barrel_k) * period / tau


def day_messages(
    day: Day, seed: int, *, start_ns: int, asset: str = "moulding-1"
) -> Iterator[tuple[int, Publication]]:
    """Yield the time of each message of the controller, ns since 1970, and the message.

    Args:
        day: What happens.
        seed: Of the machine.
        start_ns: Start of the day, rounded up to a sample.
        asset: Name of the machine in the topic.
    """
    period_ns = round(SECOND_NS / RATE_HZ)
    controller = RowController(asset, DAY_SIGNALS)
    time_ns = -(-start_ns // period_ns) * period_ns
    for _, readings in DayMachine(day, seed).readings():
        for message in controller.publish(time_ns, readings):
            yield time_ns, message
        time_ns += period_ns
