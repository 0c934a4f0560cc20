"""The rate at which samples come, measured, against the model's; and messages that come in bursts.

A window at another rate looks like another machine to the model. The node marks such windows or
makes none, which is told late; here it is told with the figures.
"""

from collections.abc import Mapping
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from edgeai.config.pipeline import PipelineConfig
from edgeai.doctor.findings import Findings
from edgeai.doctor.tracks import Track, TrackKey
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.refusals import printable
from edgeai.messages import SECOND_NS
from edgeai.streams.ring import RATE_TOLERANCE

MIN_POINTS = 3
"""Messages of one asset, after the first of which two steps are known."""
OK_DEVIATION = 0.1
"""Share of the model's rate by which a rate may be off and still be the same one."""
MAX_MISSING = 0.1
"""Share of samples that may be missing between the first and the last one."""
BURST_STEPS, BURST_SHARE = 0.3, 0.3
"""Messages come in bursts if this share of the steps is shorter than this part of a mean step."""
LATE_PERIODS = 3
DEFAULT_LATENCY_SECONDS = 1.0


class Rate(NamedTuple):
    """What was measured of one asset."""

    hz: float
    """Of most steps: a machine that stops for a moment does not change it."""
    mean_hz: float
    """From the first sample to the last one."""
    longest_wait_seconds: float
    """Longest time between the arrivals of two messages."""
    message_seconds: float
    """Sample time that a message brings."""
    is_bursty: bool


def check_rates(
    pipeline: Pipeline, tracks: Mapping[TrackKey, Track], findings: Findings
) -> None:
    """Compare the measured rate of each asset with the model's, and tell the worst."""
    name, model_hz = pipeline.name, pipeline.manifest.sample_rate_hz
    cycle = pipeline.config.window.cycle
    if model_hz is None:
        findings.skip("sample rate", "the model has no sample rate", name)
        return
    if cycle is not None and cycle.message:
        findings.skip("sample rate", "each message is a cycle", name)
        return
    rows = {key: track for key, track in tracks.items() if not key.tag}
    measured = {key: rate for key, track in rows.items() if (rate := measure(track)) is not None}
    measured = {key: rate for key, rate in measured.items() if _has_model_rate(pipeline, key)}
    if measured:
        _tell_rates(pipeline, model_hz, measured, findings)
    tags = {key: track for key, track in tracks.items() if key.tag}
    if tags:
        _tell_tags(pipeline, tags, findings)
    if not measured and not tags:
        most = max((len(track.arrived_ns) for track in rows.values()), default=0)
        findings.skip(
            "sample rate",
            f"{most} samples of an asset are too few to measure it (--seconds waits longer)", name,
        )  # fmt: skip


def measure(track: Track) -> Rate | None:
    """Return the rate of an asset's samples; None: there are too few of them."""
    steps = [
        ((after - before) / SECOND_NS, count)
        for (before, after), count in zip(
            pairwise(track.newest_ns), track.samples[1:], strict=True
        )
        if after > before
    ]
    waits = [(after - before) / SECOND_NS for before, after in pairwise(track.arrived_ns)]
    if len(steps) < MIN_POINTS - 1:
        return None
    total_seconds, total = sum(step for step, _ in steps), sum(count for _, count in steps)
    mean_wait = sum(waits) / len(waits)
    short = sum(wait < BURST_STEPS * mean_wait for wait in waits)
    return Rate(
        hz=1 / median(step / count for step, count in steps),
        mean_hz=total / total_seconds,
        longest_wait_seconds=max(waits),
        message_seconds=median(step for step, _ in steps),
        is_bursty=short >= BURST_SHARE * len(waits),
    )


def rate_text(hz: float) -> str:
    """Return a rate for people: samples a second, or how often one comes."""
    if hz >= 1:
        return f"{hz:.3g} samples a second"
    return f"a sample every {1 / hz:.3g} s"


