"""Samples that are lost on the way must not look like a fault of the machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgeai.assembly.plan import check
from edgeai.plant.simulate import simulate
from edgeai.testing import MemoryNode, build_package
from edgeai.testing import write_config as write_memory_config
from tests.support.engine import Node
from tests.support.packages import write_config

MINUTES = 15


def test_a_healthy_machine_that_loses_samples_raises_no_alarm(tmp_path: Path) -> None:
    """Of three hours, 1 % lost raised 11 alarms and 5 % raised 270 when they were not filled."""
    recording = simulate("moulding", MINUTES * 60, 1, start_ns=1763719200 * 10**9)
    names = [signal.name for signal in recording.signals]
    source = {"topic": "f/{asset}", "time": {"path": "t", "unit": "ns"}, "values_path": "v"}
    alarms = {}
    for missing in ("linear", "mark"):
        pipeline = {"model": "moulding-pca", "source": source, "stream": {"missing": missing}}
        node = Node(check(write_config(tmp_path / f"{missing}.yaml", 1, {"p": pipeline})))
        kept = np.random.default_rng(7).random(len(recording.times_ns)) >= 0.05
        kept[[0, -1]] = True
        rows = zip(recording.times_ns.tolist(), recording.values.tolist(), kept, strict=True)
        messages = [
            ("f/m", json.dumps({"t": t, "v": dict(zip(names, row, strict=True))}).encode(), t, 0)
            for t, row, is_kept in rows
            if is_kept
        ]
        node.turns(*[messages[begin : begin + 500] for begin in range(0, len(messages), 500)])
        node.finish()
        lost = int((~kept).sum())
        gaps = node.counts("window_resets", "reason").get("gap", 0)
        counted = node.value("samples_missing_total", pipeline="p")
        assert lost - 12 * gaps <= counted <= lost
        predictions = node.predictions()
        assert len(predictions) > 0.9 * len(kept) / 4
        above = [one for one in predictions if one["score"] > one["threshold"]]
        alarms[missing] = len(above)
        assert "good" not in {one["quality"] for one in above}
    assert alarms["linear"] == 0 < 20 < alarms["mark"]


def tags_of(
    folder: Path, signals: dict[str, dict[str, float]], kept: set[int]
) -> tuple[list[str], float]:
    """Send two tags at 1 Hz, one of which lacks values; return qualities, and what is missing."""
    build_package(folder / "m", signals=["a", "b"], length=4, hop=1, rate_hz=1.0)
    source = {
        "topic": "f/{asset}/{signal}", "layout": "tag", "value_path": "v", "signals": signals,
        "time": {"path": "t", "unit": "s"},
    }  # fmt: skip
    pipeline = {"model": "m", "source": source, "stream": {"alignment": "hold"}}
    with MemoryNode(write_memory_config(folder / "c.yaml", {"p": pipeline})) as node:
        published = []
        for second in range(60):
            at_s = 1_795_800_000 + second
            for name in ("a", "b") if second in kept else ("a",):
                payload = json.dumps({"t": at_s, "v": 1}).encode()
                published += node.turn((f"f/x/{name}", payload, at_s * 10**9, 0))
        published += node.finish()
        text = node.metrics.render().decode()
    lines = [line for line in text.splitlines() if line.startswith("edgeai_samples_missing_total{")]
    found = [json.loads(one.payload) for one in published if "predictions" in one.topic]
    return [one["quality"] for one in found], float(lines[0].rsplit(" ", 1)[1])


@pytest.mark.parametrize("signals", [{}, {"b": {"interval_seconds": 1.0}}])
def test_lost_values_of_a_tag_are_counted_and_mark_their_windows(
    tmp_path: Path, signals: dict[str, dict[str, float]]
) -> None:
    qualities, missing = tags_of(tmp_path, signals, set(range(60)) - {25, 40})
    assert missing == 2
    assert len(qualities) == 57
    assert qualities.count("good") == 57 - 8


def test_a_tag_that_is_declared_to_come_when_it_changes_lacks_nothing(tmp_path: Path) -> None:
    signals = {"b": {"interval_seconds": 0.0}}
    qualities, missing = tags_of(tmp_path, signals, set(range(60)) - {25, 40})
    assert missing == 0
    assert set(qualities) == {"good"}
