"""The interface of every simulated machine."""

from collections.abc import Mapping
from typing import Protocol

from edgeai.plant.faults import Fault
from edgeai.plant.signals import FloatArray, Signal


class Machine(Protocol):
    """A simulated machine. The seed given to its constructor determines every value."""

    @property
    def signals(self) -> tuple[Signal, ...]:
        """The measured variables, in the order of the values."""

    @property
    def rate_hz(self) -> float:
        """Samples per second of simulated time."""

    @property
    def faults(self) -> Mapping[str, Fault]:
        """The faults that can be injected, by name."""

    @property
    def active_faults(self) -> dict[str, float]:
        """Severity of each active fault, by name."""

    def step(self) -> FloatArray:
        """Advance one sample period and return the readings, (C,) float64, engineering units."""

    def inject(self, fault: str, severity: float = 1.0) -> None:
        """Start a fault. Raises ValueError if it is unknown or the severity is not in (0, 1]."""

    def clear(self, fault: str | None) -> None:
        """End a fault, or all of them (None). Raises ValueError if it is unknown."""
