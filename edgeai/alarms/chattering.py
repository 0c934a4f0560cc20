"""Alarms that go on and off too often to be useful: chattering, as ISA-18.2 calls it.

Time is the time of the samples, as for the alarm itself, so a replay finds the same.
"""

from collections import deque
from typing import NamedTuple

from edgeai.config.alarms import ChatteringConfig
from edgeai.messages import SECOND_NS


class ChatteringRule(NamedTuple):
    """When an alarm chatters. Times in nanoseconds of sample time."""

    activations: int
    """It chatters if it becomes active this often,"""
    within_ns: int
    """in this time, and"""
    quiet_ns: int
    """until its state has not changed for this time."""
    is_held: bool
    """Whether it is held back meanwhile: told once, and again when it is quiet."""


def chattering_rule(declared: ChatteringConfig | None) -> ChatteringRule:
    """Return the rule of a pipeline. None: alarms are found by the standard's figures, not held."""
    rule = declared or ChatteringConfig()
    return ChatteringRule(
        rule.activations,
        round(rule.within_seconds * SECOND_NS),
        round(rule.quiet_seconds * SECOND_NS),
        declared is not None,
    )


class Chattering:
    """Whether one alarm chatters."""

    __slots__ = ("_activated", "_rule", "changed_ns", "is_on")

    def __init__(self, rule: ChatteringRule) -> None:
        self._rule = rule
        self._activated: deque[int] = deque(maxlen=rule.activations)
        """When it became active last, the newest at the end."""
        self.changed_ns = 0
        """When its state changed last."""
        self.is_on = False
        """Whether it chattered at its last change."""

    def change(self, time_ns: int, *, is_active: bool) -> bool:
        """Note a change of the alarm's state; return whether it begins to chatter.

        Args:
            time_ns: Sample time of the change.
            is_active: Whether the alarm became active.
        """
        was_on = self.is_chattering(time_ns)
        activated = self._activated
        if time_ns < self.changed_ns:  # the sender's clock was set back
            activated.clear()
        self.changed_ns = time_ns
        if is_active and not (activated and activated[-1] == time_ns):
            activated.append(time_ns)
        is_often = len(activated) == self._rule.activations
        has_begun = is_often and time_ns - activated[0] <= self._rule.within_ns
        self.is_on = was_on or (is_active and has_begun)
        return self.is_on and not was_on

    def is_chattering(self, time_ns: int) -> bool:
        """Return whether the alarm chatters at a sample time: it is not quiet yet.

        Times before the last change count as quiet: the sender's clock was set back.
        """
        return self.is_on and 0 <= time_ns - self.changed_ns < self._rule.quiet_ns

    def restore(self, time_ns: int) -> None:
        """Go on chattering after a restart; the quiet time counts from the last change."""
        self.is_on, self.changed_ns = True, time_ns
