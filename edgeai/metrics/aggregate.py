"""The metrics of several workers as those of one process.

A dashboard made for one process works for many: every series keeps its name and labels. Counters
and histograms are added up and never fall when a worker starts anew, because Prometheus would take
the fall of a sum for a reset and count everything again.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import prometheus_client
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

SEEN_BY_ALL = {"edgeai_messages_unrouted", "edgeai_received_bytes"}
"""Counters of what every worker reads alike: the sum would count each message once a worker."""

GAUGES: dict[str, Callable[[Iterable[float]], float]] = {
    "edgeai_broker_connected": min,
    "edgeai_publications_waiting": sum,
    "edgeai_streams": sum,
    "process_max_fds": min,
    "process_open_fds": sum,
    "process_resident_memory_bytes": sum,
    "process_start_time_seconds": min,
    "process_virtual_memory_bytes": sum,
}
"""How gauges of one series become one; all others, the largest: times, facts that are 1, and what
only one worker has, such as an asset's score."""

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A sample's name and labels."""


class Text(NamedTuple):
    """The metrics of one worker, as it gives them."""

    worker: int
    incarnation: int
    """Grows with each start of the worker: its counters begin anew then."""
    text: str


class MergedMetrics:
    """The metrics of all processes of a node."""

    def __init__(self, own: CollectorRegistry) -> None:
        """Begin with the registry of this process, whose metrics count as one more worker's."""
        self._own = own
        self._lock = threading.Lock()
        self._counts: dict[int, _Counts] = {}

    def render(self, texts: Iterable[Text]) -> bytes:
        """Return the text format; a worker without a text keeps its counters, and has no gauges."""
        with self._lock:  # two may ask at the same time, and the counts have a history
            merged = _Merged()
            merged.add_counts(merged.add_gauges(self._own.collect()))
            for worker, incarnation, text in texts:
                counts = merged.add_gauges(text_string_to_metric_families(text))
                self._counts.setdefault(worker, _Counts()).take(incarnation, counts)
            for known in self._counts.values():
                merged.add_counts(known.totals())
        registry = CollectorRegistry()
        registry.register(merged)
        return prometheus_client.generate_latest(registry)


class _Counts:
    """The counters of one worker, over all its incarnations."""

    def __init__(self) -> None:
        self._incarnation = 0
        self._before: dict[Series, float] = {}
        self._now: dict[Series, float] = {}

    def take(self, incarnation: int, counts: dict[Series, float]) -> None:
        """Note what a worker has counted since its start."""
        if incarnation < self._incarnation:
            return  # an answer that came late
        if incarnation > self._incarnation:
            self._before = self.totals()
            self._incarnation = incarnation
        self._now = counts

    def totals(self) -> dict[Series, float]:
        """Return what it has counted since the first start."""
        keys = {**self._before, **self._now}
        return {key: self._before.get(key, 0.0) + self._now.get(key, 0.0) for key in keys}


class _Merged(Collector):
    """Families being put together."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}
        self._of_sample: dict[str, str] = {}
        """Family by the name of a sample."""
        self._gauges: dict[Series, list[float]] = {}
        self._counts: dict[Series, float] = {}

    def add_gauges(self, families: Iterable[Metric]) -> dict[Series, float]:
        """Take the gauges of one process; return its counters and histograms."""
        counts = {}
        for family in families:
            if family.name not in self._families:
                copy = Metric(family.name, family.documentation, family.type)
                self._families[family.name] = copy
            for sample in family.samples:
                self._of_sample[sample.name] = family.name
                series = sample.name, tuple(sample.labels.items())
                if family.type == "gauge":
                    self._gauges.setdefault(series, []).append(sample.value)
                else:
                    counts[series] = sample.value
        return counts

    def add_counts(self, counts: dict[Series, float]) -> None:
        """Add the counters and histograms of one process."""
        for series, value in counts.items():
            known = self._counts.get(series, 0.0)
            alike = self._of_sample.get(series[0]) in SEEN_BY_ALL
            self._counts[series] = max(known, value) if alike else known + value

    def collect(self) -> Iterator[Metric]:
        """Give the families, in the order in which they came."""
        for (name, labels), values in self._gauges.items():
            family = self._of_sample[name]
            value = GAUGES.get(family, max)(values)
            self._families[family].add_sample(name, dict(labels), value)
        for (name, labels), value in self._counts.items():
            if name in self._of_sample:
                self._families[self._of_sample[name]].add_sample(name, dict(labels), value)
        yield from self._families.values()
