"""The turn: receive, decode, window, infer, judge, publish, commit. One loop, one thread.

The batch is what has arrived since the last turn. When idle a message that completes a window is
answered at once, and under load the batches grow, so that throughput rises. While a turn runs
nothing more is read, and the socket holds the sender back. The engine says when a window can be
due; what the source makes of it is in `mqtt/patience.py`.

Live and replayed input go through this same code; only the source and the sink differ.
"""

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from edgeai import topics
from edgeai.engine.judging import Judging
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.stream_state import StreamState
from edgeai.engine.turn_log import Call, TurnLog
from edgeai.engine.windowing import take_frame, take_tag, window
from edgeai.errors import DecodeError
from edgeai.messages import AT_ONCE, Due, Message, Publication
from edgeai.metrics.definitions import AssetState, Metrics

log = logging.getLogger("edgeai.engine")

MAX_ROUTES = 200_000
STREAMS_PER_SURVEYED_MESSAGE = 8
"""So seldom are all streams looked at that looking costs a message this many streams."""
NOTED = 512
"""After so many turns and windows they are counted: together, with warm caches."""

Take = Callable[[Message], None]
Route = tuple[Pipeline, StreamState | None, Take]
"""Who takes a topic: a pipeline, and its stream, where messages wait to be decoded together
(`row`); without a stream, what takes each message at once."""


class Source(Protocol):
    """Where messages come from: a broker or a file."""

    def receive(self, timeout_seconds: float, due: Due = AT_ONCE) -> list[Message]:
        """Return what has arrived, waiting for the first at most so long.

        Messages with which no window is due may be left for later.
        """

    def commit(self) -> None:
        """Acknowledge everything that `receive` has returned."""


class Sink(Protocol):
    """Where predictions go: a broker or a file."""

    def publish(self, publications: list[Publication]) -> None:
        """Hand over in this order."""


class Watcher(Protocol):
    """Looks after the accelerators; implemented by `assembly.provider_watch.ProviderWatch`."""

    def poll(self) -> list[Publication]:
        """Do what is due, and return what is to be published. Never waits."""


