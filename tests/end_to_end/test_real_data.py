"""Real plant data through the real broker: bad-quality texts, and a hundred channels."""

from __future__ import annotations

import csv
import json
import math
import re
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.brokers import RunningBroker
from tests.support.live import peer, running, wait_for
from tests.support.packages import write_config, write_package

pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra train")

pytestmark = [pytest.mark.broker, pytest.mark.data]

PREDICTIONS = "edgeai/test/predictions/"


def metrics_of(log: str) -> dict[str, float]:
    """Return the metrics of a runtime whose log tells its address, by series."""
    url = re.search(r"http://\S+", log)
    assert url is not None
    with urllib.request.urlopen(f"{url[0]}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {
        series: float(value)
        for series, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    }


def bibmon_rows(data: Path) -> tuple[list[str], list[list[Any]], list[str]]:
    """Return tags, rows (numbers, or the plant's texts as they are) and times."""
    with (data / "bibmon_real_process" / "real_process_data.csv").open(newline="") as file:
        table = list(csv.reader(file))

    def cell(text: str) -> Any:
        try:
            return float(text)
        except ValueError:
            return text

    return (
        table[0][1:],
        [[cell(c) for c in row[1:]] for row in table[1:]],
        [r[0] for r in table[1:]],
    )


def pca_package(folder: Path, tags: list[str], rows: list[list[Any]]) -> None:
    """Write a PCA package trained on the rows that are all numbers, of the first thousand."""
    from edgeai.training.anomaly.pca import fit_pca, pca_outputs
    from edgeai.training.anomaly.pca_graph import pca_graph
    from edgeai.training.write import write_package as write_trained

    clean = [row for row in rows[:1000] if all(isinstance(value, float) for value in row)]
    # Some tags stand still in this part: a little noise gives them a scale.
    noise = np.random.default_rng(0).normal(0, 0.05, (len(clean), len(tags)))
    windows = (np.array(clean) + noise).astype(np.float32)[:, np.newaxis, :]
    model = fit_pca(windows, statistic="combined", variance_share=0.9)
    golden = windows[:64]
    draft = {
        "format": 1,
        "name": folder.name,
        "version": "1.0.0",
        "task": "anomaly",
        "description": "PCA of a real process, for tests",
        "signals": [{"name": tag, "unit": "1"} for tag in tags],
        "sample_rate_hz": 1 / 300,
        "window": {"length": 1, "hop": 1},
        "outputs": [
            {"name": "score", "unit": "1", "meaning": "combined index", "role": "score"},
            {"name": "contribution", "unit": "1", "meaning": "by tag", "role": "contribution"},
            {"name": "t2", "unit": "1", "meaning": "T²"},
            {"name": "q", "unit": "1", "meaning": "Q"},
        ],
        "threshold": {"value": 2.0, "method": "chosen", "data": "none"},
        "alarm": {},
        "training": {"data": "BibMon"},
    }
    write_trained(folder, draft, pca_graph(model), golden, reference=pca_outputs(model, golden))


