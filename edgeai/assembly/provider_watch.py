"""Report the events of accelerators: as publications and metrics.

The failover itself is in `providers.serving.failover`.
"""

import time
from collections.abc import Callable, Sequence

import msgspec

from edgeai.engine.pipeline import Pipeline
from edgeai.engine.publications import ProviderEvent
from edgeai.messages import Publication
from edgeai.metrics.definitions import Metrics
from edgeai.metrics.table import FAILOVER_CAUSES
from edgeai.providers.serving.failover import Event, FailoverSession


class FailoverWatch:
    """The sessions with failover of a node; `poll` runs once a turn."""

    def __init__(
        self,
        pipelines: Sequence[Pipeline],
        metrics: Metrics,
        node: str,
        topic: str,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Find the sessions that have an accelerator.

        Args:
            pipelines: The pipelines of the node; several may share a session.
            metrics: Metrics of the node.
            node: Name of the node.
            topic: Topic for events; empty: do not publish events, as in a replay.
            clock_ns: Returns the time now, nanoseconds since 1970.
        """
        by_session: dict[int, _Watched] = {}
        for pipeline in pipelines:
            session = pipeline.session
            if isinstance(session, FailoverSession):
                watched = by_session.setdefault(id(session), _Watched(session))
                watched.pipelines.append(pipeline)
                for cause in FAILOVER_CAUSES:  # at 0, so that the first outage is an increase
                    metrics.failovers.labels(pipeline.name, cause)
        self._watched = list(by_session.values())
        self._metrics = metrics
        self._node = node
        self._topic = topic
        self._clock_ns = clock_ns
        self._encode = msgspec.json.Encoder().encode
        for watched in self._watched:
            self._update_metrics(watched)

    def poll(self) -> list[Publication]:
        """Let every session do its due steps; return the events to publish. Never waits."""
        publications: list[Publication] = []
        for watched in self._watched:
            session = watched.session
            for event in session.poll():
                self._count(watched, event)
                if self._topic:
                    publications.append(self._publication(watched, event))
            if watched.shown != (session.provider, session.reason, session.parity_failures):
                self._update_metrics(watched)
        return publications

    def _count(self, watched: "_Watched", event: Event) -> None:
        for pipeline in watched.pipelines:
            if event.kind == "degraded":
                self._metrics.failovers.labels(pipeline.name, event.cause).inc()
            elif event.kind == "readmitted":
                self._metrics.readmissions.labels(pipeline.name).inc()

    def _update_metrics(self, watched: "_Watched") -> None:
        """Export the present provider and its reason to Prometheus."""
        session = watched.session
        failed = session.parity_failures - watched.shown[2]
        watched.shown = session.provider, session.reason, session.parity_failures
        for pipeline in watched.pipelines:
            name, manifest = pipeline.name, pipeline.manifest
            self._metrics.session_info(
                name,
                manifest.name,
                manifest.version,
                provider=session.provider,
                requested=session.requested,
                reason=session.reason,
            )
            self._metrics.degraded.labels(name).set(session.is_degraded)
            self._metrics.readmissions.labels(name)
            self._metrics.parity_failures.labels(name).inc(failed)

    def _publication(self, watched: "_Watched", event: Event) -> Publication:
        now_ns = self._clock_ns()
        pipelines = [pipeline.name for pipeline in watched.pipelines]
        content = ProviderEvent(
            now_ns, self._node, event.kind, pipelines, watched.pipelines[0].manifest.name,
            event.provider, watched.session.requested, event.cause, event.detail,
            f"{self._node}/{pipelines[0]}:{event.kind}:{now_ns}",
        )  # fmt: skip
        return Publication(self._topic, self._encode(content), 1, False)


class _Watched:
    """A session, the pipelines that use it, and the state last exported."""

    def __init__(self, session: FailoverSession) -> None:
        self.session = session
        self.pipelines: list[Pipeline] = []
        self.shown = ("", "", 0)
        """Provider, reason, parity failures."""
