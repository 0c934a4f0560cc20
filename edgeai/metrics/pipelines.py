"""The metrics of pipelines: what is counted of each, looked up once.

Looking a series up by its labels costs more than counting.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from prometheus_client import Counter

from edgeai.errors import DROP_REASONS
from edgeai.messages import RETAINED
from edgeai.metrics.counters import Counts
from edgeai.metrics.histogram import Buckets, Histogram
from edgeai.metrics.maker import Maker
from edgeai.metrics.table import (
    ALARM_VALUES,
    ANSWER_DROPS,
    ANSWER_FAULTS,
    ANSWER_OUTCOMES,
    CYCLE_OUTCOMES,
    INVALID_REASONS,
    RECORD_OUTCOMES,
    RESET_REASONS,
)


class PipelineFamilies:
    """The metrics of all pipelines; the series of one are in `PipelineMetrics`."""

    def __init__(self, make: Maker) -> None:
        self.messages = make.counts("edgeai_pipeline_messages_total")
        self.last_messages = make.gauge("edgeai_pipeline_last_message_timestamp_seconds")
        self.expected = make.gauge("edgeai_pipeline_expected_seconds")
        self.drops = make.counts("edgeai_dropped_total")
        self.records = make.counts("edgeai_records_total")
        self.invalid = make.counts("edgeai_invalid_values_total")
        self.states_entered = make.counts("edgeai_states_entered_total")
        self.state_unknown = make.counts("edgeai_state_samples_unknown_total")
        self.extra_missing = make.counts("edgeai_extra_values_missing_total")
        self.resets = make.counts("edgeai_window_resets_total")
        self.missed = make.counts("edgeai_frames_missed_total")
        self.missing = make.counts("edgeai_samples_missing_total")
        self.reordered = make.counts("edgeai_samples_reordered_total")
        self.misplaced = make.counts("edgeai_samples_misplaced_total")
        self.predictions = make.counts("edgeai_predictions_total")
        self.not_finite = make.counts("edgeai_scores_not_finite_total")
        self.cycles = make.counts("edgeai_cycles_total")
        self.cycle_seconds = make.histogram("edgeai_cycle_duration_seconds")
        self.alarms = make.counts("edgeai_alarm_transitions_total")
        self.streams = make.gauge("edgeai_streams")
        self.evicted = make.counts("edgeai_streams_evicted_total")
        self.answers = make.counts("edgeai_answers_total")
        self.answers_substituted = make.counts("edgeai_answer_values_substituted_total")
        self.answers_dropped = make.counts("edgeai_answers_dropped_total")
        self.set_aside = make.gauge("edgeai_set_aside")
        self.stale_assets = make.gauge("edgeai_stale_assets")
        self.pipeline_ready = make.gauge("edgeai_pipeline_ready")
        self.inference = make.histogram("edgeai_inference_seconds")
        self.batch = make.histogram("edgeai_batch_windows")
        self.end_to_end = make.histogram("edgeai_end_to_end_seconds")
        self.latency_budget = make.gauge("edgeai_latency_budget_seconds")


class PipelineMetrics:
    """The series of one pipeline, looked up once: `labels()` costs more than counting."""

    def __init__(
        self,
        families: PipelineFamilies,
        pipeline: str,
        model: str,
        provider: str,
        *,
        has_cycles: bool = False,
    ) -> None:
        self.messages = families.messages.labels(pipeline)
        self.retained = 0
        """How many of these the broker had kept: they do not show that anybody sends."""
        self.retained_drops: Tally[str] = Tally()
        """How many of those were refused, by reason: they do not show what anybody sends."""
        self.inference = _ByProvider(families.inference, model)
        """The series by the provider that computed."""
        self.inference[provider]
        self.batch = families.batch.labels(model)
        self.end_to_end = families.end_to_end.labels(pipeline)
        self.latency_budget = families.latency_budget.labels(pipeline)
        self.last_message = partial(families.last_messages.labels, pipeline)
        """Return the series; it exists from the first call on, so that it never says 1970."""
        self.expected = partial(families.expected.labels, pipeline)
        """Return the series, as `last_message` does."""
        self.not_finite = families.not_finite.labels(pipeline)
        self.extra_missing = families.extra_missing.labels(pipeline)
        self.missed = families.missed.labels(pipeline)
        self.streams = families.streams.labels(pipeline)
        self.evicted = families.evicted.labels(pipeline)
        self.set_aside = families.set_aside.labels(pipeline)
        self.stale_assets = families.stale_assets.labels(pipeline)
        self.ready = families.pipeline_ready.labels(pipeline)
        self.ready.set(1)
        self.drops = _tally(families.drops, pipeline, DROP_REASONS)
        """Counts by reason. This dict and the next ones hold every key from the start."""
        self.records = _tally(families.records, pipeline, RECORD_OUTCOMES)
        """Records of messages that hold several, by what became of them."""
        self.resets = _tally(families.resets, pipeline, RESET_REASONS)
        self.samples = {"missing": 0, "reordered": 0, "misplaced": 0}
        """Samples that are missing by the rate, that were put in their place, and whose times were
        in doubt too late."""
        families.missing.watch_one(pipeline, read=lambda: self.samples["missing"])
        families.reordered.watch_one(pipeline, read=lambda: self.samples["reordered"])
        families.misplaced.watch_one(pipeline, read=lambda: self.samples["misplaced"])
        self.invalid = dict.fromkeys(INVALID_REASONS, 0)
        self.cycles: dict[str, int] = {}
        """Cycles by what became of them, and"""
        self.cycle_seconds: Buckets
        """how long the complete ones took; both only where windows are cycles."""
        if has_cycles:
            self.cycles = _tally(families.cycles, pipeline, CYCLE_OUTCOMES)
            self.cycle_seconds = families.cycle_seconds.labels(pipeline)
        self.alarms = _tally(families.alarms, pipeline, ALARM_VALUES)
        self.predictions = _tally(families.predictions, pipeline, ("good", "uncertain", "bad"))
        self.invalid_counts: Callable[[], Tally[str]]
        """Returns the values that could not be used so far, by reason."""
        self._watch_invalid = partial(families.invalid.watch, pipeline)
        self._watch_states = partial(families.states_entered.watch, pipeline)
        self._watch_unknown = partial(families.state_unknown.watch_one, pipeline)
        self.count_invalid([self.invalid])

    def drop(self, reason: str) -> None:
        """Count a message from which no sample was taken."""
        self.messages.value += 1
        self.drops[reason] += 1

    def count_states(self, entered: Mapping[str, int], unknown: Callable[[], int]) -> None:
        """Export how often machines came into each state, and samples of no known state."""
        self._watch_states(read=lambda: entered)
        self._watch_unknown(read=unknown)

    def count_retained(self, flags: int, reason: str | None = None) -> None:
        """Note a message that was taken, or refused for a reason, if the broker had kept it."""
        if flags & RETAINED:
            self.retained += 1
            if reason is not None:
                self.retained_drops[reason] += 1

    def count_invalid(self, tallies: Sequence[Mapping[str, int]]) -> None:
        """Set the tallies whose sum is exported as the values that could not be used."""

        def total() -> Tally[str]:
            found: Tally[str] = Tally()
            for tally in tallies:
                found.update(dict(tally))  # a copy, because the engine's thread goes on counting
            return found

        self.invalid_counts = total
        self._watch_invalid(read=total)


def _tally(counts: Counts, pipeline: str, names: Iterable[str]) -> dict[str, int]:
    """Return counts of a pipeline by the last label, zero for each of `names`, and export them."""
    tally = dict.fromkeys(names, 0)
    counts.watch(pipeline, read=lambda: tally)
    return tally


def _itself(tally: Mapping[str, int]) -> Mapping[str, int]:
    return tally


class AnswerMetrics(NamedTuple):
    """The counts of one answer to controllers, by outcome or reason."""

    published: dict[str, int]
    substituted: dict[str, int]
    dropped: dict[str, int]


class AlarmMetrics(NamedTuple):
    """The counters of how the alarms of one pipeline are told."""

    announcements: Counter
    suppressed: Counter
    chattered: Counter
    pipeline: str
    position: str

    def announce(self, priority: str) -> None:
        """Count an alarm that is announced."""
        self.announcements.labels(self.position, priority).inc()

    def suppress(self, cause: str, count: int = 1) -> None:
        """Count alarms that are not announced because their cause is."""
        self.suppressed.labels(self.pipeline, cause).inc(count)


class ModelMetrics(NamedTuple):
    """The series of the session calls of one model."""

    inference: "_ByProvider"
    batch: Buckets
    end_to_end: Buckets


class _ByProvider(dict[str, Buckets]):
    """The series of a model by provider. Each is made at its first use."""

    def __init__(self, histogram: Histogram, model: str) -> None:
        super().__init__()
        self._histogram = histogram
        self._model = model

    def __missing__(self, provider: str) -> Buckets:
        found = self[provider] = self._histogram.labels(self._model, provider)
        return found


def answer_metrics(families: PipelineFamilies, pipeline: str, answer: str) -> AnswerMetrics:
    """Return the counts of an answer to controllers."""
    made = AnswerMetrics(
        dict.fromkeys(ANSWER_OUTCOMES, 0),
        dict.fromkeys(ANSWER_FAULTS, 0),
        dict.fromkeys(ANSWER_DROPS, 0),
    )
    exported = (families.answers, families.answers_substituted, families.answers_dropped)
    for counts, tally in zip(exported, made, strict=True):
        counts.watch(pipeline, answer, read=partial(_itself, tally))
    return made


def model_metrics(
    families: PipelineFamilies, model: str, provider: str, pipeline: PipelineMetrics
) -> ModelMetrics:
    """Return the metrics of the calls of another model of a pipeline."""
    inference = _ByProvider(families.inference, model)
    inference[provider]
    return ModelMetrics(inference, families.batch.labels(model), pipeline.end_to_end)
