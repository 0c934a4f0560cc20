"""Alarm state from scores: threshold with deadband, on-delay, off-delay, latch; window quality.

The terms are those of IEC 62682 and ISA-18.2 (alarm management) and OPC UA Part 9. An alarm becomes
active when its condition has lasted for the on-delay, and returns to normal when the condition has
been absent for the off-delay. An operator may acknowledge it while it is active. A latching alarm
that nobody has acknowledged becomes latched instead of normal, until somebody acknowledges it.

Outside the model's domain the score says nothing about the machine: it raises and ends no alarm.
If windows stay outside for a declared time, an alarm of low priority becomes active, so that a
machine that a fault has thrown out of its domain is not silent. For the same reason there is one
if a machine stays in a state that nobody declared (`edgeai.states`). While its state is one that is
not judged, an alarm stays as it is: nobody knows whether its cause is gone.

Time is the time of the samples, never the wall clock, so a replay gives the same alarms as
the live run.
"""

import math
from dataclasses import dataclass
from operator import gt, lt
from typing import Literal

from edgeai.config.alarms import AlarmConfig
from edgeai.messages import SECOND_NS, AlarmReason, AlarmState, Priority, Quality
from edgeai.model.direction import Direction

OUTSIDE_DOMAIN_SECONDS = 60.0  # default of `alarm.outside_domain_seconds`
UNDECLARED_STATE_SECONDS = 60.0  # default of `alarm.undeclared_state_seconds`


@dataclass(frozen=True)
class AlarmRule:
    """When a score makes an alarm. Delays in nanoseconds of sample time."""

    threshold: float
    """The alarm condition: a score beyond it."""
    deadband: float
    """An active alarm's condition is absent only beyond threshold and deadband."""
    on_delay_ns: int
    off_delay_ns: int
    latch: bool
    """Whether an alarm stays until it is acknowledged."""
    abnormal: Direction = "high"
    """Side of the threshold on which a score is abnormal."""
    outside_delay_ns: int = round(OUTSIDE_DOMAIN_SECONDS * SECOND_NS)
    """How long windows must be outside the model's domain for an alarm of low priority."""
    undeclared_delay_ns: int = round(UNDECLARED_STATE_SECONDS * SECOND_NS)
    """How long a machine must be in no declared state for an alarm of low priority."""
    priority: Priority = "high"
    """Of an alarm that the score raises."""


def alarm_rule(
    threshold: float,
    defaults: AlarmConfig,
    chosen: AlarmConfig,
    abnormal: Direction = "high",
) -> AlarmRule:
    """Return the alarm rule of a pipeline.

    Args:
        threshold: Used if neither of the others has a threshold.
        defaults: The alarm settings of the model package.
        chosen: The alarm settings of the configuration; each that is given takes precedence.
        abnormal: The abnormal side of the threshold, as the model package says.
    """

    def pick(name: str, fallback: float) -> float:
        for settings in (chosen, defaults):
            value = getattr(settings, name)
            if value is not None:
                return float(value)
        return fallback

    return AlarmRule(
        threshold=pick("threshold", threshold),
        deadband=pick("deadband", 0.0),
        on_delay_ns=round(pick("on_delay_seconds", 0.0) * SECOND_NS),
        off_delay_ns=round(pick("off_delay_seconds", 0.0) * SECOND_NS),
        latch=bool(pick("latch", 0.0)),
        abnormal=abnormal,
        outside_delay_ns=round(pick("outside_domain_seconds", OUTSIDE_DOMAIN_SECONDS) * SECOND_NS),
        undeclared_delay_ns=round(
            pick("undeclared_state_seconds", UNDECLARED_STATE_SECONDS) * SECOND_NS
        ),
        priority=chosen.priority or defaults.priority or "high",
    )


