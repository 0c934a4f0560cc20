"""Alarm state from scores: threshold with deadband, on-delay, off-delay, latch; window quality.

The terms are those of IEC 62682 and ISA-18.2 (alarm management) and OPC UA Part 9. An alarm becomes
active when its condition has lasted for the on-delay, and returns to normal when the condition has
been absent for the off-delay. A latching alarm becomes latched instead and stays so until it is
reset. Time is the time of the samples, never the wall clock, so a replay gives the same alarms as
the live run.
"""

from dataclasses import dataclass

from edgeai.config.pipeline import AlarmConfig
from edgeai.messages import SECOND_NS, AlarmState, Quality


@dataclass(frozen=True)
class AlarmRule:
    """When a score makes an alarm. Delays in nanoseconds of sample time."""

    threshold: float
    """The alarm condition: a score above it."""
    deadband: float
    """An active alarm's condition is absent only below threshold - deadband."""
    on_delay_ns: int
    off_delay_ns: int
    latch: bool
    """Whether an alarm stays until it is reset."""


def alarm_rule(threshold: float, defaults: AlarmConfig, chosen: AlarmConfig) -> AlarmRule:
    """Return the alarm rule of a pipeline.

    Args:
        threshold: Used if neither of the others has a threshold.
        defaults: The alarm settings of the model package.
        chosen: The alarm settings of the configuration; each that is given takes precedence.
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
    )


class Alarm:
    """The alarm of one stream of one pipeline.

    normal --(score > threshold for the on-delay)--> active
    active --(score < threshold - deadband for the off-delay)--> normal, or latched if it latches
    latched --(reset)--> normal
    latched --(score > threshold for the on-delay)--> active
    """

    __slots__ = ("_pending_since_ns", "_rule", "since_ns", "state")

    def __init__(self, rule: AlarmRule) -> None:
        self._rule = rule
        self.state: AlarmState = "normal"
        self.since_ns: int | None = None
        """Sample time of the last transition; None before the first."""
        self._pending_since_ns: int | None = None
        """Start of the condition whose delay is running; None if no delay is running."""

    def update(self, score: float, time_ns: int) -> bool:
        """Update the state with one score; return whether the state changed.

        Args:
            score: Of a window whose values have no bad quality. Infinity is above every threshold,
                and stands also for a score that is no number.
            time_ns: Time of the window's last sample; does not decrease within a stream.
        """
        rule = self._rule
        if self.state == "active":
            should_change = score < rule.threshold - rule.deadband
            delay_ns = rule.off_delay_ns
        else:
            should_change = score > rule.threshold
            delay_ns = rule.on_delay_ns
        if not should_change:
            self._pending_since_ns = None
            return False
        if self._pending_since_ns is None or time_ns < self._pending_since_ns:
            self._pending_since_ns = time_ns
        if time_ns - self._pending_since_ns < delay_ns:
            return False
        if self.state == "active":
            self._enter("latched" if rule.latch else "normal", time_ns)
        else:
            self._enter("active", time_ns)
        return True

    def interrupt(self) -> None:
        """Restart a running delay: the window was emptied, so the condition was not continuous."""
        self._pending_since_ns = None

    def reset(self, time_ns: int) -> bool:
        """Reset a latched alarm; return whether the state changed.

        Args:
            time_ns: Sample time of the reset.
        """
        if self.state != "latched":
            return False
        self._enter("normal", time_ns)
        return True

    def restore(self, state: AlarmState, since_ns: int) -> None:
        """Continue with a state of before a restart.

        Args:
            state: A latched alarm continues as active if alarms do not latch any more: otherwise
                nothing would ever end it.
            since_ns: Sample time of the transition to it.
        """
        self._enter("active" if state == "latched" and not self._rule.latch else state, since_ns)

    def _enter(self, state: AlarmState, time_ns: int) -> None:
        self.state = state
        self.since_ns = time_ns
        self._pending_since_ns = None


def quality_of(
    substituted: int,
    uncertain: bool,
    values: int,
    max_invalid_ratio: float,
) -> Quality:
    """Return the quality of a window.

    Args:
        substituted: Number of substituted values in the window.
        uncertain: Whether a value is outside its valid range, or the rate is not the model's.
        values: Number of values in the window, W * C.
        max_invalid_ratio: Share of substituted values above which the window is `bad`.
    """
    if substituted > max_invalid_ratio * values:
        return "bad"
    return "uncertain" if substituted or uncertain else "good"