class Engine:
    """All pipelines of a node on one source and one sink."""

    def __init__(
        self,
        pipelines: list[Pipeline],
        source: Source,
        sink: Sink,
        metrics: Metrics,
        *,
        reset_prefix: str = "",
        clock_ns: Callable[[], int] | None = time.time_ns,
        watch: Watcher | None = None,
    ) -> None:
        """Wire the parts.

        Args:
            pipelines: In the order in which they are served in a turn, but where a batch fills.
            source: Where messages come from.
            sink: Where publications go.
            metrics: What is counted goes there.
            reset_prefix: Topics `<prefix><pipeline>/<asset>` reset a latched alarm; empty: none.
            clock_ns: Now, to measure end-to-end time; None in a replay, where it means nothing.
            watch: Looks after the accelerators; None: there are none.
        """
        self.pipelines = pipelines
        self._source = source
        self._sink = sink
        self._metrics = metrics
        self._watch = watch
        self._reset_prefix = reset_prefix
        self._judging = {pipeline: Judging(pipeline) for pipeline in pipelines}
        self._clock_ns = clock_ns
        self._routes: dict[str, list[Route]] = {}
        self._outgoing: list[Publication] = []
        self._calls: list[Call] = []
        """The session calls since the last turn was noted."""
        self.last_turn_monotonic = time.monotonic()
        self.received = 0
        self._always_due = not pipelines or any(one.is_always_due for one in pipelines)
        self._due = AT_ONCE
        """As of when the streams were last looked at: then, and after so many messages."""
        self._due_since = 0.0
        self._due_from = 0
        self._next_survey = 0
        self._log = TurnLog(metrics)
        self._unsettled = 0
        """Turns and windows that are noted only."""
        for pipeline in pipelines:
            pipeline.batch.when_full = partial(self._infer_and_judge, pipeline)
        metrics.watch_assets(self.asset_states)

    # ------------------------------------------------------------------------------------ the turn

    def _when_due(self) -> Due:
        """Return when, from here on, the next window can be due.

        All streams are looked at now and then; in between the answer only comes nearer.
        """
        taken = self.received - self._due_from
        if self._due.messages <= taken + 1 and self.received >= self._next_survey:
            streams = sum([len(pipeline.streams) for pipeline in self.pipelines])
            self._next_survey = self.received + 1 + streams // STREAMS_PER_SURVEYED_MESSAGE
            self._due_from, self._due_since = self.received, self.last_turn_monotonic
            found = [pipeline.due() for pipeline in self.pipelines]
            self._due = Due(*map(min, zip(*found, strict=True)))
            return self._due
        passed = self.last_turn_monotonic - self._due_since
        messages, usual_messages, seconds = self._due
        return Due(max(1, messages - taken), max(1, usual_messages - taken), seconds - passed)

    def turn(self, timeout_seconds: float) -> int:
        """Run one turn and return how many messages it took."""
        due = AT_ONCE if self._always_due else self._when_due()
        messages = self._source.receive(timeout_seconds, due)
        started = time.monotonic()
        self._sort(messages)
        for pipeline in self.pipelines:
            self._serve(pipeline)
        if self._watch is not None:
            self._outgoing += self._watch.poll()
        self._publish_and_commit()
        self._note(messages, started)
        return len(messages)

    def finish(self) -> None:
        """Give out what still waits for late samples: the input ends here."""
        for pipeline in self.pipelines:
            for state in pipeline.streams.values():
                state.stream.flush(state.emit)
            self._serve(pipeline)
        self._publish_and_commit()
        self._note([], 0.0)

    # -------------------------------------------------------------------------------------- decode

    def _sort(self, messages: list[Message]) -> None:
        """Messages to their streams. Rows wait to be decoded together; a frame goes on at once."""
        find = self._routes.get
        for message in messages:
            routes = find(message[0])
            if routes is None:
                routes = self._find_routes(message[0])
            for pipeline, state, take in routes:
                if state is None:
                    take(message)
                    continue
                waiting = state.messages
                if not waiting:
                    pipeline.touched[state] = None
                waiting.append(message)

    def _find_routes(self, topic: str) -> list[Route]:
        """Find who takes a topic; done once for each topic, then looked up."""
        if self._reset_prefix and topic.startswith(self._reset_prefix):
            self._reset_alarm(topic[len(self._reset_prefix) :])
            return []
        routes: list[Route] = []
        for pipeline in self.pipelines:
            found = pipeline.key_of(topic)
            if found is None:
                continue
            key, tag = found
            try:
                state = pipeline.stream_of(key)
            except DecodeError as error:
                routes.append((pipeline, None, partial(_refuse, pipeline, error.code)))
                continue
            if pipeline.row_decoder is not None:
                routes.append((pipeline, state, _wait))
            elif pipeline.tag_decoder is not None:
                routes.append((pipeline, None, partial(take_tag, pipeline, state, tag)))
            else:
                routes.append((pipeline, None, partial(take_frame, pipeline, state)))
        if not routes:
            valid = topics.is_topic_name(topic)
            self._metrics.unrouted.labels("unexpected_topic" if valid else "invalid_topic").inc()
            return routes  # not remembered: it is counted each time
        if len(self._routes) >= MAX_ROUTES:
            self._routes.clear()
        self._routes[topic] = routes
        return routes

    # -------------------------------------------------------------------------------------- window

    def _serve(self, pipeline: Pipeline) -> None:
        """Take what a pipeline got in this turn to publications."""
        if pipeline.touched:
            touched = list(pipeline.touched)
            pipeline.touched.clear()
            window(pipeline, touched)
        if pipeline.batch.windows:
            self._infer_and_judge(pipeline)

    # ------------------------------------------------------------------------------ infer and judge

    def _infer_and_judge(self, pipeline: Pipeline) -> None:
        """Windows to outputs in one session call, then to publications."""
        session = pipeline.session
        windows = pipeline.batch.take()
        started = time.monotonic()
        outputs = session.run(pipeline.batch.values, len(windows))
        seconds = time.monotonic() - started
        self._outgoing += self._judging[pipeline].judge(windows, outputs)
        self._calls.append((pipeline, session.provider, seconds, windows))
        self._unsettled += len(windows)

    def _reset_alarm(self, target: str) -> None:
        """Reset a latched alarm: the target is `<pipeline>/<asset>`."""
        for pipeline in self.pipelines:
            state = pipeline.streams.get(target.removeprefix(f"{pipeline.name}/"))
            if state is None or not target.startswith(f"{pipeline.name}/"):
                continue
            self._serve(pipeline)  # samples that came before the reset, in the same turn
            previous = state.alarm.state
            if state.alarm.reset(state.time_ns or 0):
                judging = self._judging[pipeline]
                self._outgoing.append(judging.transition(state, previous, []))
            return
        log.warning("reset of %r: no such pipeline and asset", target[:200])

    # ---------------------------------------------------------------------------- publish, commit

    def _publish_and_commit(self) -> None:
        """Hand over what the turn made, then acknowledge what it took."""
        if self._outgoing:
            outgoing, self._outgoing = self._outgoing, []
            self._sink.publish(outgoing)
        self._source.commit()

    def _note(self, messages: list[Message], started: float) -> None:
        """Note the turn and its session calls, when their predictions are on their way."""
        now = self.last_turn_monotonic = time.monotonic()
        count = len(messages)
        self.received += count
        if not count and not self._calls:
            return
        ended_ns = time.time_ns()
        now_ns = self._clock_ns() if self._clock_ns is not None else None
        arrived_ns = messages[-1][2] if count else 0
        self._log.note((count, arrived_ns, now - started, self._calls, ended_ns, now_ns))
        self._calls = []
        self._unsettled += 1
        if self._unsettled >= NOTED:
            self._unsettled = 0
            self._log.settle()

    # -------------------------------------------------------------------------- seen from outside

    @property
    def predicted(self) -> int:
        """How many predictions were made."""
        self._log.settle()
        return self._log.predicted

    def asset_states(self) -> Iterator[AssetState]:
        """Give pipeline, asset, score and alarm state of every stream that was judged."""
        for pipeline in self.pipelines:
            for state in list(pipeline.streams.values()):
                if state.time_ns is not None:
                    yield pipeline.name, state.key, state.score, state.alarm.state


def _refuse(pipeline: Pipeline, reason: str, _message: Message) -> None:
    """Count a message of a stream that the pipeline does not take."""
    pipeline.drop(reason)


def _wait(_message: Message) -> None:
    """Nothing: the messages of this stream are taken together."""
