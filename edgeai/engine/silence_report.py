"""Tell the silence of assets: stopped and back, one of several sources, an outage of the broker.

A cause is told once: when the connection to the broker is down, that is one line and not one for
each asset.
"""

import logging
from collections.abc import Sequence

from edgeai.engine.asset_events import MAX_EVENT_ASSETS, AssetEvents, Live
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.pipeline_log import shown_assets
from edgeai.engine.presence import PresenceWatch
from edgeai.engine.recent_events import RecentEvents
from edgeai.engine.sample_watch import Found
from edgeai.engine.source_watch import SourceChange, SourceWatch
from edgeai.engine.stream_state import WITHOUT_DECISION, StreamState
from edgeai.log_events import event
from edgeai.messages import Publication
from edgeai.metrics.definitions import Metrics

log = logging.getLogger("edgeai.monitor")

STALE_TEXTS = {
    "no_samples": "no sample for %g s, stale: %s",
    "no_window": "samples come, and none completed a window for longer than %g s (compare their "
    "rate and their gaps with the model's), stale: %s",
    "bad_values": "windows come, and each has too many values that cannot be used, for longer than "
    "%g s: no alarm is judged, stale: %s",
}
"""By the cause, for the declared time and the assets."""


class SilenceReport:
    """Tells the silence of a node's assets: in the log, on the page, and as events on MQTT."""

    def __init__(
        self,
        pipelines: Sequence[Pipeline],
        metrics: Metrics,
        live: Live,
        events: AssetEvents,
        recent: RecentEvents,
    ) -> None:
        """Wire the parts.

        Args:
            pipelines: Of the node.
            metrics: Of the node.
            live: Says which worker this is.
            events: Makes the events on MQTT.
            recent: Receives what the page shows.
        """
        self._pipelines, self._metrics = pipelines, metrics
        self._live, self._events, self._recent = live, events, recent
        self._source_watches = {one: SourceWatch(one) for one in pipelines if one.sources.inlets}
        """Of the pipelines with several sources."""
        self._presence_watches = {one: PresenceWatch(one) for one in pipelines}
        self._presence: list[tuple[Pipeline, StreamState]] = []
        """Streams that stopped or came back, whose messages do not say so yet."""
        self._outage_told = False
        """Whether assets that became stale while the broker was away were told."""

    def tell(self, pipeline: Pipeline, found: Found, *, is_connected: bool) -> list[Publication]:
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
            elif cause != "broker_connection":  # `tell_outage` does
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
            events.append(self._events.of_assets("stale", pipeline, names, cause))
            self._recent.add(
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
            events.append(self._events.of_assets("back", pipeline, names, ""))
            self._recent.add("back", pipeline.name, names)
        return events

    def take_presence(self) -> list[tuple[Pipeline, StreamState]]:
        """Return the streams whose retained messages are to say that they stopped or came back."""
        found, self._presence = self._presence, []
        return found

    def tell_presence(
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
        return self.tell(pipeline, again, is_connected=True)

    def look_at_sources(self, now: float, *, is_connected: bool) -> list[Publication]:
        """Tell the sources that have stopped or send again, of pipelines with several."""
        return [
            self._tell_source(pipeline, change)
            for pipeline, sources in self._source_watches.items()
            for change in sources.scan(now, is_connected=is_connected)
        ]

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
        self._recent.add(
            name, pipeline.name, change.assets, source=change.source, seconds=change.seconds
        )
        cause = "" if change.is_back else "no_samples"
        return self._events.of_assets(name, pipeline, change.assets, cause, source=change)

    def tell_outage(self, stale: int, *, is_connected: bool) -> None:
        """Tell once that assets are stale because the broker is away."""
        if is_connected:
            self._outage_told = False
        elif stale and not self._outage_told:
            self._outage_told = True
            if self._live.counts_for_all:  # each worker has this connection
                for position in {one.config.alarm.position for one in self._pipelines}:
                    self._metrics.announcements.labels(position, "critical").inc()
            log.warning(
                "no samples because the broker is not connected: all assets become stale, %d now",
                stale,
                extra=event("assets_stale_without_broker", count=stale),
            )


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
