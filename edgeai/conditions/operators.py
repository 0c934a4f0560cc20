"""The operators of conditions, on the samples of one signal, in three-valued logic.

A truth is FALSE, UNKNOWN or TRUE. A sample without a usable value (NaN) makes an operator UNKNOWN,
never true and never false. The codes are in the order of Kleene's logic: `all` is the minimum,
`any` the maximum, `not` is TRUE minus the code.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Truths = npt.NDArray[np.uint8]
"""(n,) one of FALSE, UNKNOWN, TRUE for each sample."""
Column = npt.NDArray[np.float32]
"""(n,) values of one signal, NaN where there is no usable value."""
Test = Callable[[Column], npt.NDArray[np.bool_]]
Memory = list[float]
"""What operators know of the samples before, one number for each that needs one."""

FALSE, UNKNOWN, TRUE = 0, 1, 2
KEEP = 3
"""Inside the hysteresis: the truth of the sample before stays."""


def known(column: Column, is_true: npt.NDArray[np.bool_]) -> Truths:
    """Return TRUE or FALSE by a test, and UNKNOWN where the value is NaN."""
    truths: Truths = is_true.astype(np.uint8) * np.uint8(TRUE)
    truths[np.isnan(column)] = UNKNOWN
    return truths


def make_test(name: str, operand: Any) -> Test:
    """Return the test of a level operator without hysteresis.

    Operands are compared as float32, as the values are: 0.1 equals 0.1.

    Args:
        name: A key of `LEVELS`.
        operand: As the configuration gives it, checked.
    """
    return LEVELS[name](operand)


def _between(operand: Any) -> Test:
    low, high = np.float32(operand[0]), np.float32(operand[1])
    return lambda column: (column >= low) & (column <= high)


def _one_of(operand: Any) -> Test:
    wanted = np.array([float(one) for one in operand], np.float32)
    return lambda column: np.isin(column, wanted)


def _compared(compare: Callable[[Any, Any], Any]) -> Callable[[Any], Test]:
    def make(operand: Any) -> Test:
        limit = np.float32(float(operand))
        return lambda column: compare(column, limit)

    return make


LEVELS: dict[str, Callable[[Any], Test]] = {
    "above": _compared(np.greater),
    "below": _compared(np.less),
    "between": _between,
    "equals": _compared(np.equal),
    "not_equals": _compared(np.not_equal),
    "one_of": _one_of,
}
"""Operators on the value of one sample."""
STEPS: dict[str, Callable[[Any, Any], Any]] = {
    "changes": np.not_equal,
    "increases": np.greater,
    "decreases": np.less,
}
"""Operators on a value and the known one before it."""


def with_hysteresis(name: str, limit: float, width: float) -> Callable[[Column], Truths]:
    """Return `above` or `below` with a band in which the truth of the sample before stays.

    `above` becomes true beyond the limit, and false again at or below the limit minus the width.

    Returns:
        A function to (n,) FALSE, UNKNOWN, TRUE, or KEEP inside the band.
    """
    begins = np.float32(limit)
    ends = np.float32(limit - width if name == "above" else limit + width)

    def find(column: Column) -> Truths:
        truths = np.full(len(column), KEEP, np.uint8)
        if name == "above":
            truths[column <= ends], truths[column > begins] = FALSE, TRUE
        else:
            truths[column >= ends], truths[column < begins] = FALSE, TRUE
        truths[np.isnan(column)] = UNKNOWN
        return truths

    return find


def carry(truths: Truths, before: int, hole: int) -> Truths:
    """Replace a code by the one of the sample before that does not have it.

    Args:
        truths: (n,).
        before: Stands before the first sample.
        hole: The code that is replaced.
    """
    is_hole = truths == hole
    if not is_hole.any():
        return truths
    places = np.where(is_hole, -1, np.arange(len(truths)))
    np.maximum.accumulate(places, out=places)
    filled: Truths = np.where(places < 0, np.uint8(before), truths[places])
    return filled


def before_each(truths: Truths, before: int) -> Truths:
    """Return the truth before each sample, (n,): of the last one that was known."""
    known_so_far = carry(truths, before, UNKNOWN)
    shifted = np.empty_like(known_so_far)
    shifted[0], shifted[1:] = before, known_so_far[:-1]
    return shifted


def values_before(column: Column, before: float) -> tuple[Column, float]:
    """Return the last known value before each sample, (n,), and the one after all of them."""
    places = np.where(np.isnan(column), -1, np.arange(len(column)))
    np.maximum.accumulate(places, out=places)
    filled = np.where(places < 0, np.float32(before), column[places])
    shifted = np.empty_like(column)
    shifted[0], shifted[1:] = before, filled[:-1]
    return shifted, float(filled[-1])
