"""The names that a condition may have, and the signals that it names.

No NumPy here: the configuration uses it, and a supervisor of workers stays small.
"""

from collections.abc import Iterator, Mapping
from typing import Any

LEVEL_NAMES = ("above", "below", "between", "equals", "not_equals", "one_of")
"""Operators on the value of one sample."""
CROSSINGS = {"rises_above": "above", "falls_below": "below"}
"""Operators on a sample and the one before it, and the level that becomes true."""
STEP_NAMES = ("changes", "increases", "decreases")
"""Operators on a value and the known one before it."""
COMBINATORS = ("all", "any", "not")
WITH_HYSTERESIS = ("above", "below", *CROSSINGS)
OPERATORS = (*LEVEL_NAMES, *CROSSINGS, *STEP_NAMES)
"""All operators on one signal."""


def signals_of(spec: Mapping[str, Any]) -> Iterator[str]:
    """Yield the signals that a condition names, in its order; one may come twice."""
    for name in COMBINATORS:
        if name in spec:
            for part in [spec[name]] if name == "not" else spec[name]:
                yield from signals_of(part)
            return
    yield spec["signal"]
