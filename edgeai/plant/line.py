"""The line: machines, their controllers, and the commands that inject faults.

The caller supplies the time and transfers the messages.
"""

import json
import zlib
from collections.abc import Callable, Iterable, Mapping

from edgeai.messages import SECOND_NS
from edgeai.plant.agitator import Agitator
from edgeai.plant.controllers import (
    Controller,
    Publication,
    RowController,
    TagController,
)
from edgeai.plant.faults import Schedule, ScheduledFault, spontaneous_faults
from edgeai.plant.machine import Machine
from edgeai.plant.moulding import Moulding
from edgeai.plant.tank import Tank

MACHINES: Mapping[str, Callable[[int], Machine]] = {
    "moulding": Moulding,
    "agitator": Agitator,
    "tank": Tank,
}
"""Machines by name; each is created with a seed."""

TAGGED = frozenset({"tank"})
"""Machines whose controller publishes tag by tag."""

ASSETS: Mapping[str, str] = {
    "moulding-1": "moulding",
    "moulding-2": "moulding",
    "agitator-1": "agitator",
    "agitator-2": "agitator",
    "tank-1": "tank",
}
"""The default line: asset -> machine name."""

MAX_COMMAND_BYTES = 4096
MAX_ECHO = 80  # characters of a bad command that the reply repeats


def make_machine(name: str, seed: int) -> Machine:
    """Create a machine by name.

    Raises:
        ValueError: If there is no such machine.
    """
    if name not in MACHINES:
        msg = f"unknown machine {name!r}; choose from {', '.join(sorted(MACHINES))}"
        raise ValueError(msg)
    return MACHINES[name](seed)


def make_controller(name: str, asset: str, machine: Machine) -> Controller:
    """Create the controller of the machine `name`, which publishes under the asset's topic."""
    if name in TAGGED:
        return TagController(asset, machine.signals, period_ns(machine))
    return RowController(asset, machine.signals)


def asset_seed(seed: int, asset: str) -> int:
    """Return the seed of one asset's machine; `simulate` with this seed gives the same values."""
    return zlib.crc32(f"{seed}/{asset}".encode())


def period_ns(machine: Machine) -> int:
    """Return the sample period of a machine, ns."""
    return round(SECOND_NS / machine.rate_hz)


class Line:
    """Machines with their controllers, advanced by the caller.

    The samples of an asset are at multiples of its period since the epoch, whenever `step` is
    called. If a call comes more than `max_lag_seconds` late, the samples before the newest one are
    skipped and counted.

    Args:
        assets: Machine names by asset; None: ASSETS. The asset's name is one level of the topic.
        seed: Random seed; the values of an asset do not depend on the other assets.
        spontaneous: Whether faults start at random times.
        mean_gap_seconds: Mean healthy time of an asset between two random faults.
        max_lag_seconds: Longest delay after which no sample is skipped.

    Attributes:
        skipped_samples: Number of samples skipped because a call came late.
        clock_jumps: How often the caller's clock went back by more than max_lag_seconds.

    Raises:
        ValueError: If a machine is unknown or an asset's name does not fit one topic level.
    """

    def __init__(
        self,
        assets: Mapping[str, str] | None = None,
        *,
        seed: int = 0,
        spontaneous: bool = False,
        mean_gap_seconds: float = 120.0,
        max_lag_seconds: float = 2.0,
    ) -> None:
        self._max_lag_ns = round(max_lag_seconds * SECOND_NS)
        self.skipped_samples = 0
        self.clock_jumps = 0
        self._assets: dict[str, _Asset] = {}
        for asset, name in (ASSETS if assets is None else assets).items():
            if not asset or set(asset) & set("/+#\0"):
                msg = f"asset name {asset!r} must be one topic level without wildcards"
                raise ValueError(msg)
            own_seed = asset_seed(seed, asset)
            machine = make_machine(name, own_seed)
            events: Iterable[ScheduledFault] = ()
            if spontaneous:
                names = sorted(machine.faults)
                events = spontaneous_faults(names, own_seed, mean_gap_seconds=mean_gap_seconds)
            controller = make_controller(name, asset, machine)
            self._assets[asset] = _Asset(asset, machine, controller, Schedule(events))

    @property
    def command_filters(self) -> list[str]:
        """Topics to subscribe to; pass their messages to `handle`."""
        return [f"factory/{asset}/command" for asset in self._assets]

    @property
    def active_faults(self) -> dict[str, dict[str, float]]:
        """Severity of each active fault, by asset."""
        return {name: asset.machine.active_faults for name, asset in self._assets.items()}

    def step(self, now_ns: int) -> list[Publication]:
        """Return the messages due up to now, in order of time.

        Args:
            now_ns: The caller's clock, ns since the epoch. The first call sets the first sample.
        """
        due: list[tuple[int, Publication]] = []
        for asset in self._assets.values():
            skipped, jumped = asset.catch_up(now_ns, self._max_lag_ns)
            self.skipped_samples += skipped
            self.clock_jumps += jumped
            due.extend(asset.sample(now_ns))
        due.sort(key=lambda timed: timed[0])  # stable: assets keep their order at equal times
        return [publication for _, publication in due]

    def handle(self, topic: str, payload: bytes) -> list[Publication]:
        """Execute a command; never raises.

        Args:
            topic: Topic of the message; anything but an asset's command topic is ignored.
            payload: {"fault": name, "severity": 0 to 1, default 1} or {"clear": name or "all"}.

        Returns:
            The asset's state with the result of the command; empty for another topic.
        """
        parts = topic.split("/")
        if len(parts) != 3 or parts[0] != "factory" or parts[2] != "command":
            return []
        asset = self._assets.get(parts[1])
        return [] if asset is None else [asset.command(payload)]


