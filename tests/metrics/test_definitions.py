"""Metrics: the table, closed sets of labels, bounded series, valid names."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from edgeai import __version__
from edgeai.alarms.commands import COMMANDS
from edgeai.engine.alarm_commands import UNKNOWN_COMMAND
from edgeai.errors import DROP_REASONS
from edgeai.metrics.assets import AlarmCounts, AssetState, OutputValue
from edgeai.metrics.counters import Counts
from edgeai.metrics.definitions import Metrics, WorkerMetrics
from edgeai.metrics.histogram import Histogram
from edgeai.metrics.table import (
    ALARM_COMMANDS,
    INVALID_REASONS,
    LABELS,
    MAX_ASSET_SERIES,
    METRICS,
    RESET_REASONS,
    UNROUTED_REASONS,
)
from tests.support.paths import REPOSITORY


def asset(name: str, presence: str = "current", **fields: Any) -> AssetState:
    given = {"score": 1.0, "alarm": "normal", "threshold": 2.0, "last_sample_seconds": 5.0}
    return AssetState("p", name, presence, **{**given, **fields})


def asset_with_all(name: str) -> AssetState:
    """An asset that has a series of every metric."""
    return asset(
        name, alarm="active", alarm_since_seconds=4.0, quality="good", diagnosis="drift",
        operating="a", operating_names=["a"], status="unacknowledged",
        top=[("s", 1.0)], outputs=lambda: [OutputValue("o", "value", "value", "K", 1.0)],
    )  # fmt: skip


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    metrics.of_pipeline("p", "model", "cpu")
    metrics.session_info("p", "model", "1.0.0", provider="cpu", requested="cpu", reason="")
    metrics.model_signed.labels("p", "model", "").set(0)
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
    assert set(ALARM_COMMANDS) == {*COMMANDS, UNKNOWN_COMMAND}
    for command in ALARM_COMMANDS:
        for result in ("ok", "refused"):
            labels = {"command": command, "result": result}
            assert metrics.registry.get_sample_value("edgeai_alarm_commands_total", labels) == 0
    for reason in UNROUTED_REASONS:
        labels = {"reason": reason}
        assert metrics.registry.get_sample_value("edgeai_messages_unrouted_total", labels) == 0


def test_the_exported_metrics_are_those_of_the_table(metrics: Metrics) -> None:
    WorkerMetrics(metrics, 2)
    metrics.failovers.labels("p", "crashed")
    for one in (metrics.readmissions, metrics.parity_failures, metrics.degraded):
        one.labels("p")
    metrics.watch_assets(lambda: [asset_with_all("m")])
    metrics.watch_clocks(lambda: [("p", "m", 0.5)])
    metrics.watch_alarms(lambda: [AlarmCounts("p", "line", {}, 0, 0)])
    metrics.of_alarms("p", "line", "high")
    metrics.export_bounds([("p", "o", "low", 1.0)])
    metrics.certificate_expires("broker", 1.0)
    pipeline = metrics.of_pipeline("p", "model", "cpu", has_cycles=True)
    pipeline.count_states({"stopped": 0}, lambda: 0)
    pipeline.last_message(), pipeline.expected()
    metrics.of_answer("p", "plc")
    families = {one.name: one for one in metrics.registry.collect() if one.name[:7] == "edgeai_"}
    exported = {}
    for name, family in families.items():
        full_name = f"{name}_total" if family.type == "counter" else name
        labels = tuple(label for label in family.samples[0].labels if label != "le")
        exported[full_name] = (family.type, labels, family.documentation)
    assert exported == {name: (one.kind, one.labels, one.help) for name, one in METRICS.items()}


def test_the_page_is_what_the_script_writes() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/write_metrics.py", "--check"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (REPOSITORY / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(edgeai_\w+)` \| (\w+) \| ([^|]+) \| ([^|]*) \|", page, re.MULTILINE)
    documented = {
        name: (kind, unit.strip(), tuple(re.findall(r"\w+", labels)))
        for name, kind, unit, labels in rows
    }
    assert documented == {
        name: (one.kind, one.unit or "1", one.labels) for name, one in METRICS.items()
    }


def test_every_label_is_explained_and_every_unit_is_in_the_name() -> None:
    used = {label for one in METRICS.values() for label in one.labels}
    assert used == set(LABELS)
    assert METRICS["edgeai_turn_seconds"].unit == "seconds"
    assert METRICS["edgeai_received_bytes_total"].unit == "bytes"
    assert METRICS["edgeai_last_message_timestamp_seconds"].unit.startswith("seconds since")
    assert METRICS["edgeai_dropped_total"].unit == "count"
    assert METRICS["edgeai_score"].unit == ""


def test_labels_are_bounded(metrics: Metrics) -> None:
    known = {
        "pipeline", "model", "version", "provider", "requested", "reason", "quality", "state", "le",
        "asset", "kind", "signal", "output", "element", "role", "unit", "bound", "outcome",
        "command", "result", "status", "priority", "position",
        "key",
    }  # fmt: skip
    metrics.watch_assets(lambda: [asset_with_all("m")])
    metrics.export_bounds([("p", "o", "low", 1.0)])
    used = {
        label
        for family in metrics.registry.collect()
        if family.name.startswith("edgeai_")
        for sample in family.samples
        for label in sample.labels
    }
    assert used == known


def test_counts_are_read_at_the_scrape(metrics: Metrics) -> None:
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


def test_an_unknown_reason_raises_instead_of_making_a_series(metrics: Metrics) -> None:
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


def test_assets_are_read_at_the_scrape_and_bounded() -> None:
    metrics = Metrics()
    states: list[AssetState] = []
    metrics.watch_assets(lambda: states)
    assert b"edgeai_score{" not in metrics.render()
    states += [asset('a"\\\n°', score=float("nan"), alarm="latched")]
    states += [asset(f"m{number}", score=float(number)) for number in range(MAX_ASSET_SERIES)]
    families = {one.name: one for one in text_string_to_metric_families(metrics.render().decode())}
    score, alarm = families["edgeai_score"].samples, families["edgeai_alarm_state"].samples
    assert len(score) == len(alarm) == MAX_ASSET_SERIES
    assert alarm[0].labels == {"pipeline": "p", "asset": 'a"\\\n°'}
    assert alarm[0].value == 2
    assert score[0].value != score[0].value
    assert (score[-1].labels["asset"], score[-1].value) == ("m498", 498)


@pytest.mark.parametrize(
    ("presence", "alarm", "exported"),
    [
        ("current", "normal", {"asset_state": 1, "score": 1, "alarm_state": 0}),
        ("current", "active", {"asset_state": 1, "score": 1, "alarm_state": 1}),
        ("stale", "normal", {"asset_state": 2}),
        ("stale", "active", {"asset_state": 2, "alarm_state": 1}),
        ("unknown", "normal", {"asset_state": 0}),
        ("unknown", "latched", {"asset_state": 0, "alarm_state": 2}),
    ],
)
def test_only_a_current_asset_has_a_score_and_a_normal_alarm(
    presence: str, alarm: str, exported: dict[str, float]
) -> None:
    metrics = Metrics()
    metrics.watch_assets(lambda: [asset("m", presence, alarm=alarm)])
    labels = {"pipeline": "p", "asset": "m"}
    names = ("asset_state", "score", "alarm_state", "threshold", "last_sample_timestamp_seconds")
    values = {n: metrics.registry.get_sample_value(f"edgeai_{n}", labels) for n in names}
    always = {"threshold": 2.0, "last_sample_timestamp_seconds": 5.0}
    assert {n: v for n, v in values.items() if v is not None} == {**exported, **always}


def test_an_asset_without_a_sample_has_no_time() -> None:
    metrics = Metrics()
    metrics.watch_assets(lambda: [asset("m", "unknown", last_sample_seconds=None)])
    assert b"edgeai_last_sample_timestamp_seconds{" not in metrics.render()


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
