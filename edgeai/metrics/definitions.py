"""The metrics of a node, by the part of edgeai that counts them.

Names, labels, help texts and buckets are in `edgeai.metrics.table`. Values that change with every
prediction (score, alarm state) are read from the engine when Prometheus asks, so that a turn does
not pay for them.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import Metric

from edgeai.errors import DROP_REASONS
from edgeai.messages import RETAINED
from edgeai.metrics.assets import (
    AlarmCollector,
    AlarmCounts,
    AssetCollector,
    AssetState,
    BoundCollector,
    ClockSkew,
    OutputBound,
    SkewCollector,
)
from edgeai.metrics.counters import Counts
from edgeai.metrics.histogram import Buckets, Histogram
from edgeai.metrics.table import (
    ALARM_COMMANDS,
    ALARM_VALUES,
    ANSWER_DROPS,
    ANSWER_FAULTS,
    ANSWER_OUTCOMES,
    CYCLE_OUTCOMES,
    INVALID_REASONS,
    METRICS,
    RECORD_OUTCOMES,
    RESET_REASONS,
    SUPPRESSION_CAUSES,
    UNROUTED_REASONS,
)
from edgeai.metrics.text_format import write_text
from edgeai.version import __version__

# prometheus-client would add a `_created` series to each counter, which nobody reads.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class _Maker:
    """Makes the metrics of the table, on one registry, in the order of the scrape."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def gauge(self, name: str) -> Gauge:
        one = METRICS[name]
        return Gauge(one.name, one.help, one.labels, registry=self._registry)

    def counter(self, name: str) -> Counter:
        """Make a counter for rare events."""
        one = METRICS[name]
        return Counter(one.name, one.help, one.labels, registry=self._registry)

    def counts(self, name: str) -> Counts:
        """Make a counter for events of every turn: counting is cheap, but one thread only."""
        one = METRICS[name]
        return Counts(one.name, one.help, one.labels, registry=self._registry)

    def histogram(self, name: str) -> Histogram:
        one = METRICS[name]
        return Histogram(
            one.name, one.help, one.labels, buckets=one.buckets, registry=self._registry
        )


