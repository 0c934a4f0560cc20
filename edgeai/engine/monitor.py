"""What is told about a running node now and then, apart from its predictions.

A turn only counts. The monitor scans the streams and the counters for what has changed, and keeps
what must survive a restart. How a change is told stands in a module each: `readiness_report`,
`quality_report`, `silence_report`, `state_changes`, and `asset_events` for the events on MQTT.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

from edgeai.engine.asset_events import AssetEvents, Live
from edgeai.engine.history import History
from edgeai.engine.kept_alarms import KeptAlarms
from edgeai.engine.kept_assets import KeptAssets
from edgeai.engine.limited_log import LimitedLog
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.publications import Transition
from edgeai.engine.published_again import PublishedAgain
from edgeai.engine.quality_report import QualityReport
from edgeai.engine.readiness_report import tell_readiness
from edgeai.engine.recent_events import Changes, RecentEvents
from edgeai.engine.refusals import Refusals
from edgeai.engine.retained_alarms import RetainedAlarms
from edgeai.engine.sample_watch import SampleWatch
from edgeai.engine.silence_report import SilenceReport
from edgeai.engine.state_changes import tell_change
from edgeai.engine.stream_state import StreamState
from edgeai.engine.window_watch import time_stamp_remedy
from edgeai.messages import SECOND_NS, Message, Publication
from edgeai.metrics.definitions import Metrics
from edgeai.streams.set_back import SetBack

SCAN_SECONDS = 1.0  # longest time between two scans of all streams, if these are few
SCANS_OF_SILENCE = 5  # in the shortest declared time of silence, so that its end is told in time
SCAN_SHARE = 0.005  # of the time that scans may take; with very many streams they come later


class Monitor:
    """Tells what happens to the pipelines of a node; polled at the end of turns."""

    def __init__(
        self,
        pipelines: Sequence[Pipeline],
        metrics: Metrics,
        *,
        live: Live | None = None,
        kept: KeptAlarms | None = None,
        assets: KeptAssets | None = None,
        history: History | None = None,
        retained: RetainedAlarms | None = None,
        again: PublishedAgain | None = None,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Wire the parts.

        Args:
            pipelines: The pipelines of the node.
            metrics: Metrics of the node.
            live: None in a replay.
            kept: Keeps alarm states over restarts; None: they are not kept.
            assets: Keeps the known assets over restarts; None: they are not kept.
            history: The last hour of each stream; None: it is not kept.
            retained: Receives what the broker retains of the node's alarms.
            again: Publishes again what the broker may have forgotten; None: it forgets nothing.
            clock: Returns seconds that never go back.
            clock_ns: Returns the time now, nanoseconds since 1970.
        """
        self.refusals = Refusals("no pipeline", metrics.unrouted_counts, clock)
        self.resets = LimitedLog("reset", "without effect", lines=10, seconds=600, clock=clock)
        self.next_poll = 0.0
        """When to call `poll` next, in seconds of `time.monotonic`."""
        self.has_transitions = False
        """Whether alarm states have changed that are not written yet."""
        self._pipelines = list(pipelines)
        self._watches = [SampleWatch(pipeline) for pipeline in pipelines]
        self._live, self._kept, self._retained, self._again = live, kept, retained, again
        self._history, self._assets = history, assets
        self.clock, self.clock_ns = clock, clock_ns
        self._next_scan = 0.0
        limits = [one.stale_after_seconds for one in pipelines if one.stale_after_seconds]
        self._scan_seconds = min([SCAN_SECONDS, *[one / SCANS_OF_SILENCE for one in limits]])
        self.events = RecentEvents()
        """What has changed last."""
        self._changes = Changes(pipelines, self.events)
        self._quality = QualityReport(self.events)
        self._asset_events: AssetEvents | None = None
        self._silence: SilenceReport | None = None
        """Both None in a replay."""
        if live is not None:
            self._asset_events = AssetEvents(live, clock_ns)
            self._silence = SilenceReport(
                self._pipelines, metrics, live, self._asset_events, self.events
            )
        self._set_backs: dict[str, list[tuple[str, SetBack]]] = {}
        """Assets whose clock was set back since the last poll, by pipeline."""
        for pipeline in pipelines:
            pipeline.registry.on_set_back = partial(self._note_set_back, pipeline.name)
            pipeline.hooks.on_transition = partial(self._note_transition, pipeline.name)
            if pipeline.states is not None:
                pipeline.states.on_published = partial(tell_change, self.events, pipeline)

    @property
    def faults(self) -> list[str]:
        """Why pipelines are not ready, one text for each."""
        return [watch.fault for watch in self._watches if watch.fault]

    def fault_of(self, pipeline: Pipeline) -> str | None:
        """Return why a pipeline is not ready; None if it is."""
        return next((one.fault for one in self._watches if one.pipeline is pipeline), None)

    def poll(self, messages: Sequence[Message] = ()) -> list[Publication]:
        """Tell what is due; return the events to publish.

        Args:
            messages: Of this turn, for examples.
        """
        now = self.clock()
        events = self._clock_events()
        if self._retained is not None:
            events += self._retained.take()
        if self._again is not None:
            events += self._again.take()
        if now >= self._next_scan:
            events += self._scan(now, messages=messages)
            took = self.clock() - now
            self._next_scan = now + max(self._scan_seconds, took / SCAN_SHARE)
        self.next_poll = self._next_scan
        if self._kept is not None:
            self.next_poll = min(self.next_poll, self._kept.write_if_due(now))
        return events

    def finish(self) -> None:
        """Tell what the bounds of the log have held back, and keep the alarms: the process stops.

        The last scan finds what the last turns have made.
        """
        self._scan(self.clock(), silence=False)
        self._tell_counts(everything=True)
        if self._kept is not None:
            self._kept.write()
        if self._assets is not None:
            self._assets.write()

    def _note_transition(
        self, pipeline: str, state: StreamState, publication: Publication, transition: Transition
    ) -> None:
        """Keep an alarm that changes; `write_alarms` writes it before it is published."""
        if self._kept is not None:
            self._kept.keep(pipeline, state, publication)
            self.has_transitions = True
        is_first = transition.previous == "unknown" and transition.state == "normal"
        if not (is_first or state.handling.is_quiet):
            self.events.add(
                "alarm", pipeline, [state.key], state=transition.state,
                priority=transition.priority, diagnosis=state.diagnosis,
                top=[name for name, _ in transition.top],
                reason=transition.alarm_reason or "", chattering=state.is_held,
            )  # fmt: skip

    def write_alarms(self) -> None:
        """Write the alarm states that are about to be published."""
        self.has_transitions = False
        if self._kept is not None:
            self._kept.write()

    def _note_set_back(self, pipeline: str, state: StreamState, set_back: SetBack) -> None:
        """Keep that a clock was set back, as `_note_transition` keeps an alarm; `poll` tells it."""
        if self._kept is not None:
            self._kept.keep_set_back(pipeline, state)
        if self._live is not None and set_back.sign != "return":
            self._set_backs.setdefault(pipeline, []).append((state.key, set_back))
            seconds = (set_back.from_ns - set_back.to_ns) / SECOND_NS
            self.events.add("clock_back", pipeline, [state.key], seconds=round(seconds, 3))
        self.next_poll = 0.0

    def _scan(
        self, now: float, *, silence: bool = True, messages: Sequence[Message] = ()
    ) -> list[Publication]:
        events: list[Publication] = []
        live, report = self._live, self._silence
        is_connected = live is None or live.is_connected()
        stale = 0
        has_changes = False
        if self._history is not None:
            self._history.update()
        if live is not None:
            self._changes.look(is_connected=is_connected)
        for watch in self._watches:
            found = watch.scan(now, silence=silence and live is not None)
            tell_readiness(watch, found, messages, self.events)
            if found.conflicts:
                names = [state.key for state in found.conflicts]
                remedy = time_stamp_remedy(watch.pipeline)
                watch.pipeline.log.conflict(names, found.new_conflicts, remedy)
            for one in found.off_rate:
                model_hz = SECOND_NS / (watch.pipeline.settings.period_ns or SECOND_NS)
                watch.pipeline.log.rate_off(one.asset, one.rate_hz, model_hz)
            if found.quality:
                self._quality.tell(watch.pipeline, found.quality)
            stale += len(found.stale)
            has_changes = has_changes or bool(found.stale or found.back)
            if report is not None:
                events += report.tell(watch.pipeline, found, is_connected=is_connected)
                events += _look_at_answers(watch)
                events += report.tell_presence(
                    now, watch.pipeline, found, is_connected=is_connected
                )
        if report is not None:
            events += report.look_at_sources(now, is_connected=is_connected)
            report.tell_outage(stale, is_connected=is_connected)
        if self._assets is not None:
            self._assets.look(changed=has_changes)
        self._tell_counts()
        return events

    def take_presence(self) -> list[tuple[Pipeline, StreamState]]:
        """Return the streams whose retained messages are to say that they stopped or came back."""
        return [] if self._silence is None else self._silence.take_presence()

    def _clock_events(self) -> list[Publication]:
        """Return an event for each pipeline with assets whose clock was set back."""
        if self._asset_events is None:
            return []
        found = self._set_backs
        self._set_backs = {}
        return [self._asset_events.of_clocks(name, assets) for name, assets in found.items()]

    def _tell_counts(self, *, everything: bool = False) -> None:
        if self._live is None or self._live.counts_for_all:  # each worker counts the same messages
            self.refusals.poll(everything=everything)
        self.resets.poll(everything=everything)
        for pipeline in self._pipelines:
            pipeline.refusals.poll(everything=everything)
            pipeline.log.poll(everything=everything)


def _look_at_answers(watch: SampleWatch) -> list[Publication]:
    """Return answers to controllers that are not live any more."""
    pipeline = watch.pipeline
    if pipeline.answers is None:
        return []
    is_ready = watch.fault is None and pipeline.containment.fault is None
    return pipeline.answers.look(pipeline.streams.get, is_ready=is_ready)
