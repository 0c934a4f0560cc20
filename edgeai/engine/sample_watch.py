"""Which assets of a pipeline send samples, and whether the pipeline makes any of its messages.

Nothing here costs work per message: a scan compares what the streams and the counters say now with
what they said at the last scan.
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from edgeai.engine.pipeline import Pipeline
from edgeai.engine.pipeline_log import utc
from edgeai.engine.rate_watch import OffRate, RateWatch
from edgeai.engine.refusals import printable
from edgeai.engine.stale_watch import StaleWatch
from edgeai.engine.stream_state import StreamState
from edgeai.engine.window_watch import DEFAULT_PATIENCE_SECONDS, WindowWatch
from edgeai.messages import Quality

FIRST_SAMPLE_SECONDS = 5.0
"""A pipeline whose messages have made no sample yet is not ready after this time."""
MIN_MESSAGES = 3
"""Fewer messages without a sample show nothing: a foreign one may come to a line that rests."""
SHOWN_REASONS = 4
SHOWN_SIGNALS = 4


class Found(NamedTuple):
    """What has changed since the last scan."""

    stale: list[StreamState]
    """Assets of which no sample has come, or was used, for the declared time."""
    back: list[StreamState]
    """Stale assets of which a sample was used."""
    quality: dict[Quality, list[StreamState]]
    """Assets whose quality is another than at the last scan, by the quality now."""
    conflicts: list[StreamState]
    """Assets with new samples that were refused, as they had the time of another one."""
    new_conflicts: int
    """How many these samples are."""
    off_rate: list[OffRate]
    """Assets that are off the model's rate now."""
    fault: str | None
    """Why the pipeline became not ready; None if nothing changed."""
    ready_again: str
    """What the pipeline makes again, if it was not ready: samples or windows; empty if it was."""


