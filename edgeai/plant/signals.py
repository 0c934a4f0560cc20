"""The signals of a machine, and sensors with noise and resolution."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_BLOCK_ROWS = 1024  # rows per draw; a draw per sample would cost more than the simulation


@dataclass(frozen=True, slots=True)
class Signal:
    """One measured variable.

    Attributes:
        name: Name in payloads and models, snake case.
        unit: Engineering unit; "1" for a dimensionless number.
        low: Lower end of the valid range, in `unit`. A live-zero transmitter reads slightly below
            zero, so the low end of a positive quantity may be a little negative.
        high: Upper end of the valid range, in `unit`.
        description: What is measured, and where.
        noise: Standard deviation of the sensor's noise, in `unit`.
        resolution: Step of the reading, in `unit`, a decimal such as 0.1 or 0.05.
    """

    name: str
    unit: str
    low: float
    high: float
    description: str
    noise: float = 0.0
    resolution: float = 0.01

    @property
    def decimals(self) -> int:
        """Decimal places that write every multiple of the resolution exactly."""
        text = f"{self.resolution:.9f}".rstrip("0")
        return len(text.partition(".")[2])


class Normals:
    """Rows of independent standard normal variates, drawn in blocks.

    Args:
        rng: Source of randomness; the caller must not use it afterwards.
        width: Variates per row.
    """

    def __init__(self, rng: np.random.Generator, width: int) -> None:
        self._rng = rng
        self._width = width
        self._block = rng.standard_normal((_BLOCK_ROWS, width))
        self._row = 0

    def next(self) -> FloatArray:
        """Return the next row, (width,) float64. It is a view of the block: copy it to keep it."""
        if self._row == _BLOCK_ROWS:
            self._block = self._rng.standard_normal((_BLOCK_ROWS, self._width))
            self._row = 0
        row: FloatArray = self._block[self._row]
        self._row += 1
        return row


class Sensors:
    """Turns true values into readings: adds white noise, then rounds to the resolution.

    Args:
        signals: The machine's signals, in the order of the values.
        rng: Source of the noise.
    """

    def __init__(self, signals: Sequence[Signal], rng: np.random.Generator) -> None:
        self._noise = np.array([signal.noise for signal in signals])
        self._resolution = np.array([signal.resolution for signal in signals])
        self._normals = Normals(rng, len(signals))

    def measure(self, truth: Sequence[float]) -> FloatArray:
        """Return the readings for the true values.

        Args:
            truth: (C,), each in its signal's unit.

        Returns:
            (C,) float64, each a multiple of its signal's resolution.
        """
        noisy = np.array(truth) + self._noise * self._normals.next()
        readings: FloatArray = np.rint(noisy / self._resolution) * self._resolution
        return readings
