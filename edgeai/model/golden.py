"""The golden windows of a package against what a session computes: outputs, shapes, decisions.

One comparison for all who compute: the CPU session at start, a candidate in its proof, a restarted
accelerator before it serves again, and the periodic known-answer test.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from edgeai.config.base import Precision
from edgeai.model.package import Package


@dataclass(frozen=True)
class Fault:
    """What a session got wrong: the rule it broke and the value found."""

    rule: str
    value: Any

    def __str__(self) -> str:
        shown = f"{self.value:.6g}" if isinstance(self.value, float) else str(self.value)
        return f"{self.rule} (found {shown})"


@dataclass(frozen=True)
class Parity:
    """How far a session is from the golden outputs."""

    error: float
    """Largest |a - b| of an output, relative to the largest |b| of that output; inf for NaN."""
    tolerance_used: float
    """Largest |a - b| / (atol + rtol |b|): above 1 is refused."""
    flips: int
    """Windows on the other side of the threshold."""
    fault: Fault | None
    """The first rule broken; None: the session reproduces the golden outputs."""


@dataclass(frozen=True)
class Golden:
    """Golden windows with all that is needed to judge what a session makes of them."""

    windows: npt.NDArray[np.float32]
    """(N, W, C)."""
    expected: dict[str, npt.NDArray[Any]]
    """Output name to (N, ...)."""
    rtol: float
    atol: float
    score: str
    threshold: float

    @classmethod
    def of(cls, package: Package, precision: Precision = "fp32") -> Self:
        """Read the golden windows of a package.

        Raises:
            ModelError: The file is not readable, or its arrays do not fit the manifest.
        """
        windows, expected = package.golden()
        manifest = package.manifest
        tolerance = manifest.tolerance.of(precision)
        return cls(
            windows,
            expected,
            tolerance.rtol,
            tolerance.atol,
            manifest.score,
            manifest.threshold.value,
        )

    def compare(self, actual: Mapping[str, npt.NDArray[Any]]) -> Parity:
        """Judge the outputs (N, ...) of the golden windows, by name."""
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
        decided = actual[self.score] > self.threshold
        flipped = np.flatnonzero(decided != (self.expected[self.score] > self.threshold))
        if fault is None and flipped.size:
            rule = "golden windows must be on the same side of the threshold; flipped window"
            fault = Fault(rule, int(flipped[0]))
        return Parity(error, used, int(flipped.size), fault)
