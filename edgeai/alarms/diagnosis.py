"""Diagnose an abnormal window: a sensor fault, a process fault, or conditions never trained on.

The model outputs evidence (B, K), scaled so that 1 is the limit of a kind of fault. The manifest
declares the kind and the cause of each column; this module knows no process.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeai.messages import Diagnosis
from edgeai.model.manifest import KindSpec


def diagnose(
    evidence: npt.NDArray[np.float32],
    scores: Sequence[float],
    threshold: float,
    kinds: Sequence[KindSpec],
) -> list[Diagnosis | None]:
    """Return (B,) diagnoses, each of the kind with the largest evidence.

    None for a window whose score is not above the threshold.

    Args:
        evidence: (B, K).
        scores: (B,).
        threshold: Alarm threshold of the score.
        kinds: (K,) kind and cause of each column.
    """
    found: list[Diagnosis | None] = []
    for row, score in zip(evidence.tolist(), scores, strict=True):
        if not score > threshold:  # also a NaN score
            found.append(None)
            continue
        largest = max(range(len(row)), key=row.__getitem__)
        kind = kinds[largest]
        found.append({"kind": kind.kind, "cause": kind.cause, "evidence": row[largest]})
    return found
