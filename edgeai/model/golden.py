"""Compare a session's outputs of the golden windows with the expected ones.

The same comparison holds for the CPU session at start, for the proof of a candidate, for an
accelerator after a restart, and for the periodic known-answer test.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from edgeai.config.base import Precision
from edgeai.model.direction import Direction, is_abnormal
from edgeai.model.package import Package


@dataclass(frozen=True)
class Fault:
    """The rule that a session broke, and the value found."""

    rule: str
    value: Any

    def __str__(self) -> str:
        shown = f"{self.value:.6g}" if isinstance(self.value, float) else str(self.value)
        return f"{self.rule} (found {shown})"


@dataclass(frozen=True)
class Parity:
    """The distance of a session's outputs from the golden outputs."""

    error: float
    """Largest |a - b| of an output relative to the largest |b| of that output. Infinite for NaN."""
    tolerance_used: float
    """Largest |a - b| / (atol + rtol |b|). A value above 1 is refused."""
    flips: int
    """Number of windows whose score is on the other side of the threshold."""
    fault: Fault | None
    """The first broken rule, or None if the session reproduces the golden outputs."""


@dataclass(frozen=True)
class Golden:
    """Golden windows, expected outputs, tolerances and threshold."""

    windows: npt.NDArray[np.float32]
    """The golden windows with their context, as `edgeai.model.rows` says."""
    expected: dict[str, npt.NDArray[Any]]
    """The expected outputs by name, (N, ...)."""
    rtol: float
    atol: float
    score: str
    """Name of the output that holds the score."""
    threshold: float
    abnormal: Direction = "high"
    """The abnormal side of the threshold."""

    @classmethod
    def of(cls, package: Package, precision: Precision = "fp32") -> Self:
        """Read the golden windows of a package.

        Args:
            package: The model package.
            precision: Precision of the session, which decides the tolerance.

        Raises:
            ModelError: The file cannot be read, or its arrays do not match the manifest.
        """
        _, expected = package.golden()
        windows = package.golden_rows()
        manifest = package.manifest
        tolerance = manifest.tolerance.of(precision)
        return cls(
            windows,
            expected,
            tolerance.rtol,
            tolerance.atol,
            manifest.score,
            manifest.threshold.value,
            manifest.threshold.abnormal,
        )

    def compare(self, actual: Mapping[str, npt.NDArray[Any]]) -> Parity:
        """Compare a session's outputs of the golden windows with the expected ones.

        Args:
            actual: The outputs by name, (N, ...).
        """
        error = used = 0.0
        fault = None
        for name, values in actual.items():
            wanted = self.expected[name].astype(np.float64)
            if values.shape != wanted.shape:
                rule = f"golden output `{name}` must have the shape {wanted.shape}"
                return Parity(math.inf, math.inf, len(self.windows), Fault(rule, values.shape))
            distance = np.abs(values - wanted)
            distance = np.where(np.isfinite(distance), distance, np.inf)
            ratio = distance / (self.atol + self.rtol * np.abs(wanted))
            used = max(used, float(ratio.max(initial=0)))
            scale = max(float(np.abs(wanted).max(initial=0)), self.atol)
            error = max(error, float(distance.max(initial=0)) / scale)
            if fault is None and not (ratio <= 1).all():
                worst = int(np.argmax(ratio))
                rule = (
                    f"golden output `{name}` must be {wanted.flat[worst]:.6g} within "
                    f"rtol {self.rtol:g}, atol {self.atol:g}"
                )
                fault = Fault(rule, float(values.flat[worst]))
        decided, wanted = (
            is_abnormal(outputs[self.score], self.threshold, self.abnormal)
            for outputs in (actual, self.expected)
        )
        flipped = np.flatnonzero(decided != wanted)
        if fault is None and flipped.size:
            rule = "golden windows must be on the same side of the threshold; flipped window"
            fault = Fault(rule, int(flipped[0]))
        return Parity(error, used, int(flipped.size), fault)
