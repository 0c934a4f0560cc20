"""What is published: predictions, changes of alarm state, and the signals they are due to."""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from edgeai.records import AlarmState, Diagnosis, Quality

FEW_SIGNALS = 64


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
    contributions: npt.NDArray[np.float32], signals: list[str], top: int
) -> list[list[tuple[str, float]]]:
    """Return, for each window, its largest contributions with their signals.

    Args:
        contributions: (B, C).
        signals: (C,) names.
        top: How many, at most.
    """
    if len(signals) <= FEW_SIGNALS:
        # Sorting a short list is several times cheaper than the array operations below. Which way
        # is taken depends on the model only, so that it is the same live and replayed.
        return [
            [
                (signals[channel], row[channel])
                for channel in sorted(range(len(row)), key=row.__getitem__, reverse=True)[:top]
            ]
            for row in contributions.tolist()
        ]
    # Stable, so that equal contributions come in the model's order on every machine.
    order = (-contributions).argsort(axis=1, kind="stable")[:, :top].tolist()
    return [
        [(signals[channel], float(row[channel])) for channel in channels]
        for row, channels in zip(contributions, order, strict=True)
    ]
