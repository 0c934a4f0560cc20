"""Counters that are cheap to count: plain numbers, put into Prometheus' form when asked.

prometheus-client takes a lock and half a dozen calls to count, about 1 us, and more with cold
caches. One thread counts here; the thread that answers Prometheus only reads, and each number by
itself never falls.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric


class Count:
    """One number that only rises."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        """Count."""
        self.value += amount


class Counts:
    """One metric with its series by labels."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        registry: CollectorRegistry,
    ) -> None:
        """Register with Prometheus, under a name that ends in `_total`."""
        self._name = name
        self._documentation = documentation
        self._labels = list(labels)
        self._series: dict[tuple[str, ...], Count] = {}
        self._tallies: dict[tuple[str, ...], Callable[[], Mapping[str, int]]] = {}
        registry.register(self)

    def labels(self, *values: str) -> Count:
        """Return the series of some label values, made at the first call."""
        self._check(len(values))
        return self._series.setdefault(values, Count())

    def watch(self, *values: str, read: Callable[[], Mapping[str, int]]) -> None:
        """Take numbers by the value of the last label from a function, for some of the others.

        Args:
            values: Of the labels before the last.
            read: Called whenever Prometheus asks, in the thread that answers it.
        """
        self._check(len(values) + 1)
        self._tallies[values] = read

    def collect(self) -> Iterator[Metric]:
        """Give the metric as Prometheus wants it."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, count in list(self._series.items()):
            family.add_metric(values, count.value)
        for values, read in list(self._tallies.items()):
            for last, number in list(read().items()):
                family.add_metric([*values, last], number)
        yield family

    def _check(self, count: int) -> None:
        if count != len(self._labels):
            msg = f"{self._name} has the labels {self._labels}, not {count} of them"
            raise ValueError(msg)
