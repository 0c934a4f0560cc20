"""The text for Prometheus is that of prometheus-client."""

from __future__ import annotations

import math

import prometheus_client
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from edgeai.metrics.assets import AssetState, OutputValue
from edgeai.metrics.definitions import Metrics, WorkerMetrics
from edgeai.metrics.text_format import write_text

LABELS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


class Fixed:
    """A collector of these families."""

    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> tuple[Metric, ...]:
        return self._families


def texts(*families: Metric) -> tuple[str, str]:
    """The text of families, by edgeai and by prometheus-client."""
    registry = CollectorRegistry()
    registry.register(Fixed(*families))
    return write_text(registry.collect()), generate_latest(registry).decode()


def test_the_text_of_a_node_with_all_metrics() -> None:
    metrics = Metrics()
    WorkerMetrics(metrics, 2)
    pipeline = metrics.of_pipeline("p", "model", "cpu")
    metrics.session_info("p", "model", "1.0.0", provider="cpu", requested="npu", reason='a "b"\\\n')
    pipeline.inference["cpu"].observe([0.0003, 3, 1e9])
    pipeline.drops["late"] += 12_345_678
    metrics.watch_assets(
        lambda: [
            AssetState(
                "p", "m", "current", score=math.nan, alarm="active", threshold=-math.inf,
                last_sample_seconds=1_763_719_203.25, alarm_since_seconds=1e18, quality="bad",
                diagnosis="drift", top=[("s", 1e-9)],
                outputs=lambda: [OutputValue("o", "03", "value", "°C", 1.0)],
            )
        ]
    )  # fmt: skip
    metrics.registry.unregister(next(iter(_process_collectors(metrics.registry))))
    assert metrics.render() == generate_latest(metrics.registry)


def _process_collectors(registry: CollectorRegistry) -> list[prometheus_client.ProcessCollector]:
    """Their values differ from one scrape to the next."""
    found = list(registry._collector_to_names)
    return [one for one in found if isinstance(one, prometheus_client.ProcessCollector)]


def test_the_process_metrics_are_written_alike() -> None:
    class Once(prometheus_client.ProcessCollector):
        """Reads once."""

        families: list[Metric] | None = None

        def collect(self) -> list[Metric]:
            self.families = self.families or list(super().collect())
            return self.families

    registry = CollectorRegistry()
    Once(registry=registry)
    assert write_text(registry.collect()) == generate_latest(registry).decode()


@given(LABELS, LABELS, st.floats(), LABELS)
def test_any_label_and_value(one: str, other: str, value: float, help_text: str) -> None:
    gauge = GaugeMetricFamily("g", help_text or "h", labels=["z", "a"])
    gauge.add_metric([one, other], value)
    counter = CounterMetricFamily("c", "Counts.", value=abs(value))
    ours, theirs = texts(gauge, counter)
    assert ours == theirs
