"""Find the layers that can be reduced within the tolerance, on golden and given windows."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgeai.errors import ModelError
from edgeai.model.golden import Golden
from edgeai.model.manifest import GRAPHS, Manifest
from edgeai.model.package import Package
from edgeai.model.rows import inputs_of
from edgeai.progress import Progress
from edgeai.providers.scorer import Outputs, Scorer
from edgeai.quantize.reduce import EMULATE, REDUCE, count_weights, layers, prepare, serialise

Reduced = Literal["fp16", "int8"]
Windows = npt.NDArray[np.float32]
"""Windows (N, W, C); with a context, rows as `edgeai.model.rows` says."""

MIN_WEIGHTS = (
    0.5  # smallest share of reduced weights of all weights; with less the variant is refused
)
MAX_CALIBRATION_WINDOWS = 512
CALIBRATION_BATCH = 16


@dataclass(frozen=True)
class OutputError:
    """Error of a variant on one output, over golden and given windows.

    Attributes:
        largest: Largest |variant - model.onnx|, in the output's unit.
        relative: `largest` over the largest |model.onnx|.
    """

    largest: float
    relative: float


class Trial:
    """Reduces chosen layers of a package's graph and compares the result with `model.onnx`."""

    def __init__(
        self, package: Package, precision: Reduced, manifest: dict[str, Any], given: Windows | None
    ) -> None:
        data = package.graph.read_bytes()
        self.file = str(package.folder / GRAPHS[precision])
        self.model = prepare(data)
        self.layers = layers(self.model)
        if not self.layers:
            rule = "has no layer (MatMul, Gemm, Conv with constant weights) to reduce"
            raise ModelError(str(package.graph), rule)
        self.weights = count_weights(self.model)
        self.precision = precision
        stated = manifest["tolerance"][precision]
        self.tolerance = (float(stated["rtol"]), float(stated["atol"]))
        golden = Golden.of(package)
        self.golden = self._golden_of(golden.windows, golden.expected, package.manifest)
        windows = golden.windows if given is None else given
        self._shape = package.manifest.input_shape, len(package.manifest.context)
        self.given = self._golden_of(windows, self._scorer(data).outputs(windows), package.manifest)
        step = -(-len(windows) // MAX_CALIBRATION_WINDOWS)
        self.calibration = np.ascontiguousarray(windows[::step])
        split = inputs_of(*self._shape)
        self._inputs = [
            split(self.calibration[start : start + CALIBRATION_BATCH])
            for start in range(0, len(self.calibration), CALIBRATION_BATCH)
        ]

    def share(self, chosen: Collection[str]) -> float:
        """Return the share of all weights of the graph that a choice of layers reduces, 0 to 1."""
        # A constant that two layers share counts in both.
        return min(1.0, sum(self.layers[name] for name in chosen) / self.weights)

    def _scorer(self, graph: bytes) -> Scorer:
        window, context = self._shape
        return Scorer(graph, window=window, context=context)

    def _golden_of(self, windows: Windows, expected: dict[str, Any], manifest: Manifest) -> Golden:
        score, threshold = manifest.score, manifest.threshold
        return Golden(
            windows, expected, *self.tolerance, score, threshold.value, threshold.abnormal
        )

    def tolerance_used(self, chosen: Collection[str]) -> float:
        """Return the largest error for a choice of layers, as a multiple of the tolerance.

        Infinite if the graph does not run or a golden decision changes.
        """
        try:
            actual = self._outputs(chosen)
        except Exception:  # noqa: BLE001  ONNX Runtime may raise anything
            return float("inf")
        golden = self.golden.compare(actual[0])
        if golden.flips:
            return float("inf")
        return max(golden.tolerance_used, self.given.compare(actual[1]).tolerance_used)

    def describe_fault(self, chosen: Collection[str]) -> str:
        """Describe the errors for a choice of layers."""
        try:
            golden, given = self._outputs(chosen)
        except Exception as error:  # noqa: BLE001  as above
            return f"it does not run: {' '.join(str(error).split())[:200]}"
        parity = self.golden.compare(golden)
        used = max(parity.tolerance_used, self.given.compare(given).tolerance_used)
        flips = f"{parity.flips} of {len(self.golden.windows)} golden decisions change"
        return f"errors are up to {used:.3g} times the tolerance and {flips}"

    def evaluate(self, chosen: Collection[str]) -> tuple[bytes, dict[str, OutputError], int]:
        """Return the graph, its errors by output, and the number of given decisions that change."""
        golden, given = self._outputs(chosen)
        flips = 0 if self.given.windows is self.golden.windows else self.given.compare(given).flips
        errors = {}
        for name in golden:
            wanted = np.concatenate([self.golden.expected[name], self.given.expected[name]])
            found = np.concatenate([golden[name], given[name]])
            largest = float(np.abs(found.astype(np.float64) - wanted).max())
            scale = float(np.abs(wanted).max())
            errors[name] = OutputError(largest, largest / scale if scale else largest)
        model = REDUCE[self.precision](self.model, chosen, self._inputs)
        return serialise(model), errors, flips

    def _outputs(self, chosen: Collection[str]) -> tuple[Outputs, Outputs]:
        model = EMULATE[self.precision](self.model, chosen, self._inputs)
        scorer = self._scorer(serialise(model))
        names = self.golden.expected
        golden = scorer.outputs(self.golden.windows)
        same = self.given.windows is self.golden.windows
        given = golden if same else scorer.outputs(self.given.windows)
        return {name: golden[name] for name in names}, {name: given[name] for name in names}


def choose(trial: Trial, progress: Progress) -> list[str]:
    """Return the layers to reduce: all, or those that the tolerance allows.

    Raises:
        ModelError: Less than half of the weights can be reduced.
    """
    everything = list(trial.layers)
    possible = trial.share(everything)
    if possible < MIN_WEIGHTS:
        rule = (
            f"only {possible:.0%} of the weights are in layers that can be {trial.precision} "
            "(MatMul, Gemm, Conv with constant weights); other operators, such as LSTM and GRU, "
            "stay in float32"
        )
        raise ModelError(trial.file, rule)
    progress("reduce", 0, 1, f"all {len(everything)} layers")
    if trial.tolerance_used(everything) <= 1.0:
        progress("reduce", 1, 1, f"all {len(everything)} layers")
        return everything
    steps = 2 * len(everything)
    alone = {}
    for index, name in enumerate(everything):
        progress("reduce", index, steps, f"{name} alone")
        alone[name] = trial.tolerance_used([name])
    chosen: list[str] = []
    for index, name in enumerate(sorted(everything, key=lambda name: alone[name])):
        progress("reduce", len(everything) + index, steps, f"{len(chosen)} layers and {name}")
        if alone[name] <= 1.0 and trial.tolerance_used([*chosen, name]) <= 1.0:
            chosen.append(name)
    progress("reduce", steps, steps, f"{len(chosen)} of {len(everything)} layers")
    share = trial.share(chosen)
    if share < MIN_WEIGHTS:
        rtol, atol = trial.tolerance
        rule = (
            f"cannot be made within rtol {rtol:g}, atol {atol:g} (--tolerance raises it): only "
            f"{share:.0%} of the weights can be {trial.precision}; with all of them, "
            f"{trial.describe_fault(everything)}"
        )
        raise ModelError(trial.file, rule)
    return [name for name in everything if name in chosen]
