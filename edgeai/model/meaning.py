"""Check that the golden windows fit what the manifest says: ranges, layout, side of the threshold.

The graph may be valid and reproduce its golden outputs, and still mean something else than the
manifest says: the windows were saved after a scaler, with their axes exchanged, or the score falls
with a fault. Each check needs only golden.npz and the manifest.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeai.errors import ModelError
from edgeai.model.direction import SIDES, Direction, is_abnormal
from edgeai.model.manifest import GOLDEN, Manifest
from edgeai.model.package import FAULTY, HEALTHY, Labels, Package, Windows

MAX_OUTSIDE_SHARE = 0.5  # of a signal's values, outside its range in windows not labelled faulty
MIN_OUTSIDE_SHARE = 0.01  # from it on, windows with exchanged axes are looked for
EXCHANGED_RATIO = 4.0  # so many times fewer values outside with exchanged axes: they are exchanged
LEVEL_RATIO = 16.0  # variance of the samples' levels over that of the signals' levels
MAX_NAMED_SIGNALS = 3
MAX_HEALTHY_ABNORMAL_SHARE = 0.5


@dataclass(frozen=True)
class Decisions:
    """How many golden windows are abnormal, by label."""

    healthy: tuple[int, int]
    """Abnormal windows, and windows."""
    faulty: tuple[int, int]
    every: tuple[int, int]

    def __str__(self) -> str:
        parts = [("healthy", self.healthy), ("faulty", self.faulty)]
        labelled = [f"{hit} of {count} {name}" for name, (hit, count) in parts if count]
        if labelled:
            return " and ".join(labelled)
        return f"{self.every[0]} of {self.every[1]}"

    @property
    def is_labelled(self) -> bool:
        """Whether any window is labelled healthy or faulty."""
        return bool(self.healthy[1] or self.faulty[1])

    @property
    def fits(self) -> bool:
        """Whether these decisions can be those of a useful monitor.

        Fewer than half of the healthy windows are abnormal, and a larger share of the faulty ones
        than of the healthy ones. What is not labelled is not judged.
        """
        healthy = self.healthy[0] / self.healthy[1] if self.healthy[1] else 0.0
        faulty = self.faulty[0] / self.faulty[1] if self.faulty[1] else 1.0
        return healthy < MAX_HEALTHY_ABNORMAL_SHARE and healthy < faulty


def count_decisions(
    scores: npt.NDArray[np.float32], labels: Labels, threshold: float, abnormal: Direction
) -> Decisions:
    """Count the abnormal windows.

    Args:
        scores: (N,).
        labels: (N,) HEALTHY, FAULTY or UNKNOWN.
        threshold: Of the score.
        abnormal: The abnormal side of the threshold.
    """
    hits = is_abnormal(scores, threshold, abnormal)

    def of(chosen: npt.NDArray[np.bool_]) -> tuple[int, int]:
        return int((hits & chosen).sum()), int(chosen.sum())

    return Decisions(of(labels == HEALTHY), of(labels == FAULTY), of(np.ones(len(labels), bool)))


def find_meaning_faults(package: Package) -> list[ModelError]:
    """Return an error for each way in which the golden windows contradict the manifest."""
    file = str(package.folder / GOLDEN)
    manifest = package.manifest
    try:
        windows, outputs, labels = package.labelled_golden()
    except ModelError as error:
        return [error]
    faults = []
    exchanged = _exchanged_axes(windows, manifest)
    if exchanged:
        faults.append(ModelError(file, exchanged))
    else:
        texts = _far_outside(windows[labels != FAULTY], manifest)
        faults += [ModelError(file, text) for text in texts[:MAX_NAMED_SIGNALS]]
    threshold = manifest.threshold
    scores = outputs[manifest.score]
    found = count_decisions(scores, labels, threshold.value, threshold.abnormal)
    if not found.fits:
        other: Direction = "low" if threshold.abnormal == "high" else "high"
        turned = count_decisions(scores, labels, threshold.value, other)
        cure = f"; is `threshold.abnormal: {other}` meant?" if turned.fits else ""
        rule = (
            "healthy windows must be normal and faulty ones abnormal: a score "
            f"{SIDES[threshold.abnormal]} {threshold.value:g} have {found} windows{cure}"
        )
        faults.append(ModelError(file, rule))
    return faults


def describe_decisions(package: Package, threshold: float) -> str:
    """Return one line about the decisions on the golden windows, for `edgeai check`.

    Args:
        package: The package.
        threshold: That of the pipeline.
    """
    _, outputs, labels = package.labelled_golden()
    manifest = package.manifest
    abnormal = manifest.threshold.abnormal
    found = count_decisions(outputs[manifest.score], labels, threshold, abnormal)
    line = f"golden windows: {found} are abnormal (score {SIDES[abnormal]} {threshold:g})"
    if not found.is_labelled:
        return f"{line}; none is labelled healthy or faulty, so the side is not checked"
    return line if found.fits else f"{line}: this threshold makes the alarm useless"


def describe_ranges(package: Package) -> list[str]:
    """Return notes about golden values outside the signals' ranges, and about the layout."""
    windows, _, _ = package.labelled_golden()
    manifest = package.manifest
    notes = []
    for name, share, low, high, limits in _outside(windows, manifest)[:MAX_NAMED_SIGNALS]:
        notes.append(
            f"signal `{name}`: {_percent(share)} of the golden windows' values are outside its "
            f"range {limits}; they are from {low:.6g} to {high:.6g}"
        )
    length, channels = windows.shape[1:]
    if length == channels > 1:
        levels = windows.astype(np.float64)
        samples, signals = levels.mean(axis=(0, 2)).var(), levels.mean(axis=(0, 1)).var()
        if samples > LEVEL_RATIO * signals:
            notes.append(
                "the golden windows differ more from sample to sample than from signal to signal: "
                "are their axes exchanged? A window is (samples, signals)"
            )
    return notes


