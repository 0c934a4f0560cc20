"""What the messages of each asset became: when each arrived, and how many samples it made.

The pipelines take the messages one by one through the engine's own turn, with nothing published.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from edgeai.config.source import SourceConfig
from edgeai.decoding.fields import find, parse_object
from edgeai.engine.engine import Engine
from edgeai.engine.inlets import Capture
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.stream_state import StreamState
from edgeai.errors import DecodeError
from edgeai.messages import AT_ONCE, RETAINED, Due, Message, Publication
from edgeai.metrics.definitions import Metrics
from edgeai.streams.stream import Stream

MAX_ONE_BY_ONE = 1000
"""Messages of a pipeline that are taken singly; the others are taken together, which is faster."""
MAX_TAG = 200  # characters of a tag's name


class TrackKey(NamedTuple):
    """Whose samples they are."""

    place: str
    """`source`, or `sources.NAME`."""
    asset: str
    tag: str
    """Of a message that holds one value; else empty."""


@dataclass
class Track:
    """The samples of one asset, or the values of one of its tags."""

    arrived_ns: list[int] = field(default_factory=list)
    """When each message arrived that brought something new."""
    newest_ns: list[int] = field(default_factory=list)
    """The time of its last sample. Of a tag and of samples without a time: the arrival."""
    samples: list[int] = field(default_factory=list)
    """How many samples it brought. Samples that were made up before it count here, and are taken
    off from the next one."""

    def add(self, arrived_ns: int, newest_ns: int, samples: int) -> None:
        """Note a message."""
        self.arrived_ns.append(arrived_ns)
        self.newest_ns.append(newest_ns)
        self.samples.append(samples)


class _Feed:
    """A source that gives what was put into it, and a sink that publishes nothing."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def receive(self, timeout_seconds: float, due: Due = AT_ONCE) -> list[Message]:  # noqa: ARG002
        messages, self.messages = self.messages, []
        return messages

    def commit(self) -> None:
        """Acknowledge nothing: no message is the node's."""

    def publish(self, publications: list[Publication]) -> None:
        """Publish nothing."""


class _Place(NamedTuple):
    """A source of a pipeline, as messages are followed."""

    name: str
    source: SourceConfig
    number: int | None
    """Of several sources; None: it is the only one."""


class _Before:
    """What a pipeline had before it took a message."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.numbers = {key: _numbers(state) for key, state in pipeline.streams.items()}
        """By asset, for each of its streams."""
        self._pipeline = pipeline
        self._missing = pipeline.metrics.samples["missing"]

    def filled(self) -> int:
        """Return how many samples were made up in place of missing ones."""
        if self._pipeline.config.stream.missing == "mark":
            return 0
        return int(self._pipeline.metrics.samples["missing"] - self._missing)


def follow(pipeline: Pipeline, messages: Sequence[Message]) -> dict[TrackKey, Track]:
    """Let a pipeline take messages; return what came of them, without those the broker had kept."""
    feed = _Feed()
    engine = Engine([pipeline], feed, feed, Metrics(), clock_ns=None)
    tracks: dict[TrackKey, Track] = {}
    for message in messages[:MAX_ONE_BY_ONE]:
        before = _Before(pipeline)
        feed.messages = [message]
        engine.turn(0)
        if message[3] & RETAINED:
            continue
        for place in _places_of(pipeline, message[0]):
            is_tag = place.source.layout == "tag" and not place.source.makes_rows
            for key, added in (_tag if is_tag else _rows)(pipeline, place, message, before):
                tracks.setdefault(key, Track()).add(message[2], *added)
    feed.messages = list(messages[MAX_ONE_BY_ONE:])
    engine.turn(0)
    return tracks


def _places_of(pipeline: Pipeline, topic: str) -> list[_Place]:
    inlets = pipeline.sources.inlets
    if not inlets:
        return [_Place("source", pipeline.config.only_source, None)]
    return [
        _Place(inlet.plan.place, inlet.plan.source, inlet.number)
        for inlet in inlets
        if inlet.find_key(topic) is not None
    ]


def _streams_of(state: StreamState) -> list[Stream]:
    """Return the stream of an asset, followed by those of its sources if it has several."""
    return [state.stream, *(one.stream for one in state.sources)]


def _numbers(state: StreamState) -> list[tuple[int, int | None]]:
    return [(one.ring.next_number, one.newest_ns) for one in _streams_of(state)]


Added = tuple[TrackKey, tuple[int, int]]
"""Whose samples a message brought, the time of the last one, and how many."""


def _rows(pipeline: Pipeline, place: _Place, message: Message, before: _Before) -> Iterator[Added]:
    """Yield what a message brought to each asset whose stream it has moved."""
    index = 0 if place.number is None else place.number + 1
    has_time = place.source.clock is not None
    for key, state in pipeline.streams.items():
        number, newest_ns = _numbers(state)[index]
        old_number, old_ns = before.numbers[key][index] if key in before.numbers else (0, None)
        if newest_ns is None or (old_ns is not None and newest_ns <= old_ns):
            continue
        # With an alignment the ring holds the model's grid, not what came.
        is_one = pipeline.settings.align is not None or (
            place.source.layout == "row" and not place.source.items
        )
        samples = 1 if is_one else number - old_number - before.filled()
        yield TrackKey(place.name, key, ""), (newest_ns if has_time else message[2], samples)


def _tag(pipeline: Pipeline, place: _Place, message: Message, _before: _Before) -> Iterator[Added]:
    """Yield the arrival of one value of one signal."""
    found = pipeline.find_key(message[0])
    tag = _tag_of(found, place.source, message)
    if found is not None and tag:
        yield TrackKey(place.name, found[0], tag), (message[2], 1)


def _tag_of(found: Capture | None, source: SourceConfig, message: Message) -> str:
    """Return the name that a message with one value has; empty: it cannot be read."""
    if found is not None and found[1] is not None:
        return found[1]
    if source.has_records or source.name_path is None:
        return ""
    try:
        name = find(parse_object(bytes(message[1])), source.name_path)
    except DecodeError:
        return ""
    return name[:MAX_TAG] if isinstance(name, str) else ""
