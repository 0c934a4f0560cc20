"""Samples that are lost on the way must not look like a fault of the machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from edgeai.assembly.plan import check
from edgeai.plant.simulate import simulate
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
