"""One stream of a pipeline at run time: its samples, its alarm, its last result."""

from collections.abc import Callable
from functools import partial

from edgeai.alarms.alarm import Alarm
from edgeai.messages import Message, Quality
from edgeai.streams.ring import Emit, Floats
from edgeai.streams.stream import Stream

AddWindow = Callable[["StreamState", Floats, int, int, bool], None]
"""Takes a window of any stream: `Emit` with the stream before its other arguments."""


class StreamState:
    """One stream of a pipeline at run time: its samples, its alarm, its last result."""

    __slots__ = (
        "alarm", "alarm_topic", "emit", "id_prefix", "key", "messages", "needs_single_decoding",
        "quality", "score", "sequence", "stream", "tags", "time_ns", "topic",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        stream: Stream,
        alarm: Alarm,
        *,
        topic: str,
        alarm_topic: str,
        id_prefix: str,
        add_window: AddWindow,
    ) -> None:
        self.key = key
        self.stream = stream
        self.emit: Emit = partial(add_window, self)
        """Puts a window of this stream into the batch; given to every `Stream.push_...` call."""
        self.alarm = alarm
        self.topic = topic
        self.alarm_topic = alarm_topic
        self.id_prefix = id_prefix
        self.messages: list[Message] = []
        """Messages of this turn that wait to be decoded together (layout `row`)."""
        self.needs_single_decoding = False
        """Whether the messages of its last turn could not be decoded together."""
        self.tags: list[tuple[int, int, float]] = []
        """Time, channel and value of this turn's tags (layout `tag`)."""
        self.sequence: int | None = None
        """Sequence number of the last frame."""
        self.time_ns: int | None = None
        """Time of the last sample of the last judged window."""
        self.score: float = float("nan")
        self.quality: Quality = "good"