class Metrics:
    """The metrics of one runtime, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._before: list[Callable[[], None]] = []
        self.registry.register(_Before(self._before))  # a scrape asks collectors in this order
        if hasattr(prometheus_client, "ProcessCollector"):
            prometheus_client.ProcessCollector(registry=self.registry)
        make = _Maker(self.registry)
        make.gauge("edgeai_build_info").labels(__version__).set(1)

        # Connection
        self.connected = make.gauge("edgeai_broker_connected")
        self.connects = make.counter("edgeai_broker_connects_total")
        self.connect_failures = make.counter("edgeai_broker_connect_failures_total")
        self.sessions_lost = make.counter("edgeai_broker_sessions_lost_total")
        self.broker_drops = make.counter("edgeai_broker_dropped_messages_total")
        self._certificate_expiry = make.gauge("edgeai_certificate_expiry_timestamp_seconds")
        self.received = make.counts("edgeai_messages_received_total").labels()
        self.left = make.counts("edgeai_messages_left_total").labels()
        self.received_bytes = make.counts("edgeai_received_bytes_total").labels()
        self.unrouted = make.counts("edgeai_messages_unrouted_total")
        for reason in UNROUTED_REASONS:
            self.unrouted.labels(reason)
        self.unpublished = make.counter("edgeai_publications_dropped_total")
        self.waiting = make.gauge("edgeai_publications_waiting")
        self.unconfirmed = make.counter("edgeai_publications_unconfirmed_total")
        self.last_heartbeat = make.gauge("edgeai_last_heartbeat_timestamp_seconds")

        # Engine
        self.ready = make.gauge("edgeai_ready")
        self.turn_messages = make.histogram("edgeai_turn_messages").labels()
        self.turn_seconds = make.histogram("edgeai_turn_seconds").labels()
        self.last_message = make.gauge("edgeai_last_message_timestamp_seconds")
        self.last_prediction = make.gauge("edgeai_last_prediction_timestamp_seconds")

        self._make_pipelines(make)
        self._make_alarms(make)
        self._make_providers(make)

    def _make_alarms(self, make: _Maker) -> None:
        """Make the metrics of how alarms are told."""
        self.announcements = make.counter("edgeai_alarm_announcements_total")
        self._suppressed = make.counter("edgeai_alarms_suppressed_total")
        self._chattered = make.counter("edgeai_alarms_chattered_total")
        self.commands = make.counter("edgeai_alarm_commands_total")
        for command in ALARM_COMMANDS:
            for result in ("ok", "refused"):
                self.commands.labels(command, result)

    def _make_pipelines(self, make: _Maker) -> None:
        """Make the metrics of pipelines; their series are in PipelineMetrics."""
        self._messages = make.counts("edgeai_pipeline_messages_total")
        self._last_messages = make.gauge("edgeai_pipeline_last_message_timestamp_seconds")
        self._expected = make.gauge("edgeai_pipeline_expected_seconds")
        self._drops = make.counts("edgeai_dropped_total")
        self._records = make.counts("edgeai_records_total")
        self._invalid = make.counts("edgeai_invalid_values_total")
        self._states_entered = make.counts("edgeai_states_entered_total")
        self._state_unknown = make.counts("edgeai_state_samples_unknown_total")
        self._extra_missing = make.counts("edgeai_extra_values_missing_total")
        self._resets = make.counts("edgeai_window_resets_total")
        self._missed = make.counts("edgeai_frames_missed_total")
        self._missing = make.counts("edgeai_samples_missing_total")
        self._reordered = make.counts("edgeai_samples_reordered_total")
        self._misplaced = make.counts("edgeai_samples_misplaced_total")
        self._predictions = make.counts("edgeai_predictions_total")
        self._not_finite = make.counts("edgeai_scores_not_finite_total")
        self._cycles = make.counts("edgeai_cycles_total")
        self._cycle_seconds = make.histogram("edgeai_cycle_duration_seconds")
        self._alarms = make.counts("edgeai_alarm_transitions_total")
        self._streams = make.gauge("edgeai_streams")
        self._evicted = make.counts("edgeai_streams_evicted_total")
        self._answers = make.counts("edgeai_answers_total")
        self._answers_substituted = make.counts("edgeai_answer_values_substituted_total")
        self._answers_dropped = make.counts("edgeai_answers_dropped_total")
        self._set_aside = make.gauge("edgeai_set_aside")
        self._stale_assets = make.gauge("edgeai_stale_assets")
        self._pipeline_ready = make.gauge("edgeai_pipeline_ready")
        self._inference = make.histogram("edgeai_inference_seconds")
        self._batch = make.histogram("edgeai_batch_windows")
        self._end_to_end = make.histogram("edgeai_end_to_end_seconds")
        self._latency_budget = make.gauge("edgeai_latency_budget_seconds")

    def _make_providers(self, make: _Maker) -> None:
        """Make the metrics of execution providers."""
        self.failovers = make.counter("edgeai_failovers_total")
        self.readmissions = make.counter("edgeai_readmissions_total")
        self.parity_failures = make.counter("edgeai_parity_failures_total")
        self.degraded = make.gauge("edgeai_degraded")
        self._session_info = make.gauge("edgeai_session_info")
        self.model_signed = make.gauge("edgeai_model_signed")
        self._session_labels: dict[tuple[str, str], tuple[str, ...]] = {}
        """The labels of `_session_info` now, by pipeline and model."""

    def of_pipeline(
        self, pipeline: str, model: str, provider: str, *, has_cycles: bool = False
    ) -> "PipelineMetrics":
        """Return the metrics of one pipeline. All its series exist from now on, at zero."""
        made = PipelineMetrics(self, pipeline, model, provider)
        if has_cycles:
            made.cycles = _tally(self._cycles, pipeline, CYCLE_OUTCOMES)
            made.cycle_seconds = self._cycle_seconds.labels(pipeline)
        return made

    def of_answer(self, pipeline: str, answer: str) -> "AnswerMetrics":
        """Return the counts of an answer to controllers."""
        made = AnswerMetrics(
            dict.fromkeys(ANSWER_OUTCOMES, 0),
            dict.fromkeys(ANSWER_FAULTS, 0),
            dict.fromkeys(ANSWER_DROPS, 0),
        )
        for counts, tally in zip(
            (self._answers, self._answers_substituted, self._answers_dropped), made, strict=True
        ):
            counts.watch(pipeline, answer, read=partial(_itself, tally))
        return made

    def of_alarms(self, pipeline: str, position: str, priority: str) -> "AlarmMetrics":
        """Return the metrics of how the alarms of a pipeline are told; its series exist from now.

        Args:
            pipeline: Name of the pipeline.
            position: The operator position that its alarms go to.
            priority: Of the alarms of its score.
        """
        for one in (priority, "low", "critical"):  # `critical`: the lost broker
            self.announcements.labels(position, one)
        for cause in SUPPRESSION_CAUSES:
            self._suppressed.labels(pipeline, cause)
        return AlarmMetrics(
            self.announcements, self._suppressed, self._chattered.labels(pipeline),
            pipeline, position,
        )  # fmt: skip

    def of_model(self, model: str, provider: str, pipeline: "PipelineMetrics") -> "ModelMetrics":
        """Return the metrics of the calls of another model of a pipeline."""
        inference = _ByProvider(self._inference, model)
        inference[provider]
        return ModelMetrics(inference, self._batch.labels(model), pipeline.end_to_end)

    def session_info(
        self, pipeline: str, model: str, version: str, *, provider: str, requested: str, reason: str
    ) -> None:
        """Export which provider computes a pipeline. This replaces the previous statement."""
        labels = (pipeline, model, version, provider, requested, reason)
        before = self._session_labels.get((pipeline, model), labels)
        if before != labels:
            self._session_info.remove(*before)
        self._session_labels[pipeline, model] = labels
        self._session_info.labels(*labels).set(1)

    def certificate_expires(self, certificate: str, at_seconds: float) -> None:
        """Export when a certificate expires, in seconds since 1970."""
        self._certificate_expiry.labels(certificate).set(at_seconds)

    def unrouted_counts(self) -> dict[str, int]:
        """Return the number of messages that no pipeline takes, by reason."""
        return {reason: self.unrouted.labels(reason).value for reason in UNROUTED_REASONS}

    def watch_assets(self, states: Callable[[], Iterable[AssetState]]) -> None:
        """Export the states of assets. `states` is called at each scrape."""
        self.registry.register(AssetCollector(states))

    def watch_alarms(self, counts: Callable[[], Iterable[AlarmCounts]]) -> None:
        """Export how many alarms there are. `counts` is called at each scrape."""
        self.registry.register(AlarmCollector(counts))

    def watch_clocks(self, skews: Callable[[], Iterable[ClockSkew]]) -> None:
        """Export how far assets' clocks are ahead. `skews` is called at each scrape."""
        self.registry.register(SkewCollector(skews))

    def export_bounds(self, bounds: Iterable[OutputBound]) -> None:
        """Export the ranges of the models' outputs in healthy operation."""
        self.registry.register(BoundCollector(bounds))

    def call_before_scrape(self, step: Callable[[], None]) -> None:
        """Call `step` at the start of each scrape, before any metric is read."""
        self._before.append(step)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return write_text(self.registry.collect()).encode()


