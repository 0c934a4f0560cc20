"""Values of one message taken together make the windows that they make one by one."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeai.streams.factory import open_stream
from edgeai.streams.grid_values import AlignSettings
from edgeai.streams.settings import StreamSettings

S = 10**9
START = 1_763_719_200 * S


def settings_of(method: Literal["hold", "linear"], lateness: int) -> StreamSettings:
    align = AlignSettings(method, S, 5 * S, lateness * S)
    return StreamSettings(
        length=3, hop=1, channels=3, period_ns=S, max_gap_ns=8 * S, lateness_ns=lateness * S,
        invalid="hold", align=align,
    )  # fmt: skip


class Line:
    """A stream with what it emits and counts."""

    def __init__(self, setting: StreamSettings) -> None:
        self.counts: list[Counter[str]] = [Counter(), Counter(), Counter()]
        self.windows: list[Any] = []
        self.stream = open_stream(setting, *self.counts, self._emit)

    def _emit(self, window: Any, time_ns: int, substituted: int, uncertain: bool) -> None:
        self.windows.append((time_ns, window.tolist(), substituted, uncertain))


ONE = st.tuples(
    st.integers(-40, 60),  # tenths of a second after the message's time
    st.integers(0, 2),
    st.sampled_from([0.0, 1.0, 2.5, float("nan")]),
    st.booleans(),
)
MESSAGES = st.lists(
    st.tuples(
        st.sampled_from([1, 1, 1, 2, 30, -3]),  # seconds since the message before
        st.lists(ONE, max_size=5) | st.just([(0, 0, 1.0, False), (0, 1, 1.0, False)]),
        st.booleans(),
    ),
    max_size=30,
)  # fmt: skip


WRONG_TIME: list[Any] = [
    (4, [], True), (-3, [], True), (1, [], True), (1, [], True), (1, [(1, 0, 2.5, False)], False),
]  # fmt: skip
"""A value after a hole, then those of the hole, and the right one a tenth of a second later."""


@pytest.mark.parametrize(("method", "lateness"), [("hold", 0), ("linear", 0), ("hold", 2)])
def test_values_together(method: Literal["hold", "linear"], lateness: int) -> None:
    @settings(deadline=None, max_examples=25)
    @example(messages=WRONG_TIME, regular=20)
    @given(messages=MESSAGES, regular=st.sampled_from([0, 4, 20]))
    def check(messages: list[Any], regular: int) -> None:
        one, other = Line(settings_of(method, lateness)), Line(settings_of(method, lateness))
        at_ns = START
        messages = [*[(1, [], True)] * regular, *messages]  # the channels' rates are known by then
        for step, found, all_channels in messages:
            at_ns += step * S
            values = [(0, channel, 1.0, False) for channel in range(3)] if all_channels else []
            values = sorted([*values, *found], key=lambda value: value[0])
            times = [at_ns + tenths * S // 10 for tenths, *_ in values]
            columns = [list(column) for column in zip(*values, strict=True)][1:] or [[], [], []]
            one.stream.push_tags(times, *columns, at_ns + 6 * S)
            for time_ns, channel, value, flag in zip(times, *columns, strict=True):
                other.stream.push_tag(time_ns, channel, value, flag, at_ns + 6 * S)
        one.stream.flush()
        other.stream.flush()
        np.testing.assert_equal(one.windows, other.windows)
        assert one.counts == other.counts

    check()


def test_what_came_together_is_known_if_it_comes_again() -> None:
    line = Line(settings_of("hold", 0))
    channels, flags = [0, 1, 2], [False] * 3
    for again in range(2):
        for n in range(1600):
            values = [n % 50 / 2, 1.0, 2.0]
            line.stream.push_tags([START + n * S] * 3, channels, values, flags, START + n * S)
        assert line.counts[0]["duplicate"] >= 0.95 * again * 3 * 1599
    assert set(line.counts[0]) == {"duplicate"}