class _Asset:
    """One machine with its controller, its next sample and its state topic."""

    def __init__(
        self, name: str, machine: Machine, controller: Controller, schedule: Schedule
    ) -> None:
        self.machine = machine
        self._name = name
        self._controller = controller
        self._schedule = schedule
        self._period_ns = period_ns(machine)
        self._next: int | None = None  # time of the next sample in periods since the epoch
        self._samples = 0

    def catch_up(self, now_ns: int, max_lag_ns: int) -> tuple[int, int]:
        """Move the next sample if the clock jumped; return (samples skipped, jumps back)."""
        newest = now_ns // self._period_ns
        if self._next is None:
            self._next = newest
            return 0, 0
        behind_ns = now_ns - self._next * self._period_ns
        if behind_ns > max_lag_ns:
            skipped, self._next = newest - self._next, newest
            return skipped, 0
        if behind_ns < -max_lag_ns - self._period_ns:
            self._next = newest
            return 0, 1
        return 0, 0

    def sample(self, now_ns: int) -> list[tuple[int, Publication]]:
        """Return the messages of all samples up to now, with their times."""
        due: list[tuple[int, Publication]] = []
        while self._next is not None and self._next * self._period_ns <= now_ns:
            time_ns = self._next * self._period_ns
            if self._samples == 0:
                due.append((time_ns, self._state("started")))
            seconds = self._samples * self._period_ns / SECOND_NS
            changes = self._schedule.apply(self.machine, seconds)
            if changes:
                due.append((time_ns, self._state("; ".join(changes))))
            readings = self.machine.step()
            due.extend((time_ns, p) for p in self._controller.publish(time_ns, readings))
            self._next += 1
            self._samples += 1
        return due

    def command(self, payload: bytes) -> Publication:
        """Execute a command and return the state."""
        try:
            message = self._execute(_parse_command(payload))
        except ValueError as error:
            message = f"refused: {error}"
        return self._state(message)

    def _execute(self, command: dict[str, object]) -> str:
        if "clear" in command:
            name = command["clear"]
            if not isinstance(name, str) or set(command) != {"clear"}:
                msg = 'a clear command is {"clear": "<fault>"} or {"clear": "all"}'
                raise ValueError(msg)
            self.machine.clear(None if name == "all" else _shorten(name))
            return f"cleared {name}"
        name, severity = command.get("fault"), command.get("severity", 1.0)
        if not isinstance(name, str) or not set(command) <= {"fault", "severity"}:
            msg = 'a command is {"fault": "<fault>", "severity": 1.0} or {"clear": "<fault>"}'
            raise ValueError(msg)
        # Compare before any conversion: a huge integer cannot become a float or text.
        if (
            isinstance(severity, bool)
            or not isinstance(severity, int | float)
            or not 0 < severity <= 1
        ):
            msg = "severity must be a number in (0, 1]"
            raise ValueError(msg)
        self.machine.inject(_shorten(name), float(severity))
        return f"injected {name} at severity {severity:g}"

    def _state(self, message: str) -> Publication:
        state = {
            "asset": self._name,
            "active_faults": self.machine.active_faults,
            "message": message,
            "simulated": True,
        }
        return Publication(f"factory/{self._name}/state", json.dumps(state).encode(), retain=True)


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_ECHO else text[:MAX_ECHO] + "..."


def _parse_command(payload: bytes) -> dict[str, object]:
    if len(payload) > MAX_COMMAND_BYTES:
        msg = f"a command has at most {MAX_COMMAND_BYTES} bytes, got {len(payload)}"
        raise ValueError(msg)
    try:
        command = json.loads(payload)
    except (ValueError, RecursionError) as error:
        msg = f"not JSON: {_shorten(str(error))}"
        raise ValueError(msg) from error
    if not isinstance(command, dict):
        msg = "a command is a JSON object"
        raise ValueError(msg)  # noqa: TRY004 - every bad command raises the same error
    return command
