"""One value is conditioned as it is in a block, to the bit, or left to the block."""

from __future__ import annotations

import math
import struct

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from edgeai.streams.conditioning import Conditioner


@given(
    raw=st.floats() | st.floats(9.9, 10.1) | st.floats(width=32) | st.integers(-(2**70), 2**70),
    scale=st.sampled_from([1.0, 0.1, -3.0, 1e30]),
    offset=st.sampled_from([0.0, 0.1]),
    limits=st.sampled_from([None, (-10.0, 10.0), (0.1, 0.3)]),
)
@example(10.0000001, 1.0, 0.0, (-10.0, 10.0))
def test_one_value_is_that_of_a_block(
    raw: float, scale: float, offset: float, limits: tuple[float, float] | None
) -> None:
    conditioner = Conditioner([2.0, scale], [0.0, offset], [None, limits], "hold", [1.0, 1e6])
    found = conditioner.one_tag(float(raw), 1)
    block = conditioner.tags(np.array([float(raw)]), np.array([1]))
    if found is None:
        return
    assert (block.invalid, block.uncertain, block.dropped) == (None, None, None)
    assert struct.pack("d", found) == struct.pack("d", float(block.values[0, 0]))


def test_usual_values_need_no_block() -> None:
    conditioner = Conditioner([1.0], [0.0], [(-10.0, 10.0)], "keep")
    assert [conditioner.one_tag(value, 0) for value in (1.5, 10.0, -10.0)] == [1.5, 10.0, -10.0]
    for value in (10.1, math.nan, math.inf, 1e300):
        assert conditioner.one_tag(value, 0) is None