class SampleWatch:
    """The samples of one pipeline, scan by scan."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._windows = WindowWatch(pipeline)
        self._stale = StaleWatch(pipeline)
        self._rates = RateWatch(pipeline)
        self._fault: str | None = None
        """Why it makes no sample of its messages; None if it does."""
        self._drops: dict[str, int] = dict(pipeline.metrics.drops)
        self._messages = 0
        """Messages up to the last scan that found a new sample."""
        self._sampled = 0.0
        """Time of that scan; 0 before the first."""
        self._without_since = 0.0
        """Time of the scan that found the first message since then; 0 if there was none."""
        self._conflicts: dict[str, int] = {}
        """Samples of each asset that were new, and had the time of another one."""
        self._has_conflicts = False
        """Whether there were such samples since the last scan that found a new sample."""

    @property
    def fault(self) -> str | None:
        """Why the pipeline is not ready, with the remedy; None if it is."""
        windows = self._windows
        return windows.fault if windows.has_cause else self._fault or windows.fault

    @property
    def makes_no_window(self) -> bool:
        """Whether it makes samples of its messages, but no window of these."""
        return self.fault is not None and self.fault == self._windows.fault

    def scan(self, now: float, *, silence: bool) -> Found:
        """Compare with the last scan.

        Args:
            now: Seconds on a clock that never goes back; above 0.
            silence: Whether silent assets become stale.
        """
        stale, back = [], []
        conflicts, before = [], sum(self._conflicts.values())
        quality: dict[Quality, list[StreamState]] = {}
        made_sample = False
        stale_count = 0
        for state in list(self.pipeline.streams.values()):
            newest_ns = state.stream.newest_ns
            if newest_ns != state.seen_ns:
                state.seen_ns, state.seen = newest_ns, now
                made_sample = made_sample or _is_complete(state)
            change = self._stale.look(
                state, now, looks=silence, pipeline_fault=self.fault is not None
            )
            if change == "stale":
                stale.append(state)
            elif change == "back":
                back.append(state)
            stale_count += state.is_stale
            if state.stream.ring.implausible_ns:
                self._note_implausible(state)
            if state.stream.ring.conflicts > self._conflicts.get(state.key, 0):
                self._conflicts[state.key] = state.stream.ring.conflicts
                conflicts.append(state)
            if state.quality is not state.told_quality and state.quality is not None:
                if state.told_quality is not None or state.quality != "good":
                    quality.setdefault(state.quality, []).append(state)
                state.told_quality = state.quality
        self.pipeline.metrics.stale_assets.set(stale_count)
        fault_before, had_no_sample = self.fault, self._fault is not None
        new_conflicts = sum(self._conflicts.values()) - before
        self._has_conflicts = self._has_conflicts or new_conflicts > 0
        self._windows.scan(now, before + new_conflicts, made_sample=made_sample)
        self._check_samples(now, made_sample=made_sample)
        fault = self.fault
        ready_again = ""
        if fault_before is not None and fault is None:
            ready_again = "samples" if had_no_sample else "windows"
        return Found(
            stale,
            back,
            quality,
            conflicts,
            new_conflicts,
            self._rates.scan(),
            fault if fault_before is None else None,
            ready_again,
        )

    def _note_implausible(self, state: StreamState) -> None:
        """Keep for the log whose sample was dropped because its clock was ahead."""
        ring, examples = state.stream.ring, self.pipeline.refusals.examples
        if "implausible_time" not in examples:
            topic = printable(self.pipeline.sources.topic_of(state.key))
            examples["implausible_time"] = f"topic {topic}, time {utc(ring.implausible_ns)}"
        ring.implausible_ns = 0

    def _check_samples(self, now: float, *, made_sample: bool) -> None:
        """Set or clear the fault of a pipeline that gets messages and makes no sample of them."""
        metrics = self.pipeline.metrics
        messages = metrics.messages.value - metrics.retained
        # What the broker had kept is no evidence, neither the message nor its refusal.
        drops = Counter(metrics.drops)
        drops.subtract(metrics.retained_drops)
        refused = dict(drops - Counter(self._drops))
        without = messages - self._messages
        evidence = self._evidence(without, refused)
        # A sample may be refused after its stream has seen its time: then no window gets it.
        all_refused = sum(refused.values()) >= without
        is_block = "frame" in self.pipeline.sources.layouts
        if made_sample and (is_block or not all_refused):
            self._messages, self._drops = messages, dict(drops)
            self._sampled, self._without_since = now, 0.0
            self._has_conflicts = False
            self._fault = None
            return
        if not evidence:
            return
        if not self._without_since:
            self._without_since = now
        if self._fault is None:
            if self._sampled:
                passed = now - self._sampled
                patience = self.pipeline.stale_after_seconds or DEFAULT_PATIENCE_SECONDS
            else:
                passed, patience = now - self._without_since, FIRST_SAMPLE_SECONDS
            if evidence < MIN_MESSAGES or passed < patience:
                return
        self._fault = self._describe(without, refused)

    def _evidence(self, without: int, refused: Mapping[str, int]) -> int:
        """Return how many of the messages without a sample speak against the configuration.

        Samples that were used, and are sent again, do not: a sender may repeat all it has kept.
        """
        repeated = refused.get("duplicate", 0)
        if not repeated or not self._sampled or self._has_conflicts:
            return without
        return min(without, sum(refused.values()) - repeated)

    def _describe(self, without: int, refused: Mapping[str, int]) -> str:
        name, place = self.pipeline.name, self.pipeline.sources.place
        told = f"pipeline {name}: {without:,} message{'s' * (without > 1)} and no sample"
        if refused:
            largest = sorted(refused.items(), key=lambda item: -item[1])[:SHOWN_REASONS]
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in largest)
            return f"{told} ({reasons}); the log shows one of each: compare it with {place}"
        for state in list(self.pipeline.streams.values()):
            undecided = state.stream.undecided
            if undecided is not None and not state.is_from_before:
                return (
                    f"{told}; all {undecided[0]:,} samples of asset {printable(state.key)} have "
                    f"the time {utc(undecided[1])}: check the clock of their sender, and "
                    f"pipelines.{name}.source"
                )
            channels = state.stream.waiting_for()
            if state.time_ns is None and channels and not state.is_from_before:
                signals = [self.pipeline.channels[channel] for channel in channels[:SHOWN_SIGNALS]]
                more = len(channels) - len(signals)
                names = ", ".join(signals) + (f" and {more} more" if more else "")
                return (
                    f"{told}; asset {printable(state.key)} still waits for a first value of "
                    f"{names}: check their names in {self.pipeline.sources.place_of(signals[0])}"
                )
        return f"{told} since the last one: check {place} and .stream"


def _is_complete(state: StreamState) -> bool:
    """Return whether a stream has had a value of every signal, so that a sample can be made."""
    return state.time_ns is not None or not state.stream.waiting_for()
