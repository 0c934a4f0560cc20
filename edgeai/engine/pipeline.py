"""The state of one pipeline: a model on a subscription, and the streams it has seen."""

from fnmatch import fnmatchcase
from typing import Literal

import numpy as np

from edgeai import topics
from edgeai.alarms.alarm import Alarm, alarm_rule
from edgeai.config.node import RESERVED_CAPTURE, Config, SignalField
from edgeai.config.node import Pipeline as PipelineConfig
from edgeai.decoding.frames import Decode, compile_frame
from edgeai.decoding.rows import RowDecoder
from edgeai.decoding.tags import TagDecoder
from edgeai.engine.batch import Batch
from edgeai.engine.sharding import Share
from edgeai.engine.stream_state import StreamState
from edgeai.errors import DecodeError
from edgeai.messages import AT_ONCE, SECOND_NS, Due
from edgeai.metrics.definitions import Metrics
from edgeai.model.manifest import UNPUBLISHED
from edgeai.model.package import Package
from edgeai.providers.session import Session, batch_capacity
from edgeai.streams.align import AlignSettings
from edgeai.streams.conditioning import Conditioner
from edgeai.streams.factory import open_stream
from edgeai.streams.ring import RATE_TOLERANCE, Ring, StreamSettings

GAP_PERIODS = 5


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
            code: Literal["f", "d"] = "f" if self.conditioner.input_dtype is np.float32 else "d"
            self.row_decoder = RowDecoder(chosen.source, self.signals, code)
        elif chosen.source.layout == "tag":
            self.tag_decoder = TagDecoder(chosen.source, self.signals)
        elif chosen.source.frame is not None:
            names = [chosen.source.tag_of(name) for name in self.signals]
            self.frame_decoder = compile_frame(chosen.source.frame, names)
        self.rule = alarm_rule(manifest.threshold.value, manifest.alarm, chosen.alarm)
        self.streams: dict[str, StreamState] = {}
        self._rings: list[Ring] = []
        """Of all streams."""
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
        session.bind(self.batch.values)
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
        seconds = (samples - 1) * (self.settings.period_ns or 0) / SECOND_NS / RATE_TOLERANCE
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
        stream = open_stream(key, self.settings, self.metrics.drops, self.metrics.resets)
        alarm = Alarm(self.rule)
        state = StreamState(key, stream, alarm, topic, alarm_topic, self.batch.add)
        state.id_prefix = f"{self.name}/{key}:"
        self.streams[key] = state
        self._rings.append(stream.ring)
        self.metrics.streams.set(len(self.streams))
        return state


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
    period_ns = round(SECOND_NS / rate) if rate is not None else None
    max_age_ns = round(stream.max_age_seconds * SECOND_NS)
    lateness_ns = round(stream.lateness_seconds * SECOND_NS)
    align = None
    if stream.alignment != "none":
        assert period_ns is not None  # `check` refuses it
        align = AlignSettings(stream.alignment, period_ns, max_age_ns, lateness_ns)
    if stream.max_gap_seconds is not None:
        max_gap_ns: int | None = round(stream.max_gap_seconds * SECOND_NS)
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
