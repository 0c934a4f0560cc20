"""Scores to alarms: threshold with deadband, on and off delay, latch; and the window's quality.

The words are those of IEC 62682 and ISA-18.2 (alarm management) and OPC UA Part 9: an alarm becomes
active when its condition has lasted the on delay, returns to normal when it has been gone for the
off delay, and, when it latches, waits for a person's reset. Time is the samples' time, never the
wall clock, so a replay gives the same alarms as the live run did.
"""

from dataclasses import dataclass

from edgeai.config.node import AlarmConfig
from edgeai.messages import SECOND_NS, AlarmState, Quality


@dataclass(frozen=True)
class AlarmRule:
    """When a score is an alarm. Delays in nanoseconds of sample time."""

    threshold: float
    deadband: float
    on_delay_ns: int
    off_delay_ns: int
    latch: bool


def alarm_rule(threshold: float, defaults: AlarmConfig, chosen: AlarmConfig) -> AlarmRule:
    """Return the rule of a pipeline: what the config says, else what the model package says."""

    def pick(name: str, fallback: float) -> float:
        for source in (chosen, defaults):
            value = getattr(source, name)
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

    normal --(score > threshold for on delay)--> active
    active --(score < threshold - deadband for off delay)--> normal, or latched when it latches
    latched --(reset)--> normal;  latched --(score > threshold for on delay)--> active
    """

    __slots__ = ("_pending_since_ns", "_rule", "since_ns", "state")

    def __init__(self, rule: AlarmRule) -> None:
        self._rule = rule
        self.state: AlarmState = "normal"
        self.since_ns: int | None = None
        """Sample time of the last transition; None before the first."""
        self._pending_since_ns: int | None = None

    def update(self, score: float, time_ns: int) -> bool:
        """Judge one score and return whether the state changed.

        Args:
            score: Finite; windows of bad quality are not to be judged.
            time_ns: Time of the window's last sample; does not go back within a stream.
        """
        rule = self._rule
        if self.state == "active":
            wanted = score < rule.threshold - rule.deadband
            delay = rule.off_delay_ns
        else:
            wanted = score > rule.threshold
            delay = rule.on_delay_ns
        if not wanted:
            self._pending_since_ns = None
            return False
        if self._pending_since_ns is None or time_ns < self._pending_since_ns:
            self._pending_since_ns = time_ns
        if time_ns - self._pending_since_ns < delay:
            return False
        if self.state == "active":
            self._enter("latched" if rule.latch else "normal", time_ns)
        else:
            self._enter("active", time_ns)
        return True

    def interrupt(self) -> None:
        """Forget a condition that has not lasted its delay yet: the stream broke off in between."""
        self._pending_since_ns = None

    def reset(self, time_ns: int) -> bool:
        """Acknowledge a latched alarm; return whether the state changed."""
        if self.state != "latched":
            return False
        self._enter("normal", time_ns)
        return True

    def _enter(self, state: AlarmState, time_ns: int) -> None:
        self.state = state
        self.since_ns = time_ns
        self._pending_since_ns = None


def quality_of(
    substituted: int,
    doubtful: bool,
    values: int,
    max_invalid_ratio: float,
) -> Quality:
    """Return the quality of a window.

    Args:
        substituted: Values of the window that were not measured but held.
        doubtful: Whether a value is outside its valid range or the rate is not the model's.
        values: Values in the window, W * C.
        max_invalid_ratio: Share of substituted values above which the window is `bad`.
    """
    if substituted > max_invalid_ratio * values:
        return "bad"
    return "uncertain" if substituted or doubtful else "good"
