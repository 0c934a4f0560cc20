"""Whether a pipeline makes windows of its samples, and if not, what its time stamps show.

Samples may come for ever without a window: each step is a gap, or one signal's clock is ahead of
the others'. Nothing here costs work per message, unless no window has come for long.
"""

from collections import Counter
from itertools import pairwise
from math import gcd

import numpy as np

from edgeai.engine.intake.tags import TagIntake
from edgeai.engine.pipeline import Pipeline
from edgeai.engine.refusals import printable
from edgeai.messages import SECOND_NS

MIN_TROUBLES = 10
"""Fewer gaps and refusals show nothing: a line may start slowly, or stop now and then."""
WINDOWS = 2
"""A window must come in the time that this many windows need at most."""
WINDOWS_OF_SAMPLES = 4
"""Or in the samples of this many, if the samples come too seldom to count their time."""
DEFAULT_PATIENCE_SECONDS = 10.0  # of a pipeline whose assets never count as stale
STRAY_RESETS = 10
"""After so many resets for each window, windows come by chance only: that is no working line."""
KEPT_TIMES = 16
MIN_STEPS = 4  # between kept times, to show the step of a clock
NO_TROUBLE = ("duplicate", "retained")
"""Refusals of what was used already; duplicates that are new count as conflicts."""
STEP_TOLERANCE_NS = 1000  # time stamps may be float64 seconds