class Alarm:
    """The alarm of one stream of one pipeline.

    normal --(score abnormal for the on-delay)--> active
    active --(acknowledged)--> active
    active --(score normal, beyond the deadband, for the off-delay)--> normal, or latched if it
        latches and is not acknowledged
    latched --(acknowledged)--> normal
    latched --(score abnormal for the on-delay)--> active, not acknowledged

    normal --(windows outside the domain for their delay)--> active, of low priority
    active, of low priority --(score abnormal inside for the on-delay)--> active, of the declared
        priority, not acknowledged
    active, of low priority --(score normal inside for the off-delay)--> normal, or latched

    normal --(no declared state for its delay)--> active, of low priority
    active because of that --(a declared state)--> normal, or latched

    Any other alarm stays as it is while windows are outside, or the machine is in no declared state
    or in one that is not judged.
    """

    __slots__ = (
        "_is_abnormal", "_is_normal", "_normal_beyond", "_pending", "_pending_since_ns",
        "is_acknowledged", "priority", "reason", "rule", "since_ns", "state",
    )  # fmt: skip

    def __init__(self, rule: AlarmRule) -> None:
        self.use(rule)
        self.state: AlarmState = "normal"
        self.priority: Priority = rule.priority
        """Priority of the last active alarm."""
        self.reason: AlarmReason = "score"
        """Why it is active; `score` while it is not."""
        self.is_acknowledged = False
        """Whether somebody has acknowledged the active alarm."""
        self.since_ns: int | None = None
        """Sample time of the last transition; None before the first."""
        self._pending: Literal["abnormal", "normal", "outside"] = "abnormal"
        """The condition whose delay is running."""
        self._pending_since_ns: int | None = None
        """Start of that condition; None if no delay is running."""

    def use(self, rule: AlarmRule) -> None:
        """Judge by a rule from now on; the state stays as it is."""
        high = rule.abnormal == "high"
        self.rule = rule
        self._is_abnormal, self._is_normal = (gt, lt) if high else (lt, gt)
        self._normal_beyond = rule.threshold + (-rule.deadband if high else rule.deadband)
        """Score beyond which, on the normal side, an active alarm's condition is absent."""

    def update(self, score: float, time_ns: int) -> bool:
        """Update the state with one score; return whether state or priority changed.

        Args:
            score: Of a window inside the model's domain whose values have no bad quality. The
                infinity beyond every threshold stands also for a score that is no number.
            time_ns: Time of the window's last sample; does not decrease within a stream.
        """
        rule = self.rule
        low = self.state == "active" and self.reason != "score"
        if self.state != "active" or low:
            if self._is_abnormal(score, rule.threshold):
                if not self._lasts("abnormal", rule.on_delay_ns, time_ns):
                    return False
                self.priority = rule.priority
                self._enter("active", time_ns)
                return True
            if not low:
                self._pending_since_ns = None
                return False
        # An alarm of low priority ends inside the domain, whatever the deadband.
        if not (low or self._is_normal(score, self._normal_beyond)):
            self._pending_since_ns = None
            return False
        if not self._lasts("normal", rule.off_delay_ns, time_ns):
            return False
        self._end(time_ns)
        return True

    def update_outside(self, _score: float, time_ns: int) -> bool:
        """Update the state with a window outside the domain; return whether the state changed.

        Args:
            _score: Not used: it says nothing there.
            time_ns: As in `update`.
        """
        if self.state != "normal":
            self._pending_since_ns = None
            return False
        if not self._lasts("outside", self.rule.outside_delay_ns, time_ns):
            return False
        self.priority = "low"
        self._enter("active", time_ns, "outside_domain")
        return True

    def raise_undeclared(self, lasts_ns: int, time_ns: int) -> bool:
        """Note that the machine is in no declared state; return whether the state changed.

        Args:
            lasts_ns: For how long it has been so.
            time_ns: As in `update`.
        """
        if self.state != "normal" or lasts_ns < self.rule.undeclared_delay_ns:
            return False
        self.priority = "low"
        self._enter("active", time_ns, "undeclared_state")
        return True

    def end_undeclared(self, time_ns: int) -> bool:
        """Note that the machine is in a declared state; return whether the state changed."""
        if self.reason != "undeclared_state":
            return False
        self._end(time_ns)
        return True

    def _lasts(
        self, condition: Literal["abnormal", "normal", "outside"], delay_ns: int, time_ns: int
    ) -> bool:
        """Return whether a condition, which is there now, has lasted for its delay."""
        since_ns = self._pending_since_ns
        if since_ns is None or condition != self._pending or time_ns < since_ns:
            self._pending, self._pending_since_ns = condition, time_ns
            return delay_ns <= 0
        return time_ns - since_ns >= delay_ns

    def interrupt(self) -> None:
        """Restart a running delay: the window was emptied, so the condition was not continuous."""
        self._pending_since_ns = None

    def acknowledge(self, time_ns: int) -> bool:
        """Acknowledge an active alarm, which stays active, or a latched one, which ends.

        Args:
            time_ns: Sample time of the acknowledgement.

        Returns:
            Whether there was an alarm to acknowledge.
        """
        if self.state != "active":
            return self.reset(time_ns)
        if self.is_acknowledged:
            return False
        self.is_acknowledged = True
        return True

    def reset(self, time_ns: int) -> bool:
        """End a latched alarm; return whether the state changed.

        Args:
            time_ns: Sample time of the reset.
        """
        if self.state != "latched":
            return False
        self._enter("normal", time_ns)
        return True

    def restore(
        self,
        state: AlarmState,
        since_ns: int,
        priority: Priority = "high",
        *,
        reason: AlarmReason = "score",
        is_acknowledged: bool = False,
    ) -> None:
        """Continue with a state of before a restart.

        Args:
            state: A latched alarm continues as active if alarms do not latch any more: otherwise
                nothing would ever end it.
            since_ns: Sample time of the transition to it.
            priority: Of the alarm.
            reason: Why it is active.
            is_acknowledged: Whether somebody had acknowledged the active alarm.
        """
        self.priority = priority
        self._enter("active" if state == "latched" and not self.rule.latch else state, since_ns)
        if self.state == "active":
            self.reason, self.is_acknowledged = reason, is_acknowledged

    def _end(self, time_ns: int) -> None:
        """Leave the active state: the cause has gone."""
        must_be_seen = self.rule.latch and not self.is_acknowledged
        self._enter("latched" if must_be_seen else "normal", time_ns)

    def _enter(self, state: AlarmState, time_ns: int, reason: AlarmReason = "score") -> None:
        self.state = state
        self.since_ns = time_ns
        self._pending_since_ns = None
        self.reason = reason
        self.is_acknowledged = False


@dataclass(frozen=True)
class QualityRule:
    """What a window's quality is by the number of its substituted values."""

    good: int
    """Largest number with which a window is still `good`."""
    bad: int
    """Smallest number with which a window is `bad`."""


def quality_rule(
    values: int, max_invalid_ratio: float, held_good: int = 0, held_bad: int | None = None
) -> QualityRule:
    """Return the quality rule of a pipeline.

    Args:
        values: Number of values in the window, W * C.
        max_invalid_ratio: Share of substituted values above which the window is `bad`.
        held_good: Number of substituted values that the model bears.
        held_bad: Number of substituted values from which decisions change often; None: none known.
    """
    bad = math.floor(max_invalid_ratio * values) + 1
    bad = bad if held_bad is None else min(bad, held_bad)
    return QualityRule(min(held_good, bad - 1), bad)


def quality_of(substituted: int, uncertain: bool, rule: QualityRule) -> Quality:
    """Return the quality of a window.

    Args:
        substituted: Number of substituted values in the window.
        uncertain: Whether a value is outside its valid range, the rate is not the model's, or the
            window is outside the model's domain.
        rule: The pipeline's.
    """
    if substituted >= rule.bad:
        return "bad"
    return "uncertain" if uncertain or substituted > rule.good else "good"
