"""What the messages that arrived become: samples or refusals, and how their times fit this clock.

They go through the engine's own turn, with nothing published.
"""

from collections import Counter
from collections.abc import Sequence
from math import log
from typing import Any

from edgeai import topics
from edgeai.config.node import Config
from edgeai.config.source import SourceConfig
from edgeai.decoding.fields import ABSENT, find, parse_object
from edgeai.decoding.time_hints import zone_hint
from edgeai.doctor.findings import Findings
from edgeai.engine.engine import Engine
from edgeai.engine.exported import clock_skews
from edgeai.engine.hints import (
    shown_value,
)
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.rate_watch import rate_of
from edgeai.engine.refusals import printable
from edgeai.errors import DROP_REASONS, DecodeError
from edgeai.messages import AT_ONCE, RETAINED, SECOND_NS, Due, Message, Publication
from edgeai.metrics.definitions import Metrics
from edgeai.streams.ring import RATE_SHARE

MAX_SKEW_SECONDS = 5.0
"""A sender whose clock is further from this machine's than this is told."""
MIN_RATE_SAMPLES = 20
"""So many sample periods show a rate, though some are uneven."""
MIN_SAME_TIMES = 3  # messages with one time that show a clock that stands still
NO_LOSS = frozenset({"duplicate", "retained"})


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


def check_arrivals(
    config: Config, pipelines: Sequence[Pipeline], messages: list[Message], findings: Findings
) -> None:
    """Let the pipelines take the messages, and tell what they refuse and whose clock is wrong."""
    for pipeline in pipelines:
        mine = [one for one in messages if pipeline.find_key(one[0]) is not None]
        if not mine:
            findings.skip("samples", "no message has arrived", pipeline.name)
            continue
        once = _Once(mine)
        engine = Engine([pipeline], once, once, Metrics(), clock_ns=None)
        engine.turn(0)
        _tell_samples(pipeline, mine, findings)
        _tell_rate(pipeline, findings)
        sources = config.pipelines[pipeline.name].named_sources
        timed = {place: one for place, one in sources.items() if one.clock is not None}
        if not timed:
            findings.skip("sender clock", "the messages carry no time", pipeline.name)
            continue
        skews = {asset: seconds for _, asset, seconds in clock_skews([pipeline])}
        for place, source in timed.items():
            times = _times(pipeline, source, mine)
            if len(sources) == 1 or times:
                own = pipeline.name if len(sources) == 1 else f"{pipeline.name}.{place}"
                where = f"pipelines.{pipeline.name}.{place}"
                _tell_clocks(own, where, source, skews, times=times, findings=findings)


def _tell_samples(pipeline: Pipeline, messages: Sequence[Message], findings: Findings) -> None:
    count = len(messages)
    drops = Counter(pipeline.metrics.drops)
    lost = {reason: number for reason, number in drops.items() if number and reason not in NO_LOSS}
    samples = sum(state.stream.newest_ns is not None for state in pipeline.streams.values())
    if lost:
        (reason, number), *_ = sorted(lost.items(), key=lambda one: -one[1])
        why = pipeline.refusals.explained.get(reason, "")
        why = f"; {why}" if why else ""
        findings.fail(
            "samples",
            f"{number} of {count} messages refused, {reason}: {DROP_REASONS[reason]}{why}",
            f"compare a message with {pipeline.sources.place} "
            "(docs/config.md)",
            pipeline.name,
        )  # fmt: skip
        return
    waiting = {
        pipeline.channels[channel]
        for state in pipeline.streams.values()
        if state.stream.newest_ns is None
        for channel in state.stream.waiting_for()
    }
    if waiting and not samples:
        names = ", ".join(sorted(waiting)[:4])
        findings.warn(
            "samples", f"{count} messages and no sample: no value yet of {names}",
            f"check the names in {_signals_of(pipeline)}", pipeline.name,
        )  # fmt: skip
        return
    unusable = pipeline.metrics.invalid_counts()
    if unusable.total():
        counted = ", ".join(f"{reason} {number:,}" for reason, number in unusable.items() if number)
        explain = pipeline.refusals.explain
        texts = (explain("no_signal", *one[:3]) for one in messages if explain is not None)
        why = next((f"; {text}" for text in texts if text), "")
        findings.warn(
            "samples", f"values that are unusable or outside their range ({counted}){why}",
            f"correct the sender, or compare it with {_signals_of(pipeline)} "
            "(scale, offset) and with the ranges of the model", pipeline.name,
        )  # fmt: skip
        return
    findings.ok(
        "samples", f"{count} messages of {len(pipeline.streams)} assets are used", pipeline.name
    )


