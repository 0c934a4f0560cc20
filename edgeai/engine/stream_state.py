"""One stream of a pipeline at run time: its samples of this turn, its alarm, its windows' way."""

from collections.abc import Callable
from functools import partial

from edgeai.alarms.alarm import Alarm
from edgeai.messages import Message, Quality
from edgeai.streams.ring import Emit, Floats
from edgeai.streams.stream import Stream

TakeWindow = Callable[["StreamState", Floats, int, int, bool], None]
"""What takes the windows of any stream: `Emit` with the stream before it."""


class StreamState:
    """One stream of a pipeline with its alarm, its topics, and the samples of this turn."""

    __slots__ = (
        "alarm", "alarm_topic", "emit", "id_prefix", "key", "messages", "quality", "score",
        "sequence", "stream", "tags", "time_ns", "topic", "unusual",
    )  # fmt: skip

    def __init__(  # noqa: PLR0917  what it is made of
        self,
        key: str,
        stream: Stream,
        alarm: Alarm,
        topic: str,
        alarm_topic: str,
        take_window: TakeWindow,
    ) -> None:
        self.key = key
        self.stream = stream
        self.emit: Emit = partial(take_window, self)
        """Where its stream's windows go; made once, not once a turn."""
        self.alarm = alarm
        self.topic = topic
        self.alarm_topic = alarm_topic
        self.id_prefix = ""
        self.messages: list[Message] = []
        """Of this turn, in the layout `row`: they are decoded together."""
        self.unusual = False
        """Whether they had to be decoded one by one, when there last were any."""
        self.tags: list[tuple[int, int, float]] = []
        self.sequence: int | None = None
        """Of the last frame."""
        self.time_ns: int | None = None
        """Time of the last judged window's last sample."""
        self.score: float = float("nan")
        self.quality: Quality = "good"
