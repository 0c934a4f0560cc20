"""A histogram that is cheap to observe: counts in a list, put into Prometheus' form when asked.

prometheus-client takes a lock and three method calls an observation, about 1 us; a turn observes
five times. One thread observes; the thread that answers Prometheus copies the counts, and what it
gives is consistent in itself, because the total is the sum of the copied counts.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString


class Buckets:
    """The observations of one series."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """How many fell into each bucket, the last without an upper bound."""
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value; a bucket holds what is at most its bound."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class Histogram:
    """One metric with its series by labels."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        """Register with Prometheus. `buckets` are upper bounds, rising."""
        self._name = name
        self._documentation = documentation
        self._labels = list(labels)
        self._bounds = tuple(buckets)
        self._series: dict[tuple[str, ...], Buckets] = {}
        registry.register(self)

    def labels(self, *values: str) -> Buckets:
        """Return the series of some label values, made at the first call."""
        if len(values) != len(self._labels):
            msg = f"{self._name} has the labels {self._labels}, not {len(values)} of them"
            raise ValueError(msg)
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = Buckets(self._bounds)
        return series

    def collect(self) -> Iterator[Metric]:
        """Give the metric as Prometheus wants it: cumulative counts."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        bounds = [_as_text(bound) for bound in (*self._bounds, float("inf"))]
        for values, series in list(self._series.items()):
            counts, total = series.counts.copy(), series.total
            below = 0
            buckets = []
            for bound, count in zip(bounds, counts, strict=True):
                below += count
                buckets.append((bound, below))
            family.add_metric(values, buckets, total)
        yield family


def _as_text(bound: float) -> str:
    text: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
    return text
