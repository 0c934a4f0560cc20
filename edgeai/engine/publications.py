"""What is published: predictions, changes of alarm state, and the signals they are due to."""

import math
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from edgeai.messages import AlarmState, Diagnosis, Quality

LEAST = -math.inf
FEW = 8
"""So few of the largest are looked for one after the other; more are sorted for."""
FEW_WINDOWS = 8
"""So few are looked through one after the other; more together."""
NARROW = 32
"""So few contributions of a window are looked through in Python; for more, numpy's calls pay."""


class Prediction(msgspec.Struct):
    """What is published for a window, as JSON."""

    timestamp: int
    """Of the window's last sample, nanoseconds since 1970, UTC."""
    asset: str
    model: str
    version: str
    score: float | None
    """None when it is no number."""
    threshold: float
    alarm: AlarmState
    quality: Quality
    provider: str
    """Who computed it."""
    requested: str
    reason: str
    """Why it is not who was asked for; empty when it is."""
    id: str
    """The same for a window whenever it is computed: a consumer can drop a redelivery."""
    outputs: dict[str, dict[str, Any]]
    top: list[tuple[str, float]]
    diagnosis: Diagnosis | msgspec.UnsetType | None = msgspec.UNSET
    """None when the window is normal; left out for a model that gives no evidence."""


class Transition(msgspec.Struct):
    """What is published, retained, when an alarm changes its state, as JSON."""

    timestamp: int
    asset: str
    pipeline: str
    model: str
    version: str
    state: AlarmState
    previous: AlarmState
    score: float | None
    threshold: float
    top: list[tuple[str, float]]
    id: str
    """With the state: a reset has the time of the last sample, as the transition before it may."""


class ProviderEvent(msgspec.Struct):
    """What is published when an accelerator fails, comes back, or is given up for a while."""

    timestamp: int
    """When it was noticed, nanoseconds since 1970, UTC."""
    node: str
    event: str
    """`degraded`, `readmitted` or `breaker_open`."""
    pipelines: list[str]
    model: str
    provider: str
    """Who computes from here on."""
    requested: str
    cause: str
    detail: str
    id: str


def largest_contributions(
    contributions: npt.NDArray[Any], signals: list[str], top: int
) -> list[list[tuple[str, float]]]:
    """Return, for each window, its largest contributions with their signals.

    Args:
        contributions: (B, C). Overwritten.
        signals: (C,) names.
        top: How many, at most.
    """
    # Whichever way is taken, the answer is the same: equal contributions in the model's order, and
    # none that is no number.
    if contributions.dtype.kind != "f":  # a model may give whole numbers, and -inf is none
        contributions = contributions.astype(np.float64)
    if top <= FEW and len(contributions) < FEW_WINDOWS:
        if len(signals) <= NARROW:
            return [_largest_of_few(row, signals, top) for row in contributions.tolist()]
        # Not `for row in contributions`: that ends by an exception with a text, 10 us when cold.
        return [_largest(contributions[n], signals, top) for n in range(len(contributions))]
    if top <= FEW:
        return _largest_of_many(contributions, signals, top)
    order = (-contributions).argsort(axis=1, kind="stable")[:, :top].tolist()
    return [
        [(signals[channel], float(row[channel])) for channel in channels if row[channel] > LEAST]
        for row, channels in zip(contributions, order, strict=True)
    ]


def _largest_of_many(
    contributions: npt.NDArray[np.float32], signals: list[str], top: int
) -> list[list[tuple[str, float]]]:
    """Look for the largest of every window, then for the next."""
    left = np.where(np.isnan(contributions), LEAST, contributions)
    windows = np.arange(len(left))
    rounds = []
    for _ in range(min(top, len(signals))):
        places = left.argmax(axis=1)
        rounds.append((places.tolist(), left[windows, places].tolist()))
        left[windows, places] = LEAST
    return [
        [(signals[places[window]], values[window]) for places, values in rounds
         if values[window] > LEAST]
        for window in range(len(left))
    ]  # fmt: skip


def _largest(row: npt.NDArray[np.float32], signals: list[str], top: int) -> list[tuple[str, float]]:
    """Return the largest values of a row (C,), which is overwritten, with their signals.

    A fraction of the price of sorting, in time and in code that caches have to hold.
    """
    largest = []
    for _ in range(min(top, len(signals))):
        channel = row.argmax()
        value = row.item(channel)
        if not value > LEAST:
            row[np.isnan(row)] = LEAST  # NaN is the greatest of all here
            channel = row.argmax()
            value = row.item(channel)
            if value == LEAST:  # nothing is left but what was taken, and what is no number
                break
        largest.append((signals[channel], value))
        row[channel] = LEAST
    return largest


def _largest_of_few(row: list[float], signals: list[str], top: int) -> list[tuple[str, float]]:
    """Do the same for a list."""
    largest = []
    for _ in range(min(top, len(row))):
        value = max(row)
        if value != value:  # noqa: PLR0124  NaN, which no comparison finds or passes over
            row = [LEAST if one != one else one for one in row]  # noqa: PLR0124
            value = max(row)
        if value == LEAST:
            break
        channel = row.index(value)
        largest.append((signals[channel], value))
        row[channel] = LEAST
    return largest
