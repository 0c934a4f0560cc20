"""The metrics of several workers as those of one process.

A dashboard made for one process works for several: every series keeps its name and labels.
Counters and histograms are added up. The sum does not fall when a worker restarts: Prometheus
would take a fall for a counter reset and count everything again.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import prometheus_client
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

COUNTED_BY_ALL = {
    "edgeai_broker_dropped_messages", "edgeai_messages_unrouted", "edgeai_received_bytes",
}  # fmt: skip
"""Counters of messages that every worker reads or hears of. A sum would count each message once for
each worker, so the largest value counts."""

GAUGES: dict[str, Callable[[Iterable[float]], float]] = {
    "edgeai_assets_without_detail": sum,
    "edgeai_broker_connected": min,
    "edgeai_certificate_expiry_timestamp_seconds": min,
    "edgeai_publications_waiting": sum,
    "edgeai_pipeline_ready": min,
    "edgeai_ready": min,
    "edgeai_stale_assets": sum,
    "edgeai_streams": sum,
    "process_max_fds": min,
    "process_open_fds": sum,
    "process_resident_memory_bytes": sum,
    "process_start_time_seconds": min,
    "process_virtual_memory_bytes": sum,
}
"""How the workers' values of a gauge become one. Of all other gauges the largest value counts:
times, facts whose value is 1, and values that only one worker has, such as an asset's score."""

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A sample's name and labels."""


class WorkerText(NamedTuple):
    """The answer of one worker to `/metrics`."""

    worker: int
    start_count: int
    """How often the worker has been started; each start sets its counters to zero."""
    text: str


class MergedMetrics:
    """The metrics of all processes of a node."""

    def __init__(self, own: CollectorRegistry) -> None:
        """Prepare.

        Args:
            own: The metrics of this process, which are merged like a worker's.
        """
        self._own = own
        self._lock = threading.Lock()
        self._counters: dict[int, _WorkerCounters] = {}

    def render(self, texts: Iterable[WorkerText]) -> bytes:
        """Return the merged metrics in the Prometheus text format.

        Args:
            texts: The answers. Counters of a worker without one keep their last value; its gauges
                are absent.
        """
        with self._lock:  # two scrapes may run at once, and `_counters` keeps values between them
            merged = _Merged()
            merged.add_counters(merged.add_gauges(self._own.collect()))
            for worker, start_count, text in texts:
                values = merged.add_gauges(text_string_to_metric_families(text))
                self._counters.setdefault(worker, _WorkerCounters()).update(start_count, values)
            for counters in self._counters.values():
                merged.add_counters(counters.totals())
        registry = CollectorRegistry()
        registry.register(merged)
        return prometheus_client.generate_latest(registry)


class _WorkerCounters:
    """The counters of one worker, over all its starts."""

    def __init__(self) -> None:
        self._start_count = 0
        self._before: dict[Series, float] = {}
        """Totals of all earlier starts."""
        self._now: dict[Series, float] = {}

    def update(self, start_count: int, values: dict[Series, float]) -> None:
        """Take the values that a worker has counted since its start."""
        if start_count < self._start_count:
            return  # a late answer of an earlier start
        if start_count > self._start_count:
            self._before = self.totals()
            self._start_count = start_count
        self._now = values

    def totals(self) -> dict[Series, float]:
        """Return the values since the first start."""
        keys = {**self._before, **self._now}
        return {key: self._before.get(key, 0.0) + self._now.get(key, 0.0) for key in keys}


class _Merged(Collector):
    """Metric families of several processes, added one process at a time."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}
        self._family_of_sample: dict[str, str] = {}
        """Name of the family by the name of a sample."""
        self._gauges: dict[Series, list[float]] = {}
        self._counters: dict[Series, float] = {}

    def add_gauges(self, families: Iterable[Metric]) -> dict[Series, float]:
        """Add the gauges of one process; return its counters and histograms."""
        counters = {}
        for family in families:
            if family.name not in self._families:
                copy = Metric(family.name, family.documentation, family.type)
                self._families[family.name] = copy
            for sample in family.samples:
                self._family_of_sample[sample.name] = family.name
                series = sample.name, tuple(sample.labels.items())
                if family.type == "gauge":
                    self._gauges.setdefault(series, []).append(sample.value)
                else:
                    counters[series] = sample.value
        return counters

    def add_counters(self, counters: dict[Series, float]) -> None:
        """Add the counters and histograms of one process."""
        for series, value in counters.items():
            known = self._counters.get(series, 0.0)
            shared = self._family_of_sample.get(series[0]) in COUNTED_BY_ALL
            self._counters[series] = max(known, value) if shared else known + value

    def collect(self) -> Iterator[Metric]:
        """Yield the families in the order in which they were added."""
        for (name, labels), values in self._gauges.items():
            family = self._family_of_sample[name]
            value = GAUGES.get(family, max)(values)
            self._families[family].add_sample(name, dict(labels), value)
        for (name, labels), value in self._counters.items():
            if name in self._family_of_sample:
                self._families[self._family_of_sample[name]].add_sample(name, dict(labels), value)
        yield from self._families.values()