def _has_model_rate(pipeline: Pipeline, key: TrackKey) -> bool:
    """Return whether a source carries the samples of the model's windows, not values beside."""
    plans = {plan.place: plan for plan in pipeline.sources.plans}
    plan = plans.get(key.place)
    return plan is None or plan.spec.rule is None


def _tell_rates(
    pipeline: Pipeline, model_hz: float, measured: Mapping[TrackKey, Rate], findings: Findings
) -> None:
    name, config = pipeline.name, pipeline.config
    is_timed = pipeline.sources.have_times or "frame" in pipeline.sources.layouts
    if not is_timed:  # the arrival is the time: within a burst it says nothing
        measured = {key: rate._replace(hz=rate.mean_hz) for key, rate in measured.items()}
    key, rate = max(measured.items(), key=lambda one: _deviation(one[1].hz, model_hz))
    who = f"asset {printable(key.asset)} sends {rate_text(rate.hz)}"
    needs = f"the model is made for {rate_text(model_hz)}"
    ratio = rate.hz / model_hz
    if _deviation(rate.hz, model_hz) > 1 + OK_DEVIATION:
        _tell_other_rate(pipeline, key, who, needs, ratio, findings)
        return
    key, rate = min(measured.items(), key=lambda one: one[1].mean_hz / one[1].hz)
    if rate.mean_hz < (1 - MAX_MISSING) * rate.hz:
        findings.warn(
            "sample rate",
            f"asset {printable(key.asset)} sends {rate_text(rate.hz)}, but only "
            f"{rate.mean_hz / rate.hz:.0%} of its samples have come",
            "find out where they are lost: the sender, the network, or the broker "
            "(max_queued_messages); QoS 1 at the sender and in "
            f"pipelines.{name}.{key.place}.qos loses none",
            name,
        )
        return
    key, rate = max(measured.items(), key=lambda one: one[1].longest_wait_seconds)
    limit = max(
        config.publish.latency_budget_seconds or DEFAULT_LATENCY_SECONDS,
        LATE_PERIODS * rate.message_seconds,
    )
    asset = f"messages of asset {printable(key.asset)} come in bursts"
    bursts = [one for one, found in measured.items() if found.is_bursty]
    if bursts and not is_timed:
        findings.warn(
            "sample rate",
            f"messages of asset {printable(bursts[0].asset)} come in bursts and carry no time: "
            "their samples get the time of arrival, which is not when they were measured",
            f"let the sender write a time into each message, and declare it in "
            f"pipelines.{name}.{bursts[0].place}.time",
            name,
        )
    elif key in bursts and rate.longest_wait_seconds > limit:
        findings.warn(
            "sample rate",
            f"{asset}, up to {rate.longest_wait_seconds:.1f} s apart: predictions and alarms come "
            "as late",
            "let the sender or gateway publish each sample at once; if this is meant, set "
            f"pipelines.{name}.publish.latency_budget_seconds",
            name,
        )
    else:
        worst = max((one.hz for one in measured.values()), key=lambda hz: _deviation(hz, model_hz))
        findings.ok("sample rate", f"{rate_text(worst)} of {len(measured)} assets; {needs}", name)


