"""Measured figures beside published ones; uses NumPy and ONNX Runtime, not torch."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from edgeai.errors import ConfigError, Problem, one_line

Floats = npt.NDArray[np.float64]
CHUNK = 4096  # points per call of the session


@dataclass(frozen=True)
class Figure:
    """One measured number with its target.

    Attributes:
        problem: Name of the problem or package.
        name: What was measured.
        unit: Unit of all numbers; "1" for a ratio.
        measured: Measured on data that was not used for the fit.
        published: Published by others, or the true value; None if there is none.
        low: Smallest value that meets the target; None: no lower limit.
        high: Largest value that meets the target; None: no upper limit. A figure without limits
            is for information only.
        stretch: Largest value that meets the stretch target.
        note: What the number is compared with.
    """

    problem: str
    name: str
    unit: str
    measured: float
    published: float | None = None
    low: float | None = None
    high: float | None = None
    stretch: float | None = None
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the target is met; a number that is not finite never meets it."""
        above = self.low is None or self.measured >= self.low
        below = self.high is None or self.measured <= self.high
        return bool(math.isfinite(self.measured) and above and below)

    @property
    def judged(self) -> bool:
        """Whether the figure has a target."""
        return self.low is not None or self.high is not None

    def as_json(self) -> dict[str, Any]:
        """Return the figure for JSON."""
        numbers = {
            key: value.item() if isinstance(value, np.generic) else value
            for key, value in asdict(self).items()
        }
        return {**numbers, "judged": self.judged, "met": self.met}


class Network:
    """A stored ONNX network that takes points (N, d).

    Raises:
        ConfigError: The file is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            rule = "is missing: train it again with `edgeai train` and the recipe beside it"
            raise ConfigError([Problem(str(path), "", rule)])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ORT's exceptions share no base class
            rule = f"ONNX Runtime refuses it: {one_line(error)}"
            raise ConfigError([Problem(str(path), "", rule)]) from error
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, points: npt.ArrayLike) -> dict[str, Floats]:
        """Return the outputs at points (N, d), each (N, ...) float64."""
        where = np.ascontiguousarray(points, np.float32)
        parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in self._names}
        for start in range(0, len(where), CHUNK):
            found = self._session.run(None, {"points": where[start : start + CHUNK]})
            for name, values in zip(self._names, found, strict=True):
                parts[name].append(values)
        return {name: np.concatenate(found).astype(np.float64) for name, found in parts.items()}


def relative_l2(found: npt.ArrayLike, true: npt.ArrayLike) -> float:
    """Return the norm of the difference over the norm of the truth."""
    exact = np.asarray(true, np.float64)
    return float(np.linalg.norm(np.asarray(found, np.float64) - exact) / np.linalg.norm(exact))


def rms(values: npt.ArrayLike) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(np.asarray(values, np.float64)))))


def within(
    problem: str, name: str, measured: float, true: float, *, unit: str = "1", part: float = 0.01,
    note: str = "",
) -> Figure:  # fmt: skip
    """Return the figure of a value that must be within `part` (a share) of the true one."""
    spread = abs(true) * part
    return Figure(problem, name, unit, measured, true, true - spread, true + spread, None, note)


def table(axes: Mapping[str, npt.ArrayLike]) -> Floats:
    """Return all combinations of the axes' values, (N, d), the last axis fastest."""
    parts = np.meshgrid(*[np.asarray(axis, float).ravel() for axis in axes.values()], indexing="ij")
    return np.stack([part.ravel() for part in parts], axis=1)
