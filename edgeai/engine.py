"""The turn: receive, decode, window, infer, judge, publish, commit. One loop, one thread.

The batch is what has arrived since the last turn. When idle a message that completes a window is
answered at once, and under load the batches grow, so that throughput rises. While a turn runs
nothing more is read, and the socket holds the sender back. The engine says when a window can be
due; what the source makes of it is in `mqtt/patience.py`.

Live and replayed input go through this same code; only the source and the sink differ.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, repeat
from operator import itemgetter
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgeai import topics
from edgeai.errors import DecodeError
from edgeai.judging import Judging
from edgeai.metrics import AssetState, Metrics
from edgeai.pipeline import Pipeline, StreamState
from edgeai.records import AT_ONCE, Due, Message, Publication

log = logging.getLogger("edgeai.engine")

MAX_ROUTES = 200_000
FEW_ROWS = 4
STREAMS_PER_SURVEYED_MESSAGE = 8
"""So seldom are all streams looked at that looking costs a message this many streams."""
SECOND_NS = 1_000_000_000

_redelivered = itemgetter(3)

Route = tuple[Pipeline, StreamState | None, str | None, bool]
"""Who takes a topic: the pipeline, its stream, the tag's name if the topic holds it, and whether
the layout is `row`. No stream: refused, and the third says why."""

Times = tuple[StreamState, list[int]]
"""A stream and the times of some samples of it, nanoseconds."""


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
    """Who looks after the accelerators: `watch.Watch`, imported only where there is one."""

    def tend(self) -> list[Publication]:
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
            pipelines: In the order in which they are served.
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
        self._judging = {pipeline: Judging(pipeline, clock_ns) for pipeline in pipelines}
        self._routes: dict[str, list[Route]] = {}
        self._outgoing: list[Publication] = []
        self.last_turn_monotonic = time.monotonic()
        self.received = 0
        self.predicted = 0
        self._always_due = not pipelines or any(one.is_always_due for one in pipelines)
        self._due = AT_ONCE
        """As of when the streams were last looked at: then, and after so many messages."""
        self._due_since = 0.0
        self._due_from = 0
        self._next_survey = 0
        self._last_received_ns = 0
        self._last_prediction = 0.0
        """When the last was made, seconds since 1970."""
        metrics.last_message.set_function(lambda: self._last_received_ns / SECOND_NS)
        metrics.last_prediction.set_function(lambda: self._last_prediction)
        for pipeline in pipelines:
            pipeline.take_window = partial(self._take_window, pipeline)
        metrics.watch_assets(self.asset_states)

    # ------------------------------------------------------------------------------------ the turn

    def _when_due(self) -> Due:
        """Return when, from here on, the next window can be due.

        All streams are looked at now and then; in between the answer only comes nearer.
        """
        if self._always_due:
            return AT_ONCE
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
        messages = self._source.receive(timeout_seconds, self._when_due())
        started = time.perf_counter()
        self._sort(messages)
        for pipeline in self.pipelines:
            self._serve(pipeline)
        if self._watch is not None:
            self._outgoing += self._watch.tend()
        self._publish_and_commit()
        self._count(messages, time.perf_counter() - started)
        return len(messages)

    def finish(self) -> None:
        """Give out what still waits for late samples: the input ends here."""
        for pipeline in self.pipelines:
            for state in pipeline.streams.values():
                state.stream.flush(state.emit)
            self._infer_and_judge(pipeline)
        self._publish_and_commit()
        self._count([], 0.0)

    # -------------------------------------------------------------------------------------- decode

    def _sort(self, messages: list[Message]) -> None:
        """Messages to their streams. Rows are decoded when all are there, many at once."""
        find = self._routes.get
        for message in messages:
            routes = find(message[0])
            if routes is None:
                routes = self._find_routes(message[0])
            for pipeline, state, tag, is_row in routes:
                if not is_row or state is None:
                    self._decode_other(pipeline, state, tag, message)
                    continue
                waiting = state.messages
                if not waiting:
                    pipeline.touched[state] = None
                waiting.append(message)

    def _decode_other(
        self, pipeline: Pipeline, state: StreamState | None, tag: str | None, message: Message
    ) -> None:
        """Take a message that is not a row: a tag, a frame, or one of a stream that is refused."""
        if state is None:
            pipeline.drop(tag or "invalid_topic")
            return
        _, payload, received_ns, redelivered = message
        try:
            if pipeline.tag_decoder is not None:
                time_ns, channel, value = pipeline.tag_decoder.decode(payload, tag)
                moment = received_ns if time_ns is None else time_ns
                if redelivered and state.stream.has_passed(moment):
                    pipeline.drop("duplicate")
                    return
                state.tags.append((moment, channel, value))
            elif pipeline.frame_decoder is not None:
                state.frames.append((received_ns, pipeline.frame_decoder(payload)))
        except DecodeError as error:
            pipeline.drop(error.code)
        else:
            pipeline.touched[state] = None

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
                is_row = pipeline.row_decoder is not None
                routes.append((pipeline, pipeline.stream_of(key), tag, is_row))
            except DecodeError as error:
                routes.append((pipeline, None, error.code, False))
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
        """Take the decoded samples of a pipeline to publications."""
        if pipeline.touched:
            self._window(pipeline)
            self._infer_and_judge(pipeline)

    def _window(self, pipeline: Pipeline) -> None:
        """Samples to windows: one conversion for all streams of a pipeline, then each its part."""
        touched = list(pipeline.touched)
        pipeline.touched.clear()
        if pipeline.row_decoder is not None:
            self._window_rows(pipeline, touched)
        elif pipeline.tag_decoder is not None:
            self._window_tags(pipeline, touched)
        else:
            self._window_frames(pipeline, touched)

    def _window_frames(self, pipeline: Pipeline, touched: list[StreamState]) -> None:
        for state in touched:
            emit = state.emit
            frames, state.frames = state.frames, []
            pipeline.metrics.messages.inc(len(frames))
            for received_ns, frame in frames:
                missed = state.missed_before(frame.sequence)
                if missed:
                    pipeline.metrics.missed.inc(missed)
                period_ns = SECOND_NS / frame.rate_hz
                t0_ns = frame.t0_ns
                if t0_ns is None:  # its last sample was taken when it was sent
                    t0_ns = received_ns - round((len(frame.values) - 1) * period_ns)
                done = pipeline.conditioner.rows(frame.values)
                if done.invalid is not None:
                    pipeline.metrics.invalid["missing"] += int(np.isnan(frame.values).sum())
                if done.dropped is not None:  # samples of a block cannot be left out one by one
                    pipeline.metrics.drops["invalid_value"] += len(frame.values)
                    continue
                state.stream.push_block(
                    t0_ns, period_ns, done.values, done.invalid, done.doubtful, emit
                )

    def _window_rows(self, pipeline: Pipeline, touched: list[StreamState]) -> None:
        """Decode and window: many messages at once where nothing is special, else one by one."""
        total = sum([len(state.messages) for state in touched])
        pipeline.metrics.messages.inc(total)
        if total > FEW_ROWS:
            touched = self._push_together(pipeline, touched)
        slow: list[Times] = []
        rows: list[Sequence[float]] = []
        for state in touched:
            times, mine = self._decode_singly(pipeline, state)
            if times and not (total <= FEW_ROWS and self._push_few(pipeline, state, times, mine)):
                slow.append((state, times))
                rows += mine
        if rows:
            values = chain.from_iterable(rows)
            shape = len(rows), pipeline.settings.channels
            with np.errstate(over="ignore"):  # 1e300 becomes infinite
                raw = np.fromiter(values, pipeline.conditioner.takes, math.prod(shape))
            self._push_block(pipeline, slow, raw.reshape(shape))

    def _push_together(self, pipeline: Pipeline, touched: list[StreamState]) -> list[StreamState]:
        """Take the streams whose messages are all as usual; return the others."""
        usual = [state for state in touched if not state.unusual]
        others = [state for state in touched if state.unusual]
        if usual and not self._push_usual(pipeline, usual):
            others = touched  # at least one is not, and will be known by then
        left = []
        for state in others:
            state.unusual = not self._push_usual(pipeline, [state])
            if state.unusual:
                left.append(state)
        return left

    def _push_usual(self, pipeline: Pipeline, states: list[StreamState]) -> bool:
        """Decode the messages of streams at once and push them, if all are as usual."""
        assert pipeline.row_decoder is not None
        messages = [message for state in states for message in state.messages]
        if any(map(_redelivered, messages)):
            return False
        found = pipeline.row_decoder.decode_many(messages)
        if found is None:
            return False
        times, rows = found
        parts = []
        start = 0
        for state in states:
            begin, start = start, start + len(state.messages)
            parts.append((state, times[begin:start]))
            state.messages.clear()
        raw = np.frombuffer(b"".join(rows), pipeline.conditioner.takes)
        self._push_block(pipeline, parts, raw.reshape(len(rows), -1))
        return True

    def _decode_singly(
        self, pipeline: Pipeline, state: StreamState
    ) -> tuple[list[int], list[Sequence[float]]]:
        """Decode the messages of a stream; count and leave out what is none, or was there before.

        Returns:
            (n,) times in nanoseconds and n times (C,) raw values.
        """
        assert pipeline.row_decoder is not None
        decode = pipeline.row_decoder.decode
        times: list[int] = []
        rows: list[Sequence[float]] = []
        for _, payload, received_ns, redelivered in state.messages:
            try:
                time_ns, values = decode(payload)
            except DecodeError as error:
                pipeline.metrics.drops[error.code] += 1
                continue
            if time_ns is None:
                time_ns = received_ns
            if redelivered and (
                state.stream.has_passed(time_ns) or (times and time_ns <= times[-1])
            ):
                pipeline.metrics.drops["duplicate"] += 1
                continue
            times.append(time_ns)
            rows.append(values)
        state.messages.clear()
        return times, rows

    def _push_block(self, pipeline: Pipeline, parts: list[Times], raw: npt.NDArray[Any]) -> None:
        """Condition the samples of several streams, then give each its own.

        Args:
            pipeline: Theirs.
            parts: Each stream with the times of its samples.
            raw: (n, C) raw values, one stream's after the other's.
        """
        done = pipeline.conditioner.rows(raw)
        plain = done.invalid is None and done.doubtful is None and done.dropped is None
        flat = done.values.reshape(-1).data
        if done.invalid is not None:
            pipeline.count_missing(int(np.isnan(raw).sum()))
        start = 0
        for state, times in parts:
            begin, start = start, start + len(times)
            if plain and state.stream.push_few(times, flat, begin, start, state.emit):
                continue
            part = slice(begin, start)
            rows = done.values[part]
            invalid = None if done.invalid is None else done.invalid[part]
            doubtful = None if done.doubtful is None else done.doubtful[part]
            kept = times
            if done.dropped is not None and done.dropped[part].any():
                keep = ~done.dropped[part]
                pipeline.metrics.drops["invalid_value"] += int((~keep).sum())
                kept = [time_ns for time_ns, good in zip(times, keep, strict=True) if good]
                rows = rows[keep]
                invalid = None if invalid is None else invalid[keep]
                if not kept:
                    continue
            state.stream.push_rows(kept, rows, invalid, doubtful, state.emit)

    def _push_few(
        self,
        pipeline: Pipeline,
        state: StreamState,
        times: list[int],
        rows: list[Sequence[float]],
    ) -> bool:
        """Take a handful of samples one by one, if there is nothing special about any of them.

        The same arithmetic as for a block, without the dozen array operations that a block of one
        row costs as much as a block of a thousand: an idle line sends one message a turn.
        """
        conditioned = [pipeline.conditioner.one(values) for values in rows]
        return None not in conditioned and state.stream.push_singly(times, conditioned, state.emit)

    def _window_tags(self, pipeline: Pipeline, touched: list[StreamState]) -> None:
        tags = [tag for state in touched for tag in state.tags]
        pipeline.metrics.messages.inc(len(tags))
        raw = np.array([value for _, _, value in tags])
        done = pipeline.conditioner.tags(raw, np.array([channel for _, channel, _ in tags]))
        if done.dropped is not None:
            done.values[done.dropped] = np.nan
        values = iter(done.values[:, 0].tolist())
        flags = repeat(False) if done.doubtful is None else iter(done.doubtful.tolist())
        for state in touched:
            for time_ns, channel, _ in state.tags:
                state.stream.push_tag(time_ns, channel, next(values), next(flags), state.emit)
            state.tags = []

    def _take_window(  # noqa: PLR0917  called as `Emit`
        self,
        pipeline: Pipeline,
        state: StreamState,
        window: npt.NDArray[np.float32],
        time_ns: int,
        substituted: int,
        doubtful: bool,
    ) -> None:
        """Copy a window that is due into the batch; a full batch is served at once."""
        if pipeline.batch.add(state, window, time_ns, substituted, doubtful):
            self._infer_and_judge(pipeline)

    # ------------------------------------------------------------------------------ infer and judge

    def _infer_and_judge(self, pipeline: Pipeline) -> None:
        """Windows to outputs in one session call, then to publications."""
        batch = pipeline.batch
        count = len(batch.times)
        if count == 0:
            return
        started = time.perf_counter()
        outputs = pipeline.session.run(batch.windows, count)
        seconds = time.perf_counter() - started
        pipeline.metrics.inference[pipeline.session.provider].observe(seconds)
        pipeline.metrics.batch.observe(count)
        self.predicted += count
        self._last_prediction = time.time()
        self._outgoing += self._judging[pipeline].judge(outputs)
        batch.clear()

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

    def _count(self, messages: list[Message], seconds: float) -> None:
        """Note the turn."""
        self.last_turn_monotonic = time.monotonic()
        if messages:
            count = len(messages)
            self.received += count
            self._last_received_ns = messages[-1][2]
            self._metrics.received.inc(count)
            self._metrics.turn_messages.observe(count)
            self._metrics.turn_seconds.observe(seconds)

    # -------------------------------------------------------------------------- seen from outside

    def asset_states(self) -> Iterator[AssetState]:
        """Give pipeline, asset, score and alarm state of every stream that was judged."""
        for pipeline in self.pipelines:
            for state in list(pipeline.streams.values()):
                if state.time_ns is not None:
                    yield pipeline.name, state.key, state.score, state.alarm.state
