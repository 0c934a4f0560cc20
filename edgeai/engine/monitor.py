"""What is told about a running node now and then, apart from its predictions.

A turn only counts. This module compares the counters and the streams with what was told last, and
tells what has changed: in the log, in the readiness, and as events on MQTT. A cause is told once:
when the connection to the broker is down, that is one line and not one for each asset.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from edgeai.engine.history import History
from edgeai.engine.kept_alarms import KeptAlarms
from edgeai.engine.kept_assets import KeptAssets
from edgeai.engine.limited_log import LimitedLog
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.pipeline_log import shown_assets
from edgeai.engine.presence import PresenceWatch
from edgeai.engine.publications import AssetEvent, ClockEvent, StateChange, Transition
from edgeai.engine.published_again import PublishedAgain
from edgeai.engine.recent_events import Changes, RecentEvents
from edgeai.engine.refusals import Refusals, example_of
from edgeai.engine.retained_alarms import RetainedAlarms
from edgeai.engine.sample_watch import Found, SampleWatch
from edgeai.engine.source_watch import SourceChange, SourceWatch
from edgeai.engine.stream_state import WITHOUT_DECISION, StreamState
from edgeai.engine.window_watch import time_stamp_remedy
from edgeai.log_events import event
from edgeai.messages import SECOND_NS, Message, Publication, Quality
from edgeai.metrics.definitions import Metrics
from edgeai.streams.set_back import SetBack

log = logging.getLogger("edgeai.monitor")

SCAN_SECONDS = 1.0  # longest time between two scans of all streams, if these are few
SCANS_OF_SILENCE = 5  # in the shortest declared time of silence, so that its end is told in time
SCAN_SHARE = 0.005  # of the time that scans may take; with very many streams they come later
MAX_EVENT_ASSETS = 100
SHOWN_SIGNALS = 4  # names in a line of the log
MAX_EVENT_CHARACTERS = 20_000  # of the names of assets in one event

OTHER_STATES = {
    "undeclared": ": no condition of pipelines.{pipeline}.states is true. Its score changes no "
    "alarm. If the machine is well, declare the state",
    "unknown": ": a signal that pipelines.{pipeline}.states needs has no value. The score changes "
    "no alarm until it comes",
}
"""What to say about states that nobody declared."""
STALE_TEXTS = {
    "no_samples": "no sample for %g s, stale: %s",
    "no_window": "samples come, and none completed a window for longer than %g s (compare their "
    "rate and their gaps with the model's), stale: %s",
    "bad_values": "windows come, and each has too many values that cannot be used, for longer than "
    "%g s: no alarm is judged, stale: %s",
}
"""By the cause, for the declared time and the assets."""

_encode = msgspec.json.Encoder().encode


class Live(msgspec.Struct):
    """What only a node on a broker has; a replay has no silence and no events."""

    node: str
    topic: str
    """Topic of the events."""
    is_connected: Callable[[], bool]
    """Whether the node is connected to its broker."""
    worker: int = 0
    """Number of this worker; 0: the node has no others."""


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
        self._source_watches = {one: SourceWatch(one) for one in pipelines if one.sources.inlets}
        """Of the pipelines with several sources."""
        self._live, self._kept, self._retained, self._again = live, kept, retained, again
        self._history, self._assets = history, assets
        self._metrics = metrics
        self.clock, self.clock_ns = clock, clock_ns
        self._presence_watches = {one: PresenceWatch(one) for one in pipelines}
        self._presence: list[tuple[Pipeline, StreamState]] = []
        """Streams that stopped or came back, whose messages do not say so yet."""
        self._next_scan = 0.0
        limits = [one.stale_after_seconds for one in pipelines if one.stale_after_seconds]
        self._scan_seconds = min([SCAN_SECONDS, *[one / SCANS_OF_SILENCE for one in limits]])
        self._outage_told = False
        """Whether assets that became stale while the broker was away were told."""
        self._invalid: dict[str, Counter[str]] = {}
        """Unusable values when a change of quality was told last, by pipeline."""
        self.events = RecentEvents()
        """What has changed last."""
        self._changes = Changes(pipelines, self.events)
        self._set_backs: dict[str, list[tuple[str, SetBack]]] = {}
        """Assets whose clock was set back since the last poll, by pipeline."""
        for pipeline in pipelines:
            pipeline.on_set_back = partial(self._note_set_back, pipeline.name)
            pipeline.hooks.on_transition = partial(self._note_transition, pipeline.name)
            if pipeline.states is not None:
                pipeline.states.on_published = partial(self._note_operating_state, pipeline)

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

    def _note_operating_state(
        self, pipeline: Pipeline, state: StreamState, change: StateChange
    ) -> None:
        """Tell a change of an operating state; on the page only where nobody declared the state.

        Machines stop and start all day: that must not hide alarms in the list of events.
        """
        name, advice = change.state, OTHER_STATES.get(change.state, "")
        advice = advice.format(pipeline=pipeline.name) if advice else ""
        pipeline.log.operating_state(state.key, change.previous, name, advice)
        if OTHER_STATES.keys() & {name, change.previous}:
            self.events.add("operating", pipeline.name, [state.key], operating=name)

    def write_alarms(self) -> None:
        """Write the alarm states that are about to be published."""
        self.has_transitions = False
        if self._kept is not None:
            self._kept.write()

    def _note_set_back(self, pipeline: str, state: StreamState, set_back: SetBack) -> None:
        """Keep that a clock was set back, as `_keep` keeps an alarm; `poll` tells it."""
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
        live = self._live
        is_connected = live is None or live.is_connected()
        stale = 0
        has_changes = False
        if self._history is not None:
            self._history.update()
        if live is not None:
            self._changes.look(is_connected=is_connected)
        for watch in self._watches:
            found = watch.scan(now, silence=silence and live is not None)
            self._tell_readiness(watch, found, messages)
            if found.conflicts:
                names = [state.key for state in found.conflicts]
                remedy = time_stamp_remedy(watch.pipeline)
                watch.pipeline.log.conflict(names, found.new_conflicts, remedy)
            for one in found.off_rate:
                model_hz = SECOND_NS / (watch.pipeline.settings.period_ns or SECOND_NS)
                watch.pipeline.log.rate_off(one.asset, one.rate_hz, model_hz)
            if found.quality:
                self._tell_quality(watch.pipeline, found.quality)
            stale += len(found.stale)
            has_changes = has_changes or bool(found.stale or found.back)
            if live is not None:
                events += self._tell_silence(watch.pipeline, found, is_connected=is_connected)
                events += _look_at_answers(watch)
                events += self._tell_presence(now, watch.pipeline, found, is_connected=is_connected)
        if live is not None:
            for pipeline, sources in self._source_watches.items():
                for change in sources.scan(now, is_connected=is_connected):
                    events.append(self._tell_source(pipeline, change))
            self._tell_outage(stale, is_connected=is_connected)
        if self._assets is not None:
            self._assets.look(changed=has_changes)
        self._tell_counts()
        return events

    def _tell_counts(self, *, everything: bool = False) -> None:
        if self._live is None or self._live.worker <= 1:  # each worker counts the same messages
            self.refusals.poll(everything=everything)
        self.resets.poll(everything=everything)
        for pipeline in self._pipelines:
            pipeline.refusals.poll(everything=everything)
            pipeline.log.poll(everything=everything)

    def _tell_readiness(
        self, watch: SampleWatch, found: Found, messages: Sequence[Message]
    ) -> None:
        ready = watch.pipeline.metrics.ready
        if found.fault is not None:
            ready.set(0)
            mine = [one for one in messages if watch.pipeline.find_key(one[0]) is not None]
            example = f"; {example_of(mine[-1][0], mine[-1][1])}" if mine else ""
            log.warning(
                "not ready: %s%s", found.fault, example if watch.makes_no_window else "",
                extra=event(
                    "pipeline_not_ready", pipeline=watch.pipeline.name, reason=found.fault
                ),
            )  # fmt: skip
            self.events.add("not_ready", watch.pipeline.name, text=found.fault)
        elif found.ready_again:
            ready.set(1)
            name = watch.pipeline.name
            log.info(
                "ready again: pipeline %s makes %s", name, found.ready_again,
                extra=event("pipeline_ready", pipeline=name),
            )  # fmt: skip
            self.events.add("ready", name)

    def _tell_silence(
        self, pipeline: Pipeline, found: Found, *, is_connected: bool
    ) -> list[Publication]:
        """Tell the assets that stopped or came back, in the log and as events."""
        events = []
        seconds = pipeline.stale_after_seconds
        by_cause: dict[str, list[StreamState]] = {}
        for state in found.stale:
            why_now: str = state.stale_cause if is_connected else "broker_connection"
            by_cause.setdefault(why_now, []).append(state)
        for cause, states in by_cause.items():
            names = [state.key for state in states]
            reason = _reasons(states) if cause == "refused" else ""
            shown = shown_assets(names)
            first, count = names[:MAX_EVENT_ASSETS], len(names)
            if cause == "refused":
                pipeline.log.silence.write(
                    "messages come, and none was used for %g s (%s), stale: %s",
                    seconds, _why_unused(states), shown, level=logging.WARNING, count=count,
                    extra=event(
                        "assets_refused", pipeline=pipeline.name, assets=first, count=count,
                        seconds=seconds, reason=reason,
                    ),
                )  # fmt: skip
            elif cause != "broker_connection":  # `_tell_outage` does
                pipeline.log.silence.write(
                    STALE_TEXTS[cause], seconds, shown, level=logging.WARNING, count=count,
                    extra=event(
                        "assets_stale", pipeline=pipeline.name, assets=first, count=count,
                        seconds=seconds, cause=cause,
                    ),
                )  # fmt: skip
            if cause == "broker_connection":
                pipeline.alarm_metrics.suppress(cause, count)
            else:
                pipeline.alarm_metrics.announce(pipeline.rule.priority)
            events.append(self._event("stale", pipeline, names, cause))
            self.events.add(
                "stale", pipeline.name, names, cause=cause, seconds=seconds, reason=reason
            )
        for what, states in _by_what_came(found.back).items():
            names = [state.key for state in states]
            pipeline.log.silence.write(
                "%s again from %s", what, shown_assets(names), count=len(names),
                extra=event(
                    "assets_back", pipeline=pipeline.name, assets=names[:MAX_EVENT_ASSETS],
                    count=len(names),
                ),
            )  # fmt: skip
            events.append(self._event("back", pipeline, names, ""))
            self.events.add("back", pipeline.name, names)
        return events

    def take_presence(self) -> list[tuple[Pipeline, StreamState]]:
        """Return the streams whose retained messages are to say that they stopped or came back."""
        found, self._presence = self._presence, []
        return found

    def _tell_presence(
        self, now: float, pipeline: Pipeline, found: Found, *, is_connected: bool
    ) -> list[Publication]:
        """Note whose retained messages change; tell who is silent still after an outage."""
        changed, left = self._presence_watches[pipeline].look(
            now, found.stale, found.back, is_connected=is_connected
        )
        self._presence += [(pipeline, state) for state in changed]
        if not left:
            return []
        again = Found(left, [], {}, [], 0, [], None, "")
        return self._tell_silence(pipeline, again, is_connected=True)

    def _tell_source(self, pipeline: Pipeline, change: SourceChange) -> Publication:
        """Tell one of several sources that has stopped, or sends again."""
        assets, count = change.assets[:MAX_EVENT_ASSETS], len(change.assets)
        if change.is_back:
            name = "source_back"
            pipeline.log.silence.write(
                "samples of the source %s again from %s",
                change.source, shown_assets(change.assets), count=count,
                extra=event(
                    "source_back", pipeline=pipeline.name, source=change.source, assets=assets,
                    count=count, seconds=change.seconds,
                ),
            )  # fmt: skip
        else:
            name = "source_stale"
            pipeline.alarm_metrics.announce(pipeline.rule.priority)
            pipeline.log.silence.write(
                "no sample of the source %s for %g s, while others come: %s",
                change.source, change.seconds, shown_assets(change.assets),
                level=logging.WARNING, count=count,
                extra=event(
                    "source_stale", pipeline=pipeline.name, source=change.source, assets=assets,
                    count=count, seconds=change.seconds,
                ),
            )  # fmt: skip
        self.events.add(
            name, pipeline.name, change.assets, source=change.source, seconds=change.seconds
        )
        cause = "" if change.is_back else "no_samples"
        return self._event(name, pipeline, change.assets, cause, source=change)

    def _tell_quality(self, pipeline: Pipeline, changes: dict[Quality, list[StreamState]]) -> None:
        """Tell which assets have another quality than at the last scan, and what was counted."""
        counts = pipeline.metrics.invalid_counts()
        more = counts - self._invalid.get(pipeline.name, Counter())
        self._invalid[pipeline.name] = counts
        causes = ", ".join(f"{reason} {count:,}" for reason, count in sorted(more.items()))
        for quality, states in changes.items():
            names = [state.key for state in states]
            self.events.add("quality", pipeline.name, names, quality=quality, causes=dict(more))
            why = f" (values of the pipeline since the last change: {causes})" if causes else ""
            held = _held_signals(pipeline, states)
            if held:
                why += f"; no good value came for a whole window, the last one is held: {held}"
            pipeline.log.quality.write(
                "quality is %s now: %s%s",
                quality, shown_assets(names), "" if quality == "good" else why, count=len(names),
                extra=event(
                    "quality_changed", pipeline=pipeline.name, quality=quality,
                    assets=names[:MAX_EVENT_ASSETS], count=len(names), held=held,
                ),
            )  # fmt: skip

    def _tell_outage(self, stale: int, *, is_connected: bool) -> None:
        """Tell once that assets are stale because the broker is away."""
        if is_connected:
            self._outage_told = False
        elif stale and not self._outage_told:
            self._outage_told = True
            if self._live is None or self._live.worker <= 1:  # each worker has this connection
                for position in {one.config.alarm.position for one in self._pipelines}:
                    self._metrics.announcements.labels(position, "critical").inc()
            log.warning(
                "no samples because the broker is not connected: all assets become stale, %d now",
                stale,
                extra=event("assets_stale_without_broker", count=stale),
            )

    def _clock_events(self) -> list[Publication]:
        """Return an event for each pipeline with assets whose clock was set back."""
        live = self._live
        if live is None or not self._set_backs:
            return []
        events = []
        now_ns = self.clock_ns()
        for pipeline, found in self._set_backs.items():
            _, first = found[0]
            content = ClockEvent(
                timestamp=now_ns,
                node=live.node,
                event="clock_back",
                pipeline=pipeline,
                assets=_first_names([asset for asset, _ in found]),
                count=len(found),
                seconds=(first.from_ns - first.to_ns) / SECOND_NS,
                from_time=first.from_ns,
                to_time=first.to_ns,
                number=first.number,
                sign=first.sign,
                id=f"{live.node}/{pipeline}:clock_back:{now_ns}",
            )
            events.append(Publication(live.topic, _encode(content), 1, False))
        self._set_backs.clear()
        return events

    def _event(
        self,
        event: str,
        pipeline: Pipeline,
        names: list[str],
        cause: str,
        *,
        source: SourceChange | None = None,
    ) -> Publication:
        assert self._live is not None
        now_ns = self.clock_ns()
        content = AssetEvent(
            timestamp=now_ns,
            node=self._live.node,
            event=event,
            pipeline=pipeline.name,
            assets=_first_names(names),
            count=len(names),
            stale_after_seconds=pipeline.stale_after_seconds if source is None else source.seconds,
            cause=cause,
            id=f"{self._live.node}/{pipeline.name}:{event}:{now_ns}",
        )
        if source is not None:
            content.source = source.source
            content.id = f"{content.id}:{source.source}"
        return Publication(self._live.topic, _encode(content), 1, False)


def _look_at_answers(watch: SampleWatch) -> list[Publication]:
    """Return answers to controllers that are not live any more."""
    pipeline = watch.pipeline
    if pipeline.answers is None:
        return []
    is_ready = watch.fault is None and pipeline.containment.fault is None
    return pipeline.answers.look(pipeline.streams.get, is_ready=is_ready)


def _by_what_came(states: Sequence[StreamState]) -> dict[str, list[StreamState]]:
    """Return assets that are back, by what came again."""
    found: dict[str, list[StreamState]] = {}
    for state in states:
        is_window = state.stale_cause in WITHOUT_DECISION
        found.setdefault("windows that can be judged" if is_window else "samples", []).append(state)
    return found


def _reasons(states: Sequence[StreamState]) -> str:
    """Return why no message of some assets was used, as far as the last ones show it."""
    return ", ".join(sorted({state.drops.reason or "not complete" for state in states}))


def _why_unused(states: Sequence[StreamState]) -> str:
    """Return the same for the log."""
    if all(state.stream.undecided for state in states):
        return "all have the same time"
    return f"last refused as {_reasons(states)}"


def _held_signals(pipeline: Pipeline, states: Sequence[StreamState]) -> str:
    """Return the signals of assets of which no good value came for a whole window, or longer."""
    channels = sorted({one for state in states for one in state.stream.held_channels()})
    shown = [pipeline.signals[channel] for channel in channels[:SHOWN_SIGNALS]]
    more = len(channels) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _first_names(names: list[str]) -> list[str]:
    """Return the first names, as many as one event may hold."""
    shown: list[str] = []
    characters = 0
    for name in names[:MAX_EVENT_ASSETS]:
        characters += len(name)
        if characters > MAX_EVENT_CHARACTERS:
            break
        shown.append(name)
    return shown
