"""What an abnormal window is due to: a sensor, the process, or conditions outside the training.

The graph gives evidence (B, K), 1 where a kind of trouble is as strong as its limit; the manifest
says what each column speaks for. Nothing of any process is known here.
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
    """Return each window's diagnosis, None where its score is not above the threshold.

    Args:
        evidence: (B, K).
        scores: (B,).
        threshold: Of the score.
        kinds: (K,) what the columns speak for.
    """
    found: list[Diagnosis | None] = []
    for row, score in zip(evidence.tolist(), scores, strict=True):
        if not score > threshold:  # also a score that is no number
            found.append(None)
            continue
        largest = max(range(len(row)), key=row.__getitem__)
        kind = kinds[largest]
        found.append({"kind": kind.kind, "cause": kind.cause, "evidence": row[largest]})
    return found
