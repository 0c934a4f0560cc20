"""Every Prometheus metric of edgeai, in one place.

Base units, counters end in `_total`, labels come from closed sets (pipelines of the config, drop
reasons, providers), except `asset`, which is bounded by MAX_ASSET_SERIES. What changes with every
prediction (score, alarm state) is read from the engine when Prometheus asks, and costs a turn
nothing.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric

from edgeai import __version__
from edgeai.errors import DROP_REASONS
from edgeai.metrics.counters import Counts
from edgeai.metrics.histogram import Buckets, Histogram

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, of no use here

LATENCY_BUCKETS = (
    0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
)  # fmt: skip
TURN_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
MAX_ASSET_SERIES = 500
ALARM_VALUES = {"normal": 0, "active": 1, "latched": 2}
INVALID_REASONS = ("missing", "not_a_number", "not_finite", "bad_quality", "out_of_range")
RESET_REASONS = ("gap", "clock_back")

AssetState = tuple[str, str, float, str]
"""Pipeline, asset, last score, alarm state."""


class Metrics:
    """The metrics of one runtime, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._first: list[Callable[[], None]] = []
        self.registry.register(_Before(self._first))  # collectors are asked in this order
        if hasattr(prometheus_client, "ProcessCollector"):
            prometheus_client.ProcessCollector(registry=self.registry)
        registry = self.registry
        info = Gauge("edgeai_build_info", "Version of edgeai.", ["version"], registry=registry)
        info.labels(__version__).set(1)
        self.connected = Gauge("edgeai_broker_connected", "1 while connected.", registry=registry)
        self.connects = Counter(
            "edgeai_broker_connects", "Connections made to the broker.", registry=registry
        )
        self.connect_failures = Counter(
            "edgeai_broker_connect_failures", "Attempts that failed.", registry=registry
        )
        self.broker_drops = Gauge(
            "edgeai_broker_dropped_messages",
            "Messages the broker says it dropped, of all clients ($SYS, mosquitto).",
            registry=registry,
        )
        self.received = Counts(
            "edgeai_messages_received", "Messages read from the broker.", registry=registry
        ).labels()
        self.left = Counts(
            "edgeai_messages_left",
            "Messages read and left to the worker whose streams they are.",
            registry=registry,
        ).labels()
        self.received_bytes = Counts(
            "edgeai_received_bytes", "Payload bytes read from the broker.", registry=registry
        ).labels()
        self.unrouted = Counter(
            "edgeai_messages_unrouted", "Messages for no pipeline.", ["reason"], registry=registry
        )
        for reason in ("unexpected_topic", "invalid_topic", "too_large"):
            self.unrouted.labels(reason)
        self.unpublished = Counter(
            "edgeai_publications_dropped",
            "Publications the broker could not be given.",
            registry=registry,
        )
        self.waiting = Gauge(
            "edgeai_publications_waiting", "Publications the broker does not have yet.",
            registry=registry,
        )  # fmt: skip
        turn_messages = Histogram(
            "edgeai_turn_messages", "Messages in a turn.", buckets=TURN_BUCKETS, registry=registry
        )
        turn_seconds = Histogram(
            "edgeai_turn_seconds",
            "Time from having read the messages to having acknowledged them.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.turn_messages, self.turn_seconds = turn_messages.labels(), turn_seconds.labels()
        self.last_message = Gauge(
            "edgeai_last_message_timestamp_seconds", "Arrival of the last.", registry=registry
        )
        self.last_prediction = Gauge(
            "edgeai_last_prediction_timestamp_seconds", "When the last was made.", registry=registry
        )
        self._messages = Counts(
            "edgeai_pipeline_messages", "Messages routed.", ["pipeline"], registry=registry
        )
        self._drops = Counts(
            "edgeai_dropped",
            "Messages and samples dropped.",
            ["pipeline", "reason"],
            registry=registry,
        )
        self._invalid = Counts(
            "edgeai_invalid_values",
            "Values that could not be used, or were outside their range.",
            ["pipeline", "reason"],
            registry=registry,
        )
        self._resets = Counts(
            "edgeai_window_resets", "Windows emptied.", ["pipeline", "reason"], registry=registry
        )
        self._missed = Counts(
            "edgeai_frames_missed",
            "Frames that never came, by the senders' sequence numbers.",
            ["pipeline"],
            registry=registry,
        )
        self._predictions = Counts(
            "edgeai_predictions", "Predictions made.", ["pipeline", "quality"], registry=registry
        )
        self._not_finite = Counts(
            "edgeai_scores_not_finite",
            "Scores that are no number.",
            ["pipeline"],
            registry=registry,
        )
        self._alarms = Counts(
            "edgeai_alarm_transitions", "Changes of alarm state.", ["pipeline", "state"],
            registry=registry,
        )  # fmt: skip
        self._streams = Gauge("edgeai_streams", "Streams seen.", ["pipeline"], registry=registry)
        self._inference = Histogram(
            "edgeai_inference_seconds", "One session call.", ["model", "provider"],
            buckets=LATENCY_BUCKETS, registry=registry,
        )  # fmt: skip
        self._batch = Histogram(
            "edgeai_batch_windows", "Windows in a session call.", ["model"],
            buckets=TURN_BUCKETS, registry=registry,
        )  # fmt: skip
        self._end_to_end = Histogram(
            "edgeai_end_to_end_seconds",
            "Time of a window's last sample, as its sender says, to publication.",
            ["pipeline"], buckets=LATENCY_BUCKETS, registry=registry,
        )  # fmt: skip
        self.failovers = Counter(
            "edgeai_failovers",
            "Outages of an accelerator, in which the CPU computes.",
            ["pipeline", "cause"],
            registry=registry,
        )
        self.readmissions = Counter(
            "edgeai_readmissions",
            "Outages that ended: restarted, tested, computing again.",
            ["pipeline"],
            registry=registry,
        )
        self.parity_failures = Counter(
            "edgeai_parity_failures",
            "Times an accelerator got the golden windows wrong.",
            ["pipeline"],
            registry=registry,
        )
        self.degraded = Gauge(
            "edgeai_degraded",
            "1 while the CPU computes for an accelerator that failed.",
            ["pipeline"],
            registry=registry,
        )
        self._session_labels: dict[str, tuple[str, ...]] = {}
        self._session_info = Gauge(
            "edgeai_session_info",
            "1; which provider computes a pipeline, which was asked for, and why it differs.",
            ["pipeline", "model", "version", "provider", "requested", "reason"],
            registry=registry,
        )

    def of_pipeline(self, pipeline: str, model: str, provider: str) -> "PipelineMetrics":
        """Return the metrics of one pipeline, with every series already there at zero."""
        return PipelineMetrics(self, pipeline, model, provider)

    def session_info(
        self, pipeline: str, model: str, version: str, *, provider: str, requested: str, reason: str
    ) -> None:
        """State what computes a pipeline, in place of what did before."""
        labels = (pipeline, model, version, provider, requested, reason)
        before = self._session_labels.get(pipeline, labels)
        if before != labels:
            self._session_info.remove(*before)
        self._session_labels[pipeline] = labels
        self._session_info.labels(*labels).set(1)

    def watch_assets(self, states: Callable[[], Iterable[AssetState]]) -> None:
        """Export score and alarm state of assets, read when Prometheus asks."""
        self.registry.register(_AssetCollector(states))

    def settle_first(self, settle: Callable[[], None]) -> None:
        """Call this whenever Prometheus asks, before anything is read."""
        self._first.append(settle)

    def render(self) -> bytes:
        """Return the text format."""
        return prometheus_client.generate_latest(self.registry)


class PipelineMetrics:
    """The series of one pipeline: `labels()` costs more than counting."""

    def __init__(self, metrics: Metrics, pipeline: str, model: str, provider: str) -> None:
        self.messages = metrics._messages.labels(pipeline)
        self.inference = _ByProvider(metrics._inference, model)
        """By the provider that computed."""
        self.inference[provider]
        self.batch = metrics._batch.labels(model)
        self.end_to_end = metrics._end_to_end.labels(pipeline)
        self.not_finite = metrics._not_finite.labels(pipeline)
        self.missed = metrics._missed.labels(pipeline)
        self.streams = metrics._streams.labels(pipeline)
        self.drops = _tally(metrics._drops, pipeline, DROP_REASONS)
        """By reason, as are those that follow; all are there from the start."""
        self.resets = _tally(metrics._resets, pipeline, RESET_REASONS)
        self.invalid = dict.fromkeys(INVALID_REASONS, 0)
        self.alarms = _tally(metrics._alarms, pipeline, ALARM_VALUES)
        self.predictions = _tally(metrics._predictions, pipeline, ("good", "uncertain", "bad"))
        self._watch_invalid = partial(metrics._invalid.watch, pipeline)
        self.count_invalid([self.invalid])

    def drop(self, reason: str) -> None:
        """Count a message from which no sample was taken."""
        self.messages.value += 1
        self.drops[reason] += 1

    def count_invalid(self, tallies: Sequence[Mapping[str, int]]) -> None:
        """Say which tallies together hold the values that could not be used."""

        def total() -> Tally[str]:
            found: Tally[str] = Tally()
            for tally in tallies:
                found.update(dict(tally))  # a copy: the engine's thread goes on counting
            return found

        self._watch_invalid(read=total)


def _tally(counts: Counts, pipeline: str, names: Iterable[str]) -> dict[str, int]:
    """Return what a pipeline counts of a metric by its last label: these, and no other."""
    tally = dict.fromkeys(names, 0)
    counts.watch(pipeline, read=lambda: tally)
    return tally


class _ByProvider(dict[str, Buckets]):
    """The calls of a model by provider, each made when it is first asked for."""

    def __init__(self, histogram: Histogram, model: str) -> None:
        super().__init__()
        self._histogram = histogram
        self._model = model

    def __missing__(self, provider: str) -> Buckets:
        found = self[provider] = self._histogram.labels(self._model, provider)
        return found


class WorkerMetrics:
    """What the supervisor of several workers counts."""

    def __init__(self, metrics: Metrics, workers: int) -> None:
        registry = metrics.registry
        count = Gauge("edgeai_workers", "Workers the configuration asks for.", registry=registry)
        count.set(workers)
        self.ready = Gauge("edgeai_workers_ready", "Workers that are ready.", registry=registry)
        restarts = Counter(
            "edgeai_worker_restarts", "Workers started anew.", ["worker"], registry=registry
        )
        self.restarts = [restarts.labels(str(number)) for number in range(1, workers + 1)]


class _Before:
    """Gives no metric, but does what is to be done before others give theirs."""

    def __init__(self, steps: list[Callable[[], None]]) -> None:
        self._steps = steps

    def collect(self) -> Iterable[Metric]:
        for step in self._steps:
            step()
        return ()


class _AssetCollector:
    """Score and alarm state, at most MAX_ASSET_SERIES of them."""

    def __init__(self, states: Callable[[], Iterable[AssetState]]) -> None:
        self._states = states

    def collect(self) -> Iterator[Metric]:
        labels = ["pipeline", "asset"]
        score = GaugeMetricFamily("edgeai_score", "Score of the last window.", labels=labels)
        alarm = GaugeMetricFamily(
            "edgeai_alarm_state", "0 normal, 1 active, 2 latched.", labels=labels
        )
        for count, (pipeline, asset, value, state) in enumerate(self._states()):
            if count >= MAX_ASSET_SERIES:
                break
            score.add_metric([pipeline, asset], value)
            alarm.add_metric([pipeline, asset], ALARM_VALUES[state])
        yield score
        yield alarm
