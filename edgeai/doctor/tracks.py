"""The times of the samples in the messages of each asset, and when the messages arrived.

They are read by the decoders that the source declares, and not out of the pipeline's streams: these
put samples in order, fill holes and resample, so that they say little about what was sent.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from edgeai import topics
from edgeai.config.limits import Limits
from edgeai.config.source import SourceConfig
from edgeai.decoding.frames import frame_decoder
from edgeai.decoding.records import RecordDecoder
from edgeai.decoding.rows import RowDecoder
from edgeai.decoding.tags import TagDecoder
from edgeai.engine.inlets import Capture, find_capture
from edgeai.engine.intake import kind_of
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.record_explanations import places_in
from edgeai.errors import DecodeError
from edgeai.messages import RETAINED, Message, as_bytes


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
    """When each message arrived."""
    samples: dict[int, int] = field(default_factory=dict)
    """How many samples have a time; of frames, begin then. Without times: arrived then."""


class Sent(NamedTuple):
    """Some samples of a message that have one time."""

    asset: str
    tag: str
    time_ns: int | None
    samples: int


Read = Callable[[str, bytes, Capture | None], Iterator[Sent]]
"""Yields the samples of a message: its topic, payload, and what the topic captures. Raises
DecodeError."""


def read_tracks(
    pipeline: Pipeline, messages: Sequence[Message], limits: Limits
) -> dict[TrackKey, Track]:
    """Return the samples of each asset that is wanted, without what the broker had kept."""
    tracks: dict[TrackKey, Track] = {}
    seen: set[tuple[str, bytes]] = set()
    for place, source, read, find_key in _readers(pipeline, limits):
        template = topics.TopicTemplate(source.topic)
        names = None if source.names is None else topics.TopicTemplate(source.names.topic)
        for topic, payload, received_ns, flags in messages:
            is_names = names is not None and names.match(topic) is not None
            if not is_names and (template.match(topic) is None or flags & RETAINED):
                continue
            content = as_bytes(payload)
            try:
                found = list(read(topic, content, find_key(topic)))
            except DecodeError:
                continue
            if (topic, content) in seen and all(one.time_ns is not None for one in found):
                continue  # the same message again
            seen.add((topic, content))
            heard = {}
            for one in found:
                if pipeline.sources.wants(one.asset):
                    key = TrackKey(place, one.asset, one.tag)
                    track = heard[key] = tracks.setdefault(key, Track())
                    time_ns = received_ns if one.time_ns is None else one.time_ns
                    track.samples[time_ns] = track.samples.get(time_ns, 0) + one.samples
            for track in heard.values():
                track.arrived_ns.append(received_ns)
    return tracks


def _readers(
    pipeline: Pipeline, limits: Limits
) -> Iterator[tuple[str, SourceConfig, Read, Callable[[str], Capture | None]]]:
    """Yield place, source, reader, and what finds the key of a topic, for each source."""
    for inlet in pipeline.sources.inlets:
        plan = inlet.plan
        read = _reader(plan.source, plan.signals, len(plan.extras), limits)
        yield plan.place, plan.source, read, inlet.find_key
    if not pipeline.sources.inlets:
        source = pipeline.config.only_source
        template, name = pipeline.sources.template, pipeline.name
        read = _reader(source, pipeline.channels, len(pipeline.extras), limits)
        yield "source", source, read, lambda topic: find_capture(template, name, topic)


def _reader(source: SourceConfig, names: Sequence[str], extras: int, limits: Limits) -> Read:
    return READERS[kind_of(source)](source, names, extras, limits)


def _rows(source: SourceConfig, names: Sequence[str], extras: int, _limits: Limits) -> Read:
    decode = RowDecoder(source, names, "d", extras).decode

    def read(_topic: str, payload: bytes, found: Capture | None) -> Iterator[Sent]:
        time_ns, _ = decode(payload)
        if found is not None:
            yield Sent(found[0], "", time_ns, 1)

    return read


def _tags(source: SourceConfig, names: Sequence[str], extras: int, _limits: Limits) -> Read:
    decode = TagDecoder(source, names, extras).decode

    def read(_topic: str, payload: bytes, found: Capture | None) -> Iterator[Sent]:
        if found is not None:
            time_ns, channel, _ = decode(payload, found[1])
            yield Sent(found[0], source.tag_of(names[channel]), time_ns, 1)

    return read


def _frames(source: SourceConfig, names: Sequence[str], _extras: int, limits: Limits) -> Read:
    decode = frame_decoder(source, names, limits)

    def read(_topic: str, payload: bytes, found: Capture | None) -> Iterator[Sent]:
        frame = decode(payload)
        if found is not None:
            yield Sent(found[0], "", frame.t0_ns, frame.samples)

    return read


def _records(source: SourceConfig, names: Sequence[str], extras: int, limits: Limits) -> Read:
    decoder = RecordDecoder(source, names, extras, limits)
    template = topics.TopicTemplate(source.topic)
    named = None if source.names is None else topics.TopicTemplate(source.names.topic)
    is_tag = source.layout == "tag" and not source.makes_rows

    def read(topic: str, payload: bytes, found: Capture | None) -> Iterator[Sent]:
        if named is not None and named.match(topic) is not None:
            decoder.take_names(topic, payload)
            return
        tag, levels = places_in(source, template, topic)
        records = decoder.decode(payload, tag, levels)
        keys = records.keys or [found[0] if found is not None else ""] * len(records.values)
        tags = [source.tag_of(names[one]) if is_tag else "" for one in records.channels]
        tags = tags or [""] * len(records.values)
        # In the layout `tag` values of one time are one sample.
        samples = list(zip(keys, tags, records.times, strict=True))
        for asset, name, time_ns in samples if source.layout == "row" else dict.fromkeys(samples):
            yield Sent(asset, name, time_ns, 1)

    return read


READERS: Mapping[str, Callable[[SourceConfig, Sequence[str], int, Limits], Read]] = {
    "row": _rows,
    "tag": _tags,
    "frame": _frames,
    "records": _records,
}
"""By `kind_of` a source."""
