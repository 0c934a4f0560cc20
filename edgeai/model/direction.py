"""Which side of the threshold is abnormal. Imports nothing, so that a vendor's adapter can use it.

Most scores rise with the fault. Some fall: `decision_function` of scikit-learn's IsolationForest,
for example, is negative for an outlier. The manifest states it as `threshold.abnormal`.
"""

from typing import Any, Literal

Direction = Literal["high", "low"]
"""`high`: a score above the threshold is abnormal. `low`: a score below it is."""

SIDES: dict[Direction, str] = {"high": "above", "low": "below"}
"""The abnormal side of the threshold, in words."""


def is_abnormal(score: Any, threshold: float, abnormal: Direction = "high") -> Any:
    """Return whether a score, or each of an array of scores, is on the abnormal side.

    A score at the threshold is normal, and so is NaN.
    """
    return score > threshold if abnormal == "high" else score < threshold
