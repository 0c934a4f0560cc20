"""What the messages that arrived become, and how their times and rates fit; nothing is published.

They go through the engine's own turn.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from edgeai import topics
from edgeai.config.node import Config
from edgeai.config.source import SourceConfig
from edgeai.decoding.fields import ABSENT, find, parse_object
from edgeai.doctor.clocks import check_clocks, place_of_time, unit_remedy
from edgeai.doctor.findings import Findings
from edgeai.doctor.frame_units import unit_of_frame
from edgeai.doctor.left_out import check_left_out
from edgeai.doctor.rates import check_rates
from edgeai.doctor.samples import check_samples
from edgeai.doctor.tracks import Track, TrackKey, read_tracks
from edgeai.engine.engine import Engine
from edgeai.engine.exported import clock_skews
from edgeai.engine.pipeline import Pipeline
from edgeai.errors import DecodeError
from edgeai.messages import AT_ONCE, RETAINED, Due, Message, Publication
from edgeai.metrics.definitions import Metrics


def check_arrivals(
    config: Config, pipelines: Sequence[Pipeline], messages: list[Message], findings: Findings
) -> None:
    """Let the pipelines take the messages, and tell what they refuse, whose clock or rate is wrong.

    Args:
        config: The node's.
        pipelines: Built for this; they take messages of any time.
        messages: All that have arrived.
        findings: Gets what is found.
    """
    for pipeline in pipelines:
        nothing = "no message has arrived"
        if check_left_out(pipeline, messages, findings):
            nothing = "no message of an asset that is wanted has arrived"
        names = [one for one in messages if pipeline.sources.is_of_names(one[0])]
        mine = [one for one in messages if pipeline.find_key(one[0]) is not None]
        if not mine or nothing != "no message has arrived":
            for check in ("samples", "sample rate", "sender clock"):
                findings.skip(check, nothing, pipeline.name)
            continue
        limit = config.limits.payload_bytes
        mine = _without_large(pipeline.name, mine, limit, findings)
        take_messages(pipeline, [*names, *mine])
        tracks = read_tracks(pipeline, [*names, *mine], config.limits)
        if mine:
            check_samples(pipeline, mine, findings)
        if _check_all_clocks(config, pipeline, tracks, mine, findings):
            check_rates(pipeline, tracks, findings)
        else:
            text = "the times are wrong: see sender clock"
            findings.skip("sample rate", text, pipeline.name)


class _Once:
    """A source that gives some messages once, and a sink that publishes nothing."""

    def __init__(self, messages: list[Message]) -> None:
        self._messages = messages

    def receive(self, timeout_seconds: float, due: Due = AT_ONCE) -> list[Message]:  # noqa: ARG002
        messages, self._messages = self._messages, []
        return messages

    def commit(self) -> None:
        """Acknowledge nothing: no message is the node's."""

    def publish(self, publications: list[Publication]) -> None:
        """Publish nothing."""


def take_messages(pipeline: Pipeline, messages: list[Message]) -> None:
    """Let a pipeline take messages as a node's does, in one turn; nothing is published."""
    once = _Once(messages)
    Engine([pipeline], once, once, Metrics(), clock_ns=None).turn(0)


def _without_large(
    name: str, messages: list[Message], limit: int, findings: Findings
) -> list[Message]:
    """Return the messages that the node would take by their size; tell if there are others."""
    small = [one for one in messages if len(one[1]) <= limit]
    if len(small) < len(messages):
        largest = max(len(one[1]) for one in messages)
        findings.fail(
            "samples",
            f"{len(messages) - len(small)} of {len(messages)} messages are refused, too_large: up "
            f"to {largest:,} bytes, and limits.payload_bytes is {limit:,}",
            f"set limits.payload_bytes to {2 * largest} or so, or let the sender write less in a "
            "message",
            name,
        )
    return small


def _check_all_clocks(
    config: Config,
    pipeline: Pipeline,
    tracks: Mapping[TrackKey, Track],
    messages: Sequence[Message],
    findings: Findings,
) -> bool:
    """Check the clock of each source with times; return whether they can show a rate."""
    sources = config.pipelines[pipeline.name].named_sources
    timed = {place: one for place, one in sources.items() if one.clock is not None}
    if not timed:
        findings.skip("sender clock", "the messages carry no time", pipeline.name)
        return True
    heard = {key.asset for key in tracks}  # what the broker had kept is old by itself
    skews = {
        asset: seconds
        for _, asset, seconds in clock_skews([pipeline])
        if asset in heard or pipeline.streams[asset].drops.skew is not None
    }
    is_right = True
    for place, source in timed.items():
        times = _times(pipeline, source, messages)
        own = pipeline.name if len(sources) == 1 else f"{pipeline.name}.{place}"
        where = f"pipelines.{pipeline.name}.{place}"
        if not skews and source.layout == "frame":
            remedy = _frame_unit_remedy(pipeline, where, source, messages)
            if remedy:
                findings.fail("sender clock", "no time of a frame can be used", remedy, own)
                is_right = False
            else:
                findings.skip("sender clock", "no time could be used: see samples", own)
        elif len(sources) == 1 or times:
            is_right = (
                check_clocks(own, where, source, skews, times=times, findings=findings) and is_right
            )
    return is_right


def _frame_unit_remedy(
    pipeline: Pipeline, where: str, source: SourceConfig, messages: Sequence[Message]
) -> str:
    """Return what to do about frames whose times are in another unit; empty: they are not."""
    declared = place_of_time(source, where)
    template = topics.TopicTemplate(source.topic)
    payload = next((bytes(one[1]) for one in messages if template.match(one[0]) is not None), b"")
    unit = unit_of_frame(source, pipeline.channels, payload)
    return "" if unit is None or unit == declared.unit else unit_remedy(unit, declared)


def _times(
    pipeline: Pipeline, source: SourceConfig, messages: Sequence[Message]
) -> dict[str, list[Any]]:
    """Return the time fields of each asset's new messages, as they came; of JSON messages only."""
    field = None if source.has_records else source.time
    template = topics.TopicTemplate(source.topic)
    times: dict[str, list[Any]] = {}
    for topic, payload, _, flags in messages:
        found = pipeline.find_key(topic) if template.match(topic) is not None else None
        if field is None or found is None or flags & RETAINED:
            continue
        try:
            value = find(parse_object(bytes(payload)), field.path)
        except DecodeError:
            continue
        if value is not ABSENT:
            times.setdefault(found[0], []).append(value)
    return times
