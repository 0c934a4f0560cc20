"""Publishes again, after each new connection, what the broker may have forgotten.

A broker without persistence forgets what it retains when it is started again, and one with it may
come back with what it had saved half an hour ago. Nobody could then see an alarm that is active and
does not change. So its message, operating states, and the answers to controllers that are retained
or published on a change are published again as they were: those of alarms that are there first.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from edgeai.engine.kept_alarms import KeptAlarms
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.sharding import Shard
from edgeai.messages import Publication

MAX_AT_ONCE = 1000  # publications in one poll: input is not read while too many wait


class PublishedAgain:
    """What is published again after a new connection; the first one has had all of it."""

    def __init__(
        self,
        pipelines: Sequence[Pipeline],
        kept: KeptAlarms,
        connections: Callable[[], int],
        shard: Shard | None = None,
    ) -> None:
        """Prepare.

        Args:
            pipelines: Of the node.
            kept: The messages of alarms of this worker.
            connections: Returns how often the node was connected to its broker.
            shard: The streams of this worker; None: all.
        """
        self._pipelines = {one.name: one for one in pipelines}
        self._kept, self._connections = kept, connections
        self._shard = shard or Shard()
        self._seen = 1
        self._left: Iterator[Publication] = iter(())

    def take(self) -> list[Publication]:
        """Return what is to be published now; the next calls return the rest."""
        count = self._connections()
        if count > self._seen:
            self._seen, self._left = count, self._all()
        return list(islice(self._left, MAX_AT_ONCE))

    def _all(self) -> Iterator[Publication]:
        """Yield everything, each as it is when it is asked for: it may have changed meanwhile."""
        yield from self._alarms(are_normal=False)
        for pipeline in self._pipelines.values():
            if pipeline.answers is not None:
                yield from pipeline.answers.again()
            for state in list(pipeline.streams.values()):
                if state.told_change is not None:
                    yield state.told_change
        yield from self._alarms(are_normal=True)

    def _alarms(self, *, are_normal: bool) -> Iterator[Publication]:
        for topic in list(self._kept.alarms):
            alarm = self._kept.alarms.get(topic)
            if alarm is None or not alarm.is_known or (alarm.state == "normal") != are_normal:
                continue
            pipeline = self._pipelines.get(alarm.pipeline)
            if pipeline is None or not self._shard.takes(alarm.asset):
                continue
            if pipeline.serves(alarm.asset) and pipeline.topics.alarm(alarm.asset) == topic:
                yield Publication(topic, alarm.message.encode(), 1, True)
