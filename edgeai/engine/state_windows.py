"""Windows of pipelines with operating states: who computes each, and by which rule it is judged.

A window is given to the model of its state. In a state that is not judged, in a transition and
while a state settles, no model computes it: it is passed over, and its prediction has no score. In
no declared state the pipeline's model computes it, so that people see what it says, and its score
changes no alarm.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgeai.alarms.alarm import AlarmRule
from edgeai.config.pipeline import PipelineConfig
from edgeai.config.states import StateConfig
from edgeai.engine.batch import Batch, DueWindow, WindowNote
from edgeai.engine.other_model import OtherModel
from edgeai.engine.publications import StateChange
from edgeai.engine.stream_state import StreamState
from edgeai.messages import SECOND_NS, Publication
from edgeai.states.rules import StateRules
from edgeai.states.tracker import StateTracker
from edgeai.streams.settings import Floats, StreamSettings


class PassedOver:
    """The windows that no model computes, in order; the samples themselves are not needed."""

    def __init__(self) -> None:
        self.windows: list[DueWindow] = []
        self.when_full: Callable[[], None] = _no_engine
        """Makes predictions of them: `Engine._pass_over`, wired by the engine."""

    def add(
        self, state: StreamState, time_ns: int, substituted: int, uncertain: bool, note: WindowNote
    ) -> None:
        """Take a window, as `Batch.add` does."""
        ring = state.stream.ring
        interrupted = 0
        if ring.broken:
            interrupted = 1 + state.stream.set_backs.count
            ring.broken = False
        self.windows.append((state, time_ns, substituted, uncertain, interrupted, note))

    def take(self) -> list[DueWindow]:
        """Return the windows, and have none."""
        windows, self.windows = self.windows, []
        return windows


class StateWindows:
    """Takes the windows of one pipeline's streams, as their rings emit them."""

    def __init__(
        self,
        config: PipelineConfig,
        channels: Sequence[str],
        settings: StreamSettings,
        *,
        rule: AlarmRule,
        batch: Batch,
        others: Mapping[str, OtherModel],
    ) -> None:
        """Prepare.

        Args:
            config: The pipeline's, with states.
            channels: The signals of a sample, in order.
            settings: The streams'.
            rule: The pipeline's.
            batch: The pipeline's.
            others: Models by the states that name them.
        """
        columns = {name: index for index, name in enumerate(channels)}
        self.rules = StateRules(config.states, columns, settings.max_gap_ns)
        self.passed_over = PassedOver()
        self.others = list({id(other): other for other in others.values()}.values())
        """The models beside the pipeline's."""
        self.changes: list[Publication] = []
        """Changes of operating states that are to be published."""
        self.on_change: Callable[[StreamState], None] = _tell_nobody
        """Called when a machine's state has changed; wired by the engine."""
        self.on_published: Callable[[StreamState, StateChange], None] = _tell_nobody
        """Called with each change that is to be published; wired by the monitor."""
        self.entered = dict.fromkeys([*config.states, "undeclared", "unknown"], 0)
        """How often machines have come into each state."""
        self.unknown_samples = 0
        """Samples whose state was not known, because a signal had no value."""
        self._signals = settings.window_channels
        self._is_joined = settings.joined is not None
        self._rule, self._batch = rule, batch
        self._judged: list[tuple[Batch, WindowNote]] = []
        """Of each state: where its windows go to, and their note."""
        for name, one in config.states.items():
            other = others.get(name)
            mine = _state_rule(one, rule if other is None else other.rule)
            note = WindowNote(state=name, rule=mine, is_declared=True)
            self._judged.append((batch if other is None else other.batch, note))

    def start(self) -> StateTracker:
        """Return what follows a new stream."""
        return StateTracker(self.rules)

    def add(
        self, state: StreamState, window: Floats, time_ns: int, substituted: int, uncertain: bool
    ) -> None:
        """Take a window of a stream: find its state, and give it to who computes it."""
        tracker = state.tracker
        assert tracker is not None
        standing = tracker.standing(self.follow(state, time_ns))
        if standing.not_judged is None:
            batch, note = self._judged[standing.of]
            self._turn_to(state, batch)
            self._give(batch, state, window, time_ns, substituted, uncertain, note)
            return
        current = tracker.current
        note = WindowNote(
            state=standing.state,
            not_judged=standing.not_judged,
            rule=self._rule if current is None or current < 0 else self._judged[current][1].rule,
            is_declared=tracker.missing_ns is None,
            missing_ns=tracker.missing_ns,
        )
        if standing.not_judged in {"undeclared", "unknown"}:
            self._turn_to(state, self._batch)
            self._give(self._batch, state, window, time_ns, substituted, uncertain, note)
        else:
            self._turn_to(state, self.passed_over)
            self.passed_over.add(state, time_ns, substituted, uncertain, note)

    def _give(  # noqa: PLR0917  called for each window
        self,
        batch: Batch,
        state: StreamState,
        window: Floats,
        time_ns: int,
        substituted: int,
        uncertain: bool,
        note: WindowNote,
    ) -> None:
        """Give a window to the model that computes it."""
        if self._is_joined:
            batch.add_joined(state, window, time_ns, substituted, uncertain, note)
        else:
            batch.add(state, window[:, : self._signals], time_ns, substituted, uncertain, note)

    def follow(self, state: StreamState, until_ns: int) -> int:
        """Follow the state of a machine up to a sample.

        Returns:
            Time of the first sample of the window that ends with it.
        """
        tracker = state.tracker
        assert tracker is not None
        first_ns, times, rows = state.stream.ring.look_back(until_ns, tracker.last_ns)
        for index in tracker.take(times, rows):
            self.entered[self.rules.name_of(index)] += 1
        if tracker.unknown_samples:
            self.unknown_samples += tracker.unknown_samples
            tracker.unknown_samples = 0
        if tracker.current != state.told_state:
            self.on_change(state)
        return first_ns

    def _turn_to(self, state: StreamState, lane: Batch | PassedOver) -> None:
        """Note where a stream's windows go to; those that wait elsewhere come first."""
        before = state.lane
        if before is lane:
            return
        if before is not None and any(window[0] is state for window in before.windows):
            before.when_full()
        state.lane = lane


def _state_rule(state: StateConfig, rule: AlarmRule) -> AlarmRule:
    """Return the alarm rule of a state: what it does not declare is as in `rule`."""
    changes: dict[str, Any] = {}
    if state.threshold is not None:
        changes["threshold"] = state.threshold
    if state.deadband is not None:
        changes["deadband"] = state.deadband
    if state.on_delay_seconds is not None:
        changes["on_delay_ns"] = round(state.on_delay_seconds * SECOND_NS)
    if state.off_delay_seconds is not None:
        changes["off_delay_ns"] = round(state.off_delay_seconds * SECOND_NS)
    return replace(rule, **changes) if changes else rule


def _tell_nobody(*_: object) -> None:
    """Stand in for the engine and the monitor."""


def _no_engine() -> None:
    msg = "the pipeline has no engine"
    raise RuntimeError(msg)
