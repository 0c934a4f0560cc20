"""The rate at which samples come, measured, against the model's; and messages that come in bursts.

A window at another rate looks like another machine to the model. The node marks such windows or
makes none, which is told late; here it is told with the figures.
"""

from collections.abc import Mapping
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from edgeai.doctor.findings import Findings
from edgeai.doctor.tag_rates import MIN_POINTS, check_tags
from edgeai.doctor.tracks import Track, TrackKey
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.refusals import printable
from edgeai.messages import SECOND_NS
from edgeai.streams.ring import RATE_TOLERANCE

OK_DEVIATION = 1.1
"""Ratio of a rate to the model's, or its inverse, up to which both are the same."""
MAX_MISSING = 0.1
"""Share of samples that may be missing between the first and the last one."""
BURST_STEPS, BURST_SHARE = 0.3, 0.3
"""Messages come in bursts if this share of the steps is shorter than this part of a mean step."""
LATE_PERIODS = 3
"""A burst is late if messages wait for so many times the sample time that one brings."""
DEFAULT_LATENCY_SECONDS = 1.0
MAX_GAP_PERIODS = 5  # the default of `stream.max_gap_seconds`


class Rate(NamedTuple):
    """What was measured of one asset."""

    hz: float
    """Of most steps: a machine that stops for a moment does not change it."""
    mean_hz: float
    """From the first sample to the last one."""
    longest_wait_seconds: float
    """Longest time between the arrivals of two messages."""
    message_seconds: float
    """Sample time that a message brings, on the average."""
    is_bursty: bool


Measured = Mapping[TrackKey, Rate]


def check_rates(pipeline: Pipeline, tracks: Mapping[TrackKey, Track], findings: Findings) -> None:
    """Compare the measured rate of each asset with the model's, and tell the worst."""
    name, model_hz = pipeline.name, pipeline.manifest.sample_rate_hz
    cycle = pipeline.config.window.cycle
    if model_hz is None:
        findings.skip("sample rate", "the model has no sample rate", name)
        return
    if cycle is not None and cycle.message:
        findings.skip("sample rate", "each message is a cycle", name)
        return
    rows = {
        key: track
        for key, track in tracks.items()
        if not key.tag and _has_model_rate(pipeline, key)
    }
    measured = {key: rate for key, track in rows.items() if (rate := measure(track)) is not None}
    if measured:
        _tell(pipeline, model_hz, measured, findings)
    tags = {key: track for key, track in tracks.items() if key.tag}
    if tags:
        check_tags(pipeline, tags, findings)
    if not measured and not tags:
        most = max((len(track.arrived_ns) for track in rows.values()), default=0)
        findings.skip(
            "sample rate",
            f"{most} samples of an asset are too few to measure it (--seconds waits longer)", name,
        )  # fmt: skip


