"""Make the metrics of the table."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from edgeai.metrics.counters import Counts
from edgeai.metrics.histogram import Histogram
from edgeai.metrics.table import METRICS


class Maker:
    """Makes the metrics of the table, on one registry, in the order of the scrape."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def gauge(self, name: str) -> Gauge:
        """Make a gauge."""
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
        """Make a histogram with the buckets of the table."""
        one = METRICS[name]
        return Histogram(
            one.name, one.help, one.labels, buckets=one.buckets, registry=self._registry
        )
