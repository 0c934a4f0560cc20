"""Conversion of raw values to engineering units, and the values that cannot be used."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeai.streams.conditioning import Conditioned, Conditioner

NAN = np.nan
LARGEST = float(np.finfo(np.float32).max)
Policy = Literal["keep", "hold", "drop"]
POLICIES: list[Policy] = ["keep", "hold", "drop"]


def one(raw: list[list[float]], policy: Policy = "keep", **given_: object) -> Conditioned:
    channels = len(raw[0])
    options = {"scale": [1.0] * channels, "offset": [0.0] * channels, "ranges": [None] * channels}
    options.update(given_)  # type: ignore[arg-type]
    return Conditioner(**options, out_of_range=policy).rows(np.array(raw, np.float64))


def test_usable_values_are_not_changed() -> None:
    done = one([[1.5, 2.0], [3.0, -4.0]])
    assert done.values.dtype == np.float32
    np.testing.assert_array_equal(done.values, [[1.5, 2.0], [3.0, -4.0]])
    assert (done.invalid, done.uncertain, done.dropped) == (None, None, None)


def test_scale_and_offset() -> None:
    done = one([[10.0, 50.0]], scale=[0.1, 5 / 9], offset=[1.0, -160 / 9])
    np.testing.assert_allclose(done.values, [[2.0, 10.0]], rtol=1e-6)


@pytest.mark.parametrize("policy", POLICIES)
def test_nan_is_invalid_whatever_the_policy_on_ranges(policy: Policy) -> None:
    done = one([[1.0, NAN], [1.0, 2.0]], policy, ranges=[(0.0, 5.0), (0.0, 5.0)])
    np.testing.assert_array_equal(done.values, [[1.0, NAN], [1.0, 2.0]])
    assert done.invalid is not None
    np.testing.assert_array_equal(done.invalid, [[False, True], [False, False]])
    assert done.uncertain is None
    assert done.dropped is None


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("value", [1e300, -1e300, 3.5e38])
@pytest.mark.parametrize("limits", [None, (0.0, 5.0), (-1e308, 1e308)])
def test_values_beyond_float32_never_reach_a_window(
    policy: Policy, value: float, limits: tuple[float, float] | None
) -> None:
    conditioner = Conditioner([1.0], [0.0], [limits], policy)
    done = conditioner.rows(np.array([[value]]))
    assert np.isnan(done.values).all()
    assert done.invalid is not None
    assert done.invalid.all()
    assert done.dropped is None
    assert conditioner.counts["not_finite"] == 1
    assert conditioner.counts["out_of_range"] == 0


def test_a_scale_that_overflows_gives_no_warning() -> None:
    conditioner = Conditioner([1e10, 1.0], [0.0, 0.0], [None, None], "keep")
    done = conditioner.rows(np.array([[1e305, 1.0]]))
    np.testing.assert_array_equal(done.values, [[NAN, 1.0]])
    assert conditioner.counts["not_finite"] == 1


def test_the_largest_float32_is_a_value() -> None:
    assert one([[LARGEST, -LARGEST]]).invalid is None


@pytest.mark.parametrize("value", [0.1, 0.3, 16_777_217.0])
def test_the_ends_of_a_range_are_inside(value: float) -> None:
    assert one([[value]], ranges=[(value, value + 1)]).uncertain is None
    assert one([[value]], ranges=[(value - 1, value)]).uncertain is None


def test_out_of_range_policies() -> None:
    raw = [[1.0, 1.0], [9.0, 1.0], [1.0, NAN], [9.0, NAN]]
    ranges = [(0.0, 5.0), (0.0, 5.0)]
    keep = one(raw, "keep", ranges=ranges)
    np.testing.assert_array_equal(keep.values, raw)
    assert keep.uncertain is not None
    assert keep.uncertain.tolist() == [False, True, False, True]
    assert keep.dropped is None
    hold = one(raw, "hold", ranges=ranges)
    np.testing.assert_array_equal(hold.values, [[1, 1], [NAN, 1], [1, NAN], [NAN, NAN]])
    assert hold.invalid is not None
    np.testing.assert_array_equal(hold.invalid, np.isnan(hold.values))
    assert (hold.uncertain, hold.dropped) == (None, None)
    drop = one(raw, "drop", ranges=ranges)
    assert drop.dropped is not None
    assert drop.dropped.tolist() == [False, True, False, True]
    assert drop.uncertain is None


def test_tags_take_the_settings_of_their_channel() -> None:
    conditioner = Conditioner([1.0, 10.0], [0.0, 1.0], [(0.0, 5.0), None], "keep")
    done = conditioner.tags(np.array([9.0, 9.0, 4.0, NAN]), np.array([0, 1, 0, 1]))
    np.testing.assert_array_equal(done.values, [[9.0], [91.0], [4.0], [NAN]])
    assert done.uncertain is not None
    assert done.uncertain.tolist() == [True, False, False, False]
    assert conditioner.counts["out_of_range"] == 1


VALUES = st.sampled_from([0.0, 1.0, -1.0, 2.5, 9.0, -9.0, NAN, 1e300, -1e300, LARGEST, 1e-300])


@settings(deadline=None, max_examples=150)
@given(
    raw=st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=12),
    policy=st.sampled_from(POLICIES),
    limits=st.sampled_from([None, (-5.0, 5.0), (0.0, 1e300)]),
    scale=st.sampled_from([1.0, -2.0, 1e10]),
    cut=st.integers(0, 12),
)
def test_a_block_is_conditioned_like_its_samples(
    raw: list[tuple[float, float]],
    policy: Policy,
    limits: tuple[float, float] | None,
    scale: float,
    cut: int,
) -> None:
    """Reference in plain Python: invalid if not a float32, else out of range, else good."""
    array = np.array(raw, np.float64)
    whole = Conditioner([scale, 1.0], [0.5, 0.0], [limits, None], policy)
    done = whole.rows(array)
    invalid = np.zeros(array.shape, bool)
    outside = np.zeros(array.shape, bool)
    with np.errstate(over="ignore"):
        wanted = (array * [scale, 1.0] + [0.5, 0.0]).astype(np.float32)
    for place in np.ndindex(array.shape):
        value = float(wanted[place])
        invalid[place] = not np.isfinite(value)
        if limits is not None and place[1] == 0 and not invalid[place]:
            outside[place] = not limits[0] <= value <= limits[1]
    assert whole.counts["out_of_range"] == outside.sum()
    wanted[invalid] = NAN
    if policy == "hold":
        wanted[outside] = NAN
        invalid |= outside
    np.testing.assert_array_equal(done.values, wanted)
    rows = len(array)
    none = np.zeros(rows, bool)
    flags = outside.any(axis=1)
    expected = [invalid, flags if policy == "keep" else none, flags if policy == "drop" else none]
    for found, want in zip([done.invalid, done.uncertain, done.dropped], expected, strict=True):
        np.testing.assert_array_equal(np.zeros_like(want) if found is None else found, want)
    parts = Conditioner([scale, 1.0], [0.5, 0.0], [limits, None], policy)
    pieces = [parts.rows(part) for part in (array[:cut], array[cut:]) if len(part)]
    np.testing.assert_array_equal(np.concatenate([piece.values for piece in pieces]), done.values)
    assert parts.counts["not_finite"] == whole.counts["not_finite"]
    assert parts.counts["out_of_range"] == whole.counts["out_of_range"]


VALUES = st.floats(width=32) | st.sampled_from([0.0, 5.0, -5.0, 1e300, NAN])


@given(
    raw=st.lists(VALUES, min_size=3, max_size=3),
    scale=st.sampled_from([1.0, 0.5]),
    offset=st.sampled_from([0.0, 2.0]),
    limits=st.sampled_from([None, (-5.0, 5.0), (0.0, 1e308)]),
)
@settings(deadline=None)
def test_one_sample_is_conditioned_as_a_block_of_one(
    raw: list[float], scale: float, offset: float, limits: tuple[float, float] | None
) -> None:
    """`one` returns what `rows` returns, or None: never for a sample of plain values in range."""
    conditioner = Conditioner([scale] * 3, [offset] * 3, [limits, None, limits], "keep")
    single = conditioner.one(raw)
    block = conditioner.rows(np.array([raw], np.float64))
    clean = block.invalid is None and block.uncertain is None
    assert (single is not None) <= clean
    if single is not None:
        np.testing.assert_array_equal(np.array(single, np.float32), block.values[0])
    elif clean:
        # Only a value that rounding to float32 brings to the limit may be left to `rows`.
        low, high = (-LARGEST, LARGEST) if limits is None else np.clip(limits, -LARGEST, LARGEST)
        scaled = np.array(raw) * scale + offset
        assert ((scaled < low) | (scaled > high) | (np.abs(scaled) > LARGEST)).any()


def test_one_sample_in_range_is_taken() -> None:
    conditioner = Conditioner([2.0, 1.0], [1.0, 0.0], [(0.0, 5.0), None], "keep")
    assert conditioner.one([1.0, 7.0]) == [3.0, 7.0]
    assert conditioner.one([3.0, 7.0]) is None