class WindowWatch:
    """The windows of one pipeline, scan by scan."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.fault: str | None = None
        """Why the pipeline makes no window although samples come, or hardly any; None if it does.
        """
        self.has_cause = False
        """Whether `fault` names a cause."""
        self._has_cycles = pipeline.settings.cycle is not None
        """Whether a machine that idles makes no window, for as long as it likes."""
        self._has_rate = pipeline.settings.period_ns is not None and not self._has_cycles
        settings = pipeline.settings
        self._samples = settings.length + settings.hop
        """After so many samples of a stream that follow each other, a window has come."""
        needed_ns = self._samples * (settings.period_ns or 0) + settings.lateness_ns
        self._patience = pipeline.stale_after_seconds or DEFAULT_PATIENCE_SECONDS
        self._limit = max(self._patience, WINDOWS * needed_ns / SECOND_NS)
        self._windows = -1
        """Windows at the last scan that found a new one."""
        self._resets = 0
        """Resets up to then."""
        self._strays = 0
        """Windows that came by chance since the last one that did not; these are since then:"""
        self._before: tuple[dict[str, int], dict[str, int], int] = ({}, {}, 0)
        """Resets and refusals by reason, and conflicts."""
        self._messages = self._first_heard = self._heard = 0
        """Messages up to then, up to the first scan after it that found one, and to the last."""
        self._first = self._since = self._last = 0.0
        """Times of the first message, of the first after the last long pause, and of the last."""
        self._sampled = 0
        """Scans with a new sample since `_since`."""
        self._times: list[int] = []
        """Newest sample times of one asset, one a scan."""

    def scan(self, now: float, conflicts: int, *, made_sample: bool) -> None:
        """Compare with the last scan, and set or clear `fault`.

        Args:
            now: Seconds on a clock that never goes back.
            conflicts: Samples that were refused as duplicates and are new, since the start.
            made_sample: Whether a new sample came since the last scan.
        """
        metrics = self.pipeline.metrics
        drops = metrics.drops
        windows = sum(metrics.predictions.values()) + drops["failed_window"] + drops["set_aside"]
        windows += sum(metrics.cycles.values())
        heard = metrics.messages.value - metrics.retained
        if windows != self._windows and not self._are_stray(windows):
            self._strays = 0
            self._before = dict(metrics.resets), dict(metrics.drops), conflicts
            self._messages = self._heard = heard
            self._first = self._since = self._last = 0.0
            self._times.clear()
            self._keep_skews(wanted=False)
            self.fault, self.has_cause = None, False
            return
        if heard == self._heard:
            return
        if not self._last or now - self._last > self._patience:
            self._sampled = 0
            self._since = now  # silence is told as such, and shows nothing about the rate
            if not self._first:
                self._first, self._first_heard = now, heard
        self._heard, self._last = heard, now
        if made_sample:
            self._sampled += 1
            self._note_time()
        if self._has_cycles and self._sampled >= MIN_TROUBLES:
            self.fault = self._missing_signals()
            self.has_cause = self.fault is not None
            if self.has_cause:
                return
        troubles = self._count_troubles(conflicts)
        is_long = now - self._since >= self._limit
        # At the model's rate a window must have come, also if no gap is counted yet.
        goes_on = is_long and self._has_rate and self._sampled >= MIN_TROUBLES
        if troubles.total() < MIN_TROUBLES and not goes_on:
            return
        self._keep_skews(wanted=True)
        of_streams = len(self.pipeline.streams) * self._messages_of_sample()
        is_many = heard - self._messages >= WINDOWS_OF_SAMPLES * self._samples * of_streams
        if self.fault or is_long or (is_many and now - self._first >= self._limit):
            self.fault = self._describe(troubles, now)

    def _are_stray(self, windows: int) -> bool:
        """Return whether the windows since the last scan with some came by chance.

        Then every stream that sends was emptied lately.
        """
        resets = sum(self.pipeline.metrics.resets.values())
        made, since = windows - self._windows, resets - self._resets
        is_first = self._windows < 0
        self._windows, self._resets = windows, resets
        self._strays += made
        if is_first or since < STRAY_RESETS * made:
            return False
        length = self.pipeline.settings.length
        rings = [
            one.stream.ring for one in list(self.pipeline.streams.values()) if not one.is_stale
        ]
        return all(ring.next_number - ring.emptied < 2 * length for ring in rings)

    def _missing_signals(self) -> str | None:
        """Return that signals of `window.cycle` never have a value, so that no cycle can start."""
        pipeline = self.pipeline
        cycle, signals = pipeline.config.window.cycle, pipeline.settings.signals
        assert cycle is not None
        for state in list(pipeline.streams.values()):
            recent = state.stream.ring.recent
            if len(recent) < MIN_TROUBLES:
                continue
            names = [
                name
                for channel, name in enumerate(pipeline.extras, signals)
                if name in cycle.signals
                and name != cycle.number
                and np.isnan(recent[:, channel]).all()
            ]
            if names:
                shown = ", ".join(f"`{name}`" for name in names)
                return (
                    f"pipeline {pipeline.name}: no message of {printable(state.key)} carries "
                    f"{shown}, which window.cycle names, so no cycle can start. Compare the name "
                    f"with the messages, or say where it is: pipelines.{pipeline.name}.source."
                    f"signals.{names[0]}"
                )
        return None

    def _count_troubles(self, conflicts: int) -> Counter[str]:
        """Return what has happened since the last window."""
        metrics = self.pipeline.metrics
        resets, drops, conflicts_before = self._before
        found = Counter(
            {
                reason: count - drops.get(reason, 0)
                for reason, count in metrics.drops.items()
                if reason not in NO_TROUBLE
            }
        )
        if not self._has_cycles:
            for name, count in metrics.resets.items():
                found[f"reset {name}"] = count - resets.get(name, 0)
        found["duplicate"] = conflicts - conflicts_before
        return found

    def _messages_of_sample(self) -> int:
        is_tags = self.pipeline.sources.layouts == {"tag"}
        return self.pipeline.settings.signals if is_tags else 1

    def _keep_skews(self, *, wanted: bool) -> None:
        intake = self.pipeline.intake
        if isinstance(intake, TagIntake) and wanted != (intake.skews is not None):
            intake.skews = {} if wanted else None

    def _note_time(self) -> None:
        streams = list(self.pipeline.streams.values())
        for state in [one for one in streams if not one.is_from_before][:1]:
            newest_ns = state.stream.newest_ns
            if newest_ns is not None and (not self._times or self._times[-1] != newest_ns):
                self._times = [*self._times[-KEPT_TIMES:], newest_ns]

    # ------------------------------------------------------------------------------- the reason

    def _describe(self, troubles: Counter[str], now: float) -> str:
        name = self.pipeline.name
        counted = ", ".join(
            f"{reason} {count:,}" for reason, count in troubles.most_common(4) if count
        )
        messages = self._heard - self._messages
        why = self._skew_reason() or self._rate_reason(troubles, now) or self._step_reason(troubles)
        self.has_cause = bool(why)
        why = why or (
            f"compare the time stamps with {self.pipeline.sources.place}, and their steps with "
            "the model's sample rate and stream.max_gap_seconds"
        )
        strays = self._strays
        made = f"only {strays:,} window{'s' * (strays > 1)}" if strays else "no window"
        told = f"pipeline {name}: {messages:,} messages and {made}"
        return f"{told} ({counted}): {why}" if counted else f"{told}: {why}"

    def _skew_reason(self) -> str:
        """Return which signals' time stamps are apart by more than a gap; empty: none."""
        intake = self.pipeline.intake
        skews = intake.skews if isinstance(intake, TagIntake) else None
        gap_ns = self.pipeline.settings.max_gap_ns
        for asset, of_channel in list((skews or {}).items()):
            found = sorted((skew_ns, channel) for channel, skew_ns in of_channel.items())
            if gap_ns is None or not found or found[-1][0] - found[0][0] <= gap_ns:
                continue
            (low_ns, low), (high_ns, high) = found[0], found[-1]
            signals = self.pipeline.channels
            return (
                f"the time stamps of {signals[high]} are {(high_ns - low_ns) / SECOND_NS:.4g} s "
                f"ahead of those of {signals[low]} (asset {printable(asset)}): synchronise the "
                "clocks of their senders"
            )
        return ""

    def _rate_reason(self, troubles: Counter[str], now: float) -> str:
        """Return that rows or tags come too seldom for the model; empty: they do not."""
        settings, seconds = self.pipeline.settings, now - self._first
        is_frame = self.pipeline.sources.layouts not in ({"row"}, {"tag"})
        if settings.period_ns is None or settings.max_gap_ns is None or is_frame or not seconds:
            return ""
        resets = troubles["reset gap"]
        seen = max(1, sum(not one.is_stale for one in list(self.pipeline.streams.values())))
        samples = (self._heard - self._first_heard) / self._messages_of_sample()
        rate = samples / seen / seconds
        if 2 * resets < samples or rate * settings.max_gap_ns > 2 * SECOND_NS:
            return ""
        needed = SECOND_NS / settings.period_ns
        return (
            f"samples come at about {rate:.2g} Hz, the model needs {needed:g} Hz: every step is a "
            f"gap ({resets:,} resets). Let the sender send at the model's rate, or use a model of "
            "the sender's"
        )

    def _step_reason(self, troubles: Counter[str]) -> str:
        """Return that the clock of a sender has large steps; empty: it does not show."""
        step_ns = 0
        if len(self._times) > MIN_STEPS:
            for before_ns, after_ns in pairwise(self._times):
                step_ns = gcd(step_ns, round((after_ns - before_ns) / STEP_TOLERANCE_NS))
            step_ns *= STEP_TOLERANCE_NS
        period_ns = self.pipeline.settings.period_ns or 0
        is_coarse = period_ns > 0 and step_ns >= 2 * period_ns
        if self.pipeline.sources.layouts == {"tag"} or not (is_coarse or troubles["duplicate"]):
            return ""
        what = f"have steps of {step_ns / SECOND_NS:g} s" if is_coarse else "come more than once"
        return f"the time stamps {what}. {time_stamp_remedy(self.pipeline)}"


def time_stamp_remedy(pipeline: Pipeline) -> str:
    """Return what to do about samples that share a time stamp."""
    fields = {"row": "source.time", "frame": "source.frame.time"}
    source = pipeline.config.source
    field = None if source is None else fields.get(source.layout)
    finer = "Let the sender send finer time stamps"
    if field is None:
        return finer
    path = f"pipelines.{pipeline.name}.{field}.resolution_seconds"
    return f"{finer}, or declare the step of its clock: {path}"
