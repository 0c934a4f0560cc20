"""From outputs to publications: scores that are not finite, and what an alarm message carries."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeai.assembly.plan import check
from tests.support.engine import NS, SOURCE, Node
from tests.support.odd import INFINITE, MILD, MINUS, NORMAL, NOT_A_NUMBER, write_odd_package
from tests.support.packages import rehash, write_config
from tests.support.paths import REPOSITORY

TOPIC = "factory/m/sensors"


def node_of(folder: Path, **pipeline: Any) -> Node:
    write_odd_package(folder / "odd")
    pipelines = {"p": {"model": "odd", "source": SOURCE, **pipeline}}
    return Node(check(write_config(folder / "line.yaml", 1883, pipelines)))


def send(node: Node, *values: tuple[float | None, float]) -> list[dict[str, Any]]:
    """Send rows and return their predictions."""
    known = len(node.predictions())
    for number, (a, b) in enumerate(values, known + 1):
        payload = json.dumps({"t": number, "a": a, "b": b}).encode()
        node.turns([(TOPIC, payload, 1000 * NS, False)])
    return node.predictions()[known:]


@pytest.mark.parametrize(
    ("values", "reason", "quality"),
    [
        (INFINITE, "score_infinite", "good"),
        (MINUS, "score_not_finite", "bad"),
        (NOT_A_NUMBER, "score_not_finite", "bad"),
        (MILD, None, "good"),
    ],
)
def test_a_score_that_is_not_finite_is_an_alarm(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    values: tuple[float, float],
    reason: str | None,
    quality: str,
) -> None:
    node = node_of(tmp_path)
    normal, bad, again, after = send(node, NORMAL, values, values, NORMAL)
    assert (normal["alarm"], after["alarm"]) == ("normal", "normal")
    assert "alarm_reason" not in normal
    for one in (bad, again):
        assert (one["alarm"], one["quality"]) == ("active", quality)
        assert one.get("alarm_reason") == reason
        assert (one["score"] is None) == (reason is not None)
    assert node.transitions() == [(2, "normal", "active"), (4, "active", "normal")]
    assert node.under("alarms")[0].get("alarm_reason") == reason
    told = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert len(told) == (reason is not None), "one line for two scores"
    assert all(
        "the model's score of m is " in line and "above the threshold" in line for line in told
    )


@pytest.mark.parametrize(
    ("values", "reason", "quality"),
    [
        (MINUS, "score_infinite", "good"),
        (INFINITE, "score_not_finite", "bad"),
        (NOT_A_NUMBER, "score_not_finite", "bad"),
    ],
)
def test_where_a_low_score_is_abnormal_minus_infinity_is_below_every_threshold(
    tmp_path: Path, values: tuple[float, float], reason: str, quality: str
) -> None:
    threshold = {"value": 3.0, "method": "m", "data": "d", "abnormal": "low"}
    rehash(write_odd_package(tmp_path / "odd"), threshold=threshold)
    line = write_config(tmp_path / "line.yaml", 1883, {"p": {"model": "odd", "source": SOURCE}})
    normal, bad, after = send(Node(check(line)), NORMAL, values, NORMAL)
    assert (normal["alarm"], after["alarm"]) == ("normal", "normal")
    assert (bad["alarm"], bad["quality"], bad["alarm_reason"]) == ("active", quality, reason)


@pytest.mark.parametrize("values", [INFINITE, MINUS, NOT_A_NUMBER])
def test_a_window_of_held_values_still_changes_no_alarm(
    tmp_path: Path, values: tuple[float, float]
) -> None:
    """Bad quality from substituted values comes first, whatever the score."""
    node = node_of(tmp_path, stream={"max_invalid_ratio": 0.0})
    send(node, (values[0], values[1]))  # active: measured values
    node.engine.pipelines[0].streams["m"].alarm.restore("normal", 0)
    (held,) = send(node, (None, values[1]))
    assert (held["alarm"], held["quality"], held["score"]) == ("normal", "bad", None)
    assert held["alarm_reason"] in {"score_infinite", "score_not_finite"}


@pytest.mark.parametrize("values", [INFINITE, NOT_A_NUMBER])
def test_the_delay_of_an_alarm_holds_for_them_too(
    tmp_path: Path, values: tuple[float, float]
) -> None:
    node = node_of(tmp_path, alarm={"on_delay_seconds": 2.0})
    states = [one["alarm"] for one in send(node, values, values, values, NORMAL)]
    assert states == ["normal", "normal", "active", "normal"]


def test_an_alarm_message_carries_what_its_prediction_does(tmp_path: Path) -> None:
    node = node_of(tmp_path)
    _, prediction = send(node, NORMAL, MILD)
    (alarm,) = node.under("alarms")
    assert prediction["outputs"] == {"flow": {"value": 100.0, "unit": "l/min"}}
    same = ("timestamp", "asset", "score", "threshold", "top", "quality", "outputs")
    assert {name: alarm[name] for name in same} == {name: prediction[name] for name in same}


def test_an_alarm_message_carries_the_diagnosis(tmp_path: Path) -> None:
    manifest = (REPOSITORY / "models/moulding-pinn/model.yaml").read_text()
    assert "role: evidence" in manifest
    source = {**SOURCE, "values_path": "v"}
    alarm = {"on_delay_seconds": 0.0}
    pipelines = {"p": {"model": "moulding-pinn", "source": source, "alarm": alarm}}
    node = Node(check(write_config(tmp_path / "line.yaml", 1883, pipelines)))
    golden = np.load(REPOSITORY / "models/moulding-pinn/golden.npz")
    pipeline = node.engine.pipelines[0]
    scores = golden[pipeline.manifest.score]
    window = golden["window"][int(np.nanargmax(scores))]
    period = 1 / float(pipeline.manifest.sample_rate_hz or 1)
    # Windows end at multiples of the hop: the last row ends the only one.
    first = -len(window) + 1 - (1000 / period) % pipeline.settings.hop
    for number, row in enumerate(window, round(first)):
        values = dict(zip(pipeline.signals, row.tolist(), strict=True))
        payload = json.dumps({"t": 1000 + number * period, "v": values}).encode()
        node.turns([(TOPIC, payload, 1000 * NS, False)])
    (prediction,) = node.predictions()
    (alarm,) = node.under("alarms")
    assert prediction["alarm"] == "active"
    assert prediction["diagnosis"] is not None
    assert alarm["diagnosis"] == prediction["diagnosis"]
    assert alarm["outputs"] == prediction["outputs"]
    assert alarm["top"] == prediction["top"]


@pytest.mark.parametrize("overload", [9.9e37, -9.9e37, 3.4e38, 1e30])
def test_a_shipped_model_answers_an_overloaded_meter_with_an_alarm(
    tmp_path: Path, overload: float
) -> None:
    """9.9e37 is what SCPI instruments send for overload."""
    name = "melting-tank-pca"
    pipelines = {"p": {"model": name, "source": SOURCE, "alarm": {"on_delay_seconds": 0.0}}}
    node = Node(check(write_config(tmp_path / "line.yaml", 1883, pipelines)))
    pipeline = node.engine.pipelines[0]
    window = np.load(REPOSITORY / "models" / name / "golden.npz")["window"][0]
    rows = np.concatenate([window] * 3).astype(float)
    rows[2 * len(window) :, 0] = overload
    period = 1 / float(pipeline.manifest.sample_rate_hz or 1)
    for number, row in enumerate(rows.tolist()):
        values = dict(zip(pipeline.signals, row, strict=True))
        payload = json.dumps({"t": 1000 + number * period, **values}).encode()
        node.turns([(TOPIC, payload, 1000 * NS, False)])
    last = node.predictions()[-1]
    assert last["alarm"] == "active"
    assert (last["score"] is None) == ("alarm_reason" in last)
    assert node.under("alarms")[-1]["state"] == "active"
