"""Show what arrives and what becomes of it, one line a message: `edgeai listen`.

Each message goes alone through the engine's own turn, with nothing published.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec

from edgeai.assembly.pipelines import build_pipelines
from edgeai.assembly.plan import Plan
from edgeai.engine.engine import Engine
from edgeai.engine.intake.preview import time_text
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.refusals import example_of, printable
from edgeai.errors import DROP_REASONS, DecodeError
from edgeai.messages import (
    AT_ONCE,
    BACKLOG,
    REDELIVERED,
    RETAINED,
    Due,
    Message,
    NotJudged,
    Publication,
    as_bytes,
)
from edgeai.metrics.definitions import Metrics
from edgeai.onboarding.subscriber import Subscriber

FLAGS = ((RETAINED, "retained"), (REDELIVERED, "sent again"), (BACKLOG, "held by the broker"))
MAX_LINES_PER_TURN = 50
"""Lines of one read of the socket, so that a terminal can follow a fast line."""


NOT_JUDGED_TEXTS: dict[NotJudged, str] = {
    "state": "it has `judge: false`",
    "transition": "samples of several states, or min_seconds are not over",
    "settling": "settle_seconds are not over",
    "undeclared": "no condition is true",
    "unknown": "a signal of a condition has no value",
}


class _One:
    """A source that gives one message, and a sink that keeps what would be published."""

    def __init__(self) -> None:
        self.message: Message | None = None
        self.published: list[Publication] = []

    def receive(self, timeout_seconds: float, due: Due = AT_ONCE) -> list[Message]:  # noqa: ARG002
        messages = [] if self.message is None else [self.message]
        self.message = None
        return messages

    def commit(self) -> None:
        """Acknowledge nothing."""

    def publish(self, publications: list[Publication]) -> None:
        self.published += publications


def raw_line(message: Message) -> str:
    """Return a message as it came, for listening without a configuration."""
    topic, payload, received_ns, flags = message
    return f"{time_text(received_ns)}{_flags_text(flags)} {example_of(topic, payload)}"


class Listener:
    """Says of each message what the pipelines make of it."""

    def __init__(self, pipelines: Sequence[Pipeline], metrics: Metrics) -> None:
        """Wire an engine that publishes nothing.

        Args:
            pipelines: As the node has them.
            metrics: Those with which the pipelines were built.
        """
        self._pipelines = list(pipelines)
        self._metrics = metrics
        self._ends = _One()
        self._engine = Engine(self._pipelines, self._ends, self._ends, metrics, clock_ns=None)

    def lines(self, message: Message) -> Iterator[str]:
        """Take a message, and yield a line for each pipeline that gets it."""
        topic, payload, received_ns, flags = message
        head = f"{time_text(received_ns)}{_flags_text(flags)} {printable(topic)}"
        mine = [(one, found) for one in self._pipelines if (found := one.find_key(topic))]
        previews = [self._preview(pipeline, topic, found[1], payload) for pipeline, found in mine]
        before = [self._counts(pipeline) for pipeline, _ in mine]
        naming = [one for one in self._pipelines if one.sources.is_of_names(topic)]
        drops = [Counter(one.metrics.drops) for one in naming]
        self._ends.message = message
        self._ends.published.clear()
        self._engine.turn(0)
        for pipeline, count in zip(naming, drops, strict=True):
            refused = Counter(pipeline.metrics.drops) - count
            fate = "REFUSED " + ", ".join(refused) if refused else "used"
            yield f"{head}: {pipeline.name}: names of identifiers; {fate}"
        if not mine and not naming:
            yield f"{head}: no pipeline takes this topic; {example_of(topic, payload)}"
        for (pipeline, found), preview, counted in zip(mine, previews, before, strict=True):
            who = printable(found[0])
            fate = self._fate(pipeline, found[0], message, counted)
            yield f"{head}: {pipeline.name}/{who}: {preview}{fate}"

    def close(self) -> None:
        """Close the models' sessions."""
        for pipeline in self._pipelines:
            pipeline.session.close()

    def _preview(
        self, pipeline: Pipeline, topic: str, tag: str | None, payload: bytes | memoryview
    ) -> str:
        intake = pipeline.sources.intake_of(topic) or pipeline.intake
        try:
            return f"{intake.preview(tag, as_bytes(payload))} -> "
        except DecodeError:
            return ""  # the turn finds the same, and says why

    def _counts(self, pipeline: Pipeline) -> tuple[Counter[str], Counter[str], Counter[str]]:
        metrics = pipeline.metrics
        return Counter(metrics.drops), metrics.invalid_counts(), Counter(metrics.resets)

    def _fate(
        self,
        pipeline: Pipeline,
        key: str,
        message: Message,
        before: tuple[Counter[str], Counter[str], Counter[str]],
    ) -> str:
        """Return what became of a message: refused and why, or used, and what came of that."""
        drops, invalid, resets = (
            now - then for now, then in zip(self._counts(pipeline), before, strict=True)
        )
        parts = []
        for reason in drops:
            explain = pipeline.refusals.explain
            why = explain(reason, *message[:3]) if explain is not None else ""
            words = DROP_REASONS.get(reason, reason.replace("_", " "))
            parts.append(f"REFUSED {reason}: {words}{f'; {why}' if why else ''}")
        if not drops:
            parts.append(self._use(pipeline, key))
        if invalid:
            counted = ", ".join(f"{reason} {count}" for reason, count in invalid.items())
            parts.append(f"values: {counted}")
        if resets:
            parts.append(f"the window starts again: {', '.join(resets)}")
        parts += [
            self._prediction(one) for one in self._ends.published if self._is_of(one, pipeline)
        ]
        return "; ".join(parts)

    def _use(self, pipeline: Pipeline, key: str) -> str:
        state = pipeline.streams.get(key)
        if state is None:
            return "used"
        waiting = state.stream.waiting_for()
        if waiting:
            names = ", ".join(pipeline.channels[channel] for channel in waiting[:4])
            return f"used; no value yet of {names}"
        if state.time_ns is None and state.stream.undecided is not None:
            return "waits for the next time stamp"
        if state.time_ns is None:
            size, length = state.stream.gathered, pipeline.settings.length
            return f"used; the first window has {min(size, length)} of {length} samples"
        return "used"

    @staticmethod
    def _is_of(publication: Publication, pipeline: Pipeline) -> bool:
        return not publication.retain and any(
            state.topic == publication.topic for state in pipeline.streams.values()
        )

    @staticmethod
    def _prediction(publication: Publication) -> str:
        found = msgspec.json.decode(publication.payload)
        not_judged = found.get("not_judged")
        has_failed = not_judged is None or "alarm_reason" in found
        score = "score not finite" if has_failed else "no score"
        if found["score"] is not None:
            score = f"score {found['score']:.4g}"
        ending = "" if "state" not in found else f", state {found['state']}"
        if not_judged is not None:
            ending += f": not judged ({NOT_JUDGED_TEXTS[not_judged]})"
        return (
            f"PREDICTION {score} (threshold {found['threshold']:.4g}), alarm "
            f"{found['alarm']}, quality {found['quality']}{ending}"
        )


