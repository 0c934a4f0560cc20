"""The signals that a score is due to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeai.prediction import FEW, MANY_SIGNALS, largest_contributions

NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-2, 2)


def wanted(row: list[float], top: int) -> list[tuple[str, float]]:
    """By sorting: equal ones in the model's order."""
    order = sorted(range(len(row)), key=lambda channel: -row[channel])[:top]
    return [(f"s{channel}", row[channel]) for channel in order]


@given(
    rows=st.integers(1, 12).flatmap(
        lambda width: st.lists(st.lists(NUMBERS, min_size=width, max_size=width), max_size=3)
    ),
    top=st.integers(0, FEW + 3),
)
def test_they_are_the_largest_in_the_models_order(rows: list[list[float]], top: int) -> None:
    width = len(rows[0]) if rows else 1
    array = np.array(rows, np.float32).reshape(-1, width)
    found = largest_contributions(array, [f"s{index}" for index in range(width)], top)
    assert found == [wanted(row, top) for row in array.tolist()]


@pytest.mark.parametrize("count", [MANY_SIGNALS, MANY_SIGNALS + 1])
def test_few_and_many_signals_give_the_same(count: int) -> None:
    rows = np.random.default_rng(1).integers(0, 9, (4, count)).astype(np.float32)
    names = [f"s{index}" for index in range(count)]
    assert largest_contributions(rows, names, 5) == [wanted(row, 5) for row in rows.tolist()]


@pytest.mark.parametrize("top", [3, FEW + 1])
@pytest.mark.parametrize("strange", [math.nan, -math.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_no_number_is_no_contribution(place: int, strange: float, top: int) -> None:
    row = [3.0, 2.0]
    row.insert(place, strange)
    ((first, second),) = largest_contributions(np.array([row], np.float32), ["a", "b", "c"], top)
    assert (first[1], second[1]) == (3.0, 2.0)
    names = [name for index, name in enumerate("abc") if index != place]
    assert [first[0], second[0]] == names
