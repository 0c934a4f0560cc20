"""Metrics: one place, closed label sets, bounded series, names as Prometheus asks for."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from edgeai import __version__
from edgeai.errors import DROP_REASONS
from edgeai.metrics.counters import Counts
from edgeai.metrics.definitions import (
    INVALID_REASONS,
    MAX_ASSET_SERIES,
    RESET_REASONS,
    AssetState,
    Metrics,
)
from edgeai.metrics.histogram import Histogram


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    metrics.of_pipeline("p", "model", "cpu")
    metrics.session_info("p", "model", "1.0.0", provider="cpu", requested="cpu", reason="")
    return metrics


def test_the_text_is_read_back(metrics: Metrics) -> None:
    families = {one.name: one for one in text_string_to_metric_families(metrics.render().decode())}
    assert families["edgeai_build_info"].samples[0].labels == {"version": __version__}
    assert families["edgeai_session_info"].samples[0].labels["requested"] == "cpu"
    ours = [name for name in families if not name.startswith(("process_", "python_"))]
    assert all(re.fullmatch(r"edgeai_[a-z_]+", name) for name in ours)
    assert all(families[name].documentation for name in ours)


def test_every_series_of_a_pipeline_is_there_at_zero(metrics: Metrics) -> None:
    """An alert on a rate needs the series before its first count."""
    expected = {
        "dropped": ("reason", DROP_REASONS),
        "invalid_values": ("reason", INVALID_REASONS),
        "window_resets": ("reason", RESET_REASONS),
        "predictions": ("quality", ("good", "uncertain", "bad")),
        "alarm_transitions": ("state", ("normal", "active", "latched")),
    }
    for name, (label, values) in expected.items():
        for value in values:
            labels = {"pipeline": "p", label: value}
            assert metrics.registry.get_sample_value(f"edgeai_{name}_total", labels) == 0
    for reason in ("unexpected_topic", "invalid_topic", "too_large"):
        labels = {"reason": reason}
        assert metrics.registry.get_sample_value("edgeai_messages_unrouted_total", labels) == 0


def test_labels_are_bounded(metrics: Metrics) -> None:
    known = {
        "pipeline", "model", "version", "provider", "requested", "reason", "quality", "state", "le",
        "asset",
    }  # fmt: skip
    metrics.watch_assets(lambda: [("p", "m", 1.0, "normal")])
    used = {
        label
        for family in metrics.registry.collect()
        if family.name.startswith("edgeai_")
        for sample in family.samples
        for label in sample.labels
    }
    assert used == known


def test_what_is_counted_is_read_when_asked(metrics: Metrics) -> None:
    pipeline = metrics.of_pipeline("p", "model", "cpu")
    decoder, conditioner = Counter({"not_a_number": 2}), Counter[str]()
    pipeline.count_invalid([pipeline.invalid, decoder, conditioner])
    labels = {"pipeline": "p", "reason": "late"}
    value = metrics.registry.get_sample_value
    for total in (2, 4, 6):
        pipeline.drops["late"] += 2
        pipeline.messages.inc(3)
        pipeline.invalid["missing"] += 1
        decoder["not_finite"] += 1
        conditioner["not_finite"] += 1
        assert value("edgeai_dropped_total", labels) == total
        assert value("edgeai_pipeline_messages_total", {"pipeline": "p"}) == 3 * total / 2
        invalid = [
            value("edgeai_invalid_values_total", {"pipeline": "p", "reason": reason})
            for reason in ("missing", "not_a_number", "not_finite", "out_of_range")
        ]
        assert invalid == [total / 2, 2, total, 0]


def test_a_reason_outside_the_set_is_a_fault_not_a_series(metrics: Metrics) -> None:
    pipeline = metrics.of_pipeline("p", "model", "cpu")
    for tally in (pipeline.drops, pipeline.resets, pipeline.alarms, pipeline.predictions):
        with pytest.raises(KeyError):
            tally["something"] += 1


def test_a_series_has_all_its_labels(metrics: Metrics) -> None:
    counts = Counts("edgeai_x", "X.", ["pipeline", "reason"], registry=metrics.registry)
    with pytest.raises(ValueError, match="edgeai_x"):
        counts.labels("p")
    with pytest.raises(ValueError, match="edgeai_x"):
        counts.watch("p", "late", read=dict)


def test_assets_are_read_when_asked_and_bounded() -> None:
    metrics = Metrics()
    states: list[AssetState] = []
    metrics.watch_assets(lambda: states)
    assert b"edgeai_score{" not in metrics.render()
    states += [("p", 'a"\\\n°', float("nan"), "latched")]
    states += [("p", f"m{number}", float(number), "normal") for number in range(MAX_ASSET_SERIES)]
    families = {one.name: one for one in text_string_to_metric_families(metrics.render().decode())}
    score, alarm = families["edgeai_score"].samples, families["edgeai_alarm_state"].samples
    assert len(score) == len(alarm) == MAX_ASSET_SERIES
    assert alarm[0].labels == {"pipeline": "p", "asset": 'a"\\\n°'}
    assert alarm[0].value == 2
    assert score[0].value != score[0].value
    assert (score[-1].labels["asset"], score[-1].value) == ("m498", 498)


def test_two_runtimes_do_not_share_counts() -> None:
    one, other = Metrics(), Metrics()
    one.received.inc(5)
    assert other.registry.get_sample_value("edgeai_messages_received_total") == 0


def test_a_value_falls_into_the_bucket_that_it_does_not_exceed() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("h", "For a test.", buckets=(1, 2, 4), registry=registry)
    histogram.labels().observe([0, 1])
    histogram.labels().observe([1.5, 9])
    buckets = {le: registry.get_sample_value("h_bucket", {"le": le}) for le in ("1.0", "2.0")}
    assert buckets == {"1.0": 2, "2.0": 3}
    assert registry.get_sample_value("h_bucket", {"le": "4.0"}) == 3
    assert registry.get_sample_value("h_bucket", {"le": "+Inf"}) == 4
    assert registry.get_sample_value("h_count") == 4
    assert registry.get_sample_value("h_sum") == 11.5