def test_plant_data_with_bad_quality_texts(
    tmp_path: Path, broker: RunningBroker, data: Path
) -> None:
    tags, rows, times = bibmon_rows(data)
    assert (len(rows), len(tags)) == (3169, 108)
    pca_package(tmp_path / "plant", tags, rows)
    config = write_config(
        tmp_path / "config.yaml",
        broker.port,
        {
            "plant": {
                "model": "plant",
                "source": {
                    "topic": "plant/{asset}/tags",
                    "qos": 1,
                    "time": {"path": "time", "unit": "iso", "zone": "UTC"},
                    "values_path": "tags",
                },
                "publish": {"qos": 1},
            }
        },
        http={"enabled": True, "port": 0},
    )
    bad = [[isinstance(value, str) for value in row] for row in rows]
    # Until each tag has had one good value there is nothing to hold, and no prediction.
    first = max(next(i for i in range(len(rows)) if not bad[i][tag]) for tag in range(len(tags)))
    assert first == 1
    with peer(broker.port, "edgeai/#") as other, running(config) as edgeai:
        for time, row in zip(times, rows, strict=True):
            message = {"time": time, "tags": dict(zip(tags, row, strict=True))}
            other.client.publish("plant/unit-1/tags", json.dumps(message), 1)
        wait_for(lambda: len(other.raw(PREDICTIONS)) >= len(rows) - first, "predictions", 60)
        predictions = other.topics(PREDICTIONS)
        made = 'edgeai_predictions_total{pipeline="plant",quality="good"}'
        good = sum(p["quality"] == "good" for p in predictions)
        wait_for(lambda: metrics_of(edgeai.log)[made] == good, "the counts")
        metrics = metrics_of(edgeai.log)
        assert edgeai.stop() == 0
    assert len(predictions) == len(rows) - first
    expected = ["uncertain" if any(row) else "good" for row in bad[first:]]
    assert [p["quality"] for p in predictions] == expected
    assert all(p["score"] is not None and math.isfinite(p["score"]) for p in predictions)
    assert all(p["alarm"] in {"normal", "active"} for p in predictions)
    texts = sum(map(sum, bad))
    assert texts == 498
    assert metrics['edgeai_invalid_values_total{pipeline="plant",reason="not_a_number"}'] == texts
    assert metrics['edgeai_dropped_total{pipeline="plant",reason="invalid_value"}'] == first
    assert metrics['edgeai_scores_not_finite_total{pipeline="plant"}'] == 0
    counted = sum(v for k, v in metrics.items() if k.startswith("edgeai_predictions_total"))
    assert counted == len(predictions)


def stream_all(
    tmp_path: Path, broker: RunningBroker, names: list[str], values: np.ndarray, rate_hz: float
) -> list[dict[str, Any]]:
    """Send a table through the runtime at QoS 1 and return the predictions."""
    write_package(tmp_path / "wide", signals=names, length=10, hop=1, rate_hz=rate_hz)
    source = {
        "topic": "line/{asset}/row",
        "qos": 1,
        "time": {"path": "t", "unit": "ms"},
        "values_path": "v",
    }
    config = write_config(
        tmp_path / "config.yaml",
        broker.port,
        {"wide": {"model": "wide", "source": source, "publish": {"qos": 1}}},
    )
    step_ms = round(1000 / rate_hz)
    with peer(broker.port, PREDICTIONS + "#") as other, running(config) as edgeai:
        for index, row in enumerate(values.tolist()):
            message = {
                "t": 1_700_000_000_000 + index * step_ms,
                "v": dict(zip(names, row, strict=True)),
            }
            other.client.publish("line/m/row", json.dumps(message), 1)
        wanted = len(values) - 9
        wait_for(lambda: len(other.heard) >= wanted, f"{wanted} predictions", 60)
        assert edgeai.stop() == 0
        return other.topics(PREDICTIONS)


def check_scores(predictions: list[dict[str, Any]], values: np.ndarray) -> None:
    """None lost, none doubled, in order, and the values right."""
    assert len(predictions) == len(values) - 9
    windows = np.lib.stride_tricks.sliding_window_view(values.astype(np.float64), 10, axis=0)
    expected = windows.mean(axis=2).sum(axis=1)
    scale = np.abs(windows).mean(axis=2).sum(axis=1)
    scores = np.array([p["score"] for p in predictions])
    assert (np.abs(scores - expected) <= 1e-5 * scale).all()
    times = [p["timestamp"] for p in predictions]
    assert times == sorted(set(times))
    assert {p["quality"] for p in predictions} == {"good"}


def test_47_channels_of_a_milling_machine(
    tmp_path: Path, broker: RunningBroker, data: Path
) -> None:
    folder = data / "cnc_mill_tool_wear"
    table = pq.read_table(sorted(folder.glob("experiment_*.parquet"))[0])
    names = [name for name in table.schema.names if name != "Machining_Process"]
    assert len(names) == 47
    values = np.column_stack([table[name].to_numpy() for name in names])
    check_scores(stream_all(tmp_path, broker, names, values, 10.0), values)


def test_130_channels_of_a_robot(tmp_path: Path, broker: RunningBroker, data: Path) -> None:
    table = pq.read_table(data / "voraus_ad_sample" / "sample_100hz.parquet")
    names = table.schema.names[8:]
    assert len(names) == 130
    values = np.column_stack([table[name].to_numpy() for name in names]).astype(np.float64)
    check_scores(stream_all(tmp_path, broker, names, values, 100.0), values)