def _tell_other_rate(
    pipeline: Pipeline, key: TrackKey, who: str, needs: str, ratio: float, findings: Findings
) -> None:
    """Tell an asset whose rate is not the model's."""
    name, config = pipeline.name, pipeline.config
    found = f"{who}, {needs}"
    period = 1 / (pipeline.manifest.sample_rate_hz or 1)
    place = f"pipelines.{name}.{key.place if config.sources else 'stream'}.alignment"
    another = "or take a model made for this rate (sample_rate_hz; docs/training.md)"
    sender = f"let the sender publish every {period:.3g} s, {another}"
    if pipeline.settings.align is not None:
        if ratio > 1:
            findings.ok("sample rate", f"{found}; the alignment takes what it needs", name)
            return
        age = config.stream.max_age_seconds
        if period / ratio > age:
            findings.fail(
                "sample rate",
                f"{found}; between two samples the values become older than "
                f"stream.max_age_seconds ({age:g} s) and count as substituted",
                f"{sender}; or, if values that old are right, raise "
                f"pipelines.{name}.stream.max_age_seconds",
                name,
            )
            return
        findings.warn(
            "sample rate", f"{found}: the alignment makes up {1 - ratio:.0%} of the samples",
            f"{sender}, if the model was not trained with values made up like this", name,
        )  # fmt: skip
        return
    if 1 / RATE_TOLERANCE <= ratio <= RATE_TOLERANCE:
        findings.warn(
            "sample rate",
            f"{found}: a window spans {1 / ratio:.2f} times the time that the model knows", sender,
            name,
        )  # fmt: skip
        return
    if "frame" in pipeline.sources.layouts:
        aligned = ""
    elif ratio > 1:
        aligned = f"; or set {place}: hold, which takes one sample of {ratio:.3g}"
    else:
        aligned = f"; or set {place}: linear, if values between two samples may be interpolated"
    gap = _max_gap(config, period)
    effect = "its windows are `uncertain`"
    if ratio < 1:
        effect = "its windows are `uncertain` or `bad`"
        if period / ratio > gap:
            effect = f"no window is ever complete (a step above {gap:.3g} s empties it)"
    findings.fail("sample rate", f"{found}: {effect}", f"{sender}{aligned}", name)


def _max_gap(config: PipelineConfig, period: float) -> float:
    gap = config.stream.max_gap_seconds
    return 5 * period if gap is None else gap


def _tell_tags(
    pipeline: Pipeline, tags: Mapping[TrackKey, Track], findings: Findings
) -> None:
    """Tell the signal whose values come too seldom to be held, and one off its declared interval."""
    name, age = pipeline.name, pipeline.config.stream.max_age_seconds
    sources = pipeline.config.named_sources
    found: list[tuple[float, TrackKey, float | None]] = []
    for key, track in tags.items():
        if len(track.arrived_ns) < MIN_POINTS:
            continue
        seconds = (track.arrived_ns[-1] - track.arrived_ns[0]) / SECOND_NS
        source = sources[key.place]
        signal = next((one for one in pipeline.channels if source.tag_of(one) == key.tag), "")
        declared = source.signals.get(signal)
        interval = None if declared is None else declared.interval_seconds
        found.append((seconds / (len(track.arrived_ns) - 1), key, interval))
    if not found:
        findings.skip(
            "sample rate",
            f"no signal has sent {MIN_POINTS} values (--seconds waits longer)", name,
        )  # fmt: skip
        return
    off = [
        (seconds, key, interval)
        for seconds, key, interval in found
        if interval and not 1 / RATE_TOLERANCE <= seconds / interval <= RATE_TOLERANCE
    ]
    slowest, key, interval = max(found, key=lambda one: one[0])
    signals = f"pipelines.{name}.{key.place}.signals"
    if off:
        seconds, key, interval = off[0]
        findings.warn(
            "sample rate",
            f"tag {printable(key.tag)} of asset {printable(key.asset)} comes every {seconds:.3g} s, "
            f"but its interval_seconds is {interval:g}",
            f"correct {signals}, where it is declared; 0 is for a signal that is sent when it "
            "changes",
            name,
        )
    elif slowest > age and interval is None:
        findings.warn(
            "sample rate",
            f"tag {printable(key.tag)} of asset {printable(key.asset)} comes every {slowest:.3g} s; "
            f"after stream.max_age_seconds ({age:g} s) its value counts as substituted",
            f"raise pipelines.{name}.stream.max_age_seconds, or let it be sent more often; for a "
            f"signal that is sent when it changes, set its interval_seconds to 0 in {signals}",
            name,
        )
    else:
        findings.ok(
            "sample rate", f"a value of each of {len(found)} tags at least every {slowest:.3g} s",
            name,
        )  # fmt: skip


def _deviation(hz: float, model_hz: float) -> float:
    """Return the ratio of two rates, or its inverse if that is larger."""
    return max(hz / model_hz, model_hz / hz)