def _outside(
    windows: Windows, manifest: Manifest
) -> list[tuple[str, float, float, float, list[float]]]:
    """Return name, share outside, smallest, largest value and range of signals with values outside.

    The signal with the largest share comes first.
    """
    found = []
    for index, signal in enumerate(manifest.signals):
        values = windows[..., index]
        if signal.range is None or not values.size:
            continue
        low, high = signal.range
        share = float(((values < np.float32(low)) | (values > np.float32(high))).mean())
        if share:
            limits = [float(value) for value in signal.range]
            found.append((signal.name, share, float(values.min()), float(values.max()), limits))
    return sorted(found, key=lambda one: -one[1])


def _far_outside(windows: Windows, manifest: Manifest) -> list[str]:
    return [
        f"`window` must be raw values in engineering units: {_percent(share)} of the values of "
        f"signal `{name}` are outside its range {limits}; they are from {low:.6g} to {high:.6g}. "
        "Is the scaling outside the graph?"
        for name, share, low, high, limits in _outside(windows, manifest)
        if share > MAX_OUTSIDE_SHARE
    ]


def _exchanged_axes(windows: Windows, manifest: Manifest) -> str:
    """Return a rule if the windows fit the ranges only with samples and signals exchanged."""
    length, channels = windows.shape[1:]
    if length != channels:
        return ""

    def share(values: Windows) -> float:
        return float(sum(one[1] for one in _outside(values, manifest)) / channels)

    given, exchanged = share(windows), share(windows.transpose(0, 2, 1))
    if given < MIN_OUTSIDE_SHARE or given < EXCHANGED_RATIO * exchanged:
        return ""
    return (
        "`window` must be (windows, samples, signals): "
        f"{_percent(given)} of the values are outside the signals' ranges, and "
        f"{_percent(exchanged)} with samples and signals exchanged"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
