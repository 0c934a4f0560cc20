"""Counters with a cheap increment: plain numbers, converted when Prometheus asks.

A counter of prometheus-client takes a lock and several calls for each increment. Here one thread
increments without a lock. The thread that answers Prometheus only reads, and no number ever falls.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric


class Count:
    """One number that only rises. One thread may increment it."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        """Add `amount`."""
        self.value += amount


class Counts:
    """A counter with its series, by label values."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        registry: CollectorRegistry,
    ) -> None:
        """Register with Prometheus. The exported name ends in `_total`."""
        self._name = name
        self._documentation = documentation
        self._labels = list(labels)
        self._series: dict[tuple[str, ...], Count] = {}
        self._tallies: dict[tuple[str, ...], Callable[[], Mapping[str, int]]] = {}
        self._numbers: dict[tuple[str, ...], Callable[[], int]] = {}
        registry.register(self)

    def labels(self, *values: str) -> Count:
        """Return the series of these label values. The first call makes it."""
        self._check(len(values))
        return self._series.setdefault(values, Count())

    def watch(self, *values: str, read: Callable[[], Mapping[str, int]]) -> None:
        """Read the series of these label values from a function, at each scrape.

        Args:
            values: The values of all labels but the last.
            read: Returns the numbers by the value of the last label. It is called in the thread
                that answers Prometheus.
        """
        self._check(len(values) + 1)
        self._tallies[values] = read

    def watch_one(self, *values: str, read: Callable[[], int]) -> None:
        """Read one series from a function, at each scrape, as `watch` does."""
        self._check(len(values))
        self._numbers[values] = read

    def collect(self) -> Iterator[Metric]:
        """Yield the metric in prometheus-client's form."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, count in list(self._series.items()):
            family.add_metric(values, count.value)
        for values, read_one in list(self._numbers.items()):
            family.add_metric(values, read_one())
        for values, read in list(self._tallies.items()):
            for last, number in list(read().items()):
                family.add_metric([*values, last], number)
        yield family

    def _check(self, count: int) -> None:
        if count != len(self._labels):
            msg = f"{self._name} has the labels {self._labels}, not {count} of them"
            raise ValueError(msg)
