"""Who takes the messages of a topic: found once for each topic, and remembered."""

from collections.abc import Callable
from functools import partial

from edgeai import topics
from edgeai.engine.containment import Steps
from edgeai.engine.inlets import Inlet
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.quarantine import Quarantine
from edgeai.engine.refusals import Refusals
from edgeai.engine.stream_state import StreamState
from edgeai.engine.topic_cache import TopicCache
from edgeai.errors import DecodeError
from edgeai.messages import SECOND_NS, Message
from edgeai.metrics.definitions import Metrics

REFUSED_NS = SECOND_NS  # how long a refusal for lack of room is remembered, by arrival times

Take = Callable[[Message], None]
Taker = Pipeline | Inlet
"""A pipeline, or one of its sources if it has several."""
Route = tuple[Taker, StreamState | None, Take]
"""Who takes a topic: a pipeline or an inlet, and either its stream, where messages wait to be
decoded together, or a function that takes each message at once."""


class Routes:
    """Who takes which topic, for all pipelines of a node."""

    def __init__(
        self,
        pipelines: list[Pipeline],
        metrics: Metrics,
        quarantine: Quarantine,
        refusals: Refusals,
        steps: Steps,
    ) -> None:
        """Wire the parts.

        Args:
            pipelines: Those of the node.
            metrics: The node's metrics.
            quarantine: Messages that must not be tried again.
            refusals: Tells messages that no pipeline takes.
            steps: Tells what failed without a pipeline.
        """
        self._pipelines = pipelines
        self._metrics = metrics
        self._quarantine = quarantine
        self._refusals = refusals
        self._steps = steps
        self._cache: TopicCache[list[Route]] = TopicCache()
        self.get = self._cache.get
        """Return who takes a topic; None if `find` must look."""
        self.forget = self._cache.remove
        """Forget who takes a topic."""
        for pipeline in pipelines:
            pipeline.registry.on_forget = self._forget_stream
            pipeline.containment.quarantine = quarantine
            pipeline.containment.forget_route = self.forget

    def find(self, message: Message) -> list[Route]:
        """Find who takes a message, and remember it for its topic."""
        try:
            return self._find(message)
        except Exception as error:  # noqa: BLE001  whatever it is, it costs this message
            self._steps.tell(f"finding who takes topic {message[0][:200]!r}", error)
            self._metrics.unrouted.labels("internal_error").inc()
            return []

    def _find(self, message: Message) -> list[Route]:
        topic = message[0]
        routes: list[Route] = []
        suspects = self._quarantine.suspects(topic)
        remembers = True
        takers = [one for pipeline in self._pipelines for one in pipeline.takers]
        for pipeline in takers:
            state = None
            try:
                take = pipeline.take_without_stream(topic)
                if take is None:
                    found = pipeline.key_of(topic)
                    if found is None:
                        continue
                    key, tag = found
                    state = pipeline.stream_of(key, message[2])
                    take = partial(pipeline.intake.take, state, tag)
            except DecodeError as error:
                routes.append((pipeline, None, self._refusal(pipeline, error.code, message[2])))
                continue
            except Exception as error:  # noqa: BLE001  the other pipelines take the message
                pipeline.metrics.messages.value += 1
                pipeline.containment.drop(message, error)
                remembers = False
                continue
            waits = pipeline.intake.waits
            if suspects:  # each message is compared with the quarantined ones
                guarded = partial(_take_if_clean, pipeline, state, None if waits else take)
                routes.append((pipeline, None, guarded))
            else:
                routes.append((pipeline, state if waits else None, take))
        if not routes and remembers:
            reason = "unexpected_topic" if topics.is_topic_name(topic) else "invalid_topic"
            self._metrics.unrouted.labels(reason).inc()
            self._refusals.tell(reason, topic, message[1])
        elif remembers:  # otherwise each message is counted
            self._cache.add(topic, routes)
        return routes

    def _refusal(self, pipeline: Taker, reason: str, now_ns: int) -> Take:
        """Return a function that refuses each message of a topic."""
        if reason == "too_many_streams":
            return partial(self._refuse_for_now, pipeline, now_ns)
        return partial(_refuse, pipeline, reason)

    def _refuse_for_now(self, pipeline: Taker, since_ns: int, message: Message) -> None:
        """Refuse a message for lack of room; look for room again after a while."""
        if not 0 <= message[2] - since_ns < REFUSED_NS:
            self.forget(message[0])
        _refuse(pipeline, "too_many_streams", message)

    def _forget_stream(self, evicted: StreamState) -> None:
        """Forget the routes to a stream that has left."""

        def leads_there(routes: list[Route]) -> bool:
            return any(
                state is evicted or (isinstance(take, partial) and evicted in take.args)
                for _, state, take in routes
            )

        self._cache.remove_where(leads_there)


def _refuse(pipeline: Taker, reason: str, message: Message) -> None:
    """Count and tell a message of a stream that the pipeline does not take."""
    pipeline.metrics.drop(reason)
    pipeline.metrics.count_retained(message[3], reason)
    pipeline.refusals.tell(reason, message[0], message[1])


def _take_if_clean(
    pipeline: Taker, state: StreamState | None, take: Take | None, message: Message
) -> None:
    """Take a message of a topic with quarantined messages, unless it is one of them.

    Args:
        pipeline: Who takes it.
        state: Its stream.
        take: Takes it at once; None: it waits at the stream.
        message: As received.
    """
    if pipeline.containment.drop_quarantined(message):
        return
    if take is not None:
        take(message)
        return
    assert state is not None
    pipeline.intake.touched[state] = None
    state.messages.append(message)
