"""The metrics of several workers as those of one process.

A dashboard made for one process works for several: every series keeps its name and labels.
Counters and histograms are added up. The sum does not fall when a worker restarts: Prometheus
would take a fall for a counter reset and count everything again.
"""

import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from edgeai.metrics.text_format import write_number, write_text

COUNTED_BY_ALL = {
    "edgeai_broker_dropped_messages", "edgeai_messages_unrouted", "edgeai_received_bytes",
}  # fmt: skip
"""Counters of messages that every worker reads or hears of. A sum would count each message once for
each worker, so the largest value counts."""

GAUGES: dict[str, Callable[[Iterable[float]], float]] = {
    "edgeai_alarms": sum,
    "edgeai_alarms_chattering": sum,
    "edgeai_alarms_standing": sum,
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

Series = str
"""A sample's name and labels, as the text format writes them before the value."""
Values = dict[Series, float]


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
            families: dict[str, _Family] = {}
            own = write_text(self._own.collect())
            _add_counters(families, _add_text(families, own))
            for worker, start_count, text in texts:
                values = _add_text(families, text)
                self._counters.setdefault(worker, _WorkerCounters()).update(start_count, values)
            for counters in self._counters.values():
                _add_counters(families, counters.totals())
        return "".join([family.render() for family in families.values()]).encode()


class _WorkerCounters:
    """The counters and histograms of one worker, over all its starts."""

    def __init__(self) -> None:
        self._start_count = 0
        self._before: dict[str, Values] = {}
        """Totals of all earlier starts, by family."""
        self._now: dict[str, Values] = {}

    def update(self, start_count: int, values: dict[str, Values]) -> None:
        """Take the values that a worker has counted since its start."""
        if start_count < self._start_count:
            return  # a late answer of an earlier start
        if start_count > self._start_count:
            self._before = self.totals()
            self._start_count = start_count
        self._now = values

    def totals(self) -> dict[str, Values]:
        """Return the values since the first start, by family."""
        if not self._before:
            return self._now
        found = {}
        for family in {**self._before, **self._now}:
            before, now = self._before.get(family, {}), self._now.get(family, {})
            found[family] = {
                series: before.get(series, 0.0) + now.get(series, 0.0)
                for series in {**before, **now}
            }
        return found


class _Family:
    """One metric of several processes."""

    def __init__(self, name: str, kind: str, head: str) -> None:
        self._head = head
        """Its lines HELP and TYPE."""
        self._merge_gauge = GAUGES.get(name, max)
        self._is_shared = name.removesuffix("_total") in COUNTED_BY_ALL
        self.is_gauge = kind == "gauge"
        self.gauges: dict[Series, list[float]] = {}
        self.counts: Values = {}

    def add(self, values: Values) -> None:
        """Add the counters of one process."""
        counts = self.counts
        for series, value in values.items():
            known = counts.get(series, 0.0)
            counts[series] = max(known, value) if self._is_shared else known + value

    def render(self) -> str:
        """Return its lines of the text format."""
        merged = {series: self._merge_gauge(values) for series, values in self.gauges.items()}
        merged.update(self.counts)
        lines = [f"{series} {write_number(value)}\n" for series, value in merged.items()]
        return self._head + "".join(lines)


def _add_text(families: dict[str, _Family], text: str) -> dict[str, Values]:
    """Add the gauges of one process; return its counters and histograms, by family.

    The text is that of `write_text`: a line is HELP, TYPE, or a series and its value; a line
    break in a label is escaped. Splitting it takes a tenth of the time of a full parser.
    """
    counters: dict[str, Values] = {}
    help_line = ""
    family: _Family | None = None
    values: Values = {}
    for line in text.split("\n"):  # `splitlines` would also split at others, which labels may hold
        if line.startswith("# HELP "):
            help_line = line
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ", 3)
            family = families.get(name)
            if family is None:
                family = families[name] = _Family(name, kind, f"{help_line}\n{line}\n")
            if not family.is_gauge:
                values = counters[name] = {}
        elif line and family is not None:
            series, _, value = line.rpartition(" ")
            if family.is_gauge:
                family.gauges.setdefault(series, []).append(float(value))
            else:
                values[series] = float(value)
    return counters


def _add_counters(families: dict[str, _Family], counters: dict[str, Values]) -> None:
    for name, values in counters.items():
        if name in families:  # no process that answers has it: not exported now
            families[name].add(values)
