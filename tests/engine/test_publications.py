"""The signals that a score is due to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeai.engine.contributions import (
    MAX_VALUES_IN_PYTHON,
    MAX_WINDOWS_ONE_BY_ONE,
    largest_contributions,
)

NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-2, 2)


def wanted(row: list[float], top: int) -> list[tuple[str, float]]:
    """By sorting: equal ones in the model's order."""
    order = sorted(range(len(row)), key=lambda channel: -row[channel])[:top]
    return [(f"s{channel}", row[channel]) for channel in order]


@given(
    rows=st.integers(1, 12).flatmap(
        lambda width: st.lists(st.lists(NUMBERS, min_size=width, max_size=width), max_size=3)
    ),
    top=st.integers(0, 14),
)
def test_they_are_the_largest_in_the_models_order(rows: list[list[float]], top: int) -> None:
    width = len(rows[0]) if rows else 1
    array = np.array(rows, np.float32).reshape(-1, width)
    found = largest_contributions(array.copy(), [f"s{index}" for index in range(width)], top)
    assert found == [wanted(row, top) for row in array.tolist()]


@pytest.mark.parametrize("windows", [4, MAX_WINDOWS_ONE_BY_ONE, MAX_WINDOWS_ONE_BY_ONE + 1])
@pytest.mark.parametrize("count", [MAX_VALUES_IN_PYTHON // 4, 33, 300])
@pytest.mark.parametrize("top", [1, 5, 9])
def test_few_and_many_contributions_give_the_same(windows: int, count: int, top: int) -> None:
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 9, (windows, count)).astype(np.float32)
    rows[1:, ::3] = rng.choice([math.nan, -math.inf, math.inf, -1.0, 5.5], rows[1:, ::3].shape)
    rows[2, 5:] = math.nan  # fewer are left than are looked for
    names = [f"s{index}" for index in range(count)]
    cleaned = np.where(np.isnan(rows), -math.inf, rows).tolist()
    kept = [[one for one in wanted(row, top) if one[1] > -math.inf] for row in cleaned]
    assert largest_contributions(rows, names, top) == kept


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.float16, np.float64])
@pytest.mark.parametrize("windows", [1, 20])
@pytest.mark.parametrize("count", [3, 33])
@pytest.mark.parametrize("top", [3, 9])
def test_contributions_may_be_of_any_number(
    dtype: type, windows: int, count: int, top: int
) -> None:
    row = np.arange(count)[::-1].astype(dtype)
    rows = np.stack([row] * windows)
    found = largest_contributions(rows, [f"s{index}" for index in range(count)], top)
    assert found == [[(f"s{n}", float(row[n])) for n in range(min(top, count))]] * windows
    assert all(type(value) is float for one in found for _, value in one)


@pytest.mark.parametrize("top", [3, 9])
@pytest.mark.parametrize("strange", [math.nan, -math.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("windows", [1, 20])
@pytest.mark.parametrize("others", [0, 32])
def test_what_is_no_number_is_no_contribution(
    place: int, strange: float, top: int, windows: int, others: int
) -> None:
    row = [3.0, 2.0]
    row.insert(place, strange)
    row += [strange] * others
    rows = np.array([row] * windows, np.float32)
    names = [f"s{index}" for index in range(len(row))]
    first, second = largest_contributions(rows, names, top)[-1]
    assert (first[1], second[1]) == (3.0, 2.0)
    kept = [name for index, name in enumerate(names[:3]) if index != place]
    assert [first[0], second[0]] == kept
