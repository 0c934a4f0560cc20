"""The metrics of a node, by the part of edgeai that counts them.

Names, labels, help texts and buckets are in `edgeai.metrics.table`. Values that change with every
prediction (score, alarm state) are read from the engine when Prometheus asks, so that a turn does
not pay for them.
"""

from collections.abc import Callable, Iterable

import prometheus_client
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

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
from edgeai.metrics.maker import Maker
from edgeai.metrics.pipelines import (
    AlarmMetrics,
    AnswerMetrics,
    ModelMetrics,
    PipelineFamilies,
    PipelineMetrics,
    answer_metrics,
    model_metrics,
)
from edgeai.metrics.table import (
    ALARM_COMMANDS,
    SUPPRESSION_CAUSES,
    UNROUTED_REASONS,
)
from edgeai.metrics.text_format import write_text
from edgeai.version import __version__

# prometheus-client would add a `_created` series to each counter, which nobody reads.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of one runtime, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._before: list[Callable[[], None]] = []
        self.registry.register(_Before(self._before))  # a scrape asks collectors in this order
        if hasattr(prometheus_client, "ProcessCollector"):
            prometheus_client.ProcessCollector(registry=self.registry)
        make = Maker(self.registry)
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

        self._families = PipelineFamilies(make)
        self._make_alarms(make)
        self._make_providers(make)

    def _make_alarms(self, make: Maker) -> None:
        """Make the metrics of how alarms are told."""
        self.announcements = make.counter("edgeai_alarm_announcements_total")
        self._suppressed = make.counter("edgeai_alarms_suppressed_total")
        self._chattered = make.counter("edgeai_alarms_chattered_total")
        self.commands = make.counter("edgeai_alarm_commands_total")
        for command in ALARM_COMMANDS:
            for result in ("ok", "refused"):
                self.commands.labels(command, result)

    def _make_providers(self, make: Maker) -> None:
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
    ) -> PipelineMetrics:
        """Return the metrics of one pipeline. All its series exist from now on, at zero."""
        return PipelineMetrics(self._families, pipeline, model, provider, has_cycles=has_cycles)

    def of_answer(self, pipeline: str, answer: str) -> AnswerMetrics:
        """Return the counts of an answer to controllers."""
        return answer_metrics(self._families, pipeline, answer)

    def of_alarms(self, pipeline: str, position: str, priority: str) -> AlarmMetrics:
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

    def of_model(self, model: str, provider: str, pipeline: PipelineMetrics) -> ModelMetrics:
        """Return the metrics of the calls of another model of a pipeline."""
        return model_metrics(self._families, model, provider, pipeline)

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


class WorkerMetrics:
    """The metrics of the supervisor of several workers."""

    def __init__(self, metrics: Metrics, workers: int) -> None:
        make = Maker(metrics.registry)
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