def _tell_rate(pipeline: Pipeline, findings: Findings) -> None:
    """Tell the asset whose rate is furthest from the model's; of rows that are not resampled."""
    settings = pipeline.settings
    is_row = pipeline.sources.layouts == {"row"} and settings.joined is None
    if settings.period_ns is None or settings.align is not None or not is_row:
        return
    rates = {}
    for state in pipeline.streams.values():
        count, span_ns = rate_of(state.stream.ring)
        if count >= MIN_RATE_SAMPLES and span_ns > 0:
            rates[state.key] = count * SECOND_NS / span_ns
    if not rates:
        return
    model_hz = SECOND_NS / settings.period_ns
    asset, rate_hz = max(rates.items(), key=lambda one: abs(log(one[1] / model_hz)))
    text = f"asset {printable(asset)} sends at {rate_hz:.3g} Hz, the model needs {model_hz:g} Hz"
    if abs(model_hz / rate_hz - 1) <= RATE_SHARE:
        findings.ok("sample rate", text, pipeline.name)
        return
    findings.warn(
        "sample rate", text,
        "let the sender send at the model's rate, resample by "
        f"pipelines.{pipeline.name}.stream.alignment, or use a model of the sender's rate",
        pipeline.name,
    )  # fmt: skip


def _signals_of(pipeline: Pipeline) -> str:
    """Return where the signals of a pipeline are declared."""
    place = pipeline.sources.place
    return f"`signals` in {place}" if pipeline.config.sources else f"{place}.signals"


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


def _tell_clocks(
    name: str,
    where: str,
    source: SourceConfig,
    skews: dict[str, float],
    *,
    times: dict[str, list[Any]],
    findings: Findings,
) -> None:
    """Tell the asset whose clock is furthest from this one, and a clock that stands still.

    Args:
        name: The pipeline's; of several sources with the source's.
        where: Where the source is in the configuration.
        source: As configured; the pipelines here have wider bounds, so that every skew shows.
        skews: How far each asset's clock is ahead, seconds.
        times: The time fields of each asset's messages, as they came.
        findings: Gets what is found.
    """
    bounds = source.clock
    assert bounds is not None
    for asset, values in times.items():
        is_same = all(value == values[0] for value in values)
        if source.layout == "row" and len(values) >= MIN_SAME_TIMES and is_same:
            findings.warn(
                "sender clock",
                f"asset {printable(asset)}: all {len(values)} messages have the time "
                f"{shown_value(values[0])}: its clock stands still, or has coarse steps",
                "let the sender write the time of each sample, or declare the step of its clock: "
                f"{where}.time.resolution_seconds",
                name,
            )
            return
    if not skews:
        findings.skip("sender clock", "no time could be used: see samples", name)
        return
    asset, seconds = max(skews.items(), key=lambda one: abs(one[1]))
    text = (
        f"asset {printable(asset)} is {abs(seconds):.1f} s {'ahead' if seconds > 0 else 'behind'}"
    )
    if abs(seconds) <= MAX_SKEW_SECONDS:
        findings.ok("sender clock", f"{text}, the furthest of {len(skews)}", name)
        return
    advice = "synchronise the clocks of sender and this machine (NTP)"
    if source.time is not None:
        example = times.get(asset, [None])[-1]
        hint = zone_hint(seconds, example, source.time, f"{where}.time")
        advice = hint.removeprefix(". ") or advice
    is_refused = seconds > bounds.max_ahead_seconds or -seconds > bounds.max_behind_seconds
    if is_refused:
        findings.fail(
            "sender clock", f"{text}: its samples are refused (implausible_time)", advice, name
        )
    else:
        findings.warn("sender clock", text, advice, name)
