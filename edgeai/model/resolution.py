"""From which size on a value's steps are lost in float32, the type of the windows.

float32 has 24 bits: between 2^e and 2^(e+1) its steps are 2^(e-23), so a counter at 3e9 moves in
steps of 256. What matters is the size of the steps that the model knows, which the golden windows
show. A value is coarse where float32's step is larger than a share of them.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeai.model.manifest import Manifest
from edgeai.model.package import Windows

STEPS_WITHIN = 16.0  # float32's step must be at least this many times smaller
RESOLVED_STEPS = 4.0  # a smaller step, in float32's steps, is rounding
EXACT_INTEGERS = 2.0**24  # from here on float32 does not hold every whole number
SEEN_RATIO = 2.0  # values up to this many times those of the golden windows are never coarse

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Resolution:
    """The steps of each signal in the golden windows, and the values that are too large for them.

    Attributes:
        steps: (C,) typical step from sample to sample; NaN for a signal without steps.
        largest: (C,) size of a value from which float32 loses such steps; infinite if none does.
    """

    steps: Floats
    largest: Floats


def float32_step(value: float) -> float:
    """Return the distance from a value to the next number in float32."""
    return float(np.spacing(np.float32(abs(value))))


def resolution_of(windows: Windows) -> Resolution:
    """Return the resolution that the signals of golden windows (N, W, C) need.

    The size that counts is between a sample's step and the window's range (their geometric mean):
    some models look at steps, others at the window as a whole.
    """
    series = windows if windows.shape[1] > 1 else windows.transpose(1, 0, 2)
    channels = windows.shape[2]
    steps, largest = np.full(channels, np.nan), np.full(channels, np.inf)
    for index in range(channels):
        values = series[..., index].astype(np.float64)
        size = float(np.abs(values).max(initial=0.0))
        step = np.abs(np.diff(values, axis=1))
        step = step[step >= RESOLVED_STEPS * float32_step(size)]
        if not step.size:
            if _is_too_large(values, size):
                largest[index] = size / SEEN_RATIO
            continue
        steps[index] = np.median(step)
        ranges = np.ptp(values, axis=1)
        needed = np.sqrt(steps[index] * np.median(ranges[ranges > 0])) / STEPS_WITHIN
        limit = 2.0 ** (np.floor(np.log2(needed)) + 24)
        largest[index] = max(limit, SEEN_RATIO * size)
    return Resolution(steps, largest)


def _is_too_large(values: Floats, size: float) -> bool:
    """Return whether a signal has moved between the windows, and float32 shows no step in them.

    Below `EXACT_INTEGERS` it would be a setting that is constant for as long as a window.

    Args:
        values: (N, W) of one signal.
        size: The largest of them.
    """
    return size >= EXACT_INTEGERS and float(np.ptp(values)) > 0


def describe_precision(windows: Windows, manifest: Manifest) -> list[str]:
    """Return a note for each signal whose declared range has values that float32 is too coarse for.

    Also for a signal that moves only by float32's own step in the golden windows.
    """
    found = resolution_of(windows)
    notes = []
    for index, signal in enumerate(manifest.signals):
        end = max(map(abs, signal.range)) if signal.range else 0.0
        values = windows[..., index].astype(np.float64)
        moves = np.abs(np.diff(values, axis=1))
        size = float(np.abs(values).max(initial=0.0))
        is_lost = _is_too_large(values, size) or (moves.size and moves.max() > 0)
        if np.isnan(found.steps[index]) and is_lost:
            notes.append(
                f"signal `{signal.name}` moves in the golden windows only by the steps of float32, "
                f"{float32_step(size):.3g} at {size:.3g}: smaller steps are lost. {REMEDY}"
            )
        elif size >= EXACT_INTEGERS and not moves.any():
            notes.append(
                f"signal `{signal.name}` stands still in the golden windows, and at {size:.3g} "
                f"float32 keeps steps of {float32_step(size):.3g}: smaller changes are lost. "
                f"{REMEDY}"
            )
        elif end > found.largest[index]:
            notes.append(precision_text(signal.name, end, float(found.steps[index])))
    return notes


REMEDY = "Subtract a constant by `source.signals.<name>.offset`, or send differences"


def precision_text(name: str, value: float, step: float) -> str:
    """Return what float32 does to a signal at a value; `step` is NaN if it is smaller than that."""
    if np.isnan(step):
        return (
            f"signal `{name}`: at {value:.6g} float32 keeps steps of {float32_step(value):.3g}; "
            f"the golden windows show no smaller ones, so they are lost. {REMEDY}"
        )
    return (
        f"signal `{name}`: at {value:.6g} float32 keeps steps of {float32_step(value):.3g}, and "
        f"the model's steps are about {step:.3g}, so they are lost. {REMEDY}"
    )
