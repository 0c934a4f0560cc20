"""Alarm state from scores, as timelines.

One column per second, threshold 5, `#` while the alarm is active, `L` while it is latched:

    score    4 6 6 4 4
    state    . # # . .
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edgeai.alarms.alarm import Alarm, AlarmRule, QualityRule, alarm_rule, quality_of, quality_rule
from edgeai.config.alarms import AlarmConfig

NS = 10**9
SIGNS = {"normal": ".", "active": "#", "latched": "L"}


def rule_of(
    deadband: float = 0, on: float = 0, off: float = 0, *, latch: bool = False
) -> AlarmRule:
    return AlarmRule(5.0, deadband, round(on * NS), round(off * NS), latch)


def low_rule(
    deadband: float = 0, on: float = 0, off: float = 0, *, latch: bool = False
) -> AlarmRule:
    return AlarmRule(5.0, deadband, round(on * NS), round(off * NS), latch, abnormal="low")


def timeline(alarm: Alarm, scores: str) -> str:
    """Update with one digit per second; `r` resets, `-` is a window of bad quality, not used."""
    states = ""
    for second, sign in enumerate(scores):
        before = alarm.state
        changed = False
        if sign == "r":
            changed = alarm.reset(second * NS)
        elif sign != "-":
            changed = alarm.update(float(sign), second * NS)
        assert changed == (alarm.state != before)
        if changed:
            assert alarm.since_ns == second * NS
        states += SIGNS[alarm.state]
    return states


@pytest.mark.parametrize(
    ("rule", "scores", "states"),
    [
        # --------------------------- threshold: active above it, not at it; normal again at once
        (rule_of(), "4566545", "..###.."),
        (rule_of(), "69999", "#####"),
        (rule_of(), "65554", "####."),  # at the threshold neither starts nor ends
        # --------------------------- deadband 2: normal below 3, not at 3
        (rule_of(deadband=2), "4643233", ".###..."),
        (rule_of(deadband=2), "6353536", "#######"),
        # --------------------------- on-delay 2 s: active when the condition has lasted 2 s
        (rule_of(on=2), "66666", "..###"),
        (rule_of(on=2), "66466466", "........"),
        (rule_of(on=2), "466646666", "...#...##"),
        # --------------------------- off-delay 2 s
        (rule_of(off=2), "644444", "###..."),
        (rule_of(off=2), "6446444", "######."),
        (rule_of(off=2), "6445444", "######."),  # 5 is not below the threshold
        # --------------------------- both, with a deadband
        (rule_of(2, 1, 2), "666444222266", ".#######...#"),
        # --------------------------- latch
        (rule_of(latch=True), "644r44", "#LL..."),
        (rule_of(latch=True), "64646r", "#L#L##"),  # a reset does not end an active alarm
        (rule_of(latch=True), "4r64r6", "..#L.#"),
        (rule_of(on=2, latch=True), "6664466466644", "..#LLLLLLL#LL"),
        (rule_of(off=1, latch=True), "6444r", "##LL."),
        # --------------------------- windows of bad quality are not used, but time goes on
        (rule_of(on=2), "6-6", "..#"),
        (rule_of(off=2), "64--4", "####."),
    ],
)
def test_timelines(rule: AlarmRule, scores: str, states: str) -> None:
    assert timeline(Alarm(rule), scores) == states


def test_a_delay_is_sample_time_not_a_number_of_samples() -> None:
    alarm = Alarm(rule_of(on=60))
    assert not alarm.update(9, 0)
    assert not alarm.update(9, 60 * NS - 1)
    assert alarm.update(9, 60 * NS)
    assert alarm.since_ns == 60 * NS


def test_a_reset_restarts_the_on_delay() -> None:
    assert timeline(Alarm(rule_of(on=2, latch=True)), "66646r666") == "..#LL...#"


def test_a_clock_set_back_does_not_shorten_a_delay() -> None:
    alarm = Alarm(rule_of(on=10))
    assert not alarm.update(9, 1000 * NS)
    assert not alarm.update(9, 5 * NS)
    assert not alarm.update(9, 14 * NS)
    assert alarm.update(9, 15 * NS)


def test_a_reset_of_an_alarm_that_is_not_latched_changes_nothing() -> None:
    alarm = Alarm(rule_of())
    assert not alarm.reset(0)
    assert alarm.since_ns is None
    alarm.update(9, NS)
    assert not alarm.reset(2 * NS)
    assert (alarm.state, alarm.since_ns) == ("active", NS)


def test_the_config_overrides_the_package_and_the_package_overrides_the_defaults() -> None:
    empty = AlarmConfig()
    assert alarm_rule(3.0, empty, empty) == AlarmRule(3.0, 0.0, 0, 0, False)
    package = AlarmConfig(deadband=1.0, on_delay_seconds=2.5, latch=True)
    assert alarm_rule(3.0, package, empty) == AlarmRule(3.0, 1.0, 5 * NS // 2, 0, True)
    chosen = AlarmConfig(
        threshold=0.0, deadband=0.0, on_delay_seconds=0.0, off_delay_seconds=1e-9, latch=False
    )
    assert alarm_rule(3.0, package, chosen) == AlarmRule(0.0, 0.0, 0, 1, False)


@pytest.mark.parametrize(
    ("substituted", "uncertain", "ratio", "quality"),
    [
        (0, False, 0.2, "good"),
        (0, False, 0.0, "good"),
        (0, True, 0.2, "uncertain"),
        (1, False, 0.2, "uncertain"),
        (20, False, 0.2, "uncertain"),
        (21, False, 0.2, "bad"),
        (21, True, 0.2, "bad"),
        (1, False, 0.0, "bad"),
        (100, False, 1.0, "uncertain"),
        (29, False, 0.295, "uncertain"),
        (30, False, 0.295, "bad"),
    ],
)
def test_quality(substituted: int, uncertain: bool, ratio: float, quality: str) -> None:
    assert quality_of(substituted, uncertain, quality_rule(100, ratio)) == quality


@pytest.mark.parametrize(
    ("substituted", "uncertain", "held", "quality"),
    [
        (0, False, (5, 12), "good"),
        (5, False, (5, 12), "good"),  # as many as the model bears
        (6, False, (5, 12), "uncertain"),
        (11, False, (5, 12), "uncertain"),
        (12, False, (5, 12), "bad"),  # from here on its decisions change
        (5, True, (5, 12), "uncertain"),  # for another reason
        (20, False, (5, None), "uncertain"),
        (21, False, (5, None), "bad"),  # the ratio of the pipeline
        (21, False, (50, None), "bad"),  # which goes before what the model bears
        (21, False, (50, 90), "bad"),
    ],
)
def test_quality_follows_what_the_model_bears(
    substituted: int, uncertain: bool, held: tuple[int, int | None], quality: str
) -> None:
    assert quality_of(substituted, uncertain, quality_rule(100, 0.2, *held)) == quality


def test_no_number_of_values_is_both_good_and_bad() -> None:
    assert quality_rule(176, 0.2, 40) == QualityRule(35, 36)


# ------------------------------------------------------------------------ side of the threshold


@pytest.mark.parametrize(
    ("rule", "scores", "states"),
    [
        (low_rule(), "6544565", "..###.."),
        (low_rule(deadband=2), "4678867", "###...."),  # normal again above 7
        (low_rule(on=2, off=2), "444466666", "..####..."),
        (low_rule(latch=True), "464r", "#L##"),
    ],
)
def test_a_low_score_is_abnormal_where_the_model_says_so(
    rule: AlarmRule, scores: str, states: str
) -> None:
    assert timeline(Alarm(rule), scores) == states


@settings(deadline=None, max_examples=60)
@given(scores=st.lists(st.integers(0, 9), min_size=1, max_size=40), deadband=st.integers(0, 4))
def test_low_is_high_turned_round(scores: list[int], deadband: int) -> None:
    high = Alarm(AlarmRule(5.0, deadband, NS, 2 * NS, latch=True))
    low = Alarm(AlarmRule(-5.0, deadband, NS, 2 * NS, latch=True, abnormal="low"))
    for second, score in enumerate(scores):
        changed = high.update(score, second * NS)
        assert low.update(-score, second * NS) == changed
        assert low.state == high.state


# ------------------------------------------------------------------------------ outside the domain


def outside_timeline(alarm: Alarm, scores: str) -> str:
    """Like `timeline`; `o` is a window outside the domain, `l` an active alarm of low priority."""
    states = ""
    for second, sign in enumerate(scores):
        before = alarm.state, alarm.priority
        if sign == "o":
            changed = alarm.update_outside(0.0, second * NS)
        else:
            changed = alarm.update(float(sign), second * NS)
        assert changed == (alarm.state != before[0] or alarm.priority != before[1])
        states += "l" if (alarm.state, alarm.priority) == ("active", "low") else SIGNS[alarm.state]
    return states


OUTSIDE = AlarmRule(5.0, 2.0, NS, 2 * NS, latch=False, outside_delay_ns=3 * NS)


@pytest.mark.parametrize(
    ("scores", "states"),
    [
        ("oooo", "...l"),  # after its own delay
        ("ooo4oooo", ".......l"),  # inside in between: the delay starts again
        ("oo9oo", "....."),  # neither condition has lasted for its delay
        ("99oooooooo", ".#########"),  # an alarm stays while windows are outside
        ("99ooo222", ".######."),  # the off-delay begins with the first window inside
        ("99ooo444", ".#######"),  # and needs a score below threshold - deadband
        ("oooo444", "...lll."),  # back inside: normal after the off-delay, whatever the deadband
        ("oooo99", "...ll#"),  # back inside with a fault: high priority after the on-delay
        ("oooo4o4o4o", "...lllllll"),
    ],
)
def test_outside_the_domain(scores: str, states: str) -> None:
    assert outside_timeline(Alarm(OUTSIDE), scores) == states


def test_a_latched_alarm_waits_for_its_reset_outside_the_domain_too() -> None:
    alarm = Alarm(AlarmRule(5.0, 0.0, 0, 0, latch=True, outside_delay_ns=0))
    alarm.update(9.0, 0)
    alarm.update(1.0, NS)
    assert not alarm.update_outside(0.0, 2 * NS)
    assert (alarm.state, alarm.priority) == ("latched", "high")


class AlarmMachine(RuleBasedStateMachine):
    """A reference that derives the state from the scores since the last transition."""

    @initialize(
        deadband=st.sampled_from([0.0, 2.0]),
        on=st.integers(0, 4),
        off=st.integers(0, 4),
        latch=st.booleans(),
    )
    def begin(self, deadband: float, on: int, off: int, latch: bool) -> None:
        self.rule_ = AlarmRule(5.0, deadband, on, off, latch)
        self.alarm = Alarm(self.rule_)
        self.state = "normal"
        self.since: int | None = None
        self.scores: list[tuple[int, float]] = []
        self.now = 0

    def enter(self, state: str) -> None:
        self.state, self.since = state, self.now
        self.scores.clear()

    @rule(score=st.sampled_from([0.0, 2.9, 3.0, 4.0, 5.0, 5.1, 9.0]), step=st.integers(0, 3))
    def judge(self, score: float, step: int) -> None:
        self.now += step
        self.scores.append((self.now, score))
        active = self.state == "active"
        run_began = None  # start of the unbroken run of scores that require a change
        for time_ns, value in reversed(self.scores):
            if not (value < 5.0 - self.rule_.deadband if active else value > 5.0):
                break
            run_began = time_ns
        delay = self.rule_.off_delay_ns if active else self.rule_.on_delay_ns
        changes = run_began is not None and self.now - run_began >= delay
        assert self.alarm.update(score, self.now) == changes
        if changes:
            self.enter("active" if not active else "latched" if self.rule_.latch else "normal")

    @rule(step=st.integers(0, 3))
    def reset(self, step: int) -> None:
        self.now += step
        changes = self.state == "latched"
        assert self.alarm.reset(self.now) == changes
        if changes:
            self.enter("normal")

    @invariant()
    def agrees(self) -> None:
        assert (self.alarm.state, self.alarm.since_ns) == (self.state, self.since)
        assert self.rule_.latch or self.state != "latched"


TestAlarmMachine = AlarmMachine.TestCase
TestAlarmMachine.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)


@settings(deadline=None, max_examples=60)
@given(scores=st.lists(st.floats(0, 10), min_size=1, max_size=40), deadband=st.floats(0, 5))
def test_without_delays_the_state_is_the_comparison(scores: list[float], deadband: float) -> None:
    alarm = Alarm(rule_of(deadband))
    active = False
    for second, score in enumerate(scores):
        alarm.update(score, second * NS)
        active = score > 5 or (active and score >= 5 - deadband)
        assert (alarm.state == "active") == active


def test_an_interruption_restarts_a_running_delay() -> None:
    alarm = Alarm(AlarmRule(1.0, 0.0, on_delay_ns=10, off_delay_ns=10, latch=False))
    assert not alarm.update(2.0, 0)
    alarm.interrupt()
    assert not alarm.update(2.0, 15), "the condition was not seen between 0 and 15"
    assert alarm.update(2.0, 25)
    assert not alarm.update(0.0, 30)
    alarm.interrupt()
    assert not alarm.update(0.0, 45)
    assert alarm.state == "active"
    assert alarm.update(0.0, 55)
    assert alarm.state == "normal"
