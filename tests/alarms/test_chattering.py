"""Chattering: as often as the rule says within its time, until the alarm is quiet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeai.alarms.chattering import Chattering, ChatteringRule, chattering_rule
from edgeai.config.alarms import ChatteringConfig

NS = 10**9
RULE = ChatteringRule(3, 60 * NS, 30 * NS, is_held=True)


def begins(one: Chattering, *seconds: float) -> list[bool]:
    """Whether it begins to chatter with each activation; a second later it is normal again."""
    found = []
    for at in seconds:
        found.append(one.change(round(at * NS), is_active=True))
        assert not one.change(round((at + 1) * NS), is_active=False)
    return found


def test_the_third_activation_within_the_time_begins_it() -> None:
    assert begins(Chattering(RULE), 0, 20, 40, 60) == [False, False, True, False]
    assert begins(Chattering(RULE), 0, 30, 61, 92) == [False] * 4
    assert begins(Chattering(RULE), 0, 30, 60) == [False, False, True], "the whole time counts"


def test_it_ends_when_the_state_has_not_changed_for_the_time() -> None:
    one = Chattering(RULE)
    begins(one, 0, 5, 10)  # the last change is at 11 s
    assert one.is_chattering(40 * NS)
    assert not one.is_chattering(41 * NS)
    assert begins(one, 100) == [False]
    assert not one.is_chattering(101 * NS)


def test_a_clock_that_was_set_back_ends_it() -> None:
    one = Chattering(RULE)
    begins(one, 100, 105, 110)
    assert not one.is_chattering(50 * NS)
    assert begins(one, 50, 55) == [False, False], "activations of before do not count"


def test_the_defaults_are_those_of_the_standard_and_hold_nothing() -> None:
    assert chattering_rule(None) == ChatteringRule(3, 60 * NS, 60 * NS, is_held=False)
    declared = ChatteringConfig(activations=5, within_seconds=10.0, quiet_seconds=2.5)
    assert chattering_rule(declared) == ChatteringRule(5, 10 * NS, 5 * NS // 2, is_held=True)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_it_chatters_only_with_enough_activations(gaps: list[float]) -> None:
    one, at, times = Chattering(RULE), 0.0, list[float]()
    for gap in gaps:
        at += gap + 0.001
        times.append(at)
        one.change(round(at * NS), is_active=True)
        recent = [time for time in times if at - time <= 60]
        if len(recent) >= 3:
            assert one.is_on
        elif one.is_on:
            assert gap < 30, "it goes on only while it is not quiet"
