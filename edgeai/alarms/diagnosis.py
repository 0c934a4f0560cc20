"""Diagnose an abnormal window: a sensor fault, a process fault, or conditions never trained on.

The model outputs evidence (B, K), scaled so that 1 is the limit of a kind of fault. The manifest
declares the kind and the cause of each column; this module knows no process.

Outside the model's domain its outputs are extrapolations: the evidence may name any fault. There
the diagnosis is `outside_domain`, and advice is withheld.
"""

from collections.abc import Sequence
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from edgeai.messages import Diagnosis
from edgeai.model.direction import Direction, is_abnormal
from edgeai.model.output_spec import KindSpec

OUTSIDE = "outside_domain"
"""Kind of the diagnosis outside the domain, and the reason why advice is withheld."""


def domain_distances(
    outputs: Sequence[npt.NDArray[np.float32]], domains: Sequence[tuple[int, float]]
) -> list[float]:
    """Return (B,) distances from the middle of the domain over its edge: above 1 is outside.

    Args:
        outputs: (B, ...) each.
        domains: Position among the outputs, and edge, of each output with the role `domain`; at
            least one.
    """
    each = [outputs[index].astype(np.float64) / edge for index, edge in domains]
    farthest: list[float] = np.maximum.reduce(each).tolist()
    return farthest


def diagnose(
    evidence: npt.NDArray[np.float32],
    scores: Sequence[float],
    threshold: float | Sequence[float],
    kinds: Sequence[KindSpec],
    abnormal: Direction = "high",
) -> list[Diagnosis | None]:
    """Return (B,) diagnoses, each of the kind with the largest evidence.

    None for a window whose score is not abnormal.

    Args:
        evidence: (B, K).
        scores: (B,).
        threshold: Alarm threshold of the score, or (B,) that of each window.
        kinds: (K,) kind and cause of each column.
        abnormal: The abnormal side of the threshold.
    """
    found: list[Diagnosis | None] = []
    limits = [threshold] * len(scores) if isinstance(threshold, float | int) else threshold
    for row, score, limit in zip(evidence.tolist(), scores, limits, strict=True):
        if not is_abnormal(score, limit, abnormal):  # also a NaN score
            found.append(None)
            continue
        largest = max(range(len(row)), key=row.__getitem__)
        kind = kinds[largest]
        found.append({"kind": kind.kind, "cause": kind.cause, "evidence": row[largest]})
    return found


class Domain:
    """Whether the windows of one stream are in the model's domain.

    After the last window outside, a machine may need some time until the conditions are those of
    the training again: one that stood still has to warm up. It is given as much time as it was
    outside, up to a limit, so that a single window outside does not hide a fault.
    """

    __slots__ = ("_last_outside_ns", "_outside_since_ns", "_settle_ns")

    def __init__(self, settle_ns: int) -> None:
        """Start inside.

        Args:
            settle_ns: How long windows still count as outside after the last one outside, at most,
                nanoseconds of sample time.
        """
        self._settle_ns = settle_ns
        self._outside_since_ns = 0
        self._last_outside_ns: int | None = None
        """None while the machine is inside and has settled."""

    def diagnose(
        self, diagnosis: Diagnosis | None, distance: float, time_ns: int
    ) -> Diagnosis | None:
        """Return the diagnosis of a window: `outside_domain` if it is outside.

        Args:
            diagnosis: By the evidence.
            distance: From `domain_distances`. NaN is outside.
            time_ns: Time of the window's last sample.
        """
        last_ns = self._last_outside_ns
        if not distance <= 1.0:
            if last_ns is None or time_ns < last_ns:
                self._outside_since_ns = time_ns
            self._last_outside_ns = time_ns
        elif last_ns is None:
            return diagnosis
        else:
            settle_ns = min(self._settle_ns, last_ns - self._outside_since_ns)
            if not 0 <= time_ns - last_ns <= settle_ns:
                self._last_outside_ns = None
                return diagnosis
        return {"kind": OUTSIDE, "cause": "domain", "evidence": distance}


def is_outside(diagnosis: Diagnosis | None) -> TypeGuard[Diagnosis]:
    """Return whether a diagnosis says that the model does not know the conditions."""
    return diagnosis is not None and diagnosis["cause"] == "domain"
