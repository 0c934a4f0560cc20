"""The state of one pipeline: a model on a subscription, and the streams it has seen."""

import math
import mmap
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgeai import topics
from edgeai.align import AlignSettings
from edgeai.condition import Conditioner
from edgeai.config import RESERVED_CAPTURE, Config, SignalField
from edgeai.config import Pipeline as PipelineConfig
from edgeai.errors import DecodeError
from edgeai.frames import Decode, Frame, compile_frame
from edgeai.judge import Alarm, alarm_rule
from edgeai.manifest import UNPUBLISHED
from edgeai.metrics import Metrics
from edgeai.package import Package
from edgeai.records import AT_ONCE, Due, Message, Quality
from edgeai.ring import RATE_TOLERANCE, Emit, Floats, Ring, StreamSettings
from edgeai.rows import RowDecoder
from edgeai.session import Session, batch_capacity, padded_capacity
from edgeai.share import Share
from edgeai.stream import Stream
from edgeai.tags import TagDecoder

NS = 1_000_000_000
GAP_PERIODS = 5
SEQUENCE_WRAP = 2**32


TakeWindow = Callable[["StreamState", Floats, int, int, bool], None]
"""What takes the windows of any stream: `Emit` with the stream before it."""


class StreamState:
    """One stream of a pipeline with its alarm, its topics, and the samples of this turn."""

    __slots__ = (
        "alarm", "alarm_topic", "emit", "frames", "id_prefix", "key", "messages", "quality",
        "score", "sequence", "stream", "tags", "time_ns", "topic", "unusual",
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
        self.frames: list[tuple[int, Frame]] = []
        """Arrival and content of each."""
        self.sequence: int | None = None
        """Of the last frame."""
        self.time_ns: int | None = None
        """Time of the last judged window's last sample."""
        self.score: float = float("nan")
        self.quality: Quality = "good"

    def missed_before(self, sequence: int | None) -> int:
        """Return how many frames the sender's count says were lost before this one."""
        previous, self.sequence = self.sequence, sequence
        if previous is None or sequence is None:
            return 0
        step = (sequence - previous) % SEQUENCE_WRAP
        # A step back is a sender that started anew, or a frame sent twice.
        return step - 1 if 1 <= step < SEQUENCE_WRAP // 2 else 0


class Batch:
    """Windows waiting for one session call. (B, W, C) float32, allocated once.

    A mapping of its own: its pages become memory when windows first reach so far, which on a quiet
    line is never. Memory from the heap is zeroed, and so taken, at once where it was used before.
    """

    def __init__(self, capacity: int, length: int, channels: int) -> None:
        self.capacity = capacity
        shape = (padded_capacity(capacity), length, channels)
        memory = mmap.mmap(-1, math.prod(shape) * np.dtype(np.float32).itemsize)
        self.windows = np.frombuffer(memory, np.float32).reshape(shape)
        self._memory = memoryview(memory)
        self._slots: list[tuple[Floats, memoryview]] = []
        """Places for windows that are copied in as bytes, made as they are needed: (W, C) each, and
        its bytes."""
        self.states: list[StreamState] = []
        self.times: list[int] = []
        self.substituted: list[int] = []
        self.doubtful: list[bool] = []
        self.broken: list[bool] = []
        """Whether the stream was interrupted before the window."""

    def place(self, block: memoryview) -> Floats:
        """Copy the bytes of a window to where the next one goes; return it there, (W, C).

        To be given to `add`, or to nobody: then the next window takes its place, and it is to be
        zeroed before. The bytes are copied without an array of them, which costs a third with cold
        caches.
        """
        index = len(self.times)
        while len(self._slots) <= index:
            window = self.windows[len(self._slots)]
            begin = len(self._slots) * window.nbytes
            self._slots.append((window, self._memory[begin : begin + window.nbytes]))
        window, place = self._slots[index]
        place[:] = block
        return window

    def add(
        self,
        state: StreamState,
        window: npt.NDArray[np.float32],
        time_ns: int,
        substituted: int,
        doubtful: bool,
    ) -> bool:
        """Copy a window in, unless `place` did; return whether the batch is now full."""
        index = len(self.times)
        if index >= len(self._slots) or window is not self._slots[index][0]:
            self.windows[index] = window
        self.states.append(state)
        self.times.append(time_ns)
        self.substituted.append(substituted)
        self.doubtful.append(doubtful)
        self.broken.append(state.stream.broken)
        state.stream.broken = False
        return len(self.times) == self.capacity

    def clear(self) -> list[int]:
        """Empty the batch, but for the buffer; return the times of its windows."""
        times, self.times = self.times, []
        self.states.clear()
        self.substituted.clear()
        self.doubtful.clear()
        self.broken.clear()
        return times


class Pipeline:
    """One pipeline at run time. What is done with it is in `windowing`, `judging` and `engine`."""

    def __init__(
        self,
        name: str,
        config: Config,
        package: Package,
        session: Session,
        metrics: Metrics,
        *,
        share: Share | None = None,
    ) -> None:
        chosen = config.pipelines[name]
        manifest = package.manifest
        self.name = name
        self.config = chosen
        self.manifest = manifest
        self.session = session
        self.metrics = metrics.of_pipeline(name, manifest.name, session.provider)
        self.template = topics.TopicTemplate(chosen.source.topic)
        self.signals = [signal.name for signal in manifest.signals]
        self.row_decoder: RowDecoder | None = None
        self.tag_decoder: TagDecoder | None = None
        self.frame_decoder: Decode | None = None
        self.conditioner = _conditioner(chosen, package)
        if chosen.source.layout == "row":
            code: Literal["f", "d"] = "f" if self.conditioner.takes is np.float32 else "d"
            self.row_decoder = RowDecoder(chosen.source, self.signals, code)
        elif chosen.source.layout == "tag":
            self.tag_decoder = TagDecoder(chosen.source, self.signals)
        elif chosen.source.frame is not None:
            names = [_tag(chosen, name) for name in self.signals]
            self.frame_decoder = compile_frame(chosen.source.frame, names)
        self.rule = alarm_rule(manifest.threshold.value, manifest.alarm, chosen.alarm)
        self.streams: dict[str, StreamState] = {}
        self._rings: list[Ring] = []
        """Of all streams."""
        self.take_window: TakeWindow = _nobody
        """The engine's."""
        self.touched: dict[StreamState, None] = {}
        """The streams with samples in this turn, in the order of their first."""
        self._explained = 0
        """Values without a number that the row decoder had counted itself, when last looked at."""
        decoder = self.row_decoder or self.tag_decoder
        counted = [self.metrics.invalid, self.conditioner.counts]
        self.metrics.count_invalid([*counted, decoder.invalid] if decoder else counted)
        self.settings = _stream_settings(chosen, package)
        length, channels = self.settings.length, self.settings.channels
        self.window_values = length * channels
        self.is_always_due = (
            self.row_decoder is None
            or chosen.source.time is None
            or self.settings.align is not None
            or self.settings.lateness_ns > 0
        )
        """Whether any message may bring a window: `due` would always say so."""
        limit = config.limits.batch_windows
        capacity = batch_capacity(limit, length, channels, session.batch_bytes)
        self.batch = Batch(capacity, length, channels)
        self.outputs = [output.name for output in manifest.outputs]
        judged = {manifest.score, manifest.contribution}
        self.published = [
            (output.name, output.unit)
            for output in manifest.outputs
            if output.name not in judged and output.role not in UNPUBLISHED
        ]
        self._max_streams = config.limits.streams
        self._node = config.node
        self._share = share or Share()

    def due(self) -> Due:
        """Return when, from here on, the next window can be due.

        One message brings each stream one sample at most. Samples that take their time from their
        arrival must not wait, nor those of which one releases others (reordering, alignment), nor
        blocks: there a window is always due.
        """
        if self.is_always_due:
            return AT_ONCE
        # A stream that is new, or begins anew, needs a whole window.
        samples = min([self.settings.length, *[ring.due_in for ring in self._rings]])
        usual = (samples - 1) * max(1, len(self._rings)) + 1
        # The first of them may come at any moment.
        seconds = (samples - 1) * (self.settings.period_ns or 0) / NS / RATE_TOLERANCE
        return Due(samples, usual, seconds)

    def count_missing(self, not_numbers: int) -> None:
        """Count as missing what is no number in rows, unless the decoder has counted it itself."""
        decoder = self.row_decoder
        explained = decoder.invalid.total() if decoder is not None else 0
        missing = not_numbers - (explained - self._explained)
        self._explained = explained
        self.metrics.invalid["missing"] += max(0, missing)

    def leave_out(self, values: int) -> None:
        """Take note of values that the row decoder has counted, of a sample that is in no row."""
        self._explained += values

    def drop(self, reason: str) -> None:
        """Count a message of this pipeline from which no sample was taken."""
        self.metrics.messages.inc()
        self.metrics.drops[reason] += 1

    def key_of(self, topic: str) -> tuple[str, str | None] | None:
        """Return what `find_key` does, but None as well for another worker's stream."""
        found = self.find_key(topic)
        return found if found is not None and self._share.takes(found[0]) else None

    def find_key(self, topic: str) -> tuple[str, str | None] | None:
        """Return a topic's stream key and, if the topic holds it, tag; None: not this pipeline's.

        The key is the captured levels, or the pipeline's name where nothing is captured.
        """
        captures = self.template.match(topic)
        if captures is None:
            return None
        tag = captures.pop(RESERVED_CAPTURE, None)
        key = "/".join(captures.values()) or self.name
        wanted = self.config.source.assets
        if wanted and not any(fnmatchcase(key, pattern) for pattern in wanted):
            return None
        return key, tag

    def stream_of(self, key: str) -> StreamState:
        """Return a stream, made at its first message.

        Raises:
            DecodeError: "too_many_streams", or "invalid_topic" when its topics cannot be published.
        """
        state = self.streams.get(key)
        if state is not None:
            return state
        if len(self.streams) >= self._max_streams:
            raise DecodeError("too_many_streams")
        fields = (
            ("node", self._node),
            ("pipeline", self.name),
            ("model", self.manifest.name),
            ("asset", key),
        )
        topic = topics.fill(self.config.publish.topic, fields)
        alarm_topic = topics.fill(self.config.publish.alarm_topic, fields)
        if not (topics.is_topic_name(topic) and topics.is_topic_name(alarm_topic)):
            raise DecodeError("invalid_topic")
        stream = Stream(key, self.settings, self.metrics.drops, self.metrics.resets)
        alarm = Alarm(self.rule)
        state = StreamState(key, stream, alarm, topic, alarm_topic, self.take_window)
        state.id_prefix = f"{self.name}/{key}:"
        self.streams[key] = state
        self._rings.append(stream.ring)
        self.metrics.streams.set(len(self.streams))
        return state


def _nobody(*_window: object) -> None:
    """Take the windows of a pipeline without an engine."""
    msg = "the pipeline has no engine"
    raise RuntimeError(msg)


def _tag(config: PipelineConfig, name: str) -> str:
    """Return the name that a signal has in the messages."""
    field = config.source.signals.get(name)
    return name if field is None or field.tag is None else field.tag


def _conditioner(config: PipelineConfig, package: Package) -> Conditioner:
    default = SignalField.model_validate({})
    signals = package.manifest.signals
    fields = [config.source.signals.get(signal.name, default) for signal in signals]
    ranges = [None if s.range is None else (s.range[0], s.range[1]) for s in signals]
    return Conditioner(
        [field.scale for field in fields],
        [field.offset for field in fields],
        ranges,
        config.stream.out_of_range,
    )


def _stream_settings(config: PipelineConfig, package: Package) -> StreamSettings:
    manifest = package.manifest
    stream = config.stream
    rate = manifest.sample_rate_hz
    period_ns = round(NS / rate) if rate is not None else None
    max_age_ns = round(stream.max_age_seconds * NS)
    lateness_ns = round(stream.lateness_seconds * NS)
    align = None
    if stream.alignment != "none":
        assert period_ns is not None  # `check` refuses it
        align = AlignSettings(stream.alignment, period_ns, max_age_ns, lateness_ns)
    if stream.max_gap_seconds is not None:
        max_gap_ns: int | None = round(stream.max_gap_seconds * NS)
    elif period_ns is None:
        max_gap_ns = None
    else:
        # Aligned channels come at rates of their own: no gap before the values are too old.
        max_gap_ns = max(GAP_PERIODS * period_ns, max_age_ns if align else 0)
    return StreamSettings(
        length=manifest.window.length,
        hop=config.window.hop or manifest.window.hop,
        channels=len(manifest.signals),
        period_ns=period_ns,
        max_gap_ns=max_gap_ns,
        lateness_ns=lateness_ns,
        invalid=stream.invalid,
        align=align,
    )