class PipelineMetrics:
    """The series of one pipeline, looked up once: `labels()` costs more than counting."""

    def __init__(self, metrics: Metrics, pipeline: str, model: str, provider: str) -> None:
        self.messages = metrics._messages.labels(pipeline)
        self.retained = 0
        """How many of these the broker had kept: they do not show that anybody sends."""
        self.retained_drops: Tally[str] = Tally()
        """How many of those were refused, by reason: they do not show what anybody sends."""
        self.inference = _ByProvider(metrics._inference, model)
        """The series by the provider that computed."""
        self.inference[provider]
        self.batch = metrics._batch.labels(model)
        self.end_to_end = metrics._end_to_end.labels(pipeline)
        self.latency_budget = metrics._latency_budget.labels(pipeline)
        self.last_message = partial(metrics._last_messages.labels, pipeline)
        """Return the series; it exists from the first call on, so that it never says 1970."""
        self.expected = partial(metrics._expected.labels, pipeline)
        """Return the series, as `last_message` does."""
        self.not_finite = metrics._not_finite.labels(pipeline)
        self.extra_missing = metrics._extra_missing.labels(pipeline)
        self.missed = metrics._missed.labels(pipeline)
        self.streams = metrics._streams.labels(pipeline)
        self.evicted = metrics._evicted.labels(pipeline)
        self.set_aside = metrics._set_aside.labels(pipeline)
        self.stale_assets = metrics._stale_assets.labels(pipeline)
        self.ready = metrics._pipeline_ready.labels(pipeline)
        self.ready.set(1)
        self.drops = _tally(metrics._drops, pipeline, DROP_REASONS)
        """Counts by reason. This dict and the next ones hold every key from the start."""
        self.records = _tally(metrics._records, pipeline, RECORD_OUTCOMES)
        """Records of messages that hold several, by what became of them."""
        self.resets = _tally(metrics._resets, pipeline, RESET_REASONS)
        self.samples = {"missing": 0, "reordered": 0, "misplaced": 0}
        """Samples that are missing by the rate, that were put in their place, and whose times were
        in doubt too late."""
        metrics._missing.watch_one(pipeline, read=lambda: self.samples["missing"])
        metrics._reordered.watch_one(pipeline, read=lambda: self.samples["reordered"])
        metrics._misplaced.watch_one(pipeline, read=lambda: self.samples["misplaced"])
        self.invalid = dict.fromkeys(INVALID_REASONS, 0)
        self.cycles: dict[str, int] = {}
        """Cycles by what became of them, and"""
        self.cycle_seconds: Buckets
        """how long the complete ones took; set by `Metrics.of_pipeline` where there are any."""
        self.alarms = _tally(metrics._alarms, pipeline, ALARM_VALUES)
        self.predictions = _tally(metrics._predictions, pipeline, ("good", "uncertain", "bad"))
        self.invalid_counts: Callable[[], Tally[str]]
        """Returns the values that could not be used so far, by reason."""
        self._watch_invalid = partial(metrics._invalid.watch, pipeline)
        self._watch_states = partial(metrics._states_entered.watch, pipeline)
        self._watch_unknown = partial(metrics._state_unknown.watch_one, pipeline)
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


class WorkerMetrics:
    """The metrics of the supervisor of several workers."""

    def __init__(self, metrics: Metrics, workers: int) -> None:
        make = _Maker(metrics.registry)
        make.gauge("edgeai_workers").set(workers)
        self.ready = make.gauge("edgeai_workers_ready")
        restarts = make.counter("edgeai_worker_restarts_total")
        self.restarts = [restarts.labels(str(number)) for number in range(1, workers + 1)]


class _Before:
    """A collector without metrics. It runs steps before the other collectors are read."""

    def __init__(self, steps: list[Callable[[], None]]) -> None:
        self._steps = steps

    def collect(self) -> Iterable[Metric]:
        for step in self._steps:
            step()
        return ()
