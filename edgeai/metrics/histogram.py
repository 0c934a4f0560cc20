"""A histogram that observes a list of values in one call, converted when Prometheus asks.

A histogram of prometheus-client takes a lock and several calls for each value. A turn observes
five values or more.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from threading import Lock

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric

from edgeai.metrics.text_format import write_number


class Buckets:
    """The observations of one series. Any thread may observe and read."""

    __slots__ = ("_bounds", "_counts", "_lock", "_total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0
        self._lock = Lock()

    def observe(self, values: Iterable[float]) -> None:
        """Add values to their buckets."""
        with self._lock:
            for value in values:
                self._counts[bisect_left(self._bounds, value)] += 1
                self._total += value

    def read(self) -> tuple[list[int], float]:
        """Return the observations so far.

        Returns:
            The number of values in each bucket, and the sum of all values. A bucket holds the
            values up to and including its bound; the last bucket has no bound.
        """
        with self._lock:
            return self._counts.copy(), self._total


class Histogram:
    """A histogram with its series, by label values."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        """Register with Prometheus. `buckets` are upper bounds, rising, without infinity."""
        self._name = name
        self._documentation = documentation
        self._labels = list(labels)
        self._bounds = tuple(buckets)
        self._series: dict[tuple[str, ...], Buckets] = {}
        registry.register(self)

    def labels(self, *values: str) -> Buckets:
        """Return the series of these label values. The first call makes it."""
        if len(values) != len(self._labels):
            msg = f"{self._name} has the labels {self._labels}, not {len(values)} of them"
            raise ValueError(msg)
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = Buckets(self._bounds)
        return series

    def collect(self) -> Iterator[Metric]:
        """Yield the metric in prometheus-client's form, with cumulative counts."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        bounds = [write_number(bound) for bound in (*self._bounds, float("inf"))]
        for values, series in list(self._series.items()):
            counts, total = series.read()
            below = 0
            buckets = []
            for bound, count in zip(bounds, counts, strict=True):
                below += count
                buckets.append((bound, below))
            family.add_metric(values, buckets, total)
        yield family
