"""Operating states, by timelines: what a machine shows sample by sample, and what follows.

A timeline has a letter for each sample, one a second: `S` stopped, `P` and `Q` two products, `.` no
declared state, `?` a signal without a value, a space no sample (a gap if there are several).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeai.config.states import StateConfig
from edgeai.states.rules import StateRules
from edgeai.states.tracker import KeptState, StateTracker

NS = 10**9
BASE = 1_795_800_000
CODES = {"S": 0.0, "P": 1.0, "Q": 2.0, ".": 9.0, "?": math.nan}
JUDGED = {"state": "n", "transition": "x", "settling": "s", "undeclared": ".", "unknown": "?"}
"""Letter of each reason; `J` stands for a window that is judged."""
GAP_SECONDS = 3


def rules(**changes: dict[str, Any]) -> StateRules:
    states: dict[str, dict[str, Any]] = {
        "S": {"when": {"signal": "mode", "equals": 0}, "judge": False},
        "P": {"when": {"signal": "mode", "equals": 1}},
        "Q": {"when": {"signal": "mode", "equals": 2}},
    }
    for name, more in changes.items():
        states[name] |= more
    config = {name: StateConfig.model_validate(one) for name, one in states.items()}
    return StateRules(config, {"mode": 1}, GAP_SECONDS * NS)


class Machine:
    """A tracker, and the windows that end with each sample."""

    def __init__(self, length: int = 1, **changes: dict[str, Any]) -> None:
        self.length = length
        self.rules = rules(**changes)
        self.tracker = StateTracker(self.rules)
        self.times: list[int] = []

    def see(self, timeline: str, begin: int = 0) -> str:
        """Give samples one at a time; return a letter for each window, a space where is none."""
        found = ""
        for second, letter in enumerate(timeline, begin):
            if letter == " ":
                found += " "
                continue
            time_ns = (BASE + second) * NS
            if self.times and not 0 < time_ns - self.times[-1] <= GAP_SECONDS * NS:
                self.times.clear()
            self.times.append(time_ns)
            self.tracker.take([time_ns], np.array([[5.0, CODES[letter]]], np.float32))
            if len(self.times) < self.length:
                found += " "
                continue
            standing = self.tracker.standing(self.times[-self.length])
            found += JUDGED[standing.not_judged] if standing.not_judged else "J"
        return found

    @property
    def current(self) -> str:
        assert self.tracker.current is not None
        return self.rules.name_of(self.tracker.current)


@pytest.mark.parametrize(
    ("timeline", "wanted", "length", "changes"),
    [
        # a window belongs to a state only if all its samples do
        ("SSSPPPPPQQQQ", "  nxxJJJxxJJ", 3, {}),
        ("PPP.PPPP", "  JxxxJJ", 3, {}),
        ("PPP?PPPP", "  JxxxJJ", 3, {}),
        ("P.......P", "J.......J", 1, {}),
        ("????PP", "????JJ", 1, {}),
        ("..??PP", " .x?xJ", 2, {}),
        # the time to settle counts from the first sample in the state, to the window's first one
        ("SSPPPPPPP", "nnsssJJJJ", 1, {"P": {"settle_seconds": 3}}),
        ("SSPPPPPPP", " nxsssJJJ", 2, {"P": {"settle_seconds": 3}}),
        ("PPPPPPP", "sssJJJJ", 1, {"P": {"settle_seconds": 3}}),
        # another declared state was entered: the whole time to settle again
        ("PPPPPQQPPPPP", "sssJJJJsssJJ", 1, {"P": {"settle_seconds": 3}}),
        # away for 2 s without another state: 2 s to settle
        ("PPPPP.PPPPP", "sssJJ.ssJJJ", 1, {"P": {"settle_seconds": 3}}),
        ("PPPPP?PPPPP", "sssJJ?ssJJJ", 1, {"P": {"settle_seconds": 3}}),
        ("PPPPP.......PPPPP", "sssJJ.......sssJJ", 1, {"P": {"settle_seconds": 3}}),
        # the same for a gap, in which nobody saw the machine
        ("PPPPP    PPPPPPPP", "sssss    sssssJJJ", 1, {"P": {"settle_seconds": 9}}) ,
        ("PPPPP  PPPP", "sssJJ  JJJJ", 1, {"P": {"settle_seconds": 3}}),
        # a gap does not end a state that is still the same
        ("PPP    PPPP", "  J      JJ", 3, {}),
        # a state that does not last long enough is not entered
        ("PPPPSSPPPP", "JJJJxxJJJJ", 1, {"S": {"min_seconds": 2}}),
        ("PPPPSSSSPP", "JJJJxxnnJJ", 1, {"S": {"min_seconds": 2}}),
        ("PPPPSSPPPPP", "  JJxxxxJJJ", 3, {"S": {"min_seconds": 2}}),
        ("SSPPPPPPPP", "nnxxssJJJJ", 1, {"P": {"min_seconds": 2, "settle_seconds": 4}}),
        # a short stop that is not entered needs no whole time to settle after it
        ("PPPPPPPPSPPPP", "sssssJJJxssJJ", 1,
         {"P": {"settle_seconds": 5}, "S": {"min_seconds": 2}}),
    ],
)  # fmt: skip
def test_timelines(
    timeline: str, wanted: str, length: int, changes: dict[str, dict[str, Any]]
) -> None:
    assert Machine(length, **changes).see(timeline) == wanted


def test_the_first_state_whose_condition_is_true_holds() -> None:
    states = {
        "low": {"when": {"signal": "a", "below": 5}},
        "some": {"when": {"signal": "mode", "one_of": [1, 2]}},
    }
    config = {name: StateConfig.model_validate(one) for name, one in states.items()}
    tracker = StateTracker(StateRules(config, {"a": 0, "mode": 1}, None))
    rows = np.array([[1, 1], [9, 1], [9, 3], [math.nan, 1], [1, math.nan]], np.float32)
    names = []
    for second, row in enumerate(rows):
        tracker.take([second * NS], row[np.newaxis])
        assert tracker.current is not None
        names.append(tracker._rules.name_of(tracker.current))
    # Where the first may be true, the second is not sure.
    assert names == ["low", "some", "undeclared", "unknown", "low"]


def test_state_and_the_one_before_it_are_known_with_their_times() -> None:
    machine = Machine()
    machine.see("SSPP.QQ")
    tracker = machine.tracker
    assert (machine.current, tracker.since_ns) == ("Q", (BASE + 5) * NS)
    assert tracker.previous is not None
    assert machine.rules.name_of(tracker.previous) == "undeclared"


def test_the_time_in_no_declared_state_goes_on_while_it_is_not_known() -> None:
    machine = Machine(P={"min_seconds": 3})
    machine.see("SS..??P..")
    assert machine.tracker.missing_ns == (BASE + 2) * NS
    machine.see("PPPP", 9)
    assert machine.tracker.missing_ns is None


def test_a_clock_that_was_set_back_keeps_what_is_left_of_the_time_to_settle() -> None:
    machine = Machine(P={"settle_seconds": 5})
    assert machine.see("SPPP") == "nsss"
    assert machine.see("PPPPP", -100) == "sssJJ"
    machine = Machine(P={"settle_seconds": 5})
    machine.see("SPPPPPPPP")
    assert machine.see("PPP", -100) == "JJJ"


@pytest.mark.parametrize(
    ("away", "timeline", "wanted"),
    [
        (1, "PPPP", "sJJJ"),  # settles for the time in which nobody saw it
        (3, "PPPP", "sssJ"),
        (60, "PPPPPP", "ssssJJ"),
        (60, "QQ", "JJ"),
    ],
)
def test_a_state_goes_on_after_a_restart(away: int, timeline: str, wanted: str) -> None:
    before = Machine(P={"settle_seconds": 4})
    before.see("SPPPPPPPP")
    kept = before.tracker.keep()
    assert kept == KeptState("P", (BASE + 1) * NS, (BASE + 8) * NS)
    assert Machine().tracker.keep() is None
    after = Machine(P={"settle_seconds": 4})
    after.tracker.restore(kept)
    assert after.see(timeline, 8 + away) == wanted
    if "P" in timeline:
        assert after.tracker.since_ns == kept.since_ns


def test_a_state_of_before_that_is_not_declared_any_more_is_none() -> None:
    machine = Machine()
    machine.tracker.restore(KeptState("gone", BASE * NS, BASE * NS))
    assert machine.tracker.current is None
    assert machine.see("P") == "J"


@given(
    letters=st.text("SPQ.? ", max_size=40),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    settle=st.integers(0, 5),
    least=st.integers(0, 3),
)
def test_the_result_does_not_depend_on_how_samples_are_split(
    letters: str, sizes: list[int], settle: int, least: int
) -> None:
    """In a ring a window is looked at where it ends; samples before it come in any number."""
    changes: dict[str, Any] = {
        "P": {"settle_seconds": settle, "min_seconds": least},
        "Q": {"min_seconds": least},
    }
    single, many = Machine(**changes), Machine(**changes)
    samples = [(second, letter) for second, letter in enumerate(letters) if letter != " "]
    begin = turn = 0
    while begin < len(samples):
        part = samples[begin : begin + sizes[turn % len(sizes)]]
        gaps = [
            index
            for index in range(1, len(part))
            if part[index][0] - part[index - 1][0] > GAP_SECONDS
        ]
        part = part[: gaps[0]] if gaps else part  # a gap empties the ring
        begin, turn = begin + len(part), turn + 1
        for second, letter in part:
            single.see(letter, second)
        times = [(BASE + second) * NS for second, _ in part]
        rows = np.array([[5.0, CODES[letter]] for _, letter in part], np.float32)
        many.tracker.take(times, rows)
        for name in StateTracker.__slots__:
            if name not in {"_changes", "_evaluations", "_rules"}:
                assert getattr(many.tracker, name) == getattr(single.tracker, name), name
