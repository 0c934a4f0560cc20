"""One stream of a pipeline at run time: its samples, its alarm, its last result."""

from edgeai.alarms.alarm import Alarm
from edgeai.messages import Message, Quality
from edgeai.streams.stream import Stream


class StreamState:
    """One stream of a pipeline at run time: its samples, its alarm, its last result."""

    __slots__ = (
        "alarm", "alarm_topic", "failed_at_ns", "id_prefix", "key", "messages",
        "needs_single_decoding", "quality", "score", "sequence", "stream", "tags", "time_ns",
        "topic",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        alarm: Alarm,
        *,
        topic: str,
        alarm_topic: str,
        id_prefix: str,
    ) -> None:
        self.key = key
        self.stream: Stream
        """Set by `Pipeline.stream_of`, because the stream's windows go to the batch with this."""
        self.alarm = alarm
        self.topic = topic
        self.alarm_topic = alarm_topic
        self.id_prefix = id_prefix
        self.messages: list[Message] = []
        """Messages of this turn that wait to be decoded together (layout `row`)."""
        self.needs_single_decoding = False
        """Whether the messages of its last turn could not be decoded together."""
        self.tags: list[tuple[int, int, float, Message]] = []
        """Time, channel, value and message of this turn's tags (layout `tag`)."""
        self.sequence: int | None = None
        """Sequence number of the last frame."""
        self.time_ns: int | None = None
        """Time of the last sample of the last judged window."""
        self.score: float = float("nan")
        self.quality: Quality = "good"
        self.failed_at_ns: int | None = -1
        """`time_ns` at the last exception in the stream; -1 before the first."""
