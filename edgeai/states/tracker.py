"""The operating state of one machine, sample by sample, and what it means for a window.

Timelines of a state P with `settle_seconds: 3`, one sample a second; S is another state, . is none:

    state      S S P P P P P P P      entered with the third sample
    judged     . . . . . J J J J      windows of one sample: after 3 s

    state      P P P . P P P P P      the same state as before, from its last sample away for 2 s
    judged     J J J . . . J J J      settles for these 2 s, not for 3: no other was entered

The same holds for a gap or a restart, in which nobody saw the machine.

With `min_seconds: 2` a state that lasts for less is not entered; meanwhile there is a transition.

All times are those of samples, and the result does not depend on how samples are split.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgeai.messages import NotJudged
from edgeai.states.rules import TRANSITION, UNDECLARED, UNKNOWN, StateRules, states_at
from edgeai.streams.settings import Times

NEVER_NS = -(1 << 62)


class Standing(NamedTuple):
    """What holds for a window."""

    state: str
    """Name of the state of all its samples; or `transition`, `undeclared`, `unknown`."""
    of: int
    """Index of the declared state; negative: none."""
    not_judged: NotJudged | None
    """None: it is judged."""


class KeptState(NamedTuple):
    """What is kept of a state over a restart."""

    name: str
    since_ns: int
    """Time of the first sample in it."""
    last_ns: int
    """Time of the last sample that was seen in it."""


class StateTracker:
    """Follows the samples of one stream."""

    __slots__ = (
        "_changes", "_entered", "_evaluations", "_is_changing", "_left_ns", "_rules", "_run",
        "_run_ns", "_settled_ns", "current", "last_ns", "missing_ns", "previous", "since_ns",
        "unknown_samples",
    )  # fmt: skip

    def __init__(self, rules: StateRules) -> None:
        """Wait for the first sample."""
        self._rules = rules
        self._evaluations = rules.start()
        self._run = UNDECLARED
        """The state that the last samples show."""
        self._run_ns = NEVER_NS
        """Time of the first of them; NEVER_NS: there is none yet, or nobody saw the ones before."""
        self._is_changing = False
        """Whether they show a state that has not lasted long enough."""
        self.last_ns = NEVER_NS
        """Time of the last sample."""
        self.current: int | None = None
        """The state that the machine is in: the index of a declared one, UNDECLARED or UNKNOWN.
        None before the first sample."""
        self.since_ns = NEVER_NS
        """Time of the first sample in it."""
        self.previous: int | None = None
        """The state before; None: it is not known."""
        self._changes: list[int] = []
        self._entered: int | None = None
        """The last declared state that was entered."""
        self._left_ns = NEVER_NS
        """Time of the last sample in it."""
        self._settled_ns = NEVER_NS
        """From this time on it has settled."""
        self.missing_ns: int | None = None
        """Since when no declared state shows; None: one does."""
        self.unknown_samples = 0
        """Samples of which the state was not known since the last look."""

    # ----------------------------------------------------------------------------------- samples

    def take(self, times: Times, rows: npt.NDArray[np.float32]) -> list[int]:
        """Take the next samples.

        Args:
            times: (n,) nanoseconds, rising.
            rows: (n, K) float32.

        Returns:
            The states that `current` has become, in order.
        """
        self._changes = []
        if not len(times):
            return []
        self._bridge(int(times[0]))
        found = states_at(self._evaluations, rows)
        self.unknown_samples += int((found == UNKNOWN).sum())
        starts = [0, *(np.flatnonzero(found[1:] != found[:-1]) + 1).tolist()]
        for begin, end in zip(starts, [*starts[1:], len(found)], strict=True):
            self._go_on(int(found[begin]), int(times[begin]), int(times[end - 1]))
        return self._changes

    def _bridge(self, first_ns: int) -> None:
        """Look at the step before the next samples: nobody saw what was in a gap."""
        gap_ns = self._rules.max_gap_ns
        if self.last_ns == NEVER_NS:
            return
        if first_ns <= self.last_ns:
            # The clock was set back, or the stream has returned from a wrong time: what is left of
            # the time to settle is still to come.
            left_ns = max(0, self._settled_ns - self.last_ns)
            self._settled_ns = first_ns + left_ns
            self._left_ns = self.since_ns = first_ns
            if self.missing_ns is not None:
                self.missing_ns = first_ns
        elif gap_ns is None or first_ns - self.last_ns <= gap_ns:
            return
        for evaluation in self._evaluations:
            evaluation.restart()
        self._run_ns = NEVER_NS  # the same state must show again

    def _go_on(self, state: int, first_ns: int, last_ns: int) -> None:
        """Take samples that all show one state."""
        if state != self._run or self._run_ns == NEVER_NS:
            self._run, self._run_ns = state, first_ns
        self.last_ns = last_ns
        if state < 0:
            self._is_changing = False
            if self.missing_ns is None:
                self.missing_ns = first_ns
            self._hold(state)
            return
        rule = self._rules.rules[state]
        self._is_changing = last_ns - self._run_ns < rule.min_ns
        if not self._is_changing:
            self.missing_ns = None
            self._enter(state, rule.settle_ns)
            self._left_ns = last_ns
            self._hold(state)

    def _enter(self, state: int, settle_ns: int) -> None:
        """Set from when on a declared state has settled that the last samples show."""
        if state != self._entered:
            self._entered, self._settled_ns = state, self._run_ns + settle_ns
        elif self._run_ns > self._left_ns:  # it was left for a while, and no other was entered
            away_ns = self._run_ns - self._left_ns
            self._settled_ns = max(self._settled_ns, self._run_ns + min(settle_ns, away_ns))

    def _hold(self, state: int) -> None:
        if state != self.current:
            self.previous, self.current, self.since_ns = self.current, state, self._run_ns
            self._changes.append(state)

    # ----------------------------------------------------------------------------------- windows

    def standing(self, first_ns: int) -> Standing:
        """Return what holds for the window that begins at a time and ends with the last sample."""
        rules, current = self._rules, self.current
        if current is None or self._is_changing or self._run_ns > first_ns:
            return Standing(rules.name_of(TRANSITION), TRANSITION, "transition")
        name = rules.name_of(current)
        if current < 0:
            return Standing(name, current, "unknown" if current == UNKNOWN else "undeclared")
        if not rules.rules[current].judges:
            return Standing(name, current, "state")
        return Standing(name, current, "settling" if self._settled_ns > first_ns else None)

    # ----------------------------------------------------------------------------------- restarts

    def restore(self, kept: KeptState) -> None:
        """Go on with a state of before a restart; a state that is not declared any more is none."""
        state = self._rules.index_of(kept.name)
        if state is None:
            return
        self.current = self._entered = self._run = state
        self.since_ns, self.last_ns, self._left_ns = kept.since_ns, kept.last_ns, kept.last_ns
        self._settled_ns = kept.since_ns + self._rules.rules[state].settle_ns

    def keep(self) -> KeptState | None:
        """Return what a restart needs to know; None if the machine is in no declared state."""
        if self.current is None or self.current < 0:
            return None
        return KeptState(self._rules.name_of(self.current), self.since_ns, self._left_ns)
