"""What becomes of the accelerators: their failures told to the broker, the log and the metrics.

The session fails over by itself (`providers.guarded`); here is what others see of it.
"""

import time
from collections.abc import Callable, Sequence

import msgspec

from edgeai.engine.pipeline import Pipeline
from edgeai.engine.publications import ProviderEvent
from edgeai.messages import Publication
from edgeai.metrics.definitions import Metrics
from edgeai.providers.serving.failover import Event, GuardedSession


class Watch:
    """The guarded sessions of a node, looked after once a turn."""

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
            pipelines: Those of the node; several may share a session.
            metrics: What happens is counted there.
            node: The node's name.
            topic: Where events are published; empty: nowhere, as in a replay.
            clock_ns: Now.
        """
        by_session: dict[int, _Watched] = {}
        for pipeline in pipelines:
            session = pipeline.session
            if isinstance(session, GuardedSession):
                watched = by_session.setdefault(id(session), _Watched(session))
                watched.pipelines.append(pipeline)
        self._watched = list(by_session.values())
        self._metrics = metrics
        self._node = node
        self._topic = topic
        self._clock_ns = clock_ns
        self._encode = msgspec.json.Encoder().encode
        for watched in self._watched:
            self._show(watched)

    def tend(self) -> list[Publication]:
        """Let every session do what is due; return what is to be published. Never waits."""
        publications: list[Publication] = []
        for watched in self._watched:
            session = watched.session
            for event in session.tend():
                self._count(watched, event)
                if self._topic:
                    publications.append(self._publication(watched, event))
            if watched.shown != (session.provider, session.reason, session.parity_failures):
                self._show(watched)
        return publications

    def _count(self, watched: "_Watched", event: Event) -> None:
        for pipeline in watched.pipelines:
            if event.kind == "degraded":
                self._metrics.failovers.labels(pipeline.name, event.cause).inc()
            elif event.kind == "readmitted":
                self._metrics.readmissions.labels(pipeline.name).inc()

    def _show(self, watched: "_Watched") -> None:
        """State who computes, and why, where Prometheus sees it."""
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
    """A session, who uses it, and what is shown of it."""

    def __init__(self, session: GuardedSession) -> None:
        self.session = session
        self.pipelines: list[Pipeline] = []
        self.shown = ("", "", 0)
        """Provider, reason, parity failures."""
