"""How often the values of single signals come (layout `tag`), and whether they may be held."""

from collections.abc import Mapping
from typing import NamedTuple

from edgeai.doctor.findings import Findings
from edgeai.doctor.tracks import Track, TrackKey
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.refusals import printable
from edgeai.messages import SECOND_NS
from edgeai.streams.ring import RATE_TOLERANCE

MIN_POINTS = 3
"""Messages of one asset or tag, after which two steps are known."""


class _Interval(NamedTuple):
    """How often a tag comes."""

    seconds: float
    key: TrackKey
    declared_seconds: float | None


def check_tags(pipeline: Pipeline, tags: Mapping[TrackKey, Track], findings: Findings) -> None:
    """Tell the tag that comes too seldom to be held, and one off its declared interval."""
    name, age = pipeline.name, pipeline.config.stream.max_age_seconds
    found = [
        _interval(pipeline, key, track)
        for key, track in tags.items()
        if len(track.arrived_ns) >= MIN_POINTS
    ]
    if not found:
        text = f"no tag has sent {MIN_POINTS} values (--seconds waits longer)"
        findings.skip("sample rate", text, name)
        return
    off = [one for one in found if _is_off(one)]
    slowest = max(found, key=lambda one: one.seconds)
    one = off[0] if off else slowest
    signals = f"pipelines.{name}.{one.key.place}.signals"
    who = f"tag {printable(one.key.tag)} of asset {printable(one.key.asset)}"
    comes = f"{who} comes every {one.seconds:.3g} s"
    if off:
        findings.warn(
            "sample rate", f"{comes}, but its interval_seconds is {one.declared_seconds:g}",
            f"correct interval_seconds in {signals}; 0: it is sent when it changes",
            name,
        )  # fmt: skip
    elif one.seconds > age and one.declared_seconds is None:
        findings.warn(
            "sample rate",
            f"{comes}; after stream.max_age_seconds ({age:g} s) its value counts as substituted",
            f"raise pipelines.{name}.stream.max_age_seconds, or let it be sent more often; for a "
            f"signal that is sent when it changes, set its interval_seconds to 0 in {signals}",
            name,
        )
    else:
        text = f"a value of each of {len(found)} tag(s) at least every {one.seconds:.3g} s"
        findings.ok("sample rate", text, name)


def _interval(pipeline: Pipeline, key: TrackKey, track: Track) -> _Interval:
    source = pipeline.config.named_sources[key.place]
    signal = next((one for one in pipeline.channels if source.tag_of(one) == key.tag), "")
    declared = source.signals.get(signal)
    span_ns = track.arrived_ns[-1] - track.arrived_ns[0]
    return _Interval(
        span_ns / SECOND_NS / (len(track.arrived_ns) - 1),
        key,
        None if declared is None else declared.interval_seconds,
    )


def _is_off(one: _Interval) -> bool:
    declared = one.declared_seconds
    if not declared:
        return False
    return not 1 / RATE_TOLERANCE <= one.seconds / declared <= RATE_TOLERANCE