def listen_with(plan: Plan) -> Listener:
    """Return a listener with the pipelines of a plan.

    Raises:
        ModelError: A model does not reproduce its golden outputs.
    """
    metrics = Metrics()
    return Listener(build_pipelines(plan, metrics), metrics)


def show(
    subscriber: Subscriber,
    listener: Listener | None,
    *,
    seconds: float | None,
    count: int | None,
    is_stopped: Callable[[], bool],
    write: Callable[[str], None],
) -> int:
    """Write a line for each message that arrives, until a bound or a signal ends it.

    Args:
        subscriber: Receives messages.
        listener: Says what becomes of them; None: they are shown as they come.
        seconds: How long; None: no bound.
        count: How many messages; None: no bound.
        is_stopped: Returns whether to stop.
        write: Takes a line.

    Returns:
        How many messages came.
    """
    started, shown = time.monotonic(), 0
    try:
        while not is_stopped() and (seconds is None or time.monotonic() - started < seconds):
            lines: list[str] = []
            for message in subscriber.receive():
                lines += [raw_line(message)] if listener is None else listener.lines(message)
                shown += 1
                if shown == count:
                    break
            for line in lines[:MAX_LINES_PER_TURN]:
                write(line)
            if len(lines) > MAX_LINES_PER_TURN:
                write(f"... {len(lines) - MAX_LINES_PER_TURN:,} more lines are not shown")
            if shown == count:
                break
            subscriber.commit()
    finally:
        subscriber.close()
        if listener is not None:
            listener.close()
    return shown


def _flags_text(flags: int) -> str:
    words = [word for flag, word in FLAGS if flags & flag]
    return f" [{', '.join(words)}]" if words else ""