def measure(track: Track) -> Rate | None:
    """Return the rate of an asset's samples; None: there are too few of them."""
    times = sorted(track.samples)
    if any(track.samples[one] > 1 for one in times) and len(times) > MIN_POINTS:
        times = times[1:]  # of a coarse clock's first step only the end may have been heard
    steps = [
        ((after - before) / SECOND_NS, track.samples[before]) for before, after in pairwise(times)
    ]
    waits = [(after - before) / SECOND_NS for before, after in pairwise(track.arrived_ns)]
    if len(steps) < MIN_POINTS - 1 or not waits:
        return None
    mean_wait = sum(waits) / len(waits)
    short = sum(wait < BURST_STEPS * mean_wait for wait in waits)
    return Rate(
        hz=1 / median(step / count for step, count in steps),
        mean_hz=sum(count for _, count in steps) / sum(step for step, _ in steps),
        longest_wait_seconds=max(waits),
        message_seconds=sum(step for step, _ in steps) / len(waits),
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


def _tell(pipeline: Pipeline, model_hz: float, measured: Measured, findings: Findings) -> None:
    """Tell the worst of what was measured, or that all is well."""
    if _tell_bursts_without_times(pipeline, measured, findings):
        return
    key, rate = max(measured.items(), key=lambda one: _deviation(one[1].hz, model_hz))
    if _deviation(rate.hz, model_hz) > OK_DEVIATION:
        _OtherRate(pipeline, key, rate.hz, model_hz).tell(findings)
        return
    if _tell_missing(pipeline, measured, findings):
        return
    if _tell_late_bursts(pipeline, measured, findings):
        return
    found = f"{rate_text(rate.hz)} of {len(measured)} asset(s)"
    findings.ok("sample rate", f"{found}; the model needs {rate_text(model_hz)}", pipeline.name)


def _tell_missing(pipeline: Pipeline, measured: Measured, findings: Findings) -> bool:
    key, rate = min(measured.items(), key=lambda one: one[1].mean_hz / one[1].hz)
    if rate.mean_hz >= (1 - MAX_MISSING) * rate.hz:
        return False
    findings.warn(
        "sample rate",
        f"asset {printable(key.asset)} sends {rate_text(rate.hz)}, but only "
        f"{rate.mean_hz / rate.hz:.0%} of its samples have come",
        "if the machine did not stand still, find out where they are lost: the sender, the "
        "network, or the broker (max_queued_messages); QoS 1 at the sender and in "
        f"pipelines.{pipeline.name}.{key.place}.qos loses none",
        pipeline.name,
    )
    return True


def _tell_bursts_without_times(pipeline: Pipeline, measured: Measured, findings: Findings) -> bool:
    """Tell messages whose arrival is their time, but does not tell when they were measured."""
    sources = pipeline.config.named_sources
    bursts = [
        key for key, rate in measured.items() if rate.is_bursty and sources[key.place].clock is None
    ]
    if not bursts:
        return False
    findings.warn(
        "sample rate",
        f"messages of asset {printable(bursts[0].asset)} come in bursts and carry no time: their "
        "samples get the time of arrival, which is not when they were measured",
        "let the sender write a time into each message, and declare it in "
        f"pipelines.{pipeline.name}.{bursts[0].place}.time",
        pipeline.name,
    )
    return True


def _tell_late_bursts(pipeline: Pipeline, measured: Measured, findings: Findings) -> bool:
    """Tell messages with times that wait for each other longer than predictions may be late."""
    name = pipeline.name
    bursts = {key: rate for key, rate in measured.items() if rate.is_bursty}
    if not bursts:
        return False
    key, rate = max(bursts.items(), key=lambda one: one[1].longest_wait_seconds)
    budget = pipeline.config.publish.latency_budget_seconds or DEFAULT_LATENCY_SECONDS
    if rate.longest_wait_seconds <= max(budget, LATE_PERIODS * rate.message_seconds):
        return False
    findings.warn(
        "sample rate",
        f"messages of asset {printable(key.asset)} come in bursts, up to "
        f"{rate.longest_wait_seconds:.1f} s apart: predictions and alarms come as late",
        "let the sender or gateway publish each sample at once; if this is meant, set "
        f"pipelines.{name}.publish.latency_budget_seconds",
        name,
    )
    return True


class _OtherRate:
    """An asset whose rate is not the model's."""

    def __init__(self, pipeline: Pipeline, key: TrackKey, hz: float, model_hz: float) -> None:
        config = pipeline.config
        self._name = pipeline.name
        self._stream = config.stream
        self._is_aligned = pipeline.settings.align is not None
        self._is_frame = config.named_sources[key.place].layout == "frame"
        self._alignment = (
            f"pipelines.{pipeline.name}.{key.place if config.sources else 'stream'}.alignment"
        )
        self._ratio = hz / model_hz
        self._period = 1 / model_hz
        self._found = (
            f"asset {printable(key.asset)} sends {rate_text(hz)}, and the model needs "
            f"{rate_text(model_hz)}"
        )
        self._remedy = (
            f"let the sender publish a sample every {self._period:.3g} s, or take a model made for "
            "this rate (sample_rate_hz; docs/training.md)"
        )

    def tell(self, findings: Findings) -> None:
        """Tell what comes of it, and what to do."""
        if self._is_aligned:
            self._tell_aligned(findings)
        elif 1 / RATE_TOLERANCE <= self._ratio <= RATE_TOLERANCE:
            effect = f"a window spans {1 / self._ratio:.2f} times the time that the model knows"
            findings.warn("sample rate", f"{self._found}: {effect}", self._remedy, self._name)
        else:
            remedy = f"{self._remedy}{self._alignment_remedy()}"
            findings.fail("sample rate", f"{self._found}: {self._effect()}", remedy, self._name)

    def _tell_aligned(self, findings: Findings) -> None:
        age, step = self._stream.max_age_seconds, self._period / self._ratio
        if self._ratio > 1:
            findings.ok("sample rate", f"{self._found}; the alignment resamples them", self._name)
        elif step > age:
            findings.fail(
                "sample rate",
                f"{self._found}: between two samples the values become older than "
                f"stream.max_age_seconds ({age:g} s), and count as substituted",
                f"{self._remedy}; or, if values that old are right, raise "
                f"pipelines.{self._name}.stream.max_age_seconds above {step:.3g}",
                self._name,
            )
        else:
            findings.warn(
                "sample rate",
                f"{self._found}: the alignment makes up {1 - self._ratio:.0%} of the samples",
                f"{self._remedy}; if the model was trained with values made up like this, all is "
                "well",
                self._name,
            )

    def _effect(self) -> str:
        if self._ratio > 1:
            return "its windows are `uncertain`"
        gap = self._stream.max_gap_seconds or MAX_GAP_PERIODS * self._period
        if self._period / self._ratio > gap and not self._is_frame:
            return f"no window is ever complete, as a step above {gap:.3g} s empties it"
        return "its windows are `uncertain` or `bad`, and raise no alarm"

    def _alignment_remedy(self) -> str:
        if self._is_frame:
            return ""
        if self._ratio > 1:
            return f"; or set {self._alignment} to hold, which takes one of {self._ratio:.3g}"
        return f"; or set {self._alignment} to linear, if values in between may be interpolated"


def _deviation(hz: float, model_hz: float) -> float:
    """Return the ratio of two rates, or its inverse if that is larger."""
    return max(hz / model_hz, model_hz / hz)
